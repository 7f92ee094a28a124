//! UPDATE_AND_CREATE_SUBSCRIPTIONGROUP (200), GET_ALL_SUBSCRIPTIONGROUP_CONFIG (201),
//! DELETE_SUBSCRIPTIONGROUP (207), UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST (225),
//! GET_SUBSCRIPTIONGROUP_CONFIG (352): what a group may do. A group
//! that nobody configured has the default, as if it had been made by its first use.

use std::{collections::BTreeSet, sync::Arc};

use super::{Gateway, Handled, Refusal, each_shard, encoded, page, success};
use crate::{
    broker::group::{GroupError, Reply},
    cluster::{ClusterError, ControlPlane as _, GroupConfig},
    gateway::group_call,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{
            SubscriptionGroupConfig, SubscriptionGroupList, SubscriptionGroupWrapper, from_json,
            to_json,
        },
        header::{
            DeleteSubscriptionGroupRequest, GetAllSubscriptionGroupRequest,
            GetAllSubscriptionGroupResponse, GroupRequest,
        },
    },
};

pub(super) async fn update(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    set(gateway, vec![from_json(&command.body)?]).await?;
    success(command)
}

pub(super) async fn update_list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let list: SubscriptionGroupList = from_json(&command.body)?;
    set(gateway, list.group_config_list).await?;
    success(command)
}

/// Sets groups' configs, once it is known that they can be had.
async fn set(gateway: &Gateway, groups: Vec<SubscriptionGroupConfig>) -> Result<(), Refusal> {
    let broker = &gateway.broker;
    let with_config = |body: SubscriptionGroupConfig| {
        let group = body.group_name.clone();
        let now = Arc::clone(broker.cluster().group_config(&group));
        Ok((group, config(body, &now)?))
    };
    let configs: Result<Vec<_>, Refusal> = groups.into_iter().map(with_config).collect();
    for (group, config) in configs? {
        match broker.set_group_config(&group, config).await {
            Err(error @ ClusterError::Unavailable { .. }) => return Err(error.into()),
            Err(error) => return Err(invalid(error.to_string())),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn invalid(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::InvalidParameter, remark)
}

fn config(body: SubscriptionGroupConfig, now: &GroupConfig) -> Result<GroupConfig, Refusal> {
    let policy = &body.group_retry_policy;
    if policy.customized_retry_policy.is_some() || policy.exponential_retry_policy.is_some() {
        return Err(invalid("a group's own retry policy is not served: groupRetryPolicy"));
    }
    let retry_queues = u32::try_from(body.retry_queue_nums)
        .map_err(|_| invalid(format!("{} retry queues", body.retry_queue_nums)))?;
    let mut attributes = now.attributes.clone();
    for (name, value) in body.attributes {
        match (name.strip_prefix('+'), name.strip_prefix('-')) {
            (Some(name), _) => drop(attributes.insert(name.into(), value.into())),
            (_, Some(name)) => drop(attributes.remove(name)),
            _ => return Err(invalid(format!("attribute {name}: its name begins with + or -"))),
        }
    }
    Ok(GroupConfig {
        consume_enable: body.consume_enable,
        consume_from_min_enable: body.consume_from_min_enable,
        consume_broadcast_enable: body.consume_broadcast_enable,
        consume_message_orderly: body.consume_message_orderly,
        notify_members: body.notify_consumer_ids_changed_enable,
        retry_queues,
        retry_max_times: body.retry_max_times,
        broker_id: body.broker_id,
        slow_broker_id: body.which_broker_when_consume_slowly,
        consume_timeout_minutes: body.consume_timeout_minute,
        sys_flag: body.group_sys_flag,
        attributes,
    })
}

/// Takes the config away, and on demand the group's offsets before that: those of a group with members
/// are not, and then its config stays, too.
pub(super) async fn delete(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = DeleteSubscriptionGroupRequest::parse(&command.fields)?;
    if asked.clean_offset == Some(true) {
        clean_offsets(gateway, asked.group_name).await?;
    }
    gateway.broker.remove_group_config(asked.group_name).await?;
    success(command)
}

async fn clean_offsets(gateway: &Gateway, group: &str) -> Result<(), Refusal> {
    let of = group.to_owned();
    let deleted = group_call::ask(&gateway.broker, group, move |groups, at, token| {
        groups.delete_group(at, &of, token);
    });
    match deleted.await {
        Some(Reply::DeleteGroup(Ok(()) | Err(GroupError::GroupNotFound))) => Ok(()),
        Some(Reply::DeleteGroup(Err(error))) => Err(error.into()),
        _ => Err(GroupError::CoordinatorNotAvailable.into()),
    }
}

pub(super) fn get(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GroupRequest::parse(&command.fields)?;
    let cluster = gateway.broker.cluster();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&describe(asked.group, cluster.group_config(asked.group)))?;
    encoded(&answer)
}

/// Those that are configured and those that have offsets.
pub(super) async fn list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetAllSubscriptionGroupRequest::parse(&command.fields)?;
    let known = each_shard(gateway, (), |owner, ()| {
        owner.with_groups(|groups, _| groups.list().map(|group| group.group.clone()).collect())
    });
    let known: Vec<Vec<Arc<str>>> = known.await?;
    let cluster = gateway.broker.cluster();
    let mut groups: BTreeSet<_> = known.into_iter().flatten().collect();
    groups.extend(cluster.group_configs().keys().cloned());
    let total_group_num = groups.len() as i32;
    let groups = page(groups.into_iter().collect(), asked.group_seq, asked.max_group_num);
    let groups = groups
        .iter()
        .map(|group| (group.to_string(), describe(group, cluster.group_config(group))));
    let wrapper = SubscriptionGroupWrapper {
        subscription_group_table: groups.collect(),
        ..SubscriptionGroupWrapper::default()
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    GetAllSubscriptionGroupResponse { total_group_num }.write(&mut answer.fields);
    answer.body = to_json(&wrapper)?;
    encoded(&answer)
}

fn describe(group: &str, config: &GroupConfig) -> SubscriptionGroupConfig {
    let attributes = config.attributes.iter();
    SubscriptionGroupConfig {
        attributes: attributes.map(|(name, value)| (name.to_string(), value.to_string())).collect(),
        broker_id: config.broker_id,
        consume_broadcast_enable: config.consume_broadcast_enable,
        consume_enable: config.consume_enable,
        consume_from_min_enable: config.consume_from_min_enable,
        consume_message_orderly: config.consume_message_orderly,
        consume_timeout_minute: config.consume_timeout_minutes,
        group_name: group.to_owned(),
        group_sys_flag: config.sys_flag,
        notify_consumer_ids_changed_enable: config.notify_members,
        retry_max_times: config.retry_max_times,
        retry_queue_nums: config.retry_queues as i32,
        which_broker_when_consume_slowly: config.slow_broker_id,
        ..SubscriptionGroupConfig::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_configured_is_told() {
        let json = br#"{"groupName":"g","consumeEnable":false,"retryMaxTimes":3,"retryQueueNums":2,
            "groupRetryPolicy":{"type":"CUSTOMIZED"},"attributes":{"+a":"b","-c":""}}"#;
        let now = [("c".into(), "d".into()), ("e".into(), "f".into())].into();
        let now = GroupConfig { attributes: now, ..GroupConfig::default() };
        let config = config(from_json(json).unwrap(), &now).unwrap();
        let told = describe("g", &config);
        assert_eq!(
            (told.consume_enable, told.retry_max_times, told.retry_queue_nums),
            (false, 3, 2)
        );
        let expected = [("a", "b"), ("e", "f")].map(|(a, b)| (a.to_owned(), b.to_owned()));
        assert_eq!(told.attributes, expected.into());
        assert_eq!(
            describe("g", &GroupConfig::default()),
            SubscriptionGroupConfig {
                group_name: "g".to_owned(),
                ..SubscriptionGroupConfig::default()
            }
        );
    }

    #[test]
    fn what_is_not_served_is_refused() {
        for bad in [
            r#""groupRetryPolicy":{"exponentialRetryPolicy":{"initial":1}}"#,
            r#""attributes":{"a":"b"}"#,
            r#""retryQueueNums":-1"#,
        ] {
            let body = from_json(format!("{{\"groupName\":\"g\",{bad}}}").as_bytes()).unwrap();
            let refused = config(body, &GroupConfig::default()).unwrap_err();
            assert_eq!(refused.code, ResponseCode::InvalidParameter);
        }
    }
}
