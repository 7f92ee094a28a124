//! What the housekeeper asks of a shard: its state for a checkpoint, its entries for an index file.

use std::{rc::Rc, sync::Arc};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::{
    Broker, group::GroupRecord, producers::Producers, queues::QueueChange, timers::TimersSnapshot,
};
use crate::{
    base::{Position, QueueId, ShardId},
    storage::{
        key_index::KeyFileList,
        queue_index::{Generation, IndexEntry, RunList},
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
    /// Bytes of payload between `counted_from` and `next_offset`.
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

    /// Counts messages that have their offsets and are not committed yet.
    fn count(&mut self, entry: &IndexEntry) {
        if self.counted_from >= entry.base_offset {
            self.oldest = entry.position;
        }
        self.bytes += u64::from(entry.length);
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
        let mut changes = self.queues.borrow_mut().take_changes(max);
        self.count_assigned(&mut changes);
        changes
    }

    /// Counts in snapshots what was assigned and is not committed yet. They end behind it, so that a
    /// replay counts only what comes later.
    fn count_assigned(&self, changes: &mut [QueueChange]) {
        let told = changes.iter_mut().filter_map(|(id, state)| Some((*id, state.as_mut()?)));
        let mut told: HashMap<QueueId, &mut QueueSnapshot> = told.collect();
        for (id, entry) in self.durable.borrow().messages() {
            if let Some(queue) = told.get_mut(&id) {
                queue.count(entry);
            }
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
        let before = self.key_files.replace(keys);
        let now = self.key_files.borrow();
        // One that was made again has the name of the one it replaces.
        let gone = before.iter().filter(|old| !now.iter().any(|file| Arc::ptr_eq(file, old)));
        gone.for_each(|file| self.env.cold.forget(file.path()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        broker::{
            pull::tests::{QUEUE, broker, send_kafkas},
            retention::tests::take_off_at_once,
        },
        cluster::{FlushMode, TopicSettings},
    };

    /// A queue's snapshot while messages are on their way, and what it is once they are committed.
    fn before_and_after(broker: &Rc<Broker>) -> (Vec<QueueChange>, Vec<QueueChange>) {
        let told = broker.queue_changes(usize::MAX);
        let assigned: Vec<_> =
            broker.durable.borrow().messages().map(|(id, entry)| (id, *entry)).collect();
        assert!(!assigned.is_empty());
        assigned.into_iter().for_each(|(id, entry)| broker.commit_messages(id, entry));
        (told, broker.queues.borrow_mut().take_changes(usize::MAX))
    }

    #[test]
    fn a_snapshot_counts_what_is_on_its_way() {
        let settings = TopicSettings { flush: Some(FlushMode::Sync), ..TopicSettings::default() };
        let settings = Arc::new(settings);
        for held in [&[][..], &["held"]] {
            let broker = broker();
            // What is on its way does not begin where the log does.
            send_kafkas(&broker, &["dropped"]);
            held.iter().for_each(|value| send_kafkas(&broker, &[value]));
            broker.log_start_durable(QUEUE, 1);
            take_off_at_once(&broker);
            broker.queues.borrow_mut().get_aside(&QUEUE).unwrap().set(&settings);
            send_kafkas(&broker, &["a"]);
            send_kafkas(&broker, &["b", "c"]);
            let (before, after) = before_and_after(&broker);
            assert_eq!(before, after);
            let state = after[0].1.as_ref().unwrap();
            assert_eq!(state.next_offset, 4 + held.len() as i64);
            assert_eq!(Some(state.oldest), broker.oldest_message());
        }
    }
}
