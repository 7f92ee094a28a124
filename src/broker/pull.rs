//! Reading one queue message by message: a consumer that filters by tag and waits for more.

use std::{ops::Range, rc::Rc, sync::Arc, time::Duration};

use super::{
    Broker,
    cold::LogSlice,
    filter::{Filter, TagHash, Verdict},
};
use crate::{
    base::{Dialect, QueueId},
    storage::queue_index::{Budget, IndexEntry},
};

/// Index entries looked at with one look-up.
const SCAN: usize = 1_024;

/// Index entries looked at before what was found, or nothing, is told: a filter that lets little
/// through does not hold the shard.
const SCAN_MAX: usize = 16 * SCAN;

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
    /// Which messages are wanted. It is asked for frames; whoever is sent one looks at the message.
    pub filter: Arc<Filter>,
    /// How long to wait while there is nothing.
    pub wait: Duration,
}

/// Messages that were found, without their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// First readable offset of the queue.
    pub log_start: i64,
    /// First offset not readable yet.
    pub high_watermark: i64,
    /// Where to go on; further than what was asked for even if nothing matched.
    pub next_offset: i64,
    /// The messages, one a slice.
    pub slices: Vec<LogSlice>,
}

/// Why a queue cannot be read there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// There is no such queue here, or no more.
    #[error("no such queue")]
    UnknownQueue,
    /// The offset lies outside of what the queue holds.
    #[error("offset is outside of {log_start} to {high_watermark}")]
    OutOfRange {
        /// First readable offset.
        log_start: i64,
        /// First offset not readable yet.
        high_watermark: i64,
    },
    /// The messages there were damaged on disk.
    #[error("offsets {} to {} are lost: the log is damaged", .0.start, .0.end - 1)]
    Lost(Range<i64>),
    /// The message there is Kafka's, which nothing converts yet.
    #[error("offset {0} is a message of a Kafka client's, which is not converted yet")]
    OtherDialect(i64),
    /// An index could not be read.
    #[error("{0}")]
    Storage(String),
}

impl Broker {
    /// Finds messages in a queue of this shard, waiting for the first one.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(self: &Rc<Self>, mut pull: Pull) -> Result<Pulled, PullError> {
        let clock = &self.env.clock;
        let deadline = clock.monotonic() + pull.wait;
        loop {
            self.apply_durable();
            let pulled = self.pull_now(&pull).await?;
            let left = deadline.saturating_sub(clock.monotonic());
            let at_end = pulled.next_offset >= pulled.high_watermark;
            if !pulled.slices.is_empty() || left.is_zero() || !at_end {
                return Ok(pulled);
            }
            pull.offset = pulled.next_offset;
            self.wait_for_messages(&[(pull.queue, pull.offset)], left).await;
        }
    }

    async fn pull_now(&self, pull: &Pull) -> Result<Pulled, PullError> {
        let (log_start, high_watermark, readable) = {
            let queues = self.queues.borrow();
            let queue = queues.get(&pull.queue).ok_or(PullError::UnknownQueue)?;
            (queue.log_start, queue.high_watermark, queue.readable_until(pull.offset))
        };
        if pull.offset < log_start || pull.offset > high_watermark {
            return Err(PullError::OutOfRange { log_start, high_watermark });
        }
        let readable = readable.map_err(PullError::Lost)?.min(high_watermark);
        let next_offset = pull.offset;
        let mut pulled = Pulled { log_start, high_watermark, next_offset, slices: Vec::new() };
        let (mut bytes, mut scanned) = (0, 0);
        while pulled.next_offset < readable && scanned < SCAN_MAX {
            let budget = Budget { entries: SCAN, bytes: u64::MAX };
            let entries = self.index.range(pull.queue, pulled.next_offset, budget).await;
            let entries = entries.map_err(|error| PullError::Storage(error.to_string()))?;
            if entries.is_empty() {
                break;
            }
            scanned += entries.len();
            for entry in entries.iter().take_while(|entry| entry.base_offset < readable) {
                if !take(pull, entry, &mut pulled, &mut bytes)? {
                    return Ok(pulled);
                }
            }
        }
        Ok(pulled)
    }

    /// Whether the message at `offset` of a queue of this shard is there, and in memory.
    pub async fn is_hot(self: &Rc<Self>, queue: QueueId, offset: i64) -> bool {
        self.apply_durable();
        let found = self.index.find(queue, offset).await;
        found.is_ok_and(|entry| entry.is_some_and(|entry| entry.position >= self.tail.start()))
    }
}

/// Takes an entry in; false if there is enough.
fn take(
    pull: &Pull,
    entry: &IndexEntry,
    pulled: &mut Pulled,
    bytes: &mut u64,
) -> Result<bool, PullError> {
    if entry.dialect != Dialect::RocketMq {
        // What lies before is told first.
        return match pulled.slices.is_empty() {
            true => Err(PullError::OtherDialect(entry.base_offset)),
            false => Ok(false),
        };
    }
    if pull.filter.verdict(TagHash(entry.tag_hash)) != Verdict::None {
        let more = *bytes + u64::from(entry.length);
        let full = pulled.slices.len() >= pull.messages_max || more > pull.bytes_max;
        if full && !pulled.slices.is_empty() {
            return Ok(false);
        }
        *bytes = more;
        pulled.slices.push(LogSlice::new(pull.queue, entry));
    }
    pulled.next_offset = entry.next_offset();
    Ok(true)
}
