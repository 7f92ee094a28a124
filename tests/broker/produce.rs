//! Sends that librdkafka would not make.

use std::io::Write as _;

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use mainstem::{base::checksum::crc32c, wire::kafka::BatchBuilder};
use rdkafka::Offset;
use uuid::Uuid;

use super::{
    client::read_texts,
    process::{BrokerProcess, DataDir},
    topics::Administrator,
    wire::{Wire, frame, produce},
};

const TIME: i64 = 1_700_000_000_000;

/// A batch of one message as an idempotent producer sends it.
fn numbered(producer: i64, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new();
    builder.record(TIME, None, Some(sequence.to_string().as_bytes()), &[]);
    let mut batch = builder.build().unwrap().to_vec();
    batch[43..51].copy_from_slice(&producer.to_be_bytes());
    batch[51..53].copy_from_slice(&0_i16.to_be_bytes());
    batch[53..57].copy_from_slice(&sequence.to_be_bytes());
    let sum = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch.into()
}

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

#[test]
fn a_producer_begins_a_new_partition_with_its_first_batch() {
    const OUT_OF_ORDER: i16 = 45;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let mut wire = Wire::connect(&broker.kafka);
    let mut send = |producer, sequence| {
        let answer = wire.ask(9, &produce("orders", numbered(producer, sequence)));
        answer.responses[0].partition_responses[0].error_code
    };
    // The batch before it is still on its way, since the partition was not there when it first came.
    assert_eq!(send(7, 1), OUT_OF_ORDER);
    assert_eq!(send(7, 0), 0);
    assert_eq!(send(7, 1), 0);
    assert_eq!(read_texts(&broker.kafka, "orders", 2), ["0", "1"]);
    // Whoever was forgotten goes on, even where nothing can be read any more.
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::End), Ok(2));
    assert_eq!(send(8, 17), 0);
    broker.stop();
}
