//! Merging neighbouring runs, so that look-ups meet few of them.

use std::{ops::Range, path::Path, sync::Arc};

use super::{
    Result,
    run::{Run, RunName},
    run_writer::{Bounds, RunWriter},
    scan::EntryScan,
};
use crate::{base::QueueId, env::Disk};

/// Runs of about one size that are merged once there are so many side by side.
const FAN_IN: usize = 8;
/// Runs below this size count as one tier.
const SMALLEST_TIER_BYTES: u64 = 1 << 20;
/// No merged run grows beyond this size: the housekeeper has other work to do, and page numbers and
/// counts of entries stay far below 32 bits.
const MAX_RUN_BYTES: u64 = 4 << 30;

/// Which of the runs to merge next, oldest first; `None` while that would not pay, or takes more than
/// `room` bytes. Each entry is merged about log8(runs) times in its life, and at most 7 runs of each
/// tier remain.
pub(super) fn pick(runs: &[Arc<Run>], room: u64) -> Option<Range<usize>> {
    let sizes: Vec<u64> = runs.iter().map(|run| run.file_bytes()).collect();
    let joined = |at: usize| runs[at - 1].covers().end == runs[at].covers().start;
    runs_to_merge(&sizes, room, joined)
}

/// Which of neighbouring sorted files to merge next, by their bytes, oldest first. `joined` says whether
/// a file begins where the one before it ends. `None` where those together have more than `room` bytes.
pub fn runs_to_merge(
    sizes: &[u64],
    room: u64,
    joined: impl Fn(usize) -> bool,
) -> Option<Range<usize>> {
    let mut end = sizes.len();
    while end > 0 {
        // The longest stretch up to `end` of runs that are no larger than its newest one's tier.
        let tier = tier_of(sizes[end - 1]);
        let (mut start, mut bytes) = (end - 1, sizes[end - 1]);
        let mut peers = 1;
        while start > 0
            && joined(start)
            && tier_of(sizes[start - 1]) <= tier
            && bytes + sizes[start - 1] <= MAX_RUN_BYTES
            && end - start < 2 * FAN_IN
        {
            start -= 1;
            bytes += sizes[start];
            peers += 1;
        }
        if peers >= FAN_IN {
            return (bytes <= room).then_some(start..end);
        }
        end -= 1;
    }
    None
}

fn tier_of(bytes: u64) -> u32 {
    (bytes / SMALLEST_TIER_BYTES).max(1).ilog2() / FAN_IN.ilog2()
}

/// Writes neighbouring runs, oldest first, as the run `name`. `log_start` says from where a queue's
/// entries are still needed, and `None` for a queue that was deleted: those in front are left out.
pub(super) fn merge(
    disk: &dyn Disk,
    dir: &Path,
    name: RunName,
    runs: &[Arc<Run>],
    log_start: &dyn Fn(QueueId) -> Option<i64>,
) -> Result<Run> {
    let bounds = Bounds {
        queues: runs.iter().map(|run| run.queue_count()).sum(),
        entries: runs.iter().map(|run| run.entry_count()).sum(),
    };
    let mut scans =
        runs.iter().map(|run| EntryScan::open(disk, run)).collect::<Result<Vec<_>>>()?;
    let mut writer = RunWriter::create(disk, dir, name, bounds)?;
    while let Some(queue) = scans.iter().filter_map(EntryScan::queue).min() {
        let start = log_start(queue);
        for scan in scans.iter_mut().filter(|scan| scan.queue() == Some(queue)) {
            scan.queue_entries(|entry| match start {
                Some(start) if entry.next_offset() > start => writer.push(queue, entry),
                _ => Ok(()),
            })?;
        }
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_segments_leave_few_runs() {
        let mut sizes: Vec<u64> = Vec::new();
        let (mut most, mut written) = (0, 0);
        for _ in 0..1000 {
            sizes.push(5 << 20);
            while let Some(range) = runs_to_merge(&sizes, u64::MAX, |_| true) {
                let merged = sizes[range.clone()].iter().sum();
                written += merged;
                sizes.splice(range, [merged]);
            }
            most = most.max(sizes.len());
        }
        assert!(most <= 28, "{most} runs at once");
        assert!(written <= 4 * 1000 * (5 << 20), "{written} bytes merged");
    }

    #[test]
    fn only_neighbours_merge() {
        let sizes = [1; 16];
        assert_eq!(runs_to_merge(&sizes, u64::MAX, |at| at != 9), Some(0..9));
        assert_eq!(runs_to_merge(&sizes, u64::MAX, |at| at != 12), Some(0..12));
        assert_eq!(runs_to_merge(&sizes[..7], u64::MAX, |_| true), None);
        assert_eq!(runs_to_merge(&[MAX_RUN_BYTES; 9], u64::MAX, |_| true), None);
    }
}
