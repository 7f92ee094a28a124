//! GET_CONSUMER_RUNNING_INFO (307), CONSUME_MESSAGE_DIRECTLY (309): what administrators ask of one
//! consumer, which answers by way of this broker.

use std::{rc::Rc, sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    super::{
        client::Client,
        relay::{self, Question, Told},
    },
    Gateway, Handled, Refusal, encoded,
};
use crate::{
    base::QueueId,
    env::LocalFuture,
    gateway::answer::Answers,
    wire::rocketmq::{
        OffsetMessageId, RemotingCommand, RequestCode, ResponseCode,
        header::{ConsumeMessageDirectlyRequest, GetConsumerRunningInfoRequest},
    },
};

/// How long a consumer may take, as in RocketMQ (`Broker2Client.callClient`).
const PATIENCE: Duration = Duration::from_secs(10);

type Begun = Result<LocalFuture<'static, Handled>, Refusal>;

pub(in super::super) fn running_info(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Begun {
    let asked = GetConsumerRunningInfoRequest::parse(&command.fields)?;
    let question = question(command, RequestCode::GetConsumerRunningInfo, asked.client_id);
    let (group, answer) = (asked.consumer_group.to_owned(), answer_to(command));
    let answers = Rc::clone(&client.answers);
    let under_way = client.begins_question()?;
    Ok(Box::pin(async move {
        let _ends_with_this = under_way;
        relay(&gateway, &group, question, answer, &answers).await
    }))
}

/// A consumer is given a message once more, and says what came of it.
pub(in super::super) fn consume(
    gateway: Rc<Gateway>,
    client: &Client,
    command: &RemotingCommand<'_>,
) -> Begun {
    let asked = ConsumeMessageDirectlyRequest::parse(&command.fields)?;
    let id = asked.msg_id.and_then(OffsetMessageId::parse);
    let id = id.ok_or_else(|| failed("msgId is no offsetMsgId"))?;
    let to = asked.client_id.ok_or_else(|| failed("the custom field <clientId> is null"))?;
    let mut question = question(command, RequestCode::ConsumeMessageDirectly, to);
    let broker_name = gateway.settings.broker_name.clone();
    question.fields.retain(|(name, _)| name != "brokerName");
    question.fields.push(("brokerName".to_owned(), broker_name));
    let (group, answer) = (asked.consumer_group.to_owned(), answer_to(command));
    let answers = Rc::clone(&client.answers);
    let under_way = client.begins_question()?;
    Ok(Box::pin(async move {
        let _ends_with_this = under_way;
        question.body = message(&gateway, id.physical_offset).await?;
        relay(&gateway, &group, question, answer, &answers).await
    }))
}

/// The same request, to a client.
fn question(command: &RemotingCommand<'_>, code: RequestCode, client: &str) -> Question {
    let fields = command.fields.iter();
    Question {
        to: client.to_owned(),
        code,
        fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        body: Bytes::new(),
    }
}

fn answer_to(command: &RemotingCommand<'_>) -> RemotingCommand<'static> {
    RemotingCommand::answer(command, ResponseCode::Success)
}

fn failed(remark: impl Into<String>) -> Refusal {
    Refusal::new(ResponseCode::SystemError, remark)
}

async fn message(gateway: &Gateway, locator: i64) -> Result<Bytes, Refusal> {
    let not_found = || failed(format!("can not find message by the offset, {locator}"));
    let (queue, offset) = QueueId::of_locator(locator).ok_or_else(not_found)?;
    let broker = &gateway.broker;
    let found = broker.on(broker.owner(queue), move |owner| {
        Box::pin(async move { owner.message_at(queue, offset).await })
    });
    found.await?.ok().flatten().ok_or_else(not_found)
}

/// Asks a member of a group, and answers as it does, behind the `answers` that there are already.
async fn relay(
    gateway: &Gateway,
    group: &str,
    question: Question,
    mut answer: RemotingCommand<'static>,
    answers: &Answers,
) -> Handled {
    let (broker, of) = (&gateway.broker, group.to_owned());
    let client: Arc<str> = question.to.as_str().into();
    let id = Arc::clone(&client);
    let is_member = broker.on(broker.group_owner(group), move |owner| {
        Box::pin(std::future::ready(owner.group_clients(&of).contains(&id)))
    });
    let told = match is_member.await? {
        true => question.ask(gateway, PATIENCE).await?,
        false => Told::NotThere,
    };
    match told {
        Told::Answer(_) if relay::is_full(answers) => {
            let remark = format!(
                "consumer <{group}> <{client}> has answered, but earlier answers were not read"
            );
            Err(Refusal::new(ResponseCode::SystemBusy, remark))
        }
        Told::Answer(told) => {
            answer.code = told.code;
            answer.remark = told.remark.filter(|remark| !remark.is_empty()).map(Into::into);
            answer.body = told.body;
            encoded(&answer)
        }
        Told::NotThere => Err(failed(format!("The Consumer <{group}> <{client}> not online"))),
        Told::Nothing => {
            let remark = format!("consumer <{group}> <{client}> Timeout");
            Err(Refusal::new(ResponseCode::ConsumeMsgTimeout, remark))
        }
    }
}
