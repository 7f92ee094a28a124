//! Rebuilds the broker's state from a checkpoint and the log, before the shards start.

use std::sync::Arc;

use hashbrown::HashMap;

use super::{
    append::sequence_of,
    control::numbers_of,
    coordinator::group_shard,
    group::GroupRecord,
    losses::{Ledger, LostOffsets},
    producers::Sequence,
    retention::Dropped,
    seal::QueueSnapshot,
    timers::{TimerFrame, TimerKey, TimersSnapshot},
};
use crate::{
    base::{Dialect, Position, QueueId},
    cluster::{ClusterState, Command, Numbers, Topic},
    storage::{
        commit_log::{
            frame::{FRAME_HEADER, FrameKind, FrameMeta, frame_span},
            recovery::{FoundFrame, Hole},
        },
        queue_index::IndexEntry,
    },
    wire::{kafka::batch::BatchHeader, rocketmq::record},
};

/// What was replayed for one shard.
pub struct ShardState {
    /// Topics and configs.
    pub cluster: ClusterState,
    pub(super) queues: HashMap<QueueId, (Arc<Topic>, QueueSnapshot)>,
    pub(super) groups: Vec<GroupRecord>,
    pub(super) timers: Vec<TimersSnapshot>,
    pub(super) lost: LostOffsets,
    /// Index entries of frames behind the last index file, in log order.
    pub entries: Vec<(QueueId, IndexEntry)>,
}

/// A frame's entry in the index, if it has messages.
///
/// # Errors
/// What makes the frame unreadable, for whoever has to repair the log.
pub fn index_entry(frame: &FoundFrame<'_>) -> Result<Option<IndexEntry>, String> {
    Ok(messages_of(frame)?.map(|(entry, _)| entry))
}

/// What a frame says of its messages, if it has any, and of their idempotent producer.
fn messages_of(frame: &FoundFrame<'_>) -> Result<Option<(IndexEntry, Option<Sequence>)>, String> {
    let meta = frame.meta;
    let (dialect, max_timestamp, sequence) = match meta.kind {
        FrameKind::KafkaBatch => {
            let header = BatchHeader::parse(frame.payload).map_err(|error| error.to_string())?;
            (Dialect::Kafka, header.max_timestamp, sequence_of(&header))
        }
        FrameKind::RocketMessage => {
            let born = record::born_timestamp(frame.payload).map_err(|error| error.to_string())?;
            (Dialect::RocketMq, born, None)
        }
        FrameKind::Timer => {
            let timer = TimerFrame::parse(frame.payload)?;
            (timer.dialect, timer.due_ms, None)
        }
        _ => return Ok(None),
    };
    let entry = IndexEntry {
        base_offset: meta.base_offset,
        position: frame.payload_at,
        length: frame.payload.len() as u32,
        count: meta.count,
        max_timestamp,
        append_time: meta.append_time_ms,
        tag_hash: meta.tag_hash,
        dialect,
    };
    Ok(Some((entry, sequence)))
}

/// Where a frame ends in the log.
fn end_of(frame: &FoundFrame<'_>) -> Position {
    frame.payload_at.plus((frame_span(frame.payload.len()) - FRAME_HEADER) as u64)
}

/// The state being rebuilt. On the main thread.
pub struct Replay {
    /// A checkpoint holds what the log says in front of it.
    checked: Position,
    cluster: ClusterState,
    queues: HashMap<QueueId, QueueSnapshot>,
    groups: Vec<GroupRecord>,
    timers: HashMap<QueueId, TimersSnapshot>,
    entries: Vec<(QueueId, IndexEntry)>,
    /// Where they begin: index files hold those of frames in front of it.
    entries_from: Position,
    lost: LostOffsets,
    /// The highest number of a queue that messages name, whether or not it is known.
    named: QueueId,
}

impl Replay {
    /// Begins with what a checkpoint holds of the log in front of `checked`; empty parts without one.
    #[must_use]
    pub fn new(
        checked: Position,
        cluster: ClusterState,
        queues: impl IntoIterator<Item = QueueSnapshot>,
        groups: Vec<GroupRecord>,
        timers: Vec<TimersSnapshot>,
    ) -> Self {
        let queues = queues.into_iter().map(|queue| (queue.id, queue)).collect();
        Self {
            checked,
            cluster,
            queues,
            groups,
            timers: timers.into_iter().map(|timers| (timers.queue, timers)).collect(),
            entries: Vec::new(),
            entries_from: Position(0),
            lost: LostOffsets::new(),
            named: QueueId(0),
        }
    }

    /// Keeps index entries only of frames at or behind `position`, so that memory takes no more than
    /// what index files do not hold.
    pub fn keep_entries_from(&mut self, position: Position) {
        self.entries_from = position;
    }

    /// Takes in a frame of the log. Frames the checkpoint already covers change nothing.
    ///
    /// # Errors
    /// What makes the frame unreadable, for whoever has to repair the log.
    pub fn frame(&mut self, frame: &FoundFrame<'_>) -> Result<(), String> {
        if frame.meta.kind.is_data() { self.messages(frame) } else { self.control(frame) }
    }

    fn control(&mut self, frame: &FoundFrame<'_>) -> Result<(), String> {
        match frame.meta.kind {
            FrameKind::Cluster => {
                let command = Command::decode(frame.payload).map_err(|error| error.to_string())?;
                self.cluster.number_from(numbers_of(&frame.meta));
                let applied = self.cluster.apply(frame.payload_at, &command);
                applied.removed().iter().for_each(|id| drop(self.queues.remove(id)));
                Ok(())
            }
            // A log may hold many times what groups have in the end.
            FrameKind::Group if frame.payload_at < self.checked => Ok(()),
            FrameKind::Group => {
                let record =
                    postcard::from_bytes(frame.payload).map_err(|error| error.to_string())?;
                self.groups.push(record);
                Ok(())
            }
            FrameKind::LogStart => {
                let start = frame.meta.base_offset;
                if let Some(queue) = self.queue(frame.meta.queue) {
                    queue.log_start = queue.log_start.max(start);
                }
                Ok(())
            }
            FrameKind::Dropped => {
                let dropped = Dropped::of(frame.meta.base_offset, frame.payload);
                let bytes = frame.payload.len();
                let dropped = dropped.ok_or_else(|| format!("{bytes} bytes drop nothing"))?;
                if let Some(queue) = self.queue(frame.meta.queue) {
                    let QueueSnapshot { next_offset, counted_from, bytes, oldest, .. } = queue;
                    dropped.take_off(*next_offset, counted_from, bytes, oldest);
                }
                Ok(())
            }
            FrameKind::TimersFired => self.timer(frame, TimersSnapshot::fired),
            FrameKind::TimerSettled => self.timer(frame, TimersSnapshot::settled),
            FrameKind::ProducerSequence => self.sequence(frame),
            FrameKind::Void
            | FrameKind::KafkaBatch
            | FrameKind::RocketMessage
            | FrameKind::Timer => Ok(()),
        }
    }

    /// What a control frame says of a queue's timers.
    fn timer(
        &mut self,
        frame: &FoundFrame<'_>,
        change: impl FnOnce(&mut TimersSnapshot, TimerKey),
    ) -> Result<(), String> {
        let (queue, offset) = (frame.meta.queue, frame.meta.base_offset);
        let key = TimerKey::of(offset, frame.payload);
        let key = key.ok_or_else(|| format!("{} bytes are no time", frame.payload.len()))?;
        if self.queue(queue).is_some() {
            let timers = self.timers.entry(queue).or_insert_with(|| TimersSnapshot::new(queue));
            change(timers, key);
        }
        Ok(())
    }

    /// A producer's batch that was divided between its queue and timers.
    fn sequence(&mut self, frame: &FoundFrame<'_>) -> Result<(), String> {
        let FrameMeta { queue, base_offset, append_time_ms, .. } = frame.meta;
        let sequence = Sequence::parse(frame.payload);
        let sequence =
            sequence.ok_or_else(|| format!("{} bytes are no sequence", frame.payload.len()))?;
        if let Some(queue) = self.queue(queue) {
            queue.producers.replay(&sequence, base_offset, end_of(frame), append_time_ms);
        }
        Ok(())
    }

    /// A queue's state, if the queue still exists.
    fn queue(&mut self, id: QueueId) -> Option<&mut QueueSnapshot> {
        if !self.queues.contains_key(&id) {
            self.cluster.queue(id)?;
        }
        Some(self.queues.entry(id).or_insert_with(|| QueueSnapshot::empty(id)))
    }

    fn messages(&mut self, frame: &FoundFrame<'_>) -> Result<(), String> {
        let meta = frame.meta;
        let Some((entry, sequence)) = messages_of(frame)? else { return Ok(()) };
        self.named = self.named.max(meta.queue);
        let Some(queue) = self.queue(meta.queue) else { return Ok(()) };
        let next = meta.base_offset + i64::from(meta.count);
        if next > queue.next_offset {
            if queue.counted_from >= queue.next_offset {
                queue.oldest = frame.payload_at;
            }
            queue.next_offset = next;
            queue.bytes += frame.payload.len() as u64;
            if let Some(sequence) = sequence {
                let end = end_of(frame);
                queue.producers.record(&sequence, meta.base_offset, end, meta.append_time_ms);
            }
        }
        if entry.position >= self.entries_from {
            self.entries.push((meta.queue, entry));
        }
        Ok(())
    }

    /// Numbers that no command has given, as far as anything still tells.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        let mut numbers = self.cluster.numbers();
        numbers.queue = numbers.queue.max(QueueId(self.named.0 + 1));
        numbers
    }

    /// The cluster's state as rebuilt so far.
    #[must_use]
    pub fn cluster(&self) -> &ClusterState {
        &self.cluster
    }

    /// Begins to look for what is lost in `holes`, once all frames were taken in. The ledger is to be
    /// shown those first whose entries are not kept here.
    #[must_use]
    pub fn ledger<'a>(&self, holes: &'a [Hole]) -> Ledger<'a> {
        let ids = self.cluster.topics().flat_map(|topic| topic.queues.iter().copied());
        let start = |id| self.queues.get(&id).map_or(0, |queue| queue.log_start);
        Ledger::new(holes, ids.map(|id| (id, start(id))))
    }

    /// Shows the ledger what was replayed.
    pub fn complete(&self, ledger: &mut Ledger<'_>) {
        self.entries.iter().for_each(|(queue, entry)| ledger.next_frame(*queue, entry));
        ledger.headers_before(Position(u64::MAX));
        self.queues.values().for_each(|queue| ledger.end(queue.id, queue.next_offset));
    }

    /// Lets queues end behind what is lost, and answer for it.
    pub fn lose(&mut self, lost: &LostOffsets) {
        for (&id, ranges) in lost {
            let end = ranges.last().map_or(0, |last| last.end);
            let queue = self.queues.entry(id).or_insert_with(|| QueueSnapshot::empty(id));
            queue.next_offset = queue.next_offset.max(end);
        }
        self.lost.clone_from(lost);
    }

    /// Divides what was rebuilt among `shards` shards.
    #[must_use]
    pub fn divide(mut self, shards: usize) -> Vec<ShardState> {
        let mut parts: Vec<_> = (0..shards)
            .map(|_| ShardState {
                cluster: self.cluster.clone(),
                queues: HashMap::new(),
                groups: Vec::new(),
                timers: Vec::new(),
                lost: LostOffsets::new(),
                entries: Vec::new(),
            })
            .collect();
        let topics: Vec<_> = self.cluster.topics().cloned().collect();
        for topic in topics {
            for &id in &topic.queues {
                let snapshot = self.queues.remove(&id).unwrap_or_else(|| QueueSnapshot::empty(id));
                let queue = (Arc::clone(&topic), snapshot);
                parts[id.0 as usize % shards].queues.insert(id, queue);
            }
        }
        for (id, entry) in self.entries {
            let part = &mut parts[id.0 as usize % shards];
            // Frames of queues deleted later are of no use to anybody.
            if part.queues.contains_key(&id) {
                part.entries.push((id, entry));
            }
        }
        for (id, lost) in self.lost {
            parts[id.0 as usize % shards].lost.insert(id, lost);
        }
        for (id, timers) in self.timers {
            parts[id.0 as usize % shards].timers.push(timers);
        }
        for record in self.groups {
            let shard = group_shard(record.group(), shards);
            parts[usize::from(shard.0)].groups.push(record);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Setup;

    #[test]
    fn what_groups_did_in_front_of_the_checkpoint_is_not_gathered() {
        let (checked, cluster) = (Position(500), ClusterState::new(Setup::default()));
        let mut replay = Replay::new(checked, cluster, [], Vec::new(), Vec::new());
        let deleted = |number| GroupRecord::GroupDeleted { group: format!("{number}").into() };
        for number in 0..10 {
            let payload = postcard::to_stdvec(&deleted(number)).unwrap();
            let payload_at = Position(number * 100);
            let meta = FrameMeta::control(FrameKind::Group, 0);
            replay.frame(&FoundFrame { payload_at, meta, payload: &payload }).unwrap();
        }
        assert_eq!(replay.groups, (5..10).map(deleted).collect::<Vec<_>>());
    }
}
