//! `raw queues`: very many partitions with one record each.

use super::control::{Control, Reading, Window};
use super::options::{BatchSize, FlightOptions, SendOptions, TopicOptions, WatchOptions, seconds};
use super::produce::{self, PRODUCER, describe};
use super::summary::{QueuesReport, RawReport};
use crate::error::Result;
use clap::Args;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What to create and fill.
#[derive(Args, Debug, Clone)]
pub struct QueuesArgs {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    send: SendOptions,
    #[command(flatten)]
    flight: FlightOptions,
    /// Time after the last answer before the broker's memory is looked at.
    #[arg(long, value_parser = seconds, default_value = "5")]
    settle_seconds: Duration,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Creates the topics and writes one batch of one record to each partition. What the broker used
/// counts from the first request on, creation included; its resident memory is that at the end.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn queues(args: &QueuesArgs) -> Result<RawReport> {
    let mut plan = args.send.plan(&args.topics, args.flight.pace(), BatchSize::Records(1))?;
    plan.batches = Some(u64::from(plan.topics.places()));
    let control = Control::new();
    let nothing = Reading::nothing(PRODUCER, plan.threads);
    let window = Window::open(&control, args.watch.pid, vec![nothing])?;
    let began = Instant::now();
    let began_at: i64 = plan.topics.create(&plan.brokers)?.iter().sum();
    let created = began.elapsed();
    let team = produce::start(&plan, &control);
    let ended = team.wait();
    let filled = began.elapsed() - created;
    sleep(args.settle_seconds);
    let measured = window.close(&control, &[team.reading()])?;
    control.stop_sending.store(true, Relaxed);
    let produced = team.join()?;

    let mut report = RawReport::new("raw queues", PRODUCER, args.send.record_bytes, measured);
    describe(&mut report, &plan);
    report.record(Vec::new(), &produced, &[]);
    report.judge_progress(ended);
    produce::judge_written(&mut report, &plan, began_at, produced);
    let places = f64::from(plan.topics.places());
    report.queues = Some(QueuesReport {
        create_seconds: created.as_secs_f64(),
        fill_seconds: filled.as_secs_f64(),
        rss_bytes_per_partition: report.report.broker.as_ref().map(|b| b.rss_bytes as f64 / places),
    });
    Ok(report.finish())
}
