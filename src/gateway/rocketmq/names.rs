//! GET_ALL_TOPIC_LIST_FROM_NAMESERVER (206), DELETE_TOPIC_IN_NAMESRV (216), GET_TOPICS_BY_CLUSTER
//! (224): what the name server tells administrators.

use super::{Gateway, Handled, encoded, refusal::Refusal};
use crate::{
    cluster::Naming,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{TopicList, to_json},
        header::{DeleteTopicFromNamesrvRequest, GetTopicsByClusterRequest},
    },
};

/// Topics whose names RocketMQ does not allow are Kafka's alone.
pub(super) fn topics(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let cluster = gateway.broker.cluster();
    let names = cluster.topics().map(|topic| &*topic.name);
    let allowed = names.filter(|name| Naming::RocketMq.check(name).is_ok());
    let list = TopicList { broker_addr: None, topic_list: allowed.map(str::to_owned).collect() };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&list)?;
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
