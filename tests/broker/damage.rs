//! Damaged logs: what was never acknowledged is cut off and said, what was is never given up.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    time::Instant,
};

use rdkafka::{
    Message as _, Offset,
    error::{KafkaError, RDKafkaErrorCode},
    message::OwnedMessage,
};

use super::{
    client::{POLL, Sender, Sent, consumer_at, read_texts, send_one, take},
    process::{BrokerProcess, DataDir, PATIENCE, get, verified, verify},
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
fn find(data: &Path, text: &str) -> (PathBuf, u64) {
    for path in super::process::segments(data) {
        let bytes = fs::read(&path).unwrap();
        let found = bytes.windows(text.len()).position(|window| window == text.as_bytes());
        if let Some(at) = found {
            return (path, at as u64);
        }
    }
    panic!("{text:?} is in no segment")
}

fn flip(path: &Path, at: u64) {
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

#[test]
fn a_flipped_bit_in_acknowledged_data_stops_start_and_verification() {
    let data = filled();
    let (path, at) = find(data.path(), &values()[COUNT / 2]);
    let before: Vec<_> = data.segments().iter().map(|path| fs::read(path).unwrap()).collect();
    flip(&path, at);
    let place = format!("{}: positions ", path.display());
    let output = verify(data.path());
    assert_eq!(output.status.code(), Some(1));
    let verified_errors = String::from_utf8(output.stderr).unwrap();
    let Err(ended) = BrokerProcess::try_start(data.path(), &[]) else { panic!("it started") };
    assert_eq!(ended.status.code(), Some(1));
    for errors in [&verified_errors, &ended.errors] {
        assert!(errors.contains("acknowledged data is damaged"), "{errors}");
        assert!(errors.contains(&place), "{errors}");
    }
    // Neither has touched anything: with the bit back, all is there.
    flip(&path, at);
    let after: Vec<_> = data.segments().iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(before == after, "a refused start changed the log");
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values());
}

/// Reads partition 0 from `offset` on until the broker answers an error, which must be that the
/// message is damaged; returns what was read.
fn read_to_damage(broker: &BrokerProcess, topic: &str, offset: Offset) -> Vec<String> {
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

fn read_from(broker: &BrokerProcess, topic: &str, offset: i64, count: usize) -> Vec<String> {
    let consumer = consumer_at(&broker.kafka, topic, 0, Offset::Offset(offset));
    let text = |message: OwnedMessage| String::from_utf8(message.payload().unwrap().to_vec());
    take(&consumer, count).into_iter().map(|message| text(message).unwrap()).collect()
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
    let Err(ended) = BrokerProcess::try_start(data.path(), &[]) else { panic!("it started") };
    assert!(ended.errors.contains(&missing), "{}", ended.errors);
}
