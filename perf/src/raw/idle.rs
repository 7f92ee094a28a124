//! Connections that do nothing after the exchange every client begins with.

use super::setup_connection::SetupConnection;
use super::summary::IdleReport;
use crate::error::{PerfError, Result};
use crate::proc_stat::sample;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::Duration;

/// Files that the generator itself needs beside the connections.
const OTHER_FILES: u64 = 1_024;
/// How long the broker is left alone before its memory is looked at.
const SETTLE: Duration = Duration::from_secs(1);

/// Open connections; dropping them closes them.
pub struct IdleConnections {
    streams: Vec<TcpStream>,
    rss_bytes: Option<(u64, u64)>,
}

impl IdleConnections {
    /// Opens so many, and looks at the memory of the process `pid` before and after.
    ///
    /// # Errors
    /// The broker takes no more, or this process may not have as many open files.
    pub fn open(address: &str, count: usize, pid: Option<u32>) -> Result<Self> {
        allow_files(count as u64 + OTHER_FILES)?;
        let before = pid.map(sample).transpose()?;
        let mut streams = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = SetupConnection::open(address)?;
            connection.api_versions()?;
            streams.push(connection.into_stream());
        }
        if count > 0 {
            sleep(SETTLE);
        }
        let after = pid.map(sample).transpose()?;
        let rss_bytes = before.zip(after).map(|(b, a)| (b.rss_bytes, a.rss_bytes));
        Ok(Self { streams, rss_bytes })
    }

    /// What they cost.
    ///
    /// # Errors
    /// The broker closed one of them meanwhile.
    pub fn report(&self) -> Result<IdleReport> {
        let connections = self.streams.len();
        let closed = self.streams.iter().filter(|stream| is_closed(stream)).count();
        if closed > 0 {
            let text = format!("{closed} of {connections} idle connections were closed");
            return Err(PerfError::Failed(text));
        }
        let each =
            |(before, after): (u64, u64)| (after as f64 - before as f64) / connections as f64;
        Ok(IdleReport {
            connections,
            rss_before_bytes: self.rss_bytes.map(|(before, _)| before),
            rss_after_bytes: self.rss_bytes.map(|(_, after)| after),
            bytes_per_connection: self.rss_bytes.map(each),
        })
    }
}

/// Nothing was asked, so there is nothing to read but the end.
fn is_closed(stream: &TcpStream) -> bool {
    let peeked = stream.set_nonblocking(true).and_then(|()| stream.peek(&mut [0]));
    !matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

fn allow_files(count: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(count), maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).map_err(|error| PerfError::Io {
        doing: format!("raising the limit of open files to {count}"),
        source: error.into(),
    })
}
