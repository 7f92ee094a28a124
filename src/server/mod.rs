//! The process: command line, machine check, shards, listeners, and the order of start and stop.
//!
//! ```text
//!  start:  lock ─▶ checkpoint ─▶ replay ─▶ writer ─▶ shards ─▶ housekeeper ─▶ listeners ─▶ ready
//!  stop:   listeners ─▶ connections ─▶ writer ─▶ checkpoint ─▶ shards ─▶ exit 0
//! ```

mod acceptor;
mod all_shards;
mod allocator;
mod busiest;
pub mod check;
pub mod cli;
mod damage;
mod data_dir;
pub mod disk_bench;
mod housekeeper;
mod key_files;
mod known_state;
mod listeners;
pub mod log_tool;
mod loss_window;
mod metrics;
mod open_files;
mod panic;
mod registrar;
mod reindex;
pub mod repair;
mod running;
mod shard;
mod start;
mod tail_toucher;
pub mod top;
pub mod tune;
mod writers;

pub use panic::abort_on_panic;

use std::{io, net::SocketAddr, path::PathBuf};

use thiserror::Error;

use crate::{
    base::Position,
    config::{Config, LogFormat},
    storage::{
        checkpoint::{CheckpointError, DamagedCheckpoint},
        commit_log::recovery::{Hole, RecoveryError},
        key_index::KeyError,
        queue_index::IndexError,
    },
};

/// Why the broker did not start, or stopped.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The data directory cannot be used.
    #[error("data directory {}: {source}", path.display())]
    DataDir {
        /// The directory.
        path: PathBuf,
        /// What the disk said.
        source: io::Error,
    },
    /// Another process works in it.
    #[error("data directory {} is in use by another process", path.display())]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// It holds a log whose id is lost.
    #[error("data directory {} holds a log, but its file log-id is missing or damaged", path.display())]
    NoIdentity {
        /// The directory.
        path: PathBuf,
    },
    /// The log cannot be opened.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Data that had been made durable does not verify.
    #[error("acknowledged data is damaged:{}", listed(.0))]
    Damaged(Vec<Hole>),
    /// An index cannot be read or written.
    #[error("index: {0}")]
    Index(#[from] IndexError),
    /// A key file cannot be read or written.
    #[error("key index: {0}")]
    Keys(#[from] KeyError),
    /// Neither a checkpoint nor the log tells what was in front of the log's oldest segment.
    #[error(
        "the log begins at position {oldest}, and no checkpoint tells what the topics, configs, groups and \
         offsets were before: {}. Put back the directory `checkpoints` from a copy that is not older than \
         the oldest segment, or the whole data directory",
        said(damaged)
    )]
    StateLost {
        /// Where the log begins.
        oldest: Position,
        /// The checkpoints that cannot be used.
        damaged: Vec<DamagedCheckpoint>,
    },
    /// A checkpoint cannot be read.
    #[error("checkpoint: {0}")]
    Checkpoint(String),
    /// A checkpoint cannot be written.
    #[error("checkpoint: {0}")]
    WriteCheckpoint(#[from] CheckpointError),
    /// The limit on open files is too low for any connection.
    #[error("{limit} files may be open, too few: raise the limit with `ulimit -n {required}`")]
    OpenFiles {
        /// How many may be open.
        limit: u64,
        /// How many would do.
        required: u64,
    },
    /// A host's name has no address.
    #[error("{key}: cannot find the address of {host}: {source}")]
    Resolve {
        /// The key that names it.
        key: &'static str,
        /// The host.
        host: String,
        /// What the resolver said.
        source: io::Error,
    },
    /// A listener could not be opened.
    #[error("{key}: cannot listen on {address}: {source}")]
    Listen {
        /// The key that names it.
        key: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Threads cannot be placed as configured.
    #[error("{0}")]
    Placement(String),
    /// A thread could not be started, or a signal handler not be set.
    #[error("starting: {0}")]
    Start(io::Error),
    /// There was no disk space for it. Nothing that was acknowledged is lost.
    #[error("no disk space is left for what was to be written")]
    NoSpace,
    /// The log stopped while the broker ran.
    #[error("{0}")]
    LogStopped(String),
}

/// What is wrong with checkpoints; perhaps there are none.
fn said(damaged: &[DamagedCheckpoint]) -> String {
    match damaged {
        [] => "there is none".to_owned(),
        _ => damaged.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
    }
}

/// Each on a line of its own.
fn listed(holes: &[Hole]) -> String {
    holes.iter().map(|hole| format!("\n{hole}")).collect()
}

impl ServerError {
    /// True if all that is wrong is a full disk.
    fn is_no_space(&self) -> bool {
        match self {
            Self::NoSpace => true,
            Self::DataDir { source, .. }
            | Self::Index(IndexError::Io { source, .. })
            | Self::WriteCheckpoint(CheckpointError::Io { source, .. }) => {
                source.kind() == io::ErrorKind::StorageFull
            }
            _ => false,
        }
    }
}

/// Runs a broker until it is told to stop (SIGTERM or SIGINT).
///
/// # Errors
/// What kept it from starting, or made it stop.
pub fn run(config: &Config) -> Result<(), ServerError> {
    start_tracing(config);
    running::start(config)?.serve()
}

fn start_tracing(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::new(&config.telemetry.log);
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false);
    let set = match config.telemetry.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    debug_assert!(set.is_ok(), "nobody else sets a subscriber in this process");
}
