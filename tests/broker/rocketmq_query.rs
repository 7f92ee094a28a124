//! Messages of RocketMQ's clients by key, by unique id and by offsetMsgId, before and after a restart.

use std::{fs, ops::Range};

use mainstem::wire::rocketmq::{
    OffsetMessageId, RequestCode, ResponseCode,
    header::{QueryMessageRequest, ViewMessageRequest, beside},
    record::Record,
};

use super::{
    client::{Sender, Sent},
    process::{BrokerProcess, DataDir, until, verified},
    remoting::{Remoting, Told},
    rocketmq::{ask_send, bodies, header, properties},
    timers::now_ms,
    topics::Administrator,
};

fn query(client: &mut Remoting, key: &'static str, unique: bool, times: Range<i64>) -> Told {
    let asked = QueryMessageRequest {
        topic: "orders",
        key,
        max_num: 3,
        begin_timestamp: times.start,
        end_timestamp: times.end,
        ..QueryMessageRequest::default()
    };
    client.call(
        RequestCode::QueryMessage,
        |fields| {
            asked.write(fields);
            if unique {
                fields.push(beside::UNIQUE_KEY_QUERY, "true");
            }
        },
        Default::default(),
    )
}

const EVER: Range<i64> = 0..i64::MAX;

/// What there is by key, the newest first.
fn by_key(client: &mut Remoting, key: &'static str) -> Vec<String> {
    let told = query(client, key, false, EVER);
    match told.code {
        code if code == ResponseCode::QueryNotFound.number() => Vec::new(),
        _ => bodies(&told.expect(ResponseCode::Success)),
    }
}

fn send(client: &mut Remoting, queue: i32, keys: &str, unique: &str, body: &str) -> Told {
    let properties = properties(&[("KEYS", keys), ("UNIQ_KEY", unique)]);
    ask_send(client, &header("orders", queue, &properties), body).expect(ResponseCode::Success)
}

fn assert_all_found(client: &mut Remoting) {
    // Of different queues, and perhaps of the same millisecond.
    let sorted = |mut bodies: Vec<String>| {
        bodies.sort();
        bodies
    };
    assert_eq!(sorted(by_key(client, "red")), ["one", "three"]);
    assert_eq!(sorted(by_key(client, "blue")), ["three", "two"]);
    assert_eq!(by_key(client, "id-2"), ["two"]);
    assert!(by_key(client, "re").is_empty() && by_key(client, "red blue").is_empty());
    // The newest three of four.
    assert_eq!(by_key(client, "many"), ["m3", "m2", "m1"]);
    let unique = bodies(&query(client, "id-1", true, EVER).expect(ResponseCode::Success));
    assert_eq!(unique, ["one"]);
    // A key that somebody gave is not the one that a client made.
    assert_eq!(query(client, "red", true, EVER).code, ResponseCode::QueryNotFound.number());
    assert_eq!(query(client, "red", false, 0..1_000).code, ResponseCode::QueryNotFound.number());
}

fn view(client: &mut Remoting, offset: i64) -> Told {
    let asked = ViewMessageRequest { topic: None, offset };
    client.call(RequestCode::ViewMessageById, |fields| asked.write(fields), Default::default())
}

/// What a send is answered with names the message, also one that waits.
#[test]
fn messages_that_wait_are_seen_by_their_ids() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let before_ms = now_ms();
    let later = properties(&[("UNIQ_KEY", "id"), ("TIMER_DELAY_SEC", "600")]);
    let sent = ask_send(&mut client, &header("orders", 1, &later), "later");
    let sent = sent.expect(ResponseCode::Success);
    let id = OffsetMessageId::parse(sent.field("msgId")).unwrap();
    let seen = |client: &mut Remoting| {
        let told = view(client, id.physical_offset).expect(ResponseCode::Success);
        let record = Record::parse(&told.body).unwrap();
        assert_eq!((record.topic, record.queue_id, record.body), ("orders", 1, &b"later"[..]));
        assert_eq!(record.queue_offset, sent.number("queueOffset"));
        assert_eq!(record.physical_offset, id.physical_offset);
        assert!((before_ms..=now_ms()).contains(&record.store_timestamp));
    };
    seen(&mut client);
    view(&mut client, id.physical_offset + 1).expect(ResponseCode::SystemError);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    seen(&mut Remoting::connect(&broker.rocketmq));
    broker.stop();
}

#[test]
fn messages_are_found_by_their_keys_before_and_after_a_segment_is_sealed() {
    let data = DataDir::new();
    let settings = ["shards.count=2", "shards.pin=false"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    let first = send(&mut client, 0, "red", "id-1", "one");
    send(&mut client, 1, "blue", "id-2", "two");
    send(&mut client, 2, "red blue", "id-3", "three");
    for body in ["m0", "m1", "m2", "m3"] {
        send(&mut client, 3, "many", body, body);
    }
    assert_all_found(&mut client);
    // The stop seals the segment.
    broker.stop();
    let key_files = || {
        let names = fs::read_dir(data.path().join("index")).unwrap();
        let paths = names.map(|name| name.unwrap().path());
        paths.filter(|path| path.to_str().unwrap().contains("/keys-")).collect::<Vec<_>>()
    };
    assert_eq!(key_files().len(), 1);
    assert!(verified(data.path()).contains(" 15 message keys"));
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_all_found(&mut client);
    let id = OffsetMessageId::parse(first.field("msgId")).unwrap();
    let seen = view(&mut client, id.physical_offset).expect(ResponseCode::Success);
    assert_eq!(bodies(&seen), ["one"]);
    for nothing in [-1, id.physical_offset + 1_000, i64::MAX] {
        let told = view(&mut client, nothing);
        assert_eq!(told.code, ResponseCode::SystemError.number(), "{nothing}");
    }
    // What was replayed after a kill is in no key file.
    send(&mut client, 0, "late", "id-4", "four");
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_all_found(&mut client);
    assert_eq!(by_key(&mut client, "late"), ["four"]);
    broker.stop();
    // A key file that is gone is made again beside everything else.
    key_files().into_iter().for_each(|path| fs::remove_file(path).unwrap());
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    until("the key file is there again", || !by_key(&mut client, "id-2").is_empty());
    assert_all_found(&mut client);
    until("the other is there too", || !by_key(&mut client, "late").is_empty());
    broker.stop();
}

/// Kafka's records with these keys, each with its key as its value; sent as one batch.
fn send_kafkas(broker: &BrokerProcess, codec: &str, keys: &[&str]) {
    let sender = Sender::new(&broker.kafka, &[("compression.type", codec), ("linger.ms", "100")]);
    for key in keys {
        sender.send("orders", 0, &Sent { key: Some((*key).into()), ..Sent::value(*key) });
    }
    sender.delivered();
}

#[test]
fn kafkas_records_are_found_by_their_keys_where_the_topic_wants_it() {
    const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
    let data = DataDir::new();
    let settings = ["shards.count=2"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, &[]).unwrap();
    send_kafkas(&broker, "none", &["early"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert!(by_key(&mut client, "early").is_empty(), "the topic does not want it");
    broker.stop();

    let broker = BrokerProcess::start(data.path(), &settings);
    let admin = Administrator::new(&broker.kafka);
    admin.alter("orders", &[("mainstem.key.index", "true")]).unwrap();
    let mut client = Remoting::connect(&broker.rocketmq);
    for codec in CODECS {
        send_kafkas(&broker, codec, &["red", codec, "a b"]);
    }
    let all_are_found = |client: &mut Remoting| {
        assert_eq!(by_key(client, "red"), ["red"; 3], "the newest three of five");
        assert_eq!(by_key(client, "b"), ["a b"; 3]);
        for codec in CODECS {
            assert_eq!(by_key(client, codec), [codec]);
        }
        assert!(by_key(client, "early").is_empty(), "it was stored before");
    };
    // By looking through what is not sealed, and then by a key file.
    all_are_found(&mut client);
    broker.stop();
    assert!(verified(data.path()).contains(" 20 message keys"));
    let broker = BrokerProcess::start(data.path(), &settings);
    all_are_found(&mut Remoting::connect(&broker.rocketmq));
    broker.stop();
}
