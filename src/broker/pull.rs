//! Reading one queue message by message: a consumer that filters and waits for more.
//!
//! The index says which frames hold nothing that is wanted, and of which all is; these are neither
//! read nor copied here. What is left is looked into: a message of RocketMQ's where it lies, a batch
//! of Kafka's once it is converted. A message is asked for in the same way whichever it was.

use std::{collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Broker,
    answer_room::{AnswerRoom, Converted},
    cold::LogSlice,
    filter::{Filter, TagHash, Verdict},
    read::ReadError,
};
use crate::{
    base::{Dialect, Position, QueueId},
    env::ColdBytes,
    storage::queue_index::{Budget, IndexEntry},
    wire::rocketmq::{property, record::Record},
};

/// Index entries looked at with one look-up, after the first.
const SCAN: usize = 1_024;

/// Index entries looked at before what was found, or nothing, is told: a filter that lets little
/// through does not hold the shard.
const SCAN_MAX: usize = 16 * SCAN;

/// Messages looked into before what was found, or nothing, is told.
const LOOKS_MAX: usize = 4 * SCAN;

/// Bytes of them, likewise.
const LOOKED_BYTES_MAX: u64 = 16 << 20;

/// Work between two turns of the shard's other tasks: bytes looked into.
const TURN_BYTES: u64 = 256 << 10;

/// For how many of these bytes a look counts besides: the filter's work, which is no matter of size.
const LOOK_BYTES: u64 = 2 << 10;

/// Bytes of messages that are read ahead from the segments when one of them has to be looked into.
const AHEAD_BYTES: u64 = 256 << 10;

/// So many pieces have room from the beginning: RocketMQ's clients pull 32 messages at a time.
const FEW: usize = 32;

/// What is asked of a queue.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The queue.
    pub queue: QueueId,
    /// The first offset wanted.
    pub offset: i64,
    /// Messages wanted at most; at least one.
    pub messages_max: usize,
    /// Bytes wanted at most; one message may be larger.
    pub bytes_max: u64,
    /// Which messages are wanted.
    pub filter: Arc<Filter>,
    /// How long to wait while there is nothing.
    pub wait: Duration,
}

/// Messages as RocketMQ's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// One that lies so in the log.
    Log(LogSlice),
    /// Converted ones, end to end, and how many they are.
    Converted(Bytes, u32),
}

impl Piece {
    /// Bytes of its messages.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Log(slice) => slice.length as usize,
            Self::Converted(bytes, _) => bytes.len(),
        }
    }

    fn messages(&self) -> u32 {
        match self {
            Self::Log(_) => 1,
            Self::Converted(_, messages) => *messages,
        }
    }
}

/// Messages that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// First readable offset of the queue.
    pub log_start: i64,
    /// First offset not readable yet.
    pub high_watermark: i64,
    /// Where to go on; further than what was asked for even if nothing matched.
    pub next_offset: i64,
    /// How many messages.
    pub messages: u32,
    /// The messages, in order.
    pub pieces: Vec<Piece>,
}

impl Pulled {
    /// Gives up the messages from the piece at `index` on, which is of the log.
    pub fn end_before(&mut self, index: usize) {
        let Some(Piece::Log(slice)) = self.pieces.get(index) else { return };
        self.next_offset = slice.base_offset;
        self.messages -= self.pieces.drain(index..).map(|piece| piece.messages()).sum::<u32>();
    }
}

impl Broker {
    /// Finds messages in a queue of this shard, waiting for the first one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn pull(self: &Rc<Self>, mut pull: Pull) -> Result<Pulled, ReadError> {
        let clock = &self.env.clock;
        let deadline = clock.monotonic() + pull.wait;
        loop {
            self.apply_durable();
            let pulled = self.pull_now(&pull).await?;
            let left = deadline.saturating_sub(clock.monotonic());
            let at_end = pulled.next_offset >= pulled.high_watermark;
            if !pulled.pieces.is_empty() || left.is_zero() || !at_end {
                return Ok(pulled);
            }
            pull.offset = pulled.next_offset;
            if self.hold(&[(pull.queue, pull.offset)], left).await {
                return Ok(pulled);
            }
        }
    }

    /// Ends the waiting of those who pull from a queue of this shard: they are answered with what they
    /// have, and ask again.
    pub fn end_held_pulls(&self, queue: QueueId) {
        if let Some(queue) = self.queues.borrow_mut().get_aside(&queue) {
            queue.end_watches();
        }
    }

    /// The message at `offset` of a queue of this shard as a RocketMQ record, whoever wrote it; none
    /// if none has that offset, or it cannot be read yet or any more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn message_at(
        self: &Rc<Self>,
        queue: QueueId,
        offset: i64,
    ) -> Result<Option<Bytes>, ReadError> {
        self.apply_durable();
        let filter = Arc::new(Filter::All);
        let (messages_max, bytes_max, wait) = (1, 0, Duration::ZERO);
        let pull = Pull { queue, offset, messages_max, bytes_max, filter, wait };
        let pulled = match self.pull_now(&pull).await {
            Err(ReadError::OutOfRange { .. }) => return Ok(None),
            pulled => pulled?,
        };
        let record = match pulled.pieces.into_iter().next() {
            None => return Ok(None),
            Some(Piece::Converted(record, _)) => record,
            Some(Piece::Log(slice)) => {
                let payload = self.payloads(&[slice]).await.remove(0)?;
                Bytes::copy_from_slice(&payload)
            }
        };
        // The next one is found where an offset has no message.
        let is_it = Record::parse(&record).is_ok_and(|found| found.queue_offset == offset);
        Ok(is_it.then_some(record))
    }

    async fn pull_now(self: &Rc<Self>, pull: &Pull) -> Result<Pulled, ReadError> {
        let (log_start, high_watermark, readable) = {
            let queues = self.queues.borrow();
            let queue = queues.get(&pull.queue).filter(|queue| queue.timers.is_none());
            let queue = queue.ok_or(ReadError::UnknownQueue)?;
            (queue.log_start, queue.high_watermark, queue.readable_until(pull.offset))
        };
        if pull.offset < log_start || pull.offset > high_watermark {
            return Err(ReadError::OutOfRange { log_start, high_watermark });
        }
        let readable = readable.map_err(ReadError::Lost)?.min(high_watermark);
        let mut taking = Taking::new(pull, &self.answer_room);
        let mut scanned = 0;
        while taking.next_offset < readable && scanned < SCAN_MAX && !taking.is_full() {
            // Most often all of the first ones are wanted.
            let look = if scanned == 0 { pull.messages_max.min(SCAN) } else { SCAN };
            let budget = Budget { entries: look, bytes: u64::MAX };
            let mut entries = self.index.range(pull.queue, taking.next_offset, budget).await?;
            entries.retain(|entry| entry.base_offset < readable);
            if entries.is_empty() {
                break;
            }
            scanned += entries.len();
            match self.take_all(&entries, &mut taking).await {
                Ok(true) => {}
                Ok(false) => break,
                // What lies before is told first.
                Err(_) if taking.messages > 0 => break,
                Err(error) => return Err(error),
            }
        }
        let (next_offset, messages, pieces) = taking.finish();
        Ok(Pulled { log_start, high_watermark, next_offset, messages, pieces })
    }

    /// Takes in what is wanted of `entries`; false if there is enough.
    async fn take_all(
        self: &Rc<Self>,
        entries: &[IndexEntry],
        taking: &mut Taking<'_>,
    ) -> Result<bool, ReadError> {
        let mut ahead = VecDeque::new();
        for (at, entry) in entries.iter().enumerate() {
            let verdict = taking.pull.filter.verdict(TagHash(entry.tag_hash));
            let more = match (verdict, entry.dialect) {
                (Verdict::None, _) => true,
                (_, Dialect::Kafka) => self.take_batch(entry, taking).await?,
                (Verdict::All, Dialect::RocketMq) => taking.take_stored(entry),
                (Verdict::Each, Dialect::RocketMq) => {
                    let wanted = self.look_into(&entries[at..], taking, &mut ahead).await?;
                    self.looked(u64::from(entry.length), taking).await;
                    !wanted || taking.take_stored(entry)
                }
            };
            if !more {
                return Ok(false);
            }
            taking.next_offset = taking.next_offset.max(entry.next_offset());
            if taking.has_looked_enough() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A message of so many bytes was looked into. Others of the shard have a turn now and then.
    async fn looked(&self, bytes: u64, taking: &mut Taking<'_>) {
        if taking.looked(bytes) {
            self.env.tasks.sleep(Duration::ZERO).await;
        }
    }

    /// Whether the first of `entries`, a message of RocketMQ's, is wanted. Where it has to be read
    /// from its segment, those behind it are read with it, and kept in `ahead`.
    async fn look_into(
        self: &Rc<Self>,
        entries: &[IndexEntry],
        taking: &Taking<'_>,
        ahead: &mut VecDeque<(Position, ColdBytes)>,
    ) -> Result<bool, ReadError> {
        let Pull { queue, filter, .. } = taking.pull;
        let wants = |record: &[u8]| wants(filter, record);
        let slice = LogSlice::new(*queue, &entries[0]);
        if let Some(wanted) = self.look(&slice, wants) {
            return Ok(wanted);
        }
        let is_ahead = ahead.iter().any(|(position, _)| *position == slice.position);
        if !is_ahead {
            let mut bytes = 0;
            let each = |entry: &&IndexEntry| {
                entry.dialect == Dialect::RocketMq
                    && filter.verdict(TagHash(entry.tag_hash)) == Verdict::Each
            };
            let slices = entries.iter().filter(each);
            let slices = slices.map(|entry| LogSlice::new(*queue, entry)).take_while(|slice| {
                let first = bytes == 0;
                bytes += u64::from(slice.length);
                first || bytes <= AHEAD_BYTES
            });
            let slices: Vec<_> = slices.collect();
            let loaded = self.payloads(&slices).await;
            let loaded = slices.iter().map(|slice| slice.position).zip(loaded);
            ahead.clear();
            for (position, payload) in loaded {
                match payload {
                    Ok(payload) => ahead.push_back((position, payload)),
                    // Whoever gets there reads it again, and is told.
                    Err(error) if ahead.is_empty() => return Err(error.into()),
                    Err(_) => break,
                }
            }
        }
        while let Some((position, payload)) = ahead.pop_front() {
            if position == slice.position {
                return Ok(wants(&payload));
            }
        }
        unreachable!("it was there, or has just been read");
    }

    /// Takes in what is wanted of a Kafka batch; false if there is enough.
    async fn take_batch(
        self: &Rc<Self>,
        entry: &IndexEntry,
        taking: &mut Taking<'_>,
    ) -> Result<bool, ReadError> {
        let Pull { queue, filter, .. } = taking.pull;
        let all = matches!(**filter, Filter::All);
        while taking.next_offset < entry.next_offset() {
            let from = taking.next_offset.max(entry.base_offset);
            let messages = self.converted(*queue, entry, from).await?;
            for (offset, record) in messages.since(from) {
                taking.next_offset = offset;
                if taking.has_looked_enough() {
                    return Ok(false);
                }
                self.looked(record.len() as u64, taking).await;
                if (all || wants(filter, record)) && !taking.take_converted(record) {
                    return Ok(false);
                }
            }
            let looked_until = messages.offsets().end;
            if looked_until <= from {
                return Err(ReadError::UnknownQueue);
            }
            taking.next_offset = looked_until;
        }
        Ok(true)
    }

    /// Whether the message at `offset` of a queue of this shard is there, and no further from the log's
    /// end than memory reaches, whether or not the broker was restarted since.
    pub async fn is_recent(self: &Rc<Self>, queue: QueueId, offset: i64) -> bool {
        self.apply_durable();
        let found = self.index.find(queue, offset).await;
        found.is_ok_and(|entry| entry.is_some_and(|entry| self.log.is_recent(entry.position)))
    }
}

/// Whether a message is wanted. One that cannot be read is for the consumer to see.
fn wants(filter: &Filter, record: &[u8]) -> bool {
    let Ok(record) = Record::parse(record) else { return true };
    let properties = record.properties();
    filter.wants(properties.get(property::TAGS), properties)
}

/// Messages being taken in for one pull.
struct Taking<'p> {
    pull: &'p Pull,
    next_offset: i64,
    pieces: Vec<Piece>,
    /// The last piece, while messages are added to it.
    converted: Converted,
    messages: usize,
    bytes: u64,
    /// Messages looked into, and their bytes.
    looks: usize,
    looked_bytes: u64,
    /// How much work it is when others have their next turn.
    turn_at: u64,
}

impl<'p> Taking<'p> {
    fn new(pull: &'p Pull, room: &Arc<AnswerRoom>) -> Self {
        let pieces = Vec::with_capacity(pull.messages_max.min(FEW));
        let converted = Converted::new(room);
        let next_offset = pull.offset;
        Self {
            pull,
            next_offset,
            pieces,
            converted,
            messages: 0,
            bytes: 0,
            looks: 0,
            looked_bytes: 0,
            turn_at: TURN_BYTES,
        }
    }

    /// Counts a look into so many bytes; true if it is others' turn.
    fn looked(&mut self, bytes: u64) -> bool {
        self.looks += 1;
        self.looked_bytes += bytes;
        let work = self.looked_bytes + self.looks as u64 * LOOK_BYTES;
        let is_due = work >= self.turn_at;
        if is_due {
            self.turn_at = work + TURN_BYTES;
        }
        is_due
    }

    fn has_looked_enough(&self) -> bool {
        self.looks >= LOOKS_MAX || self.looked_bytes >= LOOKED_BYTES_MAX
    }

    /// Whether one more message may be taken in; the first one always.
    fn wants(&self, bytes: u64) -> bool {
        let full = self.is_full() || self.bytes + bytes > self.pull.bytes_max;
        !full || self.messages == 0
    }

    fn count(&mut self, bytes: u64) {
        self.messages += 1;
        self.bytes += bytes;
    }

    /// No further message may be taken in.
    fn is_full(&self) -> bool {
        self.messages >= self.pull.messages_max
    }

    fn take_stored(&mut self, entry: &IndexEntry) -> bool {
        let bytes = u64::from(entry.length);
        if !self.wants(bytes) {
            return false;
        }
        self.count(bytes);
        self.end_piece();
        self.pieces.push(Piece::Log(LogSlice::new(self.pull.queue, entry)));
        true
    }

    fn take_converted(&mut self, record: &[u8]) -> bool {
        let (bytes, first) = (record.len() as u64, self.messages == 0);
        let taken = self.wants(bytes) && self.converted.push(record, first);
        if taken {
            self.count(bytes);
        }
        taken
    }

    fn end_piece(&mut self) {
        if let Some((bytes, messages)) = self.converted.split() {
            self.pieces.push(Piece::Converted(bytes, messages));
        }
    }

    fn finish(mut self) -> (i64, u32, Vec<Piece>) {
        self.end_piece();
        (self.next_offset, self.messages as u32, self.pieces)
    }
}

#[cfg(test)]
pub(super) mod tests;
