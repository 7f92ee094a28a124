//! One client's connection: frames in, answers out.

use std::{net::SocketAddr, pin::pin, rc::Rc};

use super::{
    Gateway,
    client::{Client, Told},
    name_server, notice,
    refusal::Refusal,
    relay,
};
use crate::{
    env::glommio::Connection,
    gateway::{
        answer::{Answer, Answers},
        connection::{self, ConnectionError},
        frames::Frames,
    },
    wire::{
        WireError,
        rocketmq::{RemotingCommand, RequestCode},
    },
};

/// Serves a client of the broker until its connection ends. On the connection's shard.
pub async fn serve(gateway: &Rc<Gateway>, connection: Rc<Connection>) {
    let (answers, peer) = (Rc::<Answers>::default(), connection.peer());
    let (client, Told { notices, deliveries }) = Client::new(gateway, peer, Rc::clone(&answers));
    let client = Rc::new(client);
    let tasks = Rc::clone(&gateway.broker.env().tasks);
    let passing =
        notice::pass(Rc::downgrade(gateway), Rc::downgrade(&client), notices, Rc::clone(&answers));
    tasks.spawn(Box::pin(passing));
    tasks.spawn(Box::pin(relay::pass_questions(
        Rc::downgrade(&client),
        deliveries,
        Rc::clone(&answers),
    )));
    let reading = pin!(read_requests(gateway, &connection, &answers, async |command| {
        client.speaks(command.serialization);
        if command.is_response() {
            client.answered(command);
            return Ok(None);
        }
        match gateway.begin(&client, command).await {
            None => answer(gateway, peer, command, gateway.handle(&client, command).await),
            Some(Err(refusal)) => answer(gateway, peer, command, Err(refusal)),
            Some(Ok(work)) => {
                // Its fields and its body are not needed any more.
                let asked = bare(command);
                let (gateway, answers) = (Rc::clone(gateway), Rc::clone(&answers));
                tasks.spawn(Box::pin(async move {
                    match answer(&gateway, peer, &asked, work.await) {
                        Ok(answer) => answer.into_iter().for_each(|answer| answers.push(answer)),
                        Err(error) => tracing::error!(%error, "an answer cannot be written"),
                    }
                }));
                Ok(None)
            }
        }
    }));
    let complaints = &gateway.complaints;
    connection::serve(&gateway.broker, complaints, &connection, &answers, reading).await;
    client.leave_all(gateway).await;
}

/// What an answer repeats of its request.
fn bare(command: &RemotingCommand<'_>) -> RemotingCommand<'static> {
    let RemotingCommand { code, opaque, flag, serialization, .. } = *command;
    let bare = RemotingCommand::request(RequestCode::PullMessage, opaque, serialization);
    RemotingCommand { code, flag, ..bare }
}

/// Serves a client of the name server until its connection ends. On the connection's shard.
pub async fn serve_routes(gateway: &Gateway, connection: Rc<Connection>) {
    let answers = Rc::<Answers>::default();
    let link = (gateway.broker.shard(), gateway.next_connection());
    let reading = pin!(read_requests(gateway, &connection, &answers, async |command| {
        // It is asked nothing.
        if command.is_response() {
            return Ok(None);
        }
        let handled = gateway.handle_routes(link, command).await;
        answer(gateway, connection.peer(), command, handled)
    }));
    let complaints = &gateway.complaints;
    connection::serve(&gateway.broker, complaints, &connection, &answers, reading).await;
    // A stopping broker knows nobody.
    let _ = name_server::ask_fleet(gateway, move |fleet, _| fleet.leave(link)).await;
}

async fn read_requests(
    gateway: &Gateway,
    connection: &Connection,
    answers: &Answers,
    handle: impl AsyncFn(&RemotingCommand<'_>) -> Result<Option<Answer>, WireError>,
) -> Result<(), ConnectionError> {
    let limit = gateway.settings.max_request_bytes;
    let tasks = &*gateway.broker.env().tasks;
    let mut frames = Frames::new(connection, &gateway.memory, tasks, limit);
    while let Some(frame) = frames.next().await? {
        connection.touch(gateway.broker.env().clock.monotonic());
        let command = RemotingCommand::parse(&frame.bytes)
            .map_err(|error| failed("with a broken header".to_owned(), error))?;
        let code = command.code;
        let answer = handle(&command).await.map_err(|error| failed(code.to_string(), error))?;
        answer.into_iter().for_each(|answer| answers.push(answer));
        // Others may be waiting for its memory, this client's answers for the client.
        drop(command);
        drop(frame);
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

fn failed(what: String, error: WireError) -> ConnectionError {
    ConnectionError::Request { what, error: error.into() }
}

/// What goes back to the client; nothing for one-way requests.
fn answer(
    gateway: &Gateway,
    peer: SocketAddr,
    command: &RemotingCommand<'_>,
    handled: super::Handled,
) -> Result<Option<Answer>, WireError> {
    if let Err(refusal) = &handled {
        say(gateway, peer, command.code, refusal);
    }
    match handled {
        _ if command.is_one_way() => Ok(None),
        Ok(answer) => Ok(Some(answer)),
        Err(refusal) => refusal.answer(command).map(Some),
    }
}

/// What clients get wrong is told to whoever runs the broker, too.
pub(super) fn say(gateway: &Gateway, peer: SocketAddr, request: i32, refusal: &Refusal) {
    let (code, remark) = (refusal.code.java_name(), &refusal.remark);
    let admit = || gateway.complaints.admit(gateway.broker.env().clock.monotonic());
    match refusal.is_bad_input.then(admit).flatten() {
        Some(left_out) => {
            tracing::info!(%peer, request, code, remark, left_out, "bad input is refused");
        }
        None => tracing::debug!(%peer, request, code, remark, "a request is refused"),
    }
}
