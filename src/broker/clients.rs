//! Clients by their ids, wherever they are connected: what is meant for one of them, and for nobody
//! else, finds it here.

use std::sync::Arc;

use bytes::Bytes;
use hashbrown::HashMap;

use super::{Broker, Session};
use crate::base::ShardId;

/// What one client is asked, which is not stored.
#[derive(Debug)]
pub struct Delivery {
    /// What it is, as a request's number in its protocol.
    pub code: i32,
    /// What the client is told, by name.
    pub fields: Vec<(String, String)>,
    /// The rest of it.
    pub body: Bytes,
    /// Is told what the client answered; dropped if nobody could ask it.
    pub answer: flume::Sender<ClientAnswer>,
}

/// What a client answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientAnswer {
    /// How it went, as a number in its protocol.
    pub code: i32,
    /// More of that.
    pub remark: Option<String>,
    /// The answer.
    pub body: Bytes,
}

/// The clients that a shard keeps the place of. Lives on that shard.
#[derive(Default)]
pub(super) struct Clients(HashMap<Arc<str>, (Session, flume::Sender<Delivery>)>);

impl Broker {
    /// The shard that knows where a client is.
    #[must_use]
    pub fn client_owner(&self, client: &str) -> ShardId {
        self.group_owner(client)
    }

    /// A client is at the other end of a connection; the last one that said so counts.
    pub fn enter_client(
        &self,
        client: Arc<str>,
        session: Session,
        deliveries: flume::Sender<Delivery>,
    ) {
        self.clients.borrow_mut().0.insert(client, (session, deliveries));
    }

    /// A client's connection has ended.
    pub fn leave_client(&self, client: &str, session: Session) {
        let mut clients = self.clients.borrow_mut();
        if clients.0.get(client).is_some_and(|(at, _)| *at == session) {
            clients.0.remove(client);
        }
    }

    /// Passes a question to a client. False if it is not there, or has too many before it.
    #[must_use]
    pub fn pass_to_client(&self, client: &str, delivery: Delivery) -> bool {
        let clients = self.clients.borrow();
        clients.0.get(client).is_some_and(|(_, client)| client.try_send(delivery).is_ok())
    }
}
