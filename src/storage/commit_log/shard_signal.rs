//! Waking shards when the log has become durable further.

use std::sync::atomic::{AtomicBool, Ordering, fence};

/// How a shard is told that the durable position moved. Shared by the shard and the writer.
#[derive(Debug)]
pub struct ShardSignal {
    pub(super) armed: AtomicBool,
    pub(super) wake: flume::Sender<()>,
}

impl ShardSignal {
    /// Asks for one wake-up at the next move, or when the log stops. Look at the position, and whether it
    /// has stopped, once more after arming.
    pub fn arm(&self) {
        self.armed.store(true, Ordering::SeqCst);
        // The looks come after it.
        fence(Ordering::SeqCst);
    }

    /// Wakes the shard, whatever the position.
    pub fn wake(&self) {
        // A full channel holds a wake-up already.
        let _ = self.wake.try_send(());
    }

    pub(super) fn fire(&self) {
        if self.armed.swap(false, Ordering::SeqCst) {
            self.wake();
        }
    }
}
