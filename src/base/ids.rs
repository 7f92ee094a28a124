//! Ids as newtypes, so that one cannot be passed for another.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A byte position in the commit log, counted from the log's first byte ever written.
///
/// Positions only grow and are never reused; a block starts at a multiple of 4 KiB.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Position(pub u64);

impl Position {
    /// The position `bytes` further on.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0 + bytes)
    }

    /// Bytes from `earlier` to here. `earlier` must not lie behind.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        assert!(earlier <= self, "position {earlier} lies behind {self}");
        self.0 - earlier.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A queue's number: one Kafka partition, one RocketMQ queue. Given once, never reused; at most 24
/// bits are used, so that a RocketMQ locator has room for the offset beside it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct QueueId(pub u32);

impl QueueId {
    /// The highest number a queue may have.
    pub const MAX: Self = Self((1 << 24) - 1);
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A topic's id (KIP-516): a random UUID, new with every creation of the name.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The id no topic has; on the wire it means "none".
    pub const ZERO: Self = Self([0; 16]);
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One shard: one executor on one thread, numbered from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u16);

/// The term under which a block was written (0 until there is replication).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);
