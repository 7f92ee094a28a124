//! The whole index against a plain map, with merges, retention, reopening and power cuts at random.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    path::Path,
    rc::Rc,
    sync::Arc,
};

use futures_lite::future::block_on;
use proptest::prelude::*;

use super::*;
use crate::env::{Disk, blocking::BlockingColdRead, simulated::SimulatedDisk};

const DIR: &str = "/data/index";
const QUEUES: u32 = 6;

#[derive(Clone, Debug)]
enum Step {
    Append {
        queue: u32,
        count: u32,
        time: i64,
        length: u32,
        gap: bool,
    },
    Seal,
    Write,
    Install,
    Merge {
        from: usize,
        runs: usize,
    },
    Sweep,
    Trim {
        queue: u32,
        fraction: u8,
    },
    Delete {
        queue: u32,
    },
    DropSegments,
    Reopen,
    PowerCut {
        seed: u64,
    },
    /// The power goes in the midst of a later call.
    Doom {
        calls: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        40 => (0..QUEUES, 1..5u32, 0..200i64, 1..5000u32, any::<bool>()).prop_map(
            |(queue, count, time, length, gap)| Step::Append { queue, count, time, length, gap }
        ),
        5 => Just(Step::Seal),
        5 => Just(Step::Write),
        5 => Just(Step::Install),
        4 => (0..4usize, 2..5usize).prop_map(|(from, runs)| Step::Merge { from, runs }),
        2 => Just(Step::Sweep),
        2 => (0..QUEUES, any::<u8>()).prop_map(|(queue, fraction)| Step::Trim { queue, fraction }),
        1 => (0..QUEUES).prop_map(|queue| Step::Delete { queue }),
        1 => Just(Step::DropSegments),
        1 => Just(Step::Reopen),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
        1 => (1..12u64).prop_map(|calls| Step::Doom { calls }),
    ]
}

/// Two shards, the housekeeper's store, and the log as a plain map.
struct World {
    disk: SimulatedDisk,
    store: RunStore,
    shards: [QueueIndex; 2],
    /// The log: entries by position.
    log: BTreeMap<Position, (QueueId, IndexEntry)>,
    /// The log's end.
    position: Position,
    next_offsets: BTreeMap<u32, i64>,
    log_starts: BTreeMap<u32, i64>,
    deleted: BTreeSet<u32>,
    /// Where the oldest segment begins.
    oldest: Position,
    /// Where segments end.
    seals: Vec<Position>,
    /// Sealed, but not written.
    sealed: VecDeque<(LogRange, Vec<Arc<Generation>>)>,
}

/// Opens what is on disk, of a log whose segments in front of `oldest` were dropped.
fn open(disk: &SimulatedDisk, oldest: Position) -> Result<(RunStore, [QueueIndex; 2])> {
    let (mut store, report) = RunStore::open(Arc::new(disk.clone()), Path::new(DIR))?;
    assert!(report.damaged.is_empty(), "{report:?}");
    // Of several runs that were given up, a power cut may bring back some.
    store.drop_below(oldest);
    let kept = store.covers().map(|covers| LogRange::new(covers.start.max(oldest), covers.end));
    assert_eq!(kept.map_or_else(Vec::new, |kept| store.lacking(kept)), []);
    let shard = |pages: usize| {
        let cold = Rc::new(BlockingColdRead::new(Arc::new(disk.clone())));
        QueueIndex::new(cold, pages * 4096, store.runs(), Position(0))
    };
    let shards = [shard(0), shard(3)];
    Ok((store, shards))
}

impl World {
    fn new() -> Self {
        let disk = SimulatedDisk::default();
        let (store, shards) = open(&disk, Position(0)).unwrap();
        Self {
            disk,
            store,
            shards,
            log: BTreeMap::new(),
            position: Position(0),
            next_offsets: BTreeMap::new(),
            log_starts: BTreeMap::new(),
            deleted: BTreeSet::new(),
            oldest: Position(0),
            seals: Vec::new(),
            sealed: VecDeque::new(),
        }
    }

    fn shard(&self, queue: u32) -> &QueueIndex {
        &self.shards[queue as usize % 2]
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Append { queue, count, time, length, gap } => {
                self.append(queue, count, time, length, gap);
            }
            Step::Seal => {
                self.seals.push(self.position);
                self.seal(self.position);
            }
            Step::Write => self.write(),
            Step::Install => self.shards.iter().for_each(|shard| shard.install(self.store.runs())),
            Step::Merge { from, runs } => self.merge(from, runs),
            Step::Sweep => {
                let _ = self.store.sweep();
            }
            Step::Trim { queue, fraction } => {
                let next = self.next_offsets.get(&queue).copied().unwrap_or(0);
                let start = self.log_starts.entry(queue).or_default();
                *start += (next - *start) * i64::from(fraction) / 255;
            }
            Step::Delete { queue } => {
                self.deleted.insert(queue);
                self.shard(queue).remove(QueueId(queue));
            }
            Step::DropSegments => self.drop_segments(),
            Step::Reopen => self.reopen(),
            Step::PowerCut { seed } => {
                self.disk = self.disk.power_cut(seed);
                self.reopen();
            }
            Step::Doom { calls } => self.disk.die_after(calls),
        }
    }

    fn append(&mut self, queue: u32, count: u32, time: i64, length: u32, gap: bool) {
        if self.deleted.contains(&queue) {
            return;
        }
        let next = self.next_offsets.entry(queue).or_default();
        let entry = IndexEntry {
            base_offset: *next + i64::from(gap),
            position: self.position,
            max_timestamp: self.position.0 as i64 / 1000 + time,
            append_time: self.position.0 as i64,
            length,
            count,
            tag_hash: queue,
            ..IndexEntry::default()
        };
        *next = entry.next_offset();
        self.position = self.position.plus(u64::from(length));
        self.log.insert(entry.position, (QueueId(queue), entry));
        self.shard(queue).push(QueueId(queue), entry);
    }

    /// Freezes a segment, unless it is empty.
    fn seal(&mut self, end: Position) {
        let start = match (self.sealed.back(), self.store.covers()) {
            (Some((covers, _)), _) => covers.end,
            (None, Some(covers)) => covers.end,
            (None, None) => self.log.keys().next().copied().unwrap_or_default(),
        };
        if start < end {
            let sealed = self.shards.iter().map(|shard| shard.seal(end)).collect();
            self.sealed.push_back((LogRange::new(start, end), sealed));
        }
    }

    fn write(&mut self) {
        if let Some((covers, sealed)) = self.sealed.front()
            && self.store.write(*covers, sealed).is_ok()
        {
            self.sealed.pop_front();
        }
    }

    fn merge(&mut self, from: usize, runs: usize) {
        let count = self.store.runs().len();
        let range = from.min(count)..(from + runs).min(count);
        let (starts, deleted) = (&self.log_starts, &self.deleted);
        let log_start = |queue: QueueId| {
            let start = starts.get(&queue.0).copied().unwrap_or(0);
            (!deleted.contains(&queue.0)).then_some(start)
        };
        let _ = self.store.merge(range, &log_start);
    }

    /// Drops the segments that every queue's log start has passed.
    fn drop_segments(&mut self) {
        let needed = self.log.values().find(|(queue, entry)| {
            let start = self.log_starts.get(&queue.0).copied().unwrap_or(0);
            !self.deleted.contains(&queue.0) && entry.next_offset() > start
        });
        let needed = needed.map_or(self.position, |(_, entry)| entry.position);
        let written = self.store.covers().map_or(Position(0), |covers| covers.end);
        let boundary = self.seals.iter().rev().find(|&&end| end <= needed && end <= written);
        if let Some(&boundary) = boundary {
            self.log = self.log.split_off(&boundary);
            self.oldest = boundary;
            self.store.drop_below(boundary);
        }
    }

    fn reopen(&mut self) {
        let (store, shards) = loop {
            match open(&self.disk, self.oldest) {
                Ok(opened) => break opened,
                // The power went; when it comes back, opening starts anew.
                Err(_) => self.disk = self.disk.power_cut(self.position.0),
            }
        };
        (self.store, self.shards) = (store, shards);
        self.sealed.clear();
        for &(queue, entry) in self.log.values() {
            self.shard(queue.0).push(queue, entry);
        }
        let covered = self.store.covers().map_or(Position(0), |covers| covers.end);
        let seals: Vec<_> = self.seals.iter().copied().filter(|&end| end > covered).collect();
        seals.into_iter().for_each(|end| self.seal(end));
        for run in &*self.store.runs() {
            verify(&self.disk, run).unwrap();
        }
    }

    fn check(&mut self, offset_seed: i64) {
        if self.disk.volume(Path::new(DIR)).is_err() {
            self.reopen();
        }
        for queue in (0..QUEUES).filter(|queue| !self.deleted.contains(queue)) {
            let start = self.log_starts.get(&queue).copied().unwrap_or(0);
            let next = self.next_offsets.get(&queue).copied().unwrap_or(0);
            let entries =
                self.log.values().filter(|(of, _)| of.0 == queue).map(|(_, entry)| *entry);
            let kept: Vec<_> = entries.filter(|entry| entry.next_offset() > start).collect();
            let random = start + offset_seed % (next - start + 1);
            for offset in [start, random, (next - 1).max(start), next] {
                block_on(self.check_at(QueueId(queue), offset, &kept));
            }
        }
    }

    async fn check_at(&self, queue: QueueId, offset: i64, kept: &[IndexEntry]) {
        let shard = self.shard(queue.0);
        let rest = &kept[kept.partition_point(|entry| entry.next_offset() <= offset)..];
        let found = shard.first_at_or_after(queue, offset).await.unwrap();
        assert_eq!(found.as_ref(), rest.first(), "queue {queue} offset {offset}");
        let found = shard.find(queue, offset).await.unwrap();
        assert_eq!(found.as_ref(), rest.first().filter(|entry| entry.base_offset <= offset));
        let budget = Budget { entries: 7, bytes: 9000 };
        let mut gathered = Gathered::new(budget);
        let _ = rest.iter().all(|entry| gathered.push(*entry));
        assert_eq!(shard.range(queue, offset, budget).await.unwrap(), gathered.entries);
        let times = rest.iter().map(|entry| entry.max_timestamp);
        let times: Vec<_> = times.flat_map(|time| [time - 1, time, time + 1]).step_by(5).collect();
        for time in times.into_iter().chain([i64::MIN, i64::MAX]) {
            let expected = rest.iter().find(|entry| entry.max_timestamp >= time);
            let found = shard.find_timestamp(queue, offset, time).await.unwrap();
            assert_eq!(found.as_ref(), expected, "queue {queue} from {offset} time {time}");
        }
        if let Some(newest) = kept.last() {
            assert_eq!(shard.next_offset(queue).await.unwrap(), Some(newest.next_offset()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_answers_as_a_plain_map(
        steps in prop::collection::vec((step(), 0..1_000_000i64), 1..250)
    ) {
        let mut world = World::new();
        for (number, (step, seed)) in steps.iter().enumerate() {
            world.run(step);
            if number % 8 == 0 || !matches!(step, Step::Append { .. }) {
                world.check(*seed);
            }
        }
        world.reopen();
        world.check(0);
    }
}
