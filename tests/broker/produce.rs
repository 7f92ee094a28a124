//! Sends that librdkafka would not make.

use std::io::Write as _;

use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use mainstem::wire::kafka::BatchBuilder;
use uuid::Uuid;

use super::{
    client::read_texts,
    process::{BrokerProcess, DataDir},
    topics::Administrator,
    wire::{Wire, frame, produce},
};

const TIME: i64 = 1_700_000_000_000;

/// A send of one message that wants no answer.
fn unanswered(topic: &str, value: &str) -> ProduceRequest {
    let mut builder = BatchBuilder::new();
    builder.record(TIME, None, Some(value.as_bytes()), &[]);
    produce(topic, builder.build().unwrap().to_vec().into()).with_acks(0)
}

#[test]
fn a_refused_send_that_wants_no_answer_closes_its_connection() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let mut wire = Wire::connect(&broker.kafka);
    wire.stream.write_all(&frame(9, &unanswered("orders", "stored"))).unwrap();
    assert_eq!(wire.ask(0, &ApiVersionsRequest::default()).error_code, 0, "it is still served");
    assert_eq!(read_texts(&broker.kafka, "orders", 1), ["stored"]);
    // As it says where it does not know the topic, an answer before that still comes.
    wire.stream.write_all(&frame(0, &ApiVersionsRequest::default())).unwrap();
    wire.stream.write_all(&frame(9, &unanswered("nowhere", "lost"))).unwrap();
    assert!(wire.answer().unwrap().is_some());
    assert_eq!(wire.answer().unwrap(), None, "the connection was not closed");
    let mut by_id = unanswered("", "lost");
    by_id.topic_data[0].topic_id = Uuid::from_u128(1);
    Wire::connect(&broker.kafka).expect_close(&frame(13, &by_id));
    broker.wait_for_error("request 0 version 9: UnknownTopicOrPartition");
    broker.wait_for_error("request 0 version 13: UnknownTopicId");
    broker.stop();
}
