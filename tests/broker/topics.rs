//! What administrators do, through librdkafka.

use futures_lite::future::block_on;
use rdkafka::{
    TopicPartitionList,
    admin::{
        AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    client::DefaultClientContext,
    error::{KafkaResult, RDKafkaErrorCode},
    types::RDKafkaErrorCode as Code,
};

use super::{client::config, process::PATIENCE};

/// An administrator of the broker at an address.
pub struct Administrator(pub AdminClient<DefaultClientContext>);

/// Waiting as long as tests do.
pub fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
}

fn single(
    results: KafkaResult<Vec<Result<String, (String, RDKafkaErrorCode)>>>,
) -> Result<(), Code> {
    let mut results = results.unwrap();
    assert_eq!(results.len(), 1);
    results.remove(0).map(drop).map_err(|(_, code)| code)
}

impl Administrator {
    pub fn new(address: &str) -> Self {
        Self(config(address, &[]).create().unwrap())
    }

    /// Creates a topic.
    pub fn create(
        &self,
        topic: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<(), Code> {
        let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
        for (key, value) in configs {
            new = new.set(key, value);
        }
        single(block_on(self.0.create_topics([&new], &options())))
    }

    /// Deletes a topic.
    pub fn delete(&self, topic: &str) -> Result<(), Code> {
        single(block_on(self.0.delete_topics(&[topic], &options())))
    }

    /// Raises the number of a topic's partitions.
    pub fn grow(&self, topic: &str, partitions: usize) -> Result<(), Code> {
        let new = NewPartitions::new(topic, partitions);
        single(block_on(self.0.create_partitions([&new], &options())))
    }

    /// Sets a topic's configs, in place of those it had.
    pub fn alter(&self, topic: &str, configs: &[(&str, &str)]) -> Result<(), Code> {
        let config = AlterConfig::new(ResourceSpecifier::Topic(topic));
        let config = configs.iter().fold(config, |config, (name, value)| config.set(name, value));
        let done = block_on(self.0.alter_configs([&config], &options())).unwrap().remove(0);
        done.map(drop).map_err(|(_, code)| code)
    }

    /// Deletes what lies before an offset of partition 0; returns the new first offset.
    pub fn delete_records(&self, topic: &str, before: rdkafka::Offset) -> Result<i64, Code> {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, 0, before).unwrap();
        let done = block_on(self.0.delete_records(&list, &options())).unwrap();
        let partition = &done.elements()[0];
        match partition.error() {
            Ok(()) => Ok(partition.offset().to_raw().unwrap()),
            Err(error) => Err(error.rdkafka_error_code().unwrap()),
        }
    }
}
