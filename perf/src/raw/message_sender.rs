//! The sending side of RocketMQ's workloads: slots that each have one send unanswered, as a thread
//! of a synchronous producer has.

use super::connection::Connection;
use super::control::{Control, Ending, Gauge, Stage};
use super::message_frame::{MessageFrame, MessagePlace};
use super::poller::{self, Poller};
use super::producer::Produced;
use super::remoting_frame::{Answer, Serialization};
use super::remoting_setup::NamedBroker;
use super::stamp::Stamp;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use crate::payload::PayloadSource;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const LOOK: Duration = Duration::from_millis(50);

/// What all sending threads do together.
#[derive(Clone)]
pub struct SenderPlan {
    /// The broker.
    pub broker: NamedBroker,
    /// The topics.
    pub topics: RawTopics,
    /// Connections of all threads.
    pub connections: usize,
    /// Threads.
    pub threads: usize,
    /// Slots of each connection.
    pub slots: usize,
    /// Messages of a send; more than one are a batch.
    pub messages: usize,
    /// Bytes of each message.
    pub message_bytes: usize,
    /// How headers are written.
    pub serialization: Serialization,
    /// Sends in all; without it, until the run stops.
    pub sends: Option<u64>,
}

/// One queue as one slot sends to it.
struct Stream {
    id: u32,
    frame: MessageFrame,
    /// Messages sent.
    length: u64,
    /// The offset that the next message has at least.
    next_offset: i64,
}

/// One sender that waits for its answers, and its queues, which it serves in turn.
struct Slot {
    streams: Vec<Stream>,
    turn: usize,
    /// Sends that it has yet to begin.
    left: u64,
    /// When the send was begun, in nanoseconds of the run.
    began_ns: u64,
    waits: bool,
}

/// One connection; a request's number is its slot's.
struct Lane {
    connection: Connection,
    slots: Vec<Slot>,
    /// Slots whose frames are to go out, the first of them perhaps on its way.
    outgoing: VecDeque<usize>,
    /// Slots whose answers came.
    free: Vec<usize>,
}

impl SenderPlan {
    /// The task of one of the threads.
    pub fn task(
        &self,
        control: &Arc<Control>,
        thread: usize,
    ) -> impl FnOnce(Arc<Gauge>) -> Result<Produced> + Send + 'static {
        let (plan, control) = (self.clone(), control.clone());
        move |gauge| run(&plan, &control, thread, &gauge)
    }

    fn lane(&self, number: usize, source: &mut PayloadSource) -> Result<Lane> {
        let slot = |slot| Slot {
            streams: self.streams(number * self.slots + slot, slot, source),
            turn: 0,
            left: self.share(number * self.slots + slot),
            began_ns: 0,
            waits: false,
        };
        Ok(Lane {
            connection: Connection::open(&self.broker.address)?,
            slots: (0..self.slots).map(slot).collect(),
            outgoing: VecDeque::new(),
            free: (0..self.slots).collect(),
        })
    }

    /// Sends that a slot has to do in all.
    fn share(&self, slot: usize) -> u64 {
        let slots = (self.connections * self.slots) as u64;
        self.sends.map_or(u64::MAX, |all| all.saturating_sub(slot as u64).div_ceil(slots))
    }

    /// The streams of a slot: one for each queue, more only if there are more slots.
    fn streams(&self, slot: usize, opaque: usize, source: &mut PayloadSource) -> Vec<Stream> {
        let (places, slots) = (self.topics.places(), self.connections * self.slots);
        let all = places.max(slots as u32);
        let ids = (slot as u32..all).step_by(slots);
        let stream = |id: u32| {
            let (topic, queue) = self.topics.place(id % places);
            let name = self.topics.name(topic);
            let place = MessagePlace { topic: &name, queue, broker: &self.broker.name };
            let (opaque, kind) = (opaque as i32, self.serialization);
            let frame = MessageFrame::new(&place, self.messages, source, opaque, kind);
            Stream { id, frame, length: 0, next_offset: 0 }
        };
        ids.map(stream).collect()
    }
}

fn run(
    plan: &SenderPlan,
    control: &Control,
    thread: usize,
    gauge: &Arc<Gauge>,
) -> Result<Produced> {
    let numbers = (thread..plan.connections).step_by(plan.threads);
    let mut source = PayloadSource::new(plan.message_bytes, control.run);
    let lanes = numbers.map(|number| plan.lane(number, &mut source));
    let mut lanes: Vec<Lane> = lanes.collect::<Result<_>>()?;
    let mut poller = Poller::new(gauge.clone(), &mut lanes)?;
    let mut done = Produced::default();
    let mut ending = None;
    loop {
        let stopped = control.stop_sending.load(Relaxed) || done.errors > 0;
        for lane in &mut lanes {
            lane.fill(plan, control, stopped, &mut done)?;
        }
        if stopped || lanes.iter().all(Lane::has_sent_all) {
            let now = Instant::now();
            let ending = ending.get_or_insert_with(|| Ending::new(now));
            if lanes.iter().all(Lane::is_quiet) || ending.is_overdue(now, done.acknowledged) {
                break;
            }
        }
        poller.wait(LOOK, &mut lanes, |lane| lane.receive(plan, control, gauge, &mut done))?;
    }
    let streams = lanes.iter().flat_map(|lane| lane.slots.iter().flat_map(|slot| &slot.streams));
    done.streams = streams.map(|stream| (stream.id, stream.length)).collect();
    done.stalls = lanes.iter().map(|lane| lane.connection.stalls()).sum();
    done.errors = done.sent - done.acknowledged;
    Ok(done)
}

impl poller::Lane for Lane {
    fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Lane {
    fn is_quiet(&self) -> bool {
        self.free.len() == self.slots.len()
    }

    fn has_sent_all(&self) -> bool {
        self.slots.iter().all(|slot| slot.left == 0)
    }

    /// Begins the next send of every free slot that has one left, and sends as much as the socket
    /// takes.
    fn fill(
        &mut self,
        plan: &SenderPlan,
        control: &Control,
        stopped: bool,
        done: &mut Produced,
    ) -> Result<()> {
        if !stopped {
            let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let Self { slots, outgoing, free, .. } = self;
            free.retain(|&index| {
                let slot = &mut slots[index];
                if slot.left == 0 {
                    return true;
                }
                slot.left -= 1;
                slot.turn = (slot.turn + 1) % slot.streams.len();
                slot.began_ns = control.now_ns();
                slot.waits = true;
                let stream = &mut slot.streams[slot.turn];
                let stamp = Stamp {
                    stream: stream.id,
                    run: control.run,
                    sequence: stream.length,
                    intended_ns: slot.began_ns,
                };
                stream.frame.patch(&stamp, wall.as_millis() as u64);
                stream.length += plan.messages as u64;
                done.sent += plan.messages as u64;
                outgoing.push_back(index);
                false
            });
        }
        while let Some(&index) = self.outgoing.front() {
            let slot = &self.slots[index];
            if !self.connection.send(&slot.streams[slot.turn].frame.bytes)? {
                break;
            }
            self.outgoing.pop_front();
        }
        Ok(())
    }

    fn receive(
        &mut self,
        plan: &SenderPlan,
        control: &Control,
        gauge: &Gauge,
        done: &mut Produced,
    ) -> Result<()> {
        let Self { connection, slots, free, .. } = self;
        connection.receive(|frame| {
            // A request of the broker's, such as that a group changed, is none of ours.
            let Some(answer) = Answer::read(frame) else { return Ok(()) };
            let index = usize::try_from(answer.opaque).unwrap_or(usize::MAX);
            let Some(slot) = slots.get_mut(index).filter(|slot| slot.waits) else {
                return Err(PerfError::Failed("an answer that no send is for".into()));
            };
            slot.waits = false;
            free.push(index);
            let stream = &mut slot.streams[slot.turn];
            let messages = plan.messages as u64;
            let fault = match answer.number("queueOffset") {
                _ if answer.code != 0 => Some(format!("response code {}", answer.code)),
                None => Some("an answer without an offset".to_owned()),
                Some(offset) if offset < stream.next_offset => {
                    Some(format!("offset {offset} given twice"))
                }
                Some(offset) => {
                    stream.next_offset = offset + messages as i64;
                    None
                }
            };
            done.note(messages, fault, gauge);
            if control.measured.holds(slot.began_ns) {
                let took_ns = control.now_ns().saturating_sub(slot.began_ns);
                done.latency.saturating_record(took_ns);
                gauge.took(Stage::Publish, took_ns);
            }
            Ok(())
        })
    }
}
