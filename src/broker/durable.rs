//! What waits for the durable position: state to be applied, and tasks to be woken.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use futures_lite::future::yield_now;

use super::Broker;
use crate::{
    base::{Position, QueueId},
    storage::{commit_log::ShardSignal, queue_index::IndexEntry},
};

/// The log has stopped: what was asked for did not become durable, as far as anyone knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the log has stopped")]
pub struct LogStopped;

/// State that applies once the log is durable up to `end`.
struct Pending {
    end: Position,
    change: Change,
}

/// A change of state, to be made once.
type Apply = Box<dyn FnOnce(&Rc<Broker>)>;

enum Change {
    Messages { queue: QueueId, entry: IndexEntry },
    Control(Apply),
}

/// A shard's line of waiting changes and tasks, in log order.
pub(super) struct DurableQueue {
    pending: VecDeque<Pending>,
    wakers: BTreeMap<(Position, u64), Waker>,
    next_ticket: u64,
    signal: Arc<ShardSignal>,
    movement: Movement,
}

impl DurableQueue {
    pub(super) fn new(signal: Arc<ShardSignal>) -> Self {
        Self {
            pending: VecDeque::new(),
            wakers: BTreeMap::new(),
            next_ticket: 0,
            signal,
            movement: Movement::default(),
        }
    }

    fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.wakers.is_empty()
    }

    /// Messages that are assigned and not committed yet, in log order.
    pub(super) fn messages(&self) -> impl Iterator<Item = (QueueId, &IndexEntry)> {
        self.pending.iter().filter_map(|pending| match &pending.change {
            Change::Messages { queue, entry } => Some((*queue, entry)),
            Change::Control(_) => None,
        })
    }
}

/// When the log was last seen to have moved.
#[derive(Default)]
struct Movement {
    durable: Position,
    seen_at: Duration,
}

impl Movement {
    /// Whether it has moved within a tenth of a second, or since the last look.
    fn look(&mut self, durable: Position, now: Duration) -> bool {
        const LATELY: Duration = Duration::from_millis(100);
        if durable != self.durable {
            *self = Self { durable, seen_at: now };
        }
        now.saturating_sub(self.seen_at) < LATELY
    }
}

impl Broker {
    /// Messages assigned at `entry` become visible when the log is durable up to `end`.
    pub(super) fn messages_pending(&self, end: Position, queue: QueueId, entry: IndexEntry) {
        self.push_pending(Pending { end, change: Change::Messages { queue, entry } });
    }

    /// `apply` runs when the log is durable up to `end`, in log order with everything else.
    pub(super) fn control_pending(&self, end: Position, apply: impl FnOnce(&Rc<Self>) + 'static) {
        self.push_pending(Pending { end, change: Change::Control(Box::new(apply)) });
    }

    /// Whether somebody has written lately, so that others may be waiting for this shard.
    pub fn log_moves(&self) -> bool {
        let (durable, now) = (self.log.durable(), self.env.clock.monotonic());
        self.durable.borrow_mut().movement.look(durable, now)
    }

    fn push_pending(&self, pending: Pending) {
        let mut line = self.durable.borrow_mut();
        debug_assert!(line.pending.back().is_none_or(|last| last.end < pending.end));
        if line.is_empty() {
            line.signal.arm();
        }
        let end = pending.end;
        line.pending.push_back(pending);
        if self.log.durable() >= end {
            // The writer was faster than this call: nobody else would say so.
            line.signal.wake();
        }
    }

    /// Applies everything that has become durable and wakes who waited for it.
    pub(super) fn apply_durable(self: &Rc<Self>) {
        let durable = self.log.durable();
        loop {
            let next = {
                let mut line = self.durable.borrow_mut();
                let ready = line.pending.front().is_some_and(|first| first.end <= durable);
                if ready { line.pending.pop_front() } else { None }
            };
            match next.map(|pending| pending.change) {
                Some(Change::Messages { queue, entry }) => self.commit_messages(queue, entry),
                Some(Change::Control(apply)) => apply(self),
                None => break,
            }
        }
        let stopped = self.log.failure().is_some();
        let mut line = self.durable.borrow_mut();
        while let Some(first) = line.wakers.first_entry() {
            if first.key().0 > durable && !stopped {
                break;
            }
            first.remove().wake();
        }
    }

    /// Messages become visible and their queue's readers are woken.
    pub(super) fn commit_messages(&self, id: QueueId, entry: IndexEntry) {
        // A queue deleted meanwhile takes nothing in.
        if let Some(queue) = self.queues.borrow_mut().get_mut(&id) {
            self.index.push(id, entry);
            queue.commit(&entry);
            if queue.timers.is_some() {
                self.timers.durable(entry.max_timestamp);
            }
        }
    }

    /// Waits until everything before `end` is durable.
    ///
    /// # Errors
    /// [`LogStopped`].
    pub async fn durable(&self, end: Position) -> Result<(), LogStopped> {
        let mut ticket = None;
        let known = || match () {
            () if self.log.durable() >= end => Poll::Ready(Ok(())),
            () if self.log.failure().is_some() => Poll::Ready(Err(LogStopped)),
            () => Poll::Pending,
        };
        poll_fn(|context| {
            let outcome = known();
            if outcome.is_ready() {
                return outcome;
            }
            let mut line = self.durable.borrow_mut();
            if line.is_empty() {
                line.signal.arm();
            }
            let ticket = *ticket.get_or_insert_with(|| {
                line.next_ticket += 1;
                line.next_ticket
            });
            line.wakers.insert((end, ticket), context.waker().clone());
            drop(line);
            // The position may have moved between the look and the arming, or the log stopped.
            known()
        })
        .await
    }

    /// Waits until the durable position has moved, so that the log may have room again.
    pub(super) async fn log_progress(&self) -> Result<(), LogStopped> {
        let durable = self.log.durable();
        if self.log.reserved() == durable {
            // All of it moved before this was asked. Who stands in line for the room may be on this
            // shard.
            yield_now().await;
            return Ok(());
        }
        let next = durable.plus(1);
        self.log.wake_writer();
        self.durable(next).await
    }

    /// Runs until the shard ends: applies what becomes durable.
    pub(super) async fn follow_log(self: Rc<Self>, woken: flume::Receiver<()>) {
        while woken.recv_async().await.is_ok() {
            loop {
                let seen = (self.log.durable(), self.log.failure().is_some());
                self.apply_durable();
                let line = self.durable.borrow();
                if !line.is_empty() {
                    line.signal.arm();
                }
                if (self.log.durable(), self.log.failure().is_some()) == seen {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_moves_for_a_while_after_each_write() {
        let mut movement = Movement::default();
        let mut look = |at, ms| movement.look(Position(at), Duration::from_millis(ms));
        assert!(look(10, 1_000), "it moved since the last look, whenever that was");
        assert!(look(10, 1_099));
        assert!(!look(10, 1_100));
        assert!(look(11, 1_150) && look(11, 1_249) && !look(11, 1_250));
    }
}
