//! Input that is wrong: each gets the protocol's own error or a closed connection with a reason in
//! the log, memory does not grow with what is claimed, and nobody else notices.

use std::{io::Write as _, time::Duration};

use bytes::BytesMut;
use kafka_protocol::{
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, TopicName,
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable as _, StrBytes},
};
use mainstem::wire::kafka::{BatchBuilder, Codec};

use super::{
    client::{Sender, Sent, read_texts, send_one, watermarks},
    groups::become_the_only_member,
    process::{BrokerProcess, DataDir, until, verified},
    wire::{Wire, commit, frame, frame_of, join, produce},
};

/// As small as the largest batch allows.
const LIMIT: [&str; 1] = ["kafka.max_request_bytes=2MiB"];

/// Messages stored before and after the bad input.
const STORED: usize = 50;

/// A broker with a topic, and a client that was connected before anybody misbehaved.
struct Victim {
    data: DataDir,
    broker: BrokerProcess,
    bystander: Sender,
}

impl Victim {
    fn new() -> Self {
        let data = DataDir::new();
        let broker = BrokerProcess::start(data.path(), &LIMIT);
        let bystander = Sender::new(&broker.kafka, &[("max.in.flight", "1"), ("retries", "0")]);
        let victim = Self { data, broker, bystander };
        victim.store(0);
        victim
    }

    fn store(&self, from: usize) {
        for number in from..from + STORED {
            self.bystander.send("orders", 0, &Sent::value(number.to_string()));
        }
        let expected: Vec<_> = (from as i64..(from + STORED) as i64).collect();
        assert_eq!(self.bystander.delivered(), expected);
    }

    fn wire(&self) -> Wire {
        Wire::connect(&self.broker.kafka)
    }

    /// Sends bytes that must close their connection for a reason that is in the log.
    fn closes(&self, bytes: &[u8], reason: &str) {
        self.wire().expect_close(bytes);
        self.broker.wait_for_error(reason);
    }

    /// The bystander goes on, on the connection it had, and everything stored is as it was.
    fn unharmed(self) {
        self.store(STORED);
        let expected: Vec<_> = (0..2 * STORED).map(|number| number.to_string()).collect();
        assert_eq!(watermarks(&self.broker.kafka, "orders", 0), (0, 2 * STORED as i64));
        assert_eq!(read_texts(&self.broker.kafka, "orders", 2 * STORED), expected);
        drop(self.bystander);
        self.broker.stop();
        verified(self.data.path());
    }
}

fn batch(codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.codec(codec);
    for _ in 0..3 {
        builder.record(1_700_000_000_000, None, Some(b"never to be stored"), &[]);
    }
    builder.build().unwrap().to_vec()
}

/// The error a batch is answered with.
fn refusal(victim: &Victim, records: Vec<u8>) -> i16 {
    let answer = victim.wire().ask(9, &produce("orders", records.into()));
    answer.responses[0].partition_responses[0].error_code
}

#[test]
fn frames_of_impossible_length_close_their_connection() {
    let victim = Victim::new();
    victim.closes(&(2 * 1024 * 1024 + 1_i32).to_be_bytes(), "frame of 2097153 bytes, the limit is");
    victim.closes(&i32::MAX.to_be_bytes(), "frame of 2147483647 bytes, the limit is 2097152");
    victim.closes(&(-1_i32).to_be_bytes(), "frame of -1 bytes");
    victim.closes(&i32::MIN.to_be_bytes(), "frame of -2147483648 bytes");
    victim.closes(&0_i32.to_be_bytes(), "connection closed");
    victim.closes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "frame of 1195725856 bytes");
    victim.unharmed();
}

#[test]
fn unknown_requests_close_their_connection() {
    let victim = Victim::new();
    for key in [-1, 7, 999, i16::MIN, i16::MAX] {
        victim.closes(&frame_of(key, 0, &[]), &format!("request {key} version 0"));
    }
    for (key, version) in [(0, 2), (0, 99), (1, 3), (3, -1), (11, i16::MAX)] {
        victim
            .closes(&frame_of(key, version, &[0; 64]), &format!("request {key} version {version}"));
    }
    // A client may always ask which versions there are, and is answered in the oldest form.
    let mut wire = victim.wire();
    wire.stream.write_all(&frame(4, &ApiVersionsRequest::default())[..4]).unwrap();
    let mut newest = frame(4, &ApiVersionsRequest::default());
    newest[6..8].copy_from_slice(&99_i16.to_be_bytes());
    wire.stream.write_all(&newest[4..]).unwrap();
    let mut answer = wire.answer().unwrap().unwrap().split_off(4);
    assert_eq!(ApiVersionsResponse::decode(&mut answer, 0).unwrap().error_code, 35);
    let named = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("test"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    let answer = wire.ask(3, &named);
    assert_eq!(answer.error_code, 0, "the connection lives on");
    victim.unharmed();
}

#[test]
fn truncated_requests_close_their_connection() {
    let victim = Victim::new();
    let topic = MetadataRequestTopic::default()
        .with_name(Some(TopicName(StrBytes::from_static_str("orders"))));
    let metadata = frame(8, &MetadataRequest::default().with_topics(Some(vec![topic])));
    let produce = frame(9, &produce("orders", batch(Codec::None).into()));
    for whole in [metadata, produce] {
        // Inside of the header, at its end, and in the body.
        let lengths = (4..40).chain([whole.len() - 5, whole.len() - 1]);
        for length in lengths.filter(|length| *length < whole.len()) {
            let mut cut = BytesMut::from(&(length as i32 - 4).to_be_bytes()[..]);
            cut.extend_from_slice(&whole[4..length]);
            victim.wire().expect_close(&cut);
        }
        // A client that goes away in the middle of a request.
        victim.wire().stream.write_all(&whole[..whole.len() / 2]).unwrap();
    }
    victim.broker.wait_for_error("request 3 version 8: ");
    victim.broker.wait_for_error("request 0 version 9: ");
    victim.unharmed();
}

#[test]
fn absurd_counts_close_their_connection_and_take_no_memory() {
    let victim = Victim::new();
    let before = victim.broker.resident_bytes();
    for count in [i32::MAX, 1 << 28, 100_000] {
        // Topics to describe, and members' protocols behind four empty strings.
        victim.wire().expect_close(&frame_of(3, 1, &count.to_be_bytes()));
        let join = [&[0, 1, b'g'][..], &[0; 8], &[0, 0], &[0, 0], &count.to_be_bytes()].concat();
        victim.wire().expect_close(&frame_of(11, 1, &join));
        // Topics to produce to, and records.
        let head = [&[0xFF; 2][..], &[0xFF; 2], &[0; 4]].concat();
        let topics = [&head[..], &count.to_be_bytes()].concat();
        victim.wire().expect_close(&frame_of(0, 3, &topics));
        let mut records = batch(Codec::None);
        records[57..61].copy_from_slice(&count.to_be_bytes());
        assert_ne!(refusal(&victim, records), 0, "{count} records");
    }
    // Compact counts are one more than the number, as a varint.
    victim.wire().expect_close(&frame_of(3, 9, &[0xFF, 0xFF, 0xFF, 0xFF, 0x0F]));
    victim.broker.wait_for_error("request 3 version 1: ");
    victim.broker.wait_for_error("request 11 version 1: ");
    victim.broker.wait_for_error("request 0 version 3: ");
    let grown = victim.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes");
    victim.unharmed();
}

#[test]
fn claimed_lengths_take_no_memory() {
    let victim = Victim::new();
    let before = victim.broker.resident_bytes();
    let mut held: Vec<_> = (0..100).map(|_| victim.wire()).collect();
    for wire in &mut held {
        wire.stream.write_all(&(2_i32 << 20).to_be_bytes()).unwrap();
        wire.stream.write_all(&[0, 0, 0, 9, 0, 0]).unwrap();
    }
    // An answer on a later connection of the same shard: the bytes above have been read.
    victim.wire().ask(3, &ApiVersionsRequest::default());
    let open = victim.broker.metric("connections");
    assert!(open >= 100, "{open} connections");
    let grown = victim.broker.resident_bytes().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} bytes for 100 connections that claim 200 MiB");
    drop(held);
    victim.unharmed();
}

#[test]
fn batches_that_are_no_batches_get_the_protocols_error() {
    const CORRUPT_MESSAGE: i16 = 2;
    const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
    const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    const INVALID_RECORD: i16 = 87;
    let victim = Victim::new();
    let refused = |what: &str, expected: &[i16], change: &dyn Fn(&mut Vec<u8>)| {
        for codec in [Codec::None, Codec::Zstd] {
            let mut records = batch(codec);
            change(&mut records);
            let code = refusal(&victim, records);
            assert!(expected.contains(&code), "{what}: {code}");
        }
    };
    let corrupt = [CORRUPT_MESSAGE, INVALID_RECORD];
    refused("a wrong checksum", &[CORRUPT_MESSAGE], &|records| records[17] ^= 1);
    refused("a flipped bit", &[CORRUPT_MESSAGE], &|records| *records.last_mut().unwrap() ^= 1);
    let old = [UNSUPPORTED_FOR_MESSAGE_FORMAT, INVALID_RECORD, CORRUPT_MESSAGE];
    refused("format 0", &old, &|records| records[16] = 0);
    refused("format 1", &old, &|records| records[16] = 1);
    refused("format 3", &old, &|records| records[16] = 3);
    refused("an old batch behind a new one", &corrupt, &|records| {
        let mut old = batch(Codec::None);
        old[16] = 1;
        records.extend_from_slice(&old);
    });
    refused("two batches", &corrupt, &|records| records.extend_from_slice(&batch(Codec::None)));
    refused("a batch cut off", &corrupt, &|records| records.truncate(records.len() - 1));
    refused("half a header", &corrupt, &|records| records.truncate(30));
    refused("nothing", &corrupt, &Vec::clear);
    let unknown = [UNSUPPORTED_COMPRESSION_TYPE, INVALID_RECORD, CORRUPT_MESSAGE];
    refused("codec 7", &unknown, &|records| records[22] = 7);
    refused("a negative length", &corrupt, &|records| records[8] = 0x80);
    refused("a negative count", &corrupt, &|records| records[57] = 0x80);
    victim.unharmed();
}

#[test]
fn names_of_megabytes_close_their_connection_and_stop_no_group() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=1"]);
    assert_eq!(send_one(&broker.kafka, "orders", "one"), Ok(0));
    for bytes in [33 << 20, 1 << 15] {
        let group = "g".repeat(bytes);
        Wire::connect(&broker.kafka).expect_close(&frame(8, &commit(&group, "orders", &[""])));
        broker.wait_for_error(&format!("request 8 version 8: a string of {bytes} bytes"));
        let join = join("other", &"t".repeat(bytes));
        Wire::connect(&broker.kafka).expect_close(&frame(6, &join));
        broker.wait_for_error(&format!("request 11 version 6: a string of {bytes} bytes"));
    }
    become_the_only_member(&broker, "another");
    broker.stop();
}

#[test]
fn silent_connections_are_closed() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["kafka.idle_ms=1s"]);
    // The client's own time limit would fail the test if the broker waited for more.
    Wire::connect(&broker.kafka).expect_close(b"");
}

#[test]
fn connections_that_take_no_answers_are_closed() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["kafka.idle_ms=1s"]);
    let mut wire = Wire::connect(&broker.kafka);
    let request = frame(0, &ApiVersionsRequest::default());
    wire.stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
    // Answers fill the sockets, then the broker reads no more.
    while wire.stream.write_all(&request).is_ok() {}
    assert_eq!(broker.metric("connections"), 1);
    until("the broker gives it up", || broker.metric("connections") == 0);
}
