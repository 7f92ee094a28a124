//! What administrators ask of the broker: mqadmin's commands, and dashboards.

mod broker_config;
mod clone_offsets;
mod connections;
mod consume_stats;
pub(super) mod consumer;
mod group_config;
mod reset_offsets;
mod runtime_info;
mod stats_data;
mod topic_config;
mod topic_stats;

use std::rc::Rc;

use super::{Gateway, Handled, encoded, group_offset, notice, refusal::Refusal, route};
use crate::{
    base::{QueueId, ShardId},
    broker::{Broker, OffsetError, Stopping},
    env::LocalFuture,
    gateway::fan_out,
    wire::rocketmq::{RemotingCommand, RequestCode, ResponseCode},
};

pub(super) async fn handle(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    code: RequestCode,
) -> Handled {
    use RequestCode as Code;
    match code {
        Code::UpdateAndCreateTopic => topic_config::update(gateway, command).await,
        Code::UpdateAndCreateTopicList => topic_config::update_list(gateway, command).await,
        Code::GetSystemTopicListFromBroker => topic_config::system(gateway, command),
        Code::DeleteTopicInBroker => topic_config::delete(gateway, command).await,
        Code::GetTopicConfig => topic_config::get(gateway, command),
        Code::GetAllTopicConfig => topic_config::list(gateway, command),
        Code::UpdateAndCreateSubscriptiongroup => group_config::update(gateway, command).await,
        Code::UpdateAndCreateSubscriptiongroupList => {
            group_config::update_list(gateway, command).await
        }
        Code::DeleteSubscriptiongroup => group_config::delete(gateway, command).await,
        Code::GetSubscriptiongroupConfig => group_config::get(gateway, command),
        Code::GetAllSubscriptiongroupConfig => group_config::list(gateway, command).await,
        Code::GetTopicStatsInfo => topic_stats::offsets(gateway, command).await,
        Code::QueryTopicConsumeByWho => topic_stats::consumers(gateway, command).await,
        Code::GetConsumeStats => consume_stats::handle(gateway, command).await,
        Code::QueryConsumeTimeSpan => consume_stats::time_span(gateway, command).await,
        Code::QueryTopicsByConsumer => consume_stats::topics(gateway, command).await,
        Code::GetConsumerConnectionList => connections::consumers(gateway, command).await,
        Code::GetProducerConnectionList => connections::producers(gateway, command).await,
        Code::GetAllProducerInfo => connections::all_producers(gateway, command).await,
        Code::QuerySubscriptionByConsumer => connections::subscription(gateway, command).await,
        Code::InvokeBrokerToResetOffset => reset_offsets::handle(gateway, command).await,
        Code::CloneGroupOffset => clone_offsets::handle(gateway, command).await,
        Code::UpdateBrokerConfig => broker_config::update(gateway, command).await,
        Code::GetBrokerConfig => broker_config::get(gateway, command),
        Code::GetBrokerRuntimeInfo => runtime_info::handle(gateway, command).await,
        Code::ViewBrokerStatsData => stats_data::handle(gateway, command).await,
        _ => Err(Refusal::unknown(command.code)),
    }
}

fn success(command: &RemotingCommand<'_>) -> Handled {
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

/// The part of a list that is asked for: all of it where nothing is said.
fn page<T>(list: Vec<T>, first: Option<i32>, count: Option<i32>) -> Vec<T> {
    let size = |number: Option<i32>| number.and_then(|number| usize::try_from(number).ok());
    list.into_iter()
        .skip(size(first).unwrap_or(0))
        .take(size(count).unwrap_or(usize::MAX))
        .collect()
}

/// Asks queues, each with what it needs, on their owners' shards.
async fn each_queue<T, R, W>(
    gateway: &Gateway,
    items: Vec<(QueueId, T)>,
    work: W,
) -> Result<Vec<R>, Refusal>
where
    T: Send + 'static,
    R: Send + 'static,
    W: Fn(Rc<Broker>, QueueId, T) -> LocalFuture<'static, Result<R, OffsetError>>
        + Copy
        + Send
        + 'static,
{
    let broker = &gateway.broker;
    let items = items.into_iter().map(|item| (broker.owner(item.0), item)).collect();
    let results = fan_out::on_shards(broker, items, move |owner, items| {
        Box::pin(fan_out::each(items, move |(queue, what)| work(Rc::clone(&owner), queue, what)))
    });
    results.await.into_iter().map(|result| Ok(result??)).collect()
}

/// Asks every shard the same.
async fn each_shard<T, R>(
    gateway: &Gateway,
    what: T,
    work: impl Fn(Rc<Broker>, T) -> R + Copy + Send + 'static,
) -> Result<Vec<R>, Stopping>
where
    T: Clone + Send + 'static,
    R: Send + 'static,
{
    let broker = &gateway.broker;
    let items = (0..broker.shards()).map(|shard| (ShardId(shard), what.clone())).collect();
    let results = fan_out::on_shards(broker, items, move |owner, items: Vec<T>| {
        let results = items.into_iter().map(|what| work(Rc::clone(&owner), what)).collect();
        Box::pin(std::future::ready(results))
    });
    results.await.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_parts_of_the_list() {
        let list = vec!['a', 'b', 'c'];
        assert_eq!(page(list.clone(), None, None), list);
        assert_eq!(page(list.clone(), Some(1), Some(1)), ['b']);
        assert_eq!(page(list.clone(), Some(2), Some(9)), ['c']);
        assert!(page(list, Some(3), Some(9)).is_empty());
    }
}
