//! Batches of which some records wait for their time.
//!
//! On topics with `mainstem.delay` a Kafka producer may say when a record is to be delivered. Its batch
//! then comes here divided by time ([`SplitBatch`]): what is due now, and one batch for each later
//! time. All have the same keys, values, headers and timestamps as before, and the producer's codec
//! but for small ones, which are not compressed.
//!
//! - **Where they go.** What is due now goes to its queue, with offsets without gaps; the others become
//!   timers ([`super::timers`]), whose message is a Kafka batch. They are delivered as they are:
//!   Kafka's consumers get the log's bytes, RocketMQ's what is converted from them, and nobody looks
//!   for a delivery time a second time.
//! - **All or nothing.** The timers go to a timer queue *of the same shard*, so that one shard can put
//!   all frames of a batch into one block of the log ([`CommitLog::reserve_together`]). A block is
//!   written and recovered whole: no crash divides a batch, there is no order of steps to get wrong,
//!   and an answer that waits for the end of the block waits for all of it.
//! - **Sequence numbers** count the batch as it was sent. The frames that its records come to lie in
//!   know nothing of them: what is stored has no producer, and a frame of its own in the same block,
//!   [`FrameKind::ProducerSequence`], tells the replay what [`Producers`] was told. So a batch sent
//!   again is recognized, with what became of it, after a restart too, even if nothing of it was due;
//!   and whatever its times have come to meanwhile.
//! - **The base offset** of the answer is that of the first record that was due, and -1, Kafka's
//!   "unknown", if none was: an offset that a message gets when it is delivered cannot be told, and
//!   the queue's next offset would be another message's. Clients count on from the base offset (Java
//!   only if it is not -1, librdkafka always): the offsets they compute are right up to
//!   the first delayed record of a batch.
//! - **Bounds.** The size limit and the range of timestamps hold for the batch as it was sent, now.
//!   Divided and not compressed it may have what the log takes at once: the work ends where it has more.
//!   `timers.max_pending` counts a batch's records that are due at one time as one message; a shard
//!   has the share of it that its timer queues have, and may exceed that by its last batch.
//!
//! [`CommitLog::reserve_together`]: crate::storage::commit_log::CommitLog::reserve_together
//! [`Producers`]: super::producers::Producers

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use super::{
    AppendError, AppendedBatch, Broker,
    append::{check_keys, check_limits, no_room, open_queue, sequence_of},
    filter::TagHash,
    producers::Sequence,
    timers::TimerFrame,
};
use crate::{
    base::{Dialect, Position, QueueId},
    storage::commit_log::{
        Turn,
        frame::{FRAME_HEADER, FrameKind, FrameMeta, frame_span},
    },
    wire::kafka::{
        BatchBuilder, Codec,
        batch::{self, BatchError, BatchHeader},
        record::{Record, Records},
    },
};

/// What Kafka's clients take for "unknown".
const NO_OFFSET: i64 = -1;

/// Kafka's messages have no ids by which they could be recalled.
const NO_ID: u32 = 0;

/// Bytes of records from which on a part is compressed: below it hardly gains what a codec costs.
const COMPRESSED_FROM: usize = 4 << 10;

/// A batch divided by when its records are due.
#[derive(Clone, Debug)]
pub struct SplitBatch {
    /// The header it was sent with.
    header: BatchHeader,
    /// Bytes it was sent with.
    bytes: usize,
    /// Those that are due, if any is.
    now: Option<Part>,
    /// The other ones, each part with its time in milliseconds since 1970.
    later: Vec<(i64, Part)>,
}

/// Records of a batch that are due at one time, as a batch without a producer.
#[derive(Clone, Debug)]
struct Part {
    header: BatchHeader,
    batch: Vec<u8>,
}

impl Part {
    fn of(builder: &BatchBuilder) -> Result<Self, AppendError> {
        let refused = |error: io::Error| AppendError::Records(error.to_string());
        let batch = builder.build().map_err(refused)?;
        let header = BatchHeader::parse(&batch).map_err(unusable)?;
        Ok(Self { header, batch })
    }
}

fn unusable(error: BatchError) -> AppendError {
    AppendError::Records(error.to_string())
}

impl SplitBatch {
    /// Divides a batch that was sent with `bytes` bytes. `due_ms` tells of a record when it is due, in
    /// milliseconds since 1970; none: at once. What it comes to may take `log_max` bytes of the log,
    /// without compression.
    ///
    /// # Errors
    /// [`AppendError::BatchTooLong`] as soon as it takes more; [`AppendError::Records`] for those that
    /// cannot be read, or not be compressed again.
    pub fn new(
        bytes: usize,
        header: &BatchHeader,
        records: &[u8],
        log_max: usize,
        due_ms: impl Fn(&Record<'_>) -> Option<i64>,
    ) -> Result<Self, AppendError> {
        let codec = header.codec().map_err(unusable)?;
        let mut parts: BTreeMap<Option<i64>, BatchBuilder> = BTreeMap::new();
        let mut log_bytes = 0;
        for record in Records::new(header, records) {
            let record = record.map_err(unusable)?;
            let time_ms = header.offset_time(&record).timestamp_ms;
            let part = match parts.entry(due_ms(&record)) {
                Entry::Occupied(part) => part.into_mut(),
                Entry::Vacant(part) => {
                    log_bytes += frame_span(TimerFrame::bytes_for(batch::HEADER_BYTES));
                    part.insert(BatchBuilder::new())
                }
            };
            let before = part.records_bytes();
            let Record { key, value, headers, .. } = record;
            part.record_with(time_ms, key, value, headers);
            log_bytes += part.records_bytes() - before;
            if log_bytes > log_max {
                return Err(AppendError::BatchTooLong { bytes: log_bytes });
            }
        }
        let mut split = Self { header: *header, bytes, now: None, later: Vec::new() };
        for (due_ms, mut builder) in parts {
            let is_small = builder.records_bytes() < COMPRESSED_FROM;
            builder.codec(if is_small { Codec::None } else { codec });
            let part = Part::of(&builder)?;
            match due_ms {
                None => split.now = Some(part),
                Some(due_ms) => split.later.push((due_ms, part)),
            }
        }
        Ok(split)
    }

    fn check_keys(&self) -> Result<(), AppendError> {
        let mut parts = self.now.iter().chain(self.later.iter().map(|(_, part)| part));
        parts.try_for_each(|part| check_keys(&part.batch, &part.header))
    }

    /// Payloads of its frames, in bytes, in their order: its sequence numbers, timers, what is due.
    fn payloads_bytes(&self) -> Vec<usize> {
        let sequence = sequence_of(&self.header).map(|_| Sequence::BYTES);
        let timers = self.later.iter().map(|(_, part)| TimerFrame::bytes_for(part.batch.len()));
        let now = self.now.as_ref().map(|part| part.batch.len());
        sequence.into_iter().chain(timers).chain(now).collect()
    }

    /// What a single frame would have as payload that took as much of the log.
    fn log_bytes(&self) -> usize {
        let spans = self.payloads_bytes().into_iter().map(frame_span);
        spans.sum::<usize>().saturating_sub(FRAME_HEADER)
    }
}

impl Broker {
    /// Appends what of a batch is due to a queue of this shard, and stores the rest for later; for
    /// room in the log it stands in line no longer than `stall`.
    ///
    /// # Errors
    /// See [`AppendError`]; then nothing was appended, and nothing is delivered later.
    pub async fn append_split(
        self: &Rc<Self>,
        id: QueueId,
        split: &SplitBatch,
        stall: Duration,
    ) -> Result<AppendedBatch, AppendError> {
        self.ensure_own_timers().await.map_err(AppendError::NoTimerQueue)?;
        let append = |turn: Option<&Turn<'_>>| self.append_split_in(id, split, turn);
        self.when_free(split.log_bytes(), stall, append).await
    }

    fn append_split_in(
        self: &Rc<Self>,
        id: QueueId,
        split: &SplitBatch,
        turn: Option<&Turn<'_>>,
    ) -> Result<AppendedBatch, AppendError> {
        let now_ms = self.env.clock.wall_ms();
        let mut queues = self.queues.borrow_mut();
        let queue = open_queue(&mut queues, id)?;
        let settings = Arc::clone(&queue.settings);
        check_limits(&settings, split.bytes, &split.header, now_ms)?;
        if settings.compact {
            split.check_keys()?;
        }
        let sequence = sequence_of(&split.header);
        if let Some(twin) = self.twin(queue, sequence.as_ref())? {
            return Ok(twin);
        }
        let base_offset = split.now.as_ref().map_or(NO_OFFSET, |_| queue.next_offset);
        let timers = self.room_for_timers(&queues)?;
        let rooms = self.log_to_fill().reserve_together(&split.payloads_bytes(), turn);
        let mut rooms = rooms
            .map_err(|error| no_room(error, split.log_bytes(), settings.max_message_bytes))?
            .into_iter();
        // From here on nothing fails, and nothing is awaited.
        let mut room = || rooms.next().expect("there is room for each frame");
        if let Some(sequence) = &sequence {
            let mut room = room();
            sequence.write(room.payload());
            let control = FrameMeta::control(FrameKind::ProducerSequence, now_ms);
            room.commit(&FrameMeta { queue: id, base_offset, ..control });
        }
        let mut end = Position(0);
        let timer_queue = queues.get_mut(&timers).expect("it has room");
        for (due_ms, part) in &split.later {
            let frame = TimerFrame {
                due_ms: timer_queue.timers.as_ref().map_or(*due_ms, |timers| timers.admit(*due_ms)),
                queue: id,
                tag_hash: TagHash::UNTAGGED,
                dialect: Dialect::Kafka,
                message: &part.batch,
            };
            end = self.put_timer(timers, timer_queue, room(), &frame, NO_ID).end;
        }
        let queue = queues.get_mut(&id).expect("it was open");
        let put = split
            .now
            .as_ref()
            .map(|part| self.put_batch(id, queue, room(), &part.batch, &part.header, now_ms));
        end = put.as_ref().map_or(end, |put| put.end);
        if let Some(sequence) = &sequence {
            queue.producers.record(sequence, base_offset, end, now_ms);
        }
        let answer = self.answer(queue, base_offset, end, now_ms);
        drop(queues);
        match &put {
            Some(put) => self.enter_batch(id, put),
            None if self.answers_early(&settings) => self.log.answer_ahead(end),
            None => {}
        }
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::records_of;

    /// Divides records with values of such lengths, one behind the other due a millisecond later.
    fn split(codec: Codec, lengths: &[usize], log_max: usize) -> Result<SplitBatch, AppendError> {
        let mut builder = BatchBuilder::new();
        builder.codec(codec);
        for (at, length) in (0..).zip(lengths) {
            builder.record(at, None, Some(&vec![b'x'; *length]), &[]);
        }
        let bytes = builder.build().unwrap();
        let header = BatchHeader::validate(&bytes).unwrap();
        let records = records_of(&bytes, &header).unwrap();
        let due_ms = |record: &Record<'_>| Some(header.offset_time(record).timestamp_ms);
        SplitBatch::new(bytes.len(), &header, &records, log_max, due_ms)
    }

    #[test]
    fn no_more_is_divided_than_the_log_takes_at_once() {
        const LOG_MAX: usize = 20 * 200;
        let taken = split(Codec::Zstd, &[50; 20], LOG_MAX).unwrap();
        assert!(taken.later.len() == 20 && taken.log_bytes() <= LOG_MAX, "{}", taken.log_bytes());
        let times = split(Codec::Zstd, &[50; 1_000], LOG_MAX).unwrap_err();
        assert!(matches!(times, AppendError::BatchTooLong { bytes } if bytes < LOG_MAX + 200));
        let bytes = split(Codec::Zstd, &[5_000; 2], LOG_MAX).unwrap_err();
        assert!(matches!(bytes, AppendError::BatchTooLong { bytes } if bytes < LOG_MAX + 6_000));
    }

    #[test]
    fn small_parts_are_not_compressed() {
        let split = split(Codec::Lz4, &[4_000, 5_000], usize::MAX).unwrap();
        let codecs = split.later.iter().map(|(_, part)| part.header.codec().unwrap());
        assert_eq!(codecs.collect::<Vec<_>>(), [Codec::None, Codec::Lz4]);
    }
}
