//! `mainstem log repair`: gives damaged stretches of a log up, so that it takes messages again.
//!
//! 1. Partitions whose last offsets are lost get batches without records behind the hole, so that no
//!    offset is given twice and consumers pass over what is missing. Numbers of queues and producers
//!    that a lost command may have given are skipped likewise.
//! 2. Index files of damaged stretches are removed; the next start makes them anew.
//! 3. The stretches are entered in the log's file `given-up`.
//!
//! What was written is not touched. Only the last step makes the damage count as repaired; cut off
//! before it, the repair is run again and finds less to do.

use std::{io, sync::Arc, time::Duration};

use futures_lite::future::block_on;

use super::{
    ServerError,
    cli::print,
    damage::{Damage, name},
    data_dir::DataDir,
    log_tool,
    start::{Extent, ReadBack, segment_pool, settle},
};
use crate::{
    base::QueueId,
    broker::{Lift, Replay, command_meta},
    cluster::{Command, Numbers},
    config::Config,
    env::{
        Clock, Disk,
        blocking::SystemClock,
        mirror::{MirrorMemory, Pages},
    },
    storage::{
        commit_log::{
            CommitLog, FileSink, LogLimits, Pauses, ReserveError, Writer, WriterOptions,
            frame::{FRAME_HEADER, FrameKind, FrameMeta},
            given_up::GivenUp,
            recovery::{Hole, Recovered},
        },
        queue_index::LogRange,
    },
    wire::kafka::BatchBuilder,
};

/// The frames are few and small.
const LIMITS: LogLimits =
    LogLimits { block_bytes: 256 << 10, inflight_bytes: 4 << 20, payload_bytes_max: 64 << 10 };

/// The hot tail, which nobody reads, in bytes.
const TAIL_BYTES: usize = 16 << 20;

/// Nothing is waited for: the log is closed before it is written out.
const PAUSES: Pauses = Pauses { idle: Duration::ZERO, no_space: Duration::ZERO };

/// Producer ids that one lost frame may have given away.
const PRODUCER_IDS: u64 = 1000;

/// Says what is damaged in the log under `config.data_dir` and what is to be done, and, unless
/// `dry_run`, does it.
///
/// # Errors
/// What kept the log from being read or written; the repair can be run again.
pub fn repair(config: &Config, dry_run: bool) -> Result<(), ServerError> {
    let (disk, data) = log_tool::open(config)?;
    let read = ReadBack::of(config, &data, &disk, None, Extent::Whole)?;
    let ReadBack { recovered, replay, mut runs, damage, .. } = read;
    let Some(damage) = damage else {
        print("no damage is left to repair\n");
        return Ok(());
    };
    damage.lines.iter().for_each(|line| print(&format!("{line}\n")));
    plan(&damage, &replay);
    if dry_run {
        print("nothing was done\n");
        return Ok(());
    }
    let failed = |source| ServerError::DataDir { path: data.log(), source };
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let frames = frames(&damage, replay.numbers(), clock.wall_ms()).map_err(failed)?;
    let oldest = recovered.segments.first().map(|segment| segment.base);
    append(config, &data, &disk, clock, recovered, &frames).map_err(failed)?;
    for hole in &damage.holes {
        runs.drop_overlapping(LogRange::new(hole.start, hole.end));
    }
    runs.sweep()?;
    let mut given_up = GivenUp::load(&*disk, &data.log(), data.log_id).map_err(failed)?;
    given_up.forget_before(oldest.unwrap_or_default());
    damage.holes.iter().for_each(|hole| given_up.add(hole.start, hole.end));
    given_up.store(&*disk, &data.log()).map_err(failed)?;
    print("repaired: the broker can be started\n");
    Ok(())
}

fn plan(damage: &Damage, replay: &Replay) {
    for &Lift { queue, from, to } in &damage.lifts {
        let name = name(replay, queue);
        print(&format!(
            "to do: let {name} go on at offset {to}; its last message is before {from}\n"
        ));
    }
    let bytes: u64 = damage.holes.iter().map(|hole| hole.end.since(hole.start)).sum();
    let count = damage.holes.len();
    print(&format!("to do: give up {count} damaged stretches of {bytes} bytes\n"));
}

/// Payloads of what is to be appended.
fn frames(damage: &Damage, numbers: Numbers, now_ms: i64) -> io::Result<Vec<(FrameMeta, Vec<u8>)>> {
    let mut frames = Vec::new();
    let ids = producer_ids(&damage.holes);
    if ids > 0 {
        let command = Command::AllocateProducerIds { count: ids };
        frames.push((command_meta(numbers, now_ms), command.encode()));
    }
    for lift in &damage.lifts {
        let mut at = lift.from;
        while at < lift.to {
            let offsets = i32::try_from(lift.to - at).unwrap_or(i32::MAX);
            frames.push(gap(lift.queue, at, offsets, now_ms)?);
            at += i64::from(offsets);
        }
    }
    Ok(frames)
}

fn gap(
    queue: QueueId,
    base_offset: i64,
    offsets: i32,
    now_ms: i64,
) -> io::Result<(FrameMeta, Vec<u8>)> {
    let control = FrameMeta::control(FrameKind::KafkaBatch, now_ms);
    let meta = FrameMeta { queue, base_offset, count: offsets.unsigned_abs(), ..control };
    Ok((meta, BatchBuilder::without_records(base_offset, offsets)?))
}

/// How many producer ids may have been given by frames nothing is known of.
fn producer_ids(holes: &[Hole]) -> u32 {
    let unknown = holes.iter().filter(|hole| hole.frame.is_none());
    let frames = |hole: &Hole| hole.end.since(hole.start).div_ceil(FRAME_HEADER as u64);
    let ids = unknown.map(frames).sum::<u64>().saturating_mul(PRODUCER_IDS);
    u32::try_from(ids).unwrap_or(u32::MAX)
}

/// Appends frames in a segment of their own and makes them durable.
pub(super) fn append(
    config: &Config,
    data: &DataDir,
    disk: &Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    mut recovered: Recovered,
    frames: &[(FrameMeta, Vec<u8>)],
) -> io::Result<()> {
    let pool = segment_pool(config, data, disk, recovered.end);
    settle(&mut recovered, &**disk, &pool)?;
    let memory = MirrorMemory::new(TAIL_BYTES, Pages::Common)?;
    let (log, woken) = CommitLog::new(LIMITS, memory, recovered.end, 1);
    let options = WriterOptions {
        log_id: data.log_id,
        next_sequence: recovered.next_sequence,
        frames: recovered.frames,
        blocks: recovered.blocks,
        previous: recovered.previous,
        sync_interval: Duration::ZERO,
        write_bytes_max: LIMITS.inflight_bytes,
        segment_frames_max: u64::from(config.log.segment_frames),
    };
    let sink = FileSink::new(Arc::clone(disk));
    let mut writer =
        Writer::new(Arc::clone(&log), sink, Arc::new(pool), Arc::default(), clock, options);
    for (meta, payload) in frames {
        loop {
            match log.reserve(payload.len(), true) {
                Ok(mut room) => {
                    room.payload().copy_from_slice(payload);
                    room.commit(meta);
                    break;
                }
                Err(ReserveError::Busy) => drop(block_on(writer.step())?),
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
    log.close();
    block_on(writer.run(&woken, PAUSES))
}
