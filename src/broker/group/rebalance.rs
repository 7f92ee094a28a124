//! How a group moves from one generation to the next.

use std::time::Duration;

use tracing::info;

use super::{
    GroupError, MemberId, Reply,
    classic_group::{Group, GroupState, InitialDelay},
    outbox::{Step, Then},
    record::GroupRecord,
    reply::{Joined, JoinedMember},
    timers::TimerKey,
};

impl Group {
    /// Begins a rebalance, or ends the join phase of the one that runs, if everybody joined.
    pub fn rebalance_or_complete(&mut self, step: &mut Step<'_>, reason: &str) {
        if self.state == GroupState::PreparingRebalance {
            self.complete_if_all_joined(step);
        } else {
            self.prepare_rebalance(step, reason);
        }
    }

    /// Begins a rebalance: members have to join again.
    pub fn prepare_rebalance(&mut self, step: &mut Step<'_>, reason: &str) {
        info!(group = %self.id, generation = self.generation, reason, "the group rebalances");
        if self.state == GroupState::CompletingRebalance {
            self.refuse_syncs(step, &GroupError::RebalanceInProgress);
        }
        self.members.take_unsynced();
        step.timers.cancel(&TimerKey::Sync(self.id.clone()));
        let was_empty = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, step.at.wall_ms);
        if was_empty {
            self.delay_initial_rebalance(step);
        } else if self.members.all_joined() {
            self.complete_join(step);
        } else {
            step.arm(TimerKey::Join(self.id.clone()), self.members.rebalance_timeout());
        }
    }

    /// The members that wait for this generation's assignment are not to get it.
    pub fn refuse_syncs(&mut self, step: &mut Step<'_>, error: &GroupError) {
        self.members.assign(|_| Default::default());
        for id in self.members.ids(|member| member.awaiting_sync.is_some()) {
            let token = self.members.take_sync(&id).expect("it waits");
            step.reply(token, Reply::Sync(Err(error.clone())));
            self.renew_session(step, &id);
        }
    }

    /// Gives the first members of a group time to come together, up to their rebalance timeout.
    fn delay_initial_rebalance(&mut self, step: &mut Step<'_>) {
        let delay = step.settings.initial_rebalance_delay;
        if delay == Duration::ZERO {
            return self.complete_join(step);
        }
        let remaining = self.members.rebalance_timeout().saturating_sub(delay);
        self.initial = Some(InitialDelay { extend: false, delay, remaining });
        step.arm(TimerKey::Join(self.id.clone()), delay);
    }

    /// The join phase's time is over, or one delay of an initial rebalance is.
    pub fn expire_join(&mut self, step: &mut Step<'_>) {
        match &mut self.initial {
            Some(initial) if initial.extend && initial.remaining > Duration::ZERO => {
                let delay = step.settings.initial_rebalance_delay.min(initial.remaining);
                let remaining = initial.remaining.saturating_sub(initial.delay);
                *initial = InitialDelay { extend: false, delay, remaining };
                step.arm(TimerKey::Join(self.id.clone()), delay);
            }
            _ => self.complete_join(step),
        }
    }

    /// Ends the join phase if nobody is missing. An initial rebalance waits for its delay.
    pub fn complete_if_all_joined(&mut self, step: &mut Step<'_>) {
        let preparing = self.state == GroupState::PreparingRebalance;
        if preparing && self.initial.is_none() && self.members.all_joined() {
            self.complete_join(step);
        }
    }

    /// Ends the join phase: who did not join is out, but for static members, which keep their place
    /// until their session ends (KIP-345).
    fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel(&TimerKey::Join(self.id.clone()));
        self.initial = None;
        let missing = |member: &super::member::Member| {
            member.awaiting_join.is_none() && member.instance.is_none()
        };
        for id in self.members.ids(missing) {
            self.drop_member(step, &id);
        }
        if !self.members.elect_joined_leader() && !self.members.is_empty() {
            // Only absent static members are left. Their sessions end, or one of them comes back.
            step.arm(TimerKey::Join(self.id.clone()), self.members.rebalance_timeout());
            return;
        }
        self.next_generation(step.at.wall_ms);
        if self.state == GroupState::Empty {
            info!(group = %self.id, generation = self.generation, "the group is empty");
            let metadata = self.metadata(|member| member.assignment.clone());
            self.append(step, vec![GroupRecord::Metadata(metadata.into())], Then::Nothing);
        } else {
            self.announce_generation(step);
        }
    }

    /// Answers the joins, and waits for everybody's sync.
    fn announce_generation(&mut self, step: &mut Step<'_>) {
        info!(
            group = %self.id, generation = self.generation, members = self.members.len(),
            "the generation waits for its assignment"
        );
        for id in self.members.ids(|_| true) {
            self.answer_join(step, &id, self.joined(&id));
        }
        step.arm(TimerKey::Sync(self.id.clone()), self.members.rebalance_timeout());
    }

    /// Answers a member's join, if it waits for that, and begins its session.
    pub fn answer_join(&mut self, step: &mut Step<'_>, id: &str, joined: Joined) {
        if let Some(token) = self.members.take_join(id) {
            step.reply(token, Reply::Join(Ok(joined)));
        }
        self.renew_session(step, id);
    }

    /// What a member of the current generation is told.
    pub fn joined(&self, id: &MemberId) -> Joined {
        let told = if self.members.is_leader(id) { self.members.len() } else { 0 };
        let members = self.members.iter().take(told).map(|member| JoinedMember {
            member: member.id.clone(),
            instance: member.instance.clone(),
            metadata: member.metadata(self.protocol.as_deref()),
        });
        Joined {
            member: id.clone(),
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.members.leader().expect("a generation has a leader").clone(),
            members: members.collect(),
            skip_assignment: false,
        }
    }

    /// The generation's time to sync is over: who did not is out.
    pub fn expire_sync(&mut self, step: &mut Step<'_>) {
        if !matches!(self.state, GroupState::CompletingRebalance | GroupState::Stable) {
            return;
        }
        let silent = self.members.take_unsynced();
        for id in &silent {
            self.drop_member(step, id);
        }
        if !silent.is_empty() {
            self.prepare_rebalance(step, "members did not sync in time");
        }
    }

    /// A member's session, or a pending member's time to join, is over.
    pub fn expire_session(&mut self, step: &mut Step<'_>, id: &MemberId) {
        if self.members.remove_pending(id) {
            return self.complete_if_all_joined(step);
        }
        if self.members.get(id).is_some_and(|member| !member.is_heard()) {
            info!(group = %self.id, member = %id, "the member's session ended");
            self.drop_member(step, id);
            self.rebalance_or_complete(step, "a member's session ended");
        }
    }

    /// Removes a member. If it waits for an answer it learns that it is not known any more, and a
    /// client that is alive joins anew.
    pub fn drop_member(&mut self, step: &mut Step<'_>, id: &MemberId) {
        step.timers.cancel(&self.session(id));
        let Some(member) = self.members.remove(id) else { return };
        if let Some(token) = member.awaiting_join {
            step.reply(token, Reply::Join(Err(GroupError::UnknownMember)));
        }
        if let Some(token) = member.awaiting_sync {
            step.reply(token, Reply::Sync(Err(GroupError::UnknownMember)));
        }
    }
}
