//! Which names a topic may have.

use super::ClusterError;

/// Whose rule a new topic's name must follow. An existing topic is open to both dialects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// Kafka's: 1 to 249 of `[a-zA-Z0-9._-]`, not `.` or `..`, and no other topic whose name
    /// differs only in `.` and `_`.
    #[default]
    Kafka,
    /// RocketMQ's: 1 to 127 of `[%|a-zA-Z0-9_-]`, as in `%RETRY%group`; retry and dead letter
    /// topics, which carry a group's name, up to 255.
    RocketMq,
    /// A topic of the broker's own, which no client may make.
    Broker,
}

/// The topic of messages that wait for their time.
pub const TIMERS_TOPIC: &str = "__mainstem_timers";

/// What the retry topic of a group of RocketMQ's is called before the group's name. Whoever consumes in
/// the group by RocketMQ's protocol has it made.
pub const RETRY: &str = "%RETRY%";

/// What a group's topic of dead letters is called before the group's name.
pub const DEAD_LETTERS: &str = "%DLQ%";

/// How the names begin of topics that serve RocketMQ's clients, and are none of theirs: retries, dead
/// letters, traces.
const SERVING: [&str; 4] = [RETRY, DEAD_LETTERS, "RMQ_SYS_", "rmq_sys_"];

/// Whether a topic is there for the broker's sake rather than its users': its own ones, retries, dead
/// letters, traces.
#[must_use]
pub fn is_internal(name: &str) -> bool {
    name == TIMERS_TOPIC || SERVING.iter().any(|prefix| name.starts_with(prefix))
}

/// Characters a Kafka name may have.
const KAFKA_LENGTH: usize = 249;

impl Naming {
    /// Checks a name against this rule, except for collisions with other topics.
    pub fn check(self, name: &str) -> Result<(), ClusterError> {
        let invalid = |reason: String| Err(ClusterError::InvalidName { name: name.into(), reason });
        if name.is_empty() {
            return invalid("the empty string is not allowed".into());
        }
        let (length, extra) = match self {
            Self::Broker if name == TIMERS_TOPIC => return Ok(()),
            _ if name == TIMERS_TOPIC => return invalid("the broker has it for itself".into()),
            Self::Kafka if name == "." || name == ".." => {
                return invalid("'.' or '..' is not allowed".into());
            }
            Self::Kafka => (KAFKA_LENGTH, "._-"),
            Self::RocketMq if name.starts_with(RETRY) || name.starts_with(DEAD_LETTERS) => {
                (255, "%|_-")
            }
            Self::RocketMq => (127, "%|_-"),
            Self::Broker => return invalid("the broker has no such topic".into()),
        };
        if let Some(bad) = name.chars().find(|&c| !c.is_ascii_alphanumeric() && !extra.contains(c))
        {
            return invalid(format!(
                "it contains {bad:?}, allowed are ASCII alphanumerics and {extra:?}"
            ));
        }
        if name.len() > length {
            return invalid(format!("its length is {}, allowed are {length}", name.len()));
        }
        Ok(())
    }
}

/// The form in which two colliding names are equal, for names that can collide at all.
pub(super) fn collision_key(name: &str) -> Option<Box<str>> {
    name.contains(['.', '_']).then(|| name.replace('.', "_").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafka_names() {
        for good in ["a", "a.b_c-D9", "...", &"x".repeat(249)] {
            assert_eq!(Naming::Kafka.check(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "..", "a b", "ä", "%RETRY%g", "a/b", "a\0", &"x".repeat(250)] {
            assert!(Naming::Kafka.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rocketmq_names() {
        let long_retry = format!("%RETRY%{}", "g".repeat(200));
        for good in ["%RETRY%group", "a|b", &"x".repeat(127), &long_retry] {
            assert_eq!(Naming::RocketMq.check(good), Ok(()), "{good}");
        }
        for bad in ["", "a.b", &"x".repeat(128)] {
            assert!(Naming::RocketMq.check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_brokers_own_names_are_no_clients() {
        assert_eq!(Naming::Broker.check(TIMERS_TOPIC), Ok(()));
        assert!(Naming::Broker.check("orders").is_err());
        for client in [Naming::Kafka, Naming::RocketMq] {
            assert!(client.check(TIMERS_TOPIC).is_err());
        }
        for own in [TIMERS_TOPIC, "%RETRY%group", "%DLQ%group"] {
            assert!(is_internal(own), "{own}");
        }
        assert!(!is_internal("orders") && !is_internal("a%RETRY%b"));
    }
}
