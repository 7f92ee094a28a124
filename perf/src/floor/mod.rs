//! The least that a broker's work costs on this machine: servers that do nothing else. What a broker's
//! figures are held against.

mod disk;
mod read;
mod record;
mod send;

use crate::error::{Doing, PerfError, Result};
use clap::Subcommand;
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::thread;
use std::time::Duration;

/// Reads and writes past the page cache begin and end at multiples of this, in memory and on disk.
const SECTOR: usize = 4096;

/// Whose least cost to measure.
#[derive(Subcommand, Debug)]
pub enum Floor {
    /// A record that comes alone: durable, answered, and in its reader's hands.
    Record(record::RecordArgs),
    /// Synchronous sends: many who each wait for their own to be durable.
    Send(send::SendArgs),
    /// Much that is read back: out of memory, from the disk, and out of the page cache.
    Read(read::ReadArgs),
}

/// What it costs.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum FloorFigures {
    Record(record::RecordFloor),
    Send(send::SendFloor),
    Read(Vec<read::ReadFloor>),
}

/// Measures.
///
/// # Errors
/// When the system refuses a file, a connection or a thread.
pub fn floor(of: &Floor) -> Result<FloorFigures> {
    match of {
        Floor::Record(args) => record::record(args).map(FloorFigures::Record),
        Floor::Send(args) => send::send(args).map(FloorFigures::Send),
        Floor::Read(args) => read::read(args).map(FloorFigures::Read),
    }
}

/// What `measure` returns, which may use a file in `data_dir`; that is removed.
fn with_file<T>(data_dir: &Path, measure: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let path = data_dir.join("mainstem-perf-floor");
    let result = measure(&path);
    let removed = std::fs::remove_file(&path);
    let measured = result?;
    removed.doing(|| format!("removing {}", path.display()))?;
    Ok(measured)
}

/// Memory that begins at a multiple of a sector.
struct Sectors {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Sectors {
    fn new(length: usize) -> Self {
        let memory = vec![0; length + SECTOR];
        let start = memory.as_ptr().align_offset(SECTOR);
        Self { memory, start, length }
    }

    fn bytes(&self) -> &[u8] {
        &self.memory[self.start..][..self.length]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..][..self.length]
    }
}

fn connected() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok((client, server))
}

/// What `work` returns, and the CPU time its thread took for it.
fn with_cpu<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<(Duration, T)> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let began = now();
    let result = work()?;
    Ok((now() - began, result))
}

fn joined<T>(thread: thread::ScopedJoinHandle<'_, io::Result<T>>) -> Result<T> {
    let ended = thread.join().map_err(|_| PerfError::Failed("a thread panicked".to_owned()))?;
    ended.doing(|| "running".to_owned())
}
