//! VIEW_BROKER_STATS_DATA (315): how many messages came to a topic, or went to a group.

use super::{Gateway, Handled, Refusal, consume_stats, each_queue, each_shard, encoded};
use crate::{
    broker::FlowFigures,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{BrokerStatsData, BrokerStatsItem, to_json},
        header::ViewBrokerStatsDataRequest,
    },
};

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = ViewBrokerStatsDataRequest::parse(&command.fields)?;
    let figures = match (asked.stats_name, asked.stats_key.split_once('@')) {
        ("TOPIC_PUT_NUMS", _) => came(gateway, asked.stats_key).await?,
        ("GROUP_GET_NUMS", Some((topic, group))) => {
            let topic = &gateway.topic(topic)?.name;
            consume_stats::pulled(gateway, group, topic).await?
        }
        ("BROKER_PUT_NUMS", _) => traffic(gateway).await?.0,
        ("BROKER_GET_NUMS", _) => traffic(gateway).await?.1,
        (name, _) => {
            let remark = format!("The stats <{name}> <{}> not exist", asked.stats_key);
            return Err(Refusal::new(ResponseCode::SystemError, remark));
        }
    };
    let item = |sum: u64, seconds: f64| BrokerStatsItem {
        avgpt: 0.0,
        sum: sum as i64,
        tps: sum as f64 / seconds,
    };
    let data = BrokerStatsData {
        stats_day: item(figures.day, 86_400.0),
        stats_hour: item(figures.hour, 3_600.0),
        stats_minute: item(figures.minute, 60.0),
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&data)?;
    encoded(&answer)
}

async fn came(gateway: &Gateway, topic: &str) -> Result<FlowFigures, Refusal> {
    let topic = gateway.topic(topic)?;
    let queues = topic.queues.iter().map(|queue| (*queue, ())).collect();
    let parts = each_queue(gateway, queues, |owner, queue, ()| {
        Box::pin(async move { owner.came(queue).await })
    });
    let mut sum = FlowFigures::default();
    parts.await?.iter().for_each(|part| sum.merge(part));
    Ok(sum)
}

/// What came to the whole broker, and went from it to RocketMQ's consumers.
pub(super) async fn traffic(gateway: &Gateway) -> Result<(FlowFigures, FlowFigures), Refusal> {
    let parts = each_shard(gateway, (), |owner, ()| owner.traffic());
    let (mut puts, mut gets) = (FlowFigures::default(), FlowFigures::default());
    for (came, went) in parts.await? {
        puts.merge(&came);
        gets.merge(&went);
    }
    Ok((puts, gets))
}
