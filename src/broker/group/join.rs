//! JoinGroup: how members come, and come back.

use super::{
    GroupError, MemberId, Reply, ReplyToken,
    classic_group::{Group, GroupState},
    member::Member,
    outbox::{StaticAnswer, Step, Then},
    record::GroupRecord,
    request::JoinRequest,
};

impl Group {
    /// Joins a member; the answer leaves when the generation begins, or at once with the error.
    pub fn join(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinRequest<'_>,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        if !self.peers.is_empty() {
            return Err(GroupError::InconsistentProtocol);
        }
        if !self.has_room_for(request, step.settings.max_size) {
            self.turn_away(step, request.member);
            return Err(GroupError::GroupMaxSize);
        }
        if !self.accepts_protocols(request) {
            return Err(GroupError::InconsistentProtocol);
        }
        if self.would_be_too_large(request, step.settings.metadata_max_bytes) {
            return Err(GroupError::MetadataTooLarge);
        }
        if request.member.is_empty() {
            self.join_unknown(step, request, token)
        } else {
            self.join_known(step, request, token)
        }
    }

    /// Whether a member can be part of the next generation.
    ///
    /// While members join, it is those who did that count: the last ones to come are turned away,
    /// even if they were members of a group that was larger than it may be now. A static member that
    /// comes back takes its own place.
    fn has_room_for(&self, request: &JoinRequest<'_>, max_size: usize) -> bool {
        let member = self.member_of(request);
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                member.is_some_and(|member| member.awaiting_join.is_some())
                    || self.members.awaiting_join() < max_size
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                member.is_some() || self.members.len() < max_size
            }
        }
    }

    /// Whether one more id can be given out: who has one may join.
    fn has_room_for_id(&self, max_size: usize) -> bool {
        let members = match self.state {
            GroupState::PreparingRebalance => self.members.awaiting_join(),
            _ => self.members.len(),
        };
        members + self.members.pending().len() < max_size
    }

    /// Whether a record of the group would be too large with what a member now tells of itself.
    fn would_be_too_large(&self, request: &JoinRequest<'_>, max_bytes: usize) -> bool {
        let told_before = self.member_of(request).map_or(0, Member::told_bytes);
        self.members.bytes() - told_before + request.told_bytes() > max_bytes
    }

    /// The member that a request comes from, if it is one. A static one may come back without its id.
    fn member_of(&self, request: &JoinRequest<'_>) -> Option<&Member> {
        let earlier = request.instance.and_then(|instance| self.members.of_instance(instance));
        let returns = earlier.filter(|_| request.member.is_empty());
        self.members.get(returns.map_or(request.member, |id| id))
    }

    /// Forgets whoever the group has no room for.
    fn turn_away(&mut self, step: &mut Step<'_>, id: &str) {
        let id = MemberId::from(id);
        self.members.remove_pending(&id);
        self.drop_member(step, &id);
        self.complete_if_all_joined(step);
    }

    /// Whether a protocol would be left that all members offer.
    fn accepts_protocols(&self, request: &JoinRequest<'_>) -> bool {
        if self.state == GroupState::Empty {
            return !request.protocol_type.is_empty() && !request.protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(request.protocol_type)
            && request.protocols.iter().any(|(name, _)| self.members.all_offer(name))
    }

    fn join_unknown(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinRequest<'_>,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        let id = step.member_id(request.instance.unwrap_or(request.client_id));
        match request.instance.map(|instance| self.members.of_instance(instance).cloned()) {
            Some(Some(earlier)) => self.replace_static(step, request, &earlier, id, token),
            None if request.requires_known_member => {
                if !self.has_room_for_id(step.settings.max_size) {
                    return Err(GroupError::GroupMaxSize);
                }
                self.members.add_pending(id.clone());
                step.arm(self.session(&id), request.session_timeout);
                return Err(GroupError::MemberIdRequired(id));
            }
            _ => self.add_member(step, request, id, token),
        }
        Ok(())
    }

    fn join_known(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinRequest<'_>,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        if self.members.is_pending(request.member) {
            if request.instance.is_some() {
                // Ids that wait for their join were given to dynamic members only.
                return Err(GroupError::UnknownMember);
            }
            self.add_member(step, request, request.member.into(), token);
            return Ok(());
        }
        self.members.check(request.member, request.instance)?;
        let member = self.members.get(request.member).expect("it was checked");
        let id = member.id.clone();
        let unchanged = member.offers_the_same(request);
        let current = match self.state {
            GroupState::Empty | GroupState::Dead => return Err(GroupError::UnknownMember),
            GroupState::PreparingRebalance => false,
            // It may have lost the answer to its join.
            GroupState::CompletingRebalance => unchanged,
            // A leader joins again to assign again, because topics changed for example.
            GroupState::Stable => unchanged && !self.members.is_leader(&id),
        };
        if current {
            step.reply(token, Reply::Join(Ok(self.joined(&id))));
            return Ok(());
        }
        self.members.update(&id, request);
        self.await_join(step, &id, token);
        self.rebalance_or_complete(step, request.reason.unwrap_or("a member joined again"));
        Ok(())
    }

    fn add_member(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinRequest<'_>,
        id: MemberId,
        token: ReplyToken,
    ) {
        if let Some(initial) = &mut self.initial {
            initial.extend = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.into());
        }
        self.members.add(Member::new(id.clone(), request));
        self.await_join(step, &id, token);
        // It does not know its id and cannot send heartbeats. Its client may be gone without our
        // noticing, and come again as another member: this one must not stay for good.
        step.arm(self.session(&id), step.settings.new_member_join_timeout);
        self.rebalance_or_complete(step, request.reason.unwrap_or("a member joined"));
    }

    /// Parks a join. One that was parked before is answered: its client repeats it.
    fn await_join(&mut self, step: &mut Step<'_>, id: &MemberId, token: ReplyToken) {
        if let Some(earlier) = self.members.await_join(id, token) {
            step.reply(earlier, Reply::Join(Err(GroupError::RebalanceInProgress)));
        }
    }

    /// A static member came back without its id: it gets a new one, the old one is fenced, and a
    /// stable group stays as it is unless another protocol would be chosen (KIP-345).
    ///
    /// Its subscription is not compared. It may differ in what the assignor keeps there, and a
    /// consumer that finds its assignment wanting joins again.
    fn replace_static(
        &mut self,
        step: &mut Step<'_>,
        request: &JoinRequest<'_>,
        old: &MemberId,
        new: MemberId,
        token: ReplyToken,
    ) {
        let leader = self.members.leader().cloned();
        let (join, sync) = self.members.replace(old, &new);
        if let Some(token) = join {
            step.reply(token, Reply::Join(Err(GroupError::FencedInstanceId)));
        }
        if let Some(token) = sync {
            step.reply(token, Reply::Sync(Err(GroupError::FencedInstanceId)));
        }
        step.timers.cancel(&self.session(old));
        self.members.update(&new, request);
        self.await_join(step, &new, token);
        self.renew_session(step, &new);
        let same_protocol = self.protocol.as_ref() == Some(&self.members.choose_protocol());
        if self.state == GroupState::Stable && same_protocol {
            let answer = match request.supports_skip_assignment {
                true => StaticAnswer::SkipAssignment,
                false => StaticAnswer::Leader(leader),
            };
            let then = Then::StaticJoined { generation: self.generation, member: new, answer };
            let metadata = self.metadata(|member| member.assignment.clone());
            self.append(step, vec![GroupRecord::Metadata(metadata.into())], then);
        } else {
            // The leader may be assigning to the old id right now.
            let reason = request.reason.unwrap_or("a static member came back");
            self.rebalance_or_complete(step, reason);
        }
    }

    /// The new id of a static member is durable: it is answered, unless the group rebalances since,
    /// whose answer it gets then.
    pub fn static_joined(
        &mut self,
        step: &mut Step<'_>,
        generation: i32,
        member: &MemberId,
        answer: StaticAnswer,
    ) {
        if !self.stands_with(generation, member) {
            return;
        }
        let mut joined = self.joined(member);
        match answer {
            StaticAnswer::SkipAssignment => {
                joined.skip_assignment = self.members.is_leader(member);
            }
            StaticAnswer::Leader(leader) => {
                joined.members.clear();
                joined.leader = leader.unwrap_or(joined.leader);
            }
        }
        self.answer_join(step, member, joined);
    }

    /// The new id of a static member cannot be stored: it is told so, unless the group rebalances since.
    pub fn static_join_refused(
        &mut self,
        step: &mut Step<'_>,
        generation: i32,
        member: &MemberId,
        error: GroupError,
    ) {
        if !self.stands_with(generation, member) {
            return;
        }
        if let Some(token) = self.members.take_join(member) {
            step.reply(token, Reply::Join(Err(error)));
        }
        self.renew_session(step, member);
    }

    fn stands_with(&self, generation: i32, member: &MemberId) -> bool {
        let stands = self.state == GroupState::Stable && self.generation == generation;
        stands && self.members.contains(member)
    }
}
