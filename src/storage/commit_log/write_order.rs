//! What is written in which order, and what of it is durable: the part that writers share.

use std::{collections::VecDeque, io, path::Path, slice, sync::Arc, time::Duration};

use super::{
    block::{BLOCK_HEADER, BlockHeader, seal_block},
    log::{Building, CommitLog},
    segment::{Segment, SegmentPool, Segments},
};
use crate::base::{Position, Term};

/// Where the log continues, and how.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// The log's random id.
    pub log_id: u64,
    /// Sequence number of the next segment.
    pub next_sequence: u64,
    /// Frames already in the log.
    pub frames: u64,
    /// Blocks already in the log.
    pub blocks: u64,
    /// Envelope checksum of the last kept block, 0 if there is none.
    pub previous: u32,
    /// Zero: each write is durable. Otherwise writes are made durable together, so often, and only
    /// one is under way at a time.
    pub sync_interval: Duration,
    /// Bytes written at once at most (at least one block).
    pub write_bytes_max: u64,
    /// Frames after which a segment ends early; bounds the memory of its index.
    pub segment_frames_max: u64,
}

/// What a writer is to do.
pub(super) enum Next {
    /// To write this.
    Write(Write),
    /// To make what is written durable, then to ask again.
    Sync,
    /// Nothing.
    Nothing,
    /// Nothing, for want of disk space.
    NoSpace,
}

/// Sealed blocks on their way to the disk.
pub(super) struct Write {
    /// The segment, and its file.
    pub(super) sequence: u64,
    pub(super) path: Arc<Path>,
    /// Where in the file.
    pub(super) offset: u64,
    /// Where in the log.
    pub(super) start: Position,
    pub(super) end: Position,
    /// To be durable once it is done.
    pub(super) durable: bool,
}

struct Current {
    sequence: u64,
    path: Arc<Path>,
    base: Position,
    bytes: u64,
    /// Frames in the log before its first block.
    frames_before: u64,
}

/// A write that was begun.
struct UnderWay {
    end: Position,
    done: bool,
}

/// The order of the log's writes. Shared by its writers, one of which begins or ends a write at a
/// time; several may be under way.
pub(super) struct WriteOrder {
    log: Arc<CommitLog>,
    pool: Arc<SegmentPool>,
    segments: Arc<Segments>,
    options: WriterOptions,
    current: Option<Current>,
    /// The segment being written, until something in it is durable.
    opened: Option<Segment>,
    /// Blocks that nothing is to be added to, and that are not being written yet.
    taken: Vec<Building>,
    /// The writes under way, oldest first, and those done that an older one holds back.
    under_way: VecDeque<UnderWay>,
    /// End of what was written without a gap but, in interval mode, not yet synced.
    written: Position,
    synced_at: Duration,
    /// The last block had frames in it, so an idle log still owes an empty one.
    owes_empty: bool,
}

impl WriteOrder {
    pub(super) fn new(
        log: Arc<CommitLog>,
        pool: Arc<SegmentPool>,
        segments: Arc<Segments>,
        options: WriterOptions,
        now: Duration,
    ) -> Self {
        let written = log.durable();
        Self {
            log,
            pool,
            segments,
            options,
            current: None,
            opened: None,
            taken: Vec::new(),
            under_way: VecDeque::new(),
            written,
            synced_at: now,
            owes_empty: true,
        }
    }

    /// Begins the next write, if there is one that may be begun now. Whoever ends a write asks again.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        self.check_running()?;
        if self.by_interval() && self.is_busy() {
            return Ok(Next::Nothing);
        }
        if self.taken.is_empty() {
            self.log.take_blocks(self.options.write_bytes_max, &mut self.taken);
        }
        if self.taken.is_empty() {
            return Ok(Next::Nothing);
        }
        let next = self.next_of_taken()?;
        self.log.set_starved(matches!(next, Next::NoSpace));
        Ok(next)
    }

    fn next_of_taken(&mut self) -> io::Result<Next> {
        let first_bytes = u64::from(self.taken[0].bytes());
        let start = self.taken[0].start;
        let room = self.current.as_ref().map_or(0, |c| c.base.plus(c.bytes).0 - start.0);
        let too_small = room < first_bytes;
        // On a full disk what frames were let in for counts on all of the segment.
        if too_small || self.has_many_frames() && !self.pool.is_full() {
            if self.is_busy() {
                return Ok(Next::Nothing);
            }
            // A segment is left only when all of it is durable.
            if self.written != self.log.durable() {
                return Ok(Next::Sync);
            }
            match self.roll(start, first_bytes, too_small) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    self.report_space();
                    if too_small {
                        return Ok(Next::NoSpace);
                    }
                }
                result => result?,
            }
        }
        Ok(Next::Write(self.begin()))
    }

    /// Seals as many of the taken blocks as fit into the segment.
    fn begin(&mut self) -> Write {
        let current = self.current.as_ref().expect("a segment is open");
        let (sequence, base, path) = (current.sequence, current.base, Arc::clone(&current.path));
        let segment_end = base.plus(current.bytes);
        let count = self.taken.iter().take_while(|block| block.end() <= segment_end).count();
        self.seal(count, sequence);
        let (start, end) = (self.taken[0].start, self.taken[count - 1].end());
        self.taken.drain(..count);
        self.under_way.push_back(UnderWay { end, done: false });
        let (offset, durable) = (start.since(base), !self.by_interval());
        Write { sequence, path, offset, start, end, durable }
    }

    /// Notes that a write has come to its end. What older ones hold back becomes durable with them.
    pub(super) fn done(&mut self, write: &Write) -> io::Result<()> {
        self.check_running()?;
        let of_write = self.under_way.iter_mut().find(|other| other.end == write.end);
        of_write.expect("it was begun and has not been done").done = true;
        let before = self.written;
        while self.under_way.front().is_some_and(|oldest| oldest.done) {
            self.written = self.under_way.pop_front().expect("there is an oldest").end;
        }
        if write.durable && self.written != before {
            self.acknowledge(self.written);
        }
        Ok(())
    }

    /// Takes an empty block to be written, if the last one was not empty and nothing else is to be.
    pub(super) fn take_empty(&mut self) -> io::Result<bool> {
        self.check_running()?;
        let rests = self.taken.is_empty() && !self.is_busy() && self.written == self.log.durable();
        if !self.owes_empty || !rests {
            return Ok(false);
        }
        self.taken.extend(self.log.take_empty_block());
        Ok(!self.taken.is_empty())
    }

    /// Whether what was written is to be made durable now: at its time, or else at once.
    pub(super) fn sync_is_due(&self, now: Duration, at_once: bool) -> bool {
        let waited = now.saturating_sub(self.synced_at);
        self.has_unsynced() && (at_once || waited >= self.options.sync_interval)
    }

    /// Notes that all that was written is durable.
    pub(super) fn synced(&mut self, now: Duration) {
        self.synced_at = now;
        self.acknowledge(self.written);
    }

    /// Nothing is written or acknowledged once the log has stopped, whoever stopped it.
    pub(super) fn check_running(&self) -> io::Result<()> {
        self.log.failure().map_or(Ok(()), |failure| Err(io::Error::other(failure.to_owned())))
    }

    /// A write is under way.
    pub(super) fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Blocks were taken that could not be written.
    pub(super) fn has_taken(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Something was written that waits for a sync.
    pub(super) fn has_unsynced(&self) -> bool {
        self.by_interval() && self.written != self.log.durable()
    }

    pub(super) fn owes_empty(&self) -> bool {
        self.owes_empty
    }

    pub(super) fn sync_interval(&self) -> Duration {
        self.options.sync_interval
    }

    fn by_interval(&self) -> bool {
        !self.options.sync_interval.is_zero()
    }

    /// The segment's index has become large enough.
    fn has_many_frames(&self) -> bool {
        let frames = |current: &Current| self.options.frames - current.frames_before;
        self.current.as_ref().is_some_and(|c| frames(c) >= self.options.segment_frames_max)
    }

    /// Puts the headers in front of the first `count` taken blocks.
    fn seal(&mut self, count: usize, sequence: u64) {
        let durable_through = self.log.durable();
        for block in &self.taken[..count] {
            block.wait_filled();
            let header = BlockHeader {
                log_id: self.options.log_id,
                segment: sequence,
                position: block.start,
                durable_through,
                frames_before: self.options.frames,
                block_bytes: block.bytes(),
                previous: self.options.previous,
                term: Term(0),
                index: self.options.blocks,
                frame_count: block.frames,
                frames_bytes: block.used - BLOCK_HEADER as u32,
            };
            let (used, bytes) = (block.used as usize, block.bytes() as usize);
            // SAFETY: the block is filled and was taken out of the owners' reach, the ring keeps it
            // until it is durable, and its memory is mirrored, so it is contiguous. Readers may read
            // frames in it (of messages that wait for no disk), but no header and no padding.
            let (head, frames, padding) = unsafe {
                let at = self.log.tail().at(block.start);
                (
                    &mut *at.cast::<[u8; BLOCK_HEADER]>(),
                    slice::from_raw_parts(at.add(BLOCK_HEADER), used - BLOCK_HEADER),
                    slice::from_raw_parts_mut(at.add(used), bytes - used),
                )
            };
            padding.fill(0);
            self.options.previous = seal_block(head, frames, &header);
            self.options.frames += u64::from(block.frames);
            self.options.blocks += 1;
            self.owes_empty = block.frames > 0;
        }
    }

    fn roll(&mut self, base: Position, bytes_min: u64, must: bool) -> io::Result<()> {
        let sequence = self.options.next_sequence;
        let segment = self.pool.take(sequence, base, bytes_min, must)?;
        self.options.next_sequence += 1;
        self.current = Some(Current {
            sequence,
            path: segment.path.as_path().into(),
            base,
            bytes: segment.file_bytes,
            frames_before: self.options.frames,
        });
        assert!(self.opened.is_none(), "a segment is left only after its last sync");
        self.opened = Some(segment);
        self.report_space();
        Ok(())
    }

    /// Moves the durable position. A segment is shown to others only now that a block in it is
    /// durable: whoever drops the ones before it leaves something that recovery can go on from.
    fn acknowledge(&mut self, end: Position) {
        self.opened.take().into_iter().for_each(|segment| self.segments.push(segment));
        self.log.set_durable(end);
    }

    /// Tells the log what the disk has room for.
    pub(super) fn report_space(&self) {
        self.log.set_space(self.pool.space());
    }
}
