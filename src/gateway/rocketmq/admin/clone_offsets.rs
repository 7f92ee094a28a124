//! CLONE_GROUP_OFFSET (314): a group begins where another one is.

use super::{super::check_group, Gateway, Handled, Refusal, consume_stats, group_offset, success};
use crate::{
    broker::group::TopicPartition,
    wire::rocketmq::{RemotingCommand, ResponseCode, header::CloneGroupOffsetRequest},
};

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = CloneGroupOffsetRequest::parse(&command.fields)?;
    check_group(asked.dest_group)?;
    let (broker, from) = (&gateway.broker, asked.src_group.to_owned());
    let only = match asked.topic.filter(|topic| !topic.is_empty()) {
        Some(topic) => Some(gateway.topic(topic)?.id),
        None => None,
    };
    let committed = broker.on(broker.group_owner(asked.src_group), move |owner| {
        Box::pin(std::future::ready(consume_stats::committed(&owner, &from)))
    });
    let wanted =
        committed.await?.into_iter().filter(|(topic, _)| only.is_none_or(|id| id == *topic));
    let offsets: Vec<_> = wanted
        .flat_map(|(topic, offsets)| {
            let place = move |(partition, offset)| (TopicPartition { topic, partition }, offset);
            offsets.into_iter().map(place)
        })
        .collect();
    if offsets.is_empty() {
        let remark = format!("the group {} has no offsets there", asked.src_group);
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    group_offset::reset(gateway, asked.dest_group.to_owned(), offsets, false).await?;
    success(command)
}
