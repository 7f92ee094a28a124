//! What leaves the coordinator: answers, and records on their way into the log.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    GroupId, GroupSettings, MemberId, Moment,
    record::GroupRecord,
    reply::{Reply, ReplyToken},
    timers::{TimerKey, Timers},
};
use crate::env::Random;

/// How much of its client's name a member id begins with, so that every version of Kafka's answers
/// can tell it.
const MEMBER_NAME_CHARS: usize = 1_000;

/// The coordinator's name for records it wants in the log; later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AppendToken(pub u64);

/// Records to append to the log, after those of all lesser tokens.
///
/// A prefix of them may survive a crash: each record stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// What to pass to [`super::Groups::committed`] once they are durable.
    pub token: AppendToken,
    /// The records, in their order.
    pub records: Arc<[GroupRecord]>,
}

/// What happens once records are durable, beyond their being applied.
#[derive(Debug)]
pub(super) enum Then {
    Nothing,
    /// A request is answered.
    Reply(ReplyToken, Reply),
    /// A generation's assignment stands.
    Assigned {
        generation: i32,
    },
    /// A returned static member is answered without a rebalance.
    StaticJoined {
        generation: i32,
        member: MemberId,
        answer: StaticAnswer,
    },
}

/// How a returned static member is told that nothing changed.
#[derive(Debug)]
pub(super) enum StaticAnswer {
    /// It may lead, and need not assign (KIP-814).
    SkipAssignment,
    /// It would assign if it believed that it leads, so it is told this leader: its former self,
    /// if it led.
    Leader(Option<MemberId>),
}

/// Records that the log has and is not known to have made durable.
#[derive(Debug)]
pub(super) struct InFlight {
    pub token: AppendToken,
    pub group: GroupId,
    pub records: Arc<[GroupRecord]>,
    pub then: Then,
}

/// Answers and records that wait to be taken, and records that wait to be durable.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pub replies: Vec<(ReplyToken, Reply)>,
    pub appends: Vec<Append>,
    pub in_flight: VecDeque<InFlight>,
    /// Who waits for the end of all records up to a token, in the order of these.
    settling: VecDeque<(AppendToken, ReplyToken)>,
    last: u64,
}

impl Outbox {
    pub fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.replies.push((token, reply));
    }

    pub fn append(&mut self, group: GroupId, records: Vec<GroupRecord>, then: Then) {
        self.last += 1;
        let token = AppendToken(self.last);
        let records: Arc<[GroupRecord]> = records.into();
        self.appends.push(Append { token, records: records.clone() });
        self.in_flight.push_back(InFlight { token, group, records, then });
    }

    /// Takes back records that are on their way, if they are.
    pub fn withdraw(&mut self, token: AppendToken) -> Option<InFlight> {
        let place = self.in_flight.binary_search_by_key(&token, |next| next.token).ok()?;
        self.in_flight.remove(place)
    }

    /// Answers once no record is on its way that is now.
    pub fn settle(&mut self, token: ReplyToken) {
        self.settling.push_back((self.last(), token));
        self.answer_settled();
    }

    /// Answers those who wait for no record any more. To be called whenever records have come to their
    /// end.
    pub fn answer_settled(&mut self) {
        let oldest = self.in_flight.front().map(|next| next.token);
        while let Some(&(through, token)) = self.settling.front()
            && oldest.is_none_or(|oldest| oldest > through)
        {
            self.settling.pop_front();
            self.reply(token, Reply::Settled);
        }
    }

    /// The token of the newest records.
    pub fn last(&self) -> AppendToken {
        AppendToken(self.last)
    }

    /// Answers once everything appended after `earlier` is durable.
    pub fn reply_after(&mut self, earlier: AppendToken, token: ReplyToken, reply: Reply) {
        match self.in_flight.back_mut() {
            Some(newest) if newest.token > earlier => {
                assert!(matches!(newest.then, Then::Nothing), "records have one consequence");
                newest.then = Then::Reply(token, reply);
            }
            _ => self.reply(token, reply),
        }
    }
}

/// What one call lends to the group it is about.
pub(super) struct Step<'a> {
    pub at: Moment,
    pub settings: &'a GroupSettings,
    pub random: &'a dyn Random,
    pub timers: &'a mut Timers,
    pub outbox: &'a mut Outbox,
}

impl Step<'_> {
    pub fn reply(&mut self, token: ReplyToken, reply: Reply) {
        self.outbox.reply(token, reply);
    }

    pub fn arm(&mut self, key: TimerKey, delay: Duration) {
        self.timers.arm(key, self.at.now, delay);
    }

    /// A new member id beginning with `name`.
    pub fn member_id(&self, name: &str) -> MemberId {
        let name: String = name.chars().take(MEMBER_NAME_CHARS).collect();
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes);
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
        format!("{name}-{uuid}").into()
    }
}
