//! mqadmin, and producers that create topics.

use super::headers;

headers! {
    /// `UPDATE_AND_CREATE_TOPIC` (17).
    CreateTopicRequest<'a> {
        topic: &'a str = "topic",
        default_topic: &'a str = "defaultTopic",
        read_queue_nums: i32 = "readQueueNums",
        write_queue_nums: i32 = "writeQueueNums",
        /// 4 read, 2 write, 1 inherit.
        perm: i32 = "perm",
        /// `SINGLE_TAG`.
        topic_filter_type: &'a str = "topicFilterType",
        topic_sys_flag: Option<i32> = "topicSysFlag",
        order: bool = "order",
        /// `+key=value` and `-key`, with commas between.
        attributes: Option<&'a str> = "attributes",
        force: Option<bool> = "force",
    }

    /// `GET_ALL_TOPIC_CONFIG` (21), by pages since 5.3.
    GetAllTopicConfigRequest {
        /// The first topic of the page.
        topic_seq: Option<i32> = "topicSeq",
        max_topic_num: Option<i32> = "maxTopicNum",
    }

    /// Its answer; the body is a
    /// [`TopicConfigSerializeWrapper`](crate::wire::rocketmq::body::TopicConfigSerializeWrapper).
    GetAllTopicConfigResponse {
        total_topic_num: i32 = "totalTopicNum",
    }

    /// `GET_ALL_SUBSCRIPTIONGROUP_CONFIG` (201), by pages since 5.3.
    GetAllSubscriptionGroupRequest {
        /// The first group of the page.
        group_seq: Option<i32> = "groupSeq",
        max_group_num: Option<i32> = "maxGroupNum",
    }

    /// Its answer; the body is a
    /// [`SubscriptionGroupWrapper`](crate::wire::rocketmq::body::SubscriptionGroupWrapper).
    GetAllSubscriptionGroupResponse {
        total_group_num: i32 = "totalGroupNum",
    }

    /// What asks about one topic: `GET_ROUTEINFO_BY_TOPIC` (105, but see
    /// [`GetRouteInfoRequest`](super::GetRouteInfoRequest)), `GET_TOPIC_STATS_INFO` (202),
    /// `DELETE_TOPIC_IN_BROKER` (215), `QUERY_TOPIC_CONSUME_BY_WHO` (300), `GET_TOPIC_CONFIG` (351).
    TopicRequest<'a> {
        topic: &'a str = "topic",
    }

    /// `DELETE_SUBSCRIPTIONGROUP` (207).
    DeleteSubscriptionGroupRequest<'a> {
        group_name: &'a str = "groupName",
        /// False if missing.
        clean_offset: Option<bool> = "cleanOffset",
    }

    /// `GET_PRODUCER_CONNECTION_LIST` (204).
    ProducerGroupRequest<'a> {
        producer_group: &'a str = "producerGroup",
    }

    /// `QUERY_TOPICS_BY_CONSUMER` (343) and `GET_SUBSCRIPTIONGROUP_CONFIG` (352).
    GroupRequest<'a> {
        group: &'a str = "group",
    }

    /// `QUERY_CONSUME_TIME_SPAN` (303) and `QUERY_SUBSCRIPTION_BY_CONSUMER` (345).
    GroupTopicRequest<'a> {
        group: &'a str = "group",
        topic: &'a str = "topic",
    }

    /// `GET_CONSUME_STATS` (208).
    GetConsumeStatsRequest<'a> {
        consumer_group: &'a str = "consumerGroup",
        /// Missing or empty: all topics that the group consumes.
        topic: Option<&'a str> = "topic",
        topic_list: Option<&'a str> = "topicList",
    }

    /// `CLONE_GROUP_OFFSET` (314).
    CloneGroupOffsetRequest<'a> {
        src_group: &'a str = "srcGroup",
        dest_group: &'a str = "destGroup",
        topic: Option<&'a str> = "topic",
        offline: Option<bool> = "offline",
    }

    /// `VIEW_BROKER_STATS_DATA` (315).
    ViewBrokerStatsDataRequest<'a> {
        stats_name: &'a str = "statsName",
        stats_key: &'a str = "statsKey",
    }

    /// What `GET_BROKER_CONFIG` (26) is answered with; the body is Java properties as text.
    GetBrokerConfigResponse<'a> {
        version: &'a str = "version",
    }

    /// `QUERY_CONSUME_QUEUE` (321).
    QueryConsumeQueueRequest<'a> {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        index: i64 = "index",
        count: i32 = "count",
        consumer_group: Option<&'a str> = "consumerGroup",
    }
}
