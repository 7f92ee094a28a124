//! Synchronous sends: many who each wait for their own to be durable.
//!
//! One thread takes requests from some connections, hands them to another that writes them durably,
//! and answers. No protocol, no copy, no checksum, no index: what is left are the calls and the waking
//! up that no broker on this kernel and this disk can do without.

use super::disk::{Disk, DiskLink};
use super::{connected, joined, with_cpu, with_file};
use crate::error::{Doing, Result};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

/// What to measure.
#[derive(Args, Debug)]
pub struct SendArgs {
    /// A directory on the disk in question; a file there is written and removed.
    #[arg(long)]
    data_dir: PathBuf,
    /// Connections.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Requests of each connection that wait for their answer.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    in_flight: u16,
    /// Bytes of a request, all included.
    #[arg(long, default_value_t = 1_400, value_parser = clap::value_parser!(u32).range(1..=1 << 20))]
    request_bytes: u32,
    /// Bytes of an answer.
    #[arg(long, default_value_t = 250, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    answer_bytes: u32,
    /// How long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// What it costs.
#[derive(Debug, Serialize)]
pub struct SendFloor {
    /// Requests that were answered.
    pub requests: u64,
    /// Of them each second.
    pub requests_per_second: f64,
    /// CPU microseconds a request of the thread that has the connections.
    pub connections_cpu_us_per_request: f64,
    /// CPU microseconds a request of the thread that writes.
    pub writer_cpu_us_per_request: f64,
    /// Both.
    pub cpu_us_per_request: f64,
    /// Requests that shared a durable write, on average.
    pub requests_per_write: f64,
}

/// Measures.
///
/// # Errors
/// When the system refuses a file, a connection or a thread.
pub fn send(args: &SendArgs) -> Result<SendFloor> {
    with_file(&args.data_dir, |path| measure(args, path))
}

fn measure(args: &SendArgs, path: &Path) -> Result<SendFloor> {
    let (request, answer) = (args.request_bytes as usize, args.answer_bytes as usize);
    let (disk, link) =
        Disk::new(path, request).doing(|| format!("preparing {}", path.display()))?;
    let (mut clients, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..args.connections {
        let (client, connection) = connected().doing(|| "setting up connections".to_owned())?;
        clients.push(client);
        connections.push(Connection { stream: connection, open: true, pending: 0, answers: 0 });
    }
    let answers = vec![0; answer * usize::from(args.in_flight)];
    let server = Server { connections, request, answer, answers, link, taken: VecDeque::new() };
    let lasting = Duration::from_secs(args.seconds.into());

    let began = Instant::now();
    thread::scope(|scope| {
        let server = scope.spawn(move || with_cpu(|| server.serve()));
        let disk = scope.spawn(move || with_cpu(|| disk.write_all_there_is()));
        let clients: Vec<_> = clients
            .into_iter()
            .map(|client| scope.spawn(move || send_until(client, args, began + lasting)))
            .collect();
        let mut requests = 0;
        for client in clients {
            requests += joined(client)?;
        }
        let elapsed = began.elapsed();
        let (connections, ()) = joined(server)?;
        let (writer, writes) = joined(disk)?;
        let each = |cpu: Duration| cpu.as_secs_f64() * 1e6 / requests as f64;
        Ok(SendFloor {
            requests,
            requests_per_second: requests as f64 / elapsed.as_secs_f64(),
            connections_cpu_us_per_request: each(connections),
            writer_cpu_us_per_request: each(writer),
            cpu_us_per_request: each(connections + writer),
            requests_per_write: requests as f64 / writes as f64,
        })
    })
}

struct Connection {
    stream: TcpStream,
    /// Whether its client has not hung up.
    open: bool,
    /// Bytes of a request that has not come whole.
    pending: usize,
    /// To be sent.
    answers: usize,
}

struct Server {
    connections: Vec<Connection>,
    request: usize,
    answer: usize,
    /// As many answers as a connection can wait for.
    answers: Vec<u8>,
    link: DiskLink,
    /// Whose requests were taken, and how many, oldest first.
    taken: VecDeque<(usize, u64)>,
}

impl Server {
    /// Serves until all clients have hung up.
    fn serve(mut self) -> io::Result<()> {
        let mut arrived = vec![0; 1 << 20];
        while self.connections.iter().any(|one| one.open) {
            let (told, readable) = self.wait()?;
            if told {
                self.answer()?;
            }
            let mut taken = 0;
            for index in readable {
                let connection = &mut self.connections[index];
                let bytes = connection.stream.read(&mut arrived)?;
                connection.open = bytes > 0;
                let pending = connection.pending + bytes;
                connection.pending = pending % self.request;
                let count = (pending / self.request) as u64;
                if count > 0 {
                    self.taken.push_back((index, count));
                    taken += count;
                }
            }
            if taken > 0 {
                self.link.take(taken)?;
            }
        }
        Ok(())
    }

    /// Whether requests have become durable, and which connections have sent something.
    fn wait<'a>(&'a self) -> io::Result<(bool, Vec<usize>)> {
        let interest = PollFlags::IN;
        let mut ready = vec![PollFd::new(&self.link.durable, interest)];
        let stream = |one: &'a Connection| {
            let of = if one.open { interest } else { PollFlags::empty() };
            PollFd::from_borrowed_fd(one.stream.as_fd(), of)
        };
        ready.extend(self.connections.iter().map(stream));
        poll(&mut ready, None)?;
        let told = ready[0].revents().contains(interest);
        let readable = ready[1..].iter().enumerate();
        let readable = readable.filter(|(_, one)| one.revents().contains(interest));
        Ok((told, readable.map(|(index, _)| index).collect()))
    }

    /// Answers what has become durable, each connection at once.
    fn answer(&mut self) -> io::Result<()> {
        let mut durable = self.link.made_durable()?;
        while durable > 0 {
            let (index, count) = self.taken.front_mut().expect("durable after it was taken");
            let part = durable.min(*count);
            self.connections[*index].answers += part as usize;
            *count -= part;
            durable -= part;
            if *count == 0 {
                self.taken.pop_front();
            }
        }
        for connection in &mut self.connections {
            let count = std::mem::take(&mut connection.answers);
            if count > 0 {
                connection.stream.write_all(&self.answers[..count * self.answer])?;
            }
        }
        Ok(())
    }
}

/// Sends until `end`; returns how many requests were answered.
fn send_until(mut stream: TcpStream, args: &SendArgs, end: Instant) -> io::Result<u64> {
    let in_flight = usize::from(args.in_flight);
    let (request, answer) = (args.request_bytes as usize, args.answer_bytes as usize);
    let requests = vec![0; request * in_flight];
    let mut buffer = vec![0; answer * in_flight];
    stream.write_all(&requests)?;
    let (mut outstanding, mut pending, mut answered) = (in_flight, 0, 0);
    while outstanding > 0 {
        let bytes = stream.read(&mut buffer)?;
        if bytes == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let count = (pending + bytes) / answer;
        pending = (pending + bytes) % answer;
        answered += count as u64;
        outstanding -= count;
        if Instant::now() < end {
            stream.write_all(&requests[..count * request])?;
            outstanding += count;
        }
    }
    Ok(answered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_request_is_answered_once_durable() {
        let dir = tempfile::tempdir().unwrap();
        let args = SendArgs {
            data_dir: dir.path().to_owned(),
            connections: 3,
            in_flight: 2,
            request_bytes: 3_000,
            answer_bytes: 100,
            seconds: 1,
        };
        let floor = send(&args).unwrap();
        assert!(floor.requests >= 6, "{floor:?}");
        assert!(floor.requests_per_write >= 1.0 && floor.writer_cpu_us_per_request > 0.0);
        assert!(std::fs::read_dir(dir.path()).unwrap().next().is_none());
    }
}
