//! Queries: offsets by place and by time, messages by id and by key.

use super::headers;

headers! {
    /// `GET_MIN_OFFSET` (31) and `GET_EARLIEST_MSG_STORETIME` (32).
    TopicQueueRequest<'a> {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
    }

    /// `GET_MAX_OFFSET` (30).
    GetMaxOffsetRequest<'a> {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// True if missing.
        committed: Option<bool> = "committed",
    }

    /// `SEARCH_OFFSET_BY_TIMESTAMP` (29).
    SearchOffsetRequest<'a> {
        topic: &'a str = "topic",
        queue_id: i32 = "queueId",
        /// ms.
        timestamp: i64 = "timestamp",
        /// `LOWER` if missing, or `UPPER`, in either case.
        boundary_type: Option<&'a str> = "boundaryType",
    }

    /// What 32 is answered with.
    GetEarliestMsgStoretimeResponse {
        /// ms.
        timestamp: i64 = "timestamp",
    }

    /// `QUERY_MESSAGE` (12), by key or, with [`beside::UNIQUE_KEY_QUERY`](super::beside), by unique id.
    QueryMessageRequest<'a> {
        topic: &'a str = "topic",
        key: &'a str = "key",
        max_num: i32 = "maxNum",
        /// ms.
        begin_timestamp: i64 = "beginTimestamp",
        /// ms.
        end_timestamp: i64 = "endTimestamp",
        /// `K` for keys, `U` for unique ids, `T` for tags (5.4 and later).
        index_type: Option<&'a str> = "indexType",
        /// Where the last answer ended (5.4 and later).
        last_key: Option<&'a str> = "lastKey",
    }

    /// Its answer; the body is records end to end.
    QueryMessageResponse {
        /// ms.
        index_last_update_timestamp: i64 = "indexLastUpdateTimestamp",
        index_last_update_phyoffset: i64 = "indexLastUpdatePhyoffset",
    }

    /// `VIEW_MESSAGE_BY_ID` (33); the answer's body is one record.
    ViewMessageRequest<'a> {
        topic: Option<&'a str> = "topic",
        /// The record's physical offset.
        offset: i64 = "offset",
    }
}
