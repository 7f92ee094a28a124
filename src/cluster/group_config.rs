//! What a consumer group may do, as its administrators say. Source: `SubscriptionGroupConfig.java`.

use serde::{Deserialize, Serialize};

use super::{ClusterError, Configs};

/// Characters a group's name may have.
const NAME_LENGTH: usize = 255;

/// Queues a retry topic may have.
const RETRY_QUEUES_MAX: u32 = 1_024;

/// Bytes that all attributes of a group may have, names and values.
const ATTRIBUTES_BYTES_MAX: usize = 4 << 10;

/// A group's config. One that nobody configured has the default, which is RocketMQ's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupConfig {
    /// Whether it may consume at all.
    pub consume_enable: bool,
    /// Whether it may begin at a topic's start.
    pub consume_from_min_enable: bool,
    /// Whether its members may all get all messages.
    pub consume_broadcast_enable: bool,
    /// Whether it consumes in order.
    pub consume_message_orderly: bool,
    /// Whether members are told that others came or went.
    pub notify_members: bool,
    /// Queues of its retry topic.
    pub retry_queues: u32,
    /// After how many retries a message is a dead letter.
    pub retry_max_times: i32,
    /// The broker it reads from: 0, the only one.
    pub broker_id: i64,
    /// The broker it reads from when it is far behind.
    pub slow_broker_id: i64,
    /// How long a message may take, in minutes.
    pub consume_timeout_minutes: i32,
    /// Bits of RocketMQ's, which mean nothing here.
    pub sys_flag: i32,
    /// What else its administrators noted.
    pub attributes: Configs,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            consume_enable: true,
            consume_from_min_enable: true,
            consume_broadcast_enable: true,
            consume_message_orderly: false,
            notify_members: true,
            retry_queues: 1,
            retry_max_times: 16,
            broker_id: 0,
            slow_broker_id: 1,
            consume_timeout_minutes: 15,
            sys_flag: 0,
            attributes: Configs::new(),
        }
    }
}

impl GroupConfig {
    /// Checks the values that have limits.
    pub(super) fn check(&self) -> Result<(), ClusterError> {
        let invalid = |reason: String| Err(ClusterError::InvalidRequest { reason });
        if self.retry_queues > RETRY_QUEUES_MAX {
            let queues = self.retry_queues;
            return invalid(format!("{queues} retry queues, allowed are {RETRY_QUEUES_MAX}"));
        }
        let bytes: usize =
            self.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > ATTRIBUTES_BYTES_MAX {
            return invalid(format!(
                "the attributes have {bytes} bytes, allowed are {ATTRIBUTES_BYTES_MAX}"
            ));
        }
        Ok(())
    }
}

/// Checks the name of a group as RocketMQ has them: 1 to 255 of `[%|a-zA-Z0-9_-]`.
///
/// # Errors
/// [`ClusterError::InvalidRequest`].
pub fn check_group_name(group: &str) -> Result<(), ClusterError> {
    let bad = group.chars().find(|&c| !c.is_ascii_alphanumeric() && !"%|_-".contains(c));
    let reason = match bad {
        _ if group.is_empty() => "the group has no name".to_owned(),
        _ if group.len() > NAME_LENGTH => {
            format!("the group's name has {} bytes, allowed are {NAME_LENGTH}", group.len())
        }
        Some(bad) => format!(
            "Group name '{group}' is invalid: it contains {bad:?}, allowed are ASCII alphanumerics \
             and \"%|_-\""
        ),
        None => return Ok(()),
    };
    Err(ClusterError::InvalidRequest { reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::Position,
        cluster::{ClusterState, Command, Limits, Setup},
    };

    fn state(group_configs: u32) -> ClusterState {
        let limits = Limits { group_configs, ..Limits::default() };
        ClusterState::new(Setup { limits, ..Setup::default() })
    }

    #[test]
    fn configs_come_change_and_go() {
        let mut state = state(1);
        assert_eq!(**state.group_config("g"), GroupConfig::default());
        let attributes = [("a".into(), "b".into())].into();
        let config = GroupConfig { retry_max_times: 3, attributes, ..GroupConfig::default() };
        let set = state.plan_set_group_config("g", config.clone()).unwrap();
        assert_eq!(Command::decode(&set.encode()).unwrap(), set);
        state.apply(Position(1), &set);
        assert_eq!(**state.group_config("g"), config);
        let restored = ClusterState::restore(state.setup().clone(), &state.snapshot()).unwrap();
        assert_eq!(restored, state);
        // One is allowed; it may change.
        assert!(state.plan_set_group_config("h", GroupConfig::default()).is_err());
        assert!(state.plan_set_group_config("g", GroupConfig::default()).is_ok());
        state.apply(Position(2), &Command::RemoveGroupConfig { group: "g".into() });
        assert_eq!(**state.group_config("g"), GroupConfig::default());
        assert_ne!(restored, state);
    }

    #[test]
    fn names_and_values_have_limits() {
        let state = state(9);
        let plan = |group: &str, config| state.plan_set_group_config(group, config).is_ok();
        let long = "g".repeat(NAME_LENGTH + 1);
        assert!(plan(&long[1..], GroupConfig::default()));
        for bad in ["", "../g", "a b", "ä", "a/b", &long] {
            assert!(!plan(bad, GroupConfig::default()), "{bad:?}");
        }
        assert!(!plan("g", GroupConfig { retry_queues: 1_025, ..GroupConfig::default() }));
        let attributes = [("a".into(), "b".repeat(ATTRIBUTES_BYTES_MAX).into())].into();
        assert!(!plan("g", GroupConfig { attributes, ..GroupConfig::default() }));
    }

    /// The log keeps commands by their kind's number.
    #[test]
    fn kinds_of_commands_keep_their_numbers() {
        let kind = |command: Command| command.encode()[1];
        assert_eq!(kind(Command::NameCluster { cluster_id: "i".into() }), 0);
        assert_eq!(kind(Command::AllocateProducerIds { count: 1 }), 6);
        let (group, config) = ("g".into(), GroupConfig::default());
        assert_eq!(kind(Command::SetGroupConfig { group, config }), 7);
        assert_eq!(kind(Command::RemoveGroupConfig { group: "g".into() }), 8);
    }
}
