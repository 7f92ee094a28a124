//! Commands of the cluster's state machine: into the log on one shard, applied on all.

use std::rc::Rc;

use super::{Broker, LogStopped, Stopping, queue::Queue};
use crate::{
    base::{Position, QueueId, ShardId},
    cluster::{Applied, Command, Numbers},
    storage::commit_log::{
        Appended, Reservation, ReserveError,
        frame::{FrameKind, FrameMeta},
    },
};

/// The shard that appends all commands, so that they have one order.
pub(super) const CONTROL_SHARD: ShardId = ShardId(0);

/// Why a control frame did not become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// The log has stopped, or not even control frames fit on the disk.
    #[error("the log cannot be written")]
    Storage,
    /// The broker is stopping.
    #[error("the broker is stopping")]
    Stopping,
}

impl From<LogStopped> for ControlError {
    fn from(_: LogStopped) -> Self {
        Self::Storage
    }
}

impl From<Stopping> for ControlError {
    fn from(_: Stopping) -> Self {
        Self::Stopping
    }
}

/// What the frame of a command says beside it.
#[must_use]
pub fn command_meta(numbers: Numbers, append_time_ms: i64) -> FrameMeta {
    FrameMeta {
        queue: numbers.queue,
        base_offset: numbers.producer_id,
        ..FrameMeta::control(FrameKind::Cluster, append_time_ms)
    }
}

/// The numbers in a command's frame.
pub(super) fn numbers_of(meta: &FrameMeta) -> Numbers {
    Numbers { queue: meta.queue, producer_id: meta.base_offset }
}

/// A command that is in the log.
#[derive(Clone)]
struct Ordered {
    position: Position,
    numbers: Numbers,
    command: Command,
}

/// A command that was applied here and is owed to the other shards.
pub(super) struct Broadcast {
    ordered: Ordered,
    applied: Applied,
    answer: flume::Sender<Applied>,
}

impl Broker {
    /// Makes a command durable and applies it on every shard; then says what it changed.
    ///
    /// # Errors
    /// [`ControlError`]; the command may still take effect, if the log stopped over it.
    pub async fn execute(self: &Rc<Self>, command: Command) -> Result<Applied, ControlError> {
        self.on(CONTROL_SHARD, |broker| Box::pin(async move { broker.execute_here(command).await }))
            .await?
    }

    async fn execute_here(self: &Rc<Self>, command: Command) -> Result<Applied, ControlError> {
        let more = self.cluster().queues_added(&command);
        let on_their_way = self.queues_on_their_way.get();
        if let Err(error) = self.cluster().check_room(more, on_their_way) {
            return Ok(Applied::Refused(error));
        }
        self.queues_on_their_way.set(on_their_way + more);
        let encoded = command.encode();
        let room = self.reserve_control(encoded.len()).await;
        let room = room.inspect_err(|_| self.queues_arrived(more))?;
        let numbers = self.numbers.get().max(self.cluster.borrow().numbers());
        self.numbers.set(numbers.behind(&command));
        let meta = command_meta(numbers, self.env.clock.wall_ms());
        let appended = fill(room, &encoded, &meta);
        let (answer, answered) = flume::bounded(1);
        self.control_pending(appended.end, move |broker| {
            broker.queues_arrived(more);
            let ordered = Ordered { position: appended.payload, numbers, command };
            let applied = broker.apply_command(&ordered);
            if broker.mailboxes.len() == 1 {
                let _ = answer.send(applied);
            } else {
                let owed = Broadcast { ordered, applied, answer };
                let sent = broker.broadcasts.0.send(owed);
                debug_assert!(sent.is_ok(), "the broker holds the receiver itself");
            }
        });
        self.durable(appended.end).await?;
        // The waker may have run before the change was applied.
        self.apply_durable();
        answered.recv_async().await.map_err(|_| ControlError::Stopping)
    }

    /// Queues that were counted as on their way are there now, or will not come.
    fn queues_arrived(&self, count: u32) {
        self.queues_on_their_way.set(self.queues_on_their_way.get() - count);
    }

    /// Runs until the shard ends: passes applied commands to the other shards, in order.
    pub(super) async fn pass_commands(self: Rc<Self>) {
        while let Ok(owed) = self.broadcasts.1.recv_async().await {
            for shard in 1..self.mailboxes.len() {
                let ordered = owed.ordered.clone();
                let applied = self
                    .on(ShardId(shard as u16), move |broker| {
                        Box::pin(async move { drop(broker.apply_command(&ordered)) })
                    })
                    .await;
                if applied.is_err() {
                    return;
                }
            }
            let _ = owed.answer.send(owed.applied);
        }
    }

    /// Puts a control frame into the log, waiting for room. Its change is to be registered with
    /// [`Broker::control_pending`] before anything is awaited, and the writer to be woken.
    pub(super) async fn append_control_frame(
        &self,
        meta: &FrameMeta,
        payload: &[u8],
    ) -> Result<Appended, ControlError> {
        Ok(fill(self.reserve_control(payload.len()).await?, payload, meta))
    }

    /// Waits for room for a control frame, which is to be filled before anything is awaited.
    pub(super) async fn reserve_control(
        &self,
        bytes: usize,
    ) -> Result<Reservation<'_>, ControlError> {
        loop {
            match self.log_to_fill().reserve(bytes, true) {
                Ok(room) => return Ok(room),
                Err(ReserveError::Busy) => self.log_progress().await?,
                Err(_) => return Err(ControlError::Storage),
            }
        }
    }

    /// Applies a durable command to this shard's copy of the state.
    fn apply_command(self: &Rc<Self>, ordered: &Ordered) -> Applied {
        let applied = {
            let mut cluster = self.cluster.borrow_mut();
            cluster.number_from(ordered.numbers);
            cluster.apply(ordered.position, &ordered.command)
        };
        let mut queues = self.queues.borrow_mut();
        for &id in applied.removed() {
            if queues.remove(&id).is_some() {
                self.index.remove(id);
            }
        }
        match &applied {
            Applied::TopicCreated(topic) | Applied::PartitionsCreated(topic, _) => {
                for &id in applied.added().iter().filter(|&&id| self.owns(id)) {
                    let queue = Queue::new(id, topic);
                    if queue.timers.is_some() {
                        self.timers.own(id);
                    }
                    queues.insert(id, queue);
                }
            }
            Applied::TopicAltered(topic) => {
                for id in &topic.queues {
                    if let Some(queue) = queues.get_aside(id) {
                        queue.set(&topic.settings);
                    }
                }
            }
            Applied::BrokerAltered => {
                let cluster = self.cluster.borrow();
                for queue in queues.all_aside() {
                    if let Some(topic) = cluster.topic_by_id(queue.topic) {
                        queue.set(&topic.settings);
                    }
                }
            }
            _ => {}
        }
        drop(queues);
        if let Applied::TopicDeleted(topic) = &applied {
            self.topic_deleted(topic);
        }
        if !applied.added().is_empty() || !applied.removed().is_empty() {
            // A full channel holds a wake-up already.
            for watcher in self.topic_watchers.borrow().iter() {
                let _ = watcher.try_send(());
            }
        }
        applied
    }

    /// Tells when topics come, go or grow, from here on.
    pub fn watch_topics(&self, told: flume::Sender<()>) {
        self.topic_watchers.borrow_mut().push(told);
    }

    /// The shard that owns a queue.
    #[must_use]
    pub fn owner(&self, queue: QueueId) -> ShardId {
        ShardId((queue.0 % self.mailboxes.len() as u32) as u16)
    }

    pub(super) fn owns(&self, queue: QueueId) -> bool {
        self.owner(queue) == self.shard
    }
}

fn fill(mut room: Reservation<'_>, payload: &[u8], meta: &FrameMeta) -> Appended {
    room.payload().copy_from_slice(payload);
    room.commit(meta)
}
