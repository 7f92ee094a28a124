//! Moving timer queues' starts on, so that timers hold little of the log back.

use std::{rc::Rc, time::Duration};

use super::{TimerFrame, firing::Undeliverable, key_of};
use crate::{
    base::{Position, QueueId, ShardId},
    broker::{Broker, ColdError, LogSlice},
    storage::{commit_log::frame::FrameKind, queue_index::IndexEntry},
};

/// How many times the bytes of all pending timers they may hold back in all: storing them once more
/// adds a quarter of what others write at most.
const HELD_TIMES: u64 = 4;

/// Timers looked at, and stored once more, in one turn, and bytes of them; one may be larger. Firing
/// waits for it, and all else on the shard.
const STEP: usize = 64;
const STEP_BYTES: u64 = 1 << 20;

impl Broker {
    /// Lets this shard's timer queues begin with their first pending timers, and stores once more those
    /// that alone hold too much of the log back: where messages lie in front of them it would give
    /// nothing free.
    pub(in crate::broker) async fn tidy_timers(self: &Rc<Self>) {
        let (mut bytes, mut oldest) = (0, Position(u64::MAX));
        for shard in (0..self.shards()).map(ShardId) {
            let part = self.on(shard, |owner| {
                Box::pin(async move { (owner.timer_bytes(), owner.oldest_but_timers()) })
            });
            let Ok((of_timers, of_messages)) = part.await else { return };
            bytes += of_timers;
            oldest = of_messages.map_or(oldest, |position| position.min(oldest));
        }
        let held = (bytes * HELD_TIMES).max(self.settings.timers.held_bytes);
        let before = Position(self.log.durable().0.saturating_sub(held));
        self.move_timers_before(before.min(oldest)).await;
    }

    /// Stores this shard's pending timers that lie before a position once more.
    pub(in crate::broker) async fn move_timers_before(self: &Rc<Self>, before: Position) {
        for id in self.timers.ids() {
            if let Err(error) = self.move_timers(id, before).await {
                tracing::warn!(queue = id.0, error, "timers hold segments of the log back");
            }
        }
    }

    /// Stores the pending timers of a queue that lie before a position once more, at its end, and
    /// moves its start to the first pending one. In steps, between which others have their turn, or the
    /// broker stops.
    ///
    /// # Errors
    /// What keeps them where they are; none is lost.
    async fn move_timers(self: &Rc<Self>, id: QueueId, before: Position) -> Result<(), String> {
        let Some((start, end)) = self.ends(id) else { return Ok(()) };
        self.with_timers(id, |timers| timers.dropped_below(start));
        let mut to = start;
        while to < end {
            let entries = self.entries(id, to).await.map_err(|error| error.to_string())?;
            let below_end = entries.partition_point(|entry| entry.base_offset < end);
            let mut rest = &entries[..below_end];
            let Some(last) = rest.last() else { break };
            while !rest.is_empty() {
                let (step, later) = rest.split_at(step_of(rest));
                if !self.move_step(id, step, before).await? {
                    return Ok(());
                }
                rest = later;
                self.env.tasks.sleep(Duration::ZERO).await;
            }
            to = last.next_offset();
        }
        let Ok(_turn) = self.timers.turn.acquire().await else { return Ok(()) };
        self.begin_at(id, to.min(end)).await
    }

    /// One step of [`Broker::move_timers`]; false if its last ones stay where they are. The log start
    /// follows right behind what was stored again: no stop finds it twice, and a start only after a crash in
    /// between.
    async fn move_step(
        self: &Rc<Self>,
        id: QueueId,
        step: &[IndexEntry],
        before: Position,
    ) -> Result<bool, String> {
        let Ok(_turn) = self.timers.turn.acquire().await else { return Ok(false) };
        let mut awaited: Vec<&IndexEntry> = Vec::new();
        self.with_timers(id, |timers| {
            awaited.extend(step.iter().filter(|entry| timers.awaits(key_of(entry))));
        });
        let moves = awaited.partition_point(|entry| entry.position < before);
        let (moved, result) = self.store_again(id, &awaited[..moves]).await;
        if let Some(stays) = awaited.get(moved) {
            self.begin_at(id, stays.base_offset).await?;
            return result.map(|()| false);
        }
        if let (Some(last), true) = (awaited.last(), moved > 0) {
            self.begin_at(id, last.next_offset()).await?;
        }
        Ok(true)
    }

    /// Lets a timer queue begin at an offset, behind what was stored again in the log: no timer is
    /// without a place at any time.
    async fn begin_at(self: &Rc<Self>, id: QueueId, offset: i64) -> Result<(), String> {
        if self.ends(id).is_some_and(|(start, _)| start < offset) {
            self.append_log_start(id, offset).await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Stores timers once more, in their order; says how many, and what keeps the next one.
    async fn store_again(
        self: &Rc<Self>,
        id: QueueId,
        entries: &[&IndexEntry],
    ) -> (usize, Result<(), String>) {
        let slices: Vec<_> = entries.iter().map(|entry| LogSlice::new(id, entry)).collect();
        let payloads = self.payloads(&slices).await;
        for (at, (entry, payload)) in entries.iter().zip(payloads).enumerate() {
            let stored = match payload {
                Ok(payload) => self.store_one_again(id, entry, &payload).await,
                Err(ColdError::Disk(error)) => Err(error),
                // It would hold the log back until it is due, and not be delivered then.
                Err(error) => self.settle_lost(id, entry, &error).await,
            };
            if stored.is_err() {
                return (at, stored);
            }
        }
        (entries.len(), Ok(()))
    }

    /// Gives up a timer that cannot be read any more.
    async fn settle_lost(
        self: &Rc<Self>,
        id: QueueId,
        entry: &IndexEntry,
        why: &ColdError,
    ) -> Result<(), String> {
        let key = key_of(entry);
        self.with_timers(id, |timers| timers.settle(key));
        let settled = self.append_timer_frame(FrameKind::TimerSettled, id, key).await;
        settled.map_err(|error| error.to_string())?;
        self.give_up(Undeliverable::one(why.to_string()));
        Ok(())
    }

    async fn store_one_again(
        self: &Rc<Self>,
        id: QueueId,
        entry: &IndexEntry,
        payload: &[u8],
    ) -> Result<(), String> {
        let frame = TimerFrame::parse(payload)?;
        // On a full disk too: it frees segments, and a step has a limit.
        let room = self.reserve_control(frame.bytes()).await.map_err(|error| error.to_string())?;
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(&id) else { return Ok(()) };
        let Some(timers) = &mut queue.timers else { return Ok(()) };
        timers.forget(key_of(entry));
        self.put_timer(id, queue, room, &frame, entry.tag_hash);
        Ok(())
    }
}

/// How many of these entries make up a step.
fn step_of(entries: &[IndexEntry]) -> usize {
    let mut bytes = 0;
    let fits = |entry: &&IndexEntry| {
        bytes += u64::from(entry.length);
        bytes <= STEP_BYTES
    };
    entries.iter().take(STEP).take_while(fits).count().max(1)
}
