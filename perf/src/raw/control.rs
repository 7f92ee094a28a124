//! How the threads of a run are started, watched and ended.

use crate::error::{PerfError, Result};
use crate::histogram::new_histogram;
use crate::payload::new_run;
use crate::proc_stat::{Meter, ProcUse};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// A generator's thread that is busy for this share of its time may be what holds the run back.
const LIMIT_SHARE: f64 = 0.9;
/// Without any answer for so long, a broker is held to have stopped.
pub const STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a broker that still answers may take, in all, for what is due at the end.
const ENDING_TIMEOUT: Duration = Duration::from_secs(300);
/// How often the main thread looks whether the others are done.
const LOOK: Duration = Duration::from_millis(2);

/// What all threads of a run share.
pub struct Control {
    /// When it began; every time of the run counts from here.
    pub epoch: Instant,
    /// The run's number, which all of its records carry.
    pub run: u64,
    /// Nothing more is sent.
    pub stop_sending: AtomicBool,
    /// Nothing more is read.
    pub stop_reading: AtomicBool,
    /// After the warm-up, before the end: what was to be sent then counts.
    pub measured: Span,
    /// While a cold reader is at work.
    pub cold: Span,
}

/// A stretch of a run's time, in nanoseconds since its beginning. It is given while it lasts, so
/// that what was to be sent in it still counts when it is received after it.
pub struct Span {
    from: AtomicU64,
    until: AtomicU64,
}

impl Span {
    const fn never() -> Self {
        Self { from: AtomicU64::new(u64::MAX), until: AtomicU64::new(u64::MAX) }
    }

    /// Whether a time lies in it.
    pub fn holds(&self, time_ns: u64) -> bool {
        self.from.load(Relaxed) <= time_ns && time_ns < self.until.load(Relaxed)
    }

    /// Whether it has been ended, and that at this time or before it.
    pub fn is_over_at(&self, time_ns: u64) -> bool {
        self.until.load(Relaxed) <= time_ns
    }

    /// Begins it.
    pub fn begin(&self, now_ns: u64) {
        self.from.store(now_ns, Relaxed);
    }

    /// Ends it.
    pub fn end(&self, now_ns: u64) {
        self.until.store(now_ns, Relaxed);
    }
}

impl Control {
    /// The beginning of a run.
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            epoch: Instant::now(),
            run: new_run(),
            stop_sending: AtomicBool::new(false),
            stop_reading: AtomicBool::new(false),
            measured: Span::never(),
            cold: Span::never(),
        })
    }

    /// Nanoseconds since the beginning.
    pub fn now_ns(&self) -> u64 {
        self.epoch.elapsed().as_nanos() as u64
    }
}

/// The last stretch of a sending thread: what is due is yet to be sent, and answers are to come.
pub struct Ending {
    began: Instant,
    acknowledged: u64,
    since: Instant,
}

impl Ending {
    /// One that begins now.
    pub fn new(now: Instant) -> Self {
        Self { began: now, acknowledged: 0, since: now }
    }

    /// Whether it is no use to wait on: nothing was acknowledged for a minute, or all of it takes
    /// more than five. `acknowledged` are the thread's records so far.
    pub fn is_overdue(&mut self, now: Instant, acknowledged: u64) -> bool {
        if acknowledged > self.acknowledged {
            (self.acknowledged, self.since) = (acknowledged, now);
        }
        now - self.since > STALL_TIMEOUT || now - self.began > ENDING_TIMEOUT
    }
}

/// What a latency is of, from the intended send time on.
#[derive(Clone, Copy, Debug)]
pub enum Stage {
    /// To the acknowledgement.
    Publish,
    /// To the sending.
    PublishDelay,
    /// To the consumer.
    EndToEnd,
}

/// What one thread has done so far, for others to read.
pub struct Gauge {
    records: AtomicU64,
    errors: AtomicU64,
    busy_ns: AtomicU64,
    /// What each stage took since it was looked at last. Nobody else waits for it but once a second.
    recent: Mutex<[Histogram<u64>; 3]>,
}

impl Default for Gauge {
    fn default() -> Self {
        Self {
            records: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            recent: Mutex::new([new_histogram(), new_histogram(), new_histogram()]),
        }
    }
}

impl Gauge {
    /// Adds records: acknowledged ones, or read ones.
    pub fn count(&self, records: u64) {
        self.records.fetch_add(records, Relaxed);
    }

    /// Adds records that were refused.
    pub fn fail(&self, records: u64) {
        self.errors.fetch_add(records, Relaxed);
    }

    /// Notes how long a stage took, in nanoseconds.
    pub fn took(&self, stage: Stage, ns: u64) {
        let mut recent = self.recent.lock().expect("no holder panics");
        recent[stage as usize].saturating_record(ns);
    }

    /// Takes what was noted of a stage since the last time.
    pub fn take(&self, stage: Stage) -> Histogram<u64> {
        let mut recent = self.recent.lock().expect("no holder panics");
        std::mem::replace(&mut recent[stage as usize], new_histogram())
    }

    /// Adds time in which the thread did not wait for the broker.
    pub fn worked(&self, time: Duration) {
        self.busy_ns.fetch_add(time.as_nanos() as u64, Relaxed);
    }

    /// All records so far.
    pub fn records(&self) -> u64 {
        self.records.load(Relaxed)
    }

    /// All refused records so far.
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }
}

/// Threads that do the same, each with a result at its end.
pub struct Team<T> {
    name: &'static str,
    members: Vec<(Arc<Gauge>, JoinHandle<Result<T>>)>,
}

impl<T: Send + 'static> Team<T> {
    /// Starts a thread for each of the tasks.
    pub fn start<W>(name: &'static str, tasks: impl IntoIterator<Item = W>) -> Self
    where
        W: FnOnce(Arc<Gauge>) -> Result<T> + Send + 'static,
    {
        let members = tasks.into_iter().map(|task| {
            let gauge = Arc::new(Gauge::default());
            let own = gauge.clone();
            (gauge, thread::spawn(move || task(own)))
        });
        Self { name, members: members.collect() }
    }

    /// What each of them has done so far, and does.
    pub fn gauges(&self) -> Vec<Arc<Gauge>> {
        self.members.iter().map(|(gauge, _)| gauge.clone()).collect()
    }

    /// Records of all of them so far.
    pub fn records(&self) -> u64 {
        self.members.iter().map(|(gauge, _)| gauge.records()).sum()
    }

    /// Whether one of them came to its end, by itself or by an error.
    pub fn any_ended(&self) -> bool {
        self.members.iter().any(|(_, thread)| thread.is_finished())
    }

    /// Whether all of them did.
    pub fn all_ended(&self) -> bool {
        self.members.iter().all(|(_, thread)| thread.is_finished())
    }

    /// Waits for all of them.
    ///
    /// # Errors
    /// One of them failed.
    pub fn join(self) -> Result<Vec<T>> {
        let panicked = || Err(PerfError::Failed("a thread panicked".into()));
        let ends = self.members.into_iter().map(|(_, thread)| thread.join());
        ends.map(|end| end.unwrap_or_else(|_| panicked())).collect()
    }

    /// Waits until all came to their end, if they have one, or so long. False as of [`Team::wait`].
    pub fn work(&self, has_end: bool, time: Duration) -> bool {
        if has_end {
            return self.wait();
        }
        self.watch(time);
        true
    }

    /// Waits until all came to their end. False if they did not, and none of them counted anything
    /// for [`STALL_TIMEOUT`].
    pub fn wait(&self) -> bool {
        self.wait_while_moving(STALL_TIMEOUT)
    }

    fn wait_while_moving(&self, stall: Duration) -> bool {
        let (mut seen, mut since) = (self.records(), Instant::now());
        while !self.all_ended() {
            thread::sleep(LOOK);
            if self.records() > seen {
                (seen, since) = (self.records(), Instant::now());
            }
            if since.elapsed() > stall {
                return false;
            }
        }
        true
    }

    /// Waits so long, or until one of them ends.
    pub fn watch(&self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until && !self.any_ended() {
            thread::sleep(LOOK.min(until.saturating_duration_since(Instant::now())));
        }
    }

    /// The readings of all gauges, to be compared with later ones.
    pub fn reading(&self) -> Reading {
        let (at, name) = (Instant::now(), self.name);
        let one = |(gauge, _): &(Arc<Gauge>, _)| (gauge.records(), gauge.busy_ns.load(Relaxed));
        Reading { at, name, gauges: self.members.iter().map(one).collect() }
    }
}

/// What gauges showed at a time.
pub struct Reading {
    at: Instant,
    name: &'static str,
    gauges: Vec<(u64, u64)>,
}

/// How busy one of the generator's threads was.
#[derive(Debug, Serialize)]
pub struct ThreadShare {
    /// What the thread does.
    pub name: &'static str,
    /// The share of the measured time in which it was not waiting for the broker.
    pub busy_share: f64,
    /// Records it counted in that time.
    pub records: u64,
}

impl Reading {
    /// Of so many threads that are yet to start.
    pub fn nothing(name: &'static str, threads: usize) -> Self {
        Self { at: Instant::now(), name, gauges: vec![(0, 0); threads] }
    }

    /// What each thread did since an earlier reading.
    pub fn since(&self, earlier: &Reading) -> Vec<ThreadShare> {
        let time_ns = (self.at - earlier.at).as_nanos() as f64;
        let pairs = self.gauges.iter().zip(&earlier.gauges);
        let share = |(now, then): (&(u64, u64), &(u64, u64))| ThreadShare {
            name: self.name,
            busy_share: ((now.1 - then.1) as f64 / time_ns).min(1.0),
            records: now.0 - then.0,
        };
        pairs.map(share).collect()
    }
}

/// The measured time: counters of the broker and of every thread at both ends.
pub struct Window {
    meter: Meter,
    readings: Vec<Reading>,
}

/// What happened in it.
pub struct Measured {
    /// What the broker used.
    pub broker: Option<ProcUse>,
    /// What this process used.
    pub client: ProcUse,
    /// What each thread did.
    pub threads: Vec<ThreadShare>,
}

impl Window {
    /// Begins the measured time.
    ///
    /// # Errors
    /// The broker's process is gone, or belongs to someone else.
    pub fn open(control: &Control, pid: Option<u32>, readings: Vec<Reading>) -> Result<Self> {
        control.measured.begin(control.now_ns());
        Ok(Self { meter: Meter::start(pid)?, readings })
    }

    /// Ends it; the readings are of the same teams in the same order.
    ///
    /// # Errors
    /// The broker's process is gone.
    pub fn close(self, control: &Control, readings: &[Reading]) -> Result<Measured> {
        control.measured.end(control.now_ns());
        let pairs = readings.iter().zip(&self.readings);
        let threads = pairs.flat_map(|(now, then)| now.since(then)).collect();
        let (broker, client) = self.meter.finish()?;
        Ok(Measured { broker, client, threads })
    }
}

impl Measured {
    /// Records that the threads of this name counted.
    pub fn records(&self, name: &str) -> u64 {
        self.threads.iter().filter(|t| t.name == name).map(|t| t.records).sum()
    }

    /// Whether one of the generator's threads had hardly a moment to spare.
    pub fn client_limited(&self) -> bool {
        self.threads.iter().any(|thread| thread.busy_share > LIMIT_SHARE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_team_is_waited_for_while_it_counts() {
        let counting = |gauge: Arc<Gauge>| {
            for _ in 0..40 {
                gauge.count(1);
                thread::sleep(Duration::from_millis(10));
            }
            Ok(())
        };
        let moving = Team::start("moving", [counting]);
        assert!(moving.wait_while_moving(Duration::from_millis(300)), "it took longer in all");

        let (release, released) = std::sync::mpsc::channel::<()>();
        let hanging = move |_| {
            let _ = released.recv();
            Ok(())
        };
        let hung = Team::start("hung", [hanging]);
        assert!(!hung.wait_while_moving(Duration::from_millis(20)));
        drop(release);
        hung.join().expect("it did not fail");
    }

    #[test]
    fn a_broker_that_answers_on_is_waited_for_longer_than_one_that_stopped() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_secs(seconds);
        let mut stopped = Ending::new(began);
        assert!(!stopped.is_overdue(at(1), 100));
        assert!(!stopped.is_overdue(at(61), 100));
        assert!(stopped.is_overdue(at(62), 100));

        let mut slow = Ending::new(began);
        assert!((1..=300).all(|second| !slow.is_overdue(at(second), second)));
        assert!(slow.is_overdue(at(301), 301));
    }
}
