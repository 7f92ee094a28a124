//! From what is on disk to what the shards begin with.

use std::{
    fmt::Display,
    io::{self, BufRead as _, Read as _},
    net::SocketAddr,
    sync::Arc,
};

use serde::de::DeserializeOwned;

use super::{
    ServerError,
    data_dir::DataDir,
    housekeeper::{CLUSTER, GROUPS, QUEUES},
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
            recovery::{FoundFrame, Recovered, RecoveryError, oldest_position, recover},
            segment::{NoPace, SegmentPool, Segments},
        },
        queue_index::{IndexEntry, LogRange, RunStore},
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
    /// Checkpoints.
    pub checkpoints: CheckpointStore,
    /// One part for each shard.
    pub shards: Vec<ShardState>,
}

/// Reads everything back.
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
    let bad_checkpoint = |error: &dyn Display| ServerError::Checkpoint(error.to_string());
    let (checkpoints, loaded) = CheckpointStore::load_latest(Arc::clone(disk), &data.checkpoints())
        .map_err(|error| bad_checkpoint(&error))?;
    for damaged in &loaded.damaged {
        tracing::warn!(%damaged, "a checkpoint is damaged; an older one is used");
    }
    let (mut runs, report) = RunStore::open(Arc::clone(disk), &data.index())?;
    for damaged in &report.damaged {
        tracing::warn!(error = %damaged.error, "an index file is damaged; it is rebuilt");
    }
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let (host, port) = config.kafka.advertised.of(kafka.unwrap_or(nowhere));
    let setup = Setup::of(config, (&host, port));
    let (mut replay, checked) = match &loaded.latest {
        Some(checkpoint) => {
            let replay =
                read_checkpoint(checkpoint, setup).map_err(|error| bad_checkpoint(&error))?;
            (replay, checkpoint.header().replay_from)
        }
        None => (Replay::new(ClusterState::new(setup), [], Vec::new()), Position(0)),
    };
    // Replay also fills what index files lack.
    let oldest = oldest_position(&**disk, &data.log(), data.log_id)?;
    if loaded.latest.is_none() && oldest > Position(0) {
        // Without a checkpoint the state is what the whole log says.
        return Err(RecoveryError::Gap { from: Position(0), to: oldest }.into());
    }
    // Index files of dropped segments are of no use; a power cut may have brought some back.
    runs.drop_below(oldest);
    let lacking = report.gaps.iter().copied().chain(report.damaged.iter().map(|run| run.covers));
    let holes: Vec<LogRange> = lacking
        .filter(|hole| hole.end > oldest)
        .map(|hole| LogRange::new(hole.start.max(oldest), hole.end))
        .collect();
    let indexed = runs.covers().map_or(oldest, |covers| covers.end.max(oldest));
    let from = holes.iter().map(|hole| hole.start).fold(checked.min(indexed), Position::min);
    let mut rebuilt: Vec<Vec<(QueueId, IndexEntry)>> = vec![Vec::new(); holes.len()];
    let mut visit = |frame: FoundFrame<'_>| {
        let at = frame.payload_at;
        let hole = holes.iter().position(|hole| hole.start <= at && at < hole.end);
        if let (Some(entry), Some(hole)) = (replay.frame(&frame)?, hole) {
            rebuilt[hole].push(entry);
        }
        Ok(())
    };
    let (dir, durable) = (data.log(), checked.max(indexed));
    let mut recovered = recover(&**disk, &dir, data.log_id, Some(from), durable, &mut visit)?;
    if !recovered.holes.is_empty() {
        return Err(ServerError::Damaged(recovered.holes));
    }
    if let Some((position, reason)) = &recovered.torn {
        tracing::warn!(%position, reason, "the last write before the crash was cut off; nothing of it was acknowledged");
    }
    for (hole, entries) in holes.into_iter().zip(rebuilt) {
        runs.rebuild(hole, entries)?;
    }
    let pool = prepare_segments(config, data, disk, clock, &mut recovered)
        .map_err(|source| ServerError::DataDir { path: data.log(), source })?;
    let segments = Arc::<Segments>::default();
    recovered.segments.drain(..).for_each(|segment| segments.push(segment));
    let shards = replay.divide(shards);
    Ok(Restored { recovered, segments, pool: Arc::new(pool), runs, checkpoints, shards })
}

/// Cuts off what is dead, takes unused files in, and sees to it that one segment is ready.
fn prepare_segments(
    config: &Config,
    data: &DataDir,
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    recovered: &mut Recovered,
) -> io::Result<SegmentPool> {
    let log = &config.log;
    let spare = (log.ready_segments as usize).saturating_sub(1);
    let pool = SegmentPool::new(Arc::clone(disk), &data.log(), log.segment_bytes, spare);
    recovered.settle(&**disk)?;
    for path in recovered.unused.drain(..) {
        pool.adopt(&path)?;
    }
    if pool.is_empty() {
        // The only zero-filling a start waits for.
        pool.prepare(log.first_segment_bytes, 0, &NoPace(clock))?;
    }
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
    let queues: Vec<QueueSnapshot> = read_records(section(QUEUES)?)?;
    let groups: Vec<GroupRecord> = read_records(section(GROUPS)?)?;
    Ok(Replay::new(cluster, queues, groups))
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
