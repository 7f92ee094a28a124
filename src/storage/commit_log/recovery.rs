//! Finds the end of a log that was not closed, and tells a torn tail from damage.
//!
//! Blocks are read from the checkpoint's position on. The first one that does not verify ends the
//! log, unless something written later says that it had been durable, or may have said so and cannot
//! be read: then it is a [`Hole`], and reading goes on behind it. What lies behind the end is dead: the
//! writer goes on in a new segment whose first block follows the last kept one in the chain of
//! checksums.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use super::{
    SECTOR,
    block::{BlockError, BlockHeader},
    frame::FrameMeta,
    given_up::GivenUp,
    segment::{Segment, is_ready_name, segment_path, sequence_of},
    walk::Walk,
};
use crate::{
    base::Position,
    env::{Disk, OpenMode, is_unreadable},
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

/// A stretch of the log that had been durable and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Its first position.
    pub start: Position,
    /// The position behind it.
    pub end: Position,
    /// The file it begins in, or should.
    pub path: PathBuf,
    /// What is wrong there.
    pub reason: String,
    /// The frame that was there, where its header is left, or a void one where there was none; `None`
    /// where anything may have been.
    pub frame: Option<FrameMeta>,
}

impl Hole {
    /// True if `position` lies in it.
    #[must_use]
    pub fn holds(&self, position: Position) -> bool {
        self.start <= position && position < self.end
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end, path, reason, .. } = self;
        write!(f, "{}: positions {start} to {end}: {reason}", path.display())
    }
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
    /// Damage nobody has given up, in the log's order. With any, the log must not be written.
    pub holes: Vec<Hole>,
    /// Damage that was given up.
    pub given_up: Vec<Hole>,
    /// Number of the newest segment file without any block header: the writer had begun it.
    pub(super) begun: Option<u64>,
    /// What is left of a header at the start of one that the writer had begun.
    pub(super) remains: Option<BlockError>,
    /// Those in which acknowledged blocks may lie where the disk cannot read them, oldest first.
    pub(super) unread: Vec<Headless>,
}

/// A segment file in which no block header was found.
#[derive(Debug)]
pub(super) struct Headless {
    sequence: u64,
    pub(super) path: PathBuf,
    pub(super) file_bytes: u64,
    /// Why there is no block at its very start.
    at_start: BlockError,
    /// Further on there are sectors that cannot be read.
    is_unread: bool,
}

impl Headless {
    /// Whether something was written, and more than the remains of one write may be left of it.
    fn may_hold_more(&self) -> bool {
        self.at_start != BlockError::Absent && self.is_unread
    }
}

impl Recovered {
    /// The file in front of the log's first segment, which begins at `base`, holds no block any more.
    fn lost_front(&mut self, path: PathBuf, base: Position) {
        let reason = "nothing in the file verifies".to_owned();
        // It held one block at least; where it began nobody knows.
        let start = Position(base.0.saturating_sub(SECTOR as u64));
        self.holes.push(Hole { start, end: base, path, reason, frame: None });
    }

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

/// Reads the log in `dir` from `from` on, or from its oldest segment on for `None`, and hands every
/// frame at or behind it to `visit`. Everything before `durable` is known to have been durable, because
/// checkpoints or index files cover it.
///
/// # Errors
/// See [`RecoveryError`]; nothing on disk was changed.
pub fn recover(
    disk: &dyn Disk,
    dir: &Path,
    log_id: u64,
    from: Option<Position>,
    durable: Position,
    visit: &mut dyn FnMut(FoundFrame<'_>) -> Result<(), String>,
) -> Result<Recovered, RecoveryError> {
    let mut recovered = take_stock(disk, dir, log_id)?;
    let oldest = || recovered.segments.first().map_or(Position(0), |segment| segment.base);
    let from = from.unwrap_or_else(oldest);
    Walk { disk, dir, log_id, from, durable, visit, chain: None, recovered: &mut recovered }
        .run()?;
    let given_up = GivenUp::load(disk, dir, log_id).map_err(disk_error(dir))?;
    let accepted = |hole: &Hole| given_up.covers(hole.start, hole.end);
    (recovered.given_up, recovered.holes) = recovered.holes.drain(..).partition(accepted);
    Ok(recovered)
}

/// Reads the part of `segment` between `from` and `end`, where it ends, and hands every frame to
/// `visit`; for a segment that is no longer written, on a log that perhaps is. Returns the damage that
/// nobody has given up.
///
/// # Errors
/// See [`RecoveryError`].
pub fn read_finished(
    disk: &dyn Disk,
    log_id: u64,
    segment: &Segment,
    (from, end): (Position, Position),
    visit: &mut dyn FnMut(FoundFrame<'_>) -> Result<(), String>,
) -> Result<Vec<Hole>, RecoveryError> {
    let dir = segment.path.parent().expect("a segment lies in the log's directory");
    let mut found = Recovered::default();
    let (chain, recovered) = (None, &mut found);
    Walk { disk, dir, log_id, from, durable: end, visit, chain, recovered }.segment(
        segment,
        segment.base,
        Some(end),
    )?;
    let given_up = GivenUp::load(disk, dir, log_id).map_err(disk_error(dir))?;
    found.holes.retain(|hole| !given_up.covers(hole.start, hole.end));
    Ok(found.holes)
}

pub(super) fn disk_error(path: &Path) -> impl FnOnce(io::Error) -> RecoveryError + '_ {
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
    stock.next_sequence = sequences.last().map_or(1, |last| last + 1);
    // Segment files without a header.
    let mut headless = Vec::new();
    for sequence in sequences {
        let path = segment_path(dir, sequence);
        match first_block(disk, &path, log_id, sequence)? {
            First::Found { base, file_bytes } => {
                // The next segment is begun only once there is a durable block in this one: what was
                // left behind it without a header is damaged, and not for another use. In front of
                // the log's first segment nothing else would tell.
                if stock.segments.is_empty() {
                    headless.drain(..).rev().for_each(|lost: Headless| {
                        stock.lost_front(lost.path, base);
                    });
                }
                headless.clear();
                stock.segments.push(Segment { sequence, base, file_bytes, path });
            }
            First::Missing(lost) => headless.push(lost),
        }
    }
    stock.begun = headless.last().map(|last| last.sequence);
    stock.unread = headless.extract_if(.., |lost| lost.may_hold_more()).collect();
    let mut at_starts = headless.iter().rev().map(|lost| lost.at_start);
    stock.remains = at_starts.find(|reason| *reason != BlockError::Absent);
    stock.unused.extend(headless.into_iter().map(|lost| lost.path));
    Ok(stock)
}

/// What a segment's file begins with.
enum First {
    /// A block header, there or further on, tells where the segment begins.
    Found { base: Position, file_bytes: u64 },
    /// There is none.
    Missing(Headless),
}

fn first_block(
    disk: &dyn Disk,
    path: &Path,
    log_id: u64,
    sequence: u64,
) -> Result<First, RecoveryError> {
    let file = disk.open(path, OpenMode::Read).map_err(disk_error(path))?;
    // Where O_DIRECT is refused, pages of a write whose sync failed look clean, and are nowhere else.
    file.drop_cache().map_err(disk_error(path))?;
    let file_bytes = file.len().map_err(disk_error(path))?;
    let mut sector = vec![0; SECTOR];
    // Any block of the segment tells its base: with the first one damaged, a later one does.
    let mut offset = 0;
    let (mut at_start, mut is_unread) = (BlockError::Absent, false);
    while offset < file_bytes {
        let parsed = match file.read_at(&mut sector, offset) {
            Ok(got) => BlockHeader::parse_own(&sector[..got], log_id, sequence),
            Err(error) if is_unreadable(&error) => Err(BlockError::Unreadable),
            Err(error) => return Err(disk_error(path)(error)),
        };
        match parsed {
            Ok(header) => {
                if let Some(base) = header.position.0.checked_sub(offset).map(Position) {
                    return Ok(First::Found { base, file_bytes });
                }
            }
            Err(reason @ BlockError::Version(_)) => {
                return Err(RecoveryError::Version { sequence, path: path.to_owned(), reason });
            }
            Err(reason) if offset == 0 => at_start = reason,
            Err(reason) => is_unread |= reason == BlockError::Unreadable,
        }
        offset += SECTOR as u64;
    }
    let path = path.to_owned();
    Ok(First::Missing(Headless { sequence, path, file_bytes, at_start, is_unread }))
}
