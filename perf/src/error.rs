//! What can stop a measurement.

use rdkafka::error::KafkaError;
use std::io;

/// Why a workload could not be carried out. Loss and delivery errors are no error of this kind:
/// they are counted in the report, which then says that the run failed.
#[derive(Debug, thiserror::Error)]
pub enum PerfError {
    /// librdkafka or the broker refused something.
    #[error("{doing}: {source}")]
    Kafka {
        /// What was being done.
        doing: String,
        /// What the client library says.
        source: KafkaError,
    },
    /// The operating system refused something.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the system says.
        source: io::Error,
    },
    /// The broker answered a request of the raw generator's with an error.
    #[error("{doing}: Kafka's error code {code}")]
    Refused {
        /// What was being done.
        doing: String,
        /// The code, as Kafka's protocol numbers them.
        code: i16,
    },
    /// Somebody ended a process of this tool's by a signal: nothing follows from that.
    #[error("`{0}` was interrupted")]
    Interrupted(String),
    /// Anything this tool found out itself.
    #[error("{0}")]
    Failed(String),
}

/// The result of every step of this tool.
pub type Result<T> = std::result::Result<T, PerfError>;

/// Names the step an error came from.
pub trait Doing<T> {
    /// Wraps the error with what was being done.
    ///
    /// # Errors
    /// Whatever the step itself failed with.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Doing<T> for std::result::Result<T, KafkaError> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| PerfError::Kafka { doing: what(), source })
    }
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| PerfError::Io { doing: what(), source })
    }
}
