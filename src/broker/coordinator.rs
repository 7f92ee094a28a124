//! Drives the group coordinator: its records into the log, its answers to who waits, its timers.

use std::{cell::RefCell, collections::VecDeque, rc::Rc, sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::{
    Broker,
    group::{
        Append, AppendToken, GroupRecord, GroupSettings, Groups, Moment, Reply, ReplyToken,
        TopicNames,
    },
};
use crate::{
    base::{Position, ShardId, TopicId, checksum},
    cluster::{ClusterState, RETRY},
    env::Random,
    storage::commit_log::{
        ReserveError,
        frame::{FrameKind, FrameMeta},
    },
};

/// How soon appending is tried again when not even control frames fit on the disk.
const NO_SPACE_RETRY: Duration = Duration::from_millis(100);

/// Records that wait for room in the log, in its form, in their order.
struct EncodedAppend {
    token: AppendToken,
    records: VecDeque<Vec<u8>>,
}

impl EncodedAppend {
    /// `None` if the log will never take one of them: no payload may have more than `bytes_max`.
    fn new(append: &Append, bytes_max: usize) -> Option<Self> {
        let records: VecDeque<_> = append.records.iter().map(encode_record).collect();
        let fit = records.iter().all(|record| record.len() <= bytes_max);
        fit.then_some(Self { token: append.token, records })
    }
}

struct Names(Rc<RefCell<ClusterState>>);

impl TopicNames for Names {
    fn topic_name(&self, topic: TopicId) -> Option<Arc<str>> {
        self.0.borrow().topic_by_id(topic).map(|topic| Arc::clone(&topic.name))
    }

    fn is_of_rocketmq(&self, group: &str) -> bool {
        let cluster = self.0.borrow();
        cluster.group_configs().contains_key(group)
            || cluster.topic(&format!("{RETRY}{group}")).is_some()
    }
}

/// The groups of one shard and who waits for their answers.
pub(super) struct Coordinator {
    groups: Groups,
    waiting: HashMap<ReplyToken, flume::Sender<Reply>>,
    next_token: u64,
    /// Records that did not fit into the log yet.
    backlog: VecDeque<EncodedAppend>,
    /// A task is waiting to append the backlog.
    retrying: bool,
    /// The deadline the timers' task sleeps for, and how it is told of an earlier one.
    sleeps_until: Option<Duration>,
    timer_wake: (flume::Sender<()>, flume::Receiver<()>),
}

impl Coordinator {
    pub(super) fn new(
        settings: &GroupSettings,
        random: Arc<dyn Random>,
        cluster: Rc<RefCell<ClusterState>>,
        records: &[GroupRecord],
    ) -> Self {
        let mut groups = Groups::new(settings.clone(), random, Rc::new(Names(cluster)));
        records.iter().for_each(|record| groups.replay(record));
        Self {
            groups,
            waiting: HashMap::new(),
            next_token: 0,
            backlog: VecDeque::new(),
            retrying: false,
            sleeps_until: None,
            timer_wake: flume::bounded(1),
        }
    }

    /// What a checkpoint holds. Of records that apply together the first may lie in front of where
    /// replay will begin, and the last be still to come: they are in it, too.
    pub(super) fn snapshot(&self) -> Vec<GroupRecord> {
        self.groups.snapshot().chain(self.groups.on_their_way()).collect()
    }
}

/// The form of a group record in the log.
pub(super) fn encode_record(record: &GroupRecord) -> Vec<u8> {
    postcard::to_stdvec(record).expect("records have no unsized parts")
}

/// The shard of `shards` that a group's records belong to.
pub(super) fn group_shard(group: &str, shards: usize) -> ShardId {
    ShardId((checksum::crc32c(group.as_bytes()) % shards as u32) as u16)
}

impl Broker {
    /// The shard that owns a group.
    #[must_use]
    pub fn group_owner(&self, group: &str) -> ShardId {
        group_shard(group, self.mailboxes.len())
    }

    fn moment(&self) -> Moment {
        Moment { now: self.env.clock.monotonic(), wall_ms: self.env.clock.wall_ms() }
    }

    /// Calls the coordinator of this shard's groups and lets out what the call caused.
    pub fn with_groups<R>(self: &Rc<Self>, call: impl FnOnce(&mut Groups, Moment) -> R) -> R {
        self.apply_durable();
        let at = self.moment();
        let result = call(&mut self.coordinator.borrow_mut().groups, at);
        self.settle_groups();
        result
    }

    /// Makes a call that is answered later, and waits for the answer. `None` if the broker stops.
    pub async fn ask_groups(
        self: &Rc<Self>,
        call: impl FnOnce(&mut Groups, Moment, ReplyToken),
    ) -> Option<Reply> {
        let (answer, answered) = flume::bounded(1);
        let token = {
            let mut coordinator = self.coordinator.borrow_mut();
            coordinator.next_token += 1;
            let token = ReplyToken(coordinator.next_token);
            coordinator.waiting.insert(token, answer);
            token
        };
        self.with_groups(|groups, at| call(groups, at, token));
        answered.recv_async().await.ok()
    }

    /// Sends the coordinator's records to the log and its answers to who waits.
    fn settle_groups(self: &Rc<Self>) {
        self.take_appends();
        self.append_backlog();
        let mut coordinator = self.coordinator.borrow_mut();
        for (token, reply) in coordinator.groups.take_replies() {
            if let Some(answer) = coordinator.waiting.remove(&token) {
                // Its client may be gone.
                let _ = answer.send(reply);
            }
        }
        let due = coordinator.groups.next_deadline();
        let slept = coordinator.sleeps_until;
        if due.is_some_and(|due| slept.is_none_or(|slept| due < slept)) {
            // A full channel holds a wake-up already.
            let _ = coordinator.timer_wake.0.try_send(());
        }
    }

    /// Lines the coordinator's new records up for the log. An append with one among them that is too
    /// long for it fails whole, alone, and before anything of it is written.
    fn take_appends(&self) {
        let at = self.moment();
        let mut coordinator = self.coordinator.borrow_mut();
        let Coordinator { groups, backlog, .. } = &mut *coordinator;
        // A refusal may have new records follow.
        let mut appends = VecDeque::from(groups.take_appends());
        while let Some(append) = appends.pop_front() {
            match EncodedAppend::new(&append, self.log.payload_bytes_max()) {
                Some(encoded) => backlog.push_back(encoded),
                None => {
                    tracing::warn!(group = %append.records[0].group(), "a group's records are too long for the log");
                    groups.refused(append.token, at);
                    appends.extend(groups.take_appends());
                }
            }
        }
    }

    fn append_backlog(self: &Rc<Self>) {
        loop {
            let next = self.coordinator.borrow_mut().backlog.pop_front();
            let Some(mut next) = next else { break };
            match self.append_records(&mut next.records) {
                Ok(end) => {
                    let token = next.token;
                    self.control_pending(end, move |broker| broker.group_records_durable(token));
                }
                Err(error) => {
                    self.coordinator.borrow_mut().backlog.push_front(next);
                    self.records_refused(error);
                    break;
                }
            }
        }
    }

    /// Puts records into the log, one by one: together they may be more than it takes at once.
    ///
    /// # Errors
    /// The log does not take the first of those that are left then.
    fn append_records(&self, records: &mut VecDeque<Vec<u8>>) -> Result<Position, ReserveError> {
        let meta = FrameMeta::control(FrameKind::Group, self.env.clock.wall_ms());
        let mut end = self.log.durable();
        while let Some(record) = records.front() {
            let mut room = self.log_to_fill().reserve(record.len(), true)?;
            room.payload().copy_from_slice(record);
            end = room.commit(&meta).end;
            records.pop_front();
        }
        Ok(end)
    }

    fn records_refused(self: &Rc<Self>, error: ReserveError) {
        let mut coordinator = self.coordinator.borrow_mut();
        assert!(error != ReserveError::TooLong, "the records were measured before");
        if error == ReserveError::Stopped {
            tracing::error!(%error, "group records cannot be written; the coordinator stops");
            coordinator.backlog.clear();
            coordinator.groups.stop();
            return;
        }
        if coordinator.retrying {
            return;
        }
        coordinator.retrying = true;
        let broker = Rc::clone(self);
        self.env.tasks.spawn(Box::pin(async move {
            if error == ReserveError::DiskFull {
                broker.env.tasks.sleep(NO_SPACE_RETRY).await;
            } else {
                // A stopped log is noticed by the next attempt.
                let _ = broker.log_progress().await;
            }
            broker.coordinator.borrow_mut().retrying = false;
            broker.settle_groups();
        }));
    }

    fn group_records_durable(self: &Rc<Self>, through: AppendToken) {
        let at = self.moment();
        self.coordinator.borrow_mut().groups.committed(through, at);
        self.settle_groups();
    }

    pub(super) fn forget_topic(self: &Rc<Self>, topic: TopicId) {
        let at = self.moment();
        self.coordinator.borrow_mut().groups.topic_deleted(at, topic);
        self.settle_groups();
    }

    pub(super) fn group_count(&self) -> usize {
        self.coordinator.borrow().groups.list().count()
    }

    pub(super) fn group_snapshot(&self) -> Vec<GroupRecord> {
        self.coordinator.borrow().snapshot()
    }

    pub(super) fn start_coordinator(self: &Rc<Self>) {
        let at = self.moment();
        // Without a log there is nobody to join, and offsets are only read.
        if self.log.failure().is_some() {
            self.coordinator.borrow_mut().groups.stop();
        } else {
            self.coordinator.borrow_mut().groups.start(at);
        }
        let woken = self.coordinator.borrow().timer_wake.1.clone();
        let broker = Rc::clone(self);
        self.env.tasks.spawn(Box::pin(async move { broker.run_timers(woken).await }));
    }

    /// Runs until the shard ends: lets the coordinator do what is due.
    async fn run_timers(self: Rc<Self>, woken: flume::Receiver<()>) {
        loop {
            let due = self.coordinator.borrow().groups.next_deadline();
            self.coordinator.borrow_mut().sleeps_until = due;
            let earlier = async {
                let _ = woken.recv_async().await;
            };
            match due.map(|due| due.saturating_sub(self.env.clock.monotonic())) {
                Some(Duration::ZERO) => self.with_groups(|groups, at| groups.tick(at)),
                Some(wait) => futures_lite::future::or(earlier, self.env.tasks.sleep(wait)).await,
                None => earlier.await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::{
        broker::{
            group::{
                CommitRequest, CommittedOffset, GroupError, OffsetToCommit, Sender, TopicPartition,
            },
            pull::tests::broker,
        },
        cluster::{Command, GroupConfig, Setup},
    };

    #[test]
    fn more_records_than_the_log_takes_at_once_go_in_one_after_the_other() {
        let broker = broker();
        let record = |partition| GroupRecord::OffsetsCommitted {
            group: "g".into(),
            offsets: vec![(
                TopicPartition { topic: TopicId([7; 16]), partition },
                CommittedOffset {
                    offset: 1,
                    leader_epoch: None,
                    metadata: "x".repeat(4 << 10).into(),
                    commit_ms: 0,
                    expire_ms: None,
                },
            )],
        };
        let records: Arc<[_]> = (0..100).map(record).collect();
        let append = Append { token: AppendToken(1), records };
        let encoded = EncodedAppend::new(&append, usize::MAX).unwrap();
        broker.coordinator.borrow_mut().backlog.push_back(encoded);
        broker.append_backlog();
        let coordinator = broker.coordinator.borrow();
        assert_eq!(coordinator.backlog.len(), 1, "the log has no room for all of them");
        let left = coordinator.backlog[0].records.len();
        assert!((1..100).contains(&left), "{left}");
        assert!(coordinator.retrying);
    }

    #[test]
    fn a_group_is_rocketmqs_by_its_retry_topic_or_its_config() {
        let cluster = Rc::new(RefCell::new(ClusterState::new(Setup::default())));
        let names = Names(Rc::clone(&cluster));
        let of_rocketmq = || ["tried", "configured", "other"].map(|id| names.is_of_rocketmq(id));
        assert_eq!(of_rocketmq(), [false; 3]);
        let retry_topic = Command::CreateTopic {
            id: TopicId([1; 16]),
            name: format!("{RETRY}tried").into(),
            collides: true,
            partitions: 1,
            configs: Default::default(),
            created_ms: 0,
        };
        // Such a group has no retry topic.
        let config = GroupConfig { retry_queues: 0, ..GroupConfig::default() };
        let configured = Command::SetGroupConfig { group: "configured".into(), config };
        for (at, command) in (1..).zip([retry_topic, configured]) {
            cluster.borrow_mut().apply(Position(at), &command);
        }
        assert_eq!(of_rocketmq(), [true, true, false]);
    }

    #[test]
    fn a_record_that_is_too_long_fails_alone() {
        let broker = broker();
        let commit = |group: &str| {
            let offset = OffsetToCommit {
                partition: TopicPartition { topic: TopicId([7; 16]), partition: 0 },
                offset: 1,
                leader_epoch: None,
                metadata: "",
            };
            let ask = broker.ask_groups(|groups, at, token| {
                let sender = Sender::SIMPLE;
                let request = CommitRequest { group, sender, retention: None, offsets: &[offset] };
                groups.commit_offsets(at, &request, token);
            });
            block_on(poll_once(ask)).flatten()
        };
        let too_long = "g".repeat(broker.log.payload_bytes_max().min(i16::MAX as usize));
        let refused = Reply::CommitOffsets(Err(GroupError::MetadataTooLarge));
        assert_eq!(commit(&too_long), Some(refused));
        assert_eq!(broker.group_count(), 0, "nothing is left of it");
        assert_eq!(commit("g"), None, "it waits for the log");
        assert!(broker.log.reserved() > Position(0));
        let invalid = Reply::CommitOffsets(Err(GroupError::InvalidGroupId));
        assert_eq!(commit(&"g".repeat(1 << 15)), Some(invalid));
    }
}
