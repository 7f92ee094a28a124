//! The table of broker configs that Kafka's tools and clients look at, by Kafka 4.3's names.
//!
//! What Mainstem's own config sets is passed in under these names ([`super::Setup::configs`]); the
//! rest shows Kafka's defaults. Kafka's own list is three times as long: what is missing here has
//! nothing to act on in Mainstem and is known to no tool by heart.

use super::{
    config_def::{Check::*, ConfigDef, Kind::*},
    topic_config::{FLUSH, NO_INDEX_FILES, NO_RECOMPRESSION, NO_TIER, ONE_LOG},
};

const ONE_BROKER: &str = "there is one broker.";
const NO_SUCH_LIMIT: &str = "there is no such limit.";
const NO_COMPACTION: &str = "compaction does not exist yet.";
const NO_INTERNAL_TOPICS: &str = "this state is kept in the commit log, not in a topic.";
const NO_PLUGINS: &str = "classes cannot be loaded.";
const NO_POOLS: &str = "each shard is one thread; server config sets how many.";
const NO_TRANSACTIONS: &str = "Kafka transactions do not exist yet.";

/// Broker configs, by name.
pub static BROKER_CONFIGS: &[ConfigDef] = &[
    ConfigDef::new(
        "advertised.listeners",
        List,
        "",
        Any,
        "The addresses clients are told to connect to.",
    )
    .unset()
    .fixed(),
    ConfigDef::new("authorizer.class.name", String, "", Any, "The class that decides on rights.")
        .fixed()
        .idle(NO_PLUGINS),
    ConfigDef::new(
        "auto.create.topics.enable",
        Boolean,
        "true",
        Any,
        "Whether asking for the metadata of a topic may create it.",
    )
    .fixed(),
    ConfigDef::new(
        "auto.leader.rebalance.enable",
        Boolean,
        "true",
        Any,
        "Whether leadership returns to preferred replicas by itself.",
    )
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new(
        "background.threads",
        Int,
        "10",
        AtLeast(1),
        "Threads for work in the background.",
    )
    .idle(NO_POOLS),
    ConfigDef::new("broker.id", Int, "-1", Any, "This broker's number; node.id is its newer name.")
        .fixed(),
    ConfigDef::new("broker.rack", String, "", Any, "The rack this broker is in.").unset().fixed(),
    ConfigDef::new(
        "compression.gzip.level",
        Int,
        "-1",
        BetweenOr(1, 9, -1),
        "The level used when compression.type is gzip.",
    )
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.lz4.level",
        Int,
        "9",
        Between(1, 17),
        "The level used when compression.type is lz4.",
    )
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.type",
        String,
        "producer",
        OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]),
        "How records are compressed in the log.",
    )
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "compression.zstd.level",
        Int,
        "3",
        Between(-131072, 22),
        "The level used when compression.type is zstd.",
    )
    .idle(NO_RECOMPRESSION),
    ConfigDef::new(
        "connections.max.idle.ms",
        Long,
        "600000",
        Any,
        "How long a connection may be idle before it is closed.",
    )
    .fixed(),
    ConfigDef::new(
        "controlled.shutdown.enable",
        Boolean,
        "true",
        Any,
        "Whether leadership moves away before a stop.",
    )
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new("controller.listener.names", List, "", Any, "Listeners of the controller.")
        .unset()
        .fixed()
        .idle(ONE_BROKER),
    ConfigDef::new("controller.quorum.voters", List, "", Any, "The controllers that vote.")
        .fixed()
        .idle(ONE_BROKER),
    ConfigDef::new(
        "create.topic.policy.class.name",
        Class,
        "",
        Any,
        "The class that may forbid topics.",
    )
    .unset()
    .fixed()
    .idle(NO_PLUGINS),
    ConfigDef::new(
        "default.replication.factor",
        Int,
        "1",
        Any,
        "Replicas of a topic created without saying how many.",
    )
    .fixed(),
    ConfigDef::new("delete.topic.enable", Boolean, "true", Any, "Whether topics can be deleted.")
        .fixed(),
    ConfigDef::new(
        "fetch.max.bytes",
        Int,
        "57671680",
        AtLeast(1024),
        "The most bytes one fetch answers with.",
    )
    .fixed(),
    ConfigDef::new(
        "group.consumer.assignors",
        List,
        "uniform,range",
        Any,
        "Assignors of the consumer protocol (KIP-848), the first is the default.",
    )
    .fixed(),
    ConfigDef::new(
        "group.consumer.heartbeat.interval.ms",
        Int,
        "5000",
        AtLeast(1),
        "How often members of the consumer protocol send heartbeats.",
    )
    .fixed(),
    ConfigDef::new(
        "group.consumer.max.size",
        Int,
        "2147483647",
        AtLeast(1),
        "The most members of a group in the consumer protocol.",
    )
    .fixed(),
    ConfigDef::new(
        "group.consumer.session.timeout.ms",
        Int,
        "45000",
        AtLeast(1),
        "How long a member of the consumer protocol may be silent.",
    )
    .fixed(),
    ConfigDef::new(
        "group.coordinator.rebalance.protocols",
        List,
        "classic,consumer,streams",
        EachOf(&["consumer", "classic", "share", "streams"]),
        "The group protocols served.",
    )
    .fixed(),
    ConfigDef::new(
        "group.initial.rebalance.delay.ms",
        Int,
        "3000",
        Any,
        "How long an empty group waits for more members.",
    )
    .fixed(),
    ConfigDef::new(
        "group.max.session.timeout.ms",
        Int,
        "1800000",
        Any,
        "The longest session timeout a member may ask for.",
    )
    .fixed(),
    ConfigDef::new("group.max.size", Int, "2147483647", AtLeast(1), "The most members of a group.")
        .fixed(),
    ConfigDef::new(
        "group.min.session.timeout.ms",
        Int,
        "6000",
        Any,
        "The shortest session timeout a member may ask for.",
    )
    .fixed(),
    ConfigDef::new(
        "inter.broker.listener.name",
        String,
        "",
        Any,
        "The listener brokers use among themselves.",
    )
    .unset()
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new(
        "leader.imbalance.check.interval.seconds",
        Long,
        "300",
        AtLeast(1),
        "How often leadership is checked for balance.",
    )
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new(
        "listener.security.protocol.map",
        String,
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
        Any,
        "The security protocol of each listener.",
    )
    .fixed(),
    ConfigDef::new("listeners", List, "PLAINTEXT://:9092", Any, "The addresses listened on.")
        .fixed(),
    ConfigDef::new(
        "log.cleaner.backoff.ms",
        Long,
        "15000",
        AtLeast(0),
        "How long compaction sleeps when there is nothing to do.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleaner.dedupe.buffer.size",
        Long,
        "134217728",
        Any,
        "Memory of compaction, in bytes.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleaner.delete.retention.ms",
        Long,
        "86400000",
        AtLeast(0),
        "Default of delete.retention.ms.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new("log.cleaner.enable", Boolean, "true", Any, "Whether compaction runs.")
        .fixed()
        .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleaner.max.compaction.lag.ms",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "Default of max.compaction.lag.ms.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleaner.min.cleanable.ratio",
        Double,
        "0.5",
        Fraction,
        "Default of min.cleanable.dirty.ratio.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleaner.min.compaction.lag.ms",
        Long,
        "0",
        AtLeast(0),
        "Default of min.compaction.lag.ms.",
    )
    .idle(NO_COMPACTION),
    ConfigDef::new("log.cleaner.threads", Int, "1", AtLeast(0), "Threads of compaction.")
        .idle(NO_COMPACTION),
    ConfigDef::new(
        "log.cleanup.policy",
        List,
        "delete",
        EachOf(&["compact", "delete"]),
        "Default of cleanup.policy.",
    ),
    ConfigDef::new("log.dir", List, "", Any, "The directory of the log.").unset().fixed(),
    ConfigDef::new("log.dirs", List, "", Any, "The directories of the log; Mainstem has one.")
        .unset()
        .fixed(),
    ConfigDef::new(
        "log.flush.interval.messages",
        Long,
        "9223372036854775807",
        AtLeast(1),
        "Default of flush.messages.",
    )
    .idle(FLUSH),
    ConfigDef::new("log.flush.interval.ms", Long, "", Any, "Default of flush.ms.")
        .unset()
        .idle(FLUSH),
    ConfigDef::new(
        "log.flush.scheduler.interval.ms",
        Long,
        "9223372036854775807",
        Any,
        "How often logs are looked at for syncing.",
    )
    .fixed()
    .idle(FLUSH),
    ConfigDef::new(
        "log.index.interval.bytes",
        Int,
        "4096",
        AtLeast(0),
        "Default of index.interval.bytes.",
    )
    .idle(NO_INDEX_FILES),
    ConfigDef::new(
        "log.index.size.max.bytes",
        Int,
        "10485760",
        AtLeast(4),
        "Default of segment.index.bytes.",
    )
    .idle(NO_INDEX_FILES),
    ConfigDef::new(
        "log.local.retention.bytes",
        Long,
        "-2",
        AtLeast(-2),
        "Default of local.retention.bytes.",
    )
    .idle(NO_TIER),
    ConfigDef::new(
        "log.local.retention.ms",
        Long,
        "-2",
        AtLeast(-2),
        "Default of local.retention.ms.",
    )
    .idle(NO_TIER),
    ConfigDef::new(
        "log.message.timestamp.after.max.ms",
        Long,
        "3600000",
        AtLeast(0),
        "Default of message.timestamp.after.max.ms.",
    ),
    ConfigDef::new(
        "log.message.timestamp.before.max.ms",
        Long,
        "9223372036854775807",
        AtLeast(0),
        "Default of message.timestamp.before.max.ms.",
    ),
    ConfigDef::new(
        "log.message.timestamp.type",
        String,
        "CreateTime",
        OneOf(&["CreateTime", "LogAppendTime"]),
        "Default of message.timestamp.type.",
    ),
    ConfigDef::new("log.preallocate", Boolean, "false", Any, "Default of preallocate.")
        .idle(ONE_LOG),
    ConfigDef::new("log.retention.bytes", Long, "-1", Any, "Default of retention.bytes."),
    ConfigDef::new(
        "log.retention.check.interval.ms",
        Long,
        "300000",
        AtLeast(1),
        "How often retention is applied.",
    )
    .fixed(),
    ConfigDef::new("log.retention.hours", Int, "168", Any, "Default of retention.ms, in hours.")
        .fixed(),
    ConfigDef::new(
        "log.retention.minutes",
        Int,
        "",
        Any,
        "Default of retention.ms, in minutes; counts before hours.",
    )
    .unset()
    .fixed(),
    ConfigDef::new(
        "log.retention.ms",
        Long,
        "",
        Any,
        "Default of retention.ms; counts before minutes and hours.",
    )
    .unset(),
    ConfigDef::new("log.roll.hours", Int, "168", AtLeast(1), "Default of segment.ms, in hours.")
        .fixed()
        .idle(ONE_LOG),
    ConfigDef::new(
        "log.roll.jitter.hours",
        Int,
        "0",
        AtLeast(0),
        "Default of segment.jitter.ms, in hours.",
    )
    .fixed()
    .idle(ONE_LOG),
    ConfigDef::new(
        "log.roll.jitter.ms",
        Long,
        "",
        Any,
        "Default of segment.jitter.ms; counts before hours.",
    )
    .unset()
    .idle(ONE_LOG),
    ConfigDef::new("log.roll.ms", Long, "", Any, "Default of segment.ms; counts before hours.")
        .unset()
        .idle(ONE_LOG),
    ConfigDef::new(
        "log.segment.bytes",
        Int,
        "1073741824",
        AtLeast(1048576),
        "Default of segment.bytes.",
    )
    .idle(ONE_LOG),
    ConfigDef::new(
        "log.segment.delete.delay.ms",
        Long,
        "60000",
        AtLeast(0),
        "Default of file.delete.delay.ms.",
    )
    .idle(ONE_LOG),
    ConfigDef::new(
        "max.connection.creation.rate",
        Int,
        "2147483647",
        AtLeast(0),
        "The most new connections a second.",
    )
    .fixed()
    .idle(NO_SUCH_LIMIT),
    ConfigDef::new("max.connections", Int, "2147483647", AtLeast(0), "The most connections.")
        .fixed(),
    ConfigDef::new(
        "max.connections.per.ip",
        Int,
        "2147483647",
        AtLeast(0),
        "The most connections of one address.",
    )
    .fixed()
    .idle(NO_SUCH_LIMIT),
    ConfigDef::new(
        "max.incremental.fetch.session.cache.slots",
        Int,
        "1000",
        AtLeast(0),
        "The most fetch sessions kept.",
    )
    .fixed(),
    ConfigDef::new(
        "message.max.bytes",
        Int,
        "1048588",
        AtLeast(0),
        "Default of max.message.bytes.",
    ),
    ConfigDef::new("min.insync.replicas", Int, "1", AtLeast(1), "Default of min.insync.replicas.")
        .idle(ONE_BROKER),
    ConfigDef::new("node.id", Int, "", AtLeast(0), "This broker's number.").unset().fixed(),
    ConfigDef::new("num.io.threads", Int, "8", AtLeast(1), "Threads that handle requests.")
        .idle(NO_POOLS),
    ConfigDef::new(
        "num.network.threads",
        Int,
        "3",
        AtLeast(1),
        "Threads that read and write sockets.",
    )
    .idle(NO_POOLS),
    ConfigDef::new(
        "num.partitions",
        Int,
        "1",
        AtLeast(1),
        "Partitions of a topic created without saying how many.",
    )
    .fixed(),
    ConfigDef::new(
        "num.recovery.threads.per.data.dir",
        Int,
        "2",
        AtLeast(1),
        "Threads of recovery.",
    )
    .idle(NO_POOLS),
    ConfigDef::new(
        "num.replica.fetchers",
        Int,
        "1",
        AtLeast(1),
        "Threads that fetch from leaders.",
    )
    .idle(ONE_BROKER),
    ConfigDef::new(
        "offset.metadata.max.bytes",
        Int,
        "4096",
        Any,
        "The longest text a committed offset may carry.",
    )
    .fixed(),
    ConfigDef::new(
        "offsets.commit.timeout.ms",
        Int,
        "5000",
        AtLeast(1),
        "How long an offset commit may wait for the log.",
    )
    .fixed(),
    ConfigDef::new(
        "offsets.retention.check.interval.ms",
        Long,
        "600000",
        AtLeast(1),
        "How often old committed offsets are looked for.",
    )
    .fixed(),
    ConfigDef::new(
        "offsets.retention.minutes",
        Int,
        "10080",
        AtLeast(1),
        "How long an empty group keeps its committed offsets.",
    )
    .fixed(),
    ConfigDef::new(
        "offsets.topic.num.partitions",
        Int,
        "50",
        AtLeast(1),
        "Partitions of the topic of committed offsets.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "offsets.topic.replication.factor",
        Short,
        "3",
        AtLeast(1),
        "Replicas of the topic of committed offsets.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "offsets.topic.segment.bytes",
        Int,
        "104857600",
        AtLeast(1),
        "Segment size of the topic of committed offsets.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "process.roles",
        List,
        "",
        EachOf(&["broker", "controller"]),
        "What this process is; always broker and controller.",
    )
    .unset()
    .fixed(),
    ConfigDef::new(
        "producer.id.expiration.ms",
        Int,
        "86400000",
        AtLeast(1),
        "How long the sequence of an idle producer is remembered.",
    )
    .fixed(),
    ConfigDef::new(
        "queued.max.requests",
        Int,
        "500",
        AtLeast(1),
        "The most requests waiting in the broker.",
    )
    .fixed(),
    ConfigDef::new(
        "replica.lag.time.max.ms",
        Long,
        "30000",
        Any,
        "How long a replica may lag before it is out of sync.",
    )
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new("request.timeout.ms", Int, "30000", Any, "How long a request may take.").fixed(),
    ConfigDef::new("sasl.enabled.mechanisms", List, "GSSAPI", Any, "SASL mechanisms served.")
        .fixed(),
    ConfigDef::new(
        "security.inter.broker.protocol",
        String,
        "PLAINTEXT",
        OneOf(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "The security protocol brokers use among themselves.",
    )
    .fixed()
    .idle(ONE_BROKER),
    ConfigDef::new(
        "socket.listen.backlog.size",
        Int,
        "50",
        AtLeast(1),
        "Connections that may wait to be accepted.",
    )
    .fixed(),
    ConfigDef::new(
        "socket.receive.buffer.bytes",
        Int,
        "102400",
        Any,
        "Receive buffer of a socket.",
    )
    .fixed(),
    ConfigDef::new(
        "socket.request.max.bytes",
        Int,
        "104857600",
        AtLeast(1),
        "The largest request accepted.",
    )
    .fixed(),
    ConfigDef::new("socket.send.buffer.bytes", Int, "102400", Any, "Send buffer of a socket.")
        .fixed(),
    ConfigDef::new("ssl.keystore.location", String, "", Any, "The file of the server's key.")
        .unset()
        .fixed(),
    ConfigDef::new("ssl.keystore.password", Password, "", Any, "The password of the server's key.")
        .unset()
        .fixed(),
    ConfigDef::new(
        "transaction.max.timeout.ms",
        Int,
        "900000",
        AtLeast(1),
        "The longest timeout of a transaction.",
    )
    .fixed()
    .idle(NO_TRANSACTIONS),
    ConfigDef::new(
        "transaction.state.log.min.isr",
        Int,
        "2",
        AtLeast(1),
        "min.insync.replicas of the topic of transactions.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "transaction.state.log.num.partitions",
        Int,
        "50",
        AtLeast(1),
        "Partitions of the topic of transactions.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "transaction.state.log.replication.factor",
        Short,
        "3",
        AtLeast(1),
        "Replicas of the topic of transactions.",
    )
    .fixed()
    .idle(NO_INTERNAL_TOPICS),
    ConfigDef::new(
        "transactional.id.expiration.ms",
        Int,
        "604800000",
        AtLeast(1),
        "How long an unused transactional id is remembered.",
    )
    .fixed()
    .idle(NO_TRANSACTIONS),
    ConfigDef::new(
        "unclean.leader.election.enable",
        Boolean,
        "false",
        Any,
        "Default of unclean.leader.election.enable.",
    )
    .idle(ONE_BROKER),
];

/// The broker config of that name.
#[must_use]
pub fn broker_config(name: &str) -> Option<&'static ConfigDef> {
    let at = BROKER_CONFIGS.binary_search_by(|def| def.name.cmp(name)).ok()?;
    Some(&BROKER_CONFIGS[at])
}
