//! The figures a workload is judged by.

use crate::histogram::merge;
use crate::raw::COLD_END_TO_END_LATENCY;
use crate::report::{END_TO_END_LATENCY, PUBLISH_LATENCY};
use crate::rocketmq::TIMER_LATENESS;
use crate::run_result::RunResult;
use crate::workload::{Measure, Rate, Source, Workload};

/// A figure: of several runs the median, or, of latencies, that of the merged histogram.
pub struct Metric {
    /// What it is, with the unit.
    pub title: &'static str,
    /// Which way is better.
    pub higher_is_better: bool,
    /// Whether a faster client could have bettered it.
    pub is_the_clients_too: bool,
    of: Of,
}

enum Of {
    Run(fn(&RunResult) -> Option<f64>),
    /// A histogram's name, and the share of its values.
    Latency(&'static str, f64),
    /// One of the numbers the workload reports, and what to multiply it by.
    Figure(&'static str, f64),
}

const MIB: f64 = 1.0 / 1_048_576.0;

impl Metric {
    const fn new(title: &'static str, higher_is_better: bool, of: Of) -> Self {
        Self { title, higher_is_better, is_the_clients_too: false, of }
    }

    /// Of these runs; none if they do not have it.
    pub fn value(&self, runs: &[&RunResult]) -> Option<f64> {
        match self.of {
            Of::Run(of) => median(runs.iter().filter_map(|r| of(r))),
            Of::Figure(name, factor) => {
                median(runs.iter().filter_map(|r| r.figures.get(name)).map(|v| v * factor))
            }
            Of::Latency(name, quantile) => {
                let whole = merge(runs.iter().filter_map(|r| r.histograms.get(name)))?;
                Some(whole.value_at_quantile(quantile) as f64 / 1e6)
            }
        }
    }
}

/// The one in the middle, or between the two in the middle; none of none.
pub fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn less(title: &'static str, of: fn(&RunResult) -> Option<f64>) -> Metric {
    Metric::new(title, false, Of::Run(of))
}

fn rate(title: &'static str, of: fn(&RunResult) -> Option<f64>) -> Metric {
    Metric { is_the_clients_too: true, ..Metric::new(title, true, Of::Run(of)) }
}

fn latency(title: &'static str, name: &'static str, quantile: f64) -> Metric {
    Metric { is_the_clients_too: true, ..Metric::new(title, false, Of::Latency(name, quantile)) }
}

fn reported(title: &'static str, name: &'static str, factor: f64) -> Metric {
    Metric::new(title, false, Of::Figure(name, factor))
}

/// A workload's figures, those that matter most first.
pub fn metrics(workload: &Workload) -> Vec<Metric> {
    let mut metrics = match (workload.measure, workload.rate) {
        (Measure::Restart, _) => return restart(),
        (Measure::Idle, _) => return idle(),
        (_, Some(Rate::Search(_))) => highest_rate(),
        (_, Some(Rate::PerSecond(_))) => latencies(),
        (_, None) => throughput(),
    };
    if workload.source == Source::RocketmqBenchmark {
        metrics.extend(rocketmq());
    }
    metrics.extend(costs());
    if workload.producers > 0 {
        metrics.push(written());
    }
    metrics
}

fn throughput() -> Vec<Metric> {
    vec![
        rate("MB/s", |r| Some(r.mb_per_second).filter(|v| *v > 0.0)),
        rate("records/s", |r| Some(r.records_per_second).filter(|v| *v > 0.0)),
        rate("MB/s read beside the writing", |r| {
            r.figures.get("consumed.mb_per_second").copied().filter(|v| *v > 0.0)
        }),
        Metric::new(
            "GB a broker CPU second",
            true,
            Of::Run(|r| r.cpu_seconds_per_gb().filter(|v| *v > 0.0).map(|v| 1.0 / v)),
        ),
    ]
}

fn latencies() -> Vec<Metric> {
    vec![
        latency("end to end p50, ms", END_TO_END_LATENCY, 0.5),
        latency("end to end p99, ms", END_TO_END_LATENCY, 0.99),
        latency("end to end p99.9, ms", END_TO_END_LATENCY, 0.999),
        latency("acknowledged p99, ms", PUBLISH_LATENCY, 0.99),
        latency("beside a cold reader: p50, ms", COLD_END_TO_END_LATENCY, 0.5),
        latency("… p99, ms", COLD_END_TO_END_LATENCY, 0.99),
        latency("… p99.9, ms", COLD_END_TO_END_LATENCY, 0.999),
    ]
}

fn highest_rate() -> Vec<Metric> {
    let of = Of::Figure("highest_rate", 1.0);
    let highest = Metric {
        is_the_clients_too: true,
        ..Metric::new("highest rate sustained, records/s", true, of)
    };
    vec![
        highest,
        latency("at half of it: end to end p50, ms", END_TO_END_LATENCY, 0.5),
        latency("at half of it: p99, ms", END_TO_END_LATENCY, 0.99),
        latency("at half of it: p99.9, ms", END_TO_END_LATENCY, 0.999),
    ]
}

/// What RocketMQ's programs tell of themselves.
fn rocketmq() -> Vec<Metric> {
    vec![
        reported("mean, ms", "mean_ms", 1.0),
        reported("failed", "errors", 1.0),
        reported(
            "CPU a message in times of one topic's, or of no timer's",
            "base.times_the_cpu",
            1.0,
        ),
        latency("timers late p50, ms", TIMER_LATENESS, 0.5),
        latency("timers late p99, ms", TIMER_LATENESS, 0.99),
    ]
}

fn costs() -> Vec<Metric> {
    vec![
        less("broker CPU a record, µs", RunResult::cpu_us_per_record),
        less("… in user mode", |r| r.per_record(|b| b.user_seconds * 1e6)),
        less("… in the kernel", |r| r.per_record(|b| b.system_seconds * 1e6)),
        // On one machine part of what a broker sends is paid for by whoever receives it: how much
        // depends on how it was sent.
        less("broker and client CPU a record, µs", |r| {
            let broker = r.cpu_us_per_record()?;
            Some(broker + r.client.as_ref()?.cpu_seconds * 1e6 / r.records as f64)
        }),
        less("context switches a 1,000 records", |r| {
            r.per_record(|b| (b.voluntary_switches + b.involuntary_switches) as f64 * 1e3)
        }),
        less("broker resident, MiB", |r| Some(r.broker.as_ref()?.rss_bytes as f64 * MIB)),
    ]
}

fn written() -> Metric {
    less("written to disk a record byte", |r| {
        let written = r.per_record(|b| b.disk_write_bytes as f64)?;
        Some(written / r.message_size as f64).filter(|v| *v > 0.0)
    })
}

fn restart() -> Vec<Metric> {
    vec![
        reported("ready on an empty directory, ms", "empty_ready_ms", 1.0),
        reported("ready after kill -9, ms", "restart.ready_ms", 1.0),
        reported("first read after kill -9, ms", "restart.first_read_ms", 1.0),
        reported("CPU until then, s", "restart.cpu_seconds", 1.0),
    ]
}

fn idle() -> Vec<Metric> {
    vec![
        less("resident, MiB", |r| Some(r.broker.as_ref()?.rss_bytes as f64 * MIB)),
        less("CPU a second, ms", |r| {
            let broker = r.broker.as_ref().filter(|b| b.seconds > 0.0)?;
            Some(broker.on_cpu_seconds * 1e3 / broker.seconds)
        }),
        less("wake-ups a second", |r| {
            let broker = r.broker.as_ref().filter(|b| b.seconds > 0.0)?;
            Some(broker.voluntary_switches as f64 / broker.seconds)
        }),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::{Counts, new_histogram};

    #[test]
    fn medians_are_of_runs_and_percentiles_of_all_values() {
        assert_eq!(median([].into_iter()), None);
        assert_eq!(median([9.0, 1.0, 2.0].into_iter()), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 9.0].into_iter()), Some(3.0));

        for name in [END_TO_END_LATENCY, COLD_END_TO_END_LATENCY, TIMER_LATENESS] {
            let run = |ms: u64, count: u64| {
                let mut histogram = new_histogram();
                histogram.saturating_record_n(ms * 1_000_000, count);
                let mut run = RunResult::default();
                run.histograms.insert(name.into(), Counts::of(&histogram));
                run
            };
            let (slow, fast) = (run(1_000, 1), run(1, 999));
            let mut shown = latencies().into_iter().chain(rocketmq());
            let p99 = shown.find(|m| matches!(m.of, Of::Latency(of, 0.99) if of == name));
            let value = p99.expect("it is shown").value(&[&slow, &fast]).expect("there are values");
            assert!(value < 1.01, "{value} is no average of 1 ms and 1 s");
        }
    }
}
