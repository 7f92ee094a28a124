//! RocketMQ's codec against what RocketMQ's own classes wrote: `tests/interop/rocketmq` prints the
//! file, and the interop suite compares it with what they print today.

use std::collections::HashMap;
use std::fmt::Debug;

use bytes::{Buf, Bytes, BytesMut};
use mainstem::base::QueueId;
use mainstem::wire::convert::{Target, ToKafka, to_rocketmq};
use mainstem::wire::kafka::batch::check_crc;
use mainstem::wire::rocketmq::batch::{BatchMessage, BatchMessages};
use mainstem::wire::rocketmq::body::{self, MessageQueue, Table, from_json, to_json};
use mainstem::wire::rocketmq::header::{
    PullMessageRequest, PullMessageResponse, SendMessageRequest, SendMessageRequestV2,
    SendMessageResponse,
};
use mainstem::wire::rocketmq::record::{Record, RecordVersion, Records};
use mainstem::wire::rocketmq::{
    Language, OffsetMessageId, RecallHandle, RemotingCommand, RequestCode, ResponseCode,
    Serialization, SysFlag,
};
use serde::{Serialize, de::DeserializeOwned};

const GOLDEN: &str = include_str!("wire_golden/rocketmq-5.5.0.txt");
const BORN_MS: i64 = 1_700_000_000_123;
const STORED_MS: i64 = 1_700_000_000_456;

/// What the class prints for a message with one key, one tag and one user property.
const PROPERTIES: &str =
    "KEYS\u{1}key1 key2\u{2}WAIT\u{1}true\u{2}user\u{1}välue\u{2}TAGS\u{1}t\u{2}";

fn golden(name: &str) -> Bytes {
    let lines: HashMap<_, _> = GOLDEN.lines().filter_map(|line| line.split_once(' ')).collect();
    let hex = lines.get(name).unwrap_or_else(|| panic!("no {name}"));
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

/// The frame `name` without its length, in either serialization.
fn frame(serialization: Serialization, name: &str) -> Bytes {
    let prefix = if serialization == Serialization::Json { "json" } else { "binary" };
    let mut frame = golden(&format!("{prefix}.{name}"));
    assert_eq!(frame.get_i32() as usize, frame.len());
    frame
}

/// Checks what all these frames share, and that the command is written as it was read.
fn check(command: &RemotingCommand<'_>, code: i32, serialization: Serialization, frame: &Bytes) {
    assert_eq!((command.code, command.opaque, command.version), (code, 42, 479));
    assert_eq!((command.language, command.serialization), (Language::Java, serialization));
    let mut written = BytesMut::new();
    command.encode(&mut written).unwrap();
    written.advance(4);
    assert_eq!(written, frame);
}

const BOTH: [Serialization; 2] = [Serialization::Json, Serialization::RocketMq];

fn send() -> SendMessageRequest<'static> {
    SendMessageRequest {
        producer_group: "group",
        topic: "topic",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: BORN_MS,
        flag: 7,
        properties: Some(PROPERTIES),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        batch: Some(false),
        max_reconsume_times: None,
    }
}

#[test]
fn sends_are_read_and_written() {
    for serialization in BOTH {
        let bytes = frame(serialization, "send");
        let command = RemotingCommand::parse(&bytes).unwrap();
        check(&command, RequestCode::SendMessage.number(), serialization, &bytes);
        assert_eq!(SendMessageRequest::parse(&command.fields), Ok(send()));
        assert_eq!(&command.body[..], b"body");

        let bytes = frame(serialization, "send-v2");
        let command = RemotingCommand::parse(&bytes).unwrap();
        check(&command, RequestCode::SendMessageV2.number(), serialization, &bytes);
        let short = SendMessageRequestV2::parse(&command.fields).unwrap();
        assert_eq!(short.broker_name, Some("broker-a"));
        // Java writes the fields of this one in the table's order.
        let mut own = RemotingCommand::request(RequestCode::SendMessageV2, 42, serialization);
        short.write(&mut own.fields);
        own.body = Bytes::from_static(b"body");
        check(&own, own.code, serialization, &bytes);
        assert_eq!(SendMessageRequest::from(short), send());
    }
}

#[test]
fn answers_are_read_and_written() {
    for serialization in BOTH {
        let bytes = frame(serialization, "send-answer");
        let command = RemotingCommand::parse(&bytes).unwrap();
        check(&command, ResponseCode::Success.number(), serialization, &bytes);
        assert!(command.is_response());
        let expected = SendMessageResponse {
            msg_id: "7F00000100002A9F00000000000012AB",
            queue_id: 3,
            queue_offset: 1 << 40,
            transaction_id: Some("7F0000011F9018B4AAC2549F3D0F0001"),
            ..SendMessageResponse::default()
        };
        assert_eq!(SendMessageResponse::parse(&command.fields), Ok(expected));
    }
}

#[test]
fn a_refusal_has_its_remark() {
    for serialization in BOTH {
        let bytes = frame(serialization, "refusal");
        let command = RemotingCommand::parse(&bytes).unwrap();
        assert_eq!(command.code, ResponseCode::TopicNotExist.number());
        assert_eq!(command.remark.as_deref(), Some("no \"topic\" é\u{1}"));
        if serialization == Serialization::RocketMq {
            check(&command, command.code, serialization, &bytes);
            continue;
        }
        // Ours has fields, if empty ones, because clients take what they find without a look.
        let mut written = BytesMut::new();
        command.encode(&mut written).unwrap();
        let written = String::from_utf8(written[8..].to_vec()).unwrap();
        let expected = String::from_utf8(bytes[4..].to_vec()).unwrap();
        assert_eq!(written.replace("\"extFields\":{},", ""), expected);
    }
}

#[test]
fn pulls_are_read_and_written() {
    for serialization in BOTH {
        let bytes = frame(serialization, "pull");
        let command = RemotingCommand::parse(&bytes).unwrap();
        check(&command, RequestCode::PullMessage.number(), serialization, &bytes);
        let expected = PullMessageRequest {
            consumer_group: "group",
            topic: "topic",
            queue_id: 3,
            queue_offset: 5,
            max_msg_nums: 32,
            sys_flag: 7,
            commit_offset: 4,
            suspend_timeout_millis: 15_000,
            subscription: Some("a || b"),
            sub_version: BORN_MS,
            expression_type: Some("TAG"),
            ..PullMessageRequest::default()
        };
        assert_eq!(PullMessageRequest::parse(&command.fields), Ok(expected));

        let bytes = frame(serialization, "pull-answer");
        let command = RemotingCommand::parse(&bytes).unwrap();
        check(&command, ResponseCode::Success.number(), serialization, &bytes);
        let expected = PullMessageResponse {
            next_begin_offset: 7,
            max_offset: 9,
            ..PullMessageResponse::default()
        };
        assert_eq!(PullMessageResponse::parse(&command.fields), Ok(expected));
        let records: Vec<_> = Records::new(&command.body).map(Result::unwrap).collect();
        assert_eq!(records, [record(false), v2(), record(true)]);
    }
}

#[test]
fn one_way_requests_are_told() {
    for serialization in BOTH {
        let bytes = frame(serialization, "one-way");
        let command = RemotingCommand::parse(&bytes).unwrap();
        assert!(command.is_one_way() && !command.is_response());
        check(&command, RequestCode::UpdateConsumerOffset.number(), serialization, &bytes);
        let other = frame(serialization, "pull");
        assert!(!RemotingCommand::parse(&other).unwrap().is_one_way());
        let own = RemotingCommand::request(RequestCode::UpdateConsumerOffset, 42, serialization);
        assert_eq!(RemotingCommand { fields: command.fields.clone(), ..own }.one_way(), command);
    }
}

fn record(ipv6: bool) -> Record<'static> {
    let host = |v4: &str, v6: &str| if ipv6 { v6.parse() } else { v4.parse() }.unwrap();
    Record {
        version: RecordVersion::V1,
        body_crc: 0x5ba8_0bb2,
        queue_id: 3,
        flag: 7,
        queue_offset: 5,
        physical_offset: 4779,
        sys_flag: SysFlag(if ipv6 { 0x30 } else { 0 }),
        born_timestamp: BORN_MS,
        born_host: host("10.0.0.1:50000", "[2001:db8::1]:50000"),
        store_timestamp: STORED_MS,
        store_host: host("127.0.0.1:10911", "[2001:db8::2]:10911"),
        reconsume_times: 2,
        prepared_transaction_offset: 11,
        body: b"body",
        topic: "topic",
        properties: PROPERTIES,
    }
}

fn v2() -> Record<'static> {
    Record { version: RecordVersion::V2, ..record(true) }
}

#[test]
fn records_are_read_and_written() {
    let cases =
        [("record.v1", record(false)), ("record.v1-ipv6", record(true)), ("record.v2", v2())];
    for (name, expected) in cases {
        let bytes = golden(name);
        let read = Record::parse(&bytes).unwrap();
        assert_eq!(read, expected, "{name}");
        assert_eq!(read.check_body(), Ok(()));
        let mut written = Vec::new();
        expected.encode(&mut written).unwrap();
        assert_eq!(written, bytes, "{name}");
    }
    let id = String::from_utf8(golden("message-id").to_vec()).unwrap();
    assert_eq!(record(false).offset_message_id().to_string(), id);
    assert_eq!(OffsetMessageId::parse(&id), Some(record(false).offset_message_id()));
}

/// What RocketMQ wrote is the same after it was a Kafka record, but for what belongs to the broker.
#[test]
fn records_go_to_kafka_and_back() {
    for (name, sent) in
        [("record.v1", record(false)), ("record.v1-ipv6", record(true)), ("record.v2", v2())]
    {
        let mut to_kafka = ToKafka::new(usize::MAX);
        assert!(to_kafka.push(5, &golden(name)));
        let batch = to_kafka.finish();
        check_crc(&batch).unwrap();
        let target = Target {
            topic: "topic",
            queue_id: 3,
            queue: QueueId(9),
            store_timestamp: STORED_MS,
            store_host: sent.store_host,
        };
        let messages = to_rocketmq(&batch, 0, usize::MAX, usize::MAX, &target);
        let (offset, bytes) = messages.since(0).next().unwrap();
        let expected = Record {
            version: RecordVersion::V1,
            physical_offset: QueueId(9).locator(5),
            born_host: sent.store_host,
            prepared_transaction_offset: 0,
            ..sent
        };
        assert_eq!((offset, Record::parse(bytes).unwrap()), (5, expected), "{name}");
    }
}

#[test]
fn a_recall_handle_is_read_and_written() {
    let text = String::from_utf8(golden("recall-handle").to_vec()).unwrap();
    let handle = RecallHandle {
        topic: "topic".into(),
        broker_name: "broker-a".into(),
        timestamp: BORN_MS.to_string(),
        message_id: "7F0000011F9018B4AAC2549F3D0F0001".into(),
    };
    assert_eq!(handle.to_string(), text);
    assert_eq!(RecallHandle::parse(&text), Some(handle));
}

#[test]
fn a_batch_is_read_and_written() {
    let bytes = golden("batch");
    let properties =
        ["a", "b"].map(|tag| PROPERTIES.replace("TAGS\u{1}t", &format!("TAGS\u{1}{tag}")));
    let message = |body, properties| BatchMessage { flag: 7, body, properties };
    let expected = [message(b"one", &properties[0]), message(b"two", &properties[1])];
    let read: Vec<_> = BatchMessages::new(&bytes).map(Result::unwrap).collect();
    assert_eq!(read, expected);
    let mut written = Vec::new();
    expected.iter().for_each(|message| message.encode(&mut written).unwrap());
    assert_eq!(written, bytes);
}

/// Reads the body `name` as `expected` and checks that writing gives Java's text, but for `changed`.
#[track_caller]
fn same<T>(name: &str, expected: &T, changed: &[(&str, &str)])
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    let bytes = golden(&format!("body.{name}"));
    assert_eq!(&from_json::<T>(&bytes).unwrap(), expected);
    let java = String::from_utf8(bytes.to_vec()).unwrap();
    let java = changed.iter().fold(java, |java, (from, to)| {
        assert!(java.contains(from), "{java}");
        java.replace(from, to)
    });
    assert_eq!(String::from_utf8(to_json(expected).unwrap().to_vec()).unwrap(), java);
}

fn queue() -> MessageQueue {
    MessageQueue { broker_name: "broker-a".into(), queue_id: 1, topic: "topic".into() }
}

fn subscription() -> body::SubscriptionData {
    body::SubscriptionData {
        code_set: vec![97],
        expression_type: Some("TAG".into()),
        sub_string: "a".into(),
        sub_version: BORN_MS,
        tags_set: vec!["a".into()],
        topic: "topic".into(),
        ..Default::default()
    }
}

#[test]
fn heartbeats_and_groups_are_read_and_written() {
    let consumer = body::ConsumerData {
        consume_from_where: body::ConsumeFromWhere::LastOffset,
        consume_type: body::ConsumeType::Passively,
        group_name: "consumers".into(),
        message_model: body::MessageModel::Clustering,
        subscription_data_set: vec![subscription()],
        unit_mode: false,
    };
    let heartbeat = body::HeartbeatData {
        client_id: "10.0.0.1@1234#567".into(),
        consumer_data_set: vec![consumer],
        producer_data_set: vec![body::ProducerData { group_name: "producers".into() }],
        ..Default::default()
    };
    same("heartbeat", &heartbeat, &[]);
    let consumer_id_list = vec!["10.0.0.1@1#2".into(), "10.0.0.2@3#4".into()];
    same("members", &body::GetConsumerListByGroupResponseBody { consumer_id_list }, &[]);
    let group =
        body::SubscriptionGroupConfig { group_name: "consumers".into(), ..Default::default() };
    let policy = ("\"groupRetryPolicy\":{\"type\":\"CUSTOMIZED\"},", "");
    same("group", &group, &[policy]);
    let all = body::SubscriptionGroupWrapper {
        data_version: body::DataVersion { timestamp: BORN_MS, ..Default::default() },
        subscription_group_table: [("consumers".into(), group)].into(),
    };
    same("SubscriptionGroupWrapper", &all, &[policy, ("\"forbiddenTable\":{},", "")]);
}

#[test]
fn routes_are_read_and_written_with_quoted_ids() {
    let quoted = [("{0:", "{\"0\":"), (",1:", ",\"1\":")];
    let broker = body::BrokerData {
        broker_addrs: [(0, "127.0.0.1:10911".into()), (1, "127.0.0.1:10921".into())].into(),
        broker_name: "broker-a".into(),
        cluster: "DefaultCluster".into(),
        ..Default::default()
    };
    let queues = body::QueueData {
        broker_name: "broker-a".into(),
        perm: 6,
        read_queue_nums: 8,
        topic_sys_flag: 0,
        write_queue_nums: 4,
    };
    let route = body::TopicRouteData {
        broker_datas: vec![broker.clone()],
        queue_datas: vec![queues],
        ..Default::default()
    };
    same("route", &route, &quoted);
    let cluster = body::ClusterInfo {
        broker_addr_table: [("broker-a".into(), broker.clone())].into(),
        cluster_addr_table: [("DefaultCluster".into(), vec!["broker-a".into()])].into(),
    };
    same("cluster", &cluster, &quoted);
    let broker_member_group = body::BrokerMemberGroup {
        broker_addrs: broker.broker_addrs,
        broker_name: broker.broker_name,
        cluster: broker.cluster,
    };
    let group = body::GetBrokerMemberGroupResponseBody { broker_member_group };
    same("GetBrokerMemberGroupResponseBody", &group, &quoted);
}

#[test]
fn a_registration_is_read_and_written() {
    let topic = body::TopicConfig {
        attributes: [("message.type".into(), "NORMAL".into())].into(),
        order: false,
        perm: 6,
        read_queue_nums: 8,
        topic_filter_type: body::TopicFilterType::SingleTag,
        topic_name: "topic".into(),
        topic_sys_flag: 0,
        write_queue_nums: 4,
    };
    same("topic", &topic, &[]);
    let data_version = body::DataVersion { timestamp: BORN_MS, ..Default::default() };
    let topic_config_table = [("topic".into(), topic)].into();
    let topics = body::TopicConfigSerializeWrapper { data_version, topic_config_table };
    same("TopicConfigSerializeWrapper", &topics, &[]);
    let registration = body::RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: topics,
    };
    let mapping =
        "\"mappingDataVersion\":{\"counter\":0,\"stateVersion\":0,\"timestamp\":1700000000123},";
    let mappings = ",\"topicQueueMappingDetailMap\":{},\"topicQueueMappingInfoMap\":{}";
    same("register", &registration, &[(mapping, ""), (mappings, "")]);
}

#[test]
fn tables_of_queues_are_read_and_written() {
    let (client_id, consumer_group) = ("10.0.0.1@1234#567".into(), "consumers".into());
    let lock = body::LockBatchRequestBody {
        client_id,
        consumer_group,
        mq_set: vec![queue()],
        only_this_broker: false,
    };
    same("lock", &lock, &[]);
    same("locked", &body::LockBatchResponseBody { lock_ok_mq_set: vec![queue()] }, &[]);
    let offset = body::OffsetWrapper {
        broker_offset: 9,
        consumer_offset: 5,
        last_timestamp: STORED_MS,
        pull_offset: 7,
    };
    let offset_table = Table(vec![(queue(), offset)]);
    same("consume-stats", &body::ConsumeStats { consume_tps: 1.5, offset_table }, &[]);
    let offset =
        body::TopicOffset { last_update_timestamp: STORED_MS, max_offset: 9, min_offset: 1 };
    let offset_table = Table(vec![(queue(), offset)]);
    same("topic-stats", &body::TopicStatsTable { offset_table, topic_put_tps: 0.0 }, &[]);
    same("reset", &body::ResetOffsetBody { offset_table: Table(vec![(queue(), 7)]) }, &[]);
}

#[test]
fn what_the_tools_ask_for_is_read_and_written() {
    let connection = body::Connection {
        client_addr: "10.0.0.1:50000".into(),
        client_id: "10.0.0.1@1234#567".into(),
        language: Language::Go,
        version: 317,
    };
    let consumers = body::ConsumerConnection {
        connection_set: vec![connection.clone()],
        consume_from_where: body::ConsumeFromWhere::Timestamp,
        consume_type: body::ConsumeType::Actively,
        message_model: body::MessageModel::Broadcasting,
        subscription_table: [("topic".into(), subscription())].into(),
    };
    same("ConsumerConnection", &consumers, &[]);
    let producers = body::ProducerConnection { connection_set: vec![connection] };
    same("ProducerConnection", &producers, &[]);
    same("GroupList", &body::GroupList { group_list: vec!["consumers".into()] }, &[]);
    same("KVTable", &body::KvTable { table: [("name".into(), "value".into())].into() }, &[]);
    let topics = body::TopicList { broker_addr: None, topic_list: vec!["topic".into()] };
    same("TopicList", &topics, &[]);
    let subscription = body::QuerySubscriptionResponseBody {
        group: "consumers".into(),
        subscription_data: Some(subscription()),
        topic: "topic".into(),
    };
    same("QuerySubscriptionResponseBody", &subscription, &[]);
    let status = body::GetConsumerStatusBody { message_queue_table: Table(vec![(queue(), 7)]) };
    same("GetConsumerStatusBody", &status, &[("\"consumerTable\":{},", "")]);
    let span = body::QueueTimeSpan {
        consume_time_stamp: 2,
        delay_time: 3,
        max_time_stamp: 4,
        message_queue: queue(),
        min_time_stamp: 1,
    };
    let spans = body::QueryConsumeTimeSpanBody { consume_time_span_set: vec![span] };
    let texts = [
        ("\"consumeTimeStampStr\":\"1970-01-01#00:00:00:002\",", ""),
        ("\"maxTimeStampStr\":\"1970-01-01#00:00:00:004\",", ""),
        (",\"minTimeStampStr\":\"1970-01-01#00:00:00:001\"", ""),
    ];
    same("QueryConsumeTimeSpanBody", &spans, &texts);
}
