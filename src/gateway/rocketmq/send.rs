//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320): messages into a queue, now or
//! later.

use std::{borrow::Cow, fmt::Write, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    Gateway, Handled, RocketMqSettings,
    client::Client,
    delay::{self, Schedule},
    message::{self, Later, Message},
    refusal::Refusal,
    retry::{self, RetryPolicy},
    send_back::SAYS_MAX_TIMES,
    topic,
};
use crate::{
    base::QueueId,
    broker::{AppendedBatch, filter::TagHash},
    cluster::{RETRY, Topic},
    gateway::answer::Answer,
    wire::rocketmq::{
        ExtFields, OffsetMessageId, RecallHandle, RemotingCommand, RequestCode, ResponseCode,
        SysFlag, TransactionType, UniqueId,
        batch::{BatchMessage, BatchMessages},
        header::{SendMessageRequest, SendMessageRequestV2, SendMessageResponse, beside},
        property::{self, Properties},
        record::{Record, RecordError, RecordVersion},
    },
};

/// What clients are told the broker's region is; they expect one.
pub(super) const REGION: &str = "DefaultRegion";

pub(super) async fn handle(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    let header = header(&command.fields)?;
    if SysFlag(header.sys_flag).transaction() != TransactionType::None {
        return Err(transaction());
    }
    let is_batch = command.code == RequestCode::SendBatchMessage.number();
    let is_batch = is_batch || header.batch == Some(true);
    if is_batch && header.topic.starts_with(RETRY) {
        let remark = format!("batch request does not support retry group {}", header.topic);
        return Err(Refusal::new(ResponseCode::MessageIllegal, remark));
    }
    let Destination { topic, is_dead } = destination(gateway, &header, command.version).await?;
    let queue_id = match header.queue_id {
        // The broker chooses.
        ..0 => (command.opaque.unsigned_abs() % topic.write_queues().max(1) as u32) as i32,
        _ if is_dead => 0,
        chosen => chosen,
    };
    if !topic.settings.rocketmq.writable {
        let remark = format!("the topic[{}] sending message is forbidden", topic.name);
        return Err(Refusal::new(ResponseCode::NoPermission, remark));
    }
    // So that those who do not know yet that there are fewer queues to write lose nothing.
    if queue_id >= topic.write_queues().max(topic.read_queues()) {
        return Err(Refusal::no_queue(&topic.name, queue_id));
    }
    let queue = topic.queue(queue_id).ok_or_else(|| Refusal::no_queue(&topic.name, queue_id))?;
    let place = Place { topic: &topic, queue_id, queue, is_dead };
    let properties = header.properties.unwrap_or_default();
    let properties = if is_batch { properties.into() } else { with_unique_id(gateway, properties) };
    let messages = if is_batch {
        let messages: Result<Vec<_>, _> = BatchMessages::new(&command.body).collect();
        messages.map_err(illegal)?
    } else {
        vec![BatchMessage { flag: header.flag, body: &command.body, properties: &properties }]
    };
    let unique_id = match messages.as_slice() {
        [] => return Err(Refusal::new(ResponseCode::MessageIllegal, "the batch is empty")),
        [one] => Properties::new(one.properties).get(property::UNIQ_KEY),
        _ => None,
    };
    let checked = messages.iter().map(|message| check(gateway, client, &header, &place, message));
    let checked: Vec<_> = checked.collect::<Result<_, _>>()?;
    if let Some(due_ms) = checked.iter().find_map(|message| message.due_ms) {
        if is_batch {
            // Java's client knows (`MessageBatch.generateFromList`), Go's does not.
            let remark = "batch request does not support delayed messages";
            return Err(Refusal::new(ResponseCode::MessageIllegal, remark));
        }
        return send_later(gateway, command, &place, unique_id, checked, due_ms).await;
    }
    let appended = message::append(gateway, queue, checked).await?;
    let ids = Ids { unique_id, recall: None };
    answer(gateway, command, queue, queue_id, &ids, &appended)
}

/// Stores a message that is due later, and tells how it can be recalled.
async fn send_later(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    place: &Place<'_>,
    unique_id: Option<&str>,
    mut checked: Vec<Message>,
    due_ms: i64,
) -> Handled {
    let id_hash = unique_id.map_or(command.opaque.unsigned_abs(), delay::id_hash);
    let (later, message) = (Later { due_ms, id_hash }, checked.remove(0));
    let (timers, stored) = message::schedule(gateway, place.queue, message, later).await?;
    let recall = unique_id.filter(|_| !place.topic.name.starts_with(RETRY)).map(|id| {
        let handle = RecallHandle {
            topic: place.topic.name.to_string(),
            broker_name: gateway.settings.broker_name.clone(),
            timestamp: due_ms.to_string(),
            message_id: id.to_owned(),
        };
        handle.to_string()
    });
    answer(gateway, command, timers, place.queue_id, &Ids { unique_id, recall }, &[stored])
}

/// Where a send goes.
struct Destination {
    topic: Arc<Topic>,
    /// To the dead letters, instead of another retry.
    is_dead: bool,
}

/// The topic a message is to be in, and its queue there.
struct Place<'a> {
    topic: &'a Topic,
    queue_id: i32,
    queue: QueueId,
    /// Dead letters do not wait.
    is_dead: bool,
}

/// The topic named; but a consumer's message that was tried too often goes to the dead letters
/// (`SendMessageProcessor.handleRetryAndDLQ`).
async fn destination(
    gateway: &Gateway,
    header: &SendMessageRequest<'_>,
    version: i32,
) -> Result<Destination, Refusal> {
    let Some(group) = header.topic.strip_prefix(RETRY) else {
        return Ok(Destination {
            topic: topic::find_or_create(gateway, header).await?,
            is_dead: false,
        });
    };
    let own = header.max_reconsume_times.filter(|_| version >= SAYS_MAX_TIMES);
    let max = own.unwrap_or(RetryPolicy::of(gateway, group).max_times);
    let broker = &gateway.broker;
    let of: Arc<str> = group.into();
    // A group that consumes in order does not get a message again behind later ones.
    let in_order = broker.on(broker.group_owner(group), move |owner| {
        Box::pin(async move { owner.has_locked_queues(&of) })
    });
    let is_dead = header.reconsume_times.unwrap_or(0) > max || in_order.await?;
    let topic = match is_dead {
        true => retry::dead_letters(gateway, group).await?,
        false => retry::retry_topic(gateway, group).await?,
    };
    Ok(Destination { topic, is_dead })
}

/// Go sends batches with the long names, Java with the short ones.
pub(super) fn header<'a>(fields: &'a ExtFields<'_>) -> Result<SendMessageRequest<'a>, Refusal> {
    Ok(match fields.get("producerGroup") {
        Some(_) => SendMessageRequest::parse(fields)?,
        None => SendMessageRequestV2::parse(fields)?.into(),
    })
}

/// Checks a message and writes its record.
fn check(
    gateway: &Gateway,
    client: &Client,
    header: &SendMessageRequest<'_>,
    place: &Place<'_>,
    message: &BatchMessage<'_>,
) -> Result<Message, Refusal> {
    if message.body.is_empty() {
        return Err(Refusal::new(ResponseCode::MessageIllegal, "the message has no body"));
    }
    let limit = gateway.settings.max_message_bytes;
    if message.body.len() > limit as usize {
        let remark =
            format!("the message body has {} bytes, the limit is {limit}", message.body.len());
        return Err(Refusal::new(ResponseCode::MessageIllegal, remark));
    }
    let mut checked = Message {
        record: Bytes::new(),
        tag_hash: TagHash::UNTAGGED,
        has_key: false,
        early: false,
        admitted: false,
        due_ms: None,
    };
    let (mut of_broker, mut of_timers) = (false, false);
    for (name, value) in Properties::new(message.properties) {
        match name {
            property::TRAN_MSG if value.eq_ignore_ascii_case("true") => return Err(transaction()),
            property::TAGS => checked.tag_hash = TagHash::of(Some(value)),
            property::KEYS => checked.has_key = true,
            property::WAIT => checked.early = value == "false",
            name if property::OF_BROKER.contains(&name) => of_broker = true,
            name => of_timers |= delay::is_of_timers(name),
        }
    }
    let schedule = of_timers.then(|| schedule(gateway, place, message.properties)).transpose()?;
    checked.due_ms = schedule.and_then(|schedule| schedule.due_ms);
    let properties = stored_properties(&gateway.settings, message.properties, of_broker, schedule);
    let record = Record {
        version: RecordVersion::of_topic(&place.topic.name),
        body_crc: 0,
        queue_id: place.queue_id,
        flag: message.flag,
        queue_offset: 0,
        physical_offset: 0,
        sys_flag: SysFlag(header.sys_flag),
        born_timestamp: header.born_timestamp,
        born_host: client.peer,
        store_timestamp: 0,
        store_host: gateway.settings.advertised,
        reconsume_times: header.reconsume_times.unwrap_or(0),
        prepared_transaction_offset: 0,
        body: message.body,
        topic: &place.topic.name,
        properties: &properties,
    };
    let mut bytes = BytesMut::with_capacity(record.encoded_bytes());
    record.encode(&mut bytes).map_err(illegal)?;
    checked.record = bytes.freeze();
    Ok(checked)
}

/// When a message whose properties speak of a time is to be delivered.
fn schedule(gateway: &Gateway, place: &Place<'_>, properties: &str) -> Result<Schedule, Refusal> {
    let now_ms = gateway.broker.env().clock.wall_ms();
    let schedule = Schedule::of(&gateway.settings, &Properties::new(properties), now_ms);
    if place.is_dead { Ok(schedule.unwrap_or_default().at_once()) } else { schedule }
}

/// What a message is stored with: what its client gave, but for what it is not delivered with, and for
/// what the broker sets.
fn stored_properties(
    settings: &RocketMqSettings,
    given: &str,
    of_broker: bool,
    schedule: Option<Schedule>,
) -> String {
    let mut block = String::with_capacity(given.len() + 96);
    if !of_broker && schedule.is_none() {
        block.push_str(given);
    } else {
        let schedule = schedule.unwrap_or_default();
        property::push_those(&mut block, given, |name| {
            schedule.keeps(name) && !property::OF_BROKER.contains(&name)
        });
        if let Some(out_ms) = schedule.out_ms() {
            property::push(&mut block, property::TIMER_OUT_MS, &out_ms.to_string());
        }
    }
    property::push(&mut block, property::MSG_REGION, REGION);
    property::push(&mut block, property::TRACE_ON, "true");
    property::push(&mut block, property::CLUSTER, &settings.cluster_name);
    block
}

/// Adds the id by which clients look a message up, if its own gave it none.
fn with_unique_id<'a>(gateway: &Gateway, properties: &'a str) -> Cow<'a, str> {
    if Properties::new(properties).get(property::UNIQ_KEY).is_some() {
        return Cow::Borrowed(properties);
    }
    let env = gateway.broker.env();
    let mut random = [0; 8];
    env.random.fill(&mut random);
    let ip = gateway.settings.advertised.ip();
    let id = UniqueId::new(ip, env.clock.wall_ms(), u64::from_ne_bytes(random));
    let mut block = properties.to_owned();
    property::push(&mut block, property::UNIQ_KEY, &id.to_string());
    Cow::Owned(block)
}

/// How a client may name what it sent.
struct Ids<'a> {
    unique_id: Option<&'a str>,
    recall: Option<String>,
}

fn answer(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    queue: QueueId,
    queue_id: i32,
    ids: &Ids<'_>,
    appended: &[AppendedBatch],
) -> Handled {
    let host = gateway.settings.advertised;
    let mut msg_id = String::with_capacity(appended.len() * (OffsetMessageId::DIGITS + 1));
    for message in appended {
        if !msg_id.is_empty() {
            msg_id.push(',');
        }
        let physical_offset = queue.locator(message.base_offset);
        let _ = write!(msg_id, "{}", OffsetMessageId { host, physical_offset });
    }
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let header = SendMessageResponse {
        msg_id: &msg_id,
        queue_id,
        queue_offset: appended.first().map_or(0, |message| message.base_offset),
        transaction_id: ids.unique_id,
        recall_handle: ids.recall.as_deref(),
        ..SendMessageResponse::default()
    };
    header.write(&mut answer.fields);
    push_beside(&mut answer.fields);
    let after = appended.iter().map(|message| message.answer_at).max();
    let waits_since = Some(gateway.broker.env().clock.monotonic());
    Ok(Answer { after: after.unwrap_or_default(), waits_since, ..super::encoded(&answer)? })
}

/// Beside an answer's fields clients look for these.
pub(super) fn push_beside(fields: &mut ExtFields<'_>) {
    fields.push(beside::MSG_REGION, REGION);
    fields.push(beside::TRACE_ON, "true");
}

fn transaction() -> Refusal {
    Refusal::new(ResponseCode::NoPermission, "transactional messages are not served yet")
}

fn illegal(error: RecordError) -> Refusal {
    Refusal::new(ResponseCode::MessageIllegal, error.to_string())
}
