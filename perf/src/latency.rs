//! `latency`: records at a fixed rate, each timed from when it was to be sent, whether or not the
//! sender was on time. A broker that stalls is charged for every record that had to wait.

use crate::error::{PerfError, Result};
use crate::payload::{Header, PayloadSource, new_run};
use crate::proc_stat::Meter;
use crate::producer::{Producer, ProducerArgs, new_histogram};
use crate::reader::{Reader, reader_config};
use crate::report::{Percentiles, Report};
use crate::sequence_check::SequenceCheck;
use crate::topic_set::TopicArgs;
use clap::Args;
use hdrhistogram::Histogram;
use std::thread;
use std::time::{Duration, Instant};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
const READ_WAIT: Duration = Duration::from_millis(100);
/// How long the receiver goes on after the last record was to be sent.
const LAST_RECORDS: Duration = Duration::from_secs(30);

/// What to send, and how often.
#[derive(Args, Debug, Clone)]
pub struct LatencyArgs {
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    producer: ProducerArgs,
    /// Records a second.
    #[arg(long, default_value_t = 2_000.0)]
    rate: f64,
    /// The measured time.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Time at the same rate before it.
    #[arg(long, default_value_t = 5.0)]
    warmup_seconds: f64,
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pid: Option<u32>,
}

/// When each record is to be sent.
#[derive(Clone, Copy)]
struct Schedule {
    epoch: Instant,
    run: u64,
    rate: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    fn intended_ns(&self, sequence: u64) -> u64 {
        (sequence as f64 * 1e9 / self.rate) as u64
    }

    fn at(&self, sequence: u64) -> Instant {
        self.epoch + Duration::from_nanos(self.intended_ns(sequence))
    }
}

/// Sends at the rate from one thread, receives in another, and takes the counters from a third, so
/// that no measurement holds up another.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn latency(args: &LatencyArgs) -> Result<Report> {
    let mut args = args.clone();
    args.producer.linger_ms.get_or_insert(0);
    let topics = args.topics.topic_set(1, 6);
    topics.create(&args.topics.base_config())?;

    let mut reader = Reader::new(&reader_config(&args.topics)?, &topics, 1)?;
    for (i, topic) in topics.names().iter().enumerate() {
        for partition in 0..topics.partitions() {
            let (_, end) = reader.watermarks(topic, partition)?;
            reader.start(i, partition, end)?;
        }
    }
    let warmup = (args.rate * args.warmup_seconds) as u64;
    // A little time for the clients to connect, so that the first records are not late already.
    let schedule = Schedule {
        epoch: Instant::now() + Duration::from_secs(1),
        run: new_run(),
        rate: args.rate,
        warmup,
        total: warmup + (args.rate * args.seconds) as u64,
    };
    let producer = Producer::new(&args.topics, &args.producer, &topics, schedule.epoch)?;
    let payloads = PayloadSource::new(args.producer.record_bytes, schedule.run);
    let partitions = topics.all_partitions() as u64;

    let receiver = thread::spawn(move || receive(reader, schedule));
    let sender = thread::spawn(move || send(producer, payloads, schedule, partitions));
    sleep_until(schedule.at(schedule.warmup));
    let meter = Meter::start(args.pid)?;
    let producer = join(sender)?;
    let (end_to_end, check) = join(receiver)?;
    let (broker, client) = meter.finish()?;

    let records = schedule.total - schedule.warmup;
    let mut report = Report::new("latency", records, args.producer.record_bytes, broker, client);
    report.acknowledged_latency = Some(Percentiles::of(&producer.take_latency()));
    report.end_to_end_latency = Some(Percentiles::of(&end_to_end));
    let (acknowledged, errors) = (producer.acknowledged(), producer.errors());
    report.judge_sending(schedule.total, acknowledged, errors, producer.last_error());
    let mut findings = check.findings();
    if end_to_end.is_empty() {
        findings.missing = schedule.total;
    }
    report.judge_reading(findings);
    Ok(report.finish())
}

fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(PerfError::Failed("a thread panicked".into())))
}

fn sleep_until(when: Instant) {
    thread::sleep(when.saturating_duration_since(Instant::now()));
}

fn send(
    producer: Producer,
    mut payloads: PayloadSource,
    schedule: Schedule,
    partitions: u64,
) -> Result<Producer> {
    let Schedule { run, total, .. } = schedule;
    for sequence in 0..total {
        if sequence == schedule.warmup {
            // A few acknowledgements of the warm-up may still come after this.
            producer.take_latency();
        }
        sleep_until(schedule.at(sequence));
        let intended_ns = schedule.intended_ns(sequence);
        let payload = payloads.next(&Header { run, sequence, total, intended_ns });
        while !producer.send((sequence % partitions) as usize, payload, intended_ns)? {
            producer.pause();
        }
        producer.poll();
    }
    producer.flush(FLUSH_TIMEOUT)?;
    Ok(producer)
}

fn receive(mut reader: Reader, schedule: Schedule) -> Result<(Histogram<u64>, SequenceCheck)> {
    let (mut latency, mut check) = (new_histogram(), SequenceCheck::default());
    let deadline = schedule.at(schedule.total) + LAST_RECORDS;
    let mut received = 0;
    while received < schedule.total && Instant::now() < deadline {
        reader.read(READ_WAIT, |payload, partition| {
            let now = schedule.epoch.elapsed().as_nanos() as u64;
            let header = Header::decode(payload).filter(|h| h.run == schedule.run);
            // Another run's record is none of this one's business.
            let Some(header) = header else { return };
            received += 1;
            if header.sequence >= schedule.warmup {
                latency.saturating_record(now.saturating_sub(header.intended_ns));
            }
            check.observe(Some(header), partition);
        })?;
    }
    Ok((latency, check))
}
