//! The state of all shards as the housekeeper last heard of it, for checkpoints.

use std::io::{self, Write as _};

use hashbrown::HashMap;
use serde::Serialize;

use crate::{
    base::{Position, QueueId},
    broker::{ClusterSnapshot, QueueChange, QueueSnapshot, ShardSnapshot},
    storage::checkpoint::CheckpointWriter,
};

/// The sections of a checkpoint.
pub const CLUSTER: &str = "cluster";
/// Queues, one record after the other, each behind its length.
pub const QUEUES: &str = "queues";
/// Group records, likewise.
pub const GROUPS: &str = "groups";
/// How far timers have come, likewise.
pub const TIMERS: &str = "timers";
/// Queues of which more is to be taken off than was, and from which offset on; likewise.
pub const UNCOUNTED: &str = "uncounted";

/// What changes little between two checkpoints. Lives with the housekeeper: shards tell it only what
/// has changed, and go on.
#[derive(Default)]
pub struct KnownState {
    queues: HashMap<QueueId, QueueSnapshot>,
    cluster: Option<ClusterSnapshot>,
}

impl KnownState {
    /// The last command in the cluster's state as it is known.
    pub(super) fn applied(&self) -> Option<Position> {
        self.cluster.as_ref().and_then(|cluster| cluster.applied)
    }

    /// Takes in what has become of queues.
    pub(super) fn take_in(&mut self, changes: Vec<QueueChange>) {
        for (id, state) in changes {
            match state {
                Some(state) => drop(self.queues.insert(id, state)),
                None => drop(self.queues.remove(&id)),
            }
        }
    }

    /// Takes in the cluster's state.
    pub(super) fn take_in_cluster(&mut self, cluster: ClusterSnapshot) {
        self.cluster = Some(cluster);
    }

    /// The first offset of a queue that index files must lead to: a readable one, or one that is still
    /// to be taken off the queue's bytes. `None` if there is no such queue, or nothing was written to it.
    pub(super) fn index_start(&self, queue: QueueId) -> Option<i64> {
        self.queues.get(&queue).map(|queue| queue.counted_from)
    }

    /// Writes a checkpoint's sections; `parts` have what was not taken in.
    pub(super) fn write_sections(
        &self,
        writer: &mut CheckpointWriter,
        parts: &[ShardSnapshot],
    ) -> io::Result<()> {
        let untold = || io::Error::other("no shard told of the cluster's state");
        writer.section(CLUSTER)?;
        writer.write_all(&self.cluster.as_ref().ok_or_else(untold)?.bytes)?;
        writer.section(QUEUES)?;
        self.queues.values().try_for_each(|queue| write_record(writer, queue))?;
        writer.section(GROUPS)?;
        for record in parts.iter().flat_map(|part| &part.groups) {
            write_record(writer, record)?;
        }
        writer.section(TIMERS)?;
        for timers in parts.iter().flat_map(|part| &part.timers) {
            write_record(writer, timers)?;
        }
        writer.section(UNCOUNTED)?;
        let uncounted = |queue: &&QueueSnapshot| queue.counted_from < queue.log_start;
        for queue in self.queues.values().filter(uncounted) {
            write_record(writer, &(queue.id, queue.counted_from))?;
        }
        Ok(())
    }
}

fn write_record(writer: &mut CheckpointWriter, record: &impl Serialize) -> io::Result<()> {
    let bytes = postcard::to_stdvec(record).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    writer.write_all(&length.to_le_bytes())?;
    writer.write_all(&bytes)
}
