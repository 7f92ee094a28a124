//! Fetch sessions (KIP-227): what a client reads is said once, and from then on requests and answers
//! only say what has changed.
//!
//! A session belongs to its connection, and a connection has one at most: a client fetches from a
//! broker over one connection, one request at a time. So sessions need no owner, no locks and no
//! eviction; they end with their connections, which `kafka.idle_ms` ends where nobody asks for
//! anything. A client that comes back over another connection is told that its session is not known,
//! and names all its partitions once more, as it would do after a broker's restart.
//!
//! Where there is no memory for another session a client gets none, and goes on naming everything.

use std::{
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use hashbrown::{Equivalent, HashMap};
use kafka_protocol::error::ResponseError;

use super::wanted::{TopicRef, Wanted, names_by_id, partition, target};
use crate::{
    base::{Position, QueueId, TopicId},
    cluster::ClusterState,
    wire::kafka::fetch::{FetchPartition, FetchPartitionResponse, FetchRequest},
};

/// The epoch of a request that names everything, and wants a session.
const FIRST_EPOCH: i32 = 0;

/// The epoch of a request that names everything, wants no session, and ends the one it names.
const FINAL_EPOCH: i32 = -1;

/// The id of no session.
pub(super) const NO_SESSION: i32 = 0;

/// Memory that a partition takes in a session, bytes, besides its topic's name: about 140 in maps that
/// may be half empty, and the name's own allocation.
const PARTITION_BYTES: u64 = 320;

/// Memory for the fetch sessions of all connections on all shards, and what is counted of them.
#[derive(Debug)]
pub struct FetchSessionMemory {
    bytes_max: u64,
    bytes: AtomicU64,
    sessions: AtomicU64,
    fetches: AtomicU64,
}

impl FetchSessionMemory {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        let (bytes, sessions, fetches) = Default::default();
        Self { bytes_max, bytes, sessions, fetches }
    }

    /// Bytes in use, by estimate.
    #[must_use]
    pub fn taken_bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Sessions there are.
    #[must_use]
    pub fn sessions(&self) -> u64 {
        self.sessions.load(Ordering::Relaxed)
    }

    /// Fetches so far that only said what had changed.
    #[must_use]
    pub fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }

    /// Whether there is room for all that a request names, so that nothing is made in vain.
    fn has_room_for(&self, fetch: &FetchRequest<'_>) -> bool {
        let bytes = fetch.topics.iter().map(|topic| {
            topic.partitions.len() as u64 * (PARTITION_BYTES + topic.name.len() as u64)
        });
        self.taken_bytes() + bytes.sum::<u64>() <= self.bytes_max
    }

    /// Takes `bytes` if there are so many.
    fn take(&self, bytes: u64) -> bool {
        let take = |taken: u64| Some(taken + bytes).filter(|taken| *taken <= self.bytes_max);
        self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give_back(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A topic as a session's requests name it. Hashes as [`TopicRef`] does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum TopicKey {
    Id(TopicId),
    Name(Arc<str>),
}

impl TopicKey {
    fn new(topic: TopicRef<'_>) -> Self {
        match topic {
            TopicRef::Id(id) => Self::Id(id),
            TopicRef::Name(name) => Self::Name(name.into()),
        }
    }

    fn get(&self) -> TopicRef<'_> {
        match self {
            Self::Id(id) => TopicRef::Id(*id),
            Self::Name(name) => TopicRef::Name(name),
        }
    }

    /// Memory of one of the topic's partitions.
    fn partition_bytes(&self) -> u64 {
        match self {
            Self::Id(_) => PARTITION_BYTES,
            Self::Name(name) => PARTITION_BYTES + name.len() as u64,
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    topic: TopicKey,
    index: i32,
}

#[derive(Hash)]
struct KeyRef<'a> {
    topic: TopicRef<'a>,
    index: i32,
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.topic == key.topic.get() && self.index == key.index
    }
}

/// What a client was last told of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    high_watermark: i64,
    log_start: i64,
}

/// A partition of a session.
#[derive(Debug)]
pub(super) struct Cached {
    topic: TopicKey,
    /// What the client last said of it.
    asked: FetchPartition,
    /// Its queue, as of the cluster's state that the session has seen.
    queue: Result<QueueId, ResponseError>,
    /// Nothing, or nothing but an error, counts as none: what comes next is news.
    told: Cell<Option<Told>>,
    /// The last answer brought records.
    served: Cell<bool>,
}

impl Cached {
    /// Whether `answer` has anything for the client that it does not know. It is taken as told.
    pub(super) fn tell(&self, answer: &FetchPartitionResponse) -> bool {
        let FetchPartitionResponse { high_watermark, log_start_offset: log_start, .. } = *answer;
        let now = (answer.error_code == 0).then_some(Told { high_watermark, log_start });
        let before = self.told.replace(now);
        self.served.set(answer.records_bytes > 0);
        now.is_none() || now != before || answer.records_bytes > 0
    }

    /// Whether there is more than the client asks from, as far as it was told.
    pub(super) fn is_behind(&self) -> bool {
        self.told.get().is_some_and(|told| told.high_watermark > self.asked.fetch_offset)
    }

    fn wanted(&self) -> Wanted<'_> {
        Wanted {
            topic: self.topic.get(),
            index: self.asked.index,
            target: self.queue.and_then(|queue| target(queue, &self.asked)),
            found: None,
            cached: Some(self),
        }
    }
}

/// A connection's session. Lives with the connection, on its shard.
#[derive(Debug)]
pub(in super::super) struct FetchSession {
    id: i32,
    /// What the next request has to have.
    epoch: i32,
    /// Whether its requests name topics by their ids.
    by_id: bool,
    /// In the order in which they are read.
    partitions: BTreeMap<u64, Cached>,
    /// Where they are in that order.
    places: HashMap<Key, u64>,
    next_place: u64,
    /// As of which state of the cluster the queues are known.
    resolved: Option<Position>,
    memory: Arc<FetchSessionMemory>,
    bytes: u64,
}

/// Does to a connection's session what a request asks for. The session is returned if the request is
/// one of a session.
///
/// # Errors
/// Where the request is not one of this connection's session.
pub(super) fn enter<'s>(
    session: &'s mut Option<FetchSession>,
    memory: &Arc<FetchSessionMemory>,
    cluster: &ClusterState,
    version: i16,
    fetch: &FetchRequest<'_>,
    new_id: impl FnOnce() -> i32,
) -> Result<Option<&'s FetchSession>, ResponseError> {
    let by_id = names_by_id(version);
    match fetch.session_epoch {
        FIRST_EPOCH => {
            // Whatever there was has the same client, who has no more use for it.
            *session = None;
            if memory.has_room_for(fetch) {
                let new = FetchSession::new(new_id(), by_id, Arc::clone(memory));
                *session = new.updated(cluster, fetch).filter(|new| !new.partitions.is_empty());
            }
            return Ok(session.as_ref());
        }
        FINAL_EPOCH => {
            session.take_if(|session| session.id == fetch.session_id);
            return Ok(None);
        }
        _ => {}
    }
    let ours = session.as_ref().filter(|session| session.id == fetch.session_id);
    let ours = ours.ok_or(ResponseError::FetchSessionIdNotFound)?;
    if ours.epoch != fetch.session_epoch {
        return Err(ResponseError::InvalidFetchSessionEpoch);
    }
    if ours.by_id != by_id {
        return Err(ResponseError::FetchSessionTopicIdError);
    }
    memory.fetches.fetch_add(1, Ordering::Relaxed);
    let updated = session.take().and_then(|session| session.updated(cluster, fetch));
    // One that has grown too large: the client names everything, and is not given another.
    let updated = updated.ok_or(ResponseError::FetchSessionIdNotFound)?;
    *session = Some(updated).filter(|session| !session.partitions.is_empty());
    Ok(session.as_ref())
}

impl FetchSession {
    fn new(id: i32, by_id: bool, memory: Arc<FetchSessionMemory>) -> Self {
        memory.sessions.fetch_add(1, Ordering::Relaxed);
        Self {
            id,
            epoch: FIRST_EPOCH,
            by_id,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
            next_place: 0,
            resolved: None,
            memory,
            bytes: 0,
        }
    }

    /// What clients call it; never 0.
    pub(super) fn id(&self) -> i32 {
        self.id
    }

    /// Its partitions, those first that have been without records for longest.
    pub(super) fn wanted(&self) -> Vec<Wanted<'_>> {
        self.partitions.values().map(Cached::wanted).collect()
    }

    /// Takes a request in; gives the session up if there is no memory for it.
    fn updated(mut self, cluster: &ClusterState, fetch: &FetchRequest<'_>) -> Option<Self> {
        self.epoch = self.epoch.checked_add(1).unwrap_or(FIRST_EPOCH + 1);
        self.move_served();
        self.resolve(cluster);
        for named in &fetch.topics {
            let topic = TopicRef::new(self.by_id, named.name, named.id);
            for asked in &named.partitions {
                match self.places.get(&KeyRef { topic, index: asked.index }).copied() {
                    Some(place) => self.at(place).asked = *asked,
                    None if self.add(cluster, topic, asked) => {}
                    None => return None,
                }
            }
        }
        for named in &fetch.forgotten {
            let topic = TopicRef::new(self.by_id, named.name, named.id);
            named.partitions.iter().for_each(|&index| self.forget(&KeyRef { topic, index }));
        }
        Some(self)
    }

    fn at(&mut self, place: u64) -> &mut Cached {
        self.partitions.get_mut(&place).expect("every place is taken")
    }

    /// Puts those that had records behind the others, so that all get their turn within the client's
    /// limit of an answer's bytes.
    fn move_served(&mut self) {
        let served = self.partitions.iter().filter(|(_, cached)| cached.served.get());
        let served: Vec<u64> = served.map(|(place, _)| *place).collect();
        for place in served {
            let cached = self.partitions.remove(&place).expect("it was there");
            cached.served.set(false);
            let key = KeyRef { topic: cached.topic.get(), index: cached.asked.index };
            *self.places.get_mut(&key).expect("every partition has a place") = self.next_place;
            self.partitions.insert(self.next_place, cached);
            self.next_place += 1;
        }
    }

    /// Finds the queues anew when topics may have come, gone or grown.
    fn resolve(&mut self, cluster: &ClusterState) {
        if self.resolved == cluster.applied() {
            return;
        }
        self.resolved = cluster.applied();
        for cached in self.partitions.values_mut() {
            cached.queue = queue(cluster, cached.topic.get(), cached.asked.index);
        }
    }

    /// False if there is no memory for it.
    fn add(&mut self, cluster: &ClusterState, topic: TopicRef<'_>, asked: &FetchPartition) -> bool {
        let key = TopicKey::new(topic);
        let bytes = key.partition_bytes();
        if !self.memory.take(bytes) {
            return false;
        }
        self.bytes += bytes;
        let place = self.next_place;
        self.next_place += 1;
        self.places.insert(Key { topic: key.clone(), index: asked.index }, place);
        let cached = Cached {
            topic: key,
            asked: *asked,
            queue: queue(cluster, topic, asked.index),
            told: Cell::default(),
            served: Cell::default(),
        };
        self.partitions.insert(place, cached);
        true
    }

    fn forget(&mut self, key: &KeyRef<'_>) {
        let Some(place) = self.places.remove(key) else { return };
        let gone = self.partitions.remove(&place).expect("every place is taken");
        let bytes = gone.topic.partition_bytes();
        self.bytes -= bytes;
        self.memory.give_back(bytes);
    }
}

impl Drop for FetchSession {
    fn drop(&mut self) {
        self.memory.give_back(self.bytes);
        self.memory.sessions.fetch_sub(1, Ordering::Relaxed);
    }
}

fn queue(
    cluster: &ClusterState,
    topic: TopicRef<'_>,
    index: i32,
) -> Result<QueueId, ResponseError> {
    topic.known(cluster).and_then(|topic| partition(topic, index))
}

#[cfg(test)]
mod tests;
