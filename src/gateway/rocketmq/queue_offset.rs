//! SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30), GET_MIN_OFFSET (31),
//! GET_EARLIEST_MSG_STORETIME (32): a queue's offsets, and how far back it goes.

use super::{Gateway, Handled, encoded, refusal::Refusal};
use crate::{
    base::QueueId,
    broker::{OffsetError, OffsetSpec},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        header::{
            GetEarliestMsgStoretimeResponse, GetMaxOffsetRequest, OffsetResponse,
            SearchOffsetRequest, TopicQueueRequest,
        },
    },
};

/// The boundary type that is not the usual one.
const UPPER: &str = "UPPER";

/// What an empty queue's first message was stored at.
const NO_TIME: i64 = -1;

pub(super) async fn max(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetMaxOffsetRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
    find(gateway, command, queue, OffsetSpec::Latest).await
}

pub(super) async fn min(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicQueueRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
    find(gateway, command, queue, OffsetSpec::Earliest).await
}

/// The lower boundary is the first message stored at that time or later, and the queue's end where
/// there is none; the upper one the last message stored at that time or before, and the queue's start
/// where there is none.
pub(super) async fn search(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = SearchOffsetRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
    if asked.boundary_type.is_some_and(|kind| kind.eq_ignore_ascii_case(UPPER)) {
        let later = OffsetSpec::StoredAt(asked.timestamp.saturating_add(1));
        let behind = offset(gateway, queue, later).await?;
        let start = offset(gateway, queue, OffsetSpec::Earliest).await?;
        return answer(command, start.max(behind - 1));
    }
    find(gateway, command, queue, OffsetSpec::StoredAt(asked.timestamp)).await
}

/// When a queue's first message was stored.
pub(super) async fn earliest_time(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicQueueRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
    let broker = &gateway.broker;
    let stored = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            let (start, end) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            if start < end { owner.append_time(queue, start).await } else { Ok(None) }
        })
    });
    let timestamp = stored.await??.unwrap_or(NO_TIME);
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    GetEarliestMsgStoretimeResponse { timestamp }.write(&mut answer.fields);
    encoded(&answer)
}

async fn find(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    queue: QueueId,
    spec: OffsetSpec,
) -> Handled {
    answer(command, offset(gateway, queue, spec).await?)
}

/// The offset asked for; the queue's end where there is none.
async fn offset(gateway: &Gateway, queue: QueueId, spec: OffsetSpec) -> Result<i64, Refusal> {
    let broker = &gateway.broker;
    let found = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            match owner.find_offset(queue, spec).await {
                Ok(None) => owner.find_offset(queue, OffsetSpec::Latest).await,
                found => found,
            }
        })
    });
    Ok(found.await??.map_or(0, |found| found.offset))
}

fn answer(command: &RemotingCommand<'_>, offset: i64) -> Handled {
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    OffsetResponse { offset }.write(&mut answer.fields);
    encoded(&answer)
}
