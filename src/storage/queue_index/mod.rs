//! Where the log holds each queue's messages: one entry per frame, derived from the log.
//!
//! ```text
//!  commit ──push──▶ MemoryIndex (per shard) ──seal──▶ generation ──write──▶ run file
//!                        │                                          merge ──▶ larger run file
//!  look-up ──▶ QueueIndex ──older──▶ RunSet ──ColdRead, page cache──▶ run files
//! ```
//!
//! - The unsealed part of all queues of a shard is its [`MemoryIndex`]. When a segment seals, each
//!   shard freezes its part as a [`Generation`] and shares it with the housekeeper.
//! - The housekeeper's [`RunStore`] writes all shards' generations of a segment as one [`Run`] file and
//!   merges neighbouring runs. Shards get the new list and drop what it covers.
//! - A shard's [`QueueIndex`] answers from both; an entry is found in exactly one of them at any
//!   moment.
//!
//! A queue's offsets ascend with the log's positions. A queue never owns a file. A page that does
//! not verify is an error, never another answer.

mod index;
mod memory;
mod merge;
#[cfg(test)]
mod model_tests;
mod page;
mod page_cache;
mod run;
mod run_set;
mod run_writer;
mod scan;
mod store;
#[cfg(test)]
mod tests;

use std::{io, path::PathBuf};

pub use index::QueueIndex;
pub use memory::{Generation, MemoryIndex};
pub use merge::runs_to_merge;
pub use page::DirectoryEntry;
pub use run::{Run, RunList};
pub use run_set::RunSet;
pub use scan::{DirectoryScan, RunSummary, each_entry, verify};
pub use store::{DamagedRun, OpenReport, RunStore};

use crate::{
    base::{Dialect, Position, QueueId},
    env::is_unreadable,
};

/// Where one frame of a queue lies in the log, and what look-ups need to know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexEntry {
    /// The first offset of the frame.
    pub base_offset: i64,
    /// The frame's first byte in the log.
    pub position: Position,
    /// The highest timestamp of the frame's records, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// When the broker appended the frame, in milliseconds since 1970.
    pub append_time: i64,
    /// The frame's bytes in the log.
    pub length: u32,
    /// How many offsets the frame takes; at least one.
    pub count: u32,
    /// Hash of the tag all its records carry; what it means is the broker's.
    pub tag_hash: u32,
    /// Whose wire form the frame's payload has.
    pub dialect: Dialect,
}

const _: () = assert!(size_of::<IndexEntry>() == 48);

impl IndexEntry {
    /// The offset after the frame's last one.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.count as i64)
    }
}

/// A stretch of the log: `[start, end)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRange {
    /// The first position inside.
    pub start: Position,
    /// The first position behind it.
    pub end: Position,
}

impl LogRange {
    /// The stretch from `start` up to `end`.
    ///
    /// # Panics
    /// When `end` lies before `start`.
    #[must_use]
    pub fn new(start: Position, end: Position) -> Self {
        assert!(start <= end, "a stretch of the log does not end before it starts");
        Self { start, end }
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }
}

/// How much a range look-up may return. The first entry is always returned.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// At most so many entries.
    pub entries: usize,
    /// Frames of at most so many bytes together.
    pub bytes: u64,
}

/// So many entries have room from the beginning: RocketMQ's clients pull 32 messages at a time.
const FEW: usize = 32;

/// Entries being gathered under a budget.
struct Gathered {
    budget: Budget,
    bytes: u64,
    entries: Vec<IndexEntry>,
}

impl Gathered {
    fn new(budget: Budget) -> Self {
        let entries = Vec::with_capacity(budget.entries.min(FEW));
        Self { budget, bytes: 0, entries }
    }

    /// Takes an entry if the budget allows; false once it is spent.
    fn push(&mut self, entry: IndexEntry) -> bool {
        let bytes = self.bytes + u64::from(entry.length);
        let fits = self.entries.len() < self.budget.entries && bytes <= self.budget.bytes;
        if fits || self.entries.is_empty() {
            self.entries.push(entry);
            self.bytes = bytes;
            return true;
        }
        false
    }
}

/// Why an index could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The machine failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// A page does not hold what was written. The run can be rebuilt from the log.
    #[error("{}: page {page}: {what}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The page, in units of 4 KiB.
        page: u32,
        /// What is wrong.
        what: &'static str,
    },
    /// The run was written by a version of the broker that this one does not know.
    #[error("{}: format version {version} is not known", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// Entries came in an order a run cannot hold.
    #[error(
        "queue {queue}: the entry of offset {offset} does not follow the one before, or is empty"
    )]
    Unordered {
        /// The entry's queue.
        queue: QueueId,
        /// The entry's first offset.
        offset: i64,
    },
    /// A run would leave a hole in front of itself, or overlap another.
    #[error("a run of positions {} to {} does not join the runs that there are", covers.start, covers.end)]
    NotAdjacent {
        /// What the run was to cover.
        covers: LogRange,
    },
}

impl IndexError {
    /// Whether a run's file does not hold, or does not give back, what was written: it is to be
    /// rebuilt from the log. Any other failure, as too many open files, may pass.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. } => true,
            Self::Io { source, .. } => {
                source.kind() == io::ErrorKind::NotFound || is_unreadable(source)
            }
            Self::Version { .. } | Self::Unordered { .. } | Self::NotAdjacent { .. } => false,
        }
    }
}

type Result<T, E = IndexError> = std::result::Result<T, E>;
