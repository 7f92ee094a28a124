//! Fetch 4–17 (KIP-74, KIP-98, KIP-227, KIP-516): messages out of queues, as the log's own bytes
//! where they are Kafka's.

mod answer;
mod found;
mod session;
mod wanted;

use std::{rc::Rc, time::Duration};

use futures_lite::future::or;

use self::{
    session::{Cached, NO_SESSION},
    wanted::Wanted,
};
use super::{Gateway, Request};
use crate::{
    base::{QueueId, ShardId, Stage},
    broker::{Read, ReadError, ReadRequest},
    gateway::answer::Answer,
    wire::{WireError, kafka::fetch::FetchRequest},
};

pub(super) use session::FetchSession;
pub use session::FetchSessionMemory;

/// How long a fetch may wait for messages that holds memory, which their senders may be waiting for:
/// as long as most wait anyhow (`fetch.max.wait.ms`).
const LARGE_WAIT: Duration = Duration::from_millis(500);

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
    session: &mut Option<FetchSession>,
) -> Result<Answer, WireError> {
    let broker = &gateway.broker;
    let clock = &broker.env().clock;
    let fetch = FetchRequest::parse(request.version, &request.body)?;
    let (memory, new_id) = (&gateway.sessions, || new_session_id(gateway));
    let entered = {
        let cluster = broker.cluster();
        session::enter(session, memory, &cluster, request.version, &fetch, new_id)
    };
    let session = match entered {
        Ok(session) => session,
        Err(error) => return answer::refuse(request, error),
    };
    let mut wanted = match session {
        Some(session) => session.wanted(),
        None => wanted::named(&broker.cluster(), request.version, &fetch),
    };
    let bytes_max =
        u64::try_from(fetch.max_bytes).unwrap_or(0).min(gateway.settings.fetch_max_bytes);
    let bytes_min = u64::try_from(fetch.min_bytes).unwrap_or(0).min(bytes_max);
    let began = clock.monotonic();
    let wait = Duration::from_millis(u64::try_from(fetch.max_wait_ms).unwrap_or(0));
    let deadline = began + if request.holds_memory { wait.min(LARGE_WAIT) } else { wait };
    loop {
        read_all(gateway, &mut wanted, bytes_max).await;
        let bytes: u64 = found(&wanted).map(|found| found.as_ref().map_or(0, Read::bytes)).sum();
        let trouble = wanted.iter().any(|partition| partition.target.is_err())
            || found(&wanted).any(Result::is_err);
        let left = deadline.saturating_sub(clock.monotonic());
        if bytes >= bytes_min || trouble || left.is_zero() || wanted.is_empty() {
            break;
        }
        wait_for_more(gateway, &wanted, left).await;
    }
    let waited = clock.monotonic().saturating_sub(began);
    broker.record(Stage::FetchWait, waited);
    let session_id = session.map_or(NO_SESSION, FetchSession::id);
    answer::answer(gateway, request, session_id, wanted, bytes_max).await
}

/// A client that comes back with a session of another connection must not find its id here.
fn new_session_id(gateway: &Gateway) -> i32 {
    let mut bytes = [0; 4];
    gateway.broker.env().random.fill(&mut bytes);
    (i32::from_be_bytes(bytes) & i32::MAX).max(1)
}

fn found<'w>(wanted: &'w [Wanted<'_>]) -> impl Iterator<Item = &'w Result<Read, ReadError>> {
    wanted.iter().filter_map(|partition| partition.found.as_ref())
}

/// Reads every partition on its owner's shard. The shard of the first partition comes first that has
/// more than its client has read, so that in a session each shard has its turn.
async fn read_all(gateway: &Gateway, wanted: &mut [Wanted<'_>], bytes_max: u64) {
    let broker = &gateway.broker;
    let shards = broker.shards();
    let targets = || wanted.iter().filter_map(|one| one.target.as_ref().ok());
    let is_behind = |one: &&Wanted<'_>| one.cached.is_some_and(Cached::is_behind);
    let behind = wanted.iter().filter(is_behind).find_map(|one| one.target.as_ref().ok());
    let first = behind.or_else(|| targets().next());
    let begin = first.map_or(0, |target| broker.owner(target.queue).0);
    let mut bytes = 0;
    for shard in (0..shards).map(|number| ShardId((begin + number) % shards)) {
        let mut mine: Vec<&mut Wanted<'_>> = wanted
            .iter_mut()
            .filter(|one| one.target.as_ref().is_ok_and(|at| broker.owner(at.queue) == shard))
            .collect();
        if mine.is_empty() {
            continue;
        }
        let targets: Vec<ReadRequest> =
            mine.iter().filter_map(|one| one.target.as_ref().ok().copied()).collect();
        let (left, first) = (bytes_max.saturating_sub(bytes), bytes == 0);
        let results = if shard == broker.shard() {
            broker.read(&targets, left, first).await
        } else {
            let count = targets.len();
            broker
                .on(shard, move |owner| {
                    Box::pin(async move { owner.read(&targets, left, first).await })
                })
                .await
                .unwrap_or_else(|_| vec![Err(ReadError::UnknownQueue); count])
        };
        for (one, result) in mine.iter_mut().zip(results) {
            bytes += result.as_ref().map_or(0, Read::bytes);
            one.found = Some(result);
        }
    }
}

/// Waits until one of the partitions has more than was found, or `left` has passed.
async fn wait_for_more(gateway: &Gateway, wanted: &[Wanted<'_>], left: Duration) {
    let broker = &gateway.broker;
    // Offsets from which on a message is news.
    let ends: Vec<(QueueId, i64)> = wanted
        .iter()
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
    // Nothing is ever sent: the shards' waits end with this one, since it has the only sender.
    let (_waiting, over) = flume::bounded::<()>(1);
    for shard in (0..broker.shards()).map(ShardId) {
        let mine = on(shard);
        if mine.is_empty() {
            continue;
        }
        let (broker, news, over) = (Rc::clone(broker), news.clone(), over.clone());
        let tasks = Rc::clone(&broker.env().tasks);
        tasks.spawn(Box::pin(async move {
            let waited = broker
                .on(shard, move |owner| {
                    Box::pin(async move {
                        let given_up = async { over.recv_async().await.map_or((), drop) };
                        or(owner.wait_for_messages(&mine, left), given_up).await;
                    })
                })
                .await;
            // A full channel holds the news already; a stopping broker has none.
            let _ = waited.map(|()| news.try_send(()));
        }));
    }
    drop(news);
    let _ = told.recv_async().await;
}
