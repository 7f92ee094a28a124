//! RECALL_MESSAGE (370): a producer takes a delayed message back.

use super::{Gateway, Handled, delay, encoded, refusal::Refusal};
use crate::{
    cluster::{Naming, TIMERS_TOPIC},
    wire::rocketmq::{
        RecallHandle, RemotingCommand, ResponseCode,
        header::{RecallMessageRequest, RecallMessageResponse, beside},
        property,
        record::Record,
    },
};

/// Answered with success too if the message is not there any more, as RocketMQ does: who asks twice,
/// because an answer was lost, has what it wanted.
pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = RecallMessageRequest::parse(&command.fields)?;
    let known = gateway.broker.cluster().topic(asked.topic).is_some();
    if !known || Naming::RocketMq.check(asked.topic).is_err() {
        let remark = format!("recall failed, the topic[{}] not exist", asked.topic);
        return Err(Refusal::new(ResponseCode::TopicNotExist, remark));
    }
    let handle = RecallHandle::parse(asked.recall_handle)
        .ok_or_else(|| illegal("recall handle is invalid"))?;
    if handle.topic != asked.topic {
        return Err(illegal("recall failed, topic not match"));
    }
    if handle.broker_name != gateway.settings.broker_name {
        return Err(illegal("recall failed, broker service not available"));
    }
    let due_ms = handle.timestamp.parse().unwrap_or(-1_i64);
    let left_ms = due_ms.saturating_sub(gateway.broker.env().clock.wall_ms());
    if left_ms <= 0 {
        return Err(illegal("recall failed, timestamp invalid"));
    }
    recall(gateway, due_ms, handle.topic, handle.message_id.clone()).await?;
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    RecallMessageResponse { msg_id: &handle.message_id }.write(&mut answer.fields);
    answer.fields.push(beside::MSG_REGION, super::send::REGION);
    encoded(&answer)
}

async fn recall(gateway: &Gateway, due_ms: i64, topic: String, id: String) -> Result<(), Refusal> {
    let broker = &gateway.broker;
    if broker.cluster().topic(TIMERS_TOPIC).is_none() {
        return Ok(());
    }
    let id_hash = delay::id_hash(&id);
    let queue = broker.timer_queue(id_hash).await?;
    let recalled = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            let is_it = |message: &[u8]| {
                Record::parse(message).is_ok_and(|record| {
                    record.topic == topic
                        && record.properties().get(property::UNIQ_KEY) == Some(&id)
                })
            };
            owner.recall_timers(queue, due_ms, id_hash, is_it).await
        })
    });
    recalled.await??;
    Ok(())
}

fn illegal(remark: &str) -> Refusal {
    Refusal::new(ResponseCode::IllegalOperation, remark)
}
