//! Real threads: the ring wraps while it is read, and nobody sleeps through a wake-up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_lite::future::block_on;
use mainstem::{
    base::Position,
    env::{
        Disk,
        blocking::SystemClock,
        mirror::{MirrorMemory, Pages},
        simulated::{SimulatedClock, SimulatedDisk},
    },
    storage::commit_log::{
        CommitLog, FileSink, LogLimits, Pauses, ReserveError, Writer, WriterOptions,
        frame::{FrameKind, FrameMeta},
        segment::{NoPace, PoolLimits, SegmentPool, Segments},
    },
};

use crate::{
    dice::Dice,
    world::{LOG_ID, log_dir},
};

const READERS: usize = 2;
/// Nothing waits so long unless it was forgotten.
const FORGOTTEN: Duration = Duration::from_secs(20);

/// A log's writers, each on a thread of its own, which sleep until they are woken.
struct Writers(Vec<thread::JoinHandle<std::io::Result<()>>>);

impl Writers {
    fn join(self) {
        self.0.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    }
}

/// A log with a small ring.
fn start(tail_bytes: u64) -> (Arc<CommitLog>, Writers) {
    let disk: Arc<dyn Disk> = Arc::new(SimulatedDisk::default());
    disk.create_dir(&log_dir()).unwrap();
    let limits = LogLimits {
        block_bytes: 16 << 10,
        inflight_bytes: tail_bytes / 2,
        payload_bytes_max: 32 << 10,
    };
    let memory = MirrorMemory::new(tail_bytes as usize, Pages::Common).unwrap();
    let (log, woken) = CommitLog::new(limits, memory, Position(0), READERS);
    let files = PoolLimits {
        segment_bytes: 1 << 20,
        ready_target: 1,
        slack_bytes: 32 << 10,
        reserve_bytes: 0,
    };
    let pool = Arc::new(SegmentPool::new(Arc::clone(&disk), &log_dir(), files, Position(0)));
    pool.prepare(1 << 20, 0, &NoPace(&SimulatedClock::new(0))).unwrap();
    let options = WriterOptions {
        log_id: LOG_ID,
        next_sequence: 1,
        frames: 0,
        blocks: 0,
        previous: 0,
        sync_interval: Duration::ZERO,
        write_bytes_max: 64 << 10,
        segment_frames_max: u64::MAX,
    };
    let writer = Writer::new(
        Arc::clone(&log),
        FileSink::new(Arc::clone(&disk)),
        pool,
        Arc::<Segments>::default(),
        Arc::new(SystemClock::default()),
        options,
    );
    // So long that only a wake-up ends the writer's sleep.
    let pauses = Pauses { idle: FORGOTTEN * 60, no_space: FORGOTTEN * 60 };
    let beside = writer.beside(FileSink::new(disk));
    let threads = [writer, beside].map(|mut writer| {
        let woken = woken.clone();
        thread::spawn(move || block_on(writer.run(&woken, pauses)))
    });
    (log, Writers(threads.into()))
}

/// What the payload of this name consists of.
fn pattern(name: u64) -> [u8; 8] {
    Dice::new(name).roll().to_le_bytes()
}

fn is_pattern(bytes: &[u8], name: u64) -> bool {
    bytes.chunks(8).all(|chunk| *chunk == pattern(name)[..chunk.len()])
}

/// Appends one frame, waiting for room as long as it takes.
fn append(log: &CommitLog, name: u64, bytes: usize) -> Position {
    let began = Instant::now();
    loop {
        match log.reserve(bytes, false) {
            Ok(mut reservation) => {
                reservation.payload().chunks_mut(8).for_each(|chunk| {
                    chunk.copy_from_slice(&pattern(name)[..chunk.len()]);
                });
                let appended = reservation.commit(&FrameMeta::control(FrameKind::Group, 0));
                log.wake_writer();
                return appended.payload;
            }
            Err(ReserveError::Busy) => {
                assert!(began.elapsed() < FORGOTTEN, "the writer sleeps");
                thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn slices_never_show_overwritten_bytes() {
    const TAIL: u64 = 256 << 10;
    let (log, writers) = start(TAIL);
    let (told, heard) = flume::bounded::<(Position, u64, usize)>(64);
    let (read, missed) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for number in 0..2 {
            let (log, told) = (&log, told.clone());
            scope.spawn(move || {
                let mut dice = Dice::new(number);
                // A dozen times around the ring.
                for _ in 0..700 {
                    let bytes = 8 + dice.below(4 << 10) as usize;
                    let name = dice.roll();
                    let at = append(log, name, bytes);
                    told.send((at, name, bytes)).unwrap();
                }
            });
        }
        drop(told);
        for slot in 0..READERS {
            let (heard, tail, read, missed) = (heard.clone(), log.reader(slot), &read, &missed);
            scope.spawn(move || {
                let mut dice = Dice::new(slot as u64);
                let mut seen = Vec::new();
                for frame in heard {
                    seen.push(frame);
                    // This one, and one that is about to be overwritten.
                    let old = seen[seen.len() - 1 - dice.below(seen.len().min(70) as u64) as usize];
                    for (at, name, bytes) in [frame, old] {
                        let right = tail.with(at, |view| {
                            let slice = view.slice(at, bytes);
                            let first = is_pattern(slice, name);
                            thread::yield_now();
                            first && is_pattern(slice, name)
                        });
                        assert_ne!(right, Some(false), "other bytes at {at}");
                        let count = if right.is_some() { read } else { missed };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // Without readers the appending threads end too.
        drop(heard);
    });
    log.close();
    writers.join();
    assert!(log.durable().0 > 8 * TAIL, "the ring went around");
    assert!(read.into_inner() > 1000);
    assert!(missed.into_inner() > 0, "nothing was ever read too late");
    assert_eq!(log.durable(), log.reserved(), "a closed log is written out");
}

#[test]
fn no_wake_up_is_lost() {
    let (log, writers) = start(256 << 10);
    let signals = log.connect_shards(1);
    let (signal, durable) = &signals[0];
    let mut dice = Dice::new(1);
    for number in 0..5000 {
        // At any moment of the writer's way to sleep.
        (0..dice.below(400)).for_each(|_| std::hint::spin_loop());
        let reservation = log.reserve(16, false).unwrap();
        let end = reservation.commit(&FrameMeta::control(FrameKind::Group, number)).end;
        log.wake_writer();
        loop {
            signal.arm();
            if log.durable() >= end {
                break;
            }
            durable.recv_timeout(FORGOTTEN).expect("a wake-up was lost");
        }
    }
    log.close();
    writers.join();
}
