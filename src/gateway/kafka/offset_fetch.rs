//! OffsetFetch (key 9, versions 1–9): tells groups' offsets. Sources: KIP-88 (all of them), KIP-320,
//! KIP-447 (stable offsets), KIP-709 (several groups).
//!
//! Offsets are read as they were committed, so that every offset told is stable. Classic groups have
//! no member epoch (version 9) to check.

use std::{rc::Rc, sync::Arc};

use kafka_protocol::{
    messages::{
        GroupId, OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};

use super::{
    Gateway, Request,
    error::{ErrorCode, NONE},
    fan_out::on_shards,
    offset_partitions::OffsetPartitions,
    wire,
};
use crate::{
    base::TopicId,
    broker::{
        Broker,
        group::{CommittedOffset, GroupError, TopicPartition},
    },
    cluster::ClusterState,
    wire::WireError,
};

/// A request names several groups from this version on (KIP-709).
const SEVERAL: i16 = 8;

/// An answer can fail as a whole from this version on.
const FAILS_WHOLE: i16 = 2;

/// What a group's owner is asked: offsets of some partitions, or all it has.
enum Asked {
    Some(Vec<TopicPartition>),
    All,
}

/// What it answers.
enum Found {
    Some(Vec<Option<CommittedOffset>>),
    All(Vec<(TopicPartition, CommittedOffset)>),
}

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<OffsetFetchResponse, WireError> {
    let version = request.version;
    let broker = &gateway.broker;
    let asked = groups(version, request.decode()?);
    let partitions: Vec<_> = {
        let cluster = broker.cluster();
        asked.iter().map(|group| find(&cluster, group.topics.as_deref())).collect()
    };
    let items = asked.iter().zip(&partitions).map(|(group, partitions)| {
        let what = match partitions {
            Some(partitions) => Asked::Some(partitions.existing()),
            None => Asked::All,
        };
        (broker.group_owner(&group.group_id), (group.group_id.clone(), what))
    });
    let found = on_shards(broker, items.collect(), |owner, asked| {
        Box::pin(std::future::ready(fetch(&owner, &asked)))
    });
    let found = found.await;
    let cluster = broker.cluster();
    let name = |topic| cluster.topic_by_id(topic).map(|topic| Arc::clone(&topic.name));
    let groups = asked.iter().zip(&partitions).zip(found).map(|((group, partitions), found)| {
        let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        match (found, partitions, &group.topics) {
            (Ok(Found::Some(found)), Some(partitions), Some(topics)) => {
                response.with_topics(some_topics(topics, partitions, found))
            }
            (Ok(Found::All(found)), ..) => response.with_topics(all_topics(&found, name)),
            _ => response.with_error_code(GroupError::CoordinatorNotAvailable.code()),
        }
    });
    Ok(respond(version, &asked, groups.collect()))
}

/// What is asked, in the form for several groups.
fn groups(version: i16, fetch: OffsetFetchRequest) -> Vec<OffsetFetchRequestGroup> {
    if version >= SEVERAL {
        return fetch.groups;
    }
    let topic = |topic: OffsetFetchRequestTopic| {
        OffsetFetchRequestTopics::default()
            .with_name(topic.name)
            .with_partition_indexes(topic.partition_indexes)
    };
    let topics = fetch.topics.map(|topics| topics.into_iter().map(topic).collect());
    vec![OffsetFetchRequestGroup::default().with_group_id(fetch.group_id).with_topics(topics)]
}

fn find(
    cluster: &ClusterState,
    topics: Option<&[OffsetFetchRequestTopics]>,
) -> Option<OffsetPartitions> {
    let topics = topics?.iter();
    let topics = topics.map(|topic| (topic.name.as_str(), topic.partition_indexes.iter().copied()));
    Some(OffsetPartitions::find(cluster, topics))
}

/// Reads the offsets of groups of this shard.
fn fetch(owner: &Rc<Broker>, asked: &[(GroupId, Asked)]) -> Vec<Found> {
    owner.with_groups(|groups, _| {
        let found = asked.iter().map(|(group, what)| match what {
            Asked::Some(partitions) => {
                let offset = |&at| groups.committed_offset(group, at).cloned();
                Found::Some(partitions.iter().map(offset).collect())
            }
            Asked::All => {
                let offsets = groups.committed_offsets(group);
                Found::All(offsets.map(|(at, offset)| (at, offset.clone())).collect())
            }
        });
        found.collect()
    })
}

/// The topics asked for, in the request's order.
fn some_topics(
    topics: &[OffsetFetchRequestTopics],
    partitions: &OffsetPartitions,
    found: Vec<Option<CommittedOffset>>,
) -> Vec<OffsetFetchResponseTopics> {
    let offsets = partitions.fill(found, || None);
    let topics = topics.iter().zip(offsets).map(|(topic, offsets)| {
        let partitions = topic.partition_indexes.iter().zip(&offsets);
        let partitions = partitions.map(|(&index, offset)| told(index, offset.as_ref()));
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    topics.collect()
}

/// All topics with offsets, which come topic by topic. A topic without a name was deleted meanwhile.
fn all_topics(
    found: &[(TopicPartition, CommittedOffset)],
    name: impl Fn(TopicId) -> Option<Arc<str>>,
) -> Vec<OffsetFetchResponseTopics> {
    let topics = found.chunk_by(|(a, _), (b, _)| a.topic == b.topic).filter_map(|offsets| {
        let name = name(offsets[0].0.topic)?;
        let partitions = offsets.iter().map(|(at, offset)| {
            told(i32::try_from(at.partition).expect("limited below 2^24"), Some(offset))
        });
        let topic = OffsetFetchResponseTopics::default().with_name(TopicName(wire(&name)));
        Some(topic.with_partitions(partitions.collect()))
    });
    topics.collect()
}

/// One partition's offset; where there is none, -1 and no error.
fn told(index: i32, offset: Option<&CommittedOffset>) -> OffsetFetchResponsePartitions {
    let metadata = offset.map_or_else(StrBytes::new, |offset| wire(&offset.metadata));
    OffsetFetchResponsePartitions::default()
        .with_partition_index(index)
        .with_committed_offset(offset.map_or(-1, |offset| offset.offset))
        .with_committed_leader_epoch(offset.and_then(|offset| offset.leader_epoch).unwrap_or(-1))
        .with_metadata(Some(metadata))
}

/// Brings the groups' answers into the version's form.
fn respond(
    version: i16,
    asked: &[OffsetFetchRequestGroup],
    groups: Vec<OffsetFetchResponseGroup>,
) -> OffsetFetchResponse {
    let response = OffsetFetchResponse::default();
    if version >= SEVERAL {
        return response.with_groups(groups);
    }
    let [group] = <[_; 1]>::try_from(groups).expect("older versions name one group");
    let mut topics = group.topics;
    if version < FAILS_WHOLE && group.error_code != NONE {
        // Every partition has the error instead.
        topics = failed(&asked[0], group.error_code);
    }
    let partition = |partition: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_committed_offset(partition.committed_offset)
            .with_committed_leader_epoch(partition.committed_leader_epoch)
            .with_metadata(partition.metadata)
            .with_error_code(partition.error_code)
    };
    let topic = |topic: OffsetFetchResponseTopics| {
        OffsetFetchResponseTopic::default()
            .with_name(topic.name)
            .with_partitions(topic.partitions.into_iter().map(partition).collect())
    };
    response.with_error_code(group.error_code).with_topics(topics.into_iter().map(topic).collect())
}

fn failed(asked: &OffsetFetchRequestGroup, code: i16) -> Vec<OffsetFetchResponseTopics> {
    let topics = asked.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter();
        let partitions = partitions.map(|&index| told(index, None).with_error_code(code));
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    topics.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::Setup,
        wire::kafka::{ApiKey, message},
    };

    fn committed(offset: i64, leader_epoch: Option<i32>) -> CommittedOffset {
        let metadata = "note".into();
        CommittedOffset { offset, leader_epoch, metadata, commit_ms: 0, expire_ms: None }
    }

    fn at(topic: u8, partition: u32) -> TopicPartition {
        TopicPartition { topic: TopicId([topic; 16]), partition }
    }

    /// Topic "a" with its partition 4, of group "g", as a request of that version.
    fn request(version: i16) -> OffsetFetchRequest {
        let (group, name) = (GroupId(wire("g")), TopicName(wire("a")));
        let fetch = OffsetFetchRequest::default();
        if version < SEVERAL {
            let topic = OffsetFetchRequestTopic::default().with_name(name);
            let topics = vec![topic.with_partition_indexes(vec![4])];
            return fetch.with_group_id(group).with_topics(Some(topics));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(name);
        let topics = vec![topic.with_partition_indexes(vec![4])];
        let asked = OffsetFetchRequestGroup::default().with_group_id(group);
        fetch.with_groups(vec![asked.with_topics(Some(topics))])
    }

    #[test]
    fn unknown_partitions_have_offset_minus_one_in_every_version() {
        let cluster = ClusterState::new(Setup::default());
        for version in 1..=9 {
            let asked = groups(version, request(version));
            let topics = asked[0].topics.as_deref();
            let partitions = find(&cluster, topics).unwrap();
            let answer = OffsetFetchResponseGroup::default()
                .with_group_id(asked[0].group_id.clone())
                .with_topics(some_topics(topics.unwrap(), &partitions, Vec::new()));
            let response = respond(version, &asked, vec![answer]);
            message::encode_response(1, ApiKey::OffsetFetch, version, &response).unwrap();
            let (name, index, offset, code) = match version {
                SEVERAL.. => {
                    let topic = &response.groups[0].topics[0];
                    let told = &topic.partitions[0];
                    (&topic.name, told.partition_index, told.committed_offset, told.error_code)
                }
                _ => {
                    let topic = &response.topics[0];
                    let told = &topic.partitions[0];
                    (&topic.name, told.partition_index, told.committed_offset, told.error_code)
                }
            };
            assert_eq!((name.as_str(), index, offset, code), ("a", 4, -1, NONE));
        }
    }

    #[test]
    fn all_offsets_come_topic_by_topic_without_deleted_ones() {
        let found = [
            (at(1, 0), committed(10, None)),
            (at(1, 2), committed(12, Some(0))),
            (at(2, 0), committed(20, None)),
            (at(3, 1), committed(30, None)),
        ];
        let name = |topic: TopicId| (topic.0[0] != 2).then(|| topic.0[0].to_string().into());
        let topics = all_topics(&found, name);
        let told: Vec<_> = topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(move |told| (topic.name.as_str(), told)))
            .map(|(name, told)| (name, told.committed_offset, told.committed_leader_epoch))
            .collect();
        assert_eq!(told, [("1", 10, -1), ("1", 12, 0), ("3", 30, -1)]);
        assert_eq!(topics[0].partitions[0].metadata.as_deref(), Some("note"));
    }

    #[test]
    fn a_failed_group_is_told_where_the_version_can() {
        let code = GroupError::CoordinatorNotAvailable.code();
        for version in 1..=9 {
            let asked = groups(version, request(version));
            let answer = OffsetFetchResponseGroup::default()
                .with_group_id(asked[0].group_id.clone())
                .with_error_code(code);
            let response = respond(version, &asked, vec![answer]);
            message::encode_response(1, ApiKey::OffsetFetch, version, &response).unwrap();
            match version {
                1 => assert_eq!(response.topics[0].partitions[0].error_code, code),
                2..SEVERAL => assert_eq!(response.error_code, code),
                _ => assert_eq!(response.groups[0].error_code, code),
            }
        }
    }
}
