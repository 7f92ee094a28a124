//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): messages out of a queue, as the log's own bytes.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;

use super::{Gateway, Handled, client::Client, encoded, refusal::Refusal};
use crate::{
    base::{Position, Stage},
    broker::{LogSlice, Pull, PullError, Pulled, filter::Filter},
    env::LocalFuture,
    gateway::answer::{Answer, Part},
    wire::rocketmq::{
        PullSysFlag, RemotingCommand, ResponseCode,
        body::SubscriptionData,
        header::{PullMessageRequest, PullMessageResponse},
    },
};

/// Bytes of an answer where the client does not say, as in RocketMQ.
const BYTES: i32 = 256 << 10;

/// Bytes of an answer, whatever the client says: what it reads has to fit in 16 MiB.
const BYTES_MAX: u64 = 4 << 20;

/// Longest that a pull is held, whatever the client says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What a consumer wants of a topic.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// These messages.
    Messages(Arc<Filter>),
    /// Something that is not served, and why.
    Unserved(String),
}

impl Wanted {
    /// By what a heartbeat says.
    pub(super) fn of_subscription(subscription: &SubscriptionData) -> Self {
        let expression = subscription.expression_type.as_deref();
        if subscription.class_filter_mode {
            return Self::Unserved("filter classes are not served, only tags".to_owned());
        }
        Self::of(expression, &subscription.sub_string)
    }

    /// By an expression: `*`, or tags with `||` between.
    fn of(expression_type: Option<&str>, expression: &str) -> Self {
        match expression_type {
            None | Some("TAG" | "") => match Filter::tags(expression) {
                Ok(filter) => Self::Messages(Arc::new(filter)),
                Err(error) => Self::Unserved(error.to_string()),
            },
            Some(other) => Self::Unserved(format!("{other} expressions are not served, only tags")),
        }
    }

    /// What is wanted, if it can be had.
    pub(super) fn filter(self) -> Result<Arc<Filter>, Refusal> {
        match self {
            Self::Messages(filter) => Ok(filter),
            Self::Unserved(why) => Err(Refusal::new(ResponseCode::SubscriptionParseFailed, why)),
        }
    }
}

/// Begins a pull.
pub(super) fn begin(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Result<LocalFuture<'static, Handled>, Refusal> {
    let asked = PullMessageRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
    let flags = PullSysFlag(asked.sys_flag);
    let wanted = match asked.subscription {
        Some(expression) if flags.has(PullSysFlag::SUBSCRIPTION) => {
            Wanted::of(asked.expression_type, expression)
        }
        // Who has not told yet, as after a restart, looks at tags by itself.
        _ => {
            let told = client.wanted(asked.consumer_group, asked.topic);
            told.unwrap_or_else(|| Wanted::Messages(Arc::new(Filter::All)))
        }
    };
    let held = u64::try_from(asked.suspend_timeout_millis).unwrap_or(0);
    let wait = match flags.has(PullSysFlag::SUSPEND) {
        true => Duration::from_millis(held).min(WAIT_MAX),
        false => Duration::ZERO,
    };
    let bytes = asked.max_msg_bytes.filter(|bytes| *bytes > 0).unwrap_or(BYTES);
    let pull = Pull {
        queue,
        offset: asked.queue_offset,
        messages_max: usize::try_from(asked.max_msg_nums).unwrap_or(1).max(1),
        bytes_max: u64::from(bytes.unsigned_abs()).min(BYTES_MAX),
        filter: wanted.filter()?,
        wait,
    };
    let (topic, answer) =
        (asked.topic.to_owned(), RemotingCommand::answer(command, ResponseCode::Success));
    Ok(Box::pin(async move { read(&gateway, &topic, pull, answer).await }))
}

async fn read(
    gateway: &Gateway,
    topic: &str,
    pull: Pull,
    mut answer: RemotingCommand<'static>,
) -> Handled {
    let broker = &gateway.broker;
    let (offset, owner) = (pull.offset, broker.owner(pull.queue));
    let pulled = broker.on(owner, |owner| Box::pin(async move { owner.pull(pull).await }));
    let (code, next_begin_offset, pulled) = match pulled.await? {
        Ok(pulled) if !pulled.slices.is_empty() => {
            (ResponseCode::Success, pulled.next_offset, pulled)
        }
        // Nothing of what is there matched; the next ones may.
        Ok(pulled) if pulled.next_offset > offset => {
            (ResponseCode::PullRetryImmediately, pulled.next_offset, pulled)
        }
        Ok(pulled) => (ResponseCode::PullNotFound, pulled.next_offset, pulled),
        Err(PullError::OutOfRange { log_start, high_watermark }) => {
            let next_offset = offset.clamp(log_start, high_watermark);
            let slices = Vec::new();
            let nothing = Pulled { log_start, high_watermark, next_offset, slices };
            (ResponseCode::PullOffsetMoved, next_offset, nothing)
        }
        Err(PullError::UnknownQueue) => return Err(Refusal::no_topic(topic)),
        Err(error) => {
            tracing::warn!(topic, offset, %error, "a pull cannot be answered");
            return Err(Refusal::new(ResponseCode::SystemError, error.to_string()));
        }
    };
    answer.code = code.number();
    let header = PullMessageResponse {
        suggest_which_broker_id: 0,
        next_begin_offset,
        min_offset: pulled.log_start,
        max_offset: pulled.high_watermark,
        offset_delta: Some(0),
        topic_sys_flag: Some(0),
        group_sys_flag: Some(0),
        forbidden_type: None,
    };
    header.write(&mut answer.fields);
    if pulled.slices.is_empty() {
        return encoded(&answer);
    }
    with_messages(gateway, &answer, &pulled.slices).await
}

/// Slices in the hot tail stay positions until they are sent; the others are read and verified now,
/// so that damage is this pull's error.
async fn with_messages(
    gateway: &Gateway,
    answer: &RemotingCommand<'_>,
    slices: &[LogSlice],
) -> Handled {
    let broker = &gateway.broker;
    let hot_from = broker.tail().start();
    let is_cold = |slice: &&LogSlice| slice.position < hot_from;
    let cold: Vec<LogSlice> = slices.iter().filter(is_cold).copied().collect();
    let mut loaded = broker.load(&cold).await.into_iter();
    let bytes = slices.iter().map(|slice| slice.length as usize).sum();
    let mut head = BytesMut::with_capacity(256);
    answer.encode_head(&mut head, bytes)?;
    let mut parts = Vec::with_capacity(slices.len() + 1);
    parts.push(Part::Bytes(head.freeze()));
    for slice in slices {
        parts.push(match is_cold(&slice) {
            true => {
                let bytes = loaded.next().expect("one for each cold slice");
                Part::Cold(bytes.map_err(|error| {
                    tracing::error!(%error, "messages cannot be read back");
                    Refusal::new(ResponseCode::SystemError, error.to_string())
                })?)
            }
            false => Part::Log { slice: *slice, sent: 0 },
        });
    }
    Ok(Answer { parts, after: Position(0), stage: Stage::Send, waits_since: None })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::filter::{TagHash, Verdict};

    #[test]
    fn expressions_are_tags_or_refused() {
        let verdict = |kind, expression, tag| {
            let filter = Wanted::of(kind, expression).filter().unwrap();
            filter.verdict(TagHash::of(tag))
        };
        for all in ["*", ""] {
            assert_eq!(verdict(None, all, None), Verdict::All, "{all:?}");
        }
        assert_eq!(verdict(Some("TAG"), " a b ||c|| ", Some("a b")), Verdict::All);
        assert_eq!(verdict(Some("TAG"), " a b ||c|| ", Some("b")), Verdict::None);
        let refusal = Wanted::of(Some("SQL92"), "a > 1").filter().unwrap_err();
        assert_eq!(refusal.code, ResponseCode::SubscriptionParseFailed);
        let by_class = SubscriptionData { class_filter_mode: true, ..SubscriptionData::default() };
        assert!(Wanted::of_subscription(&by_class).filter().is_err());
    }
}
