//! `raw produce`: prepared batches as fast as the broker takes them.

use super::consume::read_back;
use super::control::{Control, Team, Window};
use super::cursor::between;
use super::intervals;
use super::options::{
    BatchOptions, FetchOptions, FlightOptions, SendOptions, TimeOptions, TopicOptions, WatchOptions,
};
use super::producer::{Produced, ProducerPlan};
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
    #[command(flatten)]
    fetch: FetchOptions,
    /// Leave out reading everything back afterwards, which finds loss, duplicates and disorder.
    #[arg(long)]
    no_read_back: bool,
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

/// Writes, looks at the end whether the partitions have become longer by what was written, and reads
/// it back.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn produce(args: &ProduceArgs) -> Result<RawReport> {
    let mut plan = args.send.plan(&args.topics, args.flight.pace(), args.batch.size())?;
    plan.batches = args.records.map(|records| records.div_ceil(plan.batch.records));
    let began = plan.topics.create(&plan.brokers)?;

    let control = Control::new();
    let team = start(&plan, &control);
    team.watch(args.time.warmup_before(args.records));
    let window = Window::open(&control, args.watch.pid, vec![team.reading()])?;
    let intervals = intervals::start(team.gauges(), Vec::new());
    let ended = team.work(args.records.is_some(), args.time.seconds);
    let measured = window.close(&control, &[team.reading()])?;
    let intervals = intervals.finish().intervals;
    control.stop_sending.store(true, Relaxed);
    let produced = team.join()?;

    let mut report = RawReport::new("raw produce", PRODUCER, args.send.record_bytes, measured);
    describe(&mut report, &plan);
    report.record(intervals, &produced, &[]);
    report.judge_progress(ended);
    let sent = produced.iter().map(|p| p.sent).sum();
    let streams = judge_written(&mut report, &plan, began.iter().sum(), produced);
    if !args.no_read_back {
        let fetching = args.fetch.plan(&args.topics, Some(&control));
        let cursors = between(began, plan.topics.ends(&plan.brokers)?);
        let tasks = (0..fetching.threads).map(|thread| fetching.task(&control, &cursors, thread));
        report.judge_reading(&read_back(&control, tasks, sent)?, &streams);
    }
    Ok(report.finish())
}

/// Notes what a plan sends.
pub fn describe(report: &mut RawReport, plan: &ProducerPlan) {
    report.batch_records = Some(plan.batch.records);
    report.batch_bytes = Some(plan.batch.bytes.len());
    report.partitions = Some(plan.topics.places());
}

/// Notes how the sending went, whose streams' lengths it returns, and what came of it.
pub fn judge_written(
    report: &mut RawReport,
    plan: &ProducerPlan,
    began_at: i64,
    produced: Vec<Produced>,
) -> Vec<(u32, u64)> {
    let sent = produced.iter().map(|p| p.sent).sum();
    let streams = report.judge_sending(produced);
    report.report.failures.extend(fault_in_ends(plan, began_at, sent));
    streams
}

/// What is wrong with the partitions' ends, if they have not moved by what was sent: no less, and no
/// more, which a consumer that stops at the last record does not see. Without acknowledgements some
/// of it may still be on its way.
fn fault_in_ends(plan: &ProducerPlan, began_at: i64, sent: u64) -> Option<String> {
    let deadline = Instant::now() + VISIBLE_TIMEOUT;
    loop {
        let ends = match plan.topics.ends(&plan.brokers) {
            Ok(ends) => ends,
            Err(error) => return Some(error.to_string()),
        };
        let gained = ends.iter().sum::<i64>() - began_at;
        if gained == sent as i64 {
            return None;
        }
        // More than was sent never become fewer.
        if gained > sent as i64 || Instant::now() > deadline {
            return Some(format!("the partitions have {gained} more records, {sent} were sent"));
        }
        sleep(Duration::from_millis(50));
    }
}

#[cfg(test)]
mod tests {
    use super::super::control::Measured;
    use super::super::producer::Pace;
    use super::super::record_batch::PreparedBatch;
    use super::super::topics::RawTopics;
    use super::*;
    use crate::proc_stat::ProcUse;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;

    /// A broker whose only partition ends at the next of these offsets each time it is asked.
    fn broker(ends: Vec<i64>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for end in ends {
                answer(listener.accept().unwrap().0, end);
            }
        });
        address
    }

    fn answer(mut stream: TcpStream, end: i64) {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        stream.read_exact(&mut vec![0; u32::from_be_bytes(length) as usize]).unwrap();
        let mut bytes = vec![0; 8]; // correlation id, throttling
        bytes.extend_from_slice(b"\0\0\0\x01\0\x01t\0\0\0\x01\0\0\0\0\0\0");
        bytes.extend_from_slice(&(-1i64).to_be_bytes());
        bytes.extend_from_slice(&end.to_be_bytes());
        bytes.extend_from_slice(&(-1i32).to_be_bytes());
        stream.write_all(&(bytes.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(&bytes).unwrap();
    }

    /// What is said of ten records sent after a thousand.
    fn failures(ends: Vec<i64>) -> Vec<String> {
        let plan = ProducerPlan {
            brokers: broker(ends),
            topics: RawTopics::new("t", 1, 1),
            batch: Arc::new(PreparedBatch::of(1, 100, None)),
            acks: -1,
            connections: 1,
            threads: 1,
            batches_per_request: 1,
            pace: Pace::InFlight(1),
            batches: None,
        };
        let produced = Produced { sent: 10, acknowledged: 10, ..Produced::default() };
        let measured = Measured { broker: None, client: ProcUse::default(), threads: Vec::new() };
        let mut report = RawReport::new("raw both", PRODUCER, 100, measured);
        judge_written(&mut report, &plan, 1_000, vec![produced]);
        report.report.failures
    }

    #[test]
    fn a_record_more_than_was_sent_fails_the_run() {
        assert_eq!(failures(vec![1_009, 1_010]), [""; 0], "the last one may take a moment");
        let extra = failures(vec![1_011]);
        assert_eq!(extra, ["the partitions have 11 more records, 10 were sent"]);
        assert_eq!(failures(vec![]).len(), 1, "a broker that is gone tells nothing");
    }
}
