//! Memory for messages that were converted, and wait in answers to be sent.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};

/// Memory of one shard's queues, in bytes, for all who pull from them, on whichever shards these are
/// connected. What does not fit is not refused: a pull ends before it, and its client asks again.
#[derive(Debug)]
pub(super) struct AnswerRoom {
    left: AtomicU64,
}

impl AnswerRoom {
    pub(super) fn new(bytes: u64) -> Arc<Self> {
        Arc::new(Self { left: AtomicU64::new(bytes) })
    }

    /// Takes so many bytes, and says how many: none if there are fewer, but all these with `anyway`.
    fn take(&self, bytes: u64, anyway: bool) -> Option<u64> {
        let mut taken = bytes;
        let take = |left: u64| {
            taken = if anyway { bytes.min(left) } else { bytes };
            left.checked_sub(taken)
        };
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).ok()?;
        Some(taken)
    }
}

/// Converted messages, end to end, in room that is given back when the last of their bytes is dropped.
#[derive(Debug)]
pub(super) struct Converted {
    room: Arc<AnswerRoom>,
    taken: u64,
    bytes: BytesMut,
    messages: u32,
}

impl Converted {
    pub(super) fn new(room: &Arc<AnswerRoom>) -> Self {
        Self { room: Arc::clone(room), taken: 0, bytes: BytesMut::new(), messages: 0 }
    }

    /// Adds a message if there is room for it; with `anyway` whatever there is, so that everybody gets
    /// on. Says whether it did.
    pub(super) fn push(&mut self, record: &[u8], anyway: bool) -> bool {
        let Some(taken) = self.room.take(record.len() as u64, anyway) else { return false };
        self.taken += taken;
        self.bytes.extend_from_slice(record);
        self.messages += 1;
        true
    }

    /// The messages so far, if there are any, and how many.
    pub(super) fn split(&mut self) -> Option<(Bytes, u32)> {
        let messages = self.messages;
        (messages > 0).then(|| {
            let next = Self::new(&self.room);
            (Bytes::from_owner(mem::replace(self, next)), messages)
        })
    }
}

impl AsRef<[u8]> for Converted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Converted {
    fn drop(&mut self) {
        self.room.left.fetch_add(self.taken, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back_with_the_last_of_the_bytes() {
        let room = AnswerRoom::new(10);
        let left = || room.left.load(Ordering::Relaxed);
        let mut converted = Converted::new(&room);
        assert!(converted.split().is_none());
        assert!(converted.push(b"four", false) && converted.push(b"more", false));
        assert!(!converted.push(b"nor", false) && left() == 2);
        let (mut bytes, messages) = converted.split().unwrap();
        assert_eq!((&bytes[..], messages), (&b"fourmore"[..], 2));
        assert!(converted.push(b"anyway", true) && left() == 0);
        drop(bytes.split_to(4));
        assert_eq!(left(), 0, "its other part is kept");
        drop(bytes);
        assert_eq!(left(), 8);
        drop(converted);
        assert_eq!(left(), 10);
    }
}
