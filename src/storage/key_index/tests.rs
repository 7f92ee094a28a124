use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use futures_lite::future::block_on;
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{
    base::Position,
    env::{Disk, blocking::BlockingColdRead, simulated::SimulatedDisk},
    storage::queue_index::LogRange,
};

fn dir() -> PathBuf {
    PathBuf::from("/data/index")
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir(&dir()).unwrap();
    disk
}

fn open(disk: &SimulatedDisk) -> KeyStore {
    KeyStore::open(Arc::new(disk.clone()), &dir()).unwrap()
}

fn stretch(number: u64) -> LogRange {
    LogRange::new(Position(number * 4096), Position((number + 1) * 4096))
}

fn entry(hash: u64, stored_s: u32, offset: i64) -> KeyEntry {
    KeyEntry { hash, stored_s, queue: QueueId(7), offset }
}

/// What all files together know of a hash, oldest first.
fn find(
    disk: &SimulatedDisk,
    store: &KeyStore,
    hash: u64,
    times: std::ops::RangeInclusive<u32>,
) -> Vec<KeyEntry> {
    let cold = BlockingColdRead::new(Arc::new(disk.clone()));
    let files = store.files();
    let found =
        files.iter().flat_map(|file| block_on(file.find(&cold, hash, &times, usize::MAX)).unwrap());
    found.collect()
}

/// A spread of hashes in which some come often: enough for several pages of one.
fn hashes() -> impl Strategy<Value = u64> {
    prop_oneof![
        2 => Just(0),
        2 => Just(u64::MAX),
        4 => Just(1 << 60),
        12 => any::<u64>(),
        // As little spread as there can be: guesses are bad.
        4 => 5u64..9,
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_entry_is_found_in_its_time_before_and_after_merging(
        segments in vec(vec((hashes(), 0u32..50), 0..600), 1..12),
        (from, to) in (0u32..50, 0u32..50),
    ) {
        let disk = disk();
        let mut store = open(&disk);
        let mut all = Vec::new();
        for (number, keys) in segments.iter().enumerate() {
            let entries: Vec<_> = keys
                .iter()
                .enumerate()
                .map(|(at, (hash, stored_s))| {
                    entry(*hash, *stored_s, (number * 1000 + at) as i64)
                })
                .collect();
            all.extend(entries.iter().copied());
            store.write(stretch(number as u64), entries).unwrap();
        }
        let some = all.iter().step_by(1 + all.len() / 30);
        let often = [0, 1 << 60, u64::MAX, 5, 77];
        let hashes: BTreeSet<u64> = some.map(|entry| entry.hash).chain(often).collect();
        let check = |store: &KeyStore| {
            for &hash in &hashes {
                let mut expected: Vec<_> = all
                    .iter()
                    .filter(|entry| entry.hash == hash && (from..=to).contains(&entry.stored_s))
                    .copied()
                    .collect();
                let mut found = find(&disk, store, hash, from..=to);
                expected.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, expected);
            }
        };
        check(&store);
        while store.merge_some(u64::MAX).unwrap() {}
        check(&store);
        store.sweep().unwrap();
        drop(store);
        check(&open(&disk));
    }
}

#[test]
fn the_newest_of_many_are_kept() {
    let disk = disk();
    let mut store = open(&disk);
    let entries = (0..1000).map(|at| entry(9, at, i64::from(at)));
    store.write(stretch(0), entries.collect()).unwrap();
    let cold = BlockingColdRead::new(Arc::new(disk));
    let found = block_on(store.files()[0].find(&cold, 9, &(0..=899), 3)).unwrap();
    assert_eq!(found.iter().map(|entry| entry.offset).collect::<Vec<_>>(), [897, 898, 899]);
}

#[test]
fn what_is_missing_is_named_from_the_newest_back() {
    let mut store = open(&disk());
    let all = LogRange::new(Position(0), Position(5 * 4096));
    assert_eq!(store.missing(all), Some(all));
    store.write(stretch(1), Vec::new()).unwrap();
    store.write(stretch(3), vec![entry(1, 1, 1)]).unwrap();
    assert_eq!(store.missing(all), Some(stretch(4)));
    store.write(stretch(4), Vec::new()).unwrap();
    assert_eq!(store.missing(all), Some(stretch(2)));
    store.write(stretch(2), Vec::new()).unwrap();
    assert_eq!(store.missing(all), Some(stretch(0)));
    assert_eq!(store.missing(stretch(3)), None);
    assert!(store.drop_useless(Position(3 * 4096)));
    assert_eq!(store.missing(stretch(3)), None);
    assert_eq!(store.missing(stretch(2)), Some(stretch(2)));
}

#[test]
fn a_damaged_file_is_noticed_and_made_again() {
    let disk = disk();
    let mut store = open(&disk);
    store.write(stretch(0), vec![entry(5, 1, 1), entry(6, 1, 2)]).unwrap();
    store.write(stretch(1), vec![entry(5, 1, 3)]).unwrap();
    let path = store.files()[0].path().to_path_buf();
    assert_eq!(verify(&disk, &dir()).unwrap(), 3);
    disk.flip_bit(&path, 4096 + 30, 3);
    assert!(verify(&disk, &dir()).is_err());
    let cold = BlockingColdRead::new(Arc::new(disk.clone()));
    assert!(block_on(store.files()[0].find(&cold, 5, &(0..=9), 8)).is_err());
    assert!(store.drop_useless(Position(0)));
    let both = LogRange::new(Position(0), Position(2 * 4096));
    assert_eq!(store.missing(both), Some(stretch(0)));
    store.write(stretch(0), vec![entry(5, 1, 1)]).unwrap();
    store.sweep().unwrap();
    assert_eq!(find(&disk, &store, 5, 0..=9), [entry(5, 1, 1), entry(5, 1, 3)]);
    // A damaged header is noticed when the file is opened.
    disk.flip_bit(&path, 20, 3);
    let store = open(&disk);
    assert_eq!((store.files().len(), store.missing(both)), (1, Some(stretch(0))));
}

#[test]
fn what_cannot_be_read_is_made_again() {
    let disk = disk();
    let mut store = open(&disk);
    (0..3).for_each(|at| store.write(stretch(at), vec![entry(at, 1, 1)]).unwrap());
    let all = LogRange::new(Position(0), Position(3 * 4096));
    let path = |store: &KeyStore, at: usize| store.files()[at].path().to_path_buf();
    // By whoever looks something up, and by who merges or verifies.
    let cold = BlockingColdRead::new(Arc::new(disk.clone()));
    let found = |store: &KeyStore, at: usize| {
        block_on(store.files()[at].find(&cold, at as u64, &(0..=9), 8)).is_ok()
    };
    disk.fail_read(&path(&store, 1), 4096..8192);
    assert!(found(&store, 0) && !found(&store, 1));
    assert!(matches!(verify(&disk, &dir()), Err(KeyError::Damaged { page: 1, .. })));
    assert!(store.drop_useless(Position(0)));
    assert_eq!(store.missing(all), Some(stretch(1)));
    store.sweep().unwrap();
    store.write(stretch(1), vec![entry(1, 1, 1)]).unwrap();
    assert!(found(&store, 1));
    // And at a start.
    disk.fail_read(&path(&store, 2), 0..1);
    let mut store = open(&disk);
    assert_eq!((store.files().len(), store.missing(all)), (2, Some(stretch(2))));
    store.write(stretch(2), vec![entry(2, 1, 1)]).unwrap();
    assert!((0..3).all(|at| found(&store, at)));
    assert_eq!(verify(&disk, &dir()).unwrap(), 3);
}

#[test]
fn a_file_that_cannot_be_read_is_left_out_of_merging() {
    let disk = disk();
    let mut store = open(&disk);
    (0..8).for_each(|at| store.write(stretch(at), vec![entry(at, 1, 1)]).unwrap());
    let path = store.files()[3].path().to_path_buf();
    disk.fail_read(&path, 4096..8192);
    assert!(matches!(store.merge_some(u64::MAX), Err(KeyError::Damaged { .. })));
    assert!(store.drop_useless(Position(0)));
    let all = LogRange::new(Position(0), Position(8 * 4096));
    assert_eq!(store.missing(all), Some(stretch(3)));
}

#[test]
fn a_merge_cut_off_leaves_what_it_began_with() {
    for calls in 1.. {
        let disk = disk();
        let mut store = open(&disk);
        (0..8).for_each(|number| {
            store.write(stretch(number), vec![entry(number, 1, number as i64)]).unwrap();
        });
        disk.die_after(calls);
        let merged = store.merge_some(u64::MAX);
        let disk = disk.power_cut(calls);
        let store = open(&disk);
        let all = LogRange::new(Position(0), Position(8 * 4096));
        assert_eq!(store.missing(all), None);
        (0..8).for_each(|number| assert_eq!(find(&disk, &store, number, 0..=9).len(), 1));
        if merged.is_ok() {
            assert_eq!(store.files().len(), 1);
            return;
        }
    }
}

#[test]
fn what_there_is_no_room_for_is_not_merged() {
    let mut store = open(&disk());
    (0..8).for_each(|number| {
        store.write(stretch(number), vec![entry(number, 1, number as i64)]).unwrap();
    });
    let bytes = store.files().iter().map(|file| file.file_bytes()).sum::<u64>();
    assert_eq!((store.merge_some(bytes - 1).unwrap(), store.files().len()), (false, 8));
    assert_eq!((store.merge_some(bytes).unwrap(), store.files().len()), (true, 1));
}

#[test]
fn a_hash_stays_what_it_is() {
    assert_eq!(key_hash("TopicTest", "key-1"), 9_121_325_907_084_395_213);
    assert_ne!(key_hash("a", "bc"), key_hash("ab", "c"));
}
