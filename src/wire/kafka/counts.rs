//! Checks every count and length in a request before the kafka-protocol crate believes it.
//!
//! The crate allocates as many entries as an array claims: a Metadata request of a few bytes with
//! 2^31-1 topics aborts the process. Here each claim is held against the bytes that are left, and
//! what decoding will allocate is added up against the bytes that were received.
//!
//! Nulls and UTF-8 are checked as well, so that the crate has nothing left to refuse: its errors
//! capture a backtrace where the environment asks for it, tens of KiB for a frame of a few bytes.

use kafka_protocol::protocol::StrBytes;

use super::codec::Reader;
use super::request::ApiKey;
use super::schema::{self, Kind, Schema};
use crate::wire::{MEMORY_PER_BYTE, WireError};

/// The most that one request may take decoded, bytes: a million of topics, partitions or groups fit.
const MEMORY_MAX: usize = 256 << 20;
/// The fewest bytes in front of a body: length prefix, key, version, correlation id, client id.
const BEFORE_BODY_BYTES: usize = 4 + 2 + 2 + 4 + 2;
/// What the crate's `BTreeMap<i32, Bytes>` of tagged fields takes for each five fields begun, bytes.
/// A node of it holds five to eleven, and takes 408 bytes however few it holds.
const TAGGED_FIELDS_MEMORY: usize = 512;

/// Checks a request's body. Bytes behind it are tolerated, as Kafka does.
///
/// # Errors
/// A claim that the rest of the body cannot hold; [`WireError::Memory`] where entries and tagged
/// fields together would take more than [`MEMORY_PER_BYTE`] for each byte of the frame, or more than
/// [`MEMORY_MAX`];
/// [`WireError::UnsupportedVersion`] for Produce, Fetch and what is not served.
pub(super) fn check(key: ApiKey, version: i16, body: &[u8]) -> Result<(), WireError> {
    let schema = schema::of(key)
        .filter(|_| key.serves(version))
        .ok_or(WireError::UnsupportedVersion { key: key.code(), version })?;
    let received = body.len().saturating_add(BEFORE_BODY_BYTES);
    let allowed = received.saturating_mul(MEMORY_PER_BYTE).min(MEMORY_MAX);
    Walk {
        reader: Reader::new(body),
        version,
        flexible: key.is_flexible(version),
        memory_left: allowed,
        refusal: WireError::Memory { received, allowed },
    }
    .walk(schema)
}

struct Walk<'a> {
    reader: Reader<'a>,
    version: i16,
    flexible: bool,
    /// What may still be allocated, bytes.
    memory_left: usize,
    /// The answer when that is not enough.
    refusal: WireError,
}

impl Walk<'_> {
    fn walk(&mut self, schema: &Schema) -> Result<(), WireError> {
        for field in schema.fields {
            if field.is_in(self.version) {
                self.field(field.kind)?;
            }
        }
        let tagged_fields = self.reader.skip_tagged_fields(self.flexible)?;
        self.charge(tagged_fields.div_ceil(5), TAGGED_FIELDS_MEMORY)
    }

    fn field(&mut self, kind: Kind) -> Result<(), WireError> {
        match kind {
            Kind::OrNull(kind) => self.value(*kind).map(drop),
            _ => self.value(kind)?.ok_or(WireError::NegativeLength(-1)),
        }
    }

    /// Walks over one value; `None` is null.
    fn value(&mut self, kind: Kind) -> Result<Option<()>, WireError> {
        match kind {
            Kind::OrNull(kind) => return self.value(*kind),
            Kind::Fixed(bytes) => self.reader.take(bytes).map(drop)?,
            Kind::Text => return Ok(self.reader.nullable_string(self.flexible)?.map(drop)),
            Kind::Blob => return Ok(self.reader.nullable_bytes(self.flexible)?.map(drop)),
            Kind::Numbers => {
                let Some(count) = self.count(4, size_of::<i32>())? else { return Ok(None) };
                self.reader.take(count * 4)?;
            }
            Kind::Texts => {
                let each = if self.flexible { 1 } else { 2 };
                let Some(count) = self.count(each, size_of::<StrBytes>())? else { return Ok(None) };
                (0..count).try_for_each(|_| self.reader.string(self.flexible).map(drop))?;
            }
            Kind::Array(entry) => {
                let each = bytes_min(entry, self.version, self.flexible);
                let Some(count) = self.count(each, entry.memory)? else { return Ok(None) };
                (0..count).try_for_each(|_| self.walk(entry))?;
            }
            // Any byte but 1 is null to the crate.
            Kind::Maybe(schema) if self.reader.i8()? == 1 => self.walk(schema)?,
            Kind::Maybe(_) => {}
        }
        Ok(Some(()))
    }

    /// An array's count of entries, each of which takes at least `each` bytes in the body and
    /// `memory` bytes decoded.
    fn count(&mut self, each: usize, memory: usize) -> Result<Option<usize>, WireError> {
        let count = self.reader.nullable_count(self.flexible, each)?;
        self.charge(count.unwrap_or(0), memory)?;
        Ok(count)
    }

    fn charge(&mut self, count: usize, memory: usize) -> Result<(), WireError> {
        self.memory_left = count
            .checked_mul(memory)
            .and_then(|memory| self.memory_left.checked_sub(memory))
            .ok_or_else(|| self.refusal.clone())?;
        Ok(())
    }
}

/// The fewest bytes that a struct takes; never 0, so that a count is always bounded.
fn bytes_min(schema: &Schema, version: i16, flexible: bool) -> usize {
    let fields = schema.fields.iter().filter(|field| field.is_in(version));
    let bytes: usize = fields.map(|field| kind_bytes_min(field.kind, flexible)).sum();
    (bytes + usize::from(flexible)).max(1)
}

fn kind_bytes_min(kind: Kind, flexible: bool) -> usize {
    match kind {
        Kind::OrNull(kind) => kind_bytes_min(*kind, flexible),
        Kind::Fixed(bytes) => bytes,
        Kind::Maybe(_) => 1,
        Kind::Text if !flexible => 2,
        Kind::Blob | Kind::Texts | Kind::Numbers | Kind::Array(_) if !flexible => 4,
        Kind::Text | Kind::Blob | Kind::Texts | Kind::Numbers | Kind::Array(_) => 1,
    }
}

#[cfg(test)]
mod tests;
