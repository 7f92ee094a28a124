//! Fetch against the kafka-protocol crate, in all versions and both directions.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::fetch_request::{
    FetchPartition as CratePartition, FetchTopic as CrateTopic, ForgottenTopic as CrateForgotten,
    ReplicaState,
};
use kafka_protocol::messages::{
    FetchRequest as CrateRequest, FetchResponse as CrateResponse, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn text() -> impl Strategy<Value = StrBytes> {
    "\\PC{0,12}".prop_map(StrBytes::from_string)
}

prop_compose! {
    fn partition(version: i16)(
        index in any::<i32>(),
        epochs in any::<(i32, i32)>(),
        offsets in any::<(i64, i64)>(),
        max_bytes in any::<i32>(),
        directory in any::<u128>(),
    ) -> CratePartition {
        let mut partition = CratePartition::default()
            .with_partition(index)
            .with_fetch_offset(offsets.0)
            .with_partition_max_bytes(max_bytes);
        if version >= 5 {
            partition.log_start_offset = offsets.1;
        }
        if version >= 9 {
            partition.current_leader_epoch = epochs.0;
        }
        if version >= 12 {
            partition.last_fetched_epoch = epochs.1;
        }
        if version >= 17 {
            partition.replica_directory_id = Uuid::from_u128(directory);
        }
        partition
    }
}

prop_compose! {
    fn topic(version: i16)(
        name in text(),
        id in any::<u128>(),
        partitions in vec(partition(version), 0..4),
    ) -> CrateTopic {
        let topic = CrateTopic::default().with_partitions(partitions);
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_topic(TopicName(name))
        }
    }
}

prop_compose! {
    fn forgotten(version: i16)(
        name in text(),
        id in any::<u128>(),
        partitions in vec(any::<i32>(), 0..4),
    ) -> CrateForgotten {
        let topic = CrateForgotten::default().with_partitions(partitions);
        if version >= 13 {
            topic.with_topic_id(Uuid::from_u128(id))
        } else {
            topic.with_topic(TopicName(name))
        }
    }
}

prop_compose! {
    fn request_of(version: i16)(
        replica in any::<i32>(),
        limits in any::<(i32, i32, i32)>(),
        isolation in 0..=1_i8,
        session in any::<(i32, i32)>(),
        topics in vec(topic(version), 0..4),
        forgotten in vec(forgotten(version), 0..4),
        rack in text(),
        cluster in option::of(text()),
    ) -> CrateRequest {
        let mut request = CrateRequest::default()
            .with_max_wait_ms(limits.0)
            .with_min_bytes(limits.1)
            .with_max_bytes(limits.2)
            .with_isolation_level(isolation)
            .with_topics(topics);
        if version >= 7 {
            request.session_id = session.0;
            request.session_epoch = session.1;
            request.forgotten_topics_data = forgotten;
        }
        if version >= 11 {
            request.rack_id = rack;
        }
        if version >= 12 {
            request.cluster_id = cluster;
            request = request.with_unknown_tagged_field(9, Bytes::from_static(b"later"));
        }
        if version >= 15 {
            request.replica_state = ReplicaState::default().with_replica_id(replica.into());
        } else {
            request.replica_id = replica.into();
        }
        request
    }
}

fn request() -> impl Strategy<Value = (i16, CrateRequest)> {
    (4..=17_i16).prop_flat_map(|version| (Just(version), request_of(version)))
}

fn encoded(version: i16, request: &CrateRequest) -> Vec<u8> {
    let mut body = Vec::new();
    request.encode(&mut body, version).unwrap();
    body
}

prop_compose! {
    fn partition_response()(
        (index, error_code) in any::<(i32, i16)>(),
        offsets in any::<(i64, i64, i64)>(),
        aborted in option::of(vec(any::<(i64, i64)>(), 0..3)),
        preferred_read_replica in any::<i32>(),
        records_bytes in 0..200_usize,
    ) -> FetchPartitionResponse {
        let aborted = aborted.map(|aborted| {
            let transaction =
                |(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset };
            aborted.into_iter().map(transaction).collect()
        });
        FetchPartitionResponse {
            index,
            error_code,
            high_watermark: offsets.0,
            last_stable_offset: offsets.1,
            log_start_offset: offsets.2,
            aborted,
            preferred_read_replica,
            records_bytes,
        }
    }
}

/// The frame as a client gets it: the n-th records are filled with the byte n.
fn spliced(out: &[u8], cuts: &[Cut]) -> Bytes {
    let (mut frame, mut from) = (Vec::new(), 0);
    for (number, cut) in cuts.iter().enumerate() {
        frame.extend_from_slice(&out[from..cut.at]);
        frame.extend(std::iter::repeat_n(number as u8, cut.records_bytes));
        from = cut.at;
    }
    frame.extend_from_slice(&out[from..]);
    frame.into()
}

proptest! {
    #[test]
    fn requests_of_the_crate_are_read((version, theirs) in request()) {
        let body = encoded(version, &theirs);
        let ours = FetchRequest::parse(version, &body).unwrap();
        prop_assert_eq!(ours.max_wait_ms, theirs.max_wait_ms);
        prop_assert_eq!(ours.min_bytes, theirs.min_bytes);
        prop_assert_eq!(ours.max_bytes, theirs.max_bytes);
        prop_assert_eq!(ours.isolation as i8, theirs.isolation_level);
        prop_assert_eq!(ours.session_id, theirs.session_id);
        prop_assert_eq!(ours.session_epoch, theirs.session_epoch);
        prop_assert_eq!(ours.rack_id, &*theirs.rack_id);
        prop_assert_eq!(ours.topics.len(), theirs.topics.len());
        for (ours, theirs) in ours.topics.iter().zip(&theirs.topics) {
            prop_assert_eq!(ours.name, &*theirs.topic.0);
            prop_assert_eq!(&ours.id.0, theirs.topic_id.as_bytes());
            let theirs = theirs.partitions.iter().map(|theirs| FetchPartition {
                index: theirs.partition,
                current_leader_epoch: theirs.current_leader_epoch,
                fetch_offset: theirs.fetch_offset,
                last_fetched_epoch: theirs.last_fetched_epoch,
                log_start_offset: theirs.log_start_offset,
                max_bytes: theirs.partition_max_bytes,
            });
            prop_assert_eq!(&ours.partitions, &theirs.collect::<Vec<_>>());
        }
        prop_assert_eq!(ours.forgotten.len(), theirs.forgotten_topics_data.len());
        for (ours, theirs) in ours.forgotten.iter().zip(&theirs.forgotten_topics_data) {
            prop_assert_eq!(ours.name, &*theirs.topic.0);
            prop_assert_eq!(&ours.id.0, theirs.topic_id.as_bytes());
            prop_assert_eq!(&ours.partitions, &theirs.partitions);
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
        prop_assert!(FetchRequest::parse(version, &body[..at]).is_err());
        body[at] = byte;
        let _ = FetchRequest::parse(version, &body);
    }

    #[test]
    fn any_bytes_are_survived(version in 3..19_i16, body in vec(any::<u8>(), 0..200)) {
        let _ = FetchRequest::parse(version, &body);
    }

    #[test]
    fn the_crate_reads_our_answers(
        version in 4..=17_i16,
        correlation_id in any::<i32>(),
        (throttle_time_ms, error_code, session_id) in any::<(i32, i16, i32)>(),
        topics in vec(("\\PC{0,12}", any::<[u8; 16]>(), vec(partition_response(), 0..4)), 0..4),
    ) {
        let topics = topics.iter().map(|(name, id, partitions)| {
            FetchTopicResponse { name, id: TopicId(*id), partitions: partitions.clone() }
        });
        let topics = topics.collect();
        let ours = FetchResponse { throttle_time_ms, error_code, session_id, topics };
        let mut out = BytesMut::from(&b"earlier"[..]);
        let cuts = ours.encode(correlation_id, version, &mut out).unwrap();
        let mut frame = spliced(&out, &cuts).slice(7..);
        prop_assert_eq!(frame.get_i32() as usize, frame.len());
        let header = ResponseHeader::decode(&mut frame, i16::from(version >= 12)).unwrap();
        prop_assert_eq!(header.correlation_id, correlation_id);
        let theirs = CrateResponse::decode(&mut frame, version).unwrap();
        prop_assert!(frame.is_empty());
        prop_assert_eq!(theirs.throttle_time_ms, throttle_time_ms);
        let expected = if version >= 7 { (error_code, session_id) } else { (0, 0) };
        prop_assert_eq!((theirs.error_code, theirs.session_id), expected);
        prop_assert_eq!(theirs.responses.len(), ours.topics.len());
        let mut number = 0_u8;
        for (ours, theirs) in ours.topics.iter().zip(&theirs.responses) {
            let (name, id) =
                if version >= 13 { ("", ours.id) } else { (ours.name, TopicId::ZERO) };
            prop_assert_eq!(&*theirs.topic.0, name);
            prop_assert_eq!(theirs.topic_id.as_bytes(), &id.0);
            prop_assert_eq!(theirs.partitions.len(), ours.partitions.len());
            for (ours, theirs) in ours.partitions.iter().zip(&theirs.partitions) {
                let records = theirs.records.as_ref().expect("never null");
                prop_assert!(records.iter().all(|&byte| byte == number));
                number += u8::from(ours.records_bytes > 0);
                let aborted = theirs.aborted_transactions.as_ref().map(|aborted| {
                    let transaction = aborted.iter().map(|theirs| AbortedTransaction {
                        producer_id: theirs.producer_id.0,
                        first_offset: theirs.first_offset,
                    });
                    transaction.collect()
                });
                let read = FetchPartitionResponse {
                    index: theirs.partition_index,
                    error_code: theirs.error_code,
                    high_watermark: theirs.high_watermark,
                    last_stable_offset: theirs.last_stable_offset,
                    log_start_offset: theirs.log_start_offset,
                    aborted,
                    preferred_read_replica: theirs.preferred_read_replica.0,
                    records_bytes: records.len(),
                };
                let mut expected = ours.clone();
                if version < 5 {
                    expected.log_start_offset = -1;
                }
                if version < 11 {
                    expected.preferred_read_replica = -1;
                }
                prop_assert_eq!(read, expected);
            }
        }
    }
}

#[test]
fn a_frame_above_two_gibibytes_is_refused() {
    let partition =
        FetchPartitionResponse { records_bytes: 1 << 30, ..FetchPartitionResponse::failed(0, 0) };
    let topics = vec![FetchTopicResponse {
        name: "t",
        id: TopicId::ZERO,
        partitions: vec![partition.clone(), partition],
    }];
    let response = FetchResponse { topics, ..FetchResponse::default() };
    let mut out = BytesMut::new();
    assert!(matches!(response.encode(1, 12, &mut out), Err(WireError::Encode(_))));
    assert!(out.is_empty());
}
