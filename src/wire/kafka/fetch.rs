//! Fetch: the request (versions 4 to 17) and its answer, by hand.
//!
//! The answer's records are not written here: [`FetchResponse::encode`] gives everything around them
//! and the places where they go, so that they can be sent from where they lie.

use bytes::{BufMut, BytesMut};

use super::codec::{Reader, put_length, put_no_tagged_fields, put_null, put_string};
use super::message::put_response_header;
use super::request::ApiKey;
use crate::base::TopicId;
use crate::wire::{WireError, frame::framed};

/// The first version with topic ids instead of names (KIP-516).
const TOPIC_IDS_FROM: i16 = 13;

/// A Fetch request. The fields that only replicas set are left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchRequest<'a> {
    /// How long to wait for `min_bytes`, ms.
    pub max_wait_ms: i32,
    /// How many bytes to wait for.
    pub min_bytes: i32,
    /// The most bytes the answer should hold; its first batch is sent even if it is larger (KIP-74).
    pub max_bytes: i32,
    /// Whether only committed transactions are asked for.
    pub isolation: IsolationLevel,
    /// The fetch session (KIP-227, version 7), 0 for none.
    pub session_id: i32,
    /// The session's epoch: 0 opens one, -1 closes it or wants none.
    pub session_epoch: i32,
    /// The topics to read; in a session, those to add or change.
    pub topics: Vec<FetchTopic<'a>>,
    /// Topics to take out of the session (version 7).
    pub forgotten: Vec<ForgottenTopic<'a>>,
    /// The consumer's rack (KIP-392, version 11), empty if not told.
    pub rack_id: &'a str,
}

/// What a consumer wants to see of transactions (KIP-98).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IsolationLevel {
    /// Everything up to the high watermark.
    #[default]
    ReadUncommitted,
    /// Everything up to the last stable offset, with a list of what was aborted.
    ReadCommitted,
}

/// A topic in a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopic<'a> {
    /// The name; empty from version 13 on.
    pub name: &'a str,
    /// The id; [`TopicId::ZERO`] before version 13.
    pub id: TopicId,
    /// The partitions, in the order received.
    pub partitions: Vec<FetchPartition>,
}

/// A partition in a Fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchPartition {
    /// The partition's number; may be negative.
    pub index: i32,
    /// The leader epoch the client knows (KIP-320, version 9), -1 if none.
    pub current_leader_epoch: i32,
    /// The offset to read from.
    pub fetch_offset: i64,
    /// The epoch of the last record fetched (version 12), -1 if none.
    pub last_fetched_epoch: i32,
    /// A replica's log start (version 5), -1 from consumers.
    pub log_start_offset: i64,
    /// The most bytes to read from this partition.
    pub max_bytes: i32,
}

/// A topic that leaves a fetch session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgottenTopic<'a> {
    /// The name; empty from version 13 on.
    pub name: &'a str,
    /// The id; [`TopicId::ZERO`] before version 13.
    pub id: TopicId,
    /// The partitions that leave.
    pub partitions: Vec<i32>,
}

impl<'a> FetchRequest<'a> {
    /// Parses a request's body. Bytes behind it are tolerated.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`] outside 4 to 17; otherwise what is wrong with the body.
    pub fn parse(version: i16, body: &'a [u8]) -> Result<Self, WireError> {
        let flexible = flexible(version)?;
        let mut reader = Reader::new(body);
        if version <= 14 {
            reader.i32()?; // The replica's id; from version 15 on it is a tagged field.
        }
        let max_wait_ms = reader.i32()?;
        let min_bytes = reader.i32()?;
        let max_bytes = reader.i32()?;
        let isolation = match reader.i8()? {
            0 => IsolationLevel::ReadUncommitted,
            1 => IsolationLevel::ReadCommitted,
            other => return Err(WireError::Schema(format!("isolation level {other} is unknown"))),
        };
        let (session_id, session_epoch) =
            if version >= 7 { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let topics = parse_topics(version, flexible, &mut reader)?;
        let forgotten = match version {
            7.. => parse_forgotten(version, flexible, &mut reader)?,
            _ => Vec::new(),
        };
        let rack_id = if version >= 11 { reader.string(flexible)? } else { "" };
        reader.skip_tagged_fields(flexible)?;
        Ok(Self {
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation,
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id,
        })
    }
}

fn parse_topics<'a>(
    version: i16,
    flexible: bool,
    reader: &mut Reader<'a>,
) -> Result<Vec<FetchTopic<'a>>, WireError> {
    let count = reader.count(flexible, topic_bytes_min(version))?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, id) = parse_topic(version, flexible, reader)?;
        let partitions = parse_partitions(version, flexible, reader)?;
        reader.skip_tagged_fields(flexible)?;
        topics.push(FetchTopic { name, id, partitions });
    }
    Ok(topics)
}

fn parse_partitions(
    version: i16,
    flexible: bool,
    reader: &mut Reader<'_>,
) -> Result<Vec<FetchPartition>, WireError> {
    let mut bytes_min = 4 + 8 + 4;
    bytes_min += if version >= 5 { 8 } else { 0 };
    bytes_min += if version >= 9 { 4 } else { 0 };
    bytes_min += if version >= 12 { 4 + 1 } else { 0 };
    let count = reader.count(flexible, bytes_min)?;
    let mut partitions = Vec::with_capacity(count);
    for _ in 0..count {
        partitions.push(FetchPartition {
            index: reader.i32()?,
            current_leader_epoch: if version >= 9 { reader.i32()? } else { -1 },
            fetch_offset: reader.i64()?,
            last_fetched_epoch: if version >= 12 { reader.i32()? } else { -1 },
            log_start_offset: if version >= 5 { reader.i64()? } else { -1 },
            max_bytes: reader.i32()?,
        });
        reader.skip_tagged_fields(flexible)?;
    }
    Ok(partitions)
}

fn parse_forgotten<'a>(
    version: i16,
    flexible: bool,
    reader: &mut Reader<'a>,
) -> Result<Vec<ForgottenTopic<'a>>, WireError> {
    let count = reader.count(flexible, topic_bytes_min(version))?;
    let mut topics = Vec::with_capacity(count);
    for _ in 0..count {
        let (name, id) = parse_topic(version, flexible, reader)?;
        let partitions_count = reader.count(flexible, 4)?;
        let mut partitions = Vec::with_capacity(partitions_count);
        for _ in 0..partitions_count {
            partitions.push(reader.i32()?);
        }
        reader.skip_tagged_fields(flexible)?;
        topics.push(ForgottenTopic { name, id, partitions });
    }
    Ok(topics)
}

fn parse_topic<'a>(
    version: i16,
    flexible: bool,
    reader: &mut Reader<'a>,
) -> Result<(&'a str, TopicId), WireError> {
    Ok(match version {
        TOPIC_IDS_FROM.. => ("", reader.topic_id()?),
        _ => (reader.string(flexible)?, TopicId::ZERO),
    })
}

/// The fewest bytes a topic takes: name or id, count of partitions, tagged fields.
fn topic_bytes_min(version: i16) -> usize {
    match version {
        TOPIC_IDS_FROM.. => 16 + 1 + 1,
        12.. => 1 + 1 + 1,
        _ => 2 + 4,
    }
}

/// Whether a served version is flexible.
fn flexible(version: i16) -> Result<bool, WireError> {
    if ApiKey::Fetch.serves(version) {
        Ok(ApiKey::Fetch.is_flexible(version))
    } else {
        Err(WireError::UnsupportedVersion { key: ApiKey::Fetch.code(), version })
    }
}

/// The answer to a Fetch request, without its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FetchResponse<'a> {
    /// How long the client shall wait before its next request, ms.
    pub throttle_time_ms: i32,
    /// Kafka's error code for the request as a whole (version 7), 0 for success.
    pub error_code: i16,
    /// The fetch session (version 7), 0 for none.
    pub session_id: i32,
    /// The topics.
    pub topics: Vec<FetchTopicResponse<'a>>,
}

/// A topic in the answer to a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchTopicResponse<'a> {
    /// The name; not sent from version 13 on.
    pub name: &'a str,
    /// The id; not sent before version 13.
    pub id: TopicId,
    /// The partitions.
    pub partitions: Vec<FetchPartitionResponse>,
}

/// A partition in the answer to a Fetch request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchPartitionResponse {
    /// The partition's number.
    pub index: i32,
    /// Kafka's error code, 0 for success.
    pub error_code: i16,
    /// The offset behind the last record that may be seen, -1 after an error.
    pub high_watermark: i64,
    /// The offset behind the last record whose transaction is decided, -1 if unknown.
    pub last_stable_offset: i64,
    /// The partition's first offset (version 5), -1 if unknown.
    pub log_start_offset: i64,
    /// Aborted transactions among the records; `None` when not asked for.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead (version 11), -1 for none.
    pub preferred_read_replica: i32,
    /// The size of the records that go here, bytes.
    pub records_bytes: usize,
}

/// A transaction that was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Its producer's id.
    pub producer_id: i64,
    /// Its first record's offset.
    pub first_offset: i64,
}

impl FetchPartitionResponse {
    /// The answer for a partition that failed.
    #[must_use]
    pub const fn failed(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted: None,
            preferred_read_replica: -1,
            records_bytes: 0,
        }
    }
}

/// A place in an encoded Fetch answer where records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The records go before this byte of the buffer.
    pub at: usize,
    /// Their size, bytes; never 0.
    pub records_bytes: usize,
}

impl FetchResponse<'_> {
    /// Appends all but the records to `out`, with length prefix (which counts the records) and
    /// header. Gives a cut for each partition with records, in order; their places count from the
    /// start of `out`. Diverging epochs and current leaders (tagged fields) are never sent.
    ///
    /// # Errors
    /// [`WireError::UnsupportedVersion`], or [`WireError::Encode`] for a name too long for the
    /// version or a frame above 2 GiB. `out` is then as it was.
    pub fn encode(
        &self,
        correlation_id: i32,
        version: i16,
        out: &mut BytesMut,
    ) -> Result<Vec<Cut>, WireError> {
        let flexible = flexible(version)?;
        framed(out, |out| {
            let mut cuts = Vec::new();
            put_response_header(out, correlation_id, ApiKey::Fetch, version);
            out.put_i32(self.throttle_time_ms);
            if version >= 7 {
                out.put_i16(self.error_code);
                out.put_i32(self.session_id);
            }
            put_length(out, flexible, self.topics.len())?;
            for topic in &self.topics {
                topic.encode(version, flexible, out, &mut cuts)?;
            }
            put_no_tagged_fields(out, flexible);
            let records_bytes =
                cuts.iter().fold(0_usize, |sum, cut| sum.saturating_add(cut.records_bytes));
            Ok((cuts, records_bytes))
        })
    }
}

impl FetchTopicResponse<'_> {
    fn encode(
        &self,
        version: i16,
        flexible: bool,
        out: &mut BytesMut,
        cuts: &mut Vec<Cut>,
    ) -> Result<(), WireError> {
        match version {
            TOPIC_IDS_FROM.. => out.put_slice(&self.id.0),
            _ => put_string(out, flexible, Some(self.name))?,
        }
        put_length(out, flexible, self.partitions.len())?;
        for partition in &self.partitions {
            partition.encode(version, flexible, out, cuts)?;
        }
        put_no_tagged_fields(out, flexible);
        Ok(())
    }
}

impl FetchPartitionResponse {
    fn encode(
        &self,
        version: i16,
        flexible: bool,
        out: &mut BytesMut,
        cuts: &mut Vec<Cut>,
    ) -> Result<(), WireError> {
        out.put_i32(self.index);
        out.put_i16(self.error_code);
        out.put_i64(self.high_watermark);
        out.put_i64(self.last_stable_offset);
        if version >= 5 {
            out.put_i64(self.log_start_offset);
        }
        match &self.aborted {
            None => put_null(out, flexible),
            Some(aborted) => {
                put_length(out, flexible, aborted.len())?;
                for transaction in aborted {
                    out.put_i64(transaction.producer_id);
                    out.put_i64(transaction.first_offset);
                    put_no_tagged_fields(out, flexible);
                }
            }
        }
        if version >= 11 {
            out.put_i32(self.preferred_read_replica);
        }
        // Empty, never null: clients before version 12 may not expect null here.
        put_length(out, flexible, self.records_bytes)?;
        if self.records_bytes > 0 {
            cuts.push(Cut { at: out.len(), records_bytes: self.records_bytes });
        }
        put_no_tagged_fields(out, flexible);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
