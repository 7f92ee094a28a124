//! The broker's config, altered while it runs under the names Kafka's tools know.

use kafka_protocol::{
    messages::{
        DescribeConfigsRequest, DescribeLogDirsRequest, IncrementalAlterConfigsRequest,
        describe_configs_request::DescribeConfigsResource,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
    },
    protocol::StrBytes,
};
use mainstem::wire::kafka::BatchBuilder;

use super::{
    process::{BrokerProcess, DataDir, verified},
    topics::Administrator,
    wire::{Wire, produce},
};

const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_CONFIG: i16 = 40;

/// Sets a config of the broker; the error's code and text.
fn set(broker: &BrokerProcess, name: &'static str, value: &'static str) -> (i16, String) {
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(Some(StrBytes::from_static_str(value)));
    let resource = AlterConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(StrBytes::from_static_str("1"))
        .with_configs(vec![config]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = Wire::connect(&broker.kafka).ask(1, &request).responses.remove(0);
    (answer.error_code, answer.error_message.map(|text| text.to_string()).unwrap_or_default())
}

/// Sends a batch of about so many bytes; the error's code.
fn send(broker: &BrokerProcess, bytes: usize) -> i16 {
    let mut builder = BatchBuilder::new();
    builder.record(1_700_000_000_000, None, Some(&vec![b'x'; bytes]), &[]);
    let request = produce("orders", builder.build().unwrap().to_vec().into());
    let answer = Wire::connect(&broker.kafka).ask(9, &request);
    answer.responses[0].partition_responses[0].error_code
}

#[test]
fn what_new_topics_start_with_is_altered_live_and_the_rest_refused_by_name() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["topic.max_message_bytes=100KiB"]);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    assert_eq!((send(&broker, 50_000), send(&broker, 200_000)), (0, MESSAGE_TOO_LARGE));
    for (name, value) in
        [("message.max.bytes", "1000"), ("log.retention.ms", "-1"), ("log.retention.bytes", "-1")]
    {
        assert_eq!(set(&broker, name, value), (0, String::new()), "{name}");
    }
    assert_eq!((send(&broker, 500), send(&broker, 50_000)), (0, MESSAGE_TOO_LARGE));
    for name in ["num.partitions", "connections.max.idle.ms", "socket.request.max.bytes"] {
        let (code, text) = set(&broker, name, "5");
        assert_eq!(code, INVALID_CONFIG, "{name}");
        assert!(text.contains(name) && text.contains("restart"), "{text}");
    }
    let (code, text) = set(&broker, "topic.retention_ms", "5");
    assert!(code == INVALID_CONFIG && text.contains("topic.retention_ms"), "{text}");
    broker.stop();
    // It outweighs what the broker is started with.
    let broker = BrokerProcess::start(data.path(), &["topic.max_message_bytes=100KiB"]);
    assert_eq!((send(&broker, 500), send(&broker, 50_000)), (0, MESSAGE_TOO_LARGE));
    broker.stop();
    verified(data.path());
}

#[test]
fn the_log_has_one_directory_with_a_size() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut wire = Wire::connect(&broker.kafka);
    let told = wire.ask(4, &DescribeLogDirsRequest::default().with_topics(None)).results.remove(0);
    assert_eq!(told.log_dir.as_str(), data.path().join("log").to_str().unwrap());
    assert!(0 < told.usable_bytes && told.usable_bytes <= told.total_bytes, "{told:?}");
    let resource = DescribeConfigsResource::default()
        .with_resource_type(4)
        .with_resource_name(StrBytes::from_static_str("1"))
        .with_configuration_keys(Some(vec![StrBytes::from_static_str("log.dirs")]));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
    let config = wire.ask(4, &request).results.remove(0).configs.remove(0);
    assert_eq!(config.value, Some(told.log_dir));
    broker.stop();
}
