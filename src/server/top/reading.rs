//! What the admin port says at one moment.

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use hashbrown::HashMap;

use super::TopError;
use crate::{admin::Top, env::Clock};

/// How long a broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most bytes of a page that are read.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// All numbers of `/metrics` by name and labels, without the prefix; and `/top`.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// When, by the monotonic clock.
    pub at: Duration,
    /// The busiest and the slowest.
    pub top: Top,
    numbers: HashMap<String, f64>,
}

impl Reading {
    /// Asks a broker.
    ///
    /// # Errors
    /// [`TopError::NoAnswer`].
    pub fn take(address: &str, clock: &dyn Clock) -> Result<Self, TopError> {
        let failed = |reason: String| TopError::NoAnswer { address: address.to_owned(), reason };
        let page = |path| get(address, path).map_err(|error| failed(format!("{path}: {error}")));
        let metrics = page("/metrics")?;
        let at = clock.monotonic();
        let top = serde_json::from_str(&page("/top")?);
        let top = top.map_err(|error| failed(format!("/top: {error}")))?;
        Ok(Self::parse(at, &metrics, top))
    }

    /// From a page in Prometheus's text format.
    pub fn parse(at: Duration, metrics: &str, top: Top) -> Self {
        let number = |line: &str| {
            let (name, value) = line.strip_prefix("mainstem_")?.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self { at, top, numbers: metrics.lines().filter_map(number).collect() }
    }

    /// A number; 0 where the broker does not give it.
    pub fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).copied().unwrap_or(0.0)
    }

    /// Upper bounds in seconds and counts of the buckets of a stage, in ascending order.
    pub fn buckets(&self, stage: &str) -> Vec<(f64, f64)> {
        let start = format!("stage_seconds_bucket{{stage=\"{stage}\",le=\"");
        let bucket = |(name, count): (&String, &f64)| {
            let bound = name.strip_prefix(&start)?.strip_suffix("\"}")?;
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().ok()? };
            Some((bound, *count))
        };
        let mut buckets: Vec<_> = self.numbers.iter().filter_map(bucket).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    }

    /// Whether a later reading is of the same process.
    pub fn same_process(&self, later: &Self) -> bool {
        self.number("uptime_seconds") <= later.number("uptime_seconds")
    }
}

/// By the first of the address's places that takes it: `localhost` may be two, and the broker at one.
fn connect(address: &str) -> io::Result<TcpStream> {
    let mut failed = io::ErrorKind::AddrNotAvailable.into();
    for place in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&place, PATIENCE) {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

/// One page of the admin port's, which closes after each.
fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut page = String::new();
    stream.take(PAGE_BYTES_MAX).read_to_string(&mut page)?;
    let (head, body) = page.split_once("\r\n\r\n").unwrap_or((&page, ""));
    match head.lines().next().and_then(|line| line.split(' ').nth(1)) {
        Some("200") => Ok(body.to_owned()),
        Some(status) => Err(io::Error::other(format!("{status} {}", body.trim()))),
        None => Err(io::Error::other("it does not speak HTTP")),
    }
}
