//! Producers: sending, replying, recalling, ending a transaction.

use super::headers;

headers! {
    /// `SEND_MESSAGE` (10), `SEND_REPLY_MESSAGE` (324), and Go's `SEND_BATCH_MESSAGE` (320): the long
    /// names. The body is the message's, or a batch ([`batch`](crate::wire::rocketmq::batch)).
    SendMessageRequest<'a> {
        producer_group: &'a str = "producerGroup",
        topic: &'a str = "topic",
        /// The topic whose settings a new topic takes: `TBW102`.
        default_topic: &'a str = "defaultTopic",
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        /// Negative: the broker chooses.
        queue_id: i32 = "queueId",
        /// See [`SysFlag`](crate::wire::rocketmq::SysFlag).
        sys_flag: i32 = "sysFlag",
        /// The producer's time, ms.
        born_timestamp: i64 = "bornTimestamp",
        /// The user's; means nothing to a broker.
        flag: i32 = "flag",
        /// See [`property`](crate::wire::rocketmq::property).
        properties: Option<&'a str> = "properties",
        reconsume_times: Option<i32> = "reconsumeTimes",
        unit_mode: Option<bool> = "unitMode",
        batch: Option<bool> = "batch",
        max_reconsume_times: Option<i32> = "maxReconsumeTimes",
    }

    /// `SEND_MESSAGE_V2` (310), `SEND_REPLY_MESSAGE_V2` (325), and Java's `SEND_BATCH_MESSAGE` (320):
    /// the same with names of one letter.
    SendMessageRequestV2<'a> {
        producer_group: &'a str = "a",
        topic: &'a str = "b",
        default_topic: &'a str = "c",
        default_topic_queue_nums: i32 = "d",
        queue_id: i32 = "e",
        sys_flag: i32 = "f",
        born_timestamp: i64 = "g",
        flag: i32 = "h",
        properties: Option<&'a str> = "i",
        reconsume_times: Option<i32> = "j",
        unit_mode: Option<bool> = "k",
        max_reconsume_times: Option<i32> = "l",
        batch: Option<bool> = "m",
        broker_name: Option<&'a str> = "n",
    }

    /// What all sends are answered with; [`beside::MSG_REGION`](super::beside) and `TRACE_ON` have to
    /// be beside it.
    SendMessageResponse<'a> {
        /// The offsetMsgId; of a batch all of them, with commas between.
        msg_id: &'a str = "msgId",
        queue_id: i32 = "queueId",
        /// Of a batch the first message's.
        queue_offset: i64 = "queueOffset",
        /// The unique id.
        transaction_id: Option<&'a str> = "transactionId",
        batch_uniq_id: Option<&'a str> = "batchUniqId",
        /// See [`RecallHandle`](crate::wire::rocketmq::RecallHandle); of delayed messages only.
        recall_handle: Option<&'a str> = "recallHandle",
    }

    /// `PUSH_REPLY_MESSAGE_TO_CLIENT` (326), from the broker to whoever asked.
    ReplyMessageRequest<'a> {
        producer_group: &'a str = "producerGroup",
        topic: &'a str = "topic",
        default_topic: &'a str = "defaultTopic",
        default_topic_queue_nums: i32 = "defaultTopicQueueNums",
        queue_id: i32 = "queueId",
        sys_flag: i32 = "sysFlag",
        born_timestamp: i64 = "bornTimestamp",
        flag: i32 = "flag",
        properties: Option<&'a str> = "properties",
        reconsume_times: Option<i32> = "reconsumeTimes",
        unit_mode: Option<bool> = "unitMode",
        /// `ip:port`.
        born_host: &'a str = "bornHost",
        /// `ip:port`.
        store_host: &'a str = "storeHost",
        store_timestamp: i64 = "storeTimestamp",
    }

    /// `RECALL_MESSAGE` (370).
    RecallMessageRequest<'a> {
        producer_group: Option<&'a str> = "producerGroup",
        topic: &'a str = "topic",
        /// See [`RecallHandle`](crate::wire::rocketmq::RecallHandle).
        recall_handle: &'a str = "recallHandle",
    }

    /// Its answer.
    RecallMessageResponse<'a> {
        msg_id: &'a str = "msgId",
    }

    /// `END_TRANSACTION` (37), one-way.
    EndTransactionRequest<'a> {
        topic: Option<&'a str> = "topic",
        producer_group: &'a str = "producerGroup",
        /// The half message's queue offset.
        tran_state_table_offset: i64 = "tranStateTableOffset",
        /// The half message's physical offset.
        commit_log_offset: i64 = "commitLogOffset",
        /// 0 unknown, 8 commit, 12 rollback.
        commit_or_rollback: i32 = "commitOrRollback",
        /// False if missing.
        from_transaction_check: Option<bool> = "fromTransactionCheck",
        msg_id: &'a str = "msgId",
        transaction_id: Option<&'a str> = "transactionId",
    }
}

impl<'a> From<SendMessageRequestV2<'a>> for SendMessageRequest<'a> {
    fn from(short: SendMessageRequestV2<'a>) -> Self {
        Self {
            producer_group: short.producer_group,
            topic: short.topic,
            default_topic: short.default_topic,
            default_topic_queue_nums: short.default_topic_queue_nums,
            queue_id: short.queue_id,
            sys_flag: short.sys_flag,
            born_timestamp: short.born_timestamp,
            flag: short.flag,
            properties: short.properties,
            reconsume_times: short.reconsume_times,
            unit_mode: short.unit_mode,
            batch: short.batch,
            max_reconsume_times: short.max_reconsume_times,
        }
    }
}
