//! What a copy of the state is told about the node it lives on. Not part of the replicated state.

use super::{Configs, broker_config::broker_config, topic_config::topic_config};
use crate::config::Config;

/// Partitions one topic may have.
const TOPIC_PARTITIONS: u32 = 100_000;

const MINUTE_MS: u64 = 60_000;

/// Limits on topics and partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Partitions one topic may have.
    pub topic_partitions: u32,
    /// Queues that may exist at a time, over all topics.
    pub queues: u32,
    /// Groups that may have a config of their own.
    pub group_configs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { topic_partitions: TOPIC_PARTITIONS, queues: 1_000_000, group_configs: 100_000 }
    }
}

/// This node, its limits and its config file's values.
///
/// All shards of a node must have the same; across nodes the settings of a topic may differ, the
/// replicated state may not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// The node's number, which clients know as the broker's.
    pub node_id: i32,
    /// Limits on topics and partitions.
    pub limits: Limits,
    /// Broker configs by Kafka's names, as the node was started with (source: static).
    pub configs: Configs,
}

impl Setup {
    /// The setup of a node with this config, whose clients are told to connect to `advertised`.
    ///
    /// Kafka's tools then show what the config says under the names they know.
    #[must_use]
    pub fn of(config: &Config, advertised: (&str, u16)) -> Self {
        let Config { node, log, topic, kafka, groups, .. } = config;
        let (host, port) = advertised;
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        let mut configs: Vec<(&str, String)> = vec![
            ("advertised.listeners", format!("PLAINTEXT://{host}:{port}")),
            ("auto.create.topics.enable", kafka.auto_create_topics.to_string()),
            ("broker.id", node.id.to_string()),
            ("connections.max.idle.ms", kafka.idle_ms.to_string()),
            ("fetch.max.bytes", kafka.fetch_max_bytes.to_string()),
            ("group.coordinator.rebalance.protocols", "classic".to_owned()),
            ("group.initial.rebalance.delay.ms", groups.initial_rebalance_delay_ms.to_string()),
            ("group.max.session.timeout.ms", groups.max_session_timeout_ms.to_string()),
            ("group.max.size", groups.max_size.to_string()),
            ("group.min.session.timeout.ms", groups.min_session_timeout_ms.to_string()),
            ("listeners", format!("PLAINTEXT://{}", kafka.listen)),
            ("log.dirs", config.log_dir().display().to_string()),
            ("log.retention.bytes", topic.retention_bytes.to_string()),
            ("log.retention.check.interval.ms", log.retention_check_ms.to_string()),
            ("log.retention.ms", topic.retention_ms.to_string()),
            ("max.connections", kafka.max_connections.to_string()),
            ("message.max.bytes", topic.max_message_bytes.to_string()),
            ("node.id", node.id.to_string()),
            ("num.partitions", kafka.num_partitions.to_string()),
            ("offset.metadata.max.bytes", groups.offset_metadata_max_bytes.to_string()),
            // Kafka knows only minutes; part of one counts as a whole one.
            (
                "offsets.retention.minutes",
                groups.offsets_retention_ms.div_ceil(MINUTE_MS).to_string(),
            ),
            ("process.roles", "broker,controller".to_owned()),
            ("producer.id.expiration.ms", kafka.producer_id_expiration_ms.to_string()),
            ("socket.request.max.bytes", kafka.max_request_bytes.to_string()),
        ];
        if !node.rack.is_empty() {
            configs.push(("broker.rack", node.rack.clone()));
        }
        // What nobody changed is to be shown as a default, not as set in a file.
        configs.retain(|(name, value)| {
            let default = match *name {
                "log.retention.ms" => topic_config("retention.ms"),
                name => broker_config(name),
            };
            default.and_then(|def| def.default) != Some(value.as_str())
        });
        let configs = configs.into_iter().map(|(name, value)| (name.into(), value.into()));
        let limits = Limits {
            topic_partitions: TOPIC_PARTITIONS,
            queues: kafka.max_partitions,
            group_configs: groups.max_count,
        };
        Self { node_id: node.id, limits, configs: configs.collect() }
    }
}
