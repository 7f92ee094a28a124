//! Prepared produce requests (key 0, version 7: the newest without compact types but one).

use super::fields::Fields;
use super::record_batch::{BatchPatch, PreparedBatch};
use super::stamp::Stamp;
use super::topics::RawTopics;

const CORRELATION_AT: usize = 8;
const TIMEOUT_MS: i32 = 30_000;
/// Names the generator in every request.
pub const CLIENT_ID: &[u8] = b"mainstem-perf-raw";

/// A request that holds one batch for each of its slots, a slot being one partition of one topic.
pub struct ProduceFrame {
    /// The frame as it goes over the wire.
    pub bytes: Vec<u8>,
    /// Where each slot's topic name begins.
    slots: Vec<usize>,
    name_bytes: usize,
    batch_bytes: usize,
    patch: BatchPatch,
}

impl ProduceFrame {
    /// A frame of so many slots.
    pub fn new(topics: &RawTopics, batch: &PreparedBatch, slots: usize, acks: i16) -> Self {
        let mut bytes = vec![0; 4];
        put_header(&mut bytes, 0, 7);
        bytes.extend_from_slice(&(-1i16).to_be_bytes()); // no transaction
        bytes.extend_from_slice(&acks.to_be_bytes());
        bytes.extend_from_slice(&TIMEOUT_MS.to_be_bytes());
        bytes.extend_from_slice(&(slots as u32).to_be_bytes());
        let name = topics.name(0);
        let places = (0..slots).map(|_| {
            bytes.extend_from_slice(&(name.len() as u16).to_be_bytes());
            let name_at = bytes.len();
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend_from_slice(&1u32.to_be_bytes()); // one partition
            bytes.extend_from_slice(&0u32.to_be_bytes());
            bytes.extend_from_slice(&(batch.bytes.len() as u32).to_be_bytes());
            bytes.extend_from_slice(&batch.bytes);
            name_at
        });
        let slots = places.collect();
        close(&mut bytes);
        let (name_bytes, batch_bytes) = (name.len(), batch.bytes.len());
        Self { bytes, slots, name_bytes, batch_bytes, patch: batch.patch.clone() }
    }

    /// How many slots it has.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Sets the number that the answer will carry.
    pub fn set_correlation(&mut self, correlation: u32) {
        self.bytes[CORRELATION_AT..][..4].copy_from_slice(&correlation.to_be_bytes());
    }

    /// Makes a slot the next batch of a partition.
    pub fn set_slot(
        &mut self,
        slot: usize,
        topics: &RawTopics,
        partition: u32,
        stamp: &Stamp,
        now_ms: u64,
    ) {
        let (topic, partition) = topics.place(partition);
        let (name, rest) = self.bytes[self.slots[slot]..].split_at_mut(self.name_bytes);
        topics.write_number(topic, name);
        rest[4..8].copy_from_slice(&partition.to_be_bytes());
        self.patch.apply(&mut rest[12..12 + self.batch_bytes], stamp, now_ms);
    }
}

/// Begins a request: key, version, a correlation id that is set later, the client's id.
pub fn put_header(bytes: &mut Vec<u8>, key: i16, version: i16) {
    bytes.extend_from_slice(&key.to_be_bytes());
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(CLIENT_ID.len() as u16).to_be_bytes());
    bytes.extend_from_slice(CLIENT_ID);
}

/// Writes a finished frame's length before it.
pub fn close(bytes: &mut [u8]) {
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
}

/// What the broker says of one batch.
#[derive(Debug, PartialEq, Eq)]
pub struct Acknowledgement<'a> {
    /// The topic.
    pub topic: &'a [u8],
    /// The partition.
    pub partition: i32,
    /// Kafka's error code, 0 for none.
    pub error: i16,
    /// The offset of the batch's first record.
    pub base_offset: i64,
}

/// Shows each batch's outcome in an answer, from its correlation id on. `None` if the answer ends early.
pub fn walk_answer(answer: &[u8], mut each: impl FnMut(Acknowledgement<'_>)) -> Option<()> {
    let mut fields = Fields(answer);
    fields.i32()?;
    for _ in 0..fields.i32()? {
        let topic = fields.text()?;
        for _ in 0..fields.i32()? {
            let (partition, error) = (fields.i32()?, fields.i16()?);
            let base_offset = fields.i64()?;
            fields.take(16)?; // append time, log start
            each(Acknowledgement { topic, partition, error, base_offset });
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::produce_response::{
        PartitionProduceResponse, TopicProduceResponse,
    };
    use kafka_protocol::messages::{ProduceRequest, ProduceResponse, RequestHeader, TopicName};
    use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
    use kafka_protocol::records::RecordBatchDecoder;

    #[test]
    fn a_patched_frame_is_what_kafka_reads() {
        let topics = RawTopics::new("wide", 1_000, 4);
        let batch = PreparedBatch::of(10, 100, None);
        let mut frame = ProduceFrame::new(&topics, &batch, 2, -1);
        frame.set_correlation(99);
        let stamp = |stream| Stamp { stream, run: 1, sequence: 20, intended_ns: 5 };
        frame.set_slot(0, &topics, 2_042, &stamp(2_042), 1_000);
        frame.set_slot(1, &topics, 7, &stamp(7), 1_000);

        let mut bytes = Bytes::from(frame.bytes);
        assert_eq!(Fields(&bytes.split_to(4)).i32(), Some(bytes.len() as i32));
        let header = RequestHeader::decode(&mut bytes, 1).unwrap();
        assert_eq!((header.request_api_key, header.request_api_version), (0, 7));
        assert_eq!(header.correlation_id, 99);
        let request = ProduceRequest::decode(&mut bytes, 7).unwrap();
        assert!(bytes.is_empty());
        assert_eq!(request.acks, -1);
        let expected = [("wide-0042", 2, 2_042), ("wide-0007", 0, 7)];
        assert_eq!(request.topic_data.len(), 2);
        for (topic, (name, partition, stream)) in request.topic_data.iter().zip(expected) {
            assert_eq!(topic.name.0.as_str(), name);
            let data = &topic.partition_data[0];
            assert_eq!(data.index, partition);
            let mut records = data.records.clone().unwrap();
            let decoded = RecordBatchDecoder::decode(&mut records).unwrap().records;
            assert_eq!(decoded.len(), 10);
            let value = decoded[0].value.as_ref().unwrap();
            assert_eq!(Stamp::read(value), Some(stamp(stream)));
        }
    }

    #[test]
    fn an_answer_of_kafkas_is_read() {
        let partition = PartitionProduceResponse::default()
            .with_index(3)
            .with_error_code(6)
            .with_base_offset(1 << 40);
        let topic = TopicProduceResponse::default()
            .with_name(TopicName(StrBytes::from_static_str("t")))
            .with_partition_responses(vec![partition.clone(), partition.with_index(4)]);
        let response = ProduceResponse::default().with_responses(vec![topic]);
        let mut bytes = BytesMut::from(&[0, 0, 0, 9][..]);
        response.encode(&mut bytes, 7).unwrap();
        let mut seen = Vec::new();
        walk_answer(&bytes, |ack| seen.push((ack.topic.to_vec(), ack.partition, ack.error)));
        assert_eq!(seen, [(b"t".to_vec(), 3, 6), (b"t".to_vec(), 4, 6)]);
        assert_eq!(walk_answer(&bytes[..20], |_| ()), None);
    }
}
