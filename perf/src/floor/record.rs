//! A record that comes alone: durable, answered, and in its reader's hands.
//!
//! One thread takes records from a connection, hands them to another that writes them durably, then
//! answers them on the first connection and sends them out on a second one, to whoever has asked. No
//! protocol, no queues, no index: what is left are the calls and the waking up that no broker on this
//! kernel and this disk can do without, as long as records come one at a time.

use super::disk::{Disk, DiskLink};
use super::{connected, joined, with_cpu, with_file};
use crate::error::{Doing, Result};
use crate::histogram::new_histogram;
use crate::report::Percentiles;
use clap::Args;
use hdrhistogram::Histogram;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// Bytes that a request or an answer has besides its records, about as in Kafka's protocol.
const AROUND: usize = 100;

/// What to measure.
#[derive(Args, Debug)]
pub struct RecordArgs {
    /// A directory on the disk in question; a file there is written and removed.
    #[arg(long)]
    data_dir: PathBuf,
    /// Records a second.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Bytes of each record.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u32).range(8..=65_536))]
    record_bytes: u32,
}

/// What it costs.
#[derive(Debug, Serialize)]
pub struct RecordFloor {
    /// Records that went through.
    pub records: u64,
    /// CPU microseconds a record of the thread that has the connections.
    pub connections_cpu_us_per_record: f64,
    /// CPU microseconds a record of the thread that writes.
    pub writer_cpu_us_per_record: f64,
    /// Both.
    pub cpu_us_per_record: f64,
    /// Records that shared a durable write, on average.
    pub records_per_write: f64,
    /// From the intended send time to the record in the receiver's hands.
    pub end_to_end_latency: Percentiles,
}

struct Server {
    producer: TcpStream,
    consumer: TcpStream,
    disk: DiskLink,
    record_bytes: usize,
    total: u64,
}

/// Measures.
///
/// # Errors
/// When the system refuses a file, a connection or a thread.
pub fn record(args: &RecordArgs) -> Result<RecordFloor> {
    with_file(&args.data_dir, |path| measure(args, path))
}

fn measure(args: &RecordArgs, path: &Path) -> Result<RecordFloor> {
    let total = u64::from(args.rate) * u64::from(args.seconds);
    let record_bytes = args.record_bytes as usize;
    let (disk, link) =
        Disk::new(path, record_bytes + AROUND).doing(|| format!("preparing {}", path.display()))?;
    let set_up = || "setting up connections".to_owned();
    let (sender, producer) = connected().doing(set_up)?;
    let (receiver, consumer) = connected().doing(set_up)?;
    let answers = sender.try_clone().doing(set_up)?;
    let server = Server { producer, consumer, disk: link, record_bytes, total };

    let epoch = Instant::now();
    let running = || "running".to_owned();
    thread::scope(|scope| {
        let server = scope.spawn(move || with_cpu(|| server.serve()));
        let disk = scope.spawn(move || with_cpu(|| disk.write_all_there_is()));
        scope.spawn(move || drain(answers));
        let receiver = scope.spawn(move || receive(receiver, record_bytes, total, epoch));
        send(sender, record_bytes, total, args.rate, epoch).doing(running)?;
        let latency = joined(receiver)?;
        let (connections, ()) = joined(server)?;
        let (writer, writes) = joined(disk)?;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / total as f64;
        Ok(RecordFloor {
            records: latency.len(),
            connections_cpu_us_per_record: each(connections),
            writer_cpu_us_per_record: each(writer),
            cpu_us_per_record: each(connections + writer),
            records_per_write: total as f64 / writes as f64,
            end_to_end_latency: Percentiles::of(&latency),
        })
    })
}

impl Server {
    /// Serves until the last record has been sent out.
    fn serve(mut self) -> io::Result<()> {
        let request = self.record_bytes + AROUND;
        let mut arrived = vec![0; 1 << 20];
        let mut fetch = [0; AROUND];
        // Bytes of records from the first that was not sent out, and how far they have come.
        let (mut held, mut complete, mut durable, mut answered, mut sent) =
            (Vec::new(), 0, 0, 0, 0);
        let mut asked = false;
        while sent < self.total {
            let interest = PollFlags::IN;
            let mut ready = [
                PollFd::new(&self.producer, interest),
                PollFd::new(&self.consumer, interest),
                PollFd::new(&self.disk.durable, interest),
            ];
            poll(&mut ready, None)?;
            let [records, fetches, told] = ready.map(|one| one.revents().contains(interest));
            if records {
                let bytes = self.producer.read(&mut arrived)?;
                if bytes == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                held.extend_from_slice(&arrived[..bytes]);
                let now = sent + (held.len() / request) as u64;
                if now > complete {
                    self.disk.take(now - complete)?;
                    complete = now;
                }
            }
            if fetches {
                self.consumer.read_exact(&mut fetch)?;
                asked = true;
            }
            if told {
                durable += self.disk.made_durable()?;
            }
            if durable > answered {
                self.producer.write_all(&vec![0; (durable - answered) as usize * AROUND])?;
                answered = durable;
            }
            if asked && durable > sent {
                let bytes = (durable - sent) as usize * request;
                self.consumer.write_all(&held[..bytes])?;
                held.drain(..bytes);
                sent = durable;
                asked = false;
            }
        }
        Ok(())
    }
}

/// Sends a record at each moment it is due; it begins with that moment.
fn send(
    mut producer: TcpStream,
    record_bytes: usize,
    total: u64,
    rate: u32,
    epoch: Instant,
) -> io::Result<()> {
    let mut record = vec![0; record_bytes + AROUND];
    for number in 0..total {
        let due = Duration::from_secs(1) * number as u32 / rate;
        thread::sleep(due.saturating_sub(epoch.elapsed()));
        record[..8].copy_from_slice(&(due.as_nanos() as u64).to_ne_bytes());
        producer.write_all(&record)?;
    }
    Ok(())
}

fn drain(mut answers: TcpStream) {
    let mut buffer = [0; 4096];
    while answers.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
}

/// Asks for records, and notes how long each took.
fn receive(
    mut consumer: TcpStream,
    record_bytes: usize,
    total: u64,
    epoch: Instant,
) -> io::Result<Histogram<u64>> {
    let mut latency = new_histogram();
    let request = record_bytes + AROUND;
    let (mut held, mut buffer) = (Vec::<u8>::new(), vec![0; 1 << 20]);
    while latency.len() < total {
        // The server may have ended by the time a part of an answer is here.
        if held.is_empty() {
            consumer.write_all(&[0; AROUND])?;
        }
        let bytes = consumer.read(&mut buffer)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        held.extend_from_slice(&buffer[..bytes]);
        let whole = held.len() / request;
        let now = epoch.elapsed().as_nanos() as u64;
        for record in held[..whole * request].chunks_exact(request) {
            let due = u64::from_ne_bytes(record[..8].try_into().expect("eight bytes"));
            latency.saturating_record(now.saturating_sub(due));
        }
        held.drain(..whole * request);
    }
    Ok(latency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_goes_through() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().to_owned();
        let args = RecordArgs { data_dir, rate: 500, seconds: 1, record_bytes: 100 };
        let floor = record(&args).unwrap();
        assert_eq!(floor.records, 500);
        assert!(floor.writer_cpu_us_per_record > 0.0 && floor.records_per_write >= 1.0);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
