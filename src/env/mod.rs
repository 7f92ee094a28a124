//! The seam to the machine. Storage, cluster and broker see only these traits, so that a whole
//! broker can run in one deterministic thread.

pub mod blocking;
pub mod glommio;
pub mod mirror;
pub mod simulated;

use std::{
    fmt,
    future::Future,
    io,
    ops::{Deref, Range},
    path::Path,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use rustix::io::Errno;

/// A future that stays on the core it was made on.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The two clocks.
pub trait Clock: Send + Sync {
    /// Wall-clock time in milliseconds since 1970, UTC. May jump.
    fn wall_ms(&self) -> i64;
    /// Time since an arbitrary moment in the past. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// Randomness for ids and jitter; seeded in a simulation.
pub trait Random: Send + Sync {
    /// Fills `bytes` with random bytes.
    fn fill(&self, bytes: &mut [u8]);
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Must exist; reads only.
    Read,
    /// Must exist; reads and writes.
    Write,
    /// Must not exist; reads and writes.
    Create,
    /// As `Write`, past the page cache: offsets, lengths and addresses of every transfer are
    /// multiples of 4 KiB.
    WriteDirect,
    /// As `Read`, past the page cache, with the same alignment.
    ReadDirect,
}

/// A disk. Every call blocks: it belongs on the writer thread, the housekeeper thread or before
/// the shards start, never on a running shard (those use [`ColdRead`]).
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing what is there. Durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// File names (not paths) in a directory, in no order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates a directory and its parents, durably.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// The file system that `dir` lies on.
    fn volume(&self, dir: &Path) -> io::Result<Volume>;
}

/// Size of a file system, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// All of it.
    pub total_bytes: u64,
    /// What an unprivileged process may still write.
    pub free_bytes: u64,
}

/// Whether a read failed because the disk does not give back what was written. Any other failure, as
/// too many open files, may pass.
///
/// Reads through the page cache fail with EIO. Those past it may tell more (`blk_errors` in the kernel's
/// block/blk-core.c): ENODATA for a bad medium, EILSEQ where the disk's own checksums do not match.
#[must_use]
pub fn is_unreadable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::IO | Errno::NODATA | Errno::ILSEQ))
}

/// An open file. Every call blocks, see [`Disk`].
pub trait File: Send + Sync {
    /// Reads up to `buffer.len()` bytes at `offset`; short only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`; durable after [`File::sync`].
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of `bytes` at `offset` and returns once they are durable (RWF_DSYNC).
    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Makes all finished writes and the length durable.
    fn sync(&self) -> io::Result<()>;
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// True for a file of no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Sets the length; a grown part reads as zeros.
    fn set_len(&self, bytes: u64) -> io::Result<()>;
    /// Reserves disk space for the first `bytes` and sets the length, without writing them.
    fn allocate(&self, bytes: u64) -> io::Result<()>;
    /// Drops the file's clean pages from the page cache, if there is one.
    fn drop_cache(&self) -> io::Result<()>;
}

impl fmt::Debug for dyn File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("File")
    }
}

/// Where blocks go: the two ways to write a segment.
pub trait BlockSink {
    /// Turns to another segment file.
    fn open(&mut self, path: &Path) -> impl Future<Output = io::Result<()>>;
    /// Writes whole sectors at a sector's offset; with `durable`, ends when they are durable.
    fn write(
        &mut self,
        bytes: &[u8],
        offset: u64,
        durable: bool,
    ) -> impl Future<Output = io::Result<()>>;
    /// Makes everything written to the open file durable.
    fn sync(&mut self) -> impl Future<Output = io::Result<()>>;
    /// Sleeps until a message comes in (false), or `wait` has passed (true); for ever with
    /// [`Duration::MAX`].
    fn wait(&self, woken: &flume::Receiver<()>, wait: Duration) -> impl Future<Output = bool>;
}

/// Bytes that were read, shared without copying. Stays on its shard.
#[derive(Clone)]
pub struct ColdBytes {
    buffer: Rc<dyn Deref<Target = [u8]>>,
    range: Range<usize>,
}

impl ColdBytes {
    /// All of `buffer`.
    #[must_use]
    pub fn new(buffer: Rc<dyn Deref<Target = [u8]>>) -> Self {
        let range = 0..buffer.len();
        Self { buffer, range }
    }

    /// The same bytes in a buffer of their own.
    #[must_use]
    pub fn copied(&self) -> Self {
        Self::new(Rc::new(self.to_vec()))
    }

    /// A part, counted from the start of this one.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn slice(&self, part: Range<usize>) -> Self {
        assert!(part.start <= part.end && part.end <= self.range.len(), "a part lies inside");
        let range = self.range.start + part.start..self.range.start + part.end;
        Self { buffer: Rc::clone(&self.buffer), range }
    }
}

impl Deref for ColdBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[self.range.clone()]
    }
}

impl fmt::Debug for ColdBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.range.len())
    }
}

/// Reads that do not block the shard they are made on.
pub trait ColdRead {
    /// Reads `length` bytes at `offset` of the file at `path`; fewer only at the end of the file.
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<Vec<u8>>>;

    /// As [`ColdRead::read`], past the page cache where that is possible, into memory that is not
    /// copied again: for payload on its way to a client.
    fn read_payload<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<ColdBytes>> {
        Box::pin(async move { Ok(ColdBytes::new(Rc::new(self.read(path, offset, length).await?))) })
    }

    /// Lets go of a file that is about to be removed.
    fn forget(&self, _path: &Path) {}
}

/// Tasks and timers of one shard.
pub trait Tasks {
    /// Runs a future on this shard until it ends.
    fn spawn(&self, future: LocalFuture<'static, ()>);
    /// Ends after `duration`; with none, after others have had a turn.
    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()>;
}

/// What a shard's rooms get of the machine. Lives on that shard.
#[derive(Clone)]
pub struct Env {
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Tasks and timers.
    pub tasks: Rc<dyn Tasks>,
    /// File reads for consumers that lag behind the hot tail.
    pub cold: Rc<dyn ColdRead>,
}
