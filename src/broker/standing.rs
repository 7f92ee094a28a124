//! Where queues end and how far groups are behind, for whoever watches the broker.
//!
//! Nothing is counted for it: the queues and groups of a shard are walked when somebody asks, with
//! others' turns in between.

use std::{rc::Rc, sync::Arc};

use futures_lite::future::yield_now;
use hashbrown::HashMap;

use super::{
    Broker,
    group::{GroupId, TopicPartition},
};
use crate::base::QueueId;

/// The first offset that cannot be read yet, by partition.
pub type Ends = HashMap<TopicPartition, i64>;

/// Queues that are walked before others get their turn, and groups that are noted before only the
/// slowest of them are kept.
const STEP: usize = 512;

/// How far a group is behind the ends of the partitions it has committed offsets of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupLag {
    /// The group.
    pub group: GroupId,
    /// Messages, over all partitions.
    pub lag: u64,
    /// The partition with most of them.
    pub worst: TopicPartition,
    /// How many there.
    pub worst_lag: u64,
}

impl Broker {
    /// The ends of all queues of this shard that clients know.
    pub async fn queue_ends(self: &Rc<Self>) -> Vec<(TopicPartition, i64)> {
        self.apply_durable();
        let ids: Vec<QueueId> = self.queues.borrow().ids();
        let mut ends = Vec::with_capacity(ids.len());
        for ids in ids.chunks(STEP) {
            {
                let (queues, cluster) = (self.queues.borrow(), self.cluster());
                ends.extend(ids.iter().filter_map(|id| {
                    let queue = queues.get(id).filter(|queue| queue.timers.is_none())?;
                    let partition = u32::try_from(cluster.queue(*id)?.1).ok()?;
                    Some((TopicPartition { topic: queue.topic, partition }, queue.high_watermark))
                }));
            }
            yield_now().await;
        }
        ends
    }

    /// The groups of this shard that are furthest behind `ends`, at most `most`, the last one first.
    pub async fn slowest_groups(self: &Rc<Self>, ends: Arc<Ends>, most: usize) -> Vec<GroupLag> {
        let groups: Vec<GroupId> =
            self.with_groups(|groups, _| groups.list().map(|group| group.group.clone()).collect());
        let mut slowest = Vec::new();
        for group in &groups {
            slowest.extend(self.lag(group, &ends));
            if slowest.len() >= STEP {
                keep_slowest(&mut slowest, most);
            }
            // A group may have offsets of a thousand partitions.
            yield_now().await;
        }
        keep_slowest(&mut slowest, most);
        slowest
    }

    fn lag(self: &Rc<Self>, group: &GroupId, ends: &Ends) -> Option<GroupLag> {
        self.with_groups(|groups, _| {
            let behind = groups.committed_offsets(group).filter_map(|(partition, committed)| {
                let behind = ends.get(&partition)?.saturating_sub(committed.offset);
                Some((partition, u64::try_from(behind).unwrap_or(0)))
            });
            let behind: Vec<_> = behind.collect();
            let (worst, worst_lag) = behind.iter().copied().max_by_key(|(_, lag)| *lag)?;
            let lag = behind.iter().map(|(_, lag)| lag).sum();
            Some(GroupLag { group: Arc::clone(group), lag, worst, worst_lag })
        })
    }
}

/// Orders by lag, the largest first, and keeps `most`.
pub fn keep_slowest(groups: &mut Vec<GroupLag>, most: usize) {
    groups.sort_by(|a, b| b.lag.cmp(&a.lag).then_with(|| a.group.cmp(&b.group)));
    groups.truncate(most);
}
