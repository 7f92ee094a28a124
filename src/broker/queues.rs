//! The queues of a shard, and which of them have changed since somebody asked.

use hashbrown::HashMap;

use super::{queue::Queue, seal::QueueSnapshot};
use crate::base::QueueId;

/// What has become of a queue: its state, or that there is nothing to tell of it, any more or yet.
pub type QueueChange = (QueueId, Option<QueueSnapshot>);

/// The queues of a shard. It keeps those in mind that were lent to be changed, so that a checkpoint of
/// many queues costs what changed in them.
pub(super) struct Queues {
    by_id: HashMap<QueueId, Queue>,
    /// Those whose changes nobody has asked for yet, and that are gone; the others are marked too.
    changed: Vec<QueueId>,
}

impl Queues {
    /// Queues nobody has asked for.
    pub(super) fn new(mut by_id: HashMap<QueueId, Queue>) -> Self {
        by_id.values_mut().for_each(|queue| queue.changed = true);
        let changed = by_id.keys().copied().collect();
        Self { by_id, changed }
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(super) fn get(&self, id: &QueueId) -> Option<&Queue> {
        self.by_id.get(id)
    }

    /// A queue, to be changed.
    pub(super) fn get_mut(&mut self, id: &QueueId) -> Option<&mut Queue> {
        let queue = self.by_id.get_mut(id)?;
        mark(&mut self.changed, *id, queue);
        Some(queue)
    }

    /// A queue, for what its snapshot does not tell of: who waits for it, its topic's settings, its
    /// timers, which have snapshots of their own.
    pub(super) fn get_aside(&mut self, id: &QueueId) -> Option<&mut Queue> {
        self.by_id.get_mut(id)
    }

    /// All of them, likewise.
    pub(super) fn all_aside(&mut self) -> impl Iterator<Item = &mut Queue> {
        self.by_id.values_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&QueueId, &Queue)> {
        self.by_id.iter()
    }

    pub(super) fn ids(&self) -> Vec<QueueId> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn insert(&mut self, id: QueueId, mut queue: Queue) {
        mark(&mut self.changed, id, &mut queue);
        self.by_id.insert(id, queue);
    }

    pub(super) fn remove(&mut self, id: &QueueId) -> Option<Queue> {
        self.changed.push(*id);
        self.by_id.remove(id)
    }

    /// Forgets a queue's producers that wrote last before `before_ms`. Not those of a queue that has
    /// held no record yet: all that they sent waits for its time, and forgotten they would have to
    /// begin anew.
    pub(super) fn expire_producers(&mut self, id: &QueueId, before_ms: i64) {
        if let Some(queue) = self.by_id.get_mut(id)
            && queue.next_offset > 0
            && queue.producers.expire(before_ms)
        {
            mark(&mut self.changed, *id, queue);
        }
    }

    /// What has become of up to `max` queues since it was last asked.
    pub(super) fn take_changes(&mut self, max: usize) -> Vec<QueueChange> {
        let told = self.changed.split_off(self.changed.len().saturating_sub(max));
        let change = |id: QueueId| {
            let queue = self.by_id.get_mut(&id);
            let snapshot = queue.and_then(|queue| {
                queue.changed = false;
                queue.snapshot(id)
            });
            (id, snapshot)
        };
        told.into_iter().map(change).collect()
    }
}

/// Keeps in mind that a queue changes, once until it is asked for.
fn mark(changed: &mut Vec<QueueId>, id: QueueId, queue: &mut Queue) {
    if !queue.changed {
        queue.changed = true;
        changed.push(id);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use proptest::prelude::*;

    use super::*;
    use crate::{
        base::{Position, TopicId},
        broker::producers::Sequence,
        cluster::{Configs, Topic},
        storage::queue_index::IndexEntry,
    };

    fn topic() -> Topic {
        Topic {
            id: TopicId::ZERO,
            name: "orders".into(),
            queues: (0..8).map(QueueId).collect(),
            configs: Configs::default(),
            settings: Arc::default(),
            created_ms: 0,
        }
    }

    #[test]
    fn a_producer_whose_records_all_wait_for_their_time_is_not_forgotten() {
        let id = QueueId(0);
        let mut queues = Queues::new(HashMap::new());
        queues.insert(id, Queue::new(id, &topic()));
        let sequence = |first| Sequence { producer: 7, epoch: 0, first, count: 17 };
        queues.get_mut(&id).unwrap().producers.record(&sequence(0), -1, Position(1), 1_000);
        queues.expire_producers(&id, 1_001);
        let queue = queues.get_mut(&id).unwrap();
        assert_eq!(queue.producers.check(&sequence(17), queue.next_offset == 0), Ok(None));
        // The first of them was delivered.
        queue.next_offset = 1;
        queues.expire_producers(&id, 1_001);
        assert!(queues.get(&id).unwrap().producers.is_empty());
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Make(u32),
        Append(u32),
        MoveStart(u32),
        Remove(u32),
        Look(u32),
        Ask(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let id = 0..8_u32;
        prop_oneof![
            id.clone().prop_map(Step::Make),
            id.clone().prop_map(Step::Append),
            id.clone().prop_map(Step::MoveStart),
            id.clone().prop_map(Step::Remove),
            id.prop_map(Step::Look),
            (0..5_usize).prop_map(Step::Ask),
        ]
    }

    proptest! {
        /// Whoever takes in all changes knows what there is, however many it asks for at a time.
        #[test]
        fn changes_add_up_to_the_state(steps in prop::collection::vec(step(), 1..60)) {
            let topic = topic();
            let mut queues = Queues::new(HashMap::new());
            let mut known = BTreeMap::new();
            let mut take_in = |changes: Vec<QueueChange>| {
                for (id, state) in changes {
                    match state {
                        Some(state) => drop(known.insert(id, state)),
                        None => drop(known.remove(&id)),
                    }
                }
                known.clone()
            };
            let mut gone = [false; 8];
            for step in steps {
                match step {
                    Step::Make(id) if !gone[id as usize] && queues.get(&QueueId(id)).is_none() => {
                        queues.insert(QueueId(id), Queue::new(QueueId(id), &topic));
                    }
                    Step::Append(id) => if let Some(queue) = queues.get_mut(&QueueId(id)) {
                        let (count, position) = (1, Position(100));
                        let base_offset = queue.next_offset;
                        queue.next_offset += 1;
                        let entry = IndexEntry { base_offset, count, position, ..IndexEntry::default() };
                        queue.commit(&entry);
                    },
                    Step::MoveStart(id) => if let Some(queue) = queues.get_mut(&QueueId(id)) {
                        queue.log_start = queue.next_offset;
                    },
                    Step::Remove(id) => {
                        gone[id as usize] |= queues.remove(&QueueId(id)).is_some();
                    }
                    Step::Look(id) => drop(queues.get_aside(&QueueId(id)).map(|queue| queue.lost.clear())),
                    Step::Ask(max) => drop(take_in(queues.take_changes(max))),
                    Step::Make(_) => {}
                }
            }
            let known = take_in(queues.take_changes(usize::MAX));
            let all = queues.iter().filter_map(|(id, queue)| Some((*id, queue.snapshot(*id)?)));
            prop_assert_eq!(known, all.collect());
            prop_assert!(queues.take_changes(usize::MAX).is_empty());
        }
    }
}
