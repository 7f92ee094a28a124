//! SEARCH_OFFSET_BY_TIMESTAMP (29), GET_MAX_OFFSET (30), GET_MIN_OFFSET (31),
//! GET_EARLIEST_MSG_STORETIME (32): a queue's offsets, and how far back it goes.

use super::{Gateway, Handled, encoded};
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

/// The first message stored at that time or later; the queue's end where there is none. Times of
/// messages do not repeat here in a way that clients could tell its two boundaries apart by.
pub(super) async fn search(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = SearchOffsetRequest::parse(&command.fields)?;
    let queue = gateway.queue(asked.topic, asked.queue_id)?;
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
    let broker = &gateway.broker;
    let found = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            match owner.find_offset(queue, spec).await {
                Ok(None) => owner.find_offset(queue, OffsetSpec::Latest).await,
                found => found,
            }
        })
    });
    let offset = found.await??.map_or(0, |found| found.offset);
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    OffsetResponse { offset }.write(&mut answer.fields);
    encoded(&answer)
}
