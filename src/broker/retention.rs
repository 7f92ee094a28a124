//! Moves queues' starts on, by age and by size (retention.ms, retention.bytes).

use std::{rc::Rc, sync::Arc, time::Duration};

use super::{
    Broker, ControlError, OffsetError,
    queue::{Queue, kept_until, time_of},
};
use crate::{
    base::{Position, QueueId},
    storage::{
        commit_log::frame::{FrameKind, FrameMeta},
        queue_index::{Budget, IndexEntry, IndexError},
    },
};

/// Entries looked at between two chances for other work.
const ENTRIES: usize = 1024;

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

    /// Changes an account. What was taken off already is not again.
    pub(super) fn take_off(&self, counted_from: &mut i64, bytes: &mut u64, oldest: &mut Position) {
        if *counted_from == self.from {
            *counted_from = self.to;
            *bytes = bytes.saturating_sub(self.bytes);
            *oldest = self.oldest.max(*oldest);
        }
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
            for ids in ids.chunks(ENTRIES) {
                for id in self.expire(ids, expired) {
                    if let Err(error) = self.retain_queue(id).await {
                        tracing::warn!(queue = id.0, %error, "retention could not look at a queue");
                    }
                }
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

    async fn retain_queue(self: &Rc<Self>, id: QueueId) -> Result<(), String> {
        let now_ms = self.env.clock.wall_ms();
        loop {
            // What has gone already is not to count as excess.
            while self.take_off_some(id).await.map_err(|error| error.to_string())? {
                self.env.tasks.sleep(Duration::ZERO).await;
            }
            let Some((start, end, bytes, settings)) = self.queues.borrow().get(&id).map(|queue| {
                let settings = queue.settings.clone();
                (queue.log_start, queue.high_watermark, queue.bytes, settings)
            }) else {
                return Ok(());
            };
            let entries = self.entries(id, start).await.map_err(|error| error.to_string())?;
            let oldest_kept =
                settings.retention_ms.map_or(i64::MIN, |ms| now_ms.saturating_sub_unsigned(ms));
            let mut excess = settings.retention_bytes.map_or(0, |max| bytes.saturating_sub(max));
            let mut dropped = 0u64;
            let mut to = start;
            let mut all = true;
            let mut kept_until_ms = i64::MIN;
            for entry in &entries {
                let length = u64::from(entry.length);
                if time_of(entry) >= oldest_kept && excess < length {
                    all = false;
                    kept_until_ms = kept_until(entry, &settings);
                    break;
                }
                excess = excess.saturating_sub(length);
                to = entry.base_offset + i64::from(entry.count);
                dropped += length;
            }
            if to <= start {
                if let Some(queue) = self.queues.borrow_mut().get_aside(&id)
                    && queue.log_start == start
                    && Arc::ptr_eq(&queue.settings, &settings)
                {
                    queue.kept_until_ms = kept_until_ms;
                }
                return Ok(());
            }
            let to = to.min(end);
            tracing::debug!(queue = id.0, to, dropped, "retention moves the log start");
            self.delete_before(id, to).await.map_err(|error| error.to_string())?;
            if !all || entries.len() < ENTRIES {
                return Ok(());
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
    }

    /// Up to [`ENTRIES`] entries from `offset` on.
    pub(super) async fn entries(
        &self,
        id: QueueId,
        offset: i64,
    ) -> Result<Vec<IndexEntry>, IndexError> {
        self.index.range(id, offset, Budget { entries: ENTRIES, bytes: u64::MAX }).await
    }

    /// Takes what lies before a queue's log start off its account, in the background. Should the index be
    /// rebuilt just then, that is waited for: a queue that counts too much would drop too much.
    pub(super) fn count_dropped(self: &Rc<Self>, id: QueueId) {
        let broker = Rc::clone(self);
        self.env.tasks.spawn(Box::pin(async move {
            while let Err(error) = broker.take_off_all(id).await {
                tracing::debug!(queue = id.0, %error, "what was dropped is counted later");
                broker.env.tasks.sleep(ASK_AGAIN).await;
                // The checkpoint tells what is still to be taken off.
                if broker.log.failure().is_some() || broker.log.closing() {
                    return;
                }
            }
        }));
    }

    /// Goes on with what a restart interrupted.
    pub(super) fn count_all_dropped(self: &Rc<Self>) {
        let queues = self.queues.borrow();
        let open = queues.iter().filter(|(_, queue)| queue.counted_from < queue.log_start);
        let open: Vec<_> = open.map(|(id, _)| *id).collect();
        drop(queues);
        open.into_iter().for_each(|id| self.count_dropped(id));
    }

    async fn take_off_all(self: &Rc<Self>, id: QueueId) -> Result<(), OffsetError> {
        while self.take_off_some(id).await? {}
        Ok(())
    }

    /// Takes some of what lies before a queue's log start off its account; true if there was any.
    async fn take_off_some(self: &Rc<Self>, id: QueueId) -> Result<bool, OffsetError> {
        let Some(dropped) = self.next_dropped(id).await? else { return Ok(false) };
        let mut meta = FrameMeta::control(FrameKind::Dropped, self.env.clock.wall_ms());
        (meta.queue, meta.base_offset) = (id, dropped.to);
        // In the log, so that what was counted once is not after a crash, when it may be in no index.
        let appended = self.append_control_frame(&meta, &dropped.payload()).await?;
        self.control_pending(appended.end, move |broker| broker.dropped_durable(id, &dropped));
        self.durable(appended.end).await.map_err(ControlError::from)?;
        self.apply_durable();
        Ok(true)
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
            dropped.take_off(&mut queue.counted_from, &mut queue.bytes, &mut queue.oldest);
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
            let behind = behind.filter(|(_, queue)| queue.timers.is_none());
            behind.map(|(id, queue)| (*id, queue.log_start, queue.high_watermark)).collect()
        };
        self.move_timers_before(position).await;
        let mut cut = 0;
        for (id, start, end) in behind {
            let mut to = start;
            'queue: while to < end {
                let Ok(entries) = self.entries(id, to).await else { break };
                if entries.is_empty() {
                    break;
                }
                for entry in &entries {
                    if entry.position >= position {
                        break 'queue;
                    }
                    to = entry.next_offset();
                }
                self.env.tasks.sleep(Duration::ZERO).await;
            }
            match self.delete_before(id, to.min(end)).await {
                Ok(now) => cut += usize::from(now > start),
                Err(error) => {
                    tracing::warn!(queue = id.0, %error, "the log start could not be moved");
                }
            }
        }
        cut
    }
}

#[cfg(test)]
pub(super) mod tests {
    use futures_lite::future::block_on;

    use super::*;
    use crate::{
        broker::pull::tests::{QUEUE, broker, send_kafkas},
        cluster::TopicSettings,
    };

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
            Dropped::of(7, payload)?.take_off(&mut counted_from, &mut bytes, &mut oldest);
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
        let retain = || block_on(broker.retain_queue(QUEUE)).unwrap();
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
}
