//! What lies behind small reads of the log, read with them.
//!
//! A pull asks for some 30 messages: from the disk that would be one read for each pull of a consumer
//! that catches up. So a read that goes on where another has ended is made as long as a read may be,
//! and what was not asked for yet is kept for the pulls to come, of whichever queue: those of a topic
//! lie side by side.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    ops::Range,
    rc::Rc,
};

use tokio::sync::OnceCell;

use super::cold::GAP_BYTES;
use crate::env::ColdBytes;

/// A part of the log, in bytes of position, and what is read of it: by the first who wants it, while
/// others wait.
#[derive(Debug)]
pub(super) struct Stretch {
    /// Where it lies.
    pub(super) range: Range<u64>,
    /// What is there.
    pub(super) bytes: OnceCell<ColdBytes>,
    /// Up to where somebody has wanted it.
    used_until: Cell<u64>,
}

impl Stretch {
    /// It was wanted up to `end`.
    pub(super) fn use_until(&self, end: u64) {
        self.used_until.set(end.max(self.used_until.get()));
    }

    /// Whether who wants what begins at `start` follows those who have used it. That it reaches there
    /// says nothing: who wants little of much that is there would have all of it read.
    fn is_followed(&self, start: u64) -> bool {
        self.range.start <= start && start <= self.used_until.get() + GAP_BYTES
    }
}

/// The stretches that a shard has read last.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Least recently used first.
    kept: RefCell<VecDeque<Rc<Stretch>>>,
    kept_max: usize,
    /// Largest read, in bytes.
    read_bytes: u64,
}

impl ReadAhead {
    /// Keeps stretches of up to `read_bytes`, so many that they take `bytes` at most.
    pub(super) fn new(bytes: u64, read_bytes: u64) -> Self {
        Self { kept: RefCell::default(), kept_max: (bytes / read_bytes) as usize, read_bytes }
    }

    /// The stretch kept that holds all of `wanted`.
    pub(super) fn kept(&self, wanted: &Range<u64>) -> Option<Rc<Stretch>> {
        let mut kept = self.kept.borrow_mut();
        let holds = |stretch: &Rc<Stretch>| {
            stretch.range.start <= wanted.start && wanted.end <= stretch.range.end
        };
        let stretch = kept.iter().position(holds).and_then(|at| kept.remove(at))?;
        kept.push_back(Rc::clone(&stretch));
        Some(stretch)
    }

    /// A stretch with all of `wanted`, to be read; it goes further, but not behind `end`, where
    /// `wanted` follows what was used before.
    pub(super) fn begin(&self, wanted: &Range<u64>, end: u64) -> Rc<Stretch> {
        let mut kept = self.kept.borrow_mut();
        let follows = kept.iter().any(|stretch| stretch.is_followed(wanted.start));
        let ahead = wanted.start + if follows { self.read_bytes } else { 0 };
        let stretch = Rc::new(Stretch {
            range: wanted.start..ahead.min(end).max(wanted.end),
            bytes: OnceCell::new(),
            used_until: Cell::new(wanted.end),
        });
        kept.push_back(Rc::clone(&stretch));
        if kept.len() > self.kept_max {
            kept.pop_front();
        }
        stretch
    }

    /// Has a stretch read anew the next time, since there was something wrong with it.
    pub(super) fn forget(&self, stretch: &Rc<Stretch>) {
        self.kept.borrow_mut().retain(|kept| !Rc::ptr_eq(kept, stretch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = u64::MAX;

    /// What is read when `wanted` is not kept.
    fn begun(ahead: &ReadAhead, wanted: Range<u64>, end: u64) -> Range<u64> {
        assert!(ahead.kept(&wanted).is_none());
        ahead.begin(&wanted, end).range.clone()
    }

    #[test]
    fn what_goes_on_is_read_ahead_for_all_who_follow() {
        let ahead = ReadAhead::new(4_000_000, 1_000_000);
        assert_eq!(begun(&ahead, 0..100, END), 0..100, "nobody knows yet where it goes");
        let first = ahead.begin(&(150..250), END);
        assert_eq!(first.range, 150..1_000_150);
        let kept = ahead.kept(&(500_000..1_000_150)).unwrap();
        assert!(Rc::ptr_eq(&first, &kept));
        kept.use_until(1_000_150);
        assert_eq!(begun(&ahead, 1_000_000..1_000_200, END), 1_000_000..2_000_000);
    }

    #[test]
    fn what_few_want_is_not_read_ahead() {
        let ahead = ReadAhead::new(4_000_000, 1_000_000);
        begun(&ahead, 0..100, END);
        assert_eq!(begun(&ahead, 100..200, END), 100..1_000_100);
        let next = 1_000_200..1_000_300;
        assert_eq!(begun(&ahead, next.clone(), END), next, "hardly any of the last was used");
    }

    #[test]
    fn what_lies_elsewhere_is_read_alone() {
        let ahead = ReadAhead::new(4_000_000, 1_000_000);
        assert_eq!(begun(&ahead, 5_000_000..5_000_100, END), 5_000_000..5_000_100);
        let far = 5_000_100 + GAP_BYTES + 1;
        assert_eq!(begun(&ahead, far..far + 10, END), far..far + 10);
        assert_eq!(begun(&ahead, 4_999_999..5_000_005, END), 4_999_999..5_000_005);
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        let ahead = ReadAhead::new(4_000_000, 1_000_000);
        begun(&ahead, 0..100, 300);
        assert_eq!(begun(&ahead, 100..200, 300), 100..300);
        assert_eq!(begun(&ahead, 250..400, 300), 250..400);
    }

    #[test]
    fn without_memory_nothing_is_read_ahead() {
        let ahead = ReadAhead::new(999_999, 1_000_000);
        assert_eq!(begun(&ahead, 0..100, END), 0..100);
        assert_eq!(begun(&ahead, 100..200, END), 100..200);
        assert!(ahead.kept(&(100..200)).is_none());
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let ahead = ReadAhead::new(2_000_000, 1_000_000);
        let [first, second, third] = [10_000_000..10_000_010, 20..30, 5_000_000..5_000_010];
        begun(&ahead, first.clone(), END);
        begun(&ahead, second.clone(), END);
        assert!(ahead.kept(&first).is_some());
        begun(&ahead, third.clone(), END);
        let kept = [first, second, third].map(|range| ahead.kept(&range).is_some());
        assert_eq!(kept, [true, false, true]);
    }
}
