//! The receiving side of RocketMQ's workloads: connections with one pull under way for each queue.

use super::connection::Connection;
use super::consumer::Consumed;
use super::control::{Control, Gauge};
use super::cursor::{Cursor, lanes};
use super::message_frame::GROUP;
use super::poller::{self, Poller};
use super::record_batch::SeenBatch;
use super::remoting_frame::{Answer, Serialization, walk_messages, write};
use super::remoting_setup::NamedBroker;
use super::stamp::Stamp;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Messages that RocketMQ's clients pull at a time unless they are told otherwise.
pub const PULL_MESSAGES: u32 = 32;

const LOOK: Duration = Duration::from_millis(50);
const PULL_MESSAGE: i16 = 11;
/// The broker may hold the pull, and the request has its subscription with it.
const SUSPEND_AND_SUBSCRIPTION: &str = "6";
const SUSPEND_MS: &str = "15000";

const FOUND: i64 = 0;
const NOT_FOUND: i64 = 19;
const RETRY_IMMEDIATELY: i64 = 20;

/// What all receiving threads do together.
#[derive(Clone)]
pub struct PullerPlan {
    /// The broker.
    pub broker: NamedBroker,
    /// The topics.
    pub topics: RawTopics,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Messages of a pull at most.
    pub messages: u32,
    /// How headers are written.
    pub serialization: Serialization,
    /// The run that counts, if only one does.
    pub only_run: Option<u64>,
}

/// One connection and its queues; a request's number is its queue's place here.
struct Lane {
    connection: Connection,
    cursors: Vec<Cursor>,
    /// Queues whose pulls are to go out.
    outgoing: VecDeque<usize>,
    frame: Vec<u8>,
    /// Whether the frame is on its way out.
    under_way: bool,
}

impl PullerPlan {
    /// The task of one of the threads; `cursors` are those of all of them.
    pub fn task(
        &self,
        control: &Arc<Control>,
        cursors: &[Cursor],
        thread: usize,
    ) -> impl FnOnce(Arc<Gauge>) -> Result<Consumed> + Send + 'static {
        let (plan, control) = (self.clone(), control.clone());
        let lanes = lanes(cursors, self.connections, self.threads, thread);
        move |gauge| run(&plan, &control, lanes, &gauge)
    }

    fn lane(&self, mut cursors: Vec<Cursor>) -> Result<Lane> {
        cursors.retain(|cursor| cursor.offset < cursor.end);
        Ok(Lane {
            connection: Connection::open(&self.broker.address)?,
            outgoing: (0..cursors.len()).collect(),
            cursors,
            frame: Vec::new(),
            under_way: false,
        })
    }

    fn pull(&self, number: usize, cursor: &Cursor) -> Vec<u8> {
        let (topic, queue) = self.topics.place(cursor.place);
        let (queue, offset) = (queue.to_string(), cursor.offset.to_string());
        let fields = [
            ("consumerGroup", GROUP),
            ("topic", &self.topics.name(topic)),
            ("queueId", &queue),
            ("queueOffset", &offset),
            ("maxMsgNums", &self.messages.to_string()),
            ("sysFlag", SUSPEND_AND_SUBSCRIPTION),
            ("commitOffset", "0"),
            ("suspendTimeoutMillis", SUSPEND_MS),
            ("subscription", "*"),
            ("subVersion", "0"),
            ("expressionType", "TAG"),
            ("bname", &self.broker.name),
        ];
        write(PULL_MESSAGE, number as i32, self.serialization, &fields, b"")
    }
}

fn run(
    plan: &PullerPlan,
    control: &Control,
    cursors: Vec<Vec<Cursor>>,
    gauge: &Arc<Gauge>,
) -> Result<Consumed> {
    let lanes = cursors.into_iter().map(|cursors| plan.lane(cursors));
    let mut lanes: Vec<Lane> = lanes.collect::<Result<_>>()?;
    let mut poller = Poller::new(gauge.clone(), &mut lanes)?;
    let mut done = Consumed::new(plan.only_run);
    loop {
        for lane in &mut lanes {
            lane.ask(plan)?;
        }
        let read = |lane: &Lane| lane.cursors.iter().all(|cursor| cursor.offset >= cursor.end);
        if control.stop_reading.load(Relaxed) || lanes.iter().all(read) {
            break;
        }
        poller.wait(LOOK, &mut lanes, |lane| lane.receive(control, gauge, &mut done))?;
    }
    done.count_unread(lanes.iter().flat_map(|lane| &lane.cursors));
    Ok(done)
}

impl poller::Lane for Lane {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Lane {
    /// Sends the pulls that are due, as far as the socket takes them.
    fn ask(&mut self, plan: &PullerPlan) -> Result<()> {
        loop {
            if self.under_way && !self.connection.send(&self.frame)? {
                return Ok(());
            }
            self.under_way = false;
            let Some(number) = self.outgoing.pop_front() else { return Ok(()) };
            self.frame = plan.pull(number, &self.cursors[number]);
            self.under_way = true;
        }
    }

    fn receive(&mut self, control: &Control, gauge: &Gauge, done: &mut Consumed) -> Result<()> {
        let Self { connection, cursors, outgoing, .. } = self;
        connection.receive(|frame| {
            // A request of the broker's is none of ours.
            let Some(answer) = Answer::read(frame) else { return Ok(()) };
            let number = usize::try_from(answer.opaque).unwrap_or(usize::MAX);
            let Some(cursor) = cursors.get_mut(number) else {
                return Err(PerfError::Failed("an answer that no pull is for".into()));
            };
            let malformed = || PerfError::Failed("an answer that ends early".into());
            match answer.code {
                FOUND => {
                    let (now_ns, before) = (control.now_ns(), done.records);
                    let each = |offset: i64, body: &[u8]| {
                        let message = SeenBatch {
                            next_offset: offset + 1,
                            records: 1,
                            record_bytes: body.len(),
                            stamp: Stamp::read(body),
                        };
                        done.take(cursor, &message, control, gauge, now_ns);
                    };
                    walk_messages(answer.body, each).ok_or_else(malformed)?;
                    done.bytes += answer.body.len() as u64;
                    gauge.count(done.records - before);
                    cursor.offset = answer.number("nextBeginOffset").ok_or_else(malformed)?;
                }
                NOT_FOUND | RETRY_IMMEDIATELY => {}
                code => return Err(PerfError::Failed(format!("pulling: response code {code}"))),
            }
            if cursor.offset < cursor.end {
                outgoing.push_back(number);
            }
            Ok(())
        })
    }
}
