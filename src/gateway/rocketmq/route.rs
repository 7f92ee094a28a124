//! GET_ROUTEINFO_BY_TOPIC (105), of the name server: which brokers have a topic's queues.

use std::collections::BTreeMap;

use super::{Gateway, Handled, RocketMqSettings, encoded, refusal::Refusal};
use crate::{
    cluster::{Naming, Topic},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{BrokerData, QueueData, TopicRouteData, to_json},
        header::GetRouteInfoRequest,
    },
};

/// The topic whose route clients ask for when a topic has none: it tells where one may be created.
pub(super) const AUTO_CREATE_TOPIC: &str = "TBW102";

/// A queue may be read.
const READ: i32 = 4;

/// A queue may be written.
const WRITE: i32 = 2;

/// The topic config that says which queues of an ordered topic producers use.
pub(super) const ORDER_CONF: &str = "mainstem.rocketmq.order.conf";

/// New topics inherit the queue's settings.
const INHERIT: i32 = 1;

pub(super) fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetRouteInfoRequest::parse(&command.fields)?;
    let settings = &gateway.settings;
    let route = match gateway.broker.cluster().topic(asked.topic) {
        // Names that RocketMQ does not allow are Kafka's alone.
        Some(topic) if Naming::RocketMq.check(asked.topic).is_ok() => TopicRouteData {
            order_topic_conf: topic.configs.get(ORDER_CONF).map(|conf| conf.to_string()),
            ..route(settings, topic.read_queues(), topic.write_queues(), perm(topic))
        },
        None if asked.topic == AUTO_CREATE_TOPIC && settings.auto_create_topics => {
            let queues = settings.default_queues;
            route(settings, queues, queues, READ | WRITE | INHERIT)
        }
        _ => {
            let text = "No topic route info in name server for the topic: ";
            return Err(Refusal::new(
                ResponseCode::TopicNotExist,
                format!(
                    "{text}{}\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for \
                     further details.",
                    asked.topic
                ),
            ));
        }
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&route)?;
    encoded(&answer)
}

/// What clients may do with a topic's queues.
pub(super) fn perm(topic: &Topic) -> i32 {
    let view = &topic.settings.rocketmq;
    i32::from(view.readable) * READ + i32::from(view.writable) * WRITE
}

/// This broker, where clients reach it.
pub(super) fn broker(settings: &RocketMqSettings) -> BrokerData {
    BrokerData {
        broker_addrs: BTreeMap::from([(0, settings.advertised.to_string())]),
        broker_name: settings.broker_name.clone(),
        cluster: settings.cluster_name.clone(),
        ..BrokerData::default()
    }
}

fn route(settings: &RocketMqSettings, read: i32, write: i32, perm: i32) -> TopicRouteData {
    let queues = QueueData {
        broker_name: settings.broker_name.clone(),
        perm,
        read_queue_nums: read,
        write_queue_nums: write,
        topic_sys_flag: 0,
    };
    TopicRouteData {
        broker_datas: vec![broker(settings)],
        queue_datas: vec![queues],
        ..TopicRouteData::default()
    }
}
