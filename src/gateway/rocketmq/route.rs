//! GET_ROUTEINFO_BY_TOPIC (105), of the name server: which brokers have a topic's queues.

use std::collections::BTreeMap;

use super::{Gateway, Handled, RocketMqSettings, encoded, refusal::Refusal};
use crate::{
    cluster::Naming,
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{BrokerData, QueueData, TopicRouteData, to_json},
        header::GetRouteInfoRequest,
    },
};

/// The topic whose route clients ask for when a topic has none: it tells where one may be created.
pub(super) const AUTO_CREATE_TOPIC: &str = "TBW102";

/// A queue may be read and written.
const READ_WRITE: i32 = 4 | 2;

/// New topics inherit the queue's settings.
const INHERIT: i32 = 1;

pub(super) fn handle(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = GetRouteInfoRequest::parse(&command.fields)?;
    let settings = &gateway.settings;
    let route = match gateway.broker.cluster().topic(asked.topic) {
        // Names that RocketMQ does not allow are Kafka's alone.
        Some(topic) if Naming::RocketMq.check(asked.topic).is_ok() => {
            route(settings, topic.partitions(), READ_WRITE)
        }
        None if asked.topic == AUTO_CREATE_TOPIC && settings.auto_create_topics => {
            route(settings, settings.default_queues, READ_WRITE | INHERIT)
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

fn route(settings: &RocketMqSettings, queues: i32, perm: i32) -> TopicRouteData {
    let broker = BrokerData {
        broker_addrs: BTreeMap::from([(0, settings.advertised.to_string())]),
        broker_name: settings.broker_name.clone(),
        cluster: settings.cluster_name.clone(),
        ..BrokerData::default()
    };
    let queues = QueueData {
        broker_name: settings.broker_name.clone(),
        perm,
        read_queue_nums: queues,
        write_queue_nums: queues,
        topic_sys_flag: 0,
    };
    TopicRouteData {
        broker_datas: vec![broker],
        queue_datas: vec![queues],
        ..TopicRouteData::default()
    }
}
