//! Finds the end of a log that was not closed, and tells a torn tail from damage.
//!
//! Blocks are read from the checkpoint's position on. The first one that does not verify ends the
//! log, unless a later block says that it had been durable: then acknowledged data is damaged, and
//! the log is not opened. What lies behind the end is dead: the writer goes on in a new segment whose
//! first block follows the last kept one in the chain of checksums.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    SECTOR,
    block::{BlockError, BlockHeader},
    frame::{FRAME_HEADER, FrameMeta},
    scan::SegmentScan,
    segment::{Segment, is_ready_name, segment_path, sequence_of},
};
use crate::{
    base::Position,
    env::{Disk, OpenMode},
};

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk failed.
    #[error("reading {path}: {source}")]
    Disk {
        /// The file or directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Data that had been made durable does not verify.
    #[error(
        "acknowledged data is damaged: segment {sequence} ({path}) at position {position}: {reason}; \
         what was written later says that everything before position {durable_through} was durable"
    )]
    Damaged {
        /// The segment's number.
        sequence: u64,
        /// Its file.
        path: PathBuf,
        /// Where the damaged block begins.
        position: Position,
        /// What is wrong with it.
        reason: String,
        /// What later blocks witness.
        durable_through: Position,
    },
    /// A newer version of this program wrote the log.
    #[error("segment {sequence} ({path}): {reason}")]
    Version {
        /// The segment's number.
        sequence: u64,
        /// Its file.
        path: PathBuf,
        /// Which version it is and which can be read.
        reason: BlockError,
    },
    /// Segments that must exist are not there.
    #[error("the log has a gap: nothing holds positions {from} to {to}")]
    Gap {
        /// First missing position.
        from: Position,
        /// Where the log goes on.
        to: Position,
    },
    /// Whoever takes the frames in refused one.
    #[error("frame at position {position}: {reason}")]
    Frame {
        /// Where the frame's payload is.
        position: Position,
        /// Why it was refused.
        reason: String,
    },
}

/// A frame found on the way.
#[derive(Clone, Copy, Debug)]
pub struct FoundFrame<'a> {
    /// Position of the payload.
    pub payload_at: Position,
    /// What it says of itself.
    pub meta: FrameMeta,
    /// What it carries.
    pub payload: &'a [u8],
}

/// The end of the log, and what is to become of the files.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Where the log goes on.
    pub end: Position,
    /// Number of the next segment.
    pub next_sequence: u64,
    /// Frames in the log.
    pub frames: u64,
    /// Blocks in the log.
    pub blocks: u64,
    /// Envelope checksum of the last kept block.
    pub previous: u32,
    /// The segments of the log, oldest first.
    pub segments: Vec<Segment>,
    /// Files that hold nothing of the log.
    pub unused: Vec<PathBuf>,
    /// A write that was cut off by the crash, if there was one: where, and what was seen of it.
    pub torn: Option<(Position, String)>,
    /// Number of the newest segment file without any block header: the writer had begun it.
    begun: Option<u64>,
    /// One that has the remains of a header where its first block would begin.
    remains: Option<(u64, String)>,
}

impl Recovered {
    /// Cuts off what lies behind the end, durably, so that the log can go on in a new segment. The
    /// log's last file is synced in any case: its last blocks may have been found in a cache of the
    /// machine only, and from now on they count as durable.
    ///
    /// # Errors
    /// What the disk says; it may be tried again after another [`recover`].
    pub fn settle(&mut self, disk: &dyn Disk) -> io::Result<()> {
        let Some(last) = self.segments.last_mut() else { return Ok(()) };
        let used = self.end.since(last.base);
        let file = disk.open(&last.path, OpenMode::Write)?;
        if used < last.file_bytes {
            file.set_len(used)?;
            last.file_bytes = used;
        }
        file.sync()?;
        if used == 0 {
            self.unused.push(last.path.clone());
            self.segments.pop();
        }
        Ok(())
    }
}

/// Reads the log in `dir` from `from` on, or from its oldest segment on for `None`, and hands every frame at or behind it to `visit`.
///
/// # Errors
/// See [`RecoveryError`]; nothing on disk was changed.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    log_id: u64,
    from: Option<Position>,
    visit: &mut dyn FnMut(FoundFrame<'_>) -> Result<(), String>,
) -> Result<Recovered, RecoveryError> {
    let mut recovered = take_stock(disk, dir, log_id)?;
    let oldest = || recovered.segments.first().map_or(Position(0), |segment| segment.base);
    let from = from.unwrap_or_else(oldest);
    check_coverage(&recovered.segments, from)?;
    let mut walk = Walk { disk, log_id, from, visit, chain: None, recovered: &mut recovered };
    walk.run()?;
    Ok(recovered)
}

fn disk_error(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
    move |source| RecoveryError::Disk { path: path.to_path_buf(), source }
}

/// Position of the oldest byte the log in `dir` holds; 0 for a log without segments.
///
/// # Errors
/// See [`RecoveryError`].
pub fn oldest_position(
    disk: &dyn Disk,
    dir: &Path,
    log_id: u64,
) -> Result<Position, RecoveryError> {
    let stock = take_stock(disk, dir, log_id)?;
    Ok(stock.segments.first().map_or(Position(0), |segment| segment.base))
}

/// Sorts the directory's files into segments of the log and unused ones.
fn take_stock(disk: &dyn Disk, dir: &Path, log_id: u64) -> Result<Recovered, RecoveryError> {
    let mut stock = Recovered::default();
    let mut sequences = Vec::new();
    for name in disk.list(dir).map_err(disk_error(dir))? {
        if is_ready_name(&name) {
            stock.unused.push(dir.join(name));
        } else if let Some(sequence) = sequence_of(&name) {
            sequences.push(sequence);
        }
    }
    sequences.sort_unstable();
    // Segment files without a header, and what their first sector looks like.
    let mut headless: Vec<(u64, String)> = Vec::new();
    stock.next_sequence = sequences.last().map_or(1, |last| last + 1);
    for sequence in sequences {
        let path = segment_path(dir, sequence);
        match first_block(disk, &path, log_id, sequence)? {
            First::Found { base, file_bytes } => {
                if let Some((lost, reason)) = headless.first() {
                    // The next segment is begun only once there is a durable block in this one.
                    return Err(RecoveryError::Damaged {
                        sequence: *lost,
                        path: segment_path(dir, *lost),
                        position: end_of(&stock.segments),
                        reason: reason.clone(),
                        durable_through: base,
                    });
                }
                stock.segments.push(Segment { sequence, base, file_bytes, path });
            }
            First::Missing(reason) => {
                headless.push((sequence, reason.to_string()));
                if reason != BlockError::Absent {
                    stock.remains = Some((sequence, reason.to_string()));
                }
                stock.unused.push(path);
            }
        }
    }
    stock.begun = headless.pop().map(|(sequence, _)| sequence);
    Ok(stock)
}

/// Where the last file ends.
fn end_of(segments: &[Segment]) -> Position {
    segments.last().map_or(Position(0), |last| last.base.plus(last.file_bytes))
}

/// What a segment's file begins with.
enum First {
    /// A block header, there or further on, tells where the segment begins.
    Found { base: Position, file_bytes: u64 },
    /// There is none; why there is no block at its very start.
    Missing(BlockError),
}

fn first_block(
    disk: &dyn Disk,
    path: &Path,
    log_id: u64,
    sequence: u64,
) -> Result<First, RecoveryError> {
    let file = disk.open(path, OpenMode::Read).map_err(disk_error(path))?;
    let file_bytes = file.len().map_err(disk_error(path))?;
    let mut sector = vec![0; SECTOR];
    // Any block of the segment tells its base: with the first one damaged, a later one does.
    let mut offset = 0;
    let mut at_start = BlockError::Absent;
    while offset < file_bytes {
        let got = file.read_at(&mut sector, offset).map_err(disk_error(path))?;
        match BlockHeader::parse_own(&sector[..got], log_id, sequence) {
            Ok(header) => {
                if let Some(base) = header.position.0.checked_sub(offset).map(Position) {
                    return Ok(First::Found { base, file_bytes });
                }
            }
            Err(reason @ BlockError::Version(_)) => {
                return Err(RecoveryError::Version { sequence, path: path.to_owned(), reason });
            }
            Err(reason) if offset == 0 => at_start = reason,
            Err(_) => {}
        }
        offset += SECTOR as u64;
    }
    Ok(First::Missing(at_start))
}

fn check_coverage(segments: &[Segment], from: Position) -> Result<(), RecoveryError> {
    let first = segments.first().map_or(Position(0), |segment| segment.base);
    if first > from {
        return Err(RecoveryError::Gap { from, to: first });
    }
    for pair in segments.windows(2) {
        let end = pair[0].base.plus(pair[0].file_bytes);
        if pair[1].base > end {
            return Err(RecoveryError::Gap { from: end, to: pair[1].base });
        }
    }
    let end = end_of(segments);
    if end < from {
        return Err(RecoveryError::Gap { from: end, to: from });
    }
    Ok(())
}

/// What the next block must say of the ones before it.
#[derive(Clone, Copy)]
struct Chain {
    previous: u32,
    frames: u64,
    blocks: u64,
}

struct Walk<'a> {
    disk: &'a dyn Disk,
    log_id: u64,
    from: Position,
    visit: &'a mut dyn FnMut(FoundFrame<'_>) -> Result<(), String>,
    chain: Option<Chain>,
    recovered: &'a mut Recovered,
}

impl Walk<'_> {
    fn run(&mut self) -> Result<(), RecoveryError> {
        let segments = std::mem::take(&mut self.recovered.segments);
        // The segment that holds `from`; the one before it where `from` is a border, because the
        // one behind may hold nothing yet and the chain must be picked up somewhere.
        let first = segments.partition_point(|s| s.base < self.from).saturating_sub(1);
        let mut at = segments.get(first).map_or(self.from, |segment| segment.base);
        for (index, segment) in segments.iter().enumerate().skip(first) {
            let limit = segments.get(index + 1).map(|next| next.base);
            at = self.segment(segment, at, limit)?;
        }
        if at < self.from {
            return Err(RecoveryError::Gap { from: at, to: self.from });
        }
        let last = segments.last().map_or(0, |segment| segment.sequence);
        if let Some((_, reason)) = self.recovered.remains.take().filter(|(begun, _)| *begun > last)
        {
            self.recovered.torn = Some((at, reason));
        }
        self.recovered.segments = segments;
        self.recovered.end = at;
        let chain = self.chain.unwrap_or(Chain { previous: 0, frames: 0, blocks: 0 });
        self.recovered.previous = chain.previous;
        self.recovered.frames = chain.frames;
        self.recovered.blocks = chain.blocks;
        Ok(())
    }

    /// Reads one segment from `at` to `limit`, where the next segment begins, or to the log's end.
    fn segment(
        &mut self,
        segment: &Segment,
        mut at: Position,
        limit: Option<Position>,
    ) -> Result<Position, RecoveryError> {
        let path = &segment.path;
        let mut scan = SegmentScan::open(self.disk, path, segment.sequence, segment.base)
            .map_err(disk_error(path))?;
        let stop = limit.unwrap_or(scan.end());
        while at < stop {
            let found = scan.block(self.log_id, at).map_err(disk_error(path))?;
            let reason = match found {
                Ok(block) if self.follows(&block.header) => {
                    let header = block.header;
                    self.chain = Some(Chain {
                        previous: block.checksum,
                        frames: header.frames_before + u64::from(header.frame_count),
                        blocks: header.index + 1,
                    });
                    for frame in block.frames() {
                        let (offset, frame) = frame.expect("the block was verified");
                        let payload_at = at.plus((offset + FRAME_HEADER) as u64);
                        if at >= self.from {
                            let found =
                                FoundFrame { payload_at, meta: frame.meta, payload: frame.payload };
                            (self.visit)(found).map_err(|reason| RecoveryError::Frame {
                                position: payload_at,
                                reason,
                            })?;
                        }
                    }
                    at = at.plus(u64::from(header.block_bytes));
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
            return self.broken(&mut scan, segment, at, limit, reason);
        }
        Ok(at)
    }

    fn follows(&self, header: &BlockHeader) -> bool {
        self.chain.is_none_or(|chain| {
            header.previous == chain.previous
                && header.frames_before == chain.frames
                && header.index == chain.blocks
        })
    }

    /// The block at `at` is not there. Ends the log, if nothing says that it was once durable.
    fn broken(
        &mut self,
        scan: &mut SegmentScan,
        segment: &Segment,
        at: Position,
        limit: Option<Position>,
        reason: String,
    ) -> Result<Position, RecoveryError> {
        // A later segment was begun only after everything before it was durable.
        let mut witness = limit;
        let mut seen_later = false;
        let mut next = at.plus(SECTOR as u64);
        while witness.is_none() && next < scan.end() {
            let found = scan.block(self.log_id, next).map_err(disk_error(&segment.path))?;
            if let Ok(block) = found {
                seen_later = true;
                let durable = block.header.durable_through;
                witness = (durable > at).then_some(durable);
            }
            next = next.plus(SECTOR as u64);
        }
        let remains = seen_later || reason != BlockError::Absent.to_string();
        // A segment that was begun says so too, although not where: whatever is left of a block
        // here, it was not being written any more.
        if remains && self.recovered.begun.is_some_and(|begun| begun > segment.sequence) {
            witness = witness.or(Some(at.plus(SECTOR as u64)));
        }
        if let Some(durable_through) = witness {
            return Err(RecoveryError::Damaged {
                sequence: segment.sequence,
                path: segment.path.clone(),
                position: at,
                reason,
                durable_through,
            });
        }
        if remains {
            self.recovered.torn = Some((at, reason));
        }
        Ok(at)
    }
}
