//! CreatePartitions (key 37, versions 0–3). Source: KIP-195.

use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse,
    create_partitions_request::CreatePartitionsTopic,
    create_partitions_response::CreatePartitionsTopicResult,
};

use super::{
    error::{code_and_message, invalid_request},
    repeated, shared,
};
use crate::cluster::{ClusterError, ControlPlane, NewPartitions};

/// Adds partitions to topics, or only checks whether it could.
pub async fn handle(
    control: &impl ControlPlane,
    request: &CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let mut repeated = repeated(request.topics.iter().map(|topic| &topic.name));
    let single: Vec<_> =
        request.topics.iter().filter(|topic| !repeated.contains(&topic.name)).collect();
    let new: Vec<_> = single.iter().map(|topic| translate(topic)).collect();
    let results = control.create_partitions(&new, request.validate_only).await;
    let mut answers: Vec<_> =
        single.iter().zip(&results).map(|(topic, result)| answer(topic, result)).collect();
    let refused = Err(invalid_request("Duplicate topic name."));
    // Each of the names once, in the order of the request.
    for topic in &request.topics {
        if repeated.remove(&topic.name) {
            answers.push(answer(topic, &refused));
        }
    }
    CreatePartitionsResponse::default().with_results(answers)
}

fn translate(topic: &CreatePartitionsTopic) -> NewPartitions {
    let assignments = topic
        .assignments
        .as_ref()
        .map(|all| all.iter().map(|one| one.broker_ids.iter().map(|id| id.0).collect()).collect());
    NewPartitions { topic: shared(&topic.name), total: topic.count, assignments }
}

fn answer(
    topic: &CreatePartitionsTopic,
    result: &Result<(), ClusterError>,
) -> CreatePartitionsTopicResult {
    let (code, message) = code_and_message(result.as_ref().err());
    CreatePartitionsTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code)
        .with_error_message(message)
}
