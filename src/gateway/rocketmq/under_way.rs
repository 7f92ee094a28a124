//! Requests of one connection that are worked on beside its other ones, each kind with a bound of its
//! own: held pulls do not keep a client from committing, nor its commits from pulling.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::sync::Notify;

use crate::env::Tasks;

/// Requests of one kind that are under way.
#[derive(Default)]
pub(super) struct UnderWay {
    count: Cell<usize>,
    ended: Notify,
}

impl UnderWay {
    /// One begins; it ends with what is returned.
    pub(super) fn begin(self: &Rc<Self>) -> OneUnderWay {
        self.count.set(self.count.get() + 1);
        OneUnderWay(Rc::clone(self))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }

    /// Waits until there are no more than so many, at most so long: on a full disk there is no end.
    /// Requests of a connection are taken in order, so that none begins meanwhile. Returns whether
    /// there are no more.
    pub(super) async fn at_most(
        &self,
        count: usize,
        tasks: &dyn Tasks,
        patience: Duration,
    ) -> bool {
        let enough = async {
            while self.count.get() > count {
                self.ended.notified().await;
            }
        };
        if self.count.get() > count {
            futures_lite::future::or(enough, tasks.sleep(patience)).await;
        }
        self.count.get() <= count
    }
}

/// A request under way.
pub(super) struct OneUnderWay(Rc<UnderWay>);

impl Drop for OneUnderWay {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.ended.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_lite::future::{block_on, poll_once};

    use super::*;
    use crate::env::LocalFuture;

    /// No time passes, or all of it at once.
    struct Time {
        passes: bool,
    }

    impl Tasks for Time {
        fn spawn(&self, _: LocalFuture<'static, ()>) {}

        fn sleep(&self, _: Duration) -> LocalFuture<'static, ()> {
            match self.passes {
                true => Box::pin(std::future::ready(())),
                false => Box::pin(std::future::pending()),
            }
        }
    }

    #[test]
    fn there_is_room_again_when_one_ends() {
        let under_way = Rc::<UnderWay>::default();
        let (first, second) = (under_way.begin(), under_way.begin());
        let late = Time { passes: true };
        assert!(block_on(under_way.at_most(2, &late, Duration::ZERO)));
        assert!(!block_on(under_way.at_most(1, &late, Duration::ZERO)));
        let time = Time { passes: false };
        let mut waits = pin!(under_way.at_most(1, &time, Duration::ZERO));
        assert_eq!(block_on(poll_once(&mut waits)), None);
        drop(first);
        assert_eq!(block_on(poll_once(&mut waits)), Some(true));
        drop(second);
        assert!(block_on(under_way.at_most(0, &late, Duration::ZERO)));
    }
}
