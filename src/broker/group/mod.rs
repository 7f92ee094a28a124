//! The group coordinator: Kafka's classic groups and everybody's committed offsets, and who consumes in
//! the groups that RocketMQ's clients divide among themselves.
//!
//! [`Groups`] is a value without clock, disk or tasks. Calls say what time it is; what has to be
//! durable comes out of [`Groups::take_appends`] and goes back in through [`Groups::committed`] once
//! it is; answers come out of [`Groups::take_replies`]; [`Groups::next_deadline`] says when
//! [`Groups::tick`] has something to do. The same calls make the same run.
//!
//! ```text
//!            first member joins            delay or timeout over, or all joined
//!   Empty ─────────────────────▶ PreparingRebalance ──────────────────▶ CompletingRebalance
//!     ▲  ◀── nobody is left ──────┘  ▲        ▲   a member joins, leaves or falls silent │
//!     │ nothing left to keep         │        └──────────────────────────────────────────┤
//!     ▼                              └────────────── Stable ◀── assignment is durable ───┘
//!   Dead
//! ```
//!
//! Invariants:
//! - Membership lives in memory; what a record says of it (a generation with its assignment, a
//!   replaced static member, an emptied group) is answered only when the record is durable.
//! - Offsets are read as committed, never as assigned (they apply in log order, when durable).
//! - One generation has one assignment: a second one of the leader's is not written.
//! - Every [`ReplyToken`] comes back exactly once.
//! - Metadata and assignments are opaque, but for the topic names of a consumer's subscription.

mod classic_group;
mod commit;
mod error;
mod groups;
mod join;
mod leave;
mod member;
mod members;
mod offsets;
mod outbox;
mod peers;
mod rebalance;
mod record;
mod reply;
mod request;
mod settings;
mod subscription;
mod sync;
mod timers;
mod view;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

pub use classic_group::GroupState;
pub use error::GroupError;
pub use groups::{Groups, TopicNames};
pub use outbox::{Append, AppendToken};
pub use record::{
    CommittedOffset, GroupMetadata, GroupRecord, MemberMetadata, Protocol, TopicPartition,
};
pub use reply::{Joined, JoinedMember, Reply, ReplyToken, Synced};
pub use request::{CommitRequest, JoinRequest, LeavingMember, OffsetToCommit, Sender, SyncRequest};
pub use settings::GroupSettings;
pub use view::{GroupDescription, ListedGroup, MemberDescription};

/// A group's name.
pub type GroupId = Arc<str>;

/// A member's name, given by the coordinator: `{client id or group instance id}-{uuid}`.
pub type MemberId = Arc<str>;

/// When a call is made, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Time since an arbitrary moment in the past, for timeouts. Never goes back.
    pub now: Duration,
    /// Wall-clock milliseconds since 1970, for what outlives a restart.
    pub wall_ms: i64,
}
