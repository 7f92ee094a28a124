//! The broker's errors as Kafka's codes (`org.apache.kafka.common.protocol.Errors`).

use kafka_protocol::{ResponseError, protocol::StrBytes};

use super::wire;
use crate::{broker::group::GroupError, cluster::ClusterError};

/// Code of an answer without error.
pub const NONE: i16 = 0;

/// An error that has a number in Kafka's protocol.
pub trait ErrorCode {
    /// The number.
    fn code(&self) -> i16;
}

impl ErrorCode for ClusterError {
    fn code(&self) -> i16 {
        use ResponseError as Kafka;
        match self {
            Self::TopicExists { .. } => Kafka::TopicAlreadyExists,
            Self::UnknownTopic { .. } => Kafka::UnknownTopicOrPartition,
            Self::UnknownTopicId { .. } => Kafka::UnknownTopicId,
            Self::InvalidName { .. } => Kafka::InvalidTopicException,
            Self::InvalidPartitions { .. } => Kafka::InvalidPartitions,
            Self::InvalidReplication { .. } => Kafka::InvalidReplicationFactor,
            Self::InvalidAssignment { .. } => Kafka::InvalidReplicaAssignment,
            Self::InvalidConfig { .. } => Kafka::InvalidConfig,
            Self::UnknownNode { .. } | Self::InvalidRequest { .. } => Kafka::InvalidRequest,
            Self::PolicyViolation { .. } => Kafka::PolicyViolation,
            Self::Unavailable { .. } => Kafka::KafkaStorageError,
        }
        .code()
    }
}

impl ErrorCode for GroupError {
    fn code(&self) -> i16 {
        use ResponseError as Kafka;
        match self {
            Self::UnknownMember => Kafka::UnknownMemberId,
            Self::IllegalGeneration => Kafka::IllegalGeneration,
            Self::RebalanceInProgress => Kafka::RebalanceInProgress,
            Self::InconsistentProtocol => Kafka::InconsistentGroupProtocol,
            Self::InvalidGroupId => Kafka::InvalidGroupId,
            Self::InvalidSessionTimeout => Kafka::InvalidSessionTimeout,
            Self::MemberIdRequired(_) => Kafka::MemberIdRequired,
            Self::FencedInstanceId => Kafka::FencedInstanceId,
            // There is no code for too many groups. This one is final, as it should be: a code that
            // clients retry would have them ask for ever.
            Self::GroupMaxSize | Self::TooManyGroups => Kafka::GroupMaxSizeReached,
            // As Kafka's own coordinator answers when its log refuses a record.
            Self::MetadataTooLarge => Kafka::UnknownServerError,
            Self::NonEmptyGroup => Kafka::NonEmptyGroup,
            Self::GroupNotFound => Kafka::GroupIdNotFound,
            Self::CoordinatorNotAvailable => Kafka::CoordinatorNotAvailable,
            Self::OffsetMetadataTooLarge => Kafka::OffsetMetadataTooLarge,
            Self::SubscribedToTopic => Kafka::GroupSubscribedToTopic,
        }
        .code()
    }
}

/// The code and message of a result's error, or those of none.
pub(super) fn code_and_message(error: Option<&ClusterError>) -> (i16, Option<StrBytes>) {
    match error {
        None => (NONE, None),
        Some(error) => (error.code(), Some(wire(&error.to_string()))),
    }
}

/// A request that contradicts itself or the schema's rules.
pub(super) fn invalid_request(reason: impl Into<String>) -> ClusterError {
    ClusterError::InvalidRequest { reason: reason.into() }
}
