//! What the housekeeper asks of a shard: its state for a checkpoint, its entries for an index file.

use std::{rc::Rc, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Broker, group::GroupRecord, producers::Producers, queues::QueueChange, timers::TimersSnapshot,
};
use crate::{
    base::{Position, QueueId, ShardId},
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
    /// What has become of queues since [`Broker::queue_changes`] or a snapshot last told of them.
    pub queues: Vec<QueueChange>,
    /// Records that recreate the groups.
    pub groups: Vec<GroupRecord>,
    /// How far timers have come.
    pub timers: Vec<TimersSnapshot>,
    /// The cluster's state, of which all shards have the same, if it is not the one known.
    pub cluster: Option<ClusterSnapshot>,
}

/// The cluster's state at one moment.
#[derive(Debug, Default)]
pub struct ClusterSnapshot {
    /// Position of the last command in it.
    pub applied: Option<Position>,
    /// It, encoded.
    pub bytes: Vec<u8>,
}

impl Broker {
    /// This shard's state now. The cluster's is told by the first shard only, and only if its last
    /// command is another than in `known`.
    pub fn snapshot(self: &Rc<Self>, known: Option<Position>) -> ShardSnapshot {
        let queues = self.queue_changes(usize::MAX);
        let cluster = self.cluster.borrow();
        let applied = cluster.applied();
        let is_news = self.shard == ShardId(0) && (applied.is_none() || applied != known);
        ShardSnapshot {
            reserved: self.log.reserved(),
            queues,
            groups: self.group_snapshot(),
            timers: self.timers_snapshot(),
            cluster: is_news.then(|| ClusterSnapshot { applied, bytes: cluster.snapshot() }),
        }
    }

    /// What has become of up to `max` of this shard's queues since it was last told. Of many it is
    /// asked bit by bit, so that the snapshot behind it does not keep the shard busy for long.
    #[must_use]
    pub fn queue_changes(self: &Rc<Self>, max: usize) -> Vec<QueueChange> {
        self.apply_durable();
        self.queues.borrow_mut().take_changes(max)
    }

    /// Freezes the index entries of frames that lie before `end`, for an index file.
    pub fn seal_entries(self: &Rc<Self>, end: Position) -> Arc<Generation> {
        self.apply_durable();
        self.index.seal(end)
    }

    /// Takes over the index and key files there are now.
    pub fn install_indexes(&self, runs: RunList, keys: KeyFileList) {
        self.index.install(runs);
        let before = self.key_files.replace(keys);
        let now = self.key_files.borrow();
        // One that was made again has the name of the one it replaces.
        let gone = before.iter().filter(|old| !now.iter().any(|file| Arc::ptr_eq(file, old)));
        gone.for_each(|file| self.env.cold.forget(file.path()));
    }
}
