//! ListOffsets (key 2, versions 1–10): offsets of partitions by time. Sources: KIP-79, KIP-207,
//! KIP-734 (highest timestamp), KIP-405 and KIP-1005 (tiered storage, which there is none of).

use kafka_protocol::{
    ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use super::{
    Gateway, Request,
    queues::{self, Answered, Asked, LEADER_EPOCH, ask_queues, check_leader_epoch, queue_of},
    repeated,
};
use crate::{
    broker::{OffsetSpec, TimedOffset},
    cluster::ClusterState,
    wire::WireError,
};

/// Clients of this version on are told the leader epoch of an offset (KIP-320).
const TELLS_EPOCH: i16 = 4;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<ListOffsetsResponse, WireError> {
    let broker = &gateway.broker;
    let list: ListOffsetsRequest = request.decode()?;
    let asked = resolve(&broker.cluster(), request.version, &list.topics);
    let found = ask_queues(broker, asked, |owner, queue, spec| {
        Box::pin(async move {
            match spec {
                Some(spec) => owner.find_offset(queue, spec).await.map_err(queues::queue_error),
                None => Ok(None),
            }
        })
    });
    Ok(respond(request.version, &list.topics, found.await))
}

fn resolve(
    cluster: &ClusterState,
    version: i16,
    topics: &[ListOffsetsTopic],
) -> Vec<Vec<Asked<Option<OffsetSpec>>>> {
    let all = topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition| (topic.name.as_str(), partition.partition_index))
    });
    let repeated = repeated(all);
    let topic = |topic: &ListOffsetsTopic| {
        let known = cluster.topic(&topic.name);
        let partition = |partition: &ListOffsetsPartition| {
            if repeated.contains(&(topic.name.as_str(), partition.partition_index)) {
                return Err(ResponseError::InvalidRequest);
            }
            let spec = spec(version, partition.timestamp)?;
            let queue = queue_of(known, partition.partition_index)?;
            check_leader_epoch(partition.current_leader_epoch)?;
            Ok((queue, spec))
        };
        topic.partitions.iter().map(partition).collect()
    };
    topics.iter().map(topic).collect()
}

/// Which offset a timestamp means; `None` where there is never one.
fn spec(version: i16, timestamp: i64) -> Result<Option<OffsetSpec>, ResponseError> {
    match timestamp {
        0.. => Ok(Some(OffsetSpec::Time(timestamp))),
        -1 => Ok(Some(OffsetSpec::Latest)),
        -2 => Ok(Some(OffsetSpec::Earliest)),
        -3 if version >= 7 => Ok(Some(OffsetSpec::MaxTime)),
        // All there is is local.
        -4 if version >= 8 => Ok(Some(OffsetSpec::Earliest)),
        // Nothing is in tiered storage.
        -5 if version >= 9 => Ok(None),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

fn respond(
    version: i16,
    topics: &[ListOffsetsTopic],
    found: Vec<Vec<Answered<Option<TimedOffset>>>>,
) -> ListOffsetsResponse {
    let topics = topics.iter().zip(found).map(|(topic, found)| {
        let partitions = topic.partitions.iter().zip(found).map(|(partition, found)| {
            let response = ListOffsetsPartitionResponse::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(queues::code(&found));
            match found {
                Ok(Some(TimedOffset { offset, timestamp })) => {
                    let epoch = if version >= TELLS_EPOCH { LEADER_EPOCH } else { -1 };
                    response.with_offset(offset).with_timestamp(timestamp).with_leader_epoch(epoch)
                }
                // Offset, timestamp and epoch are -1 by default.
                _ => response,
            }
        });
        ListOffsetsTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    ListOffsetsResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;

    use super::{super::wire, *};
    use crate::{
        cluster::Setup,
        wire::kafka::{ApiKey, message},
    };

    #[test]
    fn special_timestamps_came_with_their_versions() {
        for (timestamp, since, spec_since) in [
            (7, 1, Some(OffsetSpec::Time(7))),
            (-1, 1, Some(OffsetSpec::Latest)),
            (-2, 1, Some(OffsetSpec::Earliest)),
            (-3, 7, Some(OffsetSpec::MaxTime)),
            (-4, 8, Some(OffsetSpec::Earliest)),
            (-5, 9, None),
            (-6, 11, None),
            (i64::MIN, 11, None),
        ] {
            for version in 1..=10 {
                let expected = match version >= since {
                    true => Ok(spec_since),
                    false => Err(ResponseError::UnsupportedVersion),
                };
                assert_eq!(spec(version, timestamp), expected, "{timestamp} in {version}");
            }
        }
    }

    fn topic(name: &str, partitions: &[i32]) -> ListOffsetsTopic {
        let partition = |index| ListOffsetsPartition::default().with_partition_index(index);
        ListOffsetsTopic::default()
            .with_name(TopicName(wire(name)))
            .with_partitions(partitions.iter().copied().map(partition).collect())
    }

    #[test]
    fn repeated_and_unknown_partitions_are_refused() {
        let cluster = ClusterState::new(Setup::default());
        let asked = resolve(&cluster, 10, &[topic("a", &[0, 1]), topic("a", &[0])]);
        let expected: [&[_]; 2] = [
            &[Err(ResponseError::InvalidRequest), Err(ResponseError::UnknownTopicOrPartition)],
            &[Err(ResponseError::InvalidRequest)],
        ];
        assert_eq!(asked, expected);
    }

    #[test]
    fn answers_fit_every_version() {
        let found = || {
            vec![vec![
                Ok(Some(TimedOffset { offset: 5, timestamp: 50 })),
                Ok(None),
                Err(ResponseError::UnknownTopicOrPartition),
            ]]
        };
        for version in 1..=10 {
            let response = respond(version, &[topic("a", &[0, 1, 2])], found());
            message::encode_response(1, ApiKey::ListOffsets, version, &response).unwrap();
            let told: Vec<_> = response.topics[0]
                .partitions
                .iter()
                .map(|part| (part.error_code, part.offset, part.timestamp, part.leader_epoch))
                .collect();
            let epoch = if version >= 4 { 0 } else { -1 };
            assert_eq!(told, [(0, 5, 50, epoch), (0, -1, -1, -1), (3, -1, -1, -1)]);
        }
    }
}
