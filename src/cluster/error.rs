//! What can be wrong with a request to the control plane.

use std::sync::Arc;

use thiserror::Error;

use super::uuid::encode_uuid;
use crate::base::TopicId;

/// Why a request was refused, in the field's words. A gateway turns it into its protocol's code;
/// the text is fit to be shown to the client.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ClusterError {
    /// A topic of that name is there already.
    #[error("Topic '{name}' already exists.")]
    TopicExists {
        /// The name asked for.
        name: Arc<str>,
    },
    /// No topic of that name.
    #[error("Topic '{name}' does not exist.")]
    UnknownTopic {
        /// The name asked for.
        name: Arc<str>,
    },
    /// No topic of that id.
    #[error("This server does not host topic id {}.", encode_uuid(id.0))]
    UnknownTopicId {
        /// The id asked for.
        id: TopicId,
    },
    /// The name breaks the dialect's rule, or collides with another topic's.
    #[error("Topic name '{name}' is invalid: {reason}")]
    InvalidName {
        /// The name asked for.
        name: Arc<str>,
        /// Which rule it breaks.
        reason: String,
    },
    /// The number of partitions makes no sense.
    #[error("{reason}")]
    InvalidPartitions {
        /// Which number and why.
        reason: String,
    },
    /// A replication factor this cluster cannot give.
    #[error("Replication factor {requested} is not possible: this cluster has 1 broker.")]
    InvalidReplication {
        /// What was asked for.
        requested: i16,
    },
    /// A manual assignment of replicas that this cluster cannot give.
    #[error("{reason}")]
    InvalidAssignment {
        /// What is wrong with it.
        reason: String,
    },
    /// A config that does not exist, cannot be changed, or has a bad value.
    #[error("{reason}")]
    InvalidConfig {
        /// The config's name.
        key: Arc<str>,
        /// What is wrong, naming the config where that helps.
        reason: String,
    },
    /// No broker of that number.
    #[error("Broker {node} is not part of this cluster, which has only broker {this}.")]
    UnknownNode {
        /// The number asked for.
        node: i32,
        /// The number this node has.
        this: i32,
    },
    /// The parts of the request contradict each other.
    #[error("{reason}")]
    InvalidRequest {
        /// How.
        reason: String,
    },
    /// A limit of this broker forbids it.
    #[error("{reason}")]
    PolicyViolation {
        /// Which limit.
        reason: String,
    },
    /// The log takes no commands now; trying again later may help.
    #[error("The control log is not available: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
    },
}

impl ClusterError {
    /// An [`ClusterError::InvalidConfig`].
    #[must_use]
    pub fn invalid_config(key: &str, reason: impl Into<String>) -> Self {
        Self::InvalidConfig { key: key.into(), reason: reason.into() }
    }
}

/// A command or snapshot that cannot be read. Its bytes passed a checksum, so it was written by a
/// version of Mainstem that knows more than this one, or by a mistake in one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("{what} has no bytes")]
    Empty {
        /// What was read.
        what: &'static str,
    },
    /// The version byte is not known.
    #[error("{what} has format version {found}, this build reads {known}")]
    UnknownVersion {
        /// What was read.
        what: &'static str,
        /// The version found.
        found: u8,
        /// The version this build writes.
        known: u8,
    },
    /// The bytes after the version are not one.
    #[error("{what} cannot be decoded: {reason}")]
    Malformed {
        /// What was read.
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
}
