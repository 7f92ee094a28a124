//! What consumers that lag or have gone may take of the broker's memory.

use std::io::Write as _;

use kafka_protocol::messages::{
    FetchRequest, TopicName,
    fetch_request::{FetchPartition, FetchTopic},
};
use mainstem::wire::rocketmq::{
    RequestCode, ResponseCode,
    header::{PullMessageRequest, TopicQueueRequest},
    record::Records,
};

use super::{
    process::{BrokerProcess, DataDir, until, verified},
    remoting::{Remoting, Told},
    retention::{MIB, fill},
    rocketmq::{ask_send, header, pull_header},
    wire::{Wire, frame},
};

/// The last version with topics by name.
const VERSION: i16 = 12;

fn fetch(max_bytes: usize) -> FetchRequest {
    let max_bytes = i32::try_from(max_bytes).unwrap();
    let partition = FetchPartition::default().with_partition_max_bytes(max_bytes);
    let topic = FetchTopic::default().with_topic(TopicName("orders".to_owned().into()));
    FetchRequest::default()
        .with_max_bytes(max_bytes)
        .with_topics(vec![topic.with_partitions(vec![partition])])
}

/// Bytes of the batches that a small fetch is given.
fn fetched(wire: &mut Wire) -> usize {
    let answer = wire.ask(VERSION, &fetch(4 * MIB));
    let partition = &answer.responses[0].partitions[0];
    assert_eq!(partition.error_code, 0);
    partition.records.as_ref().map_or(0, |records| records.len())
}

fn pulled(client: &mut Remoting) -> Told {
    let mut request = client.request(RequestCode::PullMessage);
    let bytes = Some(i32::try_from(4 * MIB).unwrap());
    let asked = PullMessageRequest { max_msg_bytes: bytes, ..pull_header("news", 0, "*", 0) };
    asked.write(&mut request.fields);
    client.ask(&request).expect(ResponseCode::Success)
}

#[test]
fn consumers_that_do_not_read_what_they_asked_for_leave_the_others_their_first_batch() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["cold.answer_bytes=16MiB"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for _ in 0..4 {
        ask_send(&mut client, &header("news", 0, ""), &"x".repeat(MIB))
            .expect(ResponseCode::Success);
    }
    fill(&broker, "orders", 48 * MIB);
    let mut other = Wire::connect(&broker.kafka);
    assert!(fetched(&mut other) > 2 * MIB);
    assert_eq!(pulled(&mut client).number("nextBeginOffset"), 3);

    let mut lazy = Wire::connect(&broker.kafka);
    lazy.stream.write_all(&frame(VERSION, &fetch(32 * MIB))).unwrap();
    // It has its room once the answer begins.
    lazy.stream.peek(&mut [0]).unwrap();
    let one = fetched(&mut other);
    assert!((1..2 * MIB).contains(&one), "{one}");
    let told = pulled(&mut client);
    assert_eq!((told.number("nextBeginOffset"), Records::new(&told.body).count()), (1, 1));

    let answer = lazy.answer().unwrap().expect("it is sent once it is read");
    assert!((15 * MIB..17 * MIB).contains(&answer.len()), "{}", answer.len());
    until("the room is given back", || fetched(&mut other) > 2 * MIB);
    assert_eq!(pulled(&mut client).number("nextBeginOffset"), 3);
    broker.stop();
    verified(data.path());
}

#[test]
fn held_pulls_end_with_their_connection() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    let mut client = Remoting::connect(&broker.rocketmq);
    for queue in 0..2 {
        ask_send(&mut client, &header("news", queue, ""), "x").expect(ResponseCode::Success);
    }
    let round = || {
        let mut client = Remoting::connect(&broker.rocketmq);
        for number in 0..1_000 {
            let mut request = client.request(RequestCode::PullMessage);
            let asked = pull_header("news", 1, "*", 60_000);
            PullMessageRequest { queue_id: number % 2, ..asked }.write(&mut request.fields);
            client.send(&request);
        }
        // What is asked last is answered when all are taken in.
        let mut last = client.request(RequestCode::GetMaxOffset);
        TopicQueueRequest { topic: "news", queue_id: 0 }.write(&mut last.fields);
        client.ask(&last).expect(ResponseCode::Success);
    };
    (0..5).for_each(|_| round());
    let before = broker.resident_bytes();
    (0..50).for_each(|_| round());
    until("they have ended", || broker.resident_bytes() < before + (32 << 20));
    broker.stop();
    verified(data.path());
}
