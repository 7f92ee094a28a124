//! Produce: the request (versions 3 to 13) and its answer, by hand.
//!
//! A request borrows from its frame; a partition's records are a slice of it that nobody has looked
//! into yet. With `Bytes::slice_ref` the slice becomes a counted reference, still without a copy.

use bytes::{BufMut, BytesMut};

use super::codec::{Reader, put_length, put_no_tagged_fields, put_string};
use super::message::put_response_header;
use super::request::ApiKey;
use crate::base::TopicId;
use crate::wire::{WireError, frame::framed};

/// The first version with topic ids instead of names (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// A Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceRequest<'a> {
    /// The producer's transactional id, if it has one.
    pub transactional_id: Option<&'a str>,
    /// 0 for no answer, 1 for the leader, -1 for all in-sync replicas; other values are possible.
    pub acks: i16,
    /// How long the client waits, ms.
    pub timeout_ms: i32,
    /// The topics, in the order received.
    pub topics: Vec<ProduceTopic<'a>>,
}

/// A topic in a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopic<'a> {
    /// The name; empty from version 13 on.
    pub name: &'a str,
    /// The id; [`TopicId::ZERO`] before version 13.
    pub id: TopicId,
    /// The partitions, in the order received; repetitions are possible.
    pub partitions: Vec<ProducePartition<'a>>,
}

/// A partition in a Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePartition<'a> {
    /// The partition's number; may be negative.
    pub index: i32,
    /// The records, unchecked: see [`BatchHeader::validate`](super::BatchHeader::validate).
    pub records: Option<&'a [u8]>,
}

impl<'a> ProduceRequest<'a> {
    /// Parses a request's body. Bytes behind it are tolerated.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`] outside 3 to 13; otherwise what is wrong with the body.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, WireError> {
        let flexible = flexible(version)?;
        let mut reader = Reader::new(body);
        let transactional_id = reader.nullable_string(flexible)?;
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let count = reader.count(flexible, topic_bytes_min(version))?;
        let mut topics = Vec::with_capacity(count);
        for _ in 0..count {
            topics.push(ProduceTopic::parse(version, &mut reader)?);
        }
        reader.skip_tagged_fields(flexible)?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

/// The fewest bytes a topic takes: name or id, count of partitions, tagged fields.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        TOPIC_IDS_FROM.. => 16 + 1 + 1,
        9.. => 1 + 1 + 1,
        _ => 2 + 4,
    }
}

impl<'a> ProduceTopic<'a> {
    fn parse(version: i16, reader: &mut Reader<'a>) -> Result<Self, WireError> {
        let flexible = flexible(version)?;
        let (name, id) = match version {
            TOPIC_IDS_FROM.. => ("", reader.topic_id()?),
            _ => (reader.string(flexible)?, TopicId::ZERO),
        };
        let count = reader.count(flexible, if flexible { 4 + 1 + 1 } else { 4 + 4 })?;
        let mut partitions = Vec::with_capacity(count);
        for _ in 0..count {
            let index = reader.i32()?;
            let records = reader.nullable_bytes(flexible)?;
            reader.skip_tagged_fields(flexible)?;
            partitions.push(ProducePartition { index, records });
        }
        reader.skip_tagged_fields(flexible)?;
        Ok(Self { name, id, partitions })
    }
}

/// Whether a served version is flexible.
fn flexible(version: i16) -> Result<bool, WireError> {
    if ApiKey::Produce.serves(version) {
        Ok(ApiKey::Produce.is_flexible(version))
    } else {
        Err(WireError::UnsupportedVersion { key: ApiKey::Produce.code(), version })
    }
}

/// The answer to a Produce request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProduceResponse<'a> {
    /// How long the client shall wait before its next request, ms.
    pub throttle_time_ms: i32,
    /// The topics.
    pub topics: Vec<ProduceTopicResponse<'a>>,
}

/// A topic in the answer to a Produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProduceTopicResponse<'a> {
    /// The name; not sent from version 13 on.
    pub name: &'a str,
    /// The id; not sent before version 13.
    pub id: TopicId,
    /// The partitions.
    pub partitions: Vec<ProducePartitionResponse<'a>>,
}

/// A partition in the answer to a Produce request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducePartitionResponse<'a> {
    /// The partition's number.
    pub index: i32,
    /// Kafka's error code, 0 for success.
    pub error_code: i16,
    /// The first record's offset, -1 after an error.
    pub base_offset: i64,
    /// The broker's time, ms, with `message.timestamp.type=LogAppendTime`, else -1.
    pub log_append_time_ms: i64,
    /// The partition's first offset (version 5), -1 if unknown.
    pub log_start_offset: i64,
    /// What went wrong, in words (version 8, KIP-467).
    pub error_message: Option<&'a str>,
    /// The place in the batch of the record that the error is about (version 8, KIP-467).
    pub failed_record: Option<i32>,
}

impl ProducePartitionResponse<'_> {
    /// The answer for a partition that failed.
    #[must_use]
    pub const fn failed(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            error_message: None,
            failed_record: None,
        }
    }
}

impl ProduceResponse<'_> {
    /// Appends the answer, with length prefix and header, to `out`. The tagged fields of KIP-951
    /// (current leader, its endpoint) are never sent.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`], or [`WireError::Encode`] for a name too long for the
    /// version. `out` is then as it was.
    pub fn encode(
        &self,
        correlation_id: i32,
        version: i16,
        out: &mut BytesMut,
    ) -> Result<(), WireError> {
        let flexible = flexible(version)?;
        framed(out, |out| {
            put_response_header(out, correlation_id, ApiKey::Produce, version);
            put_length(out, flexible, self.topics.len())?;
            for topic in &self.topics {
                topic.encode(version, flexible, out)?;
            }
            out.put_i32(self.throttle_time_ms);
            put_no_tagged_fields(out, flexible);
            Ok(((), 0))
        })
    }
}

impl ProduceTopicResponse<'_> {
    fn encode(&self, version: i16, flexible: bool, out: &mut BytesMut) -> Result<(), WireError> {
        match version {
            TOPIC_IDS_FROM.. => out.put_slice(&self.id.0),
            _ => put_string(out, flexible, Some(self.name))?,
        }
        put_length(out, flexible, self.partitions.len())?;
        for partition in &self.partitions {
            out.put_i32(partition.index);
            out.put_i16(partition.error_code);
            out.put_i64(partition.base_offset);
            out.put_i64(partition.log_append_time_ms);
            if version >= 5 {
                out.put_i64(partition.log_start_offset);
            }
            if version >= 8 {
                put_length(out, flexible, partition.failed_record.iter().len())?;
                if let Some(record) = partition.failed_record {
                    out.put_i32(record);
                    put_string(out, flexible, partition.error_message)?;
                    put_no_tagged_fields(out, flexible);
                }
                put_string(out, flexible, partition.error_message)?;
            }
            put_no_tagged_fields(out, flexible);
        }
        put_no_tagged_fields(out, flexible);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
