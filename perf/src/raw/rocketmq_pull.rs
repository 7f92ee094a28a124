//! `raw rocketmq-pull`: everything the queues hold.

use super::consume::read_all;
use super::control::Control;
use super::cursor::{between, held};
use super::message_puller::{PULL_MESSAGES, PullerPlan};
use super::options::{RocketmqOptions, WatchOptions};
use super::remoting_setup::{GET_MAX_OFFSET, GET_MIN_OFFSET, RemotingSetup};
use super::summary::RawReport;
use crate::error::Result;
use clap::Args;

/// What to pull.
#[derive(Args, Debug, Clone)]
pub struct RocketmqPullArgs {
    #[command(flatten)]
    rocketmq: RocketmqOptions,
    /// Connections, each with one pull under way for each of its queues.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Threads that serve them.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Messages of a pull at most.
    #[arg(long, default_value_t = PULL_MESSAGES)]
    pull_messages: u32,
    /// How many messages there are to be. [default: as the queues' offsets say]
    #[arg(long)]
    records: Option<u64>,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Pulls every queue from its beginning to its end.
///
/// # Errors
/// The broker cannot be reached, or refuses; there is nothing to read.
pub fn pull(args: &RocketmqPullArgs) -> Result<RawReport> {
    let broker = args.rocketmq.broker()?;
    let topics = args.rocketmq.topics();
    let mut setup = RemotingSetup::open(&broker.address)?;
    let starts = setup.offsets(&topics, GET_MIN_OFFSET)?;
    let ends = setup.offsets(&topics, GET_MAX_OFFSET)?;
    let cursors = between(starts, ends);
    let expected = args.records.unwrap_or_else(|| held(&cursors));
    let connections = args.connections.clamp(1, topics.places() as usize);
    let plan = PullerPlan {
        broker,
        topics,
        connections,
        threads: args.threads.clamp(1, connections),
        messages: args.pull_messages.max(1),
        serialization: args.rocketmq.serialize,
        only_run: None,
    };
    let control = Control::new();
    let tasks = (0..plan.threads).map(|thread| plan.task(&control, &cursors, thread));
    let mut report = read_all("raw rocketmq-pull", &control, args.watch.pid, tasks, expected)?;
    report.partitions = Some(plan.topics.places());
    Ok(report.finish())
}
