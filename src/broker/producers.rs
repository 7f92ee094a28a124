//! Idempotent producers of one queue (KIP-98, KIP-360): what each has written last.

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::base::Position;

/// Batches remembered a producer; a client has at most so many unanswered.
const REMEMBERED: usize = 5;

/// The sequence numbers of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// The producer's id, not negative.
    pub producer: i64,
    /// Its epoch.
    pub epoch: i16,
    /// Number of the first record.
    pub first: i32,
    /// Records in the batch, at least one.
    pub count: i32,
}

impl Sequence {
    /// Bytes it takes in a control frame: producer i64, epoch i16, first i32, count i32, little endian.
    pub(super) const BYTES: usize = 18;

    /// The sequence in its control frame.
    pub(super) fn write(&self, payload: &mut [u8]) {
        payload[..8].copy_from_slice(&self.producer.to_le_bytes());
        payload[8..10].copy_from_slice(&self.epoch.to_le_bytes());
        payload[10..14].copy_from_slice(&self.first.to_le_bytes());
        payload[14..18].copy_from_slice(&self.count.to_le_bytes());
    }

    /// Reads what [`Sequence::write`] wrote.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let payload: &[u8; Self::BYTES] = payload.try_into().ok()?;
        let i32_at = |at: usize| {
            i32::from_le_bytes(payload[at..at + 4].try_into().expect("four bytes of the payload"))
        };
        let producer = payload[..8].try_into().expect("eight bytes of the payload");
        Some(Self {
            producer: i64::from_le_bytes(producer),
            epoch: i16::from_le_bytes([payload[8], payload[9]]),
            first: i32_at(10),
            count: i32_at(14),
        })
    }

    fn last(&self) -> i32 {
        advance(self.first, self.count - 1)
    }
}

/// `sequence` moved on by `steps`; after the highest number comes 0.
fn advance(sequence: i32, steps: i32) -> i32 {
    ((i64::from(sequence) + i64::from(steps)) % (1 << 31)) as i32
}

/// Where an earlier batch of a producer went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    first: i32,
    last: i32,
    /// Its base offset.
    pub base_offset: i64,
    /// Durable once the log's durable position is here.
    pub end: Position,
    /// Wall-clock milliseconds at which it was appended.
    pub append_time_ms: i64,
}

/// Why a batch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// The epoch is older than one seen before.
    #[error("producer {producer} has epoch {current} by now, the batch has {epoch}")]
    StaleEpoch {
        /// The producer.
        producer: i64,
        /// The batch's epoch.
        epoch: i16,
        /// The newest epoch.
        current: i16,
    },
    /// The batch does not follow the producer's last one.
    #[error("producer {producer} sent sequence number {got} where {expected} was due")]
    OutOfOrder {
        /// The producer.
        producer: i64,
        /// The batch's first number.
        got: i32,
        /// The number that was due.
        expected: i32,
    },
}

/// One producer as the queue knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producer {
    /// Its newest epoch.
    pub epoch: i16,
    /// Its last batches, oldest first; never empty.
    batches: Vec<Remembered>,
}

impl Producer {
    fn newest(&self) -> &Remembered {
        self.batches.last().expect("a known producer has written")
    }

    /// The last sequence number it wrote.
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        self.newest().last
    }

    /// Wall-clock milliseconds of its last batch.
    #[must_use]
    pub fn last_time_ms(&self) -> i64 {
        self.newest().append_time_ms
    }
}

/// All producers of one queue. Lives with the queue on its owner's shard.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    known: HashMap<i64, Producer>,
    /// First batches of producers that are not known, which there was no room for.
    #[serde(skip)]
    awaited: HashMap<i64, Awaited>,
}

/// A batch that is to come before later ones of its producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Awaited {
    epoch: i16,
    first: i32,
    since_ms: i64,
}

/// Batches awaited in a queue at most.
const AWAITED: usize = 1_024;

impl Producers {
    /// Says whether a batch is new (`None`) or was appended before (where).
    ///
    /// A producer that is not known may begin at any number: the queue may have forgotten it. But not
    /// behind a batch that it is to send again ([`Self::refused`]), and not in a queue that never held a
    /// record (`is_unused`): there an earlier batch of it is still to come, sent before the queue was
    /// there, and would be lost for good (KAFKA-15591).
    ///
    /// # Errors
    /// When it must not be appended, see [`SequenceError`].
    pub fn check(
        &self,
        batch: &Sequence,
        is_unused: bool,
    ) -> Result<Option<Remembered>, SequenceError> {
        let Sequence { producer, epoch, first, .. } = *batch;
        let Some(known) = self.known.get(&producer) else {
            let awaited = self.awaited.get(&producer).filter(|awaited| awaited.epoch == epoch);
            let expected = match awaited {
                Some(awaited) => first.min(awaited.first),
                None if is_unused => 0,
                None => first,
            };
            return match first == expected {
                true => Ok(None),
                false => Err(SequenceError::OutOfOrder { producer, got: first, expected }),
            };
        };
        if epoch < known.epoch {
            return Err(SequenceError::StaleEpoch { producer, epoch, current: known.epoch });
        }
        let same_epoch = epoch == known.epoch;
        let twin = |old: &&Remembered| same_epoch && (old.first, old.last) == (first, batch.last());
        if let Some(twin) = known.batches.iter().find(twin) {
            return Ok(Some(*twin));
        }
        let expected = if same_epoch { advance(known.last_sequence(), 1) } else { 0 };
        if first != expected {
            return Err(SequenceError::OutOfOrder { producer, got: first, expected });
        }
        Ok(None)
    }

    /// Remembers a batch that there was no room for, if its producer is not known: those it sent behind
    /// it would be taken else, and it never.
    pub fn refused(&mut self, batch: &Sequence, now_ms: i64) {
        let Sequence { producer, epoch, first, .. } = *batch;
        if self.known.contains_key(&producer) || self.awaited.len() >= AWAITED {
            return;
        }
        let before = self.awaited.get(&producer).filter(|awaited| awaited.epoch == epoch);
        let first = before.map_or(first, |awaited| awaited.first.min(first));
        self.awaited.insert(producer, Awaited { epoch, first, since_ms: now_ms });
    }

    /// Remembers a batch that was appended.
    pub fn record(&mut self, batch: &Sequence, base_offset: i64, end: Position, append_ms: i64) {
        if !self.awaited.is_empty() {
            self.awaited.remove(&batch.producer);
        }
        let remembered = Remembered {
            first: batch.first,
            last: batch.last(),
            base_offset,
            end,
            append_time_ms: append_ms,
        };
        let producer = self
            .known
            .entry(batch.producer)
            .or_insert_with(|| Producer { epoch: batch.epoch, batches: Vec::new() });
        if producer.epoch != batch.epoch {
            producer.epoch = batch.epoch;
            producer.batches.clear();
        }
        if producer.batches.len() == REMEMBERED {
            producer.batches.remove(0);
        }
        producer.batches.push(remembered);
    }

    /// Remembers a batch by its control frame, unless it is known, or a later one is.
    pub fn replay(&mut self, batch: &Sequence, base_offset: i64, end: Position, append_ms: i64) {
        let known = self.known.get(&batch.producer);
        if known.is_none_or(|known| known.newest().end < end) {
            self.record(batch, base_offset, end, append_ms);
        }
    }

    /// Forgets producers that wrote last before `before_ms`; true if there was one.
    pub fn expire(&mut self, before_ms: i64) -> bool {
        let known = self.known.len();
        self.known.retain(|_, producer| producer.last_time_ms() >= before_ms);
        self.awaited.retain(|_, awaited| awaited.since_ms >= before_ms);
        self.known.len() < known
    }

    /// All producers, by id.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &Producer)> {
        self.known.iter().map(|(id, producer)| (*id, producer))
    }

    /// True if no producer is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, first: i32, count: i32) -> Sequence {
        Sequence { producer: 1, epoch, first, count }
    }

    fn wrote(batches: &[Sequence]) -> Producers {
        let mut producers = Producers::default();
        for (at, batch) in batches.iter().enumerate() {
            assert_eq!(producers.check(batch, false), Ok(None));
            producers.record(batch, at as i64 * 100, Position(at as u64), 0);
        }
        producers
    }

    #[test]
    fn the_last_five_batches_are_recognized() {
        let sent: Vec<_> = (0..6).map(|at| batch(0, at * 10, 10)).collect();
        let producers = wrote(&sent);
        for (at, again) in sent.iter().enumerate().skip(1) {
            let twin = producers.check(again, false).unwrap().unwrap();
            assert_eq!(twin.base_offset, at as i64 * 100);
        }
        assert!(matches!(producers.check(&sent[0], false), Err(SequenceError::OutOfOrder { .. })));
        assert!(matches!(
            producers.check(&batch(0, 70, 1), false),
            Err(SequenceError::OutOfOrder { expected: 60, .. })
        ));
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old() {
        let producers = wrote(&[batch(0, 0, 3), batch(1, 0, 2)]);
        assert!(matches!(
            producers.check(&batch(0, 3, 1), false),
            Err(SequenceError::StaleEpoch { current: 1, .. })
        ));
        assert!(producers.check(&batch(2, 5, 1), false).is_err());
        assert_eq!(producers.check(&batch(2, 0, 1), false), Ok(None));
    }

    #[test]
    fn nothing_overtakes_a_first_batch_that_there_was_no_room_for() {
        let mut producers = Producers::default();
        producers.refused(&batch(0, 10, 5), 1_000);
        producers.refused(&batch(0, 15, 5), 2_000);
        let out_of_order = SequenceError::OutOfOrder { producer: 1, got: 15, expected: 10 };
        assert_eq!(producers.check(&batch(0, 15, 5), false), Err(out_of_order));
        assert_eq!(producers.check(&batch(0, 5, 5), false), Ok(None), "it came even earlier");
        assert_eq!(producers.check(&batch(1, 7, 5), false), Ok(None), "it began anew");
        assert_eq!(producers.check(&batch(0, 10, 5), false), Ok(None));
        producers.record(&batch(0, 10, 5), 0, Position(1), 3_000);
        assert_eq!(producers.check(&batch(0, 15, 5), false), Ok(None));
        assert_eq!(producers.awaited.len(), 0);
        producers.refused(&batch(0, 15, 5), 4_000);
        assert_eq!(producers.awaited.len(), 0, "a known one is awaited anyhow");
        for producer in 2..AWAITED as i64 + 10 {
            producers.refused(&Sequence { producer, ..batch(0, 0, 1) }, producer);
        }
        assert_eq!(producers.awaited.len(), AWAITED);
        producers.expire(1_000);
        assert!(producers.awaited.len() < 100);
    }

    #[test]
    fn an_unknown_producer_begins_an_unused_queue_at_zero() {
        let producers = Producers::default();
        let refused = SequenceError::OutOfOrder { producer: 1, got: 17, expected: 0 };
        assert_eq!(producers.check(&batch(0, 17, 5), true), Err(refused));
        assert_eq!(producers.check(&batch(0, 17, 5), false), Ok(None));
        assert_eq!(producers.check(&batch(3, 0, 5), true), Ok(None));
        // All that it sent before may wait in timers.
        let producers = wrote(&[batch(0, 0, 17)]);
        assert_eq!(producers.check(&batch(0, 17, 5), true), Ok(None));
    }

    #[test]
    fn numbers_wrap_and_an_unknown_producer_may_begin_anywhere() {
        let producers = wrote(&[batch(0, i32::MAX - 1, 2)]);
        assert_eq!(producers.check(&batch(0, 0, 4), false), Ok(None));
        let producers = wrote(&[batch(0, i32::MAX - 1, 4)]);
        assert_eq!(producers.check(&batch(0, 2, 1), false), Ok(None));
    }

    #[test]
    fn what_the_log_repeats_is_known() {
        let sequence = Sequence { producer: i64::MAX - 1, epoch: 7, first: i32::MAX - 2, count: 9 };
        let mut payload = [0xee; Sequence::BYTES];
        sequence.write(&mut payload);
        assert_eq!(Sequence::parse(&payload), Some(sequence));
        assert_eq!(Sequence::parse(&payload[1..]), None);
        let sent = [batch(0, 0, 10), batch(0, 10, 10), batch(0, 20, 1)];
        let mut producers = wrote(&sent[..2]);
        let before = producers.clone();
        (0..).zip(&sent[..2]).for_each(|(at, batch)| producers.replay(batch, -1, Position(at), 0));
        assert_eq!(producers, before);
        producers.replay(&sent[2], -1, Position(2), 0);
        assert_eq!(producers.check(&sent[2], false).unwrap().unwrap().base_offset, -1);
        assert_eq!(producers.check(&batch(0, 21, 1), false), Ok(None));
    }

    #[test]
    fn silent_producers_expire() {
        let mut producers = Producers::default();
        producers.record(&batch(0, 0, 1), 0, Position(0), 10);
        producers.expire(10);
        assert!(!producers.is_empty());
        producers.expire(11);
        assert!(producers.is_empty());
    }
}
