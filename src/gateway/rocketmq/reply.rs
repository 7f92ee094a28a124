//! SEND_REPLY_MESSAGE (324), its V2 (325) and PUSH_REPLY_MESSAGE_TO_CLIENT (326): answers to messages
//! that somebody waits for. They go to whoever asked, by its client id, and are not stored: nobody
//! else would read them.

use std::{
    rc::{Rc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use futures_lite::future;

use super::{Gateway, Handled, client::Client, encoded, refusal::Refusal, send, topic};
use crate::{
    broker::Delivery,
    env::LocalFuture,
    gateway::answer::{Answer, Answers},
    wire::rocketmq::{
        ExtFields, RemotingCommand, RequestCode, ResponseCode,
        header::{ReplyMessageRequest, SendMessageResponse},
        property::{self, Properties},
    },
};

/// How long whoever asked may take to say that it has the answer.
const TAKING: Duration = Duration::from_secs(3);

pub(super) fn begin(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Result<LocalFuture<'static, Handled>, Refusal> {
    let header = send::header(&command.fields)?;
    topic::check_sending(header.topic)?;
    let properties = header.properties.unwrap_or_default();
    let Some(to) = Properties::new(properties).get(property::REPLY_TO_CLIENT) else {
        return Err(failed("REPLY_TO_CLIENT is null, can not reply message"));
    };
    let now_ms = gateway.broker.env().clock.wall_ms();
    let mut told = properties.to_owned();
    property::push(&mut told, property::PUSH_REPLY_TIME, &now_ms.to_string());
    let (born_host, store_host) =
        (client.peer.to_string(), gateway.settings.advertised.to_string());
    let request = ReplyMessageRequest {
        producer_group: header.producer_group,
        topic: header.topic,
        default_topic: header.default_topic,
        default_topic_queue_nums: header.default_topic_queue_nums,
        queue_id: header.queue_id,
        sys_flag: header.sys_flag,
        born_timestamp: header.born_timestamp,
        flag: header.flag,
        properties: Some(&told),
        reconsume_times: header.reconsume_times,
        unit_mode: header.unit_mode,
        born_host: &born_host,
        store_host: &store_host,
        store_timestamp: now_ms,
    };
    let mut fields = ExtFields::default();
    request.write(&mut fields);
    let fields = fields.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (taken, answered) = flume::bounded(1);
    // A copy: the frame it lies in is given back when it is handled.
    let delivery = Delivery { fields, body: BytesMut::from(&command.body[..]).freeze(), taken };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let sent = SendMessageResponse { msg_id: "0", queue_id: header.queue_id, ..Default::default() };
    sent.write(&mut answer.fields);
    send::push_beside(&mut answer.fields);
    let to = to.to_owned();
    Ok(Box::pin(async move {
        deliver(&gateway, to, delivery, answered).await?;
        encoded(&answer)
    }))
}

async fn deliver(
    gateway: &Gateway,
    to: String,
    delivery: Delivery,
    answered: flume::Receiver<bool>,
) -> Result<(), Refusal> {
    let (broker, id) = (&gateway.broker, to.clone());
    let found = broker.on(broker.client_owner(&to), move |owner| {
        Box::pin(async move { owner.pass_to_client(&id, delivery) })
    });
    if !found.await? {
        return Err(failed(format!("push reply message fail, channel of <{to}> not found.")));
    }
    let late = async {
        broker.env().tasks.sleep(TAKING).await;
        false
    };
    let taken = async { answered.recv_async().await.unwrap_or(false) };
    match future::or(taken, late).await {
        true => Ok(()),
        false => Err(failed(format!("push reply message to {to} fail."))),
    }
}

fn failed(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::SystemError, remark)
}

/// Runs while the client is connected: asks it to take what was delivered to it.
pub(super) async fn pass_deliveries(
    client: Weak<Client>,
    deliveries: flume::Receiver<Delivery>,
    answers: Rc<Answers>,
) {
    while let Ok(Delivery { fields, body, taken }) = deliveries.recv_async().await {
        let Some(client) = client.upgrade() else { return };
        let code = RequestCode::PushReplyMessageToClient;
        let mut request =
            RemotingCommand::request(code, client.asks(taken), client.serialization());
        for (name, value) in fields {
            request.fields.push(name, value);
        }
        request.body = body;
        let mut bytes = BytesMut::with_capacity(1024 + request.body.len());
        match request.encode(&mut bytes) {
            Ok(()) => answers.push(Answer::now(bytes.freeze())),
            Err(error) => tracing::error!(%error, "a reply cannot be passed on"),
        }
    }
}
