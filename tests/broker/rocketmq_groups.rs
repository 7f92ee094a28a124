//! Groups of RocketMQ's clients: what they want, how far they are, and how Kafka's clients see them.

use std::time::Duration;

use bytes::Bytes;
use mainstem::wire::rocketmq::{
    RemotingCommand, RequestCode, ResponseCode,
    body::{
        ConsumerData, HeartbeatData, LockBatchRequestBody, MessageModel, TopicRouteData, from_json,
        to_json,
    },
    header::{
        GetConsumerRunningInfoRequest, PullMessageRequest, QueryConsumerOffsetRequest,
        UnregisterClientRequest, UpdateConsumerOffsetRequest,
    },
};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{
    client::{config, send_one},
    process::{BrokerProcess, DataDir, PATIENCE},
    remoting::{Remoting, Told},
    rocketmq::{bodies, by_tags, committed, heartbeat_request, lock, pull_header, route, send},
};

/// Tells that `id` consumes `orders` by `tags`; notices that come meanwhile are passed over.
fn heartbeat(client: &mut Remoting, id: &str, tags: &str, version: i64) -> Told {
    let request = heartbeat_request(client, id, by_tags(tags, version));
    client.ask_among_notices(&request)
}

/// Pulls from the start by what the group wants.
fn pull(client: &mut Remoting, version: i64) -> Told {
    pull_of_type(client, version, None)
}

fn pull_of_type(client: &mut Remoting, version: i64, expression_type: Option<&str>) -> Told {
    let header = PullMessageRequest {
        sys_flag: 0,
        sub_version: version,
        expression_type,
        ..pull_header("orders", 0, "", 0)
    };
    let mut request = client.request(RequestCode::PullMessage);
    header.write(&mut request.fields);
    client.ask_among_notices(&request)
}

#[test]
fn a_group_wants_what_its_members_told_last() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let mut one = Remoting::connect(&broker.rocketmq);
    for (tag, body) in [("A", "a0"), ("B", "b1"), ("A", "a2")] {
        send(&mut one, "orders", tag, body);
    }
    pull(&mut one, 1).expect(ResponseCode::SubscriptionNotExist);
    heartbeat(&mut one, "one", "A", 1).expect(ResponseCode::Success);
    assert_eq!(bodies(&pull(&mut one, 1)), ["a0", "a2"]);
    pull(&mut one, 2).expect(ResponseCode::SubscriptionNotLatest);
    pull_of_type(&mut one, 2, Some("SQL92")).expect(ResponseCode::SubscriptionNotLatest);
    // Who looks at tags itself need not wait for its next heartbeat.
    assert_eq!(bodies(&pull_of_type(&mut one, 2, Some("TAG"))), ["a0", "b1", "a2"]);
    assert_eq!(bodies(&pull_of_type(&mut one, 1, Some("TAG"))), ["a0", "a2"]);

    // Another member's newer one holds for all, an older one for none.
    let mut two = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut two, "two", "B", 2).expect(ResponseCode::Success);
    assert_eq!(bodies(&pull(&mut one, 1)), ["b1"]);
    heartbeat(&mut one, "one", "A", 1).expect(ResponseCode::Success);
    assert_eq!(bodies(&pull(&mut two, 2)), ["b1"]);
    heartbeat(&mut two, "two", "*", 3).expect(ResponseCode::Success);
    assert_eq!(bodies(&pull(&mut one, 3)), ["a0", "b1", "a2"]);

    // A pull that says what it wants needs no group.
    let mut other = Remoting::connect(&broker.rocketmq);
    let mut request = other.request(RequestCode::PullMessage);
    let header =
        PullMessageRequest { consumer_group: "nobody", ..pull_header("orders", 0, "B", 0) };
    header.write(&mut request.fields);
    assert_eq!(bodies(&other.ask(&request)), ["b1"]);
    broker.stop();
}

/// What a held pull has passed over is not lost where the group wants it by now.
#[test]
fn a_held_pull_goes_by_what_its_group_wants_when_it_ends() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let (mut one, mut two) =
        (Remoting::connect(&broker.rocketmq), Remoting::connect(&broker.rocketmq));
    send(&mut one, "orders", "A", "a0");
    heartbeat(&mut one, "one", "A", 1).expect(ResponseCode::Success);
    let mut request = one.request(RequestCode::PullMessage);
    let header = pull_header("orders", 1, "", 1_500);
    PullMessageRequest { sys_flag: 2, sub_version: 1, ..header }.write(&mut request.fields);
    one.send(&request);
    // Its answer says that the pull was read before.
    heartbeat(&mut one, "one", "A", 1).expect(ResponseCode::Success);
    heartbeat(&mut two, "two", "B", 2).expect(ResponseCode::Success);
    send(&mut Remoting::connect(&broker.rocketmq), "orders", "B", "b1");
    let told = std::iter::repeat_with(|| one.next().unwrap())
        .find(|told| told.code != RequestCode::NotifyConsumerIdsChanged.number());
    assert_eq!(bodies(&told.unwrap().expect(ResponseCode::Success)), ["b1"]);
    broker.stop();
}

/// Java's consumers that broadcast have the machine's id, all of them.
#[test]
fn a_member_that_goes_leaves_those_of_the_same_id() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let (mut one, mut two) =
        (Remoting::connect(&broker.rocketmq), Remoting::connect(&broker.rocketmq));
    send(&mut one, "orders", "A", "a0");
    heartbeat(&mut one, "machine", "A", 1).expect(ResponseCode::Success);
    heartbeat(&mut two, "machine", "A", 1).expect(ResponseCode::Success);
    heartbeat(&mut one, "machine", "A", 1).expect(ResponseCode::Success);
    let notice = |client: &mut Remoting| client.next().unwrap().code;
    let changed = RequestCode::NotifyConsumerIdsChanged.number();
    assert_eq!(notice(&mut two), changed, "it has come");
    drop(one);
    assert_eq!(notice(&mut two), changed, "the other one has gone");
    assert_eq!(bodies(&pull(&mut two, 1)), ["a0"]);
    broker.stop();
}

#[test]
fn a_pull_brings_how_far_its_group_is() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for body in ["0", "1", "2"] {
        send(&mut client, "orders", "A", body);
    }
    for (flag, offset) in [(0, 2), (1, 1)] {
        let header = pull_header("orders", 1, "*", 0);
        let sys_flag = header.sys_flag | flag;
        let mut request = client.request(RequestCode::PullMessage);
        PullMessageRequest { sys_flag, commit_offset: offset, ..header }.write(&mut request.fields);
        client.ask(&request).expect(ResponseCode::Success);
    }
    let deadline = std::time::Instant::now() + PATIENCE;
    while committed(&mut client, Some(false)).code != 0 {
        assert!(std::time::Instant::now() < deadline, "it is not stored");
    }
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(committed(&mut client, Some(false)).number("offset"), 1);
    broker.stop();
}

/// Whoever takes a queue over begins where its last holder says that it ended.
#[test]
fn what_was_committed_before_a_queue_is_given_up_can_be_read_after() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", "A", "0");
    for offset in 1..=20 {
        let update = UpdateConsumerOffsetRequest {
            consumer_group: "consumers",
            topic: "orders",
            queue_id: 0,
            commit_offset: offset,
        };
        let mut request = client.request(RequestCode::UpdateConsumerOffset).one_way();
        update.write(&mut request.fields);
        client.send(&request);
        lock(&mut client, "one", RequestCode::UnlockBatchMq);
        assert_eq!(committed(&mut client, Some(false)).number("offset"), offset);
    }
    broker.stop();
}

/// Java's 4.9.8 commits on its VIP channel's connection and says on the other one that it leaves.
#[test]
fn what_was_committed_on_one_connection_is_read_on_another() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let mut other = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", "A", "0");
    for offset in 1..=20 {
        let update = UpdateConsumerOffsetRequest {
            consumer_group: "consumers",
            topic: "orders",
            queue_id: 0,
            commit_offset: offset,
        };
        let mut request = client.request(RequestCode::UpdateConsumerOffset).one_way();
        update.write(&mut request.fields);
        client.send(&request);
        // Its answer says that what was sent before has been read.
        lock(&mut client, "one", RequestCode::LockBatchMq);
        assert_eq!(committed(&mut other, Some(false)).number("offset"), offset);
    }
    broker.stop();
}

fn kafka_consumer(broker: &BrokerProcess) -> BaseConsumer {
    // One that was refused tries again after a session's time.
    let settings = [
        ("group.id", "consumers"),
        ("auto.offset.reset", "earliest"),
        ("session.timeout.ms", "1000"),
        ("heartbeat.interval.ms", "100"),
    ];
    let consumer: BaseConsumer = config(&broker.kafka, &settings).create().unwrap();
    consumer.subscribe(&["orders"]).unwrap();
    consumer
}

/// Polls until something other than time has come.
fn polled(consumer: &BaseConsumer) -> Result<(), KafkaError> {
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        assert!(std::time::Instant::now() < deadline, "nothing comes");
        if let Some(polled) = consumer.poll(Duration::from_millis(50)) {
            return polled.map(drop);
        }
    }
}

/// A group's state, kind, and its members' clients.
fn shown(broker: &BrokerProcess) -> (String, String, Vec<String>) {
    let observer: BaseConsumer = config(&broker.kafka, &[]).create().unwrap();
    let list = observer.fetch_group_list(Some("consumers"), PATIENCE).unwrap();
    let group = &list.groups()[0];
    let clients = group.members().iter().map(|member| member.client_id().to_owned());
    (group.state().to_owned(), group.protocol_type().to_owned(), clients.collect())
}

#[test]
fn mqadmin_finds_groups_of_kafkas() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["groups.initial_rebalance_delay_ms=0"]);
    assert_eq!(send_one(&broker.kafka, "orders", "kafka"), Ok(0));
    let theirs = kafka_consumer(&broker);
    assert!(polled(&theirs).is_ok());
    let mut names = Remoting::connect(&broker.namesrv);
    let mut assert_found = || {
        let found = route(&mut names, "%RETRY%consumers").expect(ResponseCode::Success);
        let found: TopicRouteData = from_json(&found.body).unwrap();
        assert_eq!((found.broker_datas.len(), found.queue_datas.len()), (1, 0));
    };
    assert_found();
    // Whoever is refused leaves no topic for its retries.
    let mut client = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut client, "one", "*", 1).expect(ResponseCode::NoPermission);
    assert_found();
    route(&mut names, "%RETRY%nobody").expect(ResponseCode::TopicNotExist);
}

/// mqadmin finds a group by it, though broadcasting ones never send anything back.
#[test]
fn every_group_has_a_retry_topic() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let mut names = Remoting::connect(&broker.namesrv);
    for (message_model, group) in
        [(MessageModel::Clustering, "sharing"), (MessageModel::Broadcasting, "everybody")]
    {
        let group_name = group.to_owned();
        let consumer = ConsumerData { group_name, message_model, ..ConsumerData::default() };
        let heartbeat = HeartbeatData {
            client_id: "one".to_owned(),
            consumer_data_set: vec![consumer],
            ..HeartbeatData::default()
        };
        let mut request = client.request(RequestCode::HeartBeat);
        request.body = to_json(&heartbeat).unwrap();
        client.ask_among_notices(&request).expect(ResponseCode::Success);
    }
    for topic in ["%RETRY%sharing", "%RETRY%everybody"] {
        let found = route(&mut names, topic).expect(ResponseCode::Success);
        let found: TopicRouteData = from_json(&found.body).unwrap();
        assert_eq!(found.queue_datas[0].read_queue_nums, 1, "{topic}");
    }
    broker.stop();
}

#[test]
fn a_group_is_one_dialects_at_a_time() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["groups.initial_rebalance_delay_ms=0"]);
    assert_eq!(send_one(&broker.kafka, "orders", "kafka"), Ok(0));
    let mut client = Remoting::connect(&broker.rocketmq);
    heartbeat(&mut client, "one", "*", 1).expect(ResponseCode::Success);
    let (stable, consumer) = ("Stable".to_owned(), "consumer".to_owned());
    assert_eq!(shown(&broker), (stable, consumer, vec!["one".to_owned()]));
    let theirs = kafka_consumer(&broker);
    let refused = polled(&theirs).unwrap_err().rdkafka_error_code();
    assert_eq!(refused, Some(RDKafkaErrorCode::InconsistentGroupProtocol));
    drop(theirs);
    drop(client);

    let theirs = kafka_consumer(&broker);
    // The broker notices a moment later that the connection is gone.
    while let Err(error) = polled(&theirs) {
        let code = error.rdkafka_error_code();
        assert_eq!(code, Some(RDKafkaErrorCode::InconsistentGroupProtocol));
    }
    let mut client = Remoting::connect(&broker.rocketmq);
    let refused = heartbeat(&mut client, "one", "*", 1).expect(ResponseCode::NoPermission);
    assert!(refused.remark.contains("Kafka"), "{}", refused.remark);
    let mut request = client.request(RequestCode::PullMessage);
    pull_header("orders", 0, "*", 0).write(&mut request.fields);
    client.ask(&request).expect(ResponseCode::NoPermission);
    let code = RequestCode::GetConsumerListByGroup;
    let asked =
        mainstem::wire::rocketmq::header::ConsumerGroupRequest { consumer_group: "consumers" };
    client.call(code, |fields| asked.write(fields), Bytes::new()).expect(ResponseCode::SystemError);
    broker.stop();
}

/// Pulls that are held do not keep a client from committing, nor from what others have to answer.
#[test]
fn held_pulls_are_counted_alone() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.connection_pulls=1"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", "A", "a0");
    let mut held = client.request(RequestCode::PullMessage);
    pull_header("orders", 1, "*", PATIENCE.as_millis() as i64).write(&mut held.fields);
    client.send(&held);
    let mut second: RemotingCommand<'_> = client.request(RequestCode::PullMessage);
    pull_header("orders", 1, "*", 1_000).write(&mut second.fields);
    let told = client.ask(&second).expect(ResponseCode::SystemBusy);
    assert!(told.remark.contains("too many pulls"), "{}", told.remark);
    let mut one_way = client.request(RequestCode::UpdateConsumerOffset).one_way();
    UpdateConsumerOffsetRequest {
        consumer_group: "consumers",
        topic: "orders",
        queue_id: 0,
        commit_offset: 1,
    }
    .write(&mut one_way.fields);
    client.send(&one_way);
    assert_eq!(committed(&mut client, None).number("offset"), 1);
    let mut question: RemotingCommand<'_> = client.request(RequestCode::GetConsumerRunningInfo);
    GetConsumerRunningInfoRequest {
        consumer_group: "consumers",
        client_id: "x",
        jstack_enable: None,
    }
    .write(&mut question.fields);
    let told = client.ask(&question).expect(ResponseCode::SystemError);
    assert!(told.remark.contains("not online"), "{}", told.remark);
    broker.stop();
}

/// A heartbeat of a client that consumes `orders` in this group.
fn heartbeat_in(client: &mut Remoting, id: &str, group: &str, expression: &str) -> Told {
    let consumer = ConsumerData {
        group_name: group.to_owned(),
        message_model: MessageModel::Clustering,
        subscription_data_set: vec![by_tags(expression, 1)],
        ..ConsumerData::default()
    };
    let data = HeartbeatData {
        client_id: id.to_owned(),
        consumer_data_set: vec![consumer],
        ..HeartbeatData::default()
    };
    let mut request = client.request(RequestCode::HeartBeat);
    request.body = to_json(&data).unwrap();
    client.ask_among_notices(&request)
}

#[test]
fn groups_have_names_that_rocketmq_allows() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    send(&mut client, "orders", "A", "a0");
    let long = "g".repeat(256);
    for bad in ["../../x", "a b", "a.b", &long] {
        let mut ask = |code, fields: &[(&'static str, &str)], body: Bytes| {
            let mut request: RemotingCommand<'_> = client.request(code);
            fields.iter().for_each(|(name, value)| request.fields.push(*name, (*value).to_owned()));
            request.body = body;
            let told = client.ask(&request).expect(ResponseCode::SubscriptionGroupNotExist);
            assert!(told.remark.contains("name"), "{}", told.remark);
        };
        let (group, queue) = (("consumerGroup", bad), [("topic", "orders"), ("queueId", "0")]);
        let pull = [("queueOffset", "0"), ("maxMsgNums", "1"), ("sysFlag", "4")];
        let pull = [&[group], &queue[..], &pull[..], &[("subVersion", "0")]].concat();
        let pull = [&pull[..], &[("commitOffset", "0"), ("suspendTimeoutMillis", "0")]].concat();
        ask(RequestCode::PullMessage, &pull, Bytes::new());
        let commit = [&[group], &queue[..], &[("commitOffset", "1")]].concat();
        ask(RequestCode::UpdateConsumerOffset, &commit, Bytes::new());
        let back = [("group", bad), ("offset", "0"), ("delayLevel", "0")];
        ask(RequestCode::ConsumerSendMsgBack, &back, Bytes::new());
        let clone = [("srcGroup", "consumers"), ("destGroup", bad)];
        ask(RequestCode::CloneGroupOffset, &clone, Bytes::new());
        let lock = LockBatchRequestBody { consumer_group: bad.to_owned(), ..Default::default() };
        ask(RequestCode::LockBatchMq, &[], to_json(&lock).unwrap());
        heartbeat_in(&mut client, "one", bad, "*").expect(ResponseCode::SubscriptionGroupNotExist);
    }
    heartbeat_in(&mut client, "one", "", "*").expect(ResponseCode::SubscriptionGroupNotExist);
    // Those that Kafka's clients made are read all the same.
    let consumer: BaseConsumer = config(&broker.kafka, &[("group.id", "a.b")]).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", 0, Offset::Offset(1)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let query = QueryConsumerOffsetRequest {
        consumer_group: "a.b",
        topic: "orders",
        queue_id: 0,
        set_zero_if_not_found: Some(false),
    };
    let code = RequestCode::QueryConsumerOffset;
    let told = client.call(code, |fields| query.write(fields), Bytes::new());
    assert_eq!(told.expect(ResponseCode::Success).number("offset"), 1);
    broker.stop();
}

#[test]
fn what_heartbeats_leave_behind_is_bounded() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let id = "i".repeat(513);
    heartbeat_in(&mut client, &id, "consumers", "*").expect(ResponseCode::InvalidParameter);
    let (id, long) = (&id[1..], "a".repeat(300 << 10));
    heartbeat_in(&mut client, id, "one", &long).expect(ResponseCode::Success);
    let refused = heartbeat_in(&mut client, id, "two", &long).expect(ResponseCode::SystemError);
    assert!(refused.remark.contains("too much for one connection"), "{}", refused.remark);
    let leave = UnregisterClientRequest {
        client_id: id.to_owned().leak(),
        producer_group: None,
        consumer_group: Some("one"),
    };
    let mut request = client.request(RequestCode::UnregisterClient);
    leave.write(&mut request.fields);
    client.ask_among_notices(&request).expect(ResponseCode::Success);
    heartbeat_in(&mut client, id, "two", &long).expect(ResponseCode::Success);
    broker.stop();
}
