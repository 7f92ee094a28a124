//! `mainstem bench-disk`: how fast this disk is for the log, by the log's own way of writing, and the
//! settings that follow.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_lite::future::block_on;
use thiserror::Error;

use crate::{
    base::Latency,
    config::{KIB, MIB, WRITE_BLOCKS},
    env::{
        BlockSink as _, Clock, Disk, OpenMode, Random as _,
        blocking::{BlockingDisk, SystemClock, SystemRandom},
    },
    storage::commit_log::{FileSink, SECTOR},
};

/// Bytes of a write, as blocks of the log go: from one send's to four blocks at once.
const BLOCKS: [u64; 6] = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];

/// The least advised for `log.inflight_bytes`: while one of the largest writes is under way, the next
/// fills.
const INFLIGHT_BYTES_MIN: u64 = 2 * BLOCKS[BLOCKS.len() - 1];

/// Size of the file that is written. Writes begin anew at its end.
const FILE_BYTES: u64 = 256 * MIB;

/// What is left free on the disk, as `log.reserve_bytes` is by default.
const RESERVE_BYTES: u64 = 256 * MIB;

/// Why a disk was not measured.
#[derive(Debug, Error)]
pub enum DiskBenchError {
    /// The disk is needed for other things.
    #[error("{} has {} MiB free, and measuring takes {}", path.display(), free_bytes / MIB, (2 * FILE_BYTES + RESERVE_BYTES) / MIB)]
    NoRoom {
        /// The directory.
        path: PathBuf,
        /// What is free there.
        free_bytes: u64,
    },
    /// The disk failed.
    #[error("{}: {source}", path.display())]
    Disk {
        /// The directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// How a write was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Durable by itself, into a file that was filled before: as the log does.
    Durable,
    /// As that, into fresh extents: as the log does with no filled segment ready.
    Fresh,
    /// Not durable: as the log does between syncs with `log.sync_interval_ms`.
    Plain,
}

impl Way {
    const fn name(self) -> &'static str {
        match self {
            Self::Durable => "durable",
            Self::Fresh => "fresh",
            Self::Plain => "plain",
        }
    }
}

/// Writes of one size, by one way.
#[derive(Clone, Debug)]
pub struct Cell {
    /// How they were made.
    pub way: Way,
    /// Bytes of one.
    pub block_bytes: u64,
    /// How many were under way at once.
    pub in_flight: usize,
    /// How long each took.
    pub latency: Latency,
    /// How long all took together.
    pub elapsed: Duration,
}

impl Cell {
    fn bytes_per_s(&self) -> f64 {
        let bytes = self.latency.count() * self.block_bytes;
        bytes as f64 / self.elapsed.as_secs_f64().max(1e-9)
    }
}

/// A key, what to set it to, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The key.
    pub key: &'static str,
    /// Its value, as a file has it.
    pub value: String,
    /// What was measured that speaks for it.
    pub reason: String,
}

/// What was measured. As text it is a table and, as a file's lines, the settings that follow.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Where.
    pub directory: PathBuf,
    /// All writes.
    pub cells: Vec<Cell>,
}

/// Measures the disk that holds `directory`, for about `time`, beside the filling of the file. Takes
/// 256 MiB of it meanwhile, in files that nobody else sees and that are gone however it ends.
///
/// # Errors
/// See [`DiskBenchError`].
pub fn measure(directory: &Path, time: Duration) -> Result<Measured, DiskBenchError> {
    let path = directory.to_owned();
    let failed = |source| DiskBenchError::Disk { path: path.clone(), source };
    let free_bytes = BlockingDisk.volume(directory).map_err(failed)?.free_bytes;
    if free_bytes < 2 * FILE_BYTES + RESERVE_BYTES {
        return Err(DiskBenchError::NoRoom { path, free_bytes });
    }
    let cells = measure_cells(directory, FILE_BYTES, time).map_err(failed)?;
    Ok(Measured { directory: path, cells })
}

fn measure_cells(directory: &Path, file_bytes: u64, time: Duration) -> io::Result<Vec<Cell>> {
    let durable = [1, 2].map(|in_flight| BLOCKS.map(|bytes| (Way::Durable, bytes, in_flight)));
    let filled = durable.as_flattened().iter().copied().chain([(Way::Plain, BLOCKS[0], 1)]);
    let each = time / (BLOCKS.len() as u32 * 2 + 2);
    let block = Block::new();
    let mut scratch = Scratch::new(directory, file_bytes)?;
    scratch.fill(&block)?;
    let mut cells = Vec::new();
    for (way, block_bytes, in_flight) in filled {
        cells.push(scratch.write(&block, way, block_bytes, in_flight, each)?);
    }
    drop(scratch);
    let mut fresh = Scratch::new(directory, file_bytes)?;
    cells.push(fresh.write(&block, Way::Fresh, BLOCKS[0], 1, each)?);
    Ok(cells)
}

/// What is written: random, so that no disk makes it smaller, and aligned as O_DIRECT wants it.
struct Block {
    memory: Vec<u8>,
    start: usize,
}

impl Block {
    const BYTES: usize = BLOCKS[BLOCKS.len() - 1] as usize;

    fn new() -> Self {
        let mut memory = vec![0; Self::BYTES + SECTOR];
        SystemRandom.fill(&mut memory);
        let start = memory.as_ptr().align_offset(SECTOR);
        Self { memory, start }
    }

    fn bytes(&self, count: u64) -> &[u8] {
        &self.memory[self.start..][..count as usize]
    }
}

/// A file without a name, open once for each write under way. It is gone when it is closed.
struct Scratch {
    sinks: [FileSink; 2],
    file_bytes: u64,
}

impl Scratch {
    fn new(directory: &Path, file_bytes: u64) -> io::Result<Self> {
        let disk: Arc<dyn Disk> = Arc::new(BlockingDisk);
        let path = directory.join(format!(".mainstem-bench-{}", std::process::id()));
        let file = disk.open(&path, OpenMode::Create)?;
        let mut sinks = [FileSink::new(Arc::clone(&disk)), FileSink::new(Arc::clone(&disk))];
        let opened = sinks.iter_mut().try_for_each(|sink| block_on(sink.open(&path)));
        disk.remove(&path)?;
        opened?;
        file.allocate(file_bytes)?;
        file.sync()?;
        Ok(Self { sinks, file_bytes })
    }

    /// As the log fills a segment before its use.
    fn fill(&mut self, block: &Block) -> io::Result<()> {
        let [sink, _] = &mut self.sinks;
        for offset in (0..self.file_bytes).step_by(MIB as usize) {
            block_on(sink.write(block.bytes(MIB), offset, false))?;
        }
        block_on(sink.sync())
    }

    /// Writes one block after the other for `each`, at least one. Fresh extents are such once only, so
    /// that the end of the file ends it too.
    fn write(
        &mut self,
        block: &Block,
        way: Way,
        block_bytes: u64,
        in_flight: usize,
        each: Duration,
    ) -> io::Result<Cell> {
        let (clock, next) = (SystemClock::default(), AtomicU64::new(0));
        let (bytes, in_file) = (block.bytes(block_bytes), self.file_bytes / block_bytes);
        let began = clock.monotonic();
        let run = |sink: &mut FileSink| {
            let mut latency = Latency::default();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let now = clock.monotonic();
                let over = way == Way::Fresh && number >= in_file;
                if over || number >= in_flight as u64 && now - began >= each {
                    return Ok::<_, io::Error>(latency);
                }
                let offset = number % in_file * block_bytes;
                block_on(sink.write(bytes, offset, way != Way::Plain))?;
                latency.record(clock.monotonic() - now);
            }
        };
        let parts = thread::scope(|scope| {
            let sinks = self.sinks[..in_flight].iter_mut();
            let writers: Vec<_> = sinks.map(|sink| scope.spawn(|| run(sink))).collect();
            let joined = writers.into_iter().map(|writer| {
                writer.join().unwrap_or_else(|_| Err(io::Error::other("a writer panicked")))
            });
            joined.collect::<io::Result<Vec<_>>>()
        })?;
        let mut latency = Latency::default();
        parts.iter().for_each(|part| latency.merge(part));
        let elapsed = clock.monotonic() - began;
        Ok(Cell { way, block_bytes, in_flight, latency, elapsed })
    }
}

impl Measured {
    fn cell(&self, way: Way, block_bytes: u64, in_flight: usize) -> Option<&Cell> {
        let wanted = |cell: &&Cell| {
            (cell.way, cell.block_bytes, cell.in_flight) == (way, block_bytes, in_flight)
        };
        self.cells.iter().find(wanted)
    }

    /// The settings that follow, of keys that exist. None if something was not measured.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let smallest = |way| self.cell(way, BLOCKS[0], 1);
        let middle = |in_flight| self.cell(Way::Durable, 64 * KIB, in_flight);
        let all = (smallest(Way::Durable), smallest(Way::Plain), smallest(Way::Fresh));
        let ((Some(durable), Some(plain), Some(fresh)), Some(one), Some(two)) =
            (all, middle(1), middle(2))
        else {
            return Vec::new();
        };
        let both: Vec<_> = self.cells.iter().filter(|cell| cell.in_flight == 2).collect();
        let best = both.iter().map(|cell| cell.bytes_per_s()).fold(0.0, f64::max);
        vec![
            flush(durable),
            sync_interval(durable, plain),
            writes_in_flight(one, two),
            block_bytes(&both, best),
            inflight_bytes(best),
            zero_fill(durable, fresh, best),
        ]
    }
}

fn flush(durable: &Cell) -> Advice {
    let (half, most) = (durable.latency.quantile(0.5), durable.latency.quantile(0.99));
    let reason = format!(
        "a small send waits {} for the disk, {} at p99; async does not wait, and may lose what a crash \
         finds on its way",
        short(half),
        short(most)
    );
    Advice { key: "flush", value: "\"sync\"".to_owned(), reason }
}

/// A disk whose confirmation takes long, beside its writing: better confirmed for many at once.
fn sync_interval(durable: &Cell, plain: &Cell) -> Advice {
    let (durable, plain) = (durable.latency.quantile(0.5), plain.latency.quantile(0.5));
    let slow = durable >= Duration::from_millis(2) && durable >= 4 * plain;
    let value =
        if slow { (2 * durable.as_millis()).clamp(5, 1_000).to_string() } else { "0".to_owned() };
    let so = if slow { "so one for many" } else { "so each write has its own" };
    let reason =
        format!("a durable write takes {}, one that is not {}: {so}", short(durable), short(plain));
    Advice { key: "sync_interval_ms", value, reason }
}

fn writes_in_flight(one: &Cell, two: &Cell) -> Advice {
    let (alone, both) = (one.bytes_per_s(), two.bytes_per_s());
    let value = if both < 0.95 * alone { "1" } else { "2" }.to_owned();
    let reason = format!(
        "64 KiB by two at once: {}, p99 {}; by one: {}, p99 {}",
        rate(both),
        short(two.latency.quantile(0.99)),
        rate(alone),
        short(one.latency.quantile(0.99))
    );
    Advice { key: "writes_in_flight", value, reason }
}

/// At saturation a write takes as many blocks as it may, so that each is a part of what was measured.
fn block_bytes(both: &[&Cell], best: f64) -> Advice {
    let enough = both.iter().filter(|cell| cell.bytes_per_s() >= 0.9 * best);
    let smallest = enough.map(|cell| cell.block_bytes).min().unwrap_or(MIB);
    let reason = format!(
        "writes of {} reach nine tenths of the best, {}; one takes up to {WRITE_BLOCKS} blocks, of at \
         least 256 KiB",
        size(smallest),
        rate(best)
    );
    Advice { key: "block_bytes", value: quoted((smallest / WRITE_BLOCKS).max(256 * KIB)), reason }
}

fn inflight_bytes(best: f64) -> Advice {
    let tenth = ((best / 10.0) as u64).div_ceil(MIB).max(1).next_power_of_two() * MIB;
    let reason = format!(
        "a tenth of a second at {}, the wait of a send at saturation; at least two of the largest \
         writes, {}, at most 64 MiB",
        rate(best),
        size(INFLIGHT_BYTES_MIN)
    );
    let value = quoted(tenth.clamp(INFLIGHT_BYTES_MIN, 64 * MIB));
    Advice { key: "inflight_bytes", value, reason }
}

fn zero_fill(durable: &Cell, fresh: &Cell, best: f64) -> Advice {
    let (filled, fresh) = (durable.latency.quantile(0.5), fresh.latency.quantile(0.5));
    let worth = fresh.as_secs_f64() >= 1.15 * filled.as_secs_f64();
    let quarter = ((best / 4.0) as u64 / (16 * MIB)).max(1) * 16 * MIB;
    let (value, so) = if worth {
        (quoted(quarter), "worth a quarter of the bandwidth")
    } else {
        ("0".to_owned(), "filling is not worth its writes")
    };
    let reason = format!(
        "a write takes {} where the segment was filled before, {} where not: {so}",
        short(filled),
        short(fresh)
    );
    Advice { key: "zero_fill_bytes_per_s", value, reason }
}

fn quoted(bytes: u64) -> String {
    format!("\"{}\"", size(bytes).replace(' ', ""))
}

fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) {
        format!("{} MiB", bytes / MIB)
    } else {
        format!("{} KiB", bytes / KIB)
    }
}

fn rate(bytes_per_s: f64) -> String {
    format!("{:.0} MB/s", bytes_per_s / 1e6)
}

fn short(time: Duration) -> String {
    match time.as_micros() {
        us @ 0..10_000 => format!("{us} µs"),
        us => format!("{:.1} ms", us as f64 / 1e3),
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}, {} MiB written over and over\n",
            self.directory.display(),
            FILE_BYTES / MIB
        )?;
        let line = |f: &mut fmt::Formatter<'_>, cells: [&str; 8]| {
            let [way, block, at_once, count, p50, p99, p999, rate] = cells;
            writeln!(
                f,
                "{way:8} {block:>8} {at_once:>8} {count:>8} {p50:>10} {p99:>10} {p999:>10} {rate:>11}"
            )
        };
        line(f, ["way", "block", "at once", "writes", "p50", "p99", "p99.9", "bandwidth"])?;
        for cell in &self.cells {
            let quantile = |quantile| short(cell.latency.quantile(quantile));
            let (at_once, count) = (cell.in_flight.to_string(), cell.latency.count().to_string());
            let texts = [quantile(0.5), quantile(0.99), quantile(0.999), rate(cell.bytes_per_s())];
            let [p50, p99, p999, rate] = texts.each_ref().map(String::as_str);
            let block = size(cell.block_bytes);
            line(f, [cell.way.name(), &block, &at_once, &count, p50, p99, p999, rate])?;
        }
        writeln!(
            f,
            "\ndurable: into a filled segment, as the log writes; plain: the same without its confirmation; \
             fresh:\ninto a segment that was not filled.\n\n[log]"
        )?;
        for Advice { key, value, reason } in self.advice() {
            writeln!(f, "# {reason}\n{key} = {value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Origin};

    /// Writes that took `us` each, one after the other.
    fn cell(way: Way, block_bytes: u64, in_flight: usize, us: u64) -> Cell {
        let mut latency = Latency::default();
        (0..100).for_each(|_| latency.record(Duration::from_micros(us)));
        let elapsed = Duration::from_micros(100 * us / in_flight as u64);
        Cell { way, block_bytes, in_flight, latency, elapsed }
    }

    fn measured(durable_us: impl Fn(u64, usize) -> u64, plain_us: u64, fresh_us: u64) -> Measured {
        let durable = [1, 2].map(|in_flight| {
            BLOCKS.map(|bytes| cell(Way::Durable, bytes, in_flight, durable_us(bytes, in_flight)))
        });
        let mut cells = durable.as_flattened().to_vec();
        cells.push(cell(Way::Plain, BLOCKS[0], 1, plain_us));
        cells.push(cell(Way::Fresh, BLOCKS[0], 1, fresh_us));
        Measured { directory: "/data".into(), cells }
    }

    /// What is advised, which must hold as a configuration.
    fn values(measured: &Measured) -> Vec<String> {
        let (advice, mut config) = (measured.advice(), Config::default());
        for Advice { key, value, .. } in &advice {
            config.set(&format!("log.{key}"), value.trim_matches('"'), Origin::Request).unwrap();
        }
        config.validate().unwrap();
        let write_bytes = WRITE_BLOCKS * config.log.block_bytes;
        assert!(config.log.inflight_bytes >= 2 * write_bytes, "two writes fit");
        advice.iter().map(|advice| format!("{}={}", advice.key, advice.value)).collect()
    }

    #[test]
    fn a_fast_disk_keeps_sync_and_two_writes() {
        // 50 µs and 1 GB/s by one; two at once are as fast each, up to 64 KiB.
        let us = |bytes: u64, in_flight: usize| {
            50 + bytes / 1_000 * if bytes > 64 * KIB { in_flight as u64 } else { 1 }
        };
        let expected = [
            "flush=\"sync\"",
            "sync_interval_ms=0",
            "writes_in_flight=2",
            "block_bytes=\"256KiB\"",
            "inflight_bytes=\"64MiB\"",
            "zero_fill_bytes_per_s=\"256MiB\"",
        ];
        assert_eq!(values(&measured(us, 40, 110)), expected);
    }

    #[test]
    fn a_slow_disk_is_synced_by_time_and_written_by_one() {
        // 8 ms for a confirmation, and 1.5 times as long for each when there are two.
        let us =
            |bytes: u64, in_flight: usize| (8_000 + bytes / 100) * (1 + 2 * (in_flight as u64 - 1));
        let expected = [
            "flush=\"sync\"",
            "sync_interval_ms=16",
            "writes_in_flight=1",
            "block_bytes=\"1MiB\"",
            "inflight_bytes=\"8MiB\"",
            "zero_fill_bytes_per_s=0",
        ];
        assert_eq!(values(&measured(us, 100, 8_000)), expected);
    }

    #[test]
    fn the_advice_for_any_disk_holds_together() {
        // From 1 MB/s to 10 GB/s, by what a write takes beside its bytes.
        for (fixed_us, bytes_per_us) in
            [(20, 10_000), (20, 100), (5_000, 100), (50_000, 10), (0, 1)]
        {
            let us = |bytes: u64, _| fixed_us + bytes / bytes_per_us;
            assert_eq!(values(&measured(us, 100, 1_000)).len(), 6);
        }
    }

    #[test]
    fn a_real_disk_is_measured_and_nothing_left() {
        let directory = tempfile::tempdir().unwrap();
        let cells = measure_cells(directory.path(), 8 * MIB, Duration::from_millis(28)).unwrap();
        assert_eq!(cells.len(), 2 * BLOCKS.len() + 2);
        assert!(
            cells.iter().all(|cell| cell.latency.count() >= cell.in_flight as u64),
            "{cells:?}"
        );
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
        let measured = Measured { directory: directory.path().to_owned(), cells };
        assert_eq!(measured.advice().len(), 6, "{measured}");
    }
}
