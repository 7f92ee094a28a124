//! Bits that flip after they were durable: every one is noticed, and told from a torn tail wherever
//! something was written later.

use std::path::PathBuf;

use futures_lite::future::block_on;
use mainstem::{
    base::{Position, checksum},
    env::{Disk, OpenMode},
    storage::commit_log::{SegmentScan, recovery::RecoveryError},
};

use crate::{
    dice::Dice,
    world::{LOG_ID, Setup, World},
};

/// A block as it lies on the disk.
#[derive(Clone, Debug)]
struct Lying {
    sequence: u64,
    path: PathBuf,
    offset: u64,
    position: Position,
    bytes: u64,
    durable_through: Position,
    frames_before: u64,
}

/// Writes a log of a few runs and segments; recycled files are among them.
fn written(seed: u64) -> (World, Vec<Lying>) {
    let mut world = World::new(seed);
    world.setup = Setup { sync_interval: std::time::Duration::ZERO, ..world.setup };
    for _ in 0..=world.dice.below(2) {
        let mut live = world.start();
        for _ in 0..10 + world.dice.below(30) {
            world.append(&live);
            if world.dice.once_in(2) {
                world.step(&mut live);
            }
            match world.dice.below(12) {
                0 => block_on(live.writer.idle()).unwrap(),
                1 => world.checkpoint(&live),
                2 => world.drop_oldest(&live),
                3 => world.housekeep(&mut live),
                _ => {}
            }
        }
        assert!(world.drain(&mut live));
    }
    let blocks = blocks(&world);
    (world, blocks)
}

/// All blocks a restart reads, found by reading the files.
fn blocks(world: &World) -> Vec<Lying> {
    let (recovered, _) = world.recover(Some(world.model.checkpoint.position)).unwrap();
    let mut blocks = Vec::new();
    for (number, segment) in recovered.segments.iter().enumerate() {
        let end = recovered.segments.get(number + 1).map_or(recovered.end, |next| next.base);
        let mut scan =
            SegmentScan::open(&world.disk, &segment.path, segment.sequence, segment.base).unwrap();
        let mut at = segment.base;
        while at < end {
            let header = scan.block(LOG_ID, at).unwrap().unwrap().header;
            blocks.push(Lying {
                sequence: segment.sequence,
                path: segment.path.clone(),
                offset: at.since(segment.base),
                position: at,
                bytes: u64::from(header.block_bytes),
                durable_through: header.durable_through,
                frames_before: header.frames_before,
            });
            at = at.plus(u64::from(header.block_bytes));
        }
    }
    blocks.retain(|block| block.position >= world.model.checkpoint.position);
    blocks
}

/// A byte of a block: often one of its header, else any.
fn some_byte(dice: &mut Dice, block: &Lying) -> u64 {
    let within = if dice.once_in(2) { 96 } else { block.bytes };
    block.offset + dice.below(within)
}

/// Flips a bit of one block and says what became of it.
fn flip(world: &mut World, blocks: &[Lying], number: usize) {
    let block = &blocks[number];
    let last = blocks.last().expect("the block is one");
    let (offset, bit) = (some_byte(&mut world.dice, block), world.dice.below(8) as u8);
    world.disk.flip_bit(&block.path, offset, bit);
    let result = world.recover(Some(world.model.checkpoint.position));
    world.disk.flip_bit(&block.path, offset, bit);
    let place = format!("bit {bit} of byte {offset} of {block:?}");
    // Blocks of the last write have no witness.
    let in_last_write = block.durable_through == last.durable_through;
    match result {
        Ok((recovered, found)) => {
            assert!(in_last_write, "damage went unnoticed: {place}");
            assert_eq!(recovered.end, block.position, "{place}");
            assert_eq!(recovered.torn.as_ref().map(|(at, _)| *at), Some(block.position), "{place}");
            assert_eq!(recovered.frames, block.frames_before, "{place}");
            let behind = recovered.frames as usize - world.model.checkpoint.frames;
            assert_eq!(found.len(), behind, "{place}");
        }
        Err(RecoveryError::Damaged { sequence, position, durable_through, .. }) => {
            assert!(!in_last_write, "nothing says that it was durable: {place}");
            assert_eq!(sequence, block.sequence, "{place}");
            assert!(position < durable_through, "{place}");
            let others = blocks
                .iter()
                .any(|other| other.sequence == block.sequence && other.position != block.position);
            // The only block of a segment is all that says where the segment begins.
            assert!(position == block.position || !others, "{place}: {position}");
        }
        Err(RecoveryError::Gap { from, to }) => {
            assert!(!in_last_write, "{place}");
            assert!(from <= block.position && block.position < to, "{place}: {from} to {to}");
        }
        Err(error) => panic!("{place}: {error}"),
    }
}

#[test]
fn no_flipped_bit_goes_unnoticed() {
    for seed in 0..40 {
        let (mut world, blocks) = written(seed);
        if blocks.is_empty() {
            continue;
        }
        for _ in 0..12 {
            let number = world.dice.below(blocks.len() as u64) as usize;
            flip(&mut world, &blocks, number);
        }
        flip(&mut world, &blocks, blocks.len() - 1);
    }
}

#[test]
fn an_idle_log_has_a_witness_for_its_last_commit() {
    for seed in 100..130 {
        let (mut world, _) = written(seed);
        let mut live = world.start();
        world.append(&live);
        assert!(world.drain(&mut live));
        block_on(live.writer.idle()).unwrap();
        world.model.durable = live.log.durable();
        drop(live);
        let blocks = blocks(&world);
        let Some(before_last) = blocks.len().checked_sub(2) else { continue };
        for _ in 0..4 {
            let block = &blocks[before_last];
            let (offset, bit) = (some_byte(&mut world.dice, block), world.dice.below(8) as u8);
            world.disk.flip_bit(&block.path, offset, bit);
            let result = world.recover(Some(world.model.checkpoint.position));
            world.disk.flip_bit(&block.path, offset, bit);
            let noticed = matches!(&result, Err(RecoveryError::Damaged { sequence, .. })
                if *sequence == block.sequence);
            assert!(noticed, "byte {offset} of {block:?}: {:?}", result.err());
        }
        flip(&mut world, &blocks, before_last + 1);
    }
}

/// The writer has taken the next segment but nothing of it reached the disk: that it did says that
/// the one before was durable.
#[test]
fn a_segment_that_was_begun_is_a_witness() {
    for seed in 200..220 {
        let (mut world, blocks) = written(seed);
        let Some(last) = blocks.last() else { continue };
        let next = format!("/data/log/{:012}.segment", last.sequence + 1);
        drop(world.disk.open(next.as_ref(), OpenMode::Create).unwrap());
        assert!(world.recover(Some(world.model.checkpoint.position)).is_ok());
        let offset = some_byte(&mut world.dice, last);
        world.disk.flip_bit(&last.path, offset, 0);
        let result = world.recover(Some(world.model.checkpoint.position));
        let alone = blocks.iter().filter(|block| block.sequence == last.sequence).count() == 1;
        let noticed = matches!(&result, Err(RecoveryError::Damaged { sequence, .. })
            if *sequence == last.sequence);
        assert!(noticed || alone, "byte {offset} of {last:?}: {:?}", result.err());
    }
}

/// Changes a byte of a block's header so that it still verifies.
fn reseal(world: &World, block: &Lying, at: usize) {
    let file = world.disk.open(&block.path, OpenMode::Write).unwrap();
    let mut head = [0; 96];
    file.read_at(&mut head, block.offset).unwrap();
    head[at] += 1;
    let sum = checksum::crc32c(&head[8..]).to_le_bytes();
    head[4..8].copy_from_slice(&sum);
    file.write_durable(&head, block.offset).unwrap();
}

#[test]
fn a_newer_version_is_refused_and_not_taken_for_nothing() {
    for number in 0..4 {
        let (world, blocks) = written(300);
        reseal(&world, &blocks[number * (blocks.len() - 1) / 3], 82);
        let result = world.recover(Some(world.model.checkpoint.position));
        assert!(matches!(result, Err(RecoveryError::Version { .. })), "{:?}", result.err());
    }
}

#[test]
fn a_block_that_does_not_follow_the_one_before_is_not_taken() {
    // Frames before, checksum of the block before, running number.
    for at in [40, 52, 72] {
        let (world, blocks) = written(301);
        let last = blocks.last().unwrap();
        reseal(&world, last, at);
        let (recovered, _) = world.recover(Some(world.model.checkpoint.position)).unwrap();
        assert_eq!(recovered.end, last.position);
        let (_, reason) = recovered.torn.unwrap();
        // The running number is part of what replicas share, which has a checksum of its own.
        assert!(reason.contains("follow") || at == 72, "{reason}");
    }
}
