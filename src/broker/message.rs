//! Appending RocketMQ's messages to queues, one alone or several together.
//!
//! **All or nothing.** The messages of a batch get their room in the log together, in one block
//! ([`CommitLog::reserve_together`]): a refusal leaves none of them, and so does a crash; nor is one
//! read before the others.
//!
//! [`CommitLog::reserve_together`]: crate::storage::commit_log::CommitLog::reserve_together

use std::{rc::Rc, time::Duration};

use super::{
    AppendError, AppendedBatch, Broker,
    append::{PutBatch, open_queue},
    filter::TagHash,
    queue::Queue,
};
use crate::{
    base::{Dialect, Position, QueueId},
    cluster::TopicSettings,
    storage::{
        commit_log::{
            Reservation, ReserveError, Turn,
            frame::{FRAME_HEADER, FrameKind, FrameMeta, frame_span},
        },
        queue_index::IndexEntry,
    },
    wire::rocketmq::record::{self, Assigned},
};

/// A RocketMQ record on its way into a queue.
#[derive(Clone, Copy, Debug)]
pub struct MessageToAppend<'a> {
    /// The record, whole but for what the owner assigns.
    pub record: &'a [u8],
    /// By which consumers filter it.
    pub tag_hash: TagHash,
    /// Whether it has a key, which compacted topics demand.
    pub has_key: bool,
    /// The producer does not wait for the disk.
    pub early: bool,
    /// It is in the log already, because it waited or was consumed: its topic's limits do not count.
    pub admitted: bool,
}

impl MessageToAppend<'_> {
    /// Whether its topic takes it.
    pub(super) fn check(&self, settings: &TopicSettings) -> Result<(), AppendError> {
        if self.admitted {
            return Ok(());
        }
        let (bytes, max) = (self.record.len(), settings.max_message_bytes);
        if bytes > max as usize {
            return Err(AppendError::TooLarge { bytes, max });
        }
        if settings.compact && !self.has_key {
            return Err(AppendError::Records("Required message key is missing".to_owned()));
        }
        Ok(())
    }
}

impl Broker {
    /// Appends one RocketMQ record to a queue this shard owns, and sets in it what the owner assigns.
    /// Otherwise as [`Broker::append_when_free`]; [`MessageToAppend::early`] has the answer not wait for
    /// the disk, whatever the topic wants.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended.
    pub async fn append_message_when_free(
        self: &Rc<Self>,
        id: QueueId,
        message: &MessageToAppend<'_>,
        stall: Duration,
    ) -> Result<AppendedBatch, AppendError> {
        let append = |turn: Option<&Turn<'_>>| self.append_message_in(id, message, turn);
        self.when_free(message.record.len(), stall, append).await
    }

    fn append_message_in(
        self: &Rc<Self>,
        id: QueueId,
        message: &MessageToAppend<'_>,
        turn: Option<&Turn<'_>>,
    ) -> Result<AppendedBatch, AppendError> {
        let mut queues = self.queues.borrow_mut();
        let queue = open_queue(&mut queues, id)?;
        message.check(&queue.settings)?;
        let room = self.reserve(message.record.len(), queue.settings.max_message_bytes, turn)?;
        let put = self.put_record(id, queue, room, message);
        let log_start = queue.log_start;
        drop(queues);
        self.enter_batch(id, &put);
        Ok(answer(&put, message, log_start))
    }

    /// Appends RocketMQ records behind one another, all of them or none. Otherwise as
    /// [`Broker::append_message_when_free`]: they stand in line together, no longer than `stall`.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended.
    pub async fn append_messages_when_free(
        self: &Rc<Self>,
        id: QueueId,
        messages: &[MessageToAppend<'_>],
        stall: Duration,
    ) -> Result<Vec<AppendedBatch>, AppendError> {
        let lengths: Vec<_> = messages.iter().map(|message| message.record.len()).collect();
        let append =
            |turn: Option<&Turn<'_>>| self.append_messages_in(id, messages, &lengths, turn);
        // What a single frame would have as payload that took as much of the log.
        let bytes = log_bytes(&lengths).saturating_sub(FRAME_HEADER);
        self.when_free(bytes, stall, append).await
    }

    fn append_messages_in(
        self: &Rc<Self>,
        id: QueueId,
        messages: &[MessageToAppend<'_>],
        lengths: &[usize],
        turn: Option<&Turn<'_>>,
    ) -> Result<Vec<AppendedBatch>, AppendError> {
        let mut queues = self.queues.borrow_mut();
        let queue = open_queue(&mut queues, id)?;
        messages.iter().try_for_each(|message| message.check(&queue.settings))?;
        let rooms = self.log_to_fill().reserve_together(lengths, turn);
        let rooms = rooms.map_err(|error| match error {
            ReserveError::TooLong => AppendError::BatchTooLong { bytes: log_bytes(lengths) },
            ReserveError::Busy => AppendError::Busy,
            ReserveError::DiskFull | ReserveError::Stopped => AppendError::Storage(error),
        })?;
        // From here on nothing fails. The first one's turn to be shown is that of all.
        let mut show_at_once = None;
        let put = rooms.into_iter().zip(messages).map(|(room, message)| {
            let put = self.put_record(id, queue, room, message);
            PutBatch { show_at_once: *show_at_once.get_or_insert(put.show_at_once), ..put }
        });
        let put: Vec<_> = put.collect();
        let log_start = queue.log_start;
        drop(queues);
        put.iter().for_each(|put| self.enter_batch(id, put));
        let answers = put.iter().zip(messages);
        Ok(answers.map(|(put, message)| answer(put, message, log_start)).collect())
    }

    /// Fills a reserved frame with a record, and gives it its queue's next offset. It is to be entered
    /// before anything else is.
    fn put_record(
        &self,
        id: QueueId,
        queue: &mut Queue,
        mut room: Reservation<'_>,
        message: &MessageToAppend<'_>,
    ) -> PutBatch {
        let now_ms = self.env.clock.wall_ms();
        let &MessageToAppend { record, tag_hash, .. } = message;
        let base_offset = queue.next_offset;
        let payload = room.payload();
        payload.copy_from_slice(record);
        let assigned = Assigned {
            queue_offset: base_offset,
            physical_offset: id.locator(base_offset),
            store_timestamp: now_ms,
        };
        let set = record::set_assigned(payload, &assigned);
        let born = record::born_timestamp(payload);
        debug_assert!(set.is_ok() && born.is_ok(), "the record was written here");
        let appended = room.commit(&FrameMeta {
            kind: FrameKind::RocketMessage,
            queue: id,
            base_offset,
            count: 1,
            tag_hash: tag_hash.0,
            append_time_ms: now_ms,
        });
        // Nobody waits to be told of one that is in the log already.
        if message.early && !message.admitted {
            self.log.answer_ahead(appended.end);
        }
        let answer_async = self.answers_early(&queue.settings);
        let show_at_once = answer_async && queue.high_watermark == base_offset;
        queue.next_offset += 1;
        let entry = IndexEntry {
            base_offset,
            position: appended.payload,
            length: record.len() as u32,
            count: 1,
            max_timestamp: born.unwrap_or(now_ms),
            append_time: now_ms,
            tag_hash: tag_hash.0,
            dialect: Dialect::RocketMq,
        };
        PutBatch { entry, end: appended.end, answer_async, show_at_once }
    }
}

/// What there is to say of a message that was put.
fn answer(put: &PutBatch, message: &MessageToAppend<'_>, log_start: i64) -> AppendedBatch {
    let early = put.answer_async || message.early;
    AppendedBatch {
        base_offset: put.entry.base_offset,
        log_append_time_ms: Some(put.entry.append_time),
        log_start,
        answer_at: if early { Position(0) } else { put.end },
    }
}

/// Bytes of the log that payloads of these lengths take together.
fn log_bytes(lengths: &[usize]) -> usize {
    lengths.iter().map(|bytes| frame_span(*bytes)).sum()
}

#[cfg(test)]
mod tests;
