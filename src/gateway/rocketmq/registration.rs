//! What this broker tells other name servers of itself: REGISTER_BROKER (103), UNREGISTER_BROKER (104).

use std::collections::BTreeMap;

use super::{
    RocketMqSettings,
    name_server::body_sum,
    route::own_queues,
    topic::{AUTO_CREATE_TOPIC, TRACE_TOPIC, reply_topic},
};
use crate::{
    cluster::ClusterState,
    wire::{
        WireError,
        rocketmq::{
            ExtFields, RemotingCommand,
            body::{
                DataVersion, RegisterBrokerBody, TopicConfig, TopicConfigSerializeWrapper, to_json,
            },
            header::{BrokerRequest, RegisterBrokerRequest},
        },
    },
};

/// The topics that clients of RocketMQ's may find here, by name.
#[must_use]
pub fn registered_topics(
    settings: &RocketMqSettings,
    cluster: &ClusterState,
) -> TopicConfigSerializeWrapper {
    let made = cluster.topics().map(|topic| topic.name.to_string());
    let unmade = [AUTO_CREATE_TOPIC.to_owned(), TRACE_TOPIC.to_owned(), reply_topic(settings)];
    let config = |name: String| {
        let queues = own_queues(settings, cluster, &name)?;
        let config = TopicConfig {
            topic_name: name.clone(),
            read_queue_nums: queues.read,
            write_queue_nums: queues.write,
            perm: queues.perm,
            topic_sys_flag: queues.sys_flag,
            ..TopicConfig::default()
        };
        Some((name, config))
    };
    let topic_config_table: BTreeMap<_, _> = made.chain(unmade).filter_map(config).collect();
    // Any change of topics is a command, with a place in the log of its own.
    let counter = cluster.applied().map_or(0, |position| position.0 as i64);
    let data_version = DataVersion { counter, ..DataVersion::default() };
    TopicConfigSerializeWrapper { data_version, topic_config_table }
}

/// Makes a request a registration.
///
/// # Errors
/// Topics that cannot be written as JSON, which none are.
pub fn registration(
    settings: &RocketMqSettings,
    topics: &TopicConfigSerializeWrapper,
    request: &mut RemotingCommand<'static>,
) -> Result<(), WireError> {
    let body = RegisterBrokerBody {
        filter_server_list: Vec::new(),
        topic_config_serialize_wrapper: topics.clone(),
    };
    request.body = to_json(&body)?;
    let address = settings.advertised.to_string();
    let header = RegisterBrokerRequest {
        broker_name: &settings.broker_name,
        broker_addr: &address,
        cluster_name: &settings.cluster_name,
        // There are no replicas of RocketMQ's kind.
        ha_server_addr: &address,
        broker_id: 0,
        heartbeat_timeout_millis: None,
        enable_acting_master: Some(false),
        compressed: Some(false),
        body_crc32: Some(body_sum(&request.body)),
    };
    write_owned(request, |fields| header.write(fields));
    Ok(())
}

/// Makes a request the end of a registration.
pub fn unregistration(settings: &RocketMqSettings, request: &mut RemotingCommand<'static>) {
    let address = settings.advertised.to_string();
    let header = BrokerRequest {
        broker_name: &settings.broker_name,
        broker_addr: &address,
        cluster_name: &settings.cluster_name,
        broker_id: 0,
    };
    write_owned(request, |fields| header.write(fields));
}

/// A request outlives what its header was made from.
fn write_owned<'a>(request: &mut RemotingCommand<'static>, write: impl FnOnce(&mut ExtFields<'a>)) {
    let mut fields = ExtFields::new();
    write(&mut fields);
    for (name, value) in fields.iter() {
        request.fields.push(name.to_owned(), value.to_owned());
    }
}
