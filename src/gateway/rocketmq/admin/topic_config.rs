//! UPDATE_AND_CREATE_TOPIC (17), UPDATE_AND_CREATE_TOPIC_LIST (18), GET_ALL_TOPIC_CONFIG (21),
//! DELETE_TOPIC_IN_BROKER (215), GET_SYSTEM_TOPIC_LIST_FROM_BROKER (305), GET_TOPIC_CONFIG (351): a
//! topic as RocketMQ's administrators know it. What Mainstem's topics have no place for is kept in
//! their configs, by names that begin with `mainstem.rocketmq.`.

use std::sync::Arc;

use super::{
    super::topic::{AUTO_CREATE_TOPIC, new_topic, system_topics},
    Gateway, Handled, Refusal, encoded, page, route, success,
};
use crate::{
    cluster::{
        ClusterError, ConfigChange, ConfigOp, ConfigResource, ConfigUpdate, ControlPlane as _,
        Naming, NewPartitions, Topic,
    },
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{
            CreateTopicListRequestBody, TopicConfig, TopicConfigSerializeWrapper, TopicFilterType,
            TopicList, from_json, to_json,
        },
        header::{
            CreateTopicRequest, GetAllTopicConfigRequest, GetAllTopicConfigResponse, TopicRequest,
        },
    },
};

const MESSAGE_TYPE: &str = "mainstem.rocketmq.message.type";
const ORDER: &str = "mainstem.rocketmq.order";
const PERM: &str = "mainstem.rocketmq.perm";
const READ_QUEUES: &str = "mainstem.rocketmq.read.queues";
const WRITE_QUEUES: &str = "mainstem.rocketmq.write.queues";

/// The one attribute there is, as RocketMQ names it.
const MESSAGE_TYPE_ATTRIBUTE: &str = "message.type";

pub(super) async fn update(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = CreateTopicRequest::parse(&command.fields)?;
    update_topic(gateway, &asked).await?;
    success(command)
}

/// Several topics, one after the other, once it is known that they can be had as they are wanted.
pub(super) async fn update_list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let body: CreateTopicListRequestBody = from_json(&command.body)?;
    let list: Vec<_> =
        body.topic_config_list.iter().map(|topic| (topic, attributes(topic))).collect();
    let asked: Vec<_> =
        list.iter().map(|(topic, attributes)| as_request(topic, attributes)).collect();
    for asked in &asked {
        plan(gateway, asked)?;
    }
    for asked in &asked {
        update_topic(gateway, asked).await?;
    }
    success(command)
}

/// The attributes as another request has them, where their names say already whether they are set.
fn attributes(topic: &TopicConfig) -> String {
    let one = |(name, value): (&String, &String)| match value.is_empty() {
        true => name.clone(),
        false => format!("{name}={value}"),
    };
    topic.attributes.iter().map(one).collect::<Vec<_>>().join(",")
}

fn as_request<'a>(topic: &'a TopicConfig, attributes: &'a str) -> CreateTopicRequest<'a> {
    CreateTopicRequest {
        topic: &topic.topic_name,
        default_topic: AUTO_CREATE_TOPIC,
        read_queue_nums: topic.read_queue_nums,
        write_queue_nums: topic.write_queue_nums,
        perm: topic.perm,
        topic_filter_type: topic.topic_filter_type.name().unwrap_or_default(),
        topic_sys_flag: Some(topic.topic_sys_flag),
        order: topic.order,
        attributes: Some(attributes),
        force: None,
    }
}

/// The topic as it is, if it is there, how many partitions it is to have, and what of its configs
/// changes.
type Plan = (Option<Arc<Topic>>, i32, Vec<ConfigChange>);

fn plan(gateway: &Gateway, asked: &CreateTopicRequest<'_>) -> Result<Plan, Refusal> {
    Naming::RocketMq.check(asked.topic).map_err(|error| invalid(error.to_string()))?;
    let there = gateway.broker.cluster().topic(asked.topic).cloned();
    let queues = there.as_ref().map_or(0, |topic| topic.partitions());
    let (total, changes) = wanted(asked, queues)?;
    Ok((there, total, changes))
}

async fn update_topic(gateway: &Gateway, asked: &CreateTopicRequest<'_>) -> Result<(), Refusal> {
    let broker = &gateway.broker;
    let (there, total, changes) = plan(gateway, asked)?;
    let name: Arc<str> = asked.topic.into();
    match there {
        None => {
            let set = changes.into_iter().filter(|change| change.op == ConfigOp::Set);
            let mut new = new_topic(&gateway.settings, asked.topic, total);
            new.configs.extend(set.map(|change| (change.name, change.value)));
            broker.create_topics(&[new], false).await.remove(0).map_err(refused)?;
        }
        Some(topic) => {
            let update = (ConfigResource::Topic(Arc::clone(&name)), ConfigUpdate::Change(changes));
            let updates = [update];
            // All that can be wrong with the second step is known before the first.
            broker.alter_configs(&updates, true).await.remove(0).map_err(refused)?;
            if total > topic.partitions() {
                let more = NewPartitions { topic: name, total, assignments: None };
                broker.create_partitions(&[more], false).await.remove(0).map_err(refused)?;
            }
            broker.alter_configs(&updates, false).await.remove(0).map_err(refused)?;
        }
    }
    Ok(())
}

/// Names that are no users' topics.
pub(super) fn system(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let topic_list = system_topics(&gateway.settings);
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&TopicList { broker_addr: None, topic_list })?;
    encoded(&answer)
}

/// How many partitions a topic is to have that has `there` of them, and what of its configs changes.
fn wanted(asked: &CreateTopicRequest<'_>, there: i32) -> Result<(i32, Vec<ConfigChange>), Refusal> {
    if asked.topic == AUTO_CREATE_TOPIC {
        return Err(invalid(format!("The topic[{}] is conflict with system topic.", asked.topic)));
    }
    if asked.topic_filter_type != "SINGLE_TAG" {
        let kind = asked.topic_filter_type;
        return Err(invalid(format!("topicFilterType {kind}: a message has one tag, SINGLE_TAG")));
    }
    if asked.topic_sys_flag.is_some_and(|flag| flag != 0) {
        return Err(invalid("unit topics are not served: topicSysFlag must be 0"));
    }
    let (read, write) = (asked.read_queue_nums, asked.write_queue_nums);
    if read < 1 || write < 1 {
        return Err(invalid(format!(
            "{read} queues to read and {write} to write: at least one each"
        )));
    }
    if !matches!(asked.perm, 0 | 2 | 4 | 6) {
        return Err(invalid(format!("perm {}: 2 is write, 4 read, 6 both", asked.perm)));
    }
    let total = read.max(write).max(there);
    let fewer = |queues: i32| (queues < total).then(|| queues.to_string());
    let mut changes = vec![
        change(READ_QUEUES, fewer(read)),
        change(WRITE_QUEUES, fewer(write)),
        change(PERM, (asked.perm != 6).then(|| asked.perm.to_string())),
        change(ORDER, asked.order.then(|| "true".to_owned())),
    ];
    for attribute in asked.attributes.unwrap_or_default().split(',').filter(|part| !part.is_empty())
    {
        changes.push(of_attribute(attribute.trim())?);
    }
    Ok((total, changes))
}

/// `+name=value` or `-name`.
fn of_attribute(attribute: &str) -> Result<ConfigChange, Refusal> {
    let (name, value) = match (attribute.strip_prefix('+'), attribute.strip_prefix('-')) {
        (Some(set), _) => match set.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => return Err(invalid(format!("attribute {attribute} has no value"))),
        },
        (_, Some(name)) => (name, None),
        _ => return Err(invalid(format!("attribute {attribute}: it is +name=value or -name"))),
    };
    if name != MESSAGE_TYPE_ATTRIBUTE {
        return Err(invalid(format!(
            "attribute {name} is not served, only {MESSAGE_TYPE_ATTRIBUTE}"
        )));
    }
    Ok(change(MESSAGE_TYPE, value))
}

/// Sets a config, or takes it away where the default holds.
fn change(name: &str, value: Option<String>) -> ConfigChange {
    let op = if value.is_some() { ConfigOp::Set } else { ConfigOp::Delete };
    ConfigChange { name: name.into(), op, value: value.map(Into::into) }
}

fn invalid(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::InvalidParameter, remark)
}

fn refused(error: ClusterError) -> Refusal {
    match error {
        ClusterError::Unavailable { .. } | ClusterError::UnknownTopic { .. } => error.into(),
        _ => invalid(error.to_string()),
    }
}

/// As RocketMQ's broker, which does not mind if there is none.
pub(super) async fn delete(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicRequest::parse(&command.fields)?;
    Naming::RocketMq.check(asked.topic).map_err(|error| invalid(error.to_string()))?;
    if let Ok(topic) = gateway.topic(asked.topic) {
        match gateway.broker.delete_topics(&[topic.id]).await.remove(0) {
            Ok(_) | Err(ClusterError::UnknownTopicId { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    success(command)
}

pub(super) fn get(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicRequest::parse(&command.fields)?;
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&describe(&*gateway.topic(asked.topic)?))?;
    encoded(&answer)
}

pub(super) fn list(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetAllTopicConfigRequest::parse(&command.fields)?;
    let cluster = gateway.broker.cluster();
    let topics = cluster.topics().filter(|topic| Naming::RocketMq.check(&topic.name).is_ok());
    let topics: Vec<_> = topics.collect();
    let total_topic_num = topics.len() as i32;
    let topics = page(topics, asked.topic_seq, asked.max_topic_num).into_iter();
    let wrapper = TopicConfigSerializeWrapper {
        topic_config_table: topics.map(|topic| (topic.name.to_string(), describe(topic))).collect(),
        ..TopicConfigSerializeWrapper::default()
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    GetAllTopicConfigResponse { total_topic_num }.write(&mut answer.fields);
    answer.body = to_json(&wrapper)?;
    encoded(&answer)
}

fn describe(topic: &Topic) -> TopicConfig {
    let attribute = topic.configs.get(MESSAGE_TYPE);
    TopicConfig {
        attributes: attribute
            .map(|kind| (MESSAGE_TYPE_ATTRIBUTE.to_owned(), kind.to_string()))
            .into_iter()
            .collect(),
        order: topic.settings.rocketmq.order,
        perm: route::perm(topic),
        read_queue_nums: topic.read_queues(),
        topic_filter_type: TopicFilterType::SingleTag,
        topic_name: topic.name.to_string(),
        topic_sys_flag: 0,
        write_queue_nums: topic.write_queues(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(read: i32, write: i32, attributes: Option<&'a str>) -> CreateTopicRequest<'a> {
        CreateTopicRequest {
            topic: "orders",
            default_topic: AUTO_CREATE_TOPIC,
            read_queue_nums: read,
            write_queue_nums: write,
            perm: 6,
            topic_filter_type: "SINGLE_TAG",
            attributes,
            ..CreateTopicRequest::default()
        }
    }

    /// The total, and what of the configs is set.
    fn planned(asked: &CreateTopicRequest<'_>, there: i32) -> Option<(i32, Vec<(String, String)>)> {
        let (total, changes) = wanted(asked, there).ok()?;
        let set = changes.into_iter().filter_map(|change| {
            Some((change.name.rsplit("rocketmq.").next()?.to_owned(), change.value?.to_string()))
        });
        Some((total, set.collect()))
    }

    #[test]
    fn queues_grow_and_what_is_fewer_is_noted() {
        let noted = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(planned(&asked(8, 8, None), 0), Some((8, vec![])));
        assert_eq!(planned(&asked(8, 8, None), 4), Some((8, vec![])));
        let fewer = vec![noted("read.queues", "2"), noted("write.queues", "3")];
        assert_eq!(planned(&asked(2, 3, None), 4), Some((4, fewer)));
        let read_more = vec![noted("write.queues", "3")];
        assert_eq!(planned(&asked(6, 3, None), 4), Some((6, read_more)));
        let only_read = CreateTopicRequest { perm: 4, order: true, ..asked(4, 4, None) };
        let expected = vec![noted("perm", "4"), noted("order", "true")];
        assert_eq!(planned(&only_read, 4), Some((4, expected)));
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        let kind = vec![("message.type".to_owned(), "FIFO".to_owned())];
        assert_eq!(planned(&asked(4, 4, Some("+message.type=FIFO")), 4), Some((4, kind)));
        assert_eq!(planned(&asked(4, 4, Some("-message.type")), 4), Some((4, vec![])));
        for bad in
            ["+queue.type=BatchCQ", "message.type=FIFO", "+message.type", "+cleanup.policy=X"]
        {
            assert_eq!(planned(&asked(4, 4, Some(bad)), 4), None, "{bad}");
        }
        for bad in [
            CreateTopicRequest { topic: AUTO_CREATE_TOPIC, ..asked(4, 4, None) },
            CreateTopicRequest { perm: 7, ..asked(4, 4, None) },
            CreateTopicRequest { perm: -1, ..asked(4, 4, None) },
            CreateTopicRequest { topic_sys_flag: Some(1), ..asked(4, 4, None) },
            CreateTopicRequest { topic_filter_type: "MULTI_TAG", ..asked(4, 4, None) },
            asked(0, 4, None),
            asked(4, -1, None),
        ] {
            assert_eq!(planned(&bad, 4), None, "{bad:?}");
        }
    }
}
