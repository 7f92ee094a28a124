//! What happened second by second: rates, backlog and latencies of each interval, and the whole
//! measurement's histograms, which are these intervals' put together.

use crate::histogram::{Summary, new_histogram};
use crate::producer::Deliveries;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(1);
/// What is left at the end counts as an interval if it is at least so long; its values count in
/// any case.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// What consumers have received. Shared by all of a workload's consumers.
pub struct Receipts {
    /// Records received so far.
    pub received: AtomicU64,
    /// From the intended send time to the record in the consumer's hands, in nanoseconds.
    pub end_to_end_ns: Mutex<Histogram<u64>>,
}

impl Default for Receipts {
    fn default() -> Self {
        Self { received: AtomicU64::new(0), end_to_end_ns: Mutex::new(new_histogram()) }
    }
}

/// One interval. Rates are a second's, latencies nanoseconds.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Interval {
    /// How long it was.
    pub seconds: f64,
    /// Records acknowledged.
    pub publish_rate: f64,
    /// Records given up.
    pub publish_error_rate: f64,
    /// Records received.
    pub consume_rate: f64,
    /// Records acknowledged and not yet received at its end, where somebody reads.
    pub backlog: u64,
    /// From the intended send time to the acknowledgement.
    pub publish: Summary,
    /// How late records were handed to the client.
    pub publish_delay: Summary,
    /// From the intended send time to the consumer.
    pub end_to_end: Summary,
}

/// What was recorded of a measurement.
pub struct Recorded {
    /// Its intervals, in their order.
    pub intervals: Vec<Interval>,
    /// From the intended send time to the acknowledgement, in nanoseconds.
    pub publish: Histogram<u64>,
    /// How late records were handed to the client, in nanoseconds.
    pub publish_delay: Histogram<u64>,
    /// From the intended send time to the consumer, in nanoseconds.
    pub end_to_end: Histogram<u64>,
}

/// A recording under way, on a thread of its own.
pub struct Timeline {
    stop: Sender<()>,
    thread: JoinHandle<Recorded>,
}

/// What is counted and timed of those who write and read.
pub trait Counters: Send + 'static {
    /// Records acknowledged, given up and received so far.
    fn totals(&self) -> (u64, u64, u64);
    /// Takes the latencies noted since the last time, in nanoseconds: [`Recorded::publish`],
    /// [`Recorded::publish_delay`] and [`Recorded::end_to_end`].
    fn take(&self) -> [Histogram<u64>; 3];
    /// Whether somebody reads.
    fn has_readers(&self) -> bool;
}

/// Those of librdkafka's clients.
struct Clients {
    deliveries: Vec<Arc<Deliveries>>,
    receipts: Option<Arc<Receipts>>,
}

impl Counters for Clients {
    fn totals(&self) -> (u64, u64, u64) {
        let sum = |of: fn(&Deliveries) -> u64| self.deliveries.iter().map(|d| of(d)).sum();
        let received = |r: &Arc<Receipts>| r.received.load(Ordering::Relaxed);
        let received = self.receipts.as_ref().map_or(0, received);
        (sum(Deliveries::acknowledged), sum(Deliveries::errors), received)
    }

    fn take(&self) -> [Histogram<u64>; 3] {
        let mut taken = [new_histogram(), new_histogram(), new_histogram()];
        for deliveries in &self.deliveries {
            let (latency, delay) = deliveries.take_latencies();
            taken[0] += latency;
            taken[1] += delay;
        }
        if let Some(receipts) = &self.receipts {
            let mut held = receipts.end_to_end_ns.lock().expect("no holder panics");
            taken[2] = std::mem::replace(&mut *held, new_histogram());
        }
        taken
    }

    fn has_readers(&self) -> bool {
        self.receipts.is_some()
    }
}

impl Timeline {
    /// Begins to record what these producers and consumers do from now on.
    pub fn start(deliveries: Vec<Arc<Deliveries>>, receipts: Option<Arc<Receipts>>) -> Self {
        Self::of(Clients { deliveries, receipts })
    }

    /// Begins to record what these counters show from now on.
    pub fn of(counters: impl Counters) -> Self {
        let (stop, stopped) = mpsc::channel();
        let mut recorder = Recorder::new(counters);
        let thread = thread::spawn(move || {
            let mut next = recorder.at + INTERVAL;
            loop {
                let left = next.saturating_duration_since(Instant::now());
                let go_on = stopped.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
                recorder.interval(Instant::now());
                next += INTERVAL;
                if !go_on {
                    return recorder.recorded;
                }
            }
        });
        Self { stop, thread }
    }

    /// Ends it.
    pub fn finish(self) -> Recorded {
        drop(self.stop);
        self.thread.join().expect("recording does not panic")
    }
}

/// Where the counters stood at the end of the last interval.
pub struct Recorder<C> {
    counters: C,
    /// That end.
    pub at: Instant,
    acknowledged: u64,
    errors: u64,
    received: u64,
    /// What there is so far.
    pub recorded: Recorded,
}

impl<C: Counters> Recorder<C> {
    /// Begins now.
    pub fn new(counters: C) -> Self {
        // What came before belongs to the warm-up.
        let (acknowledged, errors, received) = counters.totals();
        drop(counters.take());
        Self {
            counters,
            at: Instant::now(),
            acknowledged,
            errors,
            received,
            recorded: Recorded {
                intervals: Vec::new(),
                publish: new_histogram(),
                publish_delay: new_histogram(),
                end_to_end: new_histogram(),
            },
        }
    }

    /// Ends an interval, which is none of its own if it is too short.
    pub fn interval(&mut self, now: Instant) {
        let [publish, publish_delay, end_to_end] = self.counters.take();
        let (acknowledged, errors, received) = self.counters.totals();
        let length = now - self.at;
        let seconds = length.as_secs_f64();
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        if length >= SHORTEST_INTERVAL || self.recorded.intervals.is_empty() {
            self.recorded.intervals.push(Interval {
                seconds,
                publish_rate: rate(acknowledged, self.acknowledged),
                publish_error_rate: rate(errors, self.errors),
                consume_rate: rate(received, self.received),
                backlog: match self.counters.has_readers() {
                    true => acknowledged.saturating_sub(received),
                    false => 0,
                },
                publish: Summary::of(&publish),
                publish_delay: Summary::of(&publish_delay),
                end_to_end: Summary::of(&end_to_end),
            });
        }
        self.recorded.publish += publish;
        self.recorded.publish_delay += publish_delay;
        self.recorded.end_to_end += end_to_end;
        self.at = now;
        (self.acknowledged, self.errors, self.received) = (acknowledged, errors, received);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_received_is_recorded_once() {
        let receipts = Arc::new(Receipts::default());
        receipts.received.store(7, Ordering::Relaxed);
        receipts.end_to_end_ns.lock().expect("no holder panics").saturating_record(5_000);
        let clients = Clients { deliveries: Vec::new(), receipts: Some(receipts.clone()) };
        let mut recorder = Recorder::new(clients);
        receipts.received.store(17, Ordering::Relaxed);
        receipts.end_to_end_ns.lock().expect("no holder panics").saturating_record(9_000);
        recorder.interval(Instant::now());
        recorder.interval(Instant::now());
        let recorded = recorder.recorded;
        assert_eq!(recorded.end_to_end.len(), 1);
        let interval = &recorded.intervals[0];
        assert!((interval.consume_rate * interval.seconds - 10.0).abs() < 1e-6);
        assert!(recorded.intervals.iter().skip(1).all(|i| i.consume_rate == 0.0));
    }
}
