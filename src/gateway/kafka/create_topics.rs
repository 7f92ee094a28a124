//! CreateTopics (key 19, versions 2–7). Sources: KIP-4, KIP-464 (defaults), KIP-525 (configs in the
//! answer), KIP-516 (ids).

use kafka_protocol::messages::{
    CreateTopicsRequest, CreateTopicsResponse,
    create_topics_request::CreatableTopic,
    create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
};
use uuid::Uuid;

use super::{
    describe_configs::source_code,
    error::{code_and_message, invalid_request},
    repeated, shared, wire,
};
use crate::cluster::{ClusterState, ControlPlane, Naming, NewTopic, Topic};

/// From this version on the answer has the topic's configs.
const WITH_CONFIGS: i16 = 5;

/// Creates the topics, or only checks them.
pub async fn handle(
    control: &impl ControlPlane,
    version: i16,
    request: &CreateTopicsRequest,
) -> CreateTopicsResponse {
    let mut repeated = repeated(request.topics.iter().map(|topic| &topic.name));
    let single: Vec<_> =
        request.topics.iter().filter(|topic| !repeated.contains(&topic.name)).collect();
    let new: Vec<_> = single.iter().map(|topic| translate(topic)).collect();
    let created = control.create_topics(&new, request.validate_only).await;

    let mut answers = Vec::with_capacity(single.len());
    for (topic, result) in single.iter().zip(created) {
        let (code, message) = code_and_message(result.as_ref().err());
        let answer = CreatableTopicResult::default()
            .with_name(topic.name.clone())
            .with_error_code(code)
            .with_error_message(message);
        answers.push(match result {
            Ok(topic) => describe(&control.cluster(), version, &topic, answer),
            Err(_) => answer,
        });
    }
    let (code, message) = code_and_message(Some(&invalid_request("Duplicate topic name.")));
    // Each of the names once, in the order of the request.
    for topic in &request.topics {
        if repeated.remove(&topic.name) {
            let answer = CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code)
                .with_error_message(message.clone());
            answers.push(answer);
        }
    }
    CreateTopicsResponse::default().with_topics(answers)
}

fn translate(topic: &CreatableTopic) -> NewTopic {
    let brokers = |ids: &[kafka_protocol::messages::BrokerId]| ids.iter().map(|id| id.0).collect();
    NewTopic {
        name: shared(&topic.name),
        naming: Naming::Kafka,
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|one| (one.partition_index, brokers(&one.broker_ids)))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| (shared(&config.name), config.value.as_ref().map(shared)))
            .collect(),
    }
}

/// Adds what a version tells of a topic that was, or could be, created.
fn describe(
    cluster: &ClusterState,
    version: i16,
    topic: &Topic,
    answer: CreatableTopicResult,
) -> CreatableTopicResult {
    if version < WITH_CONFIGS {
        return answer;
    }
    let config = |entry: crate::cluster::ConfigEntry| {
        CreatableTopicConfigs::default()
            .with_name(wire(&entry.name))
            .with_value(entry.value.as_deref().map(wire))
            .with_read_only(entry.read_only)
            .with_config_source(source_code(entry.source))
            .with_is_sensitive(entry.sensitive)
    };
    let configs = cluster.describe_topic(topic, |_| true).into_iter().map(config).collect();
    answer
        .with_topic_id(Uuid::from_bytes(topic.id.0))
        .with_num_partitions(topic.partitions())
        .with_replication_factor(1)
        .with_configs(Some(configs))
}
