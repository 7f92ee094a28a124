//! One topic in both dialects: what Kafka's clients write RocketMQ's read, and the other way round.

use bytes::Bytes;
use mainstem::wire::{
    convert,
    rocketmq::{
        RequestCode, ResponseCode,
        body::{CheckClientRequestBody, SubscriptionData, to_json},
        header::{
            PullMessageRequest, SearchOffsetRequest, SendMessageRequestV2, TopicQueueRequest,
        },
        record::{Record, Records},
    },
};
use rdkafka::{
    Message as _, Offset,
    consumer::{BaseConsumer, Consumer as _},
    message::{Headers as _, OwnedMessage},
};

use super::{
    client::{Sender, Sent, config, consumer_at, read, take},
    process::{BrokerProcess, DataDir, PATIENCE, verified},
    remoting::{Remoting, Told},
    rocketmq::{ask_send, bodies, header, heartbeat_request, properties, pull, pull_header, send},
    topics::Administrator,
};

/// So many that some connections are not on the shard of the queue they ask for.
const SHARDS: [&str; 2] = ["shards.count=3", "shards.pin=false"];

const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

/// Messages of all kinds, which come to one batch.
fn kinds() -> Vec<Sent> {
    let text = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
    let plain = Sent {
        key: Some(b"one two".to_vec()),
        value: Some(b"plain".to_vec()),
        headers: vec![text("TAGS", "A"), text("UNIQ_KEY", "id-0"), text("n", "7")],
        timestamp: Some(1_700_000_000_001),
    };
    let repeated = vec![text("TAGS", "B"), text("h", "1"), ("h".to_owned(), None), text("h", "2")];
    let repeated = Sent { headers: repeated, ..Sent::value("repeated") };
    let binary = Sent { key: Some(vec![0xff, 0]), ..Sent::value("binary") };
    let empty = Sent { key: Some(Vec::new()), ..Sent::value("") };
    let tombstone = Sent { key: Some(b"gone".to_vec()), ..Sent::default() };
    let large = Sent { headers: vec![text("TAGS", "A")], ..Sent::value(vec![b'l'; 300 << 10]) };
    vec![plain, repeated, binary, empty, tombstone, large]
}

fn pull_all(client: &mut Remoting, topic: &str, mut offset: i64, each: i32) -> Vec<Told> {
    let mut all = Vec::new();
    loop {
        let mut request = client.request(RequestCode::PullMessage);
        let asked = PullMessageRequest { max_msg_nums: each, ..pull_header(topic, offset, "*", 0) };
        asked.write(&mut request.fields);
        let told = client.ask(&request);
        if told.code == ResponseCode::PullNotFound.number() {
            return all;
        }
        let told = told.expect(ResponseCode::Success);
        offset = told.number("nextBeginOffset");
        all.push(told);
    }
}

fn records(told: &[Told]) -> Vec<Record<'_>> {
    let all = told.iter().flat_map(|told| Records::new(&told.body)).map(Result::unwrap);
    all.inspect(|record| record.check_body().unwrap()).collect()
}

fn check_pulled(broker: &BrokerProcess, topic: &str) {
    let sent = kinds();
    let mut client = Remoting::connect(&broker.rocketmq);
    for each in [1, 4, 32] {
        let told = pull_all(&mut client, topic, 0, each);
        assert!(told.iter().all(|told| records(std::slice::from_ref(told)).len() <= each as usize));
        let records = records(&told);
        assert_eq!(records.len(), CODECS.len() * sent.len());
        for (offset, record) in records.iter().enumerate() {
            let expected = &sent[offset % sent.len()];
            assert_eq!((record.queue_offset, record.queue_id), (offset as i64, 0));
            assert_eq!(
                (record.topic, record.store_host.to_string()),
                (topic, broker.rocketmq.clone())
            );
            let value = expected.value.as_deref().filter(|value| !value.is_empty());
            assert_eq!(record.body, value.unwrap_or(convert::NO_BODY));
            assert!(record.store_timestamp > 1_700_000_000_001);
        }
    }
    let told = pull_all(&mut client, topic, 13, 32);
    let records = records(&told);
    assert_eq!(records[0].queue_offset, 13);
    let of =
        |kind: usize| records.iter().find(|record| record.queue_offset % 6 == kind as i64).unwrap();
    let property = |kind: usize, name: &str| of(kind).properties().get(name);
    assert_eq!(of(0).born_timestamp, 1_700_000_000_001);
    let named = ["KEYS", "TAGS", "UNIQ_KEY", "n"].map(|name| property(0, name));
    assert_eq!(named, [Some("one two"), Some("A"), Some("id-0"), Some("7")]);
    assert_eq!(property(1, "h"), Some("2"));
    assert!(property(1, convert::HEADERS).is_some());
    assert_eq!((property(2, "KEYS"), property(2, convert::KEY)), (None, Some("_wA")));
    assert_eq!(property(3, convert::KEY), Some("="));
    assert_eq!(
        (property(4, "KEYS"), property(4, convert::TOMBSTONE)),
        (Some("gone"), Some("true"))
    );
    // By tag, each record by itself; the large ones do not fit into one answer.
    let tagged = bodies(&pull(&mut client, topic, 0, "B || C"));
    assert_eq!(tagged, vec!["repeated"; CODECS.len()]);
    let none = pull(&mut client, topic, 1, "C").expect(ResponseCode::PullRetryImmediately);
    assert_eq!(none.number("nextBeginOffset"), 30);
    assert_eq!((none.number("minOffset"), none.number("maxOffset")), (0, 30));
}

#[test]
fn what_kafkas_clients_send_is_pulled() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    Administrator::new(&broker.kafka).create("theirs", 1, &[]).unwrap();
    for codec in CODECS {
        let batching = [("compression.type", codec), ("linger.ms", "200")];
        let sender = Sender::new(&broker.kafka, &batching);
        kinds().iter().for_each(|message| sender.send("theirs", 0, message));
        sender.delivered();
    }
    let batches = broker.metric("batches_produced_total");
    check_pulled(&broker, "theirs");
    // Each was converted once, however often it was asked for.
    assert_eq!(broker.metric("conversion_cache_total{found=\"no\"}"), batches);
    assert!(broker.metric("conversion_cache_total{found=\"yes\"}") > batches);
    assert_eq!(broker.metric("converted_messages_total{to=\"rocketmq\"}"), 30);
    assert_eq!(broker.metric("converted_messages_lossy_total"), 0);
    assert!(broker.metric("conversion_cache_bytes") > 5 * (300 << 10));
    broker.kill();
    // From the segments, without anything kept.
    let broker = BrokerProcess::start(data.path(), &["rocketmq.conversion_cache_bytes=0"]);
    check_pulled(&broker, "theirs");
    assert_eq!(broker.metric("conversion_cache_bytes"), 0);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_held_pull_is_answered_by_a_kafka_record() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let mut client = Remoting::connect(&broker.rocketmq);
    let mut held = client.request(RequestCode::PullMessage);
    pull_header("orders", 0, "B", PATIENCE.as_millis() as i64).write(&mut held.fields);
    client.send(&held);
    let sender = Sender::new(&broker.kafka, &[("linger.ms", "50")]);
    kinds()[..3].iter().for_each(|message| sender.send("orders", 0, message));
    sender.delivered();
    let told = client.next().unwrap().expect(ResponseCode::Success);
    assert_eq!((told.opaque, bodies(&told)), (held.opaque, vec!["repeated".to_owned()]));
    assert_eq!(told.number("nextBeginOffset"), 3);
    broker.stop();
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_millis() as i64
}

fn headers_of(message: &OwnedMessage) -> Vec<(String, Vec<u8>)> {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    headers
        .map(|header| (header.key.to_owned(), header.value.unwrap_or_default().to_vec()))
        .collect()
}

fn check_fetched(broker: &BrokerProcess) {
    let limits = [("fetch.message.max.bytes", "700"), ("fetch.message.max.bytes", "1048576")];
    for (name, value) in limits {
        let all = [(name, value), ("group.id", "limited"), ("check.crcs", "true")];
        let consumer: BaseConsumer = config(&broker.kafka, &all).create().unwrap();
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset("orders", 0, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let messages = take(&consumer, 40);
        for (offset, message) in messages.iter().enumerate() {
            assert_eq!(message.offset(), offset as i64);
            let from_kafka = offset % 10 == 9;
            let body = if from_kafka { "kafka".to_owned() } else { format!("body-{offset}") };
            assert_eq!(message.payload(), Some(body.as_bytes()));
            if !from_kafka {
                assert_eq!(message.key(), Some(&b"k"[..]));
                assert_eq!(message.timestamp().to_millis(), Some(1_700_000_000_000));
                let headers = headers_of(message);
                let header = |name: &str| {
                    let found = headers.iter().find(|(known, _)| known == name).unwrap();
                    String::from_utf8(found.1.clone()).unwrap()
                };
                assert_eq!((header("TAGS"), header("UNIQ_KEY")), ("A".to_owned(), body));
            }
        }
    }
    for offset in [0, 5, 9, 10, 39] {
        let consumer = consumer_at(&broker.kafka, "orders", 0, Offset::Offset(offset));
        assert_eq!(take(&consumer, 1)[0].offset(), offset);
    }
}

/// Each dialect finds messages by the time that it shows of them: Kafka's by their timestamps, which
/// are when RocketMQ's were born, long ago; RocketMQ's by when they were stored.
fn check_times(broker: &BrokerProcess, client: &mut Remoting) {
    const BORN: i64 = 1_700_000_000_000;
    let minutes = |minutes: i64| now_ms() + minutes * 60_000;
    let late = Sent { timestamp: Some(minutes(30)), ..Sent::value("late") };
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("orders", 0, &late);
    assert_eq!(sender.delivered(), [40]);
    let consumer = consumer_at(&broker.kafka, "orders", 0, Offset::Beginning);
    let times: Vec<_> = take(&consumer, 41)
        .iter()
        .map(|message| message.timestamp().to_millis().unwrap())
        .collect();
    for time in [1, BORN, BORN + 1, minutes(20), minutes(40)] {
        let mut asked = rdkafka::TopicPartitionList::new();
        asked.add_partition_offset("orders", 0, Offset::Offset(time)).unwrap();
        let told = consumer.offsets_for_times(asked, PATIENCE).unwrap();
        let first = times.iter().position(|timestamp| *timestamp >= time);
        let expected = first.map_or(Offset::End, |offset| Offset::Offset(offset as i64));
        assert_eq!(told.elements()[0].offset(), expected, "{time}");
    }
    let told = pull_all(client, "orders", 0, 32);
    let stored: Vec<_> = records(&told).iter().map(|record| record.store_timestamp).collect();
    assert_eq!(earliest_time(client, 0), stored[0]);
    assert_eq!(earliest_time(client, 1), -1);
    assert_eq!([None, Some("UPPER")].map(|boundary| by_time(client, 1, BORN, boundary)), [0, 0]);
    for time in [1, BORN + 1, stored[7], stored[20] + 1, stored[40], minutes(20)] {
        let lower = stored.partition_point(|stored| *stored < time) as i64;
        assert_eq!(by_time(client, 0, time, None), lower, "{time}");
        // The last one of that time, or the one before.
        let upper = stored.partition_point(|stored| *stored <= time).saturating_sub(1) as i64;
        assert_eq!(by_time(client, 0, time, Some("upper")), upper, "{time}");
    }
}

fn stored_at(client: &mut Remoting, offset: i64) -> i64 {
    records(&[pull(client, "orders", offset, "*")])[0].store_timestamp
}

/// Where a queue of `orders` is at a time of storing.
fn by_time(
    client: &mut Remoting,
    queue_id: i32,
    timestamp: i64,
    boundary_type: Option<&'static str>,
) -> i64 {
    let search = SearchOffsetRequest { topic: "orders", queue_id, timestamp, boundary_type };
    let code = RequestCode::SearchOffsetByTimestamp;
    let found = client.call(code, |fields| search.write(fields), Bytes::new());
    found.expect(ResponseCode::Success).number("offset")
}

/// When the first message of a queue of `orders` was stored.
fn earliest_time(client: &mut Remoting, queue_id: i32) -> i64 {
    let asked = TopicQueueRequest { topic: "orders", queue_id };
    let code = RequestCode::GetEarliestMsgStoretime;
    let told = client.call(code, |fields| asked.write(fields), Bytes::new());
    told.expect(ResponseCode::Success).number("timestamp")
}

#[test]
fn what_rocketmqs_clients_send_is_fetched() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    for offset in 0..40 {
        if offset % 10 == 9 {
            assert_eq!(super::client::send_one(&broker.kafka, "orders", "kafka"), Ok(offset));
        } else {
            assert_eq!(send(&mut client, "orders", "A", &format!("body-{offset}")), offset);
        }
    }
    check_fetched(&broker);
    assert!(broker.metric("converted_messages_total{to=\"kafka\"}") >= 2 * 36);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    check_fetched(&broker);
    let mut client = Remoting::connect(&broker.rocketmq);
    let told = pull_all(&mut client, "orders", 0, 32);
    assert_eq!(records(&told).iter().filter(|record| record.body == b"kafka").count(), 4);

    check_times(&broker, &mut client);

    // From the middle of what RocketMQ wrote, and of a batch of Kafka's, on.
    let batching = Sender::new(&broker.kafka, &[("linger.ms", "100")]);
    (0..10).for_each(|number: i32| batching.send("orders", 0, &Sent::value(number.to_string())));
    assert_eq!(batching.delivered().last(), Some(&50));
    let admin = Administrator::new(&broker.kafka);
    for start in [5, 44] {
        assert_eq!(admin.delete_records("orders", Offset::Offset(start)), Ok(start));
        assert_eq!(earliest_time(&mut client, 0), stored_at(&mut client, start));
        let moved = pull(&mut client, "orders", 0, "*").expect(ResponseCode::PullOffsetMoved);
        assert_eq!((moved.number("nextBeginOffset"), moved.number("minOffset")), (start, start));
        let told = pull_all(&mut client, "orders", start, 32);
        let offsets: Vec<_> = records(&told).iter().map(|record| record.queue_offset).collect();
        assert_eq!(offsets, (start..51).collect::<Vec<_>>());
        let rest = read(&broker.kafka, "orders", 0, offsets.len());
        assert_eq!(rest.iter().map(|message| message.offset()).collect::<Vec<_>>(), offsets);
    }
    broker.stop();
    verified(data.path());
}

fn subscription(kind: &str, expression: &str) -> SubscriptionData {
    SubscriptionData {
        topic: "orders".to_owned(),
        sub_string: expression.to_owned(),
        expression_type: Some(kind.to_owned()),
        ..SubscriptionData::default()
    }
}

fn sql_pull(client: &mut Remoting, expression: Option<&str>) -> Told {
    let mut request = client.request(RequestCode::PullMessage);
    let asked = PullMessageRequest {
        expression_type: Some("SQL92"),
        sys_flag: if expression.is_some() { 4 } else { 0 },
        subscription: expression,
        ..pull_header("orders", 0, "*", 0)
    };
    asked.write(&mut request.fields);
    client.ask(&request)
}

#[test]
fn conditions_are_asked_of_each_message() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for number in 0..6 {
        let number = number.to_string();
        let properties = properties(&[("n", &number), ("TAGS", "A")]);
        let header = SendMessageRequestV2 { ..header("orders", 0, &properties) };
        ask_send(&mut client, &header, &number).expect(ResponseCode::Success);
    }
    let sender = Sender::new(&broker.kafka, &[("linger.ms", "100")]);
    for number in 6..12 {
        let n = ("n".to_owned(), Some(number.to_string().into_bytes()));
        sender.send("orders", 0, &Sent { headers: vec![n], ..Sent::value(number.to_string()) });
    }
    sender.delivered();
    // Nothing is told by the hash of this tag, nor of Kafka's records; by that of the others all.
    let odd = "polygenelubricants";
    for (tag, body) in [(odd, "0"), ("B", "1"), (odd, "2"), ("A", "3"), (odd, "4")] {
        send(&mut client, "tagged", tag, body);
    }
    let check = |client: &mut Remoting| {
        let tagged = |client: &mut Remoting, tags| bodies(&pull(client, "tagged", 0, tags));
        assert_eq!(tagged(client, "polygenelubricants||A"), ["0", "2", "3", "4"]);
        assert_eq!(tagged(client, "A || B"), ["1", "3"]);
        let told = sql_pull(client, Some("n BETWEEN 4 AND 7 OR n = 11"));
        let told = told.expect(ResponseCode::Success);
        assert_eq!(bodies(&told), ["4", "5", "6", "7", "11"]);
        assert_eq!(told.number("nextBeginOffset"), 12);
        let told = sql_pull(client, Some("TAGS = 'A' AND n > 3")).expect(ResponseCode::Success);
        assert_eq!(bodies(&told), ["4", "5"]);
        let none = sql_pull(client, Some("n > 20")).expect(ResponseCode::PullRetryImmediately);
        assert_eq!(none.number("nextBeginOffset"), 12);
    };
    check(&mut client);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    check(&mut client);

    // As push consumers do it: the heartbeat says what, the pull only that it is a condition.
    sql_pull(&mut client, None).expect(ResponseCode::SubscriptionNotExist);
    let request = heartbeat_request(&mut client, "one", subscription("SQL92", "n > 9"));
    client.send(&request);
    // The group's notice and the answer.
    (0..2).for_each(|_| drop(client.next().unwrap()));
    let told = sql_pull(&mut client, None).expect(ResponseCode::Success);
    assert_eq!(bodies(&told), ["10", "11"]);

    let mut asked = |kind, expression| {
        let body = CheckClientRequestBody {
            subscription_data: subscription(kind, expression),
            ..CheckClientRequestBody::default()
        };
        client.call(RequestCode::CheckClientConfig, |_| {}, to_json(&body).unwrap())
    };
    asked("SQL92", "n > 9").expect(ResponseCode::Success);
    for (kind, expression) in [("SQL92", "n >"), ("SQL92", "n = 007"), ("XPATH", "n")] {
        asked(kind, expression).expect(ResponseCode::SubscriptionParseFailed);
    }
    let told = sql_pull(&mut client, Some("n > > 3")).expect(ResponseCode::SubscriptionParseFailed);
    assert!(told.remark.contains("at character 5"), "{}", told.remark);
    broker.stop();
}
