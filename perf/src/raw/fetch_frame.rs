//! Fetch requests and their answers (key 1, version 11: the newest without compact types).

use super::fields::Fields;
use super::produce_frame::{close, put_header};
use super::topics::RawTopics;

/// How a consumer asks.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Bytes an answer waits for.
    pub min_bytes: i32,
    /// How long it waits for them.
    pub max_wait_ms: i32,
    /// Most bytes of an answer.
    pub max_bytes: i32,
    /// Most bytes of each partition in it.
    pub partition_bytes: i32,
}

/// Writes a request without a fetch session into `frame`, for partitions in the given order.
pub fn write(
    frame: &mut Vec<u8>,
    topics: &RawTopics,
    limits: &FetchLimits,
    partitions: impl Iterator<Item = (u32, i64)>,
) {
    frame.clear();
    frame.extend_from_slice(&[0; 4]);
    put_header(frame, 1, 11);
    frame.extend_from_slice(&(-1i32).to_be_bytes()); // a client, not a replica
    frame.extend_from_slice(&limits.max_wait_ms.to_be_bytes());
    frame.extend_from_slice(&limits.min_bytes.to_be_bytes());
    frame.extend_from_slice(&limits.max_bytes.to_be_bytes());
    frame.push(0); // isolation: uncommitted
    frame.extend_from_slice(&[0; 4]); // session
    frame.extend_from_slice(&(-1i32).to_be_bytes()); // session epoch: none
    let topics_at = frame.len();
    frame.extend_from_slice(&[0; 4]);
    let (mut topic_count, mut open) = (0u32, None);
    for (place, offset) in partitions {
        let (topic, partition) = topics.place(place);
        // Partitions of one topic that follow each other share its entry.
        let (count_at, count) = match open {
            Some((same, count_at, count)) if same == topic => (count_at, count + 1),
            _ => {
                topic_count += 1;
                topics.put_name(topic, frame);
                frame.extend_from_slice(&[0; 4]);
                (frame.len() - 4, 1u32)
            }
        };
        open = Some((topic, count_at, count));
        frame[count_at..count_at + 4].copy_from_slice(&count.to_be_bytes());
        frame.extend_from_slice(&partition.to_be_bytes());
        frame.extend_from_slice(&(-1i32).to_be_bytes()); // leader epoch: unknown
        frame.extend_from_slice(&offset.to_be_bytes());
        frame.extend_from_slice(&0i64.to_be_bytes()); // log start: for replicas
        frame.extend_from_slice(&limits.partition_bytes.to_be_bytes());
    }
    frame[topics_at..topics_at + 4].copy_from_slice(&topic_count.to_be_bytes());
    frame.extend_from_slice(&[0; 4]); // nothing forgotten
    frame.extend_from_slice(&[0; 2]); // no rack
    close(frame);
}

/// What an answer has of one partition.
#[derive(Debug, PartialEq, Eq)]
pub struct FetchedPartition<'a> {
    /// The topic.
    pub topic: &'a [u8],
    /// The partition.
    pub partition: i32,
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// Record batches, the last of them perhaps cut off.
    pub records: &'a [u8],
}

/// Shows each partition of an answer, from its correlation id on. Returns the answer's own error
/// code, or `None` if it ends early.
pub fn walk_answer(answer: &[u8], mut each: impl FnMut(FetchedPartition<'_>)) -> Option<i16> {
    let mut fields = Fields(answer);
    fields.take(8)?; // correlation, throttle
    let error_code = fields.i16()?;
    fields.i32()?;
    for _ in 0..fields.i32()? {
        let topic = fields.text()?;
        for _ in 0..fields.i32()? {
            let (partition, error) = (fields.i32()?, fields.i16()?);
            fields.take(24)?; // high watermark, last stable offset, log start
            let aborted = usize::try_from(fields.i32()?).unwrap_or(0);
            fields.take(aborted.checked_mul(16)?)?;
            fields.i32()?; // preferred replica
            let records = fields.bytes()?;
            each(FetchedPartition { topic, partition, error, records });
        }
    }
    Some(error_code)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
    use kafka_protocol::messages::{FetchRequest, FetchResponse, RequestHeader, TopicName};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

    #[test]
    fn a_request_is_what_kafka_reads() {
        let topics = RawTopics::new("t", 3, 2);
        let limits =
            FetchLimits { min_bytes: 1, max_wait_ms: 500, max_bytes: 1 << 20, partition_bytes: 9 };
        let mut frame = Vec::new();
        // Places count through the topics first: 1 and 4 are topic 1's partitions.
        let asked = [(1, 10), (4, 11), (2, 12)];
        write(&mut frame, &topics, &limits, asked.into_iter());
        let mut bytes = Bytes::from(frame);
        assert_eq!(Fields(&bytes.split_to(4)).i32(), Some(bytes.len() as i32));
        RequestHeader::decode(&mut bytes, 1).unwrap();
        let request = FetchRequest::decode(&mut bytes, 11).unwrap();
        assert!(bytes.is_empty());
        assert_eq!((request.max_wait_ms, request.min_bytes), (500, 1));
        assert_eq!((request.max_bytes, request.session_epoch), (1 << 20, -1));
        let seen: Vec<_> = request
            .topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |p| (topic.topic.0.as_str(), p)))
            .map(|(name, p)| (name, p.partition, p.fetch_offset, p.partition_max_bytes))
            .collect();
        assert_eq!(seen, [("t-0001", 0, 10, 9), ("t-0001", 1, 11, 9), ("t-0002", 0, 12, 9)]);
        assert_eq!(request.topics.len(), 2);
    }

    #[test]
    fn an_answer_of_kafkas_is_read() {
        let partition = PartitionData::default()
            .with_partition_index(5)
            .with_error_code(1)
            .with_records(Some(Bytes::from_static(b"records")));
        let topic = FetchableTopicResponse::default()
            .with_topic(TopicName(StrBytes::from_static_str("t")))
            .with_partitions(vec![partition.clone(), partition.with_partition_index(6)]);
        let response = FetchResponse::default().with_error_code(7).with_responses(vec![topic]);
        let mut bytes = BytesMut::from(&[0, 0, 0, 9][..]);
        response.encode(&mut bytes, 11).unwrap();
        let mut seen = Vec::new();
        let error = walk_answer(&bytes, |p| seen.push((p.partition, p.error, p.records.to_vec())));
        assert_eq!(error, Some(7));
        assert_eq!(seen, [(5, 1, b"records".to_vec()), (6, 1, b"records".to_vec())]);
        assert_eq!(walk_answer(&bytes[..30], |_| ()), None);
    }
}
