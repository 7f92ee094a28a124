//! Kafka's producers name delivery times by headers, on topics with `mainstem.delay`.

use std::collections::BTreeSet;

use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use mainstem::wire::{
    kafka::BatchBuilder,
    rocketmq::{
        ResponseCode,
        record::{Record, Records},
    },
};
use rdkafka::{Message as _, Offset};

use super::{
    client::{Sender, Sent, consumer_at, read_texts, send_one, take, watermarks},
    messages::back,
    process::{BrokerProcess, DataDir, until, verified},
    relay::Relay,
    remoting::Remoting,
    retention::{MIB, fill},
    rocketmq::{ask_send, header, properties, pull},
    timers::{await_messages, now_ms},
    topics::Administrator,
    wire::{Wire, produce},
};

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const AFTER: &str = "mainstem-delay-ms";
const AT: &str = "mainstem-deliver-at-ms";
const DELAYS: &[(&str, &str)] = &[("mainstem.delay", "true")];

fn delayed(value: &str, header: &str, ms: i64) -> Sent {
    let header = (header.to_owned(), Some(ms.to_string().into_bytes()));
    Sent { headers: vec![header], ..Sent::value(value) }
}

/// Six messages: three that are due, one of them for long, and three for later.
fn mixture(now_ms: i64) -> Vec<(i64, Sent)> {
    let mut all = vec![
        (0, Sent::value("first")),
        (600, delayed("fifth", AFTER, 600)),
        (0, delayed("second", AT, now_ms - 60_000)),
        (300, delayed("fourth", AFTER, 300)),
        (0, Sent::value("third")),
        (1_200, delayed("sixth", AT, now_ms + 1_200)),
    ];
    for (number, (_, sent)) in (0..).zip(&mut all) {
        sent.key = Some(format!("k{number}").into_bytes());
        sent.timestamp = Some(now_ms - number);
        sent.headers.insert(0, ("a".to_owned(), None));
        sent.headers.push(("a".to_owned(), Some(b"b".to_vec())));
    }
    all
}

fn check_mixture(broker: &BrokerProcess, codec: &str) {
    let consumer = consumer_at(&broker.kafka, codec, 0, Offset::Beginning);
    let batching = [("compression.type", codec), ("linger.ms", "100")];
    let sender = Sender::new(&broker.kafka, &batching);
    let before_ms = now_ms();
    let mut sent = mixture(before_ms);
    sent.iter().for_each(|(_, message)| sender.send(codec, 0, message));
    // One batch: librdkafka counts on from the offset of the first record that was due.
    assert_eq!(sender.delivered(), [0, 1, 2, 3, 4, 5]);
    sent.sort_by_key(|(after_ms, _)| *after_ms);
    for (offset, (after_ms, sent)) in sent.iter().enumerate() {
        let message = take(&consumer, 1).remove(0);
        assert!(now_ms() >= before_ms + after_ms, "{sent:?} is early");
        assert_eq!((message.offset(), &back(&message)), (offset as i64, sent));
    }
}

/// What RocketMQ's consumers see of a topic.
fn check_pulled(broker: &BrokerProcess, topic: &str) {
    let told = pull(&mut Remoting::connect(&broker.rocketmq), topic, 0, "*");
    let records: Vec<Record<'_>> = Records::new(&told.body).map(Result::unwrap).collect();
    let bodies: Vec<_> = records.iter().map(|record| record.body).collect();
    assert_eq!(bodies, [&b"first"[..], b"second", b"third", b"fourth", b"fifth", b"sixth"]);
    for (offset, record) in records.iter().enumerate() {
        assert_eq!(record.queue_offset, offset as i64);
    }
    assert_eq!(records[3].properties().get(AFTER), Some("300"));
    assert_eq!(records[3].properties().get("KEYS"), Some("k3"));
}

#[test]
fn a_batch_is_divided_by_when_its_records_are_due() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    let admin = Administrator::new(&broker.kafka);
    for codec in CODECS {
        admin.create(codec, 1, DELAYS).unwrap();
        check_mixture(&broker, codec);
        check_pulled(&broker, codec);
    }
    until("the log is told", || broker.metric("timers_fired_total") == 15);
    assert_eq!(broker.metric("timers_pending"), 0);
    broker.kill();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    CODECS.iter().for_each(|codec| check_pulled(&broker, codec));
    assert_eq!(broker.metric("timers_pending"), 0);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_record_stays_from_its_delivery_on() {
    const MINUTE: (&str, &str) = ("retention.ms", "60000");
    let data = DataDir::new();
    let settings = ["shards.count=1", "log.retention_check_ms=100"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let admin = Administrator::new(&broker.kafka);
    admin.create("later", 1, &[DELAYS[0], MINUTE]).unwrap();
    admin.create("plain", 1, &[MINUTE]).unwrap();
    let hour_old = |sent| Sent { timestamp: Some(now_ms() - 3_600_000), ..sent };
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("later", 0, &hour_old(delayed("old", AFTER, 100)));
    assert!(sender.finish().iter().all(Result::is_ok));
    until("it is delivered", || watermarks(&broker.kafka, "later", 0).1 == 1);
    for end in 1..=2 {
        let sender = Sender::new(&broker.kafka, &[]);
        sender.send("plain", 0, &hour_old(Sent::value("old")));
        assert!(sender.finish().iter().all(Result::is_ok));
        until("retention has looked", || watermarks(&broker.kafka, "plain", 0) == (end, end));
    }
    assert_eq!(read_texts(&broker.kafka, "later", 1), ["old"]);
}

#[test]
fn elsewhere_the_headers_mean_nothing() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    Administrator::new(&broker.kafka).create("plain", 1, &[]).unwrap();
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("plain", 0, &delayed("now", AFTER, 3_600_000));
    let unreadable = (AFTER.to_owned(), Some(b"soon".to_vec()));
    sender.send("plain", 0, &Sent { headers: vec![unreadable], ..Sent::value("too") });
    assert_eq!(sender.delivered(), [0, 1]);
    assert_eq!(read_texts(&broker.kafka, "plain", 2), ["now", "too"]);
    assert_eq!(broker.metric("timers_pending"), 0);
}

/// A batch of an idempotent producer, whose records have these delays in ms.
fn numbered(sequence: i32, delays_ms: &[Option<&str>]) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.producer(77, 0, sequence);
    for delay in delays_ms {
        let headers: Vec<_> = delay.iter().map(|ms| (AFTER, Some(ms.as_bytes()))).collect();
        builder.record(now_ms(), None, Some(b"v"), &headers);
    }
    builder.build().unwrap().into()
}

fn send(wire: &mut Wire, records: &Bytes) -> PartitionProduceResponse {
    let mut answer = wire.ask(8, &produce("orders", records.clone()));
    answer.responses.remove(0).partition_responses.remove(0)
}

/// The answer's error code and base offset.
fn outcome(wire: &mut Wire, records: &Bytes) -> (i16, i64) {
    let answer = send(wire, records);
    (answer.error_code, answer.base_offset)
}

#[test]
fn a_batch_sent_again_makes_no_second_timer() {
    const HOUR: Option<&str> = Some("3600000");
    const OUT_OF_ORDER: i16 = 45;
    let data = DataDir::new();
    let settings = ["shards.count=2"];
    let mut broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("orders", 1, DELAYS).unwrap();
    let batches = [
        (numbered(0, &[HOUR, HOUR]), -1),
        (numbered(2, &[HOUR, None, Some("3600001"), None]), 0),
        (numbered(6, &[None]), 2),
        (numbered(7, &[HOUR]), -1),
    ];
    let mut wire = Wire::connect(&broker.kafka);
    for (batch, base_offset) in &batches {
        assert_eq!(outcome(&mut wire, batch), (0, *base_offset));
    }
    for stop in [false, true, false] {
        for (batch, base_offset) in &batches {
            assert_eq!(outcome(&mut wire, batch), (0, *base_offset));
        }
        assert_eq!(outcome(&mut wire, &numbered(9, &[HOUR])), (OUT_OF_ORDER, -1));
        assert_eq!(broker.metric("timers_pending"), 4);
        assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, 3));
        drop(if stop { broker.stop() } else { broker.kill() });
        verified(data.path());
        broker = BrokerProcess::start(data.path(), &settings);
        until("the timers are loaded", || broker.metric("timers_pending") == 4);
        wire = Wire::connect(&broker.kafka);
    }
    assert_eq!(outcome(&mut wire, &numbered(8, &[None, HOUR])), (0, 3));
    assert_eq!(broker.metric("timers_pending"), 5);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_time_that_cannot_be_is_refused_with_its_record() {
    const INVALID_TIMESTAMP: i16 = 32;
    const INVALID_RECORD: i16 = 87;
    const REQUEST_TIMED_OUT: i16 = 7;
    let data = DataDir::new();
    let settings = ["timers.max_delay_ms=1h", "timers.max_pending=1000"];
    let broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("orders", 1, DELAYS).unwrap();
    let mut wire = Wire::connect(&broker.kafka);
    for (delay, code) in [("soon", INVALID_RECORD), ("3600001", INVALID_TIMESTAMP)] {
        let refused = send(&mut wire, &numbered(0, &[None, Some(delay)]));
        assert_eq!((refused.error_code, refused.base_offset), (code, -1));
        let records: Vec<_> =
            refused.record_errors.iter().map(|record| record.batch_index).collect();
        assert_eq!(records, [1]);
        assert!(refused.error_message.unwrap().contains(AFTER));
    }
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, 0));
    // A batch is never too large on its own; but none of the next one is stored.
    let times: Vec<_> = (3_500_000..3_501_064).map(|ms| ms.to_string()).collect();
    let mut delays_ms: Vec<_> = times.iter().map(|ms| Some(&**ms)).collect();
    delays_ms.push(None);
    assert_eq!(outcome(&mut wire, &numbered(0, &delays_ms)), (0, 0));
    assert_eq!(broker.metric("timers_pending"), 1_064);
    assert_eq!(outcome(&mut wire, &numbered(1_065, &delays_ms[1_063..])), (REQUEST_TIMED_OUT, -1));
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, 1));
    assert_eq!(outcome(&mut wire, &numbered(1_065, &[None])), (0, 1));
    assert_eq!(broker.metric("timers_pending"), 1_064);
}

#[test]
fn a_batch_over_the_topics_limit_is_not_looked_into() {
    const CORRUPT: i16 = 2;
    const TOO_LARGE: i16 = 10;
    const ZSTD: i16 = 4;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let limit = ("max.message.bytes", "10000");
    Administrator::new(&broker.kafka).create("orders", 1, &[DELAYS[0], limit]).unwrap();
    let mut wire = Wire::connect(&broker.kafka);
    for (bytes, code) in [(100, CORRUPT), (20_000, TOO_LARGE)] {
        let mut builder = BatchBuilder::new();
        // It says that it is compressed, and is not.
        builder.attributes(ZSTD).record(now_ms(), None, Some(&vec![b'x'; bytes]), &[]);
        assert_eq!(outcome(&mut wire, &builder.build().unwrap().into()), (code, -1));
    }
}

/// Timer queues change shards with each start, and there are more of them once there are more shards.
#[test]
fn timers_fire_once_whatever_number_of_shards_starts() {
    const SHARDS: i32 = 20;
    let data = DataDir::new();
    let due_ms = now_ms() + 10_000;
    let at = due_ms.to_string();
    for shards in [1, SHARDS, 3] {
        let broker = BrokerProcess::start(data.path(), &[&format!("shards.count={shards}")]);
        let mut client = Remoting::connect(&broker.rocketmq);
        for number in 0..40 {
            let id = format!("{shards}-{number}");
            let later = properties(&[("TAGS", "A"), ("UNIQ_KEY", &id), ("TIMER_DELIVER_MS", &at)]);
            ask_send(&mut client, &header("rocketmq", 0, &later), &id)
                .expect(ResponseCode::Success);
        }
        if shards == SHARDS {
            Administrator::new(&broker.kafka).create("kafka", SHARDS, DELAYS).unwrap();
            let sender = Sender::new(&broker.kafka, &[]);
            let due_ms = now_ms().max(due_ms);
            (0..SHARDS).for_each(|part| sender.send("kafka", part, &delayed("later", AT, due_ms)));
            assert!(sender.finish().iter().all(Result::is_ok));
        }
        if shards == 3 {
            let sent: BTreeSet<_> = [1, SHARDS, 3]
                .into_iter()
                .flat_map(|shards| (0..40).map(move |number| format!("{shards}-{number}")))
                .collect();
            let came = await_messages(&mut client, "rocketmq", 0, sent.len());
            let records = came.iter().map(|bytes| Record::parse(bytes).unwrap());
            let ids: BTreeSet<_> = records
                .inspect(|record| assert!(record.store_timestamp >= due_ms, "{record:?} is early"))
                .map(|record| String::from_utf8(record.body.to_vec()).unwrap())
                .collect();
            assert_eq!(ids, sent);
            until("all have fired", || broker.metric("timers_pending") == 0);
            assert_eq!(watermarks(&broker.kafka, "rocketmq", 0), (0, sent.len() as i64));
            for partition in 0..SHARDS {
                assert_eq!(watermarks(&broker.kafka, "kafka", partition), (0, 1), "{partition}");
            }
        }
        broker.stop();
    }
    verified(data.path());
}

const ROUNDS: usize = 4;
const PER_ROUND: usize = 300;

/// Makes batches of which some, all and none are for later.
fn is_later(number: usize) -> bool {
    match number % 100 {
        0..40 => number.is_multiple_of(3),
        rest => rest < 70,
    }
}

#[test]
fn an_idempotent_producers_delays_survive_kills_without_loss_or_repetition() {
    let (data, relay) = (DataDir::new(), Relay::new());
    let advertised = relay.advertised();
    let settings = ["shards.count=2", &advertised];
    let mut broker = BrokerProcess::start(data.path(), &settings);
    relay.to(&broker.kafka);
    Administrator::new(&relay.address).create("orders", 1, DELAYS).unwrap();
    let batching =
        [("enable.idempotence", "true"), ("batch.num.messages", "16"), ("linger.ms", "0")];
    let sender = Sender::new(&relay.address, &batching);
    // No two are due at one time, so that each is a timer.
    let due_ms = now_ms() + 3_600_000;
    for round in 0..ROUNDS {
        for number in round * PER_ROUND..(round + 1) * PER_ROUND {
            let text = number.to_string();
            let message = match is_later(number) {
                true => delayed(&text, AT, due_ms + number as i64),
                false => Sent::value(text),
            };
            sender.send("orders", 0, &message);
        }
        sender.wait_for(round * PER_ROUND + PER_ROUND / 2);
        broker.kill();
        verified(data.path());
        broker = BrokerProcess::start(data.path(), &settings);
        relay.to(&broker.kafka);
    }
    let outcomes = sender.finish();
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    let total = ROUNDS * PER_ROUND;
    let due = (0..total).filter(|number| !is_later(*number));
    let now: Vec<_> = due.map(|number| number.to_string()).collect();
    assert_eq!(watermarks(&relay.address, "orders", 0), (0, now.len() as i64));
    assert_eq!(read_texts(&relay.address, "orders", now.len()), now);
    let later = (total - now.len()) as u64;
    until("the timers are loaded", || broker.metric("timers_pending") >= later);
    assert_eq!(broker.metric("timers_pending"), later);
    broker.stop();
    verified(data.path());
}

/// What has been stored again when the broker stops is not there a second time.
#[test]
fn a_stop_while_timers_are_stored_again_doubles_none() {
    const TIMERS: usize = 20_000;
    let data = DataDir::new();
    let settings = ["shards.count=1", "timers.held_bytes=1MiB", "log.retention_check_ms=100"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let admin = Administrator::new(&broker.kafka);
    admin.create("later", 1, DELAYS).unwrap();
    // While this is there nothing would be gained by it.
    assert_eq!(send_one(&broker.kafka, "holder", "in front"), Ok(0));
    let sender = Sender::new(&broker.kafka, &[]);
    let due_ms = now_ms() + 3_600_000;
    for number in 0..TIMERS {
        sender.send("later", 0, &delayed(&"x".repeat(100), AT, due_ms + number as i64));
    }
    assert!(sender.finish().iter().all(Result::is_ok));
    fill(&broker, "orders", 40 * MIB);
    let written = || broker.metric("log_written_bytes_total");
    let before = written();
    assert_eq!(admin.delete_records("holder", Offset::End), Ok(1));
    until("timers are stored again", || written() > before + (256 << 10));
    broker.stop();
    verified(data.path());

    let broker = BrokerProcess::start(data.path(), &settings);
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("later", 0, &delayed("soon", AFTER, 1));
    // None fires before all are loaded.
    until("they are loaded", || broker.metric("timers_fired_total") == 1);
    assert_eq!(broker.metric("timers_pending"), TIMERS as u64);
    broker.stop();
    verified(data.path());
}
