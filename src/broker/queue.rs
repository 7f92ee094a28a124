//! One queue as its owner knows it.

use std::{
    cell::Cell,
    ops::Range,
    rc::{Rc, Weak},
    sync::Arc,
    task::Waker,
};

use super::{
    producers::Producers,
    seal::QueueSnapshot,
    timers::{TimerQueue, TimersSnapshot},
};
use crate::{
    base::{Dialect, Position, QueueId, TopicId},
    cluster::{TIMERS_TOPIC, Topic, TopicSettings},
    storage::queue_index::IndexEntry,
};

/// A reader that waits for more messages in some queues. Woken once, by the first of them. The reader
/// alone holds it: once that has given up, nothing of it is left but what the queues forget in time.
#[derive(Default)]
pub(super) struct Watch {
    pub(super) fired: Cell<bool>,
    /// The reader is to wait no longer, whatever there is.
    pub(super) ended: Cell<bool>,
    pub(super) waker: Cell<Option<Waker>>,
}

impl Watch {
    pub(super) fn fire(&self) {
        self.fired.set(true);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

/// Which of an entry's times its age is counted from. Kafka's users know retention by a record's own
/// time; records may have none (-1), and are then as old as their place in the log, as in Kafka. A
/// message of RocketMQ's may have waited long before it came to its queue, and its age is that of the
/// file it was stored in. So may a record on a topic with delays: it is at least as young as its place.
pub(super) fn time_of(entry: &IndexEntry, settings: &TopicSettings) -> i64 {
    match entry.dialect {
        Dialect::Kafka if settings.delay => entry.max_timestamp.max(entry.append_time),
        Dialect::Kafka if entry.max_timestamp >= 0 => entry.max_timestamp,
        Dialect::Kafka | Dialect::RocketMq => entry.append_time,
    }
}

/// Until when a message stays that is its queue's oldest, in milliseconds since 1970.
pub(super) fn kept_until(oldest: &IndexEntry, settings: &TopicSettings) -> i64 {
    time_of(oldest, settings).saturating_add_unsigned(settings.retention_ms.unwrap_or(u64::MAX))
}

/// A queue on its owner's shard.
///
/// `next_offset` runs ahead of `high_watermark` by what was assigned and is not yet committed.
pub(super) struct Queue {
    pub(super) topic: TopicId,
    pub(super) settings: Arc<TopicSettings>,
    /// First offset that can be read.
    pub(super) log_start: i64,
    /// First offset that cannot be read yet.
    pub(super) high_watermark: i64,
    /// The offset the next message gets.
    pub(super) next_offset: i64,
    pub(super) producers: Producers,
    /// Bytes of payload between `counted_from` and high watermark.
    pub(super) bytes: u64,
    /// Where what is counted begins: the log start, or in front of it until what lies between them is
    /// taken off. Index and log keep that as long.
    pub(super) counted_from: i64,
    /// No message between `counted_from` and high watermark lies before this position.
    pub(super) oldest: Position,
    /// Offsets whose messages are lost, ascending; only while the log is damaged.
    pub(super) lost: Vec<Range<i64>>,
    /// What waits in it for its time, in a queue of the broker's own timers. Clients neither read nor
    /// write such a queue.
    pub(super) timers: Option<Box<TimerQueue>>,
    /// Somebody who asks for what has changed is still to be told, see [`super::queues::Queues`].
    pub(super) changed: bool,
    /// Nothing of it is too old before this moment, in milliseconds since 1970.
    pub(super) kept_until_ms: i64,
    watches: Vec<Weak<Watch>>,
    /// With so many watches it is time to look which of them are left over.
    sweep_at: usize,
}

/// Watches among which nobody looks for those that are left over.
const FEW_WATCHES: usize = 4;

impl Queue {
    pub(super) fn new(id: QueueId, topic: &Topic) -> Self {
        let timers = || Box::new(TimerQueue::restored(TimersSnapshot::new(id)));
        Self {
            topic: topic.id,
            settings: Arc::clone(&topic.settings),
            log_start: 0,
            high_watermark: 0,
            next_offset: 0,
            producers: Producers::default(),
            bytes: 0,
            counted_from: 0,
            oldest: Position(0),
            lost: Vec::new(),
            timers: (*topic.name == *TIMERS_TOPIC).then(timers),
            changed: false,
            kept_until_ms: i64::MIN,
            watches: Vec::new(),
            sweep_at: FEW_WATCHES,
        }
    }

    /// Its topic's settings are these from now on.
    pub(super) fn set(&mut self, settings: &Arc<TopicSettings>) {
        self.settings = Arc::clone(settings);
        self.kept_until_ms = i64::MIN;
    }

    /// Retention may find something to drop in it. A timer's time is to come, not gone.
    pub(super) fn may_have_excess(&self, now_ms: i64) -> bool {
        let too_old = self.settings.retention_ms.is_some() && self.kept_until_ms <= now_ms;
        self.timers.is_none() && !self.is_empty() && (too_old || self.excess() > 0)
    }

    /// Bytes it holds beyond what it may. None as long as what has gone counts among them.
    pub(super) fn excess(&self) -> u64 {
        let max = self.settings.retention_bytes.filter(|_| self.is_settled());
        max.map_or(0, |max| self.bytes.saturating_sub(max))
    }

    /// What lies before its log start was taken off its account.
    pub(super) fn is_settled(&self) -> bool {
        self.counted_from >= self.log_start
    }

    /// What a checkpoint has to say of it, if it has been used.
    pub(super) fn snapshot(&self, id: QueueId) -> Option<QueueSnapshot> {
        // All that a producer sent may wait in timers.
        let used = self.next_offset > 0 || !self.producers.is_empty();
        used.then(|| QueueSnapshot {
            id,
            log_start: self.log_start,
            next_offset: self.next_offset,
            bytes: self.bytes,
            counted_from: self.counted_from,
            oldest: self.oldest,
            producers: self.producers.clone(),
        })
    }

    /// Where reading from `offset` on has to end, so that nobody is led past what is lost without
    /// being told: `i64::MAX` where nothing is.
    ///
    /// # Errors
    /// The offsets that are lost, when `offset` is one of them.
    pub(super) fn readable_until(&self, offset: i64) -> Result<i64, Range<i64>> {
        let at = self.lost.partition_point(|lost| lost.end <= offset);
        match self.lost.get(at) {
            Some(lost) if lost.start <= offset => Err(lost.clone()),
            Some(lost) => Ok(lost.start),
            None => Ok(i64::MAX),
        }
    }

    /// Nothing can be read.
    pub(super) fn is_empty(&self) -> bool {
        self.log_start >= self.high_watermark
    }

    /// Something of it in the log is still read or counted.
    pub(super) fn holds_log(&self) -> bool {
        self.counted_from < self.high_watermark
    }

    /// Wakes `watch` when messages are committed, or the queue is gone.
    pub(super) fn watch(&mut self, watch: &Rc<Watch>) {
        // Watches that another queue fired, or whose reader gave up, stay behind. They are looked for
        // when there are twice as many as were left the last time, so that each costs little.
        if self.watches.len() >= self.sweep_at {
            self.watches.retain(|old| old.upgrade().is_some_and(|old| !old.fired.get()));
            self.sweep_at = FEW_WATCHES.max(2 * self.watches.len());
        }
        self.watches.push(Rc::downgrade(watch));
    }

    pub(super) fn fire_watches(&mut self) {
        self.sweep_at = FEW_WATCHES;
        self.watches.drain(..).filter_map(|watch| watch.upgrade()).for_each(|watch| watch.fire());
    }

    /// Wakes all readers, which are to answer with what they have.
    pub(super) fn end_watches(&mut self) {
        self.watches.iter().filter_map(Weak::upgrade).for_each(|watch| watch.ended.set(true));
        self.fire_watches();
    }

    /// How many watches there are, those of readers that gave up among them.
    #[cfg(test)]
    pub(super) fn watches(&self) -> usize {
        self.watches.len()
    }

    /// The queue a snapshot was taken of.
    pub(super) fn restored(topic: &Topic, snapshot: QueueSnapshot) -> Self {
        let mut queue = Self::new(snapshot.id, topic);
        queue.log_start = snapshot.log_start;
        queue.counted_from = snapshot.counted_from;
        queue.next_offset = snapshot.next_offset.max(snapshot.log_start);
        queue.high_watermark = queue.next_offset;
        queue.producers = snapshot.producers;
        queue.bytes = snapshot.bytes;
        queue.oldest = snapshot.oldest;
        queue
    }

    /// Takes in committed messages up to `next`.
    pub(super) fn commit(&mut self, entry: &IndexEntry) {
        debug_assert!(self.high_watermark == entry.base_offset);
        if !self.holds_log() {
            self.oldest = entry.position;
        }
        if self.is_empty() {
            self.kept_until_ms = kept_until(entry, &self.settings);
        }
        self.high_watermark = entry.next_offset();
        self.bytes += u64::from(entry.length);
        self.fire_watches();
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        self.fire_watches();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_without_a_time_are_as_old_as_their_place_in_the_log() {
        let entry = |dialect, max_timestamp| {
            let entry =
                IndexEntry { dialect, max_timestamp, append_time: 5_000, ..IndexEntry::default() };
            let delayed = TopicSettings { delay: true, ..TopicSettings::default() };
            [TopicSettings::default(), delayed].map(|settings| time_of(&entry, &settings))
        };
        assert_eq!(entry(Dialect::Kafka, 7), [7, 5_000]);
        assert_eq!(entry(Dialect::Kafka, 7_000), [7_000, 7_000]);
        assert_eq!(entry(Dialect::Kafka, -1), [5_000, 5_000]);
        assert_eq!(entry(Dialect::RocketMq, 7), [5_000, 5_000]);
    }
}
