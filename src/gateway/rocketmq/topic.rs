//! Topics as RocketMQ's clients may name, find and make them (`TopicValidator.java`).

use std::sync::Arc;

use super::{Gateway, RocketMqSettings, refusal::Refusal};
use crate::{
    cluster::{ControlPlane as _, Naming, NewTopic, Topic},
    wire::rocketmq::{ResponseCode, header::SendMessageRequest},
};

/// The topic whose route clients ask for when a topic has none: it tells where one may be created.
pub(super) const AUTO_CREATE_TOPIC: &str = "TBW102";

/// Where clients that trace write what became of their messages.
pub(super) const TRACE_TOPIC: &str = "RMQ_SYS_TRACE_TOPIC";

/// Topics that only the broker writes to.
const NOT_FOR_CLIENTS: [&str; 6] = [
    "SCHEDULE_TOPIC_XXXX",
    "RMQ_SYS_TRANS_HALF_TOPIC",
    "RMQ_SYS_TRANS_OP_HALF_TOPIC",
    "TRANS_CHECK_MAX_TIME_TOPIC",
    "SELF_TEST_TOPIC",
    "OFFSET_MOVED_EVENT",
];

/// Names of topics that are not users': those that clients may write to, and those they may not.
pub(super) fn system_topics(settings: &RocketMqSettings) -> Vec<String> {
    let for_clients = [AUTO_CREATE_TOPIC, TRACE_TOPIC];
    let fixed = for_clients.into_iter().chain(NOT_FOR_CLIENTS).map(str::to_owned);
    fixed.chain([reply_topic(settings)]).collect()
}

/// What a record has beside its body, at most: its properties, its topic, its fixed fields.
const BESIDE_BODY: u32 = 64 << 10;

/// Where replies to requests are sent. They are passed on and not stored, so that it is no topic but
/// has a route.
pub(super) fn reply_topic(settings: &RocketMqSettings) -> String {
    format!("{}_REPLY_TOPIC", settings.cluster_name)
}

/// How many queues a topic has that there is for clients before its first message.
pub(super) fn queues_unmade(settings: &RocketMqSettings, name: &str) -> Option<i32> {
    (name == TRACE_TOPIC || name == reply_topic(settings)).then_some(1)
}

/// Checks a topic that a client sends to.
pub(super) fn check_sending(name: &str) -> Result<(), Refusal> {
    Naming::RocketMq.check(name)?;
    if NOT_FOR_CLIENTS.contains(&name) {
        let remark = format!("Sending message to topic[{name}] is forbidden.");
        return Err(Refusal::new(ResponseCode::NoPermission, remark));
    }
    Ok(())
}

/// The topic of a send, which is made if client and config agree to it.
pub(super) async fn find_or_create(
    gateway: &Gateway,
    header: &SendMessageRequest<'_>,
) -> Result<Arc<Topic>, Refusal> {
    let broker = &gateway.broker;
    check_sending(header.topic)?;
    if let Some(topic) = broker.cluster().topic(header.topic) {
        return Ok(Arc::clone(topic));
    }
    let settings = &gateway.settings;
    let queues = match header.topic {
        TRACE_TOPIC => 1,
        // Topics of the broker's own (%RETRY%, %DLQ%, TBW102) are not made by clients.
        own if own.starts_with('%') || own == AUTO_CREATE_TOPIC => {
            return Err(Refusal::no_topic(own));
        }
        _ if settings.auto_create_topics && header.default_topic == AUTO_CREATE_TOPIC => {
            header.default_topic_queue_nums.clamp(1, settings.default_queues)
        }
        unknown => return Err(Refusal::no_topic(unknown)),
    };
    Ok(broker.ensure_topic(new_topic(settings, header.topic, queues)).await?)
}

/// A topic that takes messages as large as RocketMQ does.
pub(super) fn new_topic(settings: &RocketMqSettings, name: &str, queues: i32) -> NewTopic {
    let largest =
        settings.max_message_bytes.saturating_add(BESIDE_BODY).min(settings.largest_record);
    NewTopic {
        name: name.into(),
        naming: Naming::RocketMq,
        partitions: queues,
        replication_factor: -1,
        configs: vec![("max.message.bytes".into(), Some(largest.to_string().into()))],
        ..NewTopic::default()
    }
}
