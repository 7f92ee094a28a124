//! Starts on a disk that does not give everything back.

use std::path::PathBuf;

use super::*;
use crate::{
    config::Sources,
    env::{
        blocking::SystemRandom,
        simulated::{SimulatedClock, SimulatedDisk},
    },
    server::repair::append,
    storage::commit_log::{
        frame::{FrameKind, FrameMeta},
        segment::segment_path,
    },
};

const PAYLOAD: usize = 10_000;
const SEGMENTS: u64 = 3;

struct Machine {
    simulated: SimulatedDisk,
    disk: Arc<dyn Disk>,
    clock: Arc<SimulatedClock>,
    config: Config,
    data: DataDir,
    /// Where the lock is; all else is on the simulated disk.
    _dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let simulated = SimulatedDisk::default();
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        let mut config = Config::load(&Sources::default()).unwrap();
        (config.log.segment_bytes, config.log.first_segment_bytes) = (1 << 20, 1 << 20);
        let data = DataDir::open(dir.path(), &*disk, &SystemRandom).unwrap();
        let clock = Arc::new(SimulatedClock::new(1_700_000_000_000));
        Self { simulated, disk, clock, config, data, _dir: dir }
    }

    /// Writes a segment with one frame and a witness of it.
    fn write_segment(&self) {
        let read = ReadBack::of(&self.config, &self.data, &self.disk, None, Extent::Whole).unwrap();
        let frame = (FrameMeta::control(FrameKind::Void, 0), vec![7; PAYLOAD]);
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        append(&self.config, &self.data, &self.disk, clock, read.recovered, &[frame]).unwrap();
    }

    fn segment(&self, sequence: u64) -> PathBuf {
        segment_path(&self.data.log(), sequence)
    }

    fn restore(&self) -> Restored {
        restore(&self.config, &self.data, &self.disk, &*self.clock, None, 1).unwrap()
    }
}

fn written() -> Machine {
    let machine = Machine::new();
    (0..SEGMENTS).for_each(|_| machine.write_segment());
    machine
}

#[test]
fn a_start_reads_around_sectors_that_the_disk_does_not_give_back() {
    let machine = written();
    // The header of a block, and the midst of another.
    machine.simulated.fail_read(&machine.segment(1), 0..1);
    machine.simulated.fail_read(&machine.segment(3), 4096..4097);
    let restored = machine.restore();
    let damage = restored.damage.expect("it is damaged");
    assert!(damage.reason().contains("read-only, because acknowledged data is damaged"));
    let places = damage.holes.iter().map(|hole| (hole.path.clone(), &*hole.reason));
    let unread = "the disk cannot read it";
    assert_eq!(
        places.collect::<Vec<_>>(),
        [(machine.segment(1), unread), (machine.segment(3), unread)]
    );
    assert_eq!(restored.segments.all().len() as u64, SEGMENTS);
}

#[test]
fn a_start_on_a_disk_that_gives_nothing_back_keeps_everything() {
    let machine = written();
    let files = || {
        let mut names = machine.disk.list(&machine.data.log()).unwrap();
        names.sort();
        names
    };
    let before = files();
    (1..=SEGMENTS).for_each(|sequence| {
        machine.simulated.fail_read(&machine.segment(sequence), 0..1 << 20);
    });
    let damage = machine.restore().damage.expect("it is damaged");
    assert_eq!(damage.holes.len() as u64, SEGMENTS, "{:?}", damage.holes);
    assert_eq!(files(), before);
}

#[test]
fn a_start_removes_a_key_file_that_cannot_be_read() {
    let machine = written();
    let covers = LogRange::new(Position(0), Position(4096));
    let index = machine.data.index();
    let mut keys = KeyStore::open(Arc::clone(&machine.disk), &index).unwrap();
    keys.write(covers, Vec::new()).unwrap();
    machine.simulated.fail_read(keys.files()[0].path(), 0..1);
    let restored = machine.restore();
    assert!(restored.damage.is_none());
    assert_eq!(restored.keys.missing(covers), Some(covers));
}
