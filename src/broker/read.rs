//! Reading queues: which frames answer a fetch, and waiting for more.

use std::{future::poll_fn, ops::Range, rc::Rc, task::Poll, time::Duration};

use super::{
    Broker,
    cold::{ColdError, LogSlice},
    queue::Watch,
};
use crate::{
    base::QueueId,
    storage::queue_index::{Budget, IndexEntry, IndexError},
};

/// What is asked of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadRequest {
    /// The queue.
    pub queue: QueueId,
    /// The first offset wanted.
    pub offset: i64,
    /// Bytes of payload wanted at most, from this queue; one batch may be larger.
    pub bytes_max: u32,
}

/// Why a queue cannot be read there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
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
    /// An index file is damaged. It is being rebuilt, which is said elsewhere: try again.
    #[error("an index file is damaged")]
    Index,
    /// An index could not be read.
    #[error("{0}")]
    Storage(String),
    /// The log cannot be read there.
    #[error(transparent)]
    Log(#[from] ColdError),
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        if error.is_damage() { Self::Index } else { Self::Storage(error.to_string()) }
    }
}

/// The frames that hold the messages asked for, without their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Read {
    /// First readable offset of the queue.
    pub log_start: i64,
    /// First offset not readable yet.
    pub high_watermark: i64,
    /// Whole frames of either dialect; the first may begin before the offset asked for.
    pub slices: Vec<LogSlice>,
}

impl Read {
    /// Bytes of payload in all slices.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.slices.iter().map(|slice| u64::from(slice.length)).sum()
    }
}

impl Broker {
    /// Finds what this shard's queues hold for each request, within `bytes_max` in all: whole
    /// batches, the first of which may be larger if it is the answer's `first` one (KIP-74).
    pub async fn read(
        self: &Rc<Self>,
        requests: &[ReadRequest],
        bytes_max: u64,
        first: bool,
    ) -> Vec<Result<Read, ReadError>> {
        self.apply_durable();
        let mut results = Vec::with_capacity(requests.len());
        let mut bytes = 0;
        for request in requests {
            let left = bytes_max.saturating_sub(bytes);
            let result = self.read_one(request, left, first && bytes == 0).await;
            bytes += result.as_ref().map_or(0, Read::bytes);
            results.push(result);
        }
        results
    }

    async fn read_one(
        &self,
        request: &ReadRequest,
        bytes_left: u64,
        first: bool,
    ) -> Result<Read, ReadError> {
        let (log_start, high_watermark, next_offset, readable) = {
            let queues = self.queues.borrow();
            let queue = queues.get(&request.queue).filter(|queue| queue.timers.is_none());
            let queue = queue.ok_or(ReadError::UnknownQueue)?;
            let readable = queue.readable_until(request.offset);
            (queue.log_start, queue.high_watermark, queue.next_offset, readable)
        };
        if request.offset < log_start || request.offset > next_offset {
            return Err(ReadError::OutOfRange { log_start, high_watermark });
        }
        let readable = readable.map_err(ReadError::Lost)?;
        let mut read = Read { log_start, high_watermark, slices: Vec::new() };
        let bytes_max = bytes_left.min(u64::from(request.bytes_max));
        if request.offset >= high_watermark || (bytes_max == 0 && !first) {
            return Ok(read);
        }
        let entries = self
            .index
            .range(request.queue, request.offset, Budget { entries: usize::MAX, bytes: bytes_max })
            .await?;
        // Only the first batch of an answer may be larger than asked for.
        let fits = |entry: &IndexEntry| first || u64::from(entry.length) <= bytes_max;
        if !entries.first().is_some_and(fits) {
            return Ok(read);
        }
        let entries = entries.iter().take_while(|entry| entry.base_offset < readable);
        let mut records = 0;
        let slices = entries.map(|entry| {
            records += u64::from(entry.count);
            LogSlice::new(request.queue, entry)
        });
        read.slices = slices.collect();
        self.count(|figures| {
            figures.records_out += records;
            figures.bytes_out += read.bytes();
        });
        Ok(read)
    }

    /// Waits until one of this shard's queues holds messages at or behind its offset, or is gone,
    /// or `timeout` has passed.
    pub async fn wait_for_messages(self: &Rc<Self>, queues: &[(QueueId, i64)], timeout: Duration) {
        self.hold(queues, timeout).await;
    }

    /// As [`Broker::wait_for_messages`]; whether the wait was ended for another reason.
    pub(super) async fn hold(&self, queues: &[(QueueId, i64)], timeout: Duration) -> bool {
        let watch = Rc::<Watch>::default();
        {
            let mut owned = self.queues.borrow_mut();
            for (id, offset) in queues {
                match owned.get_aside(id) {
                    Some(queue) if queue.high_watermark <= *offset => queue.watch(&watch),
                    _ => return false,
                }
            }
        }
        let fired = poll_fn(|context| {
            if watch.fired.get() {
                return Poll::Ready(());
            }
            watch.waker.set(Some(context.waker().clone()));
            Poll::Pending
        });
        futures_lite::future::or(self.env.tasks.sleep(timeout), fired).await;
        watch.ended.get()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::broker::pull::tests::{QUEUE, broker};

    #[test]
    fn a_reader_that_gives_up_leaves_nothing_behind() {
        let broker = broker();
        // One place in two queues' stead: what one of them holds must not keep the other's.
        let queues = [(QUEUE, 0), (QUEUE, 0)];
        for _ in 0..100 {
            let wait = broker.wait_for_messages(&queues, Duration::from_millis(500));
            assert!(block_on(poll_once(wait)).is_none(), "there is no message");
        }
        let watches = broker.queues.borrow().get(&QUEUE).expect("it is here").watches();
        assert!(watches <= 8, "{watches}");
    }

    #[test]
    fn many_readers_of_a_queue_are_seldom_looked_through() {
        let broker = broker();
        let watches: Vec<_> = (0..1_000).map(|_| Rc::<Watch>::default()).collect();
        let mut queues = broker.queues.borrow_mut();
        let queue = queues.get_mut(&QUEUE).expect("it is here");
        let mut looks = 0;
        for watch in &watches {
            let before = queue.watches();
            queue.watch(&Rc::default());
            queue.watch(watch);
            // Only a look finds those whose reader gave up.
            looks += usize::from(queue.watches() < before + 2);
        }
        assert!(looks < 20, "{looks}");
        assert!(queue.watches() <= 2 * watches.len() + 2, "{}", queue.watches());
        queue.fire_watches();
        assert!(watches.iter().all(|watch| watch.fired.get()));
    }
}
