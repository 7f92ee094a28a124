//! The members of one group: who there is, what they offer, who they wait for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    GroupError, MemberId, ReplyToken,
    member::{self, Member},
    record::Protocol,
    request::JoinRequest,
};

/// A group's members and the counts kept over them.
///
/// Ordered by id, so that a seed replays the same run. Lives in its group.
#[derive(Debug, Default)]
pub(super) struct Members {
    by_id: BTreeMap<MemberId, Member>,
    /// Static members by their group instance id.
    instances: BTreeMap<Arc<str>, MemberId>,
    /// How many members offer each protocol.
    offers: BTreeMap<Arc<str>, usize>,
    /// Ids that were given out and did not join yet (KIP-394).
    pending: BTreeSet<MemberId>,
    /// Members of this generation that did not sync yet.
    unsynced: BTreeSet<MemberId>,
    awaiting_join: usize,
    /// About the bytes that all tell of themselves, with their assignments, and of the ids that wait.
    bytes: usize,
    leader: Option<MemberId>,
}

impl Members {
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn get(&self, id: &str) -> Option<&Member> {
        self.by_id.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Member> {
        self.by_id.values()
    }

    /// About the bytes that a record takes for all members, and for the ids that wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Ids of the members that `wanted` holds for.
    pub fn ids(&self, wanted: impl Fn(&Member) -> bool) -> Vec<MemberId> {
        self.iter().filter(|member| wanted(member)).map(|member| member.id.clone()).collect()
    }

    pub fn leader(&self) -> Option<&MemberId> {
        self.leader.as_ref()
    }

    pub fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// The id of a static member.
    pub fn of_instance(&self, instance: &str) -> Option<&MemberId> {
        self.instances.get(instance)
    }

    /// Adds a member; the first one leads.
    pub fn add(&mut self, member: Member) {
        let id = member.id.clone();
        if let Some(instance) = &member.instance {
            let earlier = self.instances.insert(instance.clone(), id.clone());
            assert!(earlier.is_none(), "a group instance id names one member");
        }
        self.count_offers(&member.protocols);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.bytes += member.bytes();
        self.leader.get_or_insert_with(|| id.clone());
        self.remove_pending(&id);
        let earlier = self.by_id.insert(id, member);
        assert!(earlier.is_none(), "a member id names one member");
    }

    /// Removes a member; if it led, another one does from here on.
    pub fn remove(&mut self, id: &str) -> Option<Member> {
        self.unsynced.remove(id);
        let member = self.by_id.remove(id)?;
        self.discount_offers(&member.protocols);
        self.bytes -= member.bytes();
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance) = &member.instance {
            self.instances.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.by_id.keys().next().cloned();
        }
        Some(member)
    }

    /// Gives a static member a new id and returns the joins and syncs the old one waited for.
    pub fn replace(
        &mut self,
        old: &MemberId,
        new: &MemberId,
    ) -> (Option<ReplyToken>, Option<ReplyToken>) {
        let mut member = self.by_id.remove(old).expect("the replaced member is there");
        let join = member.awaiting_join.take();
        let sync = member.awaiting_sync.take();
        self.awaiting_join -= usize::from(join.is_some());
        self.bytes = self.bytes - old.len() + new.len();
        member.id = new.clone();
        member.is_new = false;
        let instance = member.instance.clone().expect("only static members are replaced");
        self.instances.insert(instance, new.clone());
        self.by_id.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        if self.unsynced.remove(old) {
            self.unsynced.insert(new.clone());
        }
        (join, sync)
    }

    /// Takes over what a join says of a member that is there.
    pub fn update(&mut self, id: &str, request: &JoinRequest<'_>) {
        let protocols = member::protocols(request);
        self.count_offers(&protocols);
        let member = self.by_id.get_mut(id).expect("the updated member is there");
        self.bytes -= member.bytes();
        let before = std::mem::replace(&mut member.protocols, protocols);
        member.client_id = request.client_id.into();
        member.client_host = request.client_host.into();
        member.session_timeout = request.session_timeout;
        member.rebalance_timeout = request.rebalance_timeout;
        self.bytes += member.bytes();
        self.discount_offers(&before);
    }

    /// Parks a join, and returns the one it takes the place of.
    pub fn await_join(&mut self, id: &str, token: ReplyToken) -> Option<ReplyToken> {
        let member = self.by_id.get_mut(id).expect("the joining member is there");
        let earlier = member.awaiting_join.replace(token);
        self.awaiting_join += usize::from(earlier.is_none());
        earlier
    }

    /// The join that `id` waits for, which is about to be answered: the member is not new any more.
    pub fn take_join(&mut self, id: &str) -> Option<ReplyToken> {
        let member = self.by_id.get_mut(id)?;
        member.is_new = false;
        let token = member.awaiting_join.take();
        self.awaiting_join -= usize::from(token.is_some());
        token
    }

    /// Parks a sync, and returns the one it takes the place of.
    pub fn await_sync(&mut self, id: &str, token: ReplyToken) -> Option<ReplyToken> {
        self.by_id.get_mut(id).expect("the syncing member is there").awaiting_sync.replace(token)
    }

    /// The sync that `id` waits for, which is about to be answered.
    pub fn take_sync(&mut self, id: &str) -> Option<ReplyToken> {
        self.by_id.get_mut(id)?.awaiting_sync.take()
    }

    /// Sets each member's assignment.
    pub fn assign(&mut self, assignment: impl Fn(&MemberId) -> Arc<[u8]>) {
        for (id, member) in &mut self.by_id {
            self.bytes -= member.assignment.len();
            member.assignment = assignment(id);
            self.bytes += member.assignment.len();
        }
    }

    pub fn add_pending(&mut self, id: MemberId) {
        self.bytes += id.len();
        self.pending.insert(id);
    }

    pub fn remove_pending(&mut self, id: &str) -> bool {
        let was_pending = self.pending.remove(id);
        self.bytes -= if was_pending { id.len() } else { 0 };
        was_pending
    }

    pub fn is_pending(&self, id: &str) -> bool {
        self.pending.contains(id)
    }

    pub fn pending(&self) -> &BTreeSet<MemberId> {
        &self.pending
    }

    /// A generation begins: nobody synced yet.
    pub fn expect_syncs(&mut self) {
        self.unsynced = self.by_id.keys().cloned().collect();
    }

    /// `id` synced.
    pub fn synced(&mut self, id: &str) {
        self.unsynced.remove(id);
    }

    /// Nobody is expected to sync any more; returns who did not.
    pub fn take_unsynced(&mut self) -> BTreeSet<MemberId> {
        std::mem::take(&mut self.unsynced)
    }

    pub fn all_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// How many members wait for a join's answer.
    pub fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Every member joined, and everyone who was given an id.
    pub fn all_joined(&self) -> bool {
        self.awaiting_join == self.len() && self.pending.is_empty()
    }

    /// Lets a member lead that joined. False if nobody did.
    pub fn elect_joined_leader(&mut self) -> bool {
        let joined = |member: &&Member| member.awaiting_join.is_some();
        let leads = self.leader().and_then(|leader| self.get(leader));
        let elected = leads.filter(joined).or_else(|| self.iter().find(joined));
        match elected.map(|member| member.id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// Lets `id` lead, as a record remembers it.
    pub fn restore_leader(&mut self, id: Option<&MemberId>) {
        if let Some(id) = id.filter(|id| self.contains(id)) {
            self.leader = Some(id.clone());
        }
    }

    /// The longest time a member wants a rebalance to wait for it.
    pub fn rebalance_timeout(&self) -> Duration {
        self.iter().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether every member offers `protocol`.
    pub fn all_offer(&self, protocol: &str) -> bool {
        self.offers.get(protocol).copied().unwrap_or(0) == self.len()
    }

    /// The protocol that most members prefer among those that all of them offer.
    ///
    /// Of equally many votes the lesser name wins: the choice depends on nothing else.
    pub fn choose_protocol(&self) -> Arc<str> {
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.iter() {
            let preferred = member.protocols.iter().find(|offered| self.all_offer(&offered.name));
            let preferred = preferred.expect("a member shares a protocol with all others");
            *votes.entry(&preferred.name).or_default() += 1;
        }
        let most = votes.values().max().expect("somebody votes");
        let chosen = votes.iter().find(|(_, count)| *count == most).expect("somebody won");
        Arc::clone(chosen.0)
    }

    /// Checks that a request comes from who it says it does.
    ///
    /// # Errors
    /// `UnknownMember`, and `FencedInstanceId` if the instance id now names another member.
    pub fn check(&self, id: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            let current = self.of_instance(instance).ok_or(GroupError::UnknownMember)?;
            if **current != *id {
                return Err(GroupError::FencedInstanceId);
            }
        }
        if self.contains(id) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    fn count_offers(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.offers.entry(protocol.name.clone()).or_default() += 1;
        }
    }

    fn discount_offers(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            let count = self.offers.get_mut(&protocol.name).expect("an offer was counted");
            *count -= 1;
            if *count == 0 {
                self.offers.remove(&protocol.name);
            }
        }
    }
}
