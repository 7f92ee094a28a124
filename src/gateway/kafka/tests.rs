//! Each API against a state in memory, and through the wire in all its versions.

use std::{
    cell::{Cell, Ref, RefCell},
    future::ready,
};

use bytes::BytesMut;
use futures_lite::future::block_on;
use kafka_protocol::{
    ResponseError,
    messages::{
        alter_configs_request, create_partitions_request::CreatePartitionsTopic,
        create_topics_request::*, create_topics_response::CreatableTopicResult,
        delete_topics_request::DeleteTopicState, describe_configs_request::DescribeConfigsResource,
        describe_topic_partitions_request, describe_topic_partitions_request::TopicRequest,
        incremental_alter_configs_request, metadata_request::MetadataRequestTopic,
        metadata_response::MetadataResponseTopic, *,
    },
    protocol::{Decodable, Encodable},
};
use uuid::Uuid;

use super::{error::NONE, *};
use crate::{
    base::Position,
    cluster::{
        Applied, ClusterError, ClusterState, Command, Configs, ControlPlane, ProducerIds, Setup,
    },
    env::LocalFuture,
    wire::kafka::ApiKey,
};

/// A control plane whose log is never wrong and never late.
struct Memory {
    state: RefCell<ClusterState>,
    end: Cell<u64>,
    ids: RefCell<ProducerIds>,
    stopped: Cell<bool>,
}

impl Memory {
    fn new() -> Self {
        let configs: Configs = [("num.partitions", "2")].map(|(k, v)| (k.into(), v.into())).into();
        let setup = Setup { node_id: 7, configs, ..Setup::default() };
        let memory = Self {
            state: RefCell::new(ClusterState::new(setup)),
            end: Cell::new(0),
            ids: RefCell::default(),
            stopped: Cell::new(false),
        };
        memory.apply(&Command::NameCluster { cluster_id: "cluster".into() });
        memory
    }

    fn apply(&self, command: &Command) -> Applied {
        self.end.set(self.end.get() + 1);
        let command = Command::decode(&command.encode()).unwrap();
        self.state.borrow_mut().apply(Position(self.end.get()), &command)
    }

    fn create(&self, names: &[&str]) {
        let topics = names.iter().map(|name| creatable(name, -1)).collect();
        let answer = self.create_topics_v7(topics);
        assert!(answer.iter().all(|topic| topic.error_code == NONE), "{answer:?}");
    }

    fn create_topics_v7(&self, topics: Vec<CreatableTopic>) -> Vec<CreatableTopicResult> {
        let request = CreateTopicsRequest::default().with_topics(topics);
        block_on(create_topics::handle(self, 7, &request)).topics
    }

    fn metadata(&self, version: i16, request: &MetadataRequest) -> MetadataResponse {
        block_on(metadata::handle(self, &node(), version, request))
    }

    fn set_broker_config(&self, name: &str, value: &str) {
        let set = [(name.into(), value.into())].into();
        let scope = crate::cluster::BrokerScope::Default;
        self.apply(&Command::AlterBrokerConfigs { scope, set, remove: Vec::new() });
    }
}

impl ControlPlane for Memory {
    fn cluster(&self) -> Ref<'_, ClusterState> {
        self.state.borrow()
    }

    fn now_ms(&self) -> i64 {
        5
    }

    fn random(&self) -> [u8; 16] {
        let mut random = [1; 16];
        random[8..].copy_from_slice(&self.end.get().to_be_bytes());
        // Several topics are planned before the first is applied.
        self.end.set(self.end.get() + 1);
        random
    }

    fn producer_ids(&self) -> &RefCell<ProducerIds> {
        &self.ids
    }

    fn execute(&self, command: Command) -> LocalFuture<'_, Result<Applied, ClusterError>> {
        let result = match self.stopped.get() {
            true => Err(ClusterError::Unavailable { reason: "stopped".into() }),
            false => Ok(self.apply(&command)),
        };
        Box::pin(ready(result))
    }
}

fn node() -> Node {
    Node::new(7, "broker.example", 9092, "")
}

fn name(text: &str) -> TopicName {
    TopicName(wire(text))
}

fn creatable(topic: &str, partitions: i32) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
}

fn by_name(topic: &str) -> MetadataRequestTopic {
    MetadataRequestTopic::default().with_name(Some(name(topic)))
}

fn asks(topics: Vec<MetadataRequestTopic>) -> MetadataRequest {
    MetadataRequest::default().with_topics(Some(topics))
}

fn codes(topics: &[MetadataResponseTopic]) -> Vec<i16> {
    topics.iter().map(|topic| topic.error_code).collect()
}

/// Encodes in every version served and reads it back.
fn encodes<T: Encodable + Decodable>(key: ApiKey, of_version: impl Fn(i16) -> T) {
    let (min, max) = key.advertised();
    for version in min..=max {
        let mut bytes = BytesMut::new();
        of_version(version)
            .encode(&mut bytes, version)
            .unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        let mut bytes = bytes.freeze();
        T::decode(&mut bytes, version).unwrap_or_else(|error| panic!("{key:?} {version}: {error}"));
        assert!(bytes.is_empty(), "{key:?} {version}");
    }
}

const UNKNOWN: i16 = ResponseError::UnknownTopicOrPartition.code();
const INVALID: i16 = ResponseError::InvalidRequest.code();

#[test]
fn metadata_of_all_none_and_some() {
    let memory = Memory::new();
    memory.create(&["b", "a"]);
    let all = MetadataRequest::default().with_topics(None);
    let answer = memory.metadata(1, &all);
    let names: Vec<_> = answer.topics.iter().map(|topic| topic.name.clone().unwrap()).collect();
    assert_eq!(names, [name("a"), name("b")]);
    assert_eq!((answer.controller_id, answer.brokers[0].port), (BrokerId(7), 9092));
    assert_eq!(answer.cluster_id.as_deref(), Some("cluster"));
    assert_eq!(answer.topics[0].partitions.len(), 2);
    assert_eq!(answer.topics[0].partitions[1].leader_id, BrokerId(7));
    assert_eq!(memory.metadata(0, &asks(vec![])).topics.len(), 2, "version 0: all");
    assert_eq!(memory.metadata(1, &asks(vec![])).topics.len(), 0, "from version 1: none");
    let twice = memory.metadata(9, &asks(vec![by_name("a"), by_name("a")]));
    assert_eq!(twice.topics.len(), 1);
}

/// As a Kafka 4 broker without an authorizer answers.
const CLUSTER_RIGHTS: i32 = 0b1_1111_1010_0000;
const TOPIC_RIGHTS: i32 = 0b1101_1111_1000;

#[test]
fn rights_are_told_to_whoever_asks() {
    let memory = Memory::new();
    memory.create(&["a"]);
    let rights = |request: &MetadataRequest| {
        let answer = memory.metadata(9, request);
        let topics = answer.topics.iter().map(|topic| topic.topic_authorized_operations);
        (answer.cluster_authorized_operations, topics.collect::<Vec<_>>())
    };
    let asked = asks(vec![by_name("a")]);
    assert_eq!(rights(&asked), (i32::MIN, vec![i32::MIN]));
    let topics = asked.clone().with_include_topic_authorized_operations(true);
    assert_eq!(rights(&topics), (i32::MIN, vec![TOPIC_RIGHTS]));
    let cluster = asked.with_include_cluster_authorized_operations(true);
    assert_eq!(rights(&cluster), (CLUSTER_RIGHTS, vec![i32::MIN]));
}

#[test]
fn metadata_by_id() {
    let memory = Memory::new();
    memory.create(&["a"]);
    let id = Uuid::from_bytes(memory.cluster().topic("a").unwrap().id.0);
    let known = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
    let unknown = MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(9)).with_name(None);
    let neither = MetadataRequestTopic::default().with_name(None);
    let request = asks(vec![known.clone(), unknown, neither]);
    let answer = memory.metadata(12, &request);
    assert_eq!(codes(&answer.topics), [NONE, ResponseError::UnknownTopicId.code(), INVALID]);
    assert_eq!(answer.topics[0].name, Some(name("a")));
    assert_eq!(answer.topics[1].name, None);
    assert_eq!(codes(&memory.metadata(11, &asks(vec![known])).topics), [INVALID]);
}

#[test]
fn metadata_creates_what_both_sides_want() {
    let memory = Memory::new();
    let unwanted = asks(vec![by_name("a")]).with_allow_auto_topic_creation(false);
    assert_eq!(codes(&memory.metadata(4, &unwanted).topics), [UNKNOWN]);
    let bad = asks(vec![by_name("a b"), by_name("a.b"), by_name("a_b")]);
    let collision = ResponseError::InvalidTopicException.code();
    assert_eq!(codes(&memory.metadata(4, &bad).topics), [collision, NONE, collision]);
    let answer = memory.metadata(0, &asks(vec![by_name("a")]));
    assert_eq!((codes(&answer.topics), answer.topics[0].partitions.len()), (vec![NONE], 2));
    memory.set_broker_config("auto.create.topics.enable", "false");
    assert_eq!(codes(&memory.metadata(4, &asks(vec![by_name("c")])).topics), [UNKNOWN]);
    memory.set_broker_config("auto.create.topics.enable", "true");
    memory.stopped.set(true);
    let stopped = ResponseError::KafkaStorageError.code();
    assert_eq!(codes(&memory.metadata(4, &asks(vec![by_name("c")])).topics), [stopped]);
}

#[test]
fn create_topics_answers_each() {
    let memory = Memory::new();
    let config =
        CreatableTopicConfig::default().with_name(wire("retention.ms")).with_value(Some(wire("5")));
    let bad = CreatableTopicConfig::default().with_name(wire("nonsense"));
    let answers = memory.create_topics_v7(vec![
        creatable("a", 3).with_configs(vec![config]),
        creatable("twice", 1),
        creatable("twice", 1),
        creatable("b", 1).with_replication_factor(3),
        creatable("c", 1).with_configs(vec![bad]),
    ]);
    let find = |topic: &str| answers.iter().find(|answer| answer.name == name(topic)).unwrap();
    assert_eq!(answers.len(), 4);
    let a = find("a");
    assert_eq!((a.error_code, a.num_partitions, a.replication_factor), (NONE, 3, 1));
    assert!(!a.topic_id.is_nil());
    let configs = a.configs.as_ref().unwrap();
    let retention = configs.iter().find(|config| &*config.name == "retention.ms").unwrap();
    assert_eq!((retention.value.as_deref(), retention.config_source), (Some("5"), 1));
    assert_eq!(find("twice").error_code, INVALID);
    assert_eq!(find("b").error_code, ResponseError::InvalidReplicationFactor.code());
    assert_eq!(find("c").error_code, ResponseError::InvalidConfig.code());
    assert!(find("c").error_message.is_some());

    let again = memory.create_topics_v7(vec![creatable("a", 3)]);
    assert_eq!(again[0].error_code, ResponseError::TopicAlreadyExists.code());
    let only = CreateTopicsRequest::default()
        .with_topics(vec![creatable("d", 4)])
        .with_validate_only(true);
    let answer = block_on(create_topics::handle(&memory, 7, &only));
    assert_eq!((answer.topics[0].error_code, answer.topics[0].num_partitions), (NONE, 4));
    assert_eq!(memory.cluster().topic("d"), None);
}

#[test]
fn delete_topics_by_name_and_id() {
    let memory = Memory::new();
    memory.create(&["a", "b", "c"]);
    let old = DeleteTopicsRequest::default().with_topic_names(vec![name("a"), name("x")]);
    let answer = block_on(delete_topics::handle(&memory, 1, &old)).responses;
    assert_eq!((answer[0].error_code, answer[1].error_code), (NONE, UNKNOWN));
    let id = Uuid::from_bytes(memory.cluster().topic("b").unwrap().id.0);
    let state = DeleteTopicState::default;
    let request = DeleteTopicsRequest::default().with_topics(vec![
        state().with_topic_id(id).with_name(None),
        state().with_name(Some(name("b"))),
        state().with_topic_id(Uuid::from_u128(1)).with_name(None),
        state().with_topic_id(id).with_name(Some(name("b"))),
        state().with_name(None),
    ]);
    let answer = block_on(delete_topics::handle(&memory, 6, &request)).responses;
    let unknown = ResponseError::UnknownTopicId.code();
    let found: Vec<_> = answer.iter().map(|answer| answer.error_code).collect();
    assert_eq!(found, [NONE, INVALID, unknown, INVALID, INVALID]);
    assert_eq!((&answer[0].name, answer[0].topic_id), (&Some(name("b")), id));
    memory.set_broker_config("delete.topic.enable", "false");
    let old = DeleteTopicsRequest::default().with_topic_names(vec![name("c")]);
    for (version, code) in [(1, INVALID), (3, ResponseError::TopicDeletionDisabled.code())] {
        let answer = block_on(delete_topics::handle(&memory, version, &old));
        assert_eq!(answer.responses[0].error_code, code);
    }
}

#[test]
fn create_partitions_adds() {
    let memory = Memory::new();
    memory.create(&["a"]);
    let more = |count| CreatePartitionsTopic::default().with_name(name("a")).with_count(count);
    let ask = |topic: CreatePartitionsTopic| {
        let request = CreatePartitionsRequest::default().with_topics(vec![topic]);
        block_on(create_partitions::handle(&memory, &request)).results[0].error_code
    };
    let none = || more(5).with_assignments(None);
    assert_eq!(ask(none()), NONE);
    assert_eq!(memory.cluster().topic("a").unwrap().partitions(), 5);
    let invalid = ResponseError::InvalidPartitions.code();
    assert_eq!(ask(none()), invalid);
    assert_eq!(ask(more(-1).with_assignments(None)), invalid);
    let empty = more(6).with_assignments(Some(vec![]));
    assert_eq!(ask(empty), ResponseError::InvalidReplicaAssignment.code());
}

#[test]
fn configs_are_altered_and_described() {
    let memory = Memory::new();
    memory.create(&["a"]);
    let change = |topic: &str, config: &str, operation: i8, value: &str| {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(wire(config))
            .with_config_operation(operation)
            .with_value(Some(wire(value)));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(wire(topic))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        block_on(alter_configs::change(&memory, &request)).responses[0].error_code
    };
    assert_eq!(change("a", "cleanup.policy", 2, "compact"), NONE);
    assert_eq!(change("a", "retention.ms", 0, "5"), NONE);
    assert_eq!(change("a", "retention.ms", 2, "5"), ResponseError::InvalidConfig.code());
    assert_eq!(change("a", "retention.ms", 9, "5"), INVALID);
    assert_eq!(change("x", "retention.ms", 0, "5"), UNKNOWN);

    let describe = |kind: i8, of: &str, keys: Option<&[&str]>| {
        let keys = keys.map(|keys| keys.iter().map(|key| wire(key)).collect());
        let resource = DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(wire(of))
            .with_configuration_keys(keys);
        let request = DescribeConfigsRequest::default()
            .with_resources(vec![resource])
            .with_include_synonyms(true)
            .with_include_documentation(true);
        describe_configs::handle(&memory.cluster(), &request).results.remove(0)
    };
    let two = describe(2, "a", Some(&["retention.ms", "cleanup.policy"])).configs;
    let values: Vec<_> = two.iter().map(|config| config.value.as_deref().unwrap()).collect();
    assert_eq!(values, ["delete,compact", "5"]);
    assert_eq!((two[1].config_source, two[1].config_type, two[1].synonyms.len()), (1, 5, 2));
    assert!(two[1].documentation.is_some());
    assert_eq!(describe(2, "x", None).error_code, UNKNOWN);
    assert_eq!(describe(2, "a b", None).error_code, ResponseError::InvalidTopicException.code());
    let partitions = describe(4, "7", Some(&["num.partitions"])).configs;
    assert_eq!((partitions[0].value.as_deref(), partitions[0].config_source), (Some("2"), 4));
    assert_eq!(
        (describe(4, "8", None).error_code, describe(4, "x", None).error_code),
        (INVALID, INVALID)
    );
    assert_eq!(describe(4, "", None).configs.len(), 0);
    assert_eq!(describe(8, "7", None).error_code, INVALID);

    let config = alter_configs_request::AlterableConfig::default()
        .with_name(wire("max.message.bytes"))
        .with_value(Some(wire("9")));
    let resource = alter_configs_request::AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(wire("a"))
        .with_configs(vec![config]);
    let twice = AlterConfigsRequest::default().with_resources(vec![resource.clone(); 2]);
    let answer = block_on(alter_configs::replace(&memory, &twice)).responses;
    assert_eq!((answer[0].error_code, answer[1].error_code), (INVALID, INVALID));
    let once = AlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = block_on(alter_configs::replace(&memory, &once)).responses;
    assert_eq!(answer[0].error_code, NONE);
    let topic = memory.cluster().topic("a").cloned().unwrap();
    assert_eq!((topic.configs.len(), topic.settings.max_message_bytes), (1, 9));
}

#[test]
fn topics_are_described_page_by_page() {
    let memory = Memory::new();
    memory.create(&["a", "b", "c"]);
    let mut request = DescribeTopicPartitionsRequest::default().with_response_partition_limit(3);
    let mut pages = Vec::new();
    loop {
        let answer = describe_topic_partitions::handle(&memory.cluster(), &node(), &request);
        for topic in &answer.topics {
            let indexes = topic.partitions.iter().map(|partition| partition.partition_index);
            pages.push((topic.name.clone().unwrap().to_string(), indexes.collect::<Vec<_>>()));
        }
        let Some(next) = answer.next_cursor else { break };
        let cursor = describe_topic_partitions_request::Cursor::default()
            .with_topic_name(next.topic_name)
            .with_partition_index(next.partition_index);
        request = request.with_cursor(Some(cursor));
    }
    let page = |topic: &str, indexes: &[i32]| (topic.to_owned(), indexes.to_vec());
    assert_eq!(pages, [page("a", &[0, 1]), page("b", &[0]), page("b", &[1]), page("c", &[0, 1])]);

    let some = ["c", "x", "a b", "a"].map(|topic| TopicRequest::default().with_name(name(topic)));
    let request = DescribeTopicPartitionsRequest::default().with_topics(some.to_vec());
    let answer = describe_topic_partitions::handle(&memory.cluster(), &node(), &request);
    let found: Vec<_> = answer.topics.iter().map(|topic| topic.error_code).collect();
    assert_eq!(found, [NONE, ResponseError::InvalidTopicException.code(), NONE, UNKNOWN]);
    encodes(ApiKey::DescribeTopicPartitions, |_| answer.clone());
}

#[test]
fn producer_ids_are_unique_and_transactions_refused() {
    let memory = Memory::new();
    let plain = InitProducerIdRequest::default().with_transactional_id(None);
    let ids: Vec<_> = (0..2_500)
        .map(|_| block_on(init_producer_id::handle(&memory, &plain)).producer_id.0)
        .collect();
    assert!(ids.iter().copied().eq(0..2_500));
    let transactional = plain.clone().with_transactional_id(Some(TransactionalId(wire("t"))));
    let answer = block_on(init_producer_id::handle(&memory, &transactional));
    assert_eq!(answer.error_code, ResponseError::TransactionalIdAuthorizationFailed.code());
    *memory.ids.borrow_mut() = ProducerIds::default();
    memory.stopped.set(true);
    let answer = block_on(init_producer_id::handle(&memory, &plain));
    assert_eq!(answer.error_code, ResponseError::KafkaStorageError.code());
    assert_eq!(answer.producer_id, ProducerId(-1));
}

#[test]
fn coordinators_and_cluster() {
    for kind in [0, 1, 2] {
        let of = |version| {
            let request = FindCoordinatorRequest::default()
                .with_key_type(kind)
                .with_coordinator_keys(vec![wire("g"), wire("h")]);
            find_coordinator::handle(&node(), version, &request)
        };
        encodes(ApiKey::FindCoordinator, of);
        assert_eq!(of(4).coordinators.len(), 2);
        assert_eq!(of(3).error_code == NONE, kind == 0);
        assert_eq!(of(4).coordinators[1].error_code == NONE, kind == 0);
    }
    let memory = Memory::new();
    for (kind, code) in [
        (1, NONE),
        (2, ResponseError::MismatchedEndpointType.code()),
        (3, ResponseError::UnsupportedEndpointType.code()),
    ] {
        let request = DescribeClusterRequest::default().with_endpoint_type(kind);
        let answer = describe_cluster::handle(&memory.cluster(), &node(), &request);
        assert_eq!(answer.error_code, code);
        assert_eq!(answer.cluster_authorized_operations, i32::MIN, "nobody asked");
        let request = request.with_include_cluster_authorized_operations(true);
        let answer = describe_cluster::handle(&memory.cluster(), &node(), &request);
        let told = answer.cluster_authorized_operations;
        assert_eq!(told, if kind == 1 { CLUSTER_RIGHTS } else { i32::MIN });
        encodes(ApiKey::DescribeCluster, |_| answer.clone());
    }
}

#[test]
fn versions_are_told() {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(wire("apache-kafka-java"))
        .with_client_software_version(wire("4.4.0"));
    encodes(ApiKey::ApiVersions, |version| {
        let answer = api_versions::handle(version, &request);
        assert_eq!((answer.error_code, answer.api_keys.len()), (NONE, ApiKey::ALL.len()));
        assert!(answer.supported_features.is_empty());
        answer
    });
    let produce = &api_versions::handle(0, &request).api_keys[0];
    assert_eq!((produce.api_key, produce.min_version, produce.max_version), (0, 0, 13));
    for bad in ["", "-x", "x-", "a b", "ä"] {
        let bad = request.clone().with_client_software_name(wire(bad));
        assert_eq!(api_versions::handle(3, &bad).error_code, INVALID);
        assert_eq!(api_versions::handle(2, &bad).error_code, NONE, "not sent before version 3");
    }
    let unsupported = api_versions::unsupported_version();
    assert_eq!((unsupported.error_code, unsupported.api_keys.len()), (35, 1));
    let mut bytes = BytesMut::new();
    unsupported.encode(&mut bytes, 0).unwrap();
    assert_eq!(&bytes[..], [0, 35, 0, 0, 0, 1, 0, 18, 0, 0, 0, 4]);
}

#[test]
fn answers_fit_every_version() {
    let memory = Memory::new();
    memory.create(&["a"]);
    let id = Uuid::from_bytes(memory.cluster().topic("a").unwrap().id.0);
    encodes(ApiKey::Metadata, |version| {
        let null = MetadataRequestTopic::default().with_name(None);
        let by_id = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
        let wrong =
            MetadataRequestTopic::default().with_topic_id(Uuid::from_u128(1)).with_name(None);
        memory.metadata(version, &asks(vec![by_name("a"), by_name("a b"), null, by_id, wrong]))
    });
    encodes(ApiKey::CreateTopics, |version| {
        let topics = vec![creatable(&format!("v{version}"), 1), creatable("a", 1)];
        let request = CreateTopicsRequest::default().with_topics(topics);
        block_on(create_topics::handle(&memory, version, &request))
    });
    encodes(ApiKey::DeleteTopics, |version| {
        let state = DeleteTopicState::default().with_name(Some(name("x")));
        let request = DeleteTopicsRequest::default()
            .with_topics(vec![state, DeleteTopicState::default().with_topic_id(id).with_name(None)])
            .with_topic_names(vec![name("x"), name(&format!("v{version}"))]);
        block_on(delete_topics::handle(&memory, version, &request))
    });
    memory.create(&["b"]);
    encodes(ApiKey::CreatePartitions, |version| {
        let topic = CreatePartitionsTopic::default().with_name(name("b")).with_assignments(None);
        let topics =
            vec![topic.with_count(10 + i32::from(version)), CreatePartitionsTopic::default()];
        let request = CreatePartitionsRequest::default().with_topics(topics);
        block_on(create_partitions::handle(&memory, &request))
    });
    encodes(ApiKey::DescribeConfigs, |_| {
        let resource = |kind, name: &str| {
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(wire(name))
                .with_configuration_keys(None)
        };
        let resources = vec![resource(2, "b"), resource(4, "7"), resource(4, ""), resource(3, "")];
        let request = DescribeConfigsRequest::default()
            .with_resources(resources)
            .with_include_documentation(true)
            .with_include_synonyms(true);
        describe_configs::handle(&memory.cluster(), &request)
    });
    encodes(ApiKey::InitProducerId, |_| {
        let request = InitProducerIdRequest::default().with_transactional_id(None);
        block_on(init_producer_id::handle(&memory, &request))
    });
}
