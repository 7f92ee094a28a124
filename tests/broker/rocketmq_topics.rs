//! What RocketMQ's clients may send, and where it goes: large messages, topics of their own, replies.

use bytes::{Bytes, BytesMut};
use mainstem::wire::rocketmq::{
    OffsetMessageId, RemotingCommand, RequestCode, ResponseCode,
    body::{HeartbeatData, to_json},
    header::SendMessageRequestV2,
};

use super::{
    process::{BrokerProcess, DataDir},
    remoting::{Remoting, Told},
    rocketmq::{ask_send, bodies, header, properties, pull_header, send},
};

#[test]
fn topics_of_theirs_take_messages_of_four_mebibytes() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.auto_create_topics=true"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let largest = "x".repeat(4 << 20);
    ask_send(&mut client, &header("orders", 0, ""), &largest).expect(ResponseCode::Success);
    let larger = "x".repeat((4 << 20) + 1);
    ask_send(&mut client, &header("orders", 0, ""), &larger).expect(ResponseCode::MessageIllegal);
    let mut request = client.request(RequestCode::PullMessage);
    pull_header("orders", 0, "*", 0).write(&mut request.fields);
    assert_eq!(bodies(&client.ask(&request)), [largest]);
    broker.stop();
}

#[test]
fn traces_have_their_topic_and_names_may_have_a_namespace() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.auto_create_topics=false"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(send(&mut client, "RMQ_SYS_TRACE_TOPIC", "A", "trace"), 0);
    let second = ask_send(&mut client, &header("RMQ_SYS_TRACE_TOPIC", 1, ""), "trace");
    second.expect(ResponseCode::InvalidParameter);
    ask_send(&mut client, &header("orders", 0, ""), "").expect(ResponseCode::TopicNotExist);
    broker.stop();

    let broker = BrokerProcess::start(data.path(), &[]);
    let mut client = Remoting::connect(&broker.rocketmq);
    assert_eq!(send(&mut client, "space%orders", "A", "one"), 0);
    // The newer kind of namespaces is beside the header, and nothing to the broker.
    let mut request: RemotingCommand<'_> = client.request(RequestCode::SendMessageV2);
    header("space%orders", 0, "").write(&mut request.fields);
    request.fields.push("nsd", "true");
    request.fields.push("ns", "space");
    request.body = "two".into();
    client.ask(&request).expect(ResponseCode::Success);
    broker.stop();
}

fn introduce(client: &mut Remoting, id: &str) {
    let heartbeat = HeartbeatData { client_id: id.to_owned(), ..HeartbeatData::default() };
    let body = to_json(&heartbeat).unwrap();
    client.call(RequestCode::HeartBeat, |_| {}, body).expect(ResponseCode::Success);
}

/// Sends a reply without waiting for what becomes of it.
fn reply(client: &mut Remoting, to: &str) {
    let properties = properties(&[("REPLY_TO_CLIENT", to), ("CORRELATION_ID", "7")]);
    let mut request = client.request(RequestCode::SendReplyMessageV2);
    let header: SendMessageRequestV2<'_> = header("DefaultCluster_REPLY_TOPIC", 0, &properties);
    header.write(&mut request.fields);
    request.body = Bytes::from_static(b"answer");
    client.send(&request);
}

/// Answers what the broker asked.
fn confirm(client: &mut Remoting, asked: &Told, code: ResponseCode) {
    let mut request = client.request(RequestCode::PushReplyMessageToClient);
    request.opaque = asked.opaque;
    let answer = RemotingCommand::answer(&request, code);
    let mut bytes = BytesMut::new();
    answer.encode(&mut bytes).unwrap();
    std::io::Write::write_all(&mut client.stream, &bytes).unwrap();
}

#[test]
fn a_reply_goes_to_who_asked() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2", "shards.pin=false"]);
    let mut asking = Remoting::connect(&broker.rocketmq);
    introduce(&mut asking, "asking");
    let mut replying = Remoting::connect(&broker.rocketmq);
    for (code, result) in [
        (ResponseCode::Success, ResponseCode::Success),
        (ResponseCode::SystemError, ResponseCode::SystemError),
    ] {
        reply(&mut replying, "asking");
        let told = asking.next().unwrap();
        assert_eq!(told.code, RequestCode::PushReplyMessageToClient.number());
        assert!(told.field("properties").contains("PUSH_REPLY_TIME"), "{told:?}");
        assert_eq!(&told.body[..], b"answer");
        confirm(&mut asking, &told, code);
        replying.next().unwrap().expect(result);
    }
    // Both ends may be one client's.
    introduce(&mut replying, "both");
    reply(&mut replying, "both");
    let told = replying.next().unwrap();
    confirm(&mut replying, &told, ResponseCode::Success);
    replying.next().unwrap().expect(ResponseCode::Success);

    reply(&mut replying, "stranger");
    let refused = replying.next().unwrap().expect(ResponseCode::SystemError);
    assert!(refused.remark.contains("<stranger> not found"), "{}", refused.remark);
    // It says nothing, and goes.
    reply(&mut replying, "asking");
    asking.next().unwrap();
    drop(asking);
    replying.next().unwrap().expect(ResponseCode::SystemError);
    broker.stop();
}

#[test]
fn the_advertised_host_is_looked_up_at_start() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["rocketmq.advertised=localhost:4711"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    let told =
        ask_send(&mut client, &header("orders", 0, ""), "body").expect(ResponseCode::Success);
    let id = OffsetMessageId::parse(told.field("msgId")).unwrap();
    assert_eq!(id.host.to_string(), "127.0.0.1:4711");
    broker.stop();
    let nowhere = BrokerProcess::try_start(data.path(), &["rocketmq.advertised=no-host.invalid"]);
    let Err(ended) = nowhere else { panic!("it started") };
    assert!(ended.errors.contains("rocketmq.advertised: cannot find"), "{}", ended.errors);
}
