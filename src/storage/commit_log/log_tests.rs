//! What may be reserved, and what a block takes in.

use std::pin::pin;

use futures_lite::future::{block_on, poll_once};

use super::*;
use crate::{
    env::mirror::Pages,
    storage::commit_log::frame::{FRAME_HEADER, Frame, FrameKind, FrameMeta},
};

const LIMITS: LogLimits =
    LogLimits { block_bytes: 16 << 10, inflight_bytes: 64 << 10, payload_bytes_max: 100 << 10 };
const META: FrameMeta = FrameMeta {
    kind: FrameKind::Group,
    queue: crate::base::QueueId(0),
    base_offset: 0,
    count: 0,
    tag_hash: 0,
    append_time_ms: 0,
};

fn log() -> Arc<CommitLog> {
    let memory = MirrorMemory::new(256 << 10, Pages::Common).unwrap();
    CommitLog::new(LIMITS, memory, Position(0), 1).0
}

/// The blocks taken: where they start, what they use and how many frames they have.
fn taken(log: &CommitLog, bytes_max: u64) -> Vec<(u64, u32, u32)> {
    let mut taken = Vec::new();
    log.take_blocks(bytes_max, &mut taken);
    taken.iter().map(|block| (block.start.0, block.used, block.frames)).collect()
}

/// What fills a block to its last byte together with its header.
fn filling(block_bytes: u32) -> usize {
    block_bytes as usize - BLOCK_HEADER - FRAME_HEADER
}

#[test]
fn a_block_closes_when_the_next_frame_does_not_fit() {
    let log = log();
    let frame = |bytes| log.reserve(bytes, false).unwrap().commit(&META);
    assert_eq!(frame(filling(LIMITS.block_bytes)).end, Position(16 << 10), "full to the last byte");
    assert_eq!(frame(0).payload, Position((16 << 10) + 96 + 40));
    // Alone, although larger than a block may be.
    let large = frame(20 << 10);
    assert_eq!(large.payload, Position((20 << 10) + 96 + 40));
    assert_eq!(frame(1).payload, Position((20 << 10) + (24 << 10) + 96 + 40));
    assert_eq!(log.reserved(), Position(48 << 10));
    let blocks = taken(&log, u64::MAX);
    let starts: Vec<_> = blocks.iter().map(|block| block.0 >> 10).collect();
    assert_eq!(starts, [0, 16, 20, 44]);
    assert!(blocks.iter().all(|block| block.2 == 1));
    assert!(!log.has_work() && taken(&log, u64::MAX).is_empty());
}

#[test]
fn blocks_are_taken_up_to_a_limit_but_at_least_one() {
    let log = log();
    for _ in 0..3 {
        drop(log.reserve(filling(LIMITS.block_bytes), false).unwrap());
    }
    assert_eq!(taken(&log, 1).len(), 1);
    assert_eq!(taken(&log, 32 << 10).len(), 2);
}

#[test]
fn frames_reserved_together_are_in_one_block() {
    let log = log();
    drop(log.reserve(filling(12 << 10), false).unwrap());
    let payloads = [2_000, 0, 3_000];
    let rooms = log.reserve_together(&payloads, None).unwrap();
    let mut at = Position((12 << 10) + BLOCK_HEADER as u64);
    for (room, bytes) in rooms.into_iter().zip(payloads) {
        let appended = room.commit(&META);
        assert_eq!(appended.payload, at.plus(FRAME_HEADER as u64));
        at = at.plus(frame_span(bytes) as u64);
        assert_eq!(appended.end, at);
    }
    // One that was reserved alone may join them.
    drop(log.reserve(0, false).unwrap());
    let frames: Vec<_> = taken(&log, u64::MAX).iter().map(|block| (block.0, block.2)).collect();
    assert_eq!(frames, [(0, 1), (12 << 10, 4)]);
    let refused = |payloads: &[usize]| log.reserve_together(payloads, None).err();
    assert_eq!(refused(&[60 << 10, 60 << 10]), Some(ReserveError::TooLong));
    assert_eq!(log.reserved(), Position(20 << 10));
}

#[test]
fn a_reservation_given_up_leaves_a_frame_to_be_skipped() {
    let log = log();
    drop(log.reserve(100, false).unwrap());
    let mut blocks = Vec::new();
    log.take_blocks(1, &mut blocks);
    blocks[0].wait_filled();
    // SAFETY: nobody else has this log, and the frame was sealed when it was given up.
    let bytes = unsafe { std::slice::from_raw_parts(log.tail.at(Position(96)), frame_span(100)) };
    let frame = Frame::parse(bytes).unwrap();
    assert_eq!((frame.meta.kind, frame.payload.len()), (FrameKind::Void, 100));
}

#[test]
fn what_waits_for_the_disk_is_limited() {
    let log = log();
    let full = || log.reserve(filling(LIMITS.block_bytes), false).map(drop);
    for _ in 0..4 {
        full().unwrap();
    }
    assert_eq!(full(), Err(ReserveError::Busy));
    // A control frame need not wait for messages, but for others of its kind.
    log.reserve(filling(LIMITS.block_bytes), true).map(drop).unwrap();
    assert_eq!(log.reserve(0, true).map(drop), Err(ReserveError::Busy));
    log.set_durable(Position(4096 * 8));
    full().unwrap();
    assert_eq!(full(), Err(ReserveError::Busy));
}

#[test]
fn room_is_for_who_waits_longest() {
    let log = log();
    let small = || log.reserve(1, false).map(drop);
    let block = filling(LIMITS.block_bytes);
    (0..4).for_each(|_| drop(log.reserve(block, false).unwrap()));
    let large = 3 * block;
    let mut first = pin!(log.line_up(large));
    let first = block_on(poll_once(&mut first)).expect("nobody else waits");
    let mut second = pin!(log.line_up(block));
    let mut third = pin!(log.line_up(1));
    assert!(block_on(poll_once(&mut second)).is_none());
    assert!(block_on(poll_once(&mut third)).is_none());
    // Room comes free, less than the first wants: others do not get it.
    taken(&log, u64::MAX);
    log.set_durable(Position(32 << 10));
    assert_eq!(small(), Err(ReserveError::Busy));
    assert_eq!(log.reserve_in_turn(large, &first).map(drop), Err(ReserveError::Busy));
    log.set_durable(Position(48 << 10));
    assert_eq!(small(), Err(ReserveError::Busy));
    drop(log.reserve_in_turn(large, &first).unwrap());
    drop(first);
    assert!(block_on(poll_once(&mut third)).is_none(), "it is the second's turn");
    let second = block_on(poll_once(&mut second)).expect("its turn");
    log.set_durable(Position(64 << 10));
    assert_eq!(small(), Err(ReserveError::Busy));
    drop(log.reserve_in_turn(block, &second).unwrap());
    drop(second);
    log.set_durable(Position(68 << 10));
    assert_eq!(small(), Err(ReserveError::Busy), "the last of the room is the third's");
    let third = block_on(poll_once(&mut third)).expect("its turn");
    drop(log.reserve_in_turn(1, &third).unwrap());
    drop(third);
    log.set_durable(log.reserved());
    small().unwrap();
}

#[test]
fn who_gives_up_waiting_keeps_nobody_out() {
    let log = log();
    let first = block_on(log.line_up(1));
    {
        let mut given_up = Box::pin(log.line_up(LIMITS.inflight_bytes as usize));
        assert!(block_on(poll_once(&mut given_up)).is_none());
        assert_eq!(log.reserve(1, false).map(drop), Err(ReserveError::Busy), "not even alone");
    }
    log.reserve(1, false).map(drop).unwrap();
    drop(first);
}

#[test]
fn a_frame_larger_than_the_allowance_is_let_in_alone() {
    let log = log();
    let largest = LIMITS.payload_bytes_max as usize;
    assert_eq!(log.reserve(largest + 1, false).map(drop), Err(ReserveError::TooLong));
    drop(log.reserve(1, false).unwrap());
    assert_eq!(log.reserve(largest, false).map(drop), Err(ReserveError::Busy));
    let end = log.reserved();
    taken(&log, u64::MAX);
    log.set_durable(end);
    drop(log.reserve(largest, false).unwrap());
    assert_eq!(log.reserve(1, true).map(drop), Err(ReserveError::Busy));
}

/// Messages may end at `data`, control frames at `control`, large frames at `large`.
fn space(data: u64, control: u64, large: u64) -> Space {
    Space { data, control, large }
}

#[test]
fn a_full_disk_refuses_messages_before_control_frames() {
    let log = log();
    log.set_space(space(8 << 10, 16 << 10, 16 << 10));
    assert!(log.disk_full());
    let half = filling(8 << 10);
    log.reserve(half, false).map(drop).unwrap();
    assert_eq!(log.reserve(0, false).map(drop), Err(ReserveError::DiskFull));
    log.reserve(half - 96, true).map(drop).unwrap();
    assert_eq!(log.reserve(200, true).map(drop), Err(ReserveError::DiskFull));
    log.set_space(space(u64::MAX, u64::MAX, u64::MAX));
    assert!(!log.disk_full());
    log.reserve(200, false).map(drop).unwrap();
}

#[test]
fn a_frame_larger_than_a_block_must_fit_the_segment_in_use() {
    let log = log();
    let end = 40 << 10;
    log.set_space(space(60 << 10, 60 << 10, end));
    let block = filling(LIMITS.block_bytes);
    for control in [true, false] {
        let large = log.reserve(filling(end as u32) + 1, control);
        assert_eq!(large.map(drop), Err(ReserveError::DiskFull));
    }
    drop(log.reserve(20 << 10, false).unwrap());
    assert_eq!(log.reserve(block + 1, false).map(drop), Err(ReserveError::DiskFull));
    drop(log.reserve(block, false).unwrap());
    drop(log.reserve(block, false).unwrap());
}

#[test]
fn a_stopped_log_takes_nothing_and_says_why_it_stopped_first() {
    let log = log();
    log.stop("first".to_owned());
    log.stop("second".to_owned());
    assert_eq!(log.failure(), Some("first"));
    assert_eq!(log.reserve(1, true).map(drop), Err(ReserveError::Stopped));
}

#[test]
fn an_empty_block_is_taken_only_from_an_empty_log() {
    let log = log();
    assert_eq!(log.take_empty_block().unwrap().end(), Position(4096));
    assert_eq!(log.reserved(), Position(4096));
    let appended = log.reserve(1, false).unwrap().commit(&META);
    assert_eq!(appended.payload, Position(4096 + 96 + 40));
    assert!(log.take_empty_block().is_none() && log.has_work());
}

#[test]
fn a_closed_log_takes_nothing_more_and_keeps_what_it_took() {
    let log = log();
    log.reserve(10, false).unwrap().commit(&META);
    let reserved = log.reserved();
    log.close();
    for control in [false, true] {
        assert_eq!(log.reserve(10, control).err(), Some(ReserveError::Stopped));
    }
    assert_eq!(log.reserved(), reserved);
    assert_eq!(taken(&log, u64::MAX).len(), 1);
}
