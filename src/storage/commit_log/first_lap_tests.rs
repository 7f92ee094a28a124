//! What is touched next, and when the thread that does so ends.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use super::*;
use crate::{
    env::mirror::{MirrorMemory, Pages},
    storage::commit_log::{
        LogLimits,
        block::BLOCK_HEADER,
        frame::{FRAME_HEADER, FrameKind, FrameMeta},
    },
};

const MIB: u64 = 1 << 20;
/// Bytes of a block, header and all; each has one frame here.
const BLOCK: u32 = 64 << 10;
const PATIENCE: Duration = Duration::from_secs(60);

fn lap(start: u64, capacity: u64) -> Lap {
    Lap::new(Position(start), capacity)
}

/// Touches all there is to touch now: where that began and ended, in MiB, and what comes then.
fn touched(lap: &mut Lap, reserved: u64) -> (Option<(u64, u64)>, Next) {
    let mut all: Option<Range<u64>> = None;
    loop {
        match lap.next(Position(reserved)) {
            Next::Touch(range) => {
                assert!(range.start % STEP == 0 && range.end - range.start <= STEP);
                let start = all.map_or(range.start, |all| {
                    assert_eq!(all.end, range.start, "one behind the other");
                    all.start
                });
                all = Some(start..range.end);
            }
            next => return (all.map(|all| (all.start / MIB, all.end / MIB)), next),
        }
    }
}

fn wait(mark: u64) -> Next {
    Next::Wait { mark: mark * MIB }
}

#[test]
fn an_empty_log_has_little_touched() {
    assert_eq!(touched(&mut lap(0, 512 * MIB), 0), (Some((0, 2)), wait(0)));
}

#[test]
fn as_much_is_touched_ahead_as_was_written_within_limits() {
    let mut lap = lap(0, 512 * MIB);
    assert_eq!(touched(&mut lap, 0), (Some((0, 2)), wait(0)));
    assert_eq!(touched(&mut lap, 1), (Some((2, 4)), wait(2)));
    assert_eq!(touched(&mut lap, 2 * MIB), (None, wait(2)), "the mark has not been passed");
    assert_eq!(touched(&mut lap, 10 * MIB), (Some((10, 20)), wait(10)), "not what was overtaken");
    assert_eq!(touched(&mut lap, 10 * MIB + 1), (Some((20, 22)), wait(11)));
    assert_eq!(touched(&mut lap, 40 * MIB), (Some((40, 80)), wait(40)));
    assert_eq!(touched(&mut lap, 79 * MIB), (Some((80, 144)), wait(80)));
    assert_eq!(touched(&mut lap, 301 * MIB), (Some((302, 366)), wait(302)));
}

#[test]
fn the_lap_ends_where_it_began() {
    let mut lap = lap(0, 32 * MIB);
    assert_eq!(touched(&mut lap, 10 * MIB), (Some((10, 20)), wait(10)));
    assert_eq!(touched(&mut lap, 17 * MIB), (Some((20, 32)), Next::Done));
    assert_eq!(touched(&mut lap, 170 * MIB), (None, Next::Done));
}

#[test]
fn a_log_that_goes_on_begins_in_the_middle_of_the_ring() {
    // From ring byte 12 MiB to the end, and on from 0.
    let mut lap = lap(107 * MIB, 16 * MIB);
    assert_eq!(touched(&mut lap, 107 * MIB), (Some((108, 110)), wait(108)));
    assert_eq!(touched(&mut lap, 110 * MIB), (Some((110, 112)), wait(110)));
    assert_eq!(touched(&mut lap, 113 * MIB), (Some((114, 118)), wait(113)));
    assert_eq!(touched(&mut lap, 121 * MIB), (Some((122, 124)), Next::Done));
}

#[test]
fn a_log_that_goes_round_by_itself_needs_nobody() {
    let mut lap = lap(6 * MIB, 16 * MIB);
    assert_eq!(touched(&mut lap, 6 * MIB), (Some((6, 8)), wait(6)));
    assert_eq!(touched(&mut lap, 500 * MIB), (None, Next::Done));
}

#[test]
fn a_ring_smaller_than_a_step_is_touched_at_once() {
    assert_eq!(lap(0, MIB).next(Position(0)), Next::Touch(0..MIB));
    assert_eq!(touched(&mut lap(0, MIB), 0), (Some((0, 1)), Next::Done));
}

fn log(start: u64) -> Arc<CommitLog> {
    let memory = MirrorMemory::new(16 << 20, Pages::Common).unwrap();
    let limits =
        LogLimits { block_bytes: BLOCK, inflight_bytes: 8 << 20, payload_bytes_max: BLOCK };
    CommitLog::new(limits, memory, Position(start), 1).0
}

/// Runs a log's first lap on a thread, which tells how it ended.
fn started(log: &Arc<CommitLog>) -> mpsc::Receiver<io::Result<()>> {
    let (ended, end) = mpsc::channel();
    let lap = log.first_lap();
    thread::spawn(move || ended.send(lap.run()));
    end
}

/// Appends full blocks up to `end`, each of a byte of its own, and finds in them what was put there.
fn fill(log: &CommitLog, end: u64) {
    let meta = FrameMeta::control(FrameKind::Group, 0);
    let mut byte = 0u8;
    while log.reserved().0 < end {
        byte = byte.wrapping_add(1);
        let mut room = log.reserve(BLOCK as usize - BLOCK_HEADER - FRAME_HEADER, false).unwrap();
        room.payload().fill(byte);
        assert!(room.payload().iter().all(|found| *found == byte));
        room.commit(&meta);
        log.take_blocks(u64::MAX, &mut Vec::new());
        log.set_durable(log.reserved());
    }
}

/// Waits until the thread waits for the log to pass `mark`.
fn waits_for(log: &CommitLog, mark: u64) {
    let deadline = Instant::now() + PATIENCE;
    while log.mark().at.load(Ordering::Relaxed) != mark {
        assert!(Instant::now() < deadline, "in vain for {mark}");
        thread::yield_now();
    }
}

#[test]
fn the_thread_keeps_ahead_and_ends_with_the_lap() {
    let log = log(0);
    let end = started(&log);
    for mark in [0, 2, 3, 4, 5, 6, 7] {
        waits_for(&log, mark * MIB);
        assert!(end.try_recv().is_err(), "there is more to touch");
        fill(&log, mark * MIB);
        assert_eq!(log.mark().at.load(Ordering::Relaxed), mark * MIB, "it is not passed");
        fill(&log, mark * MIB + 1);
    }
    end.recv_timeout(PATIENCE).expect("it ends").unwrap();
    // Nobody is woken any more.
    assert_eq!(log.mark().at.load(Ordering::Relaxed), NOWHERE);
    fill(&log, 40 * MIB);
}

#[test]
fn a_log_without_the_thread_wakes_nobody() {
    let log = log(3 * MIB);
    fill(&log, 40 * MIB);
    assert!(log.mark().woken.is_empty());
}

#[test]
fn the_thread_ends_with_the_log() {
    let ends: [fn(&CommitLog); 2] = [CommitLog::close, |log| log.stop("for a test".to_owned())];
    for end_log in ends {
        let log = log(0);
        let end = started(&log);
        waits_for(&log, 0);
        end_log(&log);
        end.recv_timeout(PATIENCE).expect("it ends").unwrap();
        // Also if that comes first.
        started(&log).recv_timeout(PATIENCE).expect("it ends").unwrap();
    }
}
