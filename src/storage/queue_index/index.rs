//! One look-up interface over what is in memory and what is in runs.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{Budget, Gathered, Generation, IndexEntry, MemoryIndex, Result, RunSet, run::RunList};
use crate::{
    base::{Position, QueueId},
    env::ColdRead,
};

/// The index of a shard's queues. Lives on its shard.
///
/// Memory holds what lies behind the newest run, so that for each queue every offset in memory lies
/// behind every one in runs. Memory and the list of runs change together, between two awaits: each
/// look-up takes what it needs of memory in the same step in which it takes its list of runs.
pub struct QueueIndex {
    memory: RefCell<MemoryIndex>,
    runs: RunSet,
    /// Entries in front of this position are in runs.
    covered_end: Cell<Position>,
    installs: Cell<u64>,
}

impl QueueIndex {
    /// An index of `runs`, whose pages it caches up to `cache_bytes`. Entries come from `start` on,
    /// where the log starts, or from the newest run's end if that lies behind.
    #[must_use]
    pub fn new(cold: Rc<dyn ColdRead>, cache_bytes: usize, runs: RunList, start: Position) -> Self {
        let start = runs.last().map_or(start, |run| run.covers().end.max(start));
        Self {
            memory: RefCell::new(MemoryIndex::new(start)),
            runs: RunSet::new(cold, cache_bytes, runs),
            covered_end: Cell::new(start),
            installs: Cell::new(0),
        }
    }

    /// Adds the entry of a frame that was committed. One that a run holds already, because the log
    /// is replayed, is passed over.
    ///
    /// # Panics
    /// When the entry lies in front of what was sealed, or its offsets do not follow the queue's.
    pub fn push(&self, queue: QueueId, entry: IndexEntry) {
        if entry.position >= self.covered_end.get() {
            self.memory.borrow_mut().push(queue, entry);
        }
    }

    /// Freezes the entries in front of `end`, where a segment ends, for [`super::RunStore::write`].
    pub fn seal(&self, end: Position) -> Arc<Generation> {
        self.memory.borrow_mut().seal(end)
    }

    /// Takes over the runs of the store; memory forgets what they hold.
    pub fn install(&self, runs: RunList) {
        if let Some(newest) = runs.last() {
            let end = newest.covers().end.max(self.covered_end.get());
            self.memory.borrow_mut().drop_below(end);
            self.covered_end.set(end);
        }
        self.installs.set(self.installs.get() + 1);
        self.runs.replace(runs);
    }

    /// The first offset of a queue that is in memory, because no run holds it yet.
    #[must_use]
    pub fn unsealed_start(&self, queue: QueueId) -> Option<i64> {
        self.memory.borrow().first(queue).map(|entry| entry.base_offset)
    }

    /// Forgets what is unsealed of a deleted queue. Its number must never be used again.
    pub fn remove(&self, queue: QueueId) {
        self.memory.borrow_mut().remove(queue);
    }

    /// Bytes of memory in use: entries and cached pages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.memory.borrow().bytes() + self.runs.bytes()
    }

    /// How many entries are in memory.
    #[must_use]
    pub fn memory_entry_count(&self) -> u64 {
        self.memory.borrow().entry_count()
    }

    /// The runs in use, oldest first.
    #[must_use]
    pub fn runs(&self) -> RunList {
        self.runs.runs()
    }

    /// The entry that contains `offset`.
    ///
    /// # Errors
    /// When a page of a run cannot be read or does not verify; so for all look-ups.
    pub async fn find(&self, queue: QueueId, offset: i64) -> Result<Option<IndexEntry>> {
        let found = self.first_at_or_after(queue, offset).await?;
        Ok(found.filter(|entry| entry.base_offset <= offset))
    }

    /// The first entry that contains `offset` or lies behind it.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn first_at_or_after(
        &self,
        queue: QueueId,
        offset: i64,
    ) -> Result<Option<IndexEntry>> {
        let in_memory = self.memory.borrow().first_at_or_after(queue, offset);
        if self.is_in_memory(queue, offset) {
            return Ok(in_memory);
        }
        Ok(self.runs.first_at_or_after(queue, offset).await?.or(in_memory))
    }

    /// Entries from the one that contains `offset` on; without a gap, but perhaps fewer than the
    /// budget allows. None only if there are none.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn range(
        &self,
        queue: QueueId,
        offset: i64,
        budget: Budget,
    ) -> Result<Vec<IndexEntry>> {
        loop {
            if self.is_in_memory(queue, offset) {
                return Ok(self.memory.borrow().range(queue, offset, budget));
            }
            let installs = self.installs.get();
            let mut gathered = Gathered::new(budget);
            let goes_on = self.runs.gather(queue, offset, &mut gathered).await?;
            if goes_on && self.installs.get() == installs {
                let next = gathered.entries.last().map_or(offset, IndexEntry::next_offset);
                self.memory.borrow().gather(queue, next, &mut gathered);
                return Ok(gathered.entries);
            }
            // What follows the list of runs may have left memory meanwhile.
            if !gathered.entries.is_empty() {
                return Ok(gathered.entries);
            }
        }
    }

    /// The first entry at or behind `offset` (the queue's log start, say) whose highest timestamp is
    /// at least `timestamp`, in milliseconds since 1970.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_timestamp(
        &self,
        queue: QueueId,
        offset: i64,
        timestamp: i64,
    ) -> Result<Option<IndexEntry>> {
        let in_memory = self.memory.borrow().find_timestamp(queue, offset, timestamp);
        if self.is_in_memory(queue, offset) {
            return Ok(in_memory);
        }
        Ok(self.runs.find_timestamp(queue, offset, timestamp).await?.or(in_memory))
    }

    /// The offset after the newest entry of a queue; `None` if it has none.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn next_offset(&self, queue: QueueId) -> Result<Option<i64>> {
        let newest = self.memory.borrow().last(queue);
        match newest {
            Some(newest) => Ok(Some(newest.next_offset())),
            None => self.runs.next_offset(queue).await,
        }
    }

    /// Whether no run holds anything of the queue at or behind `offset`, memory does.
    fn is_in_memory(&self, queue: QueueId, offset: i64) -> bool {
        self.memory.borrow().first(queue).is_some_and(|first| first.base_offset <= offset)
    }
}
