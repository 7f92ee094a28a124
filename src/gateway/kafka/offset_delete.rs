//! OffsetDelete (key 47, version 0): deletes a group's offsets of topics it does not subscribe. Source:
//! KIP-496.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetDeleteRequest, OffsetDeleteResponse,
        offset_delete_request::OffsetDeleteRequestTopic,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::{Gateway, Request, error::ErrorCode, group_call, offset_partitions::OffsetPartitions};
use crate::{
    broker::group::{GroupError, Reply},
    wire::WireError,
};

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<OffsetDeleteResponse, WireError> {
    let delete: OffsetDeleteRequest = request.decode()?;
    let topics = delete.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.as_str(), partitions)
    });
    let partitions = OffsetPartitions::find(&gateway.broker.cluster(), topics);
    let (group, existing) = (delete.group_id.clone(), partitions.existing());
    // The group is asked even if nothing is left to delete: it may not exist.
    let reply = group_call::ask(&gateway.broker, &delete.group_id, move |groups, at, token| {
        groups.delete_offsets(at, &group, &existing, token);
    });
    let results = match reply.await {
        Some(Reply::DeleteOffsets(results)) => results,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    Ok(respond(&delete.topics, &partitions, results))
}

fn respond(
    topics: &[OffsetDeleteRequestTopic],
    partitions: &OffsetPartitions,
    results: Result<Vec<Result<(), GroupError>>, GroupError>,
) -> OffsetDeleteResponse {
    let codes = match results {
        Ok(results) => results.iter().map(group_call::code).collect::<Vec<_>>(),
        Err(error) => return OffsetDeleteResponse::default().with_error_code(error.code()),
    };
    let codes = partitions.fill(codes, || ResponseError::UnknownTopicOrPartition.code());
    let topics = topics.iter().zip(codes).map(|(topic, codes)| {
        let partitions = topic.partitions.iter().zip(codes).map(|(partition, code)| {
            OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        OffsetDeleteResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
