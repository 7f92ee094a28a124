//! Answers that leave later than the call that asked for them.

use std::sync::Arc;

use super::{GroupError, MemberId};

/// The caller's name for a request that is answered later. Every token that was passed in comes back
/// exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyToken(pub u64);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// To a join.
    Join(Result<Joined, GroupError>),
    /// To a sync.
    Sync(Result<Synced, GroupError>),
    /// To a leave: one result per member, in the request's order.
    Leave(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To an offset commit: one result per offset, in the request's order.
    CommitOffsets(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To an offset deletion: one result per partition, in the request's order.
    DeleteOffsets(Result<Vec<Result<(), GroupError>>, GroupError>),
    /// To a group deletion.
    DeleteGroup(Result<(), GroupError>),
    /// What was on its way has come to its end.
    Settled,
}

impl Reply {
    /// The answer to the same request when it fails with `error`.
    pub(super) fn failed(&self, error: GroupError) -> Self {
        match self {
            Self::Join(_) => Self::Join(Err(error)),
            Self::Sync(_) => Self::Sync(Err(error)),
            Self::Leave(_) => Self::Leave(Err(error)),
            Self::CommitOffsets(_) => Self::CommitOffsets(Err(error)),
            Self::DeleteOffsets(_) => Self::DeleteOffsets(Err(error)),
            Self::DeleteGroup(_) => Self::DeleteGroup(Err(error)),
            Self::Settled => Self::Settled,
        }
    }
}

/// A member is part of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The id to use from here on.
    pub member: MemberId,
    /// The generation joined.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// The assignor the members chose.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub leader: MemberId,
    /// Every member, for the leader; nobody, for the others.
    pub members: Vec<JoinedMember>,
    /// The leader is not to assign: the stable group's assignment stands (KIP-814).
    pub skip_assignment: bool,
}

/// A member, as the leader needs it to assign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// The member.
    pub member: MemberId,
    /// Its group instance id, if it is static.
    pub instance: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Arc<[u8]>,
}

/// A member's assignment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Option<Arc<str>>,
    /// The assignor the members chose.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave the member; empty if it gave nothing.
    pub assignment: Arc<[u8]>,
}
