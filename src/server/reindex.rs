//! Index files that turn out to be damaged on a running broker, rebuilt from the log.
//!
//! Whoever meets the damage notes it in the run and answers that this partition cannot be read now;
//! the housekeeper looks for such notes. So a bad page costs its readers the time the log takes to
//! read, whoever runs the broker nothing.

use std::{
    borrow::Borrow,
    io,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{
    ServerError,
    housekeeper::{Housekeeper, goes_on},
};
use crate::{
    base::{Position, QueueId},
    broker::index_entry,
    env::Disk,
    storage::{
        commit_log::{
            recovery::{FoundFrame, read_finished},
            segment::Segment,
        },
        queue_index::{IndexEntry, IndexError, LogRange, Run},
    },
};

/// How soon it is tried again when the disk or the log itself is in the way.
const RETRY: Duration = Duration::from_secs(60);

/// What one segment says of its part of the index.
type Part = (LogRange, Vec<(QueueId, IndexEntry)>);

impl Housekeeper {
    /// Rebuilds what was found to be damaged, unless it is to stop; returns when to look again.
    pub(super) fn reindex(&mut self, now: Duration, stopped: &flume::Receiver<()>) -> Duration {
        let mut due = now;
        for run in self.runs.damaged() {
            let (path, damage) = (run.path().to_path_buf(), run.damage().unwrap_or_default());
            tracing::warn!(damage, "an index file is damaged; it is rebuilt from the log");
            self.figures.damaged_runs.fetch_add(1, Ordering::Relaxed);
            match self.rebuild(run, stopped) {
                Ok(()) => tracing::info!(path = %path.display(), "the index file was rebuilt"),
                // Whoever meets the damage after the next start notes it again.
                Err(_) if !goes_on(stopped, Duration::ZERO) => return now,
                Err(error) => {
                    due = self.clock.monotonic() + RETRY;
                    tracing::error!(
                        %error,
                        path = %path.display(),
                        "the index file could not be rebuilt: what it leads to cannot be read. If the \
                         log is damaged, stop the broker and run `mainstem log repair`"
                    );
                }
            }
        }
        due
    }

    /// Puts one run for each segment in place of a damaged one: so no more than a segment's entries
    /// are in memory. Merging makes few of them again.
    fn rebuild(&mut self, run: Arc<Run>, stopped: &flume::Receiver<()>) -> Result<(), ServerError> {
        // What lies in front of them stays until runs are merged, as in other runs.
        self.hear_of_queues();
        let keep = |queue: QueueId| self.known.index_start(queue).is_some();
        let segments = self.segments.all();
        let (disk, log_id) = (Arc::clone(self.pool.disk()), self.log_id);
        let parts = parts_of(&segments, run.covers()).map(
            |(segment, covers)| -> Result<Part, ServerError> {
                if !goes_on(stopped, Duration::ZERO) {
                    let source = io::ErrorKind::Interrupted.into();
                    return Err(IndexError::Io { path: segment.path.clone(), source }.into());
                }
                Ok((covers, entries_of(&*disk, log_id, segment, covers, keep)?))
            },
        );
        self.runs.replace(&run, parts)?;
        drop(run);
        self.install_indexes();
        Ok(())
    }
}

/// The segments that hold something of a stretch, each with its part of it.
pub(super) fn parts_of<S: Borrow<Segment>>(
    segments: &[S],
    stretch: LogRange,
) -> impl Iterator<Item = (&Segment, LogRange)> {
    let segments = segments.iter().map(Borrow::borrow);
    let ends = segments.clone().skip(1).map(|next| next.base).chain([Position(u64::MAX)]);
    segments.zip(ends).filter_map(move |(segment, end)| {
        let (start, end) = (segment.base.max(stretch.start), end.min(stretch.end));
        (start < end).then(|| (segment, LogRange::new(start, end)))
    })
}

/// The index entries of a segment's part that is not written any more, for the queues to `keep`.
///
/// # Errors
/// Damage to the log: without its entries nobody would be told that a message is lost. What kept it
/// from being read.
pub(super) fn entries_of(
    disk: &dyn Disk,
    log_id: u64,
    segment: &Segment,
    part: LogRange,
    keep: impl Fn(QueueId) -> bool,
) -> Result<Vec<(QueueId, IndexEntry)>, ServerError> {
    let mut entries = Vec::new();
    let mut visit = |frame: FoundFrame<'_>| {
        let entry = index_entry(&frame)?.map(|entry| (frame.meta.queue, entry));
        entries.extend(entry.filter(|(queue, _)| keep(*queue)));
        Ok(())
    };
    let holes = read_finished(disk, log_id, segment, (part.start, part.end), &mut visit)?;
    if holes.is_empty() { Ok(entries) } else { Err(ServerError::Damaged(holes)) }
}
