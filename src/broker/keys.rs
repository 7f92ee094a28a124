//! Which keys a message is found by, and finding it.

use std::{cmp::Reverse, ops::RangeInclusive, rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{Broker, LogSlice, Stopping};
use crate::{
    base::{Dialect, QueueId},
    cluster::Topic,
    storage::{
        key_index::{KeyEntry, key_hash},
        queue_index::Budget,
    },
    wire::rocketmq::{property, record::Record},
};

/// Index entries looked at before other tasks of the shard have a turn.
const SCAN: usize = 1_024;

/// The keys of a RocketMQ record: those its producer gave it, and the unique one its client made.
fn keys_of<'a>(record: &Record<'a>) -> impl Iterator<Item = &'a str> {
    record.properties().flat_map(|(name, value)| {
        let given = (name == property::KEYS).then(|| value.split(' '));
        let unique = (name == property::UNIQ_KEY).then_some(value);
        given.into_iter().flatten().filter(|key| !key.is_empty()).chain(unique)
    })
}

/// Adds what the key index is to know of a record of `queue`. One that cannot be read has no keys.
pub fn add_keys(queue: QueueId, record: &[u8], entries: &mut Vec<KeyEntry>) {
    let Ok(record) = Record::parse(record) else { return };
    let stored_s = seconds(record.store_timestamp);
    entries.extend(keys_of(&record).map(|key| KeyEntry {
        hash: key_hash(record.topic, key),
        stored_s,
        queue,
        offset: record.queue_offset,
    }));
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

impl Broker {
    /// Messages that RocketMQ's clients stored with a key, as records, the newest first. Whatever of
    /// the log cannot be read is passed over, and so are segments that were sealed a moment ago.
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
            found.sort_by_key(|found| Reverse((found.stored_ms, found.offset)));
            found.truncate(query.max);
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
            let record = self.message_at(queue, offset).await.ok().flatten();
            found.extend(record.filter(|record| query.wants(record)).and_then(Found::new));
        }
        let Some(mut at) = self.index.unsealed_start(queue) else { return found };
        loop {
            let budget = Budget { entries: SCAN, bytes: u64::MAX };
            let Ok(entries) = self.index.range(queue, at, budget).await else { return found };
            let Some(last) = entries.last() else { return found };
            at = last.next_offset();
            for entry in &entries {
                if entry.dialect != Dialect::RocketMq || !query.is_in_time(entry.append_time) {
                    continue;
                }
                let slice = LogSlice::new(queue, entry);
                let wanted =
                    |record: &[u8]| query.wants(record).then(|| Bytes::copy_from_slice(record));
                let record = match self.look(&slice, wanted) {
                    Some(record) => record,
                    None => {
                        let payload = self.payloads(&[slice]).await.remove(0);
                        payload.ok().and_then(|payload| wanted(&payload))
                    }
                };
                found.extend(record.and_then(Found::new));
            }
            self.env.tasks.sleep(Duration::ZERO).await;
        }
    }
}
