//! What the housekeeper asks of a shard: its state for a checkpoint, its entries for an index file.

use std::{rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Broker, group::GroupRecord, producers::Producers, queue::Queue, timers::TimersSnapshot,
};
use crate::{
    base::{Position, QueueId},
    storage::{
        key_index::KeyFileList,
        queue_index::{Generation, RunList},
    },
};

/// A queue's state at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueSnapshot {
    /// The queue.
    pub id: QueueId,
    /// First readable offset.
    pub log_start: i64,
    /// The offset the next message gets.
    pub next_offset: i64,
    /// Bytes of payload from `counted_from` on.
    pub bytes: u64,
    /// The log start, or in front of it while what lies between them is still to be taken off. A
    /// checkpoint tells of it beside, where it differs.
    #[serde(skip)]
    pub counted_from: i64,
    /// No message between them lies before this position.
    pub oldest: Position,
    /// Its idempotent producers.
    pub producers: Producers,
}

impl QueueSnapshot {
    /// A queue nothing was written to.
    #[must_use]
    pub fn empty(id: QueueId) -> Self {
        Self {
            id,
            log_start: 0,
            next_offset: 0,
            bytes: 0,
            counted_from: 0,
            oldest: Position(0),
            producers: Producers::default(),
        }
    }
}

/// A shard's state at one moment. It may hold what was assigned and is not durable yet: it is good
/// once the log is durable up to `reserved`.
#[derive(Debug)]
pub struct ShardSnapshot {
    /// Where the log ended when it was taken.
    pub reserved: Position,
    /// Queues that have something to tell.
    pub queues: Vec<QueueSnapshot>,
    /// Records that recreate the groups.
    pub groups: Vec<GroupRecord>,
    /// How far timers have come.
    pub timers: Vec<TimersSnapshot>,
    /// The cluster's state, encoded; the same from every shard.
    pub cluster: Vec<u8>,
}

impl Broker {
    /// This shard's state now.
    pub fn snapshot(self: &Rc<Self>) -> ShardSnapshot {
        self.apply_durable();
        let queues = self.queues.borrow();
        // All that a producer sent may wait in timers.
        let is_used = |queue: &Queue| queue.next_offset > 0 || !queue.producers.is_empty();
        let used = queues.iter().filter(|(_, queue)| is_used(queue));
        let queues = used.map(|(id, queue)| QueueSnapshot {
            id: *id,
            log_start: queue.log_start,
            next_offset: queue.next_offset,
            bytes: queue.bytes,
            counted_from: queue.counted_from,
            oldest: queue.oldest,
            producers: queue.producers.clone(),
        });
        ShardSnapshot {
            reserved: self.log.reserved(),
            queues: queues.collect(),
            groups: self.group_snapshot(),
            timers: self.timers_snapshot(),
            cluster: self.cluster.borrow().snapshot(),
        }
    }

    /// Freezes the index entries of frames that lie before `end`, for an index file.
    pub fn seal_entries(self: &Rc<Self>, end: Position) -> Arc<Generation> {
        self.apply_durable();
        self.index.seal(end)
    }

    /// Takes over the index and key files there are now.
    pub fn install_indexes(&self, runs: RunList, keys: KeyFileList) {
        self.index.install(runs);
        *self.key_files.borrow_mut() = keys;
    }

    /// The first offsets of this shard's queues that index files must lead to: the readable ones, and
    /// those that are still to be taken off a queue's bytes.
    #[must_use]
    pub fn index_starts(&self) -> Vec<(QueueId, i64)> {
        self.queues.borrow().iter().map(|(id, queue)| (*id, queue.counted_from)).collect()
    }
}
