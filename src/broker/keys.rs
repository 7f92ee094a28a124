//! Which keys a message is found by, and finding it.

use std::{cmp::Reverse, ops::RangeInclusive, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;
use hashbrown::HashMap;

use super::{Broker, LogSlice, Stopping, conversion::DECOMPRESSED_MAX};
use crate::{
    base::{Dialect, QueueId},
    cluster::{Naming, Topic},
    storage::{
        key_index::{KeyEntry, key_hash},
        queue_index::{Budget, IndexEntry},
    },
    wire::{
        convert::each_key,
        rocketmq::{property, record::Record},
    },
};

/// Index entries looked at before other tasks of the shard have a turn.
const SCAN: usize = 1_024;

/// The keys of a RocketMQ record: those its producer gave it, and the unique one its client made.
fn keys_of<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a str> {
    record.properties().flat_map(|(name, value)| {
        let given = (name == property::KEYS).then(|| value.split(property::KEYS_PARTED_BY));
        let unique = (name == property::UNIQ_KEY).then_some(value);
        given.into_iter().flatten().filter(|key| !key.is_empty()).chain(unique)
    })
}

/// The topics of which Kafka's records are found by their keys too, by their queues.
///
/// RocketMQ's messages always are: there are few of them in comparison, and whoever sends them counts
/// on it. Of Kafka's batches all records would have to be walked, and those of most decompressed, so
/// that a topic has to ask for it (`mainstem.key.index`).
pub type KeyedTopics = HashMap<QueueId, Arc<str>>;

/// Entries of one key file beyond which Kafka's records get none: 192 MiB.
const KAFKAS_MAX: usize = 8 << 20;

/// Collects what a key file is to know of the frames it is shown.
#[derive(Debug, Default)]
pub struct KeyCollector {
    keyed: KeyedTopics,
    entries: Vec<KeyEntry>,
    left_out: u64,
}

impl KeyCollector {
    /// Collects from RocketMQ's messages, and from Kafka's records of these topics.
    #[must_use]
    pub fn new(keyed: KeyedTopics) -> Self {
        Self { keyed, ..Self::default() }
    }

    /// Whether it is to see messages of a queue.
    #[must_use]
    pub fn wants(&self, queue: QueueId, dialect: Dialect) -> bool {
        dialect == Dialect::RocketMq || self.keyed.contains_key(&queue)
    }

    /// Takes in a message or a batch that was stored at `stored_ms`, milliseconds since 1970. What
    /// cannot be read has no keys.
    pub fn add(&mut self, queue: QueueId, dialect: Dialect, stored_ms: i64, payload: &[u8]) {
        match dialect {
            Dialect::RocketMq => self.add_record(queue, payload),
            Dialect::Kafka => self.add_batch(queue, stored_ms, payload),
        }
    }

    fn add_record(&mut self, queue: QueueId, record: &[u8]) {
        let Ok(record) = Record::parse(record) else { return };
        let stored_s = seconds(record.store_timestamp);
        self.entries.extend(keys_of(&record).map(|key| KeyEntry {
            hash: key_hash(record.topic, key),
            stored_s,
            queue,
            offset: record.queue_offset,
        }));
    }

    fn add_batch(&mut self, queue: QueueId, stored_ms: i64, batch: &[u8]) {
        let Some(topic) = self.keyed.get(&queue) else { return };
        let stored_s = seconds(stored_ms);
        each_key(batch, DECOMPRESSED_MAX, |offset, key| {
            if self.entries.len() < KAFKAS_MAX {
                let hash = key_hash(topic, key);
                self.entries.push(KeyEntry { hash, stored_s, queue, offset });
            } else {
                self.left_out += 1;
            }
        });
    }

    /// All entries, in no order.
    #[must_use]
    pub fn finish(self) -> Vec<KeyEntry> {
        if self.left_out > 0 {
            let left_out = self.left_out;
            tracing::warn!(
                left_out,
                "a segment has too many keys: not all records are found by them"
            );
        }
        self.entries
    }
}

fn seconds(ms: i64) -> u32 {
    u32::try_from((ms / 1000).clamp(0, i64::from(u32::MAX))).expect("it was clamped")
}

/// Which messages of a topic are asked for.
#[derive(Clone, Debug)]
pub struct KeyQuery {
    /// The topic.
    pub topic: Arc<Topic>,
    /// One of their keys.
    pub key: Arc<str>,
    /// Only those whose client made this key for them alone.
    pub unique: bool,
    /// When they were stored, in milliseconds since 1970.
    pub times_ms: RangeInclusive<i64>,
    /// The newest so many, at most.
    pub max: usize,
}

impl KeyQuery {
    /// Whether a record is asked for.
    fn wants(&self, record: &[u8]) -> bool {
        let Ok(record) = Record::parse(record) else { return false };
        let has_key = match self.unique {
            true => record.properties().get(property::UNIQ_KEY) == Some(&*self.key),
            false => keys_of(&record).any(|key| key == &*self.key),
        };
        has_key && *record.topic == *self.topic.name && self.is_in_time(record.store_timestamp)
    }

    fn is_in_time(&self, stored_ms: i64) -> bool {
        self.times_ms.contains(&stored_ms)
    }
}

/// A message that was found.
struct Found {
    stored_ms: i64,
    offset: i64,
    record: Bytes,
}

impl Found {
    fn new(record: Bytes) -> Option<Self> {
        let parsed = Record::parse(&record).ok()?;
        let (stored_ms, offset) = (parsed.store_timestamp, parsed.queue_offset);
        Some(Self { stored_ms, offset, record })
    }
}

fn keep_newest(found: &mut Vec<Found>, max: usize) {
    found.sort_by_key(|found| Reverse((found.stored_ms, found.offset)));
    found.truncate(max);
}

impl Broker {
    /// Messages with a key, the newest first, as RocketMQ's records; Kafka's too where their topic
    /// wants it. Whatever of the log cannot be read is passed over, and so are segments that were
    /// sealed a moment ago.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn messages_with_key(
        self: &Rc<Self>,
        query: KeyQuery,
    ) -> Result<Vec<Bytes>, Stopping> {
        let known = self.known_with_key(&query).await;
        let mut found: Vec<Found> = Vec::new();
        for &queue in &*query.topic.queues {
            let of_queue = known.iter().filter(|entry| entry.queue == queue);
            let offsets: Vec<i64> = of_queue.map(|entry| entry.offset).collect();
            let of_owner = query.clone();
            let records = self.on(self.owner(queue), move |owner| {
                Box::pin(async move { owner.of_queue_with_key(queue, &offsets, &of_owner).await })
            });
            found.extend(records.await?);
            keep_newest(&mut found, query.max);
        }
        Ok(found.into_iter().map(|found| found.record).collect())
    }

    /// Where the key index knows of messages that may be asked for.
    async fn known_with_key(&self, query: &KeyQuery) -> Vec<KeyEntry> {
        let hash = key_hash(&query.topic.name, &query.key);
        let times = seconds(*query.times_ms.start())..=seconds(*query.times_ms.end());
        let files = self.key_files.borrow().clone();
        let mut known = Vec::new();
        for file in files.iter().rev() {
            if known.len() >= query.max {
                break;
            }
            match file.find(&*self.env.cold, hash, &times, query.max).await {
                Ok(entries) => known.extend(entries),
                Err(error) => tracing::warn!(%error, "a key file cannot be read"),
            }
        }
        known
    }

    /// Messages of a queue of this shard that are asked for: those at `offsets`, and those whose segment
    /// is not sealed yet.
    async fn of_queue_with_key(
        self: &Rc<Self>,
        queue: QueueId,
        offsets: &[i64],
        query: &KeyQuery,
    ) -> Vec<Found> {
        self.apply_durable();
        let mut found = Vec::new();
        for &offset in offsets {
            found.extend(self.at_offset(queue, offset, query).await);
        }
        let Some(mut at) = self.index.unsealed_start(queue) else { return found };
        loop {
            let budget = Budget { entries: SCAN, bytes: u64::MAX };
            let Ok(entries) = self.index.range(queue, at, budget).await else { return found };
            let Some(last) = entries.last() else { return found };
            at = last.next_offset();
            for entry in entries.iter().filter(|entry| query.is_in_time(entry.append_time)) {
                if found.len() > 2 * query.max {
                    keep_newest(&mut found, query.max);
                }
                match entry.dialect {
                    Dialect::RocketMq => found.extend(self.if_wanted(queue, entry, query).await),
                    Dialect::Kafka if query.topic.settings.key_index => {
                        self.of_batch_with_key(queue, entry, query, &mut found).await;
                    }
                    Dialect::Kafka => {}
                }
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
    }

    /// The message at an offset, if it is asked for.
    async fn at_offset(
        self: &Rc<Self>,
        queue: QueueId,
        offset: i64,
        query: &KeyQuery,
    ) -> Option<Found> {
        let record = self.message_at(queue, offset).await.ok().flatten();
        record.filter(|record| query.wants(record)).and_then(Found::new)
    }

    /// A message of RocketMQ's, if it is asked for.
    async fn if_wanted(
        self: &Rc<Self>,
        queue: QueueId,
        entry: &IndexEntry,
        query: &KeyQuery,
    ) -> Option<Found> {
        let slice = LogSlice::new(queue, entry);
        let wanted = |record: &[u8]| query.wants(record).then(|| Bytes::copy_from_slice(record));
        let record = match self.look(&slice, wanted) {
            Some(record) => record,
            None => {
                let payload = self.payloads(&[slice]).await.remove(0);
                payload.ok().and_then(|payload| wanted(&payload))
            }
        };
        record.and_then(Found::new)
    }

    /// Adds the records of a Kafka batch that are asked for.
    async fn of_batch_with_key(
        self: &Rc<Self>,
        queue: QueueId,
        entry: &IndexEntry,
        query: &KeyQuery,
        found: &mut Vec<Found>,
    ) {
        let batch = self.payloads(&[LogSlice::new(queue, entry)]).await.remove(0);
        let Ok(batch) = batch else { return };
        let mut offsets = Vec::new();
        each_key(&batch, DECOMPRESSED_MAX, |offset, key| {
            if *key == *query.key && offsets.last() != Some(&offset) {
                offsets.push(offset);
            }
        });
        // The newest are asked for; upwards, since a batch is converted from an offset on.
        let older = offsets.len().saturating_sub(query.max);
        for &offset in &offsets[older..] {
            found.extend(self.at_offset(queue, offset, query).await);
        }
        self.env.tasks.sleep(Duration::ZERO).await;
    }

    /// The topics of which Kafka's records are found by their keys too.
    pub async fn keyed_topics(self: &Rc<Self>) -> KeyedTopics {
        let mut keyed = KeyedTopics::new();
        let mut from: Arc<str> = "".into();
        loop {
            let next = {
                let cluster = self.cluster();
                let mut topics = cluster.topics_from(&from);
                for topic in topics.by_ref().take(SCAN) {
                    if topic.settings.key_index && Naming::RocketMq.check(&topic.name).is_ok() {
                        keyed.extend(topic.queues.iter().map(|id| (*id, Arc::clone(&topic.name))));
                    }
                }
                topics.next().map(|next| Arc::clone(&next.name))
            };
            let Some(next) = next else { return keyed };
            from = next;
            self.env.tasks.sleep(Duration::ZERO).await;
        }
    }
}
