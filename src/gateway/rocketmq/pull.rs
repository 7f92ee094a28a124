//! PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): messages out of a queue, as the log's own bytes
//! where they are RocketMQ's.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_lite::future::or;

use super::{
    Gateway, Handled, check_group, client::Client, encoded, group_offset, refusal::Refusal,
};
use crate::{
    base::{Position, QueueId},
    broker::{
        LogSlice, Piece, Pull, PullCount, Pulled, ReadError, SubscriptionError,
        filter::Filter,
        group::{GroupError, TopicPartition},
    },
    env::LocalFuture,
    gateway::{
        answer::{Answer, Part},
        cold_room::ColdHeld,
    },
    wire::rocketmq::{
        PullSysFlag, RemotingCommand, ResponseCode,
        body::SubscriptionData,
        header::{PullMessageRequest, PullMessageResponse},
    },
};

/// Bytes of an answer where the client does not say, as in RocketMQ.
const BYTES: i32 = 256 << 10;

/// Bytes of an answer, whatever the client says: what it reads has to fit in 16 MiB.
const BYTES_MAX: u64 = 4 << 20;

/// Longest that a pull is held, whatever the client says.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How long a pull waits whose index is being rebuilt.
const REBUILDING: Duration = Duration::from_millis(200);

/// What a consumer wants of a topic by what a heartbeat says, or why it cannot be had.
pub(super) fn subscribed(subscription: &SubscriptionData) -> Result<Arc<Filter>, String> {
    if subscription.class_filter_mode {
        return Err("filter classes are not served, only tags and SQL92".to_owned());
    }
    wanted(subscription.expression_type.as_deref(), &subscription.sub_string)
}

/// What is wanted by an expression: `*`, or tags with `||` between, or a condition of SQL92.
fn wanted(expression_type: Option<&str>, expression: &str) -> Result<Arc<Filter>, String> {
    let filter = match expression_type {
        None | Some("TAG" | "") => Filter::tags(expression),
        Some("SQL92") => Filter::sql(expression),
        Some(other) => {
            return Err(format!("{other} expressions are not served, only tags and SQL92"));
        }
    };
    filter.map(Arc::new).map_err(|error| error.to_string())
}

/// An expression cannot be gone by.
pub(super) fn unserved(why: String) -> Refusal {
    Refusal::new(ResponseCode::SubscriptionParseFailed, why)
}

/// Begins a pull.
pub(super) fn begin(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Result<LocalFuture<'static, Handled>, Refusal> {
    let asked = PullMessageRequest::parse(&command.fields)?;
    check_group(asked.consumer_group)?;
    let (queue, partition) = group_offset::place(&gateway, asked.topic, asked.queue_id)?;
    let puller = Puller {
        group: asked.consumer_group.to_owned(),
        topic: asked.topic.to_owned(),
        queue_id: asked.queue_id,
        partition,
        broadcasts: client.broadcasts(asked.consumer_group),
        looks_at_tags: asked.expression_type == Some("TAG"),
    };
    puller.check_allowed(&gateway)?;
    let flags = PullSysFlag(asked.sys_flag);
    let filter = match asked.subscription {
        Some(expression) if flags.has(PullSysFlag::SUBSCRIPTION) => {
            Some(wanted(asked.expression_type, expression).map_err(unserved)?)
        }
        _ => None,
    };
    let held = u64::try_from(asked.suspend_timeout_millis).unwrap_or(0);
    let wait = match flags.has(PullSysFlag::SUSPEND) {
        true => Duration::from_millis(held).min(WAIT_MAX),
        false => Duration::ZERO,
    };
    let bytes = asked.max_msg_bytes.filter(|bytes| *bytes > 0).unwrap_or(BYTES);
    let offset = asked.queue_offset;
    let messages_max = usize::try_from(asked.max_msg_nums).unwrap_or(1).max(1);
    let bytes_max = u64::from(bytes.unsigned_abs()).min(BYTES_MAX);
    let answer = RemotingCommand::answer(command, ResponseCode::Success);
    let version = asked.sub_version;
    if flags.has(PullSysFlag::COMMIT_OFFSET) {
        let now = gateway.broker.env().clock.monotonic();
        let (Puller { group, topic, queue_id, .. }, committed) = (&puller, asked.commit_offset);
        if client.is_to_commit(group, queue, committed, now) {
            group_offset::store(&gateway, client, group, topic, *queue_id, committed)?;
        }
    }
    let under_way = client.begins_pull(&gateway)?;
    let gone = client.gone.clone();
    Ok(Box::pin(async move {
        let _ends_with_this = under_way;
        let is_groups = filter.is_none();
        let filter = match puller.welcome(&gateway, version, filter).await? {
            Welcome::To(filter) => filter,
            Welcome::At(reset) => return moved(&gateway, &puller, queue, reset, answer).await,
        };
        let mut pull = Pull { queue, offset, messages_max, bytes_max, filter, wait };
        let mut pulled = read(&gateway, pull.clone(), gone.clone()).await?;
        // The group may want something else since it was held, and must not lose what was passed over.
        if is_groups && !wait.is_zero() && !matches!(*pull.filter, Filter::All) {
            match puller.welcome(&gateway, version, None).await? {
                Welcome::At(reset) => return moved(&gateway, &puller, queue, reset, answer).await,
                Welcome::To(now) if Arc::ptr_eq(&now, &pull.filter) => {}
                Welcome::To(now) => {
                    (pull.filter, pull.wait) = (now, Duration::ZERO);
                    pulled = read(&gateway, pull, gone).await?;
                }
            }
        }
        tell(&gateway, &puller, (queue, offset), pulled, answer).await
    }))
}

/// What its group has to say to a pull.
enum Welcome {
    /// It may have these messages.
    To(Arc<Filter>),
    /// An administrator wants it to go on at this offset.
    At(i64),
}

/// Who pulls from which queue, as far as it may.
struct Puller {
    group: String,
    topic: String,
    queue_id: i32,
    /// Where the group's offset of the queue is kept.
    partition: TopicPartition,
    broadcasts: bool,
    /// It looks at tags itself, since those with the same hash may come, too.
    looks_at_tags: bool,
}

impl Puller {
    /// What an administrator has forbidden is refused.
    fn check_allowed(&self, gateway: &Gateway) -> Result<(), Refusal> {
        let topic = gateway.topic(&self.topic)?;
        let cluster = gateway.broker.cluster();
        let config = cluster.group_config(&self.group);
        let forbidden = if !config.consume_enable {
            format!("subscription group no permission, {}", self.group)
        } else if !config.consume_broadcast_enable && self.broadcasts {
            format!("the consumer group[{}] can not consume by broadcast way", self.group)
        } else if !topic.settings.rocketmq.readable {
            format!("the topic[{}] pulling message is forbidden", self.topic)
        } else if self.queue_id >= topic.read_queues() {
            return Err(Refusal::no_queue(&self.topic, self.queue_id));
        } else {
            return Ok(());
        };
        Err(Refusal::new(ResponseCode::NoPermission, forbidden))
    }

    /// Checks that the group may be consumed in by RocketMQ's clients, and finds what its members told
    /// that it wants of the topic, if the pull does not say; unless its offset was reset.
    ///
    /// A client of Java's pulls with a newer subscription than it told where its heartbeat after the
    /// first rebalance meets the one of its start, and tells it half a minute later. With tags it is
    /// given everything till then; RocketMQ refuses it meanwhile (code 25), as here what goes by SQL92.
    async fn welcome(
        &self,
        gateway: &Gateway,
        version: i64,
        said: Option<Arc<Filter>>,
    ) -> Result<Welcome, Refusal> {
        let (broker, topic) = (&gateway.broker, self.topic.clone());
        let group: Arc<str> = self.group.as_str().into();
        let (looks_at_tags, partition) = (self.looks_at_tags, self.partition);
        let found = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move {
                let reset = owner.with_groups(|groups, _| {
                    groups.check_peers(&group)?;
                    Ok::<_, GroupError>(groups.take_reset(&group, partition))
                })?;
                if let Some(offset) = reset {
                    return Ok(Welcome::At(offset));
                }
                match said.map_or_else(|| owner.subscription(&group, &topic, version), Ok) {
                    Err(SubscriptionError::NotLatest) if looks_at_tags => {
                        Ok(Welcome::To(Arc::new(Filter::All)))
                    }
                    known => known.map(Welcome::To),
                }
            })
        });
        Ok(found.await??)
    }
}

/// Reads on the queue's shard, as long as the client is there.
async fn read(
    gateway: &Gateway,
    pull: Pull,
    gone: flume::Receiver<()>,
) -> Result<Result<Pulled, ReadError>, Refusal> {
    let broker = &gateway.broker;
    let pulled = broker.on(broker.owner(pull.queue), |owner| {
        Box::pin(async move {
            let gone = async { gone.recv_async().await.map_or(None, |()| None) };
            or(async { Some(owner.pull(pull).await) }, gone).await
        })
    });
    // Nobody is told so.
    let gone = || Refusal::new(ResponseCode::SystemError, "the client has gone");
    pulled.await?.ok_or_else(gone)
}

/// Answers a pull from an offset of a queue.
async fn tell(
    gateway: &Gateway,
    puller: &Puller,
    (queue, offset): (QueueId, i64),
    pulled: Result<Pulled, ReadError>,
    mut answer: RemotingCommand<'static>,
) -> Handled {
    let broker = &gateway.broker;
    // It may have been forbidden while the pull was held.
    puller.check_allowed(gateway)?;
    let topic = puller.topic.as_str();
    let hot_from = broker.tail().start();
    let mut held = None;
    let (code, next_begin_offset, pulled) = match pulled {
        Ok(mut pulled) if !pulled.pieces.is_empty() => {
            held = Some(hold(gateway, &mut pulled, hot_from));
            (ResponseCode::Success, pulled.next_offset, pulled)
        }
        // Nothing of what is there matched; the next ones may.
        Ok(pulled) if pulled.next_offset > offset => {
            (ResponseCode::PullRetryImmediately, pulled.next_offset, pulled)
        }
        Ok(pulled) => (ResponseCode::PullNotFound, pulled.next_offset, pulled),
        Err(ReadError::OutOfRange { log_start, high_watermark }) => {
            let next_offset = offset.clamp(log_start, high_watermark);
            let nothing = nothing((log_start, high_watermark), next_offset);
            (ResponseCode::PullOffsetMoved, next_offset, nothing)
        }
        Err(ReadError::Index) => {
            // Clients that are told to try again do so at once.
            broker.env().tasks.sleep(REBUILDING).await;
            let ends = ends(gateway, puller, queue).await?;
            (ResponseCode::PullRetryImmediately, offset, nothing(ends, offset))
        }
        Err(ReadError::UnknownQueue) => return Err(Refusal::no_topic(topic)),
        Err(error) => {
            tracing::warn!(topic, offset, %error, "a pull cannot be answered");
            return Err(Refusal::new(ResponseCode::SystemError, error.to_string()));
        }
    };
    fill(&mut answer, code, next_begin_offset, &pulled);
    let Some(held) = held else { return encoded(&answer) };
    broker.count_pulled(&PullCount {
        group: &puller.group,
        topic,
        queue,
        messages: pulled.messages,
        bytes: pulled.pieces.iter().map(|piece| piece.bytes() as u64).sum(),
        next_offset: next_begin_offset,
    });
    with_messages(gateway, &answer, pulled.pieces, hot_from, held).await
}

/// Sends a pull to another offset of its queue.
async fn moved(
    gateway: &Gateway,
    puller: &Puller,
    queue: QueueId,
    offset: i64,
    mut answer: RemotingCommand<'static>,
) -> Handled {
    let nothing = nothing(ends(gateway, puller, queue).await?, offset);
    fill(&mut answer, ResponseCode::PullOffsetMoved, offset, &nothing);
    encoded(&answer)
}

/// Where a queue begins and ends.
async fn ends(gateway: &Gateway, puller: &Puller, queue: QueueId) -> Result<(i64, i64), Refusal> {
    let broker = &gateway.broker;
    let ends = broker
        .on(broker.owner(queue), move |owner| Box::pin(std::future::ready(owner.ends(queue))));
    ends.await?.ok_or_else(|| Refusal::no_topic(&puller.topic))
}

/// Writes an answer's header.
fn fill(answer: &mut RemotingCommand<'_>, code: ResponseCode, next_begin_offset: i64, of: &Pulled) {
    answer.code = code.number();
    let header = PullMessageResponse {
        suggest_which_broker_id: 0,
        next_begin_offset,
        min_offset: of.log_start,
        max_offset: of.high_watermark,
        offset_delta: Some(0),
        topic_sys_flag: Some(0),
        group_sys_flag: Some(0),
        forbidden_type: None,
    };
    header.write(&mut answer.fields);
}

/// The messages of the log that have left the hot tail, each with the place of its piece.
fn cold(pieces: &[Piece], hot_from: Position) -> impl Iterator<Item = (usize, LogSlice)> + '_ {
    pieces.iter().enumerate().filter_map(move |(at, piece)| match piece {
        Piece::Log(slice) if slice.position < hot_from => Some((at, *slice)),
        _ => None,
    })
}

/// Takes room for what is to be read from disk, and gives up the messages that there is none for.
fn hold(gateway: &Gateway, pulled: &mut Pulled, hot_from: Position) -> ColdHeld {
    let lengths = cold(&pulled.pieces, hot_from).map(|(_, slice)| slice.length);
    let (count, held) = gateway.cold.take(lengths);
    let beyond = cold(&pulled.pieces, hot_from).nth(count);
    beyond.into_iter().for_each(|(at, _)| pulled.end_before(at));
    held
}

/// No messages, between a queue's ends.
fn nothing((log_start, high_watermark): (i64, i64), next_offset: i64) -> Pulled {
    Pulled { log_start, high_watermark, next_offset, messages: 0, pieces: Vec::new() }
}

/// Slices in the hot tail stay positions until they are sent; the others are read and verified now,
/// so that damage is this pull's error.
async fn with_messages(
    gateway: &Gateway,
    answer: &RemotingCommand<'_>,
    pieces: Vec<Piece>,
    hot_from: Position,
    held: ColdHeld,
) -> Handled {
    let slices: Vec<LogSlice> = cold(&pieces, hot_from).map(|(_, slice)| slice).collect();
    let mut loaded = gateway.broker.load(&slices).await.into_iter();
    let bytes = pieces.iter().map(Piece::bytes).sum();
    let mut head = BytesMut::with_capacity(256);
    answer.encode_head(&mut head, bytes)?;
    let mut parts = Vec::with_capacity(pieces.len() + 1);
    parts.push(Part::Bytes(head.freeze()));
    for piece in pieces {
        parts.push(match piece {
            Piece::Log(slice) if slice.position < hot_from => {
                let bytes = loaded.next().expect("one for each cold slice");
                Part::Cold(bytes.map_err(|error| {
                    tracing::error!(%error, "messages cannot be read back");
                    Refusal::new(ResponseCode::SystemError, error.to_string())
                })?)
            }
            Piece::Log(slice) => Part::Log { slice, sent: 0 },
            Piece::Converted(bytes, _) => Part::Bytes(bytes),
        });
    }
    Ok(Answer::messages(parts, held))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::filter::{TagHash, Verdict};

    #[test]
    fn expressions_are_tags_or_refused() {
        let verdict = |kind, expression, tag| {
            let filter = wanted(kind, expression).unwrap();
            filter.verdict(TagHash::of(tag))
        };
        for all in ["*", ""] {
            assert_eq!(verdict(None, all, None), Verdict::All, "{all:?}");
        }
        assert_eq!(verdict(Some("TAG"), " a b ||c|| ", Some("a b")), Verdict::All);
        assert_eq!(verdict(Some("TAG"), " a b ||c|| ", Some("b")), Verdict::None);
        assert_eq!(verdict(Some("SQL92"), "a > 1", None), Verdict::Each);
        let refusal = wanted(Some("SQL92"), "a > ").map_err(unserved).unwrap_err();
        assert_eq!(refusal.code, ResponseCode::SubscriptionParseFailed);
        assert!(refusal.remark.contains("at character 5"), "{}", refusal.remark);
        assert!(wanted(Some("XPATH"), "a").is_err());
        let by_class = SubscriptionData { class_filter_mode: true, ..SubscriptionData::default() };
        assert!(subscribed(&by_class).is_err());
    }
}
