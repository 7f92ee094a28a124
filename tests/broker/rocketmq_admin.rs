//! What RocketMQ's administrators ask, by raw frames: topics, groups, offsets.

use bytes::Bytes;
use mainstem::wire::rocketmq::{
    ExtFields, RequestCode, ResponseCode,
    body::{
        BrokerStatsData, ClusterInfo, ConsumeStats, ConsumeType, ConsumerConnection, ConsumerData,
        GroupList, HeartbeatData, KvTable, MessageModel, MessageQueue, OffsetWrapper,
        ProducerConnection, ResetOffsetBody, SubscriptionGroupConfig, SubscriptionGroupWrapper,
        TopicConfig, TopicConfigSerializeWrapper, TopicList, TopicRouteData, TopicStatsTable,
        from_json, to_json,
    },
    header::{
        CloneGroupOffsetRequest, ConsumerGroupRequest, CreateTopicRequest,
        DeleteSubscriptionGroupRequest, GetConsumeStatsRequest, GetRouteInfoRequest, GroupRequest,
        KvConfigRequest, ProducerGroupRequest, PullMessageRequest, PutKvConfigRequest,
        QueryConsumerOffsetRequest, ResetOffsetRequest, SendMessageRequestV2, TopicRequest,
        UpdateConsumerOffsetRequest, ViewBrokerStatsDataRequest,
    },
};
use serde::de::DeserializeOwned;

use super::{
    process::{BrokerProcess, DataDir, PATIENCE},
    remoting::{Remoting, Told},
    rocketmq::{by_tags, heartbeat_request},
};

const TWO_SHARDS: [&str; 2] = ["shards.count=2", "shards.pin=false"];

/// Asks without a body.
fn ask(to: &mut Remoting, code: RequestCode, write: impl FnOnce(&mut ExtFields<'static>)) -> Told {
    to.call(code, write, Bytes::new())
}

/// The body of what went well.
#[track_caller]
fn body<T: DeserializeOwned>(told: Told) -> T {
    from_json(&told.expect(ResponseCode::Success).body).unwrap()
}

fn wanted(topic: &'static str, read: i32, write: i32) -> CreateTopicRequest<'static> {
    CreateTopicRequest {
        topic,
        default_topic: "TBW102",
        read_queue_nums: read,
        write_queue_nums: write,
        perm: 6,
        topic_filter_type: "SINGLE_TAG",
        ..CreateTopicRequest::default()
    }
}

fn update_topic(broker: &mut Remoting, wanted: &CreateTopicRequest<'static>) -> Told {
    ask(broker, RequestCode::UpdateAndCreateTopic, |fields| wanted.write(fields))
}

fn send(broker: &mut Remoting, topic: &'static str, queue_id: i32) -> Told {
    let header = SendMessageRequestV2 {
        producer_group: "producers",
        topic,
        default_topic: "none",
        queue_id,
        ..SendMessageRequestV2::default()
    };
    let code = RequestCode::SendMessageV2;
    broker.call(code, |fields| header.write(fields), Bytes::from_static(b"body"))
}

fn pull_header(topic: &'static str, queue_id: i32) -> PullMessageRequest<'static> {
    PullMessageRequest {
        consumer_group: "consumers",
        topic,
        queue_id,
        max_msg_nums: 32,
        subscription: Some("*"),
        sys_flag: 4,
        ..PullMessageRequest::default()
    }
}

fn pull(broker: &mut Remoting, topic: &'static str, queue_id: i32) -> Told {
    let header = pull_header(topic, queue_id);
    ask(broker, RequestCode::PullMessage, |fields| header.write(fields))
}

fn config(broker: &mut Remoting, topic: &'static str) -> TopicConfig {
    let asked = TopicRequest { topic };
    body(ask(broker, RequestCode::GetTopicConfig, |fields| asked.write(fields)))
}

#[test]
fn topics_are_made_as_administrators_say_and_stay_so() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    let kind = Some("+message.type=FIFO");
    let first = CreateTopicRequest { attributes: kind, order: true, ..wanted("orders", 2, 2) };
    update_topic(&mut client, &first).expect(ResponseCode::Success);
    update_topic(&mut client, &CreateTopicRequest { order: true, ..wanted("orders", 5, 3) })
        .expect(ResponseCode::Success);
    send(&mut client, "orders", 2).expect(ResponseCode::Success);
    // Who has not heard of it yet still writes what is read.
    send(&mut client, "orders", 4).expect(ResponseCode::Success);
    send(&mut client, "orders", 5).expect(ResponseCode::InvalidParameter);
    for (bad, word) in [
        (wanted("../orders", 4, 4), "invalid"),
        (wanted("TBW102", 4, 4), "TBW102"),
        (wanted("orders", 0, 4), "at least one"),
        (wanted("huge", 1, 100_001), "100000"),
        (CreateTopicRequest { perm: 8, ..wanted("orders", 4, 4) }, "perm"),
        (CreateTopicRequest { attributes: Some("+a=b"), ..wanted("orders", 4, 4) }, "attribute a"),
        (CreateTopicRequest { attributes: Some("+message.type=X"), ..wanted("orders", 9, 9) }, "X"),
    ] {
        let refused = update_topic(&mut client, &bad).expect(ResponseCode::InvalidParameter);
        assert!(refused.remark.contains(word), "{}", refused.remark);
    }
    broker.kill();

    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    let told = config(&mut client, "orders");
    assert_eq!((told.read_queue_nums, told.write_queue_nums, told.perm), (5, 3, 6));
    assert_eq!((told.order, told.attributes["message.type"].as_str()), (true, "FIFO"));
    let all: TopicConfigSerializeWrapper =
        body(ask(&mut client, RequestCode::GetAllTopicConfig, |_| {}));
    assert_eq!(all.topic_config_table["orders"], told);
    pull(&mut client, "orders", 2).expect(ResponseCode::Success);
    let closed = CreateTopicRequest { perm: 2, ..wanted("orders", 2, 5) };
    update_topic(&mut client, &closed).expect(ResponseCode::Success);
    pull(&mut client, "orders", 0).expect(ResponseCode::NoPermission);
    send(&mut client, "orders", 4).expect(ResponseCode::Success);
    update_topic(&mut client, &CreateTopicRequest { perm: 4, ..closed })
        .expect(ResponseCode::Success);
    send(&mut client, "orders", 4).expect(ResponseCode::NoPermission);
    pull(&mut client, "orders", 4).expect(ResponseCode::InvalidParameter);
    let stats: TopicStatsTable = body(ask(&mut client, RequestCode::GetTopicStatsInfo, |fields| {
        TopicRequest { topic: "orders" }.write(fields);
    }));
    let ends: Vec<_> =
        stats.offset_table.0.iter().map(|(queue, at)| (queue.queue_id, at.max_offset)).collect();
    assert_eq!(ends, [(0, 0), (1, 0), (2, 1), (3, 0), (4, 2)]);
    assert!(stats.offset_table.0[2].1.last_update_timestamp > 1_700_000_000_000);
    let puts = ViewBrokerStatsDataRequest { stats_name: "TOPIC_PUT_NUMS", stats_key: "orders" };
    let put: BrokerStatsData =
        body(ask(&mut client, RequestCode::ViewBrokerStatsData, |fields| puts.write(fields)));
    assert_eq!((put.stats_minute.sum, put.stats_day.sum), (3, 3));

    let delete = TopicRequest { topic: "orders" };
    for _ in 0..2 {
        ask(&mut client, RequestCode::DeleteTopicInBroker, |fields| delete.write(fields))
            .expect(ResponseCode::Success);
    }
    send(&mut client, "orders", 0).expect(ResponseCode::TopicNotExist);
    broker.stop();
}

#[test]
fn the_name_server_tells_administrators_too() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    update_topic(&mut client, &wanted("orders", 4, 4)).expect(ResponseCode::Success);
    let mut names = Remoting::connect(&broker.namesrv);
    let info: ClusterInfo = body(ask(&mut names, RequestCode::GetBrokerClusterInfo, |_| {}));
    assert_eq!(info.cluster_addr_table["DefaultCluster"], ["mainstem"]);
    assert_eq!(info.broker_addr_table["mainstem"].broker_addrs[&0], broker.rocketmq);
    let list: TopicList = body(ask(&mut names, RequestCode::GetAllTopicListFromNameserver, |_| {}));
    assert_eq!(list.topic_list, ["orders"]);

    let (namespace, key) = ("ORDER_TOPIC_CONFIG", "orders");
    let get = KvConfigRequest { namespace, key };
    let get_it =
        |names: &mut Remoting| ask(names, RequestCode::GetKvConfig, |fields| get.write(fields));
    get_it(&mut names).expect(ResponseCode::QueryNotFound);
    let put = PutKvConfigRequest { namespace, key, value: "mainstem:4" };
    ask(&mut names, RequestCode::PutKvConfig, |fields| put.write(fields))
        .expect(ResponseCode::Success);
    assert_eq!(get_it(&mut names).expect(ResponseCode::Success).field("value"), "mainstem:4");
    let asked = GetRouteInfoRequest { topic: "orders", accept_standard_json_only: None };
    let route: TopicRouteData =
        body(ask(&mut names, RequestCode::GetRouteinfoByTopic, |fields| asked.write(fields)));
    assert_eq!(route.order_topic_conf.as_deref(), Some("mainstem:4"));
    ask(&mut names, RequestCode::DeleteKvConfig, |fields| get.write(fields))
        .expect(ResponseCode::Success);
    get_it(&mut names).expect(ResponseCode::QueryNotFound);
    let other = PutKvConfigRequest { namespace: "other", ..put };
    ask(&mut names, RequestCode::PutKvConfig, |fields| other.write(fields))
        .expect(ResponseCode::InvalidParameter);
    let unknown = PutKvConfigRequest { key: "../orders", ..put };
    ask(&mut names, RequestCode::PutKvConfig, |fields| unknown.write(fields))
        .expect(ResponseCode::TopicNotExist);
    broker.stop();
}

fn update_group(broker: &mut Remoting, config: &SubscriptionGroupConfig) -> Told {
    let code = RequestCode::UpdateAndCreateSubscriptiongroup;
    broker.call(code, |_| {}, to_json(config).unwrap())
}

fn group_config(broker: &mut Remoting) -> SubscriptionGroupConfig {
    let asked = GroupRequest { group: "consumers" };
    body(ask(broker, RequestCode::GetSubscriptiongroupConfig, |fields| asked.write(fields)))
}

fn commit(broker: &mut Remoting, group: &'static str, queue_id: i32, offset: i64) -> Told {
    let asked = UpdateConsumerOffsetRequest {
        consumer_group: group,
        topic: "orders",
        queue_id,
        commit_offset: offset,
    };
    ask(broker, RequestCode::UpdateConsumerOffset, |fields| asked.write(fields))
}

fn consume_stats(broker: &mut Remoting, group: &'static str) -> ConsumeStats {
    let asked =
        GetConsumeStatsRequest { consumer_group: group, ..GetConsumeStatsRequest::default() };
    body(ask(broker, RequestCode::GetConsumeStats, |fields| asked.write(fields)))
}

/// What a group has pulled and not committed, of each queue.
fn in_flight(broker: &mut Remoting, group: &'static str) -> Vec<i64> {
    let stats = consume_stats(broker, group);
    let of = |(_, at): &(MessageQueue, OffsetWrapper)| at.pull_offset - at.consumer_offset;
    stats.offset_table.0.iter().map(of).collect()
}

#[test]
fn what_is_pulled_and_not_committed_is_in_flight() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    update_topic(&mut client, &wanted("orders", 2, 2)).expect(ResponseCode::Success);
    (0..3).for_each(|_| drop(send(&mut client, "orders", 0).expect(ResponseCode::Success)));
    commit(&mut client, "consumers", 0, 1).expect(ResponseCode::Success);
    assert_eq!(in_flight(&mut client, "consumers"), [0, 0]);
    pull(&mut client, "orders", 0).expect(ResponseCode::Success);
    // By way of the other shard, too.
    let mut other = Remoting::connect(&broker.rocketmq);
    assert_eq!(in_flight(&mut other, "consumers"), [2, 0]);
    send(&mut client, "orders", 0).expect(ResponseCode::Success);
    pull(&mut other, "orders", 0).expect(ResponseCode::Success);
    assert_eq!(in_flight(&mut client, "consumers"), [3, 0]);
    commit(&mut client, "consumers", 0, 4).expect(ResponseCode::Success);
    assert_eq!(in_flight(&mut client, "consumers"), [0, 0]);
    let reset = ResetOffsetRequest {
        group: "consumers",
        topic: "orders",
        timestamp: 0,
        is_force: true,
        ..ResetOffsetRequest::default()
    };
    ask(&mut client, RequestCode::InvokeBrokerToResetOffset, |fields| reset.write(fields))
        .expect(ResponseCode::Success);
    assert_eq!(progress(&mut client, "consumers")[0], (0, 4, 0));
    assert_eq!(in_flight(&mut client, "consumers"), [0, 0]);
    broker.stop();
}

/// How far a group is in each queue.
fn progress(broker: &mut Remoting, group: &'static str) -> Vec<(i32, i64, i64)> {
    let stats = consume_stats(broker, group);
    let at = |(queue, at): &(MessageQueue, OffsetWrapper)| {
        assert_eq!(at.last_timestamp > 0, at.consumer_offset > 0, "{at:?}");
        (queue.queue_id, at.broker_offset, at.consumer_offset)
    };
    stats.offset_table.0.iter().map(at).collect()
}

#[test]
fn groups_do_what_administrators_allow() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    update_topic(&mut client, &wanted("orders", 2, 2)).expect(ResponseCode::Success);
    send(&mut client, "orders", 0).expect(ResponseCode::Success);
    commit(&mut client, "consumers", 0, 1).expect(ResponseCode::Success);
    let default =
        SubscriptionGroupConfig { group_name: "consumers".to_owned(), ..Default::default() };
    assert_eq!(group_config(&mut client), default);
    let closed =
        SubscriptionGroupConfig { consume_enable: false, retry_max_times: 3, ..default.clone() };
    // One that is held is not answered with what the group may not have any more.
    let mut held = Remoting::connect(&broker.rocketmq);
    let mut request = held.request(RequestCode::PullMessage);
    let at_the_end = PullMessageRequest {
        queue_offset: 1,
        sys_flag: 4 | 2,
        suspend_timeout_millis: PATIENCE.as_millis() as i64,
        ..pull_header("orders", 0)
    };
    at_the_end.write(&mut request.fields);
    held.send(&request);
    // It has begun once this is answered.
    config(&mut held, "orders");
    update_group(&mut client, &closed).expect(ResponseCode::Success);
    send(&mut client, "orders", 0).expect(ResponseCode::Success);
    held.next().unwrap().expect(ResponseCode::NoPermission);
    pull(&mut client, "orders", 0).expect(ResponseCode::NoPermission);
    for bad in [
        SubscriptionGroupConfig { group_name: "../consumers".to_owned(), ..default.clone() },
        SubscriptionGroupConfig { retry_queue_nums: -1, ..default.clone() },
        SubscriptionGroupConfig {
            attributes: [("a".into(), "b".into())].into(),
            ..default.clone()
        },
    ] {
        update_group(&mut client, &bad).expect(ResponseCode::InvalidParameter);
    }
    let code = RequestCode::UpdateAndCreateSubscriptiongroup;
    let broken = client.call(code, |_| {}, Bytes::from_static(b"{\"groupName\":"));
    assert!(broken.expect(ResponseCode::SystemError).remark.contains("EOF"));
    broker.kill();

    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(group_config(&mut client), closed);
    pull(&mut client, "orders", 0).expect(ResponseCode::NoPermission);
    let all: SubscriptionGroupWrapper =
        body(ask(&mut client, RequestCode::GetAllSubscriptiongroupConfig, |_| {}));
    assert_eq!(all.subscription_group_table["consumers"], closed);
    assert_eq!(progress(&mut client, "consumers"), [(0, 2, 1), (1, 0, 0)]);
    let clone = CloneGroupOffsetRequest {
        src_group: "consumers",
        dest_group: "others",
        topic: Some("orders"),
        offline: None,
    };
    ask(&mut client, RequestCode::CloneGroupOffset, |fields| clone.write(fields))
        .expect(ResponseCode::Success);
    assert_eq!(progress(&mut client, "others"), [(0, 2, 1), (1, 0, 0)]);
    let asked = TopicRequest { topic: "orders" };
    let who = |client: &mut Remoting| -> Vec<String> {
        let list: GroupList =
            body(ask(client, RequestCode::QueryTopicConsumeByWho, |fields| asked.write(fields)));
        list.group_list
    };
    assert_eq!(who(&mut client), ["consumers", "others"]);

    let delete = |clean| DeleteSubscriptionGroupRequest {
        group_name: "consumers",
        clean_offset: Some(clean),
    };
    let code = RequestCode::DeleteSubscriptiongroup;
    ask(&mut client, code, |fields| delete(false).write(fields)).expect(ResponseCode::Success);
    assert_eq!(group_config(&mut client), default);
    pull(&mut client, "orders", 0).expect(ResponseCode::Success);
    assert_eq!(progress(&mut client, "consumers"), [(0, 2, 1), (1, 0, 0)]);
    ask(&mut client, code, |fields| delete(true).write(fields)).expect(ResponseCode::Success);
    assert!(progress(&mut client, "consumers").is_empty());
    assert_eq!(who(&mut client), ["others"]);
    broker.stop();
}

#[test]
fn a_group_with_members_keeps_its_config_with_its_offsets() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut admin = Remoting::connect(&broker.rocketmq);
    update_topic(&mut admin, &wanted("orders", 2, 2)).expect(ResponseCode::Success);
    commit(&mut admin, "consumers", 0, 0).expect(ResponseCode::Success);
    let config = SubscriptionGroupConfig {
        group_name: "consumers".to_owned(),
        retry_max_times: 3,
        ..SubscriptionGroupConfig::default()
    };
    update_group(&mut admin, &config).expect(ResponseCode::Success);
    let mut member = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut member, "one", 1);
    let delete =
        DeleteSubscriptionGroupRequest { group_name: "consumers", clean_offset: Some(true) };
    let code = RequestCode::DeleteSubscriptiongroup;
    ask(&mut admin, code, |fields| delete.write(fields)).expect(ResponseCode::SystemError);
    assert_eq!(group_config(&mut admin).retry_max_times, 3);
    broker.stop();
}

/// Tells of a consumer and a producer; the answer comes in any order with notices.
fn heartbeat(client: &mut Remoting, id: &str, notices: usize) {
    let request = heartbeat_request(client, id, by_tags("*", 0));
    client.send(&request);
    let told: Vec<_> = (0..=notices).map(|_| client.next().unwrap()).collect();
    assert_eq!(
        told.iter().filter(|told| told.is_response && told.code == 0).count(),
        1,
        "{told:?}"
    );
}

fn reset(client: &mut Remoting, timestamp: i64, is_force: bool, queue: Option<(i32, i64)>) -> Told {
    let asked = ResetOffsetRequest {
        topic: "orders",
        group: "consumers",
        queue_id: queue.map(|(queue, _)| queue),
        offset: queue.map(|(_, offset)| offset),
        timestamp,
        is_force,
    };
    ask(client, RequestCode::InvokeBrokerToResetOffset, |fields| asked.write(fields))
}

fn offsets(told: &Told) -> Vec<(i32, i64)> {
    let body: ResetOffsetBody = from_json(&told.body).unwrap();
    body.offset_table.0.iter().map(|(queue, offset)| (queue.queue_id, *offset)).collect()
}

#[test]
fn offsets_are_reset_and_members_told() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut admin = Remoting::connect(&broker.rocketmq);
    update_topic(&mut admin, &wanted("orders", 2, 2)).expect(ResponseCode::Success);
    for queue in [0, 0, 0, 1] {
        send(&mut admin, "orders", queue).expect(ResponseCode::Success);
    }
    reset(&mut admin, 0, true, None).expect(ResponseCode::SubscriptionGroupNotExist);
    commit(&mut admin, "consumers", 0, 2).expect(ResponseCode::Success);

    // Nobody is online: only the offsets change. Without force, only backwards.
    let told = reset(&mut admin, -1, false, None).expect(ResponseCode::Success);
    assert_eq!(offsets(&told), [(0, 2), (1, 1)]);
    let told = reset(&mut admin, -1, true, None).expect(ResponseCode::Success);
    assert_eq!(offsets(&told), [(0, 3), (1, 1)]);
    assert_eq!(progress(&mut admin, "consumers"), [(0, 3, 3), (1, 1, 1)]);
    let one = reset(&mut admin, 0, true, Some((0, 1))).expect(ResponseCode::Success);
    assert_eq!(offsets(&one), [(0, 1)]);
    reset(&mut admin, 0, true, Some((2, 1))).expect(ResponseCode::InvalidParameter);
    // What the queue does not have is refused, and changes nothing.
    let beyond = reset(&mut admin, 0, true, Some((0, 5))).expect(ResponseCode::SystemError);
    assert_eq!(beyond.remark, "Target offset 5 not in consume queue range [0-3]");
    assert_eq!(progress(&mut admin, "consumers"), [(0, 3, 1), (1, 1, 1)]);
    let behind = reset(&mut admin, 0, true, Some((0, 4))).expect(ResponseCode::Success);
    assert_eq!(offsets(&behind), [(0, 3)]);

    let mut member = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut member, "one", 1);
    let told = reset(&mut admin, 0, true, None).expect(ResponseCode::Success);
    assert_eq!(offsets(&told), [(0, 0), (1, 0)]);
    let notice = member.next().unwrap();
    assert_eq!(notice.code, RequestCode::ResetConsumerClientOffset.number());
    assert_eq!((notice.field("group"), notice.field("topic")), ("consumers", "orders"));
    assert_eq!(offsets(&notice), [(0, 0), (1, 0)]);
    broker.stop();
}

/// Lite pull consumers of Java's and Go's pull consumers pass over what they are told.
#[test]
fn members_that_pull_by_themselves_are_led_to_a_reset() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=1"]);
    let mut admin = Remoting::connect(&broker.rocketmq);
    update_topic(&mut admin, &wanted("orders", 1, 1)).expect(ResponseCode::Success);
    for _ in 0..3 {
        send(&mut admin, "orders", 0).expect(ResponseCode::Success);
    }
    commit(&mut admin, "consumers", 0, 3).expect(ResponseCode::Success);
    let mut member = Remoting::connect(&broker.rocketmq);
    let consumer = ConsumerData {
        group_name: "consumers".to_owned(),
        consume_type: ConsumeType::Actively,
        ..ConsumerData::default()
    };
    let beat = HeartbeatData {
        client_id: "one".to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let mut request = member.request(RequestCode::HeartBeat);
    request.body = to_json(&beat).unwrap();
    member.ask_among_notices(&request).expect(ResponseCode::Success);
    // A pull that is held ends, and commits of how far it was count for nothing until the next one.
    let mut held = member.request(RequestCode::PullMessage);
    let at_the_end = PullMessageRequest {
        queue_offset: 3,
        sys_flag: 4 | 2,
        suspend_timeout_millis: PATIENCE.as_millis() as i64,
        ..pull_header("orders", 0)
    };
    at_the_end.write(&mut held.fields);
    member.send(&held);
    // It has begun once this is answered.
    config(&mut member, "orders");
    let told = reset(&mut admin, 0, true, None).expect(ResponseCode::Success);
    assert_eq!(offsets(&told), [(0, 0)]);
    member.next().unwrap().expect(ResponseCode::PullNotFound);
    commit(&mut member, "consumers", 0, 3).expect(ResponseCode::Success);
    assert_eq!(progress(&mut admin, "consumers"), [(0, 3, 0)]);
    let moved = pull(&mut member, "orders", 0).expect(ResponseCode::PullOffsetMoved);
    let told = ["nextBeginOffset", "minOffset", "maxOffset"].map(|name| moved.number(name));
    assert_eq!(told, [0, 0, 3]);
    pull(&mut member, "orders", 0).expect(ResponseCode::Success);
    commit(&mut member, "consumers", 0, 2).expect(ResponseCode::Success);
    assert_eq!(progress(&mut admin, "consumers"), [(0, 3, 2)]);
    broker.stop();
}

/// More than its socket and the broker keep for it.
#[test]
fn who_does_not_read_is_told_no_more() {
    const RESETS: usize = 400;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut admin = Remoting::connect(&broker.rocketmq);
    let topic: &'static str = "t".repeat(127).leak();
    update_topic(&mut admin, &wanted(topic, 500, 500)).expect(ResponseCode::Success);
    let mut member = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut member, "one", 1);
    let asked = ResetOffsetRequest {
        topic,
        group: "consumers",
        queue_id: None,
        offset: None,
        timestamp: 0,
        is_force: true,
    };
    let mut bytes = 0;
    for _ in 0..RESETS {
        let told =
            ask(&mut admin, RequestCode::InvokeBrokerToResetOffset, |fields| asked.write(fields));
        bytes += told.expect(ResponseCode::Success).body.len();
    }
    // Its own requests come behind what it was told.
    let request = heartbeat_request(&mut member, "one", by_tags("*", 0));
    member.send(&request);
    let mut notices = 0;
    while !member.next().unwrap().is_response {
        notices += 1;
    }
    assert!(notices > 0 && notices < RESETS, "{notices} of {bytes} bytes in all");
    broker.stop();
}

#[test]
fn who_is_connected_is_told_and_quiet_groups_are_left_alone() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut admin = Remoting::connect(&broker.rocketmq);
    let consumers = ConsumerGroupRequest { consumer_group: "consumers" };
    let producers = ProducerGroupRequest { producer_group: "producers" };
    let ask_consumers = |admin: &mut Remoting| {
        ask(admin, RequestCode::GetConsumerConnectionList, |fields| consumers.write(fields))
    };
    let ask_producers = |admin: &mut Remoting| {
        ask(admin, RequestCode::GetProducerConnectionList, |fields| producers.write(fields))
    };
    ask_consumers(&mut admin).expect(ResponseCode::ConsumerNotOnline);
    ask_producers(&mut admin).expect(ResponseCode::SystemError);
    let quiet = SubscriptionGroupConfig {
        group_name: "consumers".to_owned(),
        notify_consumer_ids_changed_enable: false,
        ..SubscriptionGroupConfig::default()
    };
    update_group(&mut admin, &quiet).expect(ResponseCode::Success);
    let mut one = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut one, "one", 0);
    let mut two = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut two, "two", 0);
    let told: ConsumerConnection = body(ask_consumers(&mut admin));
    let ids: Vec<_> = told.connection_set.iter().map(|one| one.client_id.as_str()).collect();
    assert_eq!(ids, ["one", "two"]);
    assert_eq!(told.connection_set[0].client_addr, one.stream.local_addr().unwrap().to_string());
    assert_eq!(told.message_model, MessageModel::Clustering);
    assert_eq!(told.subscription_table["orders"].sub_string, "*");
    let told: ProducerConnection = body(ask_producers(&mut admin));
    assert_eq!(told.connection_set.len(), 2);
    // Had the first been told of the second, it would find that before its answer.
    ask_consumers(&mut one).expect(ResponseCode::Success);
    let status: KvTable = body(ask(&mut admin, RequestCode::GetBrokerRuntimeInfo, |_| {}));
    assert_eq!(status.table["brokerActive"], "true");
    broker.stop();
}

/// As a client does whose offsets were reset: it commits without waiting, and asks.
#[test]
fn who_commits_and_asks_is_told_what_it_committed() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &TWO_SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    update_topic(&mut client, &wanted("orders", 2, 2)).expect(ResponseCode::Success);
    for offset in 1..=50 {
        let commit = UpdateConsumerOffsetRequest {
            consumer_group: "consumers",
            topic: "orders",
            queue_id: 1,
            commit_offset: offset,
        };
        let mut one_way = client.request(RequestCode::UpdateConsumerOffset).one_way();
        commit.write(&mut one_way.fields);
        client.send(&one_way);
        let query = QueryConsumerOffsetRequest {
            consumer_group: "consumers",
            topic: "orders",
            queue_id: 1,
            set_zero_if_not_found: None,
        };
        let told = ask(&mut client, RequestCode::QueryConsumerOffset, |fields| query.write(fields));
        assert_eq!(told.expect(ResponseCode::Success).number("offset"), offset);
    }
    broker.stop();
}

#[test]
fn configs_change_only_where_that_is_allowed() {
    let data = DataDir::new();
    let update = |client: &mut Remoting, properties: &'static str| {
        client.call(
            RequestCode::UpdateBrokerConfig,
            |_| {},
            Bytes::from_static(properties.as_bytes()),
        )
    };
    let shown = |client: &mut Remoting| {
        let told = ask(client, RequestCode::GetBrokerConfig, |_| {}).expect(ResponseCode::Success);
        assert!(told.field("version").contains("counter"), "{told:?}");
        String::from_utf8(told.body.to_vec()).unwrap()
    };
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let refused = update(&mut client, "log.retention.ms=7\n").expect(ResponseCode::NoPermission);
    assert!(refused.remark.contains("allow_config_update"), "{}", refused.remark);
    assert!(!shown(&mut client).contains("log.retention.ms=7"));
    broker.stop();

    let allowed = ["rocketmq.allow_config_update=true"];
    let broker = BrokerProcess::start(data.path(), &allowed);
    let mut client = Remoting::connect(&broker.rocketmq);
    update(&mut client, "log.retention.ms=7\n").expect(ResponseCode::Success);
    for fixed in
        ["log.dirs=/\n", "brokerName=other", "log.retention.ms=x", "log.dir=/\nlog.retention.ms=8"]
    {
        update(&mut client, fixed).expect(ResponseCode::NoPermission);
    }
    for broken in ["", "log.retention.ms", "# nothing"] {
        update(&mut client, broken).expect(ResponseCode::InvalidParameter);
    }
    broker.kill();

    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let now = shown(&mut client);
    assert!(now.contains("log.retention.ms=7\n") && now.contains("brokerName=mainstem\n"), "{now}");
    broker.stop();
}
