//! RocketMQ's clients, by raw frames: its name server and its broker.

use std::{io::Write as _, net::TcpListener};

use bytes::{Bytes, BytesMut};
use mainstem::wire::rocketmq::{
    OffsetMessageId, RemotingCommand, RequestCode, ResponseCode, UniqueId,
    batch::BatchMessage,
    body::{
        ConsumerData, GetConsumerListByGroupResponseBody, HeartbeatData, LockBatchRequestBody,
        LockBatchResponseBody, MessageModel, MessageQueue, ProducerData, SubscriptionData,
        TopicRouteData, from_json, to_json,
    },
    header::{
        ConsumerGroupRequest, GetRouteInfoRequest, PullMessageRequest, QueryConsumerOffsetRequest,
        SearchOffsetRequest, SendMessageRequestV2, TopicQueueRequest, UnregisterClientRequest,
        UpdateConsumerOffsetRequest,
    },
    property,
    record::Records,
};

use super::{
    client::config,
    process::{BrokerProcess, DataDir, PATIENCE, verified},
    remoting::{Remoting, Told},
    topics::Administrator,
};

pub(super) fn route(names: &mut Remoting, topic: &'static str) -> Told {
    let request = GetRouteInfoRequest { topic, accept_standard_json_only: None };
    let code = RequestCode::GetRouteinfoByTopic;
    names.call(code, |fields| request.write(fields), Bytes::new())
}

#[test]
fn the_name_server_tells_where_topics_are() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 3, &[]).unwrap();
    admin.create("with.dots", 1, &[]).unwrap();
    let mut names = Remoting::connect(&broker.namesrv);
    let of = |told: Told| -> (i32, i32, String) {
        let route: TopicRouteData = from_json(&told.expect(ResponseCode::Success).body).unwrap();
        let queues = &route.queue_datas[0];
        assert_eq!(queues.read_queue_nums, queues.write_queue_nums);
        (queues.read_queue_nums, queues.perm, route.broker_datas[0].broker_addrs[&0].clone())
    };
    assert_eq!(of(route(&mut names, "orders")), (3, 6, broker.rocketmq.clone()));
    assert_eq!(of(route(&mut names, "TBW102")), (4, 7, broker.rocketmq.clone()));
    // These have a route before there is anything in them.
    for own in ["RMQ_SYS_TRACE_TOPIC", "DefaultCluster_REPLY_TOPIC"] {
        assert_eq!(of(route(&mut names, own)), (1, 6, broker.rocketmq.clone()));
    }
    for unknown in ["nothing", "with.dots"] {
        let told = route(&mut names, unknown).expect(ResponseCode::TopicNotExist);
        assert!(told.remark.contains(unknown), "{}", told.remark);
    }
    let refused = names.call(RequestCode::HeartBeat, |_| {}, Bytes::new());
    refused.expect(ResponseCode::RequestCodeNotSupported);
    broker.stop();
}

#[test]
fn unknown_codes_are_refused_and_broken_frames_end_the_connection() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let refused = client.call(RequestCode::QueryAssignment, |_| {}, Bytes::new());
    let remark = refused.expect(ResponseCode::RequestCodeNotSupported).remark;
    assert!(remark.contains("not supported"), "{remark}");
    let huge = [&(17_i32 << 20).to_be_bytes()[..], b"rest"].concat();
    for broken in [&huge[..], b"\0\0\0\x06\x07\0\0\x02{}", b"\0\0\0\x06\0\0\0\x02{]"] {
        let mut client = Remoting::connect(&broker.rocketmq);
        client.stream.write_all(broken).unwrap();
        assert!(client.next().is_none(), "{broken:?}");
    }
    broker.stop();
}

/// What clients get wrong has a line, what may be right another time has none.
#[test]
fn bad_input_is_in_the_log() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let says = |what: &str| broker.wait_for_error(&format!("remark={what:?}"));
    let told = route(&mut Remoting::connect(&broker.namesrv), "nothing");
    told.expect(ResponseCode::TopicNotExist);
    let told = client.call(RequestCode::QueryAssignment, |_| {}, Bytes::new());
    says(&told.expect(ResponseCode::RequestCodeNotSupported).remark);
    let told = client.call(RequestCode::HeartBeat, |_| {}, Bytes::from_static(b"{]"));
    says(&told.expect(ResponseCode::SystemError).remark);
    let told = ask_send(&mut client, &header("a b", 0, ""), "");
    assert_ne!(told.code, 0);
    says(&told.remark);
    let long = properties(&[("KEYS", &"k".repeat(40_000))]);
    let told = ask_send(&mut client, &header("orders", 0, &long), "");
    says(&told.expect(ResponseCode::MessageIllegal).remark);
    let mut request: RemotingCommand<'_> = client.request(RequestCode::PullMessage);
    let sql = PullMessageRequest {
        expression_type: Some("SQL92"),
        ..pull_header("orders", 0, "a > ", 0)
    };
    sql.write(&mut request.fields);
    says(&client.ask(&request).expect(ResponseCode::SubscriptionParseFailed).remark);
    // One-way requests are not answered, but told of.
    let mut one_way: RemotingCommand<'_> =
        client.request(RequestCode::UpdateConsumerOffset).one_way();
    UpdateConsumerOffsetRequest {
        consumer_group: "../x",
        topic: "orders",
        queue_id: 0,
        commit_offset: 0,
    }
    .write(&mut one_way.fields);
    client.send(&one_way);
    broker.wait_for_error("Group name '../x' is invalid");
    assert!(!broker.stop().errors.contains("nothing"));
}

/// The connection lives on, and what is quoted is cut.
#[test]
fn long_names_are_refused_in_short_words() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let topic: &'static str = "t".repeat((1 << 20) - 500).leak();
    for code in [RequestCode::GetMaxOffset, RequestCode::GetMinOffset] {
        let asked = TopicQueueRequest { topic, queue_id: 0 };
        let mut request = client.request(code);
        asked.write(&mut request.fields);
        let told = client.ask(&request).expect(ResponseCode::TopicNotExist);
        assert!(told.remark.len() < 2_000 && told.remark.contains("tt"), "{}", told.remark);
    }
    let mut names = Remoting::connect(&broker.namesrv);
    let told = route(&mut names, topic).expect(ResponseCode::TopicNotExist);
    assert!(told.remark.len() < 2_000, "{}", told.remark);
    broker.stop();
}

#[test]
fn a_taken_vip_port_is_only_a_warning() {
    let data = DataDir::new();
    let vip = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = vip.local_addr().unwrap().port() + 2;
    let listen = format!("rocketmq.listen=127.0.0.1:{port}");
    // Somebody else may have that one.
    let Ok(broker) = BrokerProcess::try_start(data.path(), &[&listen]) else { return };
    broker.wait_for_error("no VIP channel");
    broker.stop();
}

pub fn properties(pairs: &[(&str, &str)]) -> String {
    let mut block = String::new();
    pairs.iter().for_each(|(name, value)| assert!(property::push(&mut block, name, value)));
    block
}

pub fn header<'a>(topic: &'a str, queue_id: i32, properties: &'a str) -> SendMessageRequestV2<'a> {
    SendMessageRequestV2 {
        producer_group: "producers",
        topic,
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id,
        born_timestamp: 1_700_000_000_000,
        properties: Some(properties),
        ..SendMessageRequestV2::default()
    }
}

pub fn ask_send(client: &mut Remoting, header: &SendMessageRequestV2<'_>, body: &str) -> Told {
    let mut request: RemotingCommand<'_> = client.request(RequestCode::SendMessageV2);
    header.write(&mut request.fields);
    request.body = Bytes::copy_from_slice(body.as_bytes());
    client.ask(&request)
}

/// Sends a message and returns its offset.
pub(super) fn send(client: &mut Remoting, topic: &str, tag: &str, body: &str) -> i64 {
    let properties = properties(&[("TAGS", tag), ("KEYS", "k"), ("UNIQ_KEY", body)]);
    let told = ask_send(client, &header(topic, 0, &properties), body);
    let told = told.expect(ResponseCode::Success);
    assert_eq!((told.field("MSG_REGION"), told.field("TRACE_ON")), ("DefaultRegion", "true"));
    assert_eq!((told.field("transactionId"), told.number("queueId")), (body, 0));
    told.number("queueOffset")
}

pub fn pull_header<'a>(
    topic: &'a str,
    offset: i64,
    tags: &'a str,
    wait_ms: i64,
) -> PullMessageRequest<'a> {
    PullMessageRequest {
        consumer_group: "consumers",
        topic,
        queue_offset: offset,
        max_msg_nums: 32,
        sys_flag: 4 | if wait_ms > 0 { 2 } else { 0 },
        suspend_timeout_millis: wait_ms,
        subscription: Some(tags),
        ..PullMessageRequest::default()
    }
}

pub fn pull(client: &mut Remoting, topic: &str, offset: i64, tags: &str) -> Told {
    let mut request: RemotingCommand<'_> = client.request(RequestCode::PullMessage);
    pull_header(topic, offset, tags, 0).write(&mut request.fields);
    client.ask(&request)
}

pub fn bodies(told: &Told) -> Vec<String> {
    let records = Records::new(&told.body).map(|record| {
        let record = record.unwrap();
        record.check_body().unwrap();
        String::from_utf8(record.body.to_vec()).unwrap()
    });
    records.collect()
}

/// Sends bodies, each with more properties than its tag, as one batch.
fn send_batch(client: &mut Remoting, topic: &str, messages: &[(&str, &[(&str, &str)])]) -> Told {
    let mut bytes = BytesMut::new();
    for (body, more) in messages {
        let properties = properties(&[&[("TAGS", "B")], *more].concat());
        let message = BatchMessage { flag: 7, body: body.as_bytes(), properties: &properties };
        message.encode(&mut bytes).unwrap();
    }
    let mut request: RemotingCommand<'_> = client.request(RequestCode::SendBatchMessage);
    SendMessageRequestV2 { batch: Some(true), ..header(topic, 0, "") }.write(&mut request.fields);
    request.body = bytes.freeze();
    client.ask(&request)
}

/// As RocketMQ's broker takes none.
#[test]
fn batches_are_neither_delayed_nor_retries() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let past: &[_] = &[("TIMER_DELIVER_MS", "1000")];
    send_batch(&mut client, "orders", &[("a0", &[]), ("b1", past)]).expect(ResponseCode::Success);
    for name in ["DELAY", "TIMER_DELAY_SEC", "TIMER_DELAY_MS"] {
        let later: &[_] = &[(name, "1")];
        for batch in [&[("c", later)][..], &[("d", &[]), ("e", later)]] {
            let told =
                send_batch(&mut client, "orders", batch).expect(ResponseCode::MessageIllegal);
            assert!(told.remark.contains("delayed"), "{}", told.remark);
        }
    }
    let retry = "%RETRY%consumers";
    let told = send_batch(&mut client, retry, &[("f", &[])]).expect(ResponseCode::MessageIllegal);
    assert!(told.remark.contains(retry), "{}", told.remark);
    let mut names = Remoting::connect(&broker.namesrv);
    route(&mut names, retry).expect(ResponseCode::TopicNotExist);
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["a0", "b1"]);
    assert_eq!(broker.metric("timers_pending"), 0);
    broker.stop();
}

/// An answer names every message of its batch, in a header that may have 1 MiB.
#[test]
fn batches_have_no_more_messages_than_an_answer_names() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let many = vec![("x", &[][..]); 31_776];
    let told = send_batch(&mut client, "orders", &many).expect(ResponseCode::MessageIllegal);
    assert!(told.remark.contains("31776 messages"), "{}", told.remark);
    let told = send_batch(&mut client, "orders", &many[..31_000]).expect(ResponseCode::Success);
    assert_eq!(told.number("queueOffset"), 0);
    assert_eq!(told.field("msgId").split(',').count(), 31_000);
    broker.stop();
}

#[test]
fn what_is_sent_is_pulled_and_survives_a_kill() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for (offset, (tag, body)) in [("A", "a0"), ("B", "b1"), ("A", "a2")].into_iter().enumerate() {
        assert_eq!(send(&mut client, "orders", tag, body), offset as i64);
    }
    let told = send_batch(&mut client, "orders", &[("x3", &[]), ("y4", &[])]);
    let told = told.expect(ResponseCode::Success);
    assert_eq!(told.number("queueOffset"), 3);
    let ids: Vec<_> = told.field("msgId").split(',').collect();
    let ids: Vec<_> = ids.iter().map(|id| OffsetMessageId::parse(id).unwrap()).collect();
    assert_eq!(ids[1].physical_offset, ids[0].physical_offset + 1);
    assert_eq!(ids[0].host.to_string(), broker.rocketmq);
    broker.kill();

    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let all = pull(&mut client, "orders", 0, "*").expect(ResponseCode::Success);
    assert_eq!(bodies(&all), ["a0", "b1", "a2", "x3", "y4"]);
    let records: Vec<_> = Records::new(&all.body).map(Result::unwrap).collect();
    assert_eq!(records[3].physical_offset, ids[0].physical_offset);
    assert_eq!((records[4].queue_offset, records[4].flag, records[4].topic), (4, 7, "orders"));
    for record in &records {
        let set = property::OF_BROKER.map(|name| record.properties().get(name).unwrap());
        assert_eq!(set, ["DefaultRegion", "true", "DefaultCluster"]);
    }
    let told: Vec<_> =
        ["nextBeginOffset", "minOffset", "maxOffset"].map(|name| all.number(name)).into();
    assert_eq!(told, [5, 0, 5]);
    assert_eq!(bodies(&pull(&mut client, "orders", 1, "*")), ["b1", "a2", "x3", "y4"]);
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "A || C")), ["a0", "a2"]);
    let none = pull(&mut client, "orders", 1, "C").expect(ResponseCode::PullRetryImmediately);
    assert_eq!(none.number("nextBeginOffset"), 5);
    pull(&mut client, "orders", 5, "*").expect(ResponseCode::PullNotFound);
    let moved = pull(&mut client, "orders", 9, "*").expect(ResponseCode::PullOffsetMoved);
    assert_eq!(moved.number("nextBeginOffset"), 5);
    pull(&mut client, "nothing", 0, "*").expect(ResponseCode::TopicNotExist);
    let of = |queue_id| TopicQueueRequest { topic: "orders", queue_id };
    let code = RequestCode::GetMinOffset;
    let min = client.call(code, |fields| of(3).write(fields), Bytes::new());
    assert_eq!(min.expect(ResponseCode::Success).number("offset"), 0);
    let beyond = client.call(code, |fields| of(4).write(fields), Bytes::new());
    beyond.expect(ResponseCode::InvalidParameter);
    let search =
        |timestamp| SearchOffsetRequest { topic: "orders", timestamp, ..Default::default() };
    let code = RequestCode::SearchOffsetByTimestamp;
    let stored = records[2].store_timestamp;
    for (timestamp, range) in [(0, 0..=0), (stored, 0..=2), (i64::MAX, 5..=5)] {
        let found = client.call(code, |fields| search(timestamp).write(fields), Bytes::new());
        assert!(range.contains(&found.expect(ResponseCode::Success).number("offset")));
    }
    broker.stop();
    verified(data.path());
}

/// As consumed messages that are sent on have, and clients that make no ids.
#[test]
fn what_the_broker_sets_is_there_once() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let set = property::OF_BROKER.map(|name| (name, "elsewhere"));
    let given = properties(&[&[("TAGS", "A")], &set[..]].concat());
    let told = ask_send(&mut client, &header("orders", 0, &given), "body");
    let told = told.expect(ResponseCode::Success);
    let found = pull(&mut client, "orders", 0, "A").expect(ResponseCode::Success);
    let record = Records::new(&found.body).next().unwrap().unwrap();
    let expected = [
        ("TAGS", "A"),
        ("UNIQ_KEY", told.field("transactionId")),
        ("MSG_REGION", "DefaultRegion"),
        ("TRACE_ON", "true"),
        ("CLUSTER", "DefaultCluster"),
    ];
    assert_eq!(record.properties().collect::<Vec<_>>(), expected);
    let id = UniqueId::parse(told.field("transactionId")).unwrap();
    assert_eq!(id.ip.to_string(), "127.0.0.1");
    broker.stop();
}

/// A message comes to a pull that is held; others are answered meanwhile, on the same connection.
#[test]
fn a_held_pull_is_answered_by_the_next_message() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(send(&mut client, "orders", "A", "first"), 0);
    let mut held = client.request(RequestCode::PullMessage);
    let patience = PATIENCE.as_millis() as i64;
    pull_header("orders", 1, "B", patience).write(&mut held.fields);
    client.send(&held);
    // These overtake it; the first is not for it.
    assert_eq!(send(&mut client, "orders", "A", "second"), 1);
    let mut other = Remoting::connect(&broker.rocketmq);
    assert_eq!(send(&mut other, "orders", "B", "third"), 2);
    let told = client.next().unwrap().expect(ResponseCode::Success);
    assert_eq!((told.opaque, bodies(&told)), (held.opaque, vec!["third".to_owned()]));
    assert_eq!(told.number("nextBeginOffset"), 3);

    // A one-way send is not answered, and found by the next pull.
    let mut held = client.request(RequestCode::PullMessage);
    pull_header("orders", 3, "*", patience).write(&mut held.fields);
    client.send(&held);
    let mut one_way: RemotingCommand<'_> = other.request(RequestCode::SendMessageV2).one_way();
    let properties = properties(&[("WAIT", "false")]);
    header("orders", 0, &properties).write(&mut one_way.fields);
    one_way.body = Bytes::from_static(b"fourth");
    other.send(&one_way);
    assert_eq!(bodies(&client.next().unwrap()), ["fourth"]);
    assert_eq!(send(&mut other, "orders", "A", "fifth"), 4);

    // One that is held does not hold the broker's end up.
    let mut held = client.request(RequestCode::LitePullMessage);
    pull_header("orders", 5, "*", patience).write(&mut held.fields);
    client.send(&held);
    broker.stop();
    assert!(client.next().is_none());
}

#[test]
fn what_is_not_served_is_refused_and_not_stored() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.max_message_bytes=1000"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(send(&mut client, "orders", "A", "first"), 0);
    let long = "x".repeat(1_001);
    let cases = [
        ("TRAN_MSG", "true", 0, "body", ResponseCode::NoPermission),
        ("WAIT", "true", 4, "body", ResponseCode::NoPermission),
        ("TIMER_DELIVER_MS", "soon", 0, "body", ResponseCode::MessageIllegal),
        ("TIMER_DELAY_SEC", "999999999", 0, "body", ResponseCode::MessageIllegal),
        ("WAIT", "true", 0, &long, ResponseCode::MessageIllegal),
    ];
    for (name, value, sys_flag, body, code) in cases {
        let properties = properties(&[(name, value)]);
        let header = SendMessageRequestV2 { sys_flag, ..header("orders", 0, &properties) };
        ask_send(&mut client, &header, body).expect(code);
    }
    for (topic, queue, code) in [
        ("orders", 4, ResponseCode::InvalidParameter),
        ("../orders", 0, ResponseCode::InvalidParameter),
        ("%DLQ%consumers", 0, ResponseCode::TopicNotExist),
        ("__mainstem_timers", 0, ResponseCode::InvalidParameter),
        ("TBW102", 0, ResponseCode::TopicNotExist),
    ] {
        ask_send(&mut client, &header(topic, queue, ""), "body").expect(code);
    }
    let wordy = properties(&[("long", &"x".repeat(32_768))]);
    ask_send(&mut client, &header("orders", 0, &wordy), "body")
        .expect(ResponseCode::MessageIllegal);
    let header = SendMessageRequestV2 { default_topic: "other", ..header("unknown", 0, "") };
    ask_send(&mut client, &header, "body").expect(ResponseCode::TopicNotExist);
    assert_eq!(bodies(&pull(&mut client, "orders", 0, "*")), ["first"]);
    broker.stop();
}

/// What a consumer wants of `orders`: some tags.
pub(super) fn by_tags(tags: &str, version: i64) -> SubscriptionData {
    SubscriptionData {
        topic: "orders".to_owned(),
        sub_string: tags.to_owned(),
        sub_version: version,
        ..SubscriptionData::default()
    }
}

/// The heartbeat by which `id` produces, and consumes what it wants.
pub(super) fn heartbeat_request(
    client: &mut Remoting,
    id: &str,
    wanted: SubscriptionData,
) -> RemotingCommand<'static> {
    let consumer = ConsumerData {
        group_name: "consumers".to_owned(),
        message_model: MessageModel::Clustering,
        subscription_data_set: vec![wanted],
        ..ConsumerData::default()
    };
    let heartbeat = HeartbeatData {
        client_id: id.to_owned(),
        consumer_data_set: vec![consumer],
        producer_data_set: vec![ProducerData { group_name: "producers".to_owned() }],
        ..HeartbeatData::default()
    };
    let mut request = client.request(RequestCode::HeartBeat);
    request.body = to_json(&heartbeat).unwrap();
    request
}

fn heartbeat(client: &mut Remoting, id: &str) {
    let request = heartbeat_request(client, id, by_tags("*", 0));
    client.send(&request);
    // The notice and the answer come in either order.
    let mut told: Vec<_> = (0..2).map(|_| client.next().unwrap()).collect();
    told.sort_by_key(|told| told.is_response);
    assert_notice(&told[0]);
    assert!(told[1].is_response && told[1].code == 0, "{told:?}");
}

fn assert_notice(told: &Told) {
    assert!(!told.is_response, "{told:?}");
    assert_eq!(told.code, RequestCode::NotifyConsumerIdsChanged.number());
    assert_eq!(told.field("consumerGroup"), "consumers");
}

fn members(client: &mut Remoting) -> Vec<String> {
    let asked = ConsumerGroupRequest { consumer_group: "consumers" };
    let code = RequestCode::GetConsumerListByGroup;
    let told = client.call(code, |fields| asked.write(fields), Bytes::new());
    let body: GetConsumerListByGroupResponseBody =
        from_json(&told.expect(ResponseCode::Success).body).unwrap();
    body.consumer_id_list
}

pub(super) fn lock(client: &mut Remoting, id: &str, code: RequestCode) -> Vec<i32> {
    let queues = (0..5).map(|queue_id| MessageQueue {
        broker_name: "mainstem".to_owned(),
        queue_id,
        topic: "orders".to_owned(),
    });
    let body = LockBatchRequestBody {
        client_id: id.to_owned(),
        consumer_group: "consumers".to_owned(),
        mq_set: queues.collect(),
        only_this_broker: false,
    };
    let told = client.call(code, |_| {}, to_json(&body).unwrap()).expect(ResponseCode::Success);
    if told.body.is_empty() {
        return Vec::new();
    }
    let held: LockBatchResponseBody = from_json(&told.body).unwrap();
    held.lock_ok_mq_set.iter().map(|queue| queue.queue_id).collect()
}

/// Whoever names a queue many times has it once.
#[test]
fn locks_are_of_each_queue_once() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", "A", "first");
    let queue = |queue_id| MessageQueue {
        broker_name: "mainstem".to_owned(),
        queue_id,
        topic: "orders".to_owned(),
    };
    let body = LockBatchRequestBody {
        client_id: "one".to_owned(),
        consumer_group: "consumers".to_owned(),
        mq_set: (0..100_000).map(|number| queue(number % 4)).collect(),
        only_this_broker: false,
    };
    let told = client.call(RequestCode::LockBatchMq, |_| {}, to_json(&body).unwrap());
    let held: LockBatchResponseBody = from_json(&told.expect(ResponseCode::Success).body).unwrap();
    assert_eq!(held.lock_ok_mq_set, (0..4).map(queue).collect::<Vec<_>>());
    broker.stop();
}

#[test]
fn members_know_of_each_other() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let mut one = Remoting::connect(&broker.rocketmq);
    send(&mut one, "orders", "A", "first");
    heartbeat(&mut one, "one");
    assert_eq!(members(&mut one), ["one"]);
    let mut two = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut two, "two");
    assert_notice(&one.next().unwrap());
    assert_eq!(members(&mut one), ["one", "two"]);
    let mut three = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut three, "three");
    assert_notice(&one.next().unwrap());
    // One goes by itself, one by its connection.
    let asked = UnregisterClientRequest {
        client_id: "two",
        producer_group: None,
        consumer_group: Some("consumers"),
    };
    let mut request = two.request(RequestCode::UnregisterClient);
    asked.write(&mut request.fields);
    two.send(&request);
    assert_notice(&one.next().unwrap());
    drop(three);
    assert_notice(&one.next().unwrap());
    assert_eq!(members(&mut one), ["one"]);

    // A queue is one client's at a time; the topic has four.
    assert_eq!(lock(&mut one, "one", RequestCode::LockBatchMq), [0, 1, 2, 3]);
    let mut four = Remoting::connect(&broker.rocketmq);
    assert!(lock(&mut four, "four", RequestCode::LockBatchMq).is_empty());
    lock(&mut four, "four", RequestCode::UnlockBatchMq);
    assert_eq!(lock(&mut one, "one", RequestCode::LockBatchMq), [0, 1, 2, 3]);
    lock(&mut one, "one", RequestCode::UnlockBatchMq);
    assert_eq!(lock(&mut four, "four", RequestCode::LockBatchMq), [0, 1, 2, 3]);
    broker.stop();
}

pub(super) fn committed(client: &mut Remoting, zero: Option<bool>) -> Told {
    let asked = QueryConsumerOffsetRequest {
        consumer_group: "consumers",
        topic: "orders",
        queue_id: 0,
        set_zero_if_not_found: zero,
    };
    let code = RequestCode::QueryConsumerOffset;
    client.call(code, |fields| asked.write(fields), Bytes::new())
}

#[test]
fn offsets_are_the_groups_for_both_dialects() {
    use rdkafka::{
        Offset, TopicPartitionList,
        consumer::{BaseConsumer, Consumer as _},
    };
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for body in ["0", "1", "2"] {
        send(&mut client, "orders", "A", body);
    }
    committed(&mut client, Some(false)).expect(ResponseCode::QueryNotFound);
    // The queue is young: a new group begins at its first message, over a restart too.
    let young = committed(&mut client, None).expect(ResponseCode::Success);
    assert_eq!(young.number("offset"), 0);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let young = committed(&mut client, None).expect(ResponseCode::Success);
    assert_eq!(young.number("offset"), 0);
    let update = UpdateConsumerOffsetRequest {
        consumer_group: "consumers",
        topic: "orders",
        queue_id: 0,
        commit_offset: 2,
    };
    let code = RequestCode::UpdateConsumerOffset;
    client.call(code, |fields| update.write(fields), Bytes::new()).expect(ResponseCode::Success);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let kept = committed(&mut client, Some(false)).expect(ResponseCode::Success);
    assert_eq!(kept.number("offset"), 2);
    let consumer: BaseConsumer =
        config(&broker.kafka, &[("group.id", "consumers")]).create().unwrap();
    let mut asked = TopicPartitionList::new();
    asked.add_partition("orders", 0);
    let told = consumer.committed_offsets(asked, PATIENCE).unwrap();
    assert_eq!(told.elements()[0].offset(), Offset::Offset(2));
    broker.stop();
}
