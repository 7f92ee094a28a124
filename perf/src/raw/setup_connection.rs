//! What happens before a measurement: topics, offsets, producer ids, one request after the other.

use super::connection::resolve;
use super::produce_frame::CLIENT_ID;
use super::record_batch::ProducerId;
use crate::error::{Doing, PerfError, Result};
use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, InitProducerIdRequest, ListOffsetsRequest,
    RequestHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, Request, StrBytes};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a step before a measurement may take. Longer than `compare` waits, which then says so:
/// creating thousands of topics takes a real Kafka its time.
pub const SETUP_TIMEOUT: Duration = Duration::from_secs(600);
/// ListOffsets' time for the offset after the last record.
pub const LATEST: i64 = -1;
/// ListOffsets' time for the first record there is.
pub const EARLIEST: i64 = -2;

const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A connection that waits for each answer. Versions are the newest without compact types, so that
/// all headers are alike.
pub struct SetupConnection {
    stream: TcpStream,
}

impl SetupConnection {
    /// Connects to a broker, before a measurement.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open(address: &str) -> Result<Self> {
        Self::open_within(address, SETUP_TIMEOUT)
    }

    /// Connects to a broker whose answers may take so long.
    ///
    /// # Errors
    /// It cannot be reached.
    pub fn open_within(address: &str, timeout: Duration) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&resolve(address)?, timeout)
            .doing(|| format!("connecting to {address}"))?;
        stream.set_read_timeout(Some(timeout)).doing(|| "setting a timeout".into())?;
        stream.set_nodelay(true).doing(|| "setting TCP_NODELAY".into())?;
        Ok(Self { stream })
    }

    /// Asks for the versions, as every client does first.
    ///
    /// # Errors
    /// No answer comes.
    pub fn api_versions(&mut self) -> Result<()> {
        self.call(&ApiVersionsRequest::default(), 2).map(drop)
    }

    /// Creates topics that do not exist.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn create_topics(
        &mut self,
        names: impl Iterator<Item = String>,
        partitions: u32,
    ) -> Result<()> {
        let topics = names.map(|name| {
            CreatableTopic::default()
                .with_name(TopicName(StrBytes::from_string(name)))
                .with_num_partitions(partitions as i32)
                .with_replication_factor(1)
        });
        let request = CreateTopicsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(SETUP_TIMEOUT.as_millis() as i32);
        for topic in self.call(&request, 4)?.topics {
            if topic.error_code != 0 && topic.error_code != TOPIC_ALREADY_EXISTS {
                let doing = format!("creating {}", topic.name.0.as_str());
                return Err(PerfError::Refused { doing, code: topic.error_code });
            }
        }
        Ok(())
    }

    /// Asks for the offsets of a time in every partition of some topics.
    ///
    /// # Errors
    /// The broker refuses one.
    pub fn list_offsets(
        &mut self,
        names: impl Iterator<Item = String>,
        partitions: u32,
        time: i64,
        mut each: impl FnMut(&str, i32, i64),
    ) -> Result<()> {
        let partitions: Vec<_> = (0..partitions as i32)
            .map(|i| {
                ListOffsetsPartition::default()
                    .with_partition_index(i)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(time)
            })
            .collect();
        let topics = names.map(|name| {
            ListOffsetsTopic::default()
                .with_name(TopicName(StrBytes::from_string(name)))
                .with_partitions(partitions.clone())
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
            .with_topics(topics.collect());
        for topic in self.call(&request, 5)?.topics {
            for partition in &topic.partitions {
                let (name, index) = (topic.name.0.as_str(), partition.partition_index);
                if partition.error_code != 0 {
                    let doing = format!("asking for the offset of {name}-{index}");
                    return Err(PerfError::Refused { doing, code: partition.error_code });
                }
                each(name, index, partition.offset);
            }
        }
        Ok(())
    }

    /// Asks for an idempotent producer's id.
    ///
    /// # Errors
    /// The broker refuses.
    pub fn init_producer_id(&mut self) -> Result<ProducerId> {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(SETUP_TIMEOUT.as_millis() as i32);
        let answer = self.call(&request, 1)?;
        match answer.error_code {
            0 => Ok(ProducerId { id: answer.producer_id.0, epoch: answer.producer_epoch }),
            code => Err(PerfError::Refused { doing: "asking for a producer id".into(), code }),
        }
    }

    fn call<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response> {
        let malformed = |what| move |e| PerfError::Failed(format!("{what} api {}: {e}", R::KEY));
        let header = RequestHeader::default()
            .with_request_api_key(R::KEY)
            .with_request_api_version(version)
            .with_client_id(std::str::from_utf8(CLIENT_ID).ok().map(StrBytes::from_static_str));
        let mut frame = BytesMut::new();
        frame.put_u32(0);
        header.encode(&mut frame, 1).map_err(malformed("writing"))?;
        request.encode(&mut frame, version).map_err(malformed("writing"))?;
        super::produce_frame::close(&mut frame);
        let doing = || format!("asking the broker (api {})", R::KEY);
        self.stream.write_all(&frame).doing(doing)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).doing(doing)?;
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        self.stream.read_exact(&mut answer).doing(doing)?;
        let mut answer = Bytes::from(answer);
        if answer.len() < 4 {
            return Err(PerfError::Failed(format!("api {}: a short answer", R::KEY)));
        }
        let _correlation = answer.split_to(4);
        R::Response::decode(&mut answer, version).map_err(malformed("reading"))
    }

    /// Gives up the connection without closing it.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }
}
