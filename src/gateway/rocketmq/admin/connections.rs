//! GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204), GET_ALL_PRODUCER_INFO (328),
//! QUERY_SUBSCRIPTION_BY_CONSUMER (345): who is connected, and for what.

use std::sync::Arc;

use super::{Gateway, Handled, Refusal, each_shard, encoded};
use crate::wire::rocketmq::{
    RemotingCommand, ResponseCode,
    body::{
        Connection, ConsumerConnection, ProducerConnection, ProducerInfo, ProducerTableInfo,
        QuerySubscriptionResponseBody, to_json,
    },
    header::{ConsumerGroupRequest, GroupTopicRequest, ProducerGroupRequest},
};

pub(super) async fn consumers(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ConsumerGroupRequest::parse(&command.fields)?;
    let (broker, group) = (&gateway.broker, asked.consumer_group.to_owned());
    let members = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(std::future::ready(owner.group_members(&group)))
    });
    let members = members.await?;
    let Some(first) = members.first() else {
        let remark = format!("the consumer group[{}] not online", asked.consumer_group);
        return Err(Refusal::new(ResponseCode::ConsumerNotOnline, remark));
    };
    let subscriptions = members.iter().flat_map(|member| &member.consumer.subscription_data_set);
    let body = ConsumerConnection {
        connection_set: members
            .iter()
            .map(|member| Connection::clone(&member.connection))
            .collect(),
        // A group's members are to agree on these.
        consume_from_where: first.consumer.consume_from_where,
        consume_type: first.consumer.consume_type,
        message_model: first.consumer.message_model,
        subscription_table: subscriptions
            .map(|subscription| (subscription.topic.clone(), subscription.clone()))
            .collect(),
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&body)?;
    encoded(&answer)
}

pub(super) async fn producers(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ProducerGroupRequest::parse(&command.fields)?;
    let (broker, group) = (&gateway.broker, asked.producer_group.to_owned());
    let producers = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(std::future::ready(owner.group_producers(&group)))
    });
    let producers = producers.await?;
    if producers.is_empty() {
        let remark = format!("the producer group[{}] not exist", asked.producer_group);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    let connection_set = producers.iter().map(|producer| Connection::clone(producer)).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&ProducerConnection { connection_set })?;
    encoded(&answer)
}

/// All producers, by their groups. Each is connected, so that it was heard just now.
pub(super) async fn all_producers(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let now_ms = gateway.broker.env().clock.wall_ms();
    let info = |connection: &Arc<Connection>| ProducerInfo {
        client_id: connection.client_id.clone(),
        language: connection.language,
        last_update_timestamp: now_ms,
        remote_ip: connection.client_addr.clone(),
        version: connection.version,
    };
    let parts = each_shard(gateway, (), |owner, ()| owner.producers()).await?;
    let groups = parts.iter().flatten();
    let data =
        groups.map(|(group, members)| (group.to_string(), members.iter().map(info).collect()));
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&ProducerTableInfo { data: data.collect() })?;
    encoded(&answer)
}

/// What a group that is online consumes of a topic, if it does.
pub(super) async fn subscription(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GroupTopicRequest::parse(&command.fields)?;
    let (broker, group) = (&gateway.broker, asked.group.to_owned());
    let members = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(std::future::ready(owner.group_members(&group)))
    });
    let members = members.await?;
    let mut subscriptions =
        members.iter().flat_map(|member| &member.consumer.subscription_data_set);
    let body = QuerySubscriptionResponseBody {
        group: asked.group.to_owned(),
        subscription_data: subscriptions.find(|of| of.topic == asked.topic).cloned(),
        topic: asked.topic.to_owned(),
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&body)?;
    encoded(&answer)
}
