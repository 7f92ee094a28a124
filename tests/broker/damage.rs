//! Damaged logs: what was never acknowledged is cut off and said, what was is never given up.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use bytes::Bytes;
use kafka_protocol::{
    messages::{
        GroupId, OffsetCommitRequest, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    },
    protocol::StrBytes,
};
use rdkafka::{
    Message as _, Offset,
    error::{KafkaError, RDKafkaErrorCode},
    message::OwnedMessage,
};

use mainstem::{
    storage::commit_log::frame::FRAME_HEADER,
    wire::{kafka::BatchBuilder, rocketmq::record::Record},
};

use super::{
    client::{POLL, Sender, Sent, consumer_at, read, read_texts, send_one, take, watermarks},
    process::{BrokerProcess, DataDir, PATIENCE, dump, get, repair, until, verified, verify},
    remoting::Remoting,
    timers::{self, await_messages},
    topics::Administrator,
    wire::{Wire, produce},
};

const COUNT: usize = 200;

fn values() -> Vec<String> {
    (0..COUNT).map(|number| format!("value {number:06} to be found again")).collect()
}

/// The data of a broker that was killed right after its last message became durable: that message is
/// alone in the last block, and no empty block has confirmed it.
fn filled() -> DataDir {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.idle_block_ms=60000"]);
    let sender = Sender::new(&broker.kafka, &[("batch.num.messages", "1"), ("linger.ms", "0")]);
    for (number, value) in values().into_iter().enumerate() {
        if number == COUNT - 1 {
            sender.delivered();
        }
        sender.send("orders", 0, &Sent::value(value));
    }
    sender.delivered();
    broker.kill();
    data
}

/// The first segment that holds `text`, and where.
pub fn find(data: &Path, text: &str) -> (PathBuf, u64) {
    for path in super::process::segments(data) {
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = found {
            return (path, at as u64);
        }
    }
    panic!("{text:?} is in no segment")
}

pub fn flip(path: &Path, at: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

/// Bytes of a segment up to its last one that is not zero.
fn used(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
}

fn contents(data: &DataDir) -> Vec<Vec<u8>> {
    data.segments().iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Reads partition 0 from `offset` on until the broker answers an error, which must be that the
/// message is damaged; returns what was read.
pub fn read_to_damage(broker: &BrokerProcess, topic: &str, offset: Offset) -> Vec<String> {
    let consumer = consumer_at(&broker.kafka, topic, 0, offset);
    let mut read = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no error came after {} messages", read.len());
        match consumer.poll(POLL) {
            None => {}
            Some(Ok(message)) => {
                read.push(String::from_utf8(message.payload().unwrap().to_vec()).unwrap());
            }
            Some(Err(error)) => {
                let damaged = KafkaError::MessageConsumption(RDKafkaErrorCode::InvalidMessage);
                assert_eq!(error, damaged);
                return read;
            }
        }
    }
}

pub fn read_from(broker: &BrokerProcess, topic: &str, offset: i64, count: usize) -> Vec<String> {
    let consumer = consumer_at(&broker.kafka, topic, 0, Offset::Offset(offset));
    let text = |message: OwnedMessage| String::from_utf8(message.payload().unwrap().to_vec());
    take(&consumer, count).into_iter().map(|message| text(message).unwrap()).collect()
}

/// What a broker on a damaged log does, whatever the damage.
pub fn is_read_only(broker: &BrokerProcess, topic: &str) {
    const KAFKA_STORAGE_ERROR: i16 = 56;
    const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    broker.wait_for_error("run `mainstem log repair`");
    let page = get(&broker.admin, "/readyz");
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("mainstem log repair"), "{page}");
    assert!(broker.metric("log_holes") >= 1);
    assert_eq!(broker.metric("log_stopped"), 1);
    let mut wire = Wire::connect(&broker.kafka);
    let mut builder = BatchBuilder::new();
    builder.record(1, None, Some(b"value"), &[]);
    let answer = wire.ask(9, &produce(topic, builder.build().unwrap().into()));
    let error = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(error, KAFKA_STORAGE_ERROR);
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let committed = OffsetCommitRequestTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(vec![partition]);
    let commit = OffsetCommitRequest::default()
        .with_group_id(GroupId(StrBytes::from_static_str("billing")))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![committed]);
    let answer = wire.ask(8, &commit);
    assert_eq!(answer.topics[0].partitions[0].error_code, COORDINATOR_NOT_AVAILABLE);
}

#[test]
fn around_a_flipped_bit_everything_is_served_and_nothing_is_written() {
    let data = filled();
    let (path, at) = find(data.path(), &values()[COUNT / 2]);
    let before = contents(&data);
    flip(&path, at);
    let place = format!("{}: positions ", path.display());
    let output = verify(data.path());
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("acknowledged data is damaged"), "{errors}");
    assert!(errors.contains(&place), "{errors}");

    let broker = BrokerProcess::start(data.path(), &[]);
    let lost = format!("lost: orders-0, offsets {0} to {0}", COUNT / 2);
    broker.wait_for_error(&lost);
    broker.wait_for_error(&place);
    is_read_only(&broker, "orders");
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, COUNT as i64));
    assert_eq!(read_to_damage(&broker, "orders", Offset::Beginning), values()[..COUNT / 2]);
    let behind = COUNT / 2 + 1;
    let rest = read_from(&broker, "orders", behind as i64, COUNT - behind);
    assert_eq!(rest, values()[behind..]);
    let ended = broker.terminate();
    assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
    // Nobody has touched anything: with the bit back, all is there.
    flip(&path, at);
    assert!(before == contents(&data), "the log was changed");
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values());
    broker.stop();
}

/// Damage that no start reads is found by whoever reads it, and is nobody else's.
#[test]
fn a_bit_that_flips_under_a_running_broker_is_an_error_of_its_message_alone() {
    let data = filled();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(send_one(&broker.kafka, "other", "intact"), Ok(0));
    broker.stop();
    // Nothing is in memory after a restart.
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(broker.metric("damaged_reads_total"), 0);
    let (path, at) = find(data.path(), &values()[COUNT / 2]);
    flip(&path, at);
    assert_eq!(read_to_damage(&broker, "orders", Offset::Beginning), values()[..COUNT / 2]);
    assert!(broker.metric("damaged_reads_total") >= 1);
    broker.wait_for_error(&format!("{}: the frame at position ", path.display()));
    let behind = COUNT / 2 + 1;
    let rest = read_from(&broker, "orders", behind as i64, COUNT - behind);
    assert_eq!(rest, values()[behind..]);
    assert_eq!(read_texts(&broker.kafka, "other", 1), ["intact"]);
    assert_eq!(send_one(&broker.kafka, "orders", "goes on"), Ok(COUNT as i64));
    assert!(get(&broker.admin, "/readyz").starts_with("HTTP/1.1 200"));
    broker.stop();
    // A repair reads all of the log.
    let said = repair(data.path(), &[]);
    assert!(said.contains(&format!("lost: orders-0, offsets {0} to {0}\n", COUNT / 2)), "{said}");
    assert!(!said.contains("go on at"), "{said}");
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut left = without(COUNT / 2);
    left.push("goes on".to_owned());
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), left);
    broker.stop();
    verified(data.path());
}

/// A line says where the frame itself begins, and whose it is.
#[test]
fn a_dump_names_partitions_and_places() {
    let data = filled();
    let lines = dump(data.path());
    assert_eq!(lines[0], "position kind partition base_offset count bytes append_time_ms");
    let frames: Vec<Vec<_>> = lines[1..].iter().map(|line| line.split(' ').collect()).collect();
    let messages: Vec<_> = frames.iter().filter(|frame| frame[1] == "kafka-batch").collect();
    assert_eq!(messages.len(), COUNT);
    assert!(messages.iter().all(|frame| frame[2] == "orders-0"), "{messages:?}");
    assert!(frames.iter().any(|frame| frame[1] == "cluster" && frame[2] == "-"));
    // A frame begins with its length.
    let (position, bytes) = (messages[0][0], messages[0][5].parse::<u32>().unwrap());
    let log = fs::read(&data.segments()[0]).unwrap();
    let header = &log[position.parse::<usize>().unwrap()..][..FRAME_HEADER];
    assert_eq!(header[..4], (FRAME_HEADER as u32 + bytes).to_le_bytes());
}

/// Damages both checkpoints.
fn break_checkpoints(data: &DataDir) {
    let entries = data.path().join("checkpoints").read_dir().unwrap();
    let paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    assert_eq!(paths.len(), 2);
    paths.iter().for_each(|path| flip(path, 30));
}

/// A checkpoint saves time. What it says is in the log too, as long as that is whole.
#[test]
fn without_a_good_checkpoint_the_whole_log_is_read_if_it_is_whole() {
    let data = DataDir::new();
    for number in 0..3 {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert_eq!(send_one(&broker.kafka, "orders", &format!("value {number}")), Ok(number));
        broker.stop();
    }
    break_checkpoints(&data);
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("the state is rebuilt from the whole log");
    assert_eq!(read_texts(&broker.kafka, "orders", 3), ["value 0", "value 1", "value 2"]);
    assert_eq!(send_one(&broker.kafka, "orders", "value 3"), Ok(3));
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert!(!broker.errors().contains("checkpoint"), "{}", broker.errors());
    broker.stop();

    break_checkpoints(&data);
    fs::remove_file(&data.segments()[0]).unwrap();
    let ended = BrokerProcess::try_start(data.path(), &[]).err().expect("it does not start");
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.errors.contains("Put back the directory `checkpoints`"), "{}", ended.errors);
}

/// All values but one.
fn without(number: usize) -> Vec<String> {
    let mut values = values();
    values.remove(number);
    values
}

#[test]
fn a_repaired_log_takes_messages_again_and_consumers_pass_over_the_hole() {
    let data = filled();
    let (path, at) = find(data.path(), &values()[COUNT / 2]);
    flip(&path, at);
    let before = contents(&data);
    let said = repair(data.path(), &["--dry-run"]);
    assert!(said.contains(&format!("lost: orders-0, offsets {0} to {0}\n", COUNT / 2)), "{said}");
    assert!(said.contains("give up 1 damaged stretches"), "{said}");
    assert!(said.ends_with("nothing was done\n"), "{said}");
    assert!(before == contents(&data), "the log was changed");
    assert!(repair(data.path(), &[]).ends_with("the broker can be started\n"));
    // What was written is still there as it was, only the unused end of its file is not.
    for (before, after) in before.iter().zip(contents(&data)) {
        assert!(before.starts_with(&after), "a written segment was changed");
    }
    assert_eq!(repair(data.path(), &[]), "no damage is left to repair\n");
    let given_up = format!("given up: {}: positions ", path.display());
    assert!(verified(data.path()).contains(&given_up));
    for round in 0..2 {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert!(get(&broker.admin, "/readyz").starts_with("HTTP/1.1 200"));
        assert_eq!(broker.metric("log_holes"), 0);
        let read = read_texts(&broker.kafka, "orders", COUNT - 1);
        assert_eq!(read, without(COUNT / 2));
        // From within the hole, too.
        let rest = read_from(&broker, "orders", COUNT as i64 / 2, COUNT / 2 - 1);
        assert_eq!(rest, values()[COUNT / 2 + 1..]);
        assert_eq!(send_one(&broker.kafka, "orders", "more"), Ok(COUNT as i64 + round));
        broker.stop();
        verified(data.path());
    }
}

/// Nothing tells what was in a block whose header is gone, but what lies around it.
#[test]
fn ends_that_nobody_knows_are_moved_on_far_enough() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.idle_block_ms=60000"]);
    for (topic, value) in [
        ("orders", "first"),
        ("other", "lost with all that tells of it"),
        ("orders", "second"),
        ("orders", "third"),
    ] {
        assert!(send_one(&broker.kafka, topic, value).is_ok());
    }
    broker.kill();
    wipe_block(&data, "lost with all");
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("perhaps lost: messages behind the last one of 1 partitions");
    is_read_only(&broker, "orders");
    assert_eq!(read_texts(&broker.kafka, "orders", 3), ["first", "second", "third"]);
    assert_eq!(watermarks(&broker.kafka, "other", 0), (0, 0));
    broker.kill();
    let said = repair(data.path(), &[]);
    let next = 8 * 4096;
    assert!(said.contains(&format!("let other-0 go on at offset {next};")), "{said}");
    assert!(!said.contains("orders-0 go on"), "{said}");
    // As if it had been cut off before its last step: there is less to do.
    fs::remove_file(data.path().join("log/given-up")).unwrap();
    let broker = BrokerProcess::start(data.path(), &[]);
    is_read_only(&broker, "orders");
    broker.kill();
    let said = repair(data.path(), &[]);
    assert!(said.contains("give up 1 damaged") && !said.contains("go on"), "{said}");
    for round in 0..2 {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert_eq!(watermarks(&broker.kafka, "other", 0), (0, next + round));
        assert_eq!(send_one(&broker.kafka, "other", "anew"), Ok(next + round));
        let read = read(&broker.kafka, "other", 0, 1);
        assert_eq!(read[0].offset(), next);
        assert_eq!(read_texts(&broker.kafka, "orders", 3), ["first", "second", "third"]);
        broker.stop();
        verified(data.path());
    }
}

/// What says that offsets of a timer queue are lost is no timer.
#[test]
fn timer_queues_that_were_moved_on_deliver() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.idle_block_ms=60000"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let soon = [("TIMER_DELAY_MS", "1")];
    timers::send(&mut client, "orders", &soon, "first");
    await_messages(&mut client, "orders", 0, 1);
    assert!(send_one(&broker.kafka, "other", "lost with all that tells of it").is_ok());
    assert!(send_one(&broker.kafka, "orders", "behind").is_ok());
    broker.kill();
    wipe_block(&data, "lost with all");
    let said = repair(data.path(), &[]);
    for queue in 0..16 {
        assert!(said.contains(&format!("let __mainstem_timers-{queue} go on at")), "{said}");
    }
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let ids: Vec<_> = (0..64).map(|number| format!("anew-{number:02}")).collect();
    ids.iter().for_each(|id| drop(timers::send(&mut client, "orders", &soon, id)));
    until("all have fired", || broker.metric("timers_fired_total") >= 64);
    let found = await_messages(&mut client, "orders", 2, 64);
    let text =
        |record: &Bytes| String::from_utf8(Record::parse(record).unwrap().body.to_vec()).unwrap();
    let mut came: Vec<_> = found.iter().map(text).collect();
    came.sort();
    assert_eq!(came, ids);
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, 66));
    assert_eq!(broker.metric("timers_pending"), 0);
    broker.stop();
    verified(data.path());
}

/// Puts zeros over the block that holds `text`, wherever its topic's creation is.
fn wipe_block(data: &DataDir, text: &str) {
    let (path, at) = find(data.path(), text);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0; 4096], at / 4096 * 4096).unwrap();
}

/// The index still tells what a block held that is wholly gone.
#[test]
fn ends_that_the_index_knows_are_kept() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    for (topic, value) in [("orders", "first"), ("other", "known to the index"), ("orders", "last")]
    {
        assert!(send_one(&broker.kafka, topic, value).is_ok());
    }
    broker.stop();
    wipe_block(&data, "known to the index");
    let settings = ["shards.count=3"];
    let broker = BrokerProcess::start(data.path(), &settings);
    broker.wait_for_error("lost: other-0, offsets 0 to 0");
    is_read_only(&broker, "orders");
    assert_eq!(read_to_damage(&broker, "other", Offset::Beginning), [""; 0]);
    assert_eq!(read_texts(&broker.kafka, "orders", 2), ["first", "last"]);
    broker.kill();
    let said = repair(data.path(), &[]);
    assert!(said.contains("lost: other-0, offsets 0 to 0\n"), "{said}");
    assert!(said.contains("let other-0 go on at offset 1;"), "{said}");
    assert!(!said.contains("orders-0 go on") && !said.contains("perhaps"), "{said}");
    let broker = BrokerProcess::start(data.path(), &settings);
    assert_eq!(send_one(&broker.kafka, "other", "anew"), Ok(1));
    assert_eq!(read_texts(&broker.kafka, "other", 1), ["anew"]);
    assert_eq!(read_texts(&broker.kafka, "orders", 2), ["first", "last"]);
    broker.stop();
    verified(data.path());
}

/// A topic whose creation is lost takes nothing with it: the queues of those created later keep their
/// numbers, and nobody gets its own.
#[test]
fn a_lost_topic_does_not_change_what_others_hold() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.idle_block_ms=60000"]);
    let admin = Administrator::new(&broker.kafka);
    for topic in ["first", "vanishing", "last"] {
        admin.create(topic, 1, &[]).unwrap();
    }
    for topic in ["first", "vanishing", "last"] {
        assert_eq!(send_one(&broker.kafka, topic, topic), Ok(0));
    }
    broker.kill();
    wipe_block(&data, "vanishing");
    let settings = ["kafka.auto_create_topics=false"];
    let broker = BrokerProcess::start(data.path(), &settings);
    is_read_only(&broker, "first");
    assert_eq!(read_texts(&broker.kafka, "first", 1), ["first"]);
    assert_eq!(read_texts(&broker.kafka, "last", 1), ["last"]);
    broker.kill();
    repair(data.path(), &[]);
    let broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("vanishing", 1, &[]).unwrap();
    assert_eq!(send_one(&broker.kafka, "vanishing", "anew"), Ok(0));
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &settings);
    for (topic, value) in [("first", "first"), ("last", "last"), ("vanishing", "anew")] {
        assert_eq!(read_texts(&broker.kafka, topic, 1), [value]);
    }
    broker.stop();
    verified(data.path());
}

#[test]
fn garbage_behind_the_last_commit_is_cut_off() {
    let data = filled();
    let path = data.segments().pop().unwrap();
    let end = used(&path).next_multiple_of(4096);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0xA5; 3 * 4096], end).unwrap();
    // It may as well be what a recycled file held before: no write was seen to be torn.
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values());
    broker.stop();
    assert_eq!(fs::metadata(&path).unwrap().len(), end, "the garbage is still there");
    verified(data.path());
}

#[test]
fn a_last_write_that_is_torn_is_cut_off_and_said() {
    let data = filled();
    let (path, at) = find(data.path(), &values()[COUNT - 1]);
    // As if nothing from the middle of the last message on had reached the disk.
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    let length = file.metadata().unwrap().len();
    let zeros = vec![0; usize::try_from(length - at - 5).unwrap()];
    file.write_all_at(&zeros, at + 5).unwrap();
    let text = verified(data.path());
    assert!(text.contains("torn tail: a write at position "), "{text}");
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("the last write before the crash was cut off");
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT - 1), values()[..COUNT - 1]);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_segment_that_was_truncated_in_its_last_block_is_cut_off_there() {
    let data = filled();
    let (path, at) = find(data.path(), &values()[COUNT - 1]);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(at + 3).unwrap();
    let text = verified(data.path());
    assert!(text.contains("torn tail: a write at position "), "{text}");
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("the last write before the crash was cut off");
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT - 1), values()[..COUNT - 1]);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_missing_segment_is_not_passed_over() {
    let data = DataDir::new();
    for _ in 0..3 {
        let broker = BrokerProcess::start(data.path(), &[]);
        let sender = Sender::new(&broker.kafka, &[]);
        values().iter().for_each(|value| sender.send("orders", 0, &Sent::value(value.as_str())));
        sender.delivered();
        broker.stop();
    }
    let segments = data.segments();
    assert!(segments.len() >= 3, "{segments:?}");
    fs::remove_file(&segments[1]).unwrap();
    let output = verify(data.path());
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    let missing = format!("{}: positions ", segments[1].display());
    assert!(errors.contains(&missing), "{errors}");
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error(&format!("lost: orders-0, offsets {COUNT} to {}", 2 * COUNT - 1));
    is_read_only(&broker, "orders");
    assert_eq!(read_to_damage(&broker, "orders", Offset::Beginning), values());
    assert_eq!(read_from(&broker, "orders", 2 * COUNT as i64, COUNT), values());
    broker.kill();
    repair(data.path(), &[]);
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(read_texts(&broker.kafka, "orders", 2 * COUNT), [values(), values()].concat());
    assert_eq!(send_one(&broker.kafka, "orders", "more"), Ok(3 * COUNT as i64));
    broker.stop();
    verified(data.path());
}
