//! Queues, what is locked of them, and how far they are written and read.

use serde::{Deserialize, Serialize};

use super::fastjson::Table;
use crate::wire::rocketmq::scalar::{number, or_default};

/// A queue of a broker's topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageQueue {
    /// The broker's name.
    pub broker_name: String,
    /// The queue.
    #[serde(deserialize_with = "number")]
    pub queue_id: i32,
    /// The topic.
    pub topic: String,
}

/// The body of `LOCK_BATCH_MQ` (41) and `UNLOCK_BATCH_MQ` (42).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockBatchRequestBody {
    /// The client.
    pub client_id: String,
    /// The group.
    pub consumer_group: String,
    /// The queues.
    #[serde(default, deserialize_with = "or_default")]
    pub mq_set: Vec<MessageQueue>,
    /// Not at the other brokers of a replicated group.
    #[serde(default, deserialize_with = "or_default")]
    pub only_this_broker: bool,
}

/// What 41 is answered with: the queues that the client holds now.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LockBatchResponseBody {
    /// The queues.
    #[serde(rename = "lockOKMQSet")]
    pub lock_ok_mq_set: Vec<MessageQueue>,
}

/// What `INVOKE_BROKER_TO_RESET_OFFSET` (222) is answered with, and the body of
/// `RESET_CONSUMER_CLIENT_OFFSET` (220).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResetOffsetBody {
    /// The queues' new offsets.
    pub offset_table: Table<MessageQueue, i64>,
}

/// What `GET_CONSUMER_STATUS_FROM_CLIENT` (221) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetConsumerStatusBody {
    /// The client's offsets.
    #[serde(default)]
    pub message_queue_table: Table<MessageQueue, i64>,
}

/// What `GET_CONSUME_STATS` (208) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumeStats {
    /// Messages a second.
    pub consume_tps: f64,
    /// How far each queue is written and read.
    pub offset_table: Table<MessageQueue, OffsetWrapper>,
}

/// How far a queue is written and read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OffsetWrapper {
    /// The queue's end.
    pub broker_offset: i64,
    /// What the group has committed.
    pub consumer_offset: i64,
    /// When the last consumed message was stored, ms.
    pub last_timestamp: i64,
    /// What the group has pulled.
    pub pull_offset: i64,
}

/// What `GET_TOPIC_STATS_INFO` (202) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicStatsTable {
    /// How far each queue is written.
    pub offset_table: Table<MessageQueue, TopicOffset>,
    /// Messages a second.
    #[serde(default)]
    pub topic_put_tps: f64,
}

/// How far a queue is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicOffset {
    /// When the last message was stored, ms.
    pub last_update_timestamp: i64,
    /// The end.
    pub max_offset: i64,
    /// The start.
    pub min_offset: i64,
}

/// What `QUERY_CONSUME_TIME_SPAN` (303) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryConsumeTimeSpanBody {
    /// One each queue.
    pub consume_time_span_set: Vec<QueueTimeSpan>,
}

/// The times of what a queue holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueTimeSpan {
    /// Of the last consumed message, ms.
    pub consume_time_stamp: i64,
    /// How long the next message waits already, ms.
    pub delay_time: i64,
    /// Of the last message, ms.
    pub max_time_stamp: i64,
    /// The queue.
    pub message_queue: MessageQueue,
    /// Of the first message, ms.
    pub min_time_stamp: i64,
}
