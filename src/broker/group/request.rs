//! What the gateways ask for, borrowed from the request; what is kept is copied.

use std::time::Duration;

use super::TopicPartition;

/// A member joins, or joins again (JoinGroup 0–9).
#[derive(Clone, Copy, Debug)]
pub struct JoinRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// The id the coordinator gave the member; empty the first time.
    pub member: &'a str,
    /// Names a static member (KIP-345).
    pub instance: Option<&'a str>,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// Where it connects from.
    pub client_host: &'a str,
    /// Silence after which the member is removed.
    pub session_timeout: Duration,
    /// How long a rebalance waits for the member (KIP-62); version 0 has none and passes the session
    /// timeout.
    pub rebalance_timeout: Duration,
    /// What kind of group it is.
    pub protocol_type: &'a str,
    /// The member's assignors and its metadata for each, the preferred one first.
    pub protocols: &'a [(&'a str, &'a [u8])],
    /// Whether a new dynamic member has to join twice (KIP-394: from version 4).
    pub requires_known_member: bool,
    /// Whether the client understands that a returning leader need not assign (KIP-814: from
    /// version 9).
    pub supports_skip_assignment: bool,
    /// Why it joins (KIP-800), for the log.
    pub reason: Option<&'a str>,
}

impl JoinRequest<'_> {
    /// About the bytes that a record takes for the member.
    pub(super) fn told_bytes(&self) -> usize {
        let protocols = self.protocols.iter().map(|(name, metadata)| name.len() + metadata.len());
        let instance = self.instance.map_or(0, str::len);
        let names = self.member.len() + self.client_id.len() + self.client_host.len() + instance;
        protocols.sum::<usize>() + names
    }
}

/// A member asks for its assignment; the leader brings everybody's (SyncGroup 0–5).
#[derive(Clone, Copy, Debug)]
pub struct SyncRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// The member.
    pub member: &'a str,
    /// Its group instance id, if it is static.
    pub instance: Option<&'a str>,
    /// The generation it joined.
    pub generation: i32,
    /// The protocol type it believes in (KIP-559).
    pub protocol_type: Option<&'a str>,
    /// The protocol it believes in (KIP-559).
    pub protocol: Option<&'a str>,
    /// Member ids and their assignments, from the leader.
    pub assignments: &'a [(&'a str, &'a [u8])],
}

/// Who sends a heartbeat or commits offsets.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The member id; empty for a simple consumer.
    pub member: &'a str,
    /// Its group instance id, if it is static.
    pub instance: Option<&'a str>,
    /// The generation it joined; below zero for a simple consumer.
    pub generation: i32,
}

impl Sender<'_> {
    /// A consumer that uses a group for its offsets only, or an administrator.
    pub const SIMPLE: Self = Self { member: "", instance: None, generation: -1 };
}

/// One member that leaves (LeaveGroup 0–5).
#[derive(Clone, Copy, Debug)]
pub struct LeavingMember<'a> {
    /// The member id; empty when an administrator removes a static member (KIP-345).
    pub member: &'a str,
    /// The group instance id, if it is static.
    pub instance: Option<&'a str>,
    /// Why it leaves (KIP-800), for the log.
    pub reason: Option<&'a str>,
}

/// Offsets to commit (OffsetCommit 2–9).
#[derive(Clone, Copy, Debug)]
pub struct CommitRequest<'a> {
    /// The group.
    pub group: &'a str,
    /// Who commits.
    pub sender: Sender<'a>,
    /// A retention of their own (versions 2–4).
    pub retention: Option<Duration>,
    /// The offsets.
    pub offsets: &'a [OffsetToCommit<'a>],
}

/// One offset of a [`CommitRequest`].
#[derive(Clone, Copy, Debug)]
pub struct OffsetToCommit<'a> {
    /// Where.
    pub partition: TopicPartition,
    /// The offset to read next.
    pub offset: i64,
    /// The leader epoch of the last record read (KIP-320).
    pub leader_epoch: Option<i32>,
    /// What the client wants to remember with it.
    pub metadata: &'a str,
}
