//! The commit log: one file of blocks, cut into segments, written in one order.
//!
//! Owners reserve space in the open block, fill it and commit it ([`CommitLog`]); the writer closes
//! the block when the disk is free and makes it durable with one write ([`Writer`]). What was written
//! last stays readable in the hot tail ([`TailReader`]), whose fresh memory is touched ahead of the owners
//! ([`FirstLap`]).
//!
//! `CommitLog` is shared by all threads; `Writer` and `FirstLap` live on threads of their own; recovery runs before
//! any of them.

pub mod block;
pub mod frame;
pub mod given_up;
pub mod recovery;
pub mod segment;

mod file_sink;
mod first_lap;
mod line;
mod log;
mod reservation;
mod scan;
mod shard_signal;
mod spin;
mod tail;
mod walk;
mod write_order;
mod writer;

pub use file_sink::FileSink;
pub use first_lap::FirstLap;
pub use line::Turn;
pub use log::{CommitLog, LogLimits};
pub use reservation::{Appended, Reservation, ReserveError};
pub use scan::SegmentScan;
pub use shard_signal::ShardSignal;
pub use tail::TailReader;
pub use write_order::WriterOptions;
pub use writer::{Pauses, Step, Writer};

/// The unit in which the log is written, and to which blocks are padded.
pub const SECTOR: usize = 4096;
