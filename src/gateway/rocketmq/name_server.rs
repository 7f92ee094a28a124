//! REGISTER_BROKER (103), UNREGISTER_BROKER (104), GET_BROKER_CLUSTER_INFO (106),
//! WIPE_WRITE_PERM_OF_BROKER (205), QUERY_DATA_VERSION (322), ADD_WRITE_PERM_OF_BROKER (327) and
//! BROKER_HEARTBEAT (904), of the name server: other brokers, which clients find here too. So a fleet
//! can be moved over one broker at a time.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Gateway, Handled, encoded, names, refusal::Refusal};
use crate::{
    base::{ShardId, checksum},
    broker::Stopping,
    cluster::fleet::{Fleet, KnownBroker, Link, Registration, TopicQueues, TopicsVersion},
    wire::rocketmq::{
        RemotingCommand, ResponseCode,
        body::{BrokerData, ClusterInfo, DataVersion, RegisterBrokerBody, from_json, to_json},
        header::{
            AddWritePermResponse, BrokerHeartbeatRequest, BrokerRequest, QueryDataVersionResponse,
            RegisterBrokerRequest, RegisterBrokerResponse, WipeWritePermResponse, WritePermRequest,
        },
    },
};

/// The shard that knows the other brokers.
const KEEPER: ShardId = ShardId(0);

/// What zlib's format begins with, and JSON does not.
const ZLIB: u8 = 0x78;

/// Asks who knows the other brokers, with the time on the monotonic clock.
pub(super) async fn ask_fleet<R: Send + 'static>(
    gateway: &Gateway,
    ask: impl FnOnce(&mut Fleet, Duration) -> R + Send + 'static,
) -> Result<R, Stopping> {
    let asked = gateway.broker.on(KEEPER, |keeper| {
        Box::pin(async move { ask(&mut keeper.fleet(), keeper.env().clock.monotonic()) })
    });
    asked.await
}

pub(super) async fn register(
    gateway: &Gateway,
    link: Link,
    command: &RemotingCommand<'_>,
) -> Handled {
    let asked = RegisterBrokerRequest::parse(&command.fields)?;
    let refused = |remark: &str| Refusal::new(ResponseCode::SystemError, remark);
    if asked.broker_name == gateway.settings.broker_name {
        return Err(refused("the broker name is that of the name server's own broker"));
    }
    let sum = asked.body_crc32.unwrap_or(0);
    if sum != 0 && sum != body_sum(&command.body) {
        return Err(refused("crc32 not match"));
    }
    // Brokers of 5.5.0 deflate it and say that they did not. It may become as large as another may be.
    let is_deflated = asked.compressed == Some(true) || command.body.first() == Some(&ZLIB);
    let body = match is_deflated {
        _ if command.body.is_empty() => RegisterBrokerBody::default(),
        true => RegisterBrokerBody::inflate(&command.body, gateway.settings.max_request_bytes)?,
        false => from_json(&command.body)?,
    };
    let topics = body.topic_config_serialize_wrapper;
    let patience = asked.heartbeat_timeout_millis.and_then(|ms| u64::try_from(ms).ok());
    let broker = Registration {
        cluster: asked.cluster_name.into(),
        name: asked.broker_name.into(),
        id: asked.broker_id,
        address: asked.broker_addr.into(),
        ha_address: asked.ha_server_addr.into(),
        patience: patience.filter(|ms| *ms > 0).map(Duration::from_millis),
        topics: topics
            .topic_config_table
            .into_iter()
            .map(|(name, topic)| {
                let (read, write) = (topic.read_queue_nums, topic.write_queue_nums);
                let (perm, sys_flag) = (topic.perm, topic.topic_sys_flag);
                (name.into(), TopicQueues { read, write, perm, sys_flag })
            })
            .collect(),
        version: version(&topics.data_version),
        link,
    };
    tracing::debug!(
        broker = &*broker.name,
        id = broker.id,
        address = &*broker.address,
        "a broker registers"
    );
    let registered = ask_fleet(gateway, |fleet, now| fleet.register(now, broker)).await?;
    let master = registered.map_err(|error| refused(&error.to_string()))?;
    let (master, ha) = master.unzip();
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let header =
        RegisterBrokerResponse { ha_server_addr: ha.as_deref(), master_addr: master.as_deref() };
    header.write(&mut answer.fields);
    encoded(&answer)
}

/// As a registration sums its body (`UtilAll.crc32`).
pub(super) fn body_sum(body: &[u8]) -> i32 {
    (checksum::crc32(body) & 0x7fff_ffff) as i32
}

fn version(told: &DataVersion) -> TopicsVersion {
    let DataVersion { timestamp, counter, state_version: state } = *told;
    TopicsVersion { timestamp, counter, state }
}

pub(super) async fn unregister(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = BrokerRequest::parse(&command.fields)?;
    let (name, address, id) =
        (asked.broker_name.to_owned(), asked.broker_addr.to_owned(), asked.broker_id);
    ask_fleet(gateway, move |fleet, _| fleet.unregister(&name, id, &address)).await?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

pub(super) async fn heartbeat(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = BrokerHeartbeatRequest::parse(&command.fields)?;
    hear(gateway, asked.broker_name, asked.broker_addr).await?;
    encoded(&RemotingCommand::answer(command, ResponseCode::Success))
}

/// Whether a broker's topics changed since it registered.
pub(super) async fn query_version(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let asked = BrokerRequest::parse(&command.fields)?;
    let told: DataVersion = from_json(&command.body)?;
    let known = hear(gateway, asked.broker_name, asked.broker_addr).await?;
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    QueryDataVersionResponse { changed: known != Some(version(&told)) }.write(&mut answer.fields);
    if let Some(TopicsVersion { timestamp, counter, state: state_version }) = known {
        answer.body = to_json(&DataVersion { counter, state_version, timestamp })?;
    }
    encoded(&answer)
}

/// Producers that ask here find a broker no more, until they are to again or the name server starts
/// anew; consumers do. So it can be read empty.
pub(super) async fn wipe_write_perm(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let wipe_topic_count = set_closed(gateway, command, true).await?;
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    WipeWritePermResponse { wipe_topic_count }.write(&mut answer.fields);
    encoded(&answer)
}

pub(super) async fn add_write_perm(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let add_topic_count = set_closed(gateway, command, false).await?;
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    AddWritePermResponse { add_topic_count }.write(&mut answer.fields);
    encoded(&answer)
}

/// How many topics the broker has.
async fn set_closed(
    gateway: &Gateway,
    command: &RemotingCommand<'_>,
    closed: bool,
) -> Result<i32, Refusal> {
    let asked = WritePermRequest::parse(&command.fields)?;
    let count = if asked.broker_name == gateway.settings.broker_name {
        ask_fleet(gateway, move |fleet, _| fleet.own_closed = closed).await?;
        names::allowed(&gateway.broker.cluster()).count()
    } else {
        let name = asked.broker_name.to_owned();
        ask_fleet(gateway, move |fleet, _| fleet.set_closed(&name, closed)).await?
    };
    tracing::info!(broker = asked.broker_name, closed, "a broker is closed to producers or opened");
    Ok(i32::try_from(count).unwrap_or(i32::MAX))
}

async fn hear(
    gateway: &Gateway,
    name: &str,
    address: &str,
) -> Result<Option<TopicsVersion>, Stopping> {
    let (name, address) = (name.to_owned(), address.to_owned());
    ask_fleet(gateway, move |fleet, now| fleet.hear(now, &name, &address)).await
}

pub(super) async fn cluster_info(gateway: &Gateway, command: &RemotingCommand<'_>) -> Handled {
    let others = ask_fleet(gateway, |fleet, now| {
        fleet.expire(now);
        fleet.brokers()
    });
    let mut info = ClusterInfo::default();
    let others = others.await?.iter().map(broker_data).collect::<Vec<_>>();
    for broker in others.into_iter().chain([own_data(gateway)]) {
        let names = info.cluster_addr_table.entry(broker.cluster.clone()).or_default();
        names.push(broker.broker_name.clone());
        info.broker_addr_table.insert(broker.broker_name.clone(), broker);
    }
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    answer.body = to_json(&info)?;
    encoded(&answer)
}

/// This broker, as clients are told of it.
pub(super) fn own_data(gateway: &Gateway) -> BrokerData {
    let settings = &gateway.settings;
    BrokerData {
        broker_addrs: BTreeMap::from([(0, settings.advertised.to_string())]),
        broker_name: settings.broker_name.clone(),
        cluster: settings.cluster_name.clone(),
        ..BrokerData::default()
    }
}

pub(super) fn broker_data(known: &KnownBroker) -> BrokerData {
    let address = |(id, address): (&i64, &Arc<str>)| (*id, address.as_ref().to_owned());
    BrokerData {
        broker_addrs: known.addresses.iter().map(address).collect(),
        broker_name: known.name.as_ref().to_owned(),
        cluster: known.cluster.as_ref().to_owned(),
        ..BrokerData::default()
    }
}
