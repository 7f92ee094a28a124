//! Sends that librdkafka would not make.

use std::io::Write as _;

use bytes::Bytes;
use kafka_protocol::messages::{ApiVersionsRequest, ProduceRequest};
use mainstem::{
    base::checksum::crc32c,
    wire::kafka::{BatchBuilder, Codec},
};
use rdkafka::Offset;
use uuid::Uuid;

use super::{
    client::{offset_at, read_texts},
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

/// A batch whose header does not tell the highest of its records' times.
fn untold(codec: Codec, times: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for time in times {
        builder.record(*time, None, Some(b"v"), &[]);
    }
    let mut batch = builder.codec(codec).build().unwrap().to_vec();
    batch[35..43].copy_from_slice(&(-1_i64).to_be_bytes());
    let sum = crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&sum.to_be_bytes());
    batch.into()
}

#[test]
fn records_are_found_by_their_time_though_their_batch_does_not_tell_it() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["topic.retention_ms=-1"]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, &[]).unwrap();
    let mut wire = Wire::connect(&broker.kafka);
    for batch in [
        untold(Codec::None, &[TIME, TIME + 20, TIME + 10]),
        untold(Codec::Lz4, &[TIME + 30, TIME + 40]),
    ] {
        let answer = wire.ask(9, &produce("orders", batch));
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    let at = |time: i64| offset_at(&broker.kafka, "orders", TIME + time);
    assert_eq!([at(0), at(15), at(35)], [0, 1, 4].map(Offset::Offset));
    assert_eq!(at(41), Offset::End);
    // A record that was deleted is found no more, though its batch is there.
    assert_eq!(admin.delete_records("orders", Offset::Offset(2)), Ok(2));
    assert_eq!([at(5), at(15)], [2, 3].map(Offset::Offset));
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
