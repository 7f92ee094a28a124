//! Pulls and views of single messages, on one shard's broker with a log in memory.

use std::cell::Cell;

use futures_lite::future::block_on;

use super::*;
use crate::{
    base::{ShardId, TopicId},
    broker::{
        BrokerSettings, MessageToAppend, QueueSnapshot, ShardState, Shared, Start,
        group::GroupSettings, producers::Producers, timers::TimerSettings,
    },
    cluster::{ClusterState, Command, Setup},
    env::{
        Clock, ColdRead, Env, LocalFuture, Tasks,
        blocking::BlockingColdRead,
        mirror::{MirrorMemory, Pages},
        simulated::{SeededRandom, SimulatedClock, SimulatedDisk},
    },
    storage::{
        commit_log::{CommitLog, LogLimits, segment::Segments},
        queue_index::QueueIndex,
    },
    wire::{
        kafka::{BatchBuilder, BatchHeader, Codec},
        rocketmq::{SysFlag, record::RecordVersion},
    },
};

/// Nothing runs beside the test, and no time passes.
struct NoTasks;

impl Tasks for NoTasks {
    fn spawn(&self, _: LocalFuture<'static, ()>) {}

    fn sleep(&self, _: Duration) -> LocalFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}

pub(in crate::broker) const QUEUE: QueueId = QueueId(0);

/// A broker with a topic of one queue, whose messages show before they are durable.
pub(in crate::broker) fn broker() -> Rc<Broker> {
    let cold = Rc::new(BlockingColdRead::new(Arc::new(SimulatedDisk::default())));
    broker_of(Position(0), Segments::default(), cold)
}

/// Such a broker, whose tasks are these.
pub(in crate::broker) fn broker_with(tasks: Rc<dyn Tasks>) -> Rc<Broker> {
    broker_by(Arc::new(SimulatedClock::new(5_000)), tasks)
}

/// Such a broker, whose tasks and clock are these.
pub(crate) fn broker_by(clock: Arc<dyn Clock>, tasks: Rc<dyn Tasks>) -> Rc<Broker> {
    let cold = Rc::new(BlockingColdRead::new(Arc::new(SimulatedDisk::default())));
    start(Position(0), Segments::default(), cold, clock, tasks)
}

/// Such a broker whose log goes on at `end`; what lies before it is in `segments`.
pub(in crate::broker) fn broker_of(
    end: Position,
    segments: Segments,
    cold: Rc<dyn ColdRead>,
) -> Rc<Broker> {
    let clock = Arc::new(SimulatedClock::new(5_000));
    start(end, segments, cold, clock, Rc::new(NoTasks))
}

fn start(
    end: Position,
    segments: Segments,
    cold: Rc<dyn ColdRead>,
    clock: Arc<dyn Clock>,
    tasks: Rc<dyn Tasks>,
) -> Rc<Broker> {
    let memory = MirrorMemory::new(256 << 10, Pages::Common).unwrap();
    let limits =
        LogLimits { block_bytes: 16 << 10, inflight_bytes: 64 << 10, payload_bytes_max: 32 << 10 };
    let (log, _) = CommitLog::new(limits, memory, end, 1);
    let (signal, durable) = log.connect_shards(1).remove(0);
    let env = Env { clock, random: Arc::new(SeededRandom::new(1)), tasks, cold: cold.clone() };
    let settings = BrokerSettings {
        flush_async: true,
        producer_expiration: Duration::MAX,
        cold_read_bytes: 1 << 20,
        cold_reads: 4,
        cold_ahead_bytes: 4 << 20,
        conversion_cache_bytes: 1 << 20,
        converted_answer_bytes: 1 << 20,
        store_host: ([127, 0, 0, 1], 10_911).into(),
        retention_check: Duration::MAX,
        groups: GroupSettings::default(),
        timers: TimerSettings { max_pending: 0, held_bytes: 0 },
        counted_groups: 0,
    };
    let (mailboxes, mailbox) = flume::bounded(1);
    let shared = Shared {
        log,
        segments: Arc::new(segments),
        mailboxes: Arc::new([mailboxes].into()),
        settings: Arc::new(settings),
    };
    let index = QueueIndex::new(cold, 0, Arc::new([]), Position(0));
    let shard = ShardId(0);
    let (state, keys) = (state(), Arc::new([]));
    Broker::start(Start { env, shard, shared, state, index, keys, signal, durable, mailbox })
}

fn state() -> ShardState {
    let mut cluster = ClusterState::new(Setup::default());
    cluster.apply(
        Position(1),
        &Command::CreateTopic {
            id: TopicId([1; 16]),
            name: "orders".into(),
            collides: true,
            partitions: 1,
            configs: Default::default(),
            created_ms: 0,
        },
    );
    let topic = Arc::clone(cluster.topic("orders").unwrap());
    let snapshot = QueueSnapshot {
        id: QUEUE,
        log_start: 0,
        next_offset: 0,
        bytes: 0,
        counted_from: 0,
        oldest: Position(0),
        producers: Producers::default(),
    };
    let queues = [(QUEUE, (topic, snapshot))].into_iter().collect();
    ShardState {
        cluster,
        queues,
        groups: Vec::new(),
        timers: Default::default(),
        lost: Default::default(),
        entries: Vec::new(),
    }
}

pub(in crate::broker) fn send_kafkas(broker: &Rc<Broker>, values: &[&str]) {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.record(4_000, Some(b"key"), Some(value.as_bytes()), &[("TAGS", Some(b"K"))]);
    }
    append_batch(broker, &builder.build().unwrap());
}

fn append_batch(broker: &Rc<Broker>, batch: &[u8]) {
    let header = BatchHeader::validate(batch).unwrap();
    block_on(broker.append_when_free(QUEUE, batch, &header, Duration::ZERO)).unwrap();
}

/// A record on its way into the queue.
pub(in crate::broker) fn message_record(body: &str) -> Vec<u8> {
    let host = ([10, 0, 0, 1], 1).into();
    let record = Record {
        version: RecordVersion::V1,
        body_crc: 0,
        queue_id: 0,
        flag: 0,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: SysFlag(0),
        born_timestamp: 3_000,
        born_host: host,
        store_timestamp: 0,
        store_host: host,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: body.as_bytes(),
        topic: "orders",
        properties: "TAGS\u{1}R\u{2}",
    };
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    bytes
}

fn send_rocketmqs(broker: &Rc<Broker>, body: &str) {
    let bytes = message_record(body);
    let tag_hash = TagHash::of(Some("R"));
    let message =
        MessageToAppend { record: &bytes, tag_hash, has_key: false, early: false, admitted: false };
    block_on(broker.append_message_when_free(QUEUE, &message, Duration::ZERO)).unwrap();
}

/// Offsets 0 to 2 and 4 to 5 are Kafka's, 3 is RocketMQ's.
fn mixed() -> Rc<Broker> {
    let broker = broker();
    send_kafkas(&broker, &["k0", "k1", "k2"]);
    send_rocketmqs(&broker, "r3");
    send_kafkas(&broker, &["k4", "k5"]);
    broker
}

#[test]
fn a_message_is_viewed_whoever_wrote_it() {
    let broker = mixed();
    for (offset, body) in [(1, "k1"), (3, "r3"), (5, "k5"), (0, "k0")] {
        let bytes = block_on(broker.message_at(QUEUE, offset)).unwrap().unwrap();
        let record = Record::parse(&bytes).unwrap();
        assert_eq!(record.encoded_bytes(), bytes.len(), "one alone");
        assert_eq!((record.queue_offset, record.body), (offset, body.as_bytes()));
        assert_eq!(record.physical_offset, QUEUE.locator(offset));
        assert_eq!((record.topic, record.store_timestamp), ("orders", 5_000));
    }
    for none in [-1, 6, i64::MAX] {
        assert_eq!(block_on(broker.message_at(QUEUE, none)), Ok(None));
    }
    let unknown = block_on(broker.message_at(QueueId(7), 0));
    assert_eq!(unknown, Err(ReadError::UnknownQueue));
    broker.log_start_durable(QUEUE, 2);
    assert_eq!(block_on(broker.message_at(QUEUE, 1)), Ok(None));
    assert!(block_on(broker.message_at(QUEUE, 2)).unwrap().is_some());
}

#[test]
fn an_offset_without_a_message_is_none() {
    let broker = broker();
    // As a log repair leaves it.
    let hole = BatchBuilder::without_records(0, 3).unwrap();
    let header = BatchHeader { record_count: 3, ..BatchHeader::parse(&hole).unwrap() };
    block_on(broker.append_when_free(QUEUE, &hole, &header, Duration::ZERO)).unwrap();
    send_rocketmqs(&broker, "r3");
    assert_eq!(block_on(broker.message_at(QUEUE, 1)), Ok(None));
    assert!(block_on(broker.message_at(QUEUE, 3)).unwrap().is_some());
    let pulled = block_on(broker.pull(asked(0, 32, Filter::All))).unwrap();
    assert_eq!((pulled.next_offset, pulled.pieces.len()), (4, 1));
}

fn asked(offset: i64, messages_max: usize, filter: Filter) -> Pull {
    let filter = Arc::new(filter);
    Pull { queue: QUEUE, offset, messages_max, bytes_max: 1 << 20, filter, wait: Duration::ZERO }
}

#[test]
fn without_memory_for_what_is_converted_a_pull_ends_with_its_first_message() {
    let broker = mixed();
    let mut others = Converted::new(&broker.answer_room);
    assert!(others.push(&vec![0; 2 << 20], true));
    let all = |offset| pulled(&broker, asked(offset, 32, Filter::All));
    assert_eq!(all(0), (vec![0], 1));
    // What lies in the log as it is needs none.
    assert_eq!(all(3), (vec![3], 4));
    assert_eq!(all(4), (vec![4], 5));
    drop(others);
    assert_eq!(all(0), ((0..6).collect(), 6));
}

/// The offsets of a pull's messages, and where to go on.
fn pulled(broker: &Rc<Broker>, pull: Pull) -> (Vec<i64>, i64) {
    let pulled = block_on(broker.pull(pull)).unwrap();
    let mut offsets = Vec::new();
    for piece in &pulled.pieces {
        match piece {
            Piece::Log(slice) => offsets.push(slice.base_offset),
            Piece::Converted(bytes, _) => {
                let records = crate::wire::rocketmq::record::Records::new(bytes);
                offsets.extend(records.map(|record| record.unwrap().queue_offset));
            }
        }
    }
    (offsets, pulled.next_offset)
}

#[test]
fn pulls_go_on_where_they_ended() {
    let broker = mixed();
    let all = |offset, messages_max| pulled(&broker, asked(offset, messages_max, Filter::All));
    assert_eq!(all(0, 32), ((0..6).collect(), 6));
    assert_eq!(all(0, 2), (vec![0, 1], 2));
    assert_eq!(all(2, 2), (vec![2, 3], 4));
    assert_eq!(all(4, 2), (vec![4, 5], 6));
    let tags = |tags| pulled(&broker, asked(0, 32, Filter::tags(tags).unwrap()));
    assert_eq!(tags("R"), (vec![3], 6));
    assert_eq!(tags("K"), (vec![0, 1, 2, 4, 5], 6));
    let sql = |sql| pulled(&broker, asked(1, 2, Filter::sql(sql).unwrap()));
    assert_eq!(sql("TAGS = 'R' OR KEYS = 'key'"), (vec![1, 2], 3));
    assert_eq!(sql("KEYS IS NULL"), (vec![3], 6));
    // One message is given whatever its size.
    let small = Pull { bytes_max: 1, ..asked(1, 32, Filter::All) };
    assert_eq!(pulled(&broker, small), (vec![1], 2));
}

/// Counts the turns that others would have.
#[derive(Default)]
struct Turns(Cell<usize>);

impl Tasks for Turns {
    fn spawn(&self, _: LocalFuture<'static, ()>) {}

    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()> {
        assert_eq!(duration, Duration::ZERO);
        self.0.set(self.0.get() + 1);
        Box::pin(std::future::ready(()))
    }
}

#[test]
fn a_pull_that_looks_into_much_gives_others_a_turn_and_ends() {
    const MESSAGES: i64 = 40;
    let turns = Rc::new(Turns::default());
    let broker = broker_with(Rc::clone(&turns) as Rc<dyn Tasks>);
    let mut builder = BatchBuilder::new();
    let large = vec![0; 600_000];
    for _ in 0..MESSAGES {
        builder.record(4_000, None, Some(&large), &[]);
    }
    append_batch(&broker, &builder.codec(Codec::Zstd).build().unwrap());
    let nobodys = |offset| asked(offset, 32, Filter::sql("a = 'b'").unwrap());
    let (found, next) = pulled(&broker, nobodys(0));
    assert!(found.is_empty() && (16..32).contains(&next), "16 MiB end at {next}");
    // Each of them is more than is looked into at one go.
    assert!(turns.0.get() as i64 >= next - 1, "{} turns", turns.0.get());
    assert_eq!(pulled(&broker, nobodys(next)), (Vec::new(), MESSAGES));

    // Many small ones are as much work.
    send_kafkas(&broker, &["small"; 1_000]);
    let before = turns.0.get();
    assert_eq!(pulled(&broker, nobodys(MESSAGES)), (Vec::new(), MESSAGES + 1_000));
    assert!(turns.0.get() >= before + 7, "{} turns", turns.0.get() - before);
}
