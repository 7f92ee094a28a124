//! What is kept, for how long, and how it is read once it has left memory.

use kafka_protocol::messages::DescribeLogDirsRequest;
use rdkafka::{Message as _, Offset};

use super::{
    client::{Sender, Sent, consumer_at, read, send_one, take, watermarks},
    process::{BrokerProcess, DataDir, until, verified},
    topics::Administrator,
    wire::Wire,
};

pub const MIB: usize = 1 << 20;
const VALUE_BYTES: usize = 250_000;
const RETENTION: [&str; 1] = ["log.retention_check_ms=100"];

/// A value whose bytes all follow from its number.
fn value(number: usize) -> Vec<u8> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mut bytes = Vec::with_capacity(VALUE_BYTES + 8);
    while bytes.len() < VALUE_BYTES {
        bytes.extend_from_slice(&state.to_le_bytes());
        state = state.wrapping_add(0x2545_F491_4F6C_DD1D);
    }
    bytes
}

/// Sends so many bytes in large messages; returns how many messages.
pub fn fill(broker: &BrokerProcess, topic: &str, bytes: usize) -> usize {
    fill_with(broker, topic, bytes, &[])
}

/// As [`fill`], in messages with these headers.
pub fn fill_with(
    broker: &BrokerProcess,
    topic: &str,
    bytes: usize,
    headers: &[(&str, &str)],
) -> usize {
    let header =
        |(name, value): &(&str, &str)| ((*name).to_owned(), Some((*value).to_owned().into_bytes()));
    let message = |number| Sent {
        headers: headers.iter().map(header).collect(),
        ..Sent::value(value(number))
    };
    let sender = Sender::new(&broker.kafka, &[("queue.buffering.max.kbytes", "8192")]);
    let count = bytes.div_ceil(VALUE_BYTES);
    (0..count).for_each(|number| sender.send(topic, 0, &message(number)));
    assert_eq!(sender.delivered().len(), count);
    count
}

#[test]
fn a_partition_is_kept_to_its_size_and_space_comes_back() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &RETENTION);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, &[("retention.bytes", "8000000")]).unwrap();
    let count = fill(&broker, "orders", 80 * MIB) as i64;
    until("the log start moves", || {
        let (start, end) = watermarks(&broker.kafka, "orders", 0);
        assert_eq!(end, count);
        (count - start) * VALUE_BYTES as i64 <= 8_500_000
    });
    // The segment in use, what two checkpoints may replay, and what the partition keeps.
    until("segments are dropped", || broker.metric("log_disk_bytes") <= 64 << 20);
    let (start, _) = watermarks(&broker.kafka, "orders", 0);
    let kept = read(&broker.kafka, "orders", 0, (count - start) as usize);
    assert_eq!(kept[0].offset(), start);
    for message in &kept {
        assert!(message.payload().unwrap() == value(message.offset() as usize));
    }
    broker.stop();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &RETENTION);
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (start, count));
}

/// Bytes that a broker counts in its only topic.
fn size(broker: &BrokerProcess) -> i64 {
    let asked = DescribeLogDirsRequest::default().with_topics(None);
    let answer = Wire::connect(&broker.kafka).ask(4, &asked);
    answer.results[0].topics[0].partitions.iter().map(|partition| partition.partition_size).sum()
}

#[test]
fn what_was_deleted_is_not_counted_after_a_crash() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    for number in 0..9 {
        assert_eq!(send_one(&broker.kafka, "orders", "the same"), Ok(number));
    }
    let all = size(&broker);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::Offset(6)), Ok(6));
    until("it is taken off", || size(&broker) == all / 3);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    until("it is taken off again", || size(&broker) == all / 3);
    broker.stop();
}

#[test]
fn what_was_deleted_holds_no_segment_after_a_crash() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, &[]).unwrap();
    let count = fill(&broker, "orders", 80 * MIB) as i64;
    let last = count - 1;
    assert_eq!(admin.delete_records("orders", Offset::Offset(last)), Ok(last));
    // But for the batch that the last one came in.
    until("it is taken off", || size(&broker) < 2 * MIB as i64);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &RETENTION);
    Administrator::new(&broker.kafka).create("others", 1, &[]).unwrap();
    let mut sent = 0;
    // The next checkpoints come with the next segments, on a busy machine not with each.
    until("segments are dropped", || {
        sent += fill(&broker, "others", 4 * MIB) * VALUE_BYTES;
        broker.metric("log_disk_bytes") <= (sent + 64 * MIB) as u64
    });
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (last, count));
    let kept = read(&broker.kafka, "orders", 0, 1);
    assert!(kept[0].payload().unwrap() == value(last as usize));
}

#[test]
fn a_topic_is_kept_for_its_time() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &RETENTION);
    let admin = Administrator::new(&broker.kafka);
    admin.create("short", 1, &[("retention.ms", "1000")]).unwrap();
    admin.create("long", 1, &[]).unwrap();
    assert_eq!(send_one(&broker.kafka, "short", "soon gone"), Ok(0));
    assert_eq!(send_one(&broker.kafka, "long", "stays"), Ok(0));
    until("the message expires", || watermarks(&broker.kafka, "short", 0) == (1, 1));
    assert_eq!(send_one(&broker.kafka, "short", "the next"), Ok(1));
    assert_eq!(watermarks(&broker.kafka, "long", 0), (0, 1));
}

#[test]
fn partitions_that_expire_together_take_few_writes() {
    const PARTITIONS: i32 = 300;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &RETENTION);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", PARTITIONS, &[]).unwrap();
    let sender = Sender::new(&broker.kafka, &[]);
    (0..PARTITIONS).for_each(|partition| sender.send("orders", partition, &Sent::value("gone")));
    sender.delivered();
    let writes = || broker.metric("stage_seconds_count{stage=\"write\"}");
    let before = writes();
    admin.alter("orders", &[("retention.ms", "1")]).unwrap();
    until("all are gone and taken off", || size(&broker) == 0);
    let writes = writes() - before;
    assert!(writes < PARTITIONS as u64 / 10, "{writes} writes");
}

#[test]
fn the_whole_log_is_kept_to_its_limit_with_a_warning() {
    let data = DataDir::new();
    let settings = ["log.retention_check_ms=100", "log.max_bytes=64MiB"];
    let broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let count = fill(&broker, "orders", 112 * MIB) as i64;
    broker.wait_for_error("log.max_bytes: messages were given up before their time");
    assert!(broker.metric("log_max_bytes_cuts_total") >= 1);
    assert_eq!(broker.metric("log_ready_bytes") % (16 << 20), 0);
    until("the log shrinks", || broker.metric("log_disk_bytes") <= 64 << 20);
    let (start, end) = watermarks(&broker.kafka, "orders", 0);
    assert!(0 < start && start < end && end == count, "{start} to {end}");
    let kept = read(&broker.kafka, "orders", 0, (count - start) as usize);
    assert!(kept.iter().all(|m| m.payload().unwrap() == value(m.offset() as usize)));
    broker.stop();
    verified(data.path());
}

fn assert_reads_all(broker: &BrokerProcess, count: usize) {
    let consumer = consumer_at(&broker.kafka, "orders", 0, Offset::Beginning);
    for number in 0..count {
        let message = take(&consumer, 1).remove(0);
        assert_eq!(message.offset(), number as i64);
        assert!(message.payload().unwrap() == value(number), "{number} differs");
    }
}

#[test]
fn what_has_left_memory_is_read_from_disk() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let count = fill(&broker, "orders", 72 * MIB);
    assert_reads_all(&broker, count);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_reads_all(&broker, count);
    broker.stop();
    verified(data.path());
}

#[test]
fn merged_index_files_find_the_same() {
    const ROUNDS: i64 = 10;
    let data = DataDir::new();
    let settings = ["log.first_segment_bytes=4MiB"];
    for round in 0..ROUNDS {
        let broker = BrokerProcess::start(data.path(), &settings);
        assert_eq!(send_one(&broker.kafka, "orders", &round.to_string()), Ok(round));
        // Every stop writes an index file.
        broker.stop();
    }
    let files = data.path().join("index").read_dir().unwrap().count();
    assert!(files < ROUNDS as usize - 1, "{files} index files are not merged");
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &settings);
    for offset in 0..ROUNDS {
        let consumer = consumer_at(&broker.kafka, "orders", 0, Offset::Offset(offset));
        assert_eq!(take(&consumer, 1)[0].payload(), Some(offset.to_string().as_bytes()));
    }
}
