//! Bytes to structs and back, nothing else.
//!
//! Nothing here panics on any input, and what a frame makes the broker allocate is bounded by the
//! frame: at most [`MEMORY_PER_BYTE`] bytes for each byte received. Decompression alone has a limit
//! of its own, given by its caller, because an honest batch may shrink a thousandfold.

pub mod convert;
mod error;
mod frame;
pub mod kafka;
pub mod rocketmq;

pub use error::WireError;

/// Bytes that decoding may allocate for each byte received.
pub const MEMORY_PER_BYTE: usize = 64;
