//! One run file: the sealed index of a stretch of the log.
//!
//! ```text
//! header │ directory │ fences │ entries │ directory keys │ top fences
//! ```
//! Each part begins on a page of its own; between the first ones there may be holes that nobody
//! reads. The last two parts stay in memory: 4 bytes for each 72 queues, 16 for each 19,890 entries.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    IndexError, LogRange, Result,
    page::{DirectoryKey, Fence, Header, Item, PAGE_BYTES, Page, TopFence},
};
use crate::{
    base::{Position, QueueId, checksum},
    env::{Disk, File, OpenMode},
};

/// The runs that hold the sealed index, oldest first. Replaced as a whole, never changed.
pub type RunList = Arc<[Arc<Run>]>;

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// An opened run file. Its content is unchanging; shared by all shards and the housekeeper, which
/// removes the file once it is replaced and nobody else holds it. Whoever finds it damaged notes it
/// here, for the housekeeper to rebuild it.
#[derive(Debug)]
pub struct Run {
    /// Tells this run's pages from others' in a page cache.
    pub(super) id: u64,
    pub(super) name: RunName,
    pub(super) stamp: u32,
    path: PathBuf,
    pub(super) header: Header,
    keys: Vec<QueueId>,
    tops: Vec<Fence>,
    damage: OnceLock<String>,
}

impl Run {
    /// Opens a run file and verifies what stays in memory of it. Blocks.
    ///
    /// # Errors
    /// When it cannot be read or is not the run its name says.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, name: RunName) -> Result<Self> {
        let path = &dir.join(name.file_name());
        let file = disk.open(path, OpenMode::Read).map_err(|e| io_error(path, e))?;
        let stamp = name.stamp();
        let bytes = read_pages(&*file, path, 0, 1)?;
        let header = page_of::<Header>(path, &bytes, stamp, 0)?;
        let header: Header = header.get(0);
        let bad = |what| IndexError::Corrupt { path: path.to_path_buf(), page: 0, what };
        if header.magic != Header::MAGIC {
            return Err(bad("it is not a run"));
        }
        if header.version != Header::VERSION {
            return Err(IndexError::Version { path: path.to_path_buf(), version: header.version });
        }
        if header.covers != name.covers || !header.is_consistent() {
            return Err(bad("the header contradicts itself or the file's name"));
        }
        let length = file.len().map_err(|e| io_error(path, e))?;
        if length < header.pages() * PAGE_BYTES as u64 {
            return Err(bad("the file is too short"));
        }
        let mut run = Self {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            name,
            stamp,
            path: path.to_path_buf(),
            header,
            keys: Vec::new(),
            tops: Vec::new(),
            damage: OnceLock::new(),
        };
        let (keys, tops) = (header.directory_pages(), header.fence_pages());
        let keys: Vec<DirectoryKey> = run.load(&*file, header.key_page, keys)?;
        let tops: Vec<TopFence> = run.load(&*file, header.top_page, tops)?;
        run.keys = keys.into_iter().map(|key| key.0).collect();
        run.tops = tops.into_iter().map(|top| top.0).collect();
        if !run.keys.is_sorted() {
            return Err(run.corrupt(header.key_page, "directory pages are out of order"));
        }
        Ok(run)
    }

    /// Reads a whole part.
    fn load<T: Item>(&self, file: &dyn File, first: u32, items: u64) -> Result<Vec<T>> {
        let mut loaded = Vec::with_capacity(items as usize);
        for number in first..first + T::pages(items) as u32 {
            let bytes = read_pages(file, &self.path, number, 1)?;
            let page = page_of::<T>(&self.path, &bytes, self.stamp, number)?;
            loaded.extend((0..page.count()).map(|index| page.get::<T>(index)));
        }
        if loaded.len() as u64 == items {
            Ok(loaded)
        } else {
            Err(self.corrupt(first, "a part has more or fewer items than the header says"))
        }
    }

    /// The stretch of the log whose entries these are.
    #[must_use]
    pub fn covers(&self) -> LogRange {
        self.header.covers
    }

    /// Where the file lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many queues have entries here.
    #[must_use]
    pub fn queue_count(&self) -> u64 {
        self.header.queue_count
    }

    /// How many entries there are.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.header.entry_count
    }

    /// Bytes of the file that hold something.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let header = &self.header;
        let pages = 1 + header.directory_pages() + header.fence_pages() + header.entry_pages();
        let tail = header.pages() - u64::from(header.key_page);
        (pages + tail) * PAGE_BYTES as u64
    }

    /// Bytes of memory the opened run takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.keys.capacity() * 4 + self.tops.capacity() * size_of::<Fence>()
    }

    /// The directory page that would hold `queue`.
    pub(super) fn directory_page(&self, queue: QueueId) -> Option<u32> {
        let after = self.keys.partition_point(|&key| key <= queue) as u32;
        Some(self.header.directory_page + after.checked_sub(1)?)
    }

    /// Of the fence pages `first..=last`, counted from 0, the last whose first fence `before` holds
    /// for; `first` if there is none.
    pub(super) fn fence_page(
        &self,
        first: usize,
        last: usize,
        before: impl Fn(&Fence) -> bool,
    ) -> Option<usize> {
        let later = self.tops.get(first + 1..=last)?;
        Some(first + later.partition_point(before))
    }

    pub(super) fn keys(&self) -> &[QueueId] {
        &self.keys
    }

    pub(super) fn tops(&self) -> &[Fence] {
        &self.tops
    }

    /// The first damage that was found in the file since it was opened.
    #[must_use]
    pub fn damage(&self) -> Option<&str> {
        self.damage.get().map(String::as_str)
    }

    /// A page does not hold what was written.
    pub(super) fn corrupt(&self, page: u32, what: &'static str) -> IndexError {
        self.noted(IndexError::Corrupt { path: self.path.clone(), page, what })
    }

    /// Passes an error of reading the file on; remembers it if it is damage.
    pub(super) fn noted(&self, error: IndexError) -> IndexError {
        if error.is_damage() {
            // The first one says enough.
            let _ = self.damage.set(error.to_string());
        }
        error
    }
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> IndexError {
    IndexError::Io { path: path.to_path_buf(), source }
}

/// Reads pages; fewer at the end of the file.
pub(super) fn read_pages(
    file: &dyn File,
    path: &Path,
    first: u32,
    pages: usize,
) -> Result<Vec<u8>> {
    let mut bytes = vec![0; pages * PAGE_BYTES];
    let offset = u64::from(first) * PAGE_BYTES as u64;
    let read = file.read_at(&mut bytes, offset).map_err(|e| io_error(path, e))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn page_of<'a, T: Item>(path: &Path, bytes: &'a [u8], stamp: u32, number: u32) -> Result<Page<'a>> {
    Page::verify::<T>(bytes, stamp, number).map_err(|what| IndexError::Corrupt {
        path: path.to_path_buf(),
        page: number,
        what,
    })
}

/// What a run file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunName {
    /// A merged run supersedes those inside its range.
    pub(super) covers: LogRange,
    /// Counts rewritings of one stretch, so that a reader of the old file never takes the new one
    /// for it.
    pub(super) edition: u32,
}

impl RunName {
    pub(super) fn file_name(&self) -> String {
        let LogRange { start, end } = self.covers;
        format!("run-{:016x}-{:016x}-{}.idx", start.0, end.0, self.edition)
    }

    /// `None` if it is no run's name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let mut parts = name.strip_prefix("run-")?.strip_suffix(".idx")?.split('-');
        let mut position = || u64::from_str_radix(parts.next()?, 16).ok().map(Position);
        let (start, end) = (position()?, position()?);
        let edition = parts.next()?.parse().ok()?;
        let parsed = Self { covers: LogRange { start, end }, edition };
        (start <= end && parsed.file_name() == name).then_some(parsed)
    }

    /// The stamp of the run's pages.
    pub(super) fn stamp(&self) -> u32 {
        let LogRange { start, end } = self.covers;
        let edition = self.edition.to_le_bytes();
        checksum::crc32c_of(&[&start.0.to_le_bytes(), &end.0.to_le_bytes(), &edition])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_is_covered() {
        let covers = LogRange::new(Position(0x1000), Position(u64::MAX));
        let name = RunName { covers, edition: 3 };
        assert_eq!(name.file_name(), "run-0000000000001000-ffffffffffffffff-3.idx");
        assert_eq!(RunName::parse(&name.file_name()), Some(name));
        for name in ["run-1-2-0.idx", "run-0000000000000002-0000000000000001-0.idx", "run", ""] {
            assert_eq!(RunName::parse(name), None);
        }
    }
}
