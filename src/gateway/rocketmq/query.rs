//! QUERY_MESSAGE (12) and VIEW_MESSAGE_BY_ID (33): messages by key, by unique id, by offsetMsgId.

use bytes::{Bytes, BytesMut};

use super::{Gateway, Handled, encoded, refusal::Refusal};
use crate::{
    base::QueueId,
    broker::{KeyQuery, ReadError},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        header::{QueryMessageRequest, QueryMessageResponse, ViewMessageRequest, beside},
        record::Record,
    },
};

/// Most messages of an answer, as in RocketMQ (`maxMsgsNumBatch`).
const MESSAGES_MAX: i32 = 64;

/// Bytes of an answer's messages: what Java's clients read has to fit in 16 MiB.
const BYTES_MAX: usize = 15 << 20;

pub(super) async fn by_key(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = QueryMessageRequest::parse(&command.fields)?;
    if asked.index_type == Some("T") {
        return Err(Refusal::new(ResponseCode::SystemError, "messages are not found by tag"));
    }
    let unique = command.fields.get(beside::UNIQUE_KEY_QUERY) == Some("true");
    let query = KeyQuery {
        topic: gateway.topic(asked.topic)?,
        key: asked.key.into(),
        unique: unique || asked.index_type == Some("U"),
        times_ms: asked.begin_timestamp..=asked.end_timestamp,
        max: asked.max_num.clamp(1, MESSAGES_MAX) as usize,
    };
    let found = gateway.broker.messages_with_key(query).await?;
    let Some(newest) = found.first().and_then(|record| Record::parse(record).ok()) else {
        let remark = "can not find message, maybe time range not correct";
        return Err(Refusal::new(ResponseCode::QueryNotFound, remark));
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let header = QueryMessageResponse {
        index_last_update_timestamp: newest.store_timestamp,
        index_last_update_phyoffset: newest.physical_offset,
    };
    header.write(&mut answer.fields);
    answer.body = end_to_end(&found);
    encoded(&answer)
}

/// As many records as an answer may have; always the first.
fn end_to_end(records: &[Bytes]) -> Bytes {
    let mut bytes = BytesMut::new();
    for record in records {
        if !bytes.is_empty() && bytes.len() + record.len() > BYTES_MAX {
            break;
        }
        bytes.extend_from_slice(record);
    }
    bytes.freeze()
}

pub(super) async fn view(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ViewMessageRequest::parse(&command.fields)?;
    let not_found = || {
        let remark = format!("can not find message by the offset, {}", asked.offset);
        Refusal::new(ResponseCode::SystemError, remark)
    };
    let (queue, offset) = QueueId::of_locator(asked.offset).ok_or_else(not_found)?;
    let broker = &gateway.broker;
    let found = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            match owner.message_at(queue, offset).await {
                // Who sent a message for later was told where it waits.
                Err(ReadError::UnknownQueue) => owner.waiting_message_at(queue, offset).await,
                found => found,
            }
        })
    });
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = found.await?.ok().flatten().ok_or_else(not_found)?;
    encoded(&answer)
}
