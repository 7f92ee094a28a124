//! The configs in force for a topic, read once into numbers.

use std::borrow::Cow;

use super::{
    config_def::{parse_bool, parse_list},
    topic_config::topic_config,
};

/// When a send to the topic is answered, where the topic says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushMode {
    /// After the message is durable.
    Sync,
    /// Before.
    Async,
}

/// Whose time a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer's.
    CreateTime,
    /// The broker's, at append.
    LogAppendTime,
}

/// What RocketMQ's clients see of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocketMqView {
    /// Whether they may write to it.
    pub writable: bool,
    /// Whether they may read from it.
    pub readable: bool,
    /// Whether it is shown as an ordered one.
    pub order: bool,
    /// Partitions that are written, from the first on; `None`: all.
    pub write_queues: Option<u32>,
    /// Partitions that are read, from the first on; `None`: all.
    pub read_queues: Option<u32>,
}

/// A topic's configs in force: its own, over the broker's, over the defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct TopicSettings {
    /// Age in milliseconds above which records are dropped; `None`: never by age.
    pub retention_ms: Option<u64>,
    /// Bytes of a partition above which its oldest records are dropped; `None`: never by size.
    pub retention_bytes: Option<u64>,
    /// Largest record batch accepted, in bytes as sent.
    pub max_message_bytes: u32,
    /// Whose time a record carries.
    pub timestamp_type: TimestampType,
    /// Milliseconds a timestamp may lie before the clock (`CreateTime` only).
    pub timestamp_before_max_ms: u64,
    /// Milliseconds a timestamp may lie after the clock (`CreateTime` only).
    pub timestamp_after_max_ms: u64,
    /// Every record must have a key, and the latest of each key is kept.
    pub compact: bool,
    /// Old records are dropped by age and size, and on demand (KIP-107).
    pub delete: bool,
    /// Records of Kafka's producers may name a delivery time by a header.
    pub delay: bool,
    /// Records of Kafka's producers are found by their keys.
    pub key_index: bool,
    /// When a send is answered; `None`: as the broker's config says.
    pub flush: Option<FlushMode>,
    /// Milliseconds a compacted topic keeps the marker of a deleted key.
    pub delete_retention_ms: u64,
    /// Milliseconds a record stays uncompacted at least.
    pub min_compaction_lag_ms: u64,
    /// Milliseconds a record stays uncompacted at most.
    pub max_compaction_lag_ms: u64,
    /// Replicas that must have a write before acks=all is answered.
    pub min_insync_replicas: u32,
    /// What RocketMQ's clients see of it.
    pub rocketmq: RocketMqView,
}

impl TopicSettings {
    /// Reads the settings; `value` gives the value in force of a topic config, already checked. One
    /// that does not parse (it was written by another version) counts as its default.
    #[must_use]
    pub fn read<'a>(value: impl Fn(&str) -> Cow<'a, str>) -> Self {
        let number = |name: &str| -> i64 {
            let default = || topic_config(name).and_then(|def| def.default);
            let own = value(name).trim().parse().ok();
            own.or_else(|| default()?.parse().ok()).expect("the table's defaults are numbers")
        };
        let unsigned = |name| u64::try_from(number(name)).unwrap_or(0);
        let policy = value("cleanup.policy");
        let delete = parse_list(&policy).any(|part| part == "delete");
        let limit = |name| u64::try_from(number(name)).ok().filter(|_| delete);
        Self {
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            max_message_bytes: u32::try_from(number("max.message.bytes")).unwrap_or(0),
            timestamp_type: match value("message.timestamp.type").trim() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            timestamp_before_max_ms: unsigned("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: unsigned("message.timestamp.after.max.ms"),
            compact: parse_list(&policy).any(|part| part == "compact"),
            delete,
            delay: parse_bool(&value("mainstem.delay")) == Some(true),
            key_index: parse_bool(&value("mainstem.key.index")) == Some(true),
            flush: match value("mainstem.flush").trim() {
                "sync" => Some(FlushMode::Sync),
                "async" => Some(FlushMode::Async),
                _ => None,
            },
            delete_retention_ms: unsigned("delete.retention.ms"),
            min_compaction_lag_ms: unsigned("min.compaction.lag.ms"),
            max_compaction_lag_ms: unsigned("max.compaction.lag.ms"),
            min_insync_replicas: u32::try_from(number("min.insync.replicas")).unwrap_or(1),
            rocketmq: RocketMqView {
                writable: number("mainstem.rocketmq.perm") & 2 != 0,
                readable: number("mainstem.rocketmq.perm") & 4 != 0,
                order: parse_bool(&value("mainstem.rocketmq.order")) == Some(true),
                write_queues: u32::try_from(number("mainstem.rocketmq.write.queues")).ok(),
                read_queues: u32::try_from(number("mainstem.rocketmq.read.queues")).ok(),
            },
        }
    }
}

impl Default for TopicSettings {
    /// The table's defaults.
    fn default() -> Self {
        Self::read(|name| topic_config(name).and_then(|def| def.default).unwrap_or_default().into())
    }
}
