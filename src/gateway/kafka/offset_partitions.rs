//! The partitions in a request about a group's offsets.

use crate::{base::TopicId, broker::group::TopicPartition, cluster::ClusterState};

/// Partitions by topic, as in the request; `None` stands for one that does not exist.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OffsetPartitions(Vec<Vec<Option<TopicPartition>>>);

impl OffsetPartitions {
    /// Looks up topics by name, each with partition numbers.
    pub(super) fn find<'a, P: IntoIterator<Item = i32>>(
        cluster: &ClusterState,
        topics: impl Iterator<Item = (&'a str, P)>,
    ) -> Self {
        let topic = |(name, partitions): (&str, P)| {
            let known = cluster.topic(name);
            let partition = |index: i32| {
                let topic = known.filter(|topic| topic.queue(index).is_some())?;
                Some(topic_partition(topic.id, index))
            };
            partitions.into_iter().map(partition).collect()
        };
        Self(topics.map(topic).collect())
    }

    /// All places of the request in a row.
    pub(super) fn places(&self) -> impl Iterator<Item = Option<TopicPartition>> {
        self.0.iter().flatten().copied()
    }

    /// The partitions that exist, in a row.
    pub(super) fn existing(&self) -> Vec<TopicPartition> {
        self.places().flatten().collect()
    }

    /// Something for each partition by topic, as in the request: from `existing`, in their order, or
    /// `missing`.
    pub(super) fn fill<T>(
        &self,
        existing: impl IntoIterator<Item = T>,
        missing: impl Fn() -> T,
    ) -> Vec<Vec<T>> {
        let mut existing = existing.into_iter();
        let mut fill = |place: &Option<TopicPartition>| match place {
            Some(_) => existing.next().expect("one for each partition that exists"),
            None => missing(),
        };
        self.0.iter().map(|topic| topic.iter().map(&mut fill).collect()).collect()
    }
}

fn topic_partition(topic: TopicId, index: i32) -> TopicPartition {
    TopicPartition { topic, partition: u32::try_from(index).expect("it exists") }
}

#[cfg(test)]
mod tests {
    use super::{super::queues::tests::cluster, *};

    #[test]
    fn what_exists_keeps_its_place() {
        let asked = [("b", vec![0]), ("a", vec![2, 1, -1, 0]), ("a", vec![])];
        let found = OffsetPartitions::find(&cluster(&[]), asked.into_iter());
        let topic = TopicId([1; 16]);
        assert_eq!(found.existing(), [1, 0].map(|partition| TopicPartition { topic, partition }));
        let filled = found.fill(['x', 'y'], || '-');
        assert_eq!(filled, [vec!['-'], vec!['-', 'x', '-', 'y'], vec![]]);
    }
}
