//! What a timer's frame carries: the message as it will be stored, and when and where to.
//!
//! ```text
//!  0 due ms i64   8 queue u32   12 tag hash u32   16 frame kind of the message u8   17 zero   24 message
//! ```
//! Little endian. The frame's own tag hash is that of the id by which the timer can be recalled.

use crate::{
    base::{Dialect, QueueId},
    broker::filter::TagHash,
    storage::commit_log::frame::FrameKind,
};

/// Bytes before the message.
const HEADER: usize = 24;

/// A message that waits for its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct TimerFrame<'a> {
    /// When it is to be delivered, milliseconds since 1970.
    pub(in crate::broker) due_ms: i64,
    /// The queue it goes to then.
    pub(in crate::broker) queue: QueueId,
    /// By which consumers filter it there.
    pub(in crate::broker) tag_hash: TagHash,
    /// Whose wire form the message has.
    pub(in crate::broker) dialect: Dialect,
    /// The message, whole but for what that queue's owner assigns.
    pub(in crate::broker) message: &'a [u8],
}

impl<'a> TimerFrame<'a> {
    /// Bytes of payload it takes.
    pub(in crate::broker) fn bytes(&self) -> usize {
        Self::bytes_for(self.message.len())
    }

    /// Bytes of payload that one with a message of so many bytes takes.
    pub(in crate::broker) fn bytes_for(message: usize) -> usize {
        HEADER + message
    }

    /// Writes it over `payload`, which has [`TimerFrame::bytes`] bytes.
    pub(in crate::broker) fn write(&self, payload: &mut [u8]) {
        let kind = match self.dialect {
            Dialect::Kafka => FrameKind::KafkaBatch,
            Dialect::RocketMq => FrameKind::RocketMessage,
        };
        payload[..HEADER].fill(0);
        payload[0..8].copy_from_slice(&self.due_ms.to_le_bytes());
        payload[8..12].copy_from_slice(&self.queue.0.to_le_bytes());
        payload[12..16].copy_from_slice(&self.tag_hash.0.to_le_bytes());
        payload[16] = kind as u8;
        payload[HEADER..].copy_from_slice(self.message);
    }

    /// Reads what [`TimerFrame::write`] wrote.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(in crate::broker) fn parse(payload: &'a [u8]) -> Result<Self, String> {
        let Some((header, message)) = payload.split_at_checked(HEADER) else {
            return Err(format!("a timer of {} bytes is too short", payload.len()));
        };
        let u32_at = |at: usize| {
            u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes of the header"))
        };
        let due = header[..8].try_into().expect("eight bytes of the header");
        let dialect = FrameKind::from_byte(header[16]).and_then(FrameKind::dialect);
        Ok(Self {
            due_ms: i64::from_le_bytes(due),
            queue: QueueId(u32_at(8)),
            tag_hash: TagHash(u32_at(12)),
            dialect: dialect.ok_or_else(|| format!("a timer holds no message: {}", header[16]))?,
            message,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_return() {
        for dialect in [Dialect::Kafka, Dialect::RocketMq] {
            let (queue, tag_hash) = (QueueId(0x00ab_cdef), TagHash(7));
            let message = b"a message".as_slice();
            let timer = TimerFrame { due_ms: i64::MAX - 1, queue, tag_hash, dialect, message };
            let mut payload = vec![0xee; timer.bytes()];
            timer.write(&mut payload);
            assert_eq!(TimerFrame::parse(&payload), Ok(timer));
            assert!(TimerFrame::parse(&payload[..HEADER - 1]).is_err());
            payload[16] = FrameKind::Group as u8;
            assert!(TimerFrame::parse(&payload).is_err());
        }
    }
}
