//! GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), DELETE_TOPIC_IN_NAMESRV (216), GET_TOPICS_BY_CLUSTER
//! (224), GET_SYSTEM_TOPIC_LIST_FROM_NS (304): what the name server tells administrators.

use std::collections::BTreeSet;

use super::{Gateway, Handled, encoded, name_server::ask_fleet, refusal::Refusal};
use crate::{
    cluster::{ClusterState, Naming},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{TopicList, to_json},
        header::{DeleteTopicFromNamesrvRequest, GetTopicsByClusterRequest},
    },
};

/// The topics of this broker. Those whose names RocketMQ does not allow are Kafka's alone.
pub(super) fn allowed(cluster: &ClusterState) -> impl Iterator<Item = &str> {
    let names = cluster.topics().map(|topic| &*topic.name);
    names.filter(|name| Naming::RocketMq.check(name).is_ok())
}

pub(super) fn topics(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let cluster = gateway.broker.cluster();
    let topic_list = allowed(&cluster).map(str::to_owned).collect();
    answer(command, &TopicList { broker_addr: None, topic_list })
}

/// Names that are no topics' but are taken: those of clusters and brokers. Tools then ask the broker
/// that is named for its own.
pub(super) async fn system_topics(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let others = ask_fleet(gateway, |fleet, now| {
        fleet.expire(now);
        fleet.brokers()
    });
    let settings = &gateway.settings;
    let mut names = BTreeSet::from([settings.cluster_name.clone(), settings.broker_name.clone()]);
    for broker in others.await? {
        names.extend([broker.cluster.to_string(), broker.name.to_string()]);
    }
    let broker_addr = Some(settings.advertised.to_string());
    answer(command, &TopicList { broker_addr, topic_list: names.into_iter().collect() })
}

fn answer(command: &RemotingCommand<'_>, list: &TopicList) -> Handled {
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(list)?;
    encoded(&answer)
}

pub(super) fn topics_of_cluster(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetTopicsByClusterRequest::parse(&command.fields)?;
    if asked.cluster != gateway.settings.cluster_name {
        let remark = format!("no cluster is named {}", asked.cluster);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    topics(gateway, command)
}

/// Nothing is to be done: routes are those of the topics there are. Tools ask for it after the
/// broker has deleted the topic.
pub(super) fn delete_topic(command: &RemotingCommand<'_>) -> Handled {
    DeleteTopicFromNamesrvRequest::parse(&command.fields)?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}
