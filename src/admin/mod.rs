//! Metrics, health and who is busiest over HTTP, on a port and a thread of their own.
//!
//! Shards keep plain counters and histograms. Only when somebody asks are they collected, merged and
//! written out, so that metrics cost the data path no synchronisation. A stuck client harms nobody:
//! connections, their lifetime and the time to collect are bounded.

pub mod exposition;
mod http;
mod process;
mod top;

use std::{future::Future, pin::Pin};

pub use exposition::{Family, Snapshot};
pub use http::{AdminServer, serve};
pub use top::{GroupLag, TOP_MOST, Top, TopicRate};

/// An answer on its way.
pub type Collecting<'a, T = Snapshot> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the admin thread asks the broker. Shared between threads.
pub trait MetricsSource: Send + Sync {
    /// Collects what all shards and the log have counted. May be dropped before it ends.
    fn collect(&self) -> Collecting<'_>;

    /// Finds the busiest topics and the slowest groups. May be dropped before it ends.
    fn top(&self) -> Collecting<'_, Top>;

    /// Whether the broker serves. Does not block.
    ///
    /// # Errors
    /// Why it does not: it is still recovering, or the log is stopped.
    fn ready(&self) -> Result<(), String>;
}
