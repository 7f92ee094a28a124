//! INVOKE_BROKER_TO_RESET_OFFSET (222): where a group goes on in a topic, by a time or an offset. It is
//! committed for all members, and those that are online are told to go there (220); where all of them pull
//! by themselves, the next pull of each queue is answered with it (21), since these pass over what they
//! are told.

use std::sync::Arc;

use super::{
    Gateway, Handled, Refusal, consume_stats, each_queue, each_shard, encoded, group_offset, notice,
};
use crate::{
    base::QueueId,
    broker::{Notice, OffsetError, OffsetSpec, group::TopicPartition},
    cluster::Topic,
    wire::rocketmq::{RemotingCommand, ResponseCode, body::to_json, header::ResetOffsetRequest},
};

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ResetOffsetRequest::parse(&command.fields)?;
    let topic = gateway.topic(asked.topic)?;
    let offsets: Arc<[_]> = offsets(gateway, &asked, &topic).await?.into();
    let place = |partition: i32| TopicPartition { topic: topic.id, partition: partition as u32 };
    let commits = offsets.iter().map(|&(partition, offset)| (place(partition), offset)).collect();
    let lead = pulls_by_itself(gateway, asked.group).await?;
    group_offset::reset(gateway, asked.group.to_owned(), commits, lead).await?;
    let pair: (Arc<str>, Arc<str>) = (asked.group.into(), Arc::clone(&topic.name));
    each_shard(gateway, pair, |owner, (group, topic)| owner.forget_pulled(&group, &topic)).await?;
    if lead {
        end_held_pulls(gateway, &topic, &offsets).await?;
    } else {
        tell(gateway, asked.group, &topic, Arc::clone(&offsets)).await?;
    }
    let body = notice::reset_body(&gateway.settings.broker_name, &topic.name, &offsets);
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&body)?;
    encoded(&answer)
}

/// The new offset of each queue, or of the one that is asked for.
async fn offsets(
    gateway: &Gateway,
    asked: &ResetOffsetRequest<'_>,
    topic: &Topic,
) -> Result<Vec<(i32, i64)>, Refusal> {
    let committed = committed(gateway, asked.group, topic).await?;
    let read = topic.read_queues();
    let queues = match asked.queue_id.filter(|queue| *queue >= 0) {
        Some(queue) if queue < read => queue..queue + 1,
        Some(queue) => return Err(Refusal::no_queue(&topic.name, queue)),
        None => 0..read,
    };
    let target = match (asked.offset.filter(|offset| *offset >= 0), asked.timestamp) {
        (Some(offset), _) => Target::Offset(offset),
        (None, ..0) => Target::Found(OffsetSpec::Latest),
        (None, time) => Target::Found(OffsetSpec::StoredAt(time)),
    };
    let items: Vec<(QueueId, _)> = topic.queues[queues.start as usize..queues.end as usize]
        .iter()
        .map(|queue| (*queue, target))
        .collect();
    let found = each_queue(gateway, items, |owner, queue, target| {
        Box::pin(async move {
            let (start, end) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            Ok(match target {
                Target::Offset(offset) => within(offset, start, end),
                Target::Found(spec) => {
                    Ok(owner.find_offset(queue, spec).await?.map_or(end, |found| found.offset))
                }
            })
        })
    });
    let found: Vec<i64> = found.await?.into_iter().collect::<Result<_, Refusal>>()?;
    Ok(queues
        .zip(found)
        .map(|(partition, offset)| {
            let now = committed.get(&(partition as u32)).copied();
            // Without force a group only goes back.
            let kept = now.filter(|now| !asked.is_force && asked.offset.is_none() && *now < offset);
            (partition, kept.unwrap_or(offset))
        })
        .collect())
}

/// An offset that was asked for, if the queue has it. One behind the end is let pass, as in RocketMQ
/// (`AdminBrokerProcessor.resetOffsetInner`), and is the end.
fn within(offset: i64, start: i64, end: i64) -> Result<i64, Refusal> {
    if offset < start || offset > end + 1 {
        let remark = format!("Target offset {offset} not in consume queue range [{start}-{end}]");
        return Err(Refusal::new(ResponseCode::SystemError, remark));
    }
    Ok(offset.min(end))
}

#[derive(Clone, Copy)]
enum Target {
    Offset(i64),
    Found(OffsetSpec),
}

/// What a group has committed of a topic.
///
/// # Errors
/// Nobody knows the group.
async fn committed(
    gateway: &Gateway,
    group: &str,
    topic: &Topic,
) -> Result<std::collections::BTreeMap<u32, i64>, Refusal> {
    let (broker, of) = (&gateway.broker, group.to_owned());
    let told = broker.on(broker.group_owner(group), move |owner| {
        let committed = consume_stats::committed(&owner, &of);
        let known = !committed.is_empty() || !owner.group_clients(&of).is_empty();
        Box::pin(std::future::ready((committed, known)))
    });
    let (mut committed, known) = told.await?;
    if !known && !broker.cluster().group_configs().contains_key(group) {
        let remark = format!("Group {group} not exist!");
        return Err(Refusal::new(ResponseCode::SubscriptionGroupNotExist, remark));
    }
    Ok(committed.remove(&topic.id).unwrap_or_default())
}

/// Whether members are led to new offsets by their pulls.
async fn pulls_by_itself(gateway: &Gateway, group: &str) -> Result<bool, Refusal> {
    let (broker, of) = (&gateway.broker, group.to_owned());
    let pulls = broker.on(broker.group_owner(group), move |owner| {
        Box::pin(std::future::ready(owner.group_pulls_by_itself(&of)))
    });
    Ok(pulls.await?)
}

/// Lets pulls that wait come again at once, so that they learn where to go on. Those of other groups do
/// the same in vain.
async fn end_held_pulls(
    gateway: &Gateway,
    topic: &Topic,
    offsets: &[(i32, i64)],
) -> Result<(), Refusal> {
    let queues = offsets.iter().filter_map(|(partition, _)| Some((topic.queue(*partition)?, ())));
    let ended = each_queue(gateway, queues.collect(), |owner, queue, ()| {
        owner.end_held_pulls(queue);
        Box::pin(std::future::ready(Ok(())))
    });
    ended.await.map(drop)
}

/// Tells the members that are online.
async fn tell(
    gateway: &Gateway,
    group: &str,
    topic: &Topic,
    offsets: Arc<[(i32, i64)]>,
) -> Result<(), Refusal> {
    let (broker, of) = (&gateway.broker, group.to_owned());
    let topic = Arc::clone(&topic.name);
    let missed = broker.on(broker.group_owner(group), move |owner| {
        let notice = Notice::Offsets { group: of.as_str().into(), topic, offsets };
        let members = owner.group_members(&of);
        let missed =
            members.iter().filter(|member| member.notices.try_send(notice.clone()).is_err());
        Box::pin(std::future::ready(missed.count()))
    });
    match missed.await? {
        0 => Ok(()),
        missed => {
            let remark = format!("{missed} members could not be told, the others were: try again");
            Err(Refusal::new(ResponseCode::SystemBusy, remark))
        }
    }
}
