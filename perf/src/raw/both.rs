//! `raw both`: in, and the same out at once, by consumers at the tail.

use super::consume::{self, CONSUMER};
use super::control::{Control, Window};
use super::cursor::following;
use super::intervals;
use super::options::{
    BatchOptions, FetchOptions, FlightOptions, SendOptions, TimeOptions, TopicOptions, WatchOptions,
};
use super::produce::{self, PRODUCER, describe};
use super::summary::RawReport;
use crate::error::Result;
use clap::Args;

/// What to send and fetch.
#[derive(Args, Debug, Clone)]
pub struct BothArgs {
    #[command(flatten)]
    topics: TopicOptions,
    #[command(flatten)]
    send: SendOptions,
    #[command(flatten)]
    batch: BatchOptions,
    #[command(flatten)]
    flight: FlightOptions,
    #[command(flatten)]
    fetch: FetchOptions,
    #[command(flatten)]
    time: TimeOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Writes while the tail is read. The rates are those of the measured time; every record of the run
/// is waited for and checked, and the partitions' ends tell whether there are more behind it.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn both(args: &BothArgs) -> Result<RawReport> {
    let control = Control::new();
    let plan = args.send.plan(&args.topics, args.flight.pace(), args.batch.size())?;
    let ends = plan.topics.create(&plan.brokers)?;
    let began_at: i64 = ends.iter().sum();
    let fetching = args.fetch.plan(&args.topics, Some(&control));
    let consumers = consume::start(&fetching, &control, &following(ends), CONSUMER);
    let producers = produce::start(&plan, &control);
    producers.watch(args.time.warmup());
    let readings = || vec![producers.reading(), consumers.reading()];
    let window = Window::open(&control, args.watch.pid, readings())?;
    let intervals = intervals::start(producers.gauges(), consumers.gauges());
    producers.watch(args.time.seconds);
    let measured = window.close(&control, &readings())?;
    let intervals = intervals.finish().intervals;
    let (produced, consumed) = consume::drain(producers, consumers, &control)?;

    let mut report = RawReport::new("raw both", PRODUCER, args.send.record_bytes, measured);
    describe(&mut report, &plan);
    report.record(intervals, &produced, &consumed);
    let streams = produce::judge_written(&mut report, &plan, began_at, produced);
    report.judge_reading(&consumed, &streams);
    Ok(report.finish())
}
