//! One group's offsets: those that are committed, which ones are about to be, and to which ones its
//! members are to be led.

use std::collections::{BTreeMap, BTreeSet};

use super::record::{CommittedOffset, TopicPartition};
use crate::base::TopicId;

/// A group's offsets by partition. Lives in its group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: BTreeMap<TopicPartition, CommittedOffset>,
    /// How many commits of a partition are on their way into the log.
    assigned: BTreeMap<TopicPartition, u32>,
    /// Where whoever pulls next is to go on. Each of these partitions has an offset.
    resets: BTreeMap<TopicPartition, i64>,
}

impl Offsets {
    pub fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.assigned.is_empty()
    }

    pub fn get(&self, partition: TopicPartition) -> Option<&CommittedOffset> {
        self.committed.get(&partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (TopicPartition, &CommittedOffset)> {
        self.committed.iter().map(|(partition, offset)| (*partition, offset))
    }

    /// A commit is on its way into the log.
    pub fn assign(&mut self, partition: TopicPartition) {
        *self.assigned.entry(partition).or_default() += 1;
    }

    /// A commit that was on its way is durable.
    pub fn settle(&mut self, partition: TopicPartition) {
        let count = self.assigned.get_mut(&partition).expect("the commit was on its way");
        *count -= 1;
        if *count == 0 {
            self.assigned.remove(&partition);
        }
    }

    pub fn put(&mut self, partition: TopicPartition, offset: CommittedOffset) {
        self.committed.insert(partition, offset);
    }

    pub fn remove(&mut self, partition: TopicPartition) {
        self.committed.remove(&partition);
        self.resets.remove(&partition);
    }

    /// Whoever pulls a partition next is to go on at `offset`; with none, wherever it wants.
    pub fn reset(&mut self, partition: TopicPartition, offset: Option<i64>) {
        match offset {
            Some(offset) => drop(self.resets.insert(partition, offset)),
            None => drop(self.resets.remove(&partition)),
        }
    }

    /// Whether nobody was led yet to where a partition was reset.
    pub fn is_reset(&self, partition: TopicPartition) -> bool {
        self.resets.contains_key(&partition)
    }

    /// Where a partition was reset, told once.
    pub fn take_reset(&mut self, partition: TopicPartition) -> Option<i64> {
        self.resets.remove(&partition)
    }

    /// Nobody is left to be led anywhere.
    pub fn forget_resets(&mut self) {
        self.resets.clear();
    }

    /// Whether a commit of the partition's offset is on its way into the log.
    pub fn is_on_its_way(&self, partition: TopicPartition) -> bool {
        self.assigned.contains_key(&partition)
    }

    /// Whether `partition` has an offset, or is about to.
    pub fn contains(&self, partition: TopicPartition) -> bool {
        self.committed.contains_key(&partition) || self.is_on_its_way(partition)
    }

    /// Partitions of `topic` that have an offset, or are about to.
    pub fn of_topic(&self, topic: TopicId) -> BTreeSet<TopicPartition> {
        let range =
            TopicPartition { topic, partition: 0 }..=TopicPartition { topic, partition: u32::MAX };
        let committed = self.committed.range(range.clone()).map(|(partition, _)| *partition);
        committed.chain(self.assigned.range(range).map(|(partition, _)| *partition)).collect()
    }

    /// Partitions whose offset `expired` holds for; none for which a commit is on its way.
    pub fn expired(
        &self,
        mut expired: impl FnMut(TopicPartition, &CommittedOffset) -> bool,
    ) -> Vec<TopicPartition> {
        self.iter()
            .filter(|(partition, _)| !self.is_on_its_way(*partition))
            .filter(|(partition, offset)| expired(*partition, offset))
            .map(|(partition, _)| partition)
            .collect()
    }

    /// How many partitions have an offset, or are about to.
    pub fn len(&self) -> usize {
        let only_assigned = self.assigned.keys().filter(|key| !self.committed.contains_key(key));
        self.committed.len() + only_assigned.count()
    }
}
