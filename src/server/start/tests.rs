//! What is read of a log whose index is not whole, and what of it stays in memory.

use std::{
    fs::{self, OpenOptions},
    ops::Range,
    os::unix::fs::FileExt as _,
};

use tempfile::TempDir;

use super::*;
use crate::{
    base::TopicId,
    broker::{LostOffsets, command_meta},
    cluster::{Command, Configs, Numbers},
    env::blocking::{BlockingDisk, SystemClock, SystemRandom},
    server::repair::append,
    storage::commit_log::frame::{FrameKind, FrameMeta},
    wire::kafka::BatchBuilder,
};

const QUEUE: QueueId = QueueId(0);

/// Messages in a segment.
const MESSAGES: i64 = 10;

/// A log of segments that have an index file each, but the last.
struct IndexedLog {
    config: Config,
    data: DataDir,
    disk: Arc<dyn Disk>,
    /// Where segments begin.
    bases: Vec<Position>,
    _dir: TempDir,
}

impl IndexedLog {
    fn new(segments: i64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: dir.path().join("data"), ..Config::default() };
        config.log.segment_bytes = 1 << 20;
        let disk: Arc<dyn Disk> = Arc::new(BlockingDisk);
        let data = DataDir::open(&config.data_dir, &*disk, &SystemRandom).unwrap();
        let mut log = Self { config, data, disk, bases: Vec::new(), _dir: dir };
        for segment in 0..segments {
            log.append(segment * MESSAGES);
        }
        let mut read = log.read(Extent::Checkpoint);
        log.bases = read.recovered.segments.iter().map(|segment| segment.base).collect();
        assert_eq!(log.bases.len(), segments as usize);
        read.lacking = vec![LogRange::new(log.bases[0], *log.bases.last().unwrap())];
        assert!(read.fill_index(&*log.disk, log.data.log_id).unwrap());
        assert_eq!(read.runs.runs().len(), log.bases.len() - 1, "one for each segment");
        log
    }

    /// Adds a segment whose first message has offset `first`; the first one creates the topic.
    fn append(&self, first: i64) {
        let messages = (first..first + MESSAGES).map(message);
        let frames: Vec<_> = (first == 0).then(topic).into_iter().chain(messages).collect();
        let recovered = self.read(Extent::Checkpoint).recovered;
        let clock = Arc::new(SystemClock::default());
        append(&self.config, &self.data, &self.disk, clock, recovered, &frames).unwrap();
    }

    fn read(&self, extent: Extent) -> ReadBack {
        ReadBack::of(&self.config, &self.data, &self.disk, None, extent).unwrap()
    }

    fn segment(&self, number: usize) -> LogRange {
        LogRange::new(self.bases[number], self.bases[number + 1])
    }

    /// Removes the index file of a segment.
    fn forget(&self, segment: usize) {
        let (runs, _) = RunStore::open(Arc::clone(&self.disk), &self.data.index()).unwrap();
        let runs = runs.runs();
        let run = runs.iter().find(|run| run.covers() == self.segment(segment)).unwrap();
        fs::remove_file(run.path()).unwrap();
    }

    /// Flips a bit of a message.
    fn damage(&self, offset: i64) {
        let text = text(offset);
        for segment in self.read(Extent::Checkpoint).recovered.segments {
            let bytes = fs::read(&segment.path).unwrap();
            let mut windows = bytes.windows(text.len());
            if let Some(at) = windows.position(|window| window == text.as_bytes()) {
                let file = OpenOptions::new().write(true).open(&segment.path).unwrap();
                return file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
            }
        }
        panic!("{text:?} is in no segment")
    }
}

fn topic() -> (FrameMeta, Vec<u8>) {
    let command = Command::CreateTopic {
        id: TopicId::ZERO,
        name: "orders".into(),
        collides: true,
        partitions: 1,
        configs: Configs::default(),
        created_ms: 0,
    };
    (command_meta(Numbers::default(), 0), command.encode())
}

fn text(offset: i64) -> String {
    format!("message {offset:04}")
}

fn message(offset: i64) -> (FrameMeta, Vec<u8>) {
    let control = FrameMeta::control(FrameKind::KafkaBatch, 0);
    let meta = FrameMeta { queue: QUEUE, base_offset: offset, count: 1, ..control };
    let mut batch = BatchBuilder::new();
    batch.base_offset(offset).record(1, None, Some(text(offset).as_bytes()), &[]);
    (meta, batch.build().unwrap())
}

/// The messages whose index entries are in memory.
fn kept(read: ReadBack) -> Vec<i64> {
    let [shard] = &read.replay.divide(1)[..] else { panic!("there is one shard") };
    shard.entries.iter().map(|(_, entry)| entry.base_offset).collect()
}

fn lost(offsets: Range<i64>) -> LostOffsets {
    LostOffsets::from([(QUEUE, vec![offsets])])
}

/// However much of the log is read, and however far back an index file is missing.
#[test]
fn memory_takes_no_more_than_the_entries_behind_the_index() {
    let log = IndexedLog::new(4);
    for missing in [None, Some(1), Some(0)] {
        missing.iter().for_each(|segment| log.forget(*segment));
        for extent in [Extent::Checkpoint, Extent::Whole] {
            let read = log.read(extent);
            assert!(read.damage.is_none());
            assert_eq!(read.lacking, missing.map(|segment| log.segment(segment)).as_slice());
            assert_eq!(kept(read), Vec::from_iter(30..40));
        }
        let from = missing.map_or(30, |segment| segment as i64 * MESSAGES);
        assert_eq!(kept(log.read(Extent::Unindexed)), Vec::from_iter(from..40));
        assert!(log.read(Extent::Checkpoint).fill_index(&*log.disk, log.data.log_id).unwrap());
        assert_eq!(log.read(Extent::Checkpoint).lacking, []);
    }
}

/// An index file is not made without the entries of what is lost: else nobody would be told of it.
#[test]
fn what_is_lost_is_known_where_the_index_is_missing_too() {
    let log = IndexedLog::new(4);
    let intact = log.read(Extent::Checkpoint);
    log.damage(15);
    log.forget(1);
    let mut read = ReadBack { lacking: vec![log.segment(1)], ..intact };
    assert!(!read.fill_index(&*log.disk, log.data.log_id).unwrap());
    assert_eq!(log.read(Extent::Whole).lacking, [log.segment(1)]);
    for (extent, first) in [(Extent::Checkpoint, 10), (Extent::Unindexed, 10), (Extent::Whole, 30)]
    {
        let read = log.read(extent);
        let damage = read.damage.as_ref().unwrap();
        assert_eq!((&damage.lost, &damage.lifts[..]), (&lost(15..16), &[][..]));
        let expected = (first..40).filter(|offset| *offset != 15);
        assert_eq!(kept(read), Vec::from_iter(expected));
    }
}
