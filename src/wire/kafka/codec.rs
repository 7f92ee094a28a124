//! Kafka's primitive types: a cursor that reads them from a frame, and their writers.

use bytes::{BufMut, BytesMut};

use crate::base::TopicId;
use crate::wire::{WireError, frame::too_long};

/// A cursor over received bytes. Every read checks the bytes that are left first.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// What was not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], WireError> {
        let (head, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(WireError::Truncated { needed: count, left: self.rest.len() })?;
        self.rest = rest;
        Ok(head)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(WireError::Truncated { needed: N, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn i8(&mut self) -> Result<i8, WireError> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self) -> Result<i16, WireError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, WireError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self) -> Result<i64, WireError> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub(super) fn topic_id(&mut self) -> Result<TopicId, WireError> {
        self.fixed().map(TopicId)
    }

    /// An unsigned varint of at most `bits` bits: seven bits a byte, the lowest first.
    fn unsigned(&mut self, bits: u32) -> Result<u64, WireError> {
        let mut value = 0_u64;
        for shift in (0..bits).step_by(7) {
            let [byte] = self.fixed()?;
            let low = u64::from(byte & 0x7f);
            // The last byte has room for what is left of the type, no more.
            if bits - shift < 7 && low >> (bits - shift) != 0 {
                return Err(WireError::VarintTooLong);
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(WireError::VarintTooLong)
    }

    /// An unsigned 32-bit varint.
    pub(super) fn unsigned_varint(&mut self) -> Result<u32, WireError> {
        self.unsigned(32).map(|value| value as u32)
    }

    /// A zigzag 32-bit varint.
    pub(super) fn varint(&mut self) -> Result<i32, WireError> {
        let raw = self.unsigned_varint()?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zigzag 64-bit varint.
    pub(super) fn varlong(&mut self) -> Result<i64, WireError> {
        let raw = self.unsigned(64)?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A compact length: one more than the value, zero for null.
    fn compact_length(&mut self) -> Result<Option<usize>, WireError> {
        Ok(self.unsigned_varint()?.checked_sub(1).map(|length| length as usize))
    }

    /// The length before a string: `i16`, or compact in flexible versions. Compact ones have the same
    /// limit, as in Kafka's generated readers: what one version took, another could not answer.
    fn string_length(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        if !flexible {
            return length(i64::from(self.i16()?));
        }
        let length = self.compact_length()?;
        match length.filter(|length| *length > i16::MAX as usize) {
            Some(length) => Err(WireError::StringLength(length)),
            None => Ok(length),
        }
    }

    /// The length before bytes and arrays: `i32`, or compact in flexible versions.
    fn long_length(&mut self, flexible: bool) -> Result<Option<usize>, WireError> {
        if flexible { self.compact_length() } else { length(i64::from(self.i32()?)) }
    }

    /// A nullable string.
    pub(super) fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, WireError> {
        let Some(length) = self.string_length(flexible)? else { return Ok(None) };
        str::from_utf8(self.take(length)?).map(Some).map_err(|_| WireError::NotUtf8)
    }

    /// A string that must not be null.
    pub(super) fn string(&mut self, flexible: bool) -> Result<&'a str, WireError> {
        self.nullable_string(flexible)?.ok_or(WireError::NegativeLength(-1))
    }

    /// Nullable bytes.
    pub(super) fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, WireError> {
        self.long_length(flexible)?.map(|length| self.take(length)).transpose()
    }

    /// An array's count of entries, each of which takes at least `each` bytes. `None` is null.
    ///
    /// The check against the bytes that are left is what makes `Vec::with_capacity` safe.
    pub(super) fn nullable_count(
        &mut self,
        flexible: bool,
        each: usize,
    ) -> Result<Option<usize>, WireError> {
        let Some(count) = self.long_length(flexible)? else { return Ok(None) };
        self.check_count(count, each)?;
        Ok(Some(count))
    }

    /// The count of an array that must not be null.
    pub(super) fn count(&mut self, flexible: bool, each: usize) -> Result<usize, WireError> {
        self.nullable_count(flexible, each)?.ok_or(WireError::NegativeLength(-1))
    }

    fn check_count(&self, count: usize, each: usize) -> Result<(), WireError> {
        match count.checked_mul(each) {
            Some(needed) if needed <= self.left() => Ok(()),
            _ => Err(WireError::Count { count, each, left: self.left() }),
        }
    }

    /// Skips a section of tagged fields (KIP-482) and gives their number; inflexible versions have
    /// none. A field's size makes skipping it right whether its tag is known or not.
    pub(super) fn skip_tagged_fields(&mut self, flexible: bool) -> Result<usize, WireError> {
        if !flexible {
            return Ok(0);
        }
        let count = self.unsigned_varint()? as usize;
        self.check_count(count, 2)?;
        for _ in 0..count {
            self.unsigned_varint()?;
            let size = self.unsigned_varint()? as usize;
            self.take(size)?;
        }
        Ok(count)
    }
}

fn length(claimed: i64) -> Result<Option<usize>, WireError> {
    match claimed {
        -1 => Ok(None),
        _ => usize::try_from(claimed).map(Some).map_err(|_| WireError::NegativeLength(claimed)),
    }
}

/// Writes an unsigned varint.
pub(super) fn put_unsigned(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a zigzag varint; the encoding of a value is the same for both widths.
pub(super) fn put_varlong(out: &mut impl BufMut, value: i64) {
    put_unsigned(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// The length before bytes and arrays.
pub(super) fn put_length(
    out: &mut BytesMut,
    flexible: bool,
    length: usize,
) -> Result<(), WireError> {
    let length = i32::try_from(length).map_err(|_| too_long("bytes or an array", length))?;
    if flexible {
        put_unsigned(out, length as u64 + 1);
    } else {
        out.put_i32(length);
    }
    Ok(())
}

/// Null bytes or a null array.
pub(super) fn put_null(out: &mut BytesMut, flexible: bool) {
    if flexible { out.put_u8(0) } else { out.put_i32(-1) }
}

/// A nullable string.
pub(super) fn put_string(
    out: &mut BytesMut,
    flexible: bool,
    string: Option<&str>,
) -> Result<(), WireError> {
    let Some(string) = string else {
        if flexible {
            out.put_u8(0)
        } else {
            out.put_i16(-1)
        }
        return Ok(());
    };
    if flexible {
        put_unsigned(out, string.len() as u64 + 1);
    } else {
        out.put_i16(i16::try_from(string.len()).map_err(|_| too_long("a string", string.len()))?);
    }
    out.put_slice(string.as_bytes());
    Ok(())
}

/// An empty section of tagged fields, where the version has one.
pub(super) fn put_no_tagged_fields(out: &mut BytesMut, flexible: bool) {
    if flexible {
        out.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_varint_ends_with_its_type() {
        let mut reader = Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(reader.unsigned_varint(), Ok(u32::MAX));
        for bytes in [[0xff, 0xff, 0xff, 0xff, 0x10], [0xff; 5]] {
            assert_eq!(Reader::new(&bytes).unsigned_varint(), Err(WireError::VarintTooLong));
        }
        assert_eq!(Reader::new(&[0xff; 11]).varlong(), Err(WireError::VarintTooLong));
    }

    #[test]
    fn a_string_has_one_limit_in_both_forms() {
        let compact = |length: usize| {
            let mut bytes = Vec::new();
            put_unsigned(&mut bytes, length as u64 + 1);
            bytes.resize(bytes.len() + length, b'x');
            Reader::new(&bytes).string(true).map(str::len)
        };
        assert_eq!(compact(0x7fff), Ok(0x7fff));
        assert_eq!(compact(0x8000), Err(WireError::StringLength(0x8000)));
    }

    #[test]
    fn a_count_must_fit_in_what_is_left() {
        let mut bytes = i32::MAX.to_be_bytes().to_vec();
        bytes.extend([0; 100]);
        let error = WireError::Count { count: i32::MAX as usize, each: 2, left: 100 };
        assert_eq!(Reader::new(&bytes).count(false, 2), Err(error));
    }

    proptest! {
        #[test]
        fn varlongs_return(value in any::<i64>()) {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            let mut reader = Reader::new(&out);
            prop_assert_eq!(reader.varlong(), Ok(value));
            prop_assert_eq!(reader.left(), 0);
        }

        #[test]
        fn varints_return(value in any::<i32>()) {
            let mut out = Vec::new();
            put_varlong(&mut out, i64::from(value));
            prop_assert_eq!(Reader::new(&out).varint(), Ok(value));
        }
    }
}
