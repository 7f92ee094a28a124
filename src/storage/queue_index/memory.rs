//! The part of the index that no run holds yet.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;

use super::{Budget, Gathered, IndexEntry, LogRange};
use crate::base::{Position, QueueId};

/// Entries of a queue beyond which they lie in chunks.
const FEW: usize = 32;
/// Entries per chunk.
const CHUNK: usize = 128;
/// What the allocator adds to a small allocation, about.
const ALLOCATION_BYTES: usize = 16;

/// The entries of a shard's queues that no run holds yet. Lives on its shard.
#[derive(Debug)]
pub struct MemoryIndex {
    /// Oldest first. Shared with the housekeeper, which writes them as runs.
    sealed: VecDeque<Arc<Generation>>,
    active: Generation,
}

impl MemoryIndex {
    /// An empty index; entries will come from `start` on.
    #[must_use]
    pub fn new(start: Position) -> Self {
        Self { sealed: VecDeque::new(), active: Generation::new(start) }
    }

    /// Adds the entry of a frame that was committed.
    ///
    /// # Panics
    /// When the entry lies in front of what is sealed, or its offsets do not follow the queue's.
    pub fn push(&mut self, queue: QueueId, entry: IndexEntry) {
        self.active.push(queue, entry);
    }

    /// Freezes all entries in front of `end`, where a segment ends. The generation stays part of the
    /// index until [`Self::drop_below`].
    ///
    /// # Panics
    /// When `end` lies in front of what is sealed already.
    pub fn seal(&mut self, end: Position) -> Arc<Generation> {
        assert!(end >= self.active.covers.start, "segments seal in the log's order");
        let later = if self.active.last_position.is_some_and(|last| last >= end) {
            self.active.split_off(end)
        } else {
            Generation::new(end)
        };
        let mut sealed = std::mem::replace(&mut self.active, later);
        sealed.covers.end = end;
        let sealed = Arc::new(sealed);
        // One that could not be written is sealed again and again.
        if sealed.entry_count > 0 {
            self.sealed.push_back(sealed.clone());
        }
        sealed
    }

    /// Forgets the entries in front of `position`, which runs hold from now on.
    pub fn drop_below(&mut self, position: Position) {
        while self.sealed.front().is_some_and(|oldest| oldest.covers.end <= position) {
            self.sealed.pop_front();
        }
        let cut = |generation: &Generation| {
            generation.first_position.is_some_and(|first| first < position)
        };
        if let Some(oldest) = self.sealed.front_mut().filter(|oldest| cut(oldest)) {
            let rest = Arc::make_mut(oldest).split_off(position);
            *oldest = Arc::new(rest);
        } else if self.sealed.is_empty() && cut(&self.active) {
            self.active = self.active.split_off(position);
        }
    }

    /// Forgets what is unsealed of a deleted queue. What is sealed goes with its run's merging.
    pub fn remove(&mut self, queue: QueueId) {
        self.active.remove(queue);
    }

    /// Bytes of memory in use, those of sealed generations included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.generations().map(Generation::bytes).sum()
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.generations().map(|generation| generation.entry_count).sum()
    }

    /// The oldest entry of a queue.
    #[must_use]
    pub fn first(&self, queue: QueueId) -> Option<IndexEntry> {
        self.of(queue).next().map(|entries| entries.get(0))
    }

    /// The newest entry of a queue.
    #[must_use]
    pub fn last(&self, queue: QueueId) -> Option<IndexEntry> {
        self.of(queue).last().map(|entries| entries.get(entries.len() - 1))
    }

    /// The first entry that contains `offset` or lies behind it.
    #[must_use]
    pub fn first_at_or_after(&self, queue: QueueId, offset: i64) -> Option<IndexEntry> {
        self.of(queue).find_map(|entries| {
            let index = entries.seek(offset);
            (index < entries.len()).then(|| entries.get(index))
        })
    }

    /// Entries from the one that contains `offset` on.
    #[must_use]
    pub fn range(&self, queue: QueueId, offset: i64, budget: Budget) -> Vec<IndexEntry> {
        let mut gathered = Gathered::new(budget);
        self.gather(queue, offset, &mut gathered);
        gathered.entries
    }

    pub(super) fn gather(&self, queue: QueueId, offset: i64, gathered: &mut Gathered) {
        for entries in self.of(queue) {
            let from = entries.seek(offset);
            if !(from..entries.len()).all(|index| gathered.push(entries.get(index))) {
                return;
            }
        }
    }

    /// The first entry at or behind `offset` whose highest timestamp is at least `timestamp`.
    #[must_use]
    pub fn find_timestamp(
        &self,
        queue: QueueId,
        offset: i64,
        timestamp: i64,
    ) -> Option<IndexEntry> {
        self.of(queue).find_map(|entries| entries.find_timestamp(offset, timestamp))
    }

    fn generations(&self) -> impl Iterator<Item = &Generation> {
        self.sealed.iter().map(|sealed| &**sealed).chain([&self.active])
    }

    fn of(&self, queue: QueueId) -> impl Iterator<Item = &Entries> {
        self.generations().filter_map(move |generation| generation.queues.get(&queue.0))
    }
}

/// The entries of one stretch of the log, by queue. Written to by its shard alone until it is sealed;
/// then shared, unchanging, with the housekeeper.
#[derive(Clone, Debug)]
pub struct Generation {
    covers: LogRange,
    first_position: Option<Position>,
    last_position: Option<Position>,
    queues: HashMap<u32, Entries>,
    entry_count: u64,
    /// Bytes allocated outside the map.
    heap_bytes: usize,
}

impl Generation {
    fn new(start: Position) -> Self {
        Self {
            covers: LogRange::new(start, start),
            first_position: None,
            last_position: None,
            queues: HashMap::new(),
            entry_count: 0,
            heap_bytes: 0,
        }
    }

    /// The stretch of the log whose entries these are; its end counts only once it is sealed.
    #[must_use]
    pub fn covers(&self) -> LogRange {
        self.covers
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.entry_count
    }

    /// The queues with entries, in no order.
    pub fn queues(&self) -> impl Iterator<Item = QueueId> {
        self.queues.keys().map(|&queue| QueueId(queue))
    }

    /// A queue's entries, oldest first.
    pub fn entries(&self, queue: QueueId) -> impl Iterator<Item = IndexEntry> {
        let entries = self.queues.get(&queue.0);
        entries.into_iter().flat_map(|entries| (0..entries.len()).map(|index| entries.get(index)))
    }

    fn bytes(&self) -> usize {
        self.queues.allocation_size() + self.heap_bytes
    }

    fn push(&mut self, queue: QueueId, entry: IndexEntry) {
        assert!(entry.count > 0, "a frame without offsets has no place in a queue");
        assert!(
            entry.position >= self.covers.start,
            "an entry at {} comes after the index was sealed at {}",
            entry.position,
            self.covers.start
        );
        let entries = self.queues.entry(queue.0).or_default();
        let before = if entries.len() == 0 { 0 } else { entries.heap_bytes() };
        if let Some(last) = entries.len().checked_sub(1) {
            let last = entries.get(last);
            assert!(
                entry.base_offset >= last.next_offset() && entry.position > last.position,
                "queue {queue}: {entry:?} comes after {last:?}"
            );
        }
        entries.push(entry);
        self.heap_bytes = self.heap_bytes + entries.heap_bytes() - before;
        self.entry_count += 1;
        self.reach(entry.position, entry.position);
    }

    /// There are entries from `first` to `last`.
    fn reach(&mut self, first: Position, last: Position) {
        self.first_position = Some(self.first_position.map_or(first, |at| at.min(first)));
        self.last_position = self.last_position.max(Some(last));
    }

    fn remove(&mut self, queue: QueueId) {
        if let Some(entries) = self.queues.remove(&queue.0) {
            self.heap_bytes -= entries.heap_bytes();
            self.entry_count -= entries.len() as u64;
        }
    }

    /// Keeps the entries in front of `position`; returns the others. Each queue is looked at, but only
    /// the entries that are returned are moved: the shard waits meanwhile.
    fn split_off(&mut self, position: Position) -> Self {
        let mut later = Self::new(position);
        later.covers.end = self.covers.end.max(position);
        let (mut entry_count, mut heap_bytes) = (0, 0);
        self.last_position = None;
        self.queues.retain(|&queue, entries| {
            let from = entries.partition_point(|entry| entry.position < position);
            if from < entries.len() {
                let moved = entries.split_off(from);
                later.add(queue, moved);
            }
            let last = entries.len().checked_sub(1).map(|last| entries.get(last).position);
            self.last_position = self.last_position.max(last);
            entry_count += entries.len() as u64;
            heap_bytes += if last.is_some() { entries.heap_bytes() } else { 0 };
            last.is_some()
        });
        self.first_position = self.first_position.filter(|_| entry_count > 0);
        (self.entry_count, self.heap_bytes) = (entry_count, heap_bytes);
        later
    }

    /// Adds all entries of a queue that has none yet.
    fn add(&mut self, queue: u32, entries: Entries) {
        self.reach(entries.get(0).position, entries.get(entries.len() - 1).position);
        self.entry_count += entries.len() as u64;
        self.heap_bytes += entries.heap_bytes();
        self.queues.insert(queue, entries);
    }
}

/// One queue's entries, oldest first. A queue of one entry is the common case among a million.
#[derive(Clone, Debug)]
enum Entries {
    Few(Vec<IndexEntry>),
    Many(Box<Chunks>),
}

const _: () = assert!(size_of::<Entries>() == 24);

/// All chunks but the last are full. Boxed, so that a queue of few entries stays small.
#[derive(Clone, Debug)]
struct Chunks(Vec<Chunk>);

#[derive(Clone, Debug)]
struct Chunk {
    max_timestamp: i64,
    entries: Vec<IndexEntry>,
}

impl Chunk {
    fn new() -> Self {
        Self { max_timestamp: i64::MIN, entries: Vec::with_capacity(CHUNK) }
    }

    fn push(&mut self, entry: IndexEntry) {
        self.max_timestamp = self.max_timestamp.max(entry.max_timestamp);
        self.entries.push(entry);
    }

    fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
        let timestamps = self.entries.iter().map(|entry| entry.max_timestamp);
        self.max_timestamp = timestamps.max().unwrap_or(i64::MIN);
    }
}

impl Default for Entries {
    fn default() -> Self {
        Self::Few(Vec::with_capacity(1))
    }
}

impl Entries {
    fn len(&self) -> usize {
        match self {
            Self::Few(entries) => entries.len(),
            Self::Many(chunks) => {
                (chunks.0.len() - 1) * CHUNK
                    + chunks.0.last().map_or(0, |chunk| chunk.entries.len())
            }
        }
    }

    fn get(&self, index: usize) -> IndexEntry {
        match self {
            Self::Few(entries) => entries[index],
            Self::Many(chunks) => chunks.0[index / CHUNK].entries[index % CHUNK],
        }
    }

    fn push(&mut self, entry: IndexEntry) {
        match self {
            Self::Few(entries) if entries.len() < FEW => entries.push(entry),
            Self::Few(entries) => {
                let mut chunk = Chunk::new();
                entries.iter().copied().chain([entry]).for_each(|entry| chunk.push(entry));
                *self = Self::Many(Box::new(Chunks(vec![chunk])));
            }
            Self::Many(chunks) => {
                if chunks.0.last().is_none_or(|chunk| chunk.entries.len() == CHUNK) {
                    chunks.0.push(Chunk::new());
                }
                chunks.0.last_mut().expect("there is a chunk").push(entry);
            }
        }
    }

    /// Keeps the first `at` entries, of which there are more; returns the others.
    fn split_off(&mut self, at: usize) -> Self {
        if at == 0 {
            return std::mem::replace(self, Self::Few(Vec::new()));
        }
        let mut later = Self::Few(Vec::with_capacity(1));
        (at..self.len()).for_each(|index| later.push(self.get(index)));
        match self {
            Self::Few(entries) => entries.truncate(at),
            Self::Many(chunks) => {
                chunks.0.truncate(at.div_ceil(CHUNK));
                chunks.0.last_mut().expect("a first entry stays").truncate((at - 1) % CHUNK + 1);
            }
        }
        later
    }

    fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(entries) => entries.capacity() * size_of::<IndexEntry>() + ALLOCATION_BYTES,
            Self::Many(chunks) => {
                let chunk = CHUNK * size_of::<IndexEntry>() + ALLOCATION_BYTES;
                size_of::<Vec<Chunk>>()
                    + chunks.0.capacity() * size_of::<Chunk>()
                    + chunks.0.len() * chunk
                    + 2 * ALLOCATION_BYTES
            }
        }
    }

    /// The index of the first entry that contains `offset` or lies behind it.
    fn seek(&self, offset: i64) -> usize {
        self.partition_point(|entry| entry.next_offset() <= offset)
    }

    /// How many entries, from the first on, are `front`; none behind them may be.
    fn partition_point(&self, front: impl Fn(&IndexEntry) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if front(&self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    fn find_timestamp(&self, offset: i64, timestamp: i64) -> Option<IndexEntry> {
        let mut index = self.seek(offset);
        while index < self.len() {
            let skip = match self {
                Self::Many(chunks) => chunks.0[index / CHUNK].max_timestamp < timestamp,
                Self::Few(_) => false,
            };
            if skip {
                index = (index / CHUNK + 1) * CHUNK;
                continue;
            }
            let entry = self.get(index);
            if entry.max_timestamp >= timestamp {
                return Some(entry);
            }
            index += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Budget = Budget { entries: usize::MAX, bytes: u64::MAX };

    fn entry(base_offset: i64, position: u64) -> IndexEntry {
        let (position, length, count) = (Position(position), 100, 2);
        IndexEntry {
            base_offset,
            position,
            length,
            count,
            max_timestamp: base_offset * 10,
            ..IndexEntry::default()
        }
    }

    #[test]
    fn a_million_queues_take_at_most_150_bytes_each() {
        let mut index = MemoryIndex::new(Position(0));
        (0..1_000_000).for_each(|queue| index.push(QueueId(queue), entry(0, u64::from(queue))));
        assert!(index.bytes() <= 150_000_000, "{} bytes", index.bytes());
    }

    #[test]
    fn look_ups_cross_generations() {
        let queue = QueueId(7);
        let mut index = MemoryIndex::new(Position(0));
        (0..1000).for_each(|i| index.push(queue, entry(i * 3, i as u64 * 100)));
        // The segment ends in front of what came in already.
        let sealed = index.seal(Position(50_000));
        assert_eq!((sealed.entry_count(), index.entry_count()), (500, 1000));
        for offset in 0..3000 {
            let found = index.first_at_or_after(queue, offset);
            let expected = (offset + 1) / 3;
            assert_eq!(
                found,
                (expected < 1000).then(|| entry(expected * 3, expected as u64 * 100))
            );
        }
        let range = index.range(queue, 3 * 490, Budget { entries: 50, bytes: 2_000 });
        assert_eq!(range.len(), 20);
        assert_eq!(range[19].base_offset, 3 * 509);
        assert_eq!(index.range(queue, 0, Budget { entries: 5, bytes: 1 }).len(), 1);
        assert_eq!(index.find_timestamp(queue, 0, 15_001).unwrap().base_offset, 1503);
        assert_eq!(index.find_timestamp(queue, 0, 29_971), None);

        index.drop_below(Position(20_000));
        assert_eq!(index.first(queue).unwrap().base_offset, 600);
        index.drop_below(Position(50_000));
        assert_eq!(index.first(queue).unwrap().base_offset, 1500);
        assert_eq!(index.range(queue, 0, ALL).len(), 500);
        index.remove(queue);
        assert_eq!(index.first(queue), None);
        assert_eq!(index.entry_count(), 0);
    }

    #[test]
    fn a_seal_splits_each_queue_where_the_segment_ends() {
        let (lone, few, many, late) = (QueueId(1), QueueId(2), QueueId(3), QueueId(4));
        let steps = |from: i64, to: i64| {
            (from..to).flat_map(move |i| {
                let at = i as u64 * 400;
                let queues = [(lone, 0, 1), (few, 480, 510), (many, 0, 1000), (late, 600, 1000)];
                (0..)
                    .zip(queues)
                    .filter(move |(_, (_, first, end))| (*first..*end).contains(&i))
                    .map(move |(number, (queue, _, _))| (queue, entry(i * 2, at + number * 100)))
            })
        };
        for end in [0, 1, 127, 128, 129, 480, 500, 509, 510, 601, 999, 1000] {
            let mut index = MemoryIndex::new(Position(0));
            steps(0, 1000).for_each(|(queue, entry)| index.push(queue, entry));
            let sealed = index.seal(Position(end as u64 * 400));
            let expected = |from, to| {
                let mut expected = Generation::new(Position(from as u64 * 400));
                steps(from, to).for_each(|(queue, entry)| expected.push(queue, entry));
                expected
            };
            for (part, expected) in
                [(&*sealed, expected(0, end)), (&index.active, expected(end, 1000))]
            {
                assert_eq!(part.entry_count, expected.entry_count);
                assert_eq!(part.first_position, expected.first_position);
                assert_eq!(part.last_position, expected.last_position);
                assert_eq!(part.queues.len(), expected.queues.len());
                for queue in expected.queues() {
                    let (part, expected) = (&part.queues[&queue.0], &expected.queues[&queue.0]);
                    let all = |of: &Entries| (0..of.len()).map(|at| of.get(at)).collect::<Vec<_>>();
                    assert_eq!(all(part), all(expected), "queue {queue}, cut at {end}");
                    for time in (0..20_000).step_by(70) {
                        assert_eq!(part.find_timestamp(0, time), expected.find_timestamp(0, time));
                    }
                }
            }
            let heap = |of: &Generation| of.queues.values().map(Entries::heap_bytes).sum::<usize>();
            assert_eq!(sealed.heap_bytes, heap(&sealed));
            assert_eq!(index.active.heap_bytes, heap(&index.active));
        }
    }

    #[test]
    #[should_panic(expected = "comes after")]
    fn offsets_ascend() {
        let mut index = MemoryIndex::new(Position(0));
        index.push(QueueId(1), entry(2, 0));
        index.push(QueueId(1), entry(3, 100));
    }
}
