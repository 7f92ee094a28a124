//! Payload bytes of frames: from the hot tail where they are borrowed, else read and verified.

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use super::{Broker, read_ahead::Stretch};
use crate::{
    base::{Dialect, Position, QueueId},
    env::{ColdBytes, is_unreadable},
    storage::{
        commit_log::{
            TailReader,
            frame::{FRAME_HEADER, Frame},
            segment::Segment,
        },
        queue_index::IndexEntry,
    },
};

/// Frames so close together are read with one call, in bytes of gap.
pub(super) const GAP_BYTES: u64 = 64 << 10;

/// Of a stretch of which less than this part is wanted, copies are given out: what waits to be sent
/// would keep all of it.
const WORTH_KEEPING: usize = 8;

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
    /// Whose wire form it has.
    pub dialect: Dialect,
}

impl LogSlice {
    pub(super) fn new(queue: QueueId, entry: &IndexEntry) -> Self {
        let IndexEntry { position, length, base_offset, dialect, .. } = *entry;
        Self { position, length, queue, base_offset, dialect }
    }

    /// Where its frame lies, in bytes of position.
    fn frame(&self) -> Range<u64> {
        self.position.0 - FRAME_HEADER as u64..self.position.0 + u64::from(self.length)
    }
}

/// Why a frame's bytes cannot be had. Sectors that the disk does not give back are damage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ColdError {
    /// Its segment was dropped meanwhile.
    #[error("position {0} is no longer in the log")]
    Gone(Position),
    /// The disk failed.
    #[error("reading the log: {0}")]
    Disk(String),
    /// What was read is not the frame that was stored.
    #[error("{}: the frame at position {position} is damaged: {reason}", path.display())]
    Damaged {
        /// The segment's file.
        path: PathBuf,
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
    /// lie close together, of whatever queues, are read at once, and what follows with them (see
    /// [`read_ahead`](super::read_ahead)).
    pub async fn load(self: &Rc<Self>, slices: &[LogSlice]) -> Vec<Result<ColdBytes, ColdError>> {
        let mut order: Vec<usize> = (0..slices.len()).collect();
        order.sort_unstable_by_key(|&at| slices[at].position);
        let mut loaded: Vec<_> =
            slices.iter().map(|slice| Err(ColdError::Gone(slice.position))).collect();
        let mut rest = order.as_slice();
        while let Some(&first) = rest.first() {
            let Some(segment) = self.segments.locate(slices[first].position) else {
                rest = &rest[1..];
                continue;
            };
            let stretch = self
                .read_ahead
                .kept(&slices[first].frame())
                .unwrap_or_else(|| self.begin_reading(&segment, slices, rest));
            let inside = |at: &&usize| slices[**at].frame().end <= stretch.range.end;
            let (group, others) = rest.split_at(rest.iter().take_while(inside).count());
            stretch.use_until(slices[group[group.len() - 1]].frame().end);
            let read =
                stretch.bytes.get_or_try_init(|| self.read_range(&segment, &stretch.range)).await;
            if read.as_ref().is_err_and(is_unreadable) {
                self.read_ahead.forget(&stretch);
            }
            let wanted: usize = group.iter().map(|&at| slices[at].length as usize).sum();
            let is_little = |bytes: &ColdBytes| wanted < bytes.len() / WORTH_KEEPING;
            for &at in group {
                loaded[at] = match &read {
                    Ok(bytes) => verified(&slices[at], bytes, stretch.range.start, &segment.path)
                        .map(|found| if is_little(bytes) { found.copied() } else { found }),
                    Err(error) if is_unreadable(error) => {
                        self.load_alone(&segment, &slices[at]).await
                    }
                    Err(error) => Err(failed(&segment.path, error)),
                };
                if let Err(ColdError::Damaged { .. }) = &loaded[at] {
                    self.count(|figures| figures.damaged_reads += 1);
                    self.read_ahead.forget(&stretch);
                }
            }
            rest = others;
        }
        loaded
    }

    /// Reads one frame of a stretch in which there is something that the disk does not give back.
    async fn load_alone(
        &self,
        segment: &Arc<Segment>,
        slice: &LogSlice,
    ) -> Result<ColdBytes, ColdError> {
        let frame = slice.frame();
        match self.read_range(segment, &frame).await {
            Ok(bytes) => verified(slice, &bytes, frame.start, &segment.path),
            Err(error) if is_unreadable(&error) => {
                Err(damaged(slice, &segment.path, error.to_string()))
            }
            Err(error) => Err(failed(&segment.path, &error)),
        }
    }

    /// Copies of the payloads of `slices`, from the hot tail or verified from the segments, in the
    /// order given: for whoever looks into them.
    pub async fn payloads(
        self: &Rc<Self>,
        slices: &[LogSlice],
    ) -> Vec<Result<ColdBytes, ColdError>> {
        let hot: Vec<_> = slices.iter().map(|slice| self.look(slice, <[u8]>::to_vec)).collect();
        let is_cold = |(slice, hot): (&LogSlice, &Option<_>)| hot.is_none().then_some(*slice);
        let cold: Vec<LogSlice> = slices.iter().zip(&hot).filter_map(is_cold).collect();
        let mut loaded = self.load(&cold).await.into_iter();
        let payloads = hot.into_iter().map(|hot| match hot {
            Some(bytes) => Ok(ColdBytes::new(Rc::new(bytes))),
            None => loaded.next().expect("one for each cold slice"),
        });
        payloads.collect()
    }

    /// Looks at a payload where it lies; `None` if it has left the hot tail. The log's writers may
    /// wait until `look` returns.
    pub(super) fn look<R>(&self, slice: &LogSlice, look: impl FnOnce(&[u8]) -> R) -> Option<R> {
        let length = slice.length as usize;
        self.tail.with(slice.position, |view| look(view.slice(slice.position, length)))
    }

    /// What to read for the first of `order` and those behind it that lie close.
    fn begin_reading(
        &self,
        segment: &Segment,
        slices: &[LogSlice],
        order: &[usize],
    ) -> Rc<Stretch> {
        let border = self.segments.end_of(segment).0;
        let mut wanted = slices[order[0]].frame();
        for &at in &order[1..] {
            let Range { start, end } = slices[at].frame();
            let near = start <= wanted.end + GAP_BYTES
                && end - wanted.start <= self.settings.cold_read_bytes
                && end <= border;
            if !near {
                break;
            }
            wanted.end = wanted.end.max(end);
        }
        // What is still in the hot tail may not be in the file yet.
        self.read_ahead.begin(&wanted, border.min(self.tail.start().0))
    }

    /// `segment` is held meanwhile, so that its file is not used for anything else.
    async fn read_range(
        &self,
        segment: &Arc<Segment>,
        range: &Range<u64>,
    ) -> io::Result<ColdBytes> {
        let _turn = self.cold_turn.acquire().await;
        let (offset, bytes) = (range.start - segment.base.0, range.end - range.start);
        self.env.cold.read_payload(&segment.path, offset, bytes as usize).await
    }
}

fn failed(path: &Path, error: &io::Error) -> ColdError {
    ColdError::Disk(format!("{}: {error}", path.display()))
}

fn damaged(slice: &LogSlice, path: &Path, reason: String) -> ColdError {
    ColdError::Damaged { path: path.to_path_buf(), position: slice.position, reason }
}

fn verified(
    slice: &LogSlice,
    bytes: &ColdBytes,
    start: u64,
    path: &Path,
) -> Result<ColdBytes, ColdError> {
    let damaged = |reason: String| damaged(slice, path, reason);
    let at = (slice.frame().start - start) as usize;
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

#[cfg(test)]
mod tests;
