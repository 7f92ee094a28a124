//! Every knob, declared once, and how it gets its value.
//!
//! ```text
//!  table! in keys.rs ──▶ typed structs (Config, Log, Kafka, …)
//!                    └─▶ KEYS: name, meaning, default, bounds, unit, live or restart
//!
//!  default ◀ file ◀ environment ◀ flag      the rightmost that is given counts
//! ```
//!
//! A key has the same name everywhere: `[log] segment_bytes` in the file, `MAINSTEM_LOG_SEGMENT_BYTES`
//! in the environment, `--set log.segment_bytes=64MiB` after the command.

mod describe;
mod error;
mod keys;
mod kind;
mod placement;
mod source;
mod table;
mod validate;
mod value;

#[cfg(test)]
mod tests;

use std::{collections::HashSet, path::PathBuf};

pub use describe::{markdown, text};
pub use error::{ConfigError, ConfigErrors, Origin};
pub use keys::{
    Admin, Cold, Config, Groups, KEYS, Kafka, Log, Node, RocketMq, SECTIONS, Shards, Telemetry,
    Timers, Topic, delay_levels,
};
pub use kind::{GIB, KIB, MIB, TIB};
pub use placement::Placement;
pub use source::Sources;
pub use table::{Change, Key};
pub use value::{Advertised, Cores, Flush, Listen, LogFormat, LogWriter, Pin, WriterCore};

/// What `log.tail_bytes` is a multiple of: a huge page.
const TAIL_STEP_BYTES: u64 = 2 * MIB;

/// The most that `log.tail_bytes` is by itself, however much memory there is.
const TAIL_DEFAULT_BYTES_MAX: u64 = 32 * GIB;

/// The key of this name.
#[must_use]
pub fn key(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Blocks of the log that one write takes at most.
pub const WRITE_BLOCKS: u64 = 4;

/// The log's place in the data directory.
pub const LOG_DIR: &str = "log";

impl RocketMq {
    /// The name servers to register with.
    pub fn name_servers(&self) -> impl Iterator<Item = &str> {
        self.register_with.split(';').map(str::trim).filter(|server| !server.is_empty())
    }
}

impl Config {
    /// The directory of the log, inside the data directory; absolute where the process has a working
    /// directory.
    #[must_use]
    pub fn log_dir(&self) -> PathBuf {
        let dir = self.data_dir.join(LOG_DIR);
        std::path::absolute(&dir).unwrap_or(dir)
    }

    /// Reads all sources, fits defaults to what was given and checks the whole.
    ///
    /// # Errors
    /// Every unknown key, every value out of bounds and every contradiction, by name.
    pub fn load(sources: &Sources) -> Result<Self, ConfigErrors> {
        let settings = sources.apply();
        let mut config = settings.config;
        if !settings.errors.is_empty() {
            return Err(ConfigErrors(settings.errors));
        }
        config.fit_defaults(&settings.given, sources.memory_bytes);
        config.validate()?;
        Ok(config)
    }

    /// A key's value as it would be written in a file.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<String> {
        key(name).map(|key| (key.get)(self))
    }

    /// Sets a key from text, without the checks across keys ([`Config::validate`]).
    ///
    /// # Errors
    /// An unknown key or a value out of bounds, by name.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let Some(key) = key(name) else { return Err(ConfigError::unknown(name, origin)) };
        (key.set)(self, value).map_err(|reason| ConfigError::Invalid {
            key: key.name.to_owned(),
            origin,
            reason,
        })
    }

    /// Names and values of all keys that differ from the defaults, in the order of the table.
    #[must_use]
    pub fn differences(&self) -> Vec<(&'static str, String)> {
        let default = Self::default();
        let differs = |key: &&Key| (key.get)(self) != (key.get)(&default);
        KEYS.iter().filter(differs).map(|key| (key.name, (key.get)(self))).collect()
    }

    /// Fits the defaults of keys that were not given to the machine and to the values that were.
    fn fit_defaults(&mut self, given: &HashSet<&'static str>, memory_bytes: Option<u64>) {
        let (log, kafka) = (&mut self.log, &mut self.kafka);
        if let Some(memory) = memory_bytes
            && !given.contains("log.tail_bytes")
        {
            let share = memory / 4 / TAIL_STEP_BYTES * TAIL_STEP_BYTES;
            log.tail_bytes = share.clamp(log.tail_bytes, TAIL_DEFAULT_BYTES_MAX);
        }
        if !given.contains("log.inflight_bytes") {
            log.inflight_bytes = log.inflight_bytes.min(log.tail_bytes / 2);
        }
        if !given.contains("log.checkpoint_bytes") {
            log.checkpoint_bytes = log.checkpoint_bytes.max(log.segment_bytes);
        }
        if !given.contains("kafka.request_memory_bytes") {
            kafka.request_memory_bytes = kafka.request_memory_bytes.max(kafka.max_request_bytes);
        }
    }
}
