//! A record batch that is built once and then only patched, and the way back from one.

use super::fields::Fields;
use super::stamp::{STAMP_BYTES, Stamp};
use crate::payload::{Header, PayloadSource};
use crc_fast::CrcAlgorithm::Crc32Iscsi;

/// Bytes of a batch before its records.
const HEADER_BYTES: usize = 61;
const LENGTH_FROM: usize = 12;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const BASE_TIMESTAMP_AT: usize = 27;
const BASE_SEQUENCE_AT: usize = 53;
const COUNT_AT: usize = 57;

/// An idempotent producer's identity, by which the broker finds batches sent twice.
#[derive(Clone, Copy, Debug)]
pub struct ProducerId {
    /// The id that the broker gave.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
}

/// A batch of equal records, all of it written but for what differs from one sending to the next:
/// the first record's stamp, the timestamps, an idempotent producer's sequence number.
pub struct PreparedBatch {
    /// The batch as it goes over the wire.
    pub bytes: Vec<u8>,
    /// Its number of records.
    pub records: u64,
    /// How to make the next one of it.
    pub patch: BatchPatch,
}

/// Makes a prepared batch's bytes the next batch. Only the beginning changes, so only that is summed
/// again: moved past the rest, which is a linear map of 32 bits, and joined with the rest's own sum.
#[derive(Clone)]
pub struct BatchPatch {
    stamp_at: usize,
    tail_crc: u32,
    /// What each bit of the head's sum becomes behind the tail.
    past_tail: [u32; 32],
    idempotent: bool,
}

impl PreparedBatch {
    /// As many records of `record_bytes` as fit into a batch of `batch_bytes`, and at least one.
    pub fn filling(batch_bytes: usize, record_bytes: usize, id: Option<ProducerId>) -> Self {
        // The length of a record's frame grows with its number, so the last ones decide.
        let mut frames = HEADER_BYTES;
        let fitting = (0i64..).take_while(|&delta| {
            frames += record_frame(delta, record_bytes).1;
            frames <= batch_bytes
        });
        Self::of(fitting.count().max(1), record_bytes, id)
    }

    /// A batch of so many records of `record_bytes`, which are at least [`STAMP_BYTES`].
    pub fn of(records: usize, record_bytes: usize, id: Option<ProducerId>) -> Self {
        let mut source = PayloadSource::new(record_bytes, 0x6d61_696e);
        let unstamped = Header { run: 0, sequence: 0, total: 0, intended_ns: 0 };
        let mut bytes = vec![0; HEADER_BYTES];
        let mut stamp_at = 0;
        for delta in 0..records as i64 {
            bytes.extend_from_slice(&record_frame(delta, record_bytes).0);
            if delta == 0 {
                stamp_at = bytes.len();
            }
            bytes.extend_from_slice(source.next(&unstamped));
            bytes.push(0); // no headers
        }
        let length = (bytes.len() - LENGTH_FROM) as u32;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[12..16].copy_from_slice(&(-1i32).to_be_bytes());
        bytes[16] = 2;
        let last = records as u32 - 1;
        bytes[LAST_OFFSET_DELTA_AT..][..4].copy_from_slice(&last.to_be_bytes());
        let ProducerId { id: number, epoch } = id.unwrap_or(ProducerId { id: -1, epoch: -1 });
        bytes[43..51].copy_from_slice(&number.to_be_bytes());
        bytes[51..53].copy_from_slice(&epoch.to_be_bytes());
        bytes[BASE_SEQUENCE_AT..][..4].copy_from_slice(&(-1i32).to_be_bytes());
        bytes[COUNT_AT..][..4].copy_from_slice(&(records as u32).to_be_bytes());
        let patch = BatchPatch::new(&bytes, stamp_at, id.is_some());
        Self { bytes, records: records as u64, patch }
    }
}

impl BatchPatch {
    fn new(batch: &[u8], stamp_at: usize, idempotent: bool) -> Self {
        let tail = &batch[stamp_at + STAMP_BYTES..];
        let past_tail = std::array::from_fn(|bit| {
            crc_fast::checksum_combine(Crc32Iscsi, 1 << bit, 0, tail.len() as u64) as u32
        });
        Self { stamp_at, tail_crc: crc_fast::crc32_iscsi(tail), past_tail, idempotent }
    }

    /// Writes a stamp and the time into the batch, and sets its CRC-32C.
    pub fn apply(&self, batch: &mut [u8], stamp: &Stamp, now_ms: u64) {
        for at in [BASE_TIMESTAMP_AT, BASE_TIMESTAMP_AT + 8] {
            batch[at..at + 8].copy_from_slice(&now_ms.to_be_bytes());
        }
        if self.idempotent {
            // A producer's numbers begin again at 0 after 2^31 - 1.
            let sequence = (stamp.sequence & 0x7fff_ffff) as u32;
            batch[BASE_SEQUENCE_AT..][..4].copy_from_slice(&sequence.to_be_bytes());
        }
        stamp.write(&mut batch[self.stamp_at..]);
        let head = crc_fast::crc32_iscsi(&batch[CRC_FROM..self.stamp_at + STAMP_BYTES]);
        let moved = self.past_tail.iter().enumerate();
        let moved = moved.fold(0, |sum, (bit, column)| sum ^ (column * (head >> bit & 1)));
        batch[CRC_AT..][..4].copy_from_slice(&(moved ^ self.tail_crc).to_be_bytes());
    }
}

/// The bytes before a record's value, and the record's size with its value and no headers.
fn record_frame(delta: i64, value_bytes: usize) -> (Vec<u8>, usize) {
    let mut body = vec![0, 0]; // attributes, timestamp delta
    put_varint(&mut body, delta);
    put_varint(&mut body, -1); // no key
    put_varint(&mut body, value_bytes as i64);
    let mut frame = Vec::with_capacity(16);
    put_varint(&mut frame, (body.len() + value_bytes + 1) as i64);
    frame.extend_from_slice(&body);
    let size = frame.len() + value_bytes + 1;
    (frame, size)
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut left = (value << 1 ^ value >> 63) as u64;
    while left >= 0x80 {
        out.push(left as u8 | 0x80);
        left >>= 7;
    }
    out.push(left as u8);
}

/// What the receiving side looks at in a batch.
#[derive(Debug, PartialEq, Eq)]
pub struct SeenBatch {
    /// The offset after its last record.
    pub next_offset: i64,
    /// Its number of records.
    pub records: u64,
    /// The bytes of its first record's value.
    pub record_bytes: usize,
    /// The first record's stamp; none if the generator did not write the batch.
    pub stamp: Option<Stamp>,
}

/// Looks at each whole batch of a fetched partition. What a batch holds beyond its first record is
/// not read: the count and the first number stand for all of them.
pub fn walk(mut records: &[u8], mut each: impl FnMut(&SeenBatch)) {
    loop {
        let mut header = Fields(records);
        let (Some(base_offset), Some(length)) = (header.i64(), header.i32()) else { return };
        let size = LENGTH_FROM + usize::try_from(length).unwrap_or(0);
        // The last batch may be cut off by the fetch's limit.
        if size < HEADER_BYTES || size > records.len() {
            return;
        }
        let (batch, rest) = records.split_at(size);
        if let Some(seen) = seen(base_offset, batch) {
            each(&seen);
        }
        records = rest;
    }
}

fn seen(base_offset: i64, batch: &[u8]) -> Option<SeenBatch> {
    let last_offset_delta = Fields(batch.get(LAST_OFFSET_DELTA_AT..)?).i32()?;
    let records = u64::try_from(Fields(batch.get(COUNT_AT..)?).i32()?).ok()?;
    // A compressed batch is not the generator's.
    let value = (batch[CRC_FROM + 1] & 0b111 == 0).then(|| first_value(batch)).flatten();
    Some(SeenBatch {
        next_offset: base_offset + i64::from(last_offset_delta) + 1,
        records,
        record_bytes: value.map_or(0, <[u8]>::len),
        stamp: value.and_then(Stamp::read),
    })
}

fn first_value(batch: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields(batch.get(HEADER_BYTES..)?);
    fields.varint()?;
    fields.take(1)?;
    fields.varint()?;
    fields.varint()?;
    let key = fields.varint()?;
    fields.take(usize::try_from(key).unwrap_or(0))?;
    let length = fields.varint()?;
    fields.take(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use kafka_protocol::records::RecordBatchDecoder;

    fn stamp(sequence: u64) -> Stamp {
        Stamp { stream: 3, run: 0x1234_5678_9abc_def0, sequence, intended_ns: 77 }
    }

    fn patched(batch: &PreparedBatch, sequence: u64) -> Vec<u8> {
        let mut bytes = batch.bytes.clone();
        batch.patch.apply(&mut bytes, &stamp(sequence), 1_700_000_000_000 + sequence);
        bytes
    }

    #[test]
    fn a_patched_batch_is_what_kafka_reads() {
        for (records, record_bytes) in [(1, 32), (1, 1024), (200, 100), (70, 9_000)] {
            let id = ProducerId { id: 4000, epoch: 1 };
            let batch = PreparedBatch::of(records, record_bytes, Some(id));
            for sequence in [0, 5, 1 << 31 | 7] {
                let bytes = patched(&batch, sequence);
                let stored = Fields(&bytes[CRC_AT..]).i32().unwrap() as u32;
                assert_eq!(stored, crc_fast::crc32_iscsi(&bytes[CRC_FROM..]));
                let mut bytes = Bytes::from(bytes);
                let decoded = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
                assert_eq!(decoded.len(), records);
                let first = &decoded[0];
                let value = first.value.as_ref().unwrap();
                assert_eq!(Stamp::read(value), Some(stamp(sequence)));
                assert_eq!(first.timestamp, 1_700_000_000_000 + sequence as i64);
                assert_eq!((first.producer_id, first.producer_epoch), (4000, 1));
                assert_eq!(first.sequence, (sequence & 0x7fff_ffff) as i32);
                assert!(decoded.iter().all(|r| r.value.as_ref().unwrap().len() == record_bytes));
                assert!(
                    decoded[1..].iter().all(|r| Stamp::read(r.value.as_ref().unwrap()).is_none())
                );
            }
        }
    }

    #[test]
    fn a_batch_fills_its_bytes_and_no_more() {
        for (batch_bytes, record_bytes) in [(1 << 20, 100), (1 << 20, 1024), (16 << 10, 1000)] {
            let bytes = PreparedBatch::filling(batch_bytes, record_bytes, None).bytes.len();
            assert!(bytes <= batch_bytes && bytes + record_bytes + 16 > batch_bytes, "{bytes}");
        }
        assert_eq!(PreparedBatch::filling(10, 100, None).records, 1);
    }

    #[test]
    fn walking_sees_whole_batches_only() {
        let batch = PreparedBatch::of(9, 64, None);
        let mut fetched = patched(&batch, 0);
        fetched.extend(patched(&batch, 9));
        let whole = fetched.len();
        fetched.extend(&patched(&batch, 18)[..200]);
        let mut seen = Vec::new();
        walk(&fetched, |b| seen.push((b.records, b.record_bytes, b.stamp.map(|s| s.sequence))));
        assert_eq!(seen, [(9, 64, Some(0)), (9, 64, Some(9))]);
        let mut count = 0;
        (0..whole).for_each(|end| walk(&fetched[..end], |_| count += 1));
        assert_eq!(count, whole / 2);
    }
}
