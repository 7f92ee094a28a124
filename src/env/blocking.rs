//! The machine itself, through plain blocking system calls: disk, clocks and randomness.

use std::{
    ffi::OsString,
    fs,
    io::{self, IoSlice, IoSliceMut},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use rustix::{
    fs::{Advice, FallocateFlags, Mode, OFlags},
    io::{Errno, ReadWriteFlags},
};

use super::{Clock, ColdRead, Disk, File, LocalFuture, OpenMode, Random, Volume};

/// The machine's file systems. Every call blocks its thread; may be shared by all that may block.
#[derive(Clone, Copy, Debug, Default)]
pub struct BlockingDisk;

impl Disk for BlockingDisk {
    /// A file system that refuses O_DIRECT serves the direct modes from its page cache: slower, but
    /// no less durable.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let flags = OFlags::CLOEXEC
            | match mode {
                OpenMode::Read => OFlags::RDONLY,
                OpenMode::Write => OFlags::RDWR,
                OpenMode::Create => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
                OpenMode::WriteDirect => OFlags::RDWR | OFlags::DIRECT,
                OpenMode::ReadDirect => OFlags::RDONLY | OFlags::DIRECT,
            };
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let opened = match again(|| rustix::fs::open(path, flags, mode)) {
            Err(Errno::INVAL) if flags.contains(OFlags::DIRECT) => {
                again(|| rustix::fs::open(path, flags.difference(OFlags::DIRECT), mode))
            }
            other => other,
        };
        Ok(Arc::new(BlockingFile { fd: opened?, dsync: AtomicBool::new(true) }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Leaves out directories and names that are not UTF-8: none of them is the broker's.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            if !entry.file_type()?.is_dir() {
                names.extend(OsString::into_string(entry.file_name()).ok());
            }
        }
        Ok(names)
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let missing: Vec<PathBuf> = dir
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.is_dir())
            .map(Path::to_path_buf)
            .collect();
        for path in missing.iter().rev() {
            match fs::create_dir(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            self.sync_dir(path)?;
            self.sync_dir(parent_of(path))?;
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        fs::File::open(dir)?.sync_all()
    }

    fn volume(&self, dir: &Path) -> io::Result<Volume> {
        let stat = again(|| rustix::fs::statvfs(dir))?;
        Ok(Volume {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// The directory a path lies in; `.` for a bare name.
fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Repeats a call that a signal interrupted. A quota that is reached is a full disk.
fn again<T>(call: impl FnMut() -> rustix::io::Result<T>) -> rustix::io::Result<T> {
    rustix::io::retry_on_intr(call)
        .map_err(|error| if error == Errno::DQUOT { Errno::NOSPC } else { error })
}

/// An open file of [`BlockingDisk`].
struct BlockingFile {
    fd: OwnedFd,
    /// False once the file system has refused RWF_DSYNC.
    dsync: AtomicBool,
}

impl BlockingFile {
    fn write_all(
        &self,
        mut bytes: &[u8],
        mut offset: u64,
        flags: ReadWriteFlags,
    ) -> Result<(), Errno> {
        while !bytes.is_empty() {
            let slices = [IoSlice::new(bytes)];
            let written = match flags.is_empty() {
                true => again(|| rustix::io::pwrite(&self.fd, bytes, offset))?,
                false => again(|| rustix::io::pwritev2(&self.fd, &slices, offset, flags))?,
            };
            if written == 0 {
                return Err(Errno::IO);
            }
            bytes = &bytes[written..];
            offset += written as u64;
        }
        Ok(())
    }
}

impl File for BlockingFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let mut slices = [IoSliceMut::new(&mut buffer[filled..])];
            match again(|| rustix::io::preadv(&self.fd, &mut slices, offset + filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                // A direct read that goes on from an unaligned end of file is refused.
                Err(Errno::INVAL) if filled % 512 != 0 => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        Ok(self.write_all(bytes, offset, ReadWriteFlags::empty())?)
    }

    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if self.dsync.load(Ordering::Relaxed) {
            match self.write_all(bytes, offset, ReadWriteFlags::DSYNC) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.dsync.store(false, Ordering::Relaxed),
                done => return Ok(done?),
            }
        }
        self.write_at(bytes, offset)?;
        self.sync()
    }

    fn sync(&self) -> io::Result<()> {
        Ok(again(|| rustix::fs::fdatasync(&self.fd))?)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(again(|| rustix::fs::fstat(&self.fd))?.st_size as u64)
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        Ok(again(|| rustix::fs::ftruncate(&self.fd, bytes))?)
    }

    /// A file system without fallocate gets a sparse file.
    fn allocate(&self, bytes: u64) -> io::Result<()> {
        match again(|| rustix::fs::fallocate(&self.fd, FallocateFlags::empty(), 0, bytes)) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) if self.len()? < bytes => self.set_len(bytes),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            done => Ok(done?),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(again(|| rustix::fs::fadvise(&self.fd, 0, None, Advice::DontNeed))?)
    }
}

/// [`ColdRead`] by blocking calls, for programs that have no shards (`log verify`) and for
/// simulations: opens the file, reads, and is ready at once.
#[derive(Clone)]
pub struct BlockingColdRead {
    disk: Arc<dyn Disk>,
}

impl BlockingColdRead {
    /// Reads from `disk`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk }
    }
}

impl ColdRead for BlockingColdRead {
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<Vec<u8>>> {
        Box::pin(async move {
            let mut bytes = vec![0; length];
            let read = self.disk.open(path, OpenMode::Read)?.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            Ok(bytes)
        })
    }
}

/// The machine's clocks. May be shared by all threads.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn wall_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        }
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The kernel's random numbers. May be shared by all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// When the kernel has no randomness to give, which Linux rules out once it has started.
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the kernel gives random bytes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_keeps_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        let disk = BlockingDisk;
        let nested = dir.path().join("a/b");
        disk.create_dir(&nested).unwrap();
        disk.create_dir(&nested).unwrap();
        let path = nested.join("file");
        assert!(disk.open(&path, OpenMode::Read).is_err(), "it must exist");
        let file = disk.open(&path, OpenMode::Create).unwrap();
        assert!(disk.open(&path, OpenMode::Create).is_err(), "it must not exist");
        file.write_durable(b"hello", 3).unwrap();
        file.write_at(b"!", 8).unwrap();
        file.sync().unwrap();
        file.drop_cache().unwrap();
        disk.sync_dir(&nested).unwrap();
        let mut bytes = [1; 16];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 9);
        assert_eq!(&bytes[..9], b"\0\0\0hello!");
        assert_eq!(file.read_at(&mut bytes, 100).unwrap(), 0);
        file.allocate(8192).unwrap();
        assert_eq!(file.len().unwrap(), 8192);
        file.set_len(2).unwrap();
        assert_eq!(file.len().unwrap(), 2);
        disk.rename(&path, &nested.join("other")).unwrap();
        assert_eq!(disk.list(&nested).unwrap(), ["other"]);
        assert_eq!(disk.list(dir.path()).unwrap(), [""; 0], "directories are left out");
        disk.remove(&nested.join("other")).unwrap();
        let volume = disk.volume(&nested).unwrap();
        assert!(0 < volume.free_bytes && volume.free_bytes <= volume.total_bytes, "{volume:?}");
    }

    #[test]
    fn direct_transfers_are_aligned() {
        #[repr(align(4096))]
        struct Aligned([u8; 8192]);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        drop(BlockingDisk.open(&path, OpenMode::Create).unwrap());
        let file = BlockingDisk.open(&path, OpenMode::WriteDirect).unwrap();
        let mut bytes = Box::new(Aligned([7; 8192]));
        file.write_durable(&bytes.0, 4096).unwrap();
        let file = BlockingDisk.open(&path, OpenMode::ReadDirect).unwrap();
        assert_eq!(file.read_at(&mut bytes.0, 0).unwrap(), 8192);
        assert_eq!((bytes.0[0], bytes.0[4095], bytes.0[4096], bytes.0[8191]), (0, 0, 7, 7));
        assert_eq!(file.read_at(&mut bytes.0, 12_288).unwrap(), 0);
        assert_eq!(file.read_at(&mut bytes.0, 8192).unwrap(), 4096);
    }

    #[test]
    fn clocks_and_randomness_move() {
        let clock = SystemClock::default();
        assert!(clock.wall_ms() > 1_600_000_000_000);
        let before = clock.monotonic();
        assert!(clock.monotonic() >= before);
        let (mut one, mut other) = ([0; 16], [0; 16]);
        SystemRandom.fill(&mut one);
        SystemRandom.fill(&mut other);
        assert_ne!(one, other);
    }
}
