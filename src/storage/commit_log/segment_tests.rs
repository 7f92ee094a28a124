//! What the pool does with files, on a simulated disk.

use std::cell::RefCell;

use super::*;
use crate::env::simulated::{SimulatedClock, SimulatedDisk};

const BYTES: u64 = 64 << 10;
const SLACK: u64 = 16 << 10;
const ANY: Position = Position(0);

fn dir() -> PathBuf {
    PathBuf::from("/data/log")
}

fn disk() -> SimulatedDisk {
    let disk = SimulatedDisk::default();
    disk.create_dir(&dir()).unwrap();
    disk
}

fn pool(disk: &SimulatedDisk, target: usize) -> SegmentPool {
    reserving(disk, target, 0)
}

fn reserving(disk: &SimulatedDisk, ready_target: usize, reserve_bytes: u64) -> SegmentPool {
    let limits =
        PoolLimits { segment_bytes: BYTES, ready_target, slack_bytes: SLACK, reserve_bytes };
    SegmentPool::new(Arc::new(disk.clone()), &dir(), limits, ANY)
}

const UNLIMITED: Space = Space { data: u64::MAX, control: u64::MAX, large: u64::MAX };

fn prepare(pool: &SegmentPool) -> io::Result<()> {
    pool.prepare(BYTES, 0, &NoPace(&SimulatedClock::new(0)))
}

/// Makes a file of `bytes` that begins with `mark`.
fn file(disk: &SimulatedDisk, name: &str, bytes: u64, mark: u8) -> PathBuf {
    let path = dir().join(name);
    let file = disk.open(&path, OpenMode::Create).unwrap();
    file.set_len(bytes).unwrap();
    if bytes > 0 {
        file.write_at(&[mark], 0).unwrap();
    }
    path
}

fn names(disk: &SimulatedDisk) -> Vec<String> {
    disk.list(&dir()).unwrap()
}

fn segment(disk: &SimulatedDisk, sequence: u64) -> Arc<Segment> {
    let path = file(disk, &format!("{sequence:012}.segment"), BYTES, 1);
    Arc::new(Segment { sequence, base: Position(sequence * BYTES), file_bytes: BYTES, path })
}

#[test]
fn only_full_names_are_segments() {
    assert_eq!(sequence_of("000000000007.segment"), Some(7));
    assert_eq!(sequence_of("1000000000000.segment"), Some(1_000_000_000_000));
    for name in ["7.segment", "+00000000007.segment", "ready-7.segment", "000000000007", ".segment"]
    {
        assert_eq!(sequence_of(name), None, "{name}");
    }
    assert!(is_ready_name("ready-7.segment") && !is_ready_name("000000000007.segment"));
}

#[test]
fn adopted_files_never_replace_one_another() {
    let disk = disk();
    // As a directory may list them: the first would get the name of the second.
    let paths = ["ready-2.segment", "ready-1.segment", "000000000009.segment"]
        .map(|name| file(&disk, name, BYTES, 1));
    let pool = pool(&disk, 5);
    paths.iter().for_each(|path| pool.adopt(path).unwrap());
    prepare(&pool).unwrap();
    assert_eq!(names(&disk).len(), 4);
    for sequence in 10..14 {
        let base = ANY.plus(sequence * BYTES);
        assert_eq!(pool.take(sequence, base, 1, true).unwrap().file_bytes, BYTES);
    }
}

#[test]
fn small_and_needless_files_are_removed() {
    let disk = disk();
    let pool = pool(&disk, 0);
    for (name, bytes) in [("ready-1.segment", BYTES - 1), ("ready-2.segment", 0)] {
        pool.adopt(&file(&disk, name, bytes, 1)).unwrap();
    }
    assert!(pool.is_empty() && pool.wants_more());
    pool.adopt(&file(&disk, "ready-3.segment", BYTES, 1)).unwrap();
    pool.adopt(&file(&disk, "ready-4.segment", BYTES, 1)).unwrap();
    assert_eq!(names(&disk), ["ready-3.segment"]);
    assert!(!pool.wants_more());
}

#[test]
fn the_last_ready_file_is_held_back_while_others_can_be_made() {
    let disk = disk();
    let pool = pool(&disk, 1);
    prepare(&pool).unwrap();
    pool.take(1, ANY, 1, true).unwrap();
    prepare(&pool).unwrap();
    // Allocated, because only one is left.
    pool.take(2, Position(BYTES), 1, true).unwrap();
    assert!(!pool.is_empty());
    let large = pool.take(3, Position(2 * BYTES), 3 * BYTES, true).unwrap();
    assert_eq!(large.file_bytes, 3 * BYTES, "a frame larger than a segment");
    assert_eq!(pool.space(), UNLIMITED);
}

#[test]
fn a_full_disk_keeps_its_last_file_for_control_frames_and_comes_back() {
    let disk = disk();
    let pool = pool(&disk, 1);
    prepare(&pool).unwrap();
    pool.take(1, ANY, 1, true).unwrap();
    prepare(&pool).unwrap();
    disk.set_capacity(2 * BYTES + 10);
    assert_eq!(prepare(&pool).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(names(&disk).len(), 2, "nothing is left of the attempt");
    let data = BYTES - SLACK;
    assert_eq!(pool.space(), Space { data, control: data + BYTES - SLACK, large: data });
    let early = pool.take(2, Position(BYTES / 2), 1, false).unwrap_err();
    assert_eq!(early.kind(), io::ErrorKind::StorageFull, "the segment in use has room");
    pool.take(2, Position(BYTES), 1, true).unwrap();
    let control = 2 * BYTES - SLACK;
    let left = Space { data: 0, control, large: control };
    assert_eq!(pool.space(), left, "the rest is for control frames");
    let error = pool.take(3, Position(2 * BYTES), 1, true).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(names(&disk).len(), 2, "nothing is left of the attempt");
    pool.look_for_space().unwrap();
    assert_eq!(pool.space().data, 0);
    disk.set_capacity(u64::MAX);
    pool.look_for_space().unwrap();
    assert_eq!(pool.space(), UNLIMITED);
}

#[test]
fn only_the_file_that_is_held_back_is_made_of_the_reserve() {
    let disk = disk();
    let pool = reserving(&disk, 1, 2 * BYTES);
    disk.set_capacity(4 * BYTES);
    prepare(&pool).unwrap();
    prepare(&pool).unwrap();
    pool.look_for_space().unwrap();
    // One for messages is left, and the reserve is whole.
    assert_eq!(pool.space(), Space { data: BYTES - SLACK, control: 2 * (BYTES - SLACK), large: 0 });
    pool.take(1, ANY, 1, true).unwrap();
    assert_eq!(prepare(&pool).unwrap_err().kind(), io::ErrorKind::StorageFull);
    assert_eq!(pool.space().data, BYTES - SLACK, "what the segment in use has room for");
    // The file that was held back goes to control frames, and another one takes its place.
    pool.take(2, Position(BYTES), 1, true).unwrap();
    prepare(&pool).unwrap();
    pool.look_for_space().unwrap();
    let control = 3 * BYTES - 2 * SLACK;
    assert_eq!(pool.space(), Space { data: 0, control, large: 2 * BYTES - SLACK });
    pool.take(3, Position(2 * BYTES), 1, true).unwrap();
    pool.take(4, Position(3 * BYTES), 1, true).unwrap();
    let none = pool.take(5, Position(4 * BYTES), 1, true).unwrap_err();
    assert_eq!(none.kind(), io::ErrorKind::StorageFull);
    disk.set_capacity(7 * BYTES);
    pool.look_for_space().unwrap();
    assert_eq!(pool.space(), UNLIMITED);
}

#[test]
fn a_log_without_any_file_has_room_for_nothing() {
    let disk = disk();
    disk.set_capacity(BYTES - 1);
    let limits =
        PoolLimits { segment_bytes: BYTES, ready_target: 1, slack_bytes: SLACK, reserve_bytes: 0 };
    let pool = SegmentPool::new(Arc::new(disk.clone()), &dir(), limits, Position(7 * BYTES));
    assert!(prepare(&pool).is_err() && pool.is_full());
    let start = 7 * BYTES;
    assert_eq!(pool.space(), Space { data: 0, control: start, large: start });
    disk.set_capacity(BYTES);
    prepare(&pool).unwrap();
    pool.look_for_space().unwrap();
    let control = start + BYTES - SLACK;
    assert_eq!(pool.space(), Space { data: start, control, large: start });
}

#[test]
fn a_file_of_another_size_is_not_used_again() {
    let disk = disk();
    let pool = pool(&disk, 1);
    let cut = Arc::new(Segment {
        sequence: 2,
        base: Position(BYTES),
        file_bytes: BYTES / 2,
        path: file(&disk, "000000000002.segment", BYTES / 2, 1),
    });
    let recycle = |segment| {
        pool.owe(segment);
        pool.recycle(|_| ()).unwrap()
    };
    assert_eq!(recycle(cut), BYTES / 2);
    assert!(pool.is_empty() && names(&disk).is_empty());
    assert_eq!(recycle(segment(&disk, 3)), 0);
    assert_eq!(names(&disk), ["ready-1.segment"]);
}

#[test]
fn files_that_are_read_stay_and_those_behind_them_too() {
    let disk = disk();
    let pool = pool(&disk, 0);
    prepare(&pool).unwrap();
    let read = segment(&disk, 1);
    pool.owe(Arc::clone(&read));
    pool.owe(segment(&disk, 2));
    assert_eq!(pool.recycle(|path| panic!("{} is read", path.display())).unwrap(), 0);
    assert_eq!(names(&disk).len(), 3);
    drop(read);
    let forgotten = RefCell::<Vec<PathBuf>>::default();
    let forget = |path: &Path| forgotten.borrow_mut().push(path.to_path_buf());
    assert_eq!(pool.recycle(forget).unwrap(), 2 * BYTES);
    assert_eq!(forgotten.into_inner(), [1, 2].map(|sequence| segment_path(&dir(), sequence)));
    assert_eq!(names(&disk), ["ready-1.segment"]);
}

#[test]
fn files_are_given_back_in_order_after_a_failure() {
    for reused in [true, false] {
        let disk = disk();
        let pool = pool(&disk, if reused { 4 } else { 0 });
        if !reused {
            prepare(&pool).unwrap();
        }
        let segments: Vec<_> = (1..4).map(|sequence| segment(&disk, sequence)).collect();
        disk.fail_sync("/data/log", 1);
        let mut recycled = segments.into_iter().map(|segment| {
            pool.owe(segment);
            pool.recycle(|_| ())
        });
        assert!(recycled.next().unwrap().is_err());
        recycled.next().unwrap().unwrap();
        assert_eq!(names(&disk).iter().filter(|name| sequence_of(name).is_some()).count(), 1);
        recycled.next().unwrap().unwrap();
        assert!(names(&disk).iter().all(|name| is_ready_name(name)));
    }
}

#[test]
fn positions_are_found_in_their_segments() {
    let segments = Segments::default();
    assert!(segments.locate(ANY).is_none() && segments.pop_oldest().is_none());
    for (sequence, base) in [(3, 4096), (4, 8192), (6, 16_384)] {
        let path = segment_path(&dir(), sequence);
        segments.push(Segment { sequence, base: Position(base), file_bytes: 100, path });
    }
    let at = |position| segments.locate(Position(position)).map(|segment| segment.sequence);
    assert_eq!((at(4095), at(4096), at(8191)), (None, Some(3), Some(3)));
    assert_eq!((at(8192), at(u64::MAX)), (Some(4), Some(6)));
    assert_eq!(segments.disk_bytes(), 300);
    assert_eq!(segments.pop_oldest().unwrap().sequence, 3);
    assert_eq!(segments.pop_oldest().unwrap().sequence, 4);
    assert!(segments.pop_oldest().is_none(), "the one being written stays");
}
