//! Which messages damaged stretches of the log held, as far as anything still tells.
//!
//! Offsets of a queue follow each other without gaps, but for those of earlier repairs. So an index
//! entry that lies in a hole, a gap between two messages with a hole between them, and a queue's end
//! that a checkpoint knows are all that was lost, except behind everything that is known of a queue.

use std::{collections::BTreeMap, iter::Peekable, ops::Range, vec};

use hashbrown::HashMap;

use crate::{
    base::{Position, QueueId},
    storage::{
        commit_log::{frame::FRAME_HEADER, recovery::Hole},
        queue_index::IndexEntry,
    },
};

/// Messages a lost byte may have held. Records are not compressed below an eighth of a byte each:
/// no two have the same offset delta.
const MESSAGES_PER_BYTE_MAX: u64 = 8;

/// Offsets that were given and whose messages are lost, by queue, ascending.
pub type LostOffsets = BTreeMap<QueueId, Vec<Range<i64>>>;

/// What is known of a queue's messages up to one position.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// The offset behind the last one known of.
    next: i64,
    /// Where the last message was.
    position: Position,
    /// The offset behind the last one whose message can be read.
    readable: i64,
}

/// Goes through the messages there are, and finds those there are not.
#[derive(Debug)]
pub struct Ledger<'a> {
    holes: &'a [Hole],
    /// Frames whose headers are left in the holes, and which were not taken in yet.
    headers: Peekable<vec::IntoIter<(QueueId, IndexEntry)>>,
    queues: HashMap<QueueId, Seen>,
    lost: LostOffsets,
}

/// A queue's end that must be moved on before the queue takes messages again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lift {
    /// The queue.
    pub queue: QueueId,
    /// The offset behind its last message that can be read.
    pub from: i64,
    /// The first offset that cannot have been given.
    pub to: i64,
}

impl<'a> Ledger<'a> {
    /// Begins with the first readable offsets and the ends of queues, as far as they are known.
    #[must_use]
    pub fn new(holes: &'a [Hole], starts: impl IntoIterator<Item = (QueueId, i64)>) -> Self {
        let seen = |start| Seen { next: start, position: Position(0), readable: start };
        let queues = starts.into_iter().map(|(queue, start)| (queue, seen(start))).collect();
        let headers: Vec<_> = holes.iter().filter_map(header).collect();
        let headers = headers.into_iter().peekable();
        Self { holes, headers, queues, lost: LostOffsets::new() }
    }

    /// Takes in a frame; those of one queue in their order. One it has seen before changes nothing.
    pub fn frame(&mut self, queue: QueueId, entry: &IndexEntry) {
        // Queues that were deleted are nobody's loss.
        let Some(seen) = self.queues.get_mut(&queue) else { return };
        let next = entry.next_offset();
        if next <= seen.next {
            return;
        }
        let before = *seen;
        let readable = !self.holes.iter().any(|hole| hole.holds(entry.position));
        *seen = Seen {
            next,
            position: entry.position,
            readable: if readable { next } else { before.readable },
        };
        let between = |hole: &Hole| before.position <= hole.start && hole.start < entry.position;
        if before.next < entry.base_offset && self.holes.iter().any(between) {
            self.lose(queue, before.next..entry.base_offset);
        }
        if !readable {
            self.lose(queue, before.next.max(entry.base_offset)..next);
        }
    }

    /// Takes in the next frame of the log, and before it those in front whose headers are left in the
    /// holes.
    pub fn next_frame(&mut self, queue: QueueId, entry: &IndexEntry) {
        self.headers_before(entry.position);
        self.frame(queue, entry);
    }

    /// Takes in the frames in front of `position` whose headers are left in the holes.
    pub fn headers_before(&mut self, position: Position) {
        while let Some((queue, entry)) =
            self.headers.next_if(|(_, entry)| entry.position < position)
        {
            self.frame(queue, &entry);
        }
    }

    /// A queue is known to have had messages up to `next`.
    pub fn end(&mut self, queue: QueueId, next: i64) {
        let Some(seen) = self.queues.get_mut(&queue) else { return };
        let known = seen.next;
        seen.next = known.max(next);
        if known < next {
            self.lose(queue, known..next);
        }
    }

    fn lose(&mut self, queue: QueueId, offsets: Range<i64>) {
        let ranges = self.lost.entry(queue).or_default();
        match ranges.last_mut().filter(|last| last.end == offsets.start) {
            Some(last) => last.end = offsets.end,
            None => ranges.push(offsets),
        }
    }

    /// What is known to be lost.
    #[must_use]
    pub fn lost(&self) -> &LostOffsets {
        &self.lost
    }

    /// The queues whose end must be moved on so that no offset is given twice. Entries in front of
    /// `indexed` are all known, those of messages that are lost too.
    #[must_use]
    pub fn lifts(&self, indexed: Position) -> Vec<Lift> {
        let lift = |(&queue, seen): (&QueueId, &Seen)| {
            let to = seen.next.saturating_add_unsigned(self.unknown_behind(seen, indexed));
            (seen.readable < to).then_some(Lift { queue, from: seen.readable, to })
        };
        let mut lifts: Vec<_> = self.queues.iter().filter_map(lift).collect();
        lifts.sort_unstable_by_key(|lift| lift.queue);
        lifts
    }

    /// How many messages of a queue may be lost behind all that is known of it.
    fn unknown_behind(&self, seen: &Seen, indexed: Position) -> u64 {
        let unknown = |hole: &&Hole| hole.frame.is_none() && seen.position <= hole.start;
        let bytes = |hole: &Hole| hole.end.0.saturating_sub(hole.start.max(indexed).0);
        let bytes: u64 = self.holes.iter().filter(unknown).map(bytes).sum();
        bytes.saturating_mul(MESSAGES_PER_BYTE_MAX)
    }
}

/// The frame whose header is left in a hole.
fn header(hole: &Hole) -> Option<(QueueId, IndexEntry)> {
    let meta = hole.frame.filter(|meta| meta.kind.is_data())?;
    let entry = IndexEntry {
        base_offset: meta.base_offset,
        count: meta.count,
        position: hole.start.plus(FRAME_HEADER as u64),
        ..IndexEntry::default()
    };
    Some((meta.queue, entry))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::storage::commit_log::frame::{FrameKind, FrameMeta};

    fn hole(start: u64, end: u64, frame: Option<FrameMeta>) -> Hole {
        let (start, end) = (Position(start), Position(end));
        Hole { start, end, path: PathBuf::new(), reason: String::new(), frame }
    }

    fn entry(position: u64, base_offset: i64, count: u32) -> IndexEntry {
        let position = Position(position);
        IndexEntry { position, base_offset, count, ..IndexEntry::default() }
    }

    fn lost(ranges: &[(QueueId, Range<i64>)]) -> LostOffsets {
        let mut lost = LostOffsets::new();
        for (queue, offsets) in ranges {
            lost.entry(*queue).or_default().push(offsets.clone());
        }
        lost
    }

    const A: QueueId = QueueId(1);
    const B: QueueId = QueueId(2);

    #[test]
    fn a_gap_is_a_loss_where_a_hole_lies_in_it() {
        let holes = [hole(1000, 2000, None)];
        let mut ledger = Ledger::new(&holes, [(A, 5), (B, 0)]);
        // B's first gap is one of an earlier repair.
        let frames = [
            (A, entry(100, 5, 5)),
            (B, entry(200, 7, 1)),
            (A, entry(2100, 30, 2)),
            (QueueId(9), entry(2200, 30, 2)),
        ];
        for (queue, entry) in frames.iter().chain(&frames) {
            ledger.next_frame(*queue, entry);
        }
        assert_eq!(ledger.lost(), &lost(&[(A, 10..30)]));
        let lift = Lift { queue: B, from: 8, to: 8 + 8 * 1000 };
        assert_eq!(ledger.lifts(Position(0)), [lift], "B may have had messages there");
        // With an index of all of the hole B is known to have had none.
        assert_eq!(ledger.lifts(Position(2000)), []);
        assert_eq!(ledger.lifts(Position(1500)), [Lift { to: 8 + 8 * 500, ..lift }]);
    }

    #[test]
    fn what_index_headers_and_checkpoints_know_is_lost_exactly() {
        let meta = FrameMeta {
            queue: A,
            base_offset: 10,
            count: 4,
            ..FrameMeta::control(FrameKind::KafkaBatch, 0)
        };
        let holes = [
            hole(1000, 1200, Some(meta)),
            hole(2000, 2100, Some(FrameMeta::control(FrameKind::Void, 0))),
            hole(3000, 4000, None),
        ];
        let mut ledger = Ledger::new(&holes, [(A, 0), (B, 0)]);
        ledger.frame(B, &entry(3100, 0, 3));
        ledger.next_frame(A, &entry(900, 0, 10));
        ledger.next_frame(A, &entry(1300, 14, 1));
        ledger.end(A, 15);
        ledger.end(B, 8);
        assert_eq!(ledger.lost(), &lost(&[(A, 10..14), (B, 0..8)]));
        let lifts = [Lift { queue: B, from: 0, to: 8 }];
        assert_eq!(ledger.lifts(Position(4000)), lifts);
    }
}
