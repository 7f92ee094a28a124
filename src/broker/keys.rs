//! Which keys a message is found by.

use crate::{
    base::QueueId,
    storage::key_index::{KeyEntry, key_hash},
    wire::rocketmq::{property, record::Record},
};

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
    let stored_s = u32::try_from(record.store_timestamp / 1000).unwrap_or(0);
    entries.extend(keys_of(&record).map(|key| KeyEntry {
        hash: key_hash(record.topic, key),
        stored_s,
        queue,
        offset: record.queue_offset,
    }));
}
