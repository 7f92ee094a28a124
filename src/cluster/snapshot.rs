//! The state as bytes, for checkpoints.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    BrokerScope, ClusterState, Configs, DecodeError, GroupConfig, Setup, Topic,
    command::{decode, encode},
};
use crate::base::{Position, QueueId, TopicId};

/// Format version of a snapshot; its first byte.
const VERSION: u8 = 2;

/// The version whose snapshots end before the groups' configs.
const WITHOUT_GROUPS: u8 = 1;

/// What of the state follows from commands only, which is all that is kept. The rest (settings, the
/// reverse map) is made anew.
#[derive(Serialize, Deserialize)]
struct Snapshot {
    applied: Option<Position>,
    cluster_id: Option<Arc<str>>,
    next_queue: u32,
    next_producer_id: i64,
    broker_configs: BTreeMap<BrokerScope, Configs>,
    topics: Vec<SnapshotTopic>,
}

/// What follows the rest since version 2.
#[derive(Default, Serialize, Deserialize)]
struct SnapshotGroups {
    configs: BTreeMap<Arc<str>, GroupConfig>,
}

#[derive(Serialize, Deserialize)]
struct SnapshotTopic {
    id: TopicId,
    name: Arc<str>,
    /// First number and count of each run of queues, in partition order.
    queues: Vec<(u32, u32)>,
    configs: Configs,
    created_ms: i64,
}

impl ClusterState {
    /// The state as bytes, without checksum: the checkpoint has one.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        let topic = |topic: &Arc<Topic>| SnapshotTopic {
            id: topic.id,
            name: Arc::clone(&topic.name),
            queues: runs(&topic.queues).collect(),
            configs: topic.configs.clone(),
            created_ms: topic.created_ms,
        };
        let snapshot = Snapshot {
            applied: self.applied,
            cluster_id: self.cluster_id.clone(),
            next_queue: self.next_queue,
            next_producer_id: self.next_producer_id,
            broker_configs: self.broker_configs.clone(),
            topics: self.topics().map(topic).collect(),
        };
        let config = |(group, config): (&Arc<str>, &Arc<GroupConfig>)| {
            (Arc::clone(group), GroupConfig::clone(config))
        };
        let groups = SnapshotGroups { configs: self.group_configs.iter().map(config).collect() };
        encode(VERSION, &(snapshot, groups))
    }

    /// The state that [`ClusterState::snapshot`] wrote, on a node set up as `setup` says.
    pub fn restore(setup: Setup, bytes: &[u8]) -> Result<Self, DecodeError> {
        const WHAT: &str = "cluster snapshot";
        let (snapshot, groups): (Snapshot, SnapshotGroups) = match bytes.first() {
            Some(&WITHOUT_GROUPS) => {
                (decode(WHAT, WITHOUT_GROUPS, bytes)?, SnapshotGroups::default())
            }
            _ => decode(WHAT, VERSION, bytes)?,
        };
        let malformed = |reason| DecodeError::Malformed { what: WHAT, reason };
        if snapshot.next_queue > QueueId::MAX.0 + 1 {
            return Err(malformed(format!("next queue number {}", snapshot.next_queue)));
        }
        let mut state = Self::new(setup);
        state.applied = snapshot.applied;
        state.cluster_id = snapshot.cluster_id;
        state.next_queue = snapshot.next_queue;
        state.next_producer_id = snapshot.next_producer_id;
        state.broker_configs = snapshot.broker_configs;
        state.group_configs =
            groups.configs.into_iter().map(|(group, config)| (group, Arc::new(config))).collect();
        state.reread_settings();
        for SnapshotTopic { id, name, queues, configs, created_ms } in snapshot.topics {
            let end = |&(first, count): &(u32, u32)| u64::from(first) + u64::from(count);
            let count: u64 = queues.iter().map(|&(_, count)| u64::from(count)).sum();
            let beyond = queues.iter().any(|run| end(run) > u64::from(snapshot.next_queue));
            if beyond || u64::from(state.queue_count()) + count > u64::from(snapshot.next_queue) {
                return Err(malformed(format!("topic {name} has queues never numbered")));
            }
            let queues =
                queues.into_iter().flat_map(|(first, count)| (first..first + count).map(QueueId));
            let (queues, settings) = (queues.collect(), state.settings_for(&configs));
            state.put_restored(Topic { id, name, queues, configs, settings, created_ms });
        }
        Ok(state)
    }
}

fn runs(queues: &[QueueId]) -> impl Iterator<Item = (u32, u32)> {
    queues.chunk_by(|a, b| a.0 + 1 == b.0).map(|run| (run[0].0, run.len() as u32))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            applied: Some(Position(7)),
            cluster_id: Some("id".into()),
            next_queue: 3,
            next_producer_id: 1_000,
            broker_configs: BTreeMap::new(),
            topics: vec![SnapshotTopic {
                id: TopicId([1; 16]),
                name: "a".into(),
                queues: vec![(0, 3)],
                configs: Configs::new(),
                created_ms: 5,
            }],
        }
    }

    #[test]
    fn snapshots_from_before_groups_had_configs_are_read() {
        let old = encode(WITHOUT_GROUPS, &snapshot());
        let state = ClusterState::restore(Setup::default(), &old).unwrap();
        assert_eq!(state.topic("a").unwrap().partitions(), 3);
        assert!(state.group_configs().is_empty());
        let again = ClusterState::restore(Setup::default(), &state.snapshot()).unwrap();
        assert_eq!(again, state);
        let unknown = [&[VERSION + 1], &old[1..]].concat();
        let refused = ClusterState::restore(Setup::default(), &unknown);
        assert!(matches!(refused, Err(DecodeError::UnknownVersion { found: 3, .. })));
    }
}
