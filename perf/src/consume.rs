//! `consume`: everything the topics hold, as fast as it goes, checked by sequence number.

use crate::error::{PerfError, Result};
use crate::payload::Header;
use crate::proc_stat::Meter;
use crate::reader::{FROM_BEGINNING, Reader, reader_config};
use crate::report::Report;
use crate::sequence_check::{Findings, SequenceCheck};
use crate::timeline::{Receipts, Timeline};
use crate::topic_set::{TopicArgs, TopicSet};
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many records one call takes at most, and how long it waits for that many.
const BATCH_RECORDS: usize = 2_000;
const BATCH_WAIT: Duration = Duration::from_millis(20);
/// Without any record for so long, the rest is held to be lost.
const STALL_TIMEOUT: Duration = Duration::from_secs(60);

/// What to consume.
#[derive(Args, Debug, Clone)]
pub struct ConsumeArgs {
    #[command(flatten)]
    topics: TopicArgs,
    /// How many records the topics hold. [default: as the partitions' offsets say]
    #[arg(long)]
    records: Option<u64>,
    /// How many clients read, each its share of the partitions from a thread of its own.
    #[arg(long, default_value_t = 1)]
    consumers: usize,
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pid: Option<u32>,
}

/// Reads every partition from its beginning to its end.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn consume(args: &ConsumeArgs) -> Result<Report> {
    let topics = args.topics.topic_set(1, 6);
    let expected = match args.records {
        Some(records) => records,
        None => records_held(&args.topics, &topics)?,
    };
    if expected == 0 {
        return Err(PerfError::Failed("the topics are empty".into()));
    }
    // Measured from before the first fetch: a client reads ahead, and what it had fetched before
    // a later start would count as served for nothing.
    let receipts = Arc::new(Receipts::default());
    let timeline = Timeline::start(Vec::new(), Some(receipts.clone()));
    let meter = Meter::start(args.pid)?;
    let reading = read_all(&args.topics, &topics, args.consumers, expected, &receipts.received)?;
    let (broker, client) = meter.finish()?;

    let records = receipts.received.load(Ordering::Relaxed);
    let record_bytes = reading.bytes / records.max(1);
    let mut report = Report::new("consume", records, record_bytes as usize, broker, client);
    report.record(timeline.finish());
    if records != expected {
        report.failures.push(format!("{records} records read, not {expected}"));
    }
    report.judge_reading(reading.check.findings());
    Ok(report.finish())
}

/// Reads so many records back without measuring.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn read_back(topic_args: &TopicArgs, topics: &TopicSet, records: u64) -> Result<Findings> {
    Ok(read_all(topic_args, topics, 1, records, &AtomicU64::new(0))?.check.findings())
}

/// Reads until so many records were received by all consumers together, or none come any more.
fn read_all(
    topic_args: &TopicArgs,
    topics: &TopicSet,
    consumers: usize,
    records: u64,
    received: &AtomicU64,
) -> Result<Reading> {
    let start = |consumer| Reading::start(topic_args, topics, consumer, consumers.max(1));
    let mut first = start(0)?;
    thread::scope(|scope| {
        let others = (1..consumers).map(|consumer| {
            let mut reading = start(consumer)?;
            Ok(scope.spawn(move || reading.read_until(records, received).map(|()| reading)))
        });
        let others = others.collect::<Result<Vec<_>>>()?;
        first.read_until(records, received)?;
        for other in others {
            let other = other.join().expect("a consumer does not panic")?;
            first.bytes += other.bytes;
            first.check.merge(other.check);
        }
        Ok(first)
    })
}

/// How many records the topics hold, by their partitions' offsets.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn records_held(topic_args: &TopicArgs, topics: &TopicSet) -> Result<u64> {
    let reader = Reader::new(&reader_config(topic_args)?, topics, 1)?;
    let mut held = 0;
    for topic in topics.names() {
        for partition in 0..topics.partitions() {
            let (low, high) = reader.watermarks(&topic, partition)?;
            held += u64::try_from(high - low).unwrap_or(0);
        }
    }
    Ok(held)
}

/// One consumer's reading under way.
struct Reading {
    reader: Reader,
    check: SequenceCheck,
    bytes: u64,
}

impl Reading {
    /// Begins to read every partition whose turn is this consumer's.
    fn start(
        topic_args: &TopicArgs,
        topics: &TopicSet,
        consumer: usize,
        consumers: usize,
    ) -> Result<Self> {
        let mut reader = Reader::new(&reader_config(topic_args)?, topics, BATCH_RECORDS)?;
        for topic in 0..topics.names().len() {
            for partition in 0..topics.partitions() {
                if (topic * topics.partitions() + partition) % consumers == consumer {
                    reader.start(topic, partition, FROM_BEGINNING)?;
                }
            }
        }
        Ok(Self { reader, check: SequenceCheck::default(), bytes: 0 })
    }

    fn read_until(&mut self, records: u64, received: &AtomicU64) -> Result<()> {
        let mut last_record = Instant::now();
        while received.load(Ordering::Relaxed) < records {
            let (check, bytes) = (&mut self.check, &mut self.bytes);
            let count = self.reader.read(BATCH_WAIT, |payload, partition| {
                *bytes += payload.len() as u64;
                check.observe(Header::decode(payload), partition);
            })?;
            received.fetch_add(count, Ordering::Relaxed);
            if count > 0 {
                last_record = Instant::now();
            } else if last_record.elapsed() > STALL_TIMEOUT {
                return Ok(());
            }
        }
        Ok(())
    }
}
