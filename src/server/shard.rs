//! One shard's thread: its broker, its gateway, its connections.

use std::{
    cell::{Cell, RefCell},
    rc::{Rc, Weak},
    sync::Arc,
    time::Duration,
};

use super::acceptor::Accepted;
use crate::{
    base::ShardId,
    broker::{Broker, ControlError, Start},
    cluster::{Command, uuid},
    env::glommio::Connection,
    gateway::kafka::{self, Gateway, KafkaSettings, RequestMemory},
};

/// What a shard gets from the main thread besides its broker's start.
pub struct ShardMain {
    /// How Kafka's face is set up.
    pub kafka: Arc<KafkaSettings>,
    /// Memory for requests, of all shards.
    pub memory: Arc<RequestMemory>,
    /// Connections for this shard.
    pub accepted: flume::Receiver<Accepted>,
    /// Asks to close all connections and say so; closed when the shard is to end.
    pub stop: flume::Receiver<flume::Sender<()>>,
    /// Told when the shard serves.
    pub ready: flume::Sender<()>,
}

impl ShardMain {
    /// Runs until told to stop.
    pub async fn run(self, start: Start) {
        let tasks = Rc::clone(&start.env.tasks);
        let broker = Broker::start(start);
        let gateway = Rc::new(Gateway {
            broker: Rc::clone(&broker),
            settings: Arc::clone(&self.kafka),
            memory: self.memory,
        });
        let open = Rc::<OpenConnections>::default();
        tasks.spawn(Box::pin(Rc::clone(&open).take_in(gateway, self.accepted)));
        tasks.spawn(Box::pin(Rc::clone(&open).end_idle(Rc::clone(&broker), self.kafka.idle)));
        if let Err(error) = name_cluster(&broker).await {
            tracing::error!(%error, "the cluster could not be named");
            return;
        }
        // The main thread may have given up waiting.
        let _ = self.ready.send(());
        drop(self.ready);
        while let Ok(closed) = self.stop.recv_async().await {
            open.close_all(&broker).await;
            let _ = closed.send(());
        }
    }
}

/// Gives a new cluster its id, on the first shard.
async fn name_cluster(broker: &Rc<Broker>) -> Result<(), ControlError> {
    // One whose id is lost has none until the log is repaired.
    let named = broker.cluster().cluster_id().is_some() || broker.log().failure().is_some();
    if broker.shard() != ShardId(0) || named {
        return Ok(());
    }
    let mut random = [0; 16];
    broker.env().random.fill(&mut random);
    let cluster_id = uuid::encode_uuid(uuid::random_uuid(random)).into();
    broker.execute(Command::NameCluster { cluster_id }).await.map(drop)
}

/// The connections of a shard.
#[derive(Default)]
struct OpenConnections {
    list: RefCell<Vec<Weak<Connection>>>,
    count: Cell<usize>,
    stopping: Cell<bool>,
}

/// How long connections get to take their last answers when the shard stops.
const DRAIN: Duration = Duration::from_secs(2);

impl OpenConnections {
    async fn take_in(self: Rc<Self>, gateway: Rc<Gateway>, accepted: flume::Receiver<Accepted>) {
        while let Ok(Accepted { socket, place }) = accepted.recv_async().await {
            let now = gateway.broker.env().clock.monotonic();
            let connection = match Connection::new(socket, now) {
                Ok(connection) => Rc::new(connection),
                Err(error) => {
                    tracing::debug!(%error, "a connection was gone before it was served");
                    continue;
                }
            };
            if self.stopping.get() {
                continue;
            }
            self.remember(&connection);
            let (open, gateway) = (Rc::clone(&self), Rc::clone(&gateway));
            let tasks = Rc::clone(&gateway.broker.env().tasks);
            tasks.spawn(Box::pin(async move {
                kafka::serve(gateway, connection).await;
                open.count.set(open.count.get() - 1);
                drop(place);
            }));
        }
    }

    fn remember(&self, connection: &Rc<Connection>) {
        self.count.set(self.count.get() + 1);
        let mut list = self.list.borrow_mut();
        if list.len() > 2 * self.count.get() {
            list.retain(|known| known.strong_count() > 0);
        }
        list.push(Rc::downgrade(connection));
    }

    /// Runs until the shard ends: ends connections that have asked for nothing for `idle`.
    async fn end_idle(self: Rc<Self>, broker: Rc<Broker>, idle: Duration) {
        loop {
            broker.env().tasks.sleep(idle / 4).await;
            let now = broker.env().clock.monotonic();
            for connection in self.list.borrow().iter().filter_map(Weak::upgrade) {
                if now.saturating_sub(connection.touched()) > idle {
                    tracing::debug!(peer = %connection.peer(), "an idle connection is closed");
                    connection.stop_reading();
                }
            }
        }
    }

    /// Ends reading on all connections and waits until they have sent what they owe.
    async fn close_all(&self, broker: &Rc<Broker>) {
        self.stopping.set(true);
        for connection in self.list.borrow().iter().filter_map(Weak::upgrade) {
            connection.stop_reading();
        }
        let clock = &broker.env().clock;
        let deadline = clock.monotonic() + DRAIN;
        while self.count.get() > 0 && clock.monotonic() < deadline {
            broker.env().tasks.sleep(Duration::from_millis(5)).await;
        }
        for connection in self.list.borrow().iter().filter_map(Weak::upgrade) {
            connection.shutdown();
        }
    }
}
