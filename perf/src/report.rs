//! What a run says at its end: one line of JSON.

use crate::histogram::Counts;
use crate::proc_stat::ProcUse;
use crate::producer::Deliveries;
use crate::sequence_check::Findings;
use crate::timeline::{Interval, Recorded};
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::{Write, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether results hold their histograms and intervals, which only programs want to read.
static DETAILED: AtomicBool = AtomicBool::new(false);

/// The line that says, to a program, that what follows is measured.
pub const MEASURING: &str = "measuring";

/// Has results hold everything, and the start of each measurement said.
pub fn be_detailed() {
    DETAILED.store(true, Ordering::Relaxed);
}

/// Says that everything is set up, if somebody listens.
pub fn announce_measuring() {
    if DETAILED.load(Ordering::Relaxed) {
        // Whoever listened may have gone.
        let _ = writeln!(stdout(), "{MEASURING}");
    }
}

/// Says why there is no result, if a program listens.
pub fn tell_failure(why: &str) {
    if DETAILED.load(Ordering::Relaxed) {
        let line = json!({"ok": false, "failures": [why]});
        let _ = writeln!(stdout(), "{line}");
    }
}

/// From the intended send time to the acknowledgement.
pub const PUBLISH_LATENCY: &str = "publishLatency";
/// From the intended send time until the client took the record.
pub const PUBLISH_DELAY_LATENCY: &str = "publishDelayLatency";
/// From the intended send time to the consumer.
pub const END_TO_END_LATENCY: &str = "endToEndLatency";

/// Result of a workload. Megabytes and gigabytes are decimal and count the records' own bytes.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// The workload's name.
    pub workload: &'static str,
    /// Whether every record is accounted for.
    pub ok: bool,
    /// Why not.
    pub failures: Vec<String>,
    /// The command line.
    pub command: Vec<String>,
    /// Records within the measured time, the warm-up excluded.
    pub records: u64,
    /// Bytes of each record.
    pub record_bytes: usize,
    /// The measured time.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Megabytes a second.
    pub mb_per_second: f64,
    /// The broker's CPU microseconds a record; absent without `--pid`.
    pub broker_cpu_us_per_record: Option<f64>,
    /// Gigabytes a second of the broker's CPU; absent without `--pid`.
    pub gb_per_broker_cpu_second: Option<f64>,
    /// Records acknowledged, the warm-up included.
    pub acknowledged: Option<u64>,
    /// Records given up, the warm-up included.
    pub errors: Option<u64>,
    /// How often the producers' queues, or the generator's sockets at a fixed rate, were full, the
    /// warm-up included: the client had to wait.
    pub sender_waits: Option<u64>,
    /// What the sequence numbers show, where the records were read.
    pub findings: Option<Findings>,
    /// From the intended send time to the acknowledgement.
    pub acknowledged_latency: Option<Percentiles>,
    /// From the intended send time to the record in the consumer's hands.
    pub end_to_end_latency: Option<Percentiles>,
    /// What the broker used.
    pub broker: Option<ProcUse>,
    /// The histograms by their names, in nanoseconds; with `--detail`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub histograms: BTreeMap<&'static str, Counts>,
    /// What happened second by second; with `--detail`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub intervals: Vec<Interval>,
    /// What this tool used. Near one core a thread, the client is the limit, not the broker.
    pub client: Option<ProcUse>,
}

/// A histogram's percentiles, in microseconds.
#[derive(Debug, Serialize)]
pub struct Percentiles {
    /// How many values there are.
    pub count: u64,
    /// Their mean.
    pub mean_us: f64,
    /// The median.
    pub p50_us: f64,
    /// 90 in a hundred are at most this.
    pub p90_us: f64,
    /// 99 in a hundred are at most this.
    pub p99_us: f64,
    /// 999 in a thousand are at most this.
    pub p999_us: f64,
    /// 9999 in ten thousand are at most this.
    pub p9999_us: f64,
    /// The largest.
    pub max_us: f64,
}

impl Percentiles {
    /// Of a histogram of nanoseconds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let us = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| us(histogram.value_at_quantile(quantile));
        Self {
            count: histogram.len(),
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            p9999_us: at(0.9999),
            max_us: us(histogram.max()),
        }
    }
}

impl Report {
    /// A report of so many records, with the rates worked out.
    pub fn new(
        workload: &'static str,
        records: u64,
        record_bytes: usize,
        broker: Option<ProcUse>,
        client: ProcUse,
    ) -> Self {
        let seconds = client.seconds;
        let bytes = records as f64 * record_bytes as f64;
        let cpu = broker.as_ref().map(|b| b.cpu_seconds);
        Self {
            workload,
            command: std::env::args().collect(),
            records,
            record_bytes,
            seconds,
            records_per_second: records as f64 / seconds,
            mb_per_second: bytes / 1e6 / seconds,
            broker_cpu_us_per_record: cpu.map(|c| c * 1e6 / records as f64),
            gb_per_broker_cpu_second: cpu.filter(|c| *c > 0.0).map(|c| bytes / 1e9 / c),
            broker,
            client: Some(client),
            ..Self::default()
        }
    }

    /// Takes in what was recorded of the measurement.
    pub fn record(&mut self, recorded: Recorded) {
        let Recorded { intervals, publish, publish_delay, end_to_end } = recorded;
        let percentiles = |h: &Histogram<u64>| (!h.is_empty()).then(|| Percentiles::of(h));
        self.acknowledged_latency = percentiles(&publish);
        self.end_to_end_latency = percentiles(&end_to_end);
        self.keep(PUBLISH_LATENCY, &publish);
        self.keep(PUBLISH_DELAY_LATENCY, &publish_delay);
        self.keep(END_TO_END_LATENCY, &end_to_end);
        if DETAILED.load(Ordering::Relaxed) {
            self.intervals = intervals;
        }
    }

    /// Keeps a histogram of nanoseconds for those who merge it with other runs'.
    pub fn keep(&mut self, name: &'static str, histogram: &Histogram<u64>) {
        if DETAILED.load(Ordering::Relaxed) && !histogram.is_empty() {
            self.histograms.insert(name, Counts::of(histogram));
        }
    }

    /// Notes what came of the records that producers were given.
    pub fn judge_deliveries(&mut self, sent: u64, deliveries: &[Arc<Deliveries>]) {
        let sum = |of: fn(&Deliveries) -> u64| deliveries.iter().map(|d| of(d)).sum();
        self.sender_waits = Some(sum(Deliveries::waits));
        let last = deliveries.iter().find_map(|d| d.last_error());
        self.judge_sending(sent, sum(Deliveries::acknowledged), sum(Deliveries::errors), last);
    }

    /// Notes how the sending went: every record is to be acknowledged.
    pub fn judge_sending(
        &mut self,
        sent: u64,
        acknowledged: u64,
        errors: u64,
        last: Option<String>,
    ) {
        self.acknowledged = Some(acknowledged);
        self.errors = Some(errors);
        if acknowledged != sent {
            let last = last.map(|e| format!(" (last error: {e})")).unwrap_or_default();
            self.failures.push(format!("{acknowledged} of {sent} records acknowledged{last}"));
        }
    }

    /// Notes what was read back: nothing may be missing, doubled or out of order.
    pub fn judge_reading(&mut self, findings: Findings) {
        let counts = [
            ("missing", findings.missing),
            ("duplicate", findings.duplicates),
            ("out of order", findings.out_of_order),
        ];
        let bad = counts.iter().filter(|(_, n)| *n > 0);
        self.failures.extend(bad.map(|(what, n)| format!("{n} records {what}")));
        self.findings = Some(findings);
    }

    /// The finished report.
    pub fn finish(mut self) -> Self {
        self.ok = self.failures.is_empty();
        self
    }
}
