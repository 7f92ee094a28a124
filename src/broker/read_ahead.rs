//! What lies behind small reads of the log, read with them.
//!
//! A pull asks for some 30 messages: from the disk that would be one read for each pull of a consumer
//! that catches up. So a read that goes on where another has ended is made as long as a read may be,
//! and what was not asked for yet is kept for the pulls to come, of whichever queue: those of a topic
//! lie side by side.

use std::{cell::RefCell, collections::VecDeque, ops::Range, rc::Rc};

use tokio::sync::OnceCell;

use super::cold::GAP_BYTES;
use crate::env::ColdBytes;

/// A part of the log, in bytes of position, and what is read of it: by the first who wants it, while
/// others wait.
#[derive(Clone, Debug)]
pub(super) struct Stretch {
    /// Where it lies.
    pub(super) range: Range<u64>,
    /// What is there.
    pub(super) bytes: Rc<OnceCell<ColdBytes>>,
}

impl Stretch {
    fn new(range: Range<u64>) -> Self {
        Self { range, bytes: Rc::default() }
    }
}

/// The stretches that a shard has read last.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Least recently used first.
    kept: RefCell<VecDeque<Stretch>>,
    kept_max: usize,
    /// Largest read, in bytes.
    read_bytes: u64,
}

impl ReadAhead {
    /// Keeps up to `kept_max` stretches of up to `read_bytes`.
    pub(super) fn new(kept_max: usize, read_bytes: u64) -> Self {
        Self { kept: RefCell::default(), kept_max, read_bytes }
    }

    /// A stretch with all of `wanted`, which reaches no further than `end` unless `wanted` does.
    pub(super) fn stretch(&self, wanted: Range<u64>, end: u64) -> Stretch {
        let mut kept = self.kept.borrow_mut();
        let holds = |stretch: &Stretch| {
            stretch.range.start <= wanted.start && wanted.end <= stretch.range.end
        };
        let known = kept.iter().position(holds).and_then(|at| kept.remove(at));
        let stretch = match known {
            Some(stretch) => stretch,
            // With what is as large nothing else could be read.
            None if wanted.end - wanted.start > self.read_bytes / 2 => return Stretch::new(wanted),
            None => {
                let goes_on = kept.iter().any(|Stretch { range, .. }| {
                    range.start <= wanted.start && wanted.start <= range.end + GAP_BYTES
                });
                let ahead = wanted.start + if goes_on { self.read_bytes } else { 0 };
                Stretch::new(wanted.start..ahead.min(end).max(wanted.end))
            }
        };
        if kept.len() >= self.kept_max {
            kept.pop_front();
        }
        kept.push_back(stretch.clone());
        stretch
    }

    /// Has a stretch read anew the next time, since there was something wrong with it.
    pub(super) fn forget(&self, stretch: &Stretch) {
        self.kept.borrow_mut().retain(|kept| !Rc::ptr_eq(&kept.bytes, &stretch.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = u64::MAX;

    fn range(ahead: &ReadAhead, wanted: Range<u64>, end: u64) -> Range<u64> {
        ahead.stretch(wanted, end).range
    }

    #[test]
    fn what_goes_on_is_read_ahead_for_all_who_follow() {
        let ahead = ReadAhead::new(4, 1_000_000);
        assert_eq!(range(&ahead, 0..100, END), 0..100, "nobody knows yet where it goes");
        let first = ahead.stretch(150..250, END);
        assert_eq!(first.range, 150..1_000_150);
        let second = ahead.stretch(500_000..500_010, END);
        assert!(Rc::ptr_eq(&first.bytes, &second.bytes));
        let across = ahead.stretch(1_000_000..1_000_200, END);
        assert_eq!(across.range, 1_000_000..2_000_000);
    }

    #[test]
    fn what_lies_elsewhere_is_read_alone() {
        let ahead = ReadAhead::new(4, 1_000_000);
        assert_eq!(range(&ahead, 5_000_000..5_000_100, END), 5_000_000..5_000_100);
        let far = 5_000_100 + GAP_BYTES + 1;
        assert_eq!(range(&ahead, far..far + 10, END), far..far + 10);
        assert_eq!(range(&ahead, 4_999_999..5_000_005, END), 4_999_999..5_000_005);
    }

    #[test]
    fn nothing_is_read_behind_the_end() {
        let ahead = ReadAhead::new(4, 1_000_000);
        range(&ahead, 0..100, 300);
        assert_eq!(range(&ahead, 100..200, 300), 100..300);
        assert_eq!(range(&ahead, 250..400, 300), 250..400);
    }

    #[test]
    fn large_reads_are_not_kept() {
        let ahead = ReadAhead::new(4, 1_000_000);
        let large = ahead.stretch(0..600_000, END);
        let again = ahead.stretch(0..600_000, END);
        assert!(!Rc::ptr_eq(&large.bytes, &again.bytes));
        assert_eq!(range(&ahead, 600_000..600_010, END), 600_000..600_010);
    }

    #[test]
    fn what_was_not_used_for_longest_goes() {
        let ahead = ReadAhead::new(2, 1_000_000);
        let far = |number: u64| number * 10_000_000..number * 10_000_000 + 10;
        let first = ahead.stretch(far(1), END);
        let second = ahead.stretch(far(2), END);
        assert!(Rc::ptr_eq(&first.bytes, &ahead.stretch(far(1), END).bytes));
        ahead.stretch(far(3), END);
        assert!(Rc::ptr_eq(&first.bytes, &ahead.stretch(far(1), END).bytes));
        assert!(!Rc::ptr_eq(&second.bytes, &ahead.stretch(far(2), END).bytes));
    }
}
