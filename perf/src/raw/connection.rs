//! A connection that never blocks and carries frames with their length before them: Kafka's and
//! RocketMQ's alike.

use crate::error::{Doing, PerfError, Result};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsFd, BorrowedFd};

/// Room for one read at least.
const READ_BYTES: usize = 64 << 10;
/// No answer is larger.
const FRAME_BYTES_MAX: usize = 256 << 20;

/// One connection, its frame on the way out and its bytes on the way in.
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    filled: usize,
    /// Bytes of the frame under way that the socket took.
    sent: usize,
    blocked: bool,
    /// How often it took no more.
    stalls: u64,
}

/// The address of HOST:PORT.
///
/// # Errors
/// The name is not known.
pub fn resolve(address: &str) -> Result<SocketAddr> {
    let mut found = address.to_socket_addrs().doing(|| format!("looking up {address}"))?;
    // What comes first may be IPv6, on which few brokers listen.
    let all: Vec<_> = found.by_ref().collect();
    let best = all.iter().find(|a| a.is_ipv4()).or(all.first());
    best.copied().ok_or_else(|| PerfError::Failed(format!("{address} has no address")))
}

impl Connection {
    /// Connects to a broker.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open(address: &str) -> Result<Self> {
        let doing = || format!("connecting to {address}");
        let stream = TcpStream::connect(resolve(address)?).doing(doing)?;
        stream.set_nodelay(true).doing(doing)?;
        stream.set_nonblocking(true).doing(doing)?;
        Ok(Self {
            stream,
            inbox: vec![0; READ_BYTES],
            filled: 0,
            sent: 0,
            blocked: false,
            stalls: 0,
        })
    }

    /// Notes that the socket takes bytes again.
    pub fn unblock(&mut self) {
        self.blocked = false;
    }

    /// How often the socket took no more, so that the sender had to wait.
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Sends what is left of a frame. Until this says that all of it went out, the same frame is to
    /// be given again, unchanged.
    ///
    /// # Errors
    /// The connection is gone.
    pub fn send(&mut self, frame: &[u8]) -> Result<bool> {
        while self.sent < frame.len() {
            if self.blocked {
                return Ok(false);
            }
            match self.stream.write(&frame[self.sent..]) {
                Ok(taken) => self.sent += taken,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    self.blocked = true;
                    self.stalls += 1;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).doing(|| "sending".into()),
            }
        }
        self.sent = 0;
        Ok(true)
    }

    /// Takes what has come, and shows each whole frame, without its length.
    ///
    /// # Errors
    /// The connection is gone, or `each` fails.
    pub fn receive(&mut self, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        loop {
            let taken = match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => return Err(PerfError::Failed("the broker closed a connection".into())),
                Ok(taken) => taken,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).doing(|| "receiving".into()),
            };
            self.filled += taken;
            // Less than there was room for is all there was.
            let drained = self.filled < self.inbox.len();
            let mut at = 0;
            let pending = loop {
                let rest = &self.inbox[at..self.filled];
                let Some(size) = frame_size(rest)? else { break 0 };
                if size > rest.len() {
                    break size;
                }
                each(&rest[4..size])?;
                at += size;
            };
            if at > 0 {
                self.inbox.copy_within(at..self.filled, 0);
                self.filled -= at;
            }
            let room = pending.max(self.filled + READ_BYTES / 2);
            if room > self.inbox.len() {
                self.inbox.resize(room.next_power_of_two(), 0);
            }
            if drained {
                return Ok(());
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The size of the frame these bytes begin with, its length included.
fn frame_size(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(&[a, b, c, d]) = bytes.get(..4) else { return Ok(None) };
    let size = u32::from_be_bytes([a, b, c, d]) as usize + 4;
    if size > FRAME_BYTES_MAX {
        return Err(PerfError::Failed(format!("an answer of {size} bytes")));
    }
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::open(&listener.local_addr().unwrap().to_string()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let large = vec![7u8; 300_000];
        let mut bytes = Vec::new();
        for frame in [&b"one"[..], b"", &large, b"four"] {
            bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
            bytes.extend_from_slice(frame);
        }
        let writer = std::thread::spawn(move || {
            bytes.chunks(1_003).for_each(|part| peer.write_all(part).unwrap());
            peer
        });
        let mut sizes = Vec::new();
        while sizes.len() < 4 {
            let mut seen = |frame: &[u8]| {
                sizes.push(frame.len());
                Ok(())
            };
            connection.receive(&mut seen).unwrap();
        }
        assert_eq!(sizes, [3, 0, 300_000, 4]);
        drop(writer.join().unwrap());
        assert!(connection.receive(|_| Ok(())).is_err(), "the end is told");
    }

    #[test]
    fn a_frame_is_sent_in_parts_until_all_of_it_is_out() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut connection = Connection::open(&listener.local_addr().unwrap().to_string()).unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let frame = vec![3u8; 32 << 20];
        assert!(!connection.send(&frame).unwrap(), "more than the socket holds");
        assert_eq!(connection.stalls(), 1);
        let reader = std::thread::spawn(move || {
            let mut all = vec![0; 32 << 20];
            peer.read_exact(&mut all).unwrap();
            all
        });
        loop {
            connection.unblock();
            if connection.send(&frame).unwrap() {
                break;
            }
        }
        assert!(reader.join().unwrap() == frame);
    }
}
