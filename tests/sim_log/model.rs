//! What the log must hold: a list of frames, and how many of them were acknowledged.

use mainstem::{
    base::Position,
    storage::commit_log::{
        frame::{FrameKind, FrameMeta},
        recovery::{FoundFrame, Recovered},
    },
};

/// A frame that was committed, or a reservation that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFrame {
    /// `None` for a reservation given up: the log does not tell where it was.
    pub payload_at: Option<Position>,
    pub end: Option<Position>,
    pub meta: FrameMeta,
    pub payload: Vec<u8>,
}

impl ModelFrame {
    /// A reservation of `bytes` bytes that was not committed.
    pub fn given_up(bytes: usize) -> Self {
        let meta = FrameMeta::control(FrameKind::Void, 0);
        Self { payload_at: None, end: None, meta, payload: vec![0; bytes] }
    }
}

/// A block's border and the number of frames before it, from which a replay may start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Border {
    pub position: Position,
    pub frames: usize,
}

#[derive(Debug, Default)]
pub struct Model {
    /// Every frame since the log began, in the order of their reservations.
    pub frames: Vec<ModelFrame>,
    /// The highest position that was ever said to be durable.
    pub durable: Position,
    /// From where a restart replays; what lies before may have been dropped.
    pub checkpoint: Border,
    /// Blocks in the log when it was last opened.
    pub blocks: u64,
    /// Something was being written when the last run ended.
    pub in_flight: bool,
}

/// A frame as recovery showed it.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    payload_at: Position,
    meta: FrameMeta,
    payload: Vec<u8>,
}

impl From<FoundFrame<'_>> for Found {
    fn from(frame: FoundFrame<'_>) -> Self {
        Self { payload_at: frame.payload_at, meta: frame.meta, payload: frame.payload.to_vec() }
    }
}

impl Found {
    /// A reservation that was given up.
    pub fn is_given_up(&self) -> bool {
        self.meta.kind == FrameKind::Void
    }

    /// True if it is `frame`, byte for byte.
    pub fn is(&self, frame: &ModelFrame) -> bool {
        Some(self.payload_at) == frame.payload_at
            && (&self.meta, &self.payload) == (&frame.meta, &frame.payload)
    }
}

impl Model {
    /// Frames that were acknowledged. A frame given up counts once a later one is.
    pub fn acknowledged(&self) -> usize {
        let durable = |frame: &ModelFrame| frame.end.is_some_and(|end| end <= self.durable);
        self.frames.iter().rposition(durable).map_or(0, |last| last + 1)
    }

    /// Holds what a restart found against what it must find.
    pub fn check(&self, recovered: &Recovered, found: &[Found]) {
        let count = recovered.frames as usize;
        assert!(recovered.end >= self.durable, "acknowledged bytes are gone");
        assert!(count >= self.acknowledged(), "acknowledged frames are gone");
        assert!(count <= self.frames.len(), "frames appeared that were never committed");
        assert!(recovered.blocks >= self.blocks, "blocks are gone");
        assert_eq!(recovered.holes, [], "nothing was damaged");
        assert_eq!(self.checkpoint.frames + found.len(), count, "frames found and counted");
        for (number, found) in found.iter().enumerate() {
            let number = self.checkpoint.frames + number;
            let frame = &self.frames[number];
            assert_eq!(found.meta, frame.meta, "frame {number}");
            assert_eq!(found.payload.len(), frame.payload.len(), "frame {number}");
            if frame.meta.kind != FrameKind::Void {
                assert_eq!(Some(found.payload_at), frame.payload_at, "frame {number}");
                assert!(found.payload == frame.payload, "frame {number} has other bytes");
            }
            let end = found.payload_at.plus(found.payload.len() as u64);
            assert!(end <= recovered.end, "frame {number} lies beyond the end");
        }
        if let Some((position, reason)) = &recovered.torn {
            assert!(self.in_flight, "nothing was being written, yet: {reason} at {position}");
            assert_eq!(*position, recovered.end);
        }
    }

    /// The log goes on from what was found.
    pub fn accept(&mut self, recovered: &Recovered) {
        self.frames.truncate(recovered.frames as usize);
        self.durable = recovered.end;
        self.blocks = recovered.blocks;
        self.in_flight = false;
    }
}
