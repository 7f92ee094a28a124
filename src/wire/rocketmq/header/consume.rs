//! Consumers: pulling, offsets, group members, messages sent back.

use super::headers;

headers! {
    /// `PULL_MESSAGE` (11) and `LITE_PULL_MESSAGE` (361).
    PullMessageRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        queue_offset: i64 = "queueOffset",
        max_msg_nums: i32 = "maxMsgNums",
        /// See [`PullSysFlag`](crate::wire::rocketmq::PullSysFlag).
        sys_flag: i32 = "sysFlag",
        commit_offset: i64 = "commitOffset",
        /// How long an empty pull may be held, ms.
        suspend_timeout_millis: i64 = "suspendTimeoutMillis",
        subscription: Option<&'a str> = "subscription",
        /// The subscription's version: the client's time when it was made, ms.
        sub_version: i64 = "subVersion",
        /// `TAG` if missing, or `SQL92`.
        expression_type: Option<&'a str> = "expressionType",
        max_msg_bytes: Option<i32> = "maxMsgBytes",
        request_source: Option<i32> = "requestSource",
        proxy_forward_client_id: Option<&'a str> = "proxyFrowardClientId",
    }

    /// Its answer; the body is [`records`](crate::wire::rocketmq::record) end to end.
    PullMessageResponse {
        suggest_which_broker_id: i64 = "suggestWhichBrokerId",
        next_begin_offset: i64 = "nextBeginOffset",
        min_offset: i64 = "minOffset",
        max_offset: i64 = "maxOffset",
        offset_delta: Option<i64> = "offsetDelta",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
        forbidden_type: Option<i32> = "forbiddenType",
    }

    /// `QUERY_CONSUMER_OFFSET` (14).
    QueryConsumerOffsetRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// True if missing.
        set_zero_if_not_found: Option<bool> = "setZeroIfNotFound",
    }

    /// `UPDATE_CONSUMER_OFFSET` (15), mostly one-way.
    UpdateConsumerOffsetRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        commit_offset: i64 = "commitOffset",
    }

    /// What 14, 29, 30 and 31 are answered with.
    OffsetResponse {
        offset: i64 = "offset",
    }

    /// `CONSUMER_SEND_MSG_BACK` (36).
    ConsumerSendMsgBackRequest<'a> {
        /// The record's physical offset.
        offset: i64 = "offset",
        group: &'a str = "group",
        /// Negative: to the dead letters; 0: by how often it was consumed.
        delay_level: i32 = "delayLevel",
        origin_msg_id: Option<&'a str> = "originMsgId",
        origin_topic: Option<&'a str> = "originTopic",
        unit_mode: Option<bool> = "unitMode",
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }

    /// `UNREGISTER_CLIENT` (35).
    UnregisterClientRequest<'a> {
        client_id: &'a str = "clientID",
        producer_group: Option<&'a str> = "producerGroup",
        consumer_group: Option<&'a str> = "consumerGroup",
    }

    /// `GET_CONSUMER_LIST_BY_GROUP` (38), `NOTIFY_CONSUMER_IDS_CHANGED` (40, from the broker), and
    /// `GET_CONSUMER_CONNECTION_LIST` (203).
    ConsumerGroupRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
    }

    /// `GET_CONSUMER_RUNNING_INFO` (307): to the broker, and on to the consumer.
    GetConsumerRunningInfoRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        client_id: &'a str = "clientId",
        jstack_enable: Option<bool> = "jstackEnable",
    }

    /// `CONSUME_MESSAGE_DIRECTLY` (309): to the broker, and on to the consumer with the record.
    ConsumeMessageDirectlyRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        client_id: Option<&'a str> = "clientId",
        msg_id: Option<&'a str> = "msgId",
        broker_name: Option<&'a str> = "brokerName",
        topic: Option<&'a str> = "topic",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        group_sys_flag: Option<i32> = "groupSysFlag",
    }

    /// `RESET_CONSUMER_CLIENT_OFFSET` (220, from the broker) and `INVOKE_BROKER_TO_RESET_OFFSET` (222).
    ResetOffsetRequest<'a> {
        topic: &'a str = "topic",
        group: &'a str = "group",
        /// -1 or missing: all queues.
        queue_id: Option<i32> = "queueId",
        /// Instead of a time, for one queue.
        offset: Option<i64> = "offset",
        /// ms; -1 for the latest.
        timestamp: i64 = "timestamp",
        is_force: bool = "isForce",
    }

    /// `GET_CONSUMER_STATUS_FROM_CLIENT` (221, from the broker) and
    /// `INVOKE_BROKER_TO_GET_CONSUMER_STATUS` (223).
    GetConsumerStatusRequest<'a> {
        topic: &'a str = "topic",
        group: &'a str = "group",
        client_addr: Option<&'a str> = "clientAddr",
    }
}
