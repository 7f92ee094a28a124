//! All key files of a directory: opening, writing, merging, removing.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, binary_heap::PeekMut},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
    vec,
};

use super::{
    KeyEntry,
    file::{BULK_PAGES, KeyError, KeyFile, KeyFileList, covers_of, file_name},
    page::{self, PAGE_BYTES},
};
use crate::{
    base::Position,
    env::{Disk, File, OpenMode},
    storage::queue_index::{LogRange, runs_to_merge},
};

/// The key files of a directory. Every call blocks; lives on the housekeeper's thread, which hands
/// [`KeyStore::files`] to the shards after each change.
pub struct KeyStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Oldest first; none overlaps another.
    files: Vec<Arc<KeyFile>>,
    /// Replaced or outlived; they go once no shard reads them.
    retired: Vec<Arc<KeyFile>>,
}

impl KeyStore {
    /// Opens what is in `dir`, which exists, and removes what is damaged or superseded: it can be made
    /// again.
    ///
    /// # Errors
    /// When the directory cannot be read or changed.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Io { path: dir.to_path_buf(), source };
        let names = disk.list(dir).map_err(failed)?;
        let mut found: Vec<LogRange> = names.iter().filter_map(|name| covers_of(name)).collect();
        // A merged file comes before those it was made of.
        found.sort_by_key(|covers| (covers.start, Reverse(covers.end)));
        let mut files: Vec<Arc<KeyFile>> = Vec::new();
        for covers in found {
            let free = files.last().is_none_or(|last| last.covers().end <= covers.start);
            match free.then(|| KeyFile::open(&*disk, dir, covers)) {
                Some(Ok(file)) => files.push(Arc::new(file)),
                Some(Err(KeyError::Io { path, source })) => {
                    return Err(KeyError::Io { path, source });
                }
                Some(Err(KeyError::Damaged { .. })) | None => {
                    disk.remove(&dir.join(file_name(covers))).map_err(failed)?;
                }
            }
        }
        Ok(Self { disk, dir: dir.to_path_buf(), files, retired: Vec::new() })
    }

    /// The files there are, oldest first.
    #[must_use]
    pub fn files(&self) -> KeyFileList {
        self.files.iter().cloned().collect()
    }

    /// The newest part of `stretch` that no file covers.
    #[must_use]
    pub fn missing(&self, stretch: LogRange) -> Option<LogRange> {
        let mut end = stretch.end;
        for covers in self.files.iter().rev().map(|file| file.covers()) {
            if covers.end < end {
                let start = covers.end.max(stretch.start);
                return (start < end).then(|| LogRange::new(start, end));
            }
            end = end.min(covers.start);
        }
        (stretch.start < end).then(|| LogRange::new(stretch.start, end))
    }

    /// Writes the file of a stretch that none covers from its entries, in any order.
    ///
    /// # Errors
    /// When the disk fails; then nothing has changed.
    ///
    /// # Panics
    /// When a file covers some of it.
    pub fn write(&mut self, covers: LogRange, mut entries: Vec<KeyEntry>) -> Result<(), KeyError> {
        entries.sort_unstable();
        let at = self.files.partition_point(|file| file.covers().end <= covers.start);
        let free = self.files.get(at).is_none_or(|next| covers.end <= next.covers().start);
        assert!(free, "a stretch has one key file");
        let entries = entries.into_iter().map(Ok);
        let file = KeyFile::write(&*self.disk, &self.dir, covers, entries)?;
        self.files.insert(at, Arc::new(file));
        Ok(())
    }

    /// Merges a few neighbouring files if that pays; false if it does not, or takes more than `room`
    /// bytes.
    ///
    /// # Errors
    /// When a file is damaged or the disk fails; then nothing has changed.
    pub fn merge_some(&mut self, room: u64) -> Result<bool, KeyError> {
        let sizes: Vec<u64> = self.files.iter().map(|file| file.file_bytes()).collect();
        let joined = |at: usize| self.files[at - 1].covers().end == self.files[at].covers().start;
        let range = runs_to_merge(&sizes, room, joined);
        range.map_or(Ok(false), |range| self.merge(range).map(|()| true))
    }

    fn merge(&mut self, range: Range<usize>) -> Result<(), KeyError> {
        let files = &self.files[range.clone()];
        let covers = LogRange::new(files[0].covers().start, files[files.len() - 1].covers().end);
        let scans = files.iter().map(|file| FileScan::open(&*self.disk, file));
        let merge = Merge::new(scans.collect::<Result<_, _>>()?)?;
        let merged = KeyFile::write(&*self.disk, &self.dir, covers, merge)?;
        self.retired.extend(self.files.splice(range, [Arc::new(merged)]));
        Ok(())
    }

    /// Gives up the files that lie wholly in front of `position`, whose segments are gone, and those
    /// found to be damaged. True if there were any.
    pub fn drop_useless(&mut self, position: Position) -> bool {
        let useless = |file: &mut Arc<KeyFile>| file.covers().end <= position || file.is_damaged();
        let before = self.retired.len();
        self.retired.extend(self.files.extract_if(.., useless));
        self.retired.len() > before
    }

    /// Removes the files of given-up ones that no shard holds any more.
    ///
    /// # Errors
    /// When the disk fails; what is left is tried again at the next call.
    pub fn sweep(&mut self) -> Result<(), KeyError> {
        let held = self.retired.extract_if(.., |file| Arc::strong_count(file) == 1);
        let free: Vec<_> = held.collect();
        for file in free {
            // A stretch that was made again took the name over.
            let in_use = self.files.iter().any(|used| used.path() == file.path());
            match (!in_use).then(|| self.disk.remove(file.path())) {
                Some(Err(source)) if source.kind() != io::ErrorKind::NotFound => {
                    let path = file.path().to_path_buf();
                    self.retired.push(file);
                    return Err(KeyError::Io { path, source });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Reads every key file of `dir` and checks it; says how many entries there are. Blocks; changes nothing.
///
/// # Errors
/// The first damage, or what kept a file from being read.
pub fn verify(disk: &dyn Disk, dir: &Path) -> Result<u64, KeyError> {
    let failed = |source| KeyError::Io { path: dir.to_path_buf(), source };
    let names = disk.list(dir).map_err(failed)?;
    let mut count = 0;
    for covers in names.iter().filter_map(|name| covers_of(name)) {
        let file = Arc::new(KeyFile::open(disk, dir, covers)?);
        let mut last = None;
        for entry in FileScan::open(disk, &file)? {
            let entry = Some(entry?);
            if entry < last {
                return Err(file.damage(1));
            }
            (last, count) = (entry, count + 1);
        }
    }
    Ok(count)
}

/// All entries of a file, in order; ends after an error.
struct FileScan {
    of: Arc<KeyFile>,
    file: Arc<dyn File>,
    next_page: u64,
    entries: vec::IntoIter<KeyEntry>,
}

impl FileScan {
    fn open(disk: &dyn Disk, of: &Arc<KeyFile>) -> Result<Self, KeyError> {
        let file = disk
            .open(of.path(), OpenMode::Read)
            .map_err(|source| KeyError::Io { path: of.path().to_path_buf(), source })?;
        Ok(Self { of: Arc::clone(of), file, next_page: 1, entries: Vec::new().into_iter() })
    }

    fn read(&mut self) -> Result<(), KeyError> {
        let left = self.of.page_count() + 1 - self.next_page;
        let mut bytes = vec![0; left.min(BULK_PAGES as u64) as usize * PAGE_BYTES];
        let read = self.file.read_at(&mut bytes, self.next_page * PAGE_BYTES as u64);
        read.map_err(|source| self.of.failed(self.next_page, source))?;
        let mut entries = Vec::new();
        for page in bytes.chunks(PAGE_BYTES) {
            let of_page = page::decode(page, self.of.stamp, self.next_page);
            entries.extend(of_page.ok_or_else(|| self.of.damage(self.next_page))?);
            self.next_page += 1;
        }
        self.entries = entries.into_iter();
        Ok(())
    }
}

impl Iterator for FileScan {
    type Item = Result<KeyEntry, KeyError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.entries.as_slice().is_empty()
            && self.next_page <= self.of.page_count()
            && let Err(error) = self.read()
        {
            self.next_page = u64::MAX;
            return Some(Err(error));
        }
        self.entries.next().map(Ok)
    }
}

/// Several files' entries as one, in order.
struct Merge {
    scans: Vec<FileScan>,
    /// The next entry of each that has not ended, and which it is; the first on top.
    heads: BinaryHeap<Reverse<(KeyEntry, usize)>>,
}

impl Merge {
    fn new(mut scans: Vec<FileScan>) -> Result<Self, KeyError> {
        let mut heads = BinaryHeap::with_capacity(scans.len());
        for (at, scan) in scans.iter_mut().enumerate() {
            if let Some(first) = scan.next() {
                heads.push(Reverse((first?, at)));
            }
        }
        Ok(Self { scans, heads })
    }
}

impl Iterator for Merge {
    type Item = Result<KeyEntry, KeyError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut top = self.heads.peek_mut()?;
        let Reverse((entry, at)) = *top;
        match self.scans[at].next() {
            Some(Ok(next)) => *top = Reverse((next, at)),
            Some(Err(error)) => return Some(Err(error)),
            None => drop(PeekMut::pop(top)),
        }
        Some(Ok(entry))
    }
}
