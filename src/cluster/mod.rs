//! Topics, groups' and other configs, and producer ids: a deterministic state machine fed by the log.
//!
//! ```text
//!  request ──▶ plan_* (checks against this shard's copy) ──▶ Command ──▶ control frame in the log
//!                                                                             │ commit
//!  answer  ◀── Applied ◀── ClusterState::apply(position, &Command), on every shard, in log order
//! ```
//!
//! A plan made from an older state may no longer hold when its command commits, so `apply` checks
//! again whatever another command can have changed and says [`Applied::Refused`]. Queue numbers and
//! producer ids are given by `apply`, never by a plan: nothing is assigned ahead, and two commands
//! in flight cannot get the same number. Commands carry all else that is not in the state: the
//! time, the topic's id. The state knows up to where it was applied and skips what it already has.
//!
//! The room knows no protocol's codes: [`ClusterError`] says what is wrong in the field's words.

pub mod broker_config;
pub mod command;
pub mod config_def;
pub mod config_view;
pub mod control_plane;
pub mod error;
pub mod fleet;
pub mod group_config;
pub mod plan;
pub mod setup;
mod snapshot;
pub mod state;
pub mod topic;
pub mod topic_config;
pub mod topic_name;
pub mod topic_settings;
pub mod uuid;

#[cfg(test)]
mod tests;

pub use command::{BrokerScope, Command, Numbers};
pub use config_view::{ConfigEntry, ConfigSource, ConfigSynonym};
pub use control_plane::{ConfigResource, ConfigUpdate, ControlPlane, NewPartitions, ProducerIds};
pub use error::{ClusterError, DecodeError};
pub use group_config::{GroupConfig, check_group_name};
pub use plan::{ConfigChange, ConfigOp, NewTopic};
pub use setup::{Limits, Setup};
pub use state::{Applied, ClusterState};
pub use topic::Topic;
pub use topic_name::{DEAD_LETTERS, Naming, RETRY, TIMERS_TOPIC, is_internal};
pub use topic_settings::{FlushMode, RocketMqView, TimestampType, TopicSettings};

/// A set of configs: name to value, in the form the client wrote them.
pub type Configs = std::collections::BTreeMap<std::sync::Arc<str>, std::sync::Arc<str>>;
