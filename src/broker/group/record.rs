//! What outlives a restart: the control records of the commit log and of checkpoints.

use std::{iter, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{GroupId, MemberId};
use crate::base::TopicId;

/// Offsets one record holds at most, so that no frame grows with a group.
pub(super) const OFFSETS_PER_RECORD: usize = 1000;

/// Bytes of metadata after which a record of offsets ends, so that the log takes it however little
/// `log.inflight_bytes` allows.
const METADATA_PER_RECORD: usize = 256 << 10;

/// One change of durable state. A record carries whole values, so replaying it twice changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum GroupRecord {
    /// Offsets were committed; a group that has no metadata becomes a simple one.
    OffsetsCommitted {
        /// The group.
        group: GroupId,
        /// The new values.
        offsets: Vec<(TopicPartition, CommittedOffset)>,
    },
    /// Offsets are gone: deleted, expired, or their topic was deleted.
    OffsetsDeleted {
        /// The group.
        group: GroupId,
        /// Whose offsets.
        partitions: Vec<TopicPartition>,
    },
    /// A generation was assigned, a static member replaced, or the last member left.
    Metadata(Arc<GroupMetadata>),
    /// The group and its offsets are gone.
    GroupDeleted {
        /// The group.
        group: GroupId,
    },
}

impl GroupRecord {
    /// The group the record speaks of.
    #[must_use]
    pub fn group(&self) -> &GroupId {
        match self {
            Self::OffsetsCommitted { group, .. }
            | Self::OffsetsDeleted { group, .. }
            | Self::GroupDeleted { group } => group,
            Self::Metadata(metadata) => &metadata.group,
        }
    }
}

/// Records of committed offsets, each of a bounded size.
pub(super) fn offset_records(
    group: &GroupId,
    mut offsets: impl Iterator<Item = (TopicPartition, CommittedOffset)>,
) -> impl Iterator<Item = GroupRecord> {
    iter::from_fn(move || {
        let (mut some, mut bytes) = (Vec::new(), 0);
        while some.len() < OFFSETS_PER_RECORD
            && bytes < METADATA_PER_RECORD
            && let Some(next) = offsets.next()
        {
            bytes += next.1.metadata.len();
            some.push(next);
        }
        let group = group.clone();
        (!some.is_empty()).then_some(GroupRecord::OffsetsCommitted { group, offsets: some })
    })
}

/// A partition of a topic; names are the gateways' business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// Its partition, from 0.
    pub partition: u32,
}

/// An offset as it was committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedOffset {
    /// The offset to read next.
    pub offset: i64,
    /// The leader epoch of the last record read (KIP-320), if the client told it.
    pub leader_epoch: Option<i32>,
    /// What the client wants to remember with it.
    pub metadata: Box<str>,
    /// When it was committed, in wall-clock milliseconds.
    pub commit_ms: i64,
    /// When it expires, in wall-clock milliseconds, where the client asked for a retention of its
    /// own (OffsetCommit 2–4).
    pub expire_ms: Option<i64>,
}

/// A group's durable metadata: a generation and, unless it is empty, who has which assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupMetadata {
    /// The group.
    pub group: GroupId,
    /// Counts rebalances.
    pub generation: i32,
    /// What kind of group it is: `consumer`, `connect`, …
    pub protocol_type: Option<Arc<str>>,
    /// The assignor the members chose; none in an empty group.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: Option<MemberId>,
    /// When the group entered its state, in wall-clock milliseconds.
    pub state_ms: i64,
    /// The members by id; none in an empty group.
    pub members: Vec<MemberMetadata>,
}

/// An assignor a member offers, and the member's metadata for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// The assignor.
    pub name: Arc<str>,
    /// What the member tells it, its subscription for example.
    pub metadata: Arc<[u8]>,
}

/// A member in [`GroupMetadata`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberMetadata {
    /// The member.
    pub member: MemberId,
    /// Set for a static member (KIP-345).
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connected from.
    pub client_host: Arc<str>,
    /// Silence after which it is removed.
    pub session_timeout: Duration,
    /// How long a rebalance waits for it.
    pub rebalance_timeout: Duration,
    /// The assignors it offers, the preferred one first. All of them, not only the chosen one: else a
    /// restart would turn away members that do not know the chosen one.
    pub protocols: Vec<Protocol>,
    /// What the leader gave it.
    pub assignment: Arc<[u8]>,
}
