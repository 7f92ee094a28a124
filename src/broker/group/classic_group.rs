//! One group: its state, its members, its offsets, and the records that remember it.

use std::{collections::BTreeSet, fmt, sync::Arc, time::Duration};

use super::{
    GroupError, GroupId, MemberId, Reply,
    member::Member,
    members::Members,
    offsets::Offsets,
    outbox::{Outbox, Step, Then},
    peers::Peers,
    record::{GroupMetadata, GroupRecord, MemberMetadata, offset_records},
    subscription,
    timers::TimerKey,
};

/// The protocol type of Kafka's consumers, the one whose metadata is looked into.
pub(super) const CONSUMER: &str = "consumer";

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GroupState {
    /// No members; it may have offsets.
    Empty,
    /// Members join the next generation.
    PreparingRebalance,
    /// The generation waits for its leader's assignment.
    CompletingRebalance,
    /// Everybody can have their assignment.
    Stable,
    /// It is being deleted.
    Dead,
}

impl GroupState {
    fn may_follow(self, before: Self) -> bool {
        match self {
            Self::Empty | Self::CompletingRebalance => before == Self::PreparingRebalance,
            Self::PreparingRebalance => {
                matches!(before, Self::Empty | Self::CompletingRebalance | Self::Stable)
            }
            Self::Stable => before == Self::CompletingRebalance,
            Self::Dead => before == Self::Empty,
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The first rebalance of an empty group, which waits for members to come (KIP-134).
#[derive(Clone, Copy, Debug)]
pub(super) struct InitialDelay {
    /// A member came while this delay ran, so that there may be another one.
    pub extend: bool,
    /// The delay that runs.
    pub delay: Duration,
    /// What may follow it.
    pub remaining: Duration,
}

/// A group. Lives on the shard that coordinates it.
#[derive(Debug)]
pub(super) struct Group {
    pub id: GroupId,
    pub state: GroupState,
    /// When it entered its state, in wall-clock milliseconds.
    pub state_ms: i64,
    pub generation: i32,
    pub protocol_type: Option<Arc<str>>,
    pub protocol: Option<Arc<str>>,
    pub members: Members,
    /// Those that divide the queues among themselves, if it is such a group: it counts as empty.
    pub peers: Peers,
    /// Set while a rebalance that began empty delays itself.
    pub initial: Option<InitialDelay>,
    /// This generation's assignment is on its way into the log.
    pub assigning: bool,
    /// Topics that members subscribe, as far as that is known.
    pub subscribed: Option<BTreeSet<Box<str>>>,
    pub offsets: Offsets,
    /// The metadata that a restart would find.
    pub durable: Option<Arc<GroupMetadata>>,
    /// How many appends of this group are not durable yet.
    pub in_flight: u32,
}

impl Group {
    /// An empty group that nothing remembers yet.
    pub fn new(id: GroupId, wall_ms: i64) -> Self {
        Self {
            id,
            state: GroupState::Empty,
            state_ms: wall_ms,
            generation: 0,
            protocol_type: None,
            protocol: None,
            members: Members::default(),
            peers: Peers::default(),
            initial: None,
            assigning: false,
            subscribed: None,
            offsets: Offsets::default(),
            durable: None,
            in_flight: 0,
        }
    }

    /// Becomes what a record remembers, and keeps its offsets.
    pub fn restore(&mut self, metadata: Arc<GroupMetadata>) {
        let mut members = Members::default();
        for member in &metadata.members {
            members.add(Member::restored(member));
        }
        members.restore_leader(metadata.leader.as_ref());
        self.state = if members.is_empty() { GroupState::Empty } else { GroupState::Stable };
        self.state_ms = metadata.state_ms;
        self.generation = metadata.generation;
        self.protocol_type.clone_from(&metadata.protocol_type);
        self.protocol.clone_from(&metadata.protocol);
        self.members = members;
        self.subscribed = self.subscribed_topics();
        self.durable = Some(metadata);
    }

    /// Enters `state`.
    pub fn enter(&mut self, state: GroupState, wall_ms: i64) {
        assert!(state.may_follow(self.state), "{} cannot follow {}", state, self.state);
        self.state = state;
        self.state_ms = wall_ms;
    }

    /// Begins the next generation with the members there are; it may have none.
    pub fn next_generation(&mut self, wall_ms: i64) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.assigning = false;
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(GroupState::Empty, wall_ms);
        } else {
            self.protocol = Some(self.members.choose_protocol());
            self.enter(GroupState::CompletingRebalance, wall_ms);
        }
        self.subscribed = self.subscribed_topics();
        self.members.expect_syncs();
    }

    /// Whether members speak Kafka's consumer protocol.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Topics that the members subscribe; none if that cannot be told.
    fn subscribed_topics(&self) -> Option<BTreeSet<Box<str>>> {
        if !self.is_of_consumers() {
            return None;
        }
        let mut topics = BTreeSet::new();
        for member in self.members.iter() {
            let metadata = member.metadata(self.protocol.as_deref());
            topics.append(&mut subscription::subscribed_topics(&metadata)?);
        }
        Some(topics)
    }

    /// Whether members subscribe `topic`. A group of consumers that cannot be understood subscribes
    /// everything.
    pub fn subscribes(&self, topic: Option<&str>) -> bool {
        match &self.subscribed {
            Some(topics) => topic.is_some_and(|topic| topics.contains(topic)),
            None => self.is_of_consumers(),
        }
    }

    /// What a record has to remember now, with the assignments of `assignment`.
    pub fn metadata(&self, assignment: impl Fn(&Member) -> Arc<[u8]>) -> GroupMetadata {
        let remembered = |member: &Member| MemberMetadata {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            session_timeout: member.session_timeout,
            rebalance_timeout: member.rebalance_timeout,
            protocols: member.protocols.clone(),
            assignment: assignment(member),
        };
        GroupMetadata {
            group: self.id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.members.leader().cloned(),
            state_ms: self.state_ms,
            members: self.members.iter().map(remembered).collect(),
        }
    }

    /// About the bytes that all members tell of themselves.
    pub fn told_bytes(&self) -> usize {
        self.members.iter().map(Member::told_bytes).sum()
    }

    /// Sends `records` into the log.
    pub fn append(&mut self, step: &mut Step<'_>, records: Vec<GroupRecord>, then: Then) {
        self.in_flight += 1;
        step.outbox.append(self.id.clone(), records, then);
    }

    /// Applies a durable record, but for a deletion, and but for members: they follow from what
    /// happens, except after a restart.
    pub fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::OffsetsCommitted { offsets, .. } => {
                offsets.iter().for_each(|(place, offset)| self.offsets.put(*place, offset.clone()));
            }
            GroupRecord::OffsetsDeleted { partitions, .. } => {
                partitions.iter().for_each(|partition| self.offsets.remove(*partition));
            }
            GroupRecord::Metadata(metadata) => self.durable = Some(metadata.clone()),
            GroupRecord::GroupDeleted { .. } => unreachable!("a deletion removes the group"),
        }
    }

    /// Applies records that were on their way.
    pub fn settle(&mut self, records: &[GroupRecord]) {
        for record in records {
            if let GroupRecord::OffsetsCommitted { offsets, .. } = record {
                offsets.iter().for_each(|(partition, _)| self.offsets.settle(*partition));
            }
            self.apply(record);
        }
    }

    /// Forgets records that were on their way, and that the log does not take.
    pub fn give_up(&mut self, records: &[GroupRecord]) {
        for record in records {
            match record {
                GroupRecord::OffsetsCommitted { offsets, .. } => {
                    offsets.iter().for_each(|(partition, _)| self.offsets.settle(*partition));
                }
                GroupRecord::GroupDeleted { .. } => self.state = GroupState::Empty,
                GroupRecord::OffsetsDeleted { .. } | GroupRecord::Metadata(_) => (),
            }
        }
    }

    /// Answers every member that waits that it has to ask elsewhere.
    pub fn refuse_all(&mut self, outbox: &mut Outbox) {
        for id in self.members.ids(|_| true) {
            if let Some(token) = self.members.take_join(&id) {
                outbox.reply(token, Reply::Join(Err(GroupError::CoordinatorNotAvailable)));
            }
            if let Some(token) = self.members.take_sync(&id) {
                outbox.reply(token, Reply::Sync(Err(GroupError::CoordinatorNotAvailable)));
            }
        }
    }

    /// The records that recreate what is durable of the group.
    pub fn snapshot(&self) -> impl Iterator<Item = GroupRecord> {
        let metadata = self.durable.clone().map(GroupRecord::Metadata);
        let offsets = self.offsets.iter().map(|(partition, offset)| (partition, offset.clone()));
        metadata.into_iter().chain(offset_records(&self.id, offsets))
    }

    /// Nothing would be lost if the group were not there.
    pub fn is_bare(&self) -> bool {
        self.state == GroupState::Empty
            && self.members.pending().is_empty()
            && self.peers.is_empty()
            && self.offsets.is_empty()
            && self.durable.is_none()
            && self.in_flight == 0
    }

    /// The key of a member's session timer.
    pub fn session(&self, member: &MemberId) -> TimerKey {
        TimerKey::Session(self.id.clone(), member.clone())
    }

    /// Begins a member's session anew.
    pub fn renew_session(&self, step: &mut Step<'_>, member: &str) {
        if let Some(member) = self.members.get(member) {
            step.arm(self.session(&member.id), member.session_timeout);
        }
    }

    /// Checks the group's timers, and returns how many there are.
    #[cfg(test)]
    pub fn check_timers(&self, timers: &super::timers::Timers) -> usize {
        let armed = |key: TimerKey| usize::from(timers.is_armed(&key));
        let bytes = self.members.iter().map(Member::bytes);
        let waiting = self.members.pending().iter().map(|id| id.len());
        assert_eq!(self.members.bytes(), bytes.chain(waiting).sum::<usize>(), "{self:?}");
        let sessions = self.members.iter().map(|member| {
            let session = armed(self.session(&member.id));
            assert!(session == 1 || member.is_heard(), "{member:?} may stay silent for ever");
            session
        });
        let pending = self.members.pending().iter().map(|member| {
            let session = armed(self.session(member));
            assert_eq!(session, 1, "{member} may stay away for ever");
            session
        });
        let join = armed(TimerKey::Join(self.id.clone()));
        let sync = armed(TimerKey::Sync(self.id.clone()));
        let check = armed(TimerKey::Check(self.id.clone()));
        let all_synced = self.members.all_synced();
        assert_eq!(join == 1, self.state == GroupState::PreparingRebalance, "{self:?}");
        assert!(sync == 1 || all_synced, "{self:?}");
        assert_eq!(check, 1, "{self:?}");
        sessions.sum::<usize>() + pending.sum::<usize>() + join + sync + check
    }

    /// Disarms every timer of the group.
    pub fn cancel_timers(&self, step: &mut Step<'_>) {
        let members = self.members.iter().map(|member| &member.id);
        for member in members.chain(self.members.pending()) {
            step.timers.cancel(&self.session(member));
        }
        step.timers.cancel(&TimerKey::Join(self.id.clone()));
        step.timers.cancel(&TimerKey::Sync(self.id.clone()));
        step.timers.cancel(&TimerKey::Check(self.id.clone()));
    }
}
