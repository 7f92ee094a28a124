//! The receiving side: threads with connections, each of which fetches some of the partitions.

use super::connection::Connection;
use super::control::{Control, Gauge, Stage};
use super::cursor::{Cursor, lanes};
use super::fetch_frame::{self, FetchLimits};
use super::poller::{self, Poller};
use super::record_batch::{SeenBatch, walk};
use super::stream_check::StreamCheck;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use crate::histogram::new_histogram;
use hdrhistogram::Histogram;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const LOOK: Duration = Duration::from_millis(50);

/// What all receiving threads do together.
#[derive(Clone)]
pub struct ConsumerPlan {
    /// The broker.
    pub brokers: String,
    /// The topics.
    pub topics: RawTopics,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// How the broker is asked.
    pub limits: FetchLimits,
    /// Partitions that one request asks for at most; those read to their end make room for others.
    pub partitions_per_fetch: usize,
    /// The run that counts, if only one does.
    pub only_run: Option<u64>,
    /// Bytes of batches after which a thread stops.
    pub bytes_max: u64,
}

/// What one thread read.
pub struct Consumed {
    /// What the numbers show.
    pub check: StreamCheck,
    /// Records that count.
    pub records: u64,
    /// Bytes of the batches fetched.
    pub bytes: u64,
    /// Bytes of a record, as the last batch had them.
    pub record_bytes: usize,
    /// Records that offsets promise and that were not read.
    pub unread: u64,
    /// From the intended send time to the record in hand, a batch counting for its oldest record.
    pub latency: Histogram<u64>,
    /// The same of what was to be sent while a cold reader was at work; the other then has the rest.
    pub cold_latency: Histogram<u64>,
}

/// One connection with its part of the partitions and one fetch under way.
struct Lane {
    connection: Connection,
    frame: Vec<u8>,
    /// What each request asks for, in the order of topics.
    active: Vec<Cursor>,
    /// What comes after that.
    later: Vec<Cursor>,
    /// Where the next request begins in `active`: the broker fills its answer in this order.
    turn: usize,
    under_way: bool,
    answered: bool,
}

impl ConsumerPlan {
    /// The task of one of the threads; `cursors` are those of all of them.
    pub fn task(
        &self,
        control: &Arc<Control>,
        cursors: &[Cursor],
        thread: usize,
    ) -> impl FnOnce(Arc<Gauge>) -> Result<Consumed> + Send + 'static {
        let (plan, control) = (self.clone(), control.clone());
        let lanes = lanes(cursors, self.connections, self.threads, thread);
        move |gauge| Receiver::new(plan, control, lanes, gauge)?.run()
    }

    fn lane(&self, mut cursors: Vec<Cursor>) -> Result<Lane> {
        cursors.retain(|cursor| cursor.offset < cursor.end);
        cursors.sort_by_key(|cursor| std::cmp::Reverse(self.topics.place(cursor.place)));
        let mut lane = Lane {
            connection: Connection::open(&self.brokers)?,
            frame: Vec::new(),
            active: Vec::new(),
            later: cursors,
            turn: 0,
            under_way: false,
            answered: true,
        };
        lane.refill(self);
        Ok(lane)
    }
}

/// One receiving thread.
struct Receiver {
    plan: ConsumerPlan,
    control: Arc<Control>,
    gauge: Arc<Gauge>,
    lanes: Vec<Lane>,
    /// Where each place stands in its lane's `active`.
    index_of: Vec<u32>,
    poller: Poller,
    done: Consumed,
}

impl Receiver {
    fn new(
        plan: ConsumerPlan,
        control: Arc<Control>,
        cursors: Vec<Vec<Cursor>>,
        gauge: Arc<Gauge>,
    ) -> Result<Self> {
        let mut lanes: Vec<Lane> =
            cursors.into_iter().map(|c| plan.lane(c)).collect::<Result<_>>()?;
        let poller = Poller::new(gauge.clone(), &mut lanes)?;
        let done = Consumed::new(plan.only_run);
        let index_of = vec![u32::MAX; plan.topics.places() as usize];
        Ok(Self { plan, control, gauge, lanes, index_of, poller, done })
    }

    fn run(mut self) -> Result<Consumed> {
        loop {
            for lane in &mut self.lanes {
                lane.ask(&self.plan, &mut self.index_of)?;
            }
            let idle = self.lanes.iter().all(|lane| lane.active.is_empty());
            let stopped = self.control.stop_reading.load(Relaxed);
            if idle || stopped || self.done.bytes >= self.plan.bytes_max {
                return Ok(self.finish());
            }
            let Self { plan, control, gauge, lanes, index_of, poller, done } = &mut self;
            poller.wait(LOOK, lanes, |lane| lane.receive(plan, control, gauge, index_of, done))?;
        }
    }

    fn finish(mut self) -> Consumed {
        let left = self.lanes.iter().flat_map(|lane| lane.active.iter().chain(&lane.later));
        self.done.count_unread(left);
        self.done
    }
}

impl poller::Lane for Lane {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Lane {
    /// Takes partitions that wait into the request, as far as there is room.
    fn refill(&mut self, plan: &ConsumerPlan) {
        let room = plan.partitions_per_fetch.saturating_sub(self.active.len());
        let from = self.later.len() - room.min(self.later.len());
        self.active.extend(self.later.drain(from..).rev());
    }

    /// Sends the next request, once the last one is answered.
    fn ask(&mut self, plan: &ConsumerPlan, index_of: &mut [u32]) -> Result<()> {
        if self.answered && !self.active.is_empty() {
            self.answered = false;
            self.under_way = true;
            for (index, cursor) in self.active.iter().enumerate() {
                index_of[cursor.place as usize] = index as u32;
            }
            self.turn = (self.turn + 1) % self.active.len();
            let (behind, first) = self.active.split_at(self.turn);
            let asked = first.iter().chain(behind).map(|cursor| (cursor.place, cursor.offset));
            fetch_frame::write(&mut self.frame, &plan.topics, &plan.limits, asked);
        }
        if self.under_way && self.connection.send(&self.frame)? {
            self.under_way = false;
        }
        Ok(())
    }

    fn receive(
        &mut self,
        plan: &ConsumerPlan,
        control: &Control,
        gauge: &Gauge,
        index_of: &[u32],
        done: &mut Consumed,
    ) -> Result<()> {
        let Self { connection, active, answered, .. } = self;
        connection.receive(|answer| {
            *answered = true;
            let now_ns = control.now_ns();
            let before = done.records;
            let mut fault = None;
            let walked = fetch_frame::walk_answer(answer, |fetched| {
                let place = plan.topics.place_of(fetched.topic, fetched.partition);
                let index = place.and_then(|place| index_of.get(place as usize));
                let cursor = index.and_then(|index| active.get_mut(*index as usize));
                match cursor.filter(|cursor| Some(cursor.place) == place) {
                    Some(cursor) if fetched.error == 0 => {
                        let each = |batch: &_| done.take(cursor, batch, control, gauge, now_ns);
                        walk(fetched.records, each);
                        done.bytes += fetched.records.len() as u64;
                    }
                    Some(_) => fault = Some(fetched.error),
                    None => fault = Some(-1),
                }
            });
            gauge.count(done.records - before);
            let doing = "fetching".into();
            match (walked, fault) {
                (None, _) => Err(PerfError::Failed("an answer that ends early".into())),
                (Some(0), None) => Ok(()),
                (Some(code), None) | (Some(_), Some(code)) => {
                    Err(PerfError::Refused { doing, code })
                }
            }
        })?;
        if self.answered && self.active.iter().any(|cursor| cursor.offset >= cursor.end) {
            self.active.retain(|cursor| cursor.offset < cursor.end);
            self.refill(plan);
        }
        Ok(())
    }
}

impl Consumed {
    /// Nothing yet, of one run or of every run.
    pub fn new(only_run: Option<u64>) -> Self {
        Self {
            check: StreamCheck::new(only_run),
            records: 0,
            bytes: 0,
            record_bytes: 0,
            unread: 0,
            latency: new_histogram(),
            cold_latency: new_histogram(),
        }
    }

    /// Takes note of a batch, and moves the cursor behind it.
    pub fn take(
        &mut self,
        cursor: &mut Cursor,
        batch: &SeenBatch,
        control: &Control,
        gauge: &Gauge,
        now_ns: u64,
    ) {
        // A fetch from within a batch begins with the whole of it.
        if batch.next_offset <= cursor.offset {
            return;
        }
        cursor.offset = batch.next_offset;
        if !self.check.observe(batch) {
            return;
        }
        self.records += batch.records;
        self.record_bytes = batch.record_bytes;
        let Some(stamp) = batch.stamp.filter(|stamp| stamp.run == control.run) else { return };
        if control.measured.holds(stamp.intended_ns) {
            let took_ns = now_ns.saturating_sub(stamp.intended_ns);
            gauge.took(Stage::EndToEnd, took_ns);
            if control.cold.holds(stamp.intended_ns) {
                self.cold_latency.saturating_record(took_ns);
            } else {
                self.latency.saturating_record(took_ns);
            }
        }
    }

    /// Counts what is left of partitions that have an end.
    pub fn count_unread<'a>(&mut self, cursors: impl Iterator<Item = &'a Cursor>) {
        let bounded = cursors.filter(|cursor| cursor.end != i64::MAX);
        self.unread = bounded.map(|cursor| (cursor.end - cursor.offset).max(0) as u64).sum();
    }
}
