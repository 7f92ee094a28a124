//! Fetch sessions (KIP-227), over raw connections: librdkafka has none.

use std::{collections::BTreeMap, io::Write as _, time::Duration};

use kafka_protocol::{
    messages::{
        FetchRequest, FetchResponse, MetadataRequest, ResponseHeader, TopicName,
        fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
        metadata_request::MetadataRequestTopic,
    },
    protocol::{Decodable as _, StrBytes},
};
use mainstem::wire::kafka::BatchHeader;
use uuid::Uuid;

use super::{
    client::{Sender, Sent, send_one},
    process::{BrokerProcess, DataDir, PATIENCE, until},
    topics::Administrator,
    wire::{Wire, frame},
};

/// Versions that name topics by name, and by id.
const BY_NAME: i16 = 12;
const BY_ID: i16 = 17;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_SESSION_EPOCH: i16 = 71;
const UNKNOWN_TOPIC_ID: i16 = 100;
const SESSION_TOPIC_ID_ERROR: i16 = 106;

/// How long to look that something does not happen.
const MOMENT: Duration = Duration::from_millis(300);

/// What an answer says of a partition: error, high watermark, log start, offsets of its records.
type Told = (i16, i64, i64, Vec<i64>);

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

/// A consumer's connection, and the session on it.
struct Reader {
    wire: Wire,
    version: i16,
    id: i32,
    epoch: i32,
    max_bytes: i32,
    max_wait_ms: i32,
    /// Ids of the topics, as the reader knows them.
    ids: BTreeMap<String, Uuid>,
}

impl Reader {
    fn new(broker: &BrokerProcess, version: i16) -> Self {
        let wire = Wire::connect(&broker.kafka);
        let (id, epoch, max_bytes, max_wait_ms) = (0, 0, 1 << 20, 0);
        Self { wire, version, id, epoch, max_bytes, max_wait_ms, ids: BTreeMap::new() }
    }

    /// Asks for a topic's id, which is a new one after each creation.
    fn learn(&mut self, name: &str) {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default().with_topics(Some(vec![topic]));
        let id = self.wire.ask(12, &request).topics[0].topic_id;
        self.ids.insert(name.to_owned(), id);
    }

    fn request(&mut self, at: &[(&str, i32, i64)], forget: &[(&str, i32)]) -> FetchRequest {
        let by_id = self.version > BY_NAME;
        let named = |ids: &BTreeMap<String, Uuid>, name: &str| {
            if by_id { (topic_name(""), ids[name]) } else { (topic_name(name), Uuid::nil()) }
        };
        let mut topics = Vec::new();
        for (name, index, offset) in at {
            if !self.ids.contains_key(*name) {
                self.learn(name);
            }
            let (topic, id) = named(&self.ids, name);
            let partition = FetchPartition::default()
                .with_partition(*index)
                .with_fetch_offset(*offset)
                .with_partition_max_bytes(1 << 20);
            let topic = FetchTopic::default().with_topic(topic).with_topic_id(id);
            topics.push(topic.with_partitions(vec![partition]));
        }
        let forgotten = forget.iter().map(|(name, index)| {
            let (topic, id) = named(&self.ids, name);
            ForgottenTopic::default()
                .with_topic(topic)
                .with_topic_id(id)
                .with_partitions(vec![*index])
        });
        FetchRequest::default()
            .with_max_wait_ms(self.max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(self.max_bytes)
            .with_session_id(self.id)
            .with_session_epoch(self.epoch)
            .with_topics(topics)
            .with_forgotten_topics_data(forgotten.collect())
    }

    /// Fetches, with the request's error or what is told of each partition.
    fn fetch(
        &mut self,
        at: &[(&str, i32, i64)],
        forget: &[(&str, i32)],
    ) -> Result<BTreeMap<(String, i32), Told>, i16> {
        let request = self.request(at, forget);
        let answer = self.wire.ask(self.version, &request);
        self.take(answer)
    }

    fn take(&mut self, answer: FetchResponse) -> Result<BTreeMap<(String, i32), Told>, i16> {
        if answer.error_code != 0 {
            assert!(answer.session_id == 0 && answer.responses.is_empty());
            return Err(answer.error_code);
        }
        self.epoch = if answer.session_id == 0 { self.epoch } else { self.epoch + 1 };
        self.id = answer.session_id;
        let mut told = BTreeMap::new();
        for topic in answer.responses {
            let by_id = |known: &str| self.ids[known] == topic.topic_id;
            let name = match self.version {
                ..=BY_NAME => topic.topic.to_string(),
                _ => self.ids.keys().find(|known| by_id(known)).expect("asked for").clone(),
            };
            for partition in topic.partitions {
                let records = offsets(&partition.records.unwrap_or_default());
                let (error, ends) = (partition.error_code, partition.high_watermark);
                let said = (error, ends, partition.log_start_offset, records);
                assert_eq!(told.insert((name.clone(), partition.partition_index), said), None);
            }
        }
        Ok(told)
    }
}

/// Base offsets of batches of one record each.
fn offsets(mut records: &[u8]) -> Vec<i64> {
    let mut offsets = Vec::new();
    while !records.is_empty() {
        let header = BatchHeader::parse(records).unwrap();
        offsets.push(header.base_offset);
        records = &records[12 + i32::from_be_bytes(records[8..12].try_into().unwrap()) as usize..];
    }
    offsets
}

fn told(partitions: &[(&str, i32, Told)]) -> Result<BTreeMap<(String, i32), Told>, i16> {
    let entry = |(name, index, told): &(&str, i32, Told)| {
        let place = (String::from(*name), *index);
        (place, told.clone())
    };
    Ok(partitions.iter().map(entry).collect())
}

/// Nothing but its ends.
fn ends(high_watermark: i64) -> Told {
    (0, high_watermark, 0, Vec::new())
}

fn records(offsets: std::ops::Range<i64>) -> Told {
    (0, offsets.end, 0, offsets.collect())
}

/// An error alone.
fn error(code: i16) -> Told {
    (code, -1, -1, Vec::new())
}

/// A broker with the topics "a" and "b", of three partitions each.
fn broker(data: &DataDir, settings: &[&str]) -> (BrokerProcess, Administrator) {
    let broker = BrokerProcess::start(data.path(), settings);
    let admin = Administrator::new(&broker.kafka);
    ["a", "b"].iter().for_each(|topic| admin.create(topic, 3, &[]).unwrap());
    (broker, admin)
}

/// Sends batches of one record each.
fn send(broker: &BrokerProcess, topic: &str, partition: i32, count: usize) {
    let sender = Sender::new(&broker.kafka, &[("batch.num.messages", "1")]);
    (0..count).for_each(|_| sender.send(topic, partition, &Sent::value("value")));
    sender.delivered();
}

#[test]
fn answers_tell_what_has_changed() {
    for (version, settings) in [(BY_NAME, ["shards.count=1"]), (BY_ID, ["shards.count=3"])] {
        let data = DataDir::new();
        let (broker, _) = broker(&data, &settings);
        let mut reader = Reader::new(&broker, version);
        let all = [("a", 0, 0), ("a", 1, 0), ("b", 2, 0)];
        let first = reader.fetch(&all, &[]);
        assert_eq!(first, told(&[("a", 0, ends(0)), ("a", 1, ends(0)), ("b", 2, ends(0))]));
        assert_ne!(reader.id, 0);
        assert_eq!(reader.fetch(&[], &[]), told(&[]));
        send(&broker, "b", 2, 3);
        send(&broker, "a", 2, 1);
        assert_eq!(reader.fetch(&[], &[]), told(&[("b", 2, records(0..3))]));
        // The offset has moved, and is known from now on.
        assert_eq!(reader.fetch(&[("b", 2, 3)], &[]), told(&[]));
        send(&broker, "b", 2, 1);
        assert_eq!(reader.fetch(&[], &[]), told(&[("b", 2, (0, 4, 0, vec![3]))]));
        // One comes, one goes.
        assert_eq!(
            reader.fetch(&[("b", 2, 4), ("a", 2, 1)], &[("a", 0)]),
            told(&[("a", 2, ends(1))])
        );
        send(&broker, "a", 0, 1);
        send(&broker, "a", 1, 1);
        assert_eq!(reader.fetch(&[], &[]), told(&[("a", 1, records(0..1))]));
        // Where it was forgotten it begins anew.
        assert_eq!(
            reader.fetch(&[("a", 1, 1), ("a", 0, 1)], &[]),
            told(&[("a", 0, ends(1))]),
            "a new one's ends are told"
        );
        assert_eq!(
            reader.fetch(&[("a", 1, 5)], &[]),
            told(&[("a", 1, (OFFSET_OUT_OF_RANGE, 1, 0, vec![]))])
        );
        assert_eq!(
            reader.fetch(&[], &[]),
            told(&[("a", 1, (OFFSET_OUT_OF_RANGE, 1, 0, vec![]))]),
            "an error is told each time"
        );
        assert_eq!(reader.fetch(&[("a", 1, 1)], &[]), told(&[("a", 1, ends(1))]));
        assert_eq!(reader.fetch(&[], &[]), told(&[]));
        assert!(broker.metric("kafka_incremental_fetches_total") >= 10);
        broker.stop();
    }
}

#[test]
fn requests_out_of_turn_are_refused() {
    let data = DataDir::new();
    let (broker, _) = broker(&data, &[]);
    let mut reader = Reader::new(&broker, BY_ID);
    let all = [("a", 0, 0), ("b", 0, 0)];
    reader.fetch(&all, &[]).unwrap();
    let (id, epoch) = (reader.id, reader.epoch);
    reader.epoch = epoch + 1;
    assert_eq!(reader.fetch(&[], &[]), Err(INVALID_SESSION_EPOCH));
    (reader.id, reader.epoch) = (id ^ 1, epoch);
    assert_eq!(reader.fetch(&[], &[]), Err(SESSION_ID_NOT_FOUND));
    (reader.id, reader.version) = (id, BY_NAME);
    assert_eq!(reader.fetch(&[], &[]), Err(SESSION_TOPIC_ID_ERROR));
    reader.version = BY_ID;
    assert_eq!(reader.fetch(&[], &[]), told(&[]), "the session itself is as it was");
    assert_eq!(broker.metric("kafka_fetch_sessions"), 1);
    // A client that did not get an answer begins anew, and its old session is gone.
    (reader.id, reader.epoch) = (id, 0);
    assert_eq!(reader.fetch(&all, &[]).unwrap().len(), 2);
    assert_ne!(reader.id, id);
    assert_eq!(broker.metric("kafka_fetch_sessions"), 1);
    // One that ends its session.
    reader.epoch = -1;
    assert_eq!(reader.fetch(&[], &[]), told(&[]));
    assert_eq!((reader.id, broker.metric("kafka_fetch_sessions")), (0, 0));
    assert_eq!(broker.metric("kafka_fetch_session_bytes"), 0);
    broker.stop();
}

#[test]
fn a_session_ends_with_its_connection() {
    let data = DataDir::new();
    let (broker, _) = broker(&data, &["shards.count=2"]);
    let mut reader = Reader::new(&broker, BY_ID);
    let all = [("a", 0, 0)];
    reader.fetch(&all, &[]).unwrap();
    assert!(broker.metric("kafka_fetch_session_bytes") > 0);
    reader.wire = Wire::connect(&broker.kafka);
    assert_eq!(reader.fetch(&[], &[]), Err(SESSION_ID_NOT_FOUND));
    until("the first connection's is gone", || broker.metric("kafka_fetch_sessions") == 0);
    assert_eq!(broker.metric("kafka_fetch_session_bytes"), 0);
    reader.epoch = 0;
    assert_eq!(reader.fetch(&all, &[]), told(&[("a", 0, ends(0))]));
    assert_eq!(reader.fetch(&[], &[]), told(&[]));
    broker.stop();
}

#[test]
fn a_topic_that_is_made_again_is_another() {
    let data = DataDir::new();
    let (broker, admin) = broker(&data, &["shards.count=2", "kafka.auto_create_topics=false"]);
    let (mut by_name, mut by_id) = (Reader::new(&broker, BY_NAME), Reader::new(&broker, BY_ID));
    for reader in [&mut by_name, &mut by_id] {
        reader.fetch(&[("a", 1, 0), ("b", 1, 0)], &[]).unwrap();
    }
    admin.delete("a").unwrap();
    let (name, id) = (UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID);
    for _ in 0..2 {
        assert_eq!(by_name.fetch(&[], &[]), told(&[("a", 1, error(name))]));
        assert_eq!(by_id.fetch(&[], &[]), told(&[("a", 1, error(id))]));
    }
    admin.create("a", 2, &[]).unwrap();
    send(&broker, "a", 1, 2);
    assert_eq!(by_name.fetch(&[], &[]), told(&[("a", 1, records(0..2))]));
    assert_eq!(by_id.fetch(&[], &[]), told(&[("a", 1, error(id))]), "the id is still unknown");
    // The new one comes, the old one goes, in one request.
    let mut forget = by_id.request(&[], &[("a", 1)]).forgotten_topics_data;
    by_id.learn("a");
    let request = by_id.request(&[("a", 1, 0)], &[]);
    assert_ne!(request.topics[0].topic_id, forget[0].topic_id);
    let request = request.with_forgotten_topics_data(std::mem::take(&mut forget));
    let answer = by_id.wire.ask(BY_ID, &request);
    assert_eq!(by_id.take(answer), told(&[("a", 1, records(0..2))]));
    assert_eq!(by_id.fetch(&[("a", 1, 2)], &[]), told(&[]));
    // A partition that is there only later.
    assert_eq!(by_id.fetch(&[("a", 2, 0)], &[]), told(&[("a", 2, error(name))]));
    admin.grow("a", 3).unwrap();
    assert_eq!(by_id.fetch(&[], &[]), told(&[("a", 2, ends(0))]));
    broker.stop();
}

#[test]
fn only_a_sessions_partitions_end_its_wait() {
    let data = DataDir::new();
    let (broker, _) = broker(&data, &["shards.count=2"]);
    let mut reader = Reader::new(&broker, BY_ID);
    let all: Vec<_> =
        ["a", "b"].iter().flat_map(|topic| (0..3).map(|index| (*topic, index, 0))).collect();
    reader.fetch(&all, &[]).unwrap();
    reader.max_wait_ms = PATIENCE.as_millis() as i32;
    let request = reader.request(&[], &[("a", 0)]);
    reader.wire.stream.write_all(&frame(BY_ID, &request)).unwrap();
    send(&broker, "a", 0, 1);
    reader.wire.stream.set_read_timeout(Some(MOMENT)).unwrap();
    assert!(reader.wire.answer().is_err(), "that one is forgotten");
    reader.wire.stream.set_read_timeout(Some(PATIENCE / 2)).unwrap();
    send(&broker, "b", 2, 1);
    let mut answer = reader.wire.answer().unwrap().unwrap();
    ResponseHeader::decode(&mut answer, 1).unwrap();
    let answer = FetchResponse::decode(&mut answer, BY_ID).unwrap();
    assert_eq!(reader.take(answer), told(&[("b", 2, records(0..1))]));
    broker.stop();
}

/// All partitions but one have more than an answer may hold: each has its turn, on whichever shard it is.
#[test]
fn a_session_reads_what_others_read() {
    const RECORDS: i64 = 40;
    for settings in [["shards.count=1"], ["shards.count=3"]] {
        let data = DataDir::new();
        let (broker, _) = broker(&data, &settings);
        let idle = ("a", 0);
        let all = ["a", "b"].iter().flat_map(|topic| (0..3).map(|index| (*topic, index)));
        let places: Vec<_> = all.filter(|place| *place != idle).collect();
        for (topic, index) in &places {
            send(&broker, topic, *index, RECORDS as usize);
        }
        let mut reader = Reader::new(&broker, BY_ID);
        reader.max_bytes = 400;
        let mut next: BTreeMap<_, i64> = places.iter().map(|place| (*place, 0)).collect();
        let mut moved: Vec<_> = [idle].iter().chain(&places).copied().collect();
        while next.values().any(|offset| *offset < RECORDS) {
            let (before, after) = (next.values().min().unwrap(), next.values().max().unwrap());
            assert!(after - before <= 2 * RECORDS / 5, "some have no turn: {next:?}");
            let at: Vec<_> =
                moved.drain(..).map(|at| (at.0, at.1, *next.get(&at).unwrap_or(&0))).collect();
            for ((name, index), (error, high_watermark, _, found)) in
                reader.fetch(&at, &[]).unwrap()
            {
                if (&*name, index) == idle {
                    assert_eq!((error, high_watermark, found.len()), (0, 0, 0));
                    continue;
                }
                assert_eq!((error, high_watermark), (0, RECORDS));
                let (place, offset) =
                    next.iter_mut().find(|(place, _)| **place == (&*name, index)).unwrap();
                let expected: Vec<_> = (*offset..*offset + found.len() as i64).collect();
                assert_eq!(found, expected, "{place:?}");
                if !found.is_empty() {
                    *offset += found.len() as i64;
                    moved.push(*place);
                }
            }
            assert_ne!(reader.id, 0);
        }
        broker.stop();
    }
}

#[test]
fn without_memory_there_are_no_sessions() {
    let data = DataDir::new();
    let (broker, _) = broker(&data, &["kafka.fetch_session_bytes=0"]);
    assert_eq!(send_one(&broker.kafka, "a", "value"), Ok(0));
    let mut reader = Reader::new(&broker, BY_ID);
    for _ in 0..2 {
        let all = [("a", 0, 0), ("b", 0, 0)];
        assert_eq!(reader.fetch(&all, &[]), told(&[("a", 0, records(0..1)), ("b", 0, ends(0))]));
        assert_eq!(reader.id, 0);
    }
    assert_eq!(broker.metric("kafka_incremental_fetches_total"), 0);
    broker.stop();
}
