//! Members that divide a group's queues among themselves, as RocketMQ's do.
//!
//! The coordinator assigns them nothing and waits for none of them: it only knows that they are there.
//! A group has either such members or those it assigns to, never both.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    GroupError, Groups, Moment, OffsetToCommit, Reply, ReplyToken, TopicPartition,
    classic_group::{Group, GroupState},
    groups::check_id,
    outbox::Step,
};

/// Clients by id, and where they connect from.
pub(super) type Peers = BTreeMap<Arc<str>, Arc<str>>;

impl Groups {
    /// A client consumes in a group; it may say so again.
    ///
    /// # Errors
    /// `InvalidGroupId`, `InconsistentProtocol` if the group has members it assigns to,
    /// `TooManyGroups`, `CoordinatorNotAvailable`.
    pub fn attend(
        &mut self,
        at: Moment,
        group: &str,
        client: &Arc<str>,
        host: &Arc<str>,
    ) -> Result<(), GroupError> {
        check_id(group)?;
        self.ensure(at, group)?;
        self.existing(at, group, GroupError::GroupNotFound, |group, _| {
            group.check_peers()?;
            group.peers.insert(Arc::clone(client), Arc::clone(host));
            Ok(())
        })
    }

    /// A client consumes in a group no more.
    pub fn depart(&mut self, at: Moment, group: &str, client: &str) {
        self.with_group(at, group, |group, step| {
            let was_there = group.peers.remove(client).is_some();
            if was_there && group.peers.is_empty() {
                // Its offsets live on from now.
                group.state_ms = step.at.wall_ms;
                group.offsets.forget_resets();
            }
        });
    }

    /// Whether clients may consume in a group that divide its queues among themselves.
    ///
    /// # Errors
    /// `InconsistentProtocol` if the group has members it assigns to, `CoordinatorNotAvailable`.
    pub fn check_peers(&self, group: &str) -> Result<(), GroupError> {
        self.groups.get(group).map_or(Ok(()), Group::check_peers)
    }

    /// Commits offsets of such clients, which need not have said that they consume; answered with
    /// [`Reply::CommitOffsets`] once they are durable. A group that does not exist is made. What lies
    /// where a reset has yet to be taken does not count.
    ///
    /// # Errors
    /// `InconsistentProtocol` if the group has members it assigns to, `TooManyGroups`,
    /// `CoordinatorNotAvailable`; for an offset `OffsetMetadataTooLarge`.
    pub fn commit_peer_offsets(
        &mut self,
        at: Moment,
        group: &str,
        offsets: &[OffsetToCommit<'_>],
        token: ReplyToken,
    ) {
        self.commit_as_peer(at, group, token, |group, step| {
            let counts = |commit: &&OffsetToCommit<'_>| !group.offsets.is_reset(commit.partition);
            let offsets: Vec<_> = offsets.iter().filter(counts).copied().collect();
            group.take_offsets(step, &offsets, None, token);
        });
    }

    /// Commits offsets for an administrator, otherwise as [`Groups::commit_peer_offsets`]. With `lead`
    /// the members that are there are led to them: whoever pulls one of the partitions next takes its
    /// offset ([`Groups::take_reset`]). That is not kept over a restart.
    ///
    /// # Errors
    /// As those of [`Groups::commit_peer_offsets`].
    pub fn reset_peer_offsets(
        &mut self,
        at: Moment,
        group: &str,
        offsets: &[OffsetToCommit<'_>],
        lead: bool,
        token: ReplyToken,
    ) {
        self.commit_as_peer(at, group, token, |group, step| {
            let lead = lead && !group.peers.is_empty();
            for commit in offsets {
                group.offsets.reset(commit.partition, lead.then_some(commit.offset));
            }
            group.take_offsets(step, offsets, None, token);
        });
    }

    /// Where whoever pulls a partition now is to go on, if it is to be led; told once.
    pub fn take_reset(&mut self, group: &str, partition: TopicPartition) -> Option<i64> {
        self.groups.get_mut(group)?.offsets.take_reset(partition)
    }

    fn commit_as_peer(
        &mut self,
        at: Moment,
        group: &str,
        token: ReplyToken,
        commit: impl FnOnce(&mut Group, &mut Step<'_>),
    ) {
        let result = self.ensure(at, group).and_then(|()| {
            self.existing(at, group, GroupError::GroupNotFound, |group, step| {
                group.check_peers()?;
                commit(group, step);
                Ok(())
            })
        });
        self.refuse(token, result, |error| Reply::CommitOffsets(Err(error)));
    }
}

impl Group {
    fn check_peers(&self) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty => Ok(()),
            GroupState::Dead => Err(GroupError::CoordinatorNotAvailable),
            _ => Err(GroupError::InconsistentProtocol),
        }
    }

    /// As administrators see it: a group whose members need nothing is stable.
    pub(super) fn shown_state(&self) -> GroupState {
        if self.peers.is_empty() { self.state } else { GroupState::Stable }
    }
}
