//! OffsetCommit (key 8, versions 2–9): stores a group's offsets. Sources: KIP-211 (retention), KIP-320
//! (leader epochs), KIP-345, KIP-848 (codes of version 9).

use std::time::Duration;

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
    protocol::StrBytes,
};

use super::{Gateway, Request, error::ErrorCode, group_call, offset_partitions::OffsetPartitions};
use crate::{
    broker::group::{CommitRequest, GroupError, OffsetToCommit, Reply, Sender, TopicPartition},
    wire::WireError,
};

/// Clients of this version on know that a group may not exist.
const KNOWS_NOT_FOUND: i16 = 9;

/// The results of the partitions that exist, or why there are none.
type Results = Result<Vec<Result<(), GroupError>>, GroupError>;

/// An offset on its way to the group's owner.
struct Offset {
    partition: TopicPartition,
    offset: i64,
    leader_epoch: i32,
    metadata: Option<StrBytes>,
}

impl Offset {
    fn new(partition: TopicPartition, asked: &OffsetCommitRequestPartition) -> Self {
        Self {
            partition,
            offset: asked.committed_offset,
            leader_epoch: asked.committed_leader_epoch,
            metadata: asked.committed_metadata.clone(),
        }
    }

    fn lend(&self) -> OffsetToCommit<'_> {
        OffsetToCommit {
            partition: self.partition,
            offset: self.offset,
            leader_epoch: Some(self.leader_epoch).filter(|epoch| *epoch >= 0),
            metadata: self.metadata.as_deref().unwrap_or_default(),
        }
    }
}

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<OffsetCommitResponse, WireError> {
    let commit: OffsetCommitRequest = request.decode()?;
    let topics = commit.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| partition.partition_index);
        (topic.name.as_str(), partitions)
    });
    let partitions = OffsetPartitions::find(&gateway.broker.cluster(), topics);
    let asked = commit.topics.iter().flat_map(|topic| &topic.partitions);
    let offsets: Vec<_> = partitions
        .places()
        .zip(asked)
        .filter_map(|(place, asked)| Some(Offset::new(place?, asked)))
        .collect();
    let results = match offsets.is_empty() {
        true => Ok(Vec::new()),
        false => store(gateway, &commit, offsets).await,
    };
    Ok(respond(request.version, &commit.topics, &partitions, results))
}

async fn store(gateway: &Gateway, commit: &OffsetCommitRequest, offsets: Vec<Offset>) -> Results {
    let group = commit.group_id.clone();
    let (member, instance) = (commit.member_id.clone(), commit.group_instance_id.clone());
    let generation = commit.generation_id_or_member_epoch;
    let retention = retention(commit.retention_time_ms);
    let reply = group_call::ask(&gateway.broker, &commit.group_id, move |groups, at, token| {
        let sender = Sender { member: &member, instance: instance.as_deref(), generation };
        let offsets: Vec<_> = offsets.iter().map(Offset::lend).collect();
        let commit = CommitRequest { group: &group, sender, retention, offsets: &offsets };
        groups.commit_offsets(at, &commit, token);
    });
    match reply.await {
        Some(Reply::CommitOffsets(results)) => results,
        _ => Err(GroupError::CoordinatorNotAvailable),
    }
}

/// A retention of the offsets' own; -1 is none, and later versions than 4 have none.
fn retention(ms: i64) -> Option<Duration> {
    (ms != -1).then(|| Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

fn respond(
    version: i16,
    topics: &[OffsetCommitRequestTopic],
    partitions: &OffsetPartitions,
    results: Results,
) -> OffsetCommitResponse {
    let codes: Vec<_> = match results {
        Ok(results) => results.iter().map(group_call::code).collect(),
        Err(error) => vec![refusal(version, &error); partitions.existing().len()],
    };
    let codes = partitions.fill(codes, || ResponseError::UnknownTopicOrPartition.code());
    let topics = topics.iter().zip(codes).map(|(topic, codes)| {
        let partitions = topic.partitions.iter().zip(codes).map(|(partition, code)| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code)
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

fn refusal(version: i16, error: &GroupError) -> i16 {
    match error {
        GroupError::GroupNotFound if version < KNOWS_NOT_FOUND => {
            ResponseError::IllegalGeneration.code()
        }
        error => error.code(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire, *};
    use crate::cluster::{ClusterState, Setup};

    #[test]
    fn a_missing_group_has_its_code_since_version_9() {
        let code = |version| refusal(version, &GroupError::GroupNotFound);
        assert!((2..9).all(|version| code(version) == ResponseError::IllegalGeneration.code()));
        assert_eq!(code(9), ResponseError::GroupIdNotFound.code());
        assert_eq!(refusal(2, &GroupError::UnknownMember), ResponseError::UnknownMemberId.code());
    }

    #[test]
    fn minus_one_stands_for_none() {
        assert_eq!(retention(-1), None);
        assert_eq!(retention(1500), Some(Duration::from_millis(1500)));
        assert_eq!(retention(-2), Some(Duration::ZERO));
        let asked = OffsetCommitRequestPartition::default()
            .with_committed_offset(4)
            .with_committed_metadata(None);
        let partition = TopicPartition { topic: crate::base::TopicId([1; 16]), partition: 0 };
        let lent = Offset::new(partition, &asked);
        assert_eq!(
            (lent.lend().offset, lent.lend().leader_epoch, lent.lend().metadata),
            (4, None, "")
        );
        let asked = asked.with_committed_leader_epoch(0).with_committed_metadata(Some(wire("m")));
        let lent = Offset::new(partition, &asked);
        assert_eq!((lent.lend().leader_epoch, lent.lend().metadata), (Some(0), "m"));
    }

    #[test]
    fn unknown_partitions_are_told_beside_a_refusal() {
        let partition = OffsetCommitRequestPartition::default().with_partition_index(3);
        let topics = [OffsetCommitRequestTopic::default().with_partitions(vec![partition])];
        let cluster = ClusterState::new(Setup::default());
        let partitions = OffsetPartitions::find(&cluster, [("gone", [3])].into_iter());
        let response = respond(9, &topics, &partitions, Err(GroupError::UnknownMember));
        let told = &response.topics[0].partitions[0];
        assert_eq!((told.partition_index, told.error_code), (3, 3));
    }
}
