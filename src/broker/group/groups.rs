//! All groups of one shard.

use std::{collections::BTreeMap, fmt, rc::Rc, sync::Arc, time::Duration};

use super::{
    Append, AppendToken, CommitRequest, CommittedOffset, GroupDescription, GroupError, GroupId,
    GroupRecord, GroupSettings, JoinRequest, LeavingMember, ListedGroup, Moment, Reply, ReplyToken,
    Sender, SyncRequest, TopicPartition,
    classic_group::Group,
    outbox::{InFlight, Outbox, Step, Then},
    timers::{TimerKey, Timers},
};
use crate::{base::TopicId, env::Random};

/// The longest id a group may have, in bytes: the longest that every version of Kafka's ListGroups can
/// tell.
const ID_BYTES_MAX: usize = i16::MAX as usize;

/// What the cluster's state tells. Subscriptions have topics' names in them, offsets are kept by id.
pub trait TopicNames {
    /// The name of a topic, if there is such a topic.
    fn topic_name(&self, topic: TopicId) -> Option<Arc<str>>;

    /// Whether RocketMQ's clients have consumed in a group, so that its messages are tried again in a
    /// topic of its own, or its administrators have configured it.
    fn is_of_rocketmq(&self, group: &str) -> bool;
}

/// The coordinator of all groups that a shard owns. Lives on that shard.
///
/// Life: [`replay`](Self::replay) of what a checkpoint and the log hold, [`start`](Self::start),
/// then requests, [`committed`](Self::committed) and [`tick`](Self::tick) in any order, at the end
/// [`stop`](Self::stop). Calls that answer later take a [`ReplyToken`]; the answer may be there when
/// they return.
pub struct Groups {
    settings: GroupSettings,
    random: Arc<dyn Random>,
    topics: Rc<dyn TopicNames>,
    pub(super) groups: BTreeMap<GroupId, Group>,
    timers: Timers,
    outbox: Outbox,
    stopped: bool,
}

impl Groups {
    /// A coordinator without groups.
    #[must_use]
    pub fn new(
        settings: GroupSettings,
        random: Arc<dyn Random>,
        topics: Rc<dyn TopicNames>,
    ) -> Self {
        Self {
            settings,
            random,
            topics,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            outbox: Outbox::default(),
            stopped: false,
        }
    }

    // What outlives a restart.

    /// Applies a record of a checkpoint or of the log. Replaying one again, and all that follow it,
    /// changes nothing.
    pub fn replay(&mut self, record: &GroupRecord) {
        let id = record.group();
        if let GroupRecord::GroupDeleted { .. } = record {
            self.groups.remove(id);
            return;
        }
        let group = self.groups.entry(id.clone()).or_insert_with(|| Group::new(id.clone(), 0));
        match record {
            GroupRecord::Metadata(metadata) => group.restore(metadata.clone()),
            record => group.apply(record),
        }
        if group.is_bare() {
            self.groups.remove(id);
        }
    }

    /// Begins to serve what was replayed: members carry on where they were, and have a whole session
    /// to be heard. A group larger than it may be now rebalances.
    pub fn start(&mut self, at: Moment) {
        let count = u32::try_from(self.groups.len()).unwrap_or(u32::MAX);
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for (place, id) in (1..=count).zip(ids) {
            self.with_group(at, &id, |group, step| {
                // Spread, so that no tick looks through every group.
                let share = step.settings.offsets_check_interval / count;
                step.arm(TimerKey::Check(group.id.clone()), share * place);
                if group.protocol_type.is_none() {
                    // Whoever divides it among themselves could not say yet that they are there.
                    group.state_ms = step.at.wall_ms;
                }
                for member in group.members.ids(|_| true) {
                    group.renew_session(step, &member);
                }
                if group.members.len() > step.settings.max_size {
                    group.prepare_rebalance(step, "the group is larger than it may be");
                }
            });
        }
    }

    /// The records that recreate everything [`committed`](Self::committed) so far.
    pub fn snapshot(&self) -> impl Iterator<Item = GroupRecord> {
        self.groups.values().flat_map(Group::snapshot)
    }

    /// The records that are to be committed.
    pub fn on_their_way(&self) -> impl Iterator<Item = GroupRecord> {
        self.outbox.in_flight.iter().flat_map(|next| next.records.iter().cloned())
    }

    /// Records to append to the log since the last call, in the order they have to have there.
    pub fn take_appends(&mut self) -> Vec<Append> {
        std::mem::take(&mut self.outbox.appends)
    }

    /// Everything up to `through` is durable: it applies, and what waited for it is answered.
    pub fn committed(&mut self, through: AppendToken, at: Moment) {
        assert!(through <= self.outbox.last(), "only what was appended can be durable");
        while self.outbox.in_flight.front().is_some_and(|next| next.token <= through) {
            let landed = self.outbox.in_flight.pop_front().expect("there is a next one");
            self.land(landed, at);
        }
        self.outbox.answer_settled();
    }

    fn land(&mut self, landed: InFlight, at: Moment) {
        let InFlight { group: id, records, then, .. } = landed;
        let deleted = matches!(*records, [GroupRecord::GroupDeleted { .. }]);
        self.with_group(at, &id, |group, step| {
            group.in_flight -= 1;
            if deleted {
                assert!(group.in_flight == 0, "nothing follows a group's end");
                group.cancel_timers(step);
            } else {
                group.settle(&records);
            }
            match then {
                Then::Nothing => (),
                Then::Reply(token, reply) => step.reply(token, reply),
                Then::Assigned { generation } => group.assigned(step, generation),
                Then::StaticJoined { generation, member, answer } => {
                    group.static_joined(step, generation, &member, answer);
                }
            }
        })
        .expect("a group stays while its records are on their way");
        if deleted {
            self.groups.remove(&id);
        }
    }

    /// Records that the log will never take change nothing, and what waited for them fails. Those
    /// before and behind them go on.
    pub fn refused(&mut self, token: AppendToken, at: Moment) {
        let Some(InFlight { group: id, records, then, .. }) = self.outbox.withdraw(token) else {
            return;
        };
        let error = GroupError::MetadataTooLarge;
        self.with_group(at, &id, |group, step| {
            group.in_flight -= 1;
            group.give_up(&records);
            match then {
                Then::Nothing => (),
                Then::Reply(token, reply) => step.reply(token, reply.failed(error)),
                Then::Assigned { generation } => group.assignment_refused(step, generation, error),
                Then::StaticJoined { generation, member, .. } => {
                    group.static_join_refused(step, generation, &member, error);
                }
            }
        })
        .expect("a group stays while its records are on their way");
        self.outbox.answer_settled();
    }

    // Membership.

    /// Joins a member (KIP-62, 345, 394, 800, 814); answered with [`Reply::Join`].
    ///
    /// # Errors
    /// `InvalidGroupId`, `InvalidSessionTimeout`, `UnknownMember`, `MemberIdRequired`,
    /// `FencedInstanceId`, `InconsistentProtocol`, `GroupMaxSize`, `MetadataTooLarge`, `TooManyGroups`,
    /// `RebalanceInProgress` if the member joined again meanwhile, `CoordinatorNotAvailable`.
    pub fn join(&mut self, at: Moment, request: &JoinRequest<'_>, token: ReplyToken) {
        let result = self.prepare_join(at, request).and_then(|()| {
            self.existing(at, request.group, GroupError::UnknownMember, |group, step| {
                group.join(step, request, token)
            })
        });
        self.refuse(token, result, |error| Reply::Join(Err(error)));
    }

    /// Makes the group of a new member's join.
    fn prepare_join(&mut self, at: Moment, request: &JoinRequest<'_>) -> Result<(), GroupError> {
        check_id(request.group)?;
        let timeouts = self.settings.min_session_timeout..=self.settings.max_session_timeout;
        if !timeouts.contains(&request.session_timeout) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if request.member.is_empty() { self.ensure(at, request.group) } else { Ok(()) }
    }

    /// Syncs a member (KIP-559); answered with [`Reply::Sync`] once the generation's assignment is
    /// durable.
    ///
    /// # Errors
    /// `InvalidGroupId`, `UnknownMember`, `FencedInstanceId`, `IllegalGeneration`,
    /// `InconsistentProtocol`, `RebalanceInProgress`, `CoordinatorNotAvailable`.
    pub fn sync(&mut self, at: Moment, request: &SyncRequest<'_>, token: ReplyToken) {
        let result = check_id(request.group).and_then(|()| {
            self.existing(at, request.group, GroupError::UnknownMember, |group, step| {
                group.sync(step, request, token)
            })
        });
        self.refuse(token, result, |error| Reply::Sync(Err(error)));
    }

    /// Renews a member's session.
    ///
    /// # Errors
    /// `InvalidGroupId`, `UnknownMember`, `FencedInstanceId`, `IllegalGeneration`,
    /// `RebalanceInProgress`, `CoordinatorNotAvailable`.
    pub fn heartbeat(
        &mut self,
        at: Moment,
        group: &str,
        sender: &Sender<'_>,
    ) -> Result<(), GroupError> {
        check_id(group)?;
        self.existing(at, group, GroupError::UnknownMember, |group, step| {
            group.heartbeat(step, sender)
        })
    }

    /// Removes members (KIP-345 for several and static ones); answered with [`Reply::Leave`].
    ///
    /// # Errors
    /// `InvalidGroupId`, `UnknownMember` if there is no such group, `CoordinatorNotAvailable`; for a
    /// member `UnknownMember` or `FencedInstanceId`.
    pub fn leave(
        &mut self,
        at: Moment,
        group: &str,
        members: &[LeavingMember<'_>],
        token: ReplyToken,
    ) {
        let result = check_id(group).and_then(|()| {
            self.existing(at, group, GroupError::UnknownMember, |group, step| {
                group.leave(step, members, token)
            })
        });
        self.refuse(token, result, |error| Reply::Leave(Err(error)));
    }

    // Offsets.

    /// Commits offsets (KIP-211, 320); answered with [`Reply::CommitOffsets`] once they are durable.
    /// A group that does not exist is made, unless the sender has a generation.
    ///
    /// # Errors
    /// `GroupNotFound`, `UnknownMember`, `FencedInstanceId`, `IllegalGeneration`,
    /// `RebalanceInProgress` while a new generation waits for its assignment, `InvalidGroupId`,
    /// `TooManyGroups`, `CoordinatorNotAvailable`; for an offset `OffsetMetadataTooLarge`.
    pub fn commit_offsets(&mut self, at: Moment, request: &CommitRequest<'_>, token: ReplyToken) {
        let is_simple = request.sender.generation < 0;
        let prepared = if is_simple { self.ensure(at, request.group) } else { Ok(()) };
        let result = prepared.and_then(|()| {
            self.existing(at, request.group, GroupError::GroupNotFound, |group, step| {
                group.commit_offsets(step, request, token)
            })
        });
        self.refuse(token, result, |error| Reply::CommitOffsets(Err(error)));
    }

    /// Answers with [`Reply::Settled`] once no commit of the partition's offset is on its way that is now:
    /// who takes a partition over then sees how far others say they have come.
    pub fn settle_offset(&mut self, group: &str, partition: TopicPartition, token: ReplyToken) {
        let group = self.groups.get(group);
        match group.is_some_and(|group| group.offsets.is_on_its_way(partition)) {
            true => self.outbox.settle(token),
            false => self.outbox.reply(token, Reply::Settled),
        }
    }

    /// The committed offset of a partition. There is none in a group that does not exist.
    #[must_use]
    pub fn committed_offset(
        &self,
        group: &str,
        partition: TopicPartition,
    ) -> Option<&CommittedOffset> {
        self.groups.get(group)?.offsets.get(partition)
    }

    /// Every committed offset of a group, topic by topic.
    pub fn committed_offsets(
        &self,
        group: &str,
    ) -> impl Iterator<Item = (TopicPartition, &CommittedOffset)> {
        self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter())
    }

    /// The groups that have offsets of a topic, or are about to.
    pub fn with_offsets_of(&self, topic: TopicId) -> impl Iterator<Item = &GroupId> {
        let groups = self.groups.values();
        groups.filter(move |group| !group.offsets.of_topic(topic).is_empty()).map(|group| &group.id)
    }

    /// Deletes offsets of topics that the group does not subscribe (KIP-496); answered with
    /// [`Reply::DeleteOffsets`] once that is durable.
    ///
    /// # Errors
    /// `InvalidGroupId`, `GroupNotFound`, `NonEmptyGroup` if the group has members that are no
    /// consumers, `CoordinatorNotAvailable`; for a partition `SubscribedToTopic`.
    pub fn delete_offsets(
        &mut self,
        at: Moment,
        group: &str,
        partitions: &[TopicPartition],
        token: ReplyToken,
    ) {
        let subscribes = self.subscribes();
        let result = check_id(group).and_then(|()| {
            self.existing(at, group, GroupError::GroupNotFound, |group, step| {
                group.delete_offsets(step, partitions, subscribes, token)
            })
        });
        self.refuse(token, result, |error| Reply::DeleteOffsets(Err(error)));
    }

    /// Deletes every group's offsets of a topic that is gone.
    pub fn topic_deleted(&mut self, at: Moment, topic: TopicId) {
        if self.stopped {
            return;
        }
        let ids: Vec<GroupId> = self.with_offsets_of(topic).cloned().collect();
        for id in ids {
            self.with_group(at, &id, |group, step| group.forget_topic(step, topic));
        }
    }

    // Groups.

    /// Deletes a group without members, and its offsets (KIP-229); answered with
    /// [`Reply::DeleteGroup`] once that is durable.
    ///
    /// # Errors
    /// `GroupNotFound`, `NonEmptyGroup`, `CoordinatorNotAvailable`.
    pub fn delete_group(&mut self, at: Moment, group: &str, token: ReplyToken) {
        let then = Then::Reply(token, Reply::DeleteGroup(Ok(())));
        let result = self
            .existing(at, group, GroupError::GroupNotFound, |group, step| group.delete(step, then));
        self.refuse(token, result, |error| Reply::DeleteGroup(Err(error)));
    }

    /// A group and its members, if there is such a group.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<GroupDescription> {
        self.groups.get(group).map(Group::describe)
    }

    /// All groups by name (KIP-518).
    pub fn list(&self) -> impl Iterator<Item = ListedGroup<'_>> {
        self.groups.values().map(Group::listed)
    }

    // Time, and what comes out.

    /// When [`tick`](Self::tick) has something to do, by the monotonic clock.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        if self.stopped { None } else { self.timers.next() }
    }

    /// Does what is due: ends sessions and phases of rebalances, expires offsets.
    pub fn tick(&mut self, at: Moment) {
        if self.stopped {
            return;
        }
        while let Some(key) = self.timers.pop_due(at.now) {
            let subscribes = self.subscribes();
            let (TimerKey::Session(id, _)
            | TimerKey::Join(id)
            | TimerKey::Sync(id)
            | TimerKey::Check(id)) = &key;
            let is_of_rocketmq =
                matches!(key, TimerKey::Check(_)) && self.topics.is_of_rocketmq(id);
            self.with_group(at, id, |group, step| match &key {
                TimerKey::Session(_, member) => group.expire_session(step, member),
                TimerKey::Join(_) => group.expire_join(step),
                TimerKey::Sync(_) => group.expire_sync(step),
                TimerKey::Check(_) => {
                    group.expire_offsets(step, subscribes, is_of_rocketmq);
                    step.arm(key.clone(), step.settings.offsets_check_interval);
                }
            })
            .expect("a group's timers end with it");
        }
    }

    /// Answers since the last call, in the order they became known.
    pub fn take_replies(&mut self) -> Vec<(ReplyToken, Reply)> {
        std::mem::take(&mut self.outbox.replies)
    }

    /// Ends the service, because the log or the broker stops: everything that waits, and whatever is
    /// asked from here on, is answered `CoordinatorNotAvailable`. Reads go on.
    pub fn stop(&mut self) {
        self.stopped = true;
        self.outbox.appends.clear();
        for waiting in std::mem::take(&mut self.outbox.in_flight) {
            if let Then::Reply(token, reply) = waiting.then {
                self.outbox.reply(token, reply.failed(GroupError::CoordinatorNotAvailable));
            }
        }
        self.outbox.answer_settled();
        for group in self.groups.values_mut() {
            group.refuse_all(&mut self.outbox);
        }
    }

    // What the calls above share.

    /// Lends a group to `act`, and forgets the group if that leaves nothing of it.
    pub(super) fn with_group<T>(
        &mut self,
        at: Moment,
        id: &str,
        act: impl FnOnce(&mut Group, &mut Step<'_>) -> T,
    ) -> Option<T> {
        let Self { settings, random, groups, timers, outbox, .. } = self;
        let group = groups.get_mut(id)?;
        let mut step = Step { at, settings, random: &**random, timers, outbox };
        let result = act(group, &mut step);
        if group.is_bare() {
            group.cancel_timers(&mut step);
            groups.remove(id);
        }
        Some(result)
    }

    /// Lends a group to a request, which fails with `missing` if there is no such group.
    pub(super) fn existing(
        &mut self,
        at: Moment,
        id: &str,
        missing: GroupError,
        act: impl FnOnce(&mut Group, &mut Step<'_>) -> Result<(), GroupError>,
    ) -> Result<(), GroupError> {
        self.check_running()?;
        self.with_group(at, id, act).unwrap_or(Err(missing))
    }

    /// Makes a group, unless there is one.
    pub(super) fn ensure(&mut self, at: Moment, id: &str) -> Result<(), GroupError> {
        self.check_running()?;
        if self.groups.contains_key(id) {
            return Ok(());
        }
        if self.groups.len() >= self.settings.max_groups {
            return Err(GroupError::TooManyGroups);
        }
        if id.len() > ID_BYTES_MAX {
            return Err(GroupError::InvalidGroupId);
        }
        let id = GroupId::from(id);
        self.groups.insert(id.clone(), Group::new(id.clone(), at.wall_ms));
        self.timers.arm(TimerKey::Check(id), at.now, self.settings.offsets_check_interval);
        Ok(())
    }

    /// Checks that nobody waits for ever, and that no timer is left over.
    #[cfg(test)]
    pub(super) fn check_timers(&self) {
        let expected = self.groups.values().map(|group| group.check_timers(&self.timers));
        assert_eq!(self.timers.len(), expected.sum::<usize>(), "a timer is left over");
    }

    /// Answers a request that failed at once; one that did not is answered by what it began.
    pub(super) fn refuse(
        &mut self,
        token: ReplyToken,
        result: Result<(), GroupError>,
        failed: fn(GroupError) -> Reply,
    ) {
        if let Err(error) = result {
            self.outbox.reply(token, failed(error));
        }
    }

    fn check_running(&self) -> Result<(), GroupError> {
        if self.stopped { Err(GroupError::CoordinatorNotAvailable) } else { Ok(()) }
    }

    /// Tells whether a group subscribes a topic, whose name the subscription has.
    fn subscribes(&self) -> impl Fn(&Group, TopicId) -> bool + use<> {
        let topics = self.topics.clone();
        move |group, topic| group.subscribes(topics.topic_name(topic).as_deref())
    }
}

impl fmt::Debug for Groups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Groups").field("groups", &self.groups.len()).finish_non_exhaustive()
    }
}

/// Members need a group with a name; offsets do not.
pub(super) fn check_id(id: &str) -> Result<(), GroupError> {
    if id.is_empty() { Err(GroupError::InvalidGroupId) } else { Ok(()) }
}
