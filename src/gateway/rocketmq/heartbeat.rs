//! HEART_BEAT (34), UNREGISTER_CLIENT (35), CHECK_CLIENT_CONFIG (46): what clients tell of themselves.

use std::sync::Arc;

use super::{Gateway, Handled, client::Client, connection::say, encoded, pull, retry};
use crate::{
    broker::{Subscription, Subscriptions},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{
            CheckClientRequestBody, Connection, ConsumerData, HeartbeatData, SubscriptionData,
            from_json,
        },
        header::{UnregisterClientRequest, beside},
    },
};

pub(super) async fn handle(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    let heartbeat: HeartbeatData = from_json(&command.body)?;
    client.introduce(gateway, heartbeat.client_id.as_str().into()).await?;
    let connection = Arc::new(Connection {
        client_addr: client.peer.to_string(),
        client_id: heartbeat.client_id,
        language: command.language,
        version: command.version,
    });
    for producer in heartbeat.producer_data_set {
        client.produce(gateway, &connection, &producer.group_name).await?;
    }
    // One group that cannot be entered does not keep the client from the others, and is told why when
    // it pulls: a client that is given an error takes the broker for one that serves no SQL92.
    let (mut entered, mut refused) = (false, None);
    for consumer in heartbeat.consumer_data_set {
        let group = consumer.group_name.clone();
        let wanted = subscriptions(&consumer);
        match client.enter(gateway, &connection, consumer, wanted).await {
            Ok(()) => {
                entered = true;
                retry::prepare(gateway, &group).await;
            }
            Err(refusal) => {
                say(gateway, client.peer, command.code, &refusal);
                refused = Some(refusal);
            }
        }
    }
    if let Some(refusal) = refused.filter(|_| !entered) {
        return Err(refusal);
    }
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    // Every heartbeat has to carry its subscriptions.
    answer.fields.push(beside::IS_SUPPORT_HEART_BEAT_V2, "false");
    answer.fields.push(beside::IS_SUB_CHANGE, "true");
    encoded(&answer)
}

fn subscriptions(consumer: &ConsumerData) -> Subscriptions {
    let subscription = |told: &SubscriptionData| {
        let (version, filter) = (told.sub_version, pull::subscribed(told));
        (told.topic.as_str().into(), Subscription { version, filter })
    };
    consumer.subscription_data_set.iter().map(subscription).collect()
}

pub(super) async fn unregister(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    let asked = UnregisterClientRequest::parse(&command.fields)?;
    if let Some(group) = asked.producer_group {
        client.end_producing(gateway, group.into(), asked.client_id.into()).await;
    }
    if let Some(group) = asked.consumer_group {
        client.leave(gateway, group.into(), asked.client_id.into()).await;
    }
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

pub(super) fn check_config(command: &RemotingCommand<'_>) -> Handled {
    let body: CheckClientRequestBody = from_json(&command.body)?;
    pull::subscribed(&body.subscription_data).map_err(pull::unserved)?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}
