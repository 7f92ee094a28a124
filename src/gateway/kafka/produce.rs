//! Produce 3–13 (KIP-98, KIP-516): record batches into queues.

use bytes::{Bytes, BytesMut};
use kafka_protocol::error::ResponseError;

use super::{Gateway, Request, RequestError, delay};
use crate::{
    base::{Position, QueueId, ShardId, Stage},
    broker::{AppendError, AppendedBatch, Broker, SequenceError, SplitBatch, highest_time},
    cluster::TopicSettings,
    gateway::answer::{Answer, Part},
    wire::kafka::{
        batch::{self, BatchError, BatchHeader},
        produce::{
            ProducePartitionResponse, ProduceRequest, ProduceResponse, ProduceTopicResponse,
        },
    },
};
use std::{rc::Rc, sync::Arc, time::Duration};

/// The outcome for one partition.
type Outcome = Result<AppendedBatch, Refused>;

/// Why a partition's batch was refused, in Kafka's terms.
#[derive(Clone, Debug)]
pub(super) struct Refused {
    pub error: ResponseError,
    pub text: Option<String>,
    /// The place in the batch of the record at fault, where it is known (KIP-467).
    pub record: Option<i32>,
}

impl Refused {
    pub(super) fn new(error: ResponseError, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..error.into() }
    }

    pub(super) fn batch(error: &BatchError) -> Self {
        let code = ResponseError::try_from_code(error.code());
        Self::new(code.unwrap_or(ResponseError::InvalidRecord), error.to_string())
    }
}

impl From<ResponseError> for Refused {
    fn from(error: ResponseError) -> Self {
        Self { error, text: None, record: None }
    }
}

/// A batch that passed every check and waits for its queue's owner.
struct Checked<'a> {
    /// Where its outcome goes: topic and partition of the request.
    place: (usize, usize),
    queue: QueueId,
    bytes: &'a [u8],
    header: BatchHeader,
    /// Its topic has delays.
    delays: bool,
    /// The batch divided by time, where some of it is to be delivered later.
    split: Option<Arc<SplitBatch>>,
}

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<Option<Answer>, RequestError> {
    let version = request.version;
    let clock = &gateway.broker.env().clock;
    let began = clock.monotonic();
    let produce = ProduceRequest::parse(version, &request.body)?;
    let mut outcomes: Vec<Vec<Option<Outcome>>> =
        produce.topics.iter().map(|topic| vec![None; topic.partitions.len()]).collect();
    let mut checked = Vec::new();
    check_all(gateway, version, &produce, &mut outcomes, &mut checked);
    divide_all(gateway, &mut outcomes, &mut checked).await;
    gateway.broker.record(Stage::Parse, clock.monotonic().saturating_sub(began));
    let deadline = began.saturating_add(gateway.settings.stall_answer);
    append_all(gateway, &request.body, deadline, &checked, &mut outcomes).await;
    if produce.acks == 0 {
        let mut refused = outcomes.iter().flatten().flatten().filter_map(|it| it.as_ref().err());
        return refused.next().map_or(Ok(None), |it| Err(RequestError::Unanswered(it.error)));
    }
    let mut after = Position(0);
    let topics = produce.topics.iter().zip(&outcomes).map(|(topic, outcomes)| {
        let partitions = topic.partitions.iter().zip(outcomes).map(|(partition, outcome)| {
            match outcome.as_ref().expect("every partition has an outcome") {
                Ok(appended) => {
                    after = after.max(appended.answer_at);
                    ProducePartitionResponse {
                        index: partition.index,
                        error_code: 0,
                        base_offset: appended.base_offset,
                        log_append_time_ms: appended.log_append_time_ms.unwrap_or(-1),
                        log_start_offset: appended.log_start,
                        error_message: None,
                        failed_record: None,
                    }
                }
                Err(refused) => ProducePartitionResponse {
                    error_message: refused.text.as_deref(),
                    failed_record: refused.record,
                    ..ProducePartitionResponse::failed(partition.index, refused.error.code())
                },
            }
        });
        ProduceTopicResponse { name: topic.name, id: topic.id, partitions: partitions.collect() }
    });
    let response = ProduceResponse { throttle_time_ms: 0, topics: topics.collect() };
    let mut out = BytesMut::with_capacity(64 + request.body.len().min(256));
    response.encode(request.correlation_id, version, &mut out)?;
    Ok(Some(Answer {
        parts: vec![Part::Bytes(out.freeze())],
        after,
        stage: Stage::Answer,
        waits_since: Some(clock.monotonic()),
        cold: None,
    }))
}

/// Checks what can be checked without the queue's owner.
fn check_all<'a>(
    gateway: &Gateway,
    version: i16,
    produce: &ProduceRequest<'a>,
    outcomes: &mut [Vec<Option<Outcome>>],
    checked: &mut Vec<Checked<'a>>,
) {
    let cluster = gateway.broker.cluster();
    let refused = if produce.transactional_id.is_some() {
        Some((ResponseError::TransactionalIdAuthorizationFailed, "transactions are not served yet"))
    } else if !matches!(produce.acks, -1..=1) {
        Some((ResponseError::InvalidRequiredAcks, "acks must be -1, 0 or 1"))
    } else {
        None
    };
    for (at, topic) in produce.topics.iter().enumerate() {
        let (found, missing) = if version >= 13 {
            (cluster.topic_by_id(topic.id), ResponseError::UnknownTopicId)
        } else {
            (cluster.topic(topic.name), ResponseError::UnknownTopicOrPartition)
        };
        for (part, partition) in topic.partitions.iter().enumerate() {
            let place = (at, part);
            let outcome = &mut outcomes[at][part];
            if let Some((error, text)) = refused {
                *outcome = Some(Err(Refused::new(error, text)));
                continue;
            }
            let Some(found) = found else {
                *outcome = Some(Err(missing.into()));
                continue;
            };
            let Some(queue) = found.queue(partition.index) else {
                *outcome = Some(Err(ResponseError::UnknownTopicOrPartition.into()));
                continue;
            };
            let bytes = partition.records.unwrap_or_default();
            match check(bytes, &found.settings) {
                Ok(header) => {
                    let delays = found.settings.delay;
                    checked.push(Checked { place, queue, bytes, header, delays, split: None });
                }
                Err(refused) => *outcome = Some(Err(refused)),
            }
        }
    }
}

/// Checks a batch. Its size is its owner's to ask, but where it is looked into before.
///
/// Clients may leave it to the broker to say how late a batch's last record is, as Sarama did for long:
/// then it says so.
fn check(bytes: &[u8], settings: &TopicSettings) -> Result<BatchHeader, Refused> {
    let valid =
        BatchHeader::validate(bytes).and_then(|header| batch::check_crc(bytes).map(|()| header));
    let mut header = valid.map_err(|error| Refused::batch(&error))?;
    let tells_no_time = header.max_timestamp < header.base_timestamp;
    let max = settings.max_message_bytes;
    if (settings.delay || tells_no_time) && bytes.len() > max as usize {
        return Err(AppendError::TooLarge { bytes: bytes.len(), max }.into());
    }
    if tells_no_time {
        let highest = highest_time(bytes, &header);
        header.max_timestamp = highest.map_err(|error| Refused::batch(&error))?;
    }
    if header.is_transactional() {
        let text = "transactions are not served yet";
        return Err(Refused::new(ResponseError::InvalidTxnState, text));
    }
    Ok(header)
}

/// Divides those batches of which some is to be delivered later. Others of the shard have a turn
/// after each that was looked into.
async fn divide_all(
    gateway: &Gateway,
    outcomes: &mut [Vec<Option<Outcome>>],
    checked: &mut Vec<Checked<'_>>,
) {
    let broker = &gateway.broker;
    let log_max = broker.log().payload_bytes_max();
    for batch in checked.iter_mut().filter(|batch| batch.delays) {
        let now_ms = broker.env().clock.wall_ms();
        let max_delay = gateway.settings.max_delay;
        match delay::split(batch.bytes, &batch.header, now_ms, max_delay, log_max) {
            Ok(split) => batch.split = split.map(Arc::new),
            Err(refused) => outcomes[batch.place.0][batch.place.1] = Some(Err(refused)),
        }
        broker.env().tasks.sleep(Duration::ZERO).await;
    }
    checked.retain(|batch| outcomes[batch.place.0][batch.place.1].is_none());
}

/// Gives the batches to their owners, in order, and waits for each shard's outcomes. For room in the log
/// all of them together wait until `deadline` on the monotonic clock at most.
async fn append_all(
    gateway: &Gateway,
    body: &Bytes,
    deadline: Duration,
    checked: &[Checked<'_>],
    outcomes: &mut [Vec<Option<Outcome>>],
) {
    let broker = &gateway.broker;
    for shard in (0..broker.shards()).map(ShardId) {
        let mine = || checked.iter().filter(|batch| broker.owner(batch.queue) == shard);
        if shard == broker.shard() {
            for batch in mine() {
                let Checked { queue, bytes, header, split, .. } = batch;
                let split = split.as_deref();
                let outcome = append(broker, deadline, *queue, bytes, header, split).await;
                outcomes[batch.place.0][batch.place.1] = Some(outcome);
            }
            continue;
        }
        let places: Vec<_> = mine().map(|batch| batch.place).collect();
        if places.is_empty() {
            continue;
        }
        let batches: Vec<_> = mine()
            .map(|Checked { queue, bytes, header, split, .. }| {
                (*queue, body.slice_ref(bytes), *header, split.clone())
            })
            .collect();
        let began = broker.env().clock.monotonic();
        let results = broker
            .on(shard, move |owner| {
                Box::pin(async move {
                    let mut results = Vec::with_capacity(batches.len());
                    for (queue, bytes, header, split) in &batches {
                        let split = split.as_deref();
                        results.push(append(&owner, deadline, *queue, bytes, header, split).await);
                    }
                    results
                })
            })
            .await;
        broker.record(Stage::WaitOwner, broker.env().clock.monotonic().saturating_sub(began));
        let stopping = || vec![Err(ResponseError::NotLeaderOrFollower.into()); places.len()];
        for (place, result) in places.iter().zip(results.unwrap_or_else(|_| stopping())) {
            outcomes[place.0][place.1] = Some(result);
        }
    }
}

/// Appends on the owner's shard, waiting for room in the log until `deadline` at most.
async fn append(
    owner: &Rc<Broker>,
    deadline: Duration,
    queue: QueueId,
    bytes: &[u8],
    header: &BatchHeader,
    split: Option<&SplitBatch>,
) -> Outcome {
    let stall = deadline.saturating_sub(owner.env().clock.monotonic());
    let appended = match split {
        Some(split) => owner.append_split(queue, split, stall).await,
        None => owner.append_when_free(queue, bytes, header, stall).await,
    };
    appended.map_err(Refused::from)
}

impl From<AppendError> for Refused {
    fn from(error: AppendError) -> Self {
        let code = match &error {
            AppendError::UnknownQueue => ResponseError::UnknownTopicOrPartition,
            AppendError::TooLarge { .. } | AppendError::BatchTooLong { .. } => {
                ResponseError::MessageTooLarge
            }
            AppendError::Timestamp { .. } => ResponseError::InvalidTimestamp,
            AppendError::Records(_) => ResponseError::InvalidRecord,
            AppendError::Sequence(SequenceError::StaleEpoch { .. }) => {
                ResponseError::InvalidProducerEpoch
            }
            AppendError::Sequence(SequenceError::OutOfOrder { .. }) => {
                ResponseError::OutOfOrderSequenceNumber
            }
            AppendError::Busy | AppendError::TooManyTimers => ResponseError::RequestTimedOut,
            AppendError::NoTimerQueue(_) | AppendError::Storage(_) => {
                ResponseError::KafkaStorageError
            }
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests;
