//! Committed offsets: how they come, and how they go.

use std::time::Duration;

use super::{
    CommitRequest, CommittedOffset, GroupError, OffsetToCommit, Reply, ReplyToken, TopicPartition,
    classic_group::{Group, GroupState},
    outbox::{Step, Then},
    record::{GroupRecord, OFFSETS_PER_RECORD, offset_records},
    request::Sender,
};
use crate::base::TopicId;

impl Group {
    /// Commits offsets; answers when they are durable, or at once with the error.
    pub fn commit_offsets(
        &mut self,
        step: &mut Step<'_>,
        request: &CommitRequest<'_>,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        self.check_commit(&request.sender)?;
        // A commit is a sign of life (simple consumers have no session to renew).
        self.renew_session(step, request.sender.member);
        self.take_offsets(step, request.offsets, request.retention, token);
        Ok(())
    }

    /// Commits offsets of whoever may; answers when they are durable.
    pub fn take_offsets(
        &mut self,
        step: &mut Step<'_>,
        commits: &[OffsetToCommit<'_>],
        retention: Option<Duration>,
        token: ReplyToken,
    ) {
        let commit_ms = step.at.wall_ms;
        let expire_ms = retention.map(|retention| commit_ms.saturating_add(ms(retention)));
        let mut results = Vec::with_capacity(commits.len());
        let mut offsets = Vec::with_capacity(commits.len());
        for commit in commits {
            if commit.metadata.len() > step.settings.offset_metadata_max_bytes {
                results.push(Err(GroupError::OffsetMetadataTooLarge));
                continue;
            }
            results.push(Ok(()));
            self.offsets.assign(commit.partition);
            let offset = CommittedOffset {
                offset: commit.offset,
                leader_epoch: commit.leader_epoch,
                metadata: commit.metadata.into(),
                commit_ms,
                expire_ms,
            };
            offsets.push((commit.partition, offset));
        }
        let records = offset_records(&self.id, offsets.into_iter()).collect();
        self.append_or_reply(step, records, token, Reply::CommitOffsets(Ok(results)));
    }

    /// Whether the sender may commit: a member of this generation, unless its assignment is about to
    /// change hands, or anybody in a group without members.
    fn check_commit(&self, sender: &Sender<'_>) -> Result<(), GroupError> {
        match self.state {
            GroupState::Dead => return Err(GroupError::CoordinatorNotAvailable),
            GroupState::Empty if sender.generation < 0 && self.peers.is_empty() => return Ok(()),
            _ => (),
        }
        let is_simple = sender.generation < 0 && sender.member.is_empty();
        if is_simple && sender.instance.is_none() {
            return Err(GroupError::UnknownMember);
        }
        self.check_sender(sender)?;
        match self.state {
            GroupState::CompletingRebalance => Err(GroupError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    /// Deletes offsets of topics that nobody subscribes (KIP-496); answers when that is durable.
    pub fn delete_offsets(
        &mut self,
        step: &mut Step<'_>,
        partitions: &[TopicPartition],
        subscribes: impl Fn(&Self, TopicId) -> bool,
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        match self.state {
            GroupState::Dead => return Err(GroupError::GroupNotFound),
            GroupState::Empty if self.peers.is_empty() => (),
            _ if self.is_of_consumers() => (),
            _ => return Err(GroupError::NonEmptyGroup),
        }
        let mut deleted = Vec::new();
        let results = partitions.iter().map(|partition| {
            if subscribes(self, partition.topic) {
                return Err(GroupError::SubscribedToTopic);
            }
            deleted.extend(self.offsets.contains(*partition).then_some(*partition));
            Ok(())
        });
        let results = results.collect();
        let records = self.deletions(&deleted);
        self.append_or_reply(step, records, token, Reply::DeleteOffsets(Ok(results)));
        Ok(())
    }

    /// Deletes the offsets of a topic that is gone.
    pub fn forget_topic(&mut self, step: &mut Step<'_>, topic: TopicId) {
        if self.state != GroupState::Dead {
            let partitions: Vec<_> = self.offsets.of_topic(topic).into_iter().collect();
            self.append_deletions(step, &partitions);
        }
    }

    /// Deletes the group and its offsets, if it has no members; answers when that is durable.
    pub fn delete(&mut self, step: &mut Step<'_>, then: Then) -> Result<(), GroupError> {
        match self.state {
            GroupState::Empty if self.peers.is_empty() => {
                let record = GroupRecord::GroupDeleted { group: self.id.clone() };
                self.enter(GroupState::Dead, step.at.wall_ms);
                self.append(step, vec![record], then);
                Ok(())
            }
            GroupState::Dead => Err(GroupError::GroupNotFound),
            _ => Err(GroupError::NonEmptyGroup),
        }
    }

    /// Deletes the offsets that outlived their retention, and the group if nothing is left of it
    /// (KIP-211). A group of RocketMQ's goes on where it was, however long nobody was there.
    pub fn expire_offsets(
        &mut self,
        step: &mut Step<'_>,
        subscribes: impl Fn(&Self, TopicId) -> bool,
        is_of_rocketmq: bool,
    ) {
        if self.state == GroupState::Dead {
            return;
        }
        let expired = match is_of_rocketmq {
            true => Vec::new(),
            false => self.expired_offsets(step, subscribes),
        };
        let is_unused = self.state == GroupState::Empty
            && self.members.pending().is_empty()
            && self.peers.is_empty()
            && self.in_flight == 0;
        if is_unused && expired.len() == self.offsets.len() {
            self.delete(step, Then::Nothing).expect("it is empty");
        } else {
            self.append_deletions(step, &expired);
        }
    }

    fn expired_offsets(
        &self,
        step: &Step<'_>,
        subscribes: impl Fn(&Self, TopicId) -> bool,
    ) -> Vec<TopicPartition> {
        let is_simple = self.protocol_type.is_none();
        let is_empty = self.state == GroupState::Empty;
        let is_known = self.state == GroupState::Stable && self.subscribed.is_some();
        if !self.peers.is_empty() || (!is_simple && !is_empty && !is_known) {
            return Vec::new();
        }
        let retention_ms = ms(step.settings.offsets_retention);
        // Partitions come topic by topic: each is looked up once.
        let mut topic = None;
        self.offsets.expired(|partition, offset| {
            let subscribed = match topic {
                Some((id, subscribed)) if id == partition.topic => subscribed,
                _ => subscribes(self, partition.topic),
            };
            topic = Some((partition.topic, subscribed));
            let since_ms = match is_empty {
                true if is_simple => self.state_ms.max(offset.commit_ms),
                true => self.state_ms,
                false => offset.commit_ms,
            };
            let expire_ms = offset.expire_ms.unwrap_or(since_ms.saturating_add(retention_ms));
            !subscribed && step.at.wall_ms >= expire_ms
        })
    }

    fn append_deletions(&mut self, step: &mut Step<'_>, partitions: &[TopicPartition]) {
        if !partitions.is_empty() {
            let records = self.deletions(partitions);
            self.append(step, records, Then::Nothing);
        }
    }

    fn deletions(&self, partitions: &[TopicPartition]) -> Vec<GroupRecord> {
        let record = |partitions: &[_]| GroupRecord::OffsetsDeleted {
            group: self.id.clone(),
            partitions: partitions.to_vec(),
        };
        partitions.chunks(OFFSETS_PER_RECORD).map(record).collect()
    }

    /// Answers when `records` are durable; at once if there are none.
    fn append_or_reply(
        &mut self,
        step: &mut Step<'_>,
        records: Vec<GroupRecord>,
        token: ReplyToken,
        reply: Reply,
    ) {
        if records.is_empty() {
            step.reply(token, reply);
        } else {
            self.append(step, records, Then::Reply(token, reply));
        }
    }
}

/// Whole milliseconds.
fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
