//! Writing a run, in one pass and in memory that does not grow with it.

use std::path::Path;

use super::{
    IndexEntry, IndexError, Result,
    page::{
        self, DirectoryEntry, DirectoryKey, Fence, Header, Item, PAGE_BYTES, StoredEntry, TopFence,
    },
    run::{Run, RunName, io_error},
};
use crate::{
    base::QueueId,
    env::{Disk, File},
    storage::new_file::NewFile,
};

/// Pages that are written with one call.
const WRITE_PAGES: usize = 64;

/// At most so much will be pushed; tells where a run's parts can lie.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) queues: u64,
    pub(super) entries: u64,
}

/// Writes one run under a temporary name. Blocks; lives on the housekeeper thread.
pub(super) struct RunWriter<'a> {
    disk: &'a dyn Disk,
    dir: &'a Path,
    name: RunName,
    stamp: u32,
    file: NewFile<'a>,
    directory: Part<DirectoryEntry>,
    fences: Part<Fence>,
    entries: Part<StoredEntry>,
    keys: Vec<DirectoryKey>,
    tops: Vec<TopFence>,
    /// The queue whose entries are coming in.
    queue: Option<DirectoryEntry>,
}

impl<'a> RunWriter<'a> {
    pub(super) fn create(
        disk: &'a dyn Disk,
        dir: &'a Path,
        name: RunName,
        bounds: Bounds,
    ) -> Result<Self> {
        let failed = |error| io_error(&dir.join(name.file_name()), error);
        let file = NewFile::create(disk, dir, name.file_name()).map_err(failed)?;
        let directory_pages = DirectoryEntry::pages(bounds.queues);
        let fence_pages = Fence::pages(StoredEntry::pages(bounds.entries));
        let page = |number: u64| u32::try_from(number).expect("a run has fewer than 2^32 pages");
        Ok(Self {
            disk,
            dir,
            name,
            stamp: name.stamp(),
            file,
            directory: Part::new(1),
            fences: Part::new(page(1 + directory_pages)),
            entries: Part::new(page(1 + directory_pages + fence_pages)),
            keys: Vec::new(),
            tops: Vec::new(),
            queue: None,
        })
    }

    /// Adds an entry. Queues ascend, and offsets within a queue.
    pub(super) fn push(&mut self, queue: QueueId, entry: IndexEntry) -> Result<()> {
        let unordered = IndexError::Unordered { queue, offset: entry.base_offset };
        let begun = match self.queue {
            Some(begun) if queue < begun.queue => return Err(unordered),
            Some(begun) if queue == begun.queue => begun,
            _ => {
                self.end_queue()?;
                DirectoryEntry {
                    queue,
                    entry_count: 0,
                    entry_start: self.entries.items,
                    first_offset: entry.base_offset,
                    next_offset: entry.base_offset,
                    max_timestamp: i64::MIN,
                    first_append_time: entry.append_time,
                    payload_bytes: 0,
                }
            }
        };
        if entry.base_offset < begun.next_offset || entry.count == 0 {
            return Err(unordered);
        }
        let running_max = begun.max_timestamp.max(entry.max_timestamp);
        self.queue = Some(DirectoryEntry {
            entry_count: begun.entry_count.checked_add(1).expect("merging bounds a run's size"),
            next_offset: entry.next_offset(),
            max_timestamp: running_max,
            payload_bytes: begun.payload_bytes + u64::from(entry.length),
            ..begun
        });
        self.put_entry(StoredEntry { entry, running_max })
    }

    fn put_entry(&mut self, stored: StoredEntry) -> Result<()> {
        if self.entries.at_page_start() {
            let fence =
                Fence { base_offset: stored.entry.base_offset, running_max: stored.running_max };
            if self.fences.at_page_start() {
                self.tops.push(TopFence(fence));
            }
            self.fences.push(self.file.file(), self.stamp, &fence).map_err(|e| self.failed(e))?;
        }
        self.entries.push(self.file.file(), self.stamp, &stored).map_err(|e| self.failed(e))
    }

    fn end_queue(&mut self) -> Result<()> {
        let Some(queue) = self.queue.take() else { return Ok(()) };
        if self.directory.at_page_start() {
            self.keys.push(DirectoryKey(queue.queue));
        }
        self.directory.push(self.file.file(), self.stamp, &queue).map_err(|e| self.failed(e))
    }

    /// Makes the run durable under its name and opens it.
    pub(super) fn finish(mut self) -> Result<Run> {
        self.end_queue()?;
        let header = self.write_rest().map_err(|e| self.failed(e))?;
        assert!(header.is_consistent(), "more was pushed than was announced: {header:?}");
        let path = self.file.path();
        self.file.keep().map_err(|error| io_error(&path, error))?;
        Run::open(self.disk, self.dir, self.name)
    }

    fn write_rest(&mut self) -> std::io::Result<Header> {
        let (file, stamp) = (self.file.file(), self.stamp);
        let (directory_page, fence_page) = (self.directory.first, self.fences.first);
        let entry_page = self.entries.first;
        let (queue_count, entry_count) = (self.directory.items, self.entries.items);
        self.directory.flush(file, stamp)?;
        self.fences.flush(file, stamp)?;
        self.entries.flush(file, stamp)?;
        let mut keys = Part::new(self.entries.next_page());
        self.keys.iter().try_for_each(|key| keys.push(file, stamp, key))?;
        keys.flush(file, stamp)?;
        let mut tops = Part::new(keys.next_page());
        self.tops.iter().try_for_each(|top| tops.push(file, stamp, top))?;
        tops.flush(file, stamp)?;
        let header = Header {
            magic: Header::MAGIC,
            version: Header::VERSION,
            covers: self.name.covers,
            queue_count,
            entry_count,
            directory_page,
            fence_page,
            entry_page,
            key_page: keys.first,
            top_page: tops.first,
        };
        let mut first = Part::new(0);
        first.push(file, stamp, &header)?;
        first.flush(file, stamp)?;
        Ok(header)
    }

    fn failed(&self, source: std::io::Error) -> IndexError {
        io_error(&self.file.path(), source)
    }
}

/// One part of a run: pages of one kind, written in order.
struct Part<T> {
    first: u32,
    /// Pages written.
    written: u32,
    /// Items pushed.
    items: u64,
    buffer: Vec<u8>,
    item: std::marker::PhantomData<T>,
}

impl<T: Item> Part<T> {
    const fn new(first: u32) -> Self {
        Self { first, written: 0, items: 0, buffer: Vec::new(), item: std::marker::PhantomData }
    }

    /// Whether the next item begins a page.
    const fn at_page_start(&self) -> bool {
        self.items.is_multiple_of(T::PER_PAGE as u64)
    }

    fn buffered(&self) -> usize {
        self.buffer.len() / PAGE_BYTES
    }

    /// The page behind this part.
    fn next_page(&self) -> u32 {
        self.first + self.written + self.buffered() as u32
    }

    fn push(&mut self, file: &dyn File, stamp: u32, item: &T) -> std::io::Result<()> {
        if self.at_page_start() {
            if self.buffered() == WRITE_PAGES {
                self.flush(file, stamp)?;
            }
            self.buffer.resize(self.buffer.len() + PAGE_BYTES, 0);
        }
        let page = self.buffer.len() - PAGE_BYTES;
        page::put(&mut self.buffer[page..], (self.items % T::PER_PAGE as u64) as usize, item);
        self.items += 1;
        Ok(())
    }

    /// Writes what is buffered. No item follows on the last page.
    fn flush(&mut self, file: &dyn File, stamp: u32) -> std::io::Result<()> {
        let first = self.first + self.written;
        let last_count = match self.items % T::PER_PAGE as u64 {
            0 => T::PER_PAGE,
            rest => rest as usize,
        };
        let pages = self.buffered();
        for (index, page) in self.buffer.chunks_mut(PAGE_BYTES).enumerate() {
            let count = if index + 1 == pages { last_count } else { T::PER_PAGE };
            page::seal::<T>(page, stamp, first + index as u32, count);
        }
        file.write_at(&self.buffer, u64::from(first) * PAGE_BYTES as u64)?;
        self.written += pages as u32;
        self.buffer.clear();
        Ok(())
    }
}
