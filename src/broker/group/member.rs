//! One member of a group.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    MemberId, ReplyToken,
    record::{MemberMetadata, Protocol},
    request::JoinRequest,
};

/// A member, and what it waits for. Lives in its group.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub id: MemberId,
    pub instance: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    pub session_timeout: Duration,
    pub rebalance_timeout: Duration,
    pub protocols: Vec<Protocol>,
    pub assignment: Arc<[u8]>,
    /// The join to answer when the generation begins.
    pub awaiting_join: Option<ReplyToken>,
    /// The sync to answer when the generation is assigned.
    pub awaiting_sync: Option<ReplyToken>,
    /// Nobody heard its id yet, so it cannot send heartbeats.
    pub is_new: bool,
}

impl Member {
    /// The member a first join makes.
    pub fn new(id: MemberId, request: &JoinRequest<'_>) -> Self {
        Self {
            id,
            instance: request.instance.map(Arc::from),
            client_id: request.client_id.into(),
            client_host: request.client_host.into(),
            session_timeout: request.session_timeout,
            rebalance_timeout: request.rebalance_timeout,
            protocols: protocols(request),
            assignment: Arc::default(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
        }
    }

    /// The member a record remembers.
    pub fn restored(metadata: &MemberMetadata) -> Self {
        Self {
            id: metadata.member.clone(),
            instance: metadata.instance.clone(),
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            session_timeout: metadata.session_timeout,
            rebalance_timeout: metadata.rebalance_timeout,
            protocols: metadata.protocols.clone(),
            assignment: metadata.assignment.clone(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: false,
        }
    }

    /// The member's metadata for `protocol`; empty if it does not offer it.
    pub fn metadata(&self, protocol: Option<&str>) -> Arc<[u8]> {
        let offered = self.protocols.iter().find(|offered| Some(&*offered.name) == protocol);
        offered.map(|offered| offered.metadata.clone()).unwrap_or_default()
    }

    /// About the bytes that a record takes for the member, its assignment aside.
    pub fn told_bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|p| p.name.len() + p.metadata.len());
        let instance = self.instance.as_ref().map_or(0, |instance| instance.len());
        let names = self.id.len() + self.client_id.len() + self.client_host.len() + instance;
        protocols.sum::<usize>() + names
    }

    /// About the bytes that a record takes for the member.
    pub fn bytes(&self) -> usize {
        self.told_bytes() + self.assignment.len()
    }

    /// Whether the member offers exactly what `request` does.
    pub fn offers_the_same(&self, request: &JoinRequest<'_>) -> bool {
        let offered = self.protocols.iter().map(|offered| (&*offered.name, &*offered.metadata));
        offered.eq(distinct(request))
    }

    /// Silence is excused: the member waits for an answer from us.
    ///
    /// Not for a new member. Its client may be gone, which a parked request does not tell.
    pub fn is_heard(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

/// What a request offers, copied.
pub(super) fn protocols(request: &JoinRequest<'_>) -> Vec<Protocol> {
    distinct(request)
        .map(|(name, metadata)| Protocol { name: name.into(), metadata: metadata.into() })
        .collect()
}

/// What a request offers, without repeated names: each member has one vote per protocol.
fn distinct<'a>(request: &JoinRequest<'a>) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    let mut names = BTreeSet::new();
    request.protocols.iter().copied().filter(move |(name, _)| names.insert(*name))
}
