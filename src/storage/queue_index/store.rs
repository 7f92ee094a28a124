//! All runs of a directory: opening, writing, merging, removing.

use std::{
    cmp::Reverse,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Generation, IndexEntry, IndexError, LogRange, Result,
    merge::{merge, pick},
    run::{Run, RunList, RunName, io_error},
    run_writer::{Bounds, RunWriter},
};
use crate::{
    base::{Position, QueueId},
    env::Disk,
};

/// The run files of a directory. Every call blocks; lives on the housekeeper thread, which hands
/// [`RunStore::runs`] to the shards after each change.
pub struct RunStore {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Oldest first; none overlaps another.
    runs: Vec<Arc<Run>>,
    /// Replaced or outlived; their files go once no shard reads them.
    retired: Vec<Arc<Run>>,
    /// Files that could not be opened.
    damaged: Vec<RunName>,
    /// Written; kept here so that freeing what a million queues allocated stops no shard.
    written: Vec<Arc<Generation>>,
}

/// A run file that cannot be used.
#[derive(Debug)]
pub struct DamagedRun {
    /// What it should cover.
    pub covers: LogRange,
    /// What is wrong with it.
    pub error: IndexError,
}

/// What was found when the runs were opened.
#[derive(Debug, Default)]
pub struct OpenReport {
    /// Leftovers that were removed.
    pub removed: Vec<String>,
    /// Runs that cannot be used. Their files stay until [`RunStore::rebuild`] replaces them.
    pub damaged: Vec<DamagedRun>,
}

impl RunStore {
    /// Opens all runs of `dir`, creating the directory if need be. Reads a few pages of each: entries
    /// are verified when they are read.
    ///
    /// # Errors
    /// When the directory cannot be read or changed. What is wrong with single runs is reported.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path) -> Result<(Self, OpenReport)> {
        let failed = |error| io_error(dir, error);
        disk.create_dir(dir).map_err(failed)?;
        let mut removed: Vec<String> = Vec::new();
        let mut found: Vec<RunName> = Vec::new();
        for name in disk.list(dir).map_err(failed)? {
            match RunName::parse(&name) {
                Some(name) => found.push(name),
                None if name.ends_with(".idx.tmp") => removed.push(name),
                None => {}
            }
        }
        // A run comes before those inside its range, so that they are known to be superseded.
        found.sort_by_key(|name| {
            (name.covers.start, Reverse(name.covers.end), Reverse(name.edition))
        });
        let mut runs: Vec<Arc<Run>> = Vec::new();
        let mut damaged: Vec<(RunName, IndexError)> = Vec::new();
        for name in found {
            match Self::admit(&*disk, dir, &runs, name) {
                Ok(Some(run)) => runs.push(Arc::new(run)),
                Ok(None) => removed.push(name.file_name()),
                Err(error) => damaged.push((name, error)),
            }
        }
        // A damaged run whose stretch has others is not missed.
        damaged.retain(|(name, _)| {
            let superseded = are_covered(&runs, name.covers);
            removed.extend(superseded.then(|| name.file_name()));
            !superseded
        });
        for name in &removed {
            disk.remove(&dir.join(name)).map_err(failed)?;
        }
        disk.sync_dir(dir).map_err(failed)?;
        let names = damaged.iter().map(|(name, _)| *name).collect();
        let dir = dir.to_path_buf();
        let store =
            Self { disk, dir, runs, retired: Vec::new(), damaged: names, written: Vec::new() };
        let report = |(name, error): (RunName, _)| DamagedRun { covers: name.covers, error };
        let damaged = damaged.into_iter().map(report).collect();
        Ok((store, OpenReport { removed, damaged }))
    }

    /// Opens one run; `None` if another covers it.
    fn admit(disk: &dyn Disk, dir: &Path, runs: &[Arc<Run>], name: RunName) -> Result<Option<Run>> {
        if let Some(last) = runs.last() {
            if last.covers().covers(&name.covers) {
                return Ok(None);
            }
            if name.covers.start < last.covers().end {
                return Err(IndexError::NotAdjacent { covers: name.covers });
            }
        }
        Run::open(disk, dir, name).map(Some)
    }

    /// The stretches of `within` that no run covers, in the log's order: to be rebuilt from the log
    /// before anything is looked up.
    #[must_use]
    pub fn lacking(&self, within: LogRange) -> Vec<LogRange> {
        let mut lacking = Vec::new();
        let mut at = within.start;
        let behind = LogRange::new(within.end, within.end);
        for covers in self.runs.iter().map(|run| run.covers()).chain([behind]) {
            let end = covers.start.min(within.end);
            if at < end {
                lacking.push(LogRange::new(at, end));
            }
            at = at.max(covers.end);
        }
        lacking
    }

    /// The runs there are, oldest first.
    #[must_use]
    pub fn runs(&self) -> RunList {
        self.runs.iter().cloned().collect()
    }

    /// The stretch of the log that runs cover, gaps included; `None` if there is no run. After a
    /// start, all entries from its end on are pushed anew, wherever the checkpoint lies.
    #[must_use]
    pub fn covers(&self) -> Option<LogRange> {
        let (first, last) = (self.runs.first()?, self.runs.last()?);
        Some(LogRange::new(first.covers().start, last.covers().end))
    }

    /// Bytes of all run files.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.file_bytes()).sum()
    }

    /// Writes the run of a sealed segment from what all shards have sealed of it, and returns once it
    /// is durable.
    ///
    /// # Errors
    /// When it does not follow the newest run, or the disk fails; then nothing has changed and the
    /// call may be repeated.
    ///
    /// # Panics
    /// When an entry lies outside `covers`; so for [`Self::rebuild`].
    pub fn write(&mut self, covers: LogRange, sealed: &[Arc<Generation>]) -> Result<Arc<Run>> {
        let mut queues: Vec<(QueueId, u32)> = Vec::new();
        for (shard, generation) in sealed.iter().enumerate() {
            queues.extend(generation.queues().map(|queue| (queue, shard as u32)));
        }
        queues.sort_unstable();
        let bounds = Bounds {
            queues: queues.len() as u64,
            entries: sealed.iter().map(|generation| generation.entry_count()).sum(),
        };
        let entries = queues.iter().flat_map(|&(queue, shard)| {
            sealed[shard as usize].entries(queue).map(move |entry| (queue, entry))
        });
        let run = self.write_sorted(covers, bounds, entries)?;
        self.written.extend_from_slice(sealed);
        Ok(run)
    }

    /// Writes the run of a stretch of the log from its entries in any order across queues, ascending
    /// within each; holds them all in memory. Replaces a run of the same stretch.
    ///
    /// # Errors
    /// As [`Self::write`]; it may also fill a gap.
    pub fn rebuild(
        &mut self,
        covers: LogRange,
        entries: impl IntoIterator<Item = (QueueId, IndexEntry)>,
    ) -> Result<Arc<Run>> {
        let place = self.place_of(covers)?;
        let run = Arc::new(self.write_unsorted(covers, entries.into_iter().collect())?);
        self.install(place, vec![run.clone()]);
        Ok(run)
    }

    /// The runs that were found to be damaged since they were opened.
    #[must_use]
    pub fn damaged(&self) -> Vec<Arc<Run>> {
        self.runs.iter().filter(|run| run.damage().is_some()).cloned().collect()
    }

    /// Replaces a run by `parts`, which lie end to end up to its end, each with its entries as for
    /// [`Self::rebuild`]; holds those of one part in memory. A part of the log that was dropped is not
    /// needed any more.
    ///
    /// # Errors
    /// When a part or the disk fails; then the run stays, and the call may be repeated.
    ///
    /// # Panics
    /// When the run is not one of this store, or the parts do not take its place.
    pub fn replace<E: From<IndexError>>(
        &mut self,
        old: &Arc<Run>,
        parts: impl Iterator<Item = Result<(LogRange, Vec<(QueueId, IndexEntry)>), E>>,
    ) -> Result<(), E> {
        let place = self.runs.iter().position(|run| Arc::ptr_eq(run, old));
        let place = place.expect("a run that is replaced is in use");
        let mut made: Vec<Arc<Run>> = Vec::new();
        for part in parts {
            let written =
                part.and_then(|(covers, entries)| Ok(self.write_unsorted(covers, entries)?));
            match written {
                Ok(run) => made.push(Arc::new(run)),
                Err(error) => {
                    self.retired.extend(made);
                    return Err(error);
                }
            }
        }
        let joined = made.windows(2).all(|pair| pair[0].covers().end == pair[1].covers().start);
        let inside = made.first().is_some_and(|run| run.covers().start >= old.covers().start)
            && made.last().is_some_and(|run| run.covers().end == old.covers().end);
        // None are left of a run in front of the log.
        assert!(
            made.is_empty() || joined && inside,
            "the parts take the place of {:?}",
            old.covers()
        );
        self.install(place..place + 1, made);
        Ok(())
    }

    fn write_sorted(
        &mut self,
        covers: LogRange,
        bounds: Bounds,
        entries: impl IntoIterator<Item = (QueueId, IndexEntry)>,
    ) -> Result<Arc<Run>> {
        let place = self.place_of(covers)?;
        let run = Arc::new(self.write_file(covers, bounds, entries)?);
        self.install(place, vec![run.clone()]);
        Ok(run)
    }

    fn write_unsorted(
        &self,
        covers: LogRange,
        mut entries: Vec<(QueueId, IndexEntry)>,
    ) -> Result<Run> {
        entries.sort_by_key(|(queue, entry)| (*queue, entry.base_offset));
        let mut queues = entries.iter().map(|(queue, _)| *queue).collect::<Vec<_>>();
        queues.dedup();
        let bounds = Bounds { queues: queues.len() as u64, entries: entries.len() as u64 };
        self.write_file(covers, bounds, entries)
    }

    fn write_file(
        &self,
        covers: LogRange,
        bounds: Bounds,
        entries: impl IntoIterator<Item = (QueueId, IndexEntry)>,
    ) -> Result<Run> {
        let name = RunName { covers, edition: self.edition_of(covers) };
        let mut writer = RunWriter::create(&*self.disk, &self.dir, name, bounds)?;
        for (queue, entry) in entries {
            let inside = covers.start <= entry.position && entry.position < covers.end;
            assert!(inside, "queue {queue}: {entry:?} lies outside its run");
            writer.push(queue, entry)?;
        }
        writer.finish()
    }

    /// Puts runs that are durable in their place.
    fn install(&mut self, place: Range<usize>, runs: Vec<Arc<Run>>) {
        self.retired.extend(self.runs.splice(place, runs));
        self.remove_replaced();
    }

    /// Removes damaged files whose stretch has runs again.
    fn remove_replaced(&mut self) {
        self.remove_damaged(|runs, LogRange { start, end }| {
            // In front of the first run the log may have been dropped meanwhile.
            let first = runs.first().map_or(start, |run| run.covers().start.max(start));
            first < end && are_covered(runs, LogRange::new(first, end))
        });
    }

    fn remove_damaged(&mut self, is_gone: impl Fn(&[Arc<Run>], LogRange) -> bool) {
        for name in self.damaged.extract_if(.., |name| is_gone(&self.runs, name.covers)) {
            // If it stays, it is found again when the runs are opened.
            let _ = self.disk.remove(&self.dir.join(name.file_name()));
        }
    }

    /// Where a new run belongs: behind the newest, into a gap, or in place of the same stretch's.
    fn place_of(&self, covers: LogRange) -> Result<Range<usize>> {
        if let Some(same) = self.runs.iter().position(|run| run.covers() == covers) {
            return Ok(same..same + 1);
        }
        let at = self.runs.partition_point(|run| run.covers().end <= covers.start);
        let before = at.checked_sub(1).map(|before| self.runs[before].covers().end);
        let after = self.runs.get(at).map(|run| run.covers().start);
        let joins = match (before, after) {
            (None, None) => true,
            (Some(before), None) => before == covers.start,
            (_, Some(after)) => covers.end <= after,
        };
        if joins && covers.start < covers.end {
            Ok(at..at)
        } else {
            Err(IndexError::NotAdjacent { covers })
        }
    }

    fn edition_of(&self, covers: LogRange) -> u32 {
        let opened = self.runs.iter().chain(&self.retired).map(|run| run.name);
        let same = opened.chain(self.damaged.iter().copied()).filter(|name| name.covers == covers);
        same.map(|name| name.edition + 1).max().unwrap_or(0)
    }

    /// Merges a few runs if that pays; false if it does not, or takes more than `room` bytes.
    /// `log_start` says from where a queue's entries are still needed, `None` for a deleted queue: what
    /// lies in front is left out.
    ///
    /// # Errors
    /// When a run is damaged or the disk fails; then nothing has changed.
    pub fn merge_some(
        &mut self,
        room: u64,
        log_start: &dyn Fn(QueueId) -> Option<i64>,
    ) -> Result<bool> {
        match pick(&self.runs, room) {
            Some(range) => self.merge(range, log_start).map(|()| true),
            None => Ok(false),
        }
    }

    /// Merges neighbouring runs, counted from the oldest. See [`Self::merge_some`].
    ///
    /// # Errors
    /// When they leave a gap between them, a run is damaged or the disk fails; then nothing has
    /// changed.
    pub fn merge(
        &mut self,
        range: Range<usize>,
        log_start: &dyn Fn(QueueId) -> Option<i64>,
    ) -> Result<()> {
        let runs = &self.runs[range.clone()];
        if let Some(pair) =
            runs.windows(2).find(|pair| pair[0].covers().end != pair[1].covers().start)
        {
            return Err(IndexError::NotAdjacent { covers: pair[1].covers() });
        }
        if runs.len() < 2 {
            return Ok(());
        }
        let (first, last) = (runs[0].covers(), runs[runs.len() - 1].covers());
        let covers = LogRange::new(first.start, last.end);
        let name = RunName { covers, edition: self.edition_of(covers) };
        let merged = merge(&*self.disk, &self.dir, name, runs, log_start)?;
        self.retired.extend(self.runs.splice(range, [Arc::new(merged)]));
        Ok(())
    }

    /// Gives up the runs that lie wholly in front of `position`, whose segments are gone.
    pub fn drop_below(&mut self, position: Position) {
        let kept = self.runs.partition_point(|run| run.covers().end <= position);
        self.retired.extend(self.runs.drain(..kept));
        self.remove_damaged(|_, covers| covers.end <= position);
    }

    /// Leaves the runs from the first on that reaches behind `position` out of use, for as long as this
    /// process runs. Their files stay.
    pub fn leave_from(&mut self, position: Position) {
        self.runs.truncate(self.runs.partition_point(|run| run.covers().end <= position));
    }

    /// Gives up the runs that hold something of a stretch, to be rebuilt from the log.
    pub fn drop_overlapping(&mut self, stretch: LogRange) {
        let overlaps = |run: &mut Arc<Run>| {
            run.covers().start < stretch.end && stretch.start < run.covers().end
        };
        self.retired.extend(self.runs.extract_if(.., overlaps));
    }

    /// Removes the files of given-up runs that no shard holds any more, and frees written generations
    /// likewise; returns how many files are left.
    ///
    /// # Errors
    /// When the disk fails; what is left is tried again at the next call.
    pub fn sweep(&mut self) -> Result<usize> {
        self.written.retain(|generation| Arc::strong_count(generation) > 1);
        let before = self.retired.len();
        let mut failure = None;
        self.retired.retain(|run| {
            if failure.is_some() || Arc::strong_count(run) > 1 {
                return true;
            }
            match self.disk.remove(run.path()) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    failure = Some(io_error(run.path(), error));
                    true
                }
                _ => false,
            }
        });
        if before != self.retired.len() {
            self.disk.sync_dir(&self.dir).map_err(|e| io_error(&self.dir, e))?;
        }
        failure.map_or(Ok(self.retired.len()), Err)
    }
}

/// Whether runs cover all of a stretch.
fn are_covered(runs: &[Arc<Run>], covers: LogRange) -> bool {
    let mut end = covers.start;
    for run in runs.iter().map(|run| run.covers()) {
        if run.start <= end {
            end = end.max(run.end);
        }
    }
    end >= covers.end
}
