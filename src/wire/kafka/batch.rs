//! The record batch of format 2 (KIP-98): its header, the checks of a produced batch, and the fields
//! that a broker sets.
//!
//! ```text
//!   0 base offset          i64  set by the broker, outside the CRC
//!   8 length of the rest   i32
//!  12 leader epoch         i32  set by the broker, outside the CRC
//!  16 magic                i8   2
//!  17 CRC-32C              u32  of everything from byte 21 on
//!  21 attributes           i16  codec 0-2, timestamp type 3, transactional 4, control 5
//!  23 last offset delta    i32
//!  27 base timestamp       i64  ms
//!  35 max timestamp        i64  ms
//!  43 producer id          i64  -1 for none
//!  51 producer epoch       i16
//!  53 base sequence        i32
//!  57 records              i32  how many
//!  61 the records, or one compressed piece of them
//! ```

use thiserror::Error;

use crate::base::checksum;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes that the length field does not count: itself and the base offset.
pub(super) const LENGTH_FROM: usize = 12;
/// Where the bytes under the CRC begin.
pub const CRC_FROM: usize = 21;

/// The shortest record: length, attributes, two deltas, null key, null value, no headers.
const RECORD_BYTES_MIN: usize = 7;

/// No codec makes more than this of one byte (zstd's longest runs come near).
const EXPANSION_MAX: usize = 1 << 15;

pub(super) const MAGIC: i8 = 2;
const CODEC_MASK: i16 = 0b111;
const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;

/// Why a batch was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// Fewer bytes than the header takes.
    #[error("{0} bytes are too few for a record batch")]
    TooShort(usize),
    /// A message set of format 0 or 1, older than Kafka 0.11.
    #[error("message format {0} is too old, 2 is needed")]
    OldMagic(i8),
    /// A format that does not exist.
    #[error("message format {0} is unknown")]
    UnknownMagic(i8),
    /// The length field is too small for a header, or reaches beyond the bytes at hand.
    #[error("the batch claims {claimed} bytes, {held} are held")]
    Length {
        /// The batch's size by its length field, in bytes; negative if that was.
        claimed: i64,
        /// Bytes at hand.
        held: usize,
    },
    /// Bytes follow the batch: a produced partition holds exactly one.
    #[error("{0} bytes follow the batch")]
    MoreThanOne(usize),
    /// The CRC does not match.
    #[error("CRC {stored:08x} is stored, {computed:08x} computed")]
    Crc {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },
    /// No records, or a count that does not match the last offset delta.
    #[error("{count} records do not match last offset delta {last_offset_delta}")]
    Count {
        /// The header's number of records.
        count: i32,
        /// The header's last offset delta.
        last_offset_delta: i32,
    },
    /// A codec number that does not exist.
    #[error("compression codec {0} is unknown")]
    UnknownCodec(i16),
    /// A control batch, which only brokers write.
    #[error("a client may not write control batches")]
    Control,
    /// The timestamp type LogAppendTime, which only brokers set.
    #[error("a client may not set LogAppendTime")]
    LogAppendTime,
    /// A producer id without a sequence number.
    #[error("producer {producer_id} has base sequence {base_sequence}")]
    Sequence {
        /// The producer's id.
        producer_id: i64,
        /// Its sequence number.
        base_sequence: i32,
    },
    /// A record whose fields do not add up.
    #[error("record {index} is malformed: {reason}")]
    Record {
        /// The record's place in the batch.
        index: i32,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A record without a key where the topic needs one.
    #[error("record {0} has no key")]
    NoKey(i32),
    /// The compressed records cannot be read.
    #[error("the records cannot be decompressed: {0}")]
    Decompress(String),
    /// The records are larger, decompressed, than is allowed.
    #[error("the records take more than {0} bytes")]
    TooLarge(usize),
}

impl BatchError {
    /// The error code by which Kafka's broker answers a produced batch like this.
    #[must_use]
    pub const fn code(&self) -> i16 {
        match self {
            Self::TooShort(_)
            | Self::UnknownMagic(_)
            | Self::Length { .. }
            | Self::Crc { .. }
            | Self::Decompress(_) => 2, // CORRUPT_MESSAGE
            Self::TooLarge(_) => 10,     // MESSAGE_TOO_LARGE
            Self::LogAppendTime => 32,   // INVALID_TIMESTAMP
            Self::UnknownCodec(_) => 76, // UNSUPPORTED_COMPRESSION_TYPE
            Self::OldMagic(_)
            | Self::MoreThanOne(_)
            | Self::Count { .. }
            | Self::Control
            | Self::Sequence { .. }
            | Self::Record { .. }
            | Self::NoKey(_) => 87, // INVALID_RECORD
        }
    }
}

/// How a batch's records are compressed; the number is the one in the attributes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip (RFC 1952).
    Gzip = 1,
    /// Snappy, in xerial's framing or bare.
    Snappy = 2,
    /// LZ4's frame format.
    Lz4 = 3,
    /// Zstandard (KIP-110), from Produce version 7 and Fetch version 10 on.
    Zstd = 4,
}

/// What a batch's timestamps mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// Each record has the producer's time.
    CreateTime,
    /// All records have the broker's time: the batch's max timestamp.
    LogAppendTime,
}

/// A batch's header, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The first record's offset.
    pub base_offset: i64,
    /// Bytes behind the length field; see [`BatchHeader::total_bytes`].
    pub length: i32,
    /// The leader epoch under which the batch was appended.
    pub partition_leader_epoch: i32,
    /// CRC-32C of the bytes from 21 on.
    pub crc: u32,
    /// Bit field; see the accessors.
    pub attributes: i16,
    /// The last record's offset, less the first one's.
    pub last_offset_delta: i32,
    /// The time that the records' timestamp deltas count from, ms.
    pub base_timestamp: i64,
    /// The latest record's time, ms.
    pub max_timestamp: i64,
    /// The producer's id, -1 for none.
    pub producer_id: i64,
    /// The producer's epoch, -1 for none.
    pub producer_epoch: i16,
    /// The first record's sequence number, -1 for none.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads a header; `bytes` begin with it and may end before the batch does.
    ///
    /// # Errors
    /// Too few bytes, another format than 2, or a length that is no batch's.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The older formats are shorter, with the magic in the same place.
        match bytes.get(16).map(|&magic| magic as i8) {
            None => return Err(BatchError::TooShort(bytes.len())),
            Some(MAGIC) => {}
            Some(magic @ 0..MAGIC) => return Err(BatchError::OldMagic(magic)),
            Some(magic) => return Err(BatchError::UnknownMagic(magic)),
        }
        let header: &[u8; HEADER_BYTES] =
            bytes.first_chunk().ok_or(BatchError::TooShort(bytes.len()))?;
        let header = Self {
            base_offset: i64::from_be_bytes(field(header, 0)),
            length: i32::from_be_bytes(field(header, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(header, 12)),
            crc: u32::from_be_bytes(field(header, 17)),
            attributes: i16::from_be_bytes(field(header, 21)),
            last_offset_delta: i32::from_be_bytes(field(header, 23)),
            base_timestamp: i64::from_be_bytes(field(header, 27)),
            max_timestamp: i64::from_be_bytes(field(header, 35)),
            producer_id: i64::from_be_bytes(field(header, 43)),
            producer_epoch: i16::from_be_bytes(field(header, 51)),
            base_sequence: i32::from_be_bytes(field(header, 53)),
            record_count: i32::from_be_bytes(field(header, 57)),
        };
        let claimed = i64::from(header.length) + LENGTH_FROM as i64;
        if claimed < HEADER_BYTES as i64 {
            return Err(BatchError::Length { claimed, held: bytes.len() });
        }
        Ok(header)
    }

    /// Checks a produced partition's bytes as Kafka's broker does, except for the CRC
    /// ([`check_crc`]), the topic's limits and what needs the records themselves.
    ///
    /// The base offset is not looked at, since it is overwritten.
    ///
    /// # Errors
    /// What is wrong with the batch; [`BatchError::code`] is its answer.
    pub fn validate(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse(bytes)?;
        let total = header.total_bytes();
        if total > bytes.len() {
            return Err(BatchError::Length { claimed: total as i64, held: bytes.len() });
        }
        if total < bytes.len() {
            return Err(BatchError::MoreThanOne(bytes.len() - total));
        }
        let Self { record_count: count, last_offset_delta, .. } = header;
        if count <= 0 || last_offset_delta != count - 1 {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        // A count beyond what the bytes can hold would make a queue's offsets leap.
        let expansion = if header.codec()? == Codec::None { 1 } else { EXPANSION_MAX };
        let records_max = (total - HEADER_BYTES).saturating_mul(expansion) / RECORD_BYTES_MIN;
        if count as usize > records_max {
            return Err(BatchError::Count { count, last_offset_delta });
        }
        if header.is_control() {
            return Err(BatchError::Control);
        }
        if header.timestamp_type() == TimestampType::LogAppendTime {
            return Err(BatchError::LogAppendTime);
        }
        if header.producer_id >= 0 && header.base_sequence < 0 {
            let Self { producer_id, base_sequence, .. } = header;
            return Err(BatchError::Sequence { producer_id, base_sequence });
        }
        Ok(header)
    }

    /// The batch's size with all of its header, bytes.
    #[must_use]
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0) + LENGTH_FROM
    }

    /// The last record's offset.
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.wrapping_add(self.last_offset_delta as i64)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCodec`] for 5 to 7.
    pub const fn codec(&self) -> Result<Codec, BatchError> {
        match self.attributes & CODEC_MASK {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BatchError::UnknownCodec(other)),
        }
    }

    /// What the timestamps mean.
    #[must_use]
    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME == 0 {
            TimestampType::CreateTime
        } else {
            TimestampType::LogAppendTime
        }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL != 0
    }

    /// Whether the batch is a control batch: a transaction's end, written by a broker.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL != 0
    }
}

/// The `N` bytes of `header` from `at` on. All places are constants that lie inside.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

/// Sums the bytes under the CRC and compares. It reads the whole batch, unlike
/// [`BatchHeader::validate`]; whoever copies the batch anyway may sum as it copies instead.
///
/// # Errors
/// [`BatchError::Crc`], or that `batch` is no header's length.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    let stored = BatchHeader::parse(batch)?.crc;
    let computed = checksum::crc32c(&batch[CRC_FROM..]);
    if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
}

/// Sets what the owner of a queue assigns. Both fields lie outside the CRC.
///
/// # Errors
/// [`BatchError::TooShort`] if `batch` does not hold them.
pub fn set_assigned(
    batch: &mut [u8],
    base_offset: i64,
    partition_leader_epoch: i32,
) -> Result<(), BatchError> {
    let held = batch.len();
    let fields = batch.first_chunk_mut::<16>().ok_or(BatchError::TooShort(held))?;
    fields[..8].copy_from_slice(&base_offset.to_be_bytes());
    fields[12..].copy_from_slice(&partition_leader_epoch.to_be_bytes());
    Ok(())
}

/// Sets the broker's time, ms, on a whole batch (`message.timestamp.type=LogAppendTime`) and sums it
/// anew. The records keep their deltas; clients take the batch's max timestamp for all of them.
///
/// Gives the new CRC.
///
/// # Errors
/// As [`BatchHeader::parse`], or [`BatchError::Length`] if `batch` is not exactly one batch.
pub fn set_log_append_time(batch: &mut [u8], now_ms: i64) -> Result<u32, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let total = header.total_bytes();
    if total != batch.len() {
        return Err(BatchError::Length { claimed: total as i64, held: batch.len() });
    }
    let attributes = header.attributes | LOG_APPEND_TIME;
    batch[21..23].copy_from_slice(&attributes.to_be_bytes());
    Ok(set_max_timestamp(batch, now_ms))
}

/// Has a batch's header tell its highest time, ms, and sums it anew where it told another. `batch` is
/// exactly one batch.
///
/// # Panics
/// When it is shorter than a header.
pub fn correct_max_timestamp(batch: &mut [u8], timestamp_ms: i64) {
    if batch[35..43] != timestamp_ms.to_be_bytes() {
        set_max_timestamp(batch, timestamp_ms);
    }
}

fn set_max_timestamp(batch: &mut [u8], timestamp_ms: i64) -> u32 {
    batch[35..43].copy_from_slice(&timestamp_ms.to_be_bytes());
    let crc = checksum::crc32c(&batch[CRC_FROM..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    crc
}

#[cfg(test)]
mod tests;
