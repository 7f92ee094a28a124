//! Goes through a log block by block: shows the frames, passes over what is damaged, finds the end.

use std::path::{Path, PathBuf};

use super::{
    SECTOR,
    block::{BlockError, BlockHeader},
    frame::{FRAME_HEADER, Frame, FrameKind, FrameMeta},
    recovery::{FoundFrame, Hole, Recovered, RecoveryError, disk_error},
    scan::SegmentScan,
    segment::{Segment, segment_path},
};
use crate::{base::Position, env::Disk};

/// What the next block must say of the ones before it.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    /// `None` behind a hole: how many blocks and frames were lost in it nobody knows.
    previous: Option<u32>,
    frames: u64,
    blocks: u64,
}

impl Chain {
    fn precedes(&self, header: &BlockHeader) -> bool {
        match self.previous {
            Some(previous) => {
                header.previous == previous
                    && header.frames_before == self.frames
                    && header.index == self.blocks
            }
            None => header.frames_before >= self.frames && header.index >= self.blocks,
        }
    }

    /// True if all frames before `header`'s block are known.
    fn is_known_to_reach(&self, header: &BlockHeader) -> bool {
        self.previous.is_some() && header.frames_before == self.frames
    }

    /// The chain behind a block.
    fn behind(header: &BlockHeader, checksum: u32) -> Self {
        Self {
            previous: Some(checksum),
            frames: header.frames_before + u64::from(header.frame_count),
            blocks: header.index + 1,
        }
    }
}

/// A walk through the log's blocks, from its oldest needed one to its end.
pub(super) struct Walk<'a> {
    pub(super) disk: &'a dyn Disk,
    pub(super) dir: &'a Path,
    pub(super) log_id: u64,
    /// Frames in front of this are not shown.
    pub(super) from: Position,
    /// Everything in front of this is known to have been durable.
    pub(super) durable: Position,
    pub(super) visit: &'a mut dyn FnMut(FoundFrame<'_>) -> Result<(), String>,
    /// `None` until there is a block.
    pub(super) chain: Option<Chain>,
    pub(super) recovered: &'a mut Recovered,
}

impl Walk<'_> {
    /// Walks to the log's end and fills in what was recovered.
    pub(super) fn run(&mut self) -> Result<(), RecoveryError> {
        let segments = std::mem::take(&mut self.recovered.segments);
        // The segment that holds `from`; the one before it where `from` is a border, because the
        // one behind may hold nothing yet and the chain must be picked up somewhere.
        let first = segments.partition_point(|s| s.base < self.from).saturating_sub(1);
        for pair in segments[..segments.len().min(first + 1)].windows(2) {
            let end = pair[0].base.plus(pair[0].file_bytes);
            if end < pair[1].base {
                self.missing(pair[0].sequence + 1, end, pair[1].base);
            }
        }
        let mut at = segments.get(first).map_or(Position(0), |segment| segment.base);
        if at > self.from {
            // What lay in front of the first segment is part of that.
            self.recovered.holes.clear();
            self.missing(segments[first].sequence.saturating_sub(1), self.from, at);
        }
        for (index, segment) in segments.iter().enumerate().skip(first) {
            let limit = segments.get(index + 1).map(|next| next.base);
            at = self.segment(segment, at, limit)?;
        }
        for unread in std::mem::take(&mut self.recovered.unread) {
            let end = at.plus(unread.file_bytes);
            self.hole(at, end, unread.path, BlockError::Unreadable.to_string());
            at = end;
        }
        if at < self.durable {
            let last = segments.last().map_or(0, |segment| segment.sequence);
            self.missing(last + 1, at, self.durable);
            at = self.durable;
        }
        if let Some(reason) = self.recovered.remains {
            self.recovered.torn = Some((at, reason.to_string()));
        }
        self.recovered.segments = segments;
        self.recovered.end = at;
        let chain = self.chain.unwrap_or(Chain { previous: None, frames: 0, blocks: 0 });
        self.recovered.previous = chain.previous.unwrap_or(0);
        self.recovered.frames = chain.frames;
        self.recovered.blocks = chain.blocks;
        Ok(())
    }

    /// No file holds what was durable from `start` to `end`; it should be in segment `sequence`.
    fn missing(&mut self, sequence: u64, start: Position, end: Position) {
        let path = segment_path(self.dir, sequence);
        let reason = "the file is missing, or nothing in it verifies".to_owned();
        self.hole(start, end, path, reason);
    }

    /// Notes that nobody knows what was from `start` to `end`.
    fn hole(&mut self, start: Position, end: Position, path: PathBuf, reason: String) {
        self.recovered.holes.push(Hole { start, end, path, reason, frame: None });
        self.break_chain();
    }

    /// What comes next follows blocks nobody has seen.
    fn break_chain(&mut self) {
        self.chain = self.chain.map(|chain| Chain { previous: None, ..chain });
    }

    /// Reads one segment from `at` to `limit`, where the next segment begins, or to the log's end.
    pub(super) fn segment(
        &mut self,
        segment: &Segment,
        mut at: Position,
        limit: Option<Position>,
    ) -> Result<Position, RecoveryError> {
        let path = &segment.path;
        let mut scan = SegmentScan::open(self.disk, path, segment.sequence, segment.base)
            .map_err(disk_error(path))?;
        let stop = limit.unwrap_or(Position(scan.end().0.next_multiple_of(SECTOR as u64)));
        while at < stop {
            let found = scan.block(self.log_id, at).map_err(disk_error(path))?;
            let reason = match found {
                Ok(block) if self.follows(&block.header) => {
                    for frame in block.frames() {
                        let (offset, frame) = frame.expect("the block was verified");
                        self.visit(at, offset, &frame)?;
                    }
                    self.chain = Some(Chain::behind(&block.header, block.checksum));
                    at = at.plus(u64::from(block.header.block_bytes));
                    continue;
                }
                Ok(_) => "the block does not follow the one before it".to_owned(),
                Err(error @ BlockError::Version(_)) => {
                    return Err(RecoveryError::Version {
                        sequence: segment.sequence,
                        path: path.clone(),
                        reason: error,
                    });
                }
                Err(error) => error.to_string(),
            };
            if !self.was_durable(&mut scan, segment, at, limit, &reason)? {
                return Ok(at);
            }
            at = self.pass_over(&mut scan, segment, at, stop, reason)?;
        }
        Ok(at)
    }

    fn visit(
        &mut self,
        block_at: Position,
        offset: usize,
        frame: &Frame<'_>,
    ) -> Result<(), RecoveryError> {
        if block_at < self.from {
            return Ok(());
        }
        let payload_at = block_at.plus((offset + FRAME_HEADER) as u64);
        let found = FoundFrame { payload_at, meta: frame.meta, payload: frame.payload };
        (self.visit)(found).map_err(|reason| RecoveryError::Frame { position: payload_at, reason })
    }

    fn follows(&self, header: &BlockHeader) -> bool {
        self.chain.is_none_or(|chain| chain.precedes(header))
    }

    /// The block at `at` is not there. Tells whether something says that it was once durable; notes
    /// the remains of a write that was cut off where nothing does.
    fn was_durable(
        &mut self,
        scan: &mut SegmentScan,
        segment: &Segment,
        at: Position,
        limit: Option<Position>,
        reason: &str,
    ) -> Result<bool, RecoveryError> {
        // A later segment was begun only after everything before it was durable.
        if limit.is_some() || at < self.durable {
            return Ok(true);
        }
        let path = &segment.path;
        let header = scan.header(self.log_id, at).map_err(disk_error(path))?;
        let length = header.map_or(SECTOR as u64, |header| u64::from(header.block_bytes));
        let mut remains = reason != BlockError::Absent.to_string();
        let mut next = at.plus(SECTOR as u64);
        while next < scan.end() {
            match scan.block(self.log_id, next).map_err(disk_error(path))? {
                Ok(block) if block.header.durable_through > at => return Ok(true),
                Ok(_) => remains = true,
                // It may have been what says so.
                Err(BlockError::Unreadable) if remains && next >= at.plus(length) => {
                    return Ok(true);
                }
                Err(_) => {}
            }
            next = next.plus(SECTOR as u64);
        }
        // A segment that was begun says so too, although not where: whatever is left of a block
        // here, it was not being written any more.
        if remains && self.recovered.begun.is_some_and(|begun| begun > segment.sequence) {
            return Ok(true);
        }
        if remains {
            self.recovered.torn = Some((at, reason.to_owned()));
        }
        Ok(false)
    }

    /// Notes what is lost of the block at `at` and shows what is left of it; returns where reading
    /// goes on.
    fn pass_over(
        &mut self,
        scan: &mut SegmentScan,
        segment: &Segment,
        at: Position,
        stop: Position,
        reason: String,
    ) -> Result<Position, RecoveryError> {
        let path = &segment.path;
        let salvage = scan.salvage(self.log_id, at).map_err(disk_error(path))?;
        if let Some(salvage) = salvage.filter(|salvage| self.follows(&salvage.header)) {
            for (offset, frame) in &salvage.frames {
                self.visit(at, *offset, frame)?;
            }
            for lost in &salvage.lost {
                let (start, end) = (at.plus(lost.start as u64), at.plus(lost.end as u64));
                let (path, reason) = (path.clone(), lost.reason.to_string());
                self.recovered.holes.push(Hole { start, end, path, reason, frame: lost.meta });
            }
            self.chain = Some(Chain::behind(&salvage.header, salvage.checksum));
            return Ok(at.plus(u64::from(salvage.header.block_bytes)));
        }
        let (mut end, mut frame) = (at.plus(SECTOR as u64).min(stop), None);
        while end < stop {
            let header = scan.header(self.log_id, end).map_err(disk_error(path))?;
            if let Some(header) = header.filter(|header| self.may_follow(header)) {
                // Blocks without frames are all that is missing.
                let empty = self.chain.is_some_and(|chain| chain.is_known_to_reach(&header));
                frame = empty.then(|| FrameMeta::control(FrameKind::Void, 0));
                break;
            }
            end = if end < scan.end() { end.plus(SECTOR as u64) } else { stop };
        }
        let path = if at < scan.end() { path.clone() } else { self.next_path(segment) };
        self.recovered.holes.push(Hole { start: at, end, path, reason, frame });
        self.break_chain();
        Ok(end)
    }

    fn next_path(&self, segment: &Segment) -> PathBuf {
        segment_path(self.dir, segment.sequence + 1)
    }

    /// Whether a block may come after a hole.
    fn may_follow(&self, header: &BlockHeader) -> bool {
        self.chain.is_none_or(|chain| Chain { previous: None, ..chain }.precedes(header))
    }
}
