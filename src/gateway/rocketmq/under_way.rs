//! Commits of one connection that are on their way into the log. Whoever commits and then asks has to
//! be told what it committed, though commits are worked on beside other requests.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::sync::Notify;

use crate::env::Tasks;

/// The commits of a connection that are under way.
#[derive(Default)]
pub(super) struct Commits {
    count: Cell<usize>,
    ended: Notify,
}

impl Commits {
    /// One begins; it ends with what is returned.
    pub(super) fn begin(self: &Rc<Self>) -> Commit {
        self.count.set(self.count.get() + 1);
        Commit(Rc::clone(self))
    }

    /// Waits for all, at most so long: on a full disk there is no end. Requests of a connection are
    /// taken in order, so that none begins meanwhile.
    pub(super) async fn ended(&self, tasks: &dyn Tasks, at_most: Duration) {
        let all = async {
            while self.count.get() > 0 {
                self.ended.notified().await;
            }
        };
        if self.count.get() > 0 {
            futures_lite::future::or(all, tasks.sleep(at_most)).await;
        }
    }
}

/// A commit under way.
pub(super) struct Commit(Rc<Commits>);

impl Drop for Commit {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.ended.notify_one();
    }
}
