//! A connection's life, whatever it speaks: one task reads requests, another sends their answers.

use std::{error::Error, future::Future, pin::Pin, rc::Rc};

use super::{Complaints, answer::Answers, frames::FrameError};
use crate::{broker::Broker, env::glommio::Connection};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("request {what}: {error}")]
    Request { what: String, error: Box<dyn Error> },
}

/// Serves a connection until `reading` ends and what it pushed to `answers` is sent. On the
/// connection's shard. `reading` is pinned by the caller: a future that is handed on by value lies in
/// the connection's memory once for each hand.
pub(super) async fn serve(
    broker: &Rc<Broker>,
    complaints: &Complaints,
    connection: &Rc<Connection>,
    answers: &Rc<Answers>,
    reading: Pin<&mut impl Future<Output = Result<(), ConnectionError>>>,
) {
    let peer = connection.peer();
    let (sent, all_sent) = flume::bounded::<()>(1);
    {
        let (answers, connection) = (Rc::clone(answers), Rc::clone(connection));
        let broker = Rc::clone(broker);
        let tasks = Rc::clone(&broker.env().tasks);
        tasks.spawn(Box::pin(async move {
            if let Err(error) = answers.send_all(&broker, &connection).await {
                tracing::debug!(%peer, %error, "sending answers ended");
            }
            connection.shutdown();
            drop(sent);
        }));
    }
    match reading.await {
        Ok(()) => {}
        Err(ConnectionError::Frame(FrameError::Io(error))) => {
            tracing::debug!(%peer, %error, "connection ended")
        }
        Err(error) => {
            if let Some(left_out) = complaints.admit(broker.env().clock.monotonic()) {
                tracing::warn!(%peer, %error, left_out, "connection closed");
            }
        }
    }
    answers.close();
    // The connection counts as open until its last answer is out.
    let _ = all_sent.recv_async().await;
}
