//! The thread that touches the hot tail's memory ahead of those who write there.

use std::{io, thread};

use crate::storage::commit_log::FirstLap;

/// The thread, while it runs or has ended by itself.
pub(super) struct TailToucher(thread::JoinHandle<()>);

impl TailToucher {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub(super) fn start(lap: FirstLap) -> io::Result<Self> {
        let thread = thread::Builder::new().name("tail-toucher".to_owned()).spawn(move || {
            if let Err(error) = lap.run() {
                tracing::info!(%error, "the hot tail's memory is touched by the shards");
            }
        })?;
        Ok(Self(thread))
    }

    /// Waits until it has ended, as it does once the log is closed.
    pub(super) fn join(self) -> io::Result<()> {
        self.0.join().map_err(|_| io::Error::other("the tail's toucher panicked"))
    }
}
