//! DescribeTopicPartitions (key 75, version 0): topics page by page. Source: KIP-966.

use std::collections::BTreeSet;

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
    },
};
use uuid::Uuid;

use super::{Node, error::ErrorCode, metadata::is_internal, rights::ON_TOPIC, wire};
use crate::cluster::{ClusterState, Naming, Topic};

/// Partitions in one answer at most, as Kafka's `max.request.partition.size.limit`.
const PARTITIONS: i32 = 2_000;

/// Answers with topics in the order of their names, from the cursor on, until the limit.
#[must_use]
pub fn handle(
    cluster: &ClusterState,
    node: &Node,
    request: &DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let (from, first_partition) = match &request.cursor {
        Some(cursor) => (cursor.topic_name.as_str(), cursor.partition_index),
        None => ("", 0),
    };
    let asked: BTreeSet<&str> = request.topics.iter().map(|topic| topic.name.as_str()).collect();
    if first_partition < 0 {
        let code = ResponseError::InvalidRequest.code();
        let topics = asked.into_iter().map(|name| failed(name, code)).collect();
        return DescribeTopicPartitionsResponse::default().with_topics(topics);
    }
    let mut page = Page {
        node,
        response: DescribeTopicPartitionsResponse::default(),
        left: request.response_partition_limit.clamp(1, PARTITIONS),
    };
    let start = |name: &str| if name == from { first_partition } else { 0 };
    if asked.is_empty() {
        for topic in cluster.topics_from(from) {
            if !page.add(topic, start(&topic.name)) {
                break;
            }
        }
        return page.response;
    }
    for name in asked.range(from..) {
        let more = match (cluster.topic(name), Naming::Kafka.check(name)) {
            (Some(topic), _) => page.add(topic, start(name)),
            (None, result) => page.add_failed(
                name,
                result.map_or_else(
                    |error| error.code(),
                    |()| ResponseError::UnknownTopicOrPartition.code(),
                ),
            ),
        };
        if !more {
            break;
        }
    }
    page.response
}

struct Page<'a> {
    node: &'a Node,
    response: DescribeTopicPartitionsResponse,
    /// Partitions there is room for.
    left: i32,
}

impl Page<'_> {
    /// Adds a topic's partitions from `first` on. False once the page is full and has its cursor.
    fn add(&mut self, topic: &Topic, first: i32) -> bool {
        if self.left == 0 {
            return self.end(&topic.name, first);
        }
        let end = topic.partitions().min(first.saturating_add(self.left));
        let partitions: Vec<_> = (first..end).map(|index| partition(self.node, index)).collect();
        self.left -= partitions.len() as i32;
        let topic_answer = DescribeTopicPartitionsResponseTopic::default()
            .with_name(Some(TopicName(wire(&topic.name))))
            .with_topic_id(Uuid::from_bytes(topic.id.0))
            .with_is_internal(is_internal(&topic.name))
            .with_topic_authorized_operations(ON_TOPIC)
            .with_partitions(partitions);
        self.response.topics.push(topic_answer);
        end >= topic.partitions() || self.end(&topic.name, end)
    }

    fn add_failed(&mut self, name: &str, code: i16) -> bool {
        if self.left == 0 {
            return self.end(name, 0);
        }
        self.response.topics.push(failed(name, code));
        true
    }

    fn end(&mut self, name: &str, partition: i32) -> bool {
        let cursor = Cursor::default()
            .with_topic_name(TopicName(wire(name)))
            .with_partition_index(partition);
        self.response.next_cursor = Some(cursor);
        false
    }
}

fn failed(name: &str, code: i16) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code)
        .with_name(Some(TopicName(wire(name))))
}

fn partition(node: &Node, index: i32) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(index)
        .with_leader_id(node.id)
        .with_leader_epoch(0)
        .with_replica_nodes(vec![node.id])
        .with_isr_nodes(vec![node.id])
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
}
