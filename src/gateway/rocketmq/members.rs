//! GET_CONSUMER_LIST_BY_GROUP (38) and NOTIFY_CONSUMER_IDS_CHANGED (40): what a consumer needs to know
//! of the others in its group to divide the queues.

use std::{
    rc::{Rc, Weak},
    sync::Arc,
};

use super::{Gateway, Handled, client::Client, encoded, refusal::Refusal};
use crate::{
    gateway::answer::Answers,
    wire::rocketmq::{
        RemotingCommand, RequestCode, ResponseCode,
        body::{GetConsumerListByGroupResponseBody, to_json},
        header::ConsumerGroupRequest,
    },
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

/// Runs while the client is in a group: tells it that others came or went.
pub(super) async fn pass_changes(
    client: Weak<Client>,
    changes: flume::Receiver<Arc<str>>,
    answers: Rc<Answers>,
) {
    let mut opaque = 0;
    while let Ok(group) = changes.recv_async().await {
        let Some(client) = client.upgrade() else { return };
        let code = RequestCode::NotifyConsumerIdsChanged;
        let mut notice = RemotingCommand::request(code, opaque, client.serialization()).one_way();
        opaque = opaque.wrapping_add(1);
        ConsumerGroupRequest { consumer_group: &group }.write(&mut notice.fields);
        match encoded(&notice) {
            Ok(notice) => answers.push(notice),
            Err(refusal) => tracing::error!(remark = refusal.remark, "a notice cannot be written"),
        }
    }
}
