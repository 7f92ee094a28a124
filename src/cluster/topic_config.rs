//! The table of topic configs: all of Kafka 4.3's (`LogConfig`), and ours.
//!
//! Names, types, defaults and bounds are Kafka's, so that tools that write a topic's configs from a
//! file meet no surprise. A row says with `idle` where Mainstem has nothing for the config to act
//! on: it is then checked, stored and described like the others.

use super::{
    ClusterError, Configs,
    config_def::{Check::*, ConfigDef, Kind::*, hours, minutes, parse_bool, same},
};

const MAX: &str = "9223372036854775807";

pub(super) const ONE_LOG: &str = "all topics share one commit log, whose segments config sets.";
const ONE_REPLICA: &str = "a topic has one replica.";
pub(super) const NO_TIER: &str = "there is no tiered storage.";
const NO_COMPACTION: &str = "compaction does not exist yet; a compacted topic keeps everything.";
pub(super) const NO_RECOMPRESSION: &str = "batches stay as the producer compressed them.";
pub(super) const NO_INDEX_FILES: &str = "a partition has no index files of its own.";
const NO_MESSAGE_TYPES: &str = "a topic takes messages of any kind.";
const ALWAYS_ORDERED: &str = "every queue is in order.";
pub(super) const FLUSH: &str = "every group commit is synced; see mainstem.flush.";

/// All topic configs, by name.
pub static TOPIC_CONFIGS: &[ConfigDef] = &[
    ConfigDef::new(
        "cleanup.policy",
        List,
        "delete",
        EachOf(&["compact", "delete"]),
        "What happens to old records: \"delete\" drops them by age and size, \"compact\" keeps the \
         latest of each key, both do both, and an empty list keeps everything.",
    )
    .from(&[same("log.cleanup.policy")])
    .note("\"compact\" demands a key of every record; compacting itself comes later."),
    ConfigDef::new(
        "compression.gzip.level",
        Int,
        "-1",
        BetweenOr(1, 9, -1),
        "The level used when compression.type is gzip.",
    )
    .from(&[same("compression.gzip.level")])
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        "The level used when compression.type is lz4.",
    )
    .from(&[same("compression.lz4.level")])
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "How records are compressed in the log; \"producer\" keeps what the producer chose.",
    )
    .from(&[same("compression.type")])
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131_072, 22),
        "The level used when compression.type is zstd.",
    )
    .from(&[same("compression.zstd.level")])
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        "How long a compacted topic keeps the marker of a deleted key.",
    )
    .from(&[same("log.cleaner.delete.retention.ms")])
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "file.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        "How long a dropped file stays on disk.",
    )
    .from(&[same("log.segment.delete.delay.ms")])
    .idle(ONE_LOG),
    ConfigDef::new(
        "flush.messages",
        Long,
        MAX,
        AtLeast(1),
        "After how many messages the log is synced to disk.",
    )
    .from(&[same("log.flush.interval.messages")])
    .idle(FLUSH),
    ConfigDef::new(
        "flush.ms",
        Long,
        MAX,
        AtLeast(0),
        "After how much time the log is synced to disk.",
    )
    .from(&[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")])
    .idle(FLUSH),
    ConfigDef::new(
        "follower.replication.throttled.replicas",
        List,
        "",
        Replicas,
        "Replicas throttled as followers: a list of partition:broker, or *.",
    )
    .idle(ONE_REPLICA),
    ConfigDef::new(
        "index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        "How many bytes lie between two entries of the offset index.",
    )
    .from(&[same("log.index.interval.bytes")])
    .idle(NO_INDEX_FILES),
    ConfigDef::new(
        "internal.segment.bytes",
        Int,
        "",
        Any,
        "Segment size in bytes without a lower bound, for tests.",
    )
    .unset()
    .internal()
    .idle(ONE_LOG),
    ConfigDef::new(
        "leader.replication.throttled.replicas",
        List,
        "",
        Replicas,
        "Replicas throttled as leaders: a list of partition:broker, or *.",
    )
    .idle(ONE_REPLICA),
    ConfigDef::new(
        "local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        "Bytes of a partition kept locally when tiered; -2 means retention.bytes.",
    )
    .from(&[same("log.local.retention.bytes")])
    .idle(NO_TIER),
    ConfigDef::new(
        "local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        "How long records are kept locally when tiered; -2 means retention.ms.",
    )
    .from(&[same("log.local.retention.ms")])
    .idle(NO_TIER),
    ConfigDef::new(
        "mainstem.delay",
        Boolean,
        "false",
        Any,
        "Whether records of Kafka's producers are looked into for a delivery time: the header \
         mainstem-deliver-at-ms (ms since 1970) or mainstem-delay-ms.",
    ),
    ConfigDef::new(
        "mainstem.flush",
        String,
        "default",
        OneOf(&["default", "sync", "async"]),
        "When a send is answered: \"sync\" after it is durable, \"async\" before, \"default\" as \
         the broker's config says.",
    ),
    ConfigDef::new(
        "mainstem.key.index",
        Boolean,
        "false",
        Any,
        "Whether records of Kafka's producers are found by their keys, as RocketMQ's messages are: \
         each costs 24 bytes of a key file, made in the background of what is stored from then on.",
    ),
    ConfigDef::new(
        "mainstem.rocketmq.message.type",
        String,
        "UNSPECIFIED",
        OneOf(&[
            "UNSPECIFIED",
            "NORMAL",
            "FIFO",
            "DELAY",
            "TRANSACTION",
            "MIXED",
            "LITE",
            "PRIORITY",
        ]),
        "RocketMQ's message.type: what its tools show the topic to be for.",
    )
    .idle(NO_MESSAGE_TYPES),
    ConfigDef::new(
        "mainstem.rocketmq.order",
        Boolean,
        "false",
        Any,
        "Whether RocketMQ's tools show the topic as an ordered one.",
    )
    .idle(ALWAYS_ORDERED),
    ConfigDef::new(
        "mainstem.rocketmq.order.conf",
        String,
        "",
        Any,
        "The queues RocketMQ's producers use for an ordered topic: broker:queues;… or empty.",
    ),
    ConfigDef::new(
        "mainstem.rocketmq.perm",
        String,
        "6",
        OneOf(&["0", "2", "4", "6"]),
        "What RocketMQ's clients may do with the topic: 2 write, 4 read, 6 both, 0 nothing.",
    ),
    ConfigDef::new(
        "mainstem.rocketmq.read.queues",
        Int,
        "-1",
        AtLeast(-1),
        "How many partitions RocketMQ's consumers read; -1 or more than there are: all.",
    ),
    ConfigDef::new(
        "mainstem.rocketmq.write.queues",
        Int,
        "-1",
        AtLeast(-1),
        "How many partitions RocketMQ's producers write; -1 or more than there are: all.",
    ),
    ConfigDef::new(
        "max.compaction.lag.ms",
        Long,
        MAX,
        AtLeast(1),
        "The longest a record may stay uncompacted.",
    )
    .from(&[same("log.cleaner.max.compaction.lag.ms")])
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "max.message.bytes",
        Int,
        "1048588",
        AtLeast(0),
        "The largest record batch accepted, in bytes as sent (compressed).",
    )
    .from(&[same("message.max.bytes")]),
    ConfigDef::new(
        "message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        "How far a record's timestamp may lie after the broker's clock (CreateTime only).",
    )
    .from(&[same("log.message.timestamp.after.max.ms")]),
    ConfigDef::new(
        "message.timestamp.before.max.ms",
        Long,
        MAX,
        AtLeast(0),
        "How far a record's timestamp may lie before the broker's clock (CreateTime only).",
    )
    .from(&[same("log.message.timestamp.before.max.ms")]),
    ConfigDef::new(
        "message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        "Whose time a record carries: the producer's, or the broker's at append.",
    )
    .from(&[same("log.message.timestamp.type")]),
    ConfigDef::new(
        "min.cleanable.dirty.ratio",
        Double,
        "0.5",
        Fraction,
        "Which share of a compacted log must be uncompacted before it is compacted again.",
    )
    .from(&[same("log.cleaner.min.cleanable.ratio")])
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        "The shortest a record stays uncompacted.",
    )
    .from(&[same("log.cleaner.min.compaction.lag.ms")])
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "min.insync.replicas",
        Int,
        "1",
        AtLeast(1),
        "How many replicas must have a write before acks=all is answered.",
    )
    .from(&[same("min.insync.replicas")])
    .idle(ONE_REPLICA),
    ConfigDef::new(
        "preallocate",
        Boolean,
        "false",
        Any,
        "Whether a segment's file gets its disk space when it is created.",
    )
    .from(&[same("log.preallocate")])
    .idle(ONE_LOG),
    ConfigDef::new(
        "remote.log.copy.disable",
        Boolean,
        "false",
        Any,
        "Whether tiered data of the topic becomes read-only.",
    )
    .idle(NO_TIER),
    ConfigDef::new(
        "remote.log.delete.on.disable",
        Boolean,
        "false",
        Any,
        "Whether tiered data is deleted when tiering is switched off.",
    )
    .idle(NO_TIER),
    ConfigDef::new(
        "remote.storage.enable",
        Boolean,
        "false",
        Any,
        "Whether the topic is tiered. Only false is accepted.",
    )
    .idle(NO_TIER),
    ConfigDef::new(
        "retention.bytes",
        Long,
        "-1",
        Any,
        "Bytes of a partition above which its oldest records are dropped; negative: no limit.",
    )
    .from(&[same("log.retention.bytes")]),
    ConfigDef::new(
        "retention.ms",
        Long,
        "604800000",
        AtLeast(-1),
        "Age in milliseconds above which records are dropped; -1: no limit.",
    )
    .from(&[
        same("log.retention.ms"),
        minutes("log.retention.minutes"),
        hours("log.retention.hours"),
    ]),
    ConfigDef::new(
        "segment.bytes",
        Int,
        "1073741824",
        AtLeast(1_048_576),
        "The size of a partition's segment file.",
    )
    .from(&[same("log.segment.bytes")])
    .idle(ONE_LOG),
    ConfigDef::new(
        "segment.index.bytes",
        Int,
        "10485760",
        AtLeast(4),
        "The size of a segment's offset index.",
    )
    .from(&[same("log.index.size.max.bytes")])
    .idle(NO_INDEX_FILES),
    ConfigDef::new(
        "segment.jitter.ms",
        Long,
        "0",
        AtLeast(0),
        "By how much the time of a segment's rolling is varied at most.",
    )
    .from(&[same("log.roll.jitter.ms"), hours("log.roll.jitter.hours")])
    .idle(ONE_LOG),
    ConfigDef::new(
        "segment.ms",
        Long,
        "604800000",
        AtLeast(1),
        "The age at which a segment is rolled though it is not full.",
    )
    .from(&[same("log.roll.ms"), hours("log.roll.hours")])
    .idle(ONE_LOG),
    ConfigDef::new(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        "Whether a replica that lags behind may become leader, losing records.",
    )
    .from(&[same("unclean.leader.election.enable")])
    .idle(ONE_REPLICA),
];

/// The topic config of that name.
#[must_use]
pub fn topic_config(name: &str) -> Option<&'static ConfigDef> {
    let at = TOPIC_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok()?;
    Some(&TOPIC_CONFIGS[at])
}

/// Checks a topic's whole set of configs: each alone, then those that depend on each other.
///
/// `inherited` gives the value a config has when the topic does not set it.
pub fn validate_topic_configs(
    configs: &Configs,
    inherited: impl Fn(&ConfigDef) -> std::string::String,
) -> Result<(), ClusterError> {
    for (name, value) in configs {
        let def = topic_config(name).ok_or_else(|| {
            ClusterError::invalid_config(name, format!("Unknown topic config name: {name}"))
        })?;
        def.validate(value)?;
    }
    let number = |name| {
        let own = configs.get(name).map(|value| value.to_string());
        let value = own.unwrap_or_else(|| inherited(topic_config(name).expect("in the table")));
        value.trim().parse::<i64>().unwrap_or_default()
    };
    let (low, high) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    let sets_lag = ["min.compaction.lag.ms", "max.compaction.lag.ms"]
        .iter()
        .any(|name| configs.contains_key(*name));
    if sets_lag && low > high {
        return Err(ClusterError::invalid_config(
            "min.compaction.lag.ms",
            format!(
                "conflict topic config setting min.compaction.lag.ms ({low}) > \
                 max.compaction.lag.ms ({high})"
            ),
        ));
    }
    let tiered = configs.get("remote.storage.enable").and_then(|value| parse_bool(value));
    if tiered == Some(true) {
        return Err(ClusterError::invalid_config(
            "remote.storage.enable",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
             with remote log storage.",
        ));
    }
    Ok(())
}
