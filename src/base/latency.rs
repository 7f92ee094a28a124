//! A latency histogram: one per shard and stage, merged when asked for, never averaged.

use std::time::Duration;

use hdrhistogram::Histogram;

/// Durations from 1 µs to one hour with three significant digits, in 64-bit counts.
///
/// A value beyond the range is counted at its edge. Lives on one core; [`Latency::merge`] joins the
/// copies of several.
#[derive(Clone, Debug)]
pub struct Latency {
    histogram: Histogram<u64>,
    sum_us: u64,
}

impl Default for Latency {
    fn default() -> Self {
        let mut histogram = Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("bounds hold");
        histogram.auto(false);
        Self { histogram, sum_us: 0 }
    }
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.sum_us = self.sum_us.saturating_add(us);
        self.histogram.saturating_record(us.max(1));
    }

    /// Adds another histogram's counts to this one.
    pub fn merge(&mut self, other: &Self) {
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    /// How many durations were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// How many of the counted durations were at most `limit`, to the histogram's precision.
    #[must_use]
    pub fn count_up_to(&self, limit: Duration) -> u64 {
        let us = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX);
        self.histogram.count_between(0, us.min(self.histogram.high()))
    }

    /// The sum of all durations.
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// The duration that the fraction `quantile` (0 to 1) of all counted ones did not exceed.
    #[must_use]
    pub fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.histogram.value_at_quantile(quantile))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_histograms_hold_both_parts() {
        let (mut low, mut high) = (Latency::default(), Latency::default());
        (0..99).for_each(|_| low.record(Duration::from_micros(100)));
        high.record(Duration::from_millis(50));
        low.merge(&high);
        assert_eq!(low.count(), 100);
        assert_eq!(low.sum(), Duration::from_micros(59_900));
        assert_eq!(low.quantile(0.5), Duration::from_micros(100));
        assert!(low.quantile(1.0) >= Duration::from_millis(50));
        assert_eq!(low.count_up_to(Duration::from_micros(99)), 0);
        assert_eq!(low.count_up_to(Duration::from_micros(100)), 99);
        assert_eq!(low.count_up_to(Duration::from_secs(7_200)), 100);
    }
}
