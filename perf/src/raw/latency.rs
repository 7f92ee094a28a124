//! `raw latency`: records at a fixed rate, timed from when they were to be sent to a tail consumer's
//! hands; beside idle connections and a cold reader, if asked for.

use super::consume::{self, CONSUMER};
use super::consumer::Consumed;
use super::control::{Control, Team, Window};
use super::cursor::following;
use super::idle::IdleConnections;
use super::intervals;
use super::options::{
    BatchSize, FetchOptions, SendOptions, TimeOptions, TopicOptions, WatchOptions,
};
use super::produce::{self, PRODUCER, describe};
use super::producer::Pace;
use super::summary::{ColdReaderReport, RawReport, merged};
use crate::error::Result;
use crate::latency::rate;
use crate::report::Percentiles;
use clap::Args;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// The histogram of what was to be sent while a cold reader was at work, from then to the tail
/// consumer's hands.
pub const COLD_END_TO_END_LATENCY: &str = "coldEndToEndLatency";
/// The name of the cold reader's thread in a report.
const COLD_READER: &str = "cold reader";
/// Time for all to connect, so that the first records are not late already.
const START: Duration = Duration::from_millis(500);
/// How long a cold reader may take.
const COLD_TIMEOUT: Duration = Duration::from_secs(600);

/// What to send, how often, and beside what.
#[derive(Args, Debug, Clone)]
pub struct LatencyArgs {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    send: SendOptions,
    /// Records a second.
    #[arg(long, default_value_t = 2_000.0, value_parser = rate)]
    rate: f64,
    /// Records of a batch, which is sent when its last one is due and timed from its first.
    #[arg(long, default_value_t = 1)]
    batch_records: usize,
    #[command(flatten)]
    fetch: FetchOptions,
    #[command(flatten)]
    time: TimeOptions,
    #[command(flatten)]
    watch: WatchOptions,
    /// Connections that are opened before, each for one exchange, and then do nothing.
    #[arg(long, default_value_t = 0)]
    idle_connections: usize,
    /// Gigabytes that a cold consumer reads meanwhile, from the beginning of --cold-topic. The run
    /// goes on for --seconds before that and after it.
    #[arg(long)]
    cold_reader: Option<f64>,
    /// What it reads, written before, as by `raw produce`.
    #[arg(long, default_value = "cold", requires = "cold_reader")]
    cold_topic: String,
    /// Partitions of the cold topic.
    #[arg(long, default_value_t = 6, requires = "cold_reader")]
    cold_partitions: u32,
}

/// Sends at the rate whatever comes back, so that a broker that stalls is charged for every record
/// that had to wait. The partitions' ends tell at last whether there are more records than were read.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn latency(args: &LatencyArgs) -> Result<RawReport> {
    let pid = args.watch.pid;
    let idle = IdleConnections::open(&args.topics.brokers, args.idle_connections, pid)?;
    let control = Control::new();
    let topics = args.topics.topics();
    let ends = topics.create(&args.topics.brokers)?;
    let began_at: i64 = ends.iter().sum();
    let pace = Pace::Rate {
        records_per_second: args.rate,
        start_ns: control.now_ns() + START.as_nanos() as u64,
    };
    let plan = args.send.plan(&args.topics, pace, BatchSize::Records(args.batch_records))?;
    let fetching = args.fetch.plan(&args.topics, Some(&control));
    let consumers = consume::start(&fetching, &control, &following(ends), CONSUMER);
    let producers = produce::start(&plan, &control);
    producers.watch(START + args.time.warmup());
    let readings = || vec![producers.reading(), consumers.reading()];
    let window = Window::open(&control, pid, readings())?;
    let intervals = intervals::start(producers.gauges(), consumers.gauges());
    producers.watch(args.time.seconds);
    let cold = args.cold_reader.map(|gb| read_cold(args, gb, &control)).transpose()?;
    if cold.is_some() {
        producers.watch(args.time.seconds);
    }
    let measured = window.close(&control, &readings())?;
    let intervals = intervals.finish().intervals;
    let (produced, consumed) = consume::drain(producers, consumers, &control)?;

    let mut report = RawReport::new("raw latency", PRODUCER, args.send.record_bytes, measured);
    describe(&mut report, &plan);
    report.record(intervals, &produced, &consumed);
    report.report.sender_waits = Some(produced.iter().map(|p| p.stalls).sum());
    let late = merged(produced.iter().map(|p| &p.lateness));
    report.sent_late = late.as_ref().map(Percentiles::of);
    let streams = produce::judge_written(&mut report, &plan, began_at, produced);
    report.judge_reading(&consumed, &streams);
    if args.idle_connections > 0 {
        report.idle_connections = Some(idle.report()?);
    }
    report.cold_reader = cold.map(|cold| cold.report(&mut report, &consumed));
    Ok(report.finish())
}

/// What a cold reader did.
struct ColdReading {
    asked_gb: f64,
    gb: f64,
    seconds: f64,
    read: Vec<Consumed>,
}

/// Reads back what was written long ago, over a connection and a thread of its own.
fn read_cold(args: &LatencyArgs, gb: f64, control: &Control) -> Result<ColdReading> {
    let topics = TopicOptions {
        topic: args.cold_topic.clone(),
        topics: 1,
        partitions: args.cold_partitions,
        ..args.topics.clone()
    };
    let fetch = FetchOptions { consumer_connections: 1, consumer_threads: 1, ..args.fetch.clone() };
    let mut plan = fetch.plan(&topics, None);
    plan.bytes_max = (gb * 1e9) as u64;
    let cursors = consume::through(&plan)?;
    control.cold.begin(control.now_ns());
    let began = Instant::now();
    // A run of its own, so that it can be ended while the others go on reading.
    let own = Control::new();
    let team: Team<Consumed> = consume::start(&plan, &own, &cursors, COLD_READER);
    team.watch(COLD_TIMEOUT);
    own.stop_reading.store(true, Relaxed);
    control.cold.end(control.now_ns());
    let seconds = began.elapsed().as_secs_f64();
    let read = team.join()?;
    let bytes: u64 = read.iter().map(|c| c.bytes).sum();
    Ok(ColdReading { asked_gb: gb, gb: bytes as f64 / 1e9, seconds, read })
}

impl ColdReading {
    fn report(self, report: &mut RawReport, tail: &[Consumed]) -> ColdReaderReport {
        let Self { asked_gb, gb, seconds, read } = self;
        let mut found = consume::findings(&read, &[]);
        // It stops where it has read enough.
        found.missing -= read.iter().map(|c| c.unread).sum::<u64>();
        let faults = found.missing + found.duplicates + found.out_of_order;
        if faults > 0 || gb < asked_gb {
            let text =
                format!("the cold reader read {gb} of {asked_gb} GB, {faults} faults in them");
            report.report.failures.push(text);
        }
        let latency = merged(tail.iter().map(|c| &c.cold_latency));
        latency.iter().for_each(|h| report.report.keep(COLD_END_TO_END_LATENCY, h));
        ColdReaderReport { gb, seconds, end_to_end_latency: latency.as_ref().map(Percentiles::of) }
    }
}
