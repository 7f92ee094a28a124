//! The line of those who wait for room in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, SemaphorePermit};

/// One line for all shards. Only its first has a try at the room that comes free; for the others as
/// much is kept as they want, so that nobody who comes later gets ahead of them.
pub(super) struct Line {
    first: Semaphore,
    wanted: AtomicU64,
}

impl Default for Line {
    fn default() -> Self {
        Self { first: Semaphore::new(1), wanted: AtomicU64::new(0) }
    }
}

impl Line {
    /// Bytes that all in the line want together.
    pub(super) fn wanted(&self) -> u64 {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Ends when this is the first in the line.
    pub(super) async fn wait(&self, bytes: u64) -> Turn<'_> {
        self.wanted.fetch_add(bytes, Ordering::Relaxed);
        // Before anything is awaited, so that who gives up is counted no longer.
        let mut turn = Turn { line: self, bytes, first: None };
        turn.first = Some(self.first.acquire().await.expect("the line is never closed"));
        turn
    }
}

/// The first place in the line, left when dropped. Stays on its shard.
pub struct Turn<'a> {
    line: &'a Line,
    bytes: u64,
    first: Option<SemaphorePermit<'a>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.line.wanted.fetch_sub(self.bytes, Ordering::Relaxed);
        drop(self.first.take());
    }
}
