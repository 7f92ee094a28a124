//! Where topics and brokers are: routes, clusters, a broker's registration.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::TopicConfigSerializeWrapper;
use crate::wire::rocketmq::scalar::{number, or_default};

/// What `GET_ROUTEINFO_BY_TOPIC` (105) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicRouteData {
    /// The brokers that have the topic.
    pub broker_datas: Vec<BrokerData>,
    /// No broker has filter servers any more.
    #[serde(default, deserialize_with = "or_default")]
    pub filter_server_table: BTreeMap<String, Vec<String>>,
    /// `broker:queues;…` for ordered topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_topic_conf: Option<String>,
    /// How many queues each of them has.
    pub queue_datas: Vec<QueueData>,
}

/// The queues a broker has of a topic.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueueData {
    /// The broker's name.
    pub broker_name: String,
    /// 4 read, 2 write, 1 inherit.
    #[serde(deserialize_with = "number")]
    pub perm: i32,
    /// Queues to read.
    #[serde(deserialize_with = "number")]
    pub read_queue_nums: i32,
    /// Bit 0 a unit topic, bit 1 a unit's subscription.
    #[serde(default, deserialize_with = "number")]
    pub topic_sys_flag: i32,
    /// Queues to write.
    #[serde(deserialize_with = "number")]
    pub write_queue_nums: i32,
}

/// A broker and its replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerData {
    /// `ip:port` by id; 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The broker's name.
    pub broker_name: String,
    /// The cluster's name.
    pub cluster: String,
    /// Whether the lowest replica stands in for the master.
    #[serde(default, deserialize_with = "or_default")]
    pub enable_acting_master: bool,
    /// The zone's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_name: Option<String>,
}

/// What `GET_BROKER_CLUSTER_INFO` (106) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterInfo {
    /// By broker name.
    pub broker_addr_table: BTreeMap<String, BrokerData>,
    /// Broker names by cluster name.
    pub cluster_addr_table: BTreeMap<String, Vec<String>>,
}

/// The body of `REGISTER_BROKER` (103).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterBrokerBody {
    /// No broker has filter servers any more.
    #[serde(default, deserialize_with = "or_default")]
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    pub topic_config_serialize_wrapper: TopicConfigSerializeWrapper,
}

/// What `GET_BROKER_MEMBER_GROUP` (901) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetBrokerMemberGroupResponseBody {
    /// A broker's replicas.
    pub broker_member_group: BrokerMemberGroup,
}

/// A broker's replicas.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerMemberGroup {
    /// `ip:port` by id; 0 is the master.
    pub broker_addrs: BTreeMap<i64, String>,
    /// The broker's name.
    pub broker_name: String,
    /// The cluster's name.
    pub cluster: String,
}

/// Names and values: what 103, `GET_BROKER_RUNTIME_INFO` (28) and `GET_KVLIST_BY_NAMESPACE` (219) are
/// answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KvTable {
    /// The values by name.
    #[serde(default, deserialize_with = "or_default")]
    pub table: BTreeMap<String, String>,
}

/// What `GET_ALL_TOPIC_LIST_FROM_NAMESERVER` (206), `GET_TOPICS_BY_CLUSTER` (224),
/// `GET_SYSTEM_TOPIC_LIST_FROM_NS` (304), `GET_SYSTEM_TOPIC_LIST_FROM_BROKER` (305) and
/// `QUERY_TOPICS_BY_CONSUMER` (343) are answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicList {
    /// A broker that has them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broker_addr: Option<String>,
    /// The topics' names.
    pub topic_list: Vec<String>,
}
