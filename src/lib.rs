//! Mainstem: one broker, one durable commit log, Kafka's and RocketMQ's clients unmodified.
//!
//! ```text
//!  client ──TCP──▶ connection shard ──▶ owner shard ──▶ CommitLog ──▶ segments
//!                  parse, check         dedupe,         reserve,      one durable write
//!                                       offsets         fill, commit  per group commit
//!  client ◀──TCP── connection shard ◀── positions ◀──── hot tail (memory), cold reads (verified)
//! ```
//!
//! # Rooms
//! Each room may use only the rooms above it in this list.
//!
//! | room | what lives there |
//! | --- | --- |
//! | `base` | id newtypes, byte units, checksums, latency histograms. No I/O |
//! | `wire` | bytes to structs and back, nothing else |
//! | `config` | every knob, declared once |
//! | `env` | the seam to the machine: clock, disk, tasks, randomness |
//! | `storage` | the commit log, its indexes, checkpoints and retention |
//! | `cluster` | topics, configs and producer ids as a state machine fed by the log |
//! | `broker` | the semantics, neutral of protocol: append, read, offsets, groups |
//! | `gateway` | one file per API: wire request, broker, wire response |
//! | `admin` | metrics and health on a port and thread of their own |
//! | `server` | shards, pinning, listeners, start and stop order |
//!
//! # Invariants
//! - Only `env/` names a runtime (`env/glommio`), a clock or O_DIRECT (`env/blocking`).
//! - `wire` never panics on any input and allocates at most 64 bytes per byte received.
//! - One writer writes the log; an answer with `sync` leaves only after the durable position passed it.
//! - A queue is owned by one shard, which alone assigns its offsets: no locks on data.
//! - `broker` knows no protocol's error codes.
//! - Every channel, cache and buffer has a limit named in `config`.
//! - After a failed write or sync the log is stopped for good.

pub mod admin;
pub mod base;
pub mod broker;
pub mod cluster;
pub mod config;
pub mod env;
pub mod gateway;
pub mod server;
pub mod storage;
pub mod wire;
