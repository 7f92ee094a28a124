//! `mainstem log verify` and `mainstem log dump`: the log of a broker that is not running.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    ServerError,
    cli::print,
    data_dir::DataDir,
    start::{Extent, ReadBack},
};
use crate::{
    base::{Position, QueueId},
    broker::Replay,
    config::Config,
    env::{
        Disk,
        blocking::{BlockingDisk, SystemRandom},
    },
    storage::{
        checkpoint::CheckpointStore,
        commit_log::{
            frame::{FRAME_HEADER, FrameKind},
            recovery::{FoundFrame, Hole, Recovered, RecoveryError, recover},
        },
        key_index,
        queue_index::{self, RunStore},
    },
};

/// Offsets and counts of one queue's frames.
#[derive(Clone, Copy, Debug, Default)]
struct QueueTotals {
    frames: u64,
    next: i64,
    bytes: u64,
    /// Where its last frame is.
    last: Position,
}

/// Offsets that no frame has, between two of a queue's frames.
struct Gap {
    queue: QueueId,
    offsets: Range<i64>,
    positions: Range<Position>,
}

impl Gap {
    /// Whether it is where something was lost.
    fn is_at(&self, hole: &Hole) -> bool {
        self.positions.contains(&hole.start)
    }
}

/// Opens the data directory of a broker that is not running.
///
/// # Errors
/// When there is none, or a process works in it.
pub(super) fn open(config: &Config) -> Result<(Arc<dyn Disk>, DataDir), ServerError> {
    let disk: Arc<dyn Disk> = Arc::new(BlockingDisk);
    // A tool makes nothing where there is nothing.
    let missing = |source| ServerError::DataDir { path: config.data_dir.clone(), source };
    disk.list(&config.data_dir).map_err(missing)?;
    let data = DataDir::open(&config.data_dir, &*disk, &SystemRandom)?;
    Ok((disk, data))
}

fn read(
    disk: &dyn Disk,
    data: &DataDir,
    durable: Position,
    mut visit: impl FnMut(&FoundFrame<'_>),
) -> Result<Recovered, ServerError> {
    let dir = data.log();
    let mut visit = |frame: FoundFrame<'_>| {
        visit(&frame);
        Ok(())
    };
    Ok(recover(disk, &dir, data.log_id, None, durable, &mut visit)?)
}

/// Reads the whole log under `config.data_dir`, every index file and every checkpoint, and checks
/// every checksum.
///
/// # Errors
/// What is damaged, or what kept it from being read.
pub fn verify(config: &Config) -> Result<(), ServerError> {
    let (disk, data) = open(config)?;
    let (runs, report) = RunStore::open(Arc::clone(&disk), &data.index())?;
    let (_, loaded) = CheckpointStore::load_latest(Arc::clone(&disk), &data.checkpoints())
        .map_err(|error| ServerError::Checkpoint(error.to_string()))?;
    let checkpoint = loaded.latest.map(|latest| latest.header().replay_from);
    let mut queues = BTreeMap::<QueueId, QueueTotals>::new();
    let (mut control, mut gaps) = (0u64, Vec::new());
    let recovered = read(&*disk, &data, checkpoint.unwrap_or_default(), |frame| {
        if !frame.meta.kind.is_data() {
            control += 1;
            return;
        }
        let (meta, at) = (frame.meta, frame.payload_at);
        let totals = queues
            .entry(meta.queue)
            .or_insert(QueueTotals { next: meta.base_offset, ..QueueTotals::default() });
        if meta.base_offset != totals.next {
            let offsets = totals.next..meta.base_offset;
            gaps.push(Gap { queue: meta.queue, offsets, positions: totals.last..at });
        }
        totals.next = meta.base_offset + i64::from(meta.count);
        totals.last = at;
        totals.frames += 1;
        totals.bytes += frame.payload.len() as u64;
    })?;
    if !recovered.holes.is_empty() {
        return Err(ServerError::Damaged(recovered.holes));
    }
    let unexplained = |gap: &&Gap| !recovered.given_up.iter().any(|hole| gap.is_at(hole));
    if let Some(Gap { queue, offsets, positions }) = gaps.iter().find(unexplained) {
        let reason = format!("queue {queue} goes on at {}, not {}", offsets.end, offsets.start);
        return Err(RecoveryError::Frame { position: positions.end, reason }.into());
    }
    if let Some(damaged) = report.damaged.into_iter().next() {
        return Err(damaged.error.into());
    }
    let mut indexed = 0;
    for run in runs.runs().iter() {
        indexed += queue_index::verify(&*disk, run)?.entries;
    }
    let keys = key_index::verify(&*disk, &data.index())?;
    if let Some(damaged) = loaded.damaged.first() {
        return Err(ServerError::Checkpoint(damaged.to_string()));
    }
    let frames: u64 = queues.values().map(|totals| totals.frames).sum();
    let bytes: u64 = queues.values().map(|totals| totals.bytes).sum();
    let mut text = format!(
        "log: {} segments, positions {} to {}, {frames} message frames with {bytes} bytes in {} queues, \
         {control} control frames\n",
        recovered.segments.len(),
        recovered.segments.first().map_or(0, |segment| segment.base.0),
        recovered.end,
        queues.len(),
    );
    for hole in &recovered.given_up {
        text += &format!("given up: {hole}\n");
    }
    if let Some((position, reason)) = recovered.torn {
        text += &format!("torn tail: a write at position {position} was cut off ({reason})\n");
    }
    let files = runs.runs().len();
    text += &format!("index: {files} files with {indexed} entries, {keys} message keys\n");
    text += &checkpoint.map_or("checkpoint: none\n".to_owned(), |from| {
        format!("checkpoint: replay starts at position {from}\n")
    });
    print(&(text + "every checksum holds\n"));
    Ok(())
}

/// The names of partitions, as far as the state at the log's end has them.
fn names(config: &Config, data: &DataDir, disk: &Arc<dyn Disk>) -> Option<Replay> {
    match ReadBack::of(config, data, disk, None, Extent::Checkpoint) {
        Ok(found) => Some(found.replay),
        Err(error) => {
            print(&format!("# topics are not known: {error}\n"));
            None
        }
    }
}

/// Prints the frames of the log under `config.data_dir`, one a line: where the frame begins, its kind,
/// the partition it belongs to and, for messages, offsets and bytes of payload. Partitions of topics
/// that are gone have their number behind a `#`.
///
/// # Errors
/// What kept it from being read.
pub fn dump(config: &Config) -> Result<(), ServerError> {
    let (disk, data) = open(config)?;
    let names = names(config, &data, &disk);
    let partition = |queue: QueueId| {
        let found = names.as_ref().and_then(|replay| replay.cluster().queue(queue));
        found
            .map_or_else(|| format!("#{queue}"), |(topic, index)| format!("{}-{index}", topic.name))
    };
    print("position kind partition base_offset count bytes append_time_ms\n");
    let recovered = read(&*disk, &data, Position(0), |frame| {
        let meta = frame.meta;
        let kind = match meta.kind {
            FrameKind::Void => "void",
            FrameKind::KafkaBatch => "kafka-batch",
            FrameKind::RocketMessage => "rocketmq-message",
            FrameKind::Timer => "timer",
            FrameKind::Cluster => "cluster",
            FrameKind::Group => "group",
            FrameKind::LogStart => "log-start",
            FrameKind::TimersFired => "timers-fired",
            FrameKind::TimerSettled => "timer-settled",
            FrameKind::ProducerSequence => "producer-sequence",
            FrameKind::Dropped => "dropped",
        };
        let of_queue =
            !matches!(meta.kind, FrameKind::Void | FrameKind::Cluster | FrameKind::Group);
        print(&format!(
            "{} {kind} {} {} {} {} {}\n",
            frame.payload_at.0 - FRAME_HEADER as u64,
            if of_queue { partition(meta.queue) } else { "-".to_owned() },
            meta.base_offset,
            meta.count,
            frame.payload.len(),
            meta.append_time_ms
        ));
    })?;
    for hole in recovered.given_up.iter().chain(&recovered.holes) {
        print(&format!("# damaged: {hole}\n"));
    }
    if let Some((position, reason)) = recovered.torn {
        print(&format!("# a write at position {position} was cut off: {reason}\n"));
    }
    Ok(())
}
