//! Kafka's protocol: frames, requests, responses and record batches.
//!
//! Produce and Fetch are parsed and answered by hand, because they carry the payload: it is neither
//! copied nor looked at here. All other APIs go through the kafka-protocol crate's generated
//! structs, behind a check of every count and length against the bytes that were received.

pub mod batch;
mod batch_builder;
mod codec;
pub mod compression;
mod counts;
pub mod fetch;
pub mod message;
pub mod produce;
pub mod record;
pub mod request;
mod schema;

pub use batch::{BatchError, BatchHeader, Codec};
pub use batch_builder::BatchBuilder;
pub use request::{ApiKey, RequestHeader};
