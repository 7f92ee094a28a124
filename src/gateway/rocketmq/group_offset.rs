//! QUERY_CONSUMER_OFFSET (14) and UPDATE_CONSUMER_OFFSET (15): how far a group has consumed a queue.
//! The offsets are those that Kafka's clients commit, in the same groups.

use std::rc::Rc;

use futures_lite::future;

use super::{Gateway, Handled, check_group, client::Client, encoded, refusal::Refusal};
use crate::{
    base::QueueId,
    broker::{
        OffsetError,
        group::{GroupError, OffsetToCommit, Reply, TopicPartition},
    },
    env::LocalFuture,
    gateway::group_call,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        header::{OffsetResponse, QueryConsumerOffsetRequest, UpdateConsumerOffsetRequest},
    },
};

pub(super) async fn query(
    gateway: &Gateway,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Handled {
    let asked = QueryConsumerOffsetRequest::parse(&command.fields)?;
    let (queue, partition) = place(gateway, asked.topic, asked.queue_id)?;
    // A client whose offset was reset commits that, one-way, and asks at once where to go on.
    client.commits_end(gateway).await;
    settle(gateway, asked.consumer_group, partition).await;
    let group = asked.consumer_group.to_owned();
    let committed = group_call::call(&gateway.broker, asked.consumer_group, move |groups, _| {
        groups.committed_offset(&group, partition).map(|committed| committed.offset)
    });
    let offset = match committed.await? {
        Some(offset) => offset,
        None if asked.set_zero_if_not_found == Some(false) => return Err(unknown()),
        None => first_offset(gateway, queue).await?,
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    OffsetResponse { offset }.write(&mut answer.fields);
    encoded(&answer)
}

/// Waits, not for ever, until what anybody committed so far of a queue can be read. A client that gives
/// a queue up may commit on one connection and say that it leaves on another, as 4.9.8 does with its
/// VIP channel; who takes the queue over begins where that commit says.
async fn settle(gateway: &Gateway, group: &str, partition: TopicPartition) {
    let (broker, of) = (&gateway.broker, group.to_owned());
    let settled = group_call::ask(broker, group, move |groups, _, token| {
        groups.settle_offset(&of, partition, token);
    });
    let patience = broker.env().tasks.sleep(gateway.settings.stall_answer);
    future::or(async { drop(settled.await) }, patience).await;
}

/// Where a new group begins in a young queue, whatever its clients would choose: as in RocketMQ, so
/// that who subscribes a moment after the first message still gets it. A queue is young while its first
/// message is no further back in the log than the hot tail reaches (RocketMQ: than a share of the
/// machine's memory), over restarts too. In any other queue the clients choose.
async fn first_offset(gateway: &Gateway, queue: QueueId) -> Result<i64, Refusal> {
    let broker = &gateway.broker;
    let young = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move {
            let (start, _) = owner.ends(queue).ok_or(OffsetError::UnknownQueue)?;
            Ok::<_, OffsetError>(start == 0 && owner.is_recent(queue, 0).await)
        })
    });
    if young.await?? { Ok(0) } else { Err(unknown()) }
}

fn unknown() -> Refusal {
    let remark = "Not found, maybe this group consumer boot first";
    Refusal::new(ResponseCode::QueryNotFound, remark)
}

/// Begins a commit, once there is room for one.
pub(super) async fn update(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Result<LocalFuture<'static, Handled>, Refusal> {
    client.room_for_commit(&gateway).await?;
    let asked = UpdateConsumerOffsetRequest::parse(&command.fields)?;
    check_group(asked.consumer_group)?;
    let (_, partition) = place(&gateway, asked.topic, asked.queue_id)?;
    let (group, offset) = (asked.consumer_group.to_owned(), asked.commit_offset);
    let answer = RemotingCommand::answer(command, ResponseCode::Success);
    let under_way = client.begins_commit();
    Ok(Box::pin(async move {
        let committed = commit(&gateway, group, vec![(partition, offset)]).await;
        drop(under_way);
        committed?;
        encoded(&answer)
    }))
}

/// Stores an offset that came with a pull, which does not wait for it.
pub(super) fn store(
    gateway: &Rc<Gateway>,
    client: &Client,
    group: &str,
    topic: &str,
    queue_id: i32,
    offset: i64,
) -> Result<(), Refusal> {
    let (_, partition) = place(gateway, topic, queue_id)?;
    let (gateway, group) = (Rc::clone(gateway), group.to_owned());
    let tasks = Rc::clone(&gateway.broker.env().tasks);
    let under_way = client.begins_commit();
    tasks.spawn(Box::pin(async move {
        if let Err(error) = commit(&gateway, group, vec![(partition, offset)]).await {
            tracing::debug!(%error, "an offset that came with a pull is not stored");
        }
        drop(under_way);
    }));
    Ok(())
}

/// Commits offsets of a group, and waits until they are durable.
pub(super) async fn commit(
    gateway: &Gateway,
    group: String,
    offsets: Vec<(TopicPartition, i64)>,
) -> Result<(), GroupError> {
    let of = group.clone();
    let reply = group_call::ask(&gateway.broker, &of, move |groups, at, token| {
        groups.commit_peer_offsets(at, &group, &to_commit(&offsets), token);
    });
    committed(reply.await)
}

/// As [`commit`], for an administrator, with `lead` so that members go on there.
pub(super) async fn reset(
    gateway: &Gateway,
    group: String,
    offsets: Vec<(TopicPartition, i64)>,
    lead: bool,
) -> Result<(), GroupError> {
    let of = group.clone();
    let reply = group_call::ask(&gateway.broker, &of, move |groups, at, token| {
        groups.reset_peer_offsets(at, &group, &to_commit(&offsets), lead, token);
    });
    committed(reply.await)
}

fn to_commit(offsets: &[(TopicPartition, i64)]) -> Vec<OffsetToCommit<'static>> {
    let offset = |&(partition, offset): &(TopicPartition, i64)| OffsetToCommit {
        partition,
        offset,
        leader_epoch: None,
        metadata: "",
    };
    offsets.iter().map(offset).collect()
}

fn committed(reply: Option<Reply>) -> Result<(), GroupError> {
    match reply {
        Some(Reply::CommitOffsets(results)) => results?.into_iter().collect(),
        _ => Err(GroupError::CoordinatorNotAvailable),
    }
}

/// A queue, and its place in its topic by which offsets are kept.
pub(super) fn place(
    gateway: &Gateway,
    topic: &str,
    queue_id: i32,
) -> Result<(QueueId, TopicPartition), Refusal> {
    let queue = gateway.queue(topic, queue_id)?;
    let cluster = gateway.broker.cluster();
    let topic = cluster.topic(topic).ok_or_else(|| Refusal::no_topic(topic))?.id;
    Ok((queue, TopicPartition { topic, partition: queue_id as u32 }))
}
