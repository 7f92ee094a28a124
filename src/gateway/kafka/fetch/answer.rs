//! The answer to a fetch: what was found, partition by partition, around the log's own bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

use super::{
    super::{Gateway, Request},
    found::{CONVERTED_BYTES, Found, Records},
    wanted::{TopicRef, Wanted},
};
use crate::{
    base::{Dialect, Stage},
    broker::{ColdError, LogSlice, ReadError},
    gateway::answer::{Answer, Part},
    wire::{
        WireError,
        kafka::fetch::{Cut, FetchPartitionResponse, FetchResponse, FetchTopicResponse},
    },
};

/// Refuses a request as a whole.
pub(super) fn refuse(request: &Request, error: ResponseError) -> Result<Answer, WireError> {
    let response = FetchResponse { error_code: error.code(), ..FetchResponse::default() };
    let mut out = BytesMut::new();
    response.encode(request.correlation_id, request.version, &mut out)?;
    Ok(Answer::now(out.freeze()))
}

/// Answers with what was found; in a session, with what of it the client does not know.
pub(super) async fn answer(
    gateway: &Gateway,
    request: &Request,
    session_id: i32,
    wanted: Vec<Wanted<'_>>,
    bytes_max: u64,
) -> Result<Answer, WireError> {
    let broker = &gateway.broker;
    let began = broker.env().clock.monotonic();
    // Kafka's slices in the hot tail stay positions until they are sent; the others are read and
    // verified now, all partitions' together, so that damage is an error of its partition.
    let hot_from = broker.tail().start();
    let slices = || super::found(&wanted).flatten().flat_map(|read| &read.slices);
    let is_cold = |slice: &&LogSlice| is_kafkas(slice) && slice.position < hot_from;
    let cold: Vec<LogSlice> = slices().filter(is_cold).copied().collect();
    let mut foreign_bytes = 0;
    let foreign = slices().filter(|slice| !is_kafkas(slice)).take_while(|slice| {
        let is_first = foreign_bytes == 0;
        foreign_bytes += u64::from(slice.length);
        is_first || foreign_bytes <= CONVERTED_BYTES
    });
    let foreign: Vec<LogSlice> = foreign.copied().collect();
    let (count, held) = gateway.cold.take(cold.iter().map(|slice| slice.length));
    let mut loaded = broker.load(&cold[..count]).await.into_iter();
    let mut foreign = broker.payloads(&foreign).await.into_iter();
    let mut payloads = Vec::new();
    let mut topics: Vec<FetchTopicResponse<'_>> = Vec::new();
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let (mut bytes_left, mut convert_left) = (bytes_max, CONVERTED_BYTES as usize);
    for one in wanted {
        let limit = one.target.as_ref().map_or(0, |target| target.bytes_max as usize);
        let mut records =
            Records::new(limit.min(bytes_left).min(convert_left), bytes_left == bytes_max);
        let slices = match &one.found {
            Some(Ok(read)) => read.slices.as_slice(),
            _ => &[],
        };
        // All are taken, so that the next partition finds its own.
        for slice in slices {
            if !is_kafkas(slice) {
                records.foreign(slice.base_offset, foreign.next());
            } else if is_cold(&slice) {
                match loaded.next() {
                    Some(batch) => records.batch(batch.map(Part::Cold), slice.length),
                    None => records.end(),
                }
            } else {
                records.batch(Ok(Part::Log { slice: *slice, sent: 0 }), slice.length);
            }
        }
        let records = records.finish();
        bytes_left = bytes_left.saturating_sub(records.bytes());
        convert_left = convert_left.saturating_sub(records.converted_bytes);
        broker.count_converted_to_kafka(records.converted);
        let (topic, cached) = (one.topic, one.cached);
        let partition = partition_response(one, records, &mut payloads);
        if cached.is_none_or(|cached| cached.tell(&partition)) {
            push(&mut topics, topic, partition);
        }
    }
    let response = FetchResponse { throttle_time_ms: 0, error_code: 0, session_id, topics };
    let mut out = BytesMut::with_capacity(256);
    let cuts = response.encode(request.correlation_id, request.version, &mut out)?;
    broker.record(Stage::Read, broker.env().clock.monotonic().saturating_sub(began));
    let parts = spliced(&out.freeze(), &cuts, payloads);
    Ok(Answer::messages(parts, held))
}

fn is_kafkas(slice: &LogSlice) -> bool {
    slice.dialect == Dialect::Kafka
}

/// Adds a partition: to the last topic, or to a new one.
fn push<'a>(
    topics: &mut Vec<FetchTopicResponse<'a>>,
    topic: TopicRef<'a>,
    partition: FetchPartitionResponse,
) {
    let (name, id) = topic.on_the_wire();
    match topics.last_mut() {
        Some(last) if last.name == name && last.id == id => last.partitions.push(partition),
        _ => topics.push(FetchTopicResponse { name, id, partitions: vec![partition] }),
    }
}

/// The answer's bytes with the payloads in their places.
fn spliced(out: &Bytes, cuts: &[Cut], payloads: Vec<(Part, usize)>) -> Vec<Part> {
    let mut parts = Vec::with_capacity(cuts.len() + payloads.len() + 1);
    let (mut at, mut payloads) = (0, payloads.into_iter());
    for cut in cuts {
        parts.push(Part::Bytes(out.slice(at..cut.at)));
        at = cut.at;
        let mut left = cut.records_bytes;
        while left > 0 {
            let (part, bytes) = payloads.next().expect("cuts count the payloads' bytes");
            left -= bytes;
            parts.push(part);
        }
    }
    if at < out.len() {
        parts.push(Part::Bytes(out.slice(at..)));
    }
    parts
}

fn partition_response(
    one: Wanted<'_>,
    records: Found,
    payloads: &mut Vec<(Part, usize)>,
) -> FetchPartitionResponse {
    let failed = |error: ResponseError| FetchPartitionResponse::failed(one.index, error.code());
    let read = match (one.target, one.found) {
        (Err(error), _) => return failed(error),
        (Ok(_), Some(Ok(read))) => read,
        (Ok(_), Some(Err(ReadError::OutOfRange { log_start, high_watermark }))) => {
            return FetchPartitionResponse {
                high_watermark,
                last_stable_offset: high_watermark,
                log_start_offset: log_start,
                ..failed(ResponseError::OffsetOutOfRange)
            };
        }
        (Ok(_), Some(Err(ReadError::Lost(_)))) => return failed(ResponseError::CorruptMessage),
        (Ok(_), Some(Err(ReadError::Index))) => return failed(ResponseError::KafkaStorageError),
        (Ok(_), Some(Err(error @ (ReadError::Storage(_) | ReadError::Log(_))))) => {
            tracing::error!(%error, "a queue cannot be read");
            return failed(ResponseError::KafkaStorageError);
        }
        (Ok(_), Some(Err(ReadError::UnknownQueue)) | None) => {
            return failed(ResponseError::UnknownTopicOrPartition);
        }
    };
    // What lies before something unreadable is sent; the error is for whoever asks for that.
    if let Some(error) = &records.error {
        tracing::error!(%error, "messages cannot be read back");
        if records.parts.is_empty() {
            return failed(cold_error(error));
        }
    }
    let records_bytes = records.bytes();
    payloads.extend(records.parts);
    FetchPartitionResponse {
        index: one.index,
        error_code: 0,
        high_watermark: read.high_watermark,
        last_stable_offset: read.high_watermark,
        log_start_offset: read.log_start,
        aborted: None,
        preferred_read_replica: -1,
        records_bytes,
    }
}

/// A consumer is told of damage by `CORRUPT_MESSAGE`, with the offset (KAFKA-9206); on
/// `KAFKA_STORAGE_ERROR` it tries again, silently and for ever.
fn cold_error(error: &ColdError) -> ResponseError {
    match error {
        ColdError::Damaged { .. } => ResponseError::CorruptMessage,
        ColdError::Disk(_) | ColdError::Gone(_) => ResponseError::KafkaStorageError,
    }
}
