//! DescribeLogDirs (key 35, versions 1–4): how many bytes partitions take. Sources: KIP-113, KIP-827.
//!
//! All partitions lie in one log, so there is one directory; a partition's size is that of its
//! messages as they were sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use kafka_protocol::messages::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_log_dirs_response::{
        DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
    },
};

use super::{Gateway, Request, fan_out::on_shards, wire};
use crate::{base::QueueId, cluster::ClusterState, wire::WireError};

/// From this version on the answer has the size of the file system.
const TELLS_VOLUME: i16 = 4;

/// A topic and those of its partitions that are asked for.
#[derive(Debug, PartialEq)]
struct Wanted {
    name: Arc<str>,
    partitions: Vec<(i32, QueueId)>,
}

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<DescribeLogDirsResponse, WireError> {
    let broker = &gateway.broker;
    let describe: DescribeLogDirsRequest = request.decode()?;
    let wanted = match &describe.topics {
        Some(topics) => some(&broker.cluster(), topics),
        None => every(&broker.cluster()),
    };
    let queues = wanted.iter().flat_map(|topic| &topic.partitions);
    let items = queues.map(|&(_, queue)| (broker.owner(queue), queue)).collect();
    let bytes = on_shards(broker, items, |owner, queues| {
        let bytes = queues.into_iter().map(|queue| owner.queue_bytes(queue)).collect();
        Box::pin(std::future::ready(bytes))
    });
    let bytes = bytes.await.into_iter().map(|bytes| bytes.ok().flatten()).collect();
    let volume = broker.volume();
    let mut result = DescribeLogDirsResult::default()
        .with_log_dir(wire(broker.cluster().broker_value("log.dirs").unwrap_or_default()))
        .with_topics(respond(wanted, bytes));
    if request.version >= TELLS_VOLUME {
        result.total_bytes = i64::try_from(volume.total_bytes).unwrap_or(i64::MAX);
        result.usable_bytes = i64::try_from(volume.free_bytes).unwrap_or(i64::MAX);
    }
    Ok(DescribeLogDirsResponse::default().with_results(vec![result]))
}

fn every(cluster: &ClusterState) -> Vec<Wanted> {
    let topics = cluster.topics().map(|topic| Wanted {
        name: Arc::clone(&topic.name),
        partitions: (0..).zip(topic.queues.iter().copied()).collect(),
    });
    topics.collect()
}

/// The partitions asked for, each once. What does not exist has no size.
fn some(cluster: &ClusterState, topics: &[DescribableLogDirTopic]) -> Vec<Wanted> {
    let mut asked = BTreeMap::<&str, BTreeSet<i32>>::new();
    for topic in topics {
        asked.entry(&topic.topic).or_default().extend(&topic.partitions);
    }
    let topics = asked.into_iter().filter_map(|(name, partitions)| {
        let topic = cluster.topic(name)?;
        let queue = |index: i32| topic.queue(index).map(|queue| (index, queue));
        let partitions = partitions.into_iter().filter_map(queue).collect();
        Some(Wanted { name: Arc::clone(&topic.name), partitions })
    });
    topics.collect()
}

/// Topics with the sizes of their partitions; those deleted meanwhile are left out.
fn respond(wanted: Vec<Wanted>, bytes: Vec<Option<u64>>) -> Vec<DescribeLogDirsTopic> {
    let mut bytes = bytes.into_iter();
    let topics = wanted.into_iter().map(|topic| {
        let partitions = topic.partitions.iter().filter_map(|(index, _)| {
            let size = bytes.next().expect("a size for every queue")?;
            let partition = DescribeLogDirsPartition::default().with_partition_index(*index);
            Some(partition.with_partition_size(i64::try_from(size).unwrap_or(i64::MAX)))
        });
        DescribeLogDirsTopic::default()
            .with_partitions(partitions.collect())
            .with_name(TopicName(wire(&topic.name)))
    });
    topics.filter(|topic| !topic.partitions.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::queues::tests::cluster, *};

    #[test]
    fn partitions_are_described_once_if_they_exist() {
        let topic = |name: &str, partitions: &[i32]| {
            let topic = DescribableLogDirTopic::default().with_topic(TopicName(wire(name)));
            topic.with_partitions(partitions.to_vec())
        };
        let cluster = cluster(&[]);
        let asked = [topic("a", &[1, 2]), topic("b", &[0]), topic("a", &[1])];
        let wanted = Wanted { name: "a".into(), partitions: vec![(1, QueueId(1))] };
        assert_eq!(some(&cluster, &asked), [wanted]);
        let partitions = vec![(0, QueueId(0)), (1, QueueId(1))];
        assert_eq!(every(&cluster), [Wanted { name: "a".into(), partitions }]);
    }

    #[test]
    fn what_is_gone_has_no_size() {
        let wanted = |name: &str, queues: &[u32]| Wanted {
            name: name.into(),
            partitions: (0..).zip(queues.iter().map(|&queue| QueueId(queue))).collect(),
        };
        let topics = respond(
            vec![wanted("a", &[3, 4, 5]), wanted("b", &[6])],
            vec![Some(30), None, Some(50), None],
        );
        let sizes: Vec<_> = topics[0]
            .partitions
            .iter()
            .map(|partition| (partition.partition_index, partition.partition_size))
            .collect();
        assert_eq!(topics.len(), 1);
        assert_eq!(sizes, [(0, 30), (2, 50)]);
    }
}
