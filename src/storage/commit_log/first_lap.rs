//! The hot tail's first lap, during which its memory is fresh.

use std::{
    io,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::log::CommitLog;
use crate::{base::Position, env::mirror::HUGE_PAGE};

/// What is touched at a time, in bytes.
const STEP: u64 = HUGE_PAGE as u64;

/// The least that is touched ahead of what is reserved, in bytes.
const AHEAD_MIN: u64 = STEP;

/// The most that is touched ahead of what is reserved, in bytes.
const AHEAD_MAX: u64 = 64 << 20;

/// No reservation ends beyond it.
const NOWHERE: u64 = u64::MAX;

/// Touches the ring's memory a little ahead of what is reserved, so that owners do not do so in their
/// reservations, which keep their blocks from the disk. A page's first touch takes longer than all
/// else that is done with the bytes in it.
///
/// It gets ahead by as much as is being written, so that a log that little is written to stays small.
/// Lives on a thread of its own.
pub struct FirstLap {
    log: Arc<CommitLog>,
    lap: Lap,
}

impl FirstLap {
    pub(super) fn new(log: Arc<CommitLog>) -> Self {
        let lap = Lap::new(log.reserved(), log.tail().capacity());
        Self { log, lap }
    }

    /// Returns once the whole ring has been touched, or the log has been closed or has stopped.
    ///
    /// # Errors
    /// When the kernel does not do it (before Linux 5.14) or has no memory. Whoever writes into the
    /// ring then touches the rest of it.
    pub fn run(self) -> io::Result<()> {
        let Self { log, mut lap } = self;
        while !log.closing() && log.failure().is_none() {
            match lap.next(log.reserved()) {
                Next::Touch(range) => log.tail().populate(range)?,
                Next::Wait { mark } => log.mark().wait(mark),
                Next::Done => break,
            }
        }
        Ok(())
    }
}

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// Touch these positions' memory.
    Touch(Range<u64>),
    /// Nothing before something beyond `mark` is reserved.
    Wait { mark: u64 },
    /// Nothing any more.
    Done,
}

/// How far the memory has been touched. Positions are in whole steps, as is every ring that is larger
/// than one: so no step goes across the ring's end.
struct Lap {
    start: u64,
    touched: u64,
    end: u64,
}

impl Lap {
    fn new(start: Position, capacity: u64) -> Self {
        let start = start.0.next_multiple_of(STEP);
        Self { start, touched: start, end: start + capacity }
    }

    fn next(&mut self, reserved: Position) -> Next {
        // A step that the log has come into is left to the owners: to go beside them through its pages
        // would keep nobody ahead.
        let overtaken = reserved.0.next_multiple_of(STEP);
        self.touched = self.touched.max(overtaken).min(self.end);
        // Half of it is what has been written, the other half is ahead of that.
        let ahead = ((self.touched - self.start) / 2).clamp(AHEAD_MIN, AHEAD_MAX);
        if self.touched == self.end {
            return Next::Done;
        }
        if self.touched >= reserved.0 + ahead {
            return Next::Wait { mark: self.touched - ahead };
        }
        let from = self.touched;
        self.touched = (from + STEP).min(self.end);
        Next::Touch(from..self.touched)
    }
}

/// The position at which [`FirstLap`] is woken. Nowhere without one.
pub(super) struct Mark {
    at: AtomicU64,
    wake: flume::Sender<()>,
    woken: flume::Receiver<()>,
}

impl Default for Mark {
    fn default() -> Self {
        let (wake, woken) = flume::bounded(1);
        Self { at: AtomicU64::new(NOWHERE), wake, woken }
    }
}

impl Mark {
    /// Says that the log is reserved up to `end`. Called by one thread at a time (the holder of the
    /// log's reservation lock), for every reservation.
    pub(super) fn pass(&self, end: Position) {
        // Relaxed: a mark that is seen late is passed by the next reservation, too, as one that was
        // set only after the log had come beyond it. There is no such hurry.
        if end.0 > self.at.load(Ordering::Relaxed) {
            // Nobody else need wake it before it waits again.
            self.at.store(NOWHERE, Ordering::Relaxed);
            self.rouse();
        }
    }

    /// Wakes who waits, or is about to.
    pub(super) fn rouse(&self) {
        // A full channel holds a wake-up already.
        let _ = self.wake.try_send(());
    }

    /// Waits until `mark` is passed by a reservation yet to come, or somebody rouses.
    fn wait(&self, mark: u64) {
        self.at.store(mark, Ordering::Relaxed);
        self.woken.recv().expect("this has a sender, too");
    }
}

#[cfg(test)]
#[path = "first_lap_tests.rs"]
mod tests;
