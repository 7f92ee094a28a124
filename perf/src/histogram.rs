//! Histograms: how they are kept, put together and written down. They are merged by their counts;
//! percentiles of several runs are never averaged.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Ticks for each halving of the distance to 100 %, as HdrHistogram's own tools write them.
const TICKS_PER_HALF_DISTANCE: u32 = 5;
const NS_PER_MS: f64 = 1e6;

/// A histogram of nanoseconds from a microsecond to ten minutes, three significant digits.
pub fn new_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1_000, 600_000_000_000, 3).expect("the bounds are in order")
}

/// A histogram as it is kept in results: every value that occurred, in nanoseconds and rounded to
/// three digits, with its count.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts(Vec<(u64, u64)>);

impl Counts {
    /// What a histogram holds.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let recorded = histogram.iter_recorded();
        Self(recorded.map(|v| (v.value_iterated_to(), v.count_since_last_iteration())).collect())
    }

    /// Adds these to a histogram. The values are those of its own buckets, so nothing is lost.
    pub fn add_to(&self, histogram: &mut Histogram<u64>) {
        for &(value, count) in &self.0 {
            histogram.saturating_record_n(value, count);
        }
    }
}

/// All of these as one histogram; none if there is no value.
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a Counts>) -> Option<Histogram<u64>> {
    let mut whole = new_histogram();
    for part in parts {
        part.add_to(&mut whole);
    }
    (!whole.is_empty()).then_some(whole)
}

/// The points of a distribution that reports name, in nanoseconds.
#[derive(Debug, Default, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Summary {
    pub avg: f64,
    pub p50: u64,
    pub p75: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub p9999: u64,
    pub p99999: u64,
    pub max: u64,
}

impl Summary {
    /// Of a histogram.
    pub fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile);
        Self {
            avg: histogram.mean(),
            p50: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            p99999: at(0.99999),
            max: histogram.max(),
        }
    }
}

/// A distribution as points: how many values in a hundred are at most so many nanoseconds.
pub fn percentiles(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let steps = histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE);
    steps.map(|v| (v.quantile_iterated_to() * 100.0, v.value_iterated_to())).collect()
}

/// The text HdrHistogram's plotters read, in milliseconds.
pub fn hgrm(histogram: &Histogram<u64>) -> String {
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    let mut total = 0;
    // Writing to a string does not fail.
    for v in histogram.iter_quantiles(TICKS_PER_HALF_DISTANCE) {
        total += v.count_since_last_iteration();
        let (value, quantile) =
            (v.value_iterated_to() as f64 / NS_PER_MS, v.quantile_iterated_to());
        let _ = write!(text, "{value:12.3} {quantile:14.12} {total:10}");
        let _ = match quantile < 1.0 {
            true => writeln!(text, " {:14.2}", 1.0 / (1.0 - quantile)),
            false => writeln!(text),
        };
    }
    let (mean, deviation) = (histogram.mean() / NS_PER_MS, histogram.stdev() / NS_PER_MS);
    let (max, count) = (histogram.max() as f64 / NS_PER_MS, histogram.len());
    let sub_buckets = 2 * 10_u32.pow(u32::from(histogram.sigfig())).next_power_of_two();
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let _ = writeln!(
        text,
        "#[Buckets = {:12}, SubBuckets     = {sub_buckets:12}]",
        histogram.buckets()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Histogram<u64> {
        let mut histogram = new_histogram();
        values.iter().for_each(|v| histogram.saturating_record(*v));
        histogram
    }

    #[test]
    fn runs_are_merged_by_their_counts() {
        // A slow run of few values and a fast one of many: averaging would put p99 at 500 ms.
        let (slow, fast) = (of(&[1_000_000_000; 10]), of(&[1_000_000; 9_990]));
        let parts = [Counts::of(&slow), Counts::of(&fast)];
        let whole = merge(&parts).expect("there are values");
        assert_eq!(whole.len(), 10_000);
        assert!(whole.value_at_quantile(0.99) < 1_002_000);
        assert!(whole.value_at_quantile(0.9995) > 990_000_000);
        assert_eq!(merge(&[]), None);
    }

    #[test]
    fn counts_come_back_from_json_without_loss() {
        let histogram = of(&[1_000, 1_234_567, 1_234_567, 88_888_888_888]);
        let json = serde_json::to_string(&Counts::of(&histogram)).expect("plain numbers");
        let back: Counts = serde_json::from_str(&json).expect("what was written");
        assert_eq!(merge([&back]), Some(histogram));
    }

    #[test]
    fn hgrm_is_what_plotters_read() {
        let text = hgrm(&of(&[1_000_000, 2_000_000, 3_000_000, 4_000_000]));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "       Value     Percentile TotalCount 1/(1-Percentile)");
        assert_eq!(lines[1], "");
        assert_eq!(lines[2], "       1.000 0.000000000000          1           1.00");
        let last = lines.iter().rfind(|l| !l.starts_with('#')).expect("there are values");
        assert_eq!(last.split_whitespace().collect::<Vec<_>>(), ["4.002", "1.000000000000", "4"]);
        assert!(
            lines
                .iter()
                .any(|l| l.starts_with("#[Max     =        4.002, Total count    =            4]"))
        );
        assert!(lines.last().is_some_and(|l| l.ends_with("SubBuckets     =         2048]")));
    }
}
