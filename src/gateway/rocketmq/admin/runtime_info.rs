//! GET_BROKER_RUNTIME_INFO (28): figures by the names that mqadmin's clusterList and brokerStatus know.

use super::{Gateway, Handled, Refusal, each_queue, encoded, stats_data};
use crate::{
    broker::FlowFigures,
    wire::rocketmq::{
        RemotingCommand, ResponseCode, VERSION,
        body::{KvTable, to_json},
    },
};

/// Queues that are looked at for the oldest message.
const QUEUES_LOOKED_AT: usize = 1_000;

/// Lines that requests and timers stand in at RocketMQ's broker. Here there are none.
const NOTHING_WAITS: [&str; 16] = [
    "ackThreadPoolQueueHeadWaitTimeMills",
    "ackThreadPoolQueueSize",
    "dispatchBehindBytes",
    "endTransactionThreadPoolQueueSize",
    "pageCacheLockTimeMills",
    "pullThreadPoolQueueHeadWaitTimeMills",
    "pullThreadPoolQueueSize",
    "queryThreadPoolQueueHeadWaitTimeMills",
    "queryThreadPoolQueueSize",
    "sendThreadPoolQueueHeadWaitTimeMills",
    "sendThreadPoolQueueSize",
    "timerCongestNum",
    "timerDequeueTps",
    "timerEnqueueTps",
    "timerOffsetBehind",
    "timerReadBehind",
];

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let (puts, gets) = stats_data::traffic(gateway).await?;
    let oldest = oldest_ms(gateway).await?.unwrap_or_else(|| gateway.broker.env().clock.wall_ms());
    let log = log(gateway).into_iter().chain([("earliestMessageTimeStamp", oldest.to_string())]);
    let told =
        log.chain(flows(&puts, &gets)).chain(NOTHING_WAITS.map(|name| (name, "0".to_owned())));
    let table = told.map(|(name, value)| (name.to_owned(), value)).collect();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&KvTable { table })?;
    encoded(&answer)
}

/// When the oldest message was stored, by as many queues as are looked at.
async fn oldest_ms(gateway: &Gateway) -> Result<Option<i64>, Refusal> {
    let queues: Vec<_> = {
        let cluster = gateway.broker.cluster();
        let all = cluster.topics().flat_map(|topic| topic.queues.iter());
        all.take(QUEUES_LOOKED_AT).map(|queue| (*queue, ())).collect()
    };
    let found = each_queue(gateway, queues, |owner, queue, ()| {
        Box::pin(async move {
            match owner.ends(queue) {
                Some((start, end)) if start < end => owner.append_time(queue, start).await,
                _ => Ok(None),
            }
        })
    });
    Ok(found.await?.into_iter().flatten().min())
}

fn log(gateway: &Gateway) -> Vec<(&'static str, String)> {
    let (broker, cluster) = (&gateway.broker, gateway.broker.cluster());
    let log = broker.log();
    let (volume, durable) = (broker.volume(), log.durable().0);
    let used = volume.total_bytes.saturating_sub(volume.free_bytes);
    let ratio = used as f64 / volume.total_bytes.max(1) as f64;
    vec![
        ("brokerActive", log.failure().is_none().to_string()),
        ("brokerVersion", VERSION.to_string()),
        ("brokerVersionDesc", format!("Mainstem_{}", env!("CARGO_PKG_VERSION"))),
        (
            "commitLogDirCapacity",
            format!("Total : {} bytes, Free : {} bytes.", volume.total_bytes, volume.free_bytes),
        ),
        ("commitLogDiskRatio", format!("{ratio:.4}")),
        ("commitLogMaxOffset", durable.to_string()),
        ("consumeQueueDiskRatio", format!("{ratio:.4}")),
        ("queueCount", cluster.queue_count().to_string()),
        ("remainHowManyDataToFlush", format!("{} bytes", log.reserved().0.saturating_sub(durable))),
        ("topicCount", cluster.topics().len().to_string()),
    ]
}

fn flows(puts: &FlowFigures, gets: &FlowFigures) -> Vec<(&'static str, String)> {
    let today = |flow: &FlowFigures| flow.total.saturating_sub(flow.today);
    let yesterday = |flow: &FlowFigures| today(flow).saturating_sub(flow.yesterday);
    vec![
        ("getTotalTps", tps(gets)),
        ("getTransferredTps", tps(gets)),
        ("msgGetTotalTodayMorning", today(gets).to_string()),
        ("msgGetTotalTodayNow", gets.total.to_string()),
        ("msgGetTotalYesterdayMorning", yesterday(gets).to_string()),
        ("msgPutTotalTodayMorning", today(puts).to_string()),
        ("msgPutTotalTodayNow", puts.total.to_string()),
        ("msgPutTotalYesterdayMorning", yesterday(puts).to_string()),
        ("putTps", tps(puts)),
    ]
}

/// Messages a second: in the last ten seconds, in the last minute, in the last ten.
fn tps(flow: &FlowFigures) -> String {
    let a_second = |count: u64, seconds: f64| count as f64 / seconds;
    format!(
        "{:.2} {:.2} {:.2}",
        a_second(flow.ten_seconds, 10.0),
        a_second(flow.minute, 60.0),
        a_second(flow.ten_minutes, 600.0)
    )
}
