//! Fetch 4–17 (KIP-74, KIP-98, KIP-516): messages out of queues, as the log's own bytes
//! where they are Kafka's.
//!
//! Fetch sessions (KIP-227) are refused by session id 0: every request is whole.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

use super::{
    Gateway, Request,
    fetched::{CONVERTED_BYTES, Found, Records},
};
use crate::{
    base::{Dialect, Position, QueueId, ShardId, Stage},
    broker::{ColdError, LogSlice, Read, ReadError, ReadRequest},
    gateway::answer::{Answer, Part},
    wire::{
        WireError,
        kafka::fetch::{
            Cut, FetchPartition, FetchPartitionResponse, FetchRequest, FetchResponse,
            FetchTopicResponse,
        },
    },
};

/// One partition of the request: where it is read, or why not.
struct Wanted {
    index: i32,
    target: Result<ReadRequest, ResponseError>,
    found: Option<Result<Read, ReadError>>,
}

pub(super) async fn handle(gateway: &Gateway, request: &Request) -> Result<Answer, WireError> {
    let broker = &gateway.broker;
    let clock = &broker.env().clock;
    let fetch = FetchRequest::parse(request.version, &request.body)?;
    let mut wanted = resolve(gateway, request.version, &fetch);
    let bytes_max =
        u64::try_from(fetch.max_bytes).unwrap_or(0).min(gateway.settings.fetch_max_bytes);
    let bytes_min = u64::try_from(fetch.min_bytes).unwrap_or(0).min(bytes_max);
    let began = clock.monotonic();
    let deadline = began + Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0));
    loop {
        read_all(gateway, &mut wanted, bytes_max).await;
        let bytes: u64 = found(&wanted).map(|found| found.as_ref().map_or(0, Read::bytes)).sum();
        let trouble = wanted.iter().flatten().any(|partition| partition.target.is_err())
            || found(&wanted).any(Result::is_err);
        let left = deadline.saturating_sub(clock.monotonic());
        if bytes >= bytes_min || trouble || left.is_zero() || fetch.topics.is_empty() {
            break;
        }
        wait_for_more(gateway, &wanted, left).await;
    }
    let waited = clock.monotonic().saturating_sub(began);
    broker.record(Stage::FetchWait, waited);
    encode(gateway, request, &fetch, wanted, bytes_max).await
}

fn found(wanted: &[Vec<Wanted>]) -> impl Iterator<Item = &Result<Read, ReadError>> {
    wanted.iter().flatten().filter_map(|partition| partition.found.as_ref())
}

fn resolve(gateway: &Gateway, version: i16, fetch: &FetchRequest<'_>) -> Vec<Vec<Wanted>> {
    let cluster = gateway.broker.cluster();
    let topic = |topic: &crate::wire::kafka::fetch::FetchTopic<'_>| {
        let (known, missing) = if version >= 13 {
            (cluster.topic_by_id(topic.id), ResponseError::UnknownTopicId)
        } else {
            (cluster.topic(topic.name), ResponseError::UnknownTopicOrPartition)
        };
        let partition = |partition: &FetchPartition| {
            let queue = known
                .ok_or(missing)
                .and_then(|topic| {
                    topic.queue(partition.index).ok_or(ResponseError::UnknownTopicOrPartition)
                })
                .and_then(|queue| match partition.current_leader_epoch {
                    // This node leads every partition, in epoch 0.
                    ..=0 => Ok(queue),
                    _ => Err(ResponseError::UnknownLeaderEpoch),
                });
            let target = queue.map(|queue| ReadRequest {
                queue,
                offset: partition.fetch_offset,
                bytes_max: u32::try_from(partition.max_bytes).unwrap_or(0),
            });
            Wanted { index: partition.index, target, found: None }
        };
        topic.partitions.iter().map(partition).collect()
    };
    fetch.topics.iter().map(topic).collect()
}

/// Reads every partition on its owner's shard.
async fn read_all(gateway: &Gateway, wanted: &mut [Vec<Wanted>], bytes_max: u64) {
    let broker = &gateway.broker;
    let mut left = bytes_max;
    for shard in (0..broker.shards()).map(ShardId) {
        let mut mine: Vec<&mut Wanted> = wanted
            .iter_mut()
            .flatten()
            .filter(|one| one.target.as_ref().is_ok_and(|at| broker.owner(at.queue) == shard))
            .collect();
        if mine.is_empty() {
            continue;
        }
        let targets: Vec<ReadRequest> =
            mine.iter().filter_map(|one| one.target.as_ref().ok().copied()).collect();
        let results = if shard == broker.shard() {
            broker.read(&targets, left).await
        } else {
            let count = targets.len();
            broker
                .on(shard, move |owner| Box::pin(async move { owner.read(&targets, left).await }))
                .await
                .unwrap_or_else(|_| vec![Err(ReadError::UnknownQueue); count])
        };
        for (one, result) in mine.iter_mut().zip(results) {
            left = left.saturating_sub(result.as_ref().map_or(0, Read::bytes));
            one.found = Some(result);
        }
    }
}

/// Waits until one of the partitions has more than was found, or `left` has passed.
async fn wait_for_more(gateway: &Gateway, wanted: &[Vec<Wanted>], left: Duration) {
    let broker = &gateway.broker;
    // Offsets from which on a message is news.
    let ends: Vec<(QueueId, i64)> = wanted
        .iter()
        .flatten()
        .filter_map(|one| {
            let target = one.target.as_ref().ok()?;
            let read = one.found.as_ref()?.as_ref().ok()?;
            Some((target.queue, target.offset.max(read.high_watermark)))
        })
        .collect();
    let on = |shard: ShardId| {
        let mine: Vec<_> =
            ends.iter().filter(|(queue, _)| broker.owner(*queue) == shard).copied().collect();
        mine
    };
    if broker.shards() == 1 {
        return broker.wait_for_messages(&ends, left).await;
    }
    let (news, told) = flume::bounded(1);
    for shard in (0..broker.shards()).map(ShardId) {
        let mine = on(shard);
        if mine.is_empty() {
            continue;
        }
        let (broker, news) = (std::rc::Rc::clone(broker), news.clone());
        let tasks = std::rc::Rc::clone(&broker.env().tasks);
        tasks.spawn(Box::pin(async move {
            let waited = broker
                .on(shard, move |owner| {
                    Box::pin(async move { owner.wait_for_messages(&mine, left).await })
                })
                .await;
            // A full channel holds the news already; a stopping broker has none.
            let _ = waited.map(|()| news.try_send(()));
        }));
    }
    drop(news);
    let _ = told.recv_async().await;
}

async fn encode(
    gateway: &Gateway,
    request: &Request,
    fetch: &FetchRequest<'_>,
    wanted: Vec<Vec<Wanted>>,
    bytes_max: u64,
) -> Result<Answer, WireError> {
    let broker = &gateway.broker;
    let began = broker.env().clock.monotonic();
    // Kafka's slices in the hot tail stay positions until they are sent; the others are read and
    // verified now, all partitions' together, so that damage is an error of its partition.
    let hot_from = broker.tail().start();
    let slices = || found(&wanted).flatten().flat_map(|read| &read.slices);
    let is_cold = |slice: &&LogSlice| is_kafkas(slice) && slice.position < hot_from;
    let cold: Vec<LogSlice> = slices().filter(is_cold).copied().collect();
    let mut foreign_bytes = 0;
    let foreign = slices().filter(|slice| !is_kafkas(slice)).take_while(|slice| {
        let is_first = foreign_bytes == 0;
        foreign_bytes += u64::from(slice.length);
        is_first || foreign_bytes <= CONVERTED_BYTES
    });
    let foreign: Vec<LogSlice> = foreign.copied().collect();
    let mut loaded = broker.load(&cold).await.into_iter();
    let mut foreign = broker.payloads(&foreign).await.into_iter();
    let mut payloads = Vec::new();
    let mut topics = Vec::with_capacity(wanted.len());
    let bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
    let (mut bytes_left, mut convert_left) = (bytes_max, CONVERTED_BYTES as usize);
    for (topic, wanted) in fetch.topics.iter().zip(wanted) {
        let partitions = wanted.into_iter().map(|one| {
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
                    let batch = loaded.next().expect("one for each cold slice");
                    records.batch(batch.map(Part::Cold), slice.length);
                } else {
                    records.batch(Ok(Part::Log { slice: *slice, sent: 0 }), slice.length);
                }
            }
            let records = records.finish();
            bytes_left = bytes_left.saturating_sub(records.bytes());
            convert_left = convert_left.saturating_sub(records.converted_bytes);
            broker.count_converted_to_kafka(records.converted);
            partition_response(one, records, &mut payloads)
        });
        let partitions = partitions.collect();
        topics.push(FetchTopicResponse { name: topic.name, id: topic.id, partitions });
    }
    let response = FetchResponse { throttle_time_ms: 0, error_code: 0, session_id: 0, topics };
    let mut out = BytesMut::with_capacity(256);
    let cuts = response.encode(request.correlation_id, request.version, &mut out)?;
    broker.record(Stage::Read, broker.env().clock.monotonic().saturating_sub(began));
    let parts = spliced(&out.freeze(), &cuts, payloads);
    Ok(Answer { parts, after: Position(0), stage: Stage::Send, waits_since: None })
}

fn is_kafkas(slice: &LogSlice) -> bool {
    slice.dialect == Dialect::Kafka
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
    one: Wanted,
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
