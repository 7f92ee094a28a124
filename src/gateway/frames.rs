//! Requests as they arrive, whole, and the memory that all of them may take.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::future;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::env::{Tasks, glommio::Connection};

/// Bytes a connection reads at a time, at least. Requests up to this size need no other memory.
const READ_BYTES: usize = 64 << 10;

/// The unit in which memory is given out, in bytes: 1 TiB of it can still be counted.
const UNIT: u64 = 1 << 10;

/// What a client has to send of a request that has its memory in each [`RequestMemory::stall`], in
/// bytes. The slowest that is borne takes that memory from others for ten minutes for each 20 MiB.
const UPLOAD_BYTES: usize = 1 << 20;

/// Memory for large requests of all connections on all shards.
///
/// Whoever wants some waits in one line, so that a large request gets its turn among small ones. It
/// is taken for a whole request at once, and whoever has it waits for its client, as long as that
/// goes on sending, and for the log, but never for more of it, and for other clients only a moment:
/// so all come to an end.
#[derive(Debug)]
pub struct RequestMemory {
    free: Semaphore,
    units: u64,
    /// How long [`UPLOAD_BYTES`] may take.
    stall: Duration,
}

impl RequestMemory {
    /// So many bytes, for clients that send a MiB within `stall`.
    #[must_use]
    pub fn new(bytes: u64, stall: Duration) -> Self {
        let units = bytes / UNIT;
        Self { free: Semaphore::new(units as usize), units, stall }
    }

    /// Bytes in use.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        (self.units - self.free.available_permits() as u64) * UNIT
    }

    /// Waits for `bytes`, or for all there is where that is less.
    async fn take(&self, bytes: usize) -> SemaphorePermit<'_> {
        let units = (bytes as u64).div_ceil(UNIT).min(self.units);
        self.free.acquire_many(units as u32).await.expect("it is never closed")
    }
}

/// Why there is no further frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("frame of {0} bytes, the limit is {1}")]
    Length(i32, usize),
    #[error("a frame of {length} bytes comes too slowly: {arrived} of them are here")]
    Slow { length: usize, arrived: usize },
}

/// A request's bytes without their length, and the memory it was given if it is large.
pub(super) struct Frame<'a> {
    pub(super) bytes: Bytes,
    pub(super) memory: Option<SemaphorePermit<'a>>,
}

/// The requests of one connection, one after the other.
pub(super) struct Frames<'a> {
    connection: &'a Connection,
    memory: &'a RequestMemory,
    tasks: &'a dyn Tasks,
    bytes_max: usize,
    buffer: BytesMut,
    /// What the last read brought, in bytes.
    last_read: usize,
}

impl<'a> Frames<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        memory: &'a RequestMemory,
        tasks: &'a dyn Tasks,
        bytes_max: usize,
    ) -> Self {
        Self { connection, memory, tasks, bytes_max, buffer: BytesMut::new(), last_read: 0 }
    }

    /// The next one; `None` when the client has closed its side.
    pub(super) async fn next(&mut self) -> Result<Option<Frame<'a>>, FrameError> {
        loop {
            if let Some(length) = self.length()? {
                if self.buffer.len() >= 4 + length {
                    self.buffer.advance(4);
                    let bytes = self.buffer.split_to(length).freeze();
                    return Ok(Some(Frame { bytes, memory: None }));
                }
                // A client that only claims a length takes nothing from others.
                if self.buffer.len() >= READ_BYTES {
                    return self.large(length).await;
                }
            }
            // Small reads cost as much as large ones.
            if self.buffer.capacity() - self.buffer.len() < READ_BYTES / 4 {
                self.buffer.reserve(READ_BYTES);
            }
            self.last_read = self.connection.read(&mut self.buffer).await?;
            if self.last_read == 0 {
                return Ok(None);
            }
        }
    }

    /// Whether the next request has to be read, after a read that brought little.
    pub(super) fn are_drained(&self) -> bool {
        let next_is_here = || match self.length() {
            Ok(Some(length)) => self.buffer.len() >= 4 + length,
            Ok(None) => false,
            Err(_) => true,
        };
        self.last_read < READ_BYTES / 4 && !next_is_here()
    }

    /// The next frame's length, once that has arrived.
    fn length(&self) -> Result<Option<usize>, FrameError> {
        let Some(length) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let length = i32::from_be_bytes(*length);
        match usize::try_from(length) {
            Ok(bytes) if bytes <= self.bytes_max => Ok(Some(bytes)),
            _ => Err(FrameError::Length(length, self.bytes_max)),
        }
    }

    /// Reads the rest of a large frame, in memory of its own, so that it goes with the frame.
    async fn large(&mut self, length: usize) -> Result<Option<Frame<'a>>, FrameError> {
        let memory = self.memory.take(length).await;
        let mut bytes = BytesMut::with_capacity(length);
        bytes.extend_from_slice(&self.buffer[4..]);
        self.buffer.clear();
        while bytes.len() < length {
            if !self.upload(&mut bytes, length).await? {
                return Ok(None);
            }
        }
        // An allocation may be larger than was asked for.
        self.buffer.extend_from_slice(&bytes[length..]);
        bytes.truncate(length);
        Ok(Some(Frame { bytes: bytes.freeze(), memory: Some(memory) }))
    }

    /// Reads the next [`UPLOAD_BYTES`] of a frame of `length` bytes, or what is left of it. False when
    /// the client has closed its side.
    async fn upload(&self, bytes: &mut BytesMut, length: usize) -> Result<bool, FrameError> {
        let goal = length.min(bytes.len() + UPLOAD_BYTES);
        let read = async {
            while bytes.len() < goal {
                if self.connection.read(bytes).await? == 0 {
                    return Ok(Some(false));
                }
            }
            Ok::<_, io::Error>(Some(true))
        };
        let stalled = async {
            self.tasks.sleep(self.memory.stall).await;
            Ok(None)
        };
        let went_on = future::or(read, stalled).await?;
        went_on.ok_or(FrameError::Slow { length, arrived: bytes.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    #[test]
    fn memory_is_given_in_the_order_it_was_asked_for() {
        let memory = RequestMemory::new(10 << 10, Duration::MAX);
        let first = block_on(memory.take(4 << 10));
        let mut large = pin!(memory.take(9 << 10));
        let mut small = pin!(memory.take(1));
        assert!(block_on(poll_once(&mut large)).is_none());
        assert!(block_on(poll_once(&mut small)).is_none(), "it would fit, but came later");
        assert_eq!(memory.taken_bytes(), 10 << 10, "what is free is kept for the large one");
        drop(first);
        let large = block_on(poll_once(&mut large)).unwrap();
        let small = block_on(poll_once(&mut small)).unwrap();
        drop((large, small));
        assert_eq!(memory.taken_bytes(), 0);
    }

    #[test]
    fn the_largest_request_passes_alone() {
        let memory = RequestMemory::new((10 << 10) + 1, Duration::MAX);
        let all = block_on(poll_once(memory.take((10 << 10) + 1))).unwrap();
        assert!(block_on(poll_once(memory.take(1))).is_none());
        drop(all);
        assert!(block_on(poll_once(memory.take(1))).is_some());
    }
}
