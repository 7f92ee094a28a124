//! Waits for connections, and knows how long its thread was at work between the waits: the
//! generator's own share of the measurement.

use super::connection::Connection;
use super::control::Gauge;
use crate::error::{PerfError, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVENTS: usize = 256;

/// What a thread keeps of each of its connections.
pub trait Lane {
    /// The connection.
    fn connection(&mut self) -> &mut Connection;
}

/// An epoll instance of one thread. Connections are edge-triggered: each is read until it is empty
/// and written until it is full.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    gauge: Arc<Gauge>,
    /// When the thread went to work again.
    resumed: Instant,
}

impl Poller {
    /// A poller of these connections that adds the time between its waits to a gauge. Made by the
    /// thread that uses it, whose waits it makes end on time.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(gauge: Arc<Gauge>, lanes: &mut [impl Lane]) -> Result<Self> {
        // By default the kernel may let a thread oversleep by 50 µs.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).map_err(poll_error)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(poll_error)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        for (number, lane) in (0..).zip(lanes) {
            let data = epoll::EventData::new_u64(number);
            epoll::add(&epoll, &*lane.connection(), data, flags).map_err(poll_error)?;
        }
        let events = Vec::with_capacity(EVENTS);
        Ok(Self { epoll, events, gauge, resumed: Instant::now() })
    }

    /// Waits at most so long, and lets `receive` take what came; `lanes` are those it was made of.
    /// A connection that takes bytes again knows it afterwards.
    ///
    /// # Errors
    /// The system refuses, or `receive` fails.
    pub fn wait<L: Lane>(
        &mut self,
        timeout: Duration,
        lanes: &mut [L],
        mut receive: impl FnMut(&mut L) -> Result<()>,
    ) -> Result<()> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as i64,
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        self.events.clear();
        self.gauge.worked(self.resumed.elapsed());
        let count = epoll::wait(&self.epoll, spare_capacity(&mut self.events), Some(&timeout));
        self.resumed = Instant::now();
        match count {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(poll_error(error)),
        }
        for event in &self.events {
            let (flags, lane) = (event.flags, &mut lanes[event.data.u64() as usize]);
            let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            if flags.intersects(epoll::EventFlags::OUT | ended) {
                lane.connection().unblock();
            }
            // The end of a connection is told by reading.
            if flags.intersects(epoll::EventFlags::IN | ended) {
                receive(lane)?;
            }
        }
        Ok(())
    }
}

fn poll_error(error: Errno) -> PerfError {
    PerfError::Io { doing: "polling".into(), source: error.into() }
}
