//! `raw rocketmq-send`: synchronous sends of many threads, or batches.

use super::consume::read_back;
use super::control::{Control, STALL_TIMEOUT, Team, Window};
use super::cursor::between;
use super::intervals;
use super::message_puller::{PULL_MESSAGES, PullerPlan};
use super::message_sender::SenderPlan;
use super::options::{RocketmqOptions, TimeOptions, WatchOptions};
use super::produce::PRODUCER;
use super::producer::Produced;
use super::remoting_setup::{GET_MAX_OFFSET, RemotingSetup};
use super::stamp::STAMP_BYTES;
use super::summary::RawReport;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use clap::Args;
use std::sync::atomic::Ordering::Relaxed;

/// What to send.
#[derive(Args, Debug, Clone)]
pub struct RocketmqSendArgs {
    #[command(flatten)]
    rocketmq: RocketmqOptions,
    /// Bytes of each message; at least 32.
    #[arg(long, default_value_t = 1024)]
    message_bytes: usize,
    /// Messages of a send; more than one are sent as a batch (320).
    #[arg(long, default_value_t = 1)]
    batch_messages: usize,
    /// Connections.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Senders that share each connection, each with one send unanswered: the threads of a producer.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Threads of the generator that serve the connections.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Leave out reading everything back afterwards, which finds loss, duplicates and disorder.
    #[arg(long)]
    no_read_back: bool,
    /// Messages in all, as whole sends, instead of a time.
    #[arg(long, conflicts_with = "seconds")]
    records: Option<u64>,
    #[command(flatten)]
    time: TimeOptions,
    #[command(flatten)]
    watch: WatchOptions,
}

/// Sends, looks at the end whether the queues have become longer by what was sent, and reads it back.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn send(args: &RocketmqSendArgs) -> Result<RawReport> {
    if args.message_bytes < STAMP_BYTES {
        return Err(PerfError::Failed(format!("a message has at least {STAMP_BYTES} bytes")));
    }
    let broker = args.rocketmq.broker()?;
    let topics = args.rocketmq.topics();
    let connections = args.connections.max(1);
    let messages = args.batch_messages.max(1);
    let plan = SenderPlan {
        broker: broker.clone(),
        topics: topics.clone(),
        connections,
        threads: args.threads.clamp(1, connections),
        slots: args.in_flight.max(1),
        messages,
        message_bytes: args.message_bytes,
        serialization: args.rocketmq.serialize,
        sends: args.records.map(|records| records.div_ceil(messages as u64)),
    };
    let mut setup = RemotingSetup::open(&broker.address)?;
    setup.create_topics(&topics)?;
    let began = setup.offsets(&topics, GET_MAX_OFFSET)?;

    let control = Control::new();
    let team: Team<Produced> =
        Team::start(PRODUCER, (0..plan.threads).map(|thread| plan.task(&control, thread)));
    team.watch(args.time.warmup_before(args.records));
    let window = Window::open(&control, args.watch.pid, vec![team.reading()])?;
    let intervals = intervals::start(team.gauges(), Vec::new());
    let ended = team.work(args.records.is_some(), args.time.seconds);
    let measured = window.close(&control, &[team.reading()])?;
    let intervals = intervals.finish().intervals;
    control.stop_sending.store(true, Relaxed);
    let produced = team.join()?;

    let mut report = RawReport::new("raw rocketmq-send", PRODUCER, args.message_bytes, measured);
    report.batch_records = Some(plan.messages as u64);
    report.partitions = Some(topics.places());
    let sent: u64 = produced.iter().map(|p| p.sent).sum();
    report.record(intervals, &produced, &[]);
    report.judge_progress(ended);
    let streams = report.judge_sending(produced);
    let began_at = began.iter().sum();
    report.report.failures.extend(fault_in_ends(&broker.address, &topics, began_at, sent));
    if !args.no_read_back {
        let mut setup = RemotingSetup::open_within(&broker.address, STALL_TIMEOUT)?;
        let cursors = between(began, setup.offsets(&topics, GET_MAX_OFFSET)?);
        let pulling = PullerPlan {
            broker,
            topics,
            connections: 1,
            threads: 1,
            messages: PULL_MESSAGES,
            serialization: args.rocketmq.serialize,
            only_run: Some(control.run),
        };
        let tasks = (0..pulling.threads).map(|thread| pulling.task(&control, &cursors, thread));
        report.judge_reading(&read_back(&control, tasks, sent)?, &streams);
    }
    Ok(report.finish())
}

/// What is wrong with the queues' ends, if they have not moved by what was sent. An answered send is
/// visible, so there is nothing to wait for.
fn fault_in_ends(address: &str, topics: &RawTopics, began_at: i64, sent: u64) -> Option<String> {
    let setup = RemotingSetup::open_within(address, STALL_TIMEOUT);
    match setup.and_then(|mut setup| setup.offsets(topics, GET_MAX_OFFSET)) {
        Err(error) => Some(error.to_string()),
        Ok(ends) => {
            let gained = ends.iter().sum::<i64>() - began_at;
            let text = || format!("the queues have {gained} more messages, {sent} were sent");
            (gained != sent as i64).then(text)
        }
    }
}
