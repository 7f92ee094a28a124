//! Offsets of a queue: its ends, by time, and moving its start.
//!
//! # Which time
//! A message has two: the one its producer gave it, and the one it was stored at. Each dialect's
//! consumers are shown one of them and look for messages by it, whoever wrote them:
//!
//! | | Kafka | RocketMQ |
//! | --- | --- | --- |
//! | shown | the timestamp, of a message of RocketMQ's when it was born | when it was stored |
//! | looked for by | [`OffsetSpec::Time`] | [`OffsetSpec::StoredAt`] |
//! | in the index | the highest of a frame, in no order | in the order of the offsets |
//!
//! So a Kafka consumer that asks for a time and goes there reads a timestamp that is not before it,
//! and before it there is none such. With the other time neither would hold: a delayed message was
//! born long before it came to its queue, and a producer's clock may be wrong.

use std::{ops::Range, rc::Rc};

use super::{Broker, ColdError, LogSlice, append::records_of, control::ControlError, queue::Queue};
use crate::{
    base::{Dialect, Position, QueueId},
    storage::{
        commit_log::frame::{FrameKind, FrameMeta},
        queue_index::IndexError,
    },
    wire::kafka::{BatchHeader, record},
};

/// Which offset is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first readable one.
    Earliest,
    /// The one the next message gets, once the ones before it are readable.
    Latest,
    /// The first message with this timestamp or a later one, in milliseconds since 1970. A
    /// RocketMQ message's is when it was born.
    Time(i64),
    /// The first message that was stored at this time or later, in milliseconds since 1970. As close
    /// to it as can be told where the wall clock was set back.
    StoredAt(i64),
    /// The message with the highest timestamp (KIP-734).
    MaxTime,
}

/// An offset and the timestamp of its message, -1 for an end of the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedOffset {
    /// The offset.
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
}

/// Why an offset cannot be told or moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// There is no such queue here, or no more.
    #[error("no such queue")]
    UnknownQueue,
    /// The offset lies outside of what the queue holds.
    #[error("offset is out of range")]
    OutOfRange,
    /// An index file is damaged. It is being rebuilt, which is said elsewhere: try again.
    #[error("an index file is damaged")]
    Index,
    /// An index or the log could not be read or written.
    #[error("{0}")]
    Storage(String),
}

impl From<IndexError> for OffsetError {
    fn from(error: IndexError) -> Self {
        if error.is_damage() { Self::Index } else { Self::Storage(error.to_string()) }
    }
}

impl From<ControlError> for OffsetError {
    fn from(error: ControlError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl From<ColdError> for OffsetError {
    fn from(error: ColdError) -> Self {
        Self::Storage(error.to_string())
    }
}

impl Broker {
    /// First readable offset, and first one not readable yet, of a queue of this shard.
    pub fn ends(self: &Rc<Self>, id: QueueId) -> Option<(i64, i64)> {
        self.apply_durable();
        self.queues.borrow().get(&id).map(|queue| (queue.log_start, queue.high_watermark))
    }

    /// When the message at `offset` of a queue of this shard was appended, milliseconds since 1970;
    /// `None` where there is none.
    ///
    /// # Errors
    /// [`OffsetError::Storage`].
    pub async fn append_time(&self, id: QueueId, offset: i64) -> Result<Option<i64>, OffsetError> {
        let entry = self.index.find(id, offset).await?;
        Ok(entry.map(|entry| entry.append_time))
    }

    /// Bytes of payload a queue of this shard holds.
    #[must_use]
    pub fn queue_bytes(&self, id: QueueId) -> Option<u64> {
        self.queues.borrow().get(&id).map(|queue| queue.bytes)
    }

    /// The idempotent producers of a queue of this shard.
    #[must_use]
    pub fn queue_producers(&self, id: QueueId) -> Option<Vec<(i64, super::Producer)>> {
        let queues = self.queues.borrow();
        let producers = &queues.get(&id)?.producers;
        Some(producers.iter().map(|(id, producer)| (id, producer.clone())).collect())
    }

    /// Finds an offset of a queue of this shard; `None` where no message is late enough.
    ///
    /// # Errors
    /// [`OffsetError::UnknownQueue`] and [`OffsetError::Storage`].
    pub async fn find_offset(
        self: &Rc<Self>,
        id: QueueId,
        spec: OffsetSpec,
    ) -> Result<Option<TimedOffset>, OffsetError> {
        let (start, end) = self.ends(id).ok_or(OffsetError::UnknownQueue)?;
        let mut from = start;
        let time = match spec {
            OffsetSpec::Earliest => {
                return Ok(Some(TimedOffset { offset: start, timestamp: -1 }));
            }
            OffsetSpec::Latest => return Ok(Some(TimedOffset { offset: end, timestamp: -1 })),
            OffsetSpec::StoredAt(time) => return self.stored_at(id, start..end, time).await,
            OffsetSpec::Time(time) => time,
            OffsetSpec::MaxTime => match self.max_timestamp(id, start).await? {
                Some(time) => time,
                None => return Ok(None),
            },
        };
        // The highest time of a batch is told by its header, though its record may be deleted.
        let first = if spec == OffsetSpec::MaxTime { i64::MIN } else { start };
        while let Some(entry) = self.index.find_timestamp(id, from, time).await? {
            if entry.dialect == Dialect::RocketMq {
                let (offset, timestamp) = (entry.base_offset, entry.max_timestamp);
                return Ok(Some(TimedOffset { offset, timestamp }));
            }
            let batch = self.payloads(&[LogSlice::new(id, &entry)]).await.remove(0)?;
            let record = (|| {
                let header = BatchHeader::parse(&batch)?;
                record::find_timestamp(&header, &records_of(&batch, &header)?, first, time)
            })();
            let record = record.map_err(|error| OffsetError::Storage(error.to_string()))?;
            if let Some(found) = record {
                let (offset, timestamp) = (found.offset.max(start), found.timestamp_ms);
                return Ok(Some(TimedOffset { offset, timestamp }));
            }
            // Its header's maximum is that of a deleted record, or more than its records had.
            from = entry.next_offset();
        }
        Ok(None)
    }

    /// The first message in `offsets` that was stored at `time` or later.
    async fn stored_at(
        &self,
        id: QueueId,
        offsets: Range<i64>,
        time: i64,
    ) -> Result<Option<TimedOffset>, OffsetError> {
        let Range { mut start, mut end } = offsets;
        let mut found = None;
        // Most who ask for the newest messages of many queues find none: the last one tells.
        let mut at = end - 1;
        while start < end {
            match self.index.first_at_or_after(id, at).await? {
                Some(entry) if entry.append_time >= time => {
                    let offset = entry.base_offset.max(start);
                    found = Some(TimedOffset { offset, timestamp: entry.append_time });
                    end = at.min(entry.base_offset);
                }
                Some(entry) => start = entry.next_offset(),
                None => end = at,
            }
            at = start + (end - start) / 2;
        }
        Ok(found)
    }

    async fn max_timestamp(&self, id: QueueId, start: i64) -> Result<Option<i64>, OffsetError> {
        let (mut at, mut max) = (start, None);
        loop {
            let entries = self.entries(id, at).await?;
            let Some(last) = entries.last() else { return Ok(max) };
            at = last.next_offset();
            max = max.max(entries.iter().map(|entry| entry.max_timestamp).max());
        }
    }

    /// Moves a queue's first readable offset to `offset`, or to its end for -1, durably; returns
    /// where it is then.
    ///
    /// # Errors
    /// See [`OffsetError`].
    pub async fn delete_before(
        self: &Rc<Self>,
        id: QueueId,
        offset: i64,
    ) -> Result<i64, OffsetError> {
        let is_timers = |queue: &Queue| queue.timers.is_some();
        if self.queues.borrow().get(&id).is_some_and(is_timers) {
            return Err(OffsetError::UnknownQueue);
        }
        let (start, end) = self.ends(id).ok_or(OffsetError::UnknownQueue)?;
        let to = if offset == -1 { end } else { offset };
        if to < 0 || to > end {
            return Err(OffsetError::OutOfRange);
        }
        if to <= start {
            return Ok(start);
        }
        self.move_log_starts(&[(id, to)]).await?;
        self.ends(id).map(|(start, _)| start).ok_or(OffsetError::UnknownQueue)
    }

    /// Moves several queues' first readable offsets, durably, each to one within its queue. They wait
    /// for the log once, so that they may share a write of it.
    ///
    /// # Errors
    /// [`ControlError`]; some may be moved then.
    pub(super) async fn move_log_starts(
        self: &Rc<Self>,
        starts: &[(QueueId, i64)],
    ) -> Result<(), ControlError> {
        let mut end = Position(0);
        for &(id, to) in starts {
            end = self.append_log_start(id, to).await?;
        }
        self.durable(end).await?;
        self.apply_durable();
        Ok(())
    }

    /// Puts into the log where a queue starts; returns how far that is to be durable for it.
    pub(super) async fn append_log_start(
        &self,
        id: QueueId,
        to: i64,
    ) -> Result<Position, ControlError> {
        let mut meta = FrameMeta::control(FrameKind::LogStart, self.env.clock.wall_ms());
        (meta.queue, meta.base_offset) = (id, to);
        let appended = self.append_control_frame(&meta, &[]).await?;
        self.control_pending(appended.end, move |broker| broker.log_start_durable(id, to));
        Ok(appended.end)
    }

    pub(super) fn log_start_durable(&self, id: QueueId, to: i64) {
        let mut queues = self.queues.borrow_mut();
        let Some(queue) = queues.get_mut(&id) else { return };
        let from = queue.log_start;
        if to <= from {
            return;
        }
        queue.log_start = to;
        queue.kept_until_ms = i64::MIN;
        drop(queues);
        self.count_dropped(id);
    }
}
