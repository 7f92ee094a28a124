//! One topic, as of one moment.

use std::sync::Arc;

use super::{Configs, TopicSettings};
use crate::base::{QueueId, TopicId};

/// A topic. Never changes: an alteration puts a new `Topic` in its place, so that whoever holds
/// the old one across an await sees it whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Topic {
    /// Its id, new with every creation of the name (KIP-516).
    pub id: TopicId,
    /// Its name.
    pub name: Arc<str>,
    /// The queue of each partition, by partition number.
    pub queues: Box<[QueueId]>,
    /// The configs set on the topic itself.
    pub configs: Configs,
    /// The configs in force: the topic's own, over the broker's, over the defaults. Topics with
    /// none of their own share one.
    pub settings: Arc<TopicSettings>,
    /// When it was created: wall-clock milliseconds since 1970, UTC.
    pub created_ms: i64,
}

impl Topic {
    /// The queue of a partition. Takes the number as protocols carry it; negative ones do not exist.
    #[must_use]
    pub fn queue(&self, partition: i32) -> Option<QueueId> {
        self.queues.get(usize::try_from(partition).ok()?).copied()
    }

    /// How many of its partitions RocketMQ's producers write, from the first on.
    #[must_use]
    pub fn write_queues(&self) -> i32 {
        self.at_most(self.settings.rocketmq.write_queues)
    }

    /// How many of its partitions RocketMQ's consumers read, from the first on.
    #[must_use]
    pub fn read_queues(&self) -> i32 {
        self.at_most(self.settings.rocketmq.read_queues)
    }

    fn at_most(&self, limit: Option<u32>) -> i32 {
        let limit = limit.and_then(|limit| i32::try_from(limit).ok());
        limit.map_or(self.partitions(), |limit| limit.min(self.partitions()))
    }

    /// How many partitions there are; at least one.
    #[must_use]
    pub fn partitions(&self) -> i32 {
        i32::try_from(self.queues.len()).expect("limited below 2^24")
    }
}
