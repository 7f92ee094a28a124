//! One client's connection: frames in, answers out.

use std::{io, rc::Rc};

use bytes::{Buf, Bytes, BytesMut};

use super::{Gateway, Request, answer::Answers};
use crate::{env::glommio::Connection, wire::WireError};

/// Bytes a connection reads at a time, at least.
const READ_BYTES: usize = 64 << 10;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("frame of {0} bytes, the limit is {1}")]
    FrameLength(i64, usize),
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
        Err(ConnectionError::Io(error)) => tracing::debug!(%peer, %error, "connection ended"),
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
    let mut buffer = BytesMut::new();
    loop {
        while let Some(frame) = next_frame(&mut buffer, gateway.settings.max_request_bytes)? {
            if !handle(gateway, connection, answers, frame).await? {
                return Ok(());
            }
        }
        make_room(&mut buffer);
        if connection.read(&mut buffer).await? == 0 {
            return Ok(());
        }
    }
}

/// The next whole frame, without its length.
fn next_frame(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, ConnectionError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > max {
        return Err(ConnectionError::FrameLength(i64::from(length), max));
    }
    if buffer.len() < 4 + bytes {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

/// Room for what comes next: in proportion to what has arrived, not to what a length claims.
fn make_room(buffer: &mut BytesMut) {
    let claimed = buffer.first_chunk::<4>().map_or(0, |length| {
        usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0).saturating_add(4)
    });
    let missing = claimed.saturating_sub(buffer.len());
    let room = missing.min(buffer.len()).max(READ_BYTES);
    // Small reads cost as much as large ones.
    if buffer.capacity() - buffer.len() < missing.clamp(READ_BYTES / 4, room) {
        buffer.reserve(room);
    }
}

/// False when the connection is to be closed.
async fn handle(
    gateway: &Gateway,
    connection: &Connection,
    answers: &Answers,
    frame: Bytes,
) -> Result<bool, ConnectionError> {
    let failed = |error| {
        let code = |at: usize| {
            let bytes = frame.get(at..at + 2).map(|bytes| [bytes[0], bytes[1]]);
            bytes.map_or(-1, i16::from_be_bytes)
        };
        ConnectionError::Request { key: code(0), version: code(2), error }
    };
    connection.touch(gateway.broker.env().clock.monotonic());
    let request = Request::parse(&frame, connection.peer().ip()).map_err(failed)?;
    let answer = gateway.handle(&request).await.map_err(failed)?;
    if let Some(answer) = answer {
        answers.push(answer);
    }
    // Not read further while too much is unanswered.
    Ok(answers.below(gateway.settings.connection_requests).await)
}
