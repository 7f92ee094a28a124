//! Segment files: which exist, where a position lies, and fresh ones for the writer.
//!
//! A file in use is named `{sequence:012}.segment`; one that waits to be used `ready-{n}.segment`.
//! A file's identity is the sequence number in its blocks: a recycled file still holds old blocks
//! with a lower one.

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use super::SECTOR;
use crate::{
    base::Position,
    env::{Clock, Disk, OpenMode, Volume},
};

/// Bytes written at a time when a file is zero-filled.
const FILL_BYTES: usize = 1 << 20;

/// One segment of the log.
#[derive(Debug)]
pub struct Segment {
    /// Its number; the next segment's is higher.
    pub sequence: u64,
    /// Position of its first byte.
    pub base: Position,
    /// Length of the file in bytes.
    pub file_bytes: u64,
    /// The file.
    pub path: PathBuf,
}

/// The log's segments in order, shared by all threads. The last one is being written; a segment
/// ends where the next one begins.
///
/// Whoever reads a segment's file holds its `Arc` meanwhile: only a segment nobody holds is recycled.
#[derive(Debug, Default)]
pub struct Segments {
    list: RwLock<VecDeque<Arc<Segment>>>,
    volume: RwLock<Volume>,
}

impl Segments {
    /// Appends a segment, which from now on is the one being written.
    pub fn push(&self, segment: Segment) {
        let mut list = self.list.write().expect("nobody panics while holding it");
        if let Some(last) = list.back() {
            assert!(last.sequence < segment.sequence && last.base <= segment.base);
        }
        list.push_back(Arc::new(segment));
    }

    /// The segment that holds `position`.
    #[must_use]
    pub fn locate(&self, position: Position) -> Option<Arc<Segment>> {
        let list = self.list.read().expect("nobody panics while holding it");
        let after = list.partition_point(|segment| segment.base <= position);
        after.checked_sub(1).map(|at| Arc::clone(&list[at]))
    }

    /// Where the log goes on in another file: that of `segment` holds nothing from there on.
    #[must_use]
    pub fn end_of(&self, segment: &Segment) -> Position {
        let list = self.list.read().expect("nobody panics while holding it");
        let next = list.partition_point(|other| other.base <= segment.base);
        let end = segment.base.plus(segment.file_bytes);
        list.get(next).map_or(end, |next| next.base.min(end))
    }

    /// All segments, oldest first.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().expect("nobody panics while holding it").iter().cloned().collect()
    }

    /// Takes the oldest segment out, unless it is the one being written.
    pub fn pop_oldest(&self) -> Option<Arc<Segment>> {
        let mut list = self.list.write().expect("nobody panics while holding it");
        (list.len() > 1).then(|| list.pop_front()).flatten()
    }

    /// The file system they lie on, as it was last looked at: asking it may block.
    #[must_use]
    pub fn volume(&self) -> Volume {
        *self.volume.read().expect("nobody panics while holding it")
    }

    /// Takes down what the file system was found to be.
    pub fn set_volume(&self, volume: Volume) {
        *self.volume.write().expect("nobody panics while holding it") = volume;
    }

    /// Bytes of disk the segments take.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.list.read().expect("nobody panics while holding it").iter().map(|s| s.file_bytes).sum()
    }
}

/// A prepared file, not yet part of the log.
#[derive(Debug)]
struct Ready {
    path: PathBuf,
    bytes: u64,
}

#[derive(Default)]
struct PoolState {
    /// Dropped segments whose files have not been given back yet, oldest first.
    owed: VecDeque<Arc<Segment>>,
    ready: VecDeque<Ready>,
    named: u64,
    /// Where the segment in use ends; `None` before the first is taken.
    active_end: Option<Position>,
    /// No file can be made that leaves the reserve alone, as far as is known.
    full: bool,
    /// Not even the reserve is free.
    low: bool,
}

/// Sizes of the pool's files, from `config`.
#[derive(Clone, Copy, Debug)]
pub struct PoolLimits {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Files kept ready beside the one that is held back for control frames on a full disk.
    pub ready_target: usize,
    /// Bytes at a segment's end that may stay unused, because the next block does not fit there.
    pub slack_bytes: u64,
    /// Free bytes of the disk that are not for messages.
    pub reserve_bytes: u64,
}

/// Prepared segment files. The housekeeper fills it, the writer takes from it.
///
/// The disk counts as full when another file would cut into the reserve. Of the reserve only the file
/// that is held back for control frames may be made.
pub struct SegmentPool {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    limits: PoolLimits,
    /// Where the log went on at the start.
    start: Position,
    state: Mutex<PoolState>,
}

/// What the disk has room for, as positions up to which frames may be reserved; `u64::MAX` where
/// more space can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// For messages.
    pub data: u64,
    /// For control frames.
    pub control: u64,
    /// For frames of either kind that are larger than a block. They must fit into the segment in use:
    /// what such a frame leaves unused at a segment's end would be missing from the other limits.
    pub large: u64,
}

impl SegmentPool {
    /// A pool of files in `dir`, for a log that goes on at `start`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, limits: PoolLimits, start: Position) -> Self {
        Self { disk, dir: dir.to_path_buf(), limits, start, state: Mutex::default() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, PoolState> {
        self.state.lock().expect("nobody panics while holding it")
    }

    /// The directory of the log.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The disk the files are on.
    #[must_use]
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// Takes in a file of an earlier run that is no segment of the log: keeps it for use, or
    /// removes it where there are enough.
    ///
    /// # Errors
    /// What the disk says.
    pub fn adopt(&self, path: &Path) -> io::Result<()> {
        let bytes = self.disk.open(path, OpenMode::Read)?.len()?;
        if bytes < self.limits.segment_bytes || self.state().ready.len() > self.limits.ready_target
        {
            self.disk.remove(path)?;
            return self.disk.sync_dir(&self.dir);
        }
        let path = self.keep_name(path)?;
        self.state().ready.push_back(Ready { path, bytes });
        Ok(())
    }

    /// Gives a file of an earlier run a name of its own among those that wait: the one it has, or
    /// one that no file has, because a rename would replace it.
    fn keep_name(&self, path: &Path) -> io::Result<PathBuf> {
        let numbers = self.disk.list(&self.dir)?.into_iter().filter_map(|name| ready_number(&name));
        let highest = numbers.max().unwrap_or(0);
        {
            let mut state = self.state();
            state.named = state.named.max(highest);
        }
        let name = path.file_name().and_then(|name| name.to_str());
        if name.and_then(ready_number).is_some() {
            return Ok(path.to_path_buf());
        }
        let to = self.new_name();
        self.disk.rename(path, &to)?;
        // Otherwise the next start may find it under its old name, and report it once more.
        self.disk.sync_dir(&self.dir)?;
        Ok(to)
    }

    fn new_name(&self) -> PathBuf {
        let mut state = self.state();
        state.named += 1;
        self.dir.join(format!("ready-{}.segment", state.named))
    }

    /// True while no file is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state().ready.is_empty()
    }

    /// True while fewer files are ready than wanted.
    #[must_use]
    pub fn wants_more(&self) -> bool {
        self.state().ready.len() < self.limits.ready_target + 1
    }

    /// True while no file can be made for messages.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.state().full
    }

    /// Makes one zero-filled file of `bytes`, at most `bytes_per_s` (0: unlimited). On the
    /// housekeeper thread, or before the log starts.
    ///
    /// # Errors
    /// What the disk says; after [`io::ErrorKind::StorageFull`] the pool counts the disk as full.
    /// [`io::ErrorKind::Interrupted`] where the pace gives it up.
    pub fn prepare(&self, bytes: u64, bytes_per_s: u64, pace: &dyn Pace) -> io::Result<()> {
        let spares = self.room()? >= bytes;
        if !spares && !self.is_empty() {
            self.state().full = true;
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.new_name();
        let made = self.fill(&path, bytes, bytes_per_s, pace);
        let mut state = self.state();
        match made {
            Ok(()) => {
                state.full = !spares;
                state.ready.push_back(Ready { path, bytes });
                Ok(())
            }
            Err(error) => {
                state.full |= error.kind() == io::ErrorKind::StorageFull;
                drop(state);
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }

    /// Bytes that are free beside the reserve.
    ///
    /// # Errors
    /// What the disk says.
    pub fn room(&self) -> io::Result<u64> {
        let free = self.disk.volume(&self.dir)?.free_bytes;
        Ok(free.saturating_sub(self.limits.reserve_bytes))
    }

    fn fill(&self, path: &Path, bytes: u64, per_s: u64, pace: &dyn Pace) -> io::Result<()> {
        self.disk.open(path, OpenMode::Create)?.allocate(bytes)?;
        // Past the page cache, at the pace asked for: a whole file written back by one sync would
        // hold up the log's own writes.
        let file = self.disk.open(path, OpenMode::WriteDirect)?;
        let unaligned = vec![0; FILL_BYTES + SECTOR];
        let zeros = &unaligned[unaligned.as_ptr().align_offset(SECTOR)..];
        let started = pace.now();
        let mut at = 0;
        while at < bytes {
            let length = (bytes - at).min(FILL_BYTES as u64);
            file.write_at(&zeros[..length as usize], at)?;
            at += length;
            if per_s > 0 {
                let due = Duration::from_secs_f64(at as f64 / per_s as f64);
                if !pace.wait_until(started + due) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
            }
        }
        file.sync()?;
        self.disk.sync_dir(&self.dir)
    }

    /// A file for segment `sequence` with room for `bytes_min`, durably renamed: a ready one, or
    /// else a new one that is only allocated. The file that is held back, or one made of the reserve,
    /// comes last, and only if there `must` be one. On the writer thread.
    ///
    /// # Errors
    /// What the disk says; [`io::ErrorKind::StorageFull`] where there is no room for one.
    pub fn take(
        &self,
        sequence: u64,
        base: Position,
        bytes_min: u64,
        must: bool,
    ) -> io::Result<Segment> {
        let spare = {
            let state = self.state();
            // The very first segment is the one the start has waited for.
            state.ready.len() > 1 || state.active_end.is_none()
        };
        let ready = match spare.then(|| self.take_ready(bytes_min)).flatten() {
            Some(ready) => ready,
            None => self.allocate_for_messages(bytes_min).or_else(|error| {
                let full = error.kind() == io::ErrorKind::StorageFull;
                if full && must { self.last_resort(bytes_min) } else { Err(error) }
            })?,
        };
        let path = segment_path(&self.dir, sequence);
        self.disk.rename(&ready.path, &path)?;
        self.disk.sync_dir(&self.dir)?;
        self.state().active_end = Some(base.plus(ready.bytes));
        Ok(Segment { sequence, base, file_bytes: ready.bytes, path })
    }

    fn take_ready(&self, bytes_min: u64) -> Option<Ready> {
        let mut state = self.state();
        let at = state.ready.iter().position(|ready| ready.bytes >= bytes_min)?;
        state.ready.remove(at)
    }

    fn allocate_for_messages(&self, bytes_min: u64) -> io::Result<Ready> {
        let bytes = self.limits.segment_bytes.max(bytes_min);
        let made = match self.room()? >= bytes {
            true => self.allocate(bytes),
            false => Err(io::ErrorKind::StorageFull.into()),
        };
        let full = |error: &io::Error| error.kind() == io::ErrorKind::StorageFull;
        match &made {
            Ok(_) => self.state().full = false,
            Err(error) => self.state().full |= full(error),
        }
        made
    }

    fn allocate(&self, bytes: u64) -> io::Result<Ready> {
        let path = self.new_name();
        let made = self.disk.open(&path, OpenMode::Create).and_then(|file| {
            file.allocate(bytes)?;
            file.sync()
        });
        match made {
            Ok(()) => Ok(Ready { path, bytes }),
            Err(error) => {
                let _ = self.disk.remove(&path);
                Err(error)
            }
        }
    }

    fn last_resort(&self, bytes_min: u64) -> io::Result<Ready> {
        let held_back = self.take_ready(bytes_min).map(Ok);
        held_back.unwrap_or_else(|| self.allocate(self.limits.segment_bytes.max(bytes_min)))
    }

    /// Bytes of disk the prepared segments take.
    #[must_use]
    pub fn ready_bytes(&self) -> u64 {
        self.state().ready.iter().map(|ready| ready.bytes).sum()
    }

    /// What there is room for.
    #[must_use]
    pub fn space(&self) -> Space {
        let state = self.state();
        if !state.full {
            return Space { data: u64::MAX, control: u64::MAX, large: u64::MAX };
        }
        let slack = self.limits.slack_bytes;
        let usable = |ready: &Ready| ready.bytes.saturating_sub(slack);
        let all: u64 = state.ready.iter().map(usable).sum();
        let active = state.active_end.map_or(self.start.0, |end| end.0.saturating_sub(slack));
        // With none held back, what is left of the segment in use is all that control frames have.
        let held_back = state.ready.back().filter(|_| !state.low).map(usable);
        let data = held_back.map_or(0, |held_back| active + all - held_back);
        Space { data, control: active + all, large: active }
    }

    /// Looks how much space the disk has, and tells.
    ///
    /// # Errors
    /// What the disk says.
    pub fn look_for_space(&self) -> io::Result<Volume> {
        let volume = self.disk.volume(&self.dir)?;
        let free = volume.free_bytes;
        let reserve = self.limits.reserve_bytes;
        let mut state = self.state();
        state.low = free < reserve;
        state.full = free < reserve.saturating_add(self.limits.segment_bytes);
        Ok(volume)
    }

    /// Takes a dropped segment in, whose file is to be given back ([`Self::recycle`]).
    pub fn owe(&self, segment: Arc<Segment>) {
        self.state().owed.push_back(segment);
    }

    /// Gives back the files of dropped segments that nobody reads: for another use where one is wanted,
    /// else they are removed. Each is told to `forget` before, so that whoever has it open closes it.
    /// Returns the bytes given back to the disk.
    ///
    /// Files go in the order of their segments, so that a crash never leaves a hole in the log: one
    /// that is still read, or could not be given back, is tried again with the next call, and those
    /// behind it wait.
    ///
    /// # Errors
    /// What the disk says.
    pub fn recycle(&self, forget: impl Fn(&Path)) -> io::Result<u64> {
        let mut bytes = 0;
        loop {
            let Some(oldest) = self.state().owed.pop_front() else { return Ok(bytes) };
            if Arc::strong_count(&oldest) > 1 {
                self.state().owed.push_front(oldest);
                return Ok(bytes);
            }
            forget(&oldest.path);
            match self.give_back(&oldest) {
                Ok(more) => bytes += more,
                Err(error) => {
                    self.state().owed.push_front(oldest);
                    return Err(error);
                }
            }
        }
    }

    fn give_back(&self, segment: &Segment) -> io::Result<u64> {
        let bytes = segment.file_bytes;
        if bytes == self.limits.segment_bytes && self.wants_more() {
            self.disk.open(&segment.path, OpenMode::Read)?.drop_cache()?;
            let path = self.new_name();
            self.disk.rename(&segment.path, &path)?;
            if let Err(error) = self.disk.sync_dir(&self.dir) {
                // Under its old name it is tried again.
                let _ = self.disk.rename(&path, &segment.path);
                return Err(error);
            }
            self.state().ready.push_back(Ready { path, bytes });
            return Ok(0);
        }
        match self.disk.remove(&segment.path) {
            // Removed by the call before, which could not make it durable.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            result => result?,
        }
        self.disk.sync_dir(&self.dir)?;
        // Room was made: the next attempt decides whether the disk is still full.
        Ok(bytes)
    }
}

/// How zero-filling is paced.
pub trait Pace {
    /// Time since an arbitrary moment.
    fn now(&self) -> Duration;
    /// Blocks until that moment; false if the filling is to be given up.
    fn wait_until(&self, moment: Duration) -> bool;
}

/// No pacing: for the first segment, and for simulations.
pub struct NoPace<'a>(pub &'a dyn Clock);

impl Pace for NoPace<'_> {
    fn now(&self) -> Duration {
        self.0.monotonic()
    }

    fn wait_until(&self, _moment: Duration) -> bool {
        true
    }
}

/// The path of segment `sequence` in `dir`.
#[must_use]
pub fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:012}.segment"))
}

/// The sequence number in a segment's file name; `None` for other names.
#[must_use]
pub fn sequence_of(name: &str) -> Option<u64> {
    let sequence = name.strip_suffix(".segment")?.parse().ok()?;
    (name == format!("{sequence:012}.segment")).then_some(sequence)
}

/// The number in the name of a file that waits to be used.
fn ready_number(name: &str) -> Option<u64> {
    name.strip_prefix("ready-")?.strip_suffix(".segment")?.parse().ok()
}

/// True for the name of a file that waits to be used.
#[must_use]
pub fn is_ready_name(name: &str) -> bool {
    name.starts_with("ready-") && name.ends_with(".segment")
}

#[cfg(test)]
#[path = "segment_tests.rs"]
mod tests;
