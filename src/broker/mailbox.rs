//! Work that one shard asks another to do.

use std::rc::Rc;

use super::Broker;
use crate::{base::ShardId, env::LocalFuture};

/// A piece of work for another shard's broker.
pub type Job = Box<dyn FnOnce(Rc<Broker>) -> LocalFuture<'static, ()> + Send>;

/// The senders of all shards' mailboxes, by shard number.
pub type Mailboxes = Box<[flume::Sender<Job>]>;

/// The shard ended before it answered; the broker is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopping;

impl Broker {
    /// Does a piece of work on `shard` and brings its result back. On this very shard there is no
    /// hop. Waits where the other shard's mailbox is full.
    ///
    /// # Errors
    /// [`Stopping`].
    pub async fn on<R: Send + 'static>(
        self: &Rc<Self>,
        shard: ShardId,
        work: impl FnOnce(Rc<Self>) -> LocalFuture<'static, R> + Send + 'static,
    ) -> Result<R, Stopping> {
        if shard == self.shard {
            return Ok(work(Rc::clone(self)).await);
        }
        let (answer, answered) = flume::bounded(1);
        let job: Job = Box::new(move |broker| {
            Box::pin(async move {
                // Nobody listens any more if the asker's connection has ended.
                let _ = answer.send(work(broker).await);
            })
        });
        self.mailboxes[usize::from(shard.0)].send_async(job).await.map_err(|_| Stopping)?;
        answered.recv_async().await.map_err(|_| Stopping)
    }

    /// Runs until the shard ends: takes work in, in order of arrival.
    pub(super) async fn serve_mailbox(self: Rc<Self>, mailbox: flume::Receiver<Job>) {
        while let Ok(job) = mailbox.recv_async().await {
            self.env.tasks.spawn(job(Rc::clone(&self)));
        }
    }
}
