//! Kafka's batches as RocketMQ's messages: converted once, and kept for who asks next.

use std::{collections::BTreeMap, rc::Rc};

use hashbrown::HashMap;

use super::{Broker, ColdError, LogSlice};
use crate::{
    base::QueueId,
    storage::queue_index::IndexEntry,
    wire::convert::{Messages, Target, to_rocketmq},
};

/// Bytes of messages that are made of a batch at a time; one more message may be larger. A batch of
/// small records grows when it is converted, many times over if it is compressed.
const STRETCH_BYTES: usize = 4 << 20;

/// Most bytes that a batch may be decompressed to; the largest message is a quarter of it.
pub(super) const DECOMPRESSED_MAX: usize = 64 << 20;

/// Which batch.
type Key = (QueueId, i64);

/// Stretches of converted batches, up to a limit of bytes; the least recently used go first.
#[derive(Debug)]
pub(super) struct ConversionCache {
    limit_bytes: usize,
    bytes: usize,
    kept: HashMap<Key, (Rc<Messages>, u64)>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
}

impl ConversionCache {
    pub(super) fn new(limit_bytes: usize) -> Self {
        Self { limit_bytes, bytes: 0, kept: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// Memory of what is kept.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The stretch of a batch that `offset` is in.
    fn get(&mut self, key: Key, offset: i64) -> Option<Rc<Messages>> {
        let (messages, used) = self.kept.get_mut(&key)?;
        if !messages.offsets().contains(&offset) {
            return None;
        }
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(Rc::clone(messages))
    }

    /// Keeps a stretch in place of the one that was kept of its batch.
    fn insert(&mut self, key: Key, messages: &Rc<Messages>) {
        let bytes = messages.memory_bytes();
        if bytes > self.limit_bytes {
            return;
        }
        self.remove(key);
        self.uses += 1;
        self.kept.insert(key, (Rc::clone(messages), self.uses));
        self.by_use.insert(self.uses, key);
        self.bytes += bytes;
        while self.bytes > self.limit_bytes {
            let (_, &oldest) = self.by_use.first_key_value().expect("what takes memory is kept");
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: Key) {
        if let Some((messages, used)) = self.kept.remove(&key) {
            self.by_use.remove(&used);
            self.bytes -= messages.memory_bytes();
        }
    }
}

impl Broker {
    /// The messages of a Kafka batch of this shard from `offset` on, or a stretch of them; none if
    /// the queue is gone.
    pub(super) async fn converted(
        self: &Rc<Self>,
        queue: QueueId,
        entry: &IndexEntry,
        offset: i64,
    ) -> Result<Rc<Messages>, ColdError> {
        let key = (queue, entry.base_offset);
        if let Some(found) = self.conversions.borrow_mut().get(key, offset) {
            self.count(|figures| figures.conversion_cache_hits += 1);
            return Ok(found);
        }
        let batch = self.payloads(&[LogSlice::new(queue, entry)]).await.remove(0)?;
        let messages = {
            let cluster = self.cluster();
            let Some((topic, queue_id)) = cluster.queue(queue) else { return Ok(Rc::default()) };
            let target = Target {
                topic: &topic.name,
                queue_id,
                queue,
                store_timestamp: entry.append_time,
                store_host: self.settings.store_host,
            };
            Rc::new(to_rocketmq(&batch, offset, STRETCH_BYTES, DECOMPRESSED_MAX, &target))
        };
        self.count(|figures| {
            figures.conversion_cache_misses += 1;
            figures.converted_to_rocketmq += messages.len() as u64;
            figures.converted_lossy += messages.lossy();
        });
        self.conversions.borrow_mut().insert(key, &messages);
        Ok(messages)
    }

    /// So many of RocketMQ's messages were made into Kafka's records, and so many of them lack
    /// something.
    pub fn count_converted_to_kafka(&self, (records, lossy): (u64, u64)) {
        self.count(|figures| {
            figures.converted_to_kafka += records;
            figures.converted_lossy += lossy;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kafka::BatchBuilder;

    fn messages(base_offset: i64, body: usize) -> Rc<Messages> {
        let mut builder = BatchBuilder::new();
        builder.base_offset(base_offset).record(0, None, Some(&vec![0; body]), &[]);
        let target = Target {
            topic: "t",
            queue_id: 0,
            queue: QueueId(1),
            store_timestamp: 0,
            store_host: ([127, 0, 0, 1], 1).into(),
        };
        Rc::new(to_rocketmq(&builder.build().unwrap(), 0, usize::MAX, usize::MAX, &target))
    }

    #[test]
    fn the_least_recently_used_batch_goes_first() {
        let mut cache = ConversionCache::new(3_000);
        let key = |offset| (QueueId(1), offset);
        for offset in 1..=2 {
            cache.insert(key(offset), &messages(offset, 1_000));
        }
        let two = cache.bytes();
        assert!((2_000..=3_000).contains(&two), "{two}");
        assert!(cache.get(key(1), 1).is_some());
        // Not in the stretch that is kept.
        assert!(cache.get(key(1), 2).is_none());
        cache.insert(key(3), &messages(3, 1_000));
        assert!(cache.get(key(2), 2).is_none());
        cache.insert(key(3), &messages(3, 1_000));
        assert_eq!((cache.bytes(), cache.by_use.len()), (two, 2));
        cache.insert(key(4), &messages(4, 4_000));
        assert!(cache.get(key(4), 4).is_none());
        assert!(cache.get(key(1), 1).is_some() && cache.get(key(3), 3).is_some());
    }
}
