//! Topics, partitions, configs, records and offsets as administrators see them.

use futures_lite::future::block_on;
use kafka_protocol::{
    messages::{
        IncrementalAlterConfigsRequest, MetadataRequest, TopicName,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        metadata_request::MetadataRequestTopic,
    },
    protocol::StrBytes,
};
use rdkafka::{
    Offset,
    admin::{
        AlterConfig, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
    },
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    types::RDKafkaErrorCode as Code,
};

use super::{
    client::{Sender, Sent, config, offset_at, read_texts, send_one, watermarks},
    process::{BrokerProcess, DataDir, PATIENCE},
    topics::{Administrator, options},
    wire::Wire,
};

/// A topic's id and number of partitions; `None` where there is no such topic.
fn described(broker: &BrokerProcess, topic: &str) -> Option<(uuid::Uuid, usize)> {
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let asked = MetadataRequestTopic::default().with_name(Some(name));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![asked]))
        .with_allow_auto_topic_creation(false);
    let answer = Wire::connect(&broker.kafka).ask(12, &request);
    let found = &answer.topics[0];
    (found.error_code == 0).then_some((found.topic_id, found.partitions.len()))
}

#[test]
fn topics_are_created_deleted_and_created_anew() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.create("orders", 2, &[]), Ok(()));
    assert_eq!(admin.create("orders", 2, &[]), Err(Code::TopicAlreadyExists));
    assert_eq!(admin.create("no/name", 1, &[]), Err(Code::InvalidTopic));
    let wrong = admin.create("wrong", 1, &[("retention.ms", "soon")]);
    assert_eq!(wrong, Err(Code::InvalidConfig));
    let (first, partitions) = described(&broker, "orders").unwrap();
    assert_eq!(partitions, 2);
    assert_eq!(send_one(&broker.kafka, "orders", "of the first"), Ok(0));
    assert_eq!(admin.delete("orders"), Ok(()));
    assert_eq!(admin.delete("orders"), Err(Code::UnknownTopicOrPartition));
    assert_eq!(described(&broker, "orders"), None);
    assert_eq!(admin.create("orders", 1, &[]), Ok(()));
    let (second, partitions) = described(&broker, "orders").unwrap();
    assert_eq!(partitions, 1);
    assert_ne!(first, second, "a new topic has a new id");
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (0, 0));
    assert_eq!(send_one(&broker.kafka, "orders", "of the second"), Ok(0));
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(described(&broker, "orders"), Some((second, 1)));
    assert_eq!(read_texts(&broker.kafka, "orders", 1), ["of the second"]);
}

#[test]
fn partitions_only_grow() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    admin.create("orders", 1, &[]).unwrap();
    assert_eq!(send_one(&broker.kafka, "orders", "before"), Ok(0));
    assert_eq!(admin.grow("orders", 4), Ok(()));
    assert_eq!(admin.grow("orders", 3), Err(Code::InvalidPartitions));
    assert_eq!(described(&broker, "orders").unwrap().1, 4);
    let sender = Sender::new(&broker.kafka, &[]);
    (0..4).for_each(|partition| sender.send("orders", partition, &Sent::value("after")));
    assert_eq!(sender.delivered(), [1, 0, 0, 0]);
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(described(&broker, "orders").unwrap().1, 4);
    assert_eq!(watermarks(&broker.kafka, "orders", 3), (0, 1));
}

/// The limit counts what the same request has asked for before, and what others ask for meanwhile.
#[test]
fn one_request_cannot_exceed_the_limit_of_partitions() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["kafka.max_partitions=10"]);
    let admin = Administrator::new(&broker.kafka);
    let new = ["a", "b", "c"].map(|name| NewTopic::new(name, 6, TopicReplication::Fixed(1)));
    let created = block_on(admin.0.create_topics(&new, &options())).unwrap();
    let refused = |name: &str| Err((name.to_owned(), Code::PolicyViolation));
    assert_eq!(created, [Ok("a".to_owned()), refused("b"), refused("c")]);
    admin.create("d", 2, &[]).unwrap();
    let more = [NewPartitions::new("a", 7), NewPartitions::new("d", 4)];
    let grown = block_on(admin.0.create_partitions(&more, &options())).unwrap();
    assert_eq!(grown, [Ok("a".to_owned()), refused("d")]);
    assert_eq!(admin.delete("a"), Ok(()));
    assert_eq!(admin.create("e", 8, &[]), Ok(()), "what is gone makes room");
}

/// A config's value, and whether it was set for the topic itself.
fn config_of(admin: &Administrator, topic: &str, name: &str) -> (String, bool) {
    let resource = ResourceSpecifier::Topic(topic);
    let mut answers = block_on(admin.0.describe_configs([&resource], &options())).unwrap();
    let answer = answers.remove(0).unwrap();
    let entry = answer.get(name).unwrap();
    (entry.value.clone().unwrap(), entry.source == ConfigSource::DynamicTopic)
}

/// Sets a topic's config, or with `None` takes it back to its default.
fn alter(broker: &BrokerProcess, topic: &str, name: &str, value: Option<&str>) -> i16 {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let change = AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(i8::from(value.is_none()))
        .with_value(value.map(text));
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![change]);
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    Wire::connect(&broker.kafka).ask(1, &request).responses[0].error_code
}

#[test]
fn configs_are_described_and_altered() {
    const INVALID_CONFIG: i16 = 40;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    let set = |value: &str| (value.to_owned(), true);
    admin.create("orders", 1, &[("retention.ms", "1000000000")]).unwrap();
    assert_eq!(config_of(&admin, "orders", "retention.ms"), set("1000000000"));
    assert_eq!(config_of(&admin, "orders", "max.message.bytes").0, "1048588");
    assert_eq!(alter(&broker, "orders", "max.message.bytes", Some("2000")), 0);
    assert_eq!(config_of(&admin, "orders", "retention.ms"), set("1000000000"), "kept");
    assert_eq!(config_of(&admin, "orders", "max.message.bytes"), set("2000"));
    assert_eq!(alter(&broker, "orders", "max.message.bytes", Some("-7")), INVALID_CONFIG);
    assert_eq!(alter(&broker, "orders", "max.massage.bytes", Some("7")), INVALID_CONFIG);
    let sender = Sender::new(&broker.kafka, &[]);
    sender.send("orders", 0, &Sent::value(vec![b'x'; 3000]));
    assert_eq!(sender.finish(), [Err(Code::MessageSizeTooLarge)], "at once in force");
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(config_of(&admin, "orders", "max.message.bytes"), set("2000"));
    assert_eq!(alter(&broker, "orders", "max.message.bytes", None), 0);
    assert_eq!(config_of(&admin, "orders", "max.message.bytes").0, "1048588");
    // The older request replaces all.
    let all = AlterConfig::new(ResourceSpecifier::Topic("orders")).set("retention.bytes", "7000");
    block_on(admin.0.alter_configs([&all], &options())).unwrap().remove(0).unwrap();
    assert_eq!(config_of(&admin, "orders", "retention.bytes"), set("7000"));
    assert_ne!(config_of(&admin, "orders", "retention.ms"), set("1000000000"));
}

#[test]
fn records_are_deleted_up_to_an_offset() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let sender = Sender::new(&broker.kafka, &[]);
    (0..100).for_each(|number: i32| sender.send("orders", 0, &Sent::value(number.to_string())));
    sender.delivered();
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::Offset(40)), Ok(40));
    assert_eq!(admin.delete_records("orders", Offset::Offset(30)), Ok(40), "never back");
    let beyond = admin.delete_records("orders", Offset::Offset(101));
    assert_eq!(beyond, Err(Code::OffsetOutOfRange));
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (40, 100));
    let kept: Vec<_> = (40..100).map(|number| number.to_string()).collect();
    assert_eq!(read_texts(&broker.kafka, "orders", 60), kept);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::End), Ok(100));
    assert_eq!(watermarks(&broker.kafka, "orders", 0), (100, 100));
    assert_eq!(send_one(&broker.kafka, "orders", "next"), Ok(100));
}

#[test]
fn offsets_are_found_by_time() {
    const TIME: i64 = 1_700_000_000_000;
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["topic.retention_ms=-1"]);
    let sender = Sender::new(&broker.kafka, &[("batch.num.messages", "7")]);
    for number in 0..100 {
        let timestamp = Some(TIME + number * 10);
        sender.send("orders", 0, &Sent { timestamp, ..Sent::value("v") });
    }
    sender.delivered();
    let offset_at = |time| offset_at(&broker.kafka, "orders", time);
    assert_eq!(offset_at(0), Offset::Offset(0));
    assert_eq!(offset_at(TIME + 500), Offset::Offset(50));
    assert_eq!(offset_at(TIME + 501), Offset::Offset(51));
    assert_eq!(offset_at(TIME + 990), Offset::Offset(99));
    assert_eq!(offset_at(TIME + 991), Offset::End);
}

#[test]
fn topics_come_by_themselves_only_where_that_is_wanted() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["kafka.num_partitions=3"]);
    assert_eq!(described(&broker, "orders"), None);
    assert_eq!(send_one(&broker.kafka, "orders", "first"), Ok(0));
    assert_eq!(described(&broker, "orders").unwrap().1, 3);
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &["kafka.auto_create_topics=false"]);
    assert_eq!(described(&broker, "orders").unwrap().1, 3);
    // librdkafka gives up on a topic only after it has been missing for a while.
    let sender = Sender::new(&broker.kafka, &[("topic.metadata.propagation.max.ms", "100")]);
    sender.send("others", 0, &Sent::value("never"));
    let outcome = sender.finish()[0];
    let unknown = [Code::UnknownTopic, Code::UnknownTopicOrPartition, Code::MessageTimedOut];
    assert!(outcome.is_err_and(|error| unknown.contains(&error)), "{outcome:?}");
    assert_eq!(described(&broker, "others"), None);
    let consumer: BaseConsumer = config(&broker.kafka, &[("group.id", "g")]).create().unwrap();
    match consumer.fetch_watermarks("others", 0, PATIENCE) {
        Err(KafkaError::MetadataFetch(error)) => {
            assert!(unknown.contains(&error) || error == Code::UnknownPartition, "{error}");
        }
        other => panic!("{other:?}"),
    }
}
