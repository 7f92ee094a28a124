//! Delayed messages, consumers' retries and dead letters, by raw frames.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::{Bytes, BytesMut};
use mainstem::wire::rocketmq::{
    RecallHandle, RemotingCommand, RequestCode, ResponseCode,
    header::{
        ConsumerSendMsgBackRequest, PullMessageRequest, RecallMessageRequest, SendMessageRequestV2,
    },
    record::{Record, Records},
};

use super::{
    client::{Sender, Sent},
    process::{BrokerProcess, DataDir, PATIENCE, until, verified},
    remoting::{Remoting, Told},
    retention::{MIB, fill_with},
    rocketmq::{ask_send, bodies, header, properties, pull, pull_header},
    topics::Administrator,
};

pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Sends a message with these properties to queue 0, which must be taken.
pub fn send(client: &mut Remoting, topic: &str, pairs: &[(&str, &str)], body: &str) -> Told {
    let properties = properties(&[&[("UNIQ_KEY", body), ("TAGS", "A")], pairs].concat());
    ask_send(client, &header(topic, 0, &properties), body).expect(ResponseCode::Success)
}

/// Pulls until so many messages have come; their records.
pub fn await_messages(client: &mut Remoting, topic: &str, from: i64, count: usize) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut offset = from;
    while found.len() < count {
        let mut request: RemotingCommand<'_> = client.request(RequestCode::PullMessage);
        let wait = PATIENCE.as_millis() as i64;
        pull_header(topic, offset, "A", wait).write(&mut request.fields);
        let told = client.ask(&request).expect(ResponseCode::Success);
        offset = told.number("nextBeginOffset");
        let mut at = 0;
        for record in Records::new(&told.body) {
            let bytes = record.unwrap().encoded_bytes();
            found.push(told.body.slice(at..at + bytes));
            at += bytes;
        }
    }
    found
}

fn text(record: &Record<'_>) -> String {
    String::from_utf8(record.body.to_vec()).unwrap()
}

#[test]
fn delayed_messages_come_in_their_time_and_order() {
    let data = DataDir::new();
    let broker =
        BrokerProcess::start(data.path(), &["rocketmq.delay_levels=1s 2s", "shards.count=2"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let before_ms = now_ms();
    let at = |after_ms: i64| (before_ms + after_ms).to_string();
    // The last one's level is beyond the last there is. Others say more than counts.
    let hour = at(3_600_000);
    for (name, value, body) in [
        ("TIMER_DELIVER_MS", at(1_500), "fourth"),
        ("DELAY", "1".to_owned(), "third"),
        ("TIMER_DELAY_MS", "300".to_owned(), "second"),
        ("DELAY", "18".to_owned(), "fifth"),
        ("TIMER_DELIVER_MS", at(-5_000), "first"),
    ] {
        let mut pairs = vec![(name, &*value)];
        match name {
            "DELAY" => pairs.push(("TIMER_DELAY_SEC", "3600")),
            "TIMER_DELAY_MS" => pairs.push(("TIMER_DELIVER_MS", &hour)),
            _ => {}
        }
        let told = send(&mut client, "orders", &pairs, body);
        let later = body != "first";
        assert_eq!(told.fields.iter().any(|(name, _)| name == "recallHandle"), later, "{told:?}");
        assert_eq!((told.field("transactionId"), told.number("queueId")), (body, 0));
    }
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["first"]);
    assert_eq!(broker.metric("timers_pending"), 4);
    let found = await_messages(&mut client, "orders", 0, 5);
    let records: Vec<_> = found.iter().map(|bytes| Record::parse(bytes).unwrap()).collect();
    let texts: Vec<_> = records.iter().map(text).collect();
    assert_eq!(texts, ["first", "second", "third", "fourth", "fifth"]);
    // Without a level they keep the time they were sent with, and say when they were due.
    let kept: [&[_]; 5] = [
        &["TIMER_DELIVER_MS"],
        &["TIMER_DELAY_MS", "TIMER_DELIVER_MS", "TIMER_OUT_MS"],
        &[],
        &["TIMER_DELIVER_MS", "TIMER_OUT_MS"],
        &[],
    ];
    let expected = [0, 300, 1_000, 1_500, 2_000].into_iter().zip(kept);
    for (record, (after_ms, kept)) in records.iter().zip(expected) {
        assert!(record.store_timestamp >= before_ms + after_ms, "{record:?} is early");
        let names: Vec<_> = record.properties().map(|(name, _)| name).collect();
        let set: &[_] = &["MSG_REGION", "TRACE_ON", "CLUSTER"];
        assert_eq!(names, [&["UNIQ_KEY", "TAGS"], kept, set].concat());
        assert_eq!((record.topic, record.queue_id), ("orders", 0));
    }
    let out_ms = records[3].properties().get("TIMER_OUT_MS");
    assert_eq!(out_ms, records[3].properties().get("TIMER_DELIVER_MS"));
    assert_eq!((broker.metric("timers_pending"), broker.metric("timers_fired_total")), (0, 4));
    broker.stop();
    verified(data.path());
}

/// What a producer has sent, and what of it was acknowledged.
#[derive(Default)]
struct Journal {
    due_ms: BTreeMap<String, i64>,
    acknowledged: Vec<String>,
}

/// Sends messages that are due between now and in 1.5 s until the broker is gone.
fn send_until_killed(address: &str, round: usize, count: &AtomicUsize) -> Journal {
    let mut client = Remoting::connect(address);
    let mut journal = Journal::default();
    for number in 0.. {
        let body = format!("{round}-{number}");
        let due_ms = now_ms() + 37 * (number % 40);
        let due = due_ms.to_string();
        let properties =
            properties(&[("UNIQ_KEY", &body), ("TAGS", "A"), ("TIMER_DELIVER_MS", &due)]);
        let mut request: RemotingCommand<'_> = client.request(RequestCode::SendMessageV2);
        header("orders", 0, &properties).write(&mut request.fields);
        request.body = Bytes::copy_from_slice(body.as_bytes());
        let mut bytes = BytesMut::new();
        request.encode(&mut bytes).unwrap();
        journal.due_ms.insert(body.clone(), due_ms);
        if client.stream.write_all(&bytes).is_err() {
            break;
        }
        let Some(told) = client.next() else { break };
        told.expect(ResponseCode::Success);
        journal.acknowledged.push(body);
        count.fetch_add(1, Ordering::Relaxed);
    }
    journal
}

#[test]
fn timers_survive_kills_and_none_is_early() {
    const ROUNDS: usize = 8;
    let data = DataDir::new();
    let settings = ["shards.count=2"];
    let mut due_ms = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for round in 0..ROUNDS {
        let broker = BrokerProcess::start(data.path(), &settings);
        let (address, count) = (broker.rocketmq.clone(), Arc::<AtomicUsize>::default());
        let counted = Arc::clone(&count);
        let sender = thread::spawn(move || send_until_killed(&address, round, &counted));
        let enough = 40 + 35 * round;
        until("enough is sent", || count.load(Ordering::Relaxed) >= enough);
        broker.kill();
        let journal = sender.join().unwrap();
        due_ms.extend(journal.due_ms);
        missing.extend(journal.acknowledged);
        verified(data.path());
    }
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    let sent = due_ms.len();
    let (mut offset, mut came) = (0, 0);
    until("all timers fire", || {
        let told = pull(&mut client, "orders", offset, "*");
        offset = told.number("nextBeginOffset");
        for record in Records::new(&told.body).map(Result::unwrap) {
            let body = text(&record);
            assert!(record.store_timestamp >= due_ms[&body], "{body} is early");
            missing.remove(&body);
            came += 1;
        }
        missing.is_empty()
    });
    // A kill between delivery and cursor repeats a batch of each queue at most, and they are small.
    assert!(came <= sent + sent / 4, "{came} came of {sent}");
    broker.stop();
}

#[test]
fn too_many_timers_are_refused_and_the_rest_goes_on() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["timers.max_pending=1000"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let refused = (0..2_000).map(|number| {
        let id = number.to_string();
        let properties = properties(&[("UNIQ_KEY", &id), ("TIMER_DELAY_SEC", "600")]);
        ask_send(&mut client, &header("orders", 0, &properties), &id)
    });
    let refused = refused.filter(|told| told.code != 0).last().unwrap();
    let remark = refused.expect(ResponseCode::SystemBusy).remark;
    assert!(remark.contains("timers.max_pending"), "{remark}");
    assert_eq!(broker.metric("timers_pending"), 1_000);
    send(&mut client, "orders", &[], "at once");
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["at once"]);
    broker.stop();
}

/// Those that wait for longer keep the log start in front of what is recalled.
#[test]
fn recalled_timers_count_until_their_time_has_passed() {
    const RECALLED: usize = 20;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["timers.max_pending=1000", "shards.count=1"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for number in RECALLED..1_000 {
        send(&mut client, "orders", &[("TIMER_DELAY_SEC", "3600")], &number.to_string());
    }
    let due = (now_ms() + 15_000).to_string();
    let soon = [("TIMER_DELIVER_MS", &*due)];
    for number in 0..RECALLED {
        let told = send(&mut client, "orders", &soon, &number.to_string());
        recall(&mut client, "orders", told.field("recallHandle")).expect(ResponseCode::Success);
    }
    assert_eq!(broker.metric("timers_pending"), 1_000 - RECALLED as u64);
    let mut send_one_more = || {
        let later = properties(&[("UNIQ_KEY", "more"), ("TIMER_DELAY_SEC", "3600")]);
        ask_send(&mut client, &header("orders", 0, &later), "more")
    };
    send_one_more().expect(ResponseCode::SystemBusy);
    until("their time has passed", || send_one_more().code == 0);
    assert!(now_ms() >= due.parse::<i64>().unwrap(), "there was room before");
    broker.stop();
    verified(data.path());
}

#[test]
fn a_deleted_topics_timers_hold_nobody_up() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let soon = [("TIMER_DELAY_MS", "400")];
    // All are in one timer queue.
    for topic in ["gone", "gone", "stays"] {
        send(&mut client, topic, &[("UNIQ_KEY", "one"), soon[0]], topic);
    }
    let admin = Administrator::new(&broker.kafka);
    admin.delete("gone").unwrap();
    await_messages(&mut client, "stays", 0, 1);
    until("they are counted", || broker.metric("timers_undeliverable_total") == 2);
    until("none is left", || broker.metric("timers_pending") == 0);
    broker.wait_for_error("cannot be delivered and are given up");
    assert!(admin.delete("__mainstem_timers").is_err(), "the timers' topic can be deleted");
    assert!(admin.grow("__mainstem_timers", 32).is_err(), "the timers' topic can be changed");
    broker.stop();
}

/// Neither a stop's checkpoint nor the log after a kill lets it come twice.
#[test]
fn what_has_come_does_not_come_again() {
    const PER_ROUND: i64 = 50;
    let data = DataDir::new();
    let mut expected = 0;
    for round in 0..4 {
        let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
        let mut client = Remoting::connect(&broker.rocketmq);
        for number in 0..PER_ROUND {
            let delay = (1 + number % 7).to_string();
            send(
                &mut client,
                "orders",
                &[("TIMER_DELAY_MS", &delay)],
                &format!("{round}-{number}"),
            );
        }
        expected += PER_ROUND;
        await_messages(&mut client, "orders", expected - PER_ROUND, PER_ROUND as usize);
        until("all count as fired", || broker.metric("timers_fired_total") == PER_ROUND as u64);
        // Once this is durable, so is that they have.
        send(&mut client, "others", &[], "behind");
        if round % 2 == 0 {
            broker.kill()
        } else {
            broker.stop()
        };
    }
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    // It fires behind whatever else its queue still has to.
    (0..64).for_each(|number| {
        let id = format!("last-{number}");
        send(&mut client, "orders", &[("TIMER_DELAY_MS", "1")], &id);
    });
    let last = await_messages(&mut client, "orders", expected, 64);
    let all_last = |bytes: &Bytes| text(&Record::parse(bytes).unwrap()).starts_with("last-");
    assert!(last.iter().all(all_last), "some came again");
    broker.stop();
}

fn recall(client: &mut Remoting, topic: &'static str, handle: &str) -> Told {
    let mut request: RemotingCommand<'_> = client.request(RequestCode::RecallMessage);
    RecallMessageRequest { producer_group: None, topic, recall_handle: handle }
        .write(&mut request.fields);
    client.ask(&request)
}

#[test]
fn what_is_recalled_does_not_come_even_after_a_kill() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let due_ms = now_ms() + 4_000;
    let at: &[_] = &[("TIMER_DELIVER_MS", &*due_ms.to_string())];
    let [taken, kept] = ["taken-back", "kept"]
        .map(|body| send(&mut client, "orders", at, body).field("recallHandle").to_owned());
    let handle = RecallHandle::parse(&taken).unwrap();
    assert_eq!((&*handle.topic, &*handle.message_id), ("orders", "taken-back"));
    assert_eq!((&*handle.broker_name, handle.timestamp), ("mainstem", due_ms.to_string()));
    let told = recall(&mut client, "orders", &taken).expect(ResponseCode::Success);
    assert_eq!(told.field("msgId"), "taken-back");
    assert_eq!(broker.metric("timers_pending"), 1);
    recall(&mut client, "orders", &taken).expect(ResponseCode::Success);
    recall(&mut client, "elsewhere", &kept).expect(ResponseCode::TopicNotExist);
    recall(&mut client, "orders", "no handle").expect(ResponseCode::IllegalOperation);
    let past = RecallHandle { timestamp: "1000".to_owned(), ..RecallHandle::parse(&kept).unwrap() };
    recall(&mut client, "orders", &past.to_string()).expect(ResponseCode::IllegalOperation);
    let foreign =
        RecallHandle { message_id: "x".to_owned(), ..RecallHandle::parse(&kept).unwrap() };
    recall(&mut client, "orders", &foreign.to_string()).expect(ResponseCode::Success);
    broker.kill();

    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let found = await_messages(&mut client, "orders", 0, 1);
    assert_eq!(text(&Record::parse(&found[0]).unwrap()), "kept");
    assert_eq!(broker.metric("timers_pending"), 0);
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["kept"]);
}

/// It is in no index before it is durable.
#[test]
fn what_was_answered_ahead_of_the_disk_is_recalled() {
    let data = DataDir::new();
    let settings = ["log.flush=async", "log.sync_interval_ms=1000"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    // Topics are made first, which waits for the disk.
    send(&mut client, "orders", &[("TIMER_DELAY_MS", "1")], "first");
    let later = [("TIMER_DELAY_MS", "5000")];
    let told = send(&mut client, "orders", &later, "taken-back");
    recall(&mut client, "orders", told.field("recallHandle")).expect(ResponseCode::Success);
    send(&mut client, "orders", &later, "kept");
    await_messages(&mut client, "orders", 0, 2);
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["first", "kept"]);
    broker.stop();
    verified(data.path());
}

/// As clients do, who say from the first retry on, too, that it is the original topic's.
fn send_back(client: &mut Remoting, record: &Record<'_>, level: i32, max: Option<i32>) -> Told {
    let mut request: RemotingCommand<'_> = client.request(RequestCode::ConsumerSendMsgBack);
    let asked = ConsumerSendMsgBackRequest {
        offset: record.physical_offset,
        group: "consumers",
        delay_level: level,
        origin_topic: Some("orders"),
        max_reconsume_times: max,
        ..ConsumerSendMsgBackRequest::default()
    };
    asked.write(&mut request.fields);
    client.ask(&request)
}

#[test]
fn a_message_comes_again_until_it_is_a_dead_letter() {
    let data = DataDir::new();
    let settings = ["rocketmq.delay_levels=1s"];
    let mut broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    let first_id =
        send(&mut client, "orders", &[("KEYS", "k")], "failing").field("msgId").to_owned();
    let mut found = await_messages(&mut client, "orders", 0, 1).remove(0);
    for times in 1..=2 {
        let sent_ms = now_ms();
        let record = Record::parse(&found).unwrap();
        send_back(&mut client, &record, 0, Some(2)).expect(ResponseCode::Success);
        if times == 2 {
            broker.kill();
            broker = BrokerProcess::start(data.path(), &settings);
            client = Remoting::connect(&broker.rocketmq);
        }
        let again = await_messages(&mut client, "%RETRY%consumers", times - 1, 1).remove(0);
        let record = Record::parse(&again).unwrap();
        assert_eq!((text(&record).as_str(), i64::from(record.reconsume_times)), ("failing", times));
        assert!(record.store_timestamp >= sent_ms + 1_000);
        let of = |name| record.properties().get(name);
        assert_eq!(
            (of("RETRY_TOPIC"), of("ORIGIN_MESSAGE_ID")),
            (Some("orders"), Some(&*first_id))
        );
        assert_eq!((of("KEYS"), of("UNIQ_KEY"), of("DELAY")), (Some("k"), Some("failing"), None));
        found = again;
    }
    let record = Record::parse(&found).unwrap();
    send_back(&mut client, &record, 0, Some(2)).expect(ResponseCode::Success);
    let dead = await_messages(&mut client, "%DLQ%consumers", 0, 1).remove(0);
    let dead = Record::parse(&dead).unwrap();
    assert_eq!((dead.reconsume_times, dead.properties().get("RETRY_TOPIC")), (3, Some("orders")));
    // Who says so gets it there at once.
    send_back(&mut client, &record, -1, None).expect(ResponseCode::Success);
    await_messages(&mut client, "%DLQ%consumers", 1, 1);
    let nowhere = Record { physical_offset: record.physical_offset + 9, ..record.clone() };
    send_back(&mut client, &nowhere, 0, None).expect(ResponseCode::SystemError);

    // A client does it by itself where that fails.
    for (body, times, topic, offset) in
        [("again", 2, "%RETRY%consumers", 2), ("too often", 3, "%DLQ%consumers", 2)]
    {
        let properties = properties(&[("TAGS", "A"), ("DELAY", "1"), ("UNIQ_KEY", body)]);
        let header = SendMessageRequestV2 {
            reconsume_times: Some(times),
            max_reconsume_times: Some(2),
            ..header("%RETRY%consumers", 0, &properties)
        };
        ask_send(&mut client, &header, body).expect(ResponseCode::Success);
        let found = await_messages(&mut client, topic, offset, 1).remove(0);
        let record = Record::parse(&found).unwrap();
        assert_eq!((text(&record).as_str(), record.reconsume_times), (body, times));
    }
    broker.stop();
    verified(data.path());
}

/// Its properties say when it was to come wherever a consumer sends it.
#[test]
fn what_was_due_once_is_not_timed_again() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.delay_levels=1s"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", &[("TIMER_DELAY_MS", "300")], "late");
    let found = await_messages(&mut client, "orders", 0, 1).remove(0);
    let record = Record::parse(&found).unwrap();
    let told = ask_send(&mut client, &header("others", 0, record.properties), "late");
    let told = told.expect(ResponseCode::Success);
    assert!(told.fields.iter().all(|(name, _)| name != "recallHandle"), "{told:?}");
    let sent_on = pull(&mut client, "others", 0, "*").expect(ResponseCode::Success);
    let sent_on = Record::parse(&sent_on.body).unwrap();
    assert_eq!(sent_on.properties, record.properties);
    send_back(&mut client, &record, 1, None).expect(ResponseCode::Success);
    let again = await_messages(&mut client, "%RETRY%consumers", 0, 1).remove(0);
    let names: Vec<_> = Record::parse(&again).unwrap().properties().map(|(name, _)| name).collect();
    assert!(!names.iter().any(|name| name.starts_with("TIMER_")), "{names:?}");
    broker.stop();
}

/// Kafka's records may be larger than what topics of RocketMQ's take.
#[test]
fn a_large_record_of_kafkas_comes_again() {
    let data = DataDir::new();
    let settings = ["rocketmq.delay_levels=1s", "rocketmq.max_message_bytes=1000"];
    let broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let tag = ("TAGS".to_owned(), Some(b"A".to_vec()));
    let large = Sent { headers: vec![tag], ..Sent::value("x".repeat(200 << 10)) };
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("orders", 0, &large);
    assert_eq!(sender.delivered(), [0]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let found = await_messages(&mut client, "orders", 0, 1).remove(0);
    let record = Record::parse(&found).unwrap();
    for (level, topic) in [(1, "%RETRY%consumers"), (-1, "%DLQ%consumers")] {
        send_back(&mut client, &record, level, None).expect(ResponseCode::Success);
        let again = await_messages(&mut client, topic, 0, 1).remove(0);
        assert_eq!(Record::parse(&again).unwrap().body, record.body);
    }
    broker.stop();
    verified(data.path());
}

/// What waits long is stored again, so that the log gives its segments up; it is still recalled by
/// what it was once given.
fn held_back(settings: &[&str], orders: &[(&str, &str)], headers: &[(&str, &str)]) {
    let data = DataDir::new();
    let settings = [&["log.retention_check_ms=100"], settings].concat();
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    let handles: Vec<_> = (0..40)
        .map(|number| {
            let later = [("TIMER_DELAY_SEC", "600")];
            let told = send(&mut client, "delayed", &later, &format!("later-{number}"));
            told.field("recallHandle").to_owned()
        })
        .collect();
    let soon = now_ms() + 15_000;
    send(&mut client, "delayed", &[("TIMER_DELIVER_MS", &soon.to_string())], "soon");
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, orders).unwrap();
    fill_with(&broker, "orders", 100 * MIB, headers);
    // What a start would replay stays: on a busy machine checkpoints lie far apart, and the next one
    // comes with the next segment.
    until("segments are dropped", || {
        fill_with(&broker, "orders", MIB, headers);
        broker.metric("log_disk_bytes") <= 64 << 20
    });
    until("the filler has come", || broker.metric("timers_pending") <= 41);
    broker.kill();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &settings);
    let mut client = Remoting::connect(&broker.rocketmq);
    until("the soon one comes", || broker.metric("timers_pending") == 40);
    let found = await_messages(&mut client, "delayed", 0, 1).remove(0);
    let record = Record::parse(&found).unwrap();
    assert!(text(&record) == "soon" && record.store_timestamp >= soon, "{record:?}");
    for handle in &handles {
        recall(&mut client, "delayed", handle).expect(ResponseCode::Success);
    }
    assert_eq!(broker.metric("timers_pending"), 0);
    assert_eq!(broker.metric("timers_undeliverable_total"), 0);
    broker.stop();
    verified(data.path());
}

#[test]
fn timers_hold_little_of_the_log_back() {
    held_back(&["timers.held_bytes=1MiB"], &[("retention.bytes", "8000000")], &[]);
}

/// Those that have fired count for nothing.
#[test]
fn timers_hold_little_of_the_log_back_that_is_full_of_fired_ones() {
    let orders = [("retention.bytes", "8000000"), ("mainstem.delay", "true")];
    held_back(&["timers.held_bytes=1MiB"], &orders, &[("mainstem-delay-ms", "1000")]);
}

#[test]
fn timers_outlive_the_logs_limit() {
    // Only the limit has the timers moved here.
    held_back(&["log.max_bytes=64MiB"], &[("retention.bytes", "-1")], &[]);
}

/// Pulls of the timers' own topic get nothing.
#[test]
fn the_brokers_own_topic_is_no_clients() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", &[("TIMER_DELAY_SEC", "600")], "later");
    let mut request: RemotingCommand<'_> = client.request(RequestCode::PullMessage);
    let asked = PullMessageRequest { ..pull_header("__mainstem_timers", 0, "*", 0) };
    asked.write(&mut request.fields);
    client.ask(&request).expect(ResponseCode::TopicNotExist);
    broker.stop();
}
