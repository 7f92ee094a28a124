//! DeleteRecords (key 21, versions 0–2): moves partitions' first readable offsets. Source: KIP-107.

use kafka_protocol::{
    ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse,
        delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{
    Gateway, Request,
    queues::{self, Answered, Asked, ask_queues, queue_of},
};
use crate::{cluster::ClusterState, wire::WireError};

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<DeleteRecordsResponse, WireError> {
    let broker = &gateway.broker;
    let delete: DeleteRecordsRequest = request.decode()?;
    let asked = resolve(&broker.cluster(), &delete.topics);
    let starts = ask_queues(broker, asked, |owner, queue, offset| {
        Box::pin(
            async move { owner.delete_before(queue, offset).await.map_err(queues::queue_error) },
        )
    });
    Ok(respond(&delete.topics, starts.await))
}

fn resolve(cluster: &ClusterState, topics: &[DeleteRecordsTopic]) -> Vec<Vec<Asked<i64>>> {
    let topic = |topic: &DeleteRecordsTopic| {
        let known = cluster.topic(&topic.name);
        let partition = |partition: &DeleteRecordsPartition| {
            let queue = queue_of(known, partition.partition_index)?;
            match known.is_some_and(|topic| topic.settings.delete || !topic.settings.compact) {
                true => Ok((queue, partition.offset)),
                // Records of a topic that is only compacted are kept.
                false => Err(ResponseError::PolicyViolation),
            }
        };
        topic.partitions.iter().map(partition).collect()
    };
    topics.iter().map(topic).collect()
}

fn respond(
    topics: &[DeleteRecordsTopic],
    starts: Vec<Vec<Answered<i64>>>,
) -> DeleteRecordsResponse {
    let topics = topics.iter().zip(starts).map(|(topic, starts)| {
        let partitions = topic.partitions.iter().zip(starts).map(|(partition, start)| {
            DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(queues::code(&start))
                .with_low_watermark(start.unwrap_or(-1))
        });
        DeleteRecordsTopicResult::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;

    use super::{
        super::{queues::tests::cluster, wire},
        *,
    };
    use crate::{
        base::QueueId,
        wire::kafka::{ApiKey, message},
    };

    #[test]
    fn compacted_topics_keep_their_records() {
        let partition = |index| DeleteRecordsPartition::default().with_partition_index(index);
        let topics = [DeleteRecordsTopic::default()
            .with_name(TopicName(wire("a")))
            .with_partitions([1, 2].map(|index| partition(index).with_offset(7)).to_vec())];
        let unknown = Err(ResponseError::UnknownTopicOrPartition);
        for (policy, expected) in [
            ("delete", Ok((QueueId(1), 7))),
            ("compact,delete", Ok((QueueId(1), 7))),
            ("", Ok((QueueId(1), 7))),
            ("compact", Err(ResponseError::PolicyViolation)),
        ] {
            let asked = resolve(&cluster(&[("cleanup.policy", policy)]), &topics);
            assert_eq!(asked, [[expected, unknown]], "{policy}");
        }
        let response = respond(&topics, vec![vec![Ok(5), Err(ResponseError::OffsetOutOfRange)]]);
        let told = response.topics[0].partitions.iter();
        let told: Vec<_> = told.map(|part| (part.low_watermark, part.error_code)).collect();
        assert_eq!(told, [(5, 0), (-1, 1)]);
        for version in 0..=2 {
            message::encode_response(1, ApiKey::DeleteRecords, version, &response).unwrap();
        }
    }
}
