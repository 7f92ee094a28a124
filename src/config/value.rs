//! Types of values that are more than numbers and words.

use std::{fmt, net::SocketAddr, str::FromStr};

/// When a send is answered and shown to consumers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// After its bytes are durable.
    Sync,
    /// Once its place in the log is assigned; a crash may lose what was answered last.
    Async,
}

/// What writes the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWriter {
    /// A plain thread calling `pwritev2(RWF_DSYNC)`.
    Thread,
    /// A glommio executor of its own.
    Glommio,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// A listener's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// No listener.
    Off,
    /// Listens here; port 0 takes a free one.
    At(SocketAddr),
}

impl Listen {
    /// The address, unless the listener is off.
    #[must_use]
    pub const fn address(self) -> Option<SocketAddr> {
        match self {
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        let address = text.parse().map_err(|_| {
            format!("{text:?} is no listening address (as 127.0.0.1:9092, [::]:9092 or off)")
        })?;
        Ok(Self::At(address))
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(address) => address.fmt(f),
        }
    }
}

/// The host and port clients are told to connect to; what is `None` is as the listener has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertised {
    /// A name or address, IPv6 without brackets.
    pub host: Option<String>,
    /// A port, where it differs from the listener's.
    pub port: Option<u16>,
}

impl Advertised {
    /// Host and port to tell clients, for a listener that got the address `bound`.
    #[must_use]
    pub fn of(&self, bound: SocketAddr) -> (String, u16) {
        let host = self.host.clone().unwrap_or_else(|| bound.ip().to_string());
        (host, self.port.unwrap_or_else(|| bound.port()))
    }
}

impl FromStr for Advertised {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let wrong = || format!("{text:?} is no advertised address (as broker1, broker1:9092)");
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, after) = rest.split_once(']').ok_or_else(wrong)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| wrong())?;
            (
                host,
                if after.is_empty() {
                    None
                } else {
                    Some(after.strip_prefix(':').ok_or_else(wrong)?)
                },
            )
        } else {
            text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
        };
        let port = port.map(str::parse::<u16>).transpose().map_err(|_| wrong())?;
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%');
        if host.is_empty() || host.len() > 255 || !host.chars().all(legal) || port == Some(0) {
            return Err(wrong());
        }
        let wildcard = host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        if wildcard {
            return Err(format!("{text:?} is a wildcard, which no client can connect to"));
        }
        Ok(Self { host: Some(host.to_owned()), port })
    }
}

impl fmt::Display for Advertised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(host) = &self.host else { return Ok(()) };
        if host.contains(':') {
            write!(f, "[{host}]")?
        } else {
            f.write_str(host)?
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// CPU cores by the kernel's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cores {
    /// All the process may run on.
    Auto,
    /// These, in ascending order, none twice, at least one.
    List(Vec<usize>),
}

/// The highest core number accepted, one below the most CPUs a Linux kernel can be built for.
const CORE_MAX: usize = 8191;

impl FromStr for Cores {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let wrong = || format!("{text:?} is no list of cores (as 0-3,6)");
        let number = |text: &str| {
            let core = text.trim().parse::<usize>().ok().filter(|core| *core <= CORE_MAX);
            core.ok_or_else(wrong)
        };
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(wrong());
            }
            cores.extend(first..=last);
        }
        let named = cores.len();
        cores.sort_unstable();
        cores.dedup();
        if cores.len() < named {
            return Err(format!("{text:?} names a core twice"));
        }
        Ok(Self::List(cores))
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::List(cores) = self else { return f.write_str("auto") };
        for (index, run) in cores.chunk_by(|a, b| a + 1 == *b).enumerate() {
            let comma = if index == 0 { "" } else { "," };
            match run {
                [only] => write!(f, "{comma}{only}")?,
                [first, .., last] => write!(f, "{comma}{first}-{last}")?,
                [] => unreachable!("a run has a core"),
            }
        }
        Ok(())
    }
}

/// Whether shards stay on their cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pin {
    /// When `shards.cores` is a list.
    Auto,
    /// As said.
    Set(bool),
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "true" => Ok(Self::Set(true)),
            "false" => Ok(Self::Set(false)),
            _ => Err(format!("{text:?} is none of auto, true, false")),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Set(pin) => pin.fmt(f),
        }
    }
}

/// The core of the log's writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriterCore {
    /// With pinned shards a core no shard has, if there is one; else wherever the kernel puts it.
    Auto,
    /// Wherever the kernel puts it.
    Off,
    /// This one.
    Core(usize),
}

impl FromStr for WriterCore {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            number => match number.parse() {
                Ok(core) if core <= CORE_MAX => Ok(Self::Core(core)),
                _ => Err(format!("{text:?} is none of auto, off, a core's number")),
            },
        }
    }
}

impl fmt::Display for WriterCore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Core(core) => core.fmt(f),
        }
    }
}
