//! The two writer back ends side by side: durable appends of whole blocks into a segment.
//!
//!     cargo bench --bench log_writer
//!
//! Works in `MAINSTEM_BENCH_DIR`, `target/bench-data` when not given, which must lie on a disk. The
//! segment's preparation is not timed: neither its zero-filling nor, for a fallocated one, that it
//! gets fresh extents whenever it has been written through.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    env, fs,
    hint::black_box,
    io,
    path::{Path, PathBuf},
    ptr::NonNull,
    slice,
    sync::Arc,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mainstem::{
    env::{
        BlockSink, Disk, OpenMode,
        blocking::{BlockingDisk, SystemClock, SystemRandom},
        glommio::{DmaSink, ShardHandle, ShardOptions, start_shard},
    },
    storage::commit_log::{FileSink, SECTOR},
};

const KIB: usize = 1024;
const SEGMENT_BYTES: u64 = 64 << 20;
const BLOCKS: [usize; 4] = [4 * KIB, 64 * KIB, 256 * KIB, 1024 * KIB];

/// No run of appends takes so long on any disk worth measuring.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// What statfs calls file systems that keep nothing.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// How a segment's disk space came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prepared {
    ZeroFilled,
    Fallocated,
}

impl Prepared {
    fn name(self) -> &'static str {
        match self {
            Self::ZeroFilled => "zero-filled",
            Self::Fallocated => "fallocated",
        }
    }

    /// Makes the segment anew at `path`.
    fn make(self, path: &Path) -> io::Result<()> {
        let disk = BlockingDisk;
        match disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = disk.open(path, OpenMode::Create)?;
        file.allocate(SEGMENT_BYTES)?;
        if self == Self::ZeroFilled {
            let zeros = Block::new(1024 * KIB);
            let direct = disk.open(path, OpenMode::WriteDirect)?;
            for offset in (0..SEGMENT_BYTES).step_by(zeros.bytes().len()) {
                direct.write_at(zeros.bytes(), offset)?;
            }
        }
        file.sync()
    }
}

/// A block's memory, aligned as O_DIRECT wants it.
struct Block {
    memory: NonNull<u8>,
    layout: Layout,
}

impl Block {
    fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, SECTOR).expect("whole sectors");
        // SAFETY: the layout is of more than no bytes.
        let memory = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self { memory: memory.unwrap_or_else(|| handle_alloc_error(layout)), layout }
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the memory was allocated zeroed with this size and lives as long as `self`.
        unsafe { slice::from_raw_parts(self.memory.as_ptr(), self.layout.size()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.memory.as_ptr(), self.layout) }
    }
}

/// A sink, its segment and the place in it.
struct Bench<S> {
    sink: S,
    path: PathBuf,
    prepared: Prepared,
    offset: u64,
}

impl<S: BlockSink> Bench<S> {
    async fn new(mut sink: S, path: PathBuf, prepared: Prepared) -> io::Result<Self> {
        prepared.make(&path)?;
        sink.open(&path).await?;
        Ok(Self { sink, path, prepared, offset: 0 })
    }

    /// The time that `count` durable appends of `block` take.
    async fn append(&mut self, block: &Block, count: u64) -> io::Result<Duration> {
        let bytes = block.bytes();
        let mut spent = Duration::ZERO;
        for _ in 0..count {
            if self.offset + bytes.len() as u64 > SEGMENT_BYTES {
                self.offset = 0;
                if self.prepared == Prepared::Fallocated {
                    self.prepared.make(&self.path)?;
                    self.sink.open(&self.path).await?;
                }
            }
            let began = Instant::now();
            self.sink.write(black_box(bytes), self.offset, true).await?;
            spent += began.elapsed();
            self.offset += bytes.len() as u64;
        }
        Ok(spent)
    }
}

/// A back end, ready to append.
trait Backend {
    fn append(&mut self, block_bytes: usize, count: u64) -> Duration;
}

/// `log.writer = thread`: pwritev2 with RWF_DSYNC, here on the bench's own thread.
struct PlainThread(Bench<FileSink>);

impl PlainThread {
    fn new(path: PathBuf, prepared: Prepared) -> Self {
        let sink = FileSink::new(Arc::new(BlockingDisk));
        let bench = futures_lite::future::block_on(Bench::new(sink, path, prepared));
        Self(bench.expect("the segment can be made"))
    }
}

impl Backend for PlainThread {
    fn append(&mut self, block_bytes: usize, count: u64) -> Duration {
        let block = Block::new(block_bytes);
        let spent = futures_lite::future::block_on(self.0.append(&block, count));
        spent.expect("the disk writes")
    }
}

/// `log.writer = glommio`: io_uring with O_DSYNC, on an executor of its own.
struct Glommio {
    orders: Option<flume::Sender<(usize, u64)>>,
    answers: flume::Receiver<Duration>,
    executor: Option<ShardHandle>,
}

impl Glommio {
    fn new(path: PathBuf, prepared: Prepared) -> Self {
        let (orders, ordered) = flume::bounded::<(usize, u64)>(1);
        let (answer, answers) = flume::bounded(1);
        let options = ShardOptions {
            name: "log-writer".to_owned(),
            core: None,
            preempt: Duration::from_millis(1),
            spin: Duration::ZERO,
            io_memory_bytes: KIB * KIB,
            ring_entries: 128,
        };
        let main = move |_env| async move {
            let bench = Bench::new(DmaSink::default(), path, prepared).await;
            let mut bench = bench.expect("the segment can be made");
            while let Ok((block_bytes, count)) = ordered.recv_async().await {
                let block = Block::new(block_bytes);
                let spent = bench.append(&block, count).await.expect("the disk writes");
                if answer.send(spent).is_err() {
                    return;
                }
            }
        };
        let clock = Arc::new(SystemClock::default());
        let executor = start_shard(options, clock, Arc::new(SystemRandom), main);
        let executor = Some(executor.expect("an executor can be started"));
        Self { orders: Some(orders), answers, executor }
    }
}

impl Backend for Glommio {
    fn append(&mut self, block_bytes: usize, count: u64) -> Duration {
        let orders = self.orders.as_ref().expect("taken only at the end");
        orders.send((block_bytes, count)).expect("the executor runs");
        // It has been seen to sleep on though its write was done: better an end than a wait for ever.
        self.answers.recv_timeout(ANSWER_MAX).expect("the executor answers in time")
    }
}

impl Drop for Glommio {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(executor) = self.executor.take() {
            executor.join().expect("the executor ends in order");
        }
    }
}

/// The directory to write in.
fn directory() -> PathBuf {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench-data"));
    let directory = env::var_os("MAINSTEM_BENCH_DIR").map_or_else(default, PathBuf::from);
    fs::create_dir_all(&directory).expect("MAINSTEM_BENCH_DIR can be made");
    let kind = rustix::fs::statfs(&directory).expect("statfs").f_type as u64 & 0xffff_ffff;
    let keeps = kind != TMPFS && kind != RAMFS;
    assert!(keeps, "{} lies in memory; set MAINSTEM_BENCH_DIR", directory.display());
    directory
}

/// What makes a back end with a segment of its own.
type Make = fn(PathBuf, Prepared) -> Box<dyn Backend>;

const BACKENDS: [(&str, Make); 2] = [
    ("thread", |path, prepared| Box::new(PlainThread::new(path, prepared))),
    ("glommio", |path, prepared| Box::new(Glommio::new(path, prepared))),
];

fn durable_append(criterion: &mut Criterion) {
    let directory = directory();
    for prepared in [Prepared::ZeroFilled, Prepared::Fallocated] {
        let path = |name| directory.join(format!("bench-{name}-{}.segment", prepared.name()));
        // Made when first needed, so that what a filter leaves out costs the disk nothing.
        let mut backends: [Option<Box<dyn Backend>>; 2] = [None, None];
        let mut group = criterion.benchmark_group(format!("durable_append/{}", prepared.name()));
        for block_bytes in BLOCKS {
            group.throughput(Throughput::Bytes(block_bytes as u64));
            // One right after the other, so that both meet the same disk.
            for ((name, make), backend) in BACKENDS.iter().zip(&mut backends) {
                let id = BenchmarkId::new(*name, format!("{}KiB", block_bytes / KIB));
                group.bench_function(id, |bencher| {
                    let backend = backend.get_or_insert_with(|| make(path(name), prepared));
                    bencher.iter_custom(|count| backend.append(block_bytes, count));
                });
            }
        }
        group.finish();
        for ((name, _), backend) in BACKENDS.iter().zip(backends) {
            if backend.is_some() {
                fs::remove_file(path(name)).expect("the segment is there");
            }
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = durable_append
}
criterion_main!(benches);
