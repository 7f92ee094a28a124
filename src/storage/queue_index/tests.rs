//! Single properties of runs: size, damage, the border to memory, rebuilding.

use std::{
    cell::Cell,
    future::poll_fn,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    task::Poll,
};

use futures_lite::future::{block_on, poll_once};

use super::*;
use crate::env::{
    ColdRead, Disk, LocalFuture, blocking::BlockingColdRead, simulated::SimulatedDisk,
};

const DIR: &str = "/data/index";
const ALL: Budget = Budget { entries: usize::MAX, bytes: u64::MAX };

fn entry(offset: i64, position: u64) -> IndexEntry {
    IndexEntry {
        base_offset: offset,
        position: Position(position),
        max_timestamp: offset * 10 + (offset * 7919) % 50,
        append_time: position as i64,
        length: 100,
        count: 1,
        tag_hash: 1,
        ..IndexEntry::default()
    }
}

fn covers(start: u64, end: u64) -> LogRange {
    LogRange::new(Position(start), Position(end))
}

fn open(disk: &SimulatedDisk) -> (RunStore, OpenReport) {
    RunStore::open(Arc::new(disk.clone()), Path::new(DIR)).unwrap()
}

fn look_in(disk: &SimulatedDisk, store: &RunStore) -> RunSet {
    let cold = Rc::new(BlockingColdRead::new(Arc::new(disk.clone())));
    RunSet::new(cold, 1 << 20, store.runs())
}

/// Queues 1 and 3 with a few entries around queue 2 with many.
fn large_run(many: i64) -> Vec<(QueueId, IndexEntry)> {
    let few = |queue| (0..40).map(move |i| (QueueId(queue), entry(i, 0)));
    let many = (0..many).map(|i| (QueueId(2), entry(2 * i, 0)));
    few(1).chain(many).chain(few(3)).collect()
}

#[test]
fn look_ups_in_a_queue_of_many_pages() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let entries = large_run(70_000);
    let run = store.rebuild(covers(0, 1000), entries.clone()).unwrap();
    let summary = verify(&disk, &run).unwrap();
    assert_eq!((summary.queues, summary.entries), (3, 70_080));
    assert!(run.memory_bytes() < 400, "{} bytes", run.memory_bytes());
    let set = look_in(&disk, &store);
    block_on(async {
        for offset in (0..139_999).step_by(2_999).chain([139_998]) {
            let found = set.first_at_or_after(QueueId(2), offset).await.unwrap().unwrap();
            assert_eq!(found.base_offset, (offset + 1) / 2 * 2);
            let expected = entries[40..].iter().find(|(_, e)| e.max_timestamp >= offset * 10);
            let found = set.find_timestamp(QueueId(2), 0, offset * 10).await.unwrap();
            assert_eq!(found, expected.map(|(_, entry)| *entry));
        }
        assert_eq!(set.find(QueueId(2), 7).await.unwrap(), None);
        assert_eq!(set.first_at_or_after(QueueId(2), 140_000).await.unwrap(), None);
        let range = set.range(QueueId(2), 1000, ALL).await.unwrap();
        assert_eq!(range.len(), 69_500);
        assert_eq!(set.range(QueueId(3), 0, ALL).await.unwrap().len(), 40);
        assert_eq!(set.range(QueueId(4), 0, ALL).await.unwrap(), []);
        assert_eq!(set.range(QueueId(0), 0, ALL).await.unwrap(), []);
    });
}

#[test]
fn a_run_of_many_queues_keeps_little_in_memory() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let queues = (0..20_000).map(|queue| (QueueId(queue * 3), entry(5, 0)));
    let run = store.rebuild(covers(0, 1000), queues).unwrap();
    assert!(run.memory_bytes() < 2000, "{} bytes", run.memory_bytes());
    let set = look_in(&disk, &store);
    for queue in (0..60_000).step_by(7) {
        let found = block_on(set.find(QueueId(queue), 5)).unwrap();
        assert_eq!(found.is_some(), queue % 3 == 0);
    }
    assert!(set.bytes() <= (1 << 20) + 8);
}

#[test]
fn damage_is_an_error_and_never_another_answer() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let entries = large_run(20_500);
    let run = store.rebuild(covers(0, 1000), entries.clone()).unwrap();
    let pages = disk.open(run.path(), crate::env::OpenMode::Read).unwrap().len().unwrap() / 4096;
    for page in (0..6).chain((6..pages - 8).step_by(9)).chain(pages - 8..pages) {
        let (offset, bit) = (page * 4096 + (page * 613) % 4096, (page % 8) as u8);
        disk.flip_bit(run.path(), offset, bit);
        assert!(verify(&disk, &run).is_err() || page == 0 || page >= pages - 2, "page {page}");
        let (reopened, report) = open(&disk);
        assert_eq!(reopened.runs().len() + report.damaged.len(), 1);
        if let [run] = &*reopened.runs() {
            assert!(verify(&disk, run).is_err(), "page {page}");
        }
        let set = look_in(&disk, &reopened);
        for (queue, entry) in entries.iter().step_by(37) {
            match block_on(set.find(*queue, entry.base_offset)) {
                Ok(found) if report.damaged.is_empty() => assert_eq!(found, Some(*entry)),
                Ok(found) => assert_eq!(found, None),
                Err(IndexError::Corrupt { page: found, .. }) => assert_eq!(u64::from(found), page),
                Err(other) => panic!("{other}"),
            }
        }
        disk.flip_bit(run.path(), offset, bit);
    }
    verify(&disk, &run).unwrap();
}

#[test]
fn a_damaged_run_is_rebuilt_beside_its_readers() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let entries = large_run(500);
    let old = store.rebuild(covers(0, 1000), entries.clone()).unwrap();
    let reader = look_in(&disk, &store);
    let new = store.rebuild(covers(0, 1000), entries.clone()).unwrap();
    assert_ne!(old.path(), new.path());
    drop(old);
    assert_eq!(store.sweep().unwrap(), 1, "somebody reads it");
    assert!(block_on(reader.find(QueueId(1), 3)).unwrap().is_some());
    drop(reader);
    assert_eq!(store.sweep().unwrap(), 0);
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 1);

    disk.flip_bit(new.path(), 100, 1);
    drop(new);
    let (mut store, report) = open(&disk);
    assert_eq!(report.damaged.len(), 1);
    assert!(store.runs().is_empty());
    store.rebuild(covers(0, 1000), entries).unwrap();
    let (store, report) = open(&disk);
    assert!(report.damaged.is_empty() && report.removed.is_empty(), "{report:?}");
    assert!(block_on(look_in(&disk, &store).find(QueueId(1), 3)).unwrap().is_some());
}

/// Damage that opening did not meet is noted by whoever reads, and mended in parts beside readers.
#[test]
fn damage_found_by_a_reader_is_noted_and_replaced() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let all = [(QueueId(1), entry(0, 0)), (QueueId(1), entry(1, 100)), (QueueId(1), entry(2, 200))];
    let run = store.rebuild(covers(0, 300), all).unwrap();
    let entry_page = run.header.entry_page as u64 * page::PAGE_BYTES as u64;
    disk.flip_bit(run.path(), entry_page + 100, 0);
    drop((run, store));
    let (mut store, report) = open(&disk);
    assert!(report.damaged.is_empty() && store.damaged().is_empty());
    let reader = look_in(&disk, &store);
    let error = block_on(reader.find(QueueId(1), 1)).unwrap_err();
    assert!(error.is_damage(), "{error}");
    let [damaged] = &*store.damaged() else { panic!("one run is damaged") };
    assert_eq!(damaged.damage(), Some(&*error.to_string()));

    let part = |at: usize, end: u64| Ok((covers(at as u64 * 100, end), all[at..].to_vec()));
    let failing = [Ok((covers(0, 100), all[..1].to_vec())), Err(error)];
    assert!(store.replace(damaged, failing.into_iter()).is_err());
    assert_eq!(store.runs()[..].len(), 1, "it stays where a part fails");
    let parts = [Ok((covers(0, 100), all[..1].to_vec())), part(1, 300)];
    store.replace::<IndexError>(damaged, parts.into_iter()).unwrap();
    assert!(store.damaged().is_empty());
    reader.replace(store.runs());
    let found = block_on(reader.range(QueueId(1), 0, ALL)).unwrap();
    assert_eq!(found, all.map(|(_, entry)| entry));
    let (store, report) = open(&disk);
    // Cut off before the old file was removed, the next start finds it again.
    assert_eq!((store.runs().len(), report.removed.len()), (1, 3));
}

#[test]
fn gaps_are_reported_and_filled() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    let mut paths = Vec::new();
    for i in 0..3_u64 {
        let entries = [(QueueId(1), entry(i as i64, i * 100))];
        paths.push(
            store.rebuild(covers(i * 100, i * 100 + 100), entries).unwrap().path().to_owned(),
        );
    }
    assert!(store.rebuild(covers(400, 500), []).is_err(), "it would leave a gap");
    disk.flip_bit(&paths[1], 50, 0);
    let (mut store, report) = open(&disk);
    assert!(report.damaged.iter().map(|run| run.covers).eq([covers(100, 200)]));
    assert_eq!(store.lacking(covers(0, 300)), [covers(100, 200)]);
    assert_eq!(store.lacking(covers(150, 400)), [covers(150, 200), covers(300, 400)]);
    assert_eq!(store.lacking(covers(20, 100)), []);
    assert!(store.merge(0..2, &|_| Some(0)).is_err(), "merging would hide the gap");
    store.rebuild(covers(100, 200), [(QueueId(1), entry(1, 100))]).unwrap();
    store.merge(0..3, &|_| Some(0)).unwrap();

    // A damaged large run may be rebuilt in parts.
    let path = store.runs()[0].path().to_owned();
    assert_eq!(store.sweep().unwrap(), 0);
    disk.flip_bit(&path, 50, 0);
    let (mut store, report) = open(&disk);
    assert_eq!((report.damaged.len(), report.damaged[0].covers), (1, covers(0, 300)));
    store.rebuild(covers(0, 100), [(QueueId(1), entry(0, 0))]).unwrap();
    assert_eq!(open(&disk).1.damaged.len(), 1);
    let rest = [(QueueId(1), entry(1, 100)), (QueueId(1), entry(2, 200))];
    store.rebuild(covers(100, 300), rest).unwrap();
    let (mut store, report) = open(&disk);
    assert!(report.damaged.is_empty() && report.removed.is_empty(), "{report:?}");
    store.merge(0..2, &|_| Some(0)).unwrap();
    let found = block_on(look_in(&disk, &store).range(QueueId(1), 0, ALL)).unwrap();
    assert_eq!(found.iter().map(|entry| entry.base_offset).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn a_full_disk_changes_nothing() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    disk.set_capacity(100_000);
    assert!(store.rebuild(covers(0, 1000), large_run(5000)).is_err());
    assert!(disk.list(Path::new(DIR)).unwrap().is_empty(), "nothing is left behind");
    disk.set_capacity(u64::MAX);
    store.rebuild(covers(0, 1000), large_run(5000)).unwrap();
}

#[test]
fn a_power_cut_leaves_the_old_or_the_new() {
    for calls in 1.. {
        let disk = SimulatedDisk::default();
        let (mut store, _) = open(&disk);
        for i in 0..3_u64 {
            let entries = [(QueueId(1), entry(i as i64, i * 100))];
            store.rebuild(covers(i * 100, i * 100 + 100), entries).unwrap();
        }
        disk.die_after(calls);
        let merged = store.merge(0..3, &|_| Some(1)).and_then(|()| store.sweep());
        let (store, report) = open(&disk.power_cut(calls));
        assert!(report.damaged.is_empty(), "{report:?}");
        assert_eq!(store.lacking(covers(0, 300)), []);
        if merged.is_ok() {
            assert_eq!(store.runs().len(), 1);
            return;
        }
    }
}

/// Answers a read only when asked for the second time.
struct SlowRead {
    cold: BlockingColdRead,
    reads: Cell<u32>,
}

impl ColdRead for SlowRead {
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, std::io::Result<Vec<u8>>> {
        self.reads.set(self.reads.get() + 1);
        let mut asked = false;
        Box::pin(async move {
            poll_fn(|_| {
                let ready = std::mem::replace(&mut asked, true);
                if ready { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            self.cold.read(path, offset, length).await
        })
    }
}

#[test]
fn an_entry_is_found_while_its_run_is_being_installed() {
    let queue = QueueId(1);
    // The new run comes in after so many polls of the look-up.
    for install_after in 0..8 {
        let disk = SimulatedDisk::default();
        let (mut store, _) = open(&disk);
        let first = (0..10).map(|i| (queue, entry(i, i as u64)));
        store.rebuild(covers(0, 10), first).unwrap();
        let cold = BlockingColdRead::new(Arc::new(disk.clone()));
        let cold = Rc::new(SlowRead { cold, reads: Cell::new(0) });
        let index = QueueIndex::new(cold, 0, store.runs(), Position(0));
        (0..30).for_each(|i| index.push(queue, entry(i, i as u64)));
        assert_eq!(index.memory_entry_count(), 20, "what runs hold is passed over");
        let sealed = index.seal(Position(20));
        store.write(covers(10, 20), &[sealed]).unwrap();

        let mut range = Box::pin(index.range(queue, 5, ALL));
        let mut after = Box::pin(index.first_at_or_after(queue, 10));
        let mut time = Box::pin(index.find_timestamp(queue, 0, entry(15, 0).max_timestamp));
        let (mut ranged, mut found, mut timed) = (None, None, None);
        for poll in 0..20 {
            if poll == install_after {
                index.install(store.runs());
            }
            if ranged.is_none() {
                ranged = block_on(poll_once(&mut range));
            }
            if found.is_none() {
                found = block_on(poll_once(&mut after));
            }
            if timed.is_none() {
                timed = block_on(poll_once(&mut time));
            }
        }
        let ranged = ranged.unwrap().unwrap();
        let offsets: Vec<_> = ranged.iter().map(|entry| entry.base_offset).collect();
        assert_eq!(offsets, (5..5 + offsets.len() as i64).collect::<Vec<_>>());
        assert!(offsets.len() >= 5);
        assert_eq!(found.unwrap().unwrap(), Some(entry(10, 10)));
        let expected = (0..30).map(|i| entry(i, i as u64));
        let wanted = entry(15, 0).max_timestamp;
        assert_eq!(timed.unwrap().unwrap(), expected.clone().find(|e| e.max_timestamp >= wanted));
    }
}

#[test]
fn runs_live_on_a_real_disk() {
    let dir = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(crate::env::blocking::BlockingDisk);
    let (mut store, _) = RunStore::open(disk.clone(), dir.path()).unwrap();
    for i in 0..3 {
        let entries = large_run(500).into_iter();
        let entries = entries.map(|(queue, entry)| {
            let (base_offset, position) = (entry.base_offset + i * 1000, Position(i as u64 * 100));
            (queue, IndexEntry { base_offset, position, ..entry })
        });
        store.rebuild(covers(i as u64 * 100, i as u64 * 100 + 100), entries).unwrap();
    }
    store.merge(0..3, &|queue| (queue != QueueId(3)).then_some(1500)).unwrap();
    assert_eq!(store.sweep().unwrap(), 0);
    drop(store);
    let (store, report) = RunStore::open(disk.clone(), dir.path()).unwrap();
    assert!(report.damaged.is_empty() && report.removed.is_empty());
    assert_eq!(store.runs().len(), 1);
    assert_eq!(verify(&*disk, &store.runs()[0]).unwrap().entries, 40 + 250 + 500);
    let set = RunSet::new(Rc::new(BlockingColdRead::new(disk)), 0, store.runs());
    let found = block_on(set.range(QueueId(2), 0, ALL)).unwrap();
    assert_eq!((found.len(), found[0].base_offset), (750, 1500));
}

#[test]
fn leftovers_are_removed() {
    let disk = SimulatedDisk::default();
    let (mut store, _) = open(&disk);
    store.rebuild(covers(0, 100), [(QueueId(1), entry(0, 0))]).unwrap();
    let stray: PathBuf = Path::new(DIR).join("run-1.idx.tmp");
    disk.open(&stray, crate::env::OpenMode::Create).unwrap();
    let (_, report) = open(&disk);
    assert_eq!(report.removed, ["run-1.idx.tmp"]);
    assert_eq!(disk.list(Path::new(DIR)).unwrap().len(), 1);
}
