//! GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), DELETE_TOPIC_IN_NAMESRV (216), GET_TOPICS_BY_CLUSTER
//! (224), GET_SYSTEM_TOPIC_LIST_FROM_NS (304): what the name server tells administrators.

use std::{collections::BTreeSet, sync::Arc};

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

/// Those of this broker and of all that registered.
pub(super) async fn topics(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let others = ask_fleet(gateway, |fleet, now| {
        fleet.expire(now);
        fleet.topics(None)
    });
    list(gateway, command, others.await?, true)
}

/// Lists other brokers' topics, and this one's if it is asked, too.
fn list(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    others: BTreeSet<Arc<str>>,
    with_own: bool,
) -> Handled {
    let cluster = gateway.broker.cluster();
    let own = allowed(&cluster).filter(|_| with_own);
    let names: BTreeSet<&str> = own.chain(others.iter().map(|name| &**name)).collect();
    let topic_list = names.into_iter().map(str::to_owned).collect();
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

/// The topics of the brokers of one cluster.
pub(super) async fn topics_of_cluster(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetTopicsByClusterRequest::parse(&command.fields)?;
    let cluster = asked.cluster.to_owned();
    let others = ask_fleet(gateway, move |fleet, now| {
        fleet.expire(now);
        fleet.has_cluster(&cluster).then(|| fleet.topics(Some(&cluster)))
    });
    let others = others.await?;
    let is_own = asked.cluster == gateway.settings.cluster_name;
    if !is_own && others.is_none() {
        let remark = format!("no cluster is named {}", asked.cluster);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    list(gateway, command, others.unwrap_or_default(), is_own)
}

/// Tools ask for it after the brokers have deleted a topic: those that registered do not say what they
/// have no more. Routes to this broker are those of the topics it has.
pub(super) async fn delete_topic(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = DeleteTopicFromNamesrvRequest::parse(&command.fields)?;
    let cluster = asked.cluster_name.filter(|name| !name.is_empty()).map(str::to_owned);
    let topic = asked.topic.to_owned();
    ask_fleet(gateway, move |fleet, _| fleet.forget_topic(&topic, cluster.as_deref())).await?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}
