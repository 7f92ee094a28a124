//! DescribeProducers (key 61, version 0): the idempotent producers of partitions. Source: KIP-664.

use kafka_protocol::{
    ResponseError,
    messages::{
        DescribeProducersRequest, DescribeProducersResponse, ProducerId,
        describe_producers_request::TopicRequest,
        describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
    },
};

use super::{
    Gateway, Request,
    queues::{self, Answered, Asked, ask_queues, queue_of},
};
use crate::{
    broker::Producer,
    cluster::{ClusterState, Naming},
    wire::WireError,
};

/// A queue's producers with their ids.
type Producers = Vec<(i64, Producer)>;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<DescribeProducersResponse, WireError> {
    let broker = &gateway.broker;
    let describe: DescribeProducersRequest = request.decode()?;
    let asked = resolve(&broker.cluster(), &describe.topics);
    let producers = ask_queues(broker, asked, |owner, queue, ()| {
        let producers = owner.queue_producers(queue);
        Box::pin(std::future::ready(producers.ok_or(ResponseError::UnknownTopicOrPartition)))
    });
    Ok(respond(&describe.topics, producers.await))
}

fn resolve(cluster: &ClusterState, topics: &[TopicRequest]) -> Vec<Vec<Asked<()>>> {
    let topic = |topic: &TopicRequest| {
        let known = cluster.topic(&topic.name);
        let is_valid = known.is_some() || Naming::Kafka.check(&topic.name).is_ok();
        let partition = |&index: &i32| match is_valid {
            true => queue_of(known, index).map(|queue| (queue, ())),
            false => Err(ResponseError::InvalidTopicException),
        };
        topic.partition_indexes.iter().map(partition).collect()
    };
    topics.iter().map(topic).collect()
}

fn respond(
    topics: &[TopicRequest],
    producers: Vec<Vec<Answered<Producers>>>,
) -> DescribeProducersResponse {
    let topics = topics.iter().zip(producers).map(|(topic, producers)| {
        let partitions = topic.partition_indexes.iter().zip(producers).map(|(&index, found)| {
            let response = PartitionResponse::default()
                .with_partition_index(index)
                .with_error_code(queues::code(&found));
            let mut producers = found.unwrap_or_default();
            producers.sort_unstable_by_key(|(id, _)| *id);
            let producers = producers.iter().map(|(id, producer)| state(*id, producer));
            response.with_active_producers(producers.collect())
        });
        TopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn state(id: i64, producer: &Producer) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(id))
        .with_producer_epoch(i32::from(producer.epoch))
        .with_last_sequence(producer.last_sequence())
        .with_last_timestamp(producer.last_time_ms())
        // There are no transactions yet.
        .with_coordinator_epoch(-1)
        .with_current_txn_start_offset(-1)
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::TopicName;

    use super::{
        super::{queues::tests::cluster, wire},
        *,
    };
    use crate::base::QueueId;

    #[test]
    fn names_that_cannot_be_are_invalid() {
        let topic = |name: &str| {
            let topic = TopicRequest::default().with_name(TopicName(wire(name)));
            topic.with_partition_indexes(vec![0])
        };
        let asked = resolve(&cluster(&[]), &["a", "b", "b/c"].map(topic));
        let expected = [
            [Ok((QueueId(0), ()))],
            [Err(ResponseError::UnknownTopicOrPartition)],
            [Err(ResponseError::InvalidTopicException)],
        ];
        assert_eq!(asked, expected);
    }
}
