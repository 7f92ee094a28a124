//! Lines in the log about what clients get wrong: enough of them to find whose fault something is, and
//! not so many that a client can fill a disk with them.

use std::{cell::Cell, time::Duration};

/// Lines of one shard in a [`PERIOD`].
const LINES: u32 = 100;

/// After it there may be as many lines again.
const PERIOD: Duration = Duration::from_secs(60);

/// Counts the lines of a shard, or of a thread of its own.
#[derive(Debug, Default)]
pub struct Complaints {
    /// When the period began, on the monotonic clock.
    since: Cell<Duration>,
    lines: Cell<u32>,
    left_out: Cell<u64>,
}

impl Complaints {
    /// Whether there may be a line at `now`, on the monotonic clock: then how many were left out since
    /// the last one.
    pub fn admit(&self, now: Duration) -> Option<u64> {
        if now >= self.since.get() + PERIOD {
            self.since.set(now);
            self.lines.set(0);
        }
        if self.lines.get() == LINES {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.lines.set(self.lines.get() + 1);
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_few_and_those_left_out_are_counted() {
        let complaints = Complaints::default();
        let at = Duration::from_secs;
        for _ in 0..LINES {
            assert_eq!(complaints.admit(at(7)), Some(0));
        }
        for second in 7..60 {
            assert_eq!(complaints.admit(at(second)), None);
        }
        assert_eq!(complaints.admit(at(60)), Some(53));
        for _ in 1..LINES {
            assert_eq!(complaints.admit(at(119)), Some(0));
        }
        assert_eq!((complaints.admit(at(119)), complaints.admit(at(120))), (None, Some(1)));
    }
}
