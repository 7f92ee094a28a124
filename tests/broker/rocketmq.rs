//! RocketMQ's clients, by raw frames: its name server and its broker.

use std::{io::Write as _, net::TcpListener};

use bytes::Bytes;
use mainstem::wire::rocketmq::{
    RequestCode, ResponseCode,
    body::{TopicRouteData, from_json},
    header::GetRouteInfoRequest,
};

use super::{
    process::{BrokerProcess, DataDir},
    remoting::{Remoting, Told},
    topics::Administrator,
};

fn route(names: &mut Remoting, topic: &'static str) -> Told {
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

#[test]
fn a_taken_vip_port_is_only_a_warning() {
    let data = DataDir::new();
    let vip = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = vip.local_addr().unwrap().port() + 2;
    let listen = format!("rocketmq.listen=127.0.0.1:{port}");
    // Somebody else may have that one.
    let Ok(broker) = BrokerProcess::try_start(data.path(), &[&listen]) else { return };
    assert!(broker.errors().contains("no VIP channel"), "{}", broker.errors());
    broker.stop();
}
