//! The limit on open files, and how many connections it leaves room for.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::ServerError;
use crate::config::Config;

/// Files of the process as a whole: the log and what is prepared for it, checkpoints, listeners.
const OF_PROCESS: u64 = 96;

/// Files of a shard: its rings, and the segments and index files it reads.
const OF_SHARD: u64 = 96;

/// How many files are open beside the clients' connections, at most.
#[must_use]
pub fn beside_connections(config: &Config, shards: usize) -> u64 {
    OF_PROCESS + OF_SHARD * shards as u64 + u64::from(config.admin.max_connections)
}

/// The most files this process may ask to have open at a time; `None` is unlimited.
#[must_use]
pub fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Raises the limit as far as this process may, and tells how many of the connections in
/// `config` it leaves room for: the log always finds a descriptor.
///
/// # Errors
/// [`ServerError::OpenFiles`] when there is room for none.
pub fn connections(config: &Config, shards: usize) -> Result<usize, ServerError> {
    let wanted = config.kafka.max_connections as usize;
    let maximum = limit();
    // Where this is not allowed the limit stays as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let others = beside_connections(config, shards);
    let Some(limit) = getrlimit(Resource::Nofile).current else { return Ok(wanted) };
    let room = limit.saturating_sub(others);
    if room == 0 {
        return Err(ServerError::OpenFiles { limit, required: others + wanted as u64 });
    }
    if room < wanted as u64 {
        tracing::warn!(
            limit,
            "the limit on open files leaves room for {room} connections, not for \
             kafka.max_connections ({wanted}): raise it with `ulimit -n {}`",
            others + wanted as u64
        );
    }
    Ok(wanted.min(room as usize))
}
