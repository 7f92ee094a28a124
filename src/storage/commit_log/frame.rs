//! A frame: one record batch, message or control record inside a block.
//!
//! ```text
//!  0 length u32   4 checksum u32   8 kind u8   9 flags u8  10 zero u16  12 queue u32
//! 16 base offset i64   24 count u32   28 tag hash u32   32 append time ms i64   40 payload
//! ```
//! Little endian; a frame starts at a multiple of 8 bytes of its block and is padded with zeros.
//!
//! The checksum (CRC-32C) covers bytes 8 to 40 and the payload, except that of a Kafka batch it
//! covers only what the batch's own CRC-32C does not: its first 21 bytes. So no payload byte is
//! summed twice.

use crate::base::{Dialect, QueueId, checksum};

/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 40;

/// Where a Kafka batch's own checksum begins to cover it.
pub const KAFKA_CRC_START: usize = 21;
const KAFKA_CRC_AT: usize = 17;

/// What a frame's payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Reserved space that was given up; to be skipped.
    Void = 0,
    /// A Kafka record batch, magic 2.
    KafkaBatch = 1,
    /// A RocketMQ message record.
    RocketMessage = 2,
    /// A message that waits in a timer queue for its time.
    Timer = 3,
    /// A command of the cluster's state machine.
    Cluster = 16,
    /// A record of the group coordinator.
    Group = 17,
    /// A queue's log start moved; the base offset is the new start.
    LogStart = 18,
    /// Timers of a queue were delivered, up to the base offset's; when that was due is the payload.
    TimersFired = 19,
    /// A timer was recalled, or delivered before those in front of it; when it was due is the payload.
    TimerSettled = 20,
    /// An idempotent producer's batch of which its queue's frames do not tell; its sequence numbers
    /// are the payload, its base offset -1 if the queue got none of it.
    ProducerSequence = 21,
    /// What lies before a queue's log start was taken off its account, up to the base offset; from
    /// where, how many bytes, and where what is left lies, is the payload.
    Dropped = 22,
}

impl FrameKind {
    /// The kind with this number.
    #[must_use]
    pub fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Void,
            1 => Self::KafkaBatch,
            2 => Self::RocketMessage,
            3 => Self::Timer,
            16 => Self::Cluster,
            17 => Self::Group,
            18 => Self::LogStart,
            19 => Self::TimersFired,
            20 => Self::TimerSettled,
            21 => Self::ProducerSequence,
            22 => Self::Dropped,
            _ => return None,
        })
    }

    /// Whose wire form the payload has, in frames of messages that can be read.
    #[must_use]
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Self::KafkaBatch => Some(Dialect::Kafka),
            Self::RocketMessage => Some(Dialect::RocketMq),
            _ => None,
        }
    }

    /// True for frames that hold messages of a queue.
    #[must_use]
    pub fn is_data(self) -> bool {
        self == Self::Timer || self.dialect().is_some()
    }
}

/// What a frame says besides its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    /// What the payload is.
    pub kind: FrameKind,
    /// The queue it belongs to; 0 for control frames without one.
    pub queue: QueueId,
    /// Offset of the first message.
    pub base_offset: i64,
    /// Offsets taken.
    pub count: u32,
    /// Hash of the tag shared by all messages; 0 if they share none, or nobody looked.
    pub tag_hash: u32,
    /// Wall-clock milliseconds at which the owner appended it.
    pub append_time_ms: i64,
}

impl FrameMeta {
    /// A control frame's meta.
    #[must_use]
    pub fn control(kind: FrameKind, append_time_ms: i64) -> Self {
        Self { kind, queue: QueueId(0), base_offset: 0, count: 0, tag_hash: 0, append_time_ms }
    }
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Less than the frame's claimed length is there.
    #[error("frame is cut short")]
    Short,
    /// The frame's own checksum does not match.
    #[error("frame checksum does not match")]
    Checksum,
    /// The Kafka batch inside does not match its own checksum.
    #[error("record batch checksum does not match")]
    Payload,
    /// A kind this version does not know.
    #[error("unknown frame kind {0}")]
    Kind(u8),
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Bytes a frame with `payload` bytes takes in a block, padding included.
#[must_use]
pub fn frame_span(payload: usize) -> usize {
    (FRAME_HEADER + payload).next_multiple_of(8)
}

fn summed_payload(kind: u8, payload: &[u8]) -> &[u8] {
    if kind == FrameKind::KafkaBatch as u8 && payload.len() >= KAFKA_CRC_START {
        &payload[..KAFKA_CRC_START]
    } else {
        payload
    }
}

fn frame_checksum(frame: &[u8]) -> u32 {
    let (header, payload) = frame.split_at(FRAME_HEADER);
    checksum::crc32c_of(&[&header[8..], summed_payload(header[8], payload)])
}

/// Writes the header in front of a payload already in place, and zeros the padding behind it.
/// `span` is what [`frame_span`] gave for the payload.
pub fn seal_frame(span: &mut [u8], payload_bytes: usize, meta: &FrameMeta) {
    let length = FRAME_HEADER + payload_bytes;
    span[length..].fill(0);
    span[0..4].copy_from_slice(&u32::try_from(length).expect("limited by reserve").to_le_bytes());
    span[8] = meta.kind as u8;
    span[9..12].fill(0);
    span[12..16].copy_from_slice(&meta.queue.0.to_le_bytes());
    span[16..24].copy_from_slice(&meta.base_offset.to_le_bytes());
    span[24..28].copy_from_slice(&meta.count.to_le_bytes());
    span[28..32].copy_from_slice(&meta.tag_hash.to_le_bytes());
    span[32..40].copy_from_slice(&meta.append_time_ms.to_le_bytes());
    let sum = frame_checksum(&span[..length]);
    span[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// A frame's length field and checksum field, without looking further.
#[must_use]
pub fn length_and_checksum(frame: &[u8]) -> Option<(usize, u32)> {
    (frame.len() >= FRAME_HEADER).then(|| (u32_at(frame, 0) as usize, u32_at(frame, 4)))
}

/// A frame read back, borrowed from the bytes it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it says of itself.
    pub meta: FrameMeta,
    /// What it carries.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    /// Parses and verifies the frame at the start of `bytes`; bytes behind it are ignored.
    ///
    /// # Errors
    /// Any doubt about any of its bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let frame = Self::parse_head(bytes)?;
        if frame.meta.kind == FrameKind::KafkaBatch && !kafka_checksum_holds(frame.payload) {
            return Err(FrameError::Payload);
        }
        Ok(frame)
    }

    /// What the frame at the start of `bytes` says of itself, where that can be relied upon although
    /// its payload may be damaged.
    #[must_use]
    pub fn surviving_meta(bytes: &'a [u8]) -> Option<FrameMeta> {
        Self::parse_head(bytes).ok().map(|frame| frame.meta)
    }

    /// Verifies all that the frame's own checksum covers.
    fn parse_head(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (length, sum) = length_and_checksum(bytes).ok_or(FrameError::Short)?;
        if length < FRAME_HEADER || length > bytes.len() {
            return Err(FrameError::Short);
        }
        let frame = &bytes[..length];
        if frame_checksum(frame) != sum {
            return Err(FrameError::Checksum);
        }
        let meta = FrameMeta {
            kind: FrameKind::from_byte(frame[8]).ok_or(FrameError::Kind(frame[8]))?,
            queue: QueueId(u32_at(frame, 12)),
            base_offset: i64_at(frame, 16),
            count: u32_at(frame, 24),
            tag_hash: u32_at(frame, 28),
            append_time_ms: i64_at(frame, 32),
        };
        Ok(Self { meta, payload: &frame[FRAME_HEADER..] })
    }

    /// Bytes this frame takes in its block, padding included.
    #[must_use]
    pub fn span(&self) -> usize {
        frame_span(self.payload.len())
    }
}

fn kafka_checksum_holds(batch: &[u8]) -> bool {
    batch.len() >= KAFKA_CRC_START && {
        let sum = &batch[KAFKA_CRC_AT..KAFKA_CRC_START];
        checksum::crc32c(&batch[KAFKA_CRC_START..]).to_be_bytes() == sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(kind: FrameKind, payload: &[u8]) -> (Vec<u8>, FrameMeta) {
        let meta = FrameMeta {
            kind,
            queue: QueueId(7),
            base_offset: 42,
            count: 3,
            tag_hash: 9,
            append_time_ms: 1_700_000_000_000,
        };
        let mut span = vec![0xee; frame_span(payload.len())];
        span[FRAME_HEADER..FRAME_HEADER + payload.len()].copy_from_slice(payload);
        seal_frame(&mut span, payload.len(), &meta);
        (span, meta)
    }

    #[test]
    fn every_stored_byte_is_covered() {
        let mut batch = vec![5u8; 61];
        let sum = checksum::crc32c(&batch[KAFKA_CRC_START..]).to_be_bytes();
        batch[KAFKA_CRC_AT..KAFKA_CRC_START].copy_from_slice(&sum);
        for (kind, payload) in
            [(FrameKind::KafkaBatch, batch.as_slice()), (FrameKind::Group, b"payload".as_slice())]
        {
            let (span, meta) = sealed(kind, payload);
            let frame = Frame::parse(&span).unwrap();
            assert_eq!((frame.meta, frame.payload), (meta, payload));
            for at in 0..FRAME_HEADER + payload.len() {
                let mut broken = span.clone();
                broken[at] ^= 1;
                assert!(Frame::parse(&broken).is_err(), "a flip of byte {at} went unnoticed");
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let (span, _) = sealed(FrameKind::Group, b"x");
        (0..span.len() - 7).for_each(|cut| assert!(Frame::parse(&span[..cut]).is_err()));
    }
}
