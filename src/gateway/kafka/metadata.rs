//! Metadata (key 3, versions 0–13): brokers, topics and their partitions' leaders.
//!
//! Sources: KIP-4, KIP-204 (auto-creation as the client wishes), KIP-430 (rights), KIP-516 (topic ids). This broker
//! leads every partition, in epoch 0, and is the controller.

use hashbrown::HashSet;
use kafka_protocol::{
    ResponseError,
    messages::{
        MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
};
use uuid::Uuid;

use super::{
    Node,
    error::{ErrorCode, NONE},
    rights::{ON_CLUSTER, ON_TOPIC, told},
    shared, wire,
};
use crate::{
    base::TopicId,
    cluster::{self, ClusterError, ClusterState, ControlPlane, Naming, NewTopic, Topic},
};

/// From this version on a topic may be asked for by id.
const BY_ID: i16 = 12;

/// Answers a request, creating the topics it asks for by name if client and config agree to it.
pub async fn handle(
    control: &impl ControlPlane,
    node: &Node,
    version: i16,
    request: &MetadataRequest,
) -> MetadataResponse {
    let mut topics = match &request.topics {
        None => all(&control.cluster(), node),
        // Version 0 has no null: its empty list means all.
        Some(topics) if topics.is_empty() && version == 0 => all(&control.cluster(), node),
        Some(topics) => {
            let mut seen = HashSet::new();
            let once = topics.iter().filter(|topic| seen.insert((topic.topic_id, &topic.name)));
            let mut answers: Vec<_> =
                once.map(|topic| find(&control.cluster(), node, version, topic)).collect();
            // The crate reads `true` where the version lacks the field, as the protocol has it.
            if request.allow_auto_topic_creation {
                create_unknown(control, node, &mut answers).await;
            }
            answers
        }
    };
    for topic in topics.iter_mut().filter(|topic| topic.error_code == NONE) {
        topic.topic_authorized_operations =
            told(request.include_topic_authorized_operations, ON_TOPIC);
    }
    MetadataResponse::default()
        .with_cluster_authorized_operations(told(
            request.include_cluster_authorized_operations,
            ON_CLUSTER,
        ))
        .with_brokers(vec![node.for_metadata()])
        .with_cluster_id(control.cluster().cluster_id().map(|id| wire(id)))
        .with_controller_id(node.id)
        .with_topics(topics)
}

fn all(cluster: &ClusterState, node: &Node) -> Vec<MetadataResponseTopic> {
    cluster.topics().map(|topic| describe(topic, node)).collect()
}

fn find(
    cluster: &ClusterState,
    node: &Node,
    version: i16,
    asked: &MetadataRequestTopic,
) -> MetadataResponseTopic {
    let by_id = !asked.topic_id.is_nil();
    let failed = |code: i16| {
        MetadataResponseTopic::default()
            .with_error_code(code)
            .with_name(asked.name.clone())
            .with_topic_id(asked.topic_id)
    };
    match &asked.name {
        _ if by_id && version < BY_ID => failed(ResponseError::InvalidRequest.code())
            .with_name(Some(asked.name.clone().unwrap_or_default())),
        _ if by_id => match cluster.topic_by_id(TopicId(asked.topic_id.into_bytes())) {
            Some(topic) => describe(topic, node),
            None => failed(ResponseError::UnknownTopicId.code()).with_name(None),
        },
        None => {
            // Before version 12 a name cannot be null in the answer either.
            let name = (version < BY_ID).then(TopicName::default);
            failed(ResponseError::InvalidRequest.code()).with_name(name)
        }
        Some(name) => match (cluster.topic(name), Naming::Kafka.check(name)) {
            (Some(topic), _) => describe(topic, node),
            (None, Err(error)) => failed(error.code()),
            (None, Ok(())) => failed(ResponseError::UnknownTopicOrPartition.code()),
        },
    }
}

/// Creates the topics that are not there and puts them in the answer.
async fn create_unknown(
    control: &impl ControlPlane,
    node: &Node,
    answers: &mut [MetadataResponseTopic],
) {
    let allowed = control.cluster().broker_value("auto.create.topics.enable").map(str::to_owned);
    if allowed.is_none_or(|value| !value.trim().eq_ignore_ascii_case("true")) {
        return;
    }
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let mut missing: Vec<_> =
        answers.iter_mut().filter(|answer| answer.error_code == unknown).collect();
    if missing.is_empty() {
        return;
    }
    let new = |answer: &&mut MetadataResponseTopic| NewTopic {
        name: answer.name.as_ref().map(|name| shared(name)).unwrap_or_default(),
        partitions: -1,
        replication_factor: -1,
        ..NewTopic::default()
    };
    let topics: Vec<_> = missing.iter().map(new).collect();
    let created = control.create_topics(&topics, false).await;
    for (answer, result) in missing.iter_mut().zip(created) {
        match result {
            Ok(topic) => **answer = describe(&topic, node),
            // Another connection was faster.
            Err(ClusterError::TopicExists { name }) => {
                if let Some(topic) = control.cluster().topic(&name) {
                    **answer = describe(topic, node);
                }
            }
            Err(error) => answer.error_code = error.code(),
        }
    }
}

fn describe(topic: &Topic, node: &Node) -> MetadataResponseTopic {
    let partition = |index| {
        MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(node.id)
            .with_leader_epoch(0)
            .with_replica_nodes(vec![node.id])
            .with_isr_nodes(vec![node.id])
    };
    MetadataResponseTopic::default()
        .with_error_code(NONE)
        .with_name(Some(TopicName(wire(&topic.name))))
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_is_internal(is_internal(&topic.name))
        .with_partitions((0..topic.partitions()).map(partition).collect())
}

/// Whether Kafka's clients take a topic of this name for one of the broker's own: ours, and what was
/// Kafka's in the cluster a name was copied from.
pub(super) fn is_internal(name: &str) -> bool {
    let kafkas = ["__consumer_offsets", "__transaction_state", "__share_group_state"];
    cluster::is_internal(name) || kafkas.contains(&name)
}
