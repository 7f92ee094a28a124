//! One client's connection: frames in, answers out.

use std::rc::Rc;

use super::{
    Gateway, Request,
    answer::{Answer, Answers},
    frames::{Frame, FrameError, Frames},
};
use crate::{
    env::glommio::Connection,
    wire::{WireError, kafka::ApiKey},
};

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("request {key} version {version}: {error}")]
    Request { key: i16, version: i16, error: WireError },
}

/// Serves a connection until it ends. On the connection's shard.
pub async fn serve(gateway: Rc<Gateway>, connection: Rc<Connection>) {
    let answers = Rc::<Answers>::default();
    let peer = connection.peer();
    let (sent, all_sent) = flume::bounded::<()>(1);
    {
        let (answers, connection) = (Rc::clone(&answers), Rc::clone(&connection));
        let broker = Rc::clone(&gateway.broker);
        let tasks = Rc::clone(&gateway.broker.env().tasks);
        tasks.spawn(Box::pin(async move {
            if let Err(error) = answers.send_all(&broker, &connection).await {
                tracing::debug!(%peer, %error, "sending answers ended");
            }
            connection.shutdown();
            drop(sent);
        }));
    }
    match read_requests(&gateway, &connection, &answers).await {
        Ok(()) => {}
        Err(ConnectionError::Frame(FrameError::Io(error))) => {
            tracing::debug!(%peer, %error, "connection ended")
        }
        Err(error) => tracing::warn!(%peer, %error, "connection closed"),
    }
    answers.close();
    // The connection counts as open until its last answer is out.
    let _ = all_sent.recv_async().await;
}

async fn read_requests(
    gateway: &Gateway,
    connection: &Connection,
    answers: &Answers,
) -> Result<(), ConnectionError> {
    let limit = gateway.settings.max_request_bytes;
    let mut frames = Frames::new(connection, &gateway.memory, limit);
    while let Some(frame) = frames.next().await? {
        connection.touch(gateway.broker.env().clock.monotonic());
        if let Some(answer) = handle(gateway, connection, frame).await? {
            answers.push(answer);
        }
        // Not read further while too much is unanswered.
        if !answers.below(gateway.settings.connection_requests).await {
            break;
        }
    }
    Ok(())
}

async fn handle(
    gateway: &Gateway,
    connection: &Connection,
    Frame { bytes, memory }: Frame<'_>,
) -> Result<Option<Answer>, ConnectionError> {
    let failed = |error| {
        let code = |at: usize| {
            let bytes = bytes.get(at..at + 2).map(|bytes| [bytes[0], bytes[1]]);
            bytes.map_or(-1, i16::from_be_bytes)
        };
        ConnectionError::Request { key: code(0), version: code(2), error }
    };
    let request = Request::parse(&bytes, connection.peer().ip()).map_err(failed)?;
    // Others may wait for another client, whose request may wait for this memory.
    let memory = memory.filter(|_| request.key == ApiKey::Produce);
    let answer = gateway.handle(&request).await.map_err(failed);
    drop(memory);
    answer
}
