//! When the log's writer is called: once a turn of the shard, so that what a turn brings goes to the
//! disk together.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    rc::Rc,
    task::{Poll, Waker},
};

use super::Broker;
use crate::storage::commit_log::CommitLog;

/// A call that is owed to the writer, and the task that makes it.
#[derive(Default)]
pub(super) struct WriterCall {
    owed: Cell<bool>,
    caller: RefCell<Option<Waker>>,
}

impl Broker {
    /// The log, for reserving room in it that is filled before anything is awaited.
    ///
    /// Its writer is called a little later: by a task, which runs after those that are ready to run
    /// now. A client that sends one message at a time from many threads has several of them in one
    /// read; called for the first of them the writer would write that one alone.
    pub(super) fn log_to_fill(&self) -> &CommitLog {
        if !self.writer_call.owed.replace(true) {
            self.writer_call.caller.take().into_iter().for_each(Waker::wake);
        }
        &self.log
    }

    /// Runs until the shard ends: calls the writer where that is owed.
    pub(super) async fn call_writer(self: Rc<Self>) {
        poll_fn(|context| {
            self.writer_call.caller.replace(Some(context.waker().clone()));
            if self.writer_call.owed.take() {
                self.log.wake_writer();
            }
            Poll::<()>::Pending
        })
        .await;
    }
}
