//! GET_CONSUMER_LIST_BY_GROUP (38): who else is in a consumer's group, to divide the queues with.

use super::{Gateway, Handled, encoded, refusal::Refusal};
use crate::wire::rocketmq::{
    RemotingCommand, ResponseCode,
    body::{GetConsumerListByGroupResponseBody, to_json},
    header::ConsumerGroupRequest,
};

pub(super) async fn list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ConsumerGroupRequest::parse(&command.fields)?;
    let (broker, group) = (&gateway.broker, asked.consumer_group.to_owned());
    let clients = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(async move { owner.group_clients(&group) })
    });
    let clients = clients.await?;
    if clients.is_empty() {
        let remark = format!("no consumer for this group, {}", asked.consumer_group);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    let consumer_id_list = clients.iter().map(|client| client.as_ref().to_owned()).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&GetConsumerListByGroupResponseBody { consumer_id_list })?;
    encoded(&answer)
}
