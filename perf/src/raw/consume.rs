//! `raw consume`: everything the topics hold, or what comes to their ends.

use super::consumer::{Consumed, ConsumerPlan};
use super::control::{Control, Reading, Team, Window};
use super::cursor::{Cursor, between, following, held};
use super::options::{FetchOptions, TimeOptions, TopicOptions, WatchOptions};
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
    if expected == 0 {
        return Err(PerfError::Failed("the topics are empty".into()));
    }
    // From before the first fetch: what came before would count as read for nothing.
    let nothing = Reading::nothing(CONSUMER, plan.threads);
    let window = Window::open(&control, args.watch.pid, vec![nothing])?;
    let team = start(&plan, &control, &cursors, CONSUMER);
    read_on(&team, expected, &control);
    let measured = window.close(&control, &[team.reading()])?;
    let consumed = team.join()?;

    let record_bytes = consumed.iter().map(|c| c.record_bytes).max().unwrap_or(0);
    let mut report = RawReport::new("raw consume", CONSUMER, record_bytes, measured);
    report.partitions = Some(plan.topics.places());
    judge_count(&mut report, &consumed, expected);
    report.judge_reading(&consumed, &[]);
    Ok(report.finish())
}

fn follow(args: &ConsumeArgs, plan: &ConsumerPlan, control: &Arc<Control>) -> Result<RawReport> {
    let ends = plan.topics.offsets(&plan.brokers, LATEST)?;
    let team = start(plan, control, &following(ends), CONSUMER);
    team.watch(args.time.warmup());
    let window = Window::open(control, args.watch.pid, vec![team.reading()])?;
    team.watch(args.time.seconds);
    let measured = window.close(control, &[team.reading()])?;
    control.stop_reading.store(true, Relaxed);
    let consumed = team.join()?;
    let record_bytes = consumed.iter().map(|c| c.record_bytes).max().unwrap_or(0);
    let mut report = RawReport::new("raw consume --follow", CONSUMER, record_bytes, measured);
    report.partitions = Some(plan.topics.places());
    report.judge_reading(&consumed, &[]);
    Ok(report.finish())
}

/// Waits until so many records were read, or none come any more; then the reading ends.
pub fn read_on<T: Send + 'static>(team: &Team<T>, records: u64, control: &Control) {
    let (mut seen, mut since) = (team.records(), Instant::now());
    while team.records() < records && !team.all_ended() && since.elapsed() < STALL_TIMEOUT {
        sleep(LOOK);
        if team.records() > seen {
            (seen, since) = (team.records(), Instant::now());
        }
    }
    control.stop_reading.store(true, Relaxed);
}

/// Notes whether as many records were read as there were to be.
pub fn judge_count(report: &mut RawReport, consumed: &[Consumed], expected: u64) {
    let records: u64 = consumed.iter().map(|c| c.records).sum();
    if records != expected {
        report.report.failures.push(format!("{records} records read, not {expected}"));
    }
}

/// What all threads found; `sent` has the streams' lengths where they are known.
pub fn findings(consumed: &[Consumed], sent: &[(u32, u64)]) -> Findings {
    let unread: u64 = consumed.iter().map(|c| c.unread).sum();
    let mut all = StreamCheck::joined(consumed.iter().map(|c| &c.check)).findings(sent);
    all.missing += unread;
    all
}
