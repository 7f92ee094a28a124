//! Appending record batches to queues.

use std::{borrow::Cow, rc::Rc, time::Duration};

use futures_lite::future;

use super::{
    Broker,
    producers::{Remembered, Sequence, SequenceError},
    queue::Queue,
    queues::Queues,
};
use crate::{
    base::{Dialect, Position, QueueId},
    cluster::{ClusterError, FlushMode, TimestampType, TopicSettings},
    storage::{
        commit_log::{
            Reservation, ReserveError, Turn,
            frame::{FrameKind, FrameMeta},
        },
        queue_index::IndexEntry,
    },
    wire::kafka::{
        batch::{self, BatchError, BatchHeader},
        compression,
        record::check_records,
    },
};

/// Why a batch was not appended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// There is no such queue here, or no more.
    #[error("no such queue")]
    UnknownQueue,
    /// The batch is larger than its topic allows.
    #[error("the batch has {bytes} bytes, the topic allows {max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The topic's limit.
        max: u32,
    },
    /// The messages of a batch are longer together than anything that the log takes at once.
    #[error("the batch takes {bytes} bytes of the log, which is more than the log takes at once")]
    BatchTooLong {
        /// What they take, with their headers.
        bytes: usize,
    },
    /// A timestamp lies outside of what the topic allows.
    #[error("timestamp {timestamp} is out of the topic's range")]
    Timestamp {
        /// Milliseconds since 1970.
        timestamp: i64,
    },
    /// A record without a key in a compacted topic, or records that cannot be read.
    #[error("{0}")]
    Records(String),
    /// The producer's sequence numbers do not allow it.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// There is no place for messages that wait for their time, and none can be made.
    #[error("no timer queue: {0}")]
    NoTimerQueue(ClusterError),
    /// As many messages wait for their time as may.
    #[error("too many delayed messages are pending (timers.max_pending)")]
    TooManyTimers,
    /// The log waits for the disk; the same batch may fit in a moment.
    #[error("the log is busy")]
    Busy,
    /// No space is left, or the log has stopped.
    #[error("{0}")]
    Storage(ReserveError),
}

/// A batch that was appended, now or before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AppendedBatch {
    /// Offset of its first record.
    pub base_offset: i64,
    /// The broker's time in it, milliseconds since 1970; `None` where the client's times stay.
    pub log_append_time_ms: Option<i64>,
    /// First readable offset of the queue.
    pub log_start: i64,
    /// To be answered once the log is durable up to here.
    pub answer_at: Position,
}

impl Broker {
    /// Appends a batch whose topic's limits were asked when it came, and that no producer numbered.
    /// Stands in line for room in the log no longer than `stall`.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended.
    pub(super) async fn append_admitted(
        self: &Rc<Self>,
        id: QueueId,
        bytes: &[u8],
        stall: Duration,
    ) -> Result<AppendedBatch, AppendError> {
        let header = BatchHeader::parse(bytes);
        let header = header.map_err(|error| AppendError::Records(error.to_string()))?;
        let append = |turn: Option<&Turn<'_>>| self.append_in(id, bytes, &header, true, turn);
        self.when_free(bytes.len(), stall, append).await
    }

    fn append_in(
        self: &Rc<Self>,
        id: QueueId,
        bytes: &[u8],
        header: &BatchHeader,
        admitted: bool,
        turn: Option<&Turn<'_>>,
    ) -> Result<AppendedBatch, AppendError> {
        let now_ms = self.env.clock.wall_ms();
        let mut queues = self.queues.borrow_mut();
        let queue = open_queue(&mut queues, id)?;
        if !admitted {
            check_limits(&queue.settings, bytes.len(), header, now_ms)?;
            if queue.settings.compact {
                check_keys(bytes, header)?;
            }
        }
        let sequence = sequence_of(header);
        if let Some(twin) = self.twin(queue, sequence.as_ref())? {
            return Ok(twin);
        }
        let room = self.reserve(bytes.len(), queue.settings.max_message_bytes, turn)?;
        let put = self.put_batch(id, queue, room, bytes, header, now_ms);
        if let Some(sequence) = &sequence {
            queue.producers.record(sequence, put.entry.base_offset, put.end, now_ms);
        }
        let appended = self.answer(queue, put.entry.base_offset, put.end, now_ms);
        drop(queues);
        self.enter_batch(id, &put);
        Ok(appended)
    }

    /// Where a batch of an idempotent producer was appended before, if it was.
    pub(super) fn twin(
        &self,
        queue: &Queue,
        sequence: Option<&Sequence>,
    ) -> Result<Option<AppendedBatch>, AppendError> {
        let Some(sequence) = sequence else { return Ok(None) };
        let twin = queue.producers.check(sequence, queue.next_offset == 0)?;
        let appended =
            |twin: Remembered| self.answer(queue, twin.base_offset, twin.end, twin.append_time_ms);
        Ok(twin.map(appended))
    }

    /// What there is to say of a batch that was appended.
    pub(super) fn answer(
        &self,
        queue: &Queue,
        base_offset: i64,
        end: Position,
        append_time_ms: i64,
    ) -> AppendedBatch {
        let settings = &queue.settings;
        let broker_time = settings.timestamp_type == TimestampType::LogAppendTime;
        AppendedBatch {
            base_offset,
            log_append_time_ms: broker_time.then_some(append_time_ms),
            log_start: queue.log_start,
            answer_at: if self.answers_early(settings) { Position(0) } else { end },
        }
    }

    /// Fills a reserved frame with a batch, and gives it its queue's next offsets. It is to be entered
    /// before anything else is.
    pub(super) fn put_batch(
        &self,
        id: QueueId,
        queue: &mut Queue,
        mut room: Reservation<'_>,
        bytes: &[u8],
        header: &BatchHeader,
        now_ms: i64,
    ) -> PutBatch {
        let broker_time = queue.settings.timestamp_type == TimestampType::LogAppendTime;
        let answer_async = self.answers_early(&queue.settings);
        let base_offset = queue.next_offset;
        let payload = room.payload();
        payload.copy_from_slice(bytes);
        let assigned = batch::set_assigned(payload, base_offset, 0);
        debug_assert!(assigned.is_ok(), "the header was parsed before");
        let mut max_timestamp = header.max_timestamp;
        batch::correct_max_timestamp(payload, max_timestamp);
        if broker_time {
            let stamped = batch::set_log_append_time(payload, now_ms);
            debug_assert!(stamped.is_ok(), "the header was parsed before");
            max_timestamp = now_ms;
        }
        let count = header.record_count as u32;
        let appended = room.commit(&FrameMeta {
            kind: FrameKind::KafkaBatch,
            queue: id,
            base_offset,
            count,
            tag_hash: 0,
            append_time_ms: now_ms,
        });
        // Messages of a topic that has just become asynchronous come after those still waiting.
        let show_at_once = answer_async && queue.high_watermark == base_offset;
        queue.next_offset += i64::from(count);
        let entry = IndexEntry {
            base_offset,
            position: appended.payload,
            length: bytes.len() as u32,
            count,
            max_timestamp,
            append_time: now_ms,
            tag_hash: 0,
            dialect: Dialect::Kafka,
        };
        PutBatch { entry, end: appended.end, answer_async, show_at_once }
    }

    /// A batch that was put counts from now on.
    pub(super) fn enter_batch(&self, id: QueueId, put: &PutBatch) {
        self.enter(id, put.entry, put.end, put.answer_async, put.show_at_once);
    }

    /// Whether answers leave, and messages show, before the log is durable.
    pub(super) fn answers_early(&self, settings: &TopicSettings) -> bool {
        match settings.flush {
            Some(FlushMode::Async) => true,
            Some(FlushMode::Sync) => false,
            None => self.settings.flush_async,
        }
    }

    pub(super) fn reserve(
        &self,
        bytes: usize,
        max: u32,
        turn: Option<&Turn<'_>>,
    ) -> Result<Reservation<'_>, AppendError> {
        let room = match turn {
            Some(turn) => self.log_to_fill().reserve_in_turn(bytes, turn),
            None => self.log_to_fill().reserve(bytes, false),
        };
        room.map_err(|error| no_room(error, bytes, max))
    }

    /// What was appended counts, and shows once it is durable, or at once.
    fn enter(
        &self,
        id: QueueId,
        entry: IndexEntry,
        end: Position,
        answer_async: bool,
        show_at_once: bool,
    ) {
        if answer_async {
            self.log.answer_ahead(end);
        }
        self.count(|figures| {
            figures.batches_in += 1;
            figures.records_in += u64::from(entry.count);
            figures.bytes_in += u64::from(entry.length);
        });
        self.traffic.borrow_mut().put(entry.append_time, entry.count);
        if show_at_once {
            self.commit_messages(id, entry);
        } else {
            self.messages_pending(end, id, entry);
        }
    }

    /// Appends one batch, whose header and checksum were verified, to a queue this shard owns. For room
    /// in the log it stands in line, no longer than `stall`. The batch is durable and visible later,
    /// see [`AppendedBatch::answer_at`].
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended. [`AppendError::Busy`] when there was no room for
    /// so long.
    pub async fn append_when_free(
        self: &Rc<Self>,
        id: QueueId,
        bytes: &[u8],
        header: &BatchHeader,
        stall: Duration,
    ) -> Result<AppendedBatch, AppendError> {
        let append = |turn: Option<&Turn<'_>>| self.append_in(id, bytes, header, false, turn);
        let appended = self.when_free(bytes.len(), stall, append).await;
        if let Err(AppendError::Busy | AppendError::Storage(_)) = appended
            && let Some(sequence) = sequence_of(header)
            && let Some(queue) = self.queues.borrow_mut().get_mut(&id)
        {
            queue.producers.refused(&sequence, self.env.clock.wall_ms());
        }
        appended
    }

    /// Appends at once, or else when it is this one's turn, so that `bytes` have room.
    pub(super) async fn when_free<A>(
        &self,
        bytes: usize,
        stall: Duration,
        append: impl Fn(Option<&Turn<'_>>) -> Result<A, AppendError>,
    ) -> Result<A, AppendError> {
        match append(None) {
            Err(AppendError::Busy) => {}
            result => return result,
        }
        let in_line = async {
            let turn = self.log.line_up(bytes).await;
            loop {
                match append(Some(&turn)) {
                    Err(AppendError::Busy) => {
                        let stopped = AppendError::Storage(ReserveError::Stopped);
                        self.log_progress().await.map_err(|_| stopped)?;
                    }
                    result => return result,
                }
            }
        };
        let too_long = async {
            self.env.tasks.sleep(stall).await;
            Err(AppendError::Busy)
        };
        future::or(in_line, too_long).await
    }
}

/// A batch in its frame, and in no index yet.
pub(super) struct PutBatch {
    /// Its entry in the index.
    pub(super) entry: IndexEntry,
    /// Where its frame ends.
    pub(super) end: Position,
    /// It is answered, and shown, before the log is durable.
    pub(super) answer_async: bool,
    /// It is shown at once: nothing before it still waits for the log.
    pub(super) show_at_once: bool,
}

/// Why the log has no room for so many bytes; `max` is the topic's limit.
pub(super) fn no_room(error: ReserveError, bytes: usize, max: u32) -> AppendError {
    match error {
        ReserveError::Busy => AppendError::Busy,
        ReserveError::TooLong => AppendError::TooLarge { bytes, max },
        ReserveError::DiskFull | ReserveError::Stopped => AppendError::Storage(error),
    }
}

/// A queue that takes messages of clients.
pub(super) fn open_queue(queues: &mut Queues, id: QueueId) -> Result<&mut Queue, AppendError> {
    let queue = queues.get_mut(&id).filter(|queue| queue.timers.is_none());
    queue.ok_or(AppendError::UnknownQueue)
}

/// Most bytes a batch may have when it is decompressed to be looked through.
const DECOMPRESSED_MAX: usize = 256 << 20;

/// A batch's records, decompressed.
///
/// # Errors
/// What is wrong with them.
pub fn records_of<'a>(bytes: &'a [u8], header: &BatchHeader) -> Result<Cow<'a, [u8]>, BatchError> {
    let records = bytes.get(batch::HEADER_BYTES..).unwrap_or_default();
    compression::decompress(header.codec()?, records, DECOMPRESSED_MAX)
}

/// The highest time of a batch's records, milliseconds since 1970.
///
/// # Errors
/// What is wrong with them.
pub fn highest_time(bytes: &[u8], header: &BatchHeader) -> Result<i64, BatchError> {
    let records = records_of(bytes, header)?;
    check_records(header, &records, false).map(|latest| latest.timestamp_ms)
}

/// Whether a batch of `bytes` bytes is within what its topic allows.
pub(super) fn check_limits(
    settings: &TopicSettings,
    bytes: usize,
    header: &BatchHeader,
    now_ms: i64,
) -> Result<(), AppendError> {
    let max = settings.max_message_bytes;
    if bytes > max as usize {
        return Err(AppendError::TooLarge { bytes, max });
    }
    if settings.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let (before, after) = (settings.timestamp_before_max_ms, settings.timestamp_after_max_ms);
    // The first record may be older than the highest time is.
    let earliest = header.base_timestamp.min(header.max_timestamp);
    check_time(earliest, now_ms, before, u64::MAX)?;
    check_time(header.max_timestamp, now_ms, u64::MAX, after)
}

/// Whether all records of a batch have keys.
pub(super) fn check_keys(bytes: &[u8], header: &BatchHeader) -> Result<(), AppendError> {
    let refused = |error: BatchError| AppendError::Records(error.to_string());
    let records = records_of(bytes, header).map_err(refused)?;
    check_records(header, &records, true).map(drop).map_err(refused)
}

fn check_time(time: i64, now_ms: i64, before: u64, after: u64) -> Result<(), AppendError> {
    if time == NO_TIME {
        return Ok(());
    }
    let late = i64::try_from(after).is_ok_and(|after| time > now_ms.saturating_add(after));
    let early = i64::try_from(before).is_ok_and(|before| time < now_ms.saturating_sub(before));
    if late || early { Err(AppendError::Timestamp { timestamp: time }) } else { Ok(()) }
}

/// What a record says that was given no time.
const NO_TIME: i64 = -1;

/// The producer's part of a batch header, if the producer is idempotent.
pub(super) fn sequence_of(header: &BatchHeader) -> Option<Sequence> {
    (header.producer_id >= 0).then_some(Sequence {
        producer: header.producer_id,
        epoch: header.producer_epoch,
        first: header.base_sequence,
        count: header.record_count,
    })
}
