//! The raw load generator: prepared frames over plain sockets, so that the client is not what is
//! measured. A batch is built once; sending it again patches a few dozen bytes of it. What comes
//! back is read in large pieces, of which only headers are looked at.
//!
//! Every thread serves its connections from one `epoll` loop and counts the time between its waits
//! there. A thread that hardly waits may be the limit of the run, which then says `client_limited`.

mod both;
mod connection;
mod consume;
mod consumer;
mod control;
mod cursor;
mod fetch_frame;
mod fields;
mod idle;
mod intervals;
mod latency;
mod message_frame;
mod message_puller;
mod message_sender;
mod options;
mod poller;
mod produce;
mod produce_frame;
mod producer;
mod queues;
mod record_batch;
mod remoting_frame;
mod remoting_setup;
mod rocketmq_pull;
mod rocketmq_send;
mod setup_connection;
mod stamp;
mod stream_check;
mod summary;
mod topic_watch;
mod topics;

pub use latency::COLD_END_TO_END_LATENCY;
pub use remoting_setup::messages_stored;
pub use summary::NEVER_SENT;
pub use topic_watch::TopicWatch;

use crate::error::Result;
use clap::Subcommand;
use summary::RawReport;

/// What the generator can do.
#[derive(Subcommand)]
pub enum RawWorkload {
    /// Write as fast as the broker takes it.
    Produce(produce::ProduceArgs),
    /// Read everything the topics hold, or follow their ends.
    #[command(mut_group("TimeOptions", |times| times.requires("follow")))]
    Consume(consume::ConsumeArgs),
    /// Write, and read the same at the tail meanwhile.
    Both(both::BothArgs),
    /// Send at a fixed rate and time every record from when it was to be sent.
    Latency(latency::LatencyArgs),
    /// Make very many partitions of one record each.
    Queues(queues::QueuesArgs),
    /// Send as RocketMQ's synchronous producers do.
    RocketmqSend(rocketmq_send::RocketmqSendArgs),
    /// Pull as RocketMQ's consumers do.
    RocketmqPull(rocketmq_pull::RocketmqPullArgs),
}

/// Does it.
///
/// # Errors
/// The broker cannot be reached, or refuses.
pub fn run(workload: &RawWorkload) -> Result<RawReport> {
    match workload {
        RawWorkload::Produce(args) => produce::produce(args),
        RawWorkload::Consume(args) => consume::consume(args),
        RawWorkload::Both(args) => both::both(args),
        RawWorkload::Latency(args) => latency::latency(args),
        RawWorkload::Queues(args) => queues::queues(args),
        RawWorkload::RocketmqSend(args) => rocketmq_send::send(args),
        RawWorkload::RocketmqPull(args) => rocketmq_pull::pull(args),
    }
}
