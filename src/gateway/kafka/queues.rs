//! What requests about partitions share: finding the queues, and asking their owners.

use std::{rc::Rc, sync::Arc};

use kafka_protocol::ResponseError;

use super::fan_out;
use crate::{
    base::QueueId,
    broker::{Broker, OffsetError},
    cluster::Topic,
    env::LocalFuture,
};

/// One partition of a request: its queue and what is asked of it, or why it is refused.
pub(super) type Asked<T> = Result<(QueueId, T), ResponseError>;

/// What became of one partition of a request.
pub(super) type Answered<R> = Result<R, ResponseError>;

/// The epoch in which this node leads every partition.
pub(super) const LEADER_EPOCH: i32 = 0;

/// The queue of a partition, of a topic that may not exist.
pub(super) fn queue_of(
    topic: Option<&Arc<Topic>>,
    partition: i32,
) -> Result<QueueId, ResponseError> {
    let queue = topic.and_then(|topic| topic.queue(partition));
    queue.ok_or(ResponseError::UnknownTopicOrPartition)
}

/// Checks the leader epoch a client believes in (KIP-320); -1 is none.
pub(super) fn check_leader_epoch(epoch: i32) -> Result<(), ResponseError> {
    match epoch {
        -1 | LEADER_EPOCH => Ok(()),
        ..LEADER_EPOCH => Err(ResponseError::FencedLeaderEpoch),
        _ => Err(ResponseError::UnknownLeaderEpoch),
    }
}

/// The code for an offset that cannot be told or moved.
pub(super) fn queue_error(error: OffsetError) -> ResponseError {
    match error {
        OffsetError::UnknownQueue => ResponseError::UnknownTopicOrPartition,
        OffsetError::OutOfRange => ResponseError::OffsetOutOfRange,
        OffsetError::Index => ResponseError::KafkaStorageError,
        OffsetError::Storage(error) => {
            tracing::error!(%error, "a queue cannot be read or changed");
            ResponseError::KafkaStorageError
        }
    }
}

/// Asks every partition's queue on its owner's shard. Partitions are grouped by topic, and their
/// results come back in the same places.
pub(super) async fn ask_queues<T, R, W>(
    broker: &Rc<Broker>,
    asked: Vec<Vec<Asked<T>>>,
    work: W,
) -> Vec<Vec<Answered<R>>>
where
    T: Send + 'static,
    R: Send + 'static,
    W: Fn(Rc<Broker>, QueueId, T) -> LocalFuture<'static, Answered<R>> + Copy + Send + 'static,
{
    let mut items = Vec::new();
    let mut refused = Vec::with_capacity(asked.len());
    for topic in asked {
        let partitions = topic.into_iter().map(|partition| {
            let (queue, what) = partition?;
            items.push((broker.owner(queue), (queue, what)));
            Ok(())
        });
        refused.push(partitions.collect::<Vec<Result<(), ResponseError>>>());
    }
    let results = fan_out::on_shards(broker, items, move |owner, items| {
        Box::pin(fan_out::each(items, move |(queue, what)| work(Rc::clone(&owner), queue, what)))
    });
    let mut results = results.await.into_iter();
    let mut result = |refused: Result<(), ResponseError>| {
        refused?;
        let result = results.next().expect("a result for every queue");
        result.unwrap_or(Err(ResponseError::NotLeaderOrFollower))
    };
    refused.into_iter().map(|topic| topic.into_iter().map(&mut result).collect()).collect()
}

/// The code of a result.
pub(super) fn code<R>(result: &Answered<R>) -> i16 {
    result.as_ref().err().map_or(0, ResponseError::code)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{
        base::{Position, TopicId},
        cluster::{ClusterState, Command, Setup},
    };

    /// A cluster with one topic of two partitions, named "a".
    pub(in super::super) fn cluster(configs: &[(&str, &str)]) -> ClusterState {
        let mut cluster = ClusterState::new(Setup::default());
        let create = Command::CreateTopic {
            id: TopicId([1; 16]),
            name: "a".into(),
            collides: false,
            partitions: 2,
            configs: configs.iter().map(|&(name, value)| (name.into(), value.into())).collect(),
            created_ms: 0,
        };
        cluster.apply(Position(1), &create);
        cluster
    }

    #[test]
    fn only_epoch_zero_is_led() {
        assert_eq!(check_leader_epoch(-1), Ok(()));
        assert_eq!(check_leader_epoch(0), Ok(()));
        assert_eq!(check_leader_epoch(1), Err(ResponseError::UnknownLeaderEpoch));
        assert_eq!(check_leader_epoch(-2), Err(ResponseError::FencedLeaderEpoch));
    }
}
