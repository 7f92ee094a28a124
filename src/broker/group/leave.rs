//! LeaveGroup: members go, or are sent away by an administrator.

use tracing::info;

use super::{
    GroupError, Reply, ReplyToken,
    classic_group::{Group, GroupState},
    outbox::Step,
    request::LeavingMember,
};

impl Group {
    /// Removes members; answers when that is durable, if it emptied the group.
    pub fn leave(
        &mut self,
        step: &mut Step<'_>,
        leaving: &[LeavingMember<'_>],
        token: ReplyToken,
    ) -> Result<(), GroupError> {
        if self.state == GroupState::Dead {
            return Err(GroupError::CoordinatorNotAvailable);
        }
        let before = step.outbox.last();
        let members_before = self.members.len();
        let results = leaving.iter().map(|member| self.remove(step, member)).collect();
        if self.members.len() < members_before {
            self.rebalance_or_complete(step, "members left");
        } else {
            // A pending member may have been the last one waited for.
            self.complete_if_all_joined(step);
        }
        step.outbox.reply_after(before, token, Reply::Leave(Ok(results)));
        Ok(())
    }

    fn remove(
        &mut self,
        step: &mut Step<'_>,
        leaving: &LeavingMember<'_>,
    ) -> Result<(), GroupError> {
        let id = if leaving.member.is_empty() {
            let instance = leaving.instance.ok_or(GroupError::UnknownMember)?;
            self.members.of_instance(instance).cloned().ok_or(GroupError::UnknownMember)?
        } else if self.members.remove_pending(leaving.member) {
            step.timers.cancel(&self.session(&leaving.member.into()));
            return Ok(());
        } else {
            self.members.check(leaving.member, leaving.instance)?;
            leaving.member.into()
        };
        info!(group = %self.id, member = %id, reason = leaving.reason, "the member left");
        self.drop_member(step, &id);
        Ok(())
    }
}
