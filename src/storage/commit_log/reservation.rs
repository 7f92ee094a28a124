//! Room in the log, and the frame that comes into it.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use super::{
    CommitLog,
    frame::{FRAME_HEADER, FrameKind, FrameMeta, frame_span, seal_frame},
};
use crate::base::Position;

/// Why there is no room for a frame now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Too many bytes wait for the disk; try again when the durable position has moved.
    #[error("the log is busy")]
    Busy,
    /// No disk space for messages; control frames may still fit.
    #[error("no disk space is left for messages")]
    DiskFull,
    /// The payload is longer than any frame may be.
    #[error("the payload is too long for the log")]
    TooLong,
    /// The log has stopped for good, see [`CommitLog::failure`], or is closed.
    #[error("the log has stopped")]
    Stopped,
}

/// Where a committed frame lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Position of the payload's first byte.
    pub payload: Position,
    /// Durable once the log's durable position is at least this.
    pub end: Position,
}

/// Room for one frame in the log. Dropping it uncommitted leaves a frame to be skipped.
pub struct Reservation<'a> {
    pub(super) log: &'a CommitLog,
    pub(super) start: Position,
    pub(super) payload_bytes: usize,
    /// Counts the reservations of its block; none once it is sealed.
    pub(super) unfilled: Option<Arc<AtomicU32>>,
}

impl Reservation<'_> {
    fn span(&mut self) -> &mut [u8] {
        // SAFETY: the range was reserved for this value alone, the tail has made room for it (no
        // reader is in it), and it is not written to disk before `unfilled` says it is filled.
        unsafe {
            std::slice::from_raw_parts_mut(
                self.log.tail().at(self.start),
                frame_span(self.payload_bytes),
            )
        }
    }

    /// The payload, to be overwritten whole; it holds old bytes.
    pub fn payload(&mut self) -> &mut [u8] {
        let bytes = self.payload_bytes;
        &mut self.span()[FRAME_HEADER..FRAME_HEADER + bytes]
    }

    /// Seals the frame and gives its block to the writer. Wake the writer afterwards.
    pub fn commit(mut self, meta: &FrameMeta) -> Appended {
        self.seal(meta);
        Appended {
            payload: self.start.plus(FRAME_HEADER as u64),
            end: self.start.plus(frame_span(self.payload_bytes) as u64),
        }
    }

    fn seal(&mut self, meta: &FrameMeta) {
        let bytes = self.payload_bytes;
        seal_frame(self.span(), bytes, meta);
        let unfilled = self.unfilled.take().expect("a frame is sealed once");
        unfilled.fetch_sub(1, Ordering::Release);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.unfilled.is_some() {
            self.seal(&FrameMeta::control(FrameKind::Void, 0));
        }
    }
}
