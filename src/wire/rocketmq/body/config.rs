//! The configs of topics and of consumer groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::IgnoredAny};

use crate::wire::rocketmq::java_enum::java_enum;
use crate::wire::rocketmq::scalar::{number, or_default};

java_enum! {
    /// How many tags a message may have (`TopicFilterType.java`).
    TopicFilterType {
        SingleTag "SINGLE_TAG",
        MultiTag "MULTI_TAG",
    }
}

/// `DataVersion.java`: tells a newer table from an older one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DataVersion {
    /// Counts the changes.
    #[serde(deserialize_with = "number")]
    pub counter: i64,
    /// The master's epoch.
    #[serde(deserialize_with = "number")]
    pub state_version: i64,
    /// Of the last change, ms.
    #[serde(deserialize_with = "number")]
    pub timestamp: i64,
}

/// `TopicConfig.java`: what `GET_TOPIC_CONFIG` (351) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfig {
    /// For instance `message.type`.
    #[serde(default, deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
    /// Whether it is an ordered topic.
    #[serde(default, deserialize_with = "or_default")]
    pub order: bool,
    /// 4 read, 2 write, 1 inherit.
    #[serde(deserialize_with = "number")]
    pub perm: i32,
    /// Queues to read.
    #[serde(deserialize_with = "number")]
    pub read_queue_nums: i32,
    /// How many tags a message may have.
    #[serde(default)]
    pub topic_filter_type: TopicFilterType,
    /// The name.
    pub topic_name: String,
    /// Bit 0 a unit topic, bit 1 a unit's subscription.
    #[serde(default, deserialize_with = "number")]
    pub topic_sys_flag: i32,
    /// Queues to write.
    #[serde(deserialize_with = "number")]
    pub write_queue_nums: i32,
}

/// The topics of a broker: in its registration (103), and what `GET_ALL_TOPIC_CONFIG` (21) is
/// answered with. Static topics are not known here.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicConfigSerializeWrapper {
    /// Of the topics.
    #[serde(default, deserialize_with = "or_default")]
    pub data_version: DataVersion,
    /// By name.
    #[serde(default, deserialize_with = "or_default")]
    pub topic_config_table: BTreeMap<String, TopicConfig>,
}

/// The body of `UPDATE_AND_CREATE_TOPIC_LIST` (18).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateTopicListRequestBody {
    /// The topics.
    pub topic_config_list: Vec<TopicConfig>,
}

/// `SubscriptionGroupConfig.java`: the body of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP` (200), and what
/// `GET_SUBSCRIPTIONGROUP_CONFIG` (352) is answered with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionGroupConfig {
    /// Settings beside the fields.
    #[serde(deserialize_with = "or_default")]
    pub attributes: BTreeMap<String, String>,
    /// The broker to read from.
    #[serde(deserialize_with = "number")]
    pub broker_id: i64,
    /// Whether it may broadcast.
    pub consume_broadcast_enable: bool,
    /// Whether it may consume at all.
    pub consume_enable: bool,
    /// Whether it may begin at the start.
    pub consume_from_min_enable: bool,
    /// Whether it consumes in order.
    pub consume_message_orderly: bool,
    /// How long a message may take, minutes.
    #[serde(deserialize_with = "number")]
    pub consume_timeout_minute: i32,
    /// The group.
    pub group_name: String,
    /// How it retries, if not as everybody else.
    #[serde(deserialize_with = "or_default", skip_serializing)]
    pub group_retry_policy: GroupRetryPolicy,
    /// Means nothing to this broker.
    #[serde(deserialize_with = "number")]
    pub group_sys_flag: i32,
    /// Whether members are told of each other.
    pub notify_consumer_ids_changed_enable: bool,
    /// After how many retries a message is a dead letter.
    #[serde(deserialize_with = "number")]
    pub retry_max_times: i32,
    /// Queues of the retry topic.
    #[serde(deserialize_with = "number")]
    pub retry_queue_nums: i32,
    /// The broker to read from when far behind.
    #[serde(deserialize_with = "number")]
    pub which_broker_when_consume_slowly: i64,
}

impl Default for SubscriptionGroupConfig {
    fn default() -> Self {
        Self {
            attributes: BTreeMap::new(),
            broker_id: 0,
            consume_broadcast_enable: true,
            consume_enable: true,
            consume_from_min_enable: true,
            consume_message_orderly: false,
            consume_timeout_minute: 15,
            group_name: String::new(),
            group_retry_policy: GroupRetryPolicy::default(),
            group_sys_flag: 0,
            notify_consumer_ids_changed_enable: true,
            retry_max_times: 16,
            retry_queue_nums: 1,
            which_broker_when_consume_slowly: 1,
        }
    }
}

/// `GroupRetryPolicy.java`: only whether there is one is looked at.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GroupRetryPolicy {
    /// Delays given one by one.
    pub customized_retry_policy: Option<IgnoredAny>,
    /// Delays that grow.
    pub exponential_retry_policy: Option<IgnoredAny>,
}

/// The body of `UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST` (225).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionGroupList {
    /// The groups.
    pub group_config_list: Vec<SubscriptionGroupConfig>,
}

/// What `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SubscriptionGroupWrapper {
    /// Of the groups.
    pub data_version: DataVersion,
    /// By name.
    pub subscription_group_table: BTreeMap<String, SubscriptionGroupConfig>,
}
