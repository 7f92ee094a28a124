//! Why a request is not done, as RocketMQ's clients are told: a code and a remark.

use bytes::BytesMut;

use crate::{
    broker::{OffsetError, Stopping, SubscriptionError, group::GroupError},
    cluster::ClusterError,
    gateway::answer::Answer,
    wire::{
        WireError,
        rocketmq::{RemotingCommand, ResponseCode, header::FieldError},
    },
};

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: ResponseCode,
    /// Why, in a line.
    pub remark: String,
    /// The client got something wrong that no other state of the broker would make right.
    pub is_bad_input: bool,
}

/// Characters of a remark that are kept at its start and at its end.
const REMARK_ENDS: (usize, usize) = (700, 300);

impl Refusal {
    /// A remark may quote what the client sent, however long that is.
    pub(super) fn new(code: ResponseCode, remark: impl Into<String>) -> Self {
        let is_bad_input = matches!(
            code,
            ResponseCode::MessageIllegal
                | ResponseCode::SubscriptionParseFailed
                | ResponseCode::RequestCodeNotSupported
        );
        Self { code, remark: shortened(remark.into()), is_bad_input }
    }

    /// As [`Refusal::new`], of bad input whose code says other things, too.
    pub(super) fn bad_input(code: ResponseCode, remark: impl Into<String>) -> Self {
        Self { is_bad_input: true, ..Self::new(code, remark) }
    }

    pub(super) fn unknown(code: i32) -> Self {
        let remark = format!(" request type {code} not supported");
        Self::new(ResponseCode::RequestCodeNotSupported, remark)
    }

    pub(super) fn no_topic(topic: &str) -> Self {
        let remark = format!("topic[{topic}] not exist, apply first please!");
        Self::new(ResponseCode::TopicNotExist, remark)
    }

    pub(super) fn no_queue(topic: &str, queue: i32) -> Self {
        let remark = format!("queueId[{queue}] is illegal, topic:[{topic}]");
        Self::new(ResponseCode::InvalidParameter, remark)
    }

    /// The answer that tells it.
    ///
    /// # Errors
    /// A remark too long for the frame, which none is: see [`REMARK_ENDS`].
    pub(super) fn answer(self, request: &RemotingCommand<'_>) -> Result<Answer, WireError> {
        let mut answer = RemotingCommand::answer(request, self.code);
        answer.remark = Some(self.remark.into());
        let mut out = BytesMut::with_capacity(256);
        answer.encode(&mut out)?;
        Ok(Answer::now(out.freeze()))
    }
}

/// The start and the end of what is too long.
fn shortened(remark: String) -> String {
    let (start, end) = REMARK_ENDS;
    let count = remark.chars().count();
    if count <= start + end {
        return remark;
    }
    let first: String = remark.chars().take(start).collect();
    let last: String = remark.chars().skip(count - end).collect();
    format!("{first} ... {last}")
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::bad_input(ResponseCode::SystemError, error.to_string())
    }
}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        let refusal = Self::new(ResponseCode::SystemError, error.to_string());
        Self { is_bad_input: !matches!(error, WireError::Encode(_)), ..refusal }
    }
}

impl From<Stopping> for Refusal {
    fn from(error: Stopping) -> Self {
        Self::new(ResponseCode::ServiceNotAvailable, error.to_string())
    }
}

impl From<OffsetError> for Refusal {
    fn from(error: OffsetError) -> Self {
        Self::new(ResponseCode::SystemError, error.to_string())
    }
}

impl From<GroupError> for Refusal {
    fn from(error: GroupError) -> Self {
        match error {
            GroupError::InconsistentProtocol => Self::new(
                ResponseCode::NoPermission,
                "the group is active with Kafka's clients, and can only be used by them until they leave",
            ),
            GroupError::CoordinatorNotAvailable => {
                Self::new(ResponseCode::ServiceNotAvailable, error.to_string())
            }
            _ => Self::new(ResponseCode::SystemError, error.to_string()),
        }
    }
}

impl From<SubscriptionError> for Refusal {
    fn from(error: SubscriptionError) -> Self {
        let code = match error {
            SubscriptionError::Group(error) => return error.into(),
            SubscriptionError::NoMembers | SubscriptionError::NoSubscription => {
                ResponseCode::SubscriptionNotExist
            }
            SubscriptionError::NotLatest => ResponseCode::SubscriptionNotLatest,
            SubscriptionError::Unserved(_) => ResponseCode::SubscriptionParseFailed,
        };
        Self::new(code, error.to_string())
    }
}

impl From<ClusterError> for Refusal {
    fn from(error: ClusterError) -> Self {
        let code = match error {
            ClusterError::Unavailable { .. } => ResponseCode::ServiceNotAvailable,
            ClusterError::UnknownTopic { .. } => ResponseCode::TopicNotExist,
            ClusterError::InvalidName { .. } => ResponseCode::InvalidParameter,
            _ => ResponseCode::SystemError,
        };
        let is_bad_input = matches!(error, ClusterError::InvalidName { .. });
        Self { is_bad_input, ..Self::new(code, error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bad_input_does_not_depend_on_what_there_is() {
        let json = WireError::Json(String::new());
        let name = ClusterError::InvalidName { name: "a b".into(), reason: String::new() };
        for bad in
            [json.into(), name.into(), FieldError::Missing("topic").into(), Refusal::unknown(9)]
        {
            assert!(bad.is_bad_input, "{bad:?}");
        }
        let unwritten = WireError::Encode(String::new());
        let known = ClusterError::TopicExists { name: "orders".into() };
        let busy = Refusal::new(ResponseCode::SystemBusy, "");
        for other in [unwritten.into(), known.into(), busy, Refusal::no_topic("orders")] {
            assert!(!other.is_bad_input, "{other:?}");
        }
    }

    #[test]
    fn remarks_are_short_whatever_they_quote() {
        let remark = |topic: &str| Refusal::no_topic(topic).remark;
        assert_eq!(remark("orders"), "topic[orders] not exist, apply first please!");
        let long = remark(&"ä".repeat(1 << 20));
        assert!(
            long.starts_with("topic[ää") && long.ends_with("ää] not exist, apply first please!")
        );
        assert_eq!(long.chars().count(), REMARK_ENDS.0 + REMARK_ENDS.1 + " ... ".len());
    }
}
