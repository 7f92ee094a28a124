//! GET_CONSUME_STATS (208), QUERY_CONSUME_TIME_SPAN (303), QUERY_TOPICS_BY_CONSUMER (343): what a group
//! consumes, and how far it is.

use std::{collections::BTreeMap, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{Gateway, Handled, Refusal, each_queue, each_shard, encoded};
use crate::{
    base::{QueueId, TopicId},
    broker::{Broker, FlowFigures, OffsetError, PulledTo},
    cluster::{Naming, Topic},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{
            ConsumeStats, MessageQueue, OffsetWrapper, QueryConsumeTimeSpanBody, QueueTimeSpan,
            TopicList, to_json,
        },
        header::{GetConsumeStatsRequest, GroupRequest, GroupTopicRequest},
    },
};

/// Stands between topics in `topicList`.
const BETWEEN_TOPICS: char = ';';

/// What stands for the time of a message that is not there.
const NO_TIME: i64 = -1;

/// What a group has committed of a topic, by partition.
type Committed = BTreeMap<u32, i64>;

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetConsumeStatsRequest::parse(&command.fields)?;
    let listed = asked.topic_list.unwrap_or_default().split(BETWEEN_TOPICS);
    let wanted: HashSet<&str> =
        listed.chain(asked.topic).filter(|topic| !topic.is_empty()).collect();
    let mut stats = ConsumeStats::default();
    for (topic, committed) in consumed(gateway, asked.consumer_group).await? {
        if wanted.is_empty() || wanted.contains(&*topic.name) {
            let pulled_to = pulled_to(gateway, asked.consumer_group, &topic.name).await?;
            let entries = of_topic(gateway, &topic, &committed, &pulled_to).await?;
            stats.offset_table.0.extend(entries);
            let minute = pulled(gateway, asked.consumer_group, &topic.name).await?.minute;
            stats.consume_tps += minute as f64 / 60.0;
        }
    }
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&stats)?;
    encoded(&answer)
}

pub(super) async fn topics(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GroupRequest::parse(&command.fields)?;
    let consumed = consumed(gateway, asked.group).await?;
    let topic_list = consumed.iter().map(|(topic, _)| topic.name.to_string()).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&TopicList { broker_addr: None, topic_list })?;
    encoded(&answer)
}

/// How old the messages of a topic's queues are, and what a group has not consumed of them.
pub(super) async fn time_span(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GroupTopicRequest::parse(&command.fields)?;
    let topic = gateway.topic(asked.topic)?;
    let (broker, of) = (&gateway.broker, asked.group.to_owned());
    let committed = broker.on(broker.group_owner(&of), move |owner| {
        Box::pin(std::future::ready(committed(&owner, &of)))
    });
    let committed = committed.await?.remove(&topic.id).unwrap_or_default();
    let queues = (0_u32..).zip(&topic.queues);
    let queues = queues.map(|(at, queue)| (*queue, committed.get(&at).copied().unwrap_or(0)));
    let now_ms = broker.env().clock.wall_ms();
    let found = each_queue(gateway, queues.collect(), |owner, queue, offset| {
        Box::pin(async move {
            let (start, end) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            let mut times = [None; 4];
            for (time, offset) in times.iter_mut().zip([start, end - 1, offset - 1, offset]) {
                if (start..end).contains(&offset) {
                    *time = owner.append_time(queue, offset).await?;
                }
            }
            Ok(times)
        })
    });
    let span = |(queue_id, [first, last, consumed, next]): (i32, [Option<i64>; 4])| QueueTimeSpan {
        consume_time_stamp: consumed.or(first).unwrap_or(NO_TIME),
        delay_time: next.map_or(0, |next| now_ms - next),
        max_time_stamp: last.unwrap_or(NO_TIME),
        message_queue: MessageQueue {
            broker_name: gateway.settings.broker_name.clone(),
            queue_id,
            topic: topic.name.to_string(),
        },
        min_time_stamp: first.unwrap_or(NO_TIME),
    };
    let consume_time_span_set = (0..).zip(found.await?).map(span).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&QueryConsumeTimeSpanBody { consume_time_span_set })?;
    encoded(&answer)
}

/// What a group has pulled of a topic, by way of all shards.
pub(super) async fn pulled(
    gateway: &Gateway,
    group: &str,
    topic: &str,
) -> Result<FlowFigures, Refusal> {
    let key: (Arc<str>, Arc<str>) = (group.into(), topic.into());
    let parts = each_shard(gateway, key, |owner, (group, topic)| owner.pulled(&group, &topic));
    let mut sum = FlowFigures::default();
    parts.await?.iter().for_each(|part| sum.merge(part));
    Ok(sum)
}

/// How far a group has pulled a topic's queues, by way of all shards: what it was given last counts.
async fn pulled_to(
    gateway: &Gateway,
    group: &str,
    topic: &str,
) -> Result<HashMap<QueueId, PulledTo>, Refusal> {
    let key: (Arc<str>, Arc<str>) = (group.into(), topic.into());
    let parts = each_shard(gateway, key, |owner, (group, topic)| owner.pulled_to(&group, &topic));
    let mut last = HashMap::<QueueId, PulledTo>::new();
    for (queue, to) in parts.await?.into_iter().flatten() {
        let known = last.entry(queue).or_insert(to);
        if known.at_ms < to.at_ms {
            *known = to;
        }
    }
    Ok(last)
}

/// The topics a group has offsets of, those that RocketMQ can name. Members that are online say
/// which of them they still consume.
async fn consumed(gateway: &Gateway, group: &str) -> Result<Vec<(Arc<Topic>, Committed)>, Refusal> {
    let broker = &gateway.broker;
    let of = group.to_owned();
    let told = broker.on(broker.group_owner(group), move |owner| {
        Box::pin(std::future::ready((committed(&owner, &of), subscribed(&owner, &of))))
    });
    let (by_topic, subscribed) = told.await?;
    let cluster = broker.cluster();
    let named = by_topic.into_iter().filter_map(|(id, offsets)| {
        let topic = cluster.topic_by_id(id)?;
        let is_consumed = subscribed.is_empty() || subscribed.contains(&*topic.name);
        let wanted = is_consumed && Naming::RocketMq.check(&topic.name).is_ok();
        wanted.then(|| (Arc::clone(topic), offsets))
    });
    Ok(named.collect())
}

/// What a group of this shard has committed.
pub(super) fn committed(owner: &std::rc::Rc<Broker>, group: &str) -> BTreeMap<TopicId, Committed> {
    let mut by_topic = BTreeMap::<_, Committed>::new();
    owner.with_groups(|groups, _| {
        for (place, committed) in groups.committed_offsets(group) {
            by_topic.entry(place.topic).or_default().insert(place.partition, committed.offset);
        }
    });
    by_topic
}

/// The topics that members of a group of this shard consume now.
fn subscribed(owner: &Broker, group: &str) -> HashSet<String> {
    let members = owner.group_members(group);
    let topics = members.iter().flat_map(|member| &member.consumer.subscription_data_set);
    topics.map(|subscription| subscription.topic.clone()).collect()
}

async fn of_topic(
    gateway: &Gateway,
    topic: &Topic,
    committed: &Committed,
    pulled_to: &HashMap<QueueId, PulledTo>,
) -> Result<Vec<(MessageQueue, OffsetWrapper)>, Refusal> {
    let read = topic.read_queues() as usize;
    let queues = (0_u32..).zip(&topic.queues).take(read);
    let asked: Vec<(QueueId, (i64, i64))> = queues
        .map(|(partition, queue)| {
            let consumer_offset = committed.get(&partition).copied().unwrap_or(0);
            // What was pulled and is not yet committed lies between them.
            let pull_offset = pulled_to.get(queue).map_or(0, |to| to.offset);
            (*queue, (consumer_offset, pull_offset.max(consumer_offset)))
        })
        .collect();
    let found = each_queue(gateway, asked, |owner, queue, (consumer_offset, pull_offset)| {
        Box::pin(async move {
            let (_, broker_offset) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            let last_timestamp = match consumer_offset {
                1.. => owner.append_time(queue, consumer_offset - 1).await?.unwrap_or(0),
                _ => 0,
            };
            Ok(OffsetWrapper { broker_offset, consumer_offset, last_timestamp, pull_offset })
        })
    });
    let entry = |(queue_id, offsets)| {
        let broker_name = gateway.settings.broker_name.clone();
        (MessageQueue { broker_name, queue_id, topic: topic.name.to_string() }, offsets)
    };
    Ok((0..).zip(found.await?).map(entry).collect())
}
