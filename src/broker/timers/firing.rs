//! Delivering timers when they are due.

use std::{collections::BTreeMap, rc::Rc, time::Duration};

use futures_lite::future;

use super::{TimerFrame, TimerKey, Waiting, key_of, waiting_of};
use crate::{
    base::{Dialect, Position, QueueId, ShardId, Stage},
    broker::{
        AppendError, AppendedBatch, Broker, ColdError, ControlError, LogSlice, MessageToAppend,
    },
    storage::commit_log::{ReserveError, frame::FrameKind},
};

/// Timers delivered at a time, and bytes of them; one may be larger.
const BATCH: usize = 256;
const BATCH_BYTES: u64 = 4 << 20;

/// Longest sleep, so that a jump of the wall clock is noticed, and recalled timers are let go of.
const LOOK: Duration = Duration::from_secs(1);

/// How soon what failed is tried again, as on a full disk.
const RETRY: Duration = Duration::from_millis(500);

/// A timer's payload, and the queue it names.
struct Due {
    queue: QueueId,
    payload: Vec<u8>,
}

impl Broker {
    /// Runs until the shard ends, or the log has stopped: delivers timers when they are due.
    pub(in crate::broker) async fn fire_timers(self: Rc<Self>) {
        let Ok(turn) = self.timers.turn.acquire().await else { return };
        while let Err(error) = self.load_timers().await {
            tracing::warn!(%error, "the timers could not be looked up; it is tried again");
            self.env.tasks.sleep(RETRY).await;
            if self.timers.stopping.get() {
                return;
            }
        }
        drop(turn);
        while self.log.failure().is_none() {
            // Who becomes durable from here on wakes even if it is looked at anyway.
            self.timers.sleeps_until_ms.set(i64::MAX);
            let wait = match self.fire_due().await {
                Ok(next_ms) => {
                    self.timers.sleeps_until_ms.set(next_ms.unwrap_or(i64::MAX));
                    let left = next_ms.map(|next| (next - self.timers_now_ms()).max(0));
                    left.map_or(LOOK, |left| Duration::from_millis(left.unsigned_abs()).min(LOOK))
                }
                Err(ControlError::Stopping) => return,
                Err(ControlError::Storage) => RETRY,
            };
            let woken = async {
                let _ = self.timers.wake.1.recv_async().await;
            };
            future::or(woken, self.env.tasks.sleep(wait)).await;
        }
    }

    /// Fills the timer queues from their index.
    async fn load_timers(self: &Rc<Self>) -> Result<(), String> {
        for id in self.timers.ids() {
            let Some((mut at, end)) = self.ends(id) else { continue };
            while at < end {
                let entries = self.entries(id, at).await.map_err(|error| error.to_string())?;
                let Some(last) = entries.last() else { break };
                at = last.next_offset();
                self.with_timers(id, |timers| {
                    entries.iter().for_each(|entry| timers.load(key_of(entry), waiting_of(entry)));
                });
                self.env.tasks.sleep(Duration::ZERO).await;
            }
        }
        Ok(())
    }

    /// Delivers all timers that are due, and says when the next one is.
    async fn fire_due(self: &Rc<Self>) -> Result<Option<i64>, ControlError> {
        let Ok(_turn) = self.timers.turn.acquire().await else {
            return Err(ControlError::Stopping);
        };
        let mut next: Option<i64> = None;
        for id in self.timers.ids() {
            next = [next, self.fire_queue(id).await?].into_iter().flatten().min();
        }
        Ok(next)
    }

    async fn fire_queue(self: &Rc<Self>, id: QueueId) -> Result<Option<i64>, ControlError> {
        while !self.timers.stopping.get() {
            let now_ms = self.timers_now_ms();
            let (taken, next) = {
                let mut queues = self.queues.borrow_mut();
                let Some(queue) = queues.get_aside(&id) else { return Ok(None) };
                let Some(timers) = &mut queue.timers else { return Ok(None) };
                let taken = timers.take(now_ms, queue.high_watermark, BATCH);
                if taken.is_empty() {
                    timers.pass(now_ms);
                }
                (taken, timers.next_due(queue.high_watermark))
            };
            if taken.is_empty() {
                return Ok(next);
            }
            let delivered = self.deliver(id, &taken).await;
            self.with_timers(id, |timers| timers.put_back(&taken));
            if delivered? == 0 {
                return Ok(Some(now_ms + RETRY.as_millis() as i64));
            }
            // Many may be due, as after a start.
            self.env.tasks.sleep(Duration::ZERO).await;
        }
        Err(ControlError::Stopping)
    }

    /// Delivers timers that were taken, and says how many are done with.
    async fn deliver(
        self: &Rc<Self>,
        id: QueueId,
        taken: &[(TimerKey, Waiting)],
    ) -> Result<usize, ControlError> {
        let found = self.due_messages(id, taken).await;
        let mut done = vec![true; found.len()];
        done.resize(taken.len(), false);
        let mut parts: BTreeMap<ShardId, (Vec<usize>, Vec<Due>)> = BTreeMap::new();
        for (at, due) in found.into_iter().enumerate() {
            if let Some(due) = due {
                let (places, messages) = parts.entry(self.owner(due.queue)).or_default();
                places.push(at);
                messages.push(due);
            }
        }
        for (owner, (places, messages)) in parts {
            let put = self
                .on(owner, move |owner| Box::pin(async move { owner.put_due(&messages).await }))
                .await?;
            places[put..].iter().for_each(|at| done[*at] = false);
        }
        let in_turn = done.iter().position(|is_done| !is_done).unwrap_or(done.len());
        let keys = taken.iter().zip(done).filter(|(_, is_done)| *is_done);
        let keys: Vec<_> = keys.map(|((key, _), _)| *key).collect();
        self.settle_delivered(id, &keys, in_turn).await?;
        Ok(keys.len())
    }

    /// Timers were delivered. The cursor moves over the first `in_turn` of them; the others have one
    /// before them that is not, and are told to the log each.
    async fn settle_delivered(
        self: &Rc<Self>,
        id: QueueId,
        keys: &[TimerKey],
        in_turn: usize,
    ) -> Result<(), ControlError> {
        let (in_turn, ahead) = keys.split_at(in_turn);
        // Before anything is awaited: they are not to come again if the log cannot be told.
        self.with_timers(id, |timers| {
            in_turn.last().into_iter().for_each(|last| timers.delivered(*last));
            ahead.iter().for_each(|key| timers.settle(*key));
        });
        let now_ms = self.timers_now_ms();
        for key in keys {
            let late_ms = u64::try_from(now_ms - key.due_ms).unwrap_or(0);
            self.record(Stage::Timer, Duration::from_millis(late_ms));
        }
        self.count(|figures| figures.timers_fired += keys.len() as u64);
        if let Some(last) = in_turn.last() {
            self.append_timer_frame(FrameKind::TimersFired, id, *last).await?;
        }
        for key in ahead {
            self.append_timer_frame(FrameKind::TimerSettled, id, *key).await?;
        }
        Ok(())
    }

    /// The messages of timers, from the first on: as many as are read at a time. None for one that is
    /// lost, which is told and nobody waits for.
    async fn due_messages(
        self: &Rc<Self>,
        id: QueueId,
        timers: &[(TimerKey, Waiting)],
    ) -> Vec<Option<Due>> {
        let (mut slices, mut bytes) = (Vec::new(), 0);
        for (key, _) in timers {
            let slice = match self.index.find(id, key.offset).await {
                Ok(entry) => entry.map(|entry| LogSlice::new(id, &entry)),
                Err(error) => {
                    tracing::warn!(%error, "a timer could not be looked up; it is tried again");
                    break;
                }
            };
            bytes += slice.map_or(0, |slice| u64::from(slice.length));
            if bytes > BATCH_BYTES && !slices.is_empty() {
                break;
            }
            slices.push(slice);
        }
        let found: Vec<_> = slices.iter().flatten().copied().collect();
        let mut payloads = self.payloads(&found).await.into_iter();
        let mut messages = Vec::with_capacity(slices.len());
        let mut undeliverable = Undeliverable::default();
        for slice in slices {
            let payload = match slice {
                Some(_) => payloads.next().expect("one for each slice"),
                None => Err(ColdError::Gone(Position(0))),
            };
            if let Err(ColdError::Disk(error)) = &payload {
                tracing::warn!(error, "a timer could not be read; it is tried again");
                break;
            }
            let due = payload.map_err(|error| error.to_string()).and_then(|payload| {
                let queue = TimerFrame::parse(&payload)?.queue;
                Ok(Due { queue, payload: payload.to_vec() })
            });
            messages.push(due.map_err(|error| undeliverable.add(error)).ok());
        }
        self.give_up(undeliverable);
        messages
    }

    /// Appends messages to queues of this shard, in order; says how many are done with.
    async fn put_due(self: &Rc<Self>, messages: &[Due]) -> usize {
        let mut undeliverable = Undeliverable::default();
        let mut done = 0;
        for due in messages {
            match self.put(due).await {
                Ok(()) => {}
                Err(error) if self.may_pass(due.queue, &error) => break,
                Err(error) => undeliverable.add(format!("{}: {error}", due.queue)),
            }
            done += 1;
        }
        self.give_up(undeliverable);
        done
    }

    /// Whether a message that could not be appended to a queue of this shard may be another time. Those
    /// to a queue that is gone, or larger than the log takes, may not.
    fn may_pass(&self, queue: QueueId, error: &AppendError) -> bool {
        match error {
            AppendError::Busy
            | AppendError::Storage(ReserveError::DiskFull | ReserveError::Stopped) => true,
            // What makes the queue is still on its way to this shard.
            AppendError::UnknownQueue => queue >= self.cluster().next_queue(),
            _ => false,
        }
    }

    async fn put(self: &Rc<Self>, due: &Due) -> Result<(), AppendError> {
        let frame = TimerFrame::parse(&due.payload).map_err(AppendError::Records)?;
        let put = match frame.dialect {
            Dialect::Kafka => self.append_admitted(frame.queue, frame.message, RETRY).await,
            Dialect::RocketMq => self.put_message(&frame).await,
        };
        put.map(drop)
    }

    async fn put_message(
        self: &Rc<Self>,
        frame: &TimerFrame<'_>,
    ) -> Result<AppendedBatch, AppendError> {
        let message = MessageToAppend {
            record: frame.message,
            tag_hash: frame.tag_hash,
            has_key: true,
            early: true,
            admitted: true,
        };
        self.append_message_when_free(frame.queue, &message, RETRY).await
    }

    /// Counts timers that are not tried again, as RocketMQ gives those of deleted topics up; with one
    /// line in the log for all.
    pub(super) fn give_up(&self, undeliverable: Undeliverable) {
        let Undeliverable { count, first } = undeliverable;
        if count > 0 {
            self.count(|figures| figures.timers_undeliverable += count);
            tracing::warn!(count, first, "delayed messages cannot be delivered and are given up");
        }
    }
}

/// Timers that cannot be delivered, and why the first of them cannot.
#[derive(Default)]
pub(super) struct Undeliverable {
    count: u64,
    first: String,
}

impl Undeliverable {
    pub(super) fn one(error: String) -> Self {
        Self { count: 1, first: error }
    }

    fn add(&mut self, error: String) {
        if self.count == 0 {
            self.first = error;
        }
        self.count += 1;
    }
}

#[cfg(test)]
mod tests;
