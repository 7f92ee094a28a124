//! PUT_KV_CONFIG (100), GET_KV_CONFIG (101), DELETE_KV_CONFIG (102), GET_KVLIST_BY_NAMESPACE (219): the
//! name server's one namespace, which queues producers of an ordered topic use. It is kept as the
//! topics' config.

use super::{Gateway, Handled, encoded, refusal::Refusal, route::ORDER_CONF};
use crate::{
    cluster::{ConfigChange, ConfigOp, ConfigResource, ConfigUpdate, ControlPlane as _},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{KvTable, to_json},
        header::{GetKvConfigResponse, KvConfigRequest, NamespaceRequest, PutKvConfigRequest},
    },
};

/// The namespace.
const ORDER_TOPICS: &str = "ORDER_TOPIC_CONFIG";

/// Bytes a value may have.
const VALUE_BYTES_MAX: usize = 4 << 10;

pub(super) async fn put(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = PutKvConfigRequest::parse(&command.fields)?;
    check_namespace(asked.namespace)?;
    if asked.value.len() > VALUE_BYTES_MAX {
        let remark = format!("the value has more than {VALUE_BYTES_MAX} bytes");
        return Err(Refusal::new(ResponseCode::InvalidParameter, remark));
    }
    change(gateway, asked.key, ConfigOp::Set, Some(asked.value)).await?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

pub(super) fn get(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = KvConfigRequest::parse(&command.fields)?;
    let topic = gateway.topic(asked.key).ok().filter(|_| asked.namespace == ORDER_TOPICS);
    let Some(value) = topic.as_ref().and_then(|topic| topic.configs.get(ORDER_CONF)) else {
        let (namespace, key) = (asked.namespace, asked.key);
        let remark = format!("No config item, Namespace: {namespace} Key: {key}");
        return Err(Refusal::new(ResponseCode::QueryNotFound, remark));
    };
    let mut answer: RemotingCommand<'_> = RemotingCommand::answer(command, ResponseCode::Success);
    GetKvConfigResponse { value: Some(value) }.write(&mut answer.fields);
    encoded(&answer)
}

pub(super) async fn delete(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = KvConfigRequest::parse(&command.fields)?;
    check_namespace(asked.namespace)?;
    if gateway.topic(asked.key).is_ok_and(|topic| topic.configs.contains_key(ORDER_CONF)) {
        change(gateway, asked.key, ConfigOp::Delete, None).await?;
    }
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

pub(super) fn list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = NamespaceRequest::parse(&command.fields)?;
    let cluster = gateway.broker.cluster();
    let value = |topic: &std::sync::Arc<crate::cluster::Topic>| {
        let value = topic.configs.get(ORDER_CONF)?;
        Some((topic.name.to_string(), value.to_string()))
    };
    let table = match asked.namespace {
        ORDER_TOPICS => cluster.topics().filter_map(value).collect(),
        _ => Default::default(),
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&KvTable { table })?;
    encoded(&answer)
}

fn check_namespace(namespace: &str) -> Result<(), Refusal> {
    if namespace == ORDER_TOPICS {
        return Ok(());
    }
    let remark = format!("only the namespace {ORDER_TOPICS} is kept, not {namespace}");
    Err(Refusal::new(ResponseCode::InvalidParameter, remark))
}

async fn change(
    gateway: &Gateway,
    topic: &str,
    op: ConfigOp,
    value: Option<&str>,
) -> Result<(), Refusal> {
    let name = &gateway.topic(topic)?.name;
    let change = ConfigChange { name: ORDER_CONF.into(), op, value: value.map(Into::into) };
    let of = ConfigResource::Topic(name.clone());
    let changes = [(of, ConfigUpdate::Change(vec![change]))];
    Ok(gateway.broker.alter_configs(&changes, false).await.remove(0)?)
}
