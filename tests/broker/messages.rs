//! What is sent is read back, byte for byte.

use std::{
    collections::HashMap,
    time::{SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    Message as _, Offset, Timestamp,
    message::{Headers as _, OwnedMessage},
};

use super::{
    client::{Outcome, Sender, Sent, consumer_of, read, take},
    process::{BrokerProcess, DataDir, verified},
    topics::Administrator,
};

const PARTITIONS: i32 = 3;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const TIME: i64 = 1_700_000_000_000;

/// Values librdkafka takes with its largest batch of 1,000,000 bytes raised to the broker's limit.
const LARGE: usize = 1_048_588 - 200;

fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

/// Messages of every shape there is.
fn assortment(partition: i32) -> Vec<Sent> {
    let at = |number: i64| Some(TIME + i64::from(partition) * 1_000 + number);
    let header = |name: &str, value: Option<&[u8]>| (name.to_owned(), value.map(<[u8]>::to_vec));
    let mut all = vec![
        Sent { key: None, value: Some(Vec::new()), timestamp: at(0), ..Sent::default() },
        Sent { key: Some(b"k".to_vec()), value: None, timestamp: at(1), ..Sent::default() },
        Sent {
            key: Some(b"repeated".to_vec()),
            value: Some(b"headers".to_vec()),
            headers: vec![
                header("name", Some(b"first")),
                header("other", None),
                header("name", Some(b"second")),
                header("name", Some(b"")),
                header("name", Some(b"first")),
            ],
            timestamp: at(2),
        },
        Sent {
            value: Some(bytes(LARGE, partition as u64 + 1)),
            timestamp: at(3),
            ..Sent::default()
        },
        Sent { value: Some(vec![b'a'; LARGE]), timestamp: at(4), ..Sent::default() },
    ];
    for number in 5..200 {
        let (key, value) = (bytes(number % 7, 5), bytes(number * 3, number as u64));
        let timestamp = at(number as i64);
        all.push(Sent { key: Some(key), value: Some(value), headers: Vec::new(), timestamp });
    }
    all
}

/// What was sent, by what is read.
pub(super) fn back(message: &OwnedMessage) -> Sent {
    let headers = message.headers().map_or_else(Vec::new, |headers| {
        let owned = headers.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec)));
        owned.collect()
    });
    Sent {
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers,
        timestamp: message.timestamp().to_millis(),
    }
}

/// Reads all partitions of all topics by one consumer: closing one takes librdkafka half a second.
fn assert_read_back(address: &str) {
    let sent: Vec<_> = (0..PARTITIONS).map(assortment).collect();
    let places: Vec<_> =
        CODECS.iter().flat_map(|topic| (0..PARTITIONS).map(|part| (*topic, part))).collect();
    let count = CODECS.len() * sent.iter().map(Vec::len).sum::<usize>();
    let consumer = consumer_of(address, &places, Offset::Beginning);
    let mut next = HashMap::<(String, i32), usize>::new();
    for message in take(&consumer, count) {
        let place = (message.topic().to_owned(), message.partition());
        assert!(places.contains(&(place.0.as_str(), place.1)), "{place:?}");
        let offset = next.entry(place.clone()).or_default();
        assert_eq!(message.offset(), *offset as i64, "{place:?}");
        let sent = &sent[message.partition() as usize][*offset];
        assert!(back(&message) == *sent, "{place:?} differs at {offset}");
        *offset += 1;
    }
}

fn every_codec(settings: &[&str]) {
    let data = DataDir::new();
    // The messages are old.
    let settings: Vec<_> = settings.iter().copied().chain(["topic.retention_ms=-1"]).collect();
    let broker = BrokerProcess::start(data.path(), &settings);
    let admin = Administrator::new(&broker.kafka);
    for codec in CODECS {
        admin.create(codec, PARTITIONS, &[]).unwrap();
        let settings = [("compression.type", codec), ("message.max.bytes", "1048588")];
        let sender = Sender::new(&broker.kafka, &settings);
        let sent: Vec<_> = (0..PARTITIONS).map(assortment).collect();
        for (partition, sent) in (0..).zip(&sent) {
            sent.iter().for_each(|message| sender.send(codec, partition, message));
        }
        assert_eq!(sender.delivered().len(), sent.len() * sent[0].len());
    }
    assert_read_back(&broker.kafka);
    broker.stop();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &settings);
    assert_read_back(&broker.kafka);
}

#[test]
fn every_codec_and_shape_is_read_back_as_it_was_sent() {
    every_codec(&[]);
}

#[test]
fn every_codec_and_shape_is_read_back_across_three_shards() {
    every_codec(&["shards.count=3"]);
}

#[test]
fn a_topic_may_have_the_brokers_time() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("stamped", 1, &[("message.timestamp.type", "LogAppendTime")]).unwrap();
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let before = now();
    let sender = Sender::new(&broker.kafka, &[("compression.type", "lz4")]);
    for number in 0..100 {
        sender.send("stamped", 0, &Sent { timestamp: Some(number), ..Sent::value("v") });
    }
    sender.delivered();
    let after = now();
    for message in read(&broker.kafka, "stamped", 0, 100) {
        let Timestamp::LogAppendTime(time) = message.timestamp() else {
            panic!("{:?}", message.timestamp())
        };
        assert!((before..=after).contains(&time), "{before} {time} {after}");
    }
}

#[test]
fn a_batch_beyond_the_topics_limit_is_refused_alone() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("small", 1, &[("max.message.bytes", "1000")]).unwrap();
    let outcomes = |length: usize| -> Outcome {
        let sender = Sender::new(&broker.kafka, &[]);
        sender.send("small", 0, &Sent::value(vec![b'x'; length]));
        sender.finish()[0]
    };
    assert_eq!(outcomes(900), Ok(0));
    assert_eq!(outcomes(1000), Err(rdkafka::types::RDKafkaErrorCode::MessageSizeTooLarge));
    assert_eq!(outcomes(901), Ok(1));
}
