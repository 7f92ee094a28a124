//! Which charts a comparison has, and their points.

use super::chart::{Axis, BarChart, LineChart, Scale, Series};
use super::metric::median;
use super::summary::{Summary, promise};
use crate::histogram::{merge, percentiles};
use crate::report::END_TO_END_LATENCY;
use crate::run_directory::Contestant;
use crate::run_result::{RunResult, Step};
use crate::workload::{Measure, Rate, Source, Workload};
use std::collections::BTreeMap;

/// A chart, drawn.
pub struct Drawing {
    /// A word for its file.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What its reader has to know.
    pub note: String,
    /// The chart.
    pub svg: String,
}

impl Drawing {
    /// Its file beside the report.
    pub fn file_name(&self) -> String {
        format!("{}.svg", self.name)
    }
}

/// All charts there are values for.
pub fn drawings(summary: &Summary<'_>) -> Vec<Drawing> {
    let workloads = || summary.plan.workloads.iter();
    let rated = workloads().filter(|w| w.rate.is_some());
    let mut drawings: Vec<Drawing> = rated.filter_map(|w| by_percentile(summary, w)).collect();
    let searches = workloads().filter(|w| matches!(w.rate, Some(Rate::Search(_))));
    drawings.extend(searches.filter_map(|w| against_load(summary, w)));
    let sources = [Source::Librdkafka, Source::RocketmqBenchmark, Source::Raw];
    drawings.extend(sources.into_iter().filter_map(|s| by_topics(summary, s)));
    let record = "Broker CPU a record, µs";
    drawings.extend(bars(summary, "cpu-per-record", record, RunResult::cpu_us_per_record));
    let gigabyte = "Broker CPU a gigabyte, s";
    drawings.extend(bars(summary, "cpu-per-gb", gigabyte, RunResult::cpu_seconds_per_gb));
    drawings
}

fn named(contestant: &Contestant) -> String {
    format!("{} ({})", contestant.title, promise(contestant.variant))
}

/// Contestants with their colours: a system's are the same, its promises solid or dashed.
fn contestants<'a>(summary: &'a Summary<'_>) -> impl Iterator<Item = (&'a Contestant, usize)> {
    summary.plan.contestants.iter().map(|c| (c, c.variant.system as usize))
}

fn series(contestant: &Contestant, colour: usize, points: Vec<(f64, f64)>) -> Option<Series> {
    (!points.is_empty()).then(|| Series {
        name: named(contestant),
        colour,
        dashed: !contestant.variant.synced,
        points,
        mark: None,
    })
}

fn by_percentile(summary: &Summary<'_>, workload: &Workload) -> Option<Drawing> {
    let mut lines = Vec::new();
    for (contestant, colour) in contestants(summary) {
        let runs = summary.good_runs(workload, contestant.variant);
        let histogram = merge(runs.iter().filter_map(|r| r.histograms.get(END_TO_END_LATENCY)));
        let points = histogram.as_ref().map(percentiles).unwrap_or_default();
        let points = points.into_iter().filter(|(p, _)| *p < 100.0);
        let points = points.map(|(p, ns)| (p, ns as f64 / 1e6)).collect();
        lines.extend(series(contestant, colour, points));
    }
    let at = match workload.rate? {
        Rate::PerSecond(rate) => format!("{rate:.0} records a second"),
        Rate::Search(_) => "half of each one's highest rate".into(),
    };
    let chart = LineChart {
        title: format!("Latency by percentile: {}", workload.name),
        x: Axis { label: "records in a hundred that took at most so long", scale: Scale::Nines },
        y: Axis { label: "ms, end to end", scale: Scale::Log },
        series: lines,
    };
    let note = format!("At {at}, from when each record was to be sent. All runs merged.");
    drawing(format!("latency-{}", workload.name), note, chart)
}

fn against_load(summary: &Summary<'_>, workload: &Workload) -> Option<Drawing> {
    let mut lines = Vec::new();
    for (contestant, colour) in contestants(summary) {
        // Runs try different rates: one is shown, that of the middle.
        let mut runs = summary.good_runs(workload, contestant.variant);
        let highest = |r: &RunResult| r.figures.get("highest_rate").copied().unwrap_or(0.0);
        runs.sort_by(|a, b| highest(a).total_cmp(&highest(b)));
        let Some(run) = runs.get(runs.len() / 2) else { continue };
        let arrived = |s: &&Step| s.p99_ms > 0.0;
        let points = run.steps.iter().filter(arrived).map(|s| (s.rate, s.p99_ms)).collect();
        let knee = run.steps.iter().rfind(|s| s.sustained);
        lines.extend(series(contestant, colour, points).map(|line| Series {
            mark: knee.map(|k| (k.rate, k.p99_ms, format!("{:.0}/s", k.rate))),
            ..line
        }));
    }
    let chart = LineChart {
        title: format!("Latency against load: {}", workload.name),
        x: Axis { label: "records a second that were to be sent", scale: Scale::Log },
        y: Axis { label: "p99 end to end, ms", scale: Scale::Log },
        series: lines,
    };
    let note = format!(
        "The knee, with a ring, is the highest rate sustained: p99 at most {} ms and nothing left \
         behind. The run in the middle is shown.",
        workload.p99_limit_ms
    );
    drawing(format!("load-{}", workload.name), note, chart)
}

/// Throughput over the number of partitions, of one source's workloads with equal records.
fn by_topics(summary: &Summary<'_>, source: Source) -> Option<Drawing> {
    let writes = |w: &&Workload| {
        let fresh = w.producers > 0 && w.consumers == 0 && w.follows().is_none();
        fresh && w.source == source && w.rate.is_none() && w.measure == Measure::Load
    };
    let all: Vec<_> = summary.plan.workloads.iter().filter(writes).collect();
    let wide = all.iter().max_by_key(|w| w.topics)?;
    // All but the topics is the same.
    let like = |w: &Workload| (w.record_bytes, w.producers, w.keys, w.codec, w.options.clone());
    let workloads = all.iter().filter(|w| like(w) == like(wide));
    let mut lines = Vec::new();
    for (contestant, colour) in contestants(summary) {
        let mut at: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        for workload in workloads.clone() {
            let runs = summary.good_runs(workload, contestant.variant);
            let rates = runs.iter().map(|r| r.mb_per_second);
            at.entry(workload.topics).or_default().extend(rates);
        }
        let points = at.into_iter();
        let points = points.filter_map(|(t, r)| Some((t as f64, median(r.into_iter())?)));
        lines.extend(series(contestant, colour, points.collect()));
    }
    // One number of topics makes no line.
    lines.retain(|line| line.points.len() > 1);
    let chart = LineChart {
        title: format!("Throughput by topic count: {source}"),
        x: Axis { label: "topics", scale: Scale::Log },
        y: Axis { label: "MB/s", scale: Scale::Linear },
        series: lines,
    };
    let bytes = wide.record_bytes;
    let note = format!("Records of {bytes} bytes, written as fast as the broker takes them.");
    drawing(format!("topics-{}", format!("{source:?}").to_lowercase()), note, chart)
}

fn bars(
    summary: &Summary<'_>,
    name: &str,
    title: &str,
    of: fn(&RunResult) -> Option<f64>,
) -> Option<Drawing> {
    let loads = summary.plan.workloads.iter().filter(|w| w.measure == Measure::Load);
    let mut groups = Vec::new();
    for workload in loads {
        let mut bars = Vec::new();
        for (contestant, colour) in contestants(summary) {
            let runs = summary.good_runs(workload, contestant.variant);
            let value = median(runs.iter().filter_map(|r| of(r)));
            bars.extend(value.map(|value| (named(contestant), colour, value)));
        }
        if !bars.is_empty() {
            groups.push((workload.name.clone(), bars));
        }
    }
    let chart = BarChart { title: title.to_owned(), groups };
    (!chart.groups.is_empty()).then(|| Drawing {
        name: name.to_owned(),
        title: title.to_owned(),
        note: "Less is better. Each workload has a scale of its own.".into(),
        svg: chart.svg(),
    })
}

fn drawing(name: String, note: String, chart: LineChart) -> Option<Drawing> {
    let svg = (!chart.series.is_empty()).then(|| chart.svg())?;
    Some(Drawing { name, title: chart.title, note, svg })
}
