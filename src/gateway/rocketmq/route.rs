//! GET_ROUTEINFO_BY_TOPIC (105), of the name server: which brokers have a topic's queues.

use super::{
    Gateway, Handled, RocketMqSettings, encoded,
    name_server::{ask_fleet, broker_data, own_data},
    refusal::Refusal,
    topic::{AUTO_CREATE_TOPIC, queues_unmade},
};
use crate::{
    broker::Stopping,
    cluster::{
        ClusterState, Naming, RETRY, Topic,
        fleet::{TopicQueues, WRITE},
    },
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{QueueData, TopicRouteData, to_json},
        header::GetRouteInfoRequest,
    },
};

/// A queue may be read.
const READ: i32 = 4;

/// The topic config that says which queues of an ordered topic producers use.
pub(super) const ORDER_CONF: &str = "mainstem.rocketmq.order.conf";

/// New topics inherit the queue's settings.
const INHERIT: i32 = 1;

pub(super) async fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetRouteInfoRequest::parse(&command.fields)?;
    let mut route = TopicRouteData::default();
    let own = {
        let cluster = gateway.broker.cluster();
        let order = cluster.topic(asked.topic).and_then(|topic| topic.configs.get(ORDER_CONF));
        route.order_topic_conf = order.map(|conf| conf.to_string());
        own_queues(&gateway.settings, &cluster, asked.topic)
    };
    let topic = asked.topic.to_owned();
    let fleet = ask_fleet(gateway, move |fleet, now| {
        fleet.expire(now);
        (fleet.own_closed, fleet.of_topic(&topic))
    });
    let (own_closed, others) = fleet.await?;
    if let Some(queues) = own {
        let own = own_data(gateway);
        let queues = if own_closed { queues.closed() } else { queues };
        route.queue_datas.push(queue_data(&own.broker_name, queues));
        route.broker_datas.push(own);
    } else if retries_nothing(gateway, asked.topic).await? {
        route.broker_datas.push(own_data(gateway));
    }
    for (broker, queues) in others {
        route.queue_datas.push(queue_data(&broker.name, queues));
        route.broker_datas.push(broker_data(&broker));
    }
    if route.broker_datas.is_empty() {
        let text = "No topic route info in name server for the topic: ";
        return Err(Refusal::new(
            ResponseCode::TopicNotExist,
            format!(
                "{text}{}\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further \
                 details.",
                asked.topic
            ),
        ));
    }
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&route)?;
    encoded(&answer)
}

/// Whether a topic would be the retry topic of a group that has none, as Kafka's groups do: mqadmin
/// finds a group by where that topic is.
async fn retries_nothing(gateway: &Gateway, topic: &str) -> Result<bool, Stopping> {
    let Some(group) = topic.strip_prefix(RETRY) else { return Ok(false) };
    let broker = &gateway.broker;
    let (owner, group) = (broker.group_owner(group), group.to_owned());
    let is_there = broker.on(owner, move |owner| {
        let is_there = owner.with_groups(|groups, _| groups.describe(&group).is_some());
        // Members of RocketMQ's would divide its queues, of which there are none.
        let is_kafkas = is_there && owner.group_clients(&group).is_empty();
        Box::pin(std::future::ready(is_kafkas))
    });
    is_there.await
}

/// What clients may do with a topic's queues.
pub(super) fn perm(topic: &Topic) -> i32 {
    let view = &topic.settings.rocketmq;
    i32::from(view.readable) * READ + i32::from(view.writable) * WRITE
}

/// What this broker has of a topic, for RocketMQ's clients.
pub(super) fn own_queues(
    settings: &RocketMqSettings,
    cluster: &ClusterState,
    name: &str,
) -> Option<TopicQueues> {
    let of = |queues, perm| TopicQueues { read: queues, write: queues, perm, sys_flag: 0 };
    match cluster.topic(name) {
        // Names that RocketMQ does not allow are Kafka's alone.
        Some(topic) if Naming::RocketMq.check(name).is_ok() => Some(TopicQueues {
            read: topic.read_queues(),
            write: topic.write_queues(),
            perm: perm(topic),
            sys_flag: 0,
        }),
        Some(_) => None,
        None if name == AUTO_CREATE_TOPIC && settings.auto_create_topics => {
            Some(of(settings.default_queues, READ | WRITE | INHERIT))
        }
        None => Some(of(queues_unmade(settings, name)?, READ | WRITE)),
    }
}

fn queue_data(broker_name: &str, queues: TopicQueues) -> QueueData {
    QueueData {
        broker_name: broker_name.to_owned(),
        perm: queues.perm,
        read_queue_nums: queues.read,
        topic_sys_flag: queues.sys_flag,
        write_queue_nums: queues.write,
    }
}
