//! Much that is read back: what each way of handing a file's bytes to a client costs the one who sends.
//!
//! One connection, whose other end reads and forgets. Nothing is looked up, checked or put together: a
//! broker that serves a consumer cannot be cheaper than the way it takes.

use super::{Sectors, connected, joined, with_cpu, with_file};
use crate::error::{Doing, Result};
use clap::Args;
use rustix::fs::{Advice, OFlags, fadvise, sendfile};
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// The receiver takes so much with one call, in bytes.
const RECEIVED: usize = 256 << 10;

/// What is sent out of memory is that large, in bytes, so that no processor's cache has it.
const MEMORY: usize = 256 << 20;

/// How far ahead the page cache is told what comes, in bytes.
const AHEAD: u64 = 8 << 20;

/// What to measure.
#[derive(Args, Debug)]
pub struct ReadArgs {
    /// A directory on the disk in question; a file there is written and removed.
    #[arg(long)]
    data_dir: PathBuf,
    /// Size of the file, in MiB.
    #[arg(long, default_value_t = 2_048, value_parser = clap::value_parser!(u32).range(1..))]
    megabytes: u32,
    /// KiB that are read and sent at a time.
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u32).range(4..=65_536))]
    chunk_kilobytes: u32,
    /// Times that all ways are gone, one after the other.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// A way from the file to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// It is in memory already: a copy into the socket.
    Memory,
    /// Read past the page cache into memory, then sent from there.
    Direct,
    /// `sendfile` of what the page cache has.
    Sendfile,
    /// `sendfile` of what it does not have, told in advance and forgotten afterwards.
    SendfileCold,
}

/// What a way costs.
#[derive(Debug, Serialize)]
pub struct ReadFloor {
    way: Way,
    /// Bytes that went through.
    bytes: u64,
    /// Gigabytes a second.
    gb_per_s: f64,
    /// Gigabytes for each second of the sender's CPU time.
    gb_per_cpu_second: f64,
    /// CPU microseconds of the sender for each KiB.
    cpu_us_per_kib: f64,
}

/// Measures.
///
/// # Errors
/// When the system refuses a file, a connection or a thread.
pub fn read(args: &ReadArgs) -> Result<Vec<ReadFloor>> {
    with_file(&args.data_dir, |path| measure(args, path))
}

fn measure(args: &ReadArgs, path: &Path) -> Result<Vec<ReadFloor>> {
    let chunk = args.chunk_kilobytes as usize * 1024;
    let total = (u64::from(args.megabytes) << 20).next_multiple_of(chunk as u64);
    write(path, total, chunk).doing(|| format!("writing {}", path.display()))?;
    let ways = [Way::Direct, Way::Memory, Way::SendfileCold, Way::Sendfile];
    let mut floors = Vec::new();
    for _ in 0..args.rounds {
        for way in ways {
            floors.push(go(way, path, total, chunk)?);
        }
    }
    Ok(floors)
}

fn write(path: &Path, total: u64, chunk: usize) -> io::Result<()> {
    let mut file = File::create(path)?;
    let mut bytes = vec![0; chunk];
    for at in 0..total / chunk as u64 {
        bytes[..8].copy_from_slice(&at.to_ne_bytes());
        file.write_all(&bytes)?;
    }
    file.sync_all()?;
    forget(&file, 0, total)
}

fn go(way: Way, path: &Path, total: u64, chunk: usize) -> Result<ReadFloor> {
    let sending = || format!("sending {}", path.display());
    let (receiver, sender) = connected().doing(sending)?;
    let flags = if way == Way::Direct { OFlags::DIRECT } else { OFlags::empty() };
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(flags.bits().cast_signed());
    let file = options.open(path).doing(sending)?;
    match way {
        Way::Memory | Way::Direct => {}
        Way::SendfileCold => forget(&file, 0, total).doing(sending)?,
        Way::Sendfile => io::copy(&mut &file, &mut io::sink()).map(drop).doing(sending)?,
    }
    let chunks = if way == Way::Memory { MEMORY / chunk } else { 1 };
    let mut sectors = Sectors::new(chunks * chunk);
    sectors.bytes_mut().fill(1);
    let began = Instant::now();
    let (cpu, received) = thread::scope(|scope| {
        let received = scope.spawn(move || receive(receiver));
        let sent =
            scope.spawn(move || with_cpu(|| send(way, &file, sectors, &sender, total, chunk)));
        let (cpu, ()) = joined(sent)?;
        Ok((cpu, joined(received)?))
    })?;
    let took = began.elapsed();
    Ok(figures(way, received, took, cpu))
}

fn figures(way: Way, bytes: u64, took: Duration, cpu: Duration) -> ReadFloor {
    let gigabytes = bytes as f64 / 1e9;
    ReadFloor {
        way,
        bytes,
        gb_per_s: gigabytes / took.as_secs_f64(),
        gb_per_cpu_second: gigabytes / cpu.as_secs_f64(),
        cpu_us_per_kib: cpu.as_secs_f64() * 1e6 / (bytes as f64 / 1024.0),
    }
}

fn send(
    way: Way,
    file: &File,
    mut sectors: Sectors,
    mut to: &TcpStream,
    total: u64,
    chunk: usize,
) -> io::Result<()> {
    let mut at = 0;
    while at < total {
        match way {
            Way::Memory => {
                let from = at as usize % sectors.bytes().len();
                to.write_all(&sectors.bytes()[from..][..chunk])?;
            }
            Way::Direct => {
                file.read_exact_at(sectors.bytes_mut(), at)?;
                to.write_all(sectors.bytes())?;
            }
            Way::Sendfile => send_file(file, to, at, chunk)?,
            Way::SendfileCold => {
                fadvise(file, at, NonZeroU64::new(AHEAD), Advice::WillNeed)?;
                send_file(file, to, at, chunk)?;
                // What the receiver has not read yet stays with the socket.
                forget(file, at, chunk as u64)?;
            }
        }
        at += chunk as u64;
    }
    to.shutdown(Shutdown::Write)
}

fn send_file(file: &File, to: &TcpStream, mut at: u64, chunk: usize) -> io::Result<()> {
    let end = at + chunk as u64;
    while at < end {
        let left = (end - at) as usize;
        // It moves `at`.
        if sendfile(to, file, Some(&mut at), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

fn forget(file: &File, at: u64, bytes: u64) -> io::Result<()> {
    Ok(fadvise(file, at, NonZeroU64::new(bytes), Advice::DontNeed)?)
}

fn receive(mut from: TcpStream) -> io::Result<u64> {
    let mut buffer = vec![0; RECEIVED];
    let mut received = 0;
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(received),
            bytes => received += bytes as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_brings_all_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().to_owned();
        let args = ReadArgs { data_dir, megabytes: 4, chunk_kilobytes: 192, rounds: 1 };
        let floors = read(&args).unwrap();
        assert_eq!(floors.len(), 4);
        for floor in floors {
            assert_eq!(floor.bytes, 22 * (192 << 10), "{floor:?}");
            assert!(floor.cpu_us_per_kib > 0.0, "{floor:?}");
        }
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
