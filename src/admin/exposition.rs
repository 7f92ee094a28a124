//! Metrics as plain data, and as Prometheus's text format 0.0.4.
//!
//! Names are given without the prefix `mainstem_`. Units are seconds and bytes, said in the name;
//! a counter's name ends in `_total`.

use std::fmt::Write as _;

use crate::base::{Latency, Stage, Stages};

/// What the text format is called in HTTP.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of a histogram's buckets, in microseconds: 1, 2 and 5 from 10 µs to 10 s.
const BUCKETS_US: [u32; 19] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000,
    500_000, 1_000_000, 2_000_000, 5_000_000, 10_000_000,
];

/// How a family's values are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Debug)]
enum Value {
    Number(f64),
    Latency(Box<Latency>),
}

#[derive(Clone, Debug)]
struct Sample {
    labels: Vec<(&'static str, String)>,
    value: Value,
}

impl Sample {
    /// Adds the value of a sample with the same labels.
    fn add(&mut self, other: &Self) {
        match (&mut self.value, &other.value) {
            (Value::Number(sum), Value::Number(more)) => *sum += more,
            (Value::Latency(sum), Value::Latency(more)) => sum.merge(more),
            (Value::Number(_), Value::Latency(_)) | (Value::Latency(_), Value::Number(_)) => {
                unreachable!("a family's samples are of its kind")
            }
        }
    }
}

/// One metric with all its samples.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    samples: Vec<Sample>,
}

impl Family {
    /// `mainstem_stage_seconds`, one histogram for each stage.
    #[must_use]
    pub fn stages(stages: &Stages) -> Self {
        let family = Self::histogram("stage_seconds", "Time spent in each stage of a request.");
        Stage::ALL.into_iter().fold(family, |family, stage| {
            family.latency(&[("stage", stage.name())], stages.of(stage).clone())
        })
    }

    fn new(name: &'static str, help: &'static str, kind: Kind) -> Self {
        let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        assert!(name.bytes().all(legal), "{name} is no metric's name");
        assert!(
            name.ends_with("_total") == (kind == Kind::Counter),
            "{name}: counters and only counters end in _total"
        );
        Self { name, help, kind, samples: Vec::new() }
    }

    /// A number that only grows; `name` ends in `_total`.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Counter)
    }

    /// A number that goes up and down.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Gauge)
    }

    /// Durations by size; `name` ends in `_seconds`.
    #[must_use]
    pub fn histogram(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, Kind::Histogram)
    }

    /// Adds a counter's or gauge's value.
    #[must_use]
    pub fn number(mut self, labels: &[(&'static str, &str)], value: f64) -> Self {
        assert!(self.kind != Kind::Histogram, "{} counts durations", self.name);
        self.push(Sample { labels: owned(labels), value: Value::Number(value) });
        self
    }

    /// Adds a counter's or gauge's whole value (exact up to 2^53).
    #[must_use]
    pub fn count(self, labels: &[(&'static str, &str)], value: u64) -> Self {
        self.number(labels, value as f64)
    }

    /// Adds a histogram's durations.
    #[must_use]
    pub fn latency(mut self, labels: &[(&'static str, &str)], latency: Latency) -> Self {
        assert!(self.kind == Kind::Histogram, "{} counts no durations", self.name);
        self.push(Sample { labels: owned(labels), value: Value::Latency(Box::new(latency)) });
        self
    }

    fn push(&mut self, sample: Sample) {
        match self.samples.iter_mut().find(|known| known.labels == sample.labels) {
            Some(known) => known.add(&sample),
            None => self.samples.push(sample),
        }
    }

    fn write(&self, out: &mut String) {
        let name = self.name;
        let kind = match self.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let help = self.help.replace('\\', r"\\").replace('\n', r"\n");
        _ = writeln!(out, "# HELP mainstem_{name} {help}\n# TYPE mainstem_{name} {kind}");
        for Sample { labels, value } in &self.samples {
            match value {
                Value::Number(number) => line(out, name, "", labels, None, *number),
                Value::Latency(latency) => buckets(out, name, labels, latency),
            }
        }
    }
}

fn owned(labels: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    labels.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

fn buckets(out: &mut String, name: &str, labels: &[(&str, String)], latency: &Latency) {
    for us in BUCKETS_US {
        let limit = std::time::Duration::from_micros(us.into());
        let bound = limit.as_secs_f64().to_string();
        let count = latency.count_up_to(limit) as f64;
        line(out, name, "_bucket", labels, Some(("le", &bound)), count);
    }
    let count = latency.count() as f64;
    line(out, name, "_bucket", labels, Some(("le", "+Inf")), count);
    line(out, name, "_sum", labels, None, latency.sum().as_secs_f64());
    line(out, name, "_count", labels, None, count);
}

fn line(
    out: &mut String,
    name: &str,
    suffix: &str,
    labels: &[(&str, String)],
    last: Option<(&str, &str)>,
    value: f64,
) {
    _ = write!(out, "mainstem_{name}{suffix}");
    let all = labels.iter().map(|(name, value)| (*name, value.as_str())).chain(last);
    let mut open = false;
    for (label, value) in all {
        out.push(if open { ',' } else { '{' });
        open = true;
        _ = write!(out, "{label}=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str(r"\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str(r"\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if open {
        out.push('}');
    }
    if value.is_infinite() {
        out.push_str(if value > 0.0 { " +Inf\n" } else { " -Inf\n" });
    } else {
        _ = writeln!(out, " {value}");
    }
}

/// All metrics at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    families: Vec<Family>,
}

impl Snapshot {
    /// Adds a family. Samples of the same name and labels are added up, durations merged, so that
    /// each shard may give its own.
    pub fn push(&mut self, family: Family) {
        let known = self.families.iter_mut().find(|known| known.name == family.name);
        let Some(known) = known else {
            self.families.push(family);
            return;
        };
        assert!(known.kind == family.kind, "{} is of two kinds", family.name);
        family.samples.into_iter().for_each(|sample| known.push(sample));
    }

    /// Adds all families of another snapshot.
    pub fn absorb(&mut self, other: Self) {
        other.families.into_iter().for_each(|family| self.push(family));
    }

    /// The text format; HELP and TYPE once for each name.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        self.families.iter().for_each(|family| family.write(&mut out));
        out
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn shards_add_up_under_one_heading() {
        let shard = |shard: &str, records: u64| {
            let mut snapshot = Snapshot::default();
            snapshot.push(Family::counter("records_total", "Records.").count(&[], records));
            let connections = Family::gauge("connections", "Open \\ connections\nnow.");
            snapshot.push(connections.number(&[("shard", shard)], 1.5));
            snapshot
        };
        let mut all = shard("0", 3);
        all.absorb(shard("1", 4));
        let expected = "\
            # HELP mainstem_records_total Records.\n\
            # TYPE mainstem_records_total counter\n\
            mainstem_records_total 7\n\
            # HELP mainstem_connections Open \\\\ connections\\nnow.\n\
            # TYPE mainstem_connections gauge\n\
            mainstem_connections{shard=\"0\"} 1.5\n\
            mainstem_connections{shard=\"1\"} 1.5\n";
        assert_eq!(all.text(), expected);
    }

    #[test]
    fn labels_are_escaped_and_numbers_written_as_prometheus_reads_them() {
        let gauge = Family::gauge("x", "X.")
            .number(&[("a", "q\"b\\s\nl"), ("b", "ü")], f64::INFINITY)
            .number(&[], f64::NAN)
            .number(&[("a", "big")], 1e15);
        let mut snapshot = Snapshot::default();
        snapshot.push(gauge);
        let text = snapshot.text();
        assert!(text.contains("mainstem_x{a=\"q\\\"b\\\\s\\nl\",b=\"ü\"} +Inf\n"), "{text}");
        assert!(text.contains("mainstem_x NaN\n"), "{text}");
        assert!(text.contains("mainstem_x{a=\"big\"} 1000000000000000\n"), "{text}");
    }

    #[test]
    fn histograms_are_cumulative_and_in_seconds() {
        let of = |micros: &[u64]| {
            let mut latency = Latency::default();
            micros.iter().for_each(|us| latency.record(Duration::from_micros(*us)));
            Family::histogram("stage_seconds", "S.").latency(&[("stage", "write")], latency)
        };
        let mut snapshot = Snapshot::default();
        snapshot.push(of(&[40, 60]));
        snapshot.push(of(&[60, 20_000_000]));
        let text = snapshot.text();
        for line in [
            "_bucket{stage=\"write\",le=\"0.00002\"} 0",
            "_bucket{stage=\"write\",le=\"0.00005\"} 1",
            "_bucket{stage=\"write\",le=\"0.0001\"} 3",
            "_bucket{stage=\"write\",le=\"10\"} 3",
            "_bucket{stage=\"write\",le=\"+Inf\"} 4",
            "_sum{stage=\"write\"} 20.00016",
            "_count{stage=\"write\"} 4",
        ] {
            assert!(text.contains(&format!("mainstem_stage_seconds{line}\n")), "{line}: {text}");
        }
        assert_eq!(text.matches("# TYPE").count(), 1);
    }
}
