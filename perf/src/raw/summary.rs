//! What a run of the generator says at its end.

use super::consume::{CONSUMER, findings};
use super::consumer::Consumed;
use super::control::{Measured, STALL_TIMEOUT, ThreadShare};
use super::produce::PRODUCER;
use super::producer::Produced;
use crate::histogram::new_histogram;
use crate::report::{Percentiles, Report};
use crate::timeline::{Interval, Recorded};
use hdrhistogram::Histogram;
use serde::Serialize;

/// How a failure ends that a rate too high makes, and no loss.
pub const NEVER_SENT: &str = "records that were due were never sent";

/// The result of one of the generator's workloads.
#[derive(Debug, Serialize)]
pub struct RawReport {
    /// What every workload tells.
    #[serde(flatten)]
    pub report: Report,
    /// Whether a thread of the generator had hardly a moment to spare, so that the broker may have
    /// been able to do more.
    pub client_limited: bool,
    /// How busy each of its threads was in the measured time.
    pub client_threads: Vec<ThreadShare>,
    /// Records of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_records: Option<u64>,
    /// Bytes of a batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_bytes: Option<usize>,
    /// Partitions of all topics together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partitions: Option<u32>,
    /// What was read in the measured time, where there was writing too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumed: Option<ConsumedRate>,
    /// How late records were sent at a fixed rate, part of each latency: the generator's own fault,
    /// unless `sender_waits` says that the broker took no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_late: Option<Percentiles>,
    /// What was to be sent while a cold reader was at work, from then to the consumer's hands;
    /// `end_to_end_latency` then has the rest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold_reader: Option<ColdReaderReport>,
    /// What idle connections cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_connections: Option<IdleReport>,
    /// How long very many partitions took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queues: Option<QueuesReport>,
}

/// How long very many partitions took to make.
#[derive(Debug, Serialize)]
pub struct QueuesReport {
    /// Seconds until all topics were there and had leaders.
    pub create_seconds: f64,
    /// Seconds until each partition had its record.
    pub fill_seconds: f64,
    /// The broker's resident memory for each of them, all of it, in bytes; absent without `--pid`.
    pub rss_bytes_per_partition: Option<f64>,
}

/// How fast was read.
#[derive(Debug, Serialize)]
pub struct ConsumedRate {
    /// Records.
    pub records: u64,
    /// Records a second.
    pub records_per_second: f64,
    /// Megabytes of records a second.
    pub mb_per_second: f64,
}

/// What a cold reader did, and did to others.
#[derive(Debug, Serialize)]
pub struct ColdReaderReport {
    /// Gigabytes it read.
    pub gb: f64,
    /// How long it took.
    pub seconds: f64,
    /// The tail consumers' latency meanwhile.
    pub end_to_end_latency: Option<Percentiles>,
}

/// What idle connections cost.
#[derive(Debug, Serialize)]
pub struct IdleReport {
    /// How many there were.
    pub connections: usize,
    /// The broker's resident memory before them, in bytes; absent without `--pid`.
    pub rss_before_bytes: Option<u64>,
    /// With all of them open.
    pub rss_after_bytes: Option<u64>,
    /// The difference for each.
    pub bytes_per_connection: Option<f64>,
}

impl RawReport {
    /// A report of the records that the threads of a name counted.
    pub fn new(
        workload: &'static str,
        counting: &str,
        record_bytes: usize,
        measured: Measured,
    ) -> Self {
        let (records, limited) = (measured.records(counting), measured.client_limited());
        let consumed = measured.records(CONSUMER);
        let Measured { broker, client, threads } = measured;
        let mut report = Self {
            report: Report::new(workload, records, record_bytes, broker, client),
            client_limited: limited,
            client_threads: threads,
            batch_records: None,
            batch_bytes: None,
            partitions: None,
            consumed: None,
            sent_late: None,
            cold_reader: None,
            idle_connections: None,
            queues: None,
        };
        if counting == PRODUCER && report.client_threads.iter().any(|t| t.name == CONSUMER) {
            report.note_consumed(consumed);
        }
        report
    }

    /// Takes in what was recorded of the measured time, second by second and in all.
    pub fn record(
        &mut self,
        intervals: Vec<Interval>,
        produced: &[Produced],
        consumed: &[Consumed],
    ) {
        self.report.record(Recorded {
            intervals,
            publish: whole(produced.iter().map(|p| &p.latency)),
            publish_delay: whole(produced.iter().map(|p| &p.lateness)),
            end_to_end: whole(consumed.iter().map(|c| &c.latency)),
        });
    }

    /// Notes that a run was given up, if its threads did not come to their end.
    pub fn judge_progress(&mut self, ended: bool) {
        if !ended {
            let seconds = STALL_TIMEOUT.as_secs();
            let text = format!("given up: nothing was acknowledged for {seconds} s");
            self.report.failures.push(text);
        }
    }

    /// Notes how the sending went, and says how long the streams became.
    pub fn judge_sending(&mut self, produced: Vec<Produced>) -> Vec<(u32, u64)> {
        let sum = |of: fn(&Produced) -> u64| produced.iter().map(of).sum();
        let (sent, acknowledged) = (sum(|p| p.sent), sum(|p| p.acknowledged));
        let last_error = produced.iter().find_map(|p| p.last_error.clone());
        self.report.judge_sending(sent, acknowledged, sum(|p| p.errors), last_error);
        let unsent = sum(|p| p.unsent);
        if unsent > 0 {
            self.report.failures.push(format!("{unsent} {NEVER_SENT}"));
        }
        produced.into_iter().flat_map(|p| p.streams).collect()
    }

    /// Notes how much was read in the measured time beside the writing.
    fn note_consumed(&mut self, records: u64) {
        let (seconds, bytes) = (self.report.seconds, self.report.record_bytes as f64);
        self.consumed = Some(ConsumedRate {
            records,
            records_per_second: records as f64 / seconds,
            mb_per_second: records as f64 * bytes / 1e6 / seconds,
        });
    }

    /// Notes what was read back; `sent` has the streams' lengths.
    pub fn judge_reading(&mut self, consumed: &[Consumed], sent: &[(u32, u64)]) {
        self.report.judge_reading(findings(consumed, sent));
    }

    /// The finished report.
    pub fn finish(mut self) -> Self {
        if self.report.records == 0 {
            self.report.failures.push("no record in the measured time".into());
        }
        self.report = self.report.finish();
        self
    }
}

/// All values of several histograms in one; none if there are no values.
pub fn merged<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Option<Histogram<u64>> {
    Some(whole(parts)).filter(|all| !all.is_empty())
}

fn whole<'a>(parts: impl Iterator<Item = &'a Histogram<u64>>) -> Histogram<u64> {
    let mut all = new_histogram();
    parts.for_each(|part| all += part);
    all
}
