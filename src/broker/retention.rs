//! Moves queues' starts on, by age and by size (retention.ms, retention.bytes).

use std::{collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use super::{
    Broker, ControlError, OffsetError,
    queue::{Queue, kept_until, time_of},
};
use crate::{
    base::{Position, QueueId},
    cluster::TopicSettings,
    storage::{
        commit_log::frame::{FrameKind, FrameMeta},
        queue_index::{Budget, IndexEntry, IndexError},
    },
};

/// Entries looked at between two chances for other work.
const ENTRIES: usize = 1024;

/// Queues at most that wait for the log together. What they put there takes some 64 KiB.
const QUEUES: usize = 1024;

/// How soon an index that could not be read is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// What is taken off a queue's account: the bytes of what lies between two offsets.
pub(super) struct Dropped {
    from: i64,
    to: i64,
    bytes: u64,
    /// No message from `to` on lies before this position.
    oldest: Position,
}

impl Dropped {
    /// Where it begins, how many bytes it has and where what is left lies, for the frame whose base
    /// offset is its end.
    fn payload(&self) -> [u8; 24] {
        let mut payload = [0; 24];
        payload[..8].copy_from_slice(&self.from.to_le_bytes());
        payload[8..16].copy_from_slice(&self.bytes.to_le_bytes());
        payload[16..].copy_from_slice(&self.oldest.0.to_le_bytes());
        payload
    }

    /// Reads [`Dropped::payload`]. Earlier versions did not say where what is left lies.
    pub(super) fn of(to: i64, payload: &[u8]) -> Option<Self> {
        let (from, rest) = payload.split_first_chunk()?;
        let (bytes, rest) = rest.split_first_chunk()?;
        let oldest = if rest.is_empty() { 0 } else { u64::from_le_bytes(rest.try_into().ok()?) };
        let (from, bytes) = (i64::from_le_bytes(*from), u64::from_le_bytes(*bytes));
        Some(Self { from, to, bytes, oldest: Position(oldest) })
    }

    /// Changes the account of a queue that goes up to `end`. What was taken off already is not again.
    pub(super) fn take_off(
        &self,
        end: i64,
        counted_from: &mut i64,
        bytes: &mut u64,
        oldest: &mut Position,
    ) {
        if *counted_from == self.from {
            *counted_from = self.to;
            *bytes = bytes.saturating_sub(self.bytes);
            *oldest = self.oldest.max(*oldest);
        }
        // What was lost with the log is in no index, and would count for ever.
        if *counted_from >= end {
            *bytes = 0;
        }
    }
}

/// What a queue is to keep, asked of its entries from the oldest on.
struct Limits {
    settings: Arc<TopicSettings>,
    /// Younger ones are kept, milliseconds since 1970.
    oldest_ms: i64,
    /// Bytes that are not.
    excess: u64,
}

impl Limits {
    fn of(queue: &Queue, now_ms: i64) -> Self {
        let keep_ms = queue.settings.retention_ms;
        let oldest_ms = keep_ms.map_or(i64::MIN, |ms| now_ms.saturating_sub_unsigned(ms));
        Self { settings: Arc::clone(&queue.settings), oldest_ms, excess: queue.excess() }
    }

    /// Whether the queue keeps the next entry.
    fn keep(&mut self, entry: &IndexEntry) -> bool {
        let length = u64::from(entry.length);
        let is_young = time_of(entry, &self.settings) >= self.oldest_ms;
        let kept = is_young && self.excess < length;
        if !kept {
            self.excess = self.excess.saturating_sub(length);
        }
        kept
    }
}

impl Broker {
    /// Runs until the shard ends, or the log has stopped.
    pub(super) async fn retain(self: Rc<Self>) {
        loop {
            self.env.tasks.sleep(self.settings.retention_check).await;
            if self.log.failure().is_some() {
                return;
            }
            let expired = self.env.clock.wall_ms()
                - i64::try_from(self.settings.producer_expiration.as_millis()).unwrap_or(i64::MAX);
            let ids = self.queues.borrow().ids();
            for ids in ids.chunks(QUEUES) {
                let due = self.expire(ids, expired);
                self.retain_queues(&due).await;
                self.env.tasks.sleep(Duration::ZERO).await;
            }
            self.tidy_timers().await;
        }
    }

    /// Forgets old producers of queues; returns those of the queues in which there may be old messages.
    fn expire(&self, ids: &[QueueId], producers_before_ms: i64) -> Vec<QueueId> {
        let now_ms = self.env.clock.wall_ms();
        let mut queues = self.queues.borrow_mut();
        ids.iter().for_each(|id| queues.expire_producers(id, producers_before_ms));
        let may = |id: &&QueueId| queues.get(id).is_some_and(|queue| queue.may_have_excess(now_ms));
        ids.iter().filter(may).copied().collect()
    }

    /// Moves on the starts of those queues that hold more than they are to keep.
    async fn retain_queues(self: &Rc<Self>, ids: &[QueueId]) {
        let mut starts = Vec::new();
        for &id in ids {
            match self.kept_from(id).await {
                Ok(start) => starts.extend(start.map(|start| (id, start))),
                Err(error) => {
                    tracing::warn!(queue = id.0, %error, "retention could not look at a queue");
                }
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
        if let Err(error) = self.move_log_starts(&starts).await {
            tracing::warn!(%error, "retention could not move log starts");
        }
    }

    /// Where what a queue is to keep begins, if that is behind its start.
    async fn kept_from(&self, id: QueueId) -> Result<Option<i64>, IndexError> {
        let now_ms = self.env.clock.wall_ms();
        let state =
            |queue: &Queue| (queue.log_start, queue.high_watermark, Limits::of(queue, now_ms));
        let state = self.queues.borrow().get(&id).map(state);
        let Some((start, end, mut limits)) = state else { return Ok(None) };
        let mut to = start;
        let first_kept = loop {
            let entries = self.entries(id, to).await?;
            let gone = entries.iter().take_while(|entry| !limits.keep(entry)).count();
            to = entries[..gone].last().map_or(to, IndexEntry::next_offset);
            if gone < ENTRIES {
                break entries.get(gone).copied();
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        };
        let to = to.min(end);
        if to > start {
            return Ok(Some(to));
        }
        if let Some(queue) = self.queues.borrow_mut().get_aside(&id)
            && queue.log_start == start
            && Arc::ptr_eq(&queue.settings, &limits.settings)
        {
            queue.kept_until_ms =
                first_kept.map_or(i64::MIN, |entry| kept_until(&entry, &limits.settings));
        }
        Ok(None)
    }

    /// Up to [`ENTRIES`] entries from `offset` on.
    pub(super) async fn entries(
        &self,
        id: QueueId,
        offset: i64,
    ) -> Result<Vec<IndexEntry>, IndexError> {
        self.index.range(id, offset, Budget { entries: ENTRIES, bytes: u64::MAX }).await
    }

    /// Lets what lies before a queue's log start be taken off its account, in the background.
    pub(super) fn count_dropped(&self, id: QueueId) {
        let sent = self.uncounted.0.send(id);
        debug_assert!(sent.is_ok(), "the broker holds the receiver itself");
    }

    /// Goes on with what a restart interrupted.
    pub(super) fn count_all_dropped(&self) {
        let queues = self.queues.borrow();
        let open = queues.iter().filter(|(_, queue)| !queue.is_settled());
        open.for_each(|(id, _)| self.count_dropped(*id));
    }

    /// Runs until the shard ends, or the log: takes what lies before log starts off accounts. Should
    /// an index be rebuilt just then, that is waited for: a queue that counts too much would drop too
    /// much.
    pub(super) async fn keep_accounts(self: Rc<Self>) {
        while let Ok(first) = self.uncounted.1.recv_async().await {
            let more = self.uncounted.1.try_iter().take(QUEUES - 1);
            let ids: BTreeSet<_> = [first].into_iter().chain(more).collect();
            if let Err(error) = self.take_off(&ids).await {
                tracing::debug!(%error, "what was dropped is counted later");
                self.env.tasks.sleep(ASK_AGAIN).await;
                // The checkpoint tells what is still to be taken off.
                if self.log.failure().is_some() || self.log.closing() {
                    return;
                }
            }
            let queues = self.queues.borrow();
            let open = |id: &&QueueId| queues.get(id).is_some_and(|queue| !queue.is_settled());
            ids.iter().filter(open).for_each(|id| self.count_dropped(*id));
        }
    }

    /// Takes some of what lies before these queues' log starts off their accounts.
    ///
    /// # Errors
    /// The last of what kept it from some of them.
    async fn take_off(self: &Rc<Self>, ids: &BTreeSet<QueueId>) -> Result<(), OffsetError> {
        let (mut all, mut looked) = (Vec::new(), Ok(()));
        for &id in ids {
            match self.next_dropped(id).await {
                Ok(dropped) => all.extend(dropped.map(|dropped| (id, dropped))),
                Err(error) => looked = Err(error),
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
        let mut end = Position(0);
        for (id, dropped) in all {
            end = self.append_dropped(id, dropped).await?;
        }
        self.durable(end).await.map_err(ControlError::from)?;
        self.apply_durable();
        Ok(looked?)
    }

    /// Puts into the log what is taken off an account, so that what was counted once is not after a
    /// crash, when it may be in no index. Returns how far the log is to be durable for it.
    async fn append_dropped(
        &self,
        id: QueueId,
        dropped: Dropped,
    ) -> Result<Position, ControlError> {
        let mut meta = FrameMeta::control(FrameKind::Dropped, self.env.clock.wall_ms());
        (meta.queue, meta.base_offset) = (id, dropped.to);
        let appended = self.append_control_frame(&meta, &dropped.payload()).await?;
        self.control_pending(appended.end, move |broker| broker.dropped_durable(id, &dropped));
        Ok(appended.end)
    }

    /// What up to [`ENTRIES`] entries before a queue's log start take off its account.
    async fn next_dropped(self: &Rc<Self>, id: QueueId) -> Result<Option<Dropped>, IndexError> {
        // What is in no index after this lies behind it.
        let durable = self.log.durable();
        self.apply_durable();
        let bounds = |queue: &Queue| (queue.counted_from, queue.log_start);
        let bounds = self.queues.borrow().get(&id).map(bounds);
        let Some((from, start)) = bounds.filter(|(from, start)| from < start) else {
            return Ok(None);
        };
        let entries = self.entries(id, from).await?;
        // One that the log start lies in stays whole.
        let dropped = entries.partition_point(|entry| entry.next_offset() <= start);
        let bytes = entries[..dropped].iter().map(|entry| u64::from(entry.length)).sum();
        let to = match entries[..dropped].last() {
            Some(last) if dropped == entries.len() => last.next_offset(),
            _ => start,
        };
        let left = match entries.get(dropped) {
            Some(entry) => Some(*entry),
            None => self.index.first_at_or_after(id, to).await?,
        };
        let oldest = left.map_or(durable, |entry| entry.position);
        Ok(Some(Dropped { from, to, bytes, oldest }))
    }

    fn dropped_durable(&self, id: QueueId, dropped: &Dropped) {
        if let Some(queue) = self.queues.borrow_mut().get_mut(&id) {
            let Queue { high_watermark, counted_from, bytes, oldest, .. } = queue;
            dropped.take_off(*high_watermark, counted_from, bytes, oldest);
        }
    }

    /// No message of this shard's queues that is read or counted lies before the position returned;
    /// `None` if there is none.
    #[must_use]
    pub fn oldest_message(&self) -> Option<Position> {
        self.oldest_of(|_| true)
    }

    /// As [`Broker::oldest_message`], of the queues that have no timers.
    pub(super) fn oldest_but_timers(&self) -> Option<Position> {
        self.oldest_of(|queue| queue.timers.is_none())
    }

    fn oldest_of(&self, which: impl Fn(&Queue) -> bool) -> Option<Position> {
        let queues = self.queues.borrow();
        let of = queues.iter().filter(|(_, queue)| queue.holds_log() && which(queue));
        of.map(|(_, queue)| queue.oldest).min()
    }

    /// Moves the starts of this shard's queues past everything that lies before `position`, whatever
    /// their retention says (log.max_bytes). Returns how many queues lost messages. Timers are stored
    /// once more instead.
    pub async fn give_up_before(self: &Rc<Self>, position: Position) -> usize {
        let behind: Vec<_> = {
            let queues = self.queues.borrow();
            let behind = queues.iter().filter(|(_, q)| !q.is_empty() && q.oldest < position);
            behind.filter(|(_, queue)| queue.timers.is_none()).map(|(id, _)| *id).collect()
        };
        self.move_timers_before(position).await;
        let mut cut = 0;
        for ids in behind.chunks(QUEUES) {
            let mut starts = Vec::new();
            for &id in ids {
                starts.extend(self.start_behind(id, position).await.map(|start| (id, start)));
                self.env.tasks.sleep(Duration::ZERO).await;
            }
            match self.move_log_starts(&starts).await {
                Ok(()) => cut += starts.len(),
                Err(error) => tracing::warn!(%error, "log starts could not be moved"),
            }
        }
        cut
    }

    /// Where a queue is to start so that, as far as its index can be read, nothing of it lies before
    /// `position`; `None` where it does.
    async fn start_behind(self: &Rc<Self>, id: QueueId, position: Position) -> Option<i64> {
        let (start, end) = self.ends(id)?;
        let mut to = start;
        while to < end {
            let Ok(entries) = self.entries(id, to).await else { break };
            let before = entries.partition_point(|entry| entry.position < position);
            to = entries[..before].last().map_or(to, IndexEntry::next_offset);
            if before < ENTRIES {
                break;
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
        Some(to.min(end)).filter(|to| *to > start)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::broker::pull::tests::{QUEUE, broker, send_kafkas};

    /// Takes off what lies before the queue's log start, without waiting for the log.
    pub(in crate::broker) fn take_off_at_once(broker: &Rc<Broker>) {
        while let Some(dropped) = block_on(broker.next_dropped(QUEUE)).unwrap() {
            let read = Dropped::of(dropped.to, &dropped.payload()).unwrap();
            // A second time it changes nothing.
            (0..2).for_each(|_| broker.dropped_durable(QUEUE, &read));
        }
    }

    fn starts(broker: &Rc<Broker>) -> (i64, i64) {
        let counted_from = broker.queues.borrow().get(&QUEUE).unwrap().counted_from;
        (counted_from, broker.ends(QUEUE).unwrap().0)
    }

    #[test]
    fn earlier_frames_do_not_tell_where_what_is_left_lies() {
        let dropped = Dropped { from: 1, to: 7, bytes: 100, oldest: Position(5_000) };
        let left = |payload: &[u8]| {
            let (mut counted_from, mut bytes, mut oldest) = (1, 150, Position(4_000));
            Dropped::of(7, payload)?.take_off(8, &mut counted_from, &mut bytes, &mut oldest);
            Some((counted_from, bytes, oldest))
        };
        let payload = dropped.payload();
        assert_eq!(left(&payload), Some((7, 50, Position(5_000))));
        assert_eq!(left(&payload[..16]), Some((7, 50, Position(4_000))));
        assert_eq!([0, 8, 15, 17, 23].map(|length| left(&payload[..length])), [None; 5]);
    }

    #[test]
    fn what_is_dropped_can_be_found_until_it_is_counted() {
        let broker = broker();
        send_kafkas(&broker, &["a"]);
        let one = broker.queue_bytes(QUEUE).unwrap();
        let first = broker.oldest_message();
        send_kafkas(&broker, &["b", "c"]);
        let two = broker.queue_bytes(QUEUE).unwrap() - one;
        send_kafkas(&broker, &["d"]);
        let bytes = || broker.queue_bytes(QUEUE).unwrap();
        let count = || take_off_at_once(&broker);

        // Into the middle of the second batch, which stays whole.
        broker.log_start_durable(QUEUE, 2);
        assert_eq!((starts(&broker), bytes()), ((0, 2), one + two + one));
        assert_eq!(broker.oldest_message(), first);
        count();
        assert_eq!((starts(&broker), bytes()), ((2, 2), two + one));
        let second = broker.oldest_message();
        assert!(second > first);

        // All of it, which holds the log until it is counted.
        broker.log_start_durable(QUEUE, 3);
        broker.log_start_durable(QUEUE, 4);
        assert_eq!((starts(&broker), broker.oldest_message()), ((2, 4), second));
        // What comes in between neither loses its place nor is taken off.
        send_kafkas(&broker, &["e"]);
        assert_eq!(broker.oldest_message(), second);
        count();
        assert_eq!((starts(&broker), bytes()), ((4, 4), one));
        let last = broker.oldest_message();
        assert!(last > second);
        broker.log_start_durable(QUEUE, 5);
        count();
        count();
        assert_eq!((starts(&broker), bytes(), broker.oldest_message()), ((5, 5), 0, None));
        send_kafkas(&broker, &["f"]);
        assert!(broker.oldest_message() > last);
    }

    #[test]
    fn a_queue_is_looked_at_again_when_its_oldest_message_is_too_old() {
        let broker = broker();
        send_kafkas(&broker, &["a"]);
        let set = |retention_ms: u64, retention_bytes| {
            let settings = TopicSettings {
                retention_ms: Some(retention_ms),
                retention_bytes,
                ..TopicSettings::default()
            };
            broker.queues.borrow_mut().get_aside(&QUEUE).unwrap().set(&Arc::new(settings));
        };
        let looks = |now_ms| {
            let queues = broker.queues.borrow();
            queues.get(&QUEUE).unwrap().may_have_excess(now_ms)
        };
        let retain = || assert_eq!(block_on(broker.kept_from(QUEUE)).unwrap(), None);
        let now_ms = broker.env.clock.wall_ms();
        // The message says that it is of 4,000.
        let age_ms = u64::try_from(now_ms - 4_000).unwrap();

        set(age_ms + 60_000, None);
        assert!(looks(now_ms), "these settings came behind the first message");
        retain();
        assert_eq!([now_ms + 59_999, now_ms + 60_000].map(looks), [false, true]);
        let keep =
            || broker.queues.borrow_mut().get_aside(&QUEUE).unwrap().kept_until_ms = i64::MAX;
        keep();
        assert!(!looks(now_ms));
        set(age_ms + 60_000, Some(1));
        keep();
        assert!(looks(now_ms), "it is too large");
        set(age_ms + 60_000, None);
        assert!(looks(now_ms), "these settings are others");
        send_kafkas(&broker, &["b"]);
        set(age_ms + 90_000, None);
        retain();
        assert!(!looks(now_ms + 60_000));
        // Older messages may come first now.
        broker.log_start_durable(QUEUE, 1);
        assert!(looks(now_ms));
        broker.log_start_durable(QUEUE, 2);
        assert!(!looks(now_ms), "it is empty");
        send_kafkas(&broker, &["c"]);
        assert_eq!([now_ms + 89_999, now_ms + 90_000].map(looks), [false, true]);
    }

    #[test]
    fn a_record_delayed_for_longer_than_it_is_kept_stays_from_its_delivery_on() {
        let broker = broker();
        send_kafkas(&broker, &["a"]);
        let now_ms = broker.env.clock.wall_ms();
        // The message says that it is of 4,000.
        let retention_ms = u64::try_from(now_ms - 4_001).unwrap();
        let kept_from = |delay| {
            let settings = TopicSettings {
                retention_ms: Some(retention_ms),
                delay,
                ..TopicSettings::default()
            };
            broker.queues.borrow_mut().get_aside(&QUEUE).unwrap().set(&Arc::new(settings));
            block_on(broker.kept_from(QUEUE)).unwrap()
        };
        assert_eq!(kept_from(false), Some(1));
        assert_eq!(kept_from(true), None);
        let looks = |now_ms| broker.queues.borrow().get(&QUEUE).unwrap().may_have_excess(now_ms);
        let until_ms = now_ms.saturating_add_unsigned(retention_ms);
        assert_eq!([until_ms - 1, until_ms].map(looks), [false, true]);
    }

    #[test]
    fn what_has_gone_already_is_no_excess() {
        let broker = broker();
        ["a", "b", "c"].iter().for_each(|value| send_kafkas(&broker, &[value]));
        let bytes = broker.queue_bytes(QUEUE).unwrap() / 3;
        let settings = TopicSettings {
            retention_ms: None,
            retention_bytes: Some(bytes),
            ..TopicSettings::default()
        };
        broker.queues.borrow_mut().get_aside(&QUEUE).unwrap().set(&Arc::new(settings));
        let kept_from = || block_on(broker.kept_from(QUEUE)).unwrap();
        assert_eq!(kept_from(), Some(2));
        broker.log_start_durable(QUEUE, 1);
        assert_eq!(kept_from(), None, "nobody knows yet how much is left");
        take_off_at_once(&broker);
        assert_eq!(kept_from(), Some(2));
        broker.log_start_durable(QUEUE, 2);
        take_off_at_once(&broker);
        assert_eq!(kept_from(), None);
    }
}
