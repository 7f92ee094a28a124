//! `produce` and `topics`: as many records as the broker takes, spread evenly over all partitions.

use crate::error::{PerfError, Result};
use crate::payload::{Header, PayloadSource, new_run};
use crate::proc_stat::Meter;
use crate::producer::{Producer, ProducerArgs};
use crate::report::{Percentiles, Report};
use crate::topic_set::{TopicArgs, TopicSet};
use clap::Args;
use std::time::{Duration, Instant};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(300);
/// How many records are handed over between two looks at the acknowledgements.
const SENDS_PER_POLL: u64 = 256;

/// What to produce.
#[derive(Args, Debug, Clone)]
pub struct ProduceArgs {
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    producer: ProducerArgs,
    /// Records in the measured time. [default: 4000000; `topics`: 500000]
    #[arg(long)]
    records: Option<u64>,
    /// Records before it, acknowledged before the measured time begins. [default: a tenth;
    /// `topics`: one for each partition, so that what a first record costs is nearly all measured]
    #[arg(long)]
    warmup_records: Option<u64>,
    /// How many records in a row go to one partition.
    #[arg(long, default_value_t = 1)]
    run_length: u64,
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pid: Option<u32>,
}

/// The even load of `produce`: few partitions.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn produce(args: &ProduceArgs) -> Result<Report> {
    let topics = args.topics.topic_set(1, 6);
    let records = args.records.unwrap_or(4_000_000);
    run("produce", args, &topics, records, records / 10)
}

/// The wide load of `topics`: many topics, each record to the next partition. What waits in the
/// client, about 25 records for each partition, makes its batches.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn topics(args: &ProduceArgs) -> Result<Report> {
    let topics = args.topics.topic_set(1_000, 4);
    let warmup = topics.all_partitions() as u64;
    run("topics", args, &topics, args.records.unwrap_or(500_000), warmup)
}

fn run(
    workload: &'static str,
    args: &ProduceArgs,
    topics: &TopicSet,
    records: u64,
    default_warmup: u64,
) -> Result<Report> {
    topics.create(&args.topics.base_config())?;
    let warmup = args.warmup_records.unwrap_or(default_warmup);
    let mut sender =
        Sender::new(&args.topics, &args.producer, topics, args.run_length, warmup + records)?;
    sender.send(warmup)?;
    sender.producer.take_latency();

    let meter = Meter::start(args.pid)?;
    sender.send(records)?;
    let (broker, client) = meter.finish()?;

    let producer = &sender.producer;
    let mut report = Report::new(workload, records, args.producer.record_bytes, broker, client);
    report.acknowledged_latency = Some(Percentiles::of(&producer.take_latency()));
    let (acknowledged, errors) = (producer.acknowledged(), producer.errors());
    report.judge_sending(warmup + records, acknowledged, errors, producer.last_error());
    Ok(report.finish())
}

/// Writes so many records as fast as it goes and returns when all are acknowledged.
///
/// # Errors
/// One of them was not.
pub fn fill(
    topic_args: &TopicArgs,
    topics: &TopicSet,
    records: u64,
    args: &ProducerArgs,
) -> Result<()> {
    topics.create(&topic_args.base_config())?;
    // A few dozen records in a row make batches of a size that fills quickly.
    let mut sender = Sender::new(topic_args, args, topics, 64, records)?;
    sender.send(records)?;
    let acknowledged = sender.producer.acknowledged();
    if acknowledged == records {
        return Ok(());
    }
    let last = sender.producer.last_error().unwrap_or_default();
    Err(PerfError::Failed(format!("{acknowledged} of {records} records acknowledged: {last}")))
}

/// Numbers the records of one run and sends them.
struct Sender {
    producer: Producer,
    payloads: PayloadSource,
    epoch: Instant,
    run: u64,
    run_length: u64,
    partitions: u64,
    next: u64,
    total: u64,
}

impl Sender {
    fn new(
        topic_args: &TopicArgs,
        args: &ProducerArgs,
        topics: &TopicSet,
        run_length: u64,
        total: u64,
    ) -> Result<Self> {
        let (epoch, run) = (Instant::now(), new_run());
        Ok(Self {
            producer: Producer::new(topic_args, args, topics, epoch)?,
            payloads: PayloadSource::new(args.record_bytes, run),
            epoch,
            run,
            run_length: run_length.max(1),
            partitions: topics.all_partitions() as u64,
            next: 0,
            total,
        })
    }

    /// Sends the next records of the run and waits until each is acknowledged or given up.
    fn send(&mut self, records: u64) -> Result<()> {
        let end = self.next + records;
        while self.next < end {
            let partition = (self.next / self.run_length % self.partitions) as usize;
            let intended_ns = self.epoch.elapsed().as_nanos() as u64;
            let (run, sequence, total) = (self.run, self.next, self.total);
            let payload = self.payloads.next(&Header { run, sequence, total, intended_ns });
            if self.producer.send(partition, payload, intended_ns)? {
                self.next += 1;
                if self.next.is_multiple_of(SENDS_PER_POLL) {
                    self.producer.poll();
                }
            } else if self.producer.errors() > 0 {
                // The run has failed already; the rest would only time out in turn.
                break;
            } else {
                self.producer.pause();
            }
        }
        self.producer.flush(FLUSH_TIMEOUT)
    }
}
