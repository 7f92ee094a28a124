//! A message on its way into the log: to its queue at once, or to a timer queue before.

use bytes::Bytes;

use super::{Gateway, refusal::Refusal};
use crate::{
    base::QueueId,
    broker::{AppendError, AppendedBatch, MessageToAppend, TimerToAppend, filter::TagHash},
    wire::rocketmq::{OffsetMessageId, ResponseCode, command::HEADER_BYTES_MAX},
};

/// A message that passed every check and waits for its queue's owner.
pub(super) struct Message {
    pub record: Bytes,
    pub tag_hash: TagHash,
    pub has_key: bool,
    pub early: bool,
    /// It is in the log already, so that its topic's limits do not count.
    pub admitted: bool,
    /// When it is due by what its properties said, in milliseconds since 1970; none if it is at once.
    pub due_ms: Option<i64>,
}

impl Message {
    fn lend(&self) -> MessageToAppend<'_> {
        let Self { record, tag_hash, has_key, early, admitted, .. } = self;
        MessageToAppend {
            record,
            tag_hash: *tag_hash,
            has_key: *has_key,
            early: *early,
            admitted: *admitted,
        }
    }
}

/// When a message is to be delivered, and the hash of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Later {
    pub due_ms: i64,
    pub id_hash: u32,
}

/// Bytes of an answer's header beside the ids of the messages that were stored.
const BESIDE_IDS: usize = 8 << 10;

/// Checks that an answer can name so many messages.
fn check_count(gateway: &Gateway, count: usize) -> Result<(), Refusal> {
    let id = OffsetMessageId { host: gateway.settings.advertised, physical_offset: 0 };
    let most = (HEADER_BYTES_MAX - BESIDE_IDS) / (id.to_string().len() + ",".len());
    if count <= most {
        return Ok(());
    }
    let remark = format!("the batch has {count} messages, allowed are {most}");
    Err(Refusal::new(ResponseCode::MessageIllegal, remark))
}

/// Gives messages to their queue's owner, in order: all are stored, or none is.
pub(super) async fn append(
    gateway: &Gateway,
    queue: QueueId,
    messages: Vec<Message>,
) -> Result<Vec<AppendedBatch>, Refusal> {
    if messages.len() > 1 {
        check_count(gateway, messages.len())?;
    }
    let (broker, stall) = (&gateway.broker, gateway.settings.stall_answer);
    let appended = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            if let [one] = messages.as_slice() {
                let appended = owner.append_message_when_free(queue, &one.lend(), stall).await;
                return appended.map(|appended| vec![appended]);
            }
            let lent: Vec<_> = messages.iter().map(Message::lend).collect();
            owner.append_messages_when_free(queue, &lent, stall).await
        })
    });
    Ok(appended.await??)
}

/// Stores a message that comes to its queue later, and says in which timer queue.
pub(super) async fn schedule(
    gateway: &Gateway,
    queue: QueueId,
    message: Message,
    later: Later,
) -> Result<(QueueId, AppendedBatch), Refusal> {
    let (broker, stall) = (&gateway.broker, gateway.settings.stall_answer);
    let Later { due_ms, id_hash } = later;
    let id = broker.timer_queue(id_hash).await?;
    let stored = broker.on(broker.owner(id), move |owner| {
        Box::pin(async move {
            let timer = TimerToAppend { queue, due_ms, id_hash, message: message.lend() };
            owner.schedule_when_free(id, &timer, stall).await
        })
    });
    Ok((id, stored.await??))
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::UnknownQueue => ResponseCode::TopicNotExist,
            AppendError::TooLarge { .. }
            | AppendError::BatchTooLong { .. }
            | AppendError::Records(_) => ResponseCode::MessageIllegal,
            AppendError::Busy | AppendError::TooManyTimers => ResponseCode::SystemBusy,
            AppendError::NoTimerQueue(_) | AppendError::Storage(_) => {
                ResponseCode::ServiceNotAvailable
            }
            AppendError::Timestamp { .. } | AppendError::Sequence(_) => ResponseCode::SystemError,
        };
        Self::new(code, error.to_string())
    }
}
