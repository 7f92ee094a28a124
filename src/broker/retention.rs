//! Moves queues' starts on, by age and by size (retention.ms, retention.bytes).

use std::{rc::Rc, time::Duration};

use super::Broker;
use crate::{
    base::{Dialect, Position, QueueId},
    storage::queue_index::{Budget, IndexEntry, IndexError},
};

/// Entries looked at between two chances for other work.
const ENTRIES: usize = 1024;

/// How soon an index that could not be read is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Which of an entry's times its age is counted from. Kafka's users know retention by a record's own
/// time. A message of RocketMQ's may have waited long before it came to its queue, and its age is
/// that of the file it was stored in.
fn time_of(entry: &IndexEntry) -> i64 {
    match entry.dialect {
        Dialect::Kafka => entry.max_timestamp,
        Dialect::RocketMq => entry.append_time,
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
            let ids: Vec<_> = {
                let mut queues = self.queues.borrow_mut();
                queues.values_mut().for_each(|queue| queue.producers.expire(expired));
                let bounded = queues.iter().filter(|(_, queue)| {
                    let settings = &queue.settings;
                    let bounded =
                        settings.retention_ms.is_some() || settings.retention_bytes.is_some();
                    // A timer's time is to come, not gone.
                    bounded && queue.timers.is_none() && queue.log_start < queue.high_watermark
                });
                bounded.map(|(id, _)| *id).collect()
            };
            for id in ids {
                if let Err(error) = self.retain_queue(id).await {
                    tracing::warn!(queue = id.0, %error, "retention could not look at a queue");
                }
            }
        }
    }

    async fn retain_queue(self: &Rc<Self>, id: QueueId) -> Result<(), String> {
        let now_ms = self.env.clock.wall_ms();
        loop {
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
            let goes = |entry: &IndexEntry| {
                let length = u64::from(entry.length);
                if time_of(entry) >= oldest_kept && excess < length {
                    return false;
                }
                excess = excess.saturating_sub(length);
                true
            };
            let mut goes = goes;
            let mut to = start;
            let mut all = true;
            for entry in &entries {
                if !goes(entry) {
                    all = false;
                    break;
                }
                to = entry.base_offset + i64::from(entry.count);
                dropped += u64::from(entry.length);
            }
            if to <= start {
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

    /// Takes the bytes between two starts off a queue's account, in the background. Should the index be
    /// rebuilt just then, that is waited for: a queue that counts too much would drop too much.
    pub(super) fn count_dropped(self: &Rc<Self>, id: QueueId, from: i64, to: i64) {
        let broker = Rc::clone(self);
        self.env.tasks.spawn(Box::pin(async move {
            let mut at = from;
            while at < to {
                let entries = broker.looked_up(id, async || broker.entries(id, at).await);
                let Some(entries) = entries.await else { return };
                let Some(last) = entries.last() else { return };
                let whole = entries
                    .iter()
                    .take_while(|entry| entry.base_offset + i64::from(entry.count) <= to);
                let bytes: u64 = whole.map(|entry| u64::from(entry.length)).sum();
                at = last.next_offset();
                if let Some(queue) = broker.queues.borrow_mut().get_mut(&id) {
                    queue.bytes = queue.bytes.saturating_sub(bytes);
                }
            }
            // Where the first message that is left lies.
            let first =
                broker.looked_up(id, async || broker.index.first_at_or_after(id, to).await).await;
            if let (Some(queue), Some(Some(first))) =
                (broker.queues.borrow_mut().get_mut(&id), first)
            {
                queue.oldest = queue.oldest.max(first.position);
            }
        }));
    }

    /// What the index says of a queue, as soon as it can; nothing once the queue is gone or the log has
    /// stopped.
    async fn looked_up<T>(
        &self,
        id: QueueId,
        look_up: impl AsyncFn() -> Result<T, IndexError>,
    ) -> Option<T> {
        loop {
            match look_up().await {
                Ok(found) => return Some(found),
                Err(error) => tracing::debug!(queue = id.0, %error, "the index is asked again"),
            }
            self.env.tasks.sleep(ASK_AGAIN).await;
            if self.log.failure().is_some() || !self.queues.borrow().contains_key(&id) {
                return None;
            }
        }
    }

    /// No message of this shard's queues lies before the position returned; `None` if there is no
    /// message.
    #[must_use]
    pub fn oldest_message(&self) -> Option<Position> {
        let queues = self.queues.borrow();
        queues.values().filter(|queue| !queue.is_empty()).map(|queue| queue.oldest).min()
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
