//! SEND_REPLY_MESSAGE (324), its V2 (325) and PUSH_REPLY_MESSAGE_TO_CLIENT (326): answers to messages
//! that somebody waits for. They go to whoever asked, by its client id, and are not stored: nobody
//! else would read them.

use std::{rc::Rc, time::Duration};

use bytes::Bytes;

use super::{
    Gateway, Handled,
    client::Client,
    encoded,
    refusal::Refusal,
    relay::{Question, Told},
    send, topic,
};
use crate::{
    env::LocalFuture,
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
    let question = Question {
        to: to.to_owned(),
        code: RequestCode::PushReplyMessageToClient,
        fields,
        // A copy: the frame it lies in is given back when it is handled.
        body: Bytes::copy_from_slice(&command.body),
    };
    let mut answer = RemotingCommand::answer(command, ResponseCode::Success);
    let sent = SendMessageResponse { msg_id: "0", queue_id: header.queue_id, ..Default::default() };
    sent.write(&mut answer.fields);
    send::push_beside(&mut answer.fields);
    let to = to.to_owned();
    let under_way = client.begins_question()?;
    Ok(Box::pin(async move {
        let _ends_with_this = under_way;
        match question.ask(&gateway, TAKING).await? {
            Told::Answer(taken) if taken.code == ResponseCode::Success.number() => encoded(&answer),
            Told::NotThere => {
                Err(failed(format!("push reply message fail, channel of <{to}> not found.")))
            }
            Told::Answer(_) | Told::Nothing => {
                Err(failed(format!("push reply message to {to} fail.")))
            }
        }
    }))
}

fn failed(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::SystemError, remark)
}
