//! GET_TOPIC_STATS_INFO (202), QUERY_TOPIC_CONSUME_BY_WHO (300): how far a topic's queues are written, and
//! who reads them.

use std::collections::BTreeSet;

use super::{Gateway, Handled, each_queue, each_shard, encoded};
use crate::{
    broker::OffsetError,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{GroupList, MessageQueue, Table, TopicOffset, TopicStatsTable, to_json},
        header::TopicRequest,
    },
};

pub(super) async fn offsets(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicRequest::parse(&command.fields)?;
    let topic = gateway.topic(asked.topic)?;
    let queues = topic.queues.iter().map(|queue| (*queue, ())).collect();
    let found = each_queue(gateway, queues, |owner, queue, ()| {
        Box::pin(async move {
            let (min_offset, max_offset) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            // An empty queue was not updated.
            let last = match max_offset > min_offset {
                true => owner.append_time(queue, max_offset - 1).await?,
                false => None,
            };
            let last_update_timestamp = last.unwrap_or(0);
            let minute = owner.came(queue).await?.minute;
            Ok((TopicOffset { last_update_timestamp, max_offset, min_offset }, minute))
        })
    });
    let mut stats = TopicStatsTable::default();
    let mut entries = Vec::with_capacity(topic.queues.len());
    for (queue_id, (offset, minute)) in (0..).zip(found.await?) {
        stats.topic_put_tps += minute as f64 / 60.0;
        let broker_name = gateway.settings.broker_name.clone();
        entries
            .push((MessageQueue { broker_name, queue_id, topic: topic.name.to_string() }, offset));
    }
    stats.offset_table = Table(entries);
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&stats)?;
    encoded(&answer)
}

pub(super) async fn consumers(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = TopicRequest::parse(&command.fields)?;
    let topic = gateway.topic(asked.topic)?;
    let found = each_shard(gateway, topic, |owner, topic| owner.groups_of(&topic));
    let groups: BTreeSet<_> = found.await?.into_iter().flatten().collect();
    let group_list = groups.iter().map(|group| group.to_string()).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&GroupList { group_list })?;
    encoded(&answer)
}
