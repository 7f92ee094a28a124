//! Protocol faces: wire request, broker, wire response. One file per API.
//!
//! A connection speaks the face of the listener that took it. All faces read frames and send answers
//! the same way ([`connection`]); the log's own bytes go out from where they are.

mod answer;
mod cold_room;
mod complaints;
mod connection;
mod fan_out;
mod frames;
mod group_call;
pub mod kafka;
pub mod rocketmq;

pub use cold_room::ColdRoom;
pub use complaints::Complaints;
pub use frames::RequestMemory;

/// What a listener's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Face {
    /// Kafka's protocol.
    Kafka,
    /// RocketMQ's, as its broker.
    RocketMq,
    /// RocketMQ's, as its name server.
    NameServer,
}
