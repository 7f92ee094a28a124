//! `produce` and `topics`: as many records as the broker takes, spread evenly over all partitions.

use crate::consume::{read_back, records_held};
use crate::error::{PerfError, Result};
use crate::keys::KeySource;
use crate::payload::{Header, PayloadSource, new_run};
use crate::proc_stat::Meter;
use crate::producer::{Deliveries, Producer, ProducerArgs};
use crate::report::Report;
use crate::timeline::Timeline;
use crate::topic_set::{TopicArgs, TopicSet};
use clap::Args;
use std::sync::Arc;
use std::thread;
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
    /// Leaves the records unread, for another workload to measure how they are read.
    #[arg(long)]
    no_read_back: bool,
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
    let held_before = records_held(&args.topics, topics)?;
    let warmup = args.warmup_records.unwrap_or(default_warmup);
    let mut senders = Senders::new(&args.topics, &args.producer, topics, args.run_length)?;
    senders.number(warmup + records);
    senders.send(warmup)?;

    let timeline = Timeline::start(senders.deliveries(), None);
    let meter = Meter::start(args.pid)?;
    senders.send(records)?;
    let (broker, client) = meter.finish()?;

    let mut report = Report::new(workload, records, args.producer.record_bytes, broker, client);
    report.record(timeline.finish());
    report.judge_deliveries(warmup + records, &senders.deliveries());
    drop(senders);
    let held = records_held(&args.topics, topics)?;
    let (gained, sent) = (held - held_before, warmup + records);
    if gained != sent {
        report.failures.push(format!("the broker holds {gained} of {sent} records"));
    }
    if !args.no_read_back {
        report.judge_reading(read_back(&args.topics, topics, held)?);
    }
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
    let mut senders = Senders::new(topic_args, args, topics, 64)?;
    senders.number(records);
    senders.send(records)?;
    let deliveries = senders.deliveries();
    let acknowledged: u64 = deliveries.iter().map(|d| d.acknowledged()).sum();
    if acknowledged == records {
        return Ok(());
    }
    let last = deliveries.iter().find_map(|d| d.last_error()).unwrap_or_default();
    Err(PerfError::Failed(format!("{acknowledged} of {records} records acknowledged: {last}")))
}

/// All clients that write, each with its share of the records.
struct Senders(Vec<Sender>);

impl Senders {
    fn new(
        topic_args: &TopicArgs,
        args: &ProducerArgs,
        topics: &TopicSet,
        run_length: u64,
    ) -> Result<Self> {
        let producers = 0..args.producers.max(1);
        let sender = |index| Sender::new(topic_args, args, topics, run_length, index);
        Ok(Self(producers.map(sender).collect::<Result<_>>()?))
    }

    /// Says how many records there will be in all: each of them carries that number.
    fn number(&mut self, records: u64) {
        let senders = self.0.len() as u64;
        for (sender, index) in self.0.iter_mut().zip(0..) {
            sender.total = share(records, senders, index);
        }
    }

    /// Sends the next records and waits until each is acknowledged or given up.
    fn send(&mut self, records: u64) -> Result<()> {
        if let [sender] = &mut self.0[..] {
            return sender.send(records);
        }
        let senders = self.0.len() as u64;
        let sent_before: u64 = self.0.iter().map(|s| s.next).sum();
        thread::scope(|scope| {
            let threads: Vec<_> = (self.0.iter_mut().zip(0..))
                .map(|(sender, index)| {
                    // The shares of all parts add up to the share of the whole.
                    let until = share(sent_before + records, senders, index);
                    scope.spawn(move || sender.send(until - sender.next))
                })
                .collect();
            threads.into_iter().try_for_each(|t| t.join().expect("a sender does not panic"))
        })
    }

    fn deliveries(&self) -> Vec<Arc<Deliveries>> {
        self.0.iter().map(|s| s.producer.deliveries().clone()).collect()
    }
}

/// What the one with this index has to do of so much work.
pub fn share(work: u64, among: u64, index: u64) -> u64 {
    work / among + u64::from(index < work % among)
}

/// Numbers the records of one run and sends them.
struct Sender {
    producer: Producer,
    payloads: PayloadSource,
    keys: KeySource,
    epoch: Instant,
    run: u64,
    /// What sets its choice of keys apart from that of the others.
    offset: u64,
    next: u64,
    total: u64,
}

impl Sender {
    fn new(
        topic_args: &TopicArgs,
        args: &ProducerArgs,
        topics: &TopicSet,
        run_length: u64,
        index: usize,
    ) -> Result<Self> {
        let (epoch, run) = (Instant::now(), new_run().wrapping_add(index as u64));
        Ok(Self {
            producer: Producer::new(topic_args, args, topics, epoch)?,
            payloads: PayloadSource::new(args.record_bytes, run),
            epoch,
            keys: KeySource::new(args.keys, topics.all_partitions(), run_length),
            run,
            offset: (index as u64) << 40,
            next: 0,
            total: 0,
        })
    }

    /// Sends the next records of the run and waits until each is acknowledged or given up.
    fn send(&mut self, records: u64) -> Result<()> {
        let end = self.next + records;
        while self.next < end {
            let (partition, key) = self.keys.choose(self.offset + self.next);
            let intended_ns = self.epoch.elapsed().as_nanos() as u64;
            let (run, sequence, total) = (self.run, self.next, self.total);
            let payload = self.payloads.next(&Header { run, sequence, total, intended_ns });
            if self.producer.send(partition, key, payload, intended_ns)? {
                self.next += 1;
                if self.next.is_multiple_of(SENDS_PER_POLL) {
                    self.producer.poll();
                }
            } else if self.producer.deliveries().errors() > 0 {
                // The run has failed already; the rest would only time out in turn.
                break;
            } else {
                self.producer.pause();
            }
        }
        self.producer.flush(FLUSH_TIMEOUT)
    }
}
