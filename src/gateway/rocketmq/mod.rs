//! RocketMQ's protocol on the broker: its broker's face, and its name server's.
//!
//! A connection's requests are taken in order. Sends are answered once the log is durable as far as
//! their topic wants; pulls are worked on beside the rest, because an empty one is held until there
//! is something. Answers leave as they become ready: `opaque` pairs them with their requests.

mod admin;
mod client;
mod connection;
mod delay;
mod group_offset;
mod heartbeat;
mod held;
mod kv_config;
mod members;
mod message;
mod name_server;
mod names;
mod notice;
mod pull;
mod query;
mod queue_lock;
mod queue_offset;
mod recall;
mod refusal;
mod registration;
mod relay;
mod reply;
mod retry;
mod route;
mod send;
mod send_back;
mod topic;
mod under_way;

use std::{cell::Cell, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;

use super::{ColdRoom, Complaints, RequestMemory, answer::Answer};
use crate::{
    base::QueueId,
    broker::Broker,
    cluster::{Naming, Topic, check_group_name, fleet::Link},
    env::LocalFuture,
    wire::{
        WireError,
        rocketmq::{RemotingCommand, RequestCode, ResponseCode},
    },
};

pub use connection::{serve, serve_routes};
pub use registration::{registered_topics, registration, unregistration};

use client::Client;
use refusal::Refusal;

/// What the config says about RocketMQ's faces.
#[derive(Clone, Debug)]
pub struct RocketMqSettings {
    /// This broker as clients are told to reach it; it is in every message's id.
    pub advertised: SocketAddr,
    /// Its name.
    pub broker_name: String,
    /// Its cluster's name.
    pub cluster_name: String,
    /// Whether sending to an unknown topic creates it.
    pub auto_create_topics: bool,
    /// Whether UPDATE_BROKER_CONFIG is served.
    pub allow_config_update: bool,
    /// Most queues of a topic created so.
    pub default_queues: i32,
    /// Largest body of a message, in bytes.
    pub max_message_bytes: u32,
    /// Largest record that the log takes, in bytes.
    pub largest_record: u32,
    /// Largest request, in bytes.
    pub max_request_bytes: usize,
    /// Unanswered sends of one connection.
    pub connection_requests: usize,
    /// Pulls of one connection under way or held.
    pub connection_pulls: usize,
    /// How long a send may wait for the log.
    pub stall_answer: Duration,
    /// What the delay levels stand for, from level 1 on.
    pub delay_levels: Box<[Duration]>,
    /// The longest that a message may be delayed, by other means than a level.
    pub max_delay: Duration,
    /// Silence after which a connection is closed.
    pub idle: Duration,
}

/// RocketMQ's faces on one shard.
pub struct Gateway {
    /// The shard's broker.
    pub broker: Rc<Broker>,
    /// From the config.
    pub settings: Arc<RocketMqSettings>,
    /// Shared by all shards.
    pub memory: Arc<RequestMemory>,
    /// Of all faces of the shard.
    pub complaints: Rc<Complaints>,
    /// Of all faces of the shard.
    pub cold: Rc<ColdRoom>,
    /// Connections taken in so far; the next one's number.
    pub connections: Cell<u64>,
}

/// An answer, or why there is only a refusal.
type Handled = Result<Answer, Refusal>;

impl Gateway {
    /// Handles one request of a client of the broker.
    async fn handle(&self, client: &Client, command: &RemotingCommand<'_>) -> Handled {
        use RequestCode as Code;
        let Some(code) = Code::from_number(command.code) else {
            return Err(Refusal::unknown(command.code));
        };
        match code {
            Code::SendMessage | Code::SendMessageV2 | Code::SendBatchMessage => {
                send::handle(self, client, command).await
            }
            Code::ConsumerSendMsgBack => send_back::handle(self, command).await,
            Code::RecallMessage => recall::handle(self, command).await,
            Code::HeartBeat => heartbeat::handle(self, client, command).await,
            Code::UnregisterClient => heartbeat::unregister(self, client, command).await,
            Code::CheckClientConfig => heartbeat::check_config(command),
            Code::GetConsumerListByGroup => members::list(self, command).await,
            Code::QueryConsumerOffset => group_offset::query(self, client, command).await,
            Code::GetMaxOffset => queue_offset::max(self, command).await,
            Code::GetMinOffset => queue_offset::min(self, command).await,
            Code::GetEarliestMsgStoretime => queue_offset::earliest_time(self, command).await,
            Code::QueryMessage => query::by_key(self, command).await,
            Code::ViewMessageById => query::view(self, command).await,
            Code::SearchOffsetByTimestamp => queue_offset::search(self, command).await,
            Code::LockBatchMq => queue_lock::lock(self, command).await,
            Code::UnlockBatchMq => queue_lock::unlock(self, client, command).await,
            code => admin::handle(self, command, code).await,
        }
    }

    /// Begins what other requests do not wait for: pulls, which may be held, commits, of which a client
    /// sends one for each of its queues, and what somebody else has to take or to answer. `None` for
    /// all other requests.
    async fn begin(
        self: &Rc<Self>,
        client: &Client,
        command: &RemotingCommand<'_>,
    ) -> Option<Result<LocalFuture<'static, Handled>, Refusal>> {
        let gateway = Rc::clone(self);
        match RequestCode::from_number(command.code)? {
            RequestCode::PullMessage | RequestCode::LitePullMessage => {
                Some(pull::begin(gateway, client, command))
            }
            RequestCode::SendReplyMessage | RequestCode::SendReplyMessageV2 => {
                Some(reply::begin(gateway, client, command))
            }
            RequestCode::UpdateConsumerOffset => {
                Some(group_offset::update(gateway, client, command).await)
            }
            RequestCode::GetConsumerRunningInfo => {
                Some(admin::consumer::running_info(gateway, client, command))
            }
            RequestCode::ConsumeMessageDirectly => {
                Some(admin::consumer::consume(gateway, client, command))
            }
            _ => None,
        }
    }

    fn next_connection(&self) -> u64 {
        self.connections.replace(self.connections.get() + 1)
    }

    /// A topic whose name RocketMQ allows.
    fn topic(&self, name: &str) -> Result<Arc<Topic>, Refusal> {
        let cluster = self.broker.cluster();
        let found = cluster.topic(name).filter(|_| Naming::RocketMq.check(name).is_ok());
        found.cloned().ok_or_else(|| Refusal::no_topic(name))
    }

    /// The queue of a topic whose name RocketMQ allows.
    fn queue(&self, topic: &str, queue: i32) -> Result<QueueId, Refusal> {
        self.topic(topic)?.queue(queue).ok_or_else(|| Refusal::no_queue(topic, queue))
    }

    /// Handles one request to the name server.
    async fn handle_routes(&self, link: Link, command: &RemotingCommand<'_>) -> Handled {
        match RequestCode::from_number(command.code) {
            Some(RequestCode::GetRouteinfoByTopic) => route::handle(self, command).await,
            Some(RequestCode::RegisterBroker) => name_server::register(self, link, command).await,
            Some(RequestCode::UnregisterBroker) => name_server::unregister(self, command).await,
            Some(RequestCode::BrokerHeartbeat) => name_server::heartbeat(self, command).await,
            Some(RequestCode::QueryDataVersion) => name_server::query_version(self, command).await,
            Some(RequestCode::GetBrokerClusterInfo) => {
                name_server::cluster_info(self, command).await
            }
            Some(RequestCode::WipeWritePermOfBroker) => {
                name_server::wipe_write_perm(self, command).await
            }
            Some(RequestCode::AddWritePermOfBroker) => {
                name_server::add_write_perm(self, command).await
            }
            Some(RequestCode::GetSystemTopicListFromNs) => {
                names::system_topics(self, command).await
            }
            Some(RequestCode::GetAllTopicListFromNameserver) => names::topics(self, command).await,
            Some(RequestCode::GetTopicsByCluster) => names::topics_of_cluster(self, command).await,
            Some(RequestCode::DeleteTopicInNamesrv) => names::delete_topic(self, command).await,
            Some(RequestCode::PutKvConfig) => kv_config::put(self, command).await,
            Some(RequestCode::GetKvConfig) => kv_config::get(self, command),
            Some(RequestCode::DeleteKvConfig) => kv_config::delete(self, command).await,
            Some(RequestCode::GetKvlistByNamespace) => kv_config::list(self, command),
            _ => Err(Refusal::unknown(command.code)),
        }
    }
}

/// Checks the name of a group that a client consumes in, or whose offsets it stores. Kafka's clients may
/// have groups with other names, whose offsets can be read.
fn check_group(group: &str) -> Result<(), Refusal> {
    // RocketMQ does not make such a group, and then it is not there.
    check_group_name(group).map_err(|error| {
        Refusal::bad_input(ResponseCode::SubscriptionGroupNotExist, error.to_string())
    })
}

/// Room for the header of a usual answer, in bytes; a send's has some 300.
const ANSWER_BYTES: usize = 512;

/// An answer that may leave at once.
fn encoded(answer: &RemotingCommand<'_>) -> Handled {
    Ok(written(answer)?)
}

fn written(command: &RemotingCommand<'_>) -> Result<Answer, WireError> {
    let mut out = BytesMut::with_capacity(ANSWER_BYTES + command.body.len());
    command.encode(&mut out)?;
    Ok(Answer::now(out.freeze()))
}
