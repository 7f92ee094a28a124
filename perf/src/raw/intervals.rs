//! What happened second by second in the measured time, as [`crate::timeline`] has it of clients.

use super::control::{Gauge, Stage};
use crate::histogram::Summary;
use crate::timeline::Interval;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);
/// What is left at the end counts as an interval if it is at least so long.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// A recording under way, on a thread of its own.
pub struct Intervals {
    stop: Sender<()>,
    thread: JoinHandle<Vec<Interval>>,
}

impl Intervals {
    /// Begins to record what these threads do from now on.
    pub fn start(senders: Vec<Arc<Gauge>>, receivers: Vec<Arc<Gauge>>) -> Self {
        let (stop, stopped) = mpsc::channel();
        let mut recorder = Recorder::new(senders, receivers);
        let thread = thread::spawn(move || {
            let mut next = recorder.at + INTERVAL;
            loop {
                let left = next.saturating_duration_since(Instant::now());
                let go_on = stopped.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
                recorder.interval(Instant::now());
                next += INTERVAL;
                if !go_on {
                    return recorder.intervals;
                }
            }
        });
        Self { stop, thread }
    }

    /// Ends it.
    pub fn finish(self) -> Vec<Interval> {
        drop(self.stop);
        self.thread.join().expect("recording does not panic")
    }
}

/// Where the gauges stood at the end of the last interval.
struct Recorder {
    senders: Vec<Arc<Gauge>>,
    receivers: Vec<Arc<Gauge>>,
    at: Instant,
    acknowledged: u64,
    errors: u64,
    received: u64,
    intervals: Vec<Interval>,
}

impl Recorder {
    fn new(senders: Vec<Arc<Gauge>>, receivers: Vec<Arc<Gauge>>) -> Self {
        let at = Instant::now();
        let (acknowledged, errors, received) = totals(&senders, &receivers);
        let intervals = Vec::new();
        Self { senders, receivers, at, acknowledged, errors, received, intervals }
    }

    fn interval(&mut self, now: Instant) {
        let length = now - self.at;
        if length < SHORTEST_INTERVAL && !self.intervals.is_empty() {
            return;
        }
        let (acknowledged, errors, received) = totals(&self.senders, &self.receivers);
        let seconds = length.as_secs_f64();
        let rate = |now: u64, then: u64| (now - then) as f64 / seconds;
        let both = !self.senders.is_empty() && !self.receivers.is_empty();
        self.intervals.push(Interval {
            seconds,
            publish_rate: rate(acknowledged, self.acknowledged),
            publish_error_rate: rate(errors, self.errors),
            consume_rate: rate(received, self.received),
            backlog: if both { acknowledged.saturating_sub(received) } else { 0 },
            publish: Summary::of(&taken(&self.senders, Stage::Publish)),
            publish_delay: Summary::of(&taken(&self.senders, Stage::PublishDelay)),
            end_to_end: Summary::of(&taken(&self.receivers, Stage::EndToEnd)),
        });
        self.at = now;
        (self.acknowledged, self.errors, self.received) = (acknowledged, errors, received);
    }
}

/// Records acknowledged, refused and received since the threads began.
fn totals(senders: &[Arc<Gauge>], receivers: &[Arc<Gauge>]) -> (u64, u64, u64) {
    let sum = |of: &[Arc<Gauge>]| of.iter().map(|gauge| gauge.records()).sum();
    (sum(senders), senders.iter().map(|gauge| gauge.errors()).sum(), sum(receivers))
}

/// What threads timed since the last time.
fn taken(gauges: &[Arc<Gauge>], stage: Stage) -> Histogram<u64> {
    let mut all = crate::histogram::new_histogram();
    gauges.iter().for_each(|gauge| all += gauge.take(stage));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gauges_count_is_in_one_interval() {
        let (sender, receiver) = (Arc::<Gauge>::default(), Arc::<Gauge>::default());
        sender.count(1_000);
        let mut recorder = Recorder::new(vec![sender.clone()], vec![receiver.clone()]);
        let began = recorder.at;
        sender.count(500);
        sender.fail(3);
        sender.took(Stage::Publish, 2_000_000);
        receiver.count(1_200);
        receiver.took(Stage::EndToEnd, 5_000_000);
        recorder.interval(began + Duration::from_secs(2));
        recorder.interval(began + Duration::from_secs(3));
        recorder.interval(began + Duration::from_millis(3_050));
        let [first, second] = &recorder.intervals[..] else { panic!("the last is too short") };
        let rates = (first.publish_rate, first.publish_error_rate, first.consume_rate);
        assert_eq!(rates, (250.0, 1.5, 600.0));
        assert_eq!((first.seconds, first.backlog), (2.0, 300));
        assert_eq!((first.publish.p50 / 10_000, first.end_to_end.max / 10_000), (200, 500));
        let rates = (second.publish_rate, second.publish_error_rate, second.consume_rate);
        assert_eq!((rates, second.publish.max), ((0.0, 0.0, 0.0), 0));
    }
}
