//! Several brokers and name servers: routes of all of them, and brokers that come and go.

use std::{io::Write as _, time::Instant};

use bytes::Bytes;
use mainstem::wire::rocketmq::{
    RequestCode, ResponseCode,
    body::{
        ClusterInfo, DataVersion, RegisterBrokerBody, TopicConfig, TopicList, TopicRouteData,
        from_json, to_json,
    },
    header::{
        BrokerHeartbeatRequest, BrokerRequest, DeleteTopicFromNamesrvRequest, GetRouteInfoRequest,
        GetTopicsByClusterRequest, RegisterBrokerRequest,
    },
};

use super::{
    process::{BrokerProcess, DataDir, PATIENCE},
    remoting::{Remoting, Told},
    rocketmq::send,
    topics::Administrator,
};

/// The names of the brokers that have a topic, or none.
fn brokers(names: &mut Remoting, topic: &str) -> Vec<String> {
    let request = GetRouteInfoRequest { topic, accept_standard_json_only: None };
    let mut command = names.request(RequestCode::GetRouteinfoByTopic);
    request.write(&mut command.fields);
    let told = names.ask(&command);
    if told.code == ResponseCode::TopicNotExist.number() {
        return Vec::new();
    }
    let route: TopicRouteData = from_json(&told.expect(ResponseCode::Success).body).unwrap();
    assert_eq!(route.broker_datas.len(), route.queue_datas.len());
    route.broker_datas.into_iter().map(|broker| broker.broker_name).collect()
}

fn wait_for_brokers(names: &mut Remoting, topic: &str, expected: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = brokers(names, topic);
        if found == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{topic} is at {found:?}, not {expected:?}");
    }
}

const ADDRESS: &str = "10.0.0.7:10911";

fn registration(sum: Option<i32>) -> RegisterBrokerRequest<'static> {
    RegisterBrokerRequest {
        broker_name: "broker-a",
        broker_addr: ADDRESS,
        cluster_name: "DefaultCluster",
        ha_server_addr: "10.0.0.7:10912",
        broker_id: 0,
        body_crc32: sum,
        ..RegisterBrokerRequest::default()
    }
}

fn topics(names: &[&str]) -> Bytes {
    let mut body = RegisterBrokerBody::default();
    body.topic_config_serialize_wrapper.data_version.counter = 3;
    for name in names {
        let topic = TopicConfig {
            topic_name: (*name).to_owned(),
            read_queue_nums: 8,
            write_queue_nums: 8,
            perm: 6,
            ..TopicConfig::default()
        };
        let table = &mut body.topic_config_serialize_wrapper.topic_config_table;
        table.insert((*name).to_owned(), topic);
    }
    to_json(&body).unwrap()
}

fn deflated(bytes: &[u8]) -> Bytes {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

fn register(names: &mut Remoting, header: RegisterBrokerRequest<'static>, body: Bytes) -> Told {
    names.call(RequestCode::RegisterBroker, |fields| header.write(fields), body)
}

fn has_changed(names: &mut Remoting, counter: i64) -> String {
    let asked = BrokerRequest {
        broker_name: "broker-a",
        broker_addr: ADDRESS,
        cluster_name: "DefaultCluster",
        broker_id: 0,
    };
    let version = to_json(&DataVersion { counter, ..DataVersion::default() }).unwrap();
    let told = names.call(RequestCode::QueryDataVersion, |fields| asked.write(fields), version);
    told.expect(ResponseCode::Success).field("changed").to_owned()
}

#[test]
fn other_brokers_are_found_here() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    Administrator::new(&broker.kafka).create("orders", 3, &[]).unwrap();
    let mut names = Remoting::connect(&broker.namesrv);
    let mut theirs = Remoting::connect(&broker.namesrv);
    assert_eq!(has_changed(&mut theirs, 3), "true");
    let sum = (crc32fast::hash(&topics(&["orders", "bills"])) & 0x7fff_ffff) as i32;
    let body = topics(&["orders", "bills"]);
    register(&mut theirs, registration(Some(sum)), body.clone()).expect(ResponseCode::Success);
    assert_eq!(brokers(&mut names, "orders"), ["mainstem", "broker-a"]);
    assert_eq!(brokers(&mut names, "bills"), ["broker-a"]);
    assert_eq!(
        (has_changed(&mut theirs, 3), has_changed(&mut theirs, 4)),
        ("false".into(), "true".into())
    );
    let told = names.call(RequestCode::GetBrokerClusterInfo, |_| {}, Bytes::new());
    let info: ClusterInfo = from_json(&told.expect(ResponseCode::Success).body).unwrap();
    assert_eq!(info.cluster_addr_table["DefaultCluster"], ["broker-a", "mainstem"]);
    assert_eq!(info.broker_addr_table["broker-a"].broker_addrs[&0], ADDRESS);

    // What is wrong changes nothing.
    let wrong = register(&mut theirs, registration(Some(sum ^ 1)), topics(&["more"]));
    assert!(wrong.expect(ResponseCode::SystemError).remark.contains("crc32"));
    let own = RegisterBrokerRequest { broker_name: "mainstem", ..registration(None) };
    register(&mut theirs, own, topics(&["more"])).expect(ResponseCode::SystemError);
    let packed = || RegisterBrokerRequest { compressed: Some(true), ..registration(None) };
    for bad in [topics(&["more"]), deflated(&vec![0; 64 << 20])] {
        register(&mut theirs, packed(), bad).expect(ResponseCode::SystemError);
    }
    register(&mut theirs, registration(None), Bytes::from_static(b"{]"))
        .expect(ResponseCode::SystemError);
    assert_eq!(brokers(&mut names, "more"), [""; 0]);

    // As brokers with compressedRegister=true do.
    let more = deflated(b"\0\0\0\x02{}\0\0\0\x01\0\0\0\x18more 3 5 6 SINGLE_TAG {}");
    register(&mut theirs, packed(), more).expect(ResponseCode::Success);
    assert_eq!(brokers(&mut names, "more"), ["broker-a"]);
    // Those of 5.5.0 say that they do not.
    let most = deflated(b"\0\0\0\x02{}\0\0\0\x01\0\0\0\x18most 3 5 6 SINGLE_TAG {}");
    let unsaid = RegisterBrokerRequest { compressed: Some(false), ..registration(None) };
    register(&mut theirs, unsaid, most).expect(ResponseCode::Success);
    assert_eq!(brokers(&mut names, "most"), ["broker-a"]);

    // It may be silent for so long, and goes with its connection at the latest.
    let short = RegisterBrokerRequest { heartbeat_timeout_millis: Some(300), ..registration(None) };
    register(&mut theirs, short, Bytes::new()).expect(ResponseCode::Success);
    let beat = BrokerHeartbeatRequest {
        cluster_name: "DefaultCluster",
        broker_addr: ADDRESS,
        broker_name: "broker-a",
        ..BrokerHeartbeatRequest::default()
    };
    let beaten =
        theirs.call(RequestCode::BrokerHeartbeat, |fields| beat.write(fields), Bytes::new());
    beaten.expect(ResponseCode::Success);
    wait_for_brokers(&mut names, "bills", &[]);
    register(&mut theirs, registration(None), body).expect(ResponseCode::Success);
    assert_eq!(brokers(&mut names, "bills"), ["broker-a"]);
    drop(theirs);
    wait_for_brokers(&mut names, "bills", &[]);
    assert_eq!(brokers(&mut names, "orders"), ["mainstem"]);
    broker.stop();
}

#[test]
fn topics_of_other_brokers_are_listed_and_deleted() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let mut names = Remoting::connect(&broker.namesrv);
    let mut theirs = Remoting::connect(&broker.namesrv);
    register(&mut theirs, registration(None), topics(&["orders", "bills"]))
        .expect(ResponseCode::Success);
    let elsewhere = RegisterBrokerRequest {
        broker_name: "broker-b",
        broker_addr: "10.0.0.8:10911",
        cluster_name: "Elsewhere",
        ..registration(None)
    };
    register(&mut theirs, elsewhere, topics(&["bills", "mail"])).expect(ResponseCode::Success);
    let list = |told: Told| -> Vec<String> {
        let list: TopicList = from_json(&told.expect(ResponseCode::Success).body).unwrap();
        list.topic_list
    };
    let all = |names: &mut Remoting| {
        list(names.call(RequestCode::GetAllTopicListFromNameserver, |_| {}, Bytes::new()))
    };
    let of = |names: &mut Remoting, cluster: &'static str| {
        let asked = GetTopicsByClusterRequest { cluster };
        names.call(RequestCode::GetTopicsByCluster, |fields| asked.write(fields), Bytes::new())
    };
    assert_eq!(all(&mut names), ["bills", "mail", "orders"]);
    assert_eq!(list(of(&mut names, "DefaultCluster")), ["bills", "orders"]);
    assert_eq!(list(of(&mut names, "Elsewhere")), ["bills", "mail"]);
    of(&mut names, "Nowhere").expect(ResponseCode::SystemError);

    let delete = |names: &mut Remoting, topic: &'static str, cluster_name| {
        let asked = DeleteTopicFromNamesrvRequest { topic, cluster_name };
        let code = RequestCode::DeleteTopicInNamesrv;
        names.call(code, |fields| asked.write(fields), Bytes::new()).expect(ResponseCode::Success);
    };
    delete(&mut names, "bills", Some("DefaultCluster"));
    assert_eq!(brokers(&mut names, "bills"), ["broker-b"]);
    delete(&mut names, "bills", None);
    assert_eq!(brokers(&mut names, "bills"), [""; 0]);
    // This broker's own is there as long as its topic.
    delete(&mut names, "orders", None);
    assert_eq!(brokers(&mut names, "orders"), ["mainstem"]);
    assert_eq!(all(&mut names), ["mail", "orders"]);
    broker.stop();
}

#[test]
fn a_broker_registers_with_other_name_servers() {
    let (data, other_data) = (DataDir::new(), DataDir::new());
    let hub = BrokerProcess::start(data.path(), &["rocketmq.broker_name=hub"]);
    let mut names = Remoting::connect(&hub.namesrv);
    let with = format!("rocketmq.register_with={}; localhost:1", hub.namesrv);
    let settings = [with.as_str(), "rocketmq.broker_name=spoke", "rocketmq.namesrv=off"];
    let spoke = BrokerProcess::start(other_data.path(), &settings);
    spoke.wait_for_error("registered with a name server");
    spoke.wait_for_error("not registered with a name server");
    wait_for_brokers(&mut names, "TBW102", &["hub", "spoke"]);
    // New topics are told at once.
    let mut client = Remoting::connect(&spoke.rocketmq);
    send(&mut client, "orders", "A", "first");
    wait_for_brokers(&mut names, "orders", &["spoke"]);
    spoke.stop();
    assert_eq!(brokers(&mut names, "orders"), [""; 0]);
    hub.stop();
}
