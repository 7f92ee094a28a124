//! DescribeConfigs (key 32, versions 1–4). Sources: KIP-133, KIP-226 (synonyms), KIP-569
//! (documentation and types).

use kafka_protocol::{
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
    protocol::StrBytes,
};

use super::{
    error::{code_and_message, invalid_request},
    wire,
};
use crate::cluster::{
    BrokerScope, ClusterError, ClusterState, ConfigEntry, ConfigResource, ConfigSource, Naming,
    config_def::Kind,
};

/// Resource types of the protocol (`ConfigResource.Type`).
const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Answers with the configs of topics and of this broker.
#[must_use]
pub fn handle(cluster: &ClusterState, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let answer = |resource: &DescribeConfigsResource| {
        let result = describe(cluster, resource);
        let (code, message) = code_and_message(result.as_ref().err());
        let entries = result.unwrap_or_default();
        DescribeConfigsResult::default()
            .with_error_code(code)
            .with_error_message(message)
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone())
            .with_configs(entries.iter().map(|entry| translate(entry, request)).collect())
    };
    DescribeConfigsResponse::default().with_results(request.resources.iter().map(answer).collect())
}

fn describe(
    cluster: &ClusterState,
    asked: &DescribeConfigsResource,
) -> Result<Vec<ConfigEntry>, ClusterError> {
    let keys = asked.configuration_keys.as_deref().unwrap_or_default();
    let wanted = |name: &str| keys.is_empty() || keys.iter().any(|key| key.as_str() == name);
    match resource(cluster, asked.resource_type, &asked.resource_name)? {
        ConfigResource::Topic(name) => match cluster.topic(&name) {
            Some(topic) => Ok(cluster.describe_topic(topic, wanted)),
            None => {
                Naming::Kafka.check(&name)?;
                Err(ClusterError::UnknownTopic { name })
            }
        },
        ConfigResource::Broker(BrokerScope::Default) => Ok(cluster.describe_all_brokers(wanted)),
        ConfigResource::Broker(BrokerScope::Node(_)) => Ok(cluster.describe_broker(wanted)),
    }
}

/// Reads a resource's type and name, as all requests about configs have them.
pub(super) fn resource(
    cluster: &ClusterState,
    kind: i8,
    name: &StrBytes,
) -> Result<ConfigResource, ClusterError> {
    match kind {
        TOPIC => Ok(ConfigResource::Topic(super::shared(name))),
        BROKER if name.is_empty() => Ok(ConfigResource::Broker(BrokerScope::Default)),
        BROKER => match name.parse::<i32>() {
            Ok(node) if node == cluster.node_id() => {
                Ok(ConfigResource::Broker(BrokerScope::Node(node)))
            }
            Ok(node) => Err(ClusterError::UnknownNode { node, this: cluster.node_id() }),
            Err(_) => Err(invalid_request(format!(
                "Broker id must be an integer, but it is: {}",
                name.as_str()
            ))),
        },
        other => Err(invalid_request(format!("Unsupported resource type: {other}"))),
    }
}

fn translate(
    entry: &ConfigEntry,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonym = |synonym: &crate::cluster::ConfigSynonym| {
        DescribeConfigsSynonym::default()
            .with_name(wire(&synonym.name))
            .with_value(synonym.value.as_deref().map(wire))
            .with_source(source_code(synonym.source))
    };
    let synonyms = match request.include_synonyms {
        true => entry.synonyms.iter().map(synonym).collect(),
        false => Vec::new(),
    };
    DescribeConfigsResourceResult::default()
        .with_name(wire(&entry.name))
        .with_value(entry.value.as_deref().map(wire))
        .with_read_only(entry.read_only)
        .with_config_source(source_code(entry.source))
        .with_is_sensitive(entry.sensitive)
        .with_synonyms(synonyms)
        .with_config_type(kind_code(entry.kind))
        .with_documentation(request.include_documentation.then(|| wire(&entry.documentation)))
}

/// `DescribeConfigsResponse.ConfigSource`.
pub(super) fn source_code(source: ConfigSource) -> i8 {
    match source {
        ConfigSource::Topic => 1,
        ConfigSource::Broker => 2,
        ConfigSource::AllBrokers => 3,
        ConfigSource::Static => 4,
        ConfigSource::Default => 5,
    }
}

/// `DescribeConfigsResponse.ConfigType`.
fn kind_code(kind: Kind) -> i8 {
    match kind {
        Kind::Boolean => 1,
        Kind::String => 2,
        Kind::Int => 3,
        Kind::Short => 4,
        Kind::Long => 5,
        Kind::Double => 6,
        Kind::List => 7,
        Kind::Class => 8,
        Kind::Password => 9,
    }
}
