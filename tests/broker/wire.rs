//! Raw connections, for what librdkafka does not offer or would never send.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
};

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        ApiKey, GroupId, JoinGroupRequest, OffsetCommitRequest, ProduceRequest, RequestHeader,
        ResponseHeader, TopicName,
        join_group_request::JoinGroupRequestProtocol,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable as _, Encodable as _, Request, StrBytes},
};

use super::process::PATIENCE;

/// A connection to the broker's Kafka listener.
pub struct Wire {
    pub stream: TcpStream,
}

impl Wire {
    pub fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// Sends a request and returns the answer.
    pub fn ask<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.stream.write_all(&frame(version, request)).unwrap();
        let mut answer = self.answer().unwrap().expect("the connection was closed");
        let key = ApiKey::try_from(R::KEY).unwrap();
        ResponseHeader::decode(&mut answer, key.response_header_version(version)).unwrap();
        R::Response::decode(&mut answer, version).unwrap()
    }

    /// The next answer without its length; `None` when the broker closed the connection instead.
    pub fn answer(&mut self) -> io::Result<Option<Bytes>> {
        let mut length = [0; 4];
        match self.stream.read_exact(&mut length) {
            Ok(()) => {}
            Err(error) if closed(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
        let mut bytes = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut bytes)?;
        Ok(Some(bytes.into()))
    }

    /// Sends bytes that the broker must answer by closing the connection.
    pub fn expect_close(mut self, bytes: &[u8]) {
        // The broker may close before it has read everything.
        let _ = self.stream.write_all(bytes);
        assert_eq!(self.answer().unwrap(), None, "an answer instead of a closed connection");
    }
}

fn closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe)
}

/// A request as it goes over the wire, its length first.
pub fn frame<R: Request>(version: i16, request: &R) -> BytesMut {
    let mut body = BytesMut::new();
    request.encode(&mut body, version).unwrap();
    frame_of(R::KEY, version, &body)
}

/// A request with any body.
pub fn frame_of(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let header = RequestHeader::default()
        .with_request_api_key(key)
        .with_request_api_version(version)
        .with_correlation_id(7)
        .with_client_id(Some(StrBytes::from_static_str("test")));
    let header_version =
        ApiKey::try_from(key).map_or(1, |known| known.request_header_version(version));
    let mut rest = BytesMut::new();
    header.encode(&mut rest, header_version).unwrap();
    rest.extend_from_slice(body);
    let mut frame = BytesMut::from(&(rest.len() as i32).to_be_bytes()[..]);
    frame.extend_from_slice(&rest);
    frame
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// A simple consumer's commit of offset 1 of a topic's first partitions, each with metadata.
pub fn commit(group: &str, topic: &str, metadata: &[&str]) -> OffsetCommitRequest {
    let partition = |(index, metadata): (i32, &&str)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(1)
            .with_committed_metadata(Some(text(metadata)))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions((0..).zip(metadata).map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// A new member's join.
pub fn join(group: &str, protocol_type: &str) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(30_000)
        .with_protocol_type(text(protocol_type))
        .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(text("range"))])
}

/// A send of one batch to partition 0.
pub fn produce(topic: &str, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(0).with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(text(topic)))
        .with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(1_000).with_topic_data(vec![topic])
}
