//! What a fetch asks for, partition by partition.

use std::sync::Arc;

use kafka_protocol::error::ResponseError;

use super::session::Cached;
use crate::{
    base::{QueueId, TopicId},
    broker::{Read, ReadError, ReadRequest},
    cluster::{ClusterState, Topic},
    wire::kafka::fetch::{FetchPartition, FetchRequest},
};

/// From this version on requests name topics by their ids (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// Whether requests of a version name topics by their ids.
pub(super) const fn names_by_id(version: i16) -> bool {
    version >= TOPIC_IDS_FROM
}

/// A topic as a request names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum TopicRef<'a> {
    Id(TopicId),
    Name(&'a str),
}

impl<'a> TopicRef<'a> {
    /// By what a request has: the other one is empty there.
    pub(super) fn new(by_id: bool, name: &'a str, id: TopicId) -> Self {
        if by_id { Self::Id(id) } else { Self::Name(name) }
    }

    /// Name and id for an answer, which has the same one of them.
    pub(super) fn on_the_wire(self) -> (&'a str, TopicId) {
        match self {
            Self::Id(id) => ("", id),
            Self::Name(name) => (name, TopicId::ZERO),
        }
    }

    pub(super) fn known(self, cluster: &ClusterState) -> Result<&Arc<Topic>, ResponseError> {
        match self {
            Self::Id(id) => cluster.topic_by_id(id).ok_or(ResponseError::UnknownTopicId),
            Self::Name(name) => cluster.topic(name).ok_or(ResponseError::UnknownTopicOrPartition),
        }
    }
}

/// One partition that is asked for: where it is read, or why not.
pub(super) struct Wanted<'a> {
    pub(super) topic: TopicRef<'a>,
    pub(super) index: i32,
    pub(super) target: Result<ReadRequest, ResponseError>,
    pub(super) found: Option<Result<Read, ReadError>>,
    /// Its place in the client's session, if there is one.
    pub(super) cached: Option<&'a Cached>,
}

/// The partitions that a request names.
pub(super) fn named<'a>(
    cluster: &ClusterState,
    version: i16,
    fetch: &FetchRequest<'a>,
) -> Vec<Wanted<'a>> {
    let mut wanted = Vec::with_capacity(fetch.topics.iter().map(|t| t.partitions.len()).sum());
    for topic in &fetch.topics {
        let named = TopicRef::new(names_by_id(version), topic.name, topic.id);
        let known = named.known(cluster);
        wanted.extend(topic.partitions.iter().map(|asked| {
            Wanted {
                topic: named,
                index: asked.index,
                target: known
                    .and_then(|topic| partition(topic, asked.index))
                    .and_then(|queue| target(queue, asked)),
                found: None,
                cached: None,
            }
        }));
    }
    wanted
}

/// The queue of a topic's partition.
pub(super) fn partition(topic: &Topic, index: i32) -> Result<QueueId, ResponseError> {
    topic.queue(index).ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Where a queue is to be read, as a request asks for it.
pub(super) fn target(queue: QueueId, asked: &FetchPartition) -> Result<ReadRequest, ResponseError> {
    // This node leads every partition, in epoch 0.
    if asked.current_leader_epoch > 0 {
        return Err(ResponseError::UnknownLeaderEpoch);
    }
    let bytes_max = u32::try_from(asked.max_bytes).unwrap_or(0);
    Ok(ReadRequest { queue, offset: asked.fetch_offset, bytes_max })
}
