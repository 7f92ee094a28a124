//! The topics a workload runs over, and the connection every client shares.

use crate::error::{Doing, PerfError, Result};
use clap::Args;
use futures_lite::future::block_on;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::types::RDKafkaErrorCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How many topics one request creates.
const TOPICS_PER_REQUEST: usize = 100;
/// Longer than `compare` waits, which then says so: Kafka is slow near some ten thousand partitions.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);
const LEADERS_TIMEOUT: Duration = Duration::from_secs(600);

/// Which broker, which topics, and any librdkafka setting.
#[derive(Args, Debug, Clone)]
pub struct TopicArgs {
    /// The broker's Kafka address, as host:port.
    #[arg(long)]
    pub brokers: String,
    /// The topic; with several topics, the prefix of their names.
    #[arg(long, default_value = "perf")]
    pub topic: String,
    /// How many topics; more than one are named PREFIX-0000 and on. [default: 1; `topics`: 1000]
    #[arg(long)]
    pub topics: Option<usize>,
    /// Partitions of each topic. [default: 6; `topics`: 4]
    #[arg(long)]
    pub partitions: Option<usize>,
    /// A librdkafka setting, NAME=VALUE; may be repeated, and overrides what the tool sets.
    #[arg(short = 'X', long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

impl TopicArgs {
    /// The settings every client starts from.
    pub fn base_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        config.set("client.id", "mainstem-perf");
        // A broker that has just started is tried again soon.
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "200");
        config
    }

    /// Lays the user's own settings over a configuration.
    ///
    /// # Errors
    /// A setting without `=`.
    pub fn override_config(&self, config: &mut ClientConfig) -> Result<()> {
        for setting in &self.set {
            let (name, value) = setting.split_once('=').ok_or_else(|| {
                PerfError::Failed(format!("-X {setting}: settings are written NAME=VALUE"))
            })?;
            config.set(name, value);
        }
        Ok(())
    }

    /// The topics, with the given numbers where the user gave none.
    pub fn topic_set(&self, default_topics: usize, default_partitions: usize) -> TopicSet {
        TopicSet {
            prefix: self.topic.clone(),
            topics: self.topics.unwrap_or(default_topics).max(1),
            partitions: self.partitions.unwrap_or(default_partitions).max(1),
        }
    }
}

/// Topics of equal numbers of partitions. A partition's index counts through all of them.
#[derive(Debug, Clone)]
pub struct TopicSet {
    prefix: String,
    topics: usize,
    partitions: usize,
}

impl TopicSet {
    /// The topics' names, in the order of the partitions' indexes.
    pub fn names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.prefix.clone()],
            n => (0..n).map(|i| format!("{}-{i:04}", self.prefix)).collect(),
        }
    }

    /// The last of the topics alone.
    pub fn last_topic(&self) -> TopicSet {
        let prefix = self.names().pop().expect("there is a topic");
        TopicSet { prefix, topics: 1, partitions: self.partitions }
    }

    /// Partitions of each topic.
    pub fn partitions(&self) -> usize {
        self.partitions
    }

    /// Partitions of all topics together.
    pub fn all_partitions(&self) -> usize {
        self.topics * self.partitions
    }

    /// Creates the topics that do not exist, and waits until each partition has a leader.
    ///
    /// # Errors
    /// The broker refuses, a topic exists with another number of partitions, or no leader is
    /// named in time.
    pub fn create(&self, config: &ClientConfig) -> Result<()> {
        let admin: AdminClient<DefaultClientContext> =
            config.create().doing(|| "creating the admin client".into())?;
        let names = self.names();
        let partitions = i32::try_from(self.partitions).expect("few partitions");
        let options = AdminOptions::new()
            .request_timeout(Some(REQUEST_TIMEOUT))
            .operation_timeout(Some(REQUEST_TIMEOUT));
        for chunk in names.chunks(TOPICS_PER_REQUEST) {
            let topics: Vec<_> = chunk
                .iter()
                .map(|name| NewTopic::new(name, partitions, TopicReplication::Fixed(1)))
                .collect();
            let results = block_on(admin.create_topics(&topics, &options))
                .doing(|| "creating topics".into())?;
            for result in results {
                match result {
                    Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                    Err((topic, code)) => {
                        return Err(PerfError::Failed(format!("creating {topic}: {code}")));
                    }
                }
            }
        }
        self.wait_for_leaders(&admin, &names)
    }

    fn wait_for_leaders(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        names: &[String],
    ) -> Result<()> {
        let deadline = Instant::now() + LEADERS_TIMEOUT;
        loop {
            // One topic is asked for by its name; many are cheaper to ask for all at once.
            let only = if names.len() == 1 { Some(names[0].as_str()) } else { None };
            let metadata = admin
                .inner()
                .fetch_metadata(only, REQUEST_TIMEOUT)
                .doing(|| "fetching metadata".into())?;
            let mut led = 0;
            for topic in metadata.topics().iter().filter(|t| names.iter().any(|n| n == t.name())) {
                let here = topic.partitions().len();
                if here != 0 && here != self.partitions {
                    let (name, want) = (topic.name(), self.partitions);
                    return Err(PerfError::Failed(format!(
                        "topic {name} has {here} partitions, not {want}: choose another --topic"
                    )));
                }
                led += topic.partitions().iter().filter(|p| p.leader() >= 0).count();
            }
            if led == self.all_partitions() {
                return Ok(());
            }
            if Instant::now() > deadline {
                let all = self.all_partitions();
                return Err(PerfError::Failed(format!("{led} of {all} partitions have a leader")));
            }
            sleep(Duration::from_millis(50));
        }
    }
}
