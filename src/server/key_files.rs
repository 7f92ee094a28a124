//! Key files: made of a segment's records as soon as it is sealed, or later from its file.

use std::time::Duration;

use super::{ServerError, housekeeper::Housekeeper, reindex::parts_of};
use crate::{
    base::Dialect,
    broker::add_keys,
    storage::{
        commit_log::recovery::{FoundFrame, read_finished},
        key_index::{KeyEntry, KeyError},
        queue_index::LogRange,
    },
};

/// Time between looks for stretches without a key file: reading them back is to disturb nobody.
const LOOK: Duration = Duration::from_secs(1);

impl Housekeeper {
    /// Writes the key file of what has just been sealed, as long as its records are in the hot tail.
    /// What is not written now is found missing later.
    pub(super) fn index_keys(&mut self, covers: LogRange) {
        let mut keys: Vec<KeyEntry> = Vec::new();
        let sealed = self.sealed.iter().flat_map(|generation| {
            let queues = generation.queues();
            queues.flat_map(|queue| generation.entries(queue).map(move |entry| (queue, entry)))
        });
        let mut records = sealed.filter(|(_, entry)| entry.dialect == Dialect::RocketMq);
        let are_hot = records.all(|(queue, entry)| {
            let read = self.tail.with(entry.position, |view| {
                add_keys(queue, view.slice(entry.position, entry.length as usize), &mut keys);
            });
            read.is_some()
        });
        if are_hot && self.keys.missing(covers) == Some(covers) {
            let written = self.keys.write(covers, keys);
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
        let mut keys: Vec<KeyEntry> = Vec::new();
        let mut visit = |frame: FoundFrame<'_>| {
            if frame.meta.kind.dialect() == Some(Dialect::RocketMq) {
                add_keys(frame.meta.queue, frame.payload, &mut keys);
            }
            Ok(())
        };
        let stretch = (covers.start, covers.end);
        // What is damaged has no keys any more.
        read_finished(&**self.pool.disk(), self.log_id, segment, stretch, &mut visit)?;
        self.keys.write(covers, keys)?;
        self.install_indexes();
        Ok(())
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
