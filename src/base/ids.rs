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

    /// What names the message at `offset` for good: the queue's number above the low 39 bits of the
    /// offset. Never negative. RocketMQ's clients carry it as the message's physical offset.
    #[must_use]
    pub const fn locator(self, offset: i64) -> i64 {
        (self.0 as i64) << LOCATOR_OFFSET_BITS | offset & ((1 << LOCATOR_OFFSET_BITS) - 1)
    }

    /// The queue and the low 39 bits of the offset that a locator names; none for a negative one.
    #[must_use]
    pub fn of_locator(locator: i64) -> Option<(Self, i64)> {
        let queue = u32::try_from(locator >> LOCATOR_OFFSET_BITS).ok()?;
        Some((Self(queue), locator & ((1 << LOCATOR_OFFSET_BITS) - 1)))
    }
}

const LOCATOR_OFFSET_BITS: u32 = 39;

/// Whose wire form a message is stored in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// A Kafka record batch.
    #[default]
    Kafka,
    /// A RocketMQ message record.
    RocketMq,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators_differ_and_are_never_negative() {
        assert_eq!(QueueId(0).locator(7), 7);
        assert_eq!(QueueId(1).locator(7), (1 << 39) + 7);
        assert!(QueueId::MAX.locator(i64::MAX) > QueueId::MAX.locator(0));
        assert_eq!(QueueId::MAX.locator(i64::MAX), i64::MAX);
        assert_eq!(QueueId::of_locator(QueueId(5).locator(7)), Some((QueueId(5), 7)));
        assert_eq!(QueueId::of_locator(-1), None);
    }
}
