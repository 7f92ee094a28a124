//! Where a group's failed messages go: its retry topic, and its dead letters in the end.

use std::sync::Arc;

use super::{Gateway, refusal::Refusal, topic::new_topic};
use crate::cluster::{ControlPlane as _, DEAD_LETTERS, RETRY, Topic};

/// How a group's messages are tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RetryPolicy {
    /// How often, before a message is a dead letter.
    pub max_times: i32,
    /// Queues of the group's retry topic.
    pub queues: i32,
}

impl RetryPolicy {
    /// As the group's config says.
    pub(super) fn of(gateway: &Gateway, group: &str) -> Self {
        let cluster = gateway.broker.cluster();
        let config = cluster.group_config(group);
        let queues = i32::try_from(config.retry_queues).unwrap_or(i32::MAX);
        Self { max_times: config.retry_max_times, queues }
    }
}

/// A group's retry topic, which is made when it is needed.
pub(super) async fn retry_topic(gateway: &Gateway, group: &str) -> Result<Arc<Topic>, Refusal> {
    ensure(gateway, format!("{RETRY}{group}"), RetryPolicy::of(gateway, group).queues).await
}

/// Makes a group's retry topic before its first message fails: so its consumers have the queues, and
/// RocketMQ's tools know the group by it. Without one everything else of the group goes on.
pub(super) async fn prepare(gateway: &Gateway, group: &str) {
    if RetryPolicy::of(gateway, group).queues > 0
        && let Err(refusal) = retry_topic(gateway, group).await
        && let Some(left_out) = gateway.complaints.admit(gateway.broker.env().clock.monotonic())
    {
        tracing::warn!(remark = refusal.remark, left_out, "a group has no retry topic");
    }
}

/// A group's topic of dead letters, which is made when it is needed.
pub(super) async fn dead_letters(gateway: &Gateway, group: &str) -> Result<Arc<Topic>, Refusal> {
    ensure(gateway, format!("{DEAD_LETTERS}{group}"), 1).await
}

async fn ensure(gateway: &Gateway, name: String, queues: i32) -> Result<Arc<Topic>, Refusal> {
    Ok(gateway.broker.ensure_topic(new_topic(&gateway.settings, &name, queues)).await?)
}
