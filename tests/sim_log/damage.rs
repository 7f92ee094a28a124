//! Bits that flip after they were durable: every one is noticed, and told from a torn tail wherever
//! something was written later.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use futures_lite::future::block_on;
use mainstem::{
    base::{Position, checksum},
    env::{
        Disk, OpenMode,
        mirror::{MirrorMemory, Pages},
    },
    storage::commit_log::{
        CommitLog, FileSink, LogLimits, Pauses, SECTOR, SegmentScan, Writer, WriterOptions,
        frame::{FrameKind, FrameMeta},
        given_up::GivenUp,
        recovery::{Hole, Recovered, RecoveryError},
        segment::{PoolLimits, SegmentPool},
    },
};

use crate::{
    dice::Dice,
    model::Found,
    world::{LOG_ID, SEGMENT_BYTES, Setup, World, log_dir},
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
    world.setup = Setup { sync_interval: Duration::ZERO, ..world.setup };
    for _ in 0..=world.dice.below(2) {
        let mut live = world.start();
        for _ in 0..10 + world.dice.below(30) {
            world.append(&live.log);
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

/// What a restart finds with one bit of a block flipped, and which bit that was.
fn flipped(world: &mut World, block: &Lying) -> (Recovered, Vec<Found>, String) {
    let (offset, bit) = (some_byte(&mut world.dice, block), world.dice.below(8) as u8);
    world.disk.flip_bit(&block.path, offset, bit);
    let (recovered, found) = world.recover(Some(world.model.checkpoint.position)).unwrap();
    world.disk.flip_bit(&block.path, offset, bit);
    (recovered, found, format!("bit {bit} of byte {offset} of {block:?}"))
}

/// The damage is named, nothing outside of the block is lost, and nothing else is shown than what
/// was written.
fn only_the_block_is_lost(world: &World, block: &Lying, recovered: &Recovered, found: &[Found]) {
    assert!(recovered.torn.is_none(), "{recovered:?}");
    let block_end = block.position.plus(block.bytes);
    let [hole] = recovered.holes.as_slice() else { panic!("{:?}", recovered.holes) };
    assert!(block.position <= hole.start && hole.start < hole.end, "{hole}");
    assert!(hole.start < block_end, "{hole}");
    // What is behind the only block of a segment does not say where the block ended.
    assert!(hole.end <= block_end || hole.frame.is_none(), "{hole}");
    let written = &world.model.frames[world.model.checkpoint.frames..];
    let mut shown = found.iter().peekable();
    for frame in written {
        let Some(at) = frame.payload_at else { continue };
        while shown.next_if(|found| found.is_given_up()).is_some() {}
        if shown.next_if(|found| found.is(frame)).is_none() {
            assert!(block.position <= at && at < block_end, "{frame:?} is lost over {hole}");
            let known = hole.frame.is_none_or(|meta| meta == frame.meta);
            assert!(known && hole.holds(Position(at.0 - 40)), "{frame:?} is not in {hole}");
        }
    }
    assert!(shown.all(Found::is_given_up), "more was shown than written");
}

/// As [`flipped`], with a sector that cannot be read.
fn unread(world: &mut World, block: &Lying) -> (Recovered, Vec<Found>, String) {
    let sectors = block.bytes / SECTOR as u64;
    let offset = block.offset + world.dice.below(sectors) * SECTOR as u64;
    let file = world.disk.open(&block.path, OpenMode::Write).unwrap();
    let mut bytes = [0; SECTOR];
    file.read_at(&mut bytes, offset).unwrap();
    world.disk.fail_read(&block.path, offset..offset + 1);
    let (recovered, found) = world.recover(Some(world.model.checkpoint.position)).unwrap();
    file.write_durable(&bytes, offset).unwrap();
    (recovered, found, format!("the sector at byte {offset} of {block:?}"))
}

/// Damages one block and says what became of it.
fn harm(
    world: &mut World,
    blocks: &[Lying],
    number: usize,
    harmed: impl Fn(&mut World, &Lying) -> (Recovered, Vec<Found>, String),
) {
    let block = &blocks[number];
    let last = blocks.last().expect("the block is one");
    let (recovered, found, place) = harmed(world, block);
    // Blocks of the last write have no witness.
    if block.durable_through != last.durable_through {
        assert_eq!(recovered.end, last.position.plus(last.bytes), "{place}");
        return only_the_block_is_lost(world, block, &recovered, &found);
    }
    assert_eq!(recovered.holes, [], "nothing says that it was durable: {place}");
    assert_eq!(recovered.end, block.position, "{place}");
    assert_eq!(recovered.torn.as_ref().map(|(at, _)| *at), Some(block.position), "{place}");
    assert_eq!(recovered.frames, block.frames_before, "{place}");
    let behind = recovered.frames as usize - world.model.checkpoint.frames;
    assert_eq!(found.len(), behind, "{place}");
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
            harm(&mut world, &blocks, number, flipped);
        }
        harm(&mut world, &blocks, blocks.len() - 1, flipped);
    }
}

/// It is to a block what flipped bits are: a torn tail where nothing was written later.
#[test]
fn no_sector_that_cannot_be_read_goes_unnoticed() {
    for seed in 600..640 {
        let (mut world, blocks) = written(seed);
        if blocks.is_empty() {
            continue;
        }
        for _ in 0..12 {
            let number = world.dice.below(blocks.len() as u64) as usize;
            harm(&mut world, &blocks, number, unread);
        }
        harm(&mut world, &blocks, blocks.len() - 1, unread);
    }
}

/// With everything unread from some place on, nothing is left that could say what had been durable: it
/// may all have been, so that none of it is cut off or used for anything else.
#[test]
fn what_cannot_be_read_to_the_end_of_a_file_is_not_cut_off() {
    let mut seen = BTreeSet::new();
    for seed in 700..740 {
        let (mut world, blocks) = written(seed);
        let Some(last) = blocks.last().cloned() else { continue };
        let of_last: Vec<_> = blocks.iter().filter(|b| b.sequence == last.sequence).collect();
        let first = of_last[world.dice.below(of_last.len() as u64) as usize];
        let file_bytes = world.disk.open(&last.path, OpenMode::Read).unwrap().len().unwrap();
        if file_bytes - first.offset < 2 * SECTOR as u64 {
            continue;
        }
        world.disk.fail_read(&last.path, first.offset..file_bytes);
        let from = Some(world.model.checkpoint.position);
        let (recovered, found) = world.recover(from).unwrap();
        let [hole] = recovered.holes.as_slice() else { panic!("{seed}: {:?}", recovered.holes) };
        assert_eq!((hole.start, &hole.path), (first.position, &last.path), "seed {seed}");
        assert!(hole.reason.contains("cannot read"), "seed {seed}: {hole}");
        assert!(hole.end >= last.position.plus(last.bytes), "seed {seed}: {hole}");
        assert!(recovered.torn.is_none() && recovered.end == hole.end, "seed {seed}");
        assert!(!recovered.unused.contains(&last.path), "seed {seed}");
        let before = first.frames_before as usize - world.model.checkpoint.frames;
        assert_eq!(found.len(), before, "seed {seed}");
        seen.insert(first.offset == 0);
        is_given_up(&mut world, recovered, &found);
    }
    assert_eq!(seen, BTreeSet::from([false, true]), "the file as a whole, and a part of it");
}

#[test]
fn an_idle_log_has_a_witness_for_its_last_commit() {
    for seed in 100..130 {
        let (mut world, _) = written(seed);
        let mut live = world.start();
        world.append(&live.log);
        assert!(world.drain(&mut live));
        block_on(live.writer.idle()).unwrap();
        world.model.durable = live.log.durable();
        drop(live);
        let blocks = blocks(&world);
        let Some(before_last) = blocks.len().checked_sub(2) else { continue };
        for _ in 0..4 {
            let block = &blocks[before_last];
            let (recovered, found, _) = flipped(&mut world, block);
            only_the_block_is_lost(&world, block, &recovered, &found);
        }
        harm(&mut world, &blocks, before_last + 1, flipped);
    }
}

/// Damages one place or more: bits, sectors, all headers of a file, a file as a whole. The log's last
/// write stays, as a witness.
fn wreck(world: &mut World, blocks: &[Lying]) {
    let last = blocks.last().expect("there are blocks").clone();
    for _ in 0..=world.dice.below(3) {
        let block = &blocks[world.dice.below(blocks.len() as u64) as usize];
        if block.durable_through == last.durable_through {
            continue;
        }
        let zeros = [0; SECTOR];
        match world.dice.below(5) {
            4 => {
                let at = block.offset + world.dice.below(block.bytes);
                world.disk.fail_read(&block.path, at..at + 1);
            }
            0 => {
                let (offset, bit) = (some_byte(&mut world.dice, block), world.dice.below(8) as u8);
                world.disk.flip_bit(&block.path, offset, bit);
            }
            1 => {
                let sector = world.dice.below(block.bytes) / SECTOR as u64 * SECTOR as u64;
                let file = world.disk.open(&block.path, OpenMode::Write);
                file.and_then(|file| file.write_durable(&zeros, block.offset + sector)).unwrap();
            }
            _ if block.sequence == last.sequence => {}
            2 => {
                for other in blocks.iter().filter(|other| other.sequence == block.sequence) {
                    world.disk.flip_bit(&other.path, other.offset + 50, 0);
                }
            }
            _ => {
                // It may be gone already.
                let _ = world.disk.remove(&block.path);
                world.disk.sync_dir(&log_dir()).unwrap();
                return;
            }
        }
    }
}

/// Appends a frame as a repair does, in a segment of its own.
fn append_one(world: &World, recovered: &Recovered) {
    let disk: Arc<dyn Disk> = Arc::new(world.disk.clone());
    let files = PoolLimits {
        segment_bytes: SEGMENT_BYTES,
        ready_target: 0,
        slack_bytes: 32 << 10,
        reserve_bytes: 0,
    };
    let pool = SegmentPool::new(Arc::clone(&disk), &log_dir(), files, recovered.end);
    let limits =
        LogLimits { block_bytes: 8 << 10, inflight_bytes: 16 << 10, payload_bytes_max: 4 << 10 };
    let memory = MirrorMemory::new(64 << 10, Pages::Common).unwrap();
    let (log, woken) = CommitLog::new(limits, memory, recovered.end, 1);
    let options = WriterOptions {
        log_id: LOG_ID,
        next_sequence: recovered.next_sequence,
        frames: recovered.frames,
        blocks: recovered.blocks,
        previous: recovered.previous,
        sync_interval: Duration::ZERO,
        write_bytes_max: 16 << 10,
        segment_frames_max: u64::MAX,
    };
    let clock = Arc::clone(&world.clock) as _;
    let sink = FileSink::new(disk);
    let mut writer =
        Writer::new(Arc::clone(&log), sink, Arc::new(pool), Arc::default(), clock, options);
    let mut room = log.reserve(7, true).unwrap();
    room.payload().copy_from_slice(b"repairs");
    room.commit(&FrameMeta::control(FrameKind::Group, 0));
    log.close();
    block_on(writer.run(&woken, Pauses { idle: Duration::ZERO, no_space: Duration::ZERO }))
        .unwrap();
}

/// What was found of a damaged log stays as it is when a repair writes behind it and gives the damage up.
fn is_given_up(world: &mut World, mut recovered: Recovered, found: &[Found]) {
    let (holes, from) = (recovered.holes.clone(), Some(world.model.checkpoint.position));
    recovered.settle(&world.disk).unwrap();
    append_one(world, &recovered);
    world.power_cut();
    let (again, more) = world.recover(from).unwrap();
    let ranges =
        |holes: &[Hole]| holes.iter().map(|hole| (hole.start, hole.end)).collect::<Vec<_>>();
    assert_eq!(ranges(&again.holes), ranges(&holes));
    assert_eq!(more[..found.len()], *found);
    assert_eq!(more.len(), found.len() + 1);
    let mut given_up = GivenUp::load(&world.disk, &log_dir(), LOG_ID).unwrap();
    holes.iter().for_each(|hole| given_up.add(hole.start, hole.end));
    given_up.store(&world.disk, &log_dir()).unwrap();
    world.power_cut();
    let (repaired, same) = world.recover(from).unwrap();
    assert_eq!(repaired.holes, []);
    assert_eq!((ranges(&repaired.given_up), same), (ranges(&holes), more));
    // From wherever the next starts read, and as a whole.
    world.model.checkpoint.position = repaired.end;
    for from in [Some(repaired.end), None] {
        assert_eq!(world.recover(from).unwrap().0.holes, []);
    }
}

/// All that is missing lay in a hole; the damage stays known until it is given up, which changes
/// nothing of what is found; and the log goes on behind it.
#[test]
fn damage_is_passed_over_and_given_up() {
    let mut seen = BTreeSet::new();
    for seed in 400..480 {
        let (mut world, blocks) = written(seed);
        if blocks.is_empty() {
            continue;
        }
        wreck(&mut world, &blocks);
        let from = Some(world.model.checkpoint.position);
        let (recovered, found) = world.recover(from).unwrap();
        let written = &world.model.frames[world.model.checkpoint.frames..];
        for frame in written.iter().filter(|frame| frame.payload_at.is_some()) {
            let at = Position(frame.payload_at.unwrap().0 - 40);
            let there = found.iter().any(|found| found.is(frame));
            let lost = recovered.holes.iter().any(|hole| hole.holds(at));
            assert!(there != lost, "seed {seed}: {at}: {:?}", recovered.holes);
        }
        assert!(recovered.torn.is_none(), "seed {seed}: {:?}", recovered.torn);
        let last = blocks.last().unwrap();
        assert_eq!(recovered.end, last.position.plus(last.bytes), "seed {seed}");
        seen.insert(recovered.holes.len().min(3));
        is_given_up(&mut world, recovered, &found);
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]));
}

/// Also where no start reads it: its blocks are all that says where it began.
#[test]
fn a_first_segment_without_any_header_is_not_taken_for_an_empty_file() {
    let mut tried = 0;
    for seed in 500..520 {
        let (mut world, blocks) = written(seed);
        let Some((first, last)) = blocks.first().zip(blocks.last()) else { continue };
        let (recovered, _) = world.recover(None).unwrap();
        if first.sequence == last.sequence || recovered.segments[0].sequence != first.sequence {
            continue;
        }
        let whole = blocks.iter().filter(|block| block.sequence == first.sequence);
        whole.for_each(|block| world.disk.flip_bit(&block.path, block.offset + 50, 0));
        world.model.checkpoint.position = last.position;
        let (recovered, _) = world.recover(Some(last.position)).unwrap();
        // Its blocks from before the checkpoint may be left.
        if recovered.segments[0].sequence != first.sequence {
            assert_eq!(recovered.holes[0].path, first.path, "seed {seed}");
            assert!(!recovered.unused.contains(&first.path), "seed {seed}");
            tried += 1;
        }
    }
    assert!(tried > 0);
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
        let (recovered, found, place) = flipped(&mut world, last);
        let alone = blocks.iter().filter(|block| block.sequence == last.sequence).count() == 1;
        if !recovered.holes.is_empty() {
            only_the_block_is_lost(&world, last, &recovered, &found);
        } else {
            // The only block of a segment is all that says where the segment begins.
            assert!(alone, "{place}: {recovered:?}");
        }
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
