//! Bodies as other clients than Java's write them, and broken ones. Java's are in `tests/rocketmq.rs`.

use super::*;
use crate::wire::WireError;

#[test]
fn other_clients_write_other_types() {
    let body = br#"{"clientID":"c","consumerDataSet":[{"groupName":"g","consumeType":1,
        "messageModel":"CLUSTERING","consumeFromWhere":"NEW","unitMode":null,"subscriptionDataSet":
        [{"topic":"t","subString":"a","subVersion":"17","codeSet":["97",98],"tagsSet":null,
        "expressionType":null,"more":{"x":[0]}}]}],"producerDataSet":null}"#;
    let heartbeat: HeartbeatData = from_json(body).unwrap();
    let consumer = &heartbeat.consumer_data_set[0];
    assert_eq!(consumer.consume_type, ConsumeType::Passively);
    assert_eq!(consumer.consume_from_where, ConsumeFromWhere::Unknown);
    let expected = SubscriptionData {
        code_set: vec![97, 98],
        sub_string: "a".to_owned(),
        sub_version: 17,
        topic: "t".to_owned(),
        ..SubscriptionData::default()
    };
    assert_eq!(consumer.subscription_data_set, [expected]);
}

#[test]
fn what_is_missing_is_named() {
    let refused = from_json::<HeartbeatData>(br#"{"producerDataSet":[{}]}"#);
    let Err(WireError::Json(reason)) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("groupName"), "{reason}");
    for body in [&b""[..], b"{", b"[]", br#"{"clientID":7}"#, b"\xff", br#"{"clientID":"c"}}"#] {
        assert!(from_json::<HeartbeatData>(body).is_err());
    }
}

#[test]
fn a_groups_config_has_javas_defaults() {
    let config: SubscriptionGroupConfig =
        from_json(br#"{"groupName":"g","retryMaxTimes":3,"groupRetryPolicy":{"type":"X"}}"#)
            .unwrap();
    assert_eq!((config.retry_max_times, config.retry_queue_nums), (3, 1));
    assert!(config.consume_enable);
}

#[test]
fn numbers_are_quoted_keys() {
    let broker =
        BrokerData { broker_addrs: [(0, "a:1".to_owned())].into(), ..BrokerData::default() };
    let json = to_json(&broker).unwrap();
    assert!(json.starts_with(br#"{"brokerAddrs":{"0":"a:1"}"#));
}
