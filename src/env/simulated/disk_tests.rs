//! What the simulated disk keeps and forgets.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::SimulatedDisk;
use crate::env::{Disk, File, OpenMode};

const DIR: &str = "/data";

fn path(name: &str) -> PathBuf {
    Path::new(DIR).join(name)
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir(Path::new(DIR)).unwrap();
    disk
}

fn create(disk: &SimulatedDisk, name: &str) -> Arc<dyn File> {
    disk.open(&path(name), OpenMode::Create).unwrap()
}

fn contents(disk: &SimulatedDisk, name: &str) -> Option<Vec<u8>> {
    let file = disk.open(&path(name), OpenMode::Read).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    Some(bytes)
}

/// The different outcomes of many power cuts.
fn outcomes<T: Ord>(outcome: impl Fn(u64) -> T) -> BTreeSet<T> {
    (0..200).map(outcome).collect()
}

#[test]
fn an_unsynced_write_can_be_lost_kept_or_torn() {
    let seen = outcomes(|seed| {
        let disk = disk();
        let file = create(&disk, "a");
        file.write_at(&[1; 1024], 0).unwrap();
        file.sync().unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(&[2; 1024], 0).unwrap();
        contents(&disk.power_cut(seed), "a").unwrap()
    });
    assert!(seen.contains(&vec![1; 1024]), "lost");
    assert!(seen.contains(&vec![2; 1024]), "kept");
    assert!(seen.contains(&[vec![1; 512], vec![2; 512]].concat()), "in another order");
    assert!(seen.iter().any(|bytes| bytes[..512].contains(&1) && bytes[..512].contains(&2)));
}

#[test]
fn a_durable_write_survives_but_not_its_neighbours() {
    let seen = outcomes(|seed| {
        let disk = disk();
        let file = create(&disk, "a");
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(&[1; 512], 0).unwrap();
        file.write_durable(&[2; 512], 512).unwrap();
        let bytes = contents(&disk.power_cut(seed), "a").unwrap();
        assert_eq!(bytes[512..], [2; 512]);
        bytes[0]
    });
    assert_eq!(seen, BTreeSet::from([0, 1]));
}

#[test]
fn names_are_durable_only_with_their_directory() {
    let seen = outcomes(|seed| {
        let disk = disk();
        let file = create(&disk, "a");
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(b"x", 0).unwrap();
        file.sync().unwrap();
        create(&disk, "b");
        disk.rename(&path("a"), &path("c")).unwrap();
        let mut names = disk.power_cut(seed).list(Path::new(DIR)).unwrap();
        names.sort();
        names.concat()
    });
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), ["a", "ab", "bc", "c"]);
}

#[test]
fn what_was_synced_always_survives() {
    for seed in 0..50 {
        let disk = disk();
        let file = create(&disk, "tmp");
        file.write_at(&[7; 5000], 0).unwrap();
        file.sync().unwrap();
        disk.rename(&path("tmp"), &path("a")).unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        let after = disk.power_cut(seed);
        assert_eq!(contents(&after, "a"), Some(vec![7; 5000]));
        assert_eq!(after.list(Path::new(DIR)).unwrap(), ["a"]);
        assert!(file.len().is_err() && disk.list(Path::new(DIR)).is_err(), "dead");
    }
}

#[test]
fn the_power_can_go_in_the_midst_of_a_call() {
    let disk = disk();
    let file = create(&disk, "a");
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk.die_after(2);
    file.write_at(&[1; 512], 0).unwrap();
    assert!(file.sync().is_err());
    assert!(file.write_at(&[1; 512], 0).is_err());
    let seen = outcomes(|seed| contents(&disk.power_cut(seed), "a").unwrap().len());
    assert_eq!(seen, BTreeSet::from([0, 512]), "the sync did not happen");
}

#[test]
fn failures_come_where_they_were_ordered() {
    let disk = disk();
    let (a, b) = (create(&disk, "a"), create(&disk, "b"));
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk.fail_write("/a", 2);
    disk.fail_sync("/a", 1);
    b.write_at(&[1], 0).unwrap();
    b.sync().unwrap();
    a.write_at(&[1; 512], 0).unwrap();
    assert_eq!(a.sync().unwrap_err().raw_os_error(), Some(5));
    a.sync().unwrap();
    assert_eq!(a.write_at(&[1; 512], 512).unwrap_err().raw_os_error(), Some(5));
    let seen = outcomes(|seed| contents(&disk.power_cut(seed), "a").unwrap()[0]);
    assert_eq!(seen, BTreeSet::from([0, 1]), "a later sync does not mend a failed one");
}

#[test]
fn a_sector_that_cannot_be_read_stays_so_until_it_is_written_anew() {
    let disk = disk();
    let file = create(&disk, "a");
    file.write_at(&[1; 2048], 0).unwrap();
    file.sync().unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    disk.fail_read(&path("a"), 700..701);
    let disk = disk.power_cut(1);
    let file = disk.open(&path("a"), OpenMode::Write).unwrap();
    let mut bytes = [0; 1024];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap_err().raw_os_error(), Some(5));
    assert_eq!(file.read_at(&mut bytes[..512], 0).unwrap(), 512);
    assert_eq!(file.read_at(&mut bytes, 1024).unwrap(), 1024);
    file.write_at(&[2; 512], 512).unwrap();
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), 1024);
    assert_eq!((bytes[511], bytes[512]), (1, 2));
}

#[test]
fn the_disk_has_an_end_and_its_bits_can_flip() {
    let disk = disk();
    disk.set_capacity(1000);
    let file = create(&disk, "a");
    file.write_at(&[0; 600], 0).unwrap();
    assert_eq!(disk.volume(Path::new(DIR)).unwrap().free_bytes, 400);
    let full = file.write_at(&[0; 600], 500).unwrap_err();
    assert_eq!(full.kind(), io::ErrorKind::StorageFull);
    disk.flip_bit(&path("a"), 599, 3);
    assert_eq!(contents(&disk, "a").unwrap()[599], 8);
    file.set_len(599).unwrap();
    file.set_len(600).unwrap();
    assert_eq!(contents(&disk, "a").unwrap()[599], 0, "a grown part reads as zeros");
    drop(file);
    disk.remove(&path("a")).unwrap();
    disk.sync_dir(Path::new(DIR)).unwrap();
    assert_eq!(disk.volume(Path::new(DIR)).unwrap().free_bytes, 1000);
}
