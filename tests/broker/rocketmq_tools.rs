//! What dashboards and the rarer commands of RocketMQ's tools ask, by raw frames.

use bytes::Bytes;
use mainstem::wire::rocketmq::{
    ExtFields, RemotingCommand, RequestCode, ResponseCode,
    body::{
        CreateTopicListRequestBody, ProducerTableInfo, QueryConsumeTimeSpanBody,
        QuerySubscriptionResponseBody, SubscriptionGroupConfig, SubscriptionGroupList, TopicConfig,
        TopicConfigSerializeWrapper, TopicFilterType, TopicList, TopicRouteData, from_json,
        to_json,
    },
    header::{
        GetConsumerRunningInfoRequest, GetRouteInfoRequest, GroupRequest, GroupTopicRequest,
        UpdateConsumerOffsetRequest, WritePermRequest,
    },
    record::Record,
};
use serde::de::DeserializeOwned;

use super::{
    process::{BrokerProcess, DataDir},
    remoting::{Remoting, Told},
    rocketmq::{by_tags, heartbeat_request, send},
    timers::now_ms,
};

const SHARDS: [&str; 2] = ["shards.count=2", "shards.pin=false"];

fn ask(to: &mut Remoting, code: RequestCode, write: impl FnOnce(&mut ExtFields<'static>)) -> Told {
    to.call(code, write, Bytes::new())
}

/// The body of what went well.
#[track_caller]
fn body<T: DeserializeOwned>(told: Told) -> T {
    from_json(&told.expect(ResponseCode::Success).body).unwrap()
}

fn topic(name: &str, queues: i32, attributes: &[(&str, &str)]) -> TopicConfig {
    let attributes = attributes.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    TopicConfig {
        topic_name: name.to_owned(),
        read_queue_nums: queues,
        write_queue_nums: queues,
        perm: 6,
        topic_filter_type: TopicFilterType::SingleTag,
        attributes: attributes.collect(),
        ..TopicConfig::default()
    }
}

#[test]
fn lists_of_topics_and_groups_are_set_if_all_can_be() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    let update = |client: &mut Remoting, topics: &[TopicConfig]| {
        let body = CreateTopicListRequestBody { topic_config_list: topics.to_vec() };
        client.call(RequestCode::UpdateAndCreateTopicList, |_| {}, to_json(&body).unwrap())
    };
    let fifo = topic("second", 3, &[("+message.type", "FIFO")]);
    for bad in [topic("../other", 1, &[]), topic("other", 0, &[]), topic("other", 1, &[("a", "b")])]
    {
        update(&mut client, &[fifo.clone(), bad]).expect(ResponseCode::InvalidParameter);
    }
    let all = |client: &mut Remoting| -> TopicConfigSerializeWrapper {
        body(ask(client, RequestCode::GetAllTopicConfig, |_| {}))
    };
    assert!(all(&mut client).topic_config_table.is_empty());
    update(&mut client, &[topic("first", 2, &[]), fifo]).expect(ResponseCode::Success);
    let unset = topic("second", 4, &[("-message.type", "")]);
    let topics = all(&mut client).topic_config_table;
    assert_eq!((topics["first"].read_queue_nums, topics["second"].read_queue_nums), (2, 3));
    assert_eq!(topics["second"].attributes["message.type"], "FIFO");
    update(&mut client, &[unset]).expect(ResponseCode::Success);
    let topics = all(&mut client).topic_config_table;
    assert_eq!((topics["second"].read_queue_nums, topics["second"].attributes.len()), (4, 0));

    let group = |name: &str, retries: i32| SubscriptionGroupConfig {
        group_name: name.to_owned(),
        retry_max_times: retries,
        ..SubscriptionGroupConfig::default()
    };
    let update = |client: &mut Remoting, groups: &[SubscriptionGroupConfig]| {
        let body = SubscriptionGroupList { group_config_list: groups.to_vec() };
        let code = RequestCode::UpdateAndCreateSubscriptiongroupList;
        client.call(code, |_| {}, to_json(&body).unwrap())
    };
    let bad = SubscriptionGroupConfig { retry_queue_nums: -1, ..group("two", 1) };
    update(&mut client, &[group("one", 5), bad]).expect(ResponseCode::InvalidParameter);
    let retries = |client: &mut Remoting, group: &'static str| {
        let asked = GroupRequest { group };
        let code = RequestCode::GetSubscriptiongroupConfig;
        let told: SubscriptionGroupConfig = body(ask(client, code, |fields| asked.write(fields)));
        told.retry_max_times
    };
    assert_eq!(retries(&mut client, "one"), 16);
    update(&mut client, &[group("one", 5), group("two", 7)]).expect(ResponseCode::Success);
    assert_eq!((retries(&mut client, "one"), retries(&mut client, "two")), (5, 7));
    broker.stop();
}

#[test]
fn a_broker_that_is_closed_is_found_by_consumers_alone() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    send(&mut Remoting::connect(&broker.rocketmq), "orders", "A", "first");
    let mut names = Remoting::connect(&broker.namesrv);
    let perm = |names: &mut Remoting| {
        let asked = GetRouteInfoRequest { topic: "orders", accept_standard_json_only: None };
        let code = RequestCode::GetRouteinfoByTopic;
        let route: TopicRouteData = body(ask(names, code, |fields| asked.write(fields)));
        route.queue_datas[0].perm
    };
    let change = |names: &mut Remoting, code, broker_name| {
        let asked = WritePermRequest { broker_name };
        ask(names, code, |fields| asked.write(fields)).expect(ResponseCode::Success)
    };
    let (wipe, add) = (RequestCode::WipeWritePermOfBroker, RequestCode::AddWritePermOfBroker);
    assert_eq!(change(&mut names, wipe, "other").number("wipeTopicCount"), 0);
    assert_eq!(perm(&mut names), 6);
    assert_eq!(change(&mut names, wipe, "mainstem").number("wipeTopicCount"), 1);
    assert_eq!(perm(&mut Remoting::connect(&broker.namesrv)), 4);
    assert_eq!(change(&mut names, add, "mainstem").number("addTopicCount"), 1);
    assert_eq!(perm(&mut names), 6);

    let told: TopicList = body(ask(&mut names, RequestCode::GetSystemTopicListFromNs, |_| {}));
    assert_eq!(told.topic_list, ["DefaultCluster", "mainstem"]);
    let mut client = Remoting::connect(told.broker_addr.as_deref().unwrap());
    let code = RequestCode::GetSystemTopicListFromBroker;
    let told: TopicList = body(ask(&mut client, code, |_| {}));
    for name in ["TBW102", "RMQ_SYS_TRACE_TOPIC", "DefaultCluster_REPLY_TOPIC"] {
        assert!(told.topic_list.iter().any(|topic| topic == name), "{told:?}");
    }
    broker.stop();
}

#[test]
fn tools_see_who_is_there_and_how_old_what_is_left_is() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    let mut client = Remoting::connect(&broker.rocketmq);
    let before_ms = now_ms();
    for number in 0..3 {
        assert_eq!(send(&mut client, "orders", "A", &number.to_string()), number);
    }
    let heartbeat = heartbeat_request(&mut client, "one", by_tags("A || B", 7));
    client.ask_among_notices(&heartbeat).expect(ResponseCode::Success);
    let mut tool = Remoting::connect(&broker.rocketmq);
    let told: ProducerTableInfo = body(ask(&mut tool, RequestCode::GetAllProducerInfo, |_| {}));
    let [producer] = &told.data["producers"][..] else { panic!("{told:?}") };
    assert_eq!((&*producer.client_id, told.data.len()), ("one", 1));
    assert_eq!(producer.remote_ip, client.stream.local_addr().unwrap().to_string());

    let wanted = |tool: &mut Remoting, topic: &'static str| {
        let asked = GroupTopicRequest { group: "consumers", topic };
        let code = RequestCode::QuerySubscriptionByConsumer;
        let told: QuerySubscriptionResponseBody =
            body(ask(tool, code, |fields| asked.write(fields)));
        told.subscription_data.map(|wanted| wanted.sub_string)
    };
    assert_eq!(wanted(&mut tool, "orders").as_deref(), Some("A || B"));
    assert_eq!(wanted(&mut tool, "others"), None);

    let span = |tool: &mut Remoting| {
        let asked = GroupTopicRequest { group: "consumers", topic: "orders" };
        let code = RequestCode::QueryConsumeTimeSpan;
        let told: QueryConsumeTimeSpanBody = body(ask(tool, code, |fields| asked.write(fields)));
        assert_eq!(told.consume_time_span_set.len(), 4);
        assert_eq!(told.consume_time_span_set[1].min_time_stamp, -1);
        told.consume_time_span_set[0].clone()
    };
    let all = span(&mut tool);
    assert!(before_ms <= all.min_time_stamp && all.min_time_stamp <= all.max_time_stamp);
    assert_eq!(all.consume_time_stamp, all.min_time_stamp);
    assert!((0..=now_ms() - before_ms).contains(&all.delay_time), "{all:?}");
    let commit = UpdateConsumerOffsetRequest {
        consumer_group: "consumers",
        topic: "orders",
        queue_id: 0,
        commit_offset: 3,
    };
    ask(&mut tool, RequestCode::UpdateConsumerOffset, |fields| commit.write(fields))
        .expect(ResponseCode::Success);
    let all = span(&mut tool);
    assert_eq!((all.consume_time_stamp, all.delay_time), (all.max_time_stamp, 0));
    broker.stop();
}

/// Lets a consumer answer what it is asked for a tool, which is told the same.
fn relayed(
    member: &mut Remoting,
    tool: &mut Remoting,
    request: &RemotingCommand<'_>,
    answer: ResponseCode,
) -> (Told, Told) {
    tool.send(request);
    let asked = member.next().unwrap();
    assert!(!asked.is_response && asked.code == request.code, "{asked:?}");
    let mut told: RemotingCommand<'_> = member.request(RequestCode::HeartBeat);
    told.opaque = asked.opaque;
    let mut told = RemotingCommand::answer(&told, answer);
    told.remark = Some("from the consumer".into());
    told.body = Bytes::from_static(b"what it says");
    member.send(&told);
    (asked, tool.next().unwrap())
}

#[test]
fn one_consumer_is_asked_by_way_of_the_broker() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SHARDS);
    let mut tool = Remoting::connect(&broker.rocketmq);
    send(&mut tool, "orders", "A", "first");
    let mut member = Remoting::connect(&broker.rocketmq);
    let heartbeat = heartbeat_request(&mut member, "one", by_tags("*", 0));
    member.send(&heartbeat);
    // The answer, and the notice of itself.
    (0..2).for_each(|_| drop(member.next().unwrap()));
    let info = |tool: &mut Remoting, group: &'static str, client_id: &'static str| {
        let mut request: RemotingCommand<'_> = tool.request(RequestCode::GetConsumerRunningInfo);
        GetConsumerRunningInfoRequest { consumer_group: group, client_id, jstack_enable: None }
            .write(&mut request.fields);
        request
    };
    for answer in [ResponseCode::Success, ResponseCode::SystemError] {
        let request = info(&mut tool, "consumers", "one");
        let (asked, told) = relayed(&mut member, &mut tool, &request, answer);
        assert_eq!((asked.field("consumerGroup"), asked.body.len()), ("consumers", 0));
        assert_eq!((told.code, &*told.remark), (answer.number(), "from the consumer"));
        assert_eq!((&told.body[..], told.opaque), (&b"what it says"[..], request.opaque));
    }
    for (group, client) in [("consumers", "two"), ("others", "one")] {
        let request = info(&mut tool, group, client);
        let told = tool.ask(&request).expect(ResponseCode::SystemError);
        assert!(told.remark.contains("not online"), "{}", told.remark);
    }

    // One who does not read has no more answers kept for it than fit.
    const ASKED: usize = 24;
    for _ in 0..ASKED {
        let request = info(&mut tool, "consumers", "one");
        tool.send(&request);
    }
    for _ in 0..ASKED {
        let asked = member.next().unwrap();
        let mut told: RemotingCommand<'_> = member.request(RequestCode::HeartBeat);
        told.opaque = asked.opaque;
        let mut told = RemotingCommand::answer(&told, ResponseCode::Success);
        told.body = vec![7; 4 << 20].into();
        member.send(&told);
    }
    // Its own requests come behind them.
    let heartbeat = heartbeat_request(&mut member, "one", by_tags("*", 0));
    member.ask(&heartbeat).expect(ResponseCode::Success);
    let told: Vec<_> = (0..ASKED).map(|_| tool.next().unwrap()).collect();
    let (kept, refused): (Vec<_>, Vec<_>) =
        told.iter().partition(|told| told.code == ResponseCode::Success.number());
    assert!(kept.len() >= 4 && kept.iter().all(|told| told.body.len() == 4 << 20));
    assert!(!refused.is_empty(), "all {ASKED} were kept");
    for told in refused {
        assert_eq!(told.code, ResponseCode::SystemBusy.number(), "{}", told.remark);
        assert!(told.remark.contains("were not read"), "{}", told.remark);
    }

    // A message, which it is to consume once more.
    let id = super::rocketmq::pull(&mut tool, "orders", 0, "*").body;
    let id = Record::parse(&id).unwrap().offset_message_id().to_string();
    let consume = |tool: &mut Remoting, id: &str| {
        let mut request: RemotingCommand<'_> = tool.request(RequestCode::ConsumeMessageDirectly);
        for (name, value) in
            [("consumerGroup", "consumers"), ("clientId", "one"), ("msgId", id), ("brokerName", "")]
        {
            request.fields.push(name, value.to_owned());
        }
        request
    };
    let request = consume(&mut tool, &id);
    let (asked, told) = relayed(&mut member, &mut tool, &request, ResponseCode::Success);
    assert_eq!((asked.field("brokerName"), asked.field("msgId")), ("mainstem", &*id));
    assert_eq!(Record::parse(&asked.body).unwrap().body, b"first");
    assert_eq!(&told.body[..], b"what it says");
    for bad in ["no id", &id.replace('0', "7")] {
        let request = consume(&mut tool, bad);
        tool.ask(&request).expect(ResponseCode::SystemError);
    }
    broker.stop();
}
