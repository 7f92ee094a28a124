//! Builds record batches: for the broker's own records, converted ones, tools and tests.

use std::io;

use bytes::BufMut;

use super::batch::{self, CRC_FROM, Codec, HEADER_BYTES};
use super::codec::put_varlong;
use super::compression;
use super::record::{Header, put_nullable};
use crate::base::checksum;

/// Collects records and makes one batch of them.
///
/// ```
/// use mainstem::wire::kafka::{BatchBuilder, BatchHeader, batch};
///
/// let mut builder = BatchBuilder::new();
/// builder.record(1_700_000_000_000, Some(b"key"), Some(b"value"), &[("name", Some(b"a"))]);
/// let bytes = builder.build().unwrap();
/// assert_eq!(BatchHeader::validate(&bytes).unwrap().record_count, 1);
/// batch::check_crc(&bytes).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: i16,
    base_offset: i64,
    producer: (i64, i16, i32),
    base_timestamp: i64,
    max_timestamp: i64,
    count: i32,
    records: Vec<u8>,
    /// One record's fields, whose size must be known before they are written.
    scratch: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self {
            codec: Codec::None,
            attributes: 0,
            base_offset: 0,
            producer: (-1, -1, -1),
            base_timestamp: -1,
            max_timestamp: -1,
            count: 0,
            records: Vec::new(),
            scratch: Vec::new(),
        }
    }
}

impl BatchBuilder {
    /// An empty batch, uncompressed, of no producer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Compresses the records.
    pub fn codec(&mut self, codec: Codec) -> &mut Self {
        self.codec = codec;
        self
    }

    /// Sets the first record's offset.
    pub fn base_offset(&mut self, base_offset: i64) -> &mut Self {
        self.base_offset = base_offset;
        self
    }

    /// Sets the idempotent producer and its sequence number (KIP-98).
    pub fn producer(&mut self, id: i64, epoch: i16, base_sequence: i32) -> &mut Self {
        self.producer = (id, epoch, base_sequence);
        self
    }

    /// Sets bits of the attributes beside the codec's.
    pub fn attributes(&mut self, attributes: i16) -> &mut Self {
        self.attributes = attributes;
        self
    }

    /// Appends a record; its offset is one more than the last one's. The first record's time, ms, is
    /// what the others are told against.
    pub fn record(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut Self {
        let headers =
            headers.iter().map(|(name, value)| Header { name: name.as_bytes(), value: *value });
        self.record_with(timestamp_ms, key, value, headers)
    }

    /// As [`BatchBuilder::record`], whatever the headers' names.
    pub fn record_with<'h>(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: impl ExactSizeIterator<Item = Header<'h>>,
    ) -> &mut Self {
        if self.count == 0 {
            (self.base_timestamp, self.max_timestamp) = (timestamp_ms, timestamp_ms);
        }
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        let fields = &mut self.scratch;
        fields.clear();
        fields.put_u8(0);
        put_varlong(fields, timestamp_ms.wrapping_sub(self.base_timestamp));
        put_varlong(fields, i64::from(self.count));
        put_nullable(fields, key);
        put_nullable(fields, value);
        put_varlong(fields, headers.len() as i64);
        for Header { name, value } in headers {
            put_nullable(fields, Some(name));
            put_nullable(fields, value);
        }
        put_varlong(&mut self.records, fields.len() as i64);
        self.records.extend_from_slice(fields);
        self.count += 1;
        self
    }

    /// Bytes of the records so far, before compression.
    #[must_use]
    pub fn records_bytes(&self) -> usize {
        self.records.len()
    }

    /// How many records there are so far.
    #[must_use]
    pub const fn count(&self) -> i32 {
        self.count
    }

    /// Makes the batch.
    ///
    /// # Errors
    /// If compression fails, or the records take more than 2 GiB.
    pub fn build(&self) -> io::Result<Vec<u8>> {
        let payload = compression::compress(self.codec, &self.records)?;
        self.assemble(&payload, self.count - 1)
    }

    /// A batch without records that takes `offsets` offsets from `base_offset` on, as compaction leaves
    /// it behind: consumers go on at the offset after its last one (KAFKA-5443).
    ///
    /// # Errors
    /// None; as [`BatchBuilder::build`].
    pub fn without_records(base_offset: i64, offsets: i32) -> io::Result<Vec<u8>> {
        Self { base_offset, ..Self::default() }.assemble(&[], offsets - 1)
    }

    fn assemble(&self, payload: &[u8], last_offset_delta: i32) -> io::Result<Vec<u8>> {
        let total = HEADER_BYTES + payload.len();
        let length = i32::try_from(total - batch::LENGTH_FROM).map_err(io::Error::other)?;
        let (producer_id, producer_epoch, base_sequence) = self.producer;
        let mut out = Vec::with_capacity(total);
        out.put_i64(self.base_offset);
        out.put_i32(length);
        out.put_i32(-1); // The leader epoch, set by the broker.
        out.put_i8(batch::MAGIC);
        out.put_u32(0); // The CRC, below.
        out.put_i16(self.attributes | self.codec as i16);
        out.put_i32(last_offset_delta);
        out.put_i64(self.base_timestamp);
        out.put_i64(self.max_timestamp);
        out.put_i64(producer_id);
        out.put_i16(producer_epoch);
        out.put_i32(base_sequence);
        out.put_i32(self.count);
        out.extend_from_slice(payload);
        let crc = checksum::crc32c(&out[CRC_FROM..]);
        out[17..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        Ok(out)
    }
}
