//! The commands that change the state, and their form in the log.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Configs, DecodeError, GroupConfig, Naming};
use crate::base::{QueueId, TopicId};

/// Format version of an encoded command; its first byte.
const VERSION: u8 = 1;

/// One change of the state, made by a `plan_*` function of [`super::ClusterState`].
///
/// New kinds are added at the end and fields only with a new format version: the log keeps old ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Gives the cluster its id. The first one counts.
    NameCluster {
        /// 22 characters of base64, see [`super::uuid`].
        cluster_id: Arc<str>,
    },
    /// Creates a topic; its queues get the next free numbers when this is applied.
    CreateTopic {
        /// The new topic's id.
        id: TopicId,
        /// Its name.
        name: Arc<str>,
        /// Whether other names that differ in `.` and `_` forbid it.
        collides: bool,
        /// How many partitions.
        partitions: u32,
        /// Configs, already checked.
        configs: Configs,
        /// Wall-clock milliseconds since 1970.
        created_ms: i64,
    },
    /// Deletes a topic and its queues.
    DeleteTopic {
        /// The topic.
        id: TopicId,
    },
    /// Adds partitions to a topic.
    CreatePartitions {
        /// The topic.
        id: TopicId,
        /// How many there are to be in all.
        partitions: u32,
    },
    /// Changes a topic's own configs.
    AlterTopicConfigs {
        /// The topic.
        id: TopicId,
        /// Put in place.
        set: Configs,
        /// Taken away.
        remove: Vec<Arc<str>>,
    },
    /// Changes dynamic broker configs.
    AlterBrokerConfigs {
        /// Of which broker.
        scope: BrokerScope,
        /// Put in place.
        set: Configs,
        /// Taken away.
        remove: Vec<Arc<str>>,
    },
    /// Takes the next `count` producer ids.
    AllocateProducerIds {
        /// How many.
        count: u32,
    },
    /// Puts a group's config in place.
    SetGroupConfig {
        /// The group.
        group: Arc<str>,
        /// Its config, already checked.
        config: GroupConfig,
    },
    /// Takes a group's config away: the default holds again.
    RemoveGroupConfig {
        /// The group.
        group: Arc<str>,
    },
}

/// The first numbers a command may give. Its frame says them beside the command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// To new queues.
    pub queue: QueueId,
    /// To producers.
    pub producer_id: i64,
}

impl Numbers {
    /// The numbers that are left behind `command`, or further on: it may be refused.
    #[must_use]
    pub fn behind(self, command: &Command) -> Self {
        let (queues, ids) = match command {
            Command::CreateTopic { partitions, .. }
            | Command::CreatePartitions { partitions, .. } => (*partitions, 0),
            Command::AllocateProducerIds { count } => (0, *count),
            _ => (0, 0),
        };
        let queue = QueueId(self.queue.0.saturating_add(queues).min(QueueId::MAX.0 + 1));
        Self { queue, producer_id: self.producer_id.saturating_add(i64::from(ids)) }
    }

    /// The higher of each.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            queue: self.queue.max(other.queue),
            producer_id: self.producer_id.max(other.producer_id),
        }
    }
}

/// Whose dynamic configs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BrokerScope {
    /// Every broker that has none of its own.
    Default,
    /// One broker.
    Node(i32),
}

impl Command {
    /// The bytes of its control frame: a version byte and postcard.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        encode(VERSION, self)
    }

    /// Reads what [`Command::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode("cluster command", VERSION, bytes)
    }
}

impl Naming {
    /// Whether the rule minds names that differ only in `.` and `_`.
    #[must_use]
    pub fn collides(self) -> bool {
        self == Self::Kafka
    }
}

/// Puts a version byte before postcard's bytes.
pub(super) fn encode<T: Serialize>(version: u8, value: &T) -> Vec<u8> {
    postcard::to_extend(value, vec![version]).expect("writing to memory cannot fail")
}

/// Reads what [`encode`] wrote, of one known version; all bytes must be used up.
pub(super) fn decode<T: for<'a> Deserialize<'a>>(
    what: &'static str,
    known: u8,
    bytes: &[u8],
) -> Result<T, DecodeError> {
    let malformed = |reason: String| DecodeError::Malformed { what, reason };
    match bytes.split_first() {
        None => Err(DecodeError::Empty { what }),
        Some((&found, _)) if found != known => {
            Err(DecodeError::UnknownVersion { what, found, known })
        }
        Some((_, rest)) => match postcard::take_from_bytes(rest) {
            Ok((value, [])) => Ok(value),
            Ok((_, left)) => Err(malformed(format!("{} bytes are left over", left.len()))),
            Err(error) => Err(malformed(error.to_string())),
        },
    }
}
