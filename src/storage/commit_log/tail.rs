//! The hot tail: the last bytes of the log, in a ring of memory.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{log::CommitLog, spin::spin_until};
use crate::{base::Position, env::mirror::MirrorMemory};

/// No read is under way.
const UNPINNED: u64 = u64::MAX;

/// How far the ring's start is moved at a time, in bytes, so that pins are looked at rarely.
const ADVANCE: u64 = 1 << 20;

/// The ring. Written by whoever reserved a range, once, before it is committed; read by shards
/// after it was made visible; overwritten a whole ring later.
///
/// A reader publishes the lowest position it touches and then checks that it is still inside; the
/// writing side moves the start and then looks at what is published. Both do so in one total order,
/// so at least one of them sees the other.
pub(super) struct Tail {
    memory: MirrorMemory,
    start: AtomicU64,
    pins: Box<[AtomicU64]>,
}

impl Tail {
    pub(super) fn new(memory: MirrorMemory, readers: usize, start: Position) -> Self {
        let pins = (0..readers).map(|_| AtomicU64::new(UNPINNED)).collect();
        Self { memory, start: AtomicU64::new(start.0), pins }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.memory.capacity() as u64
    }

    pub(super) fn at(&self, position: Position) -> *mut u8 {
        self.memory.at(position.0)
    }

    /// Takes memory for `positions`, which may be in use.
    pub(super) fn populate(&self, positions: Range<u64>) -> io::Result<()> {
        self.memory.populate(positions.start, (positions.end - positions.start) as usize)
    }

    pub(super) fn start(&self) -> Position {
        Position(self.start.load(Ordering::Relaxed))
    }

    /// Makes room up to `end`: afterwards nobody reads what lies a ring before it. Called by one
    /// thread at a time (the holder of the log's reservation lock).
    pub(super) fn make_room(&self, end: Position) {
        let needed = end.0.saturating_sub(self.capacity());
        if needed <= self.start.load(Ordering::Relaxed) {
            return;
        }
        // A little more than needed, but never what lies behind `end` by less than half a ring.
        let start = (needed + ADVANCE.min(self.capacity() / 8)).min(end.0);
        self.start.store(start, Ordering::SeqCst);
        for pin in &self.pins {
            // A pin lasts for one socket write.
            spin_until(|| pin.load(Ordering::SeqCst) >= start);
        }
    }
}

/// One shard's way into the hot tail. Stays on its shard.
pub struct TailReader {
    log: Arc<CommitLog>,
    slot: usize,
}

impl TailReader {
    pub(super) fn new(log: Arc<CommitLog>, slot: usize) -> Self {
        assert!(slot < log.tail().pins.len(), "the log was made for fewer readers");
        Self { log, slot }
    }

    /// Calls `read` with access to everything from `oldest` on, or returns `None` if that has
    /// already left the tail.
    ///
    /// Writers of the log may wait until `read` returns: it must not wait for anything.
    pub fn with<R>(&self, oldest: Position, read: impl FnOnce(&TailView<'_>) -> R) -> Option<R> {
        let tail = self.log.tail();
        let pin = &tail.pins[self.slot];
        let before = pin.swap(oldest.0, Ordering::SeqCst);
        assert_eq!(before, UNPINNED, "one read at a time: a second would unpin the first");
        let result = (tail.start.load(Ordering::SeqCst) <= oldest.0)
            .then(|| read(&TailView { log: &self.log, oldest }));
        pin.store(UNPINNED, Ordering::Release);
        result
    }

    /// The lowest position still in the tail; it may be gone by the time it is read.
    #[must_use]
    pub fn start(&self) -> Position {
        self.log.tail().start()
    }
}

/// The tail while it is held in place for one read.
pub struct TailView<'a> {
    log: &'a CommitLog,
    oldest: Position,
}

impl TailView<'_> {
    /// The `length` bytes at `position`, which must have been committed by their owner.
    #[must_use]
    pub fn slice(&self, position: Position, length: usize) -> &[u8] {
        let tail = self.log.tail();
        assert!(self.oldest <= position, "read before the pinned position");
        assert!(position.0 + length as u64 <= self.log.reserved().0, "read past the log's end");
        assert!(length as u64 <= tail.capacity());
        // SAFETY: the pin keeps [oldest, oldest + capacity) from being overwritten while `self`
        // lives; the range was filled before its position became known to this reader (the owner
        // passes positions on only after it committed the frame), and the memory is mirrored, so
        // that `length` bytes are contiguous.
        unsafe { std::slice::from_raw_parts(tail.at(position), length) }
    }
}
