//! Where the broker listens.

use std::net::{SocketAddr, TcpListener};

use super::ServerError;
use crate::{
    config::{Config, Listen},
    gateway::Face,
};

/// How far below the broker's port old RocketMQ clients look for its VIP channel.
const VIP_BELOW: u16 = 2;

/// The addresses that listeners got; none for those that are off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Addresses {
    /// Kafka's clients'.
    pub kafka: Option<SocketAddr>,
    /// RocketMQ's clients'.
    pub rocketmq: Option<SocketAddr>,
    /// The name server's.
    pub namesrv: Option<SocketAddr>,
}

/// All listeners, open and not yet accepting.
pub struct Listeners {
    /// Those of clients.
    pub clients: Vec<(Face, TcpListener)>,
    /// Where they are.
    pub addresses: Addresses,
    /// The admin port's.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Opens what is configured.
    ///
    /// # Errors
    /// The key whose address cannot be listened on.
    pub fn open(config: &Config) -> Result<Self, ServerError> {
        let mut clients = Vec::new();
        let mut client = |face, key, listen| -> Result<_, ServerError> {
            let Some(listener) = open(key, listen)? else { return Ok(None) };
            let address = listener.local_addr().map_err(ServerError::Start)?;
            clients.push((face, listener));
            Ok(Some(address))
        };
        let rocketmq = config.rocketmq.listen;
        let addresses = Addresses {
            kafka: client(Face::Kafka, "kafka.listen", config.kafka.listen)?,
            rocketmq: client(Face::RocketMq, "rocketmq.listen", rocketmq)?,
            namesrv: client(Face::NameServer, "rocketmq.namesrv", config.rocketmq.namesrv)?,
        };
        clients.extend(vip_channel(rocketmq).map(|listener| (Face::RocketMq, listener)));
        let admin = open("admin.listen", config.admin.listen)?;
        Ok(Self { clients, addresses, admin })
    }
}

fn open(key: &'static str, listen: Listen) -> Result<Option<TcpListener>, ServerError> {
    let bind = |address| {
        let failed = |source| ServerError::Listen { key, address, source };
        TcpListener::bind(address).map_err(failed)
    };
    listen.address().map(bind).transpose()
}

/// Old clients send to the port minus two. Nobody who started the broker asked for that port, so it
/// may be taken; beside a port of the system's choice it means nothing.
fn vip_channel(listen: Listen) -> Option<TcpListener> {
    let address = listen.address()?;
    let port = address.port().checked_sub(VIP_BELOW).filter(|port| *port > 0)?;
    let vip = SocketAddr::new(address.ip(), port);
    let opened = TcpListener::bind(vip);
    opened
        .inspect_err(|error| {
            tracing::warn!(address = %vip, %error, "no VIP channel for old RocketMQ clients");
        })
        .ok()
}
