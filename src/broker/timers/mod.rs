//! Messages that wait for their time: delayed ones, and those that consumers sent back.
//!
//! A timer needs no store of its own. It is a frame in a queue of the broker's own topic
//! ([`TIMERS_TOPIC`]): the message as it will be stored, when and where to. Queue, group commit and
//! index are those of every message, but for the time in the index, which is when the timer is due.
//! So a start knows all timers by their index entries, without reading one.
//!
//! - The owner of a timer queue keeps its timers in order of time and offset ([`TimerKey`]) and gives
//!   those that are due to the owners of their queues, as ordinary messages. Then it writes a control
//!   frame: everything up to this key is delivered. That lies behind the messages in the log, so that
//!   a crash in between repeats some and loses none.
//! - One key tells what has fired only because no timer comes in behind it: a new one is due no
//!   earlier than the last one taken, which was due already. Its offset is higher in any case.
//! - A timer fires only if the log is durable past it, and no later one of its queue before it. Nor does
//!   it fire across a jump of the wall clock that may be corrected ([`clock`]).
//! - A timer that was recalled, or delivered while one before it could not be, is a control frame of its
//!   own, kept until the cursor has passed it: with nothing pending before it the cursor does when its
//!   time has come.
//! - The queue's log start follows its first pending timer. One that would hold too much of the log
//!   back is stored once more, at the end ([`upkeep`]).
//! - Firing, recalling and storing once more take turns on a shard. Nothing of this is on the way of
//!   an ordinary message.

mod clock;
mod firing;
mod frame;
mod look;
mod pending;
mod recall;
#[cfg(test)]
mod tests;
mod upkeep;

use std::{
    cell::{Cell, RefCell},
    collections::BTreeSet,
    iter::Sum,
    rc::Rc,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::sync::Semaphore;

use self::clock::TimerClock;
use super::{
    AppendError, AppendedBatch, Broker, ControlError, MessageToAppend, queue::Queue, queues::Queues,
};
use crate::{
    base::{Dialect, Position, QueueId},
    cluster::{Applied, ClusterError, Command, ControlPlane as _, Naming, NewTopic, TIMERS_TOPIC},
    storage::{
        commit_log::{
            Appended, Reservation, Turn,
            frame::{FrameKind, FrameMeta},
        },
        queue_index::IndexEntry,
    },
};

pub(super) use frame::TimerFrame;
pub use pending::{TimerKey, TimersSnapshot};
pub(super) use pending::{TimerQueue, Waiting};

/// Queues of the timers' topic, over which timers are spread by their ids.
const QUEUES: i32 = 16;

/// What a broker's config says about timers.
#[derive(Clone, Copy, Debug)]
pub struct TimerSettings {
    /// Timers that may be pending, over all queues; those recalled before their time count till then.
    pub max_pending: usize,
    /// Bytes of the log that pending timers may hold back at least.
    pub held_bytes: u64,
}

/// A message to be delivered later.
#[derive(Clone, Copy, Debug)]
pub struct TimerToAppend<'a> {
    /// The queue it goes to then.
    pub queue: QueueId,
    /// When, in milliseconds since 1970.
    pub due_ms: i64,
    /// Hash of the id by which it may be recalled.
    pub id_hash: u32,
    /// The message.
    pub message: MessageToAppend<'a>,
}

/// What a shard knows of its timer queues as a whole.
pub(super) struct Timers {
    queues: RefCell<BTreeSet<QueueId>>,
    wake: (flume::Sender<()>, flume::Receiver<()>),
    clock: Cell<TimerClock>,
    /// Timers due until then wake whoever sleeps.
    sleeps_until_ms: Cell<i64>,
    /// Held by whoever takes timers out of their order; by the start until all are loaded. Closed in
    /// the end.
    turn: Semaphore,
    /// Whoever holds the turn is to give it up soon.
    stopping: Cell<bool>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            queues: RefCell::default(),
            wake: flume::bounded(1),
            clock: Cell::default(),
            sleeps_until_ms: Cell::new(i64::MAX),
            turn: Semaphore::new(1),
            stopping: Cell::default(),
        }
    }
}

impl Timers {
    /// Puts what is known of timers into their queues.
    pub(super) fn restored(
        queues: &mut HashMap<QueueId, Queue>,
        states: Vec<TimersSnapshot>,
    ) -> Self {
        let own = queues.iter().filter(|(_, queue)| queue.timers.is_some());
        let own = RefCell::new(own.map(|(id, _)| *id).collect());
        for state in states {
            if let Some(queue) = queues.get_mut(&state.queue)
                && queue.timers.is_some()
            {
                queue.timers = Some(Box::new(TimerQueue::restored(state)));
            }
        }
        Self { queues: own, ..Self::default() }
    }

    /// A queue of timers is on this shard.
    pub(super) fn own(&self, queue: QueueId) {
        self.queues.borrow_mut().insert(queue);
    }

    /// A timer became durable.
    pub(super) fn durable(&self, due_ms: i64) {
        if due_ms <= self.sleeps_until_ms.get() {
            // A full channel holds a wake-up already.
            let _ = self.wake.0.try_send(());
        }
    }

    fn ids(&self) -> Vec<QueueId> {
        self.queues.borrow().iter().copied().collect()
    }
}

impl Broker {
    /// The timer queue for an id, which is on any shard. The first one asked for makes all.
    ///
    /// # Errors
    /// What keeps the topic from being made.
    pub async fn timer_queue(self: &Rc<Self>, id_hash: u32) -> Result<QueueId, ClusterError> {
        let topic = self.ensure_topic(NewTopic {
            name: TIMERS_TOPIC.into(),
            naming: Naming::Broker,
            partitions: QUEUES,
            replication_factor: -1,
            ..NewTopic::default()
        });
        let topic = topic.await?;
        Ok(topic.queues[id_hash as usize % QUEUES as usize])
    }

    /// Sees to it that this shard owns a timer queue. Should there be more shards than queues, each
    /// gets one more; in those [`Broker::timer_queue`] puts nothing.
    ///
    /// # Errors
    /// What keeps them from being made.
    pub(super) async fn ensure_own_timers(self: &Rc<Self>) -> Result<(), ClusterError> {
        let has_none = || self.timers.queues.borrow().is_empty();
        if !has_none() {
            return Ok(());
        }
        self.timer_queue(0).await?;
        if has_none() {
            let more = self.cluster().topic(TIMERS_TOPIC).map(|topic| Command::CreatePartitions {
                id: topic.id,
                partitions: topic.queues.len() as u32 + u32::from(self.shards()),
            });
            let more = more.ok_or(ClusterError::UnknownTopic { name: TIMERS_TOPIC.into() })?;
            let made = self.execute(more).await;
            let made =
                made.map_err(|error| ClusterError::Unavailable { reason: error.to_string() })?;
            // Another shard may have been faster: it made one for this shard too.
            if let (Applied::Refused(error), true) = (made, has_none()) {
                return Err(error);
            }
        }
        Ok(())
    }

    /// The timer queue of this shard with the fewest messages, if the shard takes more of them.
    ///
    /// # Errors
    /// [`AppendError::TooManyTimers`]; [`AppendError::UnknownQueue`] if there is none.
    pub(super) fn room_for_timers(&self, queues: &Queues) -> Result<QueueId, AppendError> {
        self.check_room_for_timers(queues)?;
        let pending = |id: QueueId| Some((queues.get(&id)?.timers.as_ref()?.len(), id));
        let emptiest = self.timers.ids().into_iter().filter_map(pending).min();
        emptiest.map(|(_, id)| id).ok_or(AppendError::UnknownQueue)
    }

    /// Whether this shard takes more timers: it has the share of all that its queues have. Whoever
    /// comes before it is full gets all of a batch in, so that none is too large on its own.
    fn check_room_for_timers(&self, queues: &Queues) -> Result<(), AppendError> {
        let all = self.cluster().topic(TIMERS_TOPIC).map_or(0, |topic| topic.queues.len());
        let own = self.timers.queues.borrow().len();
        let max = (self.settings.timers.max_pending * own).div_ceil(all.max(1));
        if self.sum_of_timers(queues, TimerQueue::kept) >= max {
            return Err(AppendError::TooManyTimers);
        }
        Ok(())
    }

    /// Stores a message that is to be delivered later in a timer queue of this shard. Otherwise as
    /// [`Broker::append_message_when_free`]: the real queue's limits hold now and are not asked later.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was stored.
    pub async fn schedule_when_free(
        self: &Rc<Self>,
        id: QueueId,
        timer: &TimerToAppend<'_>,
        stall: Duration,
    ) -> Result<AppendedBatch, AppendError> {
        let append = |turn: Option<&Turn<'_>>| self.schedule_in(id, timer, turn);
        self.when_free(timer.message.record.len(), stall, append).await
    }

    fn schedule_in(
        self: &Rc<Self>,
        id: QueueId,
        timer: &TimerToAppend<'_>,
        turn: Option<&Turn<'_>>,
    ) -> Result<AppendedBatch, AppendError> {
        let MessageToAppend { record, tag_hash, early, .. } = timer.message;
        let settings = self.cluster().queue(timer.queue).map(|(topic, _)| topic.settings.clone());
        let settings = settings.ok_or(AppendError::UnknownQueue)?;
        timer.message.check(&settings)?;
        let mut queues = self.queues.borrow_mut();
        self.check_room_for_timers(&queues)?;
        let queue = queues.get_mut(&id).ok_or(AppendError::UnknownQueue)?;
        let timers = queue.timers.as_ref().ok_or(AppendError::UnknownQueue)?;
        let frame = TimerFrame {
            due_ms: timers.admit(timer.due_ms),
            queue: timer.queue,
            tag_hash,
            dialect: Dialect::RocketMq,
            message: record,
        };
        let room = self.reserve(frame.bytes(), settings.max_message_bytes, turn)?;
        let (base_offset, log_start) = (queue.next_offset, queue.log_start);
        let appended = self.put_timer(id, queue, room, &frame, timer.id_hash);
        let answer_early = self.answers_early(&settings) || early;
        if answer_early {
            self.log.answer_ahead(appended.end);
        }
        Ok(AppendedBatch {
            base_offset,
            log_append_time_ms: None,
            log_start,
            answer_at: if answer_early { Position(0) } else { appended.end },
        })
    }

    /// Fills a reserved frame and enters its timer. Gives the timer the queue's next offset.
    pub(super) fn put_timer(
        &self,
        id: QueueId,
        queue: &mut Queue,
        mut room: Reservation<'_>,
        frame: &TimerFrame<'_>,
        id_hash: u32,
    ) -> Appended {
        let now_ms = self.env.clock.wall_ms();
        let base_offset = queue.next_offset;
        frame.write(room.payload());
        let appended = room.commit(&FrameMeta {
            kind: FrameKind::Timer,
            queue: id,
            base_offset,
            count: 1,
            tag_hash: id_hash,
            append_time_ms: now_ms,
        });
        queue.next_offset += 1;
        let entry = IndexEntry {
            base_offset,
            position: appended.payload,
            length: frame.bytes() as u32,
            count: 1,
            max_timestamp: frame.due_ms,
            append_time: now_ms,
            tag_hash: id_hash,
            dialect: frame.dialect,
        };
        if let Some(timers) = &mut queue.timers {
            timers.insert(key_of(&entry), waiting_of(&entry));
        }
        self.messages_pending(appended.end, id, entry);
        appended
    }

    /// Tells the log what became of a timer, or of all up to it.
    async fn append_timer_frame(
        &self,
        kind: FrameKind,
        id: QueueId,
        key: TimerKey,
    ) -> Result<Appended, ControlError> {
        let mut meta = FrameMeta::control(kind, self.env.clock.wall_ms());
        (meta.queue, meta.base_offset) = (id, key.offset);
        self.append_control_frame(&meta, &key.due_bytes()).await
    }

    /// Timers due until then may fire; in milliseconds since 1970.
    fn timers_now_ms(&self) -> i64 {
        let mut clock = self.timers.clock.get();
        let now_ms = clock.now_ms(&*self.env.clock);
        self.timers.clock.set(clock);
        now_ms
    }

    /// Ends the delivery of timers on this shard, before the log is closed.
    pub async fn stop_timers(&self) {
        self.timers.stopping.set(true);
        let _turn = self.timers.turn.acquire().await;
        self.timers.turn.close();
    }

    fn with_timers(&self, id: QueueId, change: impl FnOnce(&mut TimerQueue)) {
        let mut queues = self.queues.borrow_mut();
        if let Some(timers) = queues.get_aside(&id).and_then(|queue| queue.timers.as_mut()) {
            change(timers);
        }
    }

    /// Timers of this shard that have not fired.
    pub(super) fn timers_pending(&self) -> u64 {
        self.sum_of_timers(&self.queues.borrow(), TimerQueue::len) as u64
    }

    /// Bytes of payload that they have in the log.
    fn timer_bytes(&self) -> u64 {
        self.sum_of_timers(&self.queues.borrow(), TimerQueue::bytes)
    }

    /// A figure of this shard's timer queues, in all.
    fn sum_of_timers<T: Sum>(&self, queues: &Queues, of: impl Fn(&TimerQueue) -> T) -> T {
        let of = |id: &QueueId| queues.get(id)?.timers.as_ref().map(|timers| of(timers));
        self.timers.queues.borrow().iter().filter_map(of).sum()
    }

    /// What a checkpoint has to say of this shard's timers.
    pub(super) fn timers_snapshot(&self) -> Vec<TimersSnapshot> {
        let queues = self.queues.borrow();
        let of = |id: QueueId| queues.get(&id)?.timers.as_ref().map(|timers| timers.snapshot());
        self.timers.ids().into_iter().filter_map(of).collect()
    }
}

/// The key of a timer's entry in the index.
fn key_of(entry: &IndexEntry) -> TimerKey {
    TimerKey { due_ms: entry.max_timestamp, offset: entry.base_offset }
}

/// What is kept of the timer of an entry in the index.
fn waiting_of(entry: &IndexEntry) -> Waiting {
    Waiting { id_hash: entry.tag_hash, bytes: entry.length }
}
