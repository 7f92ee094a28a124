//! Queues that one client of a group has for itself, so that it consumes them in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::Broker;
use crate::base::QueueId;

/// How long a lock holds that is not renewed; clients renew theirs every 20 s and trust them for 30.
const LOCK_LIFE: Duration = Duration::from_secs(60);

struct Lock {
    client: Arc<str>,
    /// On the monotonic clock.
    until: Duration,
}

/// The locks of a shard's groups.
#[derive(Default)]
pub(super) struct QueueLocks {
    groups: HashMap<Arc<str>, BTreeMap<QueueId, Lock>>,
    /// When locks that nobody renewed are looked for again, on the monotonic clock.
    next_sweep: Duration,
}

impl QueueLocks {
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
        let mut all = self.queue_locks.borrow_mut();
        all.sweep(now);
        if queues.is_empty() {
            return Vec::new();
        }
        let locks = all.groups.entry(Arc::clone(group)).or_default();
        let mut take = |queue: QueueId| {
            let free = |lock: &Lock| lock.client == *client || lock.until <= now;
            let ours = locks.get(&queue).is_none_or(free);
            if ours {
                let lock = Lock { client: Arc::clone(client), until: now + LOCK_LIFE };
                locks.insert(queue, lock);
            }
            ours
        };
        queues.iter().copied().filter(|queue| take(*queue)).collect()
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
        let mut all = self.queue_locks.borrow_mut();
        let Some(locks) = all.groups.get_mut(group) else { return };
        locks.retain(|queue, lock| !(queues.contains(queue) && &*lock.client == client));
        if locks.is_empty() {
            all.groups.remove(group);
        }
    }
}
