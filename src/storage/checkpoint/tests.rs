//! Checkpoints under damage and power cuts.

use super::*;
use crate::env::simulated::SimulatedDisk;

const DIR: &str = "/data/checkpoints";

fn header(position: u64) -> CheckpointHeader {
    CheckpointHeader { log_id: [7; 16], replay_from: Position(position), created_ms: 1_000 }
}

fn open(disk: &SimulatedDisk) -> Result<(CheckpointStore, Loaded)> {
    CheckpointStore::load_latest(Arc::new(disk.clone()), Path::new(DIR))
}

/// Section contents that differ from checkpoint to checkpoint; the second spans chunks.
fn contents(position: u64) -> [(&'static str, Vec<u8>); 3] {
    let queues = (0..80_000_u64).flat_map(|i| (i * position).to_le_bytes()).collect();
    [("cluster", position.to_le_bytes().to_vec()), ("queues", queues), ("groups", Vec::new())]
}

fn write(store: &mut CheckpointStore, position: u64) -> Result<()> {
    store.write(header(position), |writer| {
        for (name, bytes) in contents(position) {
            writer.section(name)?;
            writer.write_all(&bytes)?;
        }
        Ok(())
    })
}

fn check(checkpoint: &Checkpoint) -> u64 {
    let position = checkpoint.header().replay_from.0;
    assert_eq!(checkpoint.header(), header(position));
    for (name, bytes) in contents(position) {
        let mut read = Vec::new();
        checkpoint.section(name).unwrap().read_to_end(&mut read).unwrap();
        assert!(read == bytes, "section {name} differs");
    }
    assert!(checkpoint.section("other").is_none());
    position
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    let mut names = disk.list(Path::new(DIR)).unwrap();
    names.sort();
    names
}

#[test]
fn two_generations_are_kept() {
    let disk = SimulatedDisk::default();
    let (mut store, loaded) = open(&disk).unwrap();
    assert!(loaded.latest.is_none() && loaded.damaged.is_empty());
    assert_eq!(store.replay_needed(), None);
    let mut needed = Vec::new();
    for position in [10, 20, 30] {
        write(&mut store, position).unwrap();
        needed.push(store.replay_needed().unwrap().0);
    }
    assert_eq!(needed, [10, 10, 20]);
    assert_eq!(names(&disk), [name_of(1), name_of(2)]);
    let (store, loaded) = open(&disk).unwrap();
    let latest = loaded.latest.unwrap();
    assert_eq!(check(&latest), 30);
    let sections: Vec<_> = latest.sections().collect();
    assert_eq!(sections, [("cluster", 8), ("queues", 640_000), ("groups", 0)]);
    assert_eq!(store.replay_needed(), Some(Position(20)));
    assert_eq!(store.latest(), Some(header(30)));
}

#[test]
fn a_damaged_one_gives_way_to_the_older() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    write(&mut store, 10).unwrap();
    write(&mut store, 20).unwrap();
    let path = Path::new(DIR).join(name_of(1));
    let length = disk.open(&path, OpenMode::Read).unwrap().len().unwrap();
    let places = (0..200).chain((200..length - 100).step_by(30_011)).chain(length - 100..length);
    for (offset, bit) in places.zip((0..8).cycle()) {
        disk.flip_bit(&path, offset, bit);
        let (store, loaded) = open(&disk).unwrap();
        assert_eq!(loaded.latest.unwrap().header(), header(10), "flipped at {offset}");
        assert_eq!(loaded.damaged[0].name, name_of(1));
        assert_eq!(store.replay_needed(), Some(Position(10)));
        disk.flip_bit(&path, offset, bit);
    }
    for length in [0, 10, 100, length - 1, length + 1] {
        let disk = disk.power_cut(0);
        disk.open(&path, OpenMode::Write).unwrap().set_len(length).unwrap();
        assert_eq!(check(&open(&disk).unwrap().1.latest.unwrap()), 10);
        the_next_write_keeps_the_good_one(&disk);
    }
}

/// A damaged file is removed with the next checkpoint, and the good one stays.
fn the_next_write_keeps_the_good_one(disk: &SimulatedDisk) {
    let (mut store, _) = open(disk).unwrap();
    write(&mut store, 30).unwrap();
    assert_eq!(names(disk), [name_of(0), name_of(2)]);
    assert_eq!(store.replay_needed(), Some(Position(10)));
}

#[test]
fn if_all_are_damaged_there_is_none_and_the_next_one_replaces_them() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    write(&mut store, 10).unwrap();
    write(&mut store, 20).unwrap();
    disk.flip_bit(&Path::new(DIR).join(name_of(0)), 500_000, 0);
    let (_, loaded) = open(&disk).unwrap();
    assert_eq!(check(&loaded.latest.unwrap()), 20);
    disk.flip_bit(&Path::new(DIR).join(name_of(1)), 30, 0);
    let (mut store, loaded) = open(&disk).unwrap();
    assert!(loaded.latest.is_none() && loaded.damaged.len() == 2, "{loaded:?}");
    assert_eq!(store.replay_needed(), None, "the whole log is needed");
    write(&mut store, 30).unwrap();
    assert_eq!(names(&disk), [name_of(2)]);
}

#[test]
fn damage_after_opening_is_an_error_too() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    write(&mut store, 10).unwrap();
    let (_, loaded) = open(&disk).unwrap();
    disk.flip_bit(&Path::new(DIR).join(name_of(0)), 400_000, 5);
    let mut read = Vec::new();
    let error = loaded.latest.unwrap().section("queues").unwrap().read_to_end(&mut read);
    assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData);
}

#[test]
fn a_power_cut_leaves_the_newest_or_the_one_before() {
    for calls in 1.. {
        let disk = SimulatedDisk::default();
        let (mut store, _) = open(&disk).unwrap();
        write(&mut store, 10).unwrap();
        write(&mut store, 20).unwrap();
        disk.die_after(calls);
        let written = write(&mut store, 30).is_ok();
        let untouched = disk.list(Path::new(DIR)).is_ok();
        for seed in 0..8 {
            let disk = disk.power_cut(seed);
            let (mut store, loaded) = open(&disk).unwrap();
            assert!(loaded.damaged.is_empty(), "{:?}", loaded.damaged);
            let position = check(&loaded.latest.unwrap());
            assert!(position == 30 || (position == 20 && !written), "{position}");
            assert!(store.replay_needed() >= Some(Position(10)));
            write(&mut store, 40).unwrap();
            assert_eq!(names(&disk).len(), 2);
        }
        if untouched {
            return;
        }
    }
}

#[test]
fn a_failed_write_changes_nothing() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk).unwrap();
    write(&mut store, 10).unwrap();
    disk.fail_write(".tmp", 3);
    assert!(write(&mut store, 20).is_err());
    disk.fail_sync(".tmp", 1);
    assert!(write(&mut store, 20).is_err());
    let refused = store.write(header(20), |_| Err(io::Error::other("no")));
    assert!(refused.is_err());
    assert_eq!(names(&disk), [name_of(0)]);
    assert_eq!(check(&open(&disk).unwrap().1.latest.unwrap()), 10);
    write(&mut store, 20).unwrap();
    assert_eq!(check(&open(&disk).unwrap().1.latest.unwrap()), 20);
}
