//! LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): queues that a client consumes in order.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Gateway, Handled, check_group,
    client::{Client, check_id},
    encoded,
    refusal::Refusal,
};
use crate::{
    base::QueueId,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{LockBatchRequestBody, LockBatchResponseBody, MessageQueue, from_json, to_json},
    },
};

pub(super) async fn lock(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let body: LockBatchRequestBody = from_json(&command.body)?;
    check_group(&body.consumer_group)?;
    check_id(&body.client_id)?;
    let mut known = known(gateway, body.mq_set);
    let queues: Vec<_> = known.keys().copied().collect();
    let (group, client): (Arc<str>, Arc<str>) = (body.consumer_group.into(), body.client_id.into());
    let broker = &gateway.broker;
    let held = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(async move { owner.lock_queues(&group, &client, &queues) })
    });
    let lock_ok_mq_set = held.await?.iter().filter_map(|queue| known.remove(queue)).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&LockBatchResponseBody { lock_ok_mq_set })?;
    encoded(&answer)
}

pub(super) async fn unlock(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    client.commits_end(gateway).await;
    let body: LockBatchRequestBody = from_json(&command.body)?;
    let queues: Vec<_> = known(gateway, body.mq_set).into_keys().collect();
    let (group, id) = (body.consumer_group, body.client_id);
    let broker = &gateway.broker;
    let unlocked = broker.on(broker.group_owner(&group), move |owner| {
        Box::pin(async move { owner.unlock_queues(&group, &id, &queues) })
    });
    unlocked.await.map_err(Refusal::from)?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

/// Those of the queues that there are, each once.
fn known(gateway: &Gateway, named: Vec<MessageQueue>) -> BTreeMap<QueueId, MessageQueue> {
    let found = |name: MessageQueue| Some((gateway.queue(&name.topic, name.queue_id).ok()?, name));
    named.into_iter().filter_map(found).collect()
}
