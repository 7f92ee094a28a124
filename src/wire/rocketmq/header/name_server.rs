//! The NameServer: routes for clients, registration of brokers, its key-value store.

use super::headers;

headers! {
    /// `GET_ROUTEINFO_BY_TOPIC` (105).
    GetRouteInfoRequest<'a> {
        topic: &'a str = "topic",
        /// Whether map keys have to be strings; ours always are.
        accept_standard_json_only: Option<bool> = "acceptStandardJsonOnly",
    }

    /// `REGISTER_BROKER` (103); the body is a
    /// [`RegisterBrokerBody`](crate::wire::rocketmq::body::RegisterBrokerBody).
    RegisterBrokerRequest<'a> {
        broker_name: &'a str = "brokerName",
        /// `ip:port`.
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        ha_server_addr: &'a str = "haServerAddr",
        /// 0 for the master.
        broker_id: i64 = "brokerId",
        heartbeat_timeout_millis: Option<i64> = "heartbeatTimeoutMillis",
        enable_acting_master: Option<bool> = "enableActingMaster",
        /// Whether the body is deflated. False if missing.
        compressed: Option<bool> = "compressed",
        /// 0 or missing: not summed.
        body_crc32: Option<i32> = "bodyCrc32",
    }

    /// Its answer; the body is a [`KvTable`](crate::wire::rocketmq::body::KvTable) of the ordered
    /// topics.
    RegisterBrokerResponse<'a> {
        ha_server_addr: Option<&'a str> = "haServerAddr",
        master_addr: Option<&'a str> = "masterAddr",
    }

    /// `UNREGISTER_BROKER` (104) and `QUERY_DATA_VERSION` (322).
    BrokerRequest<'a> {
        broker_name: &'a str = "brokerName",
        broker_addr: &'a str = "brokerAddr",
        cluster_name: &'a str = "clusterName",
        broker_id: i64 = "brokerId",
    }

    /// What 322 is answered with; the body is the NameServer's
    /// [`DataVersion`](crate::wire::rocketmq::body::DataVersion).
    QueryDataVersionResponse {
        changed: bool = "changed",
    }

    /// `BROKER_HEARTBEAT` (904), one-way.
    BrokerHeartbeatRequest<'a> {
        cluster_name: &'a str = "clusterName",
        broker_addr: &'a str = "brokerAddr",
        broker_name: &'a str = "brokerName",
        broker_id: Option<i64> = "brokerId",
        epoch: Option<i32> = "epoch",
        max_offset: Option<i64> = "maxOffset",
        confirm_offset: Option<i64> = "confirmOffset",
        heartbeat_timeout_mills: Option<i64> = "heartbeatTimeoutMills",
        election_priority: Option<i32> = "electionPriority",
    }

    /// `EXCHANGE_BROKER_HA_INFO` (906), and its answer.
    ExchangeHaInfo<'a> {
        master_ha_address: Option<&'a str> = "masterHaAddress",
        master_flush_offset: Option<i64> = "masterFlushOffset",
        master_address: Option<&'a str> = "masterAddress",
    }

    /// `GET_BROKER_MEMBER_GROUP` (901).
    GetBrokerMemberGroupRequest<'a> {
        cluster_name: &'a str = "clusterName",
        broker_name: &'a str = "brokerName",
    }

    /// `PUT_KV_CONFIG` (100).
    PutKvConfigRequest<'a> {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
        value: &'a str = "value",
    }

    /// `GET_KV_CONFIG` (101) and `DELETE_KV_CONFIG` (102).
    KvConfigRequest<'a> {
        namespace: &'a str = "namespace",
        key: &'a str = "key",
    }

    /// What 101 is answered with.
    GetKvConfigResponse<'a> {
        value: Option<&'a str> = "value",
    }

    /// `GET_KVLIST_BY_NAMESPACE` (219).
    NamespaceRequest<'a> {
        namespace: &'a str = "namespace",
    }

    /// `DELETE_TOPIC_IN_NAMESRV` (216).
    DeleteTopicFromNamesrvRequest<'a> {
        topic: &'a str = "topic",
        cluster_name: Option<&'a str> = "clusterName",
    }

    /// `GET_TOPICS_BY_CLUSTER` (224).
    GetTopicsByClusterRequest<'a> {
        cluster: &'a str = "cluster",
    }

    /// `WIPE_WRITE_PERM_OF_BROKER` (205) and `ADD_WRITE_PERM_OF_BROKER` (327).
    WritePermRequest<'a> {
        broker_name: &'a str = "brokerName",
    }

    /// What 205 is answered with.
    WipeWritePermResponse {
        wipe_topic_count: i32 = "wipeTopicCount",
    }

    /// What 327 is answered with.
    AddWritePermResponse {
        add_topic_count: i32 = "addTopicCount",
    }
}
