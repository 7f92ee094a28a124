//! Checks across keys.

use super::{Advertised, Config, ConfigError, ConfigErrors, Cores, Listen, MIB, Pin, key};

impl Config {
    /// Checks that the keys go together.
    ///
    /// # Errors
    /// The key to change and why, for each contradiction.
    pub fn validate(&self) -> Result<(), ConfigErrors> {
        let mut found = Contradictions { config: self, errors: Vec::new() };
        found.log();
        found.listeners();
        found.groups();
        found.requests();
        found.cores();
        if found.errors.is_empty() { Ok(()) } else { Err(ConfigErrors(found.errors)) }
    }

    /// The largest record batch any topic may allow: such a batch must fit the segment and may not
    /// take more than all that may be ahead of the disk.
    #[must_use]
    pub const fn largest_batch_bytes(&self) -> u64 {
        // A frame and a block add headers to the batch, and a block ends at a multiple of 4 KiB.
        const HEADERS: u64 = 64 * 1024;
        let (segment, inflight) = (self.log.segment_bytes, self.log.inflight_bytes);
        let smaller = if segment < inflight { segment } else { inflight };
        smaller.saturating_sub(HEADERS)
    }
}

struct Contradictions<'a> {
    config: &'a Config,
    errors: Vec<ConfigError>,
}

impl Contradictions<'_> {
    fn check(&mut self, holds: bool, name: &'static str, reason: impl FnOnce() -> String) {
        debug_assert!(key(name).is_some(), "{name} is no key");
        if !holds {
            self.errors.push(ConfigError::Contradiction { key: name, reason: reason() });
        }
    }

    /// Checks that one key's number is at most `limit`, which is said in words too.
    fn at_most(&mut self, name: &'static str, number: u64, limit: u64, words: &str) {
        let value = self.config.get(name).unwrap_or_default();
        self.check(number <= limit, name, || format!("{value} is more than {words}"));
    }

    fn at_least(&mut self, name: &'static str, number: u64, limit: u64, words: &str) {
        let value = self.config.get(name).unwrap_or_default();
        self.check(number >= limit, name, || format!("{value} is less than {words}"));
    }

    fn log(&mut self) {
        let log = &self.config.log;
        let (segment, block, tail) = (log.segment_bytes, log.block_bytes, log.tail_bytes);
        self.at_most(
            "log.first_segment_bytes",
            log.first_segment_bytes,
            segment,
            "log.segment_bytes",
        );
        self.at_least(
            "log.first_segment_bytes",
            log.first_segment_bytes,
            2 * block,
            "two log.block_bytes",
        );
        self.at_least("log.segment_bytes", segment, 2 * block, "two log.block_bytes");
        self.at_least("log.tail_bytes", tail, 8 * block, "eight log.block_bytes");
        self.at_most("log.inflight_bytes", log.inflight_bytes, tail / 2, "half of log.tail_bytes");
        self.at_least("log.inflight_bytes", log.inflight_bytes, block, "log.block_bytes");
        self.at_least("log.checkpoint_bytes", log.checkpoint_bytes, segment, "log.segment_bytes");
        // Two checkpoints' stretches of log are always kept, and one segment at each end.
        let kept = 2 * (log.checkpoint_bytes + segment);
        if log.max_bytes > 0 {
            let words = format!(
                "two log.checkpoint_bytes and two log.segment_bytes ({} MiB)",
                kept.div_ceil(MIB)
            );
            self.at_least("log.max_bytes", log.max_bytes, kept, &words);
        }
    }

    fn listeners(&mut self) {
        let Config { kafka, rocketmq, admin, .. } = self.config;
        self.reachable("kafka.advertised", &kafka.advertised, "kafka.listen", kafka.listen);
        let (advertised, listen) = (&rocketmq.advertised, rocketmq.listen);
        self.reachable("rocketmq.advertised", advertised, "rocketmq.listen", listen);
        for server in rocketmq.name_servers() {
            let port = server.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            self.check(port.is_some(), "rocketmq.register_with", || {
                format!("{server:?} is not HOST:PORT")
            });
        }
        let listeners = [
            ("kafka.listen", kafka.listen),
            ("rocketmq.listen", listen),
            ("rocketmq.namesrv", rocketmq.namesrv),
            ("admin.listen", admin.listen),
        ];
        for (at, (name, listen)) in listeners.iter().enumerate() {
            let Listen::At(address) = listen else { continue };
            let same = listeners[..at].iter().find(|(_, other)| other == listen);
            if let Some((other, _)) = same.filter(|_| address.port() != 0) {
                self.check(false, name, || format!("{address} is {other} already"));
            }
        }
    }

    /// A wildcard is nothing that clients could be told.
    fn reachable(
        &mut self,
        name: &'static str,
        advertised: &Advertised,
        listener: &str,
        listen: Listen,
    ) {
        let Listen::At(address) = listen else { return };
        let reachable = !address.ip().is_unspecified() || advertised.host.is_some();
        self.check(reachable, name, || {
            format!(
                "must name an address clients can reach, since {listener} is the wildcard {address}"
            )
        });
    }

    fn groups(&mut self) {
        let groups = &self.config.groups;
        self.at_least(
            "groups.max_session_timeout_ms",
            groups.max_session_timeout_ms,
            groups.min_session_timeout_ms,
            "groups.min_session_timeout_ms",
        );
    }

    fn requests(&mut self) {
        let (kafka, topic) = (&self.config.kafka, &self.config.topic);
        let largest = topic.max_message_bytes;
        self.at_most(
            "topic.max_message_bytes",
            largest,
            kafka.max_request_bytes,
            "kafka.max_request_bytes",
        );
        let fits = self.config.largest_batch_bytes();
        self.at_most(
            "topic.max_message_bytes",
            largest,
            fits,
            &format!("log.inflight_bytes and log.segment_bytes allow ({fits} bytes)"),
        );
        self.at_least(
            "kafka.request_memory_bytes",
            kafka.request_memory_bytes,
            kafka.max_request_bytes,
            "kafka.max_request_bytes",
        );
        self.at_most(
            "kafka.num_partitions",
            kafka.num_partitions.into(),
            kafka.max_partitions.into(),
            "kafka.max_partitions",
        );
    }

    fn cores(&mut self) {
        let shards = &self.config.shards;
        if let Cores::List(cores) = &shards.cores {
            let pinned = shards.pin != Pin::Set(false);
            let count = shards.count as usize;
            self.check(!pinned || count <= cores.len(), "shards.count", || {
                format!("{count} pinned shards do not fit on the cores {}", shards.cores)
            });
            self.check(cores.len() <= 256, "shards.cores", || {
                format!("names {} cores, but there are at most 256 shards", cores.len())
            });
        }
    }
}
