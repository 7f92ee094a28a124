//! Why the coordinator refuses a request.

use thiserror::Error;

use super::MemberId;

/// A refusal, in the field's words; the gateways give it a number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum GroupError {
    /// The group has no member of this id: it was removed, or never joined.
    #[error("the member is not known to the group")]
    UnknownMember,
    /// The request belongs to another generation than the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// The group rebalances: the member has to join again.
    #[error("the group is rebalancing")]
    RebalanceInProgress,
    /// Protocol type or protocols do not fit those of the other members.
    #[error("the protocols do not fit those of the group")]
    InconsistentProtocol,
    /// A membership request must name a group, and a new group's id must be one that can be listed.
    #[error("the group id is empty or too long")]
    InvalidGroupId,
    /// The session timeout lies outside the bounds of the settings.
    #[error("the session timeout is out of bounds")]
    InvalidSessionTimeout,
    /// The member has to join once more, under this id (KIP-394).
    #[error("join again as member {0}")]
    MemberIdRequired(MemberId),
    /// Another process took this group instance id over (KIP-345).
    #[error("another member has the group instance id")]
    FencedInstanceId,
    /// The group has as many members as the settings allow (KIP-389), with those about to join.
    #[error("the group is full")]
    GroupMaxSize,
    /// The shard has as many groups as the settings allow.
    #[error("there are too many groups")]
    TooManyGroups,
    /// The group's members tell more of themselves, or have larger assignments, than a record holds;
    /// or a record is larger than the log takes.
    #[error("the group's metadata is too large")]
    MetadataTooLarge,
    /// Only a group without members can be deleted.
    #[error("the group has members")]
    NonEmptyGroup,
    /// There is no such group. An offset commit of a client older than OffsetCommit version 9
    /// expects to read [`GroupError::IllegalGeneration`] here.
    #[error("there is no such group")]
    GroupNotFound,
    /// The group is being deleted or the log has stopped; the request can be repeated.
    #[error("the coordinator is not available")]
    CoordinatorNotAvailable,
    /// One offset's metadata is longer than the settings allow.
    #[error("the offset's metadata is too large")]
    OffsetMetadataTooLarge,
    /// Offsets of a topic that a member subscribes cannot be deleted (KIP-496).
    #[error("the group is subscribed to the topic")]
    SubscribedToTopic,
}
