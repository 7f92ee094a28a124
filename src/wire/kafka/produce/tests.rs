//! Produce against the kafka-protocol crate, in all versions and both directions.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    ProduceRequest as CrateRequest, ProduceResponse as CrateResponse, ResponseHeader, TopicName,
    TransactionalId,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..80).prop_map(Bytes::from)
}

fn text() -> impl Strategy<Value = StrBytes> {
    "\\PC{0,12}".prop_map(StrBytes::from_string)
}

prop_compose! {
    fn topic(version: i16)(
        name in text(),
        id in any::<u128>(),
        partitions in vec((any::<i32>(), option::of(bytes()), option::of(bytes())), 0..4),
    ) -> TopicProduceData {
        let partitions = partitions.into_iter().map(|(index, records, tag)| {
            let partition =
                PartitionProduceData::default().with_index(index).with_records(records);
            match tag {
                Some(tag) if version >= 9 => partition.with_unknown_tagged_field(7, tag),
                _ => partition,
            }
        });
        let topic = TopicProduceData::default().with_partition_data(partitions.collect());
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_name(TopicName(name))
        }
    }
}

fn request() -> impl Strategy<Value = (i16, CrateRequest)> {
    (3..=13_i16).prop_flat_map(|version| {
        let fields = (option::of(text()), any::<i16>(), any::<i32>(), vec(topic(version), 0..4));
        fields.prop_map(move |(transactional_id, acks, timeout_ms, topics)| {
            let request = CrateRequest::default()
                .with_transactional_id(transactional_id.map(TransactionalId))
                .with_acks(acks)
                .with_timeout_ms(timeout_ms)
                .with_topic_data(topics);
            (version, request)
        })
    })
}

fn encoded(version: i16, request: &CrateRequest) -> Vec<u8> {
    let mut body = Vec::new();
    request.encode(&mut body, version).unwrap();
    body
}

prop_compose! {
    fn partition_response()(
        index in any::<i32>(),
        error_code in any::<i16>(),
        base_offset in any::<i64>(),
        log_append_time_ms in any::<i64>(),
        log_start_offset in any::<i64>(),
        message in option::of(Just("what went wrong")),
        failed_record in option::of(any::<i32>()),
    ) -> ProducePartitionResponse<'static> {
        ProducePartitionResponse {
            index,
            error_code,
            base_offset,
            log_append_time_ms,
            log_start_offset,
            error_message: message,
            failed_record,
        }
    }
}

proptest! {
    #[test]
    fn requests_of_the_crate_are_read((version, theirs) in request(), trailing in bytes()) {
        let mut body = encoded(version, &theirs);
        body.extend_from_slice(&trailing);
        let ours = ProduceRequest::parse(version, &body).unwrap();
        prop_assert_eq!(ours.transactional_id, theirs.transactional_id.as_ref().map(|id| &*id.0));
        prop_assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
        prop_assert_eq!(ours.topics.len(), theirs.topic_data.len());
        for (ours, theirs) in ours.topics.iter().zip(&theirs.topic_data) {
            prop_assert_eq!(ours.name, &*theirs.name.0);
            prop_assert_eq!(&ours.id.0, theirs.topic_id.as_bytes());
            prop_assert_eq!(ours.partitions.len(), theirs.partition_data.len());
            for (ours, theirs) in ours.partitions.iter().zip(&theirs.partition_data) {
                prop_assert_eq!(ours.index, theirs.index);
                prop_assert_eq!(ours.records, theirs.records.as_deref());
            }
        }
    }

    #[test]
    fn broken_requests_are_survived(
        (version, theirs) in request(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = encoded(version, &theirs);
        let at = at.index(body.len());
        prop_assert!(ProduceRequest::parse(version, &body[..at]).is_err());
        body[at] = byte;
        let _ = ProduceRequest::parse(version, &body);
    }

    #[test]
    fn any_bytes_are_survived(version in 0..15_i16, body in vec(any::<u8>(), 0..200)) {
        let _ = ProduceRequest::parse(version, &body);
    }

    #[test]
    fn the_crate_reads_our_answers(
        version in 3..=13_i16,
        correlation_id in any::<i32>(),
        throttle_time_ms in any::<i32>(),
        topics in vec(("\\PC{0,12}", any::<[u8; 16]>(), vec(partition_response(), 0..4)), 0..4),
    ) {
        let topics = topics.iter().map(|(name, id, partitions)| {
            ProduceTopicResponse { name, id: TopicId(*id), partitions: partitions.clone() }
        });
        let ours = ProduceResponse { throttle_time_ms, topics: topics.collect() };
        let mut out = BytesMut::from(&b"earlier"[..]);
        ours.encode(correlation_id, version, &mut out).unwrap();
        let mut frame = out.split_off(7).freeze();
        prop_assert_eq!(&out[..], b"earlier");
        prop_assert_eq!(frame.get_i32() as usize, frame.len());
        let header = ResponseHeader::decode(&mut frame, i16::from(version >= 9)).unwrap();
        prop_assert_eq!(header.correlation_id, correlation_id);
        let theirs = CrateResponse::decode(&mut frame, version).unwrap();
        prop_assert!(frame.is_empty());
        prop_assert_eq!(theirs.throttle_time_ms, throttle_time_ms);
        prop_assert_eq!(theirs.responses.len(), ours.topics.len());
        for (ours, theirs) in ours.topics.iter().zip(&theirs.responses) {
            let (name, id) =
                if version >= 13 { ("", ours.id) } else { (ours.name, TopicId::ZERO) };
            prop_assert_eq!(&*theirs.name.0, name);
            prop_assert_eq!(theirs.topic_id.as_bytes(), &id.0);
            prop_assert_eq!(theirs.partition_responses.len(), ours.partitions.len());
            for (ours, theirs) in ours.partitions.iter().zip(&theirs.partition_responses) {
                let log_start_offset = if version >= 5 { ours.log_start_offset } else { -1 };
                let read = ProducePartitionResponse {
                    index: theirs.index,
                    error_code: theirs.error_code,
                    base_offset: theirs.base_offset,
                    log_append_time_ms: theirs.log_append_time_ms,
                    log_start_offset: theirs.log_start_offset,
                    error_message: theirs.error_message.as_deref(),
                    failed_record: theirs.record_errors.first().map(|record| record.batch_index),
                };
                let error_message = ours.error_message.filter(|_| version >= 8);
                let failed_record = ours.failed_record.filter(|_| version >= 8);
                for record in &theirs.record_errors {
                    prop_assert_eq!(record.batch_index_error_message.as_deref(), error_message);
                }
                prop_assert_eq!(
                    read,
                    ProducePartitionResponse {
                        log_start_offset,
                        error_message,
                        failed_record,
                        ..*ours
                    }
                );
            }
        }
    }
}

#[test]
fn old_versions_are_refused() {
    for version in [-1, 0, 2, 14] {
        let refused = WireError::UnsupportedVersion { key: 0, version };
        assert_eq!(ProduceRequest::parse(version, &[0; 64]), Err(refused.clone()));
        let response = ProduceResponse::default();
        assert_eq!(response.encode(1, version, &mut BytesMut::new()), Err(refused));
    }
}

#[test]
fn absurd_counts_are_refused_before_they_are_allocated() {
    // No transactional id, acks, timeout, 2^31-1 topics.
    let body = [0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0];
    let refused = WireError::Count { count: i32::MAX as usize, each: 6, left: 2 };
    assert_eq!(ProduceRequest::parse(3, &body), Err(refused));
}
