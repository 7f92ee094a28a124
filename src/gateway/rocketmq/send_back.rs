//! CONSUMER_SEND_MSG_BACK (36): a consumer could not do with a message, and gets it again later.

use bytes::{Bytes, BytesMut};

use super::{
    Gateway, Handled, check_group, delay, encoded,
    message::{self, Later, Message},
    refusal::Refusal,
    retry::{self, RetryPolicy},
};
use crate::{
    base::QueueId,
    broker::filter::TagHash,
    gateway::answer::Answer,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        header::ConsumerSendMsgBackRequest,
        property,
        record::{Record, RecordVersion},
    },
};

/// Clients from this version on (3.4.9) say by themselves how often is enough.
pub(super) const SAYS_MAX_TIMES: i32 = 121;

/// What is added to how often a message was consumed: the first retry is of level 3.
const FIRST_LEVEL: i32 = 3;

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ConsumerSendMsgBackRequest::parse(&command.fields)?;
    check_group(asked.group)?;
    let policy = RetryPolicy::of(gateway, asked.group);
    // As RocketMQ has it: such a group wants nothing again.
    if policy.queues == 0 {
        return encoded(&RemotingCommand::answer(command, ResponseCode::Success));
    }
    let topic = retry::retry_topic(gateway, asked.group).await?;
    let stored = original(gateway, asked.offset).await?;
    let record = Record::parse(&stored).map_err(|error| not_found(asked.offset, error))?;
    let own = asked.max_reconsume_times.filter(|_| command.version >= SAYS_MAX_TIMES);
    let is_dead =
        asked.delay_level < 0 || record.reconsume_times >= own.unwrap_or(policy.max_times);
    let level = match asked.delay_level {
        0 => FIRST_LEVEL.saturating_add(record.reconsume_times),
        chosen => chosen,
    };
    let topic = if is_dead { retry::dead_letters(gateway, asked.group).await? } else { topic };
    // One that is read: a topic keeps the partitions that an administrator takes away.
    let queues = topic.write_queues().min(topic.read_queues()).max(1);
    let queue_id = (command.opaque.unsigned_abs() % queues.unsigned_abs()) as i32;
    let queue = topic.queue(queue_id).ok_or_else(|| Refusal::no_queue(&topic.name, queue_id))?;
    let again = sent_back(gateway, &record, &topic.name, queue_id)?;
    let delay = delay::delay_of_level(&gateway.settings, level).filter(|_| !is_dead);
    let appended = match delay {
        None => message::append(gateway, queue, vec![again]).await?.remove(0),
        Some(delay) => {
            let now_ms = gateway.broker.env().clock.wall_ms();
            let due_ms = now_ms + delay.as_millis() as i64;
            let id_hash = match record.properties().get(property::UNIQ_KEY) {
                Some(id) => delay::id_hash(id),
                None => command.opaque.unsigned_abs(),
            };
            message::schedule(gateway, queue, again, Later { due_ms, id_hash }).await?.1
        }
    };
    let answer = encoded(&RemotingCommand::answer(command, ResponseCode::Success))?;
    Ok(Answer { after: appended.answer_at, ..answer })
}

/// The message as it was stored, by what names it to clients.
async fn original(gateway: &Gateway, locator: i64) -> Result<Bytes, Refusal> {
    let (queue, offset) =
        QueueId::of_locator(locator).ok_or_else(|| not_found(locator, "it names no message"))?;
    let broker = &gateway.broker;
    let stored = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move { owner.message_at(queue, offset).await })
    });
    let stored = stored.await?.map_err(|error| not_found(locator, error))?;
    stored.ok_or_else(|| not_found(locator, "it is not in the log"))
}

/// The message as its group gets it again.
fn sent_back(
    gateway: &Gateway,
    original: &Record<'_>,
    topic: &str,
    queue_id: i32,
) -> Result<Message, Refusal> {
    let mut properties = String::with_capacity(original.properties.len() + 128);
    let known = original.properties();
    property::push_those(&mut properties, original.properties, |name| !delay::is_of_timers(name));
    if known.get(property::RETRY_TOPIC).is_none() {
        property::push(&mut properties, property::RETRY_TOPIC, original.topic);
    }
    if known.get(property::ORIGIN_MESSAGE_ID).is_none() {
        let id = original.offset_message_id().to_string();
        property::push(&mut properties, property::ORIGIN_MESSAGE_ID, &id);
    }
    let again = Record {
        version: RecordVersion::of_topic(topic),
        queue_id,
        queue_offset: 0,
        physical_offset: 0,
        store_timestamp: 0,
        store_host: gateway.settings.advertised,
        reconsume_times: original.reconsume_times.saturating_add(1),
        prepared_transaction_offset: 0,
        topic,
        properties: &properties,
        ..original.clone()
    };
    let mut record = BytesMut::with_capacity(again.encoded_bytes());
    let written = again.encode(&mut record);
    written.map_err(|error| Refusal::new(ResponseCode::MessageIllegal, error.to_string()))?;
    Ok(Message {
        record: record.freeze(),
        tag_hash: TagHash::of(known.get(property::TAGS)),
        has_key: known.get(property::KEYS).is_some(),
        early: false,
        admitted: true,
        due_ms: None,
    })
}

fn not_found(locator: i64, why: impl std::fmt::Display) -> Refusal {
    let remark = format!("look message by offset failed, {locator}: {why}");
    Refusal::new(ResponseCode::SystemError, remark)
}
