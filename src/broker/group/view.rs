//! What administrators see of groups.

use std::sync::Arc;

use super::{
    GroupId, GroupState, MemberId,
    classic_group::{CONSUMER, Group},
};

/// A group in a list of groups (KIP-518).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedGroup<'a> {
    /// The group.
    pub group: &'a GroupId,
    /// What kind of group it is; empty for a simple one.
    pub protocol_type: &'a str,
    /// Where it is in its life.
    pub state: GroupState,
}

/// A group and its members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group.
    pub group: GroupId,
    /// Where it is in its life.
    pub state: GroupState,
    /// Counts rebalances.
    pub generation: i32,
    /// What kind of group it is; empty for a simple one.
    pub protocol_type: Arc<str>,
    /// The assignor the members chose; only of a stable group.
    pub protocol: Option<Arc<str>>,
    /// The members by id.
    pub members: Vec<MemberDescription>,
}

/// A member in a [`GroupDescription`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberDescription {
    /// The member.
    pub member: MemberId,
    /// Its group instance id, if it is static.
    pub instance: Option<Arc<str>>,
    /// What the client calls itself.
    pub client_id: Arc<str>,
    /// Where it connected from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol; empty unless the group is stable.
    pub metadata: Arc<[u8]>,
    /// What the leader gave it last.
    pub assignment: Arc<[u8]>,
}

impl Group {
    pub(super) fn listed(&self) -> ListedGroup<'_> {
        let state = self.shown_state();
        ListedGroup { group: &self.id, protocol_type: self.shown_type(), state }
    }

    pub(super) fn describe(&self) -> GroupDescription {
        let protocol = self.protocol.clone().filter(|_| self.state == GroupState::Stable);
        let members = self.members.iter().map(|member| MemberDescription {
            member: member.id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: match &protocol {
                Some(protocol) => member.metadata(Some(protocol)),
                None => Arc::default(),
            },
            assignment: member.assignment.clone(),
        });
        let peers = self.peers.iter().map(|(id, host)| MemberDescription {
            member: Arc::clone(id),
            instance: None,
            client_id: Arc::clone(id),
            client_host: Arc::clone(host),
            metadata: Arc::default(),
            assignment: Arc::default(),
        });
        GroupDescription {
            group: self.id.clone(),
            state: self.shown_state(),
            generation: self.generation,
            protocol_type: self.shown_type().into(),
            members: members.chain(peers).collect(),
            protocol,
        }
    }

    /// What kind of group it is: whoever divides a group's queues among themselves consumes.
    fn shown_type(&self) -> &str {
        match self.peers.is_empty() {
            true => self.protocol_type.as_deref().unwrap_or_default(),
            false => CONSUMER,
        }
    }
}
