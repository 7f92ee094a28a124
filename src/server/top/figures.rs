//! What happened between two readings.

use super::reading::Reading;
use crate::{admin::Top, base::Stage};

/// What a frame shows. Rates are by the second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    pub uptime_s: f64,
    /// Something is wrong with the log: why nothing, or not all, is taken.
    pub troubles: Vec<&'static str>,
    pub messages_in: f64,
    pub batches_in: f64,
    pub bytes_in: f64,
    pub messages_out: f64,
    pub bytes_out: f64,
    pub bytes_written: f64,
    /// What was taken and is not durable yet.
    pub log_lag_bytes: f64,
    pub log_disk_bytes: f64,
    /// Cores' worth of processor time.
    pub cpu: f64,
    pub resident_bytes: f64,
    pub connections: f64,
    pub partitions: f64,
    pub groups: f64,
    pub stages: Vec<StageFigures>,
    pub top: Top,
}

/// A stage in the time between two readings.
#[derive(Clone, Debug, PartialEq)]
pub struct StageFigures {
    pub name: &'static str,
    /// How often it was passed, by the second.
    pub rate: f64,
    /// Seconds; none where it was not passed.
    pub times: Option<StageTimes>,
}

/// How long a stage took, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StageTimes {
    pub mean_s: f64,
    pub p50_s: f64,
    pub p99_s: f64,
}

impl Figures {
    /// From two readings of one process, the earlier one first.
    pub fn between(earlier: &Reading, later: &Reading) -> Self {
        let elapsed_s = later.at.saturating_sub(earlier.at).as_secs_f64().max(1e-3);
        let grown = |name: &str| (later.number(name) - earlier.number(name)).max(0.0);
        let rate = |name: &str| grown(name) / elapsed_s;
        let now = |name: &str| later.number(name);
        let signs = [
            ("log_stopped", "the log is stopped"),
            ("log_holes", "the log has holes"),
            ("log_disk_full", "the disk is full"),
        ];
        let troubles = signs.into_iter().filter(|(name, _)| now(name) > 0.0);
        let stage = |stage: Stage| {
            let name = stage.name();
            let label = format!("{{stage=\"{name}\"}}");
            let count = grown(&format!("stage_seconds_count{label}"));
            let sum_s = grown(&format!("stage_seconds_sum{label}"));
            let buckets = grown_buckets(&earlier.buckets(name), &later.buckets(name));
            let times = (count > 0.0).then(|| StageTimes {
                mean_s: sum_s / count,
                p50_s: quantile(&buckets, 0.5),
                p99_s: quantile(&buckets, 0.99),
            });
            StageFigures { name, rate: count / elapsed_s, times }
        };
        let cpu = |mode| rate(&format!("process_cpu_seconds_total{{mode=\"{mode}\"}}"));
        Self {
            uptime_s: now("uptime_seconds"),
            troubles: troubles.map(|(_, trouble)| trouble).collect(),
            messages_in: rate("records_produced_total"),
            batches_in: rate("batches_produced_total"),
            bytes_in: rate("bytes_produced_total"),
            messages_out: rate("records_fetched_total") + rate("messages_pulled_total"),
            bytes_out: rate("bytes_fetched_total") + rate("bytes_pulled_total"),
            bytes_written: rate("log_written_bytes_total"),
            log_lag_bytes: now("log_inflight_bytes"),
            log_disk_bytes: now("log_disk_bytes"),
            cpu: cpu("user") + cpu("system"),
            resident_bytes: now("process_resident_bytes"),
            connections: now("connections"),
            partitions: now("partitions"),
            groups: now("groups"),
            stages: Stage::ALL.into_iter().map(stage).collect(),
            top: later.top.clone(),
        }
    }
}

fn grown_buckets(earlier: &[(f64, f64)], later: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let before = |bound: f64| {
        let bucket = earlier.iter().find(|(of, _)| of.total_cmp(&bound).is_eq());
        bucket.map_or(0.0, |(_, count)| *count)
    };
    later.iter().map(|(bound, count)| (*bound, (count - before(*bound)).max(0.0))).collect()
}

/// As Prometheus's `histogram_quantile`: even between a bucket's bounds, and the largest bound there
/// is for what lies beyond.
fn quantile(buckets: &[(f64, f64)], quantile: f64) -> f64 {
    let rank = buckets.last().map_or(0.0, |(_, all)| all * quantile);
    let (mut low_s, mut below) = (0.0, 0.0);
    for (bound_s, count) in buckets {
        if *count >= rank && *count > below {
            let part = (rank - below) / (count - below);
            return if bound_s.is_finite() { low_s + (bound_s - low_s) * part } else { low_s };
        }
        if bound_s.is_finite() {
            low_s = *bound_s;
        }
        below = *count;
    }
    low_s
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn quantiles_lie_between_a_buckets_bounds() {
        let buckets = [(0.001, 0.0), (0.002, 50.0), (0.005, 100.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&buckets, 0.5) - 0.002).abs() < 1e-9);
        assert!((quantile(&buckets, 0.75) - 0.0035).abs() < 1e-9);
        let beyond = [(0.001, 1.0), (f64::INFINITY, 100.0)];
        assert!((quantile(&beyond, 0.99) - 0.001).abs() < 1e-9);
    }

    #[test]
    fn rates_are_what_grew_by_the_time_between() {
        let page = |records, fetched, pulled, parsed, sum| {
            format!(
                "# HELP mainstem_records_produced_total Records.\n\
                 mainstem_records_produced_total {records}\n\
                 mainstem_records_fetched_total {fetched}\n\
                 mainstem_messages_pulled_total {pulled}\n\
                 mainstem_bytes_fetched_total {fetched}000\n\
                 mainstem_bytes_pulled_total {pulled}00\n\
                 mainstem_log_disk_full 1\n\
                 mainstem_stage_seconds_bucket{{stage=\"parse\",le=\"0.00001\"}} 7\n\
                 mainstem_stage_seconds_bucket{{stage=\"parse\",le=\"0.00002\"}} {parsed}\n\
                 mainstem_stage_seconds_bucket{{stage=\"parse\",le=\"+Inf\"}} {parsed}\n\
                 mainstem_stage_seconds_sum{{stage=\"parse\"}} {sum}\n\
                 mainstem_stage_seconds_count{{stage=\"parse\"}} {parsed}\n"
            )
        };
        let reading =
            |at, page: &str| Reading::parse(Duration::from_secs(at), page, Top::default());
        let figures = Figures::between(
            &reading(10, &page(100, 5, 1, 7, 0.0)),
            &reading(12, &page(300, 25, 11, 17, 0.00015)),
        );
        assert_eq!((figures.messages_in, figures.messages_out), (100.0, 15.0));
        assert_eq!(figures.bytes_out, 10_500.0);
        assert_eq!(figures.troubles, ["the disk is full"]);
        let parse = &figures.stages[0];
        let times = parse.times.unwrap();
        assert_eq!((parse.name, parse.rate), ("parse", 5.0));
        assert!((times.mean_s - 0.000_015).abs() < 1e-9 && (times.p50_s - 0.000_015).abs() < 1e-9);
        assert_eq!(figures.stages[1].times, None);
    }
}
