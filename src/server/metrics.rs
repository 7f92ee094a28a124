//! What the admin port tells, collected from the shards and the log when asked for.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::{all_shards::each, busiest::Busiest, housekeeper::HousekeeperFigures};
use crate::{
    admin::{Collecting, Family, MetricsSource, Snapshot, Top},
    base::{Stage, Stages},
    broker::{Mailboxes, ShardFigures},
    gateway::{RequestMemory, kafka::FetchSessionMemory},
    storage::commit_log::{
        CommitLog,
        segment::{SegmentPool, Segments},
    },
};

/// The broker as the admin port sees it. Shared between threads.
pub struct Metrics {
    /// The log.
    pub log: Arc<CommitLog>,
    /// Its segments.
    pub segments: Arc<Segments>,
    /// Prepared ones.
    pub pool: Arc<SegmentPool>,
    /// All shards' mailboxes.
    pub mailboxes: Arc<Mailboxes>,
    /// Memory for requests.
    pub request_memory: Arc<RequestMemory>,
    /// Memory for fetch sessions.
    pub fetch_sessions: Arc<FetchSessionMemory>,
    /// Connections of clients open now.
    pub connections: Arc<AtomicUsize>,
    /// Listeners accept.
    pub ready: Arc<AtomicBool>,
    /// Damaged stretches of the log that the start found.
    pub holes: u64,
    /// What the housekeeper counts.
    pub housekeeper: Arc<HousekeeperFigures>,
    /// Who is busiest.
    pub busiest: Busiest,
}

impl MetricsSource for Metrics {
    fn collect(&self) -> Collecting<'_> {
        Box::pin(async move {
            let mut stages = Stages::default();
            let mut figures = ShardFigures::default();
            let counted = each(&self.mailboxes, |broker| {
                Box::pin(async move { (broker.stages(), broker.figures()) })
            });
            for (part, counted) in counted.await {
                stages.merge(&part);
                figures.merge(&counted);
            }
            let (writes, written) = self.log.figures();
            stages.add(Stage::Write, &writes);
            let mut snapshot = Snapshot::default();
            snapshot.push(Family::stages(&stages));
            self.log_families(&mut snapshot, written);
            shard_families(&mut snapshot, &figures);
            let open = self.connections.load(Ordering::Relaxed) as u64;
            snapshot.push(gauge("connections", "Open connections of clients.", open));
            let taken = self.request_memory.taken_bytes();
            let help = "Memory that large requests have taken, of kafka.request_memory_bytes.";
            snapshot.push(gauge("kafka_request_memory_bytes", help, taken));
            session_families(&mut snapshot, &self.fetch_sessions);
            snapshot
        })
    }

    fn top(&self) -> Collecting<'_, Top> {
        Box::pin(self.busiest.top(&self.mailboxes))
    }

    fn ready(&self) -> Result<(), String> {
        if let Some(failure) = self.log.failure() {
            return Err(failure.to_owned());
        }
        if self.ready.load(Ordering::Relaxed) { Ok(()) } else { Err("starting".to_owned()) }
    }
}

impl Metrics {
    fn log_families(&self, snapshot: &mut Snapshot, written: u64) {
        let log = &self.log;
        let waiting = log.reserved().0.saturating_sub(log.durable().0);
        let families = [
            Family::counter("log_written_bytes_total", "Bytes written to the commit log.")
                .count(&[], written),
            gauge(
                "log_durable_position",
                "Position up to which the log is durable.",
                log.durable().0,
            ),
            gauge("log_inflight_bytes", "Bytes reserved and not durable yet.", waiting),
            gauge(
                "log_disk_bytes",
                "Disk space of the log's segments, which log.max_bytes limits; without prepared ones.",
                self.segments.disk_bytes(),
            ),
            gauge(
                "log_ready_bytes",
                "Disk space of segments that are prepared and not in use yet.",
                self.pool.ready_bytes(),
            ),
            Family::counter(
                "log_max_bytes_cuts_total",
                "Times that a partition lost messages before their time to log.max_bytes.",
            )
            .count(&[], self.housekeeper.cut_partitions.load(Ordering::Relaxed)),
            gauge("log_segments", "Segments of the log.", self.segments.all().len() as u64),
            gauge(
                "log_disk_full",
                "1 while sends are refused for want of disk space.",
                u64::from(log.disk_full()),
            ),
            gauge(
                "log_holes",
                "Damaged stretches of the log; with any, the broker only serves what is left.",
                self.holes,
            ),
            Family::counter(
                "index_damaged_total",
                "Index files found damaged while the broker ran, and rebuilt from the log.",
            )
            .count(&[], self.housekeeper.damaged_runs.load(Ordering::Relaxed)),
            gauge(
                "log_stopped",
                "1 while nothing can be written: a write failed, or the log is damaged.",
                u64::from(log.failure().is_some()),
            ),
        ];
        families.into_iter().for_each(|family| snapshot.push(family));
    }
}

fn shard_families(snapshot: &mut Snapshot, figures: &ShardFigures) {
    let families = [
        Family::counter("records_produced_total", "Records appended.")
            .count(&[], figures.records_in),
        Family::counter("bytes_produced_total", "Payload bytes appended.")
            .count(&[], figures.bytes_in),
        Family::counter("batches_produced_total", "Record batches appended.")
            .count(&[], figures.batches_in),
        Family::counter("records_fetched_total", "Records found for fetches.")
            .count(&[], figures.records_out),
        Family::counter("messages_pulled_total", "Messages that RocketMQ's consumers pulled.")
            .count(&[], figures.messages_pulled),
        Family::counter("bytes_pulled_total", "Bytes of the messages pulled.")
            .count(&[], figures.bytes_pulled),
        Family::counter("bytes_fetched_total", "Payload bytes found for fetches.")
            .count(&[], figures.bytes_out),
        Family::counter("damaged_reads_total", "Frames read from disk that did not verify.")
            .count(&[], figures.damaged_reads),
        Family::counter("converted_messages_total", "Messages read in the other dialect.")
            .count(&[("to", "kafka")], figures.converted_to_kafka)
            .count(&[("to", "rocketmq")], figures.converted_to_rocketmq),
        Family::counter(
            "converted_messages_lossy_total",
            "Converted messages that lack what the other dialect has no place for.",
        )
        .count(&[], figures.converted_lossy),
        Family::counter("conversion_cache_total", "Kafka's batches read as RocketMQ's messages.")
            .count(&[("found", "yes")], figures.conversion_cache_hits)
            .count(&[("found", "no")], figures.conversion_cache_misses),
        gauge(
            "conversion_cache_bytes",
            "Memory of Kafka's batches kept as RocketMQ's messages.",
            figures.conversion_cache_bytes,
        ),
        gauge("partitions", "Partitions.", figures.queues),
        gauge("groups", "Consumer groups.", figures.groups),
        gauge(
            "timers_pending",
            "Delayed messages that wait for their time.",
            figures.timers_pending,
        ),
        Family::counter("timers_fired_total", "Delayed messages whose time came.")
            .count(&[], figures.timers_fired),
        Family::counter(
            "timers_undeliverable_total",
            "Delayed messages that could not be delivered: their topic was deleted, or they are lost.",
        )
        .count(&[], figures.timers_undeliverable),
    ];
    families.into_iter().for_each(|family| snapshot.push(family));
}

fn session_families(snapshot: &mut Snapshot, sessions: &FetchSessionMemory) {
    let families = [
        gauge("kafka_fetch_sessions", "Fetch sessions of Kafka's consumers.", sessions.sessions()),
        gauge(
            "kafka_fetch_session_bytes",
            "Memory that fetch sessions have taken, of kafka.fetch_session_bytes.",
            sessions.taken_bytes(),
        ),
        Family::counter(
            "kafka_incremental_fetches_total",
            "Fetches in a session, which name only what has changed.",
        )
        .count(&[], sessions.fetches()),
    ];
    families.into_iter().for_each(|family| snapshot.push(family));
}

fn gauge(name: &'static str, help: &'static str, value: u64) -> Family {
    Family::gauge(name, help).count(&[], value)
}
