//! The disk's part of a durable record: one thread that writes all that has come since its last write.

use super::{SECTOR, Sectors};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// The file is written from its beginning on again once it is full.
const FILE_BYTES: u64 = 64 << 20;
/// The most that one write takes.
const WRITE_BYTES: usize = 1 << 20;

/// The writer's end.
pub struct Disk {
    /// Numbers of requests that were taken.
    taken: Receiver<u64>,
    /// Counts requests that are durable.
    durable: OwnedFd,
    file: File,
    request_bytes: usize,
}

/// The server's end.
pub struct DiskLink {
    taken: Sender<u64>,
    /// Readable when requests have become durable.
    pub durable: OwnedFd,
}

impl Disk {
    /// A disk that writes `request_bytes` for each request to the file at `path`, and its other end.
    ///
    /// # Errors
    /// When the file cannot be prepared.
    pub fn new(path: &Path, request_bytes: usize) -> io::Result<(Self, DiskLink)> {
        let file = prepared(path)?;
        let durable = eventfd(0, EventfdFlags::NONBLOCK)?;
        let (taken, takes) = channel();
        let told = durable.try_clone()?;
        let disk = Self { taken: takes, durable: told, file, request_bytes };
        Ok((disk, DiskLink { taken, durable }))
    }

    /// Writes until the other end is gone; returns how many writes that were.
    ///
    /// # Errors
    /// When a write fails.
    pub fn write_all_there_is(self) -> io::Result<u64> {
        let sectors = Sectors::new(WRITE_BYTES);
        let aligned = sectors.bytes();
        let (mut at, mut writes) = (0, 0);
        while let Ok(first) = self.taken.recv() {
            let count: u64 = first + self.taken.try_iter().sum::<u64>();
            let mut left = (count as usize * self.request_bytes).next_multiple_of(SECTOR);
            while left > 0 {
                let bytes = left.min(aligned.len());
                if at + bytes as u64 > FILE_BYTES {
                    at = 0;
                }
                self.file.write_all_at(&aligned[..bytes], at)?;
                (at, left, writes) = (at + bytes as u64, left - bytes, writes + 1);
            }
            rustix::io::write(&self.durable, &count.to_ne_bytes())?;
        }
        Ok(writes)
    }
}

impl DiskLink {
    /// Has `requests` written.
    ///
    /// # Errors
    /// When the writer has ended, because a write had failed.
    pub fn take(&self, requests: u64) -> io::Result<()> {
        self.taken.send(requests).map_err(|_| io::Error::other("nobody writes any more"))
    }

    /// How many requests have become durable since the last call; after `durable` was readable.
    ///
    /// # Errors
    /// When it was not.
    pub fn made_durable(&self) -> io::Result<u64> {
        let mut count = [0; 8];
        rustix::io::read(&self.durable, &mut count)?;
        Ok(u64::from_ne_bytes(count))
    }
}

/// A file whose every write is durable and goes past the page cache, into blocks that were written
/// before.
fn prepared(path: &Path) -> io::Result<File> {
    let mut file = File::create(path)?;
    let zeros = vec![0; 1 << 20];
    for _ in 0..FILE_BYTES / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()?;
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits();
    OpenOptions::new().write(true).custom_flags(flags.cast_signed()).open(path)
}
