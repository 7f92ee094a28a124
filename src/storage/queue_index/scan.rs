//! Reading whole runs in order: for retention, merging and `log verify`. Blocks; never on a shard.

use std::{marker::PhantomData, sync::Arc};

use super::{
    IndexEntry, Result,
    page::{DirectoryEntry, Fence, Item, PAGE_BYTES, Page, StoredEntry},
    run::{Run, io_error, read_pages},
};
use crate::{
    base::QueueId,
    env::{Disk, File, OpenMode},
};

/// Pages that are read with one call.
const READ_PAGES: usize = 64;

/// The items of one part of a run, in order.
pub(super) struct PartScan<T> {
    run: Arc<Run>,
    file: Arc<dyn File>,
    first: u32,
    items: u64,
    next: u64,
    buffer: Vec<u8>,
    /// The page, counted from 0, that `buffer` starts with.
    buffer_page: u64,
    item: PhantomData<T>,
}

impl<T: Item> PartScan<T> {
    fn open(disk: &dyn Disk, run: &Arc<Run>, first: u32, items: u64) -> Result<Self> {
        let failed = |error| run.noted(io_error(run.path(), error));
        let file = disk.open(run.path(), OpenMode::Read).map_err(failed)?;
        Ok(Self {
            run: run.clone(),
            file,
            first,
            items,
            next: 0,
            buffer: Vec::new(),
            buffer_page: 0,
            item: PhantomData,
        })
    }

    fn read(&mut self) -> Result<T> {
        let (page, index) = (self.next / T::PER_PAGE as u64, self.next % T::PER_PAGE as u64);
        let number = self.first + page as u32;
        let buffered = (self.buffer.len() / PAGE_BYTES) as u64;
        if page >= self.buffer_page + buffered {
            let pages = (T::pages(self.items) - page).min(READ_PAGES as u64) as usize;
            let read = read_pages(&*self.file, self.run.path(), number, pages);
            self.buffer = read.map_err(|error| self.run.noted(error))?;
            self.buffer_page = page;
        }
        let at = (page - self.buffer_page) as usize * PAGE_BYTES;
        let bytes = &self.buffer[at..self.buffer.len().min(at + PAGE_BYTES)];
        let page = if index == 0 {
            let page = Page::verify::<T>(bytes, self.run.stamp, number)
                .map_err(|what| self.run.corrupt(number, what))?;
            let expected = (self.items - self.next).min(T::PER_PAGE as u64);
            if page.count() as u64 != expected {
                return Err(self.run.corrupt(number, "the page has too many or too few items"));
            }
            page
        } else {
            Page::verified(bytes)
        };
        self.next += 1;
        Ok(page.get(index as usize))
    }
}

impl<T: Item> Iterator for PartScan<T> {
    type Item = Result<T>;

    /// Ends after an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.next == self.items {
            return None;
        }
        let item = self.read();
        if item.is_err() {
            self.next = self.items;
        }
        Some(item)
    }
}

/// What a run holds of each queue, queues ascending; ends after an error. Blocks.
pub struct DirectoryScan(PartScan<DirectoryEntry>);

impl DirectoryScan {
    /// Starts at the first queue.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(disk: &dyn Disk, run: &Arc<Run>) -> Result<Self> {
        let header = &run.header;
        Ok(Self(PartScan::open(disk, run, header.directory_page, header.queue_count)?))
    }
}

impl Iterator for DirectoryScan {
    type Item = Result<DirectoryEntry>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next()
    }
}

/// All entries of a run, by queue.
pub(super) struct EntryScan {
    directory: DirectoryScan,
    entries: PartScan<StoredEntry>,
    ahead: Option<DirectoryEntry>,
}

impl EntryScan {
    pub(super) fn open(disk: &dyn Disk, run: &Arc<Run>) -> Result<Self> {
        let header = &run.header;
        let entries = PartScan::open(disk, run, header.entry_page, header.entry_count)?;
        let mut directory = DirectoryScan::open(disk, run)?;
        let ahead = directory.next().transpose()?;
        Ok(Self { directory, entries, ahead })
    }

    /// The queue whose entries come next.
    pub(super) fn queue(&self) -> Option<QueueId> {
        self.ahead.map(|ahead| ahead.queue)
    }

    /// Gives the next queue's entries to `each`.
    pub(super) fn queue_entries(
        &mut self,
        mut each: impl FnMut(IndexEntry) -> Result<()>,
    ) -> Result<()> {
        let Some(ahead) = self.ahead else { return Ok(()) };
        for _ in 0..ahead.entry_count {
            let Some(stored) = self.entries.next() else {
                let run = &self.entries.run;
                let what = "the directory counts more entries than there are";
                return Err(run.corrupt(run.header.directory_page, what));
            };
            each(stored?.entry)?;
        }
        self.ahead = self.directory.next().transpose()?;
        Ok(())
    }
}

/// Shows every entry of a run, each queue's in their order. Blocks.
///
/// # Errors
/// When the file cannot be read or a page does not verify.
pub fn each_entry(
    disk: &dyn Disk,
    run: &Arc<Run>,
    mut each: impl FnMut(QueueId, IndexEntry),
) -> Result<()> {
    let mut scan = EntryScan::open(disk, run)?;
    while let Some(queue) = scan.queue() {
        scan.queue_entries(|entry| {
            each(queue, entry);
            Ok(())
        })?;
    }
    Ok(())
}

/// What a verified run holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunSummary {
    /// Queues with entries.
    pub queues: u64,
    /// Entries.
    pub entries: u64,
    /// Bytes of the frames they stand for.
    pub payload_bytes: u64,
}

/// Checks every page of a run, its order, its sums and its running maxima. Blocks.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(disk: &dyn Disk, run: &Arc<Run>) -> Result<RunSummary> {
    let header = &run.header;
    let mut entries = PartScan::open(disk, run, header.entry_page, header.entry_count)?;
    let mut fences = PartScan::open(disk, run, header.fence_page, header.entry_pages())?;
    let mut summary = RunSummary::default();
    let mut last: Option<QueueId> = None;
    for found in DirectoryScan::open(disk, run)? {
        let found = found?;
        let page =
            header.directory_page + (summary.queues / DirectoryEntry::PER_PAGE as u64) as u32;
        let wrong = |what| Err(run.corrupt(page, what));
        let starts_page = summary.queues % DirectoryEntry::PER_PAGE as u64 == 0;
        let key = (summary.queues / DirectoryEntry::PER_PAGE as u64) as usize;
        if starts_page && run.keys()[key] != found.queue {
            return wrong("the directory page has another key");
        }
        if last.is_some_and(|last| last >= found.queue) {
            return wrong("queues are out of order");
        }
        if found.entry_start != summary.entries || found.entry_count == 0 {
            return wrong("the directory does not meet the entries");
        }
        if verify_queue(run, &found, &mut entries, &mut fences)? != found {
            return wrong("the directory contradicts the entries");
        }
        last = Some(found.queue);
        summary.queues += 1;
        summary.entries += u64::from(found.entry_count);
        summary.payload_bytes += found.payload_bytes;
    }
    if entries.next().is_some() {
        return Err(run.corrupt(header.entry_page, "there are entries of no queue"));
    }
    Ok(summary)
}

/// Reads the entries of one queue; returns the directory entry that they make.
fn verify_queue(
    run: &Run,
    found: &DirectoryEntry,
    entries: &mut PartScan<StoredEntry>,
    fences: &mut PartScan<Fence>,
) -> Result<DirectoryEntry> {
    let mut made = DirectoryEntry {
        entry_count: 0,
        max_timestamp: i64::MIN,
        payload_bytes: 0,
        next_offset: i64::MIN,
        ..*found
    };
    for number in found.entry_start..found.entry_start + u64::from(found.entry_count) {
        let page = run.header.entry_page + (number / StoredEntry::PER_PAGE as u64) as u32;
        let Some(stored) = entries.next() else {
            return Err(run.corrupt(page, "the directory counts more entries than there are"));
        };
        let StoredEntry { entry, running_max } = stored?;
        if made.entry_count == 0 {
            made.first_offset = entry.base_offset;
            made.first_append_time = entry.append_time;
        }
        if entry.base_offset < made.next_offset {
            return Err(run.corrupt(page, "offsets are out of order"));
        }
        made.entry_count += 1;
        made.max_timestamp = made.max_timestamp.max(entry.max_timestamp);
        made.payload_bytes += u64::from(entry.length);
        made.next_offset = entry.next_offset();
        if running_max != made.max_timestamp {
            return Err(run.corrupt(page, "a running maximum is wrong"));
        }
        if number % StoredEntry::PER_PAGE as u64 == 0 {
            let fence = Fence { base_offset: entry.base_offset, running_max };
            verify_fence(run, number / StoredEntry::PER_PAGE as u64, fence, fences)?;
        }
    }
    Ok(made)
}

fn verify_fence(
    run: &Run,
    entry_page: u64,
    fence: Fence,
    fences: &mut PartScan<Fence>,
) -> Result<()> {
    let page = entry_page / Fence::PER_PAGE as u64;
    let first_on_page = entry_page.is_multiple_of(Fence::PER_PAGE as u64);
    let found = fences.next().transpose()?;
    if found != Some(fence) || (first_on_page && run.tops()[page as usize] != fence) {
        return Err(run.corrupt(run.header.fence_page + page as u32, "a fence is wrong"));
    }
    Ok(())
}
