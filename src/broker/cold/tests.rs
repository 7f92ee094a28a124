//! Frames read from segments that are written by hand, and how many reads that takes.

use std::cell::{Cell, RefCell};

use futures_lite::future::{block_on, zip};
use rustix::io::Errno;

use super::*;
use crate::{
    broker::pull::tests::{QUEUE, broker_of},
    env::{ColdRead, LocalFuture},
    storage::commit_log::{
        frame::{FrameKind, FrameMeta, frame_span, seal_frame},
        segment::Segments,
    },
};

const PAYLOAD: usize = 1000;
const FRAMES: u64 = 2_000;
/// Where the log goes on, in the midst of the last segment.
const END: u64 = 2 * FILE_BYTES - (100 << 10);
const FILE_BYTES: u64 = 2 << 20;

/// Two files, and what was read of them.
#[derive(Default)]
struct Files {
    bytes: RefCell<[Vec<u8>; 2]>,
    reads: RefCell<Vec<(PathBuf, u64, usize)>>,
    /// What the disk does not give back of either.
    unreadable: RefCell<Range<u64>>,
    /// What it says instead.
    failure: Cell<Option<Errno>>,
}

impl ColdRead for Files {
    fn read<'a>(
        &'a self,
        path: &'a Path,
        offset: u64,
        length: usize,
    ) -> LocalFuture<'a, io::Result<Vec<u8>>> {
        self.reads.borrow_mut().push((path.to_path_buf(), offset, length));
        let file = usize::from(path == Path::new("1"));
        Box::pin(async move {
            // Others have their turn while the disk works.
            futures_lite::future::yield_now().await;
            let unreadable = self.unreadable.borrow();
            if let Some(failure) = self.failure.get()
                && offset < unreadable.end
                && unreadable.start < offset + length as u64
            {
                return Err(failure.into());
            }
            Ok(self.bytes.borrow()[file][offset as usize..][..length].to_vec())
        })
    }
}

fn span() -> u64 {
    frame_span(PAYLOAD) as u64
}

/// The frame of offset `number`; as many lie in each file, at its beginning.
fn slice(number: u64) -> LogSlice {
    let base = number / FRAMES * FILE_BYTES;
    LogSlice {
        position: Position(base + number % FRAMES * span() + FRAME_HEADER as u64),
        length: PAYLOAD as u32,
        queue: QUEUE,
        base_offset: number as i64,
        dialect: Dialect::RocketMq,
    }
}

fn payload(number: u64) -> Vec<u8> {
    vec![number as u8; PAYLOAD]
}

fn files() -> Rc<Files> {
    let files = Files::default();
    for (file, bytes) in files.bytes.borrow_mut().iter_mut().enumerate() {
        bytes.resize(FILE_BYTES as usize, 0);
        for (at, frame) in bytes.chunks_exact_mut(span() as usize).take(FRAMES as usize).enumerate()
        {
            let number = file as u64 * FRAMES + at as u64;
            frame[FRAME_HEADER..][..PAYLOAD].copy_from_slice(&payload(number));
            let meta = FrameMeta {
                kind: FrameKind::RocketMessage,
                queue: QUEUE,
                base_offset: number as i64,
                count: 1,
                tag_hash: 0,
                append_time_ms: 0,
            };
            seal_frame(frame, PAYLOAD, &meta);
        }
    }
    Rc::new(files)
}

/// A broker that has nothing in its hot tail, and what it reads.
fn broker() -> (Rc<Broker>, Rc<Files>) {
    let segments = Segments::default();
    for sequence in 0..2 {
        segments.push(Segment {
            sequence,
            base: Position(sequence * FILE_BYTES),
            file_bytes: FILE_BYTES,
            path: sequence.to_string().into(),
        });
    }
    let files = files();
    (broker_of(Position(END), segments, Rc::<Files>::clone(&files)), files)
}

async fn load(broker: &Rc<Broker>, numbers: std::ops::Range<u64>) {
    let slices: Vec<_> = numbers.clone().map(slice).collect();
    for (number, loaded) in numbers.zip(broker.load(&slices).await) {
        assert_eq!(&*loaded.unwrap(), payload(number), "frame {number}");
    }
}

#[test]
fn pulls_that_follow_each_other_share_reads() {
    let (broker, files) = broker();
    block_on(async {
        for first in (0..FRAMES + 1_500).step_by(20) {
            // Two consumers, side by side.
            zip(load(&broker, first..first + 10), load(&broker, first + 10..first + 20)).await;
        }
    });
    let reads = files.reads.borrow();
    // The first small one, and then parts as large as a read may be.
    assert!(reads.len() < 10, "{reads:?}");
    let bytes: usize = reads.iter().map(|(_, _, bytes)| bytes).sum();
    let crossing = 10 * span() as usize;
    assert!(
        bytes <= END as usize + reads.len() * crossing,
        "only where parts meet is it read twice"
    );
    let last = reads.iter().filter(|(path, ..)| path == Path::new("1"));
    let read_until = last.map(|(_, offset, bytes)| offset + *bytes as u64).max();
    assert!(read_until <= Some(END - FILE_BYTES), "what is hot may not be in the file yet");
}

#[test]
fn what_lies_apart_is_read_alone() {
    let (broker, files) = broker();
    block_on(async {
        for number in [1_500, 1_000, 500] {
            load(&broker, number..number + 1).await;
        }
    });
    let bytes: Vec<_> = files.reads.borrow().iter().map(|(_, _, bytes)| *bytes).collect();
    assert_eq!(bytes, [FRAME_HEADER + PAYLOAD; 3]);
}

#[test]
fn what_was_damaged_is_read_anew() {
    let (broker, files) = broker();
    let at = (slice(7).position.0 + 1) as usize;
    let flip = || files.bytes.borrow_mut()[0][at] ^= 1;
    flip();
    let loaded = block_on(broker.load(&[slice(7)])).remove(0);
    assert!(
        matches!(loaded, Err(ColdError::Damaged { position, .. }) if position.0 == at as u64 - 1)
    );
    flip();
    block_on(load(&broker, 7..8));
}

/// How each of the frames `numbers` is read back.
fn outcomes(broker: &Rc<Broker>, numbers: Range<u64>) -> Vec<Result<ColdBytes, ColdError>> {
    let slices: Vec<_> = numbers.map(slice).collect();
    block_on(broker.load(&slices))
}

#[test]
fn around_a_sector_that_cannot_be_read_every_frame_is_served() {
    for failure in [Errno::IO, Errno::NODATA, Errno::ILSEQ] {
        let (broker, files) = broker();
        *files.unreadable.borrow_mut() = 8192..12_288;
        files.failure.set(Some(failure));
        let lost = 8192 / span()..12_288_u64.div_ceil(span());
        for _ in 0..2 {
            for (number, loaded) in (0..30).zip(outcomes(&broker, 0..30)) {
                match loaded {
                    Ok(bytes) => assert_eq!(&*bytes, payload(number)),
                    Err(ColdError::Damaged { position, path, .. }) => {
                        assert!(lost.contains(&number), "frame {number} is intact");
                        assert_eq!((position, &*path), (slice(number).position, Path::new("0")));
                        continue;
                    }
                    Err(error) => panic!("frame {number}: {error}"),
                }
                assert!(!lost.contains(&number), "frame {number} cannot be read");
            }
        }
        assert_eq!(broker.figures.get().damaged_reads, 2 * (lost.end - lost.start));
        // Later ones are read ahead as ever.
        block_on(load(&broker, 30..FRAMES));
    }
}

#[test]
fn a_failure_that_may_pass_is_no_damage() {
    let (broker, files) = broker();
    *files.unreadable.borrow_mut() = 8192..12_288;
    for failure in [Errno::MFILE, Errno::NOMEM, Errno::ACCESS] {
        files.failure.set(Some(failure));
        let all = outcomes(&broker, 0..30);
        assert!(all.iter().all(|loaded| matches!(loaded, Err(ColdError::Disk(_)))), "{all:?}");
    }
    assert_eq!(broker.figures.get().damaged_reads, 0);
    files.failure.set(None);
    block_on(load(&broker, 0..30));
}
