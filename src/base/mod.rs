//! Words every other room uses: ids, byte sizes, checksums, base64, latency histograms. No I/O.

pub mod base64;
pub mod checksum;
pub mod ids;
pub mod latency;
pub mod stage;

pub use ids::{Dialect, Position, QueueId, ShardId, Term, TopicId};
pub use latency::Latency;
pub use stage::{Stage, Stages};
