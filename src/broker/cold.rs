//! Payload bytes of frames: from the hot tail where they are borrowed, else read and verified.

use std::rc::Rc;

use bytes::Bytes;

use super::Broker;
use crate::{
    base::{Position, QueueId},
    storage::{
        commit_log::{
            TailReader,
            frame::{FRAME_HEADER, Frame},
        },
        queue_index::IndexEntry,
    },
};

/// Frames so close together are read with one call, in bytes of gap.
const GAP_BYTES: u64 = 64 << 10;

/// The payload of one frame, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSlice {
    /// Where the payload begins.
    pub position: Position,
    /// Its length in bytes.
    pub length: u32,
    /// The queue it belongs to.
    pub queue: QueueId,
    /// Offset of its first message.
    pub base_offset: i64,
}

impl LogSlice {
    pub(super) fn new(queue: QueueId, entry: &IndexEntry) -> Self {
        let IndexEntry { position, length, base_offset, .. } = *entry;
        Self { position, length, queue, base_offset }
    }

    fn frame_at(&self) -> u64 {
        self.position.0 - FRAME_HEADER as u64
    }

    fn end(&self) -> u64 {
        self.position.0 + u64::from(self.length)
    }
}

/// Why a frame's bytes cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColdError {
    /// Its segment was dropped meanwhile.
    #[error("position {0} is no longer in the log")]
    Gone(Position),
    /// The disk failed.
    #[error("reading the log: {0}")]
    Disk(String),
    /// What was read is not the frame that was stored.
    #[error("the frame at position {position} is damaged: {reason}")]
    Damaged {
        /// Where its payload should be.
        position: Position,
        /// What is wrong.
        reason: String,
    },
}

impl Broker {
    /// This shard's way into the hot tail.
    #[must_use]
    pub fn tail(&self) -> &TailReader {
        &self.tail
    }

    /// Reads the payloads of `slices` from the segments, verified, in the order given. Slices that
    /// lie close together are read at once.
    ///
    /// # Errors
    /// The first trouble with any of them.
    pub async fn load(self: &Rc<Self>, slices: &[LogSlice]) -> Result<Vec<Bytes>, ColdError> {
        let mut order: Vec<usize> = (0..slices.len()).collect();
        order.sort_by_key(|&at| slices[at].position);
        let mut loaded = vec![Bytes::new(); slices.len()];
        let mut rest = order.as_slice();
        while let Some(&first) = rest.first() {
            let start = slices[first].frame_at();
            let mut end = slices[first].end();
            let near = |slice: &LogSlice, end: u64| {
                slice.frame_at() <= end + GAP_BYTES
                    && slice.end() - start <= self.settings.cold_read_bytes
            };
            let mut count = 1;
            while count < rest.len() && near(&slices[rest[count]], end) {
                end = end.max(slices[rest[count]].end());
                count += 1;
            }
            let (group, others) = rest.split_at(count);
            self.load_group(slices, group, start, end, &mut loaded).await?;
            rest = others;
        }
        Ok(loaded)
    }

    async fn load_group(
        &self,
        slices: &[LogSlice],
        group: &[usize],
        start: u64,
        end: u64,
        loaded: &mut [Bytes],
    ) -> Result<(), ColdError> {
        let segment = self
            .segments
            .locate(Position(start))
            .ok_or(ColdError::Gone(slices[group[0]].position))?;
        // Frames of one group may lie in two segments; the second part is then read by itself.
        let border = segment.base.0 + segment.file_bytes;
        let inside = |slice: &LogSlice| {
            slice.end() <= border
                && self
                    .segments
                    .locate(slice.position)
                    .is_some_and(|s| s.sequence == segment.sequence)
        };
        let here = group.iter().take_while(|&&at| inside(&slices[at])).count();
        let (here, beyond) = group.split_at(here);
        let Some(&last) = here.last() else {
            return Err(ColdError::Gone(slices[group[0]].position));
        };
        let end_here = here.iter().map(|&at| slices[at].end()).max().unwrap_or(slices[last].end());
        let _turn = self.cold_turn.acquire().await;
        let bytes = self
            .env
            .cold
            .read(&segment.path, start - segment.base.0, (end_here - start) as usize)
            .await
            .map_err(|error| ColdError::Disk(error.to_string()))?;
        let bytes = Bytes::from(bytes);
        for &at in here {
            loaded[at] = verified(&slices[at], &bytes, start)?;
        }
        drop(_turn);
        if let Some(&next) = beyond.first() {
            let start = slices[next].frame_at();
            return Box::pin(self.load_group(slices, beyond, start, end, loaded)).await;
        }
        Ok(())
    }
}

fn verified(slice: &LogSlice, bytes: &Bytes, start: u64) -> Result<Bytes, ColdError> {
    let damaged = |reason: String| ColdError::Damaged { position: slice.position, reason };
    let at = (slice.frame_at() - start) as usize;
    let frame = bytes.get(at..).ok_or_else(|| damaged("the file is too short".to_owned()))?;
    let frame = Frame::parse(frame).map_err(|error| damaged(error.to_string()))?;
    let meta = frame.meta;
    if (meta.queue, meta.base_offset) != (slice.queue, slice.base_offset)
        || frame.payload.len() != slice.length as usize
    {
        return Err(damaged("another frame is there".to_owned()));
    }
    let from = at + FRAME_HEADER;
    Ok(bytes.slice(from..from + slice.length as usize))
}
