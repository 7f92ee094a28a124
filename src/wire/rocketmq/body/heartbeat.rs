//! What clients tell of themselves: `HEART_BEAT` (34) and `CHECK_CLIENT_CONFIG` (46).

use serde::{Deserialize, Serialize};

use crate::wire::rocketmq::java_enum::java_enum;
use crate::wire::rocketmq::scalar::{number, numbers, or_default};

java_enum! {
    /// Whether a consumer asks by itself (`ConsumeType.java`).
    ConsumeType {
        Actively "CONSUME_ACTIVELY",
        Passively "CONSUME_PASSIVELY",
        Pop "CONSUME_POP",
    }
}

java_enum! {
    /// Who of a group gets a message (`MessageModel.java`).
    MessageModel {
        Broadcasting "BROADCASTING",
        Clustering "CLUSTERING",
    }
}

java_enum! {
    /// Where a group without an offset begins (`ConsumeFromWhere.java`).
    ConsumeFromWhere {
        LastOffset "CONSUME_FROM_LAST_OFFSET",
        LastOffsetAndFromMinWhenBootFirst "CONSUME_FROM_LAST_OFFSET_AND_FROM_MIN_WHEN_BOOT_FIRST",
        MinOffset "CONSUME_FROM_MIN_OFFSET",
        MaxOffset "CONSUME_FROM_MAX_OFFSET",
        FirstOffset "CONSUME_FROM_FIRST_OFFSET",
        Timestamp "CONSUME_FROM_TIMESTAMP",
    }
}

/// `HeartbeatData.java`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatData {
    /// `ip@instance`, unique to the client.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// The groups it consumes in.
    #[serde(default, deserialize_with = "or_default")]
    pub consumer_data_set: Vec<ConsumerData>,
    /// A sum of the subscriptions; 0 from clients that always send all.
    #[serde(default, deserialize_with = "number")]
    pub heartbeat_fingerprint: i32,
    /// The groups it produces in.
    #[serde(default, deserialize_with = "or_default")]
    pub producer_data_set: Vec<ProducerData>,
    /// Whether subscriptions are left out, being those of the last heartbeat.
    #[serde(default, deserialize_with = "or_default")]
    pub without_sub: bool,
}

/// A group that a client produces in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerData {
    /// The group.
    pub group_name: String,
}

/// A group that a client consumes in.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerData {
    /// Where to begin.
    pub consume_from_where: ConsumeFromWhere,
    /// Whether it asks by itself.
    pub consume_type: ConsumeType,
    /// The group.
    pub group_name: String,
    /// Who gets a message.
    pub message_model: MessageModel,
    /// What it consumes.
    #[serde(default, deserialize_with = "or_default")]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Means nothing to this broker.
    #[serde(default, deserialize_with = "or_default")]
    pub unit_mode: bool,
}

/// A topic and what of it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionData {
    /// A filter class is meant, which no broker has any more.
    #[serde(default, deserialize_with = "or_default")]
    pub class_filter_mode: bool,
    /// The tags' `String.hashCode()`s.
    #[serde(default, deserialize_with = "numbers")]
    pub code_set: Vec<i32>,
    /// `TAG` if none, or `SQL92`.
    #[serde(default)]
    pub expression_type: Option<String>,
    /// The expression: `*`, tags with `||` between, or SQL.
    pub sub_string: String,
    /// Rises with each change: the client's time, ms.
    #[serde(deserialize_with = "number")]
    pub sub_version: i64,
    /// The tags; none for all of them and for SQL.
    #[serde(default, deserialize_with = "or_default")]
    pub tags_set: Vec<String>,
    /// The topic.
    pub topic: String,
}

/// `CheckClientRequestBody.java`: asks whether a subscription will do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckClientRequestBody {
    /// The client.
    #[serde(default)]
    pub client_id: Option<String>,
    /// Its group.
    #[serde(default)]
    pub group: Option<String>,
    /// Its namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The subscription.
    pub subscription_data: SubscriptionData,
}
