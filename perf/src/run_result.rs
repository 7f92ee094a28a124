//! The result of one run of one workload: OpenMessaging Benchmark's fields under its names and in
//! its units (milliseconds; publish delays in microseconds), and what it does not say besides.
//!
//! Its tools for `TestResult` read these files. One thing is meant differently, to the benefit of
//! nobody: `publishLatency` counts from when a record was to be sent, not from when it was.

use crate::error::{Doing, PerfError, Result};
use crate::histogram::{Counts, Summary, merge, percentiles};
use crate::proc_stat::ProcUse;
use crate::producer::QUEUE_RECORDS;
use crate::report::{END_TO_END_LATENCY, PUBLISH_DELAY_LATENCY, PUBLISH_LATENCY};
use crate::sequence_check::Findings;
use crate::timeline::Interval;
use crate::workload::{Source, Workload};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Number, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// One run.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunResult {
    /// The workload's name.
    pub workload: String,
    /// The system, with its version.
    pub driver: String,
    /// Bytes of each record.
    pub message_size: u64,
    /// How many topics.
    pub topics: usize,
    /// Partitions of each.
    pub partitions: usize,
    /// Clients that write to each topic.
    pub producers_per_topic: usize,
    /// Clients that read from each topic.
    pub consumers_per_topic: usize,
    /// Records acknowledged a second, of each interval.
    pub publish_rate: Vec<f64>,
    /// Records given up a second, of each interval.
    pub publish_error_rate: Vec<f64>,
    /// Records received a second, of each interval.
    pub consume_rate: Vec<f64>,
    /// Records acknowledged and not received at the end of each interval.
    pub backlog: Vec<u64>,
    /// The lengths of these intervals.
    pub interval_seconds: Vec<f64>,
    /// Which run of the comparison, from 1.
    pub run: usize,
    /// The system and what it promises, as in file names.
    pub variant: String,
    /// What made the load.
    pub source: Source,
    /// The command that measured it.
    pub command: String,
    /// Whether every record is accounted for.
    pub ok: bool,
    /// Why not.
    pub failures: Vec<String>,
    /// Set if the system was given up because setting it up took so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup_exceeded_seconds: Option<f64>,
    /// Why the client was the bottleneck, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_bound: Option<String>,
    /// Bytes that were written to the broker before, in whole batches, so that its memory was not
    /// touched for the first time.
    pub filled_bytes: u64,
    /// Records of the measured time.
    pub records: u64,
    /// The measured time.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Decimal megabytes a second of the records' own bytes.
    pub mb_per_second: f64,
    /// Loss, duplicates and disorder, where the records were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub findings: Option<Findings>,
    /// What the broker used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker: Option<ProcUse>,
    /// What the client used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<ProcUse>,
    /// The rates tried, if the highest was looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Every other number the workload reported.
    pub figures: BTreeMap<String, f64>,
    /// Latencies from the intended send time by their names, in nanoseconds.
    pub histograms: BTreeMap<String, Counts>,
    /// OpenMessaging Benchmark's latency fields, all told by the histograms and intervals.
    #[serde(flatten)]
    pub latencies: BTreeMap<String, Value>,
}

/// One rate of a search for the highest.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Step {
    /// Records that were to be sent a second.
    pub rate: f64,
    /// Records that came through a second.
    pub achieved_rate: f64,
    /// Whether that counts as sustained.
    pub sustained: bool,
    /// Median end to end, in milliseconds.
    pub p50_ms: f64,
    /// 99 in a hundred took at most so long, in milliseconds.
    pub p99_ms: f64,
    /// 999 in a thousand took at most so long, in milliseconds.
    pub p999_ms: f64,
    /// The most records that waited for their consumer at the end of an interval.
    pub backlog: u64,
    /// Broker CPU microseconds a record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broker_cpu_us_per_record: Option<f64>,
}

/// The line a workload's process ends with. Of each source it has its own fields besides.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Line {
    /// Whether every record is accounted for.
    pub ok: bool,
    /// Why not.
    pub failures: Vec<String>,
    filled_bytes: u64,
    records: u64,
    record_bytes: u64,
    seconds: f64,
    records_per_second: f64,
    mb_per_second: f64,
    sender_waits: Option<u64>,
    client_limited: bool,
    findings: Option<Findings>,
    broker: Option<ProcUse>,
    client: Option<ProcUse>,
    histograms: BTreeMap<String, Counts>,
    intervals: Vec<Interval>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Default for Line {
    fn default() -> Self {
        Self {
            ok: true,
            failures: Vec::new(),
            filled_bytes: 0,
            records: 0,
            record_bytes: 0,
            seconds: 0.0,
            records_per_second: 0.0,
            mb_per_second: 0.0,
            sender_waits: None,
            client_limited: false,
            findings: None,
            broker: None,
            client: None,
            histograms: BTreeMap::new(),
            intervals: Vec::new(),
            rest: Map::new(),
        }
    }
}

/// The part of the end-to-end latency that a sender may be late before it, and not the broker, shapes
/// it; both at the 99th percentile.
const LATE_PART: f64 = 0.25;
/// A thread this busy has no time left.
const BUSY: f64 = 0.9;
/// Processors this busy have none left for the other of client and broker.
const ALL_BUSY: f64 = 0.8;

impl Line {
    /// A line of a workload that broke off.
    pub fn failed(why: String) -> Self {
        Self { ok: false, failures: vec![why], ..Self::default() }
    }

    /// A load of nothing is a failure, whatever its process says.
    pub fn judge_records(&mut self) {
        if self.records == 0 && self.failures.is_empty() {
            self.failures.push("no record went through in the measured time".into());
        }
    }

    /// The step of a search that it was, held against the longest p99 that counts.
    pub fn step(&self, rate: f64, p99_limit_ms: f64) -> Step {
        let histogram = merge(self.histograms.get(END_TO_END_LATENCY));
        let at = |quantile| {
            let ns = histogram.as_ref().map_or(0, |h| h.value_at_quantile(quantile));
            ns as f64 / 1e6
        };
        let achieved_rate = self.records_per_second;
        // Draining what is left at the end takes its time too, hence the margin.
        let kept_up = histogram.is_some() && achieved_rate >= 0.95 * rate;
        Step {
            rate,
            achieved_rate,
            sustained: self.ok && kept_up && at(0.99) <= p99_limit_ms,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            backlog: self.intervals.iter().map(|i| i.backlog).max().unwrap_or(0),
            broker_cpu_us_per_record: self.broker_us(|b| b.cpu_seconds),
        }
    }

    fn broker_us(&self, seconds: fn(&ProcUse) -> f64) -> Option<f64> {
        let broker = self.broker.as_ref().filter(|_| self.records > 0)?;
        Some(seconds(broker) * 1e6 / self.records as f64)
    }

    /// Why the client was the bottleneck, if it was.
    pub fn client_bound(&self, workload: &Workload) -> Option<String> {
        if self.client_limited {
            return Some("a thread of the generator hardly ever waited".into());
        }
        if workload.rate.is_some() {
            return self.late().or_else(|| self.outweighed(self.used_client()?, processors()));
        }
        let room = QUEUE_RECORDS as u64 * workload.producers as u64;
        let fits = workload.producers > 0 && self.records < 2 * room;
        if self.sender_waits == Some(0) && !fits {
            return Some("the client's queue was never full: the broker waited for it".into());
        }
        let client = self.used_client()?;
        let share = client.busiest_thread_seconds / client.seconds;
        if share >= BUSY {
            return Some(format!("a thread of the client was busy {:.0} %", share * 100.0));
        }
        self.outweighed(client, processors())
    }

    /// What the client used, if it was looked at for a while.
    fn used_client(&self) -> Option<&ProcUse> {
        self.client.as_ref().filter(|client| client.seconds > 0.0)
    }

    /// Why the sender, at a fixed rate, shaped the latencies, if it did: not if it was the broker that
    /// took no more.
    fn late(&self) -> Option<String> {
        let p99 = |name| {
            let histogram = merge(self.histograms.get(name))?;
            Some(histogram.value_at_quantile(0.99) as f64 / 1e6)
        };
        let late = p99(PUBLISH_DELAY_LATENCY)?;
        let all = p99(END_TO_END_LATENCY).or_else(|| p99(PUBLISH_LATENCY))?;
        let blocked = self.sender_waits.unwrap_or(0) > 0;
        (late > LATE_PART * all && !blocked)
            .then(|| format!("records were sent up to {late:.1} ms late, of {all:.1} ms (p99)"))
    }

    /// Whether client and broker filled the machine, and the client took more of it.
    fn outweighed(&self, client: &ProcUse, processors: f64) -> Option<String> {
        let broker = self.broker.as_ref()?.cpu_seconds / client.seconds;
        let client = client.cpu_seconds / client.seconds;
        let full = broker + client >= ALL_BUSY * processors;
        (full && client > broker).then(|| {
            format!(
                "of {processors:.0} processors the client took {client:.2}, the broker {broker:.2}"
            )
        })
    }
}

fn processors() -> f64 {
    std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}

impl RunResult {
    /// Of a workload that ended with this line.
    pub fn of(workload: &Workload, line: Line) -> Self {
        let column = |of: fn(&Interval) -> f64| line.intervals.iter().map(of).collect();
        let mut figures = BTreeMap::new();
        for (key, value) in &line.rest {
            numbers(key, value, &mut figures);
        }
        let mut result = Self {
            workload: workload.name.clone(),
            message_size: match line.record_bytes {
                0 => workload.record_bytes as u64,
                bytes => bytes,
            },
            topics: workload.topics,
            partitions: workload.partitions,
            producers_per_topic: workload.producers,
            consumers_per_topic: workload.consumers,
            publish_rate: column(|i| i.publish_rate),
            publish_error_rate: column(|i| i.publish_error_rate),
            consume_rate: column(|i| i.consume_rate),
            backlog: line.intervals.iter().map(|i| i.backlog).collect(),
            interval_seconds: column(|i| i.seconds),
            source: workload.source,
            ok: line.ok && line.failures.is_empty(),
            client_bound: line.client_bound(workload),
            filled_bytes: line.filled_bytes,
            figures,
            ..Self::default()
        };
        result.latencies = latencies(&line);
        result.failures = line.failures;
        (result.records, result.seconds) = (line.records, line.seconds);
        result.records_per_second = line.records_per_second;
        result.mb_per_second = line.mb_per_second;
        (result.findings, result.broker, result.client) = (line.findings, line.broker, line.client);
        result.histograms = line.histograms;
        result
    }

    /// Of a system that was given up.
    pub fn setup_exceeded(workload: &Workload, seconds: f64) -> Self {
        let mut result = Self::of(workload, Line::default());
        result.setup_exceeded_seconds = Some(seconds);
        result
    }

    /// Notes what else went wrong, if anything did.
    pub fn fail(&mut self, failures: Vec<String>) {
        self.ok &= failures.is_empty();
        self.failures.extend(failures);
    }

    /// Broker CPU microseconds a record.
    pub fn cpu_us_per_record(&self) -> Option<f64> {
        self.per_record(|b| b.cpu_seconds * 1e6)
    }

    /// Something the broker used, for each record.
    pub fn per_record(&self, what: fn(&ProcUse) -> f64) -> Option<f64> {
        let broker = self.broker.as_ref().filter(|_| self.records > 0)?;
        Some(what(broker) / self.records as f64)
    }

    /// Broker CPU seconds a gigabyte of records.
    pub fn cpu_seconds_per_gb(&self) -> Option<f64> {
        let us = self.cpu_us_per_record().filter(|_| self.message_size > 0)?;
        Some(us * 1e3 / self.message_size as f64)
    }

    /// Writes it as JSON.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string(self).expect("results have only string keys");
        fs::write(path, text + "\n").doing(|| format!("writing {}", path.display()))
    }

    /// Reads it.
    ///
    /// # Errors
    /// The file cannot be read, or is no result.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).doing(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text)
            .map_err(|e| PerfError::Failed(format!("{}: {e}", path.display())))
    }
}

/// Every number below a value, by its path.
fn numbers(path: &str, value: &Value, to: &mut BTreeMap<String, f64>) {
    match value {
        Value::Number(number) => {
            to.extend(number.as_f64().map(|number| (path.to_owned(), number)));
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(key, value)| numbers(&format!("{path}.{key}"), value, to));
        }
        _ => {}
    }
}

/// OpenMessaging Benchmark's names for the points of a distribution.
fn points(summary: &Summary) -> [(&'static str, f64); 9] {
    [
        ("Avg", summary.avg),
        ("50pct", summary.p50 as f64),
        ("75pct", summary.p75 as f64),
        ("95pct", summary.p95 as f64),
        ("99pct", summary.p99 as f64),
        ("999pct", summary.p999 as f64),
        ("9999pct", summary.p9999 as f64),
        ("99999pct", summary.p99999 as f64),
        ("Max", summary.max as f64),
    ]
}

/// Its three kinds of latency: our name, its name within a field's, nanoseconds in its unit, and
/// where an interval has it.
type Kind = (&'static str, &'static str, f64, fn(&Interval) -> &Summary);
const KINDS: [Kind; 3] = [
    (PUBLISH_LATENCY, "PublishLatency", 1e6, |i| &i.publish),
    (PUBLISH_DELAY_LATENCY, "PublishDelayLatency", 1e3, |i| &i.publish_delay),
    (END_TO_END_LATENCY, "EndToEndLatency", 1e6, |i| &i.end_to_end),
];

fn latencies(line: &Line) -> BTreeMap<String, Value> {
    let mut fields = BTreeMap::new();
    for (field, capitalized, unit, of_interval) in KINDS {
        // Its delays are whole microseconds, its average excepted.
        let whole = |name: &str| unit == 1e3 && name != "Avg";
        let number = |name: &str, ns: f64| match whole(name) {
            true => json!((ns / unit).round() as u64),
            false => Number::from_f64(ns / unit).map_or(Value::Null, Value::Number),
        };
        let histogram = merge(line.histograms.get(field));
        let summary = histogram.as_ref().map(Summary::of).unwrap_or_default();
        for (i, (name, ns)) in points(&summary).into_iter().enumerate() {
            let each = line.intervals.iter().map(|interval| points(of_interval(interval))[i].1);
            fields.insert(format!("{field}{name}"), each.map(|ns| number(name, ns)).collect());
            // Nothing measured is no latency of nothing.
            let whole = if histogram.is_some() { number(name, ns) } else { Value::Null };
            fields.insert(format!("aggregated{capitalized}{name}"), whole);
        }
        let quantiles = histogram.as_ref().map(percentiles).unwrap_or_default();
        let quantiles: Map<String, Value> =
            quantiles.iter().map(|(p, ns)| (p.to_string(), number("", *ns as f64))).collect();
        fields.insert(format!("aggregated{capitalized}Quantiles"), quantiles.into());
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::new_histogram;

    fn workload() -> Workload {
        let text =
            "name = \"a\"\nshows = \"b\"\nsystems = [\"kafka\"]\nproducers = 1\nrecords = 4\n";
        Workload::parse("a.toml", text, false, &[]).expect("right")
    }

    fn line() -> Line {
        let mut histogram = new_histogram();
        for ns in [1_000_000, 2_000_000, 3_000_000, 4_000_000] {
            histogram.saturating_record(ns);
        }
        let counts = Counts::of(&histogram);
        let text = json!({
            "ok": true, "records": 4, "record_bytes": 1024, "seconds": 2.0, "sender_waits": 3,
            "records_per_second": 2.0, "mb_per_second": 0.002,
            "broker": {"cpu_seconds": 0.5, "user_seconds": 0.2, "system_seconds": 0.3},
            "histograms": {PUBLISH_LATENCY: counts, PUBLISH_DELAY_LATENCY: counts},
            "intervals": [{"seconds": 1.0, "publish_rate": 4.0, "publish": Summary::of(&histogram)}],
            "restart": {"ready_ms": 12.5}, "command": ["ignored"],
        });
        serde_json::from_value(text).expect("the line's fields")
    }

    /// The fields of io.openmessaging.benchmark.TestResult, but for the latencies'.
    const FIELDS: [&str; 11] = [
        "workload",
        "driver",
        "messageSize",
        "topics",
        "partitions",
        "producersPerTopic",
        "consumersPerTopic",
        "publishRate",
        "publishErrorRate",
        "consumeRate",
        "backlog",
    ];

    #[test]
    fn openmessaging_benchmarks_fields_are_all_there() {
        let json = serde_json::to_value(RunResult::of(&workload(), line())).expect("plain");
        let mut wanted: Vec<String> = FIELDS.map(str::to_owned).to_vec();
        for kind in ["PublishLatency", "PublishDelayLatency", "EndToEndLatency"] {
            let small = kind[..1].to_lowercase() + &kind[1..];
            wanted.push(format!("aggregated{kind}Quantiles"));
            for point in
                ["Avg", "50pct", "75pct", "95pct", "99pct", "999pct", "9999pct", "99999pct", "Max"]
            {
                wanted.push(format!("{small}{point}"));
                wanted.push(format!("aggregated{kind}{point}"));
            }
        }
        for field in &wanted {
            assert!(json.get(field).is_some(), "{field} is missing");
        }
        // Nothing was consumed, and that did not take no time.
        assert!(json["aggregatedEndToEndLatency99pct"].is_null());
        assert_eq!(wanted.len(), 11 + 3 * 19);
        let close = |field: &Value, want: f64| {
            let number = field.as_f64().expect("a number");
            assert!((number - want).abs() < 0.01 * want, "{number} is not {want}");
        };
        close(&json["aggregatedPublishLatencyMax"], 4.0);
        close(&json["aggregatedPublishDelayLatencyMax"], 4_000.0);
        assert!(json["aggregatedPublishDelayLatency99pct"].is_u64());
        close(&json["publishLatency50pct"][0], 2.0);
        close(&json["aggregatedPublishLatencyQuantiles"]["100"], 4.0);
    }

    #[test]
    fn a_result_comes_back_from_its_file() {
        let result = RunResult::of(&workload(), line());
        let text = serde_json::to_string(&result).expect("plain");
        let back: RunResult = serde_json::from_str(&text).expect("what was written");
        assert_eq!(
            serde_json::to_value(&back).expect("plain"),
            serde_json::to_value(&result).expect("plain")
        );
        assert_eq!(back.figures["restart.ready_ms"], 12.5);
        assert_eq!(back.cpu_us_per_record(), Some(125_000.0));
        assert_eq!(back.histograms[PUBLISH_LATENCY], result.histograms[PUBLISH_LATENCY]);
    }

    #[test]
    fn a_client_that_never_waited_is_the_bottleneck() {
        let mut line = line();
        assert_eq!(line.client_bound(&workload()), None);
        line.sender_waits = Some(0);
        assert_eq!(line.client_bound(&workload()), None, "so few records fit into the queue");
        line.records = 1_000_000;
        assert!(line.client_bound(&workload()).is_some());
    }

    #[test]
    fn a_sender_that_is_late_by_itself_is_the_bottleneck() {
        let text = "name = \"a\"\nshows = \"b\"\nsystems = [\"kafka\"]\nproducers = 1\n\
                    consumers = 1\nrate = 5.0\nseconds = 1.0\n";
        let workload = Workload::parse("a.toml", text, false, &[]).expect("right");
        let mut late = new_histogram();
        late.saturating_record(2_000_000);
        let mut line = line();
        line.histograms.insert(PUBLISH_DELAY_LATENCY.into(), Counts::of(&late));
        assert_eq!(line.client_bound(&workload), None, "it had to wait for the broker");
        line.sender_waits = Some(0);
        assert!(line.client_bound(&workload).is_some());
        let mut prompt = new_histogram();
        prompt.saturating_record(900_000);
        line.histograms.insert(PUBLISH_DELAY_LATENCY.into(), Counts::of(&prompt));
        assert_eq!(line.client_bound(&workload), None, "it is less than a quarter of 4 ms");
    }

    #[test]
    fn a_client_that_takes_more_of_a_full_machine_is_the_bottleneck() {
        let used = |cpu_seconds| ProcUse { seconds: 10.0, cpu_seconds, ..ProcUse::default() };
        let line = Line { broker: Some(used(5.0)), ..Line::default() };
        for (client, processors, is_bound) in
            [(12.0, 2.0, true), (4.0, 1.0, false), (8.0, 2.0, false), (12.0, 4.0, false)]
        {
            let why = line.outweighed(&used(client), processors);
            assert_eq!(why.is_some(), is_bound, "{client} of {processors}: {why:?}");
        }
    }

    #[test]
    fn a_load_of_nothing_fails() {
        let mut line = line();
        line.judge_records();
        assert!(RunResult::of(&workload(), line.clone()).ok);
        line.records = 0;
        line.judge_records();
        assert!(!RunResult::of(&workload(), line).ok);
    }

    #[test]
    fn a_rate_is_sustained_within_its_limit() {
        let mut line = line();
        let counts = line.histograms[PUBLISH_LATENCY].clone();
        line.histograms.insert(END_TO_END_LATENCY.into(), counts);
        assert!(line.step(2.0, 10.0).sustained);
        assert!(!line.step(2.0, 3.0).sustained, "p99 is 4 ms");
        assert!(!line.step(3.0, 10.0).sustained, "two of three came through");
        line.ok = false;
        assert!(!line.step(2.0, 10.0).sustained);
    }
}
