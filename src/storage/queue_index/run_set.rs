//! Look-ups in all runs, without blocking the shard.

use std::{cell::RefCell, ops::Range, rc::Rc, sync::Arc};

use super::{
    Budget, DirectoryEntry, Gathered, IndexEntry, IndexError, Result,
    page::{Fence, Item, PAGE_BYTES, Page, StoredEntry},
    page_cache::PageCache,
    run::{Run, RunList},
};
use crate::{base::QueueId, env::ColdRead};

/// The runs as one shard sees them, with its cache of their pages. Lives on its shard. A look-up
/// goes by the list of runs it began with.
pub struct RunSet {
    cold: Rc<dyn ColdRead>,
    runs: RefCell<RunList>,
    cache: RefCell<PageCache>,
}

/// A queue's part of a run: the first entry of interest, up to the last.
struct Found {
    run: usize,
    directory: DirectoryEntry,
}

impl DirectoryEntry {
    fn entries(&self) -> Range<u64> {
        self.entry_start..self.entry_start + u64::from(self.entry_count)
    }
}

impl RunSet {
    /// Looks up in `runs`, keeping at most `cache_bytes` of pages in memory.
    #[must_use]
    pub fn new(cold: Rc<dyn ColdRead>, cache_bytes: usize, runs: RunList) -> Self {
        let cache = RefCell::new(PageCache::new(cache_bytes));
        Self { cold, runs: RefCell::new(runs), cache }
    }

    /// The runs there are, oldest first.
    #[must_use]
    pub fn runs(&self) -> RunList {
        self.runs.borrow().clone()
    }

    /// Looks up in other runs from now on, and lets go of the files of those that are no more.
    pub fn replace(&self, runs: RunList) {
        let old = self.runs.replace(runs);
        let runs = self.runs.borrow();
        for gone in old.iter().filter(|run| !runs.iter().any(|kept| Arc::ptr_eq(kept, run))) {
            self.cold.forget(gone.path());
        }
    }

    /// Bytes of memory in use: cached pages and this shard's list; the runs themselves are shared.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.cache.borrow().bytes() + self.runs.borrow().len() * size_of::<Arc<Run>>()
    }

    /// The entry that contains `offset`.
    ///
    /// # Errors
    /// When a page cannot be read or does not verify; so for all look-ups.
    pub async fn find(&self, queue: QueueId, offset: i64) -> Result<Option<IndexEntry>> {
        let found = self.first_at_or_after(queue, offset).await?;
        Ok(found.filter(|entry| entry.base_offset <= offset))
    }

    /// The first entry that contains `offset` or lies behind it.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn first_at_or_after(
        &self,
        queue: QueueId,
        offset: i64,
    ) -> Result<Option<IndexEntry>> {
        let runs = self.runs();
        let Some(found) = self.locate(&runs, queue, offset).await? else { return Ok(None) };
        let run = &runs[found.run];
        let index = self.seek_offset(run, &found.directory, offset).await?;
        self.entry(run, index).await.map(|stored| Some(stored.entry))
    }

    /// Entries from the one that contains `offset` on.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn range(
        &self,
        queue: QueueId,
        offset: i64,
        budget: Budget,
    ) -> Result<Vec<IndexEntry>> {
        let mut gathered = Gathered::new(budget);
        self.gather(queue, offset, &mut gathered).await?;
        Ok(gathered.entries)
    }

    /// True if the budget is not spent.
    pub(super) async fn gather(
        &self,
        queue: QueueId,
        offset: i64,
        gathered: &mut Gathered,
    ) -> Result<bool> {
        let runs = self.runs();
        let Some(found) = self.locate(&runs, queue, offset).await? else { return Ok(true) };
        let from = self.seek_offset(&runs[found.run], &found.directory, offset).await?;
        let rest = from..found.directory.entries().end;
        if !self.gather_entries(&runs[found.run], rest, gathered).await? {
            return Ok(false);
        }
        for run in &runs[found.run + 1..] {
            if let Some(directory) = self.directory(run, queue).await?
                && !self.gather_entries(run, directory.entries(), gathered).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn gather_entries(
        &self,
        run: &Run,
        mut indexes: Range<u64>,
        gathered: &mut Gathered,
    ) -> Result<bool> {
        while !indexes.is_empty() {
            let (number, within) = self.on_page(run, &indexes)?;
            let bytes = self.page::<StoredEntry>(run, number).await?;
            let page = Page::verified(&bytes);
            self.check_count(run, number, &page, &within)?;
            for index in within {
                if !gathered.push(page.get::<StoredEntry>(index).entry) {
                    return Ok(false);
                }
                indexes.start += 1;
            }
        }
        Ok(true)
    }

    /// The first entry at or behind `offset` whose highest timestamp is at least `timestamp`. Where
    /// timestamps ascend that takes a few steps; where one in front of `offset` exceeds `timestamp`
    /// the entries from `offset` on are gone through.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn find_timestamp(
        &self,
        queue: QueueId,
        offset: i64,
        timestamp: i64,
    ) -> Result<Option<IndexEntry>> {
        let runs = self.runs();
        let Some(found) = self.locate(&runs, queue, offset).await? else { return Ok(None) };
        for (number, run) in runs.iter().enumerate().skip(found.run) {
            let directory = if number == found.run {
                Some(found.directory)
            } else {
                self.directory(run, queue).await?
            };
            let late_enough = directory.filter(|found| found.max_timestamp >= timestamp);
            if let Some(directory) = late_enough
                && let Some(entry) = self.seek_time(run, &directory, offset, timestamp).await?
            {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    async fn seek_time(
        &self,
        run: &Run,
        directory: &DirectoryEntry,
        offset: i64,
        timestamp: i64,
    ) -> Result<Option<IndexEntry>> {
        let by_time = self.seek(run, directory, |fence| fence.running_max < timestamp).await?;
        let mut index = if directory.first_offset >= offset {
            directory.entry_start
        } else {
            self.seek_offset(run, directory, offset).await?
        };
        // The first entry whose running maximum reaches the timestamp is the first that does.
        index = index.max(by_time);
        while index < directory.entries().end {
            let entry = self.entry(run, index).await?.entry;
            if entry.max_timestamp >= timestamp {
                return Ok(Some(entry));
            }
            index += 1;
        }
        Ok(None)
    }

    /// The offset after the newest entry of a queue.
    ///
    /// # Errors
    /// As [`Self::find`].
    pub async fn next_offset(&self, queue: QueueId) -> Result<Option<i64>> {
        for run in self.runs().iter().rev() {
            if let Some(directory) = self.directory(run, queue).await? {
                return Ok(Some(directory.next_offset));
            }
        }
        Ok(None)
    }

    /// The oldest run with an entry that contains `offset` or lies behind it.
    async fn locate(&self, runs: &RunList, queue: QueueId, offset: i64) -> Result<Option<Found>> {
        let mut best = None;
        for (number, run) in runs.iter().enumerate().rev() {
            let Some(directory) = self.directory(run, queue).await? else { continue };
            if directory.next_offset <= offset {
                break;
            }
            best = Some(Found { run: number, directory });
            if directory.first_offset <= offset {
                break;
            }
        }
        Ok(best)
    }

    async fn directory(&self, run: &Run, queue: QueueId) -> Result<Option<DirectoryEntry>> {
        let Some(number) = run.directory_page(queue) else { return Ok(None) };
        let bytes = self.page::<DirectoryEntry>(run, number).await?;
        let page = Page::verified(&bytes);
        let before = |entry: &DirectoryEntry| entry.queue < queue;
        let index = page.partition_point(0..page.count(), before);
        let found = (index < page.count()).then(|| page.get::<DirectoryEntry>(index));
        let found = found.filter(|found| found.queue == queue);
        if found.is_some_and(|found| found.entries().end > run.header.entry_count) {
            return Err(run.corrupt(number, "the directory counts more entries than there are"));
        }
        Ok(found)
    }

    /// The first entry that contains `offset` or lies behind it; `offset` lies in front of the
    /// directory's next one.
    async fn seek_offset(&self, run: &Run, directory: &DirectoryEntry, offset: i64) -> Result<u64> {
        let behind = self.seek(run, directory, |fence| fence.base_offset <= offset).await?;
        if behind > directory.entry_start {
            let entry = self.entry(run, behind - 1).await?.entry;
            if entry.next_offset() > offset {
                return Ok(behind - 1);
            }
        }
        if behind == directory.entries().end {
            return Err(run.corrupt(run.header.directory_page, "it contradicts the entries"));
        }
        Ok(behind)
    }

    /// The first of a queue's entries for which `before` does not hold; it holds for those in front.
    async fn seek(
        &self,
        run: &Run,
        directory: &DirectoryEntry,
        before: impl Fn(&Fence) -> bool,
    ) -> Result<u64> {
        let entries = directory.entries();
        let per_page = StoredEntry::PER_PAGE as u64;
        let (first, last) = (entries.start / per_page, (entries.end - 1) / per_page);
        let page = self.seek_page(run, first, last, &before).await?;
        let on_page = entries.start.max(page * per_page)..entries.end.min((page + 1) * per_page);
        let (number, within) = self.on_page(run, &on_page)?;
        let bytes = self.page::<StoredEntry>(run, number).await?;
        let view = Page::verified(&bytes);
        self.check_count(run, number, &view, &within)?;
        let index = view.partition_point(within, |stored: &StoredEntry| {
            before(&Fence {
                base_offset: stored.entry.base_offset,
                running_max: stored.running_max,
            })
        });
        Ok(page * per_page + index as u64)
    }

    /// The last of the entry pages `first..=last` whose fence `before` holds for; `first` if none.
    /// All of them but `first` begin with an entry of the queue.
    async fn seek_page(
        &self,
        run: &Run,
        first: u64,
        last: u64,
        before: &impl Fn(&Fence) -> bool,
    ) -> Result<u64> {
        if first == last {
            return Ok(first);
        }
        let per_page = Fence::PER_PAGE as u64;
        let (low, high) = ((first + 1) / per_page, last / per_page);
        let Some(top) = run.fence_page(low as usize, high as usize, before) else {
            return Err(run.corrupt(run.header.top_page, "there are too few fences"));
        };
        let number = run.header.fence_page + top as u32;
        let from = (first + 1).max(top as u64 * per_page);
        let to = (last + 1).min((top as u64 + 1) * per_page);
        let within = (from % per_page) as usize..(from % per_page + (to - from)) as usize;
        let bytes = self.page::<Fence>(run, number).await?;
        let page = Page::verified(&bytes);
        self.check_count(run, number, &page, &within)?;
        let held = page.partition_point(within.clone(), before) - within.start;
        Ok(from - 1 + held as u64)
    }

    async fn entry(&self, run: &Run, index: u64) -> Result<StoredEntry> {
        let (number, within) = self.on_page(run, &(index..index + 1))?;
        let bytes = self.page::<StoredEntry>(run, number).await?;
        let page = Page::verified(&bytes);
        self.check_count(run, number, &page, &within)?;
        Ok(page.get(within.start))
    }

    /// The page the first of some entries lies on, and which of the page's entries they are.
    fn on_page(&self, run: &Run, entries: &Range<u64>) -> Result<(u32, Range<usize>)> {
        if entries.end > run.header.entry_count {
            return Err(run.corrupt(run.header.directory_page, "it points behind the entries"));
        }
        let per_page = StoredEntry::PER_PAGE as u64;
        let (page, within) = (entries.start / per_page, (entries.start % per_page) as usize);
        let count = (entries.end - entries.start).min(per_page - within as u64) as usize;
        Ok((run.header.entry_page + page as u32, within..within + count))
    }

    fn check_count(
        &self,
        run: &Run,
        number: u32,
        page: &Page<'_>,
        within: &Range<usize>,
    ) -> Result<()> {
        if within.end > page.count() {
            return Err(run.corrupt(number, "the page has too few items"));
        }
        Ok(())
    }

    /// A verified page, from the cache or the disk.
    async fn page<T: Item>(&self, run: &Run, number: u32) -> Result<Rc<[u8]>> {
        let key = (run.id, number);
        if let Some(page) = self.cache.borrow_mut().get(key) {
            return Ok(page);
        }
        let offset = u64::from(number) * PAGE_BYTES as u64;
        let read = self.cold.read(run.path(), offset, PAGE_BYTES).await;
        let failed = |source| run.noted(IndexError::Io { path: run.path().into(), source });
        let bytes = read.map_err(failed)?;
        Page::verify::<T>(&bytes, run.stamp, number).map_err(|what| run.corrupt(number, what))?;
        let page: Rc<[u8]> = bytes.into();
        self.cache.borrow_mut().insert(key, page.clone());
        Ok(page)
    }
}
