//! SyncGroup and Heartbeat: how members get their assignment and keep it.

use std::{collections::BTreeMap, sync::Arc};

use tracing::info;

use super::{
    GroupError, Reply, ReplyToken,
    classic_group::{Group, GroupState},
    outbox::{Step, Then},
    record::GroupRecord,
    reply::Synced,
    request::{Sender, SyncRequest},
    timers::TimerKey,
};

impl Group {
    /// Syncs a member; the answer leaves when the leader's assignment is durable, or at once with
    /// the error.
    pub fn sync(
        &mut self,
        step: &mut Step<'_>,
        request: &SyncRequest<'_>,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        let sender = Sender {
            member: request.member,
            instance: request.instance,
            generation: request.generation,
        };
        self.check_sender(&sender)?;
        let differs = |ours: &Option<Arc<str>>, theirs: Option<&str>| {
            ours.as_deref().zip(theirs).is_some_and(|(ours, theirs)| ours != theirs)
        };
        if differs(&self.protocol_type, request.protocol_type)
            || differs(&self.protocol, request.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(GroupError::UnknownMember),
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            GroupState::CompletingRebalance => {
                let assigns = self.members.is_leader(request.member) && !self.assigning;
                if assigns && self.record_bytes(request) > step.settings.metadata_max_bytes {
                    return Err(GroupError::MetadataTooLarge);
                }
                if let Some(earlier) = self.members.await_sync(request.member, token) {
                    step.reply(earlier, Reply::Sync(Err(GroupError::RebalanceInProgress)));
                }
                self.synced(step, request.member);
                if assigns {
                    self.store_assignment(step, request);
                }
                Ok(())
            }
            GroupState::Stable => {
                self.synced(step, request.member);
                step.reply(token, Reply::Sync(Ok(self.assignment_of(request.member))));
                Ok(())
            }
        }
    }

    /// About the bytes of the record that an assignment makes.
    fn record_bytes(&self, request: &SyncRequest<'_>) -> usize {
        let given = request.assignments.iter().map(|(_, assignment)| assignment.len());
        given.sum::<usize>() + self.told_bytes()
    }

    fn synced(&mut self, step: &mut Step<'_>, member: &str) {
        self.members.synced(member);
        if self.members.all_synced() {
            step.timers.cancel(&TimerKey::Sync(self.id.clone()));
        }
    }

    /// Sends the leader's assignment into the log; who is not in it gets an empty one.
    fn store_assignment(&mut self, step: &mut Step<'_>, request: &SyncRequest<'_>) {
        let given: BTreeMap<&str, &[u8]> = request.assignments.iter().copied().collect();
        let metadata = self.metadata(|member| {
            given.get(&*member.id).map(|bytes| Arc::from(*bytes)).unwrap_or_default()
        });
        self.assigning = true;
        let then = Then::Assigned { generation: self.generation };
        self.append(step, vec![GroupRecord::Metadata(metadata.into())], then);
    }

    /// A generation's assignment is durable: if the group still waits for it, it is stable now.
    pub fn assigned(&mut self, step: &mut Step<'_>, generation: i32) {
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return;
        }
        let metadata = self.durable.clone().expect("the assignment was just applied");
        let assignments: BTreeMap<_, _> =
            metadata.members.iter().map(|member| (&member.member, &member.assignment)).collect();
        self.members
            .assign(|id| assignments.get(id).map(|bytes| Arc::clone(bytes)).unwrap_or_default());
        self.enter(GroupState::Stable, step.at.wall_ms);
        info!(group = %self.id, generation, members = self.members.len(), "the group is stable");
        for id in self.members.ids(|member| member.awaiting_sync.is_some()) {
            let token = self.members.take_sync(&id).expect("it waits");
            step.reply(token, Reply::Sync(Ok(self.assignment_of(&id))));
            // While it waited its session may have ended, and was not counted.
            self.renew_session(step, &id);
        }
    }

    /// A generation's assignment cannot be stored: if the group still waits for it, its members are told
    /// so, and to join again.
    pub fn assignment_refused(&mut self, step: &mut Step<'_>, generation: i32, error: GroupError) {
        if self.state == GroupState::CompletingRebalance && self.generation == generation {
            self.refuse_syncs(step, &error);
            self.prepare_rebalance(step, "the assignment cannot be stored");
        }
    }

    fn assignment_of(&self, member: &str) -> Synced {
        let member = self.members.get(member).expect("it was checked");
        Synced {
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: member.assignment.clone(),
        }
    }

    /// Renews a member's session.
    pub fn heartbeat(
        &mut self,
        step: &mut Step<'_>,
        sender: &Sender<'_>,
    ) -> Result<(), GroupError> {
        self.check_sender(sender)?;
        self.renew_session(step, sender.member);
        match self.state {
            GroupState::PreparingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Checks that a request is of a member, and of this generation.
    pub fn check_sender(&self, sender: &Sender<'_>) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        self.members.check(sender.member, sender.instance)?;
        if sender.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok(())
    }
}
