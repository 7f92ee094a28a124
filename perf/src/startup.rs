//! `startup` and `idle`: what a broker takes before it has done anything.

use crate::broker_process::{BrokerProcess, DataDirectory};
use crate::consume;
use crate::error::{PerfError, Result};
use crate::proc_stat::{self, ProcUse};
use crate::produce;
use crate::producer::ProducerArgs;
use crate::reader::{Reader, reader_config};
use crate::sequence_check::Findings;
use crate::system::{KafkaSystemArgs, settle_disk};
use crate::topic_set::{TopicArgs, TopicSet};
use crate::workload::Keys;
use clap::Args;
use serde::Serialize;
use std::thread::sleep;
use std::time::{Duration, Instant};

const FIRST_READ_TIMEOUT: Duration = Duration::from_secs(180);
const READ_WAIT: Duration = Duration::from_millis(5);

/// What to start, and how much it shall hold when it is killed.
#[derive(Args, Debug, Clone)]
pub struct StartupArgs {
    #[command(flatten)]
    system: KafkaSystemArgs,
    /// Gigabytes written before the broker is killed; 0 measures the empty start alone.
    #[arg(long, default_value_t = 5.0)]
    fill_gb: f64,
    /// The topics these are spread over.
    #[arg(long, default_value_t = 1_000)]
    topics: usize,
    /// Partitions of each.
    #[arg(long, default_value_t = 4)]
    partitions: usize,
    /// Bytes of each record.
    #[arg(long, default_value_t = 1024)]
    record_bytes: usize,
}

/// What to start, and how long to watch it.
#[derive(Args, Debug, Clone)]
pub struct IdleArgs {
    #[command(flatten)]
    system: KafkaSystemArgs,
    /// Time left alone after it is ready.
    #[arg(long, default_value_t = 5.0)]
    settle_seconds: f64,
    /// The measured time.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
}

/// Result of `startup`. Ready is the ready line of ours, and an accepting listener of Kafka's.
#[derive(Debug, Serialize)]
pub struct StartupReport {
    workload: &'static str,
    system: &'static str,
    /// Whether every acknowledged record was there after the kill.
    pub ok: bool,
    failures: Vec<String>,
    command: Vec<String>,
    /// From the start of the process on an empty directory until it is ready.
    empty_ready_ms: f64,
    restart: Option<Restart>,
}

/// What happened after kill -9.
#[derive(Debug, Serialize)]
struct Restart {
    /// Records acknowledged before the kill.
    records: u64,
    /// Partitions they were spread over.
    partitions: usize,
    /// From the start of the new process until it is ready.
    ready_ms: f64,
    /// From that start until a consumer holds a record.
    first_read_ms: f64,
    /// CPU seconds of the new process until then.
    cpu_seconds: f64,
    /// Resident memory then, in bytes.
    rss_bytes: u64,
    /// What reading everything back showed.
    findings: Findings,
}

/// Starts on nothing; then fills, kills, starts again and reads.
///
/// # Errors
/// The broker does not start, or cannot be used.
pub fn startup(args: &StartupArgs) -> Result<StartupReport> {
    let system = args.system.system()?;
    let places = args.system.places();
    let data = DataDirectory::create(places.data().join(format!("startup-{}", system.name())))?;
    let log = places.out.join(format!("logs/startup-{}.log", system.name()));
    system.prepare(data.path())?;
    settle_disk()?;
    let broker = system.start(data.path(), &log)?;
    let mut report = StartupReport {
        workload: "startup",
        system: system.name(),
        ok: true,
        failures: Vec::new(),
        command: std::env::args().collect(),
        empty_ready_ms: ms(broker.ready),
        restart: None,
    };
    let records = (args.fill_gb * 1e9 / args.record_bytes as f64) as u64;
    if records == 0 {
        return Ok(report);
    }
    let topic_args = args.topic_args(&broker);
    let topics = topic_args.topic_set(args.topics, args.partitions);
    produce::fill(&topic_args, &topics, records, &args.producer_args())?;
    drop(broker);

    let broker = system.start(data.path(), &log)?;
    let topic_args = args.topic_args(&broker);
    let first_read = first_read(&topic_args, &topics, &broker)?;
    let used = proc_stat::sample(broker.pid())?;
    let findings = consume::read_back(&topic_args, &topics, records)?;
    report.failures.extend(fault(&findings));
    report.ok = report.failures.is_empty();
    report.restart = Some(Restart {
        records,
        partitions: topics.all_partitions(),
        ready_ms: ms(broker.ready),
        first_read_ms: ms(first_read),
        cpu_seconds: used.cpu_seconds(),
        rss_bytes: used.rss_bytes,
        findings,
    });
    Ok(report)
}

/// What became of acknowledged records, if not all of them are there once and in order.
fn fault(findings: &Findings) -> Option<String> {
    let Findings { missing, duplicates, out_of_order, .. } = findings;
    let text = format!(
        "after the kill {missing} acknowledged records are missing, {duplicates} are doubled, \
         {out_of_order} are out of order"
    );
    (missing + duplicates + out_of_order > 0).then_some(text)
}

/// Reads one record from the last partition; the time counts from the start of the process. The
/// offset is given as a number, so that the first answer needed is that to a fetch.
fn first_read(
    topic_args: &TopicArgs,
    topics: &TopicSet,
    broker: &BrokerProcess,
) -> Result<Duration> {
    let mut reader = Reader::new(&reader_config(topic_args)?, &topics.last_topic(), 1)?;
    reader.start(0, topics.partitions() - 1, 0)?;
    let deadline = Instant::now() + FIRST_READ_TIMEOUT;
    while Instant::now() < deadline {
        // A partition that is still being recovered may be refused at first.
        if reader.read(READ_WAIT, |_, _| ()).unwrap_or(0) > 0 {
            return Ok(broker.started.elapsed());
        }
    }
    Err(PerfError::Failed("no record could be read after the restart".into()))
}

/// Result of `idle`.
#[derive(Debug, Serialize)]
pub struct IdleReport {
    workload: &'static str,
    system: &'static str,
    command: Vec<String>,
    /// Resident memory at the end, in bytes.
    rss_bytes: u64,
    /// What the broker used while it had nothing to do.
    broker: ProcUse,
}

/// Starts on nothing and watches.
///
/// # Errors
/// The broker does not start, or ends.
pub fn idle(args: &IdleArgs) -> Result<IdleReport> {
    let system = args.system.system()?;
    let places = args.system.places();
    let data = DataDirectory::create(places.data().join(format!("idle-{}", system.name())))?;
    let log = places.out.join(format!("logs/idle-{}.log", system.name()));
    system.prepare(data.path())?;
    let mut broker = system.start(data.path(), &log)?;
    sleep(Duration::from_secs_f64(args.settle_seconds));
    let before = proc_stat::sample(broker.pid())?;
    sleep(Duration::from_secs_f64(args.seconds));
    let used = proc_stat::sample(broker.pid())?.since(&before);
    if broker.has_ended() {
        return Err(PerfError::Failed("the broker ended while nobody asked for anything".into()));
    }
    Ok(IdleReport {
        workload: "idle",
        system: system.name(),
        command: std::env::args().collect(),
        rss_bytes: used.rss_bytes,
        broker: used,
    })
}

impl StartupArgs {
    fn topic_args(&self, broker: &BrokerProcess) -> TopicArgs {
        TopicArgs {
            brokers: broker.address.clone(),
            topic: "startup".into(),
            topics: Some(self.topics),
            partitions: Some(self.partitions),
            set: Vec::new(),
        }
    }

    fn producer_args(&self) -> ProducerArgs {
        ProducerArgs {
            record_bytes: self.record_bytes,
            linger_ms: Some(5),
            batch_bytes: 1_000_000,
            compression: "none".into(),
            idempotence: true,
            queue_records: 400_000,
            producers: 1,
            keys: Keys::None,
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loss_doubles_and_disorder_fail_the_run() {
        let right = Findings { foreign: 1, ..Findings::default() };
        assert_eq!(fault(&right), None);
        for wrong in [
            Findings { missing: 1, ..Findings::default() },
            Findings { duplicates: 1, ..Findings::default() },
            Findings { out_of_order: 1, ..Findings::default() },
        ] {
            assert!(fault(&wrong).is_some(), "{wrong:?}");
        }
    }
}
