//! `raw consume`: everything the topics hold, or what comes to their ends.

use super::consumer::{Consumed, ConsumerPlan};
use super::control::{Control, Gauge, Reading, Team, Window};
use super::cursor::{Cursor, between, following, held};
use super::intervals;
use super::options::{FetchOptions, TimeOptions, TopicOptions, WatchOptions};
use super::producer::Produced;
use super::setup_connection::{EARLIEST, LATEST};
use super::stream_check::StreamCheck;
use super::summary::RawReport;
use crate::error::{PerfError, Result};
use crate::sequence_check::Findings;
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name of the receiving threads in a report.
pub const CONSUMER: &str = "consumer";
const LOOK: Duration = Duration::from_millis(10);
/// Without any record for so long, the rest is held to be lost.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);

/// What to consume.
#[derive(Args, Debug, Clone)]
pub struct ConsumeArgs {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    fetch: FetchOptions,
    /// Begin at the ends of the partitions and follow them for `--seconds`, instead of reading
    /// what they hold.
    #[arg(long)]
    follow: bool,
    /// How many records there are to be. [default: as the partitions' offsets say]
    #[arg(long)]
    records: Option<u64>,
    #[command(flatten)]
    time: TimeOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Starts the receiving threads of a plan.
pub fn start(
    plan: &ConsumerPlan,
    control: &Arc<Control>,
    cursors: &[Cursor],
    name: &'static str,
) -> Team<Consumed> {
    Team::start(name, (0..plan.threads).map(|thread| plan.task(control, cursors, thread)))
}

/// Cursors through all that the partitions hold now.
///
/// # Errors
/// The broker refuses.
pub fn through(plan: &ConsumerPlan) -> Result<Vec<Cursor>> {
    let starts = plan.topics.offsets(&plan.brokers, EARLIEST)?;
    let ends = plan.topics.offsets(&plan.brokers, LATEST)?;
    Ok(between(starts, ends))
}

/// Reads, from the start of the partitions or at their end.
///
/// # Errors
/// The broker cannot be reached, or refuses; there is nothing to read.
pub fn consume(args: &ConsumeArgs) -> Result<RawReport> {
    let control = Control::new();
    let plan = args.fetch.plan(&args.topics, None);
    if args.follow {
        return follow(args, &plan, &control);
    }
    let cursors = through(&plan)?;
    let expected = args.records.unwrap_or_else(|| held(&cursors));
    let tasks = (0..plan.threads).map(|thread| plan.task(&control, &cursors, thread));
    let mut report = read_all("raw consume", &control, args.watch.pid, tasks, expected)?;
    report.partitions = Some(plan.topics.places());
    Ok(report.finish())
}

/// Lets receiving threads read until there are so many records, measured as a whole.
///
/// # Errors
/// A thread failed; there is nothing to read.
pub fn read_all<W>(
    workload: &'static str,
    control: &Control,
    pid: Option<u32>,
    tasks: impl ExactSizeIterator<Item = W>,
    expected: u64,
) -> Result<RawReport>
where
    W: FnOnce(Arc<Gauge>) -> Result<Consumed> + Send + 'static,
{
    if expected == 0 {
        return Err(PerfError::Failed("there is nothing to read".into()));
    }
    // From before the first request: what came before would count as read for nothing.
    let nothing = Reading::nothing(CONSUMER, tasks.len());
    let window = Window::open(control, pid, vec![nothing])?;
    let team = Team::start(CONSUMER, tasks);
    let intervals = intervals::start(Vec::new(), team.gauges());
    read_on(&team, expected, control);
    let measured = window.close(control, &[team.reading()])?;
    let intervals = intervals.finish().intervals;
    let consumed = team.join()?;

    let records: u64 = consumed.iter().map(|c| c.records).sum();
    let mut report = RawReport::new(workload, CONSUMER, record_bytes(&consumed), measured);
    report.record(intervals, &[], &consumed);
    if records != expected {
        report.report.failures.push(format!("{records} records read, not {expected}"));
    }
    report.judge_reading(&consumed, &[]);
    Ok(report)
}

/// Lets receiving threads read what was sent before, unmeasured.
///
/// # Errors
/// A thread failed.
pub fn read_back<W>(
    control: &Control,
    tasks: impl ExactSizeIterator<Item = W>,
    sent: u64,
) -> Result<Vec<Consumed>>
where
    W: FnOnce(Arc<Gauge>) -> Result<Consumed> + Send + 'static,
{
    let team = Team::start(CONSUMER, tasks);
    read_on(&team, sent, control);
    team.join()
}

/// Bytes of a record, as the threads saw them last.
fn record_bytes(consumed: &[Consumed]) -> usize {
    consumed.iter().map(|c| c.record_bytes).max().unwrap_or(0)
}

fn follow(args: &ConsumeArgs, plan: &ConsumerPlan, control: &Arc<Control>) -> Result<RawReport> {
    let ends = plan.topics.offsets(&plan.brokers, LATEST)?;
    let team = start(plan, control, &following(ends), CONSUMER);
    team.watch(args.time.warmup());
    let window = Window::open(control, args.watch.pid, vec![team.reading()])?;
    let intervals = intervals::start(Vec::new(), team.gauges());
    team.watch(args.time.seconds);
    let measured = window.close(control, &[team.reading()])?;
    let intervals = intervals.finish().intervals;
    control.stop_reading.store(true, Relaxed);
    let consumed = team.join()?;
    let bytes = record_bytes(&consumed);
    let mut report = RawReport::new("raw consume --follow", CONSUMER, bytes, measured);
    report.record(intervals, &[], &consumed);
    report.partitions = Some(plan.topics.places());
    report.judge_reading(&consumed, &[]);
    Ok(report.finish())
}

/// Ends the sending, and the reading once all that was sent has come.
///
/// # Errors
/// A thread failed.
pub fn drain(
    producers: Team<Produced>,
    consumers: Team<Consumed>,
    control: &Control,
) -> Result<(Vec<Produced>, Vec<Consumed>)> {
    control.stop_sending.store(true, Relaxed);
    let produced = producers.join()?;
    read_on(&consumers, produced.iter().map(|p| p.sent).sum(), control);
    Ok((produced, consumers.join()?))
}

/// Waits until so many records were read, or none come any more; then the reading ends.
fn read_on(team: &Team<Consumed>, records: u64, control: &Control) {
    let (mut seen, mut since) = (team.records(), Instant::now());
    while team.records() < records && !team.all_ended() && since.elapsed() < STALL_TIMEOUT {
        sleep(LOOK);
        if team.records() > seen {
            (seen, since) = (team.records(), Instant::now());
        }
    }
    control.stop_reading.store(true, Relaxed);
}

/// What all threads found; `sent` has the streams' lengths where they are known.
pub fn findings(consumed: &[Consumed], sent: &[(u32, u64)]) -> Findings {
    let unread: u64 = consumed.iter().map(|c| c.unread).sum();
    let mut all = StreamCheck::joined(consumed.iter().map(|c| &c.check)).findings(sent);
    all.missing += unread;
    all
}
