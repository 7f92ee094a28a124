//! The table of keys: the one place where a knob is declared.
//!
//! A new key is one entry here. Its field, its name in files, environment and flags, its row in
//! `mainstem config` and in tuning.md follow from it; checks across keys are in `validate.rs`.
//! `Live` promises that the running broker takes up a change, made with Kafka's tools under the name
//! that the key's meaning gives.

use std::{path::PathBuf, time::Duration};

use super::{
    kind::{
        FilePath, GIB, KIB, MIB, OneOf, Switch, TIB, Text, advertised, bytes, cores, count, listen,
        micros, millis, pin, text, writer_core,
    },
    table::table,
    value::{Advertised, Cores, Flush, Listen, LogFormat, LogWriter, Pin, WriterCore},
};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

table! {
    /// Every setting of a broker. Bytes and durations are plain numbers in the unit of their name.
    config {
        /// Directory of everything the broker keeps. One process at a time.
        data_dir: PathBuf = FilePath("./mainstem-data"), Restart;
    }

    /// This broker among others.
    node: Node {
        /// Number clients know this broker by.
        id: i32 = count(1, 0, i32::MAX), Restart;
        /// Rack or zone told to clients; empty for none.
        rack: String = text("", 255), Restart;
    }

    /// Threads that serve connections and own partitions, one executor each.
    shards: Shards {
        /// Cores the broker may use; `auto` is all the process may run on.
        cores: Cores = cores(), Restart;
        /// Number of shards; 0 leaves one core of several to the log's writer.
        count: u32 = count(0, 1, 256).or(0, "one less than cores, at least one"), Restart;
        /// Whether each shard stays on its core.
        pin: Pin = pin(), Restart;
        /// How long a shard's task may run before others get their turn.
        preempt_us: u64 = micros(10_000, 1_000, 1_000_000), Restart;
        /// How long an idle shard spins before it sleeps; costs CPU, saves a wake-up.
        spin_us: u64 = micros(0, 0, 100_000), Restart;
        /// Messages waiting from one shard to another; each may carry many requests.
        channel_messages: u32 = count(1_024, 16, 65_536), Restart;
        /// Memory each shard registers with the kernel for its file reads; counts against memlock.
        io_memory_bytes: u64 = bytes(MIB, 64 * KIB, GIB).step(4 * KIB), Restart;
        /// Entries of each of a shard's rings; with few of them idle connections cost time at each wake-up. Before Linux 5.12 each takes 300 bytes of memlock.
        ring_entries: u32 = count(4_096, 32, 4_096), Restart;
    }

    /// The commit log that everything is written to.
    log: Log {
        /// `sync` answers a send once its bytes are durable; `async` earlier, so that a crash may lose answered sends.
        flush: Flush = OneOf(&[(Flush::Sync, "sync"), (Flush::Async, "async")]), Restart;
        /// Time between syncs of the whole log, for slow disks; 0 makes every write durable by itself.
        sync_interval_ms: u64 = millis(0, 0, MINUTE), Restart;
        /// What writes the log.
        writer: LogWriter = OneOf(&[(LogWriter::Thread, "thread"), (LogWriter::Glommio, "glommio")]), Restart;
        /// Writes under way at once, each by a thread: a slow one does not hold up the next. One with `log.sync_interval_ms` or the glommio writer.
        writes_in_flight: u32 = count(2, 1, 16), Restart;
        /// Core of the log's writer; `auto` is a core no pinned shard has, `off` leaves it to the kernel.
        core: WriterCore = writer_core(), Restart;
        /// Size of a segment file; retention drops whole segments.
        segment_bytes: u64 = bytes(128 * MIB, 16 * MIB, 16 * GIB).step(4 * KIB), Restart;
        /// Size of the segment made at the very first start, which waits for its zero-filling.
        first_segment_bytes: u64 = bytes(16 * MIB, 4 * MIB, 16 * GIB).step(4 * KIB), Restart;
        /// Frames after which a segment ends early; bounds the memory of its index.
        segment_frames: u32 = count(1 << 20, 1 << 10, 1 << 24), Restart;
        /// Largest group commit; a larger frame is a block alone.
        block_bytes: u64 = bytes(MIB, 64 * KIB, 16 * MIB).step(4 * KIB), Restart;
        /// Memory for the log's newest bytes, from which consumers are served without the disk; unless given, a quarter of the memory there is, from 128 MiB to 32 GiB.
        tail_bytes: u64 = bytes(128 * MIB, 16 * MIB, 64 * GIB).step(2 * MIB), Restart;
        /// Takes that memory from the huge pages of 2 MiB the system has set aside, if there are enough.
        huge_pages: bool = Switch(false), Restart;
        /// Bytes that sends may be ahead of the disk; unless given, at most half of log.tail_bytes.
        inflight_bytes: u64 = bytes(32 * MIB, MIB, 32 * GIB), Restart;
        /// How long a send may wait for the log before it gets an error it can retry.
        stall_answer_ms: u64 = millis(10 * SECOND, 100, 10 * MINUTE), Restart;
        /// How long the log is idle before an empty block confirms the last commit.
        idle_block_ms: u64 = millis(100, 1, MINUTE), Restart;
        /// Bytes of log between checkpoints, two of which a start may replay; unless given, at least log.segment_bytes.
        checkpoint_bytes: u64 = bytes(128 * MIB, 16 * MIB, TIB), Restart;
        /// Segments kept ready in advance; one of them is reserved for deletions and commits.
        ready_segments: u32 = count(2, 1, 64), Restart;
        /// Limit for zero-filling segments beside the load; 0 never zero-fills.
        zero_fill_bytes_per_s: u64 = bytes(256 * MIB, MIB, 64 * GIB).or(0, "never"), Restart;
        /// Limit for the whole log, over every topic's retention.
        max_bytes: u64 = bytes(0, 64 * MIB, 1024 * TIB).or(0, "no limit"), Restart;
        /// Free disk space below which sends are refused; what messages need is never made of it.
        reserve_bytes: u64 = bytes(256 * MIB, 0, TIB), Restart;
        /// Time between looks for segments that retention lets go.
        retention_check_ms: u64 = millis(30 * SECOND, 100, HOUR), Restart;
    }

    /// What holds for a topic that says nothing else.
    topic: Topic {
        /// Age at which messages may go; -1 for never. Live as `log.retention.ms`.
        retention_ms: i64 = millis(7 * DAY as i64, 0, i64::MAX).or(-1, "never"), Live;
        /// Size of a partition beyond which its oldest messages may go; -1 for no limit. Live as `log.retention.bytes`.
        retention_bytes: i64 = bytes(-1, 0, i64::MAX).or(-1, "no limit"), Live;
        /// Largest record batch a topic takes. Live as `message.max.bytes`.
        max_message_bytes: u64 = bytes(1_048_588, 1, GIB), Live;
    }

    /// Kafka's clients.
    kafka: Kafka {
        /// Address for Kafka's clients.
        listen: Listen = listen("127.0.0.1:9092"), Restart;
        /// Address clients are told to connect to; must be set for a wildcard listener.
        advertised: Advertised = advertised(), Restart;
        /// Whether asking for an unknown topic creates it.
        auto_create_topics: bool = Switch(true), Restart;
        /// Partitions of a topic created without a number of them.
        num_partitions: u32 = count(1, 1, 100_000), Restart;
        /// Partitions of all topics together.
        max_partitions: u32 = count(1_000_000, 1, (1 << 24) - 1), Restart;
        /// Connections at a time, RocketMQ's clients' among them; more are closed at once.
        max_connections: u32 = count(10_000, 1, 1_000_000), Restart;
        /// Unanswered sends of one connection; beyond that it is not read.
        connection_requests: u32 = count(64, 1, 10_000), Restart;
        /// Largest request; a larger one closes its connection.
        max_request_bytes: u64 = bytes(100 * MIB, 64 * KIB, GIB), Restart;
        /// Memory for requests above 64 KiB of all connections together, RocketMQ's among them, which are read as it comes free; unless given, at least kafka.max_request_bytes.
        request_memory_bytes: u64 = bytes(256 * MIB, 16 * MIB, TIB), Restart;
        /// Time in which such a request has to bring its next MiB, or its rest, once it has its memory; a slower one closes its connection.
        upload_stall_ms: u64 = millis(30 * SECOND, 100, HOUR), Restart;
        /// Most bytes in one answer to a fetch, whatever the client asks for.
        fetch_max_bytes: u64 = bytes(55 * MIB, 64 * KIB, GIB), Restart;
        /// Memory for the fetch sessions of all connections together, 320 bytes a partition; a consumer beyond that names all its partitions in each fetch. 0 allows no sessions.
        fetch_session_bytes: u64 = bytes(64 * MIB, 0, TIB), Restart;
        /// Time without a request after which a connection is closed.
        idle_ms: u64 = millis(10 * MINUTE, SECOND, 7 * DAY), Restart;
        /// Time after which an idle idempotent producer is forgotten.
        producer_id_expiration_ms: u64 = millis(DAY, SECOND, 365 * DAY), Restart;
    }

    /// RocketMQ's clients.
    rocketmq: RocketMq {
        /// Address for RocketMQ's clients; the port minus two is listened on too where it is free, for the VIP channel of old ones.
        listen: Listen = listen("127.0.0.1:10911"), Restart;
        /// Address clients are told to connect to; a host's name is resolved at start, since its IP goes into message ids. Must be set for a wildcard listener.
        advertised: Advertised = advertised(), Restart;
        /// Address of the name server's face, which tells clients where topics are.
        namesrv: Listen = listen("127.0.0.1:9876"), Restart;
        /// Name servers of RocketMQ's to register with as a broker, each HOST:PORT, with `;` between, as in NAMESRV_ADDR.
        register_with: String = text("", 4_096), Restart;
        /// This broker's name, by which clients tell its queues from another's.
        broker_name: String = text("mainstem", 127), Restart;
        /// Name of the cluster the broker is in.
        cluster_name: String = text("DefaultCluster", 127), Restart;
        /// Whether sending to an unknown topic creates it, as RocketMQ does by the topic TBW102.
        auto_create_topics: bool = Switch(true), Restart;
        /// Most queues of a topic that is created so; the client may ask for fewer.
        default_queues: u32 = count(4, 1, 1_024), Restart;
        /// Largest body of a message; topics that RocketMQ's clients create get 64 KiB more as their max.message.bytes, or what log.inflight_bytes and log.segment_bytes allow.
        max_message_bytes: u64 = bytes(4 * MIB, 1, GIB), Restart;
        /// Largest request; a larger one closes its connection.
        max_request_bytes: u64 = bytes(16 * MIB, 64 * KIB, GIB), Restart;
        /// Unanswered sends of one connection; beyond that it is not read.
        connection_requests: u32 = count(1_024, 1, 100_000), Restart;
        /// Pulls of one connection under way or held at a time; more are told that the broker is busy.
        connection_pulls: u32 = count(4_096, 1, 1_000_000), Restart;
        /// Memory of each shard for Kafka's batches as RocketMQ's messages, so that reading one in parts converts it once; 0 keeps none.
        conversion_cache_bytes: u64 = bytes(16 * MIB, 0, 64 * GIB), Restart;
        /// Memory of each shard for Kafka's batches as RocketMQ's messages that wait to be sent to consumers; beyond it an answer ends with its first message.
        converted_answer_bytes: u64 = bytes(256 * MIB, MIB, 64 * GIB), Restart;
        /// Delays that RocketMQ's delay levels stand for, from level 1 on; consumers' retries begin at level 3.
        delay_levels: String = Text { default: DELAY_LEVELS, max_bytes: 4_096, form: "delays", check: check_levels }, Restart;
        /// Whether mqadmin's updateBrokerConfig may change what is live. Anyone who can connect could, so it is off (CVE-2023-33246).
        allow_config_update: bool = Switch(false), Restart;
        /// Pairs of a group and a topic whose consumption each shard counts for mqadmin's statsAll and consumerProgress, 500 bytes each and 40 for each of its queues.
        counted_groups: u32 = count(10_000, 0, 1_000_000), Restart;
        /// Time without a request after which a connection is closed; clients beat every 30 s.
        idle_ms: u64 = millis(2 * MINUTE, SECOND, 7 * DAY), Restart;
    }

    /// Messages that are to be delivered later: delayed ones, and those that consumers sent back.
    timers: Timers {
        /// Messages that may wait for their time, those that were recalled before it among them; each takes about 50 bytes of memory.
        max_pending: u32 = count(10_000_000, 1_000, 1_000_000_000), Restart;
        /// The longest delay a message may have, but for RocketMQ's delay levels.
        max_delay_ms: u64 = millis(3 * DAY, SECOND, 3_650 * DAY), Restart;
        /// Bytes of the log that waiting messages may keep from being dropped, and at least four times their own; older ones are stored once more.
        held_bytes: u64 = bytes(GIB, MIB, 1024 * TIB), Restart;
    }

    /// Consumer groups.
    groups: Groups {
        /// Shortest session timeout a member may ask for.
        min_session_timeout_ms: u64 = millis(6 * SECOND, 1, DAY), Restart;
        /// Longest session timeout a member may ask for.
        max_session_timeout_ms: u64 = millis(30 * MINUTE, 1, DAY), Restart;
        /// How long an empty group waits for more members before its first rebalance.
        initial_rebalance_delay_ms: u64 = millis(3 * SECOND, 0, 5 * MINUTE), Restart;
        /// Members of one group.
        max_size: u32 = count(10_000, 1, 1_000_000), Restart;
        /// Groups at a time.
        max_count: u32 = count(100_000, 1, 10_000_000), Restart;
        /// Time after which the offsets of a group without members are forgotten. RocketMQ's groups keep theirs.
        offsets_retention_ms: u64 = millis(7 * DAY, SECOND, 3_650 * DAY), Restart;
        /// Largest metadata a client may store with an offset.
        offset_metadata_max_bytes: u64 = bytes(4 * KIB, 0, MIB), Restart;
    }

    /// Reads of what is no longer in log.tail_bytes.
    cold: Cold {
        /// Reads one shard has under way at a time.
        reads: u32 = count(16, 1, 1_024), Restart;
        /// Largest single read; small ones that follow each other are made as large.
        read_bytes: u64 = bytes(256 * KIB, 64 * KIB, 16 * MIB).step(4 * KIB), Restart;
        /// Memory of each shard for what it read last, so that consumers side by side share reads; with less than cold.read_bytes nothing is read ahead.
        ahead_bytes: u64 = bytes(16 * MIB, 0, 64 * GIB), Restart;
        /// Memory of each shard for what was read and waits to be sent to consumers; beyond it an answer ends with its first batch or message.
        answer_bytes: u64 = bytes(256 * MIB, MIB, 64 * GIB), Restart;
    }

    /// Metrics and health over HTTP.
    admin: Admin {
        /// Address of `/metrics`, `/top`, `/healthz` and `/readyz`.
        listen: Listen = listen("127.0.0.1:9644"), Restart;
        /// Connections at a time; more are closed at once.
        max_connections: u32 = count(32, 1, 10_000), Restart;
        /// Time a connection has for its one request and the answer.
        timeout_ms: u64 = millis(10 * SECOND, 10, 10 * MINUTE), Restart;
    }

    /// What the broker says of itself on standard error.
    telemetry: Telemetry {
        /// Which log lines are written: a level, or levels by module as `info,mainstem::storage=debug`.
        log: String = Text { default: "info", max_bytes: 4_096, form: "filter", check: check_filter }, Restart;
        /// How log lines are written.
        format: LogFormat = OneOf(&[(LogFormat::Text, "text"), (LogFormat::Json, "json")]), Restart;
    }
}

/// RocketMQ's own.
const DELAY_LEVELS: &str = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";

fn check_levels(levels: &str) -> Result<(), String> {
    delay_levels(levels).map(drop)
}

/// The delays in `rocketmq.delay_levels`, which is written as RocketMQ's `messageDelayLevel`.
///
/// # Errors
/// The part that is none.
pub fn delay_levels(levels: &str) -> Result<Box<[Duration]>, String> {
    let level = |text: &str| {
        let unit_s = match text.chars().last()? {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            _ => return None,
        };
        let count: u32 = text[..text.len() - 1].parse().ok()?;
        Some(Duration::from_secs(u64::from(count) * unit_s))
    };
    let parts = levels.split_whitespace();
    let none = |text| format!("{text:?} is no delay such as 10s, 5m, 2h or 1d");
    let delays: Box<[_]> =
        parts.map(|text| level(text).ok_or_else(|| none(text))).collect::<Result<_, _>>()?;
    if delays.is_empty() { Err("must have a level".to_owned()) } else { Ok(delays) }
}

fn check_filter(filter: &str) -> Result<(), String> {
    let parsed = tracing_subscriber::EnvFilter::builder().parse(filter);
    parsed.map(drop).map_err(|error| format!("{filter:?} is no filter: {error}"))
}
