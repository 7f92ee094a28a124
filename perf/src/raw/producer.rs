//! The sending side: threads with connections, each of which owns some of the streams.

use super::connection::Connection;
use super::control::{Control, Ending, Gauge, Stage};
use super::poller::{self, Poller};
use super::produce_frame::{ProduceFrame, walk_answer};
use super::record_batch::PreparedBatch;
use super::stamp::Stamp;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use crate::histogram::new_histogram;
use hdrhistogram::Histogram;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LOOK: Duration = Duration::from_millis(50);

/// When batches are sent.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// As fast as answers come, with so many requests of a connection unanswered.
    InFlight(usize),
    /// So many records a second from a time on, whatever comes back.
    Rate {
        /// Records a second.
        records_per_second: f64,
        /// When the first is due, in nanoseconds since the run's beginning.
        start_ns: u64,
    },
}

/// What all sending threads do together.
#[derive(Clone)]
pub struct ProducerPlan {
    /// The broker.
    pub brokers: String,
    /// The topics.
    pub topics: RawTopics,
    /// What is sent.
    pub batch: Arc<PreparedBatch>,
    /// Whose word an acknowledgement is: -1, 0 or 1.
    pub acks: i16,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Batches of a request, each for another partition.
    pub batches_per_request: usize,
    /// When they are sent.
    pub pace: Pace,
    /// Batches in all; without it, until the run stops.
    pub batches: Option<u64>,
}

/// What one thread sent.
pub struct Produced {
    /// Each stream's length.
    pub streams: Vec<(u32, u64)>,
    /// Records sent.
    pub sent: u64,
    /// Records acknowledged.
    pub acknowledged: u64,
    /// Records refused or never answered.
    pub errors: u64,
    /// Records that were due before the measured time's end and never sent, at a fixed rate.
    pub unsent: u64,
    /// How often a socket took no more.
    pub stalls: u64,
    /// What the broker said last of one.
    pub last_error: Option<String>,
    /// From the intended send time, or the sending, to the answer.
    pub latency: Histogram<u64>,
    /// From when a batch was due to its sending, at a fixed rate.
    pub lateness: Histogram<u64>,
}

impl Default for Produced {
    fn default() -> Self {
        Self {
            streams: Vec::new(),
            sent: 0,
            acknowledged: 0,
            errors: 0,
            unsent: 0,
            stalls: 0,
            last_error: None,
            latency: new_histogram(),
            lateness: new_histogram(),
        }
    }
}

impl Produced {
    /// Notes what became of so many records: a fault, or an acknowledgement.
    pub fn note(&mut self, records: u64, fault: Option<String>, gauge: &Gauge) {
        if fault.is_some() {
            self.errors += records;
            self.last_error = fault;
            gauge.fail(records);
        } else {
            self.acknowledged += records;
            gauge.count(records);
        }
    }
}

/// One partition as one connection sends to it.
struct Stream {
    id: u32,
    place: u32,
    /// Records sent.
    length: u64,
    /// The offset that the next batch has at least.
    next_offset: i64,
}

/// One connection with its part of the streams, which it serves in turn.
struct Lane {
    connection: Connection,
    frame: ProduceFrame,
    /// Whether the frame is on its way out.
    under_way: bool,
    streams: Vec<Stream>,
    /// Its place among all connections.
    number: u64,
    /// Batches prepared.
    batches: u64,
    /// Intended send times of unanswered requests, and their correlation ids.
    in_flight: VecDeque<(u32, u64)>,
    correlation: u32,
}

impl ProducerPlan {
    /// Whether it can be carried out.
    ///
    /// # Errors
    /// A request would hold two batches of one partition.
    pub fn check(&self) -> Result<()> {
        let fewest = self.streams() as usize / self.connections;
        if self.batches_per_request > fewest {
            return Err(PerfError::Failed(format!(
                "{} batches a request need as many partitions for each connection, there are {fewest}",
                self.batches_per_request
            )));
        }
        Ok(())
    }

    /// Streams of all connections: one for each partition, more only if there are more connections.
    fn streams(&self) -> u32 {
        self.topics.places().max(self.connections as u32)
    }

    /// The task of one of the threads.
    pub fn task(
        &self,
        control: &Arc<Control>,
        thread: usize,
    ) -> impl FnOnce(Arc<Gauge>) -> Result<Produced> + Send + 'static {
        let (plan, control) = (self.clone(), control.clone());
        move |gauge| Sender::new(plan, control, thread, gauge)?.run()
    }

    fn lane(&self, number: usize) -> Result<Lane> {
        let places = self.topics.places();
        let mine = (number as u32..self.streams()).step_by(self.connections);
        let stream = |id| Stream { id, place: id % places, length: 0, next_offset: 0 };
        Ok(Lane {
            connection: Connection::open(&self.brokers)?,
            frame: self.frame(self.batches_per_request),
            under_way: false,
            streams: mine.map(stream).collect(),
            number: number as u64,
            batches: 0,
            in_flight: VecDeque::new(),
            correlation: 0,
        })
    }

    fn frame(&self, slots: usize) -> ProduceFrame {
        ProduceFrame::new(&self.topics, &self.batch, slots, self.acks)
    }

    /// Batches that a connection has to send in all.
    fn share(&self, number: u64) -> u64 {
        let connections = self.connections as u64;
        self.batches.map_or(u64::MAX, |all| all.saturating_sub(number).div_ceil(connections))
    }

    /// Whether a connection's batch of this number has yet to be sent. At a fixed rate all that was to
    /// be sent before the measured time's end is, however late: what would be left out is just what
    /// a broker kept waiting longest.
    fn owes(&self, control: &Control, lane: u64, batch: u64) -> bool {
        if batch >= self.share(lane) {
            return false;
        }
        match self.pace {
            _ if !control.stop_sending.load(Relaxed) => true,
            Pace::InFlight(_) => false,
            Pace::Rate { .. } => !control.measured.is_over_at(self.times(lane, batch, 0).0),
        }
    }

    /// When a batch's first record is to be sent, and when its last, which is when the batch is due.
    fn times(&self, lane: u64, batch: u64, now_ns: u64) -> (u64, u64) {
        match self.pace {
            Pace::InFlight(_) => (now_ns, now_ns),
            Pace::Rate { records_per_second, start_ns } => {
                let first = (lane + batch * self.connections as u64) * self.batch.records;
                let at = |record: u64| (record as f64 * 1e9 / records_per_second) as u64;
                (start_ns + at(first), start_ns + at(first + self.batch.records - 1))
            }
        }
    }
}

/// One sending thread.
struct Sender {
    plan: ProducerPlan,
    control: Arc<Control>,
    gauge: Arc<Gauge>,
    lanes: Vec<Lane>,
    poller: Poller,
    done: Produced,
}

impl Sender {
    fn new(
        plan: ProducerPlan,
        control: Arc<Control>,
        thread: usize,
        gauge: Arc<Gauge>,
    ) -> Result<Self> {
        let numbers = (thread..plan.connections).step_by(plan.threads);
        let mut lanes: Vec<Lane> =
            numbers.map(|number| plan.lane(number)).collect::<Result<_>>()?;
        let poller = Poller::new(gauge.clone(), &mut lanes)?;
        let done = Produced::default();
        Ok(Self { plan, control, gauge, lanes, poller, done })
    }

    fn run(mut self) -> Result<Produced> {
        let mut ending = None;
        loop {
            for lane in 0..self.lanes.len() {
                self.fill(lane)?;
            }
            let owing = self.lanes.iter().any(|lane| self.owes(lane));
            if !owing || self.control.stop_sending.load(Relaxed) {
                let open = |lane: &Lane| lane.under_way || !lane.in_flight.is_empty();
                let (now, acknowledged) = (Instant::now(), self.done.acknowledged);
                let ending = ending.get_or_insert_with(|| Ending::new(now));
                let done = !owing && !self.lanes.iter().any(open);
                if done || ending.is_overdue(now, acknowledged) {
                    return Ok(self.finish());
                }
            }
            let timeout = if owing { self.until_due() } else { LOOK };
            let Self { plan, control, gauge, lanes, poller, done } = &mut self;
            poller.wait(timeout, lanes, |lane| lane.receive(plan, control, gauge, done))?;
        }
    }

    /// Whether a connection has a batch left to send. After a refusal nothing more is sent: the run
    /// has failed.
    fn owes(&self, lane: &Lane) -> bool {
        self.done.errors == 0 && self.plan.owes(&self.control, lane.number, lane.batches)
    }

    /// How long until the next batch is due.
    fn until_due(&self) -> Duration {
        let Pace::Rate { .. } = self.plan.pace else { return LOOK };
        let last = self.plan.batches_per_request as u64 - 1;
        let due = |lane: &Lane| self.plan.times(lane.number, lane.batches + last, 0).1;
        let now_ns = self.control.now_ns();
        let idle = self.lanes.iter().filter(|lane| !lane.under_way && self.owes(lane));
        let next = idle.map(|lane| due(lane).saturating_sub(now_ns)).min();
        next.map_or(LOOK, Duration::from_nanos).min(LOOK)
    }

    /// Sends on one connection what may be sent now.
    fn fill(&mut self, index: usize) -> Result<()> {
        let failed = self.done.errors > 0;
        let lane = &mut self.lanes[index];
        loop {
            if lane.under_way {
                if !lane.connection.send(&lane.frame.bytes)? {
                    return Ok(());
                }
                lane.under_way = false;
                if self.plan.acks == 0 {
                    let records = lane.frame.slots() as u64 * self.plan.batch.records;
                    lane.in_flight.clear();
                    self.done.note(records, None, &self.gauge);
                }
            }
            let full = match self.plan.pace {
                Pace::InFlight(limit) => lane.in_flight.len() >= limit,
                Pace::Rate { .. } => false,
            };
            if full || failed || !self.plan.owes(&self.control, lane.number, lane.batches) {
                return Ok(());
            }
            let left = self.plan.share(lane.number) - lane.batches;
            let slots = self.plan.batches_per_request.min(left.min(1 << 20) as usize);
            let now_ns = self.control.now_ns();
            let last = lane.batches + slots as u64 - 1;
            let (_, due_ns) = self.plan.times(lane.number, last, now_ns);
            if due_ns > now_ns {
                return Ok(());
            }
            if lane.frame.slots() != slots {
                lane.frame = self.plan.frame(slots);
            }
            let is_timed = matches!(self.plan.pace, Pace::Rate { .. });
            if is_timed && self.control.measured.holds(due_ns) {
                self.done.lateness.saturating_record(now_ns - due_ns);
                self.gauge.took(Stage::PublishDelay, now_ns - due_ns);
            }
            lane.prepare(&self.plan, self.control.run, now_ns);
            self.done.sent += slots as u64 * self.plan.batch.records;
        }
    }

    fn finish(mut self) -> Produced {
        self.done.unsent = self.lanes.iter().map(|lane| self.unsent(lane)).sum();
        let streams = self.lanes.iter().flat_map(|lane| &lane.streams);
        self.done.streams = streams.map(|stream| (stream.id, stream.length)).collect();
        self.done.stalls = self.lanes.iter().map(|lane| lane.connection.stalls()).sum();
        self.done.errors = self.done.sent - self.done.acknowledged;
        self.done
    }

    /// Records that a connection still owes when its time is over.
    fn unsent(&self, lane: &Lane) -> u64 {
        if !self.owes(lane) {
            return 0;
        }
        let owed = |batch: &u64| self.plan.owes(&self.control, lane.number, *batch);
        (lane.batches..).take_while(owed).count() as u64 * self.plan.batch.records
    }
}

impl poller::Lane for Lane {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Lane {
    /// Makes the frame the next request.
    fn prepare(&mut self, plan: &ProducerPlan, run: u64, now_ns: u64) {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis());
        let (intended_ns, _) = plan.times(self.number, self.batches, now_ns);
        for slot in 0..self.frame.slots() {
            let count = self.streams.len() as u64;
            let stream = &mut self.streams[(self.batches % count) as usize];
            let (intended_ns, _) = plan.times(self.number, self.batches, now_ns);
            let sequence = stream.length;
            let stamp = Stamp { stream: stream.id, run, sequence, intended_ns };
            self.frame.set_slot(slot, &plan.topics, stream.place, &stamp, now_ms as u64);
            stream.length += plan.batch.records;
            self.batches += 1;
        }
        self.correlation = self.correlation.wrapping_add(1);
        self.frame.set_correlation(self.correlation);
        self.in_flight.push_back((self.correlation, intended_ns));
        self.under_way = true;
    }

    /// Takes the answers that came.
    fn receive(
        &mut self,
        plan: &ProducerPlan,
        control: &Control,
        gauge: &Gauge,
        done: &mut Produced,
    ) -> Result<()> {
        let Self { connection, in_flight, streams, .. } = self;
        let records = plan.batch.records;
        connection.receive(|answer| {
            let now_ns = control.now_ns();
            let correlation = answer.get(..4).map(|b| [b[0], b[1], b[2], b[3]]);
            let expected = in_flight.pop_front();
            let Some((_, intended_ns)) =
                expected.filter(|(number, _)| correlation == Some(number.to_be_bytes()))
            else {
                return Err(PerfError::Failed("an answer that no request is for".into()));
            };
            let walked = walk_answer(answer, |ack| {
                let place = plan.topics.place_of(ack.topic, ack.partition);
                let stream = place.and_then(|place| {
                    let local = (place as usize / plan.connections) % streams.len();
                    streams.get_mut(local).filter(|stream| stream.place == place)
                });
                let fault = match stream {
                    None => Some("a partition that was not sent to".to_owned()),
                    Some(_) if ack.error != 0 => Some(format!("Kafka's error {}", ack.error)),
                    Some(stream) if ack.base_offset < stream.next_offset => {
                        Some(format!("offset {} given twice", ack.base_offset))
                    }
                    Some(stream) => {
                        stream.next_offset = ack.base_offset + records as i64;
                        None
                    }
                };
                done.note(records, fault, gauge);
            });
            if control.measured.holds(intended_ns) {
                let took_ns = now_ns.saturating_sub(intended_ns);
                done.latency.saturating_record(took_ns);
                gauge.took(Stage::Publish, took_ns);
            }
            walked.ok_or_else(|| PerfError::Failed("an answer that ends early".into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::net::TcpListener;
    use std::thread::{self, sleep};

    /// One connection that is told nothing back, a megabyte every millisecond.
    fn plan(listener: &TcpListener, start_ns: u64) -> ProducerPlan {
        ProducerPlan {
            brokers: listener.local_addr().unwrap().to_string(),
            topics: RawTopics::new("t", 1, 1),
            batch: Arc::new(PreparedBatch::of(1, 1 << 20, None)),
            acks: 0,
            connections: 1,
            threads: 1,
            batches_per_request: 1,
            pace: Pace::Rate { records_per_second: 1_000.0, start_ns },
            batches: None,
        }
    }

    #[test]
    fn what_was_due_in_the_measured_time_is_sent_after_it_and_counts() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let control = Control::new();
        let start_ns = control.now_ns();
        control.measured.begin(start_ns);
        let task = plan(&listener, start_ns).task(&control, 0);
        let gauge = Arc::<Gauge>::default();
        let own = gauge.clone();
        let sender = thread::spawn(move || task(own));
        // Nobody reads for so long, and the sockets hold but a few of them.
        let (mut peer, _) = listener.accept().unwrap();
        while gauge.records() == 0 {
            sleep(Duration::from_millis(1));
        }
        sleep(Duration::from_millis(60));
        let end_ns = control.now_ns();
        control.measured.end(end_ns);
        control.stop_sending.store(true, Relaxed);
        let due = (0..).take_while(|i| start_ns + i * 1_000_000 < end_ns).count() as u64;
        let reader = thread::spawn(move || while peer.read(&mut [0; 1 << 16]).unwrap() > 0 {});
        let produced = sender.join().unwrap().unwrap();
        reader.join().unwrap();
        assert!(due >= 60 && produced.stalls > 0);
        assert_eq!(produced.lateness.len(), due);
        assert!(produced.sent >= due && produced.acknowledged == produced.sent);
        assert_eq!(produced.unsent, 0);
    }
}
