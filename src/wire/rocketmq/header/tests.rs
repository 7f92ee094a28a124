//! Typed headers both ways, and fields that are missing or malformed.

use proptest::option;
use proptest::prelude::*;

use super::*;

fn fields<'a>(pairs: &[(&'a str, &'a str)]) -> ExtFields<'a> {
    let mut fields = ExtFields::new();
    pairs.iter().for_each(|&(name, value)| fields.push(name, value));
    fields
}

#[test]
fn an_error_names_the_field() {
    let mut given = fields(&[("topic", "t"), ("queueId", "3"), ("unknown", "x")]);
    assert_eq!(SearchOffsetRequest::parse(&given), Err(FieldError::Missing("timestamp")));
    for value in ["", "1e3", "9223372036854775808", " 1"] {
        given.push("timestamp", value);
        let malformed = FieldError::Malformed { name: "timestamp", expected: "64-bit integer" };
        assert_eq!(SearchOffsetRequest::parse(&given), Err(malformed));
    }
    given.push("timestamp", "+5");
    let parsed = SearchOffsetRequest::parse(&given).unwrap();
    let expected =
        SearchOffsetRequest { topic: "t", queue_id: 3, timestamp: 5, boundary_type: None };
    assert_eq!(parsed, expected);
    let optional = FieldError::Malformed { name: "maxMsgBytes", expected: "32-bit integer" };
    assert_eq!(Option::<i32>::parse("maxMsgBytes", Some("x")), Err(optional));
    assert_eq!(optional.to_string(), "the custom field <maxMsgBytes> is no 32-bit integer");
}

#[test]
fn a_boolean_is_whether_it_says_true() {
    for (value, expected) in [("true", true), ("TRUE", true), ("1", false), ("", false)] {
        let given = fields(&[("topic", "t"), ("queueId", "0"), ("committed", value)]);
        assert_eq!(GetMaxOffsetRequest::parse(&given).unwrap().committed, Some(expected));
    }
}

/// What RocketMQ's own classes say of their fields; `tests/interop/rocketmq` prints it.
const GOLDEN: &str = include_str!("../../../../tests/wire_golden/rocketmq-5.5.0.txt");

/// Fields of lite topics (5.5), which this broker has none of.
const LEFT_OUT: [&str; 1] = ["liteTopic"];

struct JavaField {
    name: String,
    java_type: String,
    mandatory: bool,
}

impl JavaField {
    /// A value that no narrower type takes.
    fn value(&self) -> &'static str {
        match self.java_type.to_ascii_lowercase().as_str() {
            "string" => "text",
            "boundarytype" => "LOWER",
            "int" | "integer" => "-2147483648",
            "long" => "-9223372036854775808",
            "boolean" => "true",
            other => panic!("{}: {other}", self.name),
        }
    }
}

fn java_fields(class: &str) -> Vec<JavaField> {
    let line = GOLDEN.lines().find_map(|line| line.strip_prefix(&format!("fields.{class} ")));
    let hex = line.unwrap_or_else(|| panic!("no {class}"));
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let text = String::from_utf8((0..hex.len()).step_by(2).map(byte).collect()).unwrap();
    let field = |field: &str| {
        let (name, java_type) = field.split_once(' ').unwrap();
        let (mandatory, name) = (name.starts_with('*'), name.trim_start_matches('*'));
        JavaField { name: name.to_owned(), java_type: java_type.to_owned(), mandatory }
    };
    let fields = text.split(',').map(field);
    fields.filter(|field| !LEFT_OUT.contains(&field.name.as_str())).collect()
}

type Reading = Result<Vec<(String, String)>, FieldError>;

/// Holds a table against a class: it knows all its fields and no others, takes the whole range of
/// their types and nothing else, and misses those that must not be null.
fn check(class: &str, read: impl Fn(&ExtFields<'_>) -> Reading) {
    let java = java_fields(class);
    let given = |changed: &str, value: Option<&'static str>| {
        let mut fields = ExtFields::new();
        for field in &java {
            let value = if field.name == changed { value } else { Some(field.value()) };
            if let Some(value) = value {
                fields.push(field.name.clone(), value);
            }
        }
        read(&fields)
    };
    let mut written = given("", None).unwrap_or_else(|error| panic!("{class}: {error}"));
    let mut expected: Vec<_> =
        java.iter().map(|field| (field.name.clone(), field.value().to_owned())).collect();
    written.sort();
    expected.sort();
    assert_eq!(written, expected, "{class}");
    for field in &java {
        if field.mandatory {
            let missing = given(&field.name, None);
            assert!(matches!(missing, Err(FieldError::Missing(name)) if name == field.name));
        }
        let beyond = match field.value() {
            "-2147483648" => "-2147483649",
            "-9223372036854775808" => "-9223372036854775809",
            _ => continue,
        };
        let malformed = given(&field.name, Some(beyond));
        assert!(matches!(malformed, Err(FieldError::Malformed { name, .. }) if name == field.name));
    }
}

#[test]
fn the_tables_are_javas() {
    macro_rules! check {
        ($($header:ident: $($class:literal)*;)*) => {$($(
            check($class, |fields| {
                let header = $header::parse(fields)?;
                let mut written = ExtFields::new();
                header.write(&mut written);
                Ok(written.iter().map(|(name, value)| (name.into(), value.into())).collect())
            });
        )*)*};
    }
    check! {
        SendMessageRequest: "SendMessageRequestHeader";
        SendMessageRequestV2: "SendMessageRequestHeaderV2";
        SendMessageResponse: "SendMessageResponseHeader";
        ReplyMessageRequest: "ReplyMessageRequestHeader";
        RecallMessageRequest: "RecallMessageRequestHeader";
        RecallMessageResponse: "RecallMessageResponseHeader";
        EndTransactionRequest: "EndTransactionRequestHeader";
        PullMessageRequest: "PullMessageRequestHeader";
        PullMessageResponse: "PullMessageResponseHeader";
        QueryConsumerOffsetRequest: "QueryConsumerOffsetRequestHeader";
        UpdateConsumerOffsetRequest: "UpdateConsumerOffsetRequestHeader";
        OffsetResponse: "QueryConsumerOffsetResponseHeader" "SearchOffsetResponseHeader" "GetMaxOffsetResponseHeader" "GetMinOffsetResponseHeader";
        ConsumerSendMsgBackRequest: "ConsumerSendMsgBackRequestHeader";
        UnregisterClientRequest: "UnregisterClientRequestHeader";
        ConsumerGroupRequest: "GetConsumerListByGroupRequestHeader" "NotifyConsumerIdsChangedRequestHeader" "GetConsumerConnectionListRequestHeader";
        GetConsumerRunningInfoRequest: "GetConsumerRunningInfoRequestHeader";
        ConsumeMessageDirectlyRequest: "ConsumeMessageDirectlyResultRequestHeader";
        ResetOffsetRequest: "ResetOffsetRequestHeader";
        GetConsumerStatusRequest: "GetConsumerStatusRequestHeader";
        TopicQueueRequest: "GetMinOffsetRequestHeader" "GetEarliestMsgStoretimeRequestHeader";
        GetMaxOffsetRequest: "GetMaxOffsetRequestHeader";
        SearchOffsetRequest: "SearchOffsetRequestHeader";
        GetEarliestMsgStoretimeResponse: "GetEarliestMsgStoretimeResponseHeader";
        QueryMessageRequest: "QueryMessageRequestHeader";
        QueryMessageResponse: "QueryMessageResponseHeader";
        ViewMessageRequest: "ViewMessageRequestHeader";
        CreateTopicRequest: "CreateTopicRequestHeader";
        TopicRequest: "GetTopicStatsInfoRequestHeader" "DeleteTopicRequestHeader" "QueryTopicConsumeByWhoRequestHeader" "GetTopicConfigRequestHeader";
        DeleteSubscriptionGroupRequest: "DeleteSubscriptionGroupRequestHeader";
        ProducerGroupRequest: "GetProducerConnectionListRequestHeader";
        GroupRequest: "QueryTopicsByConsumerRequestHeader" "GetSubscriptionGroupConfigRequestHeader";
        GroupTopicRequest: "QueryConsumeTimeSpanRequestHeader" "QuerySubscriptionByConsumerRequestHeader";
        GetConsumeStatsRequest: "GetConsumeStatsRequestHeader";
        CloneGroupOffsetRequest: "CloneGroupOffsetRequestHeader";
        ViewBrokerStatsDataRequest: "ViewBrokerStatsDataRequestHeader";
        GetBrokerConfigResponse: "GetBrokerConfigResponseHeader";
        QueryConsumeQueueRequest: "QueryConsumeQueueRequestHeader";
        GetRouteInfoRequest: "namesrv.GetRouteInfoRequestHeader";
        RegisterBrokerRequest: "namesrv.RegisterBrokerRequestHeader";
        RegisterBrokerResponse: "namesrv.RegisterBrokerResponseHeader";
        BrokerRequest: "namesrv.UnRegisterBrokerRequestHeader" "namesrv.QueryDataVersionRequestHeader";
        QueryDataVersionResponse: "namesrv.QueryDataVersionResponseHeader";
        BrokerHeartbeatRequest: "namesrv.BrokerHeartbeatRequestHeader";
        ExchangeHaInfo: "ExchangeHAInfoRequestHeader" "ExchangeHAInfoResponseHeader";
        GetBrokerMemberGroupRequest: "GetBrokerMemberGroupRequestHeader";
        PutKvConfigRequest: "namesrv.PutKVConfigRequestHeader";
        KvConfigRequest: "namesrv.GetKVConfigRequestHeader" "namesrv.DeleteKVConfigRequestHeader";
        GetKvConfigResponse: "namesrv.GetKVConfigResponseHeader";
        NamespaceRequest: "namesrv.GetKVListByNamespaceRequestHeader";
        DeleteTopicFromNamesrvRequest: "namesrv.DeleteTopicFromNamesrvRequestHeader";
        GetTopicsByClusterRequest: "GetTopicsByClusterRequestHeader";
        WritePermRequest: "namesrv.WipeWritePermOfBrokerRequestHeader" "namesrv.AddWritePermOfBrokerRequestHeader";
        WipeWritePermResponse: "namesrv.WipeWritePermOfBrokerResponseHeader";
        AddWritePermResponse: "namesrv.AddWritePermOfBrokerResponseHeader";
    }
}

prop_compose! {
    fn send()(
        texts in prop::array::uniform4("\\PC{0,8}"),
        numbers in any::<[i32; 4]>(),
        born_timestamp in any::<i64>(),
        rest in (option::of("\\PC{0,8}"), any::<[Option<bool>; 2]>(), any::<[Option<i32>; 2]>()),
    ) -> ([String; 4], [i32; 4], i64, (Option<String>, [Option<bool>; 2], [Option<i32>; 2])) {
        (texts, numbers, born_timestamp, rest)
    }
}

proptest! {
    #[test]
    fn both_forms_of_a_send_return(send in send()) {
        let (texts, numbers, born_timestamp, (properties, flags, times)) = &send;
        let short = SendMessageRequestV2 {
            producer_group: &texts[0],
            topic: &texts[1],
            default_topic: &texts[2],
            default_topic_queue_nums: numbers[0],
            queue_id: numbers[1],
            sys_flag: numbers[2],
            born_timestamp: *born_timestamp,
            flag: numbers[3],
            properties: properties.as_deref(),
            reconsume_times: times[0],
            unit_mode: flags[0],
            max_reconsume_times: times[1],
            batch: flags[1],
            broker_name: Some(&texts[3]),
        };
        let mut fields = ExtFields::new();
        short.write(&mut fields);
        prop_assert_eq!(&SendMessageRequestV2::parse(&fields).unwrap(), &short);
        prop_assert!(SendMessageRequest::parse(&fields).is_err());

        let long = SendMessageRequest::from(short);
        let mut fields = ExtFields::new();
        long.write(&mut fields);
        prop_assert_eq!(SendMessageRequest::parse(&fields).unwrap(), long);
    }
}
