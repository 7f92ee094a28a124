//! The semantics, neutral of protocol. Knows no protocol's error codes.
//!
//! A [`Broker`] is one shard's part: the queues and groups it owns, and its copy of the cluster's
//! state. Work for another shard's part goes through [`Broker::on`]. State that the log has to hold
//! changes when the log is durable, in log order; what is assigned before that is kept apart.

mod answer_room;
mod append;
mod clients;
mod cold;
mod control;
mod conversion;
mod coordinator;
mod durable;
pub mod filter;
pub mod group;
mod keys;
mod losses;
mod mailbox;
mod message;
mod offsets;
mod presence;
mod producers;
mod pull;
mod queue;
mod queue_locks;
mod queues;
mod read;
mod read_ahead;
mod replay;
mod retention;
mod seal;
mod split;
mod standing;
mod timers;
mod traffic;
mod writer_call;

use std::{
    cell::{Cell, Ref, RefCell, RefMut},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::sync::Semaphore;

use crate::{
    base::{QueueId, ShardId, Stage, Stages},
    cluster::{
        Applied, ClusterError, ClusterState, Command, ControlPlane, Numbers, Topic,
        control_plane::ProducerIds, fleet::Fleet,
    },
    env::{Env, LocalFuture, Volume},
    storage::{
        commit_log::{CommitLog, TailReader, segment::Segments},
        key_index::KeyFileList,
        queue_index::QueueIndex,
    },
};

#[cfg(test)]
pub(crate) use pull::tests::broker_by;

pub use append::{AppendError, AppendedBatch, highest_time, records_of};
pub use clients::{ClientAnswer, Delivery};
pub use cold::{ColdError, LogSlice};
pub use control::{ControlError, command_meta};
pub use durable::LogStopped;
pub use keys::{KeyCollector, KeyQuery, KeyedTopics};
pub use losses::{Ledger, Lift, LostOffsets};
pub use mailbox::{Job, Mailboxes, Stopping};
pub use message::MessageToAppend;
pub use offsets::{OffsetError, OffsetSpec, TimedOffset};
pub use presence::{
    Attendance, Member, Notice, Session, Subscription, SubscriptionError, Subscriptions,
};
pub use producers::{Producer, SequenceError};
pub use pull::{Piece, Pull, Pulled};
pub use queues::QueueChange;
pub use read::{Read, ReadError, ReadRequest};
pub use replay::{Replay, ShardState, index_entry};
pub use seal::{ClusterSnapshot, QueueSnapshot, ShardSnapshot};
pub use split::SplitBatch;
pub use standing::{Ends, GroupLag, keep_slowest};
pub use timers::{TimerKey, TimerSettings, TimerToAppend, TimersSnapshot};
pub use traffic::{FlowFigures, PullCount, PulledTo};

/// What a broker's config says about its semantics.
#[derive(Clone, Debug)]
pub struct BrokerSettings {
    /// Answers leave before the log is durable, unless a topic says otherwise.
    pub flush_async: bool,
    /// Silence after which an idempotent producer is forgotten.
    pub producer_expiration: Duration,
    /// Largest single read of a segment, in bytes.
    pub cold_read_bytes: u64,
    /// Reads of segments this shard has under way at a time.
    pub cold_reads: usize,
    /// Memory for reads of segments that may be wanted again, in bytes.
    pub cold_ahead_bytes: u64,
    /// Memory for Kafka's batches as RocketMQ's messages, of each shard, in bytes.
    pub conversion_cache_bytes: usize,
    /// Memory for such messages while they wait to be sent, of each shard, in bytes.
    pub converted_answer_bytes: u64,
    /// The broker as RocketMQ's clients reach it, which is where converted messages lie.
    pub store_host: SocketAddr,
    /// How often retention is looked at.
    pub retention_check: Duration,
    /// Delayed messages.
    pub timers: TimerSettings,
    /// Pairs of a group and a topic whose pulls one shard counts.
    pub counted_groups: usize,
    /// The group coordinator's part.
    pub groups: group::GroupSettings,
}

/// What the shards of one process share.
#[derive(Clone)]
pub struct Shared {
    /// The log.
    pub log: Arc<CommitLog>,
    /// Its segments.
    pub segments: Arc<Segments>,
    /// All shards' mailboxes.
    pub mailboxes: Arc<Mailboxes>,
    /// From the config.
    pub settings: Arc<BrokerSettings>,
}

/// What a shard counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardFigures {
    /// Records appended.
    pub records_in: u64,
    /// Batches appended.
    pub batches_in: u64,
    /// Bytes of payload appended.
    pub bytes_in: u64,
    /// Records found for fetches.
    pub records_out: u64,
    /// Messages that RocketMQ's consumers pulled.
    pub messages_pulled: u64,
    /// Bytes of these.
    pub bytes_pulled: u64,
    /// Bytes of payload found for fetches.
    pub bytes_out: u64,
    /// Frames that were read and did not verify.
    pub damaged_reads: u64,
    /// RocketMQ's messages made into Kafka's records.
    pub converted_to_kafka: u64,
    /// Kafka's records made into RocketMQ's messages.
    pub converted_to_rocketmq: u64,
    /// Converted messages that lack something the other dialect has no place for.
    pub converted_lossy: u64,
    /// Kafka's batches that were found converted.
    pub conversion_cache_hits: u64,
    /// Kafka's batches that were converted because they were not found.
    pub conversion_cache_misses: u64,
    /// Memory of the converted batches that are kept, in bytes.
    pub conversion_cache_bytes: u64,
    /// Queues there are.
    pub queues: u64,
    /// Groups there are.
    pub groups: u64,
    /// Messages that wait for their time.
    pub timers_pending: u64,
    /// Messages whose time came.
    pub timers_fired: u64,
    /// Messages whose time came, and that could not be delivered.
    pub timers_undeliverable: u64,
}

impl ShardFigures {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.batches_in += other.batches_in;
        self.bytes_in += other.bytes_in;
        self.records_out += other.records_out;
        self.messages_pulled += other.messages_pulled;
        self.bytes_pulled += other.bytes_pulled;
        self.bytes_out += other.bytes_out;
        self.damaged_reads += other.damaged_reads;
        self.converted_to_kafka += other.converted_to_kafka;
        self.converted_to_rocketmq += other.converted_to_rocketmq;
        self.converted_lossy += other.converted_lossy;
        self.conversion_cache_hits += other.conversion_cache_hits;
        self.conversion_cache_misses += other.conversion_cache_misses;
        self.conversion_cache_bytes += other.conversion_cache_bytes;
        self.queues += other.queues;
        self.groups += other.groups;
        self.timers_pending += other.timers_pending;
        self.timers_fired += other.timers_fired;
        self.timers_undeliverable += other.timers_undeliverable;
    }
}

/// One shard's part of the broker. Lives on that shard.
pub struct Broker {
    env: Env,
    shard: ShardId,
    log: Arc<CommitLog>,
    segments: Arc<Segments>,
    mailboxes: Arc<Mailboxes>,
    settings: Arc<BrokerSettings>,
    tail: TailReader,
    cluster: Rc<RefCell<ClusterState>>,
    queues: RefCell<queues::Queues>,
    index: QueueIndex,
    key_files: RefCell<KeyFileList>,
    conversions: RefCell<conversion::ConversionCache>,
    answer_room: Arc<answer_room::AnswerRoom>,
    durable: RefCell<durable::DurableQueue>,
    coordinator: RefCell<coordinator::Coordinator>,
    presence: RefCell<presence::Presence>,
    clients: RefCell<clients::Clients>,
    fleet: RefCell<Fleet>,
    topic_watchers: RefCell<Vec<flume::Sender<()>>>,
    queue_locks: RefCell<queue_locks::QueueLocks>,
    timers: timers::Timers,
    broadcasts: (flume::Sender<control::Broadcast>, flume::Receiver<control::Broadcast>),
    /// Queues from whose accounts something is to be taken off.
    uncounted: (flume::Sender<QueueId>, flume::Receiver<QueueId>),
    cold_turn: Semaphore,
    read_ahead: read_ahead::ReadAhead,
    stages: RefCell<Stages>,
    figures: Cell<ShardFigures>,
    traffic: RefCell<traffic::Traffic>,
    writer_call: writer_call::WriterCall,
    producer_ids: RefCell<ProducerIds>,
    /// Queues that commands in the log will make once they are durable; on the control shard.
    queues_on_their_way: Cell<u32>,
    /// What the next command may give; ahead of the cluster's state by what is not yet applied.
    numbers: Cell<Numbers>,
}

/// What one shard's broker is made from.
pub struct Start {
    /// The machine.
    pub env: Env,
    /// Which shard this is.
    pub shard: ShardId,
    /// What all shards share.
    pub shared: Shared,
    /// This shard's part of what was recovered.
    pub state: ShardState,
    /// This shard's index.
    pub index: QueueIndex,
    /// The key files there are.
    pub keys: KeyFileList,
    /// How the log tells this shard that it is durable.
    pub signal: Arc<crate::storage::commit_log::ShardSignal>,
    /// Its other end.
    pub durable: flume::Receiver<()>,
    /// This shard's mailbox.
    pub mailbox: flume::Receiver<Job>,
}

impl Broker {
    /// Starts the broker of one shard and its tasks.
    #[must_use]
    pub fn start(start: Start) -> Rc<Self> {
        let Start { env, shard, shared, state, index, keys, signal, durable, mailbox } = start;
        let Shared { log, segments, mailboxes, settings } = shared;
        let cluster = Rc::new(RefCell::new(state.cluster));
        let coordinator = coordinator::Coordinator::new(
            &settings.groups,
            Arc::clone(&env.random),
            Rc::clone(&cluster),
            &state.groups,
        );
        let restored = state
            .queues
            .into_iter()
            .map(|(id, (topic, snapshot))| (id, queue::Queue::restored(&topic, snapshot)));
        let mut queues: HashMap<_, _> = restored.collect();
        let timers = timers::Timers::restored(&mut queues, state.timers);
        for (id, lost) in state.lost {
            queues.entry(id).and_modify(|queue| queue.lost = lost);
        }
        let broker = Rc::new(Self {
            shard,
            tail: log.reader(usize::from(shard.0)),
            cluster,
            queues: RefCell::new(queues::Queues::new(queues)),
            index,
            key_files: RefCell::new(keys),
            conversions: RefCell::new(conversion::ConversionCache::new(
                settings.conversion_cache_bytes,
            )),
            answer_room: answer_room::AnswerRoom::new(settings.converted_answer_bytes),
            durable: RefCell::new(durable::DurableQueue::new(signal)),
            coordinator: RefCell::new(coordinator),
            presence: RefCell::default(),
            clients: RefCell::default(),
            fleet: RefCell::default(),
            topic_watchers: RefCell::default(),
            queue_locks: RefCell::default(),
            timers,
            broadcasts: flume::unbounded(),
            uncounted: flume::unbounded(),
            cold_turn: Semaphore::new(settings.cold_reads),
            read_ahead: read_ahead::ReadAhead::new(
                settings.cold_ahead_bytes,
                settings.cold_read_bytes,
            ),
            stages: RefCell::default(),
            figures: Cell::default(),
            traffic: RefCell::default(),
            writer_call: writer_call::WriterCall::default(),
            producer_ids: RefCell::default(),
            queues_on_their_way: Cell::default(),
            numbers: Cell::default(),
            env,
            log,
            segments,
            mailboxes,
            settings,
        });
        broker.start_coordinator();
        let tasks = &broker.env.tasks;
        tasks.spawn(Box::pin(Rc::clone(&broker).follow_log(durable)));
        tasks.spawn(Box::pin(Rc::clone(&broker).serve_mailbox(mailbox)));
        tasks.spawn(Box::pin(Rc::clone(&broker).pass_commands()));
        tasks.spawn(Box::pin(Rc::clone(&broker).call_writer()));
        tasks.spawn(Box::pin(Rc::clone(&broker).retain()));
        tasks.spawn(Box::pin(Rc::clone(&broker).keep_accounts()));
        tasks.spawn(Box::pin(Rc::clone(&broker).fire_timers()));
        broker.count_all_dropped();
        broker
    }

    /// The machine.
    #[must_use]
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// Which shard this is.
    #[must_use]
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// How many shards there are.
    #[must_use]
    pub fn shards(&self) -> u16 {
        self.mailboxes.len() as u16
    }

    /// The log.
    #[must_use]
    pub fn log(&self) -> &CommitLog {
        &self.log
    }

    /// The file system the log lies on, as the housekeeper last saw it.
    #[must_use]
    pub fn volume(&self) -> Volume {
        self.segments.volume()
    }

    /// This shard's copy of the cluster's state. Not to be held across an await.
    pub fn cluster(&self) -> Ref<'_, ClusterState> {
        self.cluster.borrow()
    }

    /// The other brokers that registered; kept on the first shard.
    ///
    /// # Panics
    /// On another shard.
    pub fn fleet(&self) -> RefMut<'_, Fleet> {
        assert_eq!(self.shard, ShardId(0), "other shards ask the first one");
        self.fleet.borrow_mut()
    }

    /// Counts a stage's duration.
    pub fn record(&self, stage: Stage, duration: Duration) {
        self.stages.borrow_mut().record(stage, duration);
    }

    /// This shard's durations so far.
    #[must_use]
    pub fn stages(&self) -> Stages {
        self.stages.borrow().clone()
    }

    /// What this shard has counted so far.
    #[must_use]
    pub fn figures(&self) -> ShardFigures {
        ShardFigures {
            conversion_cache_bytes: self.conversions.borrow().bytes() as u64,
            queues: self.queues.borrow().len() as u64,
            groups: self.group_count() as u64,
            timers_pending: self.timers_pending(),
            messages_pulled: self.traffic.borrow().pulled(),
            ..self.figures.get()
        }
    }

    fn count(&self, count: impl FnOnce(&mut ShardFigures)) {
        let mut figures = self.figures.get();
        count(&mut figures);
        self.figures.set(figures);
    }

    fn topic_deleted(self: &Rc<Self>, topic: &Topic) {
        self.forget_topic(topic.id);
    }
}

impl ControlPlane for Rc<Broker> {
    fn cluster(&self) -> Ref<'_, ClusterState> {
        Broker::cluster(self)
    }

    fn now_ms(&self) -> i64 {
        self.env.clock.wall_ms()
    }

    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        self.env.random.fill(&mut bytes);
        bytes
    }

    fn producer_ids(&self) -> &RefCell<ProducerIds> {
        &self.producer_ids
    }

    fn execute(&self, command: Command) -> LocalFuture<'_, Result<Applied, ClusterError>> {
        Box::pin(async move {
            Broker::execute(self, command)
                .await
                .map_err(|error| ClusterError::Unavailable { reason: error.to_string() })
        })
    }
}
