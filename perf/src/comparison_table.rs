//! The comparison's results as a Markdown table of medians.

use crate::compare::Row;
use crate::environment::environment;
use crate::system::System;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

/// One result of one workload against one system.
#[derive(Serialize)]
pub struct Measured {
    /// The turn, from 1.
    pub run: usize,
    /// The system's name.
    pub system: &'static str,
    /// The row it belongs to.
    #[serde(serialize_with = "row_name")]
    pub row: Row,
    /// The command that measured it.
    pub command: String,
    /// What the command printed.
    pub report: Value,
}

fn row_name<S: Serializer>(row: &Row, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&row.name())
}

/// A figure of a row: where it stands in the report, and which way is better.
struct Metric {
    row: Row,
    title: &'static str,
    pointer: &'static str,
    scale: f64,
    higher_is_better: bool,
}

const fn more(row: Row, title: &'static str, pointer: &'static str) -> Metric {
    Metric { row, title, pointer, scale: 1.0, higher_is_better: true }
}

const fn less(row: Row, title: &'static str, pointer: &'static str, scale: f64) -> Metric {
    Metric { row, title, pointer, scale, higher_is_better: false }
}

const GB_PER_CPU: &str = "/gb_per_broker_cpu_second";
const CPU_PER_RECORD: &str = "/broker_cpu_us_per_record";
const MB_PER_SECOND: &str = "/mb_per_second";
const PER_SECOND: &str = "/records_per_second";
const MIB: f64 = 1.0 / 1_048_576.0;

const METRICS: [Metric; 39] = [
    more(Row::Produce, "produce, GB per broker CPU second", GB_PER_CPU),
    more(Row::Produce, "produce, MB/s", MB_PER_SECOND),
    more(Row::Consume, "consume, GB per broker CPU second", GB_PER_CPU),
    more(Row::Consume, "consume, MB/s", MB_PER_SECOND),
    less(Row::Topics, "fresh topics, broker CPU µs a record", CPU_PER_RECORD, 1.0),
    more(Row::Topics, "fresh topics, MB/s", MB_PER_SECOND),
    less(Row::TopicsAgain, "same topics again, broker CPU µs a record", CPU_PER_RECORD, 1.0),
    more(Row::TopicsAgain, "same topics again, MB/s", MB_PER_SECOND),
    less(Row::Latency, "end to end p50, ms", "/end_to_end_latency/p50_us", 1e-3),
    less(Row::Latency, "end to end p99, ms", "/end_to_end_latency/p99_us", 1e-3),
    less(Row::Latency, "end to end p99.9, ms", "/end_to_end_latency/p999_us", 1e-3),
    less(Row::Latency, "at that rate, broker CPU µs a record", CPU_PER_RECORD, 1.0),
    less(Row::Startup, "ready on an empty directory, ms", "/empty_ready_ms", 1.0),
    less(Row::Startup, "ready after kill -9, ms", "/restart/ready_ms", 1.0),
    less(Row::Startup, "first read after kill -9, ms", "/restart/first_read_ms", 1.0),
    less(Row::Idle, "resident when idle and empty, MiB", "/rss_bytes", MIB),
    less(Row::Idle, "CPU while idle, ms", "/broker/on_cpu_seconds", 1e3),
    less(Row::Idle, "wake-ups while idle", "/broker/voluntary_switches", 1.0),
    more(Row::RmqSend16, "RocketMQ sends, 16 threads, messages/s", PER_SECOND),
    less(Row::RmqSend16, "the same, broker CPU µs a message", CPU_PER_RECORD, 1.0),
    less(Row::RmqSend16, "the same, mean ms", "/mean_ms", 1.0),
    more(Row::RmqSend64, "RocketMQ sends, 64 threads, messages/s", PER_SECOND),
    less(Row::RmqSend64, "the same, broker CPU µs a message", CPU_PER_RECORD, 1.0),
    less(Row::RmqSend64, "the same, mean ms", "/mean_ms", 1.0),
    less(Row::RmqSend64, "the same, failed sends", "/errors", 1.0),
    more(Row::RmqBatch, "RocketMQ batches of 32, messages/s", PER_SECOND),
    less(Row::RmqBatch, "the same, broker CPU µs a message", CPU_PER_RECORD, 1.0),
    more(Row::RmqConsume, "RocketMQ push consumer, messages/s", PER_SECOND),
    less(Row::RmqConsume, "the same, broker CPU µs a message", CPU_PER_RECORD, 1.0),
    less(Row::RmqConsume, "the same, broker resident, MiB", "/broker/rss_bytes", MIB),
    more(Row::RmqTopics, "RocketMQ sends over many topics, messages/s", PER_SECOND),
    less(Row::RmqTopics, "the same, broker CPU µs a message", CPU_PER_RECORD, 1.0),
    less(Row::RmqTopics, "the same, times that of one topic", "/base/times_the_cpu", 1.0),
    less(Row::RmqTimers, "RocketMQ sends, many timers pending, broker CPU µs", CPU_PER_RECORD, 1.0),
    less(Row::RmqTimers, "the same, times that of none pending", "/base/times_the_cpu", 1.0),
    less(Row::RmqTimers, "timers' lateness p50, ms", "/lateness/p50_ms", 1.0),
    less(Row::RmqTimers, "timers' lateness p99, ms", "/lateness/p99_ms", 1.0),
    less(Row::RmqTimers, "timers' lateness max, ms", "/lateness/max_ms", 1.0),
    less(Row::RmqTimers, "timers' failed sends", "/errors", 1.0),
];

/// All results so far.
pub struct Comparison {
    /// Each system's name and title.
    systems: Vec<(&'static str, String)>,
    environment: Vec<(&'static str, String)>,
    results: Vec<Measured>,
}

impl Comparison {
    /// Of these systems, with their data in that directory.
    pub fn new(systems: &[System], data: &Path) -> Self {
        Self {
            systems: systems.iter().map(|s| (s.name(), s.title())).collect(),
            environment: environment(data),
            results: Vec::new(),
        }
    }

    /// Takes in a result.
    pub fn add(&mut self, measured: Measured) {
        self.results.push(measured);
    }

    /// Every failure of every run.
    pub fn failures(&self) -> Vec<String> {
        let mut found = Vec::new();
        for result in &self.results {
            for failure in result.report["failures"].as_array().into_iter().flatten() {
                let text = failure.as_str().unwrap_or_default();
                let (run, system) = (result.run, result.system);
                found.push(format!("run {run}, {system}, {}: {text}", result.row.name()));
            }
        }
        found
    }

    /// The whole report.
    pub fn markdown(&self, runs: usize, warmup_records: u64, quick: bool) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = self.write(&mut text, runs, warmup_records, quick);
        text
    }

    fn write(
        &self,
        text: &mut String,
        runs: usize,
        warmup_records: u64,
        quick: bool,
    ) -> std::fmt::Result {
        if quick {
            writeln!(
                text,
                "**Quick run: it shows that everything works; no figure means much.**\n"
            )?;
        }
        self.write_table(text)?;
        writeln!(
            text,
            "\nMedians of {runs} runs, their extremes in brackets. MB and GB are decimal, and count \
             the records' own bytes.\n\
             Client and broker share the machine; one system runs at a time, in turn, each turn on \
             an empty directory; what the disk still had to write is waited for before each row.\n\
             Mainstem answers after its bytes are durable; Kafka and RocketMQ are at their defaults \
             and do not wait for fsync.\n\
             Before the first row each system is given {warmup_records} records to take in and to \
             serve, so that Kafka's JVM is warm; the rows that write have a warm-up of their own \
             besides.\n\
             A first record in each of a thousand topics costs Kafka a mapped index whose pages the \
             kernel fills as far as the device's read-ahead reaches: the rows over fresh topics hold \
             that cost once a partition, those over the same topics again do not.\n\
             Latency counts from when each record was to be sent.\n"
        )?;
        for failure in self.failures() {
            writeln!(text, "**Failed:** {failure}\n")?;
        }
        writeln!(text, "| environment | |\n| --- | --- |")?;
        for (what, value) in &self.environment {
            writeln!(text, "| {what} | {value} |")?;
        }
        writeln!(text, "\nThe commands of the first run:\n\n```")?;
        for result in self.results.iter().filter(|r| r.run == 1) {
            writeln!(text, "{}", result.command)?;
        }
        writeln!(text, "```")
    }

    fn write_table(&self, text: &mut String) -> std::fmt::Result {
        let titles: Vec<_> = self.systems.iter().map(|(_, title)| title.as_str()).collect();
        let both = self.systems.len() > 1;
        writeln!(
            text,
            "| | {} |{}",
            titles.join(" | "),
            if both { " times better |" } else { "" }
        )?;
        writeln!(text, "| --- |{}", " --- |".repeat(titles.len() + usize::from(both)))?;
        for metric in &METRICS {
            let values: Vec<Vec<f64>> =
                self.systems.iter().map(|(name, _)| self.values(metric, name)).collect();
            if values.iter().all(Vec::is_empty) {
                continue;
            }
            write!(text, "| {} |", metric.title)?;
            for ((name, _), values) in self.systems.iter().zip(&values) {
                let ran = self.results.iter().any(|r| r.row == metric.row && r.system == *name);
                write!(text, " {} |", if ran { cell(values) } else { String::new() })?;
            }
            if both {
                // A row has its figures from the first system and one other.
                let other = values[1..].iter().find_map(|values| median(values));
                let ratio = ratio(median(&values[0]), other, metric.higher_is_better);
                write!(text, " {} |", ratio.map_or_else(String::new, |r| format!("{r:.2}")))?;
            }
            writeln!(text)?;
        }
        Ok(())
    }

    /// A figure's values in all good runs of a system, in ascending order.
    fn values(&self, metric: &Metric, system: &str) -> Vec<f64> {
        let mut values: Vec<f64> = self
            .results
            .iter()
            .filter(|r| r.row == metric.row && r.system == system)
            .filter(|r| r.report["ok"] != Value::Bool(false))
            .filter_map(|r| r.report.pointer(metric.pointer)?.as_f64())
            .map(|v| v * metric.scale)
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }
}

fn cell(sorted: &[f64]) -> String {
    match (median(sorted), sorted) {
        (Some(median), [_]) => figure(median),
        (Some(median), [first, .., last]) => {
            format!("{} ({}–{})", figure(median), figure(*first), figure(*last))
        }
        _ => "failed".into(),
    }
}

fn median(sorted: &[f64]) -> Option<f64> {
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn ratio(ours: Option<f64>, theirs: Option<f64>, higher_is_better: bool) -> Option<f64> {
    let (ours, theirs) = (ours?, theirs?);
    let (over, under) = if higher_is_better { (ours, theirs) } else { (theirs, ours) };
    (under > 0.0).then(|| over / under)
}

/// Three significant digits, or all of those before the point.
fn figure(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, 2.0, 9.0]), Some(2.0));
        assert_eq!(median(&[1.0, 2.0, 4.0, 9.0]), Some(3.0));
        assert_eq!(ratio(Some(4.0), Some(2.0), true), Some(2.0));
        assert_eq!(ratio(Some(4.0), Some(2.0), false), Some(0.5));
        assert_eq!(ratio(Some(0.0), Some(2.0), false), None);
        assert_eq!(cell(&[1.0, 2.0, 900.0]), "2.00 (1.00–900)");
    }
}
