//! Queues that one client of a group has for itself, so that it consumes them in order.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;

use super::Broker;
use crate::base::QueueId;

/// How long a lock holds that is not renewed; clients renew theirs every 20 s and trust them for 30.
const LOCK_LIFE: Duration = Duration::from_secs(60);

/// The most locks of a shard's groups: more than consumers have, and few enough for memory, whatever
/// groups clients invent. Beyond it queues are not locked, and clients ask again.
const LOCKS_MAX: usize = 200_000;

struct Lock {
    client: Arc<str>,
    /// On the monotonic clock.
    until: Duration,
}

/// The locks of a shard's groups.
#[derive(Default)]
pub(super) struct QueueLocks {
    groups: HashMap<Arc<str>, BTreeMap<QueueId, Lock>>,
    /// Locks of all groups, those that have run out and are not forgotten yet among them.
    count: usize,
    /// When locks that nobody renewed are looked for again, on the monotonic clock.
    next_sweep: Duration,
}

impl QueueLocks {
    /// Locks queues for a client, or renews its locks; returns those it holds now.
    fn lock(
        &mut self,
        group: &Arc<str>,
        client: &Arc<str>,
        queues: &[QueueId],
        now: Duration,
    ) -> Vec<QueueId> {
        self.sweep(now);
        let locks = self.groups.entry(Arc::clone(group)).or_default();
        let mut take = |queue: QueueId| {
            let ours = match locks.get(&queue) {
                Some(lock) => lock.client == *client || lock.until <= now,
                None => self.count < LOCKS_MAX,
            };
            if ours {
                let lock = Lock { client: Arc::clone(client), until: now + LOCK_LIFE };
                self.count += usize::from(locks.insert(queue, lock).is_none());
            }
            ours
        };
        let held = queues.iter().copied().filter(|queue| take(*queue)).collect();
        if locks.is_empty() {
            self.groups.remove(group);
        }
        held
    }

    fn unlock(&mut self, group: &str, client: &str, queues: &[QueueId]) {
        let Some(locks) = self.groups.get_mut(group) else { return };
        for queue in queues {
            if let Entry::Occupied(lock) = locks.entry(*queue)
                && *lock.get().client == *client
            {
                lock.remove();
                self.count -= 1;
            }
        }
        if locks.is_empty() {
            self.groups.remove(group);
        }
    }

    /// Forgets what has run out, so that groups that are gone leave nothing behind.
    fn sweep(&mut self, now: Duration) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + LOCK_LIFE;
        self.groups.retain(|_, locks| {
            locks.retain(|_, lock| lock.until > now);
            !locks.is_empty()
        });
        self.count = self.groups.values().map(BTreeMap::len).sum();
    }
}

impl Broker {
    /// Locks queues for a client of a group that this shard owns, or renews its locks; returns those
    /// it holds now. Locks are not kept over a restart.
    pub fn lock_queues(
        &self,
        group: &Arc<str>,
        client: &Arc<str>,
        queues: &[QueueId],
    ) -> Vec<QueueId> {
        let now = self.env.clock.monotonic();
        self.queue_locks.borrow_mut().lock(group, client, queues, now)
    }

    /// Whether a client of a group that this shard owns holds a lock.
    #[must_use]
    pub fn has_locked_queues(&self, group: &str) -> bool {
        let now = self.env.clock.monotonic();
        let all = self.queue_locks.borrow();
        all.groups.get(group).is_some_and(|locks| locks.values().any(|lock| lock.until > now))
    }

    /// Gives up what a client has locked of these queues.
    pub fn unlock_queues(&self, group: &str, client: &str, queues: &[QueueId]) {
        self.queue_locks.borrow_mut().unlock(group, client, queues);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1);

    fn name(of: impl ToString) -> Arc<str> {
        of.to_string().into()
    }

    #[test]
    fn a_lock_is_its_clients_alone() {
        let mut all = QueueLocks::default();
        let (group, one, two) = (name("consumers"), name("one"), name("two"));
        let queues = [0, 1, 2].map(QueueId);
        assert_eq!(all.lock(&group, &one, &queues[..2], START), queues[..2]);
        assert_eq!(all.lock(&group, &two, &queues, START), queues[2..]);
        all.unlock(&group, &two, &queues);
        assert_eq!(all.lock(&group, &two, &queues, START), queues[2..]);
        all.unlock(&group, &one, &queues);
        assert_eq!(all.lock(&group, &two, &queues, START), queues);
        all.unlock(&group, &two, &queues);
        assert!(all.groups.is_empty() && all.count == 0);
    }

    #[test]
    fn locks_are_bounded_whatever_groups_are_named() {
        let mut all = QueueLocks::default();
        let (client, queue) = (name("one"), [QueueId(0)]);
        for number in 0..LOCKS_MAX {
            assert_eq!(all.lock(&name(number), &client, &queue, START), queue);
        }
        let more = name("more");
        assert!(all.lock(&more, &client, &queue, START).is_empty());
        assert_eq!((all.groups.len(), all.count), (LOCKS_MAX, LOCKS_MAX));
        // Those that there are can be renewed, and make room.
        assert_eq!(all.lock(&name(1), &client, &queue, START), queue);
        all.unlock("1", &client, &queue);
        assert_eq!(all.lock(&more, &client, &queue, START), queue);
        assert!(all.lock(&name(1), &client, &queue, START).is_empty());
        let later = START + LOCK_LIFE;
        assert_eq!(all.lock(&name(1), &client, &queue, later), queue);
        assert_eq!((all.groups.len(), all.count), (1, 1));
    }
}
