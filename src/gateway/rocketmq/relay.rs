//! What one client is asked on somebody else's behalf, wherever it is connected.

use std::{
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_lite::future;

use super::{Gateway, client::Client};
use crate::{
    broker::{ClientAnswer, Delivery, Stopping},
    gateway::answer::{Answer, Answers},
    wire::rocketmq::{RemotingCommand, RequestCode},
};

/// Bytes that may wait for a client before no more of others' are put behind them: one that does not
/// read would have the broker keep all that others ask of it, all that they answer, and all that it is
/// to be told of them.
const QUEUED_MAX: usize = 16 << 20;

/// Whether a client is to read first.
pub(super) fn is_full(answers: &Answers) -> bool {
    answers.queued_bytes() > QUEUED_MAX
}

/// A request for a client.
pub(super) struct Question {
    /// The client's id.
    pub to: String,
    /// What it is asked.
    pub code: RequestCode,
    /// The header.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What came of a question.
pub(super) enum Told {
    /// The client's answer.
    Answer(ClientAnswer),
    /// No client has this id, or it has too many questions before it.
    NotThere,
    /// It took too long, or its connection has ended.
    Nothing,
}

impl Question {
    /// Asks the client, and waits for its answer as long as `patience`.
    ///
    /// # Errors
    /// [`Stopping`].
    pub(super) async fn ask(self, gateway: &Gateway, patience: Duration) -> Result<Told, Stopping> {
        let Self { to, code, fields, body } = self;
        let (answer, answered) = flume::bounded(1);
        let delivery = Delivery { code: code.number(), fields, body, answer };
        let broker = &gateway.broker;
        let passed = broker.on(broker.client_owner(&to), move |owner| {
            Box::pin(async move { owner.pass_to_client(&to, delivery) })
        });
        if !passed.await? {
            return Ok(Told::NotThere);
        }
        let late = async {
            broker.env().tasks.sleep(patience).await;
            Told::Nothing
        };
        let answer = async { answered.recv_async().await.map_or(Told::Nothing, Told::Answer) };
        Ok(future::or(answer, late).await)
    }
}

/// Runs while the client is connected: asks it what it is to be asked.
pub(super) async fn pass_questions(
    client: Weak<Client>,
    deliveries: flume::Receiver<Delivery>,
    answers: Rc<Answers>,
) {
    while let Ok(Delivery { code, fields, body, answer }) = deliveries.recv_async().await {
        let Some(client) = client.upgrade() else { return };
        if is_full(&answers) {
            // Whoever asked is told that there is no answer.
            continue;
        }
        let Some(code) = RequestCode::from_number(code) else { continue };
        let mut request =
            RemotingCommand::request(code, client.asks(answer), client.serialization());
        for (name, value) in fields {
            request.fields.push(name, value);
        }
        request.body = body;
        let mut bytes = BytesMut::with_capacity(1024 + request.body.len());
        match request.encode(&mut bytes) {
            Ok(()) => answers.push(Answer::now(bytes.freeze())),
            Err(error) => tracing::error!(%error, "a question cannot be passed on"),
        }
    }
}
