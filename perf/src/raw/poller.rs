//! Waits for connections, and knows how long its thread was at work between the waits: the
//! generator's own share of the measurement.

use super::control::Gauge;
use crate::error::{PerfError, Result};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

const EVENTS: usize = 256;

/// An epoll instance of one thread. Connections are edge-triggered: each is read until it is empty
/// and written until it is full.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    gauge: Arc<Gauge>,
    /// When the thread went to work again.
    resumed: Instant,
}

/// What became possible on a connection.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The connection's number.
    pub connection: usize,
    /// There is something to read, or the connection ended.
    pub readable: bool,
    /// The socket takes bytes.
    pub writable: bool,
}

impl Poller {
    /// A poller of no connection that adds the time between its waits to a gauge. Made by the
    /// thread that uses it, whose waits it makes end on time.
    ///
    /// # Errors
    /// The system refuses.
    pub fn new(gauge: Arc<Gauge>) -> Result<Self> {
        // By default the kernel may let a thread oversleep by 50 µs.
        rustix::thread::set_current_timer_slack(NonZeroU64::new(1)).map_err(poll_error)?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(poll_error)?;
        let events = Vec::with_capacity(EVENTS);
        Ok(Self { epoll, events, gauge, resumed: Instant::now() })
    }

    /// Watches a connection under a number.
    ///
    /// # Errors
    /// The system refuses.
    pub fn watch(&self, connection: &impl AsFd, number: usize) -> Result<()> {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.epoll, connection, data, flags).map_err(poll_error)
    }

    /// Waits at most so long, and shows what became possible.
    ///
    /// # Errors
    /// The system refuses, or `each` fails.
    pub fn wait(
        &mut self,
        timeout: Duration,
        mut each: impl FnMut(Ready) -> Result<()>,
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
            let flags = event.flags;
            let ended = epoll::EventFlags::HUP | epoll::EventFlags::ERR;
            each(Ready {
                connection: event.data.u64() as usize,
                readable: flags.intersects(epoll::EventFlags::IN | ended),
                writable: flags.intersects(epoll::EventFlags::OUT | ended),
            })?;
        }
        Ok(())
    }
}

fn poll_error(error: Errno) -> PerfError {
    PerfError::Io { doing: "polling".into(), source: error.into() }
}
