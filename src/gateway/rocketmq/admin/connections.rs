//! GET_CONSUMER_CONNECTION_LIST (203), GET_PRODUCER_CONNECTION_LIST (204): who is connected.

use super::{Gateway, Handled, Refusal, encoded};
use crate::wire::rocketmq::{
    RemotingCommand, ResponseCode,
    body::{Connection, ConsumerConnection, ProducerConnection, to_json},
    header::{ConsumerGroupRequest, ProducerGroupRequest},
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
