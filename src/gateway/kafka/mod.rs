//! Kafka's protocol on the broker.
//!
//! A connection is served by two tasks on its shard: one reads and handles requests in order, one
//! sends the answers in the same order, each once the log is durable as far as it says. So sends are
//! pipelined, while everything else is handled one at a time, as in Kafka.

mod alter_configs;
mod api_versions;
mod connection;
mod create_partitions;
mod create_topics;
mod delay;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod error;
mod fetch;
mod find_coordinator;
mod group_call;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod node;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod offset_partitions;
mod produce;
mod queues;
mod rights;
mod sync_group;

#[cfg(test)]
mod tests;

use std::{hash::Hash, mem, net::IpAddr, rc::Rc, sync::Arc};

use bytes::Bytes;
use hashbrown::HashSet;
use kafka_protocol::error::ResponseError;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use self::fetch::FetchSession;
use super::{ColdRoom, Complaints, RequestMemory, answer::Answer, fan_out};
use crate::{
    broker::Broker,
    wire::{
        WireError,
        kafka::{ApiKey, RequestHeader, message},
    },
};

pub use connection::serve;
pub use fetch::FetchSessionMemory;
pub use node::Node;

/// What the config says about Kafka's face.
#[derive(Clone, Debug)]
pub struct KafkaSettings {
    /// This broker as clients are told to reach it.
    pub node: Node,
    /// Largest request, in bytes.
    pub max_request_bytes: usize,
    /// Unanswered sends of one connection.
    pub connection_requests: usize,
    /// Most bytes in one answer to a fetch.
    pub fetch_max_bytes: u64,
    /// How long a send may wait for the log.
    pub stall_answer: std::time::Duration,
    /// The longest delay a record may have.
    pub max_delay: std::time::Duration,
    /// Silence after which a connection is closed.
    pub idle: std::time::Duration,
}

/// Kafka's face on one shard.
pub struct Gateway {
    /// The shard's broker.
    pub broker: Rc<Broker>,
    /// From the config.
    pub settings: Arc<KafkaSettings>,
    /// Shared by all shards.
    pub memory: Arc<RequestMemory>,
    /// Of all faces of the shard.
    pub complaints: Rc<Complaints>,
    /// Of all faces of the shard.
    pub cold: Rc<ColdRoom>,
    /// Shared by all shards.
    pub sessions: Arc<FetchSessionMemory>,
}

/// Why a request ends its connection.
#[derive(Debug, thiserror::Error)]
enum RequestError {
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A client that wants no answer (acks=0) learns in no other way that it has to ask anew where a
    /// topic is. Kafka does the same.
    #[error("{0:?}, and no answer is wanted")]
    Unanswered(ResponseError),
}

/// One request of a client, its header parsed.
pub struct Request {
    /// The API.
    pub key: ApiKey,
    /// Its version, one that is served.
    pub version: i16,
    /// To be repeated in the answer.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<String>,
    /// Where it connects from.
    pub client_host: IpAddr,
    /// The request without its header.
    pub body: Bytes,
    /// Whether it has memory that other clients' requests may be waiting for.
    pub holds_memory: bool,
}

impl Request {
    fn parse(frame: Bytes, client_host: IpAddr) -> Result<Self, WireError> {
        let header = RequestHeader::parse(&frame)?;
        // Clients ask for their newest ApiVersions first and are told which ones there are (KIP-511).
        if header.key != ApiKey::ApiVersions {
            header.check_version()?;
        }
        Ok(Self {
            key: header.key,
            version: header.version,
            correlation_id: header.correlation_id,
            client_id: header.client_id.map(str::to_owned),
            client_host,
            body: frame.slice_ref(header.body),
            holds_memory: false,
        })
    }

    /// The body as the API's struct.
    ///
    /// # Errors
    /// Where it is none.
    pub fn decode<T: Decodable>(&self) -> Result<T, WireError> {
        message::decode(self.key, self.version, self.body.clone())
    }

    /// As [`Request::decode`], and nothing but the struct keeps the body from now on.
    fn decode_last<T: Decodable>(&mut self) -> Result<T, WireError> {
        message::decode(self.key, self.version, mem::take(&mut self.body))
    }

    fn answer<T: Encodable>(&self, response: &T) -> Result<Answer, WireError> {
        let bytes =
            message::encode_response(self.correlation_id, self.key, self.version, response)?;
        Ok(Answer::now(bytes))
    }
}

impl Gateway {
    /// Handles one request; `None` if it wants no answer. `session` is its connection's.
    async fn handle(
        &self,
        request: &mut Request,
        session: &mut Option<FetchSession>,
    ) -> Result<Option<Answer>, RequestError> {
        let (control, node, version) = (&self.broker, &self.settings.node, request.version);
        let answer = match request.key {
            ApiKey::Produce => return produce::handle(self, request).await,
            ApiKey::Fetch => fetch::handle(self, request, session).await?,
            ApiKey::ApiVersions if !request.key.serves(version) => {
                let refusal = api_versions::unsupported_version();
                let bytes =
                    message::encode_response(request.correlation_id, request.key, 0, &refusal)?;
                Answer::now(bytes)
            }
            ApiKey::ApiVersions => {
                request.answer(&api_versions::handle(version, &request.decode()?))?
            }
            ApiKey::Metadata => request
                .answer(&metadata::handle(control, node, version, &request.decode()?).await)?,
            ApiKey::FindCoordinator => {
                request.answer(&find_coordinator::handle(node, version, &request.decode()?))?
            }
            ApiKey::InitProducerId => {
                request.answer(&init_producer_id::handle(control, &request.decode()?).await)?
            }
            ApiKey::CreateTopics => request
                .answer(&create_topics::handle(control, version, &request.decode()?).await)?,
            ApiKey::DeleteTopics => request
                .answer(&delete_topics::handle(control, version, &request.decode()?).await)?,
            ApiKey::CreatePartitions => {
                request.answer(&create_partitions::handle(control, &request.decode()?).await)?
            }
            ApiKey::DescribeConfigs => {
                request.answer(&describe_configs::handle(&control.cluster(), &request.decode()?))?
            }
            ApiKey::AlterConfigs => {
                request.answer(&alter_configs::replace(control, &request.decode()?).await)?
            }
            ApiKey::IncrementalAlterConfigs => {
                request.answer(&alter_configs::change(control, &request.decode()?).await)?
            }
            ApiKey::DescribeCluster => request.answer(&describe_cluster::handle(
                &control.cluster(),
                node,
                &request.decode()?,
            ))?,
            ApiKey::DescribeTopicPartitions => request.answer(
                &describe_topic_partitions::handle(&control.cluster(), node, &request.decode()?),
            )?,
            ApiKey::ListOffsets => request.answer(&list_offsets::handle(self, request).await?)?,
            ApiKey::OffsetCommit => request.answer(&offset_commit::handle(self, request).await?)?,
            ApiKey::OffsetFetch => request.answer(&offset_fetch::handle(self, request).await?)?,
            ApiKey::JoinGroup => {
                let response = join_group::handle(self, request).await?;
                request.answer(&response)?
            }
            ApiKey::Heartbeat => request.answer(&heartbeat::handle(self, request).await?)?,
            ApiKey::LeaveGroup => request.answer(&leave_group::handle(self, request).await?)?,
            ApiKey::SyncGroup => {
                let response = sync_group::handle(self, request).await?;
                request.answer(&response)?
            }
            ApiKey::DescribeGroups => {
                request.answer(&describe_groups::handle(self, request).await?)?
            }
            ApiKey::ListGroups => request.answer(&list_groups::handle(self, request).await?)?,
            ApiKey::DeleteRecords => {
                request.answer(&delete_records::handle(self, request).await?)?
            }
            ApiKey::OffsetForLeaderEpoch => {
                request.answer(&offset_for_leader_epoch::handle(self, request).await?)?
            }
            ApiKey::DescribeLogDirs => {
                request.answer(&describe_log_dirs::handle(self, request).await?)?
            }
            ApiKey::DeleteGroups => request.answer(&delete_groups::handle(self, request).await?)?,
            ApiKey::OffsetDelete => request.answer(&offset_delete::handle(self, request).await?)?,
            ApiKey::DescribeProducers => {
                request.answer(&describe_producers::handle(self, request).await?)?
            }
        };
        Ok(Some(answer))
    }
}

/// A string of the broker's for the wire.
fn wire(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A string of the wire for the broker.
fn shared(text: &StrBytes) -> Arc<str> {
    Arc::from(text.as_str())
}

/// What occurs more than once.
fn repeated<T: Copy + Eq + Hash>(all: impl Iterator<Item = T>) -> HashSet<T> {
    let mut seen = HashSet::new();
    all.filter(|one| !seen.insert(*one)).collect()
}
