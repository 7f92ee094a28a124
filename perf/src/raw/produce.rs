//! `raw produce`: prepared batches as fast as the broker takes them.

use super::control::{Control, Team, Window};
use super::options::{
    BatchOptions, FlightOptions, SendOptions, TimeOptions, TopicOptions, WatchOptions,
};
use super::producer::{Produced, ProducerPlan};
use super::setup_connection::LATEST;
use super::summary::RawReport;
use crate::error::Result;
use clap::Args;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// The name of the sending threads in a report.
pub const PRODUCER: &str = "producer";
/// How long written records may take to become visible.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(30);

/// What to produce.
#[derive(Args, Debug, Clone)]
pub struct ProduceArgs {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    send: SendOptions,
    #[command(flatten)]
    batch: BatchOptions,
    #[command(flatten)]
    flight: FlightOptions,
    /// Records in all, as whole batches, instead of a time.
    #[arg(long, conflicts_with = "seconds")]
    records: Option<u64>,
    #[command(flatten)]
    time: TimeOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Starts the sending threads of a plan.
pub fn start(plan: &ProducerPlan, control: &Arc<Control>) -> Team<Produced> {
    Team::start(PRODUCER, (0..plan.threads).map(|thread| plan.task(control, thread)))
}

/// Writes, and looks at the end whether the partitions have become longer by what was written.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn produce(args: &ProduceArgs) -> Result<RawReport> {
    let mut plan = args.send.plan(&args.topics, args.flight.pace(), args.batch.size())?;
    plan.batches = args.records.map(|records| records.div_ceil(plan.batch.records));
    let began_at: i64 = plan.topics.create(&plan.brokers)?.iter().sum();

    let control = Control::new();
    let team = start(&plan, &control);
    team.watch(args.time.warmup_before(args.records));
    let window = Window::open(&control, args.watch.pid, vec![team.reading()])?;
    match plan.batches {
        Some(_) => team.wait(),
        None => team.watch(args.time.seconds),
    }
    let measured = window.close(&control, &[team.reading()])?;
    control.stop_sending.store(true, Relaxed);
    let produced = team.join()?;

    let sent: u64 = produced.iter().map(|p| p.sent).sum();
    let mut report = RawReport::new("raw produce", PRODUCER, args.send.record_bytes, measured);
    describe(&mut report, &plan);
    report.judge_sending(produced);
    judge_visible(&mut report, &plan, began_at, sent)?;
    Ok(report.finish())
}

/// Notes what a plan sends.
pub fn describe(report: &mut RawReport, plan: &ProducerPlan) {
    report.batch_records = Some(plan.batch.records);
    report.batch_bytes = Some(plan.batch.bytes.len());
    report.partitions = Some(plan.topics.places());
}

/// Looks whether the partitions have become longer by what was sent. Without acknowledgements some
/// of it may still be on its way.
///
/// # Errors
/// The broker refuses to tell the offsets.
pub fn judge_visible(
    report: &mut RawReport,
    plan: &ProducerPlan,
    began_at: i64,
    sent: u64,
) -> Result<()> {
    let deadline = Instant::now() + VISIBLE_TIMEOUT;
    loop {
        let ends = plan.topics.offsets(&plan.brokers, LATEST)?;
        let gained = ends.iter().sum::<i64>() - began_at;
        if gained == sent as i64 {
            return Ok(());
        }
        if Instant::now() > deadline {
            let text = format!("the partitions have {gained} more records, {sent} were sent");
            report.report.failures.push(text);
            return Ok(());
        }
        sleep(Duration::from_millis(50));
    }
}
