//! Bodies that are JSON: heartbeats, routes, locks, configs, statistics.
//!
//! The structs have the names of the Java classes and, in JSON, of their getters. What a client must
//! send has no default; everything else may be missing or null. Elements of lists have mandatory
//! fields, so that a short body cannot make a long list.

mod config;
mod connection;
mod deflated;
mod fastjson;
mod heartbeat;
mod queue;
mod route;
mod stats;

pub use config::*;
pub use connection::*;
pub use fastjson::{Table, from_json, to_json};
pub use heartbeat::*;
pub use queue::*;
pub use route::*;
pub use stats::*;

#[cfg(test)]
mod tests;
