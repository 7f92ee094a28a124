//! The timers of one queue that have not fired, and how far the queue has come.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::base::QueueId;

/// When a timer is due, in milliseconds since 1970, and its offset in its queue. Timers of a queue
/// fire in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerKey {
    /// When it is due.
    pub due_ms: i64,
    /// Its offset.
    pub offset: i64,
}

impl TimerKey {
    /// Comes before all others.
    pub const FIRST: Self = Self { due_ms: i64::MIN, offset: -1 };

    /// The key in its control frame.
    #[must_use]
    pub fn due_bytes(&self) -> [u8; 8] {
        self.due_ms.to_le_bytes()
    }

    /// Reads [`TimerKey::due_bytes`].
    #[must_use]
    pub fn of(offset: i64, due_bytes: &[u8]) -> Option<Self> {
        Some(Self { due_ms: i64::from_le_bytes(due_bytes.try_into().ok()?), offset })
    }
}

/// What a queue's timers have come to, apart from what its messages say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimersSnapshot {
    /// The timer queue.
    pub queue: QueueId,
    /// Every timer up to this one has been delivered, or was recalled.
    pub fired: TimerKey,
    /// Later ones that are not to fire either.
    pub settled: BTreeSet<TimerKey>,
}

impl TimersSnapshot {
    /// A queue of which no timer has fired.
    #[must_use]
    pub fn new(queue: QueueId) -> Self {
        Self { queue, fired: TimerKey::FIRST, settled: BTreeSet::new() }
    }

    /// All timers up to `key` were delivered. Older news changes nothing.
    pub fn fired(&mut self, key: TimerKey) {
        self.fired = self.fired.max(key);
        while self.settled.first().is_some_and(|first| *first <= self.fired) {
            self.settled.pop_first();
        }
    }

    /// A timer was recalled, or delivered while one before it was not.
    pub fn settled(&mut self, key: TimerKey) {
        if key > self.fired {
            self.settled.insert(key);
        }
    }

    /// Timers below `offset` are gone.
    fn dropped_below(&mut self, offset: i64) {
        self.settled.retain(|key| key.offset >= offset);
    }

    /// Whether a timer that the queue holds is still to fire.
    fn awaits(&self, key: TimerKey) -> bool {
        key > self.fired && !self.settled.contains(&key)
    }
}

/// What is kept of a timer that is to fire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::broker) struct Waiting {
    /// Hash of the id by which it may be recalled.
    pub(in crate::broker) id_hash: u32,
    /// Bytes of its frame's payload.
    pub(in crate::broker) bytes: u32,
}

/// The timers of one queue. Lives on its owner's shard.
///
/// It runs ahead of the log: timers are in it from when they are assigned on, and what was taken to
/// be delivered is behind `fence`. `state` is as the log says, but for frames not yet durable.
pub(in crate::broker) struct TimerQueue {
    /// Timers that are to fire; all behind the fence.
    pending: BTreeMap<TimerKey, Waiting>,
    /// Bytes of them in all.
    bytes: u64,
    fence: TimerKey,
    state: TimersSnapshot,
}

impl TimerQueue {
    /// A queue whose timers are still to be loaded.
    pub(in crate::broker) fn restored(state: TimersSnapshot) -> Self {
        Self { pending: BTreeMap::new(), bytes: 0, fence: state.fired, state }
    }

    /// A timer of the log from before the start. What has no time is none: it says that offsets are
    /// lost, where a repair moved the queue on.
    pub(in crate::broker) fn load(&mut self, key: TimerKey, timer: Waiting) {
        if key.due_ms >= 0 && self.state.awaits(key) {
            self.add(key, timer);
        }
    }

    /// When a new timer that is to be due at `due_ms` will be: not before those already taken,
    /// whose cursor would claim that it had been delivered too.
    pub(in crate::broker) fn admit(&self, due_ms: i64) -> i64 {
        due_ms.max(self.fence.due_ms)
    }

    /// Takes a new timer in, whose time is from [`TimerQueue::admit`].
    pub(in crate::broker) fn insert(&mut self, key: TimerKey, timer: Waiting) {
        assert!(key > self.fence, "a timer is never behind what has fired");
        self.add(key, timer);
    }

    fn add(&mut self, key: TimerKey, timer: Waiting) {
        let before = self.pending.insert(key, timer);
        self.bytes += u64::from(timer.bytes);
        self.bytes -= before.map_or(0, |before| u64::from(before.bytes));
    }

    /// How many are pending.
    pub(in crate::broker) fn len(&self) -> usize {
        self.pending.len()
    }

    /// How many are pending, or are not to fire and not behind the cursor yet.
    pub(in crate::broker) fn kept(&self) -> usize {
        self.pending.len() + self.state.settled.len()
    }

    /// Bytes of payload that pending ones have in the log.
    pub(in crate::broker) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When the next one is due, unless the log is not yet durable so far.
    pub(in crate::broker) fn next_due(&self, high_watermark: i64) -> Option<i64> {
        let (first, _) = self.pending.first_key_value()?;
        (first.offset < high_watermark).then_some(first.due_ms)
    }

    /// Takes up to `count` timers that are due, in order and up to the first that is not durable.
    /// They are to be delivered, and then [`TimerQueue::delivered`] to be told.
    pub(in crate::broker) fn take(
        &mut self,
        now_ms: i64,
        high_watermark: i64,
        count: usize,
    ) -> Vec<(TimerKey, Waiting)> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(first) = self.pending.first_entry()
            && first.key().due_ms <= now_ms
            && first.key().offset < high_watermark
        {
            self.fence = *first.key();
            self.bytes -= u64::from(first.get().bytes);
            taken.push(first.remove_entry());
        }
        taken
    }

    /// Lets go of settled timers that would have been due, as if they had fired now. None may be taken. The
    /// log is not told: it holds what this follows from.
    pub(in crate::broker) fn pass(&mut self, now_ms: i64) {
        let next = self.pending.first_key_value().map(|(key, _)| *key);
        let due = TimerKey { due_ms: now_ms.saturating_add(1), offset: i64::MIN };
        let before = next.map_or(due, |next| next.min(due));
        if let Some(last) = self.state.settled.range(..before).next_back().copied() {
            self.state.fired(last);
            self.fence = self.state.fired;
        }
    }

    /// Of what was taken nothing is on its way any more; what was not delivered is to be taken again.
    pub(in crate::broker) fn put_back(&mut self, taken: &[(TimerKey, Waiting)]) {
        for (key, timer) in taken {
            if self.state.awaits(*key) {
                self.add(*key, *timer);
            }
        }
        self.fence = self.state.fired;
    }

    /// What was taken is delivered up to `key`, and the log is being told.
    pub(in crate::broker) fn delivered(&mut self, key: TimerKey) {
        self.state.fired(key);
    }

    /// The timers due at `due_ms` whose id has this hash.
    pub(in crate::broker) fn find(&self, due_ms: i64, id_hash: u32) -> Vec<TimerKey> {
        let key = |offset| TimerKey { due_ms, offset };
        let same = self.pending.range(key(i64::MIN)..=key(i64::MAX));
        same.filter(|(_, timer)| timer.id_hash == id_hash).map(|(key, _)| *key).collect()
    }

    /// A timer is not to fire any more, and the log is being told.
    pub(in crate::broker) fn settle(&mut self, key: TimerKey) {
        self.forget(key);
        self.state.settled(key);
    }

    /// Whether a timer is to fire.
    pub(in crate::broker) fn awaits(&self, key: TimerKey) -> bool {
        self.pending.contains_key(&key)
    }

    /// A timer is about to be stored once more at the end of the queue.
    pub(in crate::broker) fn forget(&mut self, key: TimerKey) {
        let gone = self.pending.remove(&key);
        self.bytes -= gone.map_or(0, |gone| u64::from(gone.bytes));
    }

    /// The queue begins at `offset` now.
    pub(in crate::broker) fn dropped_below(&mut self, offset: i64) {
        self.state.dropped_below(offset);
    }

    /// What a checkpoint has to say of it.
    pub(in crate::broker) fn snapshot(&self) -> TimersSnapshot {
        self.state.clone()
    }
}
