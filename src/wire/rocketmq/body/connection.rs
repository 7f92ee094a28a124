//! Who is connected: members of groups, and where from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::heartbeat::{ConsumeFromWhere, ConsumeType, MessageModel, SubscriptionData};
use crate::wire::rocketmq::command::Language;

/// What `GET_CONSUMER_LIST_BY_GROUP` (38) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetConsumerListByGroupResponseBody {
    /// The members' client ids.
    pub consumer_id_list: Vec<String>,
}

/// What `QUERY_TOPIC_CONSUME_BY_WHO` (300) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupList {
    /// The groups' names.
    pub group_list: Vec<String>,
}

/// A client's connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `ip:port`.
    pub client_addr: String,
    /// The client.
    pub client_id: String,
    /// Its language.
    pub language: Language,
    /// Its version: an ordinal of `MQVersion.java`.
    pub version: i32,
}

/// What `GET_CONSUMER_CONNECTION_LIST` (203) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerConnection {
    /// The members.
    pub connection_set: Vec<Connection>,
    /// Where to begin.
    pub consume_from_where: ConsumeFromWhere,
    /// Whether they ask by themselves.
    pub consume_type: ConsumeType,
    /// Who gets a message.
    pub message_model: MessageModel,
    /// What they consume, by topic.
    pub subscription_table: BTreeMap<String, SubscriptionData>,
}

/// What `GET_PRODUCER_CONNECTION_LIST` (204) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerConnection {
    /// The producers.
    pub connection_set: Vec<Connection>,
}

/// What `GET_ALL_PRODUCER_INFO` (328) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerTableInfo {
    /// The producers by their groups.
    pub data: BTreeMap<String, Vec<ProducerInfo>>,
}

/// A producer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerInfo {
    /// The client.
    pub client_id: String,
    /// Its language.
    pub language: Language,
    /// When it was heard last, ms.
    pub last_update_timestamp: i64,
    /// `ip:port`.
    #[serde(rename = "remoteIP")]
    pub remote_ip: String,
    /// Its version: an ordinal of `MQVersion.java`.
    pub version: i32,
}

/// What `QUERY_SUBSCRIPTION_BY_CONSUMER` (345) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QuerySubscriptionResponseBody {
    /// The group.
    pub group: String,
    /// What it consumes of the topic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscription_data: Option<SubscriptionData>,
    /// The topic.
    pub topic: String,
}
