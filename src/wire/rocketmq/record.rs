//! The message record: as RocketMQ stores it, and as consumers get it (`MessageDecoder.java`).
//!
//! ```text
//!   0 length             i32  of all of it
//!   4 magic              u32  0xDAA320A7 (V1) or 0xDAA320AB (V2)
//!   8 body CRC           u32  CRC-32 of the body as it is, without the highest bit
//!  12 queue id           i32
//!  16 flag               i32  the user's
//!  20 queue offset       i64  set by the broker
//!  28 physical offset    i64  set by the broker; to clients an opaque positive number
//!  36 sys flag           i32
//!  40 born timestamp     i64  ms
//!  48 born host          4 or 16 bytes of address, port i32
//!     store timestamp    i64  ms, set by the broker
//!     store host         4 or 16 bytes of address, port i32
//!     reconsume times    i32
//!     prepared offset    i64  of a transaction's half message
//!     body               length i32, bytes
//!     topic              length u8 (V1) or u16 (V2), bytes
//!     properties         length i16, bytes
//! ```
//!
//! Nothing is copied: a record borrows from its bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::{Buf, BufMut, TryGetError};
use thiserror::Error;

use super::property::{PROPERTIES_BYTES_MAX, Properties};
use super::sys_flag::SysFlag;
use crate::base::checksum;

const MAGIC_V1: u32 = 0xdaa3_20a7;
const MAGIC_V2: u32 = 0xdaa3_20ab;

/// Everything but hosts, body, topic, properties and the topic's length.
const FIXED_BYTES: usize = 4 * 5 + 8 * 2 + 4 + 8 * 2 + 4 + 8 + 4 + 2;

/// The longest topic that a V1 record can name: its length is a signed byte to Java.
pub const TOPIC_BYTES_V1_MAX: usize = i8::MAX as usize;

/// Why bytes are no record, or a record cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// A field reaches beyond the bytes at hand.
    #[error("a field needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes that the field takes.
        needed: usize,
        /// Bytes that are left.
        left: usize,
    },
    /// The length field is not what the fields take.
    #[error("the record claims {claimed} bytes, its fields take {taken}")]
    Length {
        /// The length field.
        claimed: i32,
        /// Bytes that the fields take.
        taken: usize,
    },
    /// Neither V1 nor V2.
    #[error("magic {0:08x} is no record's")]
    Magic(u32),
    /// A field's length is negative.
    #[error("length {0} is negative")]
    NegativeLength(i64),
    /// A host's port beyond 16 bits.
    #[error("port {0} does not exist")]
    Port(i32),
    /// A topic or properties that are not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// The body's sum does not match.
    #[error("body CRC {stored:08x} is stored, {computed:08x} computed")]
    BodyCrc {
        /// The sum in the record.
        stored: u32,
        /// The sum of the body.
        computed: u32,
    },
    /// Something does not fit in its length field.
    #[error("{what} of {bytes} bytes is too long")]
    TooLong {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
    },
}

impl From<TryGetError> for RecordError {
    fn from(error: TryGetError) -> Self {
        Self::Truncated { needed: error.requested, left: error.available }
    }
}

/// Which of the two forms a record has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordVersion {
    /// The topic's length is a byte. All clients read it.
    V1,
    /// The topic's length is two bytes; clients from 5.0 on read it.
    V2,
}

impl RecordVersion {
    /// The form for a topic: V1, unless the name is too long for it.
    #[must_use]
    pub const fn of_topic(topic: &str) -> Self {
        if topic.len() > TOPIC_BYTES_V1_MAX { Self::V2 } else { Self::V1 }
    }

    const fn magic(self) -> u32 {
        match self {
            Self::V1 => MAGIC_V1,
            Self::V2 => MAGIC_V2,
        }
    }

    const fn topic_length_bytes(self) -> usize {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// A message record, borrowing from its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The form.
    pub version: RecordVersion,
    /// The body's sum as it is stored; [`Record::check_body`] compares. Writing sums anew.
    pub body_crc: u32,
    /// The queue.
    pub queue_id: i32,
    /// The user's; means nothing to a broker.
    pub flag: i32,
    /// The message's offset in its queue.
    pub queue_offset: i64,
    /// The message's place, by which clients name it.
    pub physical_offset: i64,
    /// Bit field. The two that tell the hosts' widths are set by the hosts when written.
    pub sys_flag: SysFlag,
    /// The producer's time, ms.
    pub born_timestamp: i64,
    /// The producer's address.
    pub born_host: SocketAddr,
    /// The broker's time, ms.
    pub store_timestamp: i64,
    /// The broker's advertised address.
    pub store_host: SocketAddr,
    /// How often it was sent back.
    pub reconsume_times: i32,
    /// The half message's physical offset.
    pub prepared_transaction_offset: i64,
    /// The body, perhaps compressed.
    pub body: &'a [u8],
    /// The topic.
    pub topic: &'a str,
    /// The properties' block.
    pub properties: &'a str,
}

/// What the broker assigns, at places that depend on nothing but the born host's width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The message's offset in its queue.
    pub queue_offset: i64,
    /// The message's place, by which clients name it.
    pub physical_offset: i64,
    /// The broker's time, ms.
    pub store_timestamp: i64,
}

impl<'a> Record<'a> {
    /// Reads the record that `bytes` begin with. [`Record::encoded_bytes`] tells where the next one
    /// begins. The body's sum is not compared.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let mut peek = bytes;
        let claimed = peek.try_get_i32()?;
        let needed = length(i64::from(claimed))?;
        let truncated = RecordError::Truncated { needed, left: bytes.len() };
        let mut rest = bytes.get(..needed).ok_or(truncated)?;
        let record = Self::fields(&mut rest)?;
        if !rest.is_empty() {
            return Err(RecordError::Length { claimed, taken: needed - rest.len() });
        }
        Ok(record)
    }

    fn fields(rest: &mut &'a [u8]) -> Result<Self, RecordError> {
        rest.try_get_i32()?;
        let version = match rest.try_get_u32()? {
            MAGIC_V1 => RecordVersion::V1,
            MAGIC_V2 => RecordVersion::V2,
            magic => return Err(RecordError::Magic(magic)),
        };
        let body_crc = rest.try_get_u32()?;
        let queue_id = rest.try_get_i32()?;
        let flag = rest.try_get_i32()?;
        let queue_offset = rest.try_get_i64()?;
        let physical_offset = rest.try_get_i64()?;
        let sys_flag = SysFlag(rest.try_get_i32()?);
        let born_timestamp = rest.try_get_i64()?;
        let born_host = host(rest, sys_flag.has(SysFlag::BORN_HOST_V6))?;
        let store_timestamp = rest.try_get_i64()?;
        let store_host = host(rest, sys_flag.has(SysFlag::STORE_HOST_V6))?;
        let reconsume_times = rest.try_get_i32()?;
        let prepared_transaction_offset = rest.try_get_i64()?;
        let body_length = rest.try_get_i32()?;
        let body = take(rest, i64::from(body_length))?;
        let topic_length = match version {
            RecordVersion::V1 => i64::from(rest.try_get_u8()?),
            RecordVersion::V2 => i64::from(rest.try_get_u16()?),
        };
        let topic = utf8(take(rest, topic_length)?)?;
        let properties_length = rest.try_get_i16()?;
        let properties = utf8(take(rest, i64::from(properties_length))?)?;
        Ok(Self {
            version,
            body_crc,
            queue_id,
            flag,
            queue_offset,
            physical_offset,
            sys_flag,
            born_timestamp,
            born_host,
            store_timestamp,
            store_host,
            reconsume_times,
            prepared_transaction_offset,
            body,
            topic,
            properties,
        })
    }

    /// Bytes that the record takes.
    #[must_use]
    pub const fn encoded_bytes(&self) -> usize {
        FIXED_BYTES
            + host_bytes(&self.born_host)
            + host_bytes(&self.store_host)
            + self.version.topic_length_bytes()
            + self.body.len()
            + self.topic.len()
            + self.properties.len()
    }

    /// Writes the record, its body's sum made anew.
    ///
    /// # Errors
    /// [`RecordError::TooLong`], before anything is written.
    pub fn encode(&self, out: &mut impl BufMut) -> Result<(), RecordError> {
        let bytes = self.encoded_bytes();
        let too_long = |what, bytes| Err(RecordError::TooLong { what, bytes });
        let Ok(total) = i32::try_from(bytes) else { return too_long("a record", bytes) };
        let topic_bytes_max = match self.version {
            RecordVersion::V1 => TOPIC_BYTES_V1_MAX,
            RecordVersion::V2 => i16::MAX as usize,
        };
        if self.topic.len() > topic_bytes_max {
            return too_long("a topic", self.topic.len());
        }
        if self.properties.len() > PROPERTIES_BYTES_MAX {
            return too_long("properties", self.properties.len());
        }
        let sys_flag = self
            .sys_flag
            .with(SysFlag::BORN_HOST_V6, self.born_host.is_ipv6())
            .with(SysFlag::STORE_HOST_V6, self.store_host.is_ipv6());
        out.put_i32(total);
        out.put_u32(self.version.magic());
        out.put_u32(body_crc(self.body));
        out.put_i32(self.queue_id);
        out.put_i32(self.flag);
        out.put_i64(self.queue_offset);
        out.put_i64(self.physical_offset);
        out.put_i32(sys_flag.0);
        out.put_i64(self.born_timestamp);
        put_host(out, &self.born_host);
        out.put_i64(self.store_timestamp);
        put_host(out, &self.store_host);
        out.put_i32(self.reconsume_times);
        out.put_i64(self.prepared_transaction_offset);
        out.put_i32(self.body.len() as i32);
        out.put_slice(self.body);
        match self.version {
            RecordVersion::V1 => out.put_u8(self.topic.len() as u8),
            RecordVersion::V2 => out.put_u16(self.topic.len() as u16),
        }
        out.put_slice(self.topic.as_bytes());
        out.put_i16(self.properties.len() as i16);
        out.put_slice(self.properties.as_bytes());
        Ok(())
    }

    /// The properties, one by one.
    #[must_use]
    pub const fn properties(&self) -> Properties<'a> {
        Properties::new(self.properties)
    }

    /// Sums the body and compares.
    ///
    /// # Errors
    /// [`RecordError::BodyCrc`].
    pub fn check_body(&self) -> Result<(), RecordError> {
        let computed = body_crc(self.body);
        let stored = self.body_crc;
        if stored == computed { Ok(()) } else { Err(RecordError::BodyCrc { stored, computed }) }
    }

    /// The offsetMsgId: the store host and the physical offset.
    #[must_use]
    pub fn offset_message_id(&self) -> super::OffsetMessageId {
        super::OffsetMessageId { host: self.store_host, physical_offset: self.physical_offset }
    }
}

/// The sum of a body: CRC-32 without its highest bit, which Java's `int` has no room for.
#[must_use]
pub fn body_crc(body: &[u8]) -> u32 {
    checksum::crc32(body) & 0x7fff_ffff
}

/// Sets what the owner of a queue assigns, in place.
///
/// # Errors
/// [`RecordError::Truncated`] if `record` is too short to hold the fields.
pub fn set_assigned(record: &mut [u8], assigned: &Assigned) -> Result<(), RecordError> {
    let mut sys_flag = record.get(36..).unwrap_or_default();
    let born_host_v6 = SysFlag(sys_flag.try_get_i32()?).has(SysFlag::BORN_HOST_V6);
    let stored_at = if born_host_v6 { 48 + 20 } else { 48 + 8 };
    let left = record.len();
    let fields = record
        .get_mut(..stored_at + 8)
        .ok_or(RecordError::Truncated { needed: stored_at + 8, left })?;
    fields[20..28].copy_from_slice(&assigned.queue_offset.to_be_bytes());
    fields[28..36].copy_from_slice(&assigned.physical_offset.to_be_bytes());
    fields[stored_at..].copy_from_slice(&assigned.store_timestamp.to_be_bytes());
    Ok(())
}

/// When a record was born, milliseconds since 1970 by its producer's clock.
///
/// # Errors
/// [`RecordError::Truncated`] if `record` is too short to hold the field.
pub fn born_timestamp(record: &[u8]) -> Result<i64, RecordError> {
    Ok(record.get(40..).unwrap_or_default().try_get_i64()?)
}

/// Iterates over records that lie end to end, as in a pull's answer. After the first error it ends.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// The records in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = Record::parse(self.rest);
        self.rest = match &record {
            Ok(record) => &self.rest[record.encoded_bytes()..],
            Err(_) => &[],
        };
        Some(record)
    }
}

const fn host_bytes(host: &SocketAddr) -> usize {
    if host.is_ipv6() { 20 } else { 8 }
}

fn host(rest: &mut &[u8], v6: bool) -> Result<SocketAddr, RecordError> {
    let ip = if v6 {
        IpAddr::V6(Ipv6Addr::from_bits(rest.try_get_u128()?))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(rest.try_get_u32()?))
    };
    let port = rest.try_get_i32()?;
    let port = u16::try_from(port).map_err(|_| RecordError::Port(port))?;
    Ok(SocketAddr::new(ip, port))
}

fn put_host(out: &mut impl BufMut, host: &SocketAddr) {
    match host.ip() {
        IpAddr::V4(ip) => out.put_u32(ip.to_bits()),
        IpAddr::V6(ip) => out.put_u128(ip.to_bits()),
    }
    out.put_i32(i32::from(host.port()));
}

fn length(claimed: i64) -> Result<usize, RecordError> {
    usize::try_from(claimed).map_err(|_| RecordError::NegativeLength(claimed))
}

pub(super) fn take<'a>(rest: &mut &'a [u8], claimed: i64) -> Result<&'a [u8], RecordError> {
    let needed = length(claimed)?;
    let left = rest.len();
    rest.split_off(..needed).ok_or(RecordError::Truncated { needed, left })
}

pub(super) fn utf8(bytes: &[u8]) -> Result<&str, RecordError> {
    str::from_utf8(bytes).map_err(|_| RecordError::NotUtf8)
}

#[cfg(test)]
mod tests;
