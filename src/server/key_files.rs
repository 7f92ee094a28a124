//! Key files: made of a segment's messages as soon as it is sealed, or later from its file.

use std::time::Duration;

use super::{ServerError, housekeeper::Housekeeper, reindex::parts_of};
use crate::{
    base::Dialect,
    broker::{KeyCollector, KeyedTopics},
    storage::{
        commit_log::recovery::{FoundFrame, read_finished},
        key_index::KeyError,
        queue_index::LogRange,
    },
};

/// Time between looks for stretches without a key file: reading them back is to disturb nobody.
const LOOK: Duration = Duration::from_secs(1);

impl Housekeeper {
    /// Writes the key file of what has just been sealed, as long as its records are in the hot tail.
    /// What is not written now is found missing later.
    pub(super) fn index_keys(&mut self, covers: LogRange) {
        let mut keys = KeyCollector::new(self.keyed_topics());
        let sealed = self.sealed.iter().flat_map(|generation| {
            let queues = generation.queues();
            queues.flat_map(|queue| generation.entries(queue).map(move |entry| (queue, entry)))
        });
        let mut copy = Vec::new();
        let are_hot = sealed.into_iter().all(|(queue, entry)| {
            let (dialect, stored_ms) = (entry.dialect, entry.append_time);
            if !keys.wants(queue, dialect) {
                return true;
            }
            let read = self.tail.with(entry.position, |view| {
                let payload = view.slice(entry.position, entry.length as usize);
                match dialect {
                    Dialect::RocketMq => keys.add(queue, dialect, stored_ms, payload),
                    // The log's writers do not wait until it is decompressed.
                    Dialect::Kafka => payload.clone_into(&mut copy),
                }
            });
            if dialect == Dialect::Kafka && read.is_some() {
                keys.add(queue, dialect, stored_ms, &copy);
            }
            read.is_some()
        });
        if are_hot && self.keys.missing(covers) == Some(covers) {
            let written = self.keys.write(covers, keys.finish());
            self.tell_of_keys(written);
        }
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
            match self.keys.merge_some() {
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
