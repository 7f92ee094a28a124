//! `latency`: records at a fixed rate, each timed from when it was to be sent, whether or not the
//! sender was on time. A broker that stalls is charged for every record that had to wait.

use crate::error::{PerfError, Result};
use crate::keys::KeySource;
use crate::payload::{Header, PayloadSource, new_run};
use crate::proc_stat::Meter;
use crate::produce::share;
use crate::producer::{Producer, ProducerArgs};
use crate::reader::{Reader, reader_config};
use crate::report::Report;
use crate::sequence_check::SequenceCheck;
use crate::timeline::{Receipts, Timeline};
use crate::topic_set::{TopicArgs, TopicSet};
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

const FLUSH_TIMEOUT: Duration = Duration::from_secs(60);
const READ_WAIT: Duration = Duration::from_millis(100);
/// How long a receiver waits for records after none came.
const LAST_RECORDS: Duration = Duration::from_secs(30);

/// What to send, and how often.
#[derive(Args, Debug, Clone)]
pub struct LatencyArgs {
    #[command(flatten)]
    topics: TopicArgs,
    #[command(flatten)]
    producer: ProducerArgs,
    /// Records a second.
    #[arg(long, default_value_t = 2_000.0, value_parser = rate)]
    rate: f64,
    /// The measured time.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Time at the same rate before it.
    #[arg(long, default_value_t = 5.0)]
    warmup_seconds: f64,
    /// How many clients read, each its share of the partitions from a thread of its own.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pid: Option<u32>,
}

/// Reads records a second.
///
/// # Errors
/// When that is no positive number.
pub fn rate(text: &str) -> std::result::Result<f64, String> {
    let rate = text.parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0);
    rate.ok_or_else(|| "it has to be a positive number".to_owned())
}

/// When each record is to be sent. Several producers share the rate and take turns.
#[derive(Clone, Copy)]
struct Schedule {
    epoch: Instant,
    /// The first producer's run; the others' are the numbers after it.
    run: u64,
    producers: u64,
    rate: f64,
    warmup: u64,
    total: u64,
}

impl Schedule {
    fn new(args: &LatencyArgs) -> Self {
        let warmup = (args.rate * args.warmup_seconds) as u64;
        Self {
            // A little time for the clients to connect, so that the first records are not late.
            epoch: Instant::now() + Duration::from_secs(1),
            run: new_run(),
            producers: args.producer.producers.max(1) as u64,
            rate: args.rate,
            warmup,
            total: warmup + (args.rate * args.seconds) as u64,
        }
    }

    fn intended_ns(&self, number: u64) -> u64 {
        (number as f64 * 1e9 / self.rate) as u64
    }

    fn at(&self, number: u64) -> Instant {
        self.epoch + Duration::from_nanos(self.intended_ns(number))
    }

    /// Whether a record is one of this schedule's.
    fn has(&self, header: &Header) -> bool {
        header.run.wrapping_sub(self.run) < self.producers
    }
}

/// Sends at the rate from some threads, receives in others, and takes the counters from one more,
/// so that no measurement holds up another.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn latency(args: &LatencyArgs) -> Result<Report> {
    let mut args = args.clone();
    args.producer.linger_ms.get_or_insert(0);
    let topics = args.topics.topic_set(1, 6);
    topics.create(&args.topics.base_config())?;
    let readers = readers(&args, &topics)?;
    let schedule = Schedule::new(&args);
    let producers: Vec<Producer> = (0..schedule.producers)
        .map(|_| Producer::new(&args.topics, &args.producer, &topics, schedule.epoch))
        .collect::<Result<_>>()?;
    let deliveries: Vec<_> = producers.iter().map(|p| p.deliveries().clone()).collect();

    let receipts = Arc::new(Receipts::default());
    let receivers: Vec<_> = readers
        .into_iter()
        .map(|reader| {
            let receipts = receipts.clone();
            thread::spawn(move || receive(reader, schedule, &receipts))
        })
        .collect();
    let senders: Vec<_> = (producers.into_iter().zip(0..))
        .map(|(producer, index)| {
            let keys = KeySource::new(args.producer.keys, topics.all_partitions(), 1);
            let payloads = PayloadSource::new(args.producer.record_bytes, schedule.run);
            thread::spawn(move || send(&producer, payloads, keys, schedule, index))
        })
        .collect();
    sleep_until(schedule.at(schedule.warmup));
    // A few records of the warm-up may still be counted after this.
    let timeline = Timeline::start(deliveries.clone(), Some(receipts.clone()));
    let meter = Meter::start(args.pid)?;
    senders.into_iter().try_for_each(join)?;
    let mut check = SequenceCheck::default();
    for receiver in receivers {
        check.merge(join(receiver)?);
    }
    let (broker, client) = meter.finish()?;

    let records = schedule.total - schedule.warmup;
    let mut report = Report::new("latency", records, args.producer.record_bytes, broker, client);
    report.record(timeline.finish());
    report.judge_deliveries(schedule.total, &deliveries);
    let mut findings = check.findings();
    // The check knows only the runs of which it saw a record.
    let received = receipts.received.load(Ordering::Relaxed);
    findings.missing = schedule.total - (received - findings.duplicates - findings.foreign);
    report.judge_reading(findings);
    Ok(report.finish())
}

/// Clients at the end of every partition, each with its share of them.
fn readers(args: &LatencyArgs, topics: &TopicSet) -> Result<Vec<Reader>> {
    let config = reader_config(&args.topics)?;
    let mut readers = (0..args.consumers.max(1))
        .map(|_| Reader::new(&config, topics, 1))
        .collect::<Result<Vec<_>>>()?;
    let count = readers.len();
    for (i, topic) in topics.names().iter().enumerate() {
        for partition in 0..topics.partitions() {
            let reader = &mut readers[(i * topics.partitions() + partition) % count];
            let (_, end) = reader.watermarks(topic, partition)?;
            reader.start(i, partition, end)?;
        }
    }
    Ok(readers)
}

fn join<T>(thread: thread::JoinHandle<Result<T>>) -> Result<T> {
    thread.join().unwrap_or_else(|_| Err(PerfError::Failed("a thread panicked".into())))
}

fn sleep_until(when: Instant) {
    thread::sleep(when.saturating_duration_since(Instant::now()));
}

fn send(
    producer: &Producer,
    mut payloads: PayloadSource,
    mut keys: KeySource,
    schedule: Schedule,
    index: u64,
) -> Result<()> {
    let Schedule { producers, .. } = schedule;
    let (run, total) = (schedule.run.wrapping_add(index), share(schedule.total, producers, index));
    for sequence in 0..total {
        let number = sequence * producers + index;
        sleep_until(schedule.at(number));
        let intended_ns = schedule.intended_ns(number);
        let payload = payloads.next(&Header { run, sequence, total, intended_ns });
        let (partition, key) = keys.choose(number);
        while !producer.send(partition, key, payload, intended_ns)? {
            producer.pause();
        }
        producer.note_delay(intended_ns);
        producer.poll();
    }
    producer.flush(FLUSH_TIMEOUT)
}

fn receive(mut reader: Reader, schedule: Schedule, receipts: &Receipts) -> Result<SequenceCheck> {
    let mut check = SequenceCheck::default();
    let end = schedule.at(schedule.total);
    let mut last_record = schedule.epoch;
    while receipts.received.load(Ordering::Relaxed) < schedule.total {
        let count = reader.read(READ_WAIT, |payload, partition| {
            let now = schedule.epoch.elapsed().as_nanos() as u64;
            // Another run's record is none of this one's business.
            let Some(header) = Header::decode(payload).filter(|h| schedule.has(h)) else { return };
            receipts.received.fetch_add(1, Ordering::Relaxed);
            let took = now.saturating_sub(header.intended_ns);
            receipts.end_to_end_ns.lock().expect("no holder panics").saturating_record(took);
            check.observe(Some(header), partition);
        })?;
        let now = Instant::now();
        if count > 0 {
            last_record = now;
        } else if now > end && now.saturating_duration_since(last_record) > LAST_RECORDS {
            break;
        }
    }
    Ok(check)
}
