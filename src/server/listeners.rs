//! Where the broker listens.

use std::{
    io,
    net::{SocketAddr, TcpListener, ToSocketAddrs as _},
};

use super::ServerError;
use crate::{
    config::{Config, Listen},
    gateway::Face,
};

/// Connections that may wait to be accepted, as far as `net.core.somaxconn` allows it; the standard
/// library asks for 128, which is few where all clients come back at once.
const BACKLOG: i32 = 4096;

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
    /// Where RocketMQ's clients are told that the broker is.
    pub advertised_rocketmq: SocketAddr,
    /// The admin port's.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// Opens what is configured.
    ///
    /// # Errors
    /// The key whose address cannot be listened on, or whose name has no address.
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
        let admin = open("admin.listen", config.admin.listen)?;
        // The last one, so that it takes no port from those that were asked for.
        clients.extend(vip_channel(rocketmq).map(|listener| (Face::RocketMq, listener)));
        let advertised_rocketmq = resolve(config, addresses.rocketmq)?;
        Ok(Self { clients, addresses, advertised_rocketmq, admin })
    }
}

/// Message ids hold an address, and clients go by them: it is looked up once.
fn resolve(config: &Config, bound: Option<SocketAddr>) -> Result<SocketAddr, ServerError> {
    let bound = bound.unwrap_or(([127, 0, 0, 1], 0).into());
    let (host, port) = config.rocketmq.advertised.of(bound);
    let failed =
        |source| ServerError::Resolve { key: "rocketmq.advertised", host: host.clone(), source };
    let found: Vec<_> = (host.as_str(), port).to_socket_addrs().map_err(failed)?.collect();
    // Old clients know IPv4 only.
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().ok_or_else(|| failed(io::Error::other("it has no address")))
}

fn open(key: &'static str, listen: Listen) -> Result<Option<TcpListener>, ServerError> {
    let bind = |address| {
        let failed = |source| ServerError::Listen { key, address, source };
        listen_on(address).map_err(failed)
    };
    listen.address().map(bind).transpose()
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}

/// Old clients send to the port minus two. Nobody who started the broker asked for that port, so it
/// may be taken; beside a port of the system's choice it means nothing.
fn vip_channel(listen: Listen) -> Option<TcpListener> {
    let address = listen.address()?;
    let port = address.port().checked_sub(VIP_BELOW).filter(|port| *port > 0)?;
    let vip = SocketAddr::new(address.ip(), port);
    let opened = listen_on(vip);
    opened
        .inspect_err(|error| {
            tracing::warn!(address = %vip, %error, "no VIP channel for old RocketMQ clients");
        })
        .ok()
}
