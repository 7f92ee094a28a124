//! Timers that are due, some of them where the disk cannot be read.

use std::{path::Path, sync::Arc};

use futures_lite::future::block_on;

use super::*;
use crate::{
    broker::{
        filter::TagHash,
        pull::tests::{QUEUE, broker_of},
    },
    env::{Disk as _, OpenMode, blocking::BlockingColdRead, simulated::SimulatedDisk},
    storage::{
        commit_log::{
            frame::{FRAME_HEADER, FrameMeta, frame_span, seal_frame},
            segment::{Segment, Segments},
        },
        queue_index::IndexEntry,
    },
};

const TIMERS: i64 = 5;
const FILE: &str = "/1";

/// Each lies in sectors of its own.
const MESSAGE: usize = 10_000;

fn position(offset: i64) -> Position {
    Position(offset as u64 * frame_span(MESSAGE + 24) as u64 + FRAME_HEADER as u64)
}

/// A file with a frame for each timer.
fn written() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir(Path::new("/")).unwrap();
    let file = disk.open(Path::new(FILE), OpenMode::Create).unwrap();
    for offset in 0..TIMERS {
        let timer = TimerFrame {
            due_ms: offset,
            queue: QueueId(offset as u32),
            tag_hash: TagHash(0),
            dialect: Dialect::RocketMq,
            message: &[7; MESSAGE],
        };
        let mut frame = vec![0; frame_span(timer.bytes())];
        timer.write(&mut frame[FRAME_HEADER..][..timer.bytes()]);
        let mut meta = FrameMeta::control(FrameKind::Timer, 0);
        (meta.queue, meta.base_offset, meta.count) = (QUEUE, offset, 1);
        seal_frame(&mut frame, timer.bytes(), &meta);
        file.write_at(&frame, position(offset).0 - FRAME_HEADER as u64).unwrap();
    }
    disk
}

/// What is kept of each of them.
const WAITING: Waiting = Waiting { id_hash: 0, bytes: MESSAGE as u32 + 24 };

/// A broker that has nothing in its hot tail.
fn broker(disk: &SimulatedDisk) -> Rc<Broker> {
    let (segments, end) = (Segments::default(), 1 << 20);
    segments.push(Segment { sequence: 1, base: Position(0), file_bytes: end, path: FILE.into() });
    let cold = Rc::new(BlockingColdRead::new(Arc::new(disk.clone())));
    let broker = broker_of(Position(end), segments, cold);
    for offset in 0..TIMERS {
        let entry = IndexEntry {
            base_offset: offset,
            position: position(offset),
            length: MESSAGE as u32 + 24,
            count: 1,
            max_timestamp: offset,
            dialect: Dialect::RocketMq,
            ..IndexEntry::default()
        };
        broker.index.push(QUEUE, entry);
    }
    broker
}

#[test]
fn a_timer_that_cannot_be_read_keeps_no_other_back() {
    let disk = written();
    let broker = broker(&disk);
    let timers: Vec<_> =
        (0..TIMERS).map(|offset| (TimerKey { due_ms: offset, offset }, WAITING)).collect();
    let within = position(1).0 + MESSAGE as u64 / 2;
    disk.fail_read(Path::new(FILE), within..within + 1);
    let due = block_on(broker.due_messages(QUEUE, &timers));
    let queues: Vec<_> = due.iter().map(|due| due.as_ref().map(|due| due.queue.0)).collect();
    assert_eq!(queues, [Some(0), None, Some(2), Some(3), Some(4)]);
    assert_eq!(broker.figures.get().timers_undeliverable, 1);
}
