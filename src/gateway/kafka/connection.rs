//! One client's connection: frames in, answers out.

use std::{pin::pin, rc::Rc};

use super::{Gateway, Request, RequestError, fetch::FetchSession};
use crate::{
    env::glommio::Connection,
    gateway::{
        answer::{Answer, Answers},
        connection::{self, ConnectionError},
        frames::{Frame, Frames},
    },
    wire::kafka::ApiKey,
};

/// Serves a connection until it ends. On the connection's shard.
pub async fn serve(gateway: Rc<Gateway>, connection: Rc<Connection>) {
    let answers = Rc::<Answers>::default();
    let reading = pin!(read_requests(&gateway, &connection, &answers));
    let complaints = &gateway.complaints;
    connection::serve(&gateway.broker, complaints, &connection, &answers, reading).await;
}

async fn read_requests(
    gateway: &Gateway,
    connection: &Connection,
    answers: &Answers,
) -> Result<(), ConnectionError> {
    let limit = gateway.settings.max_request_bytes;
    let tasks = &*gateway.broker.env().tasks;
    let mut frames = Frames::new(connection, &gateway.memory, tasks, limit);
    let mut session = None;
    while let Some(frame) = frames.next().await? {
        connection.touch(gateway.broker.env().clock.monotonic());
        if let Some(answer) = handle(gateway, connection, frame, &mut session).await? {
            answers.push(answer);
        }
        // Not read further while too much is unanswered.
        if !answers.below(gateway.settings.connection_requests).await {
            break;
        }
        if frames.are_drained() {
            answers.gather(&gateway.broker).await;
        }
    }
    Ok(())
}

async fn handle(
    gateway: &Gateway,
    connection: &Connection,
    Frame { bytes, memory }: Frame<'_>,
    session: &mut Option<FetchSession>,
) -> Result<Option<Answer>, ConnectionError> {
    let code = |at: usize| {
        let bytes = bytes.get(at..at + 2).map(|bytes| [bytes[0], bytes[1]]);
        bytes.map_or(-1, i16::from_be_bytes)
    };
    let [key, version] = [code(0), code(2)];
    let failed = |error: RequestError| {
        let what = format!("{key} version {version}");
        ConnectionError::Request { what, error: error.into() }
    };
    let request = Request::parse(bytes, connection.peer().ip());
    let mut request = request.map_err(|error| failed(error.into()))?;
    // These wait for other clients, whose requests may wait for this memory. They let go of what they
    // were sent; what is kept of it has a limit of its own.
    let memory = memory.filter(|_| !matches!(request.key, ApiKey::JoinGroup | ApiKey::SyncGroup));
    request.holds_memory = memory.is_some();
    let answer = gateway.handle(&mut request, session).await.map_err(failed);
    drop(memory);
    answer
}
