//! UPDATE_BROKER_CONFIG (25), GET_BROKER_CONFIG (26): the broker's configs, by Kafka's names and, where
//! RocketMQ's tools look for them, by RocketMQ's. Only what is live can be changed, and only if
//! `rocketmq.allow_config_update` says so (CVE-2023-33246).

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Gateway, Handled, Refusal, encoded, success};
use crate::{
    cluster::{
        BrokerScope, ClusterError, ConfigChange, ConfigOp, ConfigResource, ConfigUpdate,
        ControlPlane as _,
    },
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{DataVersion, to_json},
        header::GetBrokerConfigResponse,
    },
};

pub(super) fn get(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let version = to_json(&DataVersion::default())?;
    let version = String::from_utf8_lossy(&version);
    let mut answer: RemotingCommand<'_> = RemotingCommand::answer(command, ResponseCode::Success);
    GetBrokerConfigResponse { version: &version }.write(&mut answer.fields);
    let lines =
        shown(gateway).into_iter().map(|(name, value)| format!("{name}={}\n", escaped(&value)));
    answer.body = Bytes::from(lines.collect::<String>());
    encoded(&answer)
}

fn shown(gateway: &Gateway) -> BTreeMap<String, String> {
    let settings = &gateway.settings;
    let cluster = gateway.broker.cluster();
    let entries = cluster.describe_broker(|_| true).into_iter();
    let entries =
        entries.filter_map(|entry| Some((entry.name.to_string(), entry.value?.to_string())));
    let mut shown: BTreeMap<_, _> = entries.collect();
    let own = [
        ("autoCreateSubscriptionGroup", "true".to_owned()),
        ("autoCreateTopicEnable", settings.auto_create_topics.to_string()),
        ("brokerClusterName", settings.cluster_name.clone()),
        ("brokerIP1", settings.advertised.ip().to_string()),
        ("brokerId", "0".to_owned()),
        ("brokerName", settings.broker_name.clone()),
        ("brokerRole", "ASYNC_MASTER".to_owned()),
        ("defaultTopicQueueNums", settings.default_queues.to_string()),
        ("listenPort", settings.advertised.port().to_string()),
    ];
    shown.extend(own.map(|(name, value)| (name.to_owned(), value)));
    shown
}

/// A value as Java's `Properties` read it.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

pub(super) async fn update(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let forbidden = |remark: String| Refusal::new(ResponseCode::NoPermission, remark);
    if !gateway.settings.allow_config_update {
        let remark = "configs are not changed this way unless rocketmq.allow_config_update is true";
        return Err(forbidden(remark.to_owned()));
    }
    let changes = parse(&command.body)?;
    let broker = &gateway.broker;
    let scope = BrokerScope::Node(broker.cluster().node_id());
    let update = (ConfigResource::Broker(scope), ConfigUpdate::Change(changes));
    match broker.alter_configs(&[update], false).await.remove(0) {
        Ok(()) => success(command),
        Err(error @ ClusterError::Unavailable { .. }) => Err(error.into()),
        Err(error) => Err(forbidden(error.to_string())),
    }
}

/// Java properties as mqadmin writes them: a line each, nothing escaped.
fn parse(body: &[u8]) -> Result<Vec<ConfigChange>, Refusal> {
    let invalid = |remark: &str| Refusal::new(ResponseCode::InvalidParameter, remark);
    let text = std::str::from_utf8(body).map_err(|_| invalid("the properties are no UTF-8"))?;
    let lines =
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let change = |line: &str| {
        let (name, value) =
            line.split_once('=').ok_or_else(|| invalid("a property has no value"))?;
        let (name, value) = (name.trim().into(), Some(value.trim().into()));
        Ok(ConfigChange { name, op: ConfigOp::Set, value })
    };
    let changes: Vec<_> = lines.map(change).collect::<Result<_, Refusal>>()?;
    if changes.is_empty() { Err(invalid("there are no properties")) } else { Ok(changes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_lines() {
        let changes = parse(b"# a comment\nlog.retention.ms = 1000\n\na=b=c\n").unwrap();
        let told: Vec<_> =
            changes.iter().map(|change| (&*change.name, change.value.as_deref())).collect();
        assert_eq!(told, [("log.retention.ms", Some("1000")), ("a", Some("b=c"))]);
        for bad in [&b""[..], b"# nothing", b"novalue", b"\xff=1"] {
            assert_eq!(parse(bad).unwrap_err().code, ResponseCode::InvalidParameter);
        }
        assert_eq!(escaped("a\\b\nc"), "a\\\\b\\nc");
    }
}
