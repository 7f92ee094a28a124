//! From what is on disk to what the shards begin with.

use std::{
    fmt::Display,
    io::{self, BufRead as _, Read as _},
    net::SocketAddr,
    sync::Arc,
};

use hashbrown::HashMap;
use serde::de::DeserializeOwned;

use super::{
    ServerError,
    damage::Damage,
    data_dir::DataDir,
    known_state::{CLUSTER, GROUPS, QUEUES, TIMERS, UNCOUNTED},
    reindex::{entries_of, parts_of},
};
use crate::{
    base::{Position, QueueId},
    broker::{QueueSnapshot, Replay, ShardState, group::GroupRecord},
    cluster::{ClusterState, Setup},
    config::Config,
    env::{Clock, Disk},
    storage::{
        checkpoint::{Checkpoint, CheckpointStore, SectionReader},
        commit_log::{
            recovery::{FoundFrame, Recovered, oldest_position, recover},
            segment::{NoPace, PoolLimits, SegmentPool, Segments},
        },
        key_index::KeyStore,
        queue_index::{LogRange, RunStore},
    },
};

/// A log and its state, ready to go on.
pub struct Restored {
    /// Where the log goes on.
    pub recovered: Recovered,
    /// The segments there are.
    pub segments: Arc<Segments>,
    /// Fresh ones.
    pub pool: Arc<SegmentPool>,
    /// Index files.
    pub runs: RunStore,
    /// Key files.
    pub keys: KeyStore,
    /// Checkpoints.
    pub checkpoints: CheckpointStore,
    /// One part for each shard.
    pub shards: Vec<ShardState>,
    /// Why nothing may be written.
    pub damage: Option<Damage>,
}

/// Reads everything back. A damaged log stays as it is, and what is left of it can be read.
///
/// # Errors
/// What makes the data unusable.
pub fn restore(
    config: &Config,
    data: &DataDir,
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    kafka: Option<SocketAddr>,
    shards: usize,
) -> Result<Restored, ServerError> {
    let mut read = ReadBack::of(config, data, disk, kafka, Extent::Checkpoint)?;
    if read.damage.is_none() && !read.fill_index(&**disk, data.log_id)? {
        read = ReadBack::of(config, data, disk, kafka, Extent::Unindexed)?;
    }
    let ReadBack { mut recovered, mut replay, runs, checkpoints, damage, .. } = read;
    if let Some((position, reason)) = &recovered.torn {
        tracing::warn!(%position, reason, "the last write before the crash was cut off; unless the disk lost what it had, nothing of it was acknowledged");
    }
    let pool = match &damage {
        None => prepare_segments(config, data, disk, clock, &mut recovered)
            .map_err(|source| ServerError::DataDir { path: data.log(), source })?,
        Some(damage) => {
            replay.lose(&damage.lost);
            segment_pool(config, data, disk, recovered.end)
        }
    };
    let segments = Arc::<Segments>::default();
    let looked = disk.volume(&data.log());
    segments
        .set_volume(looked.map_err(|source| ServerError::DataDir { path: data.log(), source })?);
    recovered.segments.drain(..).for_each(|segment| segments.push(segment));
    let shards = replay.divide(shards);
    let keys = KeyStore::open(Arc::clone(disk), &data.index())?;
    let pool = Arc::new(pool);
    Ok(Restored { recovered, segments, pool, runs, keys, checkpoints, shards, damage })
}

/// How much of the log is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// What the checkpoint lacks.
    Checkpoint,
    /// What the checkpoint lacks, and all behind the first stretch without an index file, whose entries
    /// are then in memory: files of a damaged log would not tell of what is lost, and a full disk has no
    /// room for any.
    Unindexed,
    /// All of it.
    Whole,
}

/// Everything as it was found; nothing was changed.
pub struct ReadBack {
    /// The log.
    pub recovered: Recovered,
    /// The state.
    pub replay: Replay,
    /// Index files.
    pub runs: RunStore,
    /// Checkpoints.
    pub checkpoints: CheckpointStore,
    /// Stretches that should have index files and have none.
    lacking: Vec<LogRange>,
    /// What is damaged.
    pub damage: Option<Damage>,
}

impl ReadBack {
    /// Reads checkpoint, index files and log.
    ///
    /// # Errors
    /// What makes the data unusable.
    pub fn of(
        config: &Config,
        data: &DataDir,
        disk: &Arc<dyn Disk>,
        kafka: Option<SocketAddr>,
        extent: Extent,
    ) -> Result<Self, ServerError> {
        let bad_checkpoint = |error: &dyn Display| ServerError::Checkpoint(error.to_string());
        let (checkpoints, loaded) =
            CheckpointStore::load_latest(Arc::clone(disk), &data.checkpoints())
                .map_err(|error| bad_checkpoint(&error))?;
        for damaged in &loaded.damaged {
            tracing::warn!(%damaged, "a checkpoint is damaged; it is left out");
        }
        let (mut runs, report) = RunStore::open(Arc::clone(disk), &data.index())?;
        for damaged in &report.damaged {
            tracing::warn!(error = %damaged.error, "an index file is damaged; it is rebuilt");
        }
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (host, port) = config.kafka.advertised.of(kafka.unwrap_or(nowhere));
        let setup = Setup::of(config, (&host, port));
        let oldest = oldest_position(&**disk, &data.log(), data.log_id)?;
        let (mut replay, checked) = match &loaded.latest {
            Some(checkpoint) => {
                let replay =
                    read_checkpoint(checkpoint, setup).map_err(|error| bad_checkpoint(&error))?;
                (replay, checkpoint.header().replay_from)
            }
            // Without one the state is what the whole log says.
            None if oldest > Position(0) => {
                return Err(ServerError::StateLost { oldest, damaged: loaded.damaged });
            }
            None => {
                if !loaded.damaged.is_empty() {
                    tracing::warn!(
                        "no checkpoint can be used; the state is rebuilt from the whole log"
                    );
                }
                let (start, cluster) = (Position(0), ClusterState::new(setup));
                (Replay::new(start, cluster, [], Vec::new(), Vec::new()), start)
            }
        };
        // Index files of dropped segments are of no use; a power cut may have brought some back.
        runs.drop_below(oldest);
        let ends = report.damaged.iter().map(|run| run.covers.end);
        let ends = ends.chain(runs.covers().map(|covers| covers.end));
        // A checkpoint is written once all in front of it is indexed.
        let indexed = ends.fold(oldest.max(checked), Position::max);
        let lacking = runs.lacking(LogRange::new(oldest, indexed));
        let known = lacking.first().map_or(indexed, |first| first.start);
        let (from, kept) = match extent {
            Extent::Checkpoint => (checked, indexed),
            Extent::Unindexed => (checked.min(known), known),
            Extent::Whole => (oldest.min(checked), indexed),
        };
        runs.leave_from(kept);
        replay.keep_entries_from(kept);
        let (dir, log_id) = (data.log(), data.log_id);
        let mut visit = |frame: FoundFrame<'_>| replay.frame(&frame);
        let recovered = recover(&**disk, &dir, log_id, Some(from), indexed, &mut visit)?;
        let is_damaged = !recovered.holes.is_empty();
        if is_damaged && !lacking.is_empty() && extent == Extent::Checkpoint {
            return Self::of(config, data, disk, kafka, Extent::Unindexed);
        }
        let front = LogRange::new(oldest, kept);
        let damage = Damage::assess(&recovered, &replay, disk, log_id, &runs, front)?;
        Ok(Self { recovered, replay, runs, checkpoints, lacking, damage })
    }

    /// Makes the index files that are missing, one for each segment: so no more than a segment's
    /// entries are in memory. False if the log is damaged there, or there is no disk space for them.
    ///
    /// # Errors
    /// What the disk says; the next start goes on with what is left.
    fn fill_index(&mut self, disk: &dyn Disk, log_id: u64) -> Result<bool, ServerError> {
        let cluster = self.replay.cluster();
        let keep = |queue| cluster.queue(queue).is_some();
        for &stretch in &self.lacking {
            for (segment, covers) in parts_of(&self.recovered.segments, stretch) {
                let entries = entries_of(disk, log_id, segment, covers, keep);
                match entries.and_then(|entries| Ok(self.runs.rebuild(covers, entries)?)) {
                    Ok(_) => {}
                    Err(ServerError::Damaged(_)) => return Ok(false),
                    Err(error) if error.is_no_space() => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(true)
    }
}

/// An empty pool for the log's next segments, which goes on at `end`.
pub(super) fn segment_pool(
    config: &Config,
    data: &DataDir,
    disk: &Arc<dyn Disk>,
    end: Position,
) -> SegmentPool {
    let log = &config.log;
    let limits = PoolLimits {
        segment_bytes: log.segment_bytes,
        ready_target: (log.ready_segments as usize).saturating_sub(1),
        // A block that does not fit any more is at most so large.
        slack_bytes: log.block_bytes * 2,
        reserve_bytes: log.reserve_bytes,
    };
    SegmentPool::new(Arc::clone(disk), &data.log(), limits, end)
}

/// Cuts off what is dead, and takes unused files in: behind what is written later they would pass for
/// lost parts of the log one day.
pub(super) fn settle(
    recovered: &mut Recovered,
    disk: &dyn Disk,
    pool: &SegmentPool,
) -> io::Result<()> {
    recovered.settle(disk)?;
    recovered.unused.drain(..).try_for_each(|path| pool.adopt(&path))
}

/// Settles the log, and sees to it that one segment is ready.
fn prepare_segments(
    config: &Config,
    data: &DataDir,
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    recovered: &mut Recovered,
) -> io::Result<SegmentPool> {
    let pool = segment_pool(config, data, disk, recovered.end);
    settle(recovered, &**disk, &pool)?;
    if pool.is_empty() {
        // The only zero-filling a start waits for.
        match pool.prepare(config.log.first_segment_bytes, 0, &NoPace(clock)) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
            result => result?,
        }
    }
    pool.look_for_space()?;
    Ok(pool)
}

fn read_checkpoint(checkpoint: &Checkpoint, setup: Setup) -> io::Result<Replay> {
    let section = |name: &str| {
        let missing = || io::Error::other(format!("section {name} is missing"));
        checkpoint.section(name).ok_or_else(missing)
    };
    let mut cluster = Vec::new();
    section(CLUSTER)?.read_to_end(&mut cluster)?;
    let cluster = ClusterState::restore(setup, &cluster).map_err(io::Error::other)?;
    let mut queues: Vec<QueueSnapshot> = read_records(section(QUEUES)?)?;
    let groups: Vec<GroupRecord> = read_records(section(GROUPS)?)?;
    // Checkpoints of earlier versions tell of no timers, and of nothing uncounted.
    let timers = checkpoint.section(TIMERS).map_or_else(|| Ok(Vec::new()), read_records)?;
    let uncounted = checkpoint.section(UNCOUNTED).map_or_else(|| Ok(Vec::new()), read_records)?;
    let uncounted: HashMap<QueueId, i64> = uncounted.into_iter().collect();
    for queue in &mut queues {
        queue.counted_from = uncounted.get(&queue.id).copied().unwrap_or(queue.log_start);
    }
    Ok(Replay::new(checkpoint.header().replay_from, cluster, queues, groups, timers))
}

fn read_records<T: DeserializeOwned>(mut section: SectionReader) -> io::Result<Vec<T>> {
    let mut records = Vec::new();
    let mut bytes = Vec::new();
    while !section.fill_buf()?.is_empty() {
        let mut length = [0; 4];
        section.read_exact(&mut length)?;
        bytes.resize(u32::from_le_bytes(length) as usize, 0);
        section.read_exact(&mut bytes)?;
        records.push(postcard::from_bytes(&bytes).map_err(io::Error::other)?);
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod unreadable_tests;
