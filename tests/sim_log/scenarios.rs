//! Courses of events that seeds reach too rarely.

use std::{io::ErrorKind, time::Duration};

use futures_lite::future::block_on;
use mainstem::{
    base::Position,
    storage::commit_log::{
        Pauses, ReserveError, Step,
        frame::{FrameKind, FrameMeta},
    },
};

use crate::{
    model::ModelFrame,
    world::{Live, SEGMENT_BYTES, Setup, World},
};

/// A writer that finds nothing to do sleeps for longer than any test.
const PAUSES: Pauses =
    Pauses { idle: Duration::from_secs(3600), no_space: Duration::from_secs(3600) };

fn world(seed: u64, sync_interval: Duration) -> World {
    let mut world = World::new(seed);
    world.setup = Setup { sync_interval, zero_fill: true, ready_target: 2, ..world.setup };
    world
}

fn append(world: &mut World, live: &Live, bytes: usize) {
    let mut reservation = live.log.reserve(bytes, false).unwrap();
    let payload = vec![world.dice.roll() as u8; bytes];
    reservation.payload().copy_from_slice(&payload);
    let meta = FrameMeta::control(FrameKind::Group, 1);
    let appended = reservation.commit(&meta);
    world.model.frames.push(ModelFrame {
        payload_at: Some(appended.payload),
        end: Some(appended.end),
        meta,
        payload,
    });
}

/// The segments before it are dropped while nothing of the next one is durable yet: recovery must
/// still find where the chain goes on.
#[test]
fn a_segment_without_a_durable_block_does_not_replace_the_one_before() {
    for seed in 0..20 {
        let mut world = world(seed, Duration::from_secs(1));
        let mut live = world.start();
        append(&mut world, &live, SEGMENT_BYTES as usize - 5000);
        assert!(world.drain(&mut live));
        world.checkpoint(&live);
        append(&mut world, &live, SEGMENT_BYTES as usize / 2);
        assert!(matches!(world.step(&mut live), Some(Step::Wrote(_))));
        assert!(live.log.durable() < live.log.reserved(), "not synced yet");
        world.drop_oldest(&live);
        world.model.in_flight = true;
        drop(live);
        world.power_cut();
        drop(world.start());
    }
}

/// Every start cuts something off, and none gets as far as the first block of its segment.
#[test]
fn starts_that_write_nothing_lose_nothing() {
    for seed in 0..20 {
        let mut world = world(seed, Duration::from_millis(10));
        let mut live = world.start();
        for bytes in [100, 20_000, 100, 30_000] {
            append(&mut world, &live, bytes);
            assert!(world.drain(&mut live));
        }
        append(&mut world, &live, 20_000);
        world.step(&mut live);
        world.model.in_flight = true;
        drop(live);
        for calls in 1..6 {
            world.power_cut();
            world.disk.die_after(calls);
            world.armed = true;
            drop(world.start());
        }
        world.power_cut();
        live = world.start();
        append(&mut world, &live, 100);
        assert!(world.drain(&mut live));
    }
}

#[test]
fn a_log_that_is_closed_is_written_out_and_witnessed() {
    for interval in [Duration::ZERO, Duration::from_secs(1)] {
        let mut world = world(1, interval);
        let mut live = world.start();
        append(&mut world, &live, 100);
        live.log.close();
        let (_wake, woken) = flume::bounded(1);
        block_on(live.writer.run(&woken, PAUSES)).unwrap();
        assert_eq!(live.log.durable(), live.log.reserved());
        world.model.durable = live.log.durable();
        let path = live.segments.all()[0].path.clone();
        drop(live);
        world.power_cut();
        let (recovered, _) = world.recover(None).unwrap();
        assert_eq!((recovered.frames, recovered.torn), (1, None));
        // An empty block lies behind the one with the frame.
        world.disk.flip_bit(&path, 150, 1);
        let (recovered, found) = world.recover(None).unwrap();
        let hole = &recovered.holes[0];
        assert!((hole.start..hole.end).contains(&Position(150)) && found.is_empty(), "{hole}");
    }
}

#[test]
fn a_full_disk_does_not_keep_a_closed_log_from_ending() {
    for answered in [false, true] {
        let mut world = world(2, Duration::ZERO);
        let mut live = world.start();
        world.disk.set_capacity(SEGMENT_BYTES);
        append(&mut world, &live, SEGMENT_BYTES as usize - 5000);
        append(&mut world, &live, SEGMENT_BYTES as usize / 2);
        if answered {
            live.log.answer_ahead(live.log.reserved());
        }
        live.log.close();
        let (_wake, woken) = flume::bounded(1);
        let ended = block_on(live.writer.run(&woken, PAUSES)).map_err(|error| error.kind());
        // What nobody was told of may be missing; what was answered is lost, and that is no good end.
        assert_eq!(ended, if answered { Err(ErrorKind::StorageFull) } else { Ok(()) });
        assert_eq!(live.log.failure().is_some(), answered);
        assert!(live.log.starved() && live.log.durable() < live.log.reserved());
        world.model.durable = live.log.durable();
        drop(live);
        world.unlimit();
        world.power_cut();
        drop(world.start());
    }
}

/// Sends until messages are refused, large ones among them; then the file that is held back is
/// still there for control frames.
#[test]
fn messages_of_no_size_take_the_file_that_is_held_back() {
    for seed in 0..50 {
        let mut world = world(seed, Duration::ZERO);
        world.setup.segment_frames_max = 4;
        world.setup.inflight_bytes = 2 * SEGMENT_BYTES;
        let mut live = world.start();
        (0..4).for_each(|_| append(&mut world, &live, 100));
        assert!(world.drain(&mut live));
        world.housekeep(&mut live);
        world.housekeep(&mut live);
        // One segment in use, one for messages, one held back, and no more.
        world.disk.set_capacity(3 * SEGMENT_BYTES + SEGMENT_BYTES / 2);
        live.pool.look_for_space().unwrap();
        live.writer.report_space();
        let mut full = false;
        while !full {
            let bytes = [100, 3000, 12_000, 30_000, 60_000][world.dice.below(5) as usize];
            match live.log.reserve(bytes, false).err() {
                None => world.model.frames.push(ModelFrame::given_up(bytes)),
                Some(ReserveError::DiskFull) => full = bytes == 100,
                Some(ReserveError::Busy) => {
                    world.step(&mut live);
                }
                Some(other) => panic!("{other}"),
            }
            if seed % 2 == 0 && world.dice.once_in(3) {
                world.step(&mut live);
            }
        }
        assert!(world.drain(&mut live), "messages were let in that there is no room for");
        assert!(!live.pool.is_empty(), "seed {seed}: messages took what is held back");
        world.model.frames.push(ModelFrame::given_up(7000));
        drop(live.log.reserve(7000, true).unwrap());
        assert!(world.drain(&mut live));
        world.unlimit();
    }
}
