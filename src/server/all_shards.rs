//! Asking all shards something from another thread.

use std::rc::Rc;

use crate::{
    broker::{Broker, Job, Mailboxes},
    env::LocalFuture,
};

/// The same work on every shard, and all results, in no order. Shards that have ended give none.
pub(super) async fn each<R: Send + 'static>(
    mailboxes: &Mailboxes,
    work: impl Fn(Rc<Broker>) -> LocalFuture<'static, R> + Clone + Send + 'static,
) -> Vec<R> {
    let (answer, answers) = flume::unbounded();
    for mailbox in mailboxes.iter() {
        let (answer, work) = (answer.clone(), work.clone());
        let job: Job = Box::new(move |broker| {
            Box::pin(async move {
                let _ = answer.send(work(broker).await);
            })
        });
        let _ = mailbox.send_async(job).await;
    }
    drop(answer);
    let mut results = Vec::new();
    while let Ok(result) = answers.recv_async().await {
        results.push(result);
    }
    results
}
