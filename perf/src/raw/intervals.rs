//! What happened second by second in the measured time, by the threads' gauges.

use super::control::{Gauge, Stage};
use crate::histogram::new_histogram;
use crate::timeline::{Counters, Timeline};
use hdrhistogram::Histogram;
use std::sync::Arc;

/// The gauges of a run.
struct Gauges {
    senders: Vec<Arc<Gauge>>,
    receivers: Vec<Arc<Gauge>>,
}

/// Begins to record what these threads do from now on.
pub fn start(senders: Vec<Arc<Gauge>>, receivers: Vec<Arc<Gauge>>) -> Timeline {
    Timeline::of(Gauges { senders, receivers })
}

impl Counters for Gauges {
    fn totals(&self) -> (u64, u64, u64) {
        let sum = |of: &[Arc<Gauge>]| of.iter().map(|gauge| gauge.records()).sum();
        let errors = self.senders.iter().map(|gauge| gauge.errors()).sum();
        (sum(&self.senders), errors, sum(&self.receivers))
    }

    fn take(&self) -> [Histogram<u64>; 3] {
        [
            taken(&self.senders, Stage::Publish),
            taken(&self.senders, Stage::PublishDelay),
            taken(&self.receivers, Stage::EndToEnd),
        ]
    }

    fn has_readers(&self) -> bool {
        !self.receivers.is_empty()
    }
}

/// What threads timed since the last time.
fn taken(gauges: &[Arc<Gauge>], stage: Stage) -> Histogram<u64> {
    let mut all = new_histogram();
    gauges.iter().for_each(|gauge| all += gauge.take(stage));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timeline::Recorder;
    use std::time::Duration;

    #[test]
    fn what_gauges_count_is_in_one_interval() {
        let (sender, receiver) = (Arc::<Gauge>::default(), Arc::<Gauge>::default());
        sender.count(1_000);
        let (senders, receivers) = (vec![sender.clone()], vec![receiver.clone()]);
        let mut recorder = Recorder::new(Gauges { senders, receivers });
        let began = recorder.at;
        sender.count(500);
        sender.fail(3);
        sender.took(Stage::Publish, 2_000_000);
        receiver.count(1_200);
        receiver.took(Stage::EndToEnd, 5_000_000);
        recorder.interval(began + Duration::from_secs(2));
        recorder.interval(began + Duration::from_secs(3));
        recorder.interval(began + Duration::from_millis(3_050));
        let [first, second] = &recorder.recorded.intervals[..] else {
            panic!("the last is too short")
        };
        let rates = (first.publish_rate, first.publish_error_rate, first.consume_rate);
        assert_eq!(rates, (250.0, 1.5, 600.0));
        assert_eq!((first.seconds, first.backlog), (2.0, 300));
        assert_eq!((first.publish.p50 / 10_000, first.end_to_end.max / 10_000), (200, 500));
        let rates = (second.publish_rate, second.publish_error_rate, second.consume_rate);
        assert_eq!((rates, second.publish.max), ((0.0, 0.0, 0.0), 0));
    }
}
