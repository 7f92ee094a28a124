//! Memory for what was read from disk and waits in answers to be sent.

use std::{cell::Cell, rc::Rc};

/// Memory of one shard, for all its connections. What is counted are messages; what was read with
/// them and stays as long as they do is seven times as much at most. What does not fit is not
/// refused: an answer ends before it, and its client asks again for what lies behind.
#[derive(Debug)]
pub struct ColdRoom {
    left: Cell<u64>,
}

impl ColdRoom {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes) })
    }

    /// Takes room for the first of `lengths`, in bytes, and for those behind it that there is room for.
    /// Returns how many these are. The first is taken whatever there is, so that everybody gets on.
    pub(super) fn take(self: &Rc<Self>, lengths: impl Iterator<Item = u32>) -> (usize, ColdHeld) {
        let (mut count, mut bytes) = (0, 0);
        for length in lengths {
            let more = bytes + u64::from(length);
            if count > 0 && more > self.left.get() {
                break;
            }
            (count, bytes) = (count + 1, more);
        }
        let bytes = bytes.min(self.left.get());
        self.left.set(self.left.get() - bytes);
        (count, ColdHeld { room: Rc::clone(self), bytes })
    }
}

/// Room that was taken, given back when this is dropped.
#[derive(Debug)]
pub(super) struct ColdHeld {
    room: Rc<ColdRoom>,
    bytes: u64,
}

impl Drop for ColdHeld {
    fn drop(&mut self) {
        self.room.left.set(self.room.left.get() + self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_taken_and_the_others_as_far_as_there_is_room() {
        let room = ColdRoom::new(100);
        let take = |lengths: &[u32]| room.take(lengths.iter().copied());
        let (all, first) = take(&[30, 30]);
        let (some, second) = take(&[30, 10, 1]);
        let (one, third) = take(&[500, 1]);
        assert_eq!((all, some, one, room.left.get()), (2, 2, 1, 0));
        drop(second);
        let (one, fourth) = take(&[30, 11]);
        assert_eq!((one, take(&[]).0, room.left.get()), (1, 0, 10));
        drop((first, third, fourth));
        assert_eq!(room.left.get(), 100);
    }
}
