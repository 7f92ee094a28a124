//! One key file: entries in order of their hash.

use std::{
    io,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    KeyEntry,
    page::{self, Header, PAGE_BYTES, PER_PAGE},
};
use crate::{
    base::{Position, checksum},
    env::{ColdRead, Disk, OpenMode, is_unreadable},
    storage::{new_file::NewFile, queue_index::LogRange},
};

/// Pages that are written, or read when all are, with one call.
pub(super) const BULK_PAGES: usize = 64;

/// The key files there are, oldest first. Replaced as a whole, never changed.
pub type KeyFileList = Arc<[Arc<KeyFile>]>;

/// Why a key file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The machine failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the machine said.
        source: io::Error,
    },
    /// It does not hold, or does not give back, what was written. It is made again from the log.
    #[error("{}: page {page} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The page, in units of 4 KiB.
        page: u64,
    },
}

impl KeyError {
    /// What reading a page of a file failed with.
    fn reading(path: &Path, page: u64, source: io::Error) -> Self {
        let path = path.to_path_buf();
        if is_unreadable(&source) {
            Self::Damaged { path, page }
        } else {
            Self::Io { path, source }
        }
    }
}

/// The file name of a stretch of the log.
pub(super) fn file_name(covers: LogRange) -> String {
    format!("keys-{:016x}-{:016x}.idx", covers.start.0, covers.end.0)
}

/// The stretch that a file of this name covers.
pub(super) fn covers_of(name: &str) -> Option<LogRange> {
    let (start, end) = name.strip_prefix("keys-")?.strip_suffix(".idx")?.split_once('-')?;
    let position = |hex: &str| u64::from_str_radix(hex, 16).ok().map(Position);
    let (start, end) = (position(start)?, position(end)?);
    (start < end).then(|| LogRange::new(start, end))
}

/// An opened key file. Its content never changes; shared by all shards and the housekeeper, which
/// removes it once it is replaced and nobody else holds it.
#[derive(Debug)]
pub struct KeyFile {
    path: PathBuf,
    pub(super) stamp: u32,
    pub(super) header: Header,
    damaged: AtomicBool,
}

impl KeyFile {
    /// Opens a file and looks at its header. Blocks.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, covers: LogRange) -> Result<Self, KeyError> {
        let name = file_name(covers);
        let path = dir.join(&name);
        let failed = |source| KeyError::reading(&path, 0, source);
        let file = disk.open(&path, OpenMode::Read).map_err(failed)?;
        let mut bytes = vec![0; PAGE_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(failed)?;
        let stamp = checksum::crc32c(name.as_bytes());
        let header = Header::decode(&bytes[..read], stamp).filter(|header| header.covers == covers);
        let length = file.len().map_err(failed)?;
        match header {
            Some(header) if length >= (1 + pages(&header)) * PAGE_BYTES as u64 => {
                Ok(Self { path, stamp, header, damaged: AtomicBool::new(false) })
            }
            _ => Err(KeyError::Damaged { path, page: 0 }),
        }
    }

    /// Writes a file from `entries`, which come in order, and opens it. Blocks; durable, name and all,
    /// when it returns.
    pub(super) fn write(
        disk: &dyn Disk,
        dir: &Path,
        covers: LogRange,
        entries: impl Iterator<Item = Result<KeyEntry, KeyError>>,
    ) -> Result<Self, KeyError> {
        let name = file_name(covers);
        let (path, stamp) = (dir.join(&name), checksum::crc32c(name.as_bytes()));
        let failed = |source| KeyError::Io { path: path.clone(), source };
        let new = NewFile::create(disk, dir, name).map_err(failed)?;
        let file = new.file();
        let mut header = Header { covers, entries: 0, stored_s: (u32::MAX, 0) };
        let (mut of_page, mut bulk, mut next) = (Vec::with_capacity(PER_PAGE), Vec::new(), 1u64);
        let mut entries = entries.peekable();
        while let Some(entry) = entries.next() {
            let entry = entry?;
            header.entries += 1;
            header.stored_s.0 = header.stored_s.0.min(entry.stored_s);
            header.stored_s.1 = header.stored_s.1.max(entry.stored_s);
            of_page.push(entry);
            let last = entries.peek().is_none();
            if of_page.len() == PER_PAGE || last {
                let number = next + (bulk.len() / PAGE_BYTES) as u64;
                bulk.extend(page::encode(stamp, number, &of_page));
                of_page.clear();
            }
            if bulk.len() == BULK_PAGES * PAGE_BYTES || last {
                file.write_at(&bulk, next * PAGE_BYTES as u64).map_err(failed)?;
                next += (bulk.len() / PAGE_BYTES) as u64;
                bulk.clear();
            }
        }
        file.write_at(&header.encode(stamp), 0).map_err(failed)?;
        new.keep().map_err(failed)?;
        Ok(Self { path, stamp, header, damaged: AtomicBool::new(false) })
    }

    /// The stretch of the log whose keys these are.
    #[must_use]
    pub fn covers(&self) -> LogRange {
        self.header.covers
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.header.entries
    }

    pub(super) fn page_count(&self) -> u64 {
        pages(&self.header)
    }

    /// Bytes of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        (1 + self.page_count()) * PAGE_BYTES as u64
    }

    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Notes that a page does not hold what was written.
    pub(super) fn damage(&self, page: u64) -> KeyError {
        self.damaged.store(true, Ordering::Relaxed);
        KeyError::Damaged { path: self.path.clone(), page }
    }

    /// What reading from `page` on failed with; noted if the disk does not give it back.
    pub(super) fn failed(&self, page: u64, source: io::Error) -> KeyError {
        match KeyError::reading(&self.path, page, source) {
            KeyError::Damaged { page, .. } => self.damage(page),
            error => error,
        }
    }

    /// The entries of `hash` that were stored at `times` (seconds since 1970), oldest first, `max` of
    /// them at most, from the newest back. For shards.
    ///
    /// # Errors
    /// When the file cannot be read; if it is damaged the housekeeper will make it again.
    pub async fn find(
        &self,
        cold: &dyn ColdRead,
        hash: u64,
        times: &RangeInclusive<u32>,
        max: usize,
    ) -> Result<Vec<KeyEntry>, KeyError> {
        let (first, last) = self.header.stored_s;
        let mut found = Vec::new();
        if last < *times.start() || *times.end() < first {
            return Ok(found);
        }
        let Some((mut number, mut entries)) = self.first_page(cold, hash).await? else {
            return Ok(found);
        };
        loop {
            let of_hash = entries.iter().filter(|entry| entry.hash == hash);
            found.extend(of_hash.filter(|entry| times.contains(&entry.stored_s)).copied());
            // They come in order of time; the newest stay.
            found.drain(..found.len().saturating_sub(max));
            let goes_on = entries.last().is_some_and(|last| last.hash <= hash);
            if !goes_on || number == self.page_count() {
                return Ok(found);
            }
            number += 1;
            entries = self.page(cold, number).await?;
        }
    }

    /// The page in which entries of `hash` begin, if there are any. Hashes are spread evenly, so that
    /// a guess or two hits it.
    async fn first_page(
        &self,
        cold: &dyn ColdRead,
        hash: u64,
    ) -> Result<Option<(u64, Vec<KeyEntry>)>, KeyError> {
        // The page is one of `low..=high`; before `low` all is less, behind `high` nothing is.
        let (mut low, mut high) = (1, self.page_count());
        let (mut least, mut most) = (0u64, u64::MAX);
        let mut guesses = 0;
        let mut best = None;
        while low <= high {
            let ratio = u128::from(hash - least) * u128::from(high - low + 1)
                / (u128::from(most - least) + 1);
            guesses += 1;
            // Should the guesses be bad, halving ends it.
            let guess = if guesses > 4 { (high - low) / 2 } else { (ratio as u64).min(high - low) };
            let number = low + guess;
            let entries = self.page(cold, number).await?;
            let (front, back) = (entries[0].hash, entries[entries.len() - 1].hash);
            if back < hash {
                (low, least) = (number + 1, back);
            } else if front < hash {
                return Ok(Some((number, entries)));
            } else {
                (high, most) = (number - 1, front);
                best = Some((number, entries));
            }
        }
        Ok(best)
    }

    async fn page(&self, cold: &dyn ColdRead, number: u64) -> Result<Vec<KeyEntry>, KeyError> {
        let read = cold.read(&self.path, number * PAGE_BYTES as u64, PAGE_BYTES).await;
        let bytes = read.map_err(|source| self.failed(number, source))?;
        page::decode(&bytes, self.stamp, number).ok_or_else(|| self.damage(number))
    }
}

fn pages(header: &Header) -> u64 {
    header.entries.div_ceil(PER_PAGE as u64)
}
