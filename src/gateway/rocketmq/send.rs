//! SEND_MESSAGE (10), SEND_MESSAGE_V2 (310), SEND_BATCH_MESSAGE (320): messages into a queue.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};

use super::{Gateway, Handled, client::Client, refusal::Refusal, route::AUTO_CREATE_TOPIC};
use crate::{
    base::QueueId,
    broker::{AppendError, AppendedBatch, Broker, MessageToAppend, filter::TagHash},
    cluster::{ClusterError, ControlPlane as _, Naming, NewTopic, Topic},
    gateway::answer::Answer,
    wire::rocketmq::{
        ExtFields, OffsetMessageId, RemotingCommand, RequestCode, ResponseCode, SysFlag,
        TransactionType,
        batch::{BatchMessage, BatchMessages},
        header::{SendMessageRequest, SendMessageRequestV2, SendMessageResponse, beside},
        property::{self, Properties},
        record::{Record, RecordError, RecordVersion},
    },
};

/// What clients are told the broker's region is; they expect one.
const REGION: &str = "DefaultRegion";

/// A message that passed every check and waits for its queue's owner.
struct Checked {
    record: Bytes,
    tag_hash: TagHash,
    has_key: bool,
    early: bool,
}

impl Checked {
    fn lend(&self) -> MessageToAppend<'_> {
        let Self { record, tag_hash, has_key, early } = self;
        let (tag_hash, has_key, early) = (*tag_hash, *has_key, *early);
        MessageToAppend { record, tag_hash, has_key, early }
    }
}

pub(super) async fn handle(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    let header = header(&command.fields)?;
    if SysFlag(header.sys_flag).transaction() != TransactionType::None {
        return Err(transaction());
    }
    let topic = topic(gateway, &header).await?;
    let queue_id = match header.queue_id {
        // The broker chooses.
        ..0 => (command.opaque.unsigned_abs() % topic.queues.len() as u32) as i32,
        chosen => chosen,
    };
    let queue = topic.queue(queue_id).ok_or_else(|| Refusal::no_queue(&topic.name, queue_id))?;
    let is_batch = command.code == RequestCode::SendBatchMessage.number();
    let messages = if is_batch || header.batch == Some(true) {
        let messages: Result<Vec<_>, _> = BatchMessages::new(&command.body).collect();
        messages.map_err(illegal)?
    } else {
        let properties = header.properties.unwrap_or_default();
        vec![BatchMessage { flag: header.flag, body: &command.body, properties }]
    };
    let unique_id = match messages.as_slice() {
        [] => return Err(Refusal::new(ResponseCode::MessageIllegal, "the batch is empty")),
        [one] => Properties::new(one.properties).get(property::UNIQ_KEY),
        _ => None,
    };
    let records = messages.iter().map(|message| check(gateway, client, &header, queue_id, message));
    let appended = append(gateway, queue, records.collect::<Result<_, _>>()?).await?;
    answer(gateway, command, queue, queue_id, unique_id, &appended)
}

/// Go sends batches with the long names, Java with the short ones.
fn header<'a>(fields: &'a ExtFields<'_>) -> Result<SendMessageRequest<'a>, Refusal> {
    Ok(match fields.get("producerGroup") {
        Some(_) => SendMessageRequest::parse(fields)?,
        None => SendMessageRequestV2::parse(fields)?.into(),
    })
}

/// The topic, which is created if client and config agree to it.
async fn topic(gateway: &Gateway, header: &SendMessageRequest<'_>) -> Result<Arc<Topic>, Refusal> {
    let broker = &gateway.broker;
    Naming::RocketMq.check(header.topic)?;
    if let Some(topic) = broker.cluster().topic(header.topic) {
        return Ok(Arc::clone(topic));
    }
    let settings = &gateway.settings;
    // Topics of the broker's own (%RETRY%, %DLQ%, TBW102) are not made by clients.
    let is_own = header.topic.starts_with('%') || header.topic == AUTO_CREATE_TOPIC;
    let agreed = settings.auto_create_topics && header.default_topic == AUTO_CREATE_TOPIC;
    if is_own || !agreed {
        return Err(Refusal::no_topic(header.topic));
    }
    let new = NewTopic {
        name: header.topic.into(),
        naming: Naming::RocketMq,
        partitions: header.default_topic_queue_nums.clamp(1, settings.default_queues),
        replication_factor: -1,
        ..NewTopic::default()
    };
    match broker.create_topics(&[new], false).await.remove(0) {
        // Another connection was faster.
        Err(ClusterError::TopicExists { name }) => {
            let cluster = broker.cluster();
            cluster.topic(&name).cloned().ok_or_else(|| Refusal::no_topic(header.topic))
        }
        created => Ok(created?),
    }
}

/// Checks a message and writes its record.
fn check(
    gateway: &Gateway,
    client: &Client,
    header: &SendMessageRequest<'_>,
    queue_id: i32,
    message: &BatchMessage<'_>,
) -> Result<Checked, Refusal> {
    let mut checked =
        Checked { record: Bytes::new(), tag_hash: TagHash::UNTAGGED, has_key: false, early: false };
    for (name, value) in Properties::new(message.properties) {
        match name {
            property::TRAN_MSG if value.eq_ignore_ascii_case("true") => return Err(transaction()),
            property::DELAY if value.trim() != "0" => return Err(delayed()),
            property::TIMER_DELAY_SEC | property::TIMER_DELAY_MS | property::TIMER_DELIVER_MS => {
                return Err(delayed());
            }
            property::TAGS => checked.tag_hash = TagHash::of(Some(value)),
            property::KEYS => checked.has_key = true,
            property::WAIT => checked.early = value == "false",
            _ => {}
        }
    }
    let mut properties = String::with_capacity(message.properties.len() + 32);
    properties.push_str(message.properties);
    property::push(&mut properties, property::CLUSTER, &gateway.settings.cluster_name);
    let record = Record {
        version: RecordVersion::of_topic(header.topic),
        body_crc: 0,
        queue_id,
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
        topic: header.topic,
        properties: &properties,
    };
    let mut bytes = BytesMut::with_capacity(record.encoded_bytes());
    record.encode(&mut bytes).map_err(illegal)?;
    checked.record = bytes.freeze();
    Ok(checked)
}

/// Gives the messages to their queue's owner, in order.
async fn append(
    gateway: &Gateway,
    queue: QueueId,
    messages: Vec<Checked>,
) -> Result<Vec<AppendedBatch>, Refusal> {
    let (broker, stall) = (&gateway.broker, gateway.settings.stall_answer);
    let appended = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            let mut appended = Vec::with_capacity(messages.len());
            for message in &messages {
                appended.push(append_one(&owner, queue, message, stall).await);
            }
            owner.log().wake_writer();
            appended.into_iter().collect::<Result<Vec<_>, _>>()
        })
    });
    appended.await?.map_err(|error| {
        let code = match &error {
            AppendError::UnknownQueue => ResponseCode::TopicNotExist,
            AppendError::TooLarge { .. } | AppendError::Records(_) => ResponseCode::MessageIllegal,
            AppendError::Busy => ResponseCode::SystemBusy,
            AppendError::Storage(_) => ResponseCode::ServiceNotAvailable,
            AppendError::Timestamp { .. } | AppendError::Sequence(_) => ResponseCode::SystemError,
        };
        Refusal::new(code, error.to_string())
    })
}

async fn append_one(
    owner: &Rc<Broker>,
    queue: QueueId,
    message: &Checked,
    stall: Duration,
) -> Result<AppendedBatch, AppendError> {
    match owner.append_message(queue, &message.lend()) {
        Err(AppendError::Busy) => {
            owner.append_message_when_free(queue, &message.lend(), stall).await
        }
        result => result,
    }
}

fn answer(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    queue: QueueId,
    queue_id: i32,
    unique_id: Option<&str>,
    appended: &[AppendedBatch],
) -> Handled {
    let host = gateway.settings.advertised;
    let ids = appended.iter().map(|message| {
        let physical_offset = queue.locator(message.base_offset);
        OffsetMessageId { host, physical_offset }.to_string()
    });
    let msg_id = ids.collect::<Vec<_>>().join(",");
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let header = SendMessageResponse {
        msg_id: &msg_id,
        queue_id,
        queue_offset: appended.first().map_or(0, |message| message.base_offset),
        transaction_id: unique_id,
        ..SendMessageResponse::default()
    };
    header.write(&mut answer.fields);
    answer.fields.push(beside::MSG_REGION, REGION);
    answer.fields.push(beside::TRACE_ON, "true");
    let after = appended.iter().map(|message| message.answer_at).max();
    let waits_since = Some(gateway.broker.env().clock.monotonic());
    Ok(Answer { after: after.unwrap_or_default(), waits_since, ..super::encoded(&answer)? })
}

fn transaction() -> Refusal {
    Refusal::new(ResponseCode::NoPermission, "transactional messages are not served yet")
}

fn delayed() -> Refusal {
    Refusal::new(ResponseCode::MessageIllegal, "delayed messages are not served yet")
}

fn illegal(error: RecordError) -> Refusal {
    Refusal::new(ResponseCode::MessageIllegal, error.to_string())
}
