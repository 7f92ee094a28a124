//! Courses of events that seeds reach too rarely.

use std::time::Duration;

use futures_lite::future::block_on;
use mainstem::{
    base::Position,
    storage::commit_log::{
        Pauses, Step,
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
    let mut world = world(2, Duration::ZERO);
    let mut live = world.start();
    world.disk.set_capacity(SEGMENT_BYTES);
    append(&mut world, &live, SEGMENT_BYTES as usize - 5000);
    append(&mut world, &live, SEGMENT_BYTES as usize / 2);
    live.log.close();
    let (_wake, woken) = flume::bounded(1);
    let error = block_on(live.writer.run(&woken, PAUSES)).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
    assert!(live.log.failure().is_some() && live.log.durable() < live.log.reserved());
    world.model.durable = live.log.durable();
    drop(live);
    world.unlimit();
    world.power_cut();
    drop(world.start());
}
