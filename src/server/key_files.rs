//! Key files: made of a segment's messages as soon as it is sealed, or later from its file.

use std::{hint::black_box, time::Duration};

use super::{ServerError, housekeeper::Housekeeper, reindex::parts_of};
use crate::{
    base::{Dialect, QueueId},
    broker::{KeyCollector, KeyedTopics},
    storage::{
        commit_log::recovery::{FoundFrame, read_finished},
        key_index::KeyError,
        queue_index::{IndexEntry, LogRange},
    },
};

/// Bytes that the processor fetches from memory at a time.
const CACHE_LINE: usize = 64;

/// Frames of a queue that are looked at together.
const TOGETHER: usize = 16;

/// Time between looks for stretches without a key file: reading them back is to disturb nobody.
const LOOK: Duration = Duration::from_secs(1);

impl Housekeeper {
    /// Writes the key file of what has just been sealed, as long as its records are in the hot tail.
    /// What is not written now is found missing later.
    pub(super) fn index_keys(&mut self, covers: LogRange) {
        let mut keys = KeyCollector::new(self.keyed_topics());
        let queues = self.sealed.iter().flat_map(|generation| {
            generation.queues().map(move |queue| (queue, generation.entries(queue)))
        });
        let mut together = Vec::with_capacity(TOGETHER);
        let are_hot = queues.into_iter().all(|(queue, mut entries)| {
            loop {
                together.clear();
                together.extend(entries.by_ref().take(TOGETHER));
                if together.is_empty() {
                    return true;
                }
                if !self.add_hot(&mut keys, queue, &together) {
                    return false;
                }
            }
        });
        if are_hot && self.keys.missing(covers) == Some(covers) {
            let written = self.keys.write(covers, keys.finish());
            self.tell_of_keys(written);
        }
    }

    /// Takes in frames of a queue out of the hot tail; false if one of them has left it.
    fn add_hot(&self, keys: &mut KeyCollector, queue: QueueId, entries: &[IndexEntry]) -> bool {
        let of = |dialect| entries.iter().filter(move |entry| entry.dialect == dialect);
        let messages = of(Dialect::RocketMq);
        if let Some(oldest) = messages.clone().map(|entry| entry.position).min() {
            let read = self.tail.with(oldest, |view| {
                let slice = |entry: &IndexEntry| view.slice(entry.position, entry.length as usize);
                messages.clone().for_each(|entry| touch_ends(slice(entry)));
                for entry in messages {
                    keys.add(queue, Dialect::RocketMq, entry.append_time, slice(entry));
                }
            });
            if read.is_none() {
                return false;
            }
        }
        if !keys.wants(queue, Dialect::Kafka) {
            return true;
        }
        of(Dialect::Kafka).all(|entry| {
            let length = entry.length as usize;
            // The log's writers do not wait until it is decompressed.
            let batch =
                self.tail.with(entry.position, |view| view.slice(entry.position, length).to_vec());
            batch.map(|batch| keys.add(queue, Dialect::Kafka, entry.append_time, &batch)).is_some()
        })
    }

    /// Writes the key file of one segment that has none; returns when to look again.
    pub(super) fn fill_keys(&mut self, now: Duration) -> Duration {
        let filled = self.try_fill_keys();
        if let Err(error) = &filled {
            tracing::warn!(%error, "a key file could not be written; it is tried again");
        }
        now + LOOK
    }

    fn try_fill_keys(&mut self) -> Result<(), ServerError> {
        let segments = self.segments.all();
        let Some(first) = segments.first().map(|segment| segment.base) else { return Ok(()) };
        let covered = self.covered(first);
        if self.keys.drop_useless(first) {
            self.install_indexes();
        }
        let missing = self.keys.missing(LogRange::new(first, covered));
        let part = missing.and_then(|missing| parts_of(&segments, missing).last());
        let Some((segment, covers)) = part else { return Ok(()) };
        let mut keys = KeyCollector::new(self.keyed_topics());
        let mut visit = |frame: FoundFrame<'_>| {
            let meta = frame.meta;
            if let Some(dialect) = meta.kind.dialect()
                && keys.wants(meta.queue, dialect)
            {
                keys.add(meta.queue, dialect, meta.append_time_ms, frame.payload);
            }
            Ok(())
        };
        let stretch = (covers.start, covers.end);
        // What is damaged has no keys any more.
        read_finished(&**self.pool.disk(), self.log_id, segment, stretch, &mut visit)?;
        self.keys.write(covers, keys.finish())?;
        self.install_indexes();
        Ok(())
    }

    /// The topics of which Kafka's records are found by their keys now.
    fn keyed_topics(&self) -> KeyedTopics {
        let told = self.ask(&self.mailboxes[..1], |broker| {
            Box::pin(async move { broker.keyed_topics().await })
        });
        told.into_iter().flatten().collect()
    }

    /// Merges key files; whatever fails is not needed now.
    pub(super) fn merge_keys(&mut self) {
        loop {
            match self.keys.merge_some(self.merge_room()) {
                Ok(true) => self.install_indexes(),
                Ok(false) => return,
                Err(error) => return self.tell_of_keys(Err(error)),
            }
        }
    }

    fn tell_of_keys(&self, result: Result<(), KeyError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "key files could not be written; they are tried again");
        }
    }
}

/// Reads where a message's header and its properties lie, what it does not wait for: so the memory of
/// several is on its way into the processor at once.
fn touch_ends(message: &[u8]) {
    let header = message.iter().take(2 * CACHE_LINE).step_by(CACHE_LINE);
    let properties = message.iter().rev().take(4 * CACHE_LINE).step_by(CACHE_LINE);
    black_box(header.chain(properties).fold(0, |all, byte| all ^ byte));
}
