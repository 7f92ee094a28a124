//! OffsetForLeaderEpoch (key 23, versions 2–4): where a leader's epoch ended, so that consumers notice
//! truncation. Sources: KIP-101, KIP-320.

use kafka_protocol::{
    ResponseError,
    messages::{
        OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
        offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
        offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
    },
};

use super::{
    Gateway, Request,
    queues::{self, Answered, Asked, LEADER_EPOCH, ask_queues, check_leader_epoch, queue_of},
};
use crate::{cluster::ClusterState, wire::WireError};

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<OffsetForLeaderEpochResponse, WireError> {
    let broker = &gateway.broker;
    let asked: OffsetForLeaderEpochRequest = request.decode()?;
    let queues = resolve(&broker.cluster(), &asked.topics);
    let ends = ask_queues(broker, queues, |owner, queue, epoch| {
        let ends = owner.ends(queue).ok_or(ResponseError::UnknownTopicOrPartition);
        Box::pin(std::future::ready(ends.map(|(_, high_watermark)| (epoch, high_watermark))))
    });
    Ok(respond(&asked.topics, ends.await))
}

/// Each partition's queue with the epoch asked for.
fn resolve(cluster: &ClusterState, topics: &[OffsetForLeaderTopic]) -> Vec<Vec<Asked<i32>>> {
    let topic = |topic: &OffsetForLeaderTopic| {
        let known = cluster.topic(&topic.topic);
        let partition = |partition: &OffsetForLeaderPartition| {
            let queue = queue_of(known, partition.partition)?;
            check_leader_epoch(partition.current_leader_epoch)?;
            Ok((queue, partition.leader_epoch))
        };
        topic.partitions.iter().map(partition).collect()
    };
    topics.iter().map(topic).collect()
}

fn respond(
    topics: &[OffsetForLeaderTopic],
    ends: Vec<Vec<Answered<(i32, i64)>>>,
) -> OffsetForLeaderEpochResponse {
    let topics = topics.iter().zip(ends).map(|(topic, ends)| {
        let partitions = topic.partitions.iter().zip(ends).map(|(partition, end)| {
            // Of an epoch that never was, neither the epoch nor its end is known: both are -1.
            let (epoch, offset) = match end {
                Ok((LEADER_EPOCH, high_watermark)) => (LEADER_EPOCH, high_watermark),
                _ => (-1, -1),
            };
            EpochEndOffset::default()
                .with_partition(partition.partition)
                .with_error_code(queues::code(&end))
                .with_leader_epoch(epoch)
                .with_end_offset(offset)
        });
        OffsetForLeaderTopicResult::default()
            .with_topic(topic.topic.clone())
            .with_partitions(partitions.collect())
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_epoch_has_an_end() {
        let partition = |index| OffsetForLeaderPartition::default().with_partition(index);
        let unknown = ResponseError::UnknownLeaderEpoch.code();
        let topics =
            [OffsetForLeaderTopic::default().with_partitions((0..3).map(partition).collect())];
        let ends = vec![vec![Ok((0, 9)), Ok((1, 9)), Err(ResponseError::UnknownLeaderEpoch)]];
        let response = respond(&topics, ends);
        let told: Vec<_> = response.topics[0]
            .partitions
            .iter()
            .map(|end| (end.partition, end.error_code, end.leader_epoch, end.end_offset))
            .collect();
        assert_eq!(told, [(0, 0, 0, 9), (1, 0, -1, -1), (2, unknown, -1, -1)]);
    }
}
