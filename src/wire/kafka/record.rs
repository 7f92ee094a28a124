//! The records inside a batch of format 2, decompressed.
//!
//! ```text
//! length varint | attributes i8 | timestamp delta varlong | offset delta varint
//! | key length varint, -1 for null | key | value length varint, -1 for null | value
//! | headers varint | per header: name length varint | name | value length varint, -1 for null | value
//! ```
//!
//! By hand, and not by the kafka-protocol crate, because that keeps headers in a map and so loses all
//! but one of those that share a name. Nothing is copied: a record borrows from the batch.

use super::batch::{BatchError, BatchHeader, TimestampType};
use super::codec::{Reader, put_varlong};
use crate::wire::WireError;

/// A record, borrowing from its batch.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// The record's time less the batch's base timestamp, ms.
    pub timestamp_delta: i64,
    /// The record's offset less the batch's base offset.
    pub offset_delta: i32,
    /// The key; null and empty differ.
    pub key: Option<&'a [u8]>,
    /// The value; null is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// The headers, in order; names may repeat.
    pub headers: Headers<'a>,
}

/// A record's header (KIP-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name; meant to be UTF-8, but not checked.
    pub name: &'a [u8],
    /// The value; null and empty differ.
    pub value: Option<&'a [u8]>,
}

/// Iterates over a record's headers, which were checked when the record was read.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: i32,
    reader: Reader<'a>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1).filter(|&left| left >= 0)?;
        header(&mut self.reader).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.left).unwrap_or(0);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// Iterates over a batch's records. After the first error it ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    index: i32,
    count: i32,
    reader: Reader<'a>,
}

impl<'a> Records<'a> {
    /// The records in `payload`: what follows `header` in the batch, decompressed.
    #[must_use]
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Self {
        Self { index: 0, count: header.record_count, reader: Reader::new(payload) }
    }

    fn end(&mut self) -> Option<Result<Record<'a>, BatchError>> {
        let rest = self.reader.left();
        self.reader = Reader::new(&[]);
        (rest > 0).then_some(Err(BatchError::Record {
            index: self.index,
            reason: "bytes follow the last record",
        }))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index >= self.count {
            return self.end();
        }
        match record(&mut self.reader) {
            Ok(record) => {
                self.index += 1;
                Some(Ok(record))
            }
            Err(reason) => {
                let index = std::mem::replace(&mut self.index, self.count);
                self.reader = Reader::new(&[]);
                Some(Err(BatchError::Record { index, reason }))
            }
        }
    }
}

fn record<'a>(reader: &mut Reader<'a>) -> Result<Record<'a>, &'static str> {
    let mut fields = Reader::new(sized(reader).map_err(reason)?);
    let record = record_fields(&mut fields).map_err(reason)?;
    match fields.left() {
        0 => Ok(record),
        _ => Err("its length is more than its fields take"),
    }
}

/// Which field it was, and by how many bytes, helps nobody.
fn reason(error: WireError) -> &'static str {
    match error {
        WireError::NegativeLength(_) => "a length is negative",
        WireError::VarintTooLong => "a variable-length integer is too long",
        _ => "a field reaches beyond the end",
    }
}

fn record_fields<'a>(fields: &mut Reader<'a>) -> Result<Record<'a>, WireError> {
    fields.i8()?; // Attributes: none is defined.
    let timestamp_delta = fields.varlong()?;
    let offset_delta = fields.varint()?;
    let key = nullable(fields)?;
    let value = nullable(fields)?;
    let left = fields.varint()?;
    if left < 0 {
        return Err(WireError::NegativeLength(i64::from(left)));
    }
    let headers = Headers { left, reader: fields.clone() };
    for _ in 0..left {
        header(fields)?;
    }
    Ok(Record { timestamp_delta, offset_delta, key, value, headers })
}

fn header<'a>(reader: &mut Reader<'a>) -> Result<Header<'a>, WireError> {
    Ok(Header { name: sized(reader)?, value: nullable(reader)? })
}

fn nullable<'a>(reader: &mut Reader<'a>) -> Result<Option<&'a [u8]>, WireError> {
    let length = reader.varint()?;
    if length == -1 {
        return Ok(None);
    }
    let length =
        usize::try_from(length).map_err(|_| WireError::NegativeLength(i64::from(length)))?;
    reader.take(length).map(Some)
}

/// Bytes that must not be null.
fn sized<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    nullable(reader)?.ok_or(WireError::NegativeLength(-1))
}

/// Writes a header with its place before it, a varint. Several lie end to end.
pub fn put_placed_header(out: &mut Vec<u8>, place: usize, header: &Header<'_>) {
    put_varlong(out, place as i64);
    put_nullable(out, Some(header.name));
    put_nullable(out, header.value);
}

/// Reads headers with their places; `None` if that is not what `bytes` are.
#[must_use]
pub fn placed_headers(bytes: &[u8]) -> Option<Vec<(usize, Header<'_>)>> {
    let mut reader = Reader::new(bytes);
    let mut placed = Vec::new();
    while reader.left() > 0 {
        let place = usize::try_from(reader.varint().ok()?).ok()?;
        placed.push((place, header(&mut reader).ok()?));
    }
    Some(placed)
}

/// Writes bytes behind their length, which is -1 for null.
pub(super) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_varlong(out, bytes.map_or(-1, |bytes| bytes.len() as i64));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// An offset and the time of its record, ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetTime {
    /// The record's offset.
    pub offset: i64,
    /// The record's time, ms; -1 if it has none.
    pub timestamp_ms: i64,
}

impl BatchHeader {
    /// The offset and the time of a record in this batch.
    #[must_use]
    pub const fn offset_time(&self, record: &Record<'_>) -> OffsetTime {
        OffsetTime {
            offset: self.base_offset.wrapping_add(record.offset_delta as i64),
            timestamp_ms: match self.timestamp_type() {
                TimestampType::CreateTime => {
                    self.base_timestamp.wrapping_add(record.timestamp_delta)
                }
                TimestampType::LogAppendTime => self.max_timestamp,
            },
        }
    }
}

/// Walks a produced batch's records, `payload` decompressed: all are well formed, their offsets
/// count up from the base offset, and, if `keys_required` (a compacted topic), all have keys.
///
/// Gives the first record with the highest time, by which the header's max timestamp can be checked.
///
/// # Errors
/// [`BatchError::Record`] or [`BatchError::NoKey`].
pub fn check_records(
    header: &BatchHeader,
    payload: &[u8],
    keys_required: bool,
) -> Result<OffsetTime, BatchError> {
    let mut latest = OffsetTime { offset: header.base_offset, timestamp_ms: i64::MIN };
    for (index, record) in (0..).zip(Records::new(header, payload)) {
        let record = record?;
        if record.offset_delta != index {
            return Err(BatchError::Record { index, reason: "its offset is out of order" });
        }
        if keys_required && record.key.is_none() {
            return Err(BatchError::NoKey(index));
        }
        let this = header.offset_time(&record);
        if this.timestamp_ms > latest.timestamp_ms {
            latest = this;
        }
    }
    Ok(latest)
}

/// The first record at or after `timestamp_ms`, in the order of offsets, as ListOffsets asks for it; those
/// before offset `from` do not count. `payload` is decompressed.
///
/// # Errors
/// [`BatchError::Record`] if a record before the found one is malformed.
pub fn find_timestamp(
    header: &BatchHeader,
    payload: &[u8],
    from: i64,
    timestamp_ms: i64,
) -> Result<Option<OffsetTime>, BatchError> {
    for record in Records::new(header, payload) {
        let this = header.offset_time(&record?);
        if this.offset >= from && this.timestamp_ms >= timestamp_ms {
            return Ok(Some(this));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
