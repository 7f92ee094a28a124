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
    gateway::{
        ColdRoom, Complaints, Face, RequestMemory,
        kafka::{self, FetchSessionMemory, KafkaSettings},
        rocketmq::{self, RocketMqSettings},
    },
};

/// What a shard gets from the main thread besides its broker's start.
pub struct ShardMain {
    /// How Kafka's face is set up.
    pub kafka: Arc<KafkaSettings>,
    /// How RocketMQ's face is set up.
    pub rocketmq: Arc<RocketMqSettings>,
    /// Memory for requests, of all shards.
    pub memory: Arc<RequestMemory>,
    /// Memory of this shard for what was read from disk and waits to be sent, in bytes.
    pub cold_answer_bytes: u64,
    /// Memory for fetch sessions, of all shards.
    pub sessions: Arc<FetchSessionMemory>,
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
        let complaints = Rc::<Complaints>::default();
        let cold = ColdRoom::new(self.cold_answer_bytes);
        let open = Rc::new(OpenConnections {
            kafka: Rc::new(kafka::Gateway {
                broker: Rc::clone(&broker),
                settings: self.kafka,
                memory: Arc::clone(&self.memory),
                complaints: Rc::clone(&complaints),
                cold: Rc::clone(&cold),
                sessions: self.sessions,
            }),
            rocketmq: Rc::new(rocketmq::Gateway {
                broker: Rc::clone(&broker),
                settings: self.rocketmq,
                memory: self.memory,
                complaints,
                cold,
                connections: Cell::default(),
            }),
            list: RefCell::default(),
            count: Cell::default(),
            stopping: Cell::default(),
        });
        tasks.spawn(Box::pin(Rc::clone(&open).take_in(Rc::clone(&broker), self.accepted)));
        tasks.spawn(Box::pin(Rc::clone(&open).end_idle(Rc::clone(&broker))));
        if let Err(error) = name_cluster(&broker).await {
            tracing::error!(%error, "the cluster could not be named");
            return;
        }
        // The main thread may have given up waiting.
        let _ = self.ready.send(());
        drop(self.ready);
        while let Ok(closed) = self.stop.recv_async().await {
            open.close_all(&broker).await;
            broker.stop_timers().await;
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
struct OpenConnections {
    kafka: Rc<kafka::Gateway>,
    rocketmq: Rc<rocketmq::Gateway>,
    list: RefCell<Vec<(Face, Weak<Connection>)>>,
    count: Cell<usize>,
    stopping: Cell<bool>,
}

/// How long connections get to take their last answers when the shard stops.
const DRAIN: Duration = Duration::from_secs(2);

impl OpenConnections {
    async fn take_in(self: Rc<Self>, broker: Rc<Broker>, accepted: flume::Receiver<Accepted>) {
        while let Ok(Accepted { socket, face, place }) = accepted.recv_async().await {
            let now = broker.env().clock.monotonic();
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
            self.remember(face, &connection);
            let open = Rc::clone(&self);
            broker.env().tasks.spawn(Box::pin(async move {
                match face {
                    Face::Kafka => kafka::serve(Rc::clone(&open.kafka), connection).await,
                    Face::RocketMq => rocketmq::serve(&open.rocketmq, connection).await,
                    Face::NameServer => rocketmq::serve_routes(&open.rocketmq, connection).await,
                }
                open.count.set(open.count.get() - 1);
                drop(place);
            }));
        }
    }

    fn remember(&self, face: Face, connection: &Rc<Connection>) {
        self.count.set(self.count.get() + 1);
        let mut list = self.list.borrow_mut();
        if list.len() > 2 * self.count.get() {
            list.retain(|(_, known)| known.strong_count() > 0);
        }
        list.push((face, Rc::downgrade(connection)));
    }

    fn each(&self, mut call: impl FnMut(Face, &Connection)) {
        for (face, connection) in self.list.borrow().iter() {
            connection.upgrade().into_iter().for_each(|connection| call(*face, &connection));
        }
    }

    /// Runs until the shard ends: ends connections that have asked for nothing for too long.
    async fn end_idle(self: Rc<Self>, broker: Rc<Broker>) {
        let (kafka, rocketmq) = (self.kafka.settings.idle, self.rocketmq.settings.idle);
        loop {
            broker.env().tasks.sleep(kafka.min(rocketmq) / 4).await;
            let now = broker.env().clock.monotonic();
            self.each(|face, connection| {
                let idle = if face == Face::Kafka { kafka } else { rocketmq };
                if now.saturating_sub(connection.touched()) > idle {
                    tracing::debug!(peer = %connection.peer(), "an idle connection is closed");
                    connection.wind_up();
                }
            });
        }
    }

    /// Ends reading on all connections and waits until they have sent what they owe.
    async fn close_all(&self, broker: &Rc<Broker>) {
        self.stopping.set(true);
        self.each(|_, connection| connection.stop_reading());
        let clock = &broker.env().clock;
        let deadline = clock.monotonic() + DRAIN;
        while self.count.get() > 0 && clock.monotonic() < deadline {
            broker.env().tasks.sleep(Duration::from_millis(5)).await;
        }
        self.each(|_, connection| connection.shutdown());
    }
}
