//! What the generator's workloads can be told, in groups that they share.

use super::consumer::ConsumerPlan;
use super::control::Control;
use super::fetch_frame::FetchLimits;
use super::producer::{Pace, ProducerPlan};
use super::record_batch::PreparedBatch;
use super::remoting_frame::Serialization;
use super::remoting_setup::{NamedBroker, RemotingSetup};
use super::setup_connection::SetupConnection;
use super::stamp::STAMP_BYTES;
use super::topics::RawTopics;
use crate::error::{PerfError, Result};
use clap::{Args, ValueEnum};
use std::sync::Arc;
use std::time::Duration;

/// The time before the measured time, unless the user says otherwise.
const WARMUP: Duration = Duration::from_secs(2);

/// Which broker, which topics.
#[derive(Args, Debug, Clone)]
pub struct TopicOptions {
    /// The broker's Kafka address, as host:port.
    #[arg(long)]
    pub brokers: String,
    /// The topic; with several topics, the prefix of their names.
    #[arg(long, default_value = "raw")]
    pub topic: String,
    /// How many topics; more than one are named PREFIX-0000 and on.
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// Partitions of each topic.
    #[arg(long, default_value_t = 6)]
    pub partitions: u32,
}

impl TopicOptions {
    /// The topics.
    pub fn topics(&self) -> RawTopics {
        RawTopics::new(&self.topic, self.topics, self.partitions)
    }
}

/// Which RocketMQ cluster, which topics.
#[derive(Args, Debug, Clone)]
pub struct RocketmqOptions {
    /// The name server's address, as host:port; it knows one broker.
    #[arg(long)]
    namesrv: String,
    /// The topic; with several topics, the prefix of their names.
    #[arg(long, default_value = "rawmq")]
    topic: String,
    /// How many topics; more than one are named PREFIX-0000 and on.
    #[arg(long, default_value_t = 1)]
    topics: u32,
    /// Queues of each topic.
    #[arg(long, default_value_t = 8)]
    queues: u32,
    /// How headers are written.
    #[arg(long, value_enum, default_value = "json")]
    pub serialize: Serialization,
}

impl RocketmqOptions {
    /// The topics.
    pub fn topics(&self) -> RawTopics {
        RawTopics::new(&self.topic, self.topics, self.queues)
    }

    /// The broker.
    ///
    /// # Errors
    /// The name server cannot be reached, or knows none.
    pub fn broker(&self) -> Result<NamedBroker> {
        RemotingSetup::open(&self.namesrv)?.broker()
    }
}

/// Whose word an acknowledgement is.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Acks {
    /// Nobody's: nothing is answered.
    #[value(name = "0")]
    None,
    /// The leader's.
    #[value(name = "1")]
    Leader,
    /// That of all replicas.
    All,
}

/// How large batches are.
#[derive(Args, Debug, Clone)]
pub struct BatchOptions {
    /// Bytes of a batch, which holds as many records as fit, and at least one.
    #[arg(long, default_value_t = 1 << 20)]
    batch_bytes: usize,
}

impl BatchOptions {
    /// Full ones.
    pub fn size(&self) -> BatchSize {
        BatchSize::Bytes(self.batch_bytes)
    }
}

/// What decides a batch's number of records.
#[derive(Debug, Clone, Copy)]
pub enum BatchSize {
    /// As many as fit into so many bytes, and at least one.
    Bytes(usize),
    /// So many, and at least one.
    Records(usize),
}

/// What is sent, and over how many connections.
#[derive(Args, Debug, Clone)]
pub struct SendOptions {
    /// Bytes of each record; at least 32.
    #[arg(long, default_value_t = 1024)]
    pub record_bytes: usize,
    /// Batches of a request, each for another partition.
    #[arg(long, default_value_t = 1)]
    pub batches_per_request: usize,
    /// When a batch counts as written.
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// Connections.
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Threads that serve them.
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// Send as an idempotent producer, so that the broker looks for duplicates.
    #[arg(long)]
    pub idempotent: bool,
}

impl SendOptions {
    /// What the sending threads do.
    ///
    /// # Errors
    /// The options do not go together, or the broker gives no producer id.
    pub fn plan(&self, topics: &TopicOptions, pace: Pace, size: BatchSize) -> Result<ProducerPlan> {
        if self.record_bytes < STAMP_BYTES {
            let least = format!("a record has at least {STAMP_BYTES} bytes");
            return Err(PerfError::Failed(least));
        }
        let id = match self.idempotent {
            true => Some(SetupConnection::open(&topics.brokers)?.init_producer_id()?),
            false => None,
        };
        let batch = match size {
            BatchSize::Bytes(bytes) => PreparedBatch::filling(bytes, self.record_bytes, id),
            BatchSize::Records(records) => PreparedBatch::of(records.max(1), self.record_bytes, id),
        };
        let connections = self.connections.max(1);
        let plan = ProducerPlan {
            brokers: topics.brokers.clone(),
            topics: topics.topics(),
            batch: Arc::new(batch),
            acks: match self.acks {
                Acks::None => 0,
                Acks::Leader => 1,
                Acks::All => -1,
            },
            connections,
            threads: self.threads.clamp(1, connections),
            batches_per_request: self.batches_per_request.max(1),
            pace,
            batches: None,
        };
        plan.check().map(|()| plan)
    }
}

/// How much is on its way at a time.
#[derive(Args, Debug, Clone)]
pub struct FlightOptions {
    /// Requests of each connection that may be unanswered at a time.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
}

impl FlightOptions {
    /// As fast as answers come.
    pub fn pace(&self) -> Pace {
        Pace::InFlight(self.in_flight.max(1))
    }
}

/// How it is fetched.
#[derive(Args, Debug, Clone)]
pub struct FetchOptions {
    /// Connections of the receiving side, each with one fetch under way.
    #[arg(long, default_value_t = 2)]
    pub consumer_connections: usize,
    /// Threads that serve them.
    #[arg(long, default_value_t = 1)]
    pub consumer_threads: usize,
    /// Most bytes of an answer.
    #[arg(long, default_value_t = 8 << 20)]
    pub fetch_bytes: i32,
    /// Most bytes of each partition in it.
    #[arg(long, default_value_t = 2 << 20)]
    pub partition_bytes: i32,
    /// Bytes that an answer waits for.
    #[arg(long, default_value_t = 1)]
    pub fetch_min_bytes: i32,
    /// How long it waits for them.
    #[arg(long, default_value_t = 500)]
    pub fetch_wait_ms: i32,
    /// Partitions of a request at most; those read to their end make room for others.
    #[arg(long, default_value_t = 1_000)]
    pub partitions_per_fetch: usize,
}

impl FetchOptions {
    /// What the receiving threads do, with every run's records or this one's alone.
    pub fn plan(&self, topics: &TopicOptions, only: Option<&Control>) -> ConsumerPlan {
        let topic_set = topics.topics();
        let connections = self.consumer_connections.clamp(1, topic_set.places() as usize);
        ConsumerPlan {
            brokers: topics.brokers.clone(),
            topics: topic_set,
            connections,
            threads: self.consumer_threads.clamp(1, connections),
            limits: FetchLimits {
                min_bytes: self.fetch_min_bytes,
                max_wait_ms: self.fetch_wait_ms,
                max_bytes: self.fetch_bytes,
                partition_bytes: self.partition_bytes,
            },
            partitions_per_fetch: self.partitions_per_fetch.max(1),
            only_run: only.map(|control| control.run),
            bytes_max: u64::MAX,
        }
    }
}

/// How long.
#[derive(Args, Debug, Clone)]
pub struct TimeOptions {
    /// The measured time.
    #[arg(long, value_parser = seconds, default_value = "10")]
    pub seconds: Duration,
    /// Time before it. [default: 2; 0 where a number of records is asked for]
    #[arg(long, value_parser = seconds)]
    pub warmup_seconds: Option<Duration>,
}

impl TimeOptions {
    /// The time before the measured time.
    pub fn warmup(&self) -> Duration {
        self.warmup_seconds.unwrap_or(WARMUP)
    }

    /// The same where a number of records may be asked for, of which each counts unless the user
    /// says otherwise.
    pub fn warmup_before(&self, records: Option<u64>) -> Duration {
        match records {
            Some(_) => self.warmup_seconds.unwrap_or_default(),
            None => self.warmup(),
        }
    }
}

/// A time given in seconds.
pub fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse::<f64>().map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// What is watched.
#[derive(Args, Debug, Clone)]
pub struct WatchOptions {
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pub pid: Option<u32>,
}
