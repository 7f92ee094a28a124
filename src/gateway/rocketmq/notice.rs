//! NOTIFY_CONSUMER_IDS_CHANGED (40) and RESET_CONSUMER_CLIENT_OFFSET (220): what consumers are told
//! without having asked.

use std::rc::{Rc, Weak};

use super::{Gateway, client::Client, relay};
use crate::{
    broker::Notice,
    gateway::answer::{Answer, Answers},
    wire::{
        WireError,
        rocketmq::{
            RemotingCommand, RequestCode, Serialization,
            body::{MessageQueue, ResetOffsetBody, Table, to_json},
            header::{ConsumerGroupRequest, ResetOffsetRequest},
        },
    },
};

/// Runs while the client is connected: passes on what it is to be told. One that does not read is told
/// no more; who else is in its group it asks by itself.
pub(super) async fn pass(
    gateway: Weak<Gateway>,
    client: Weak<Client>,
    notices: flume::Receiver<Notice>,
    answers: Rc<Answers>,
) {
    while let Ok(notice) = notices.recv_async().await {
        let (Some(gateway), Some(client)) = (gateway.upgrade(), client.upgrade()) else { return };
        if relay::is_full(&answers) {
            continue;
        }
        let broker_name = &gateway.settings.broker_name;
        match request(&notice, client.next_opaque(), client.serialization(), broker_name) {
            Ok(request) => answers.push(request),
            Err(error) => tracing::error!(%error, "a notice cannot be written"),
        }
    }
}

fn request(
    notice: &Notice,
    opaque: i32,
    serialization: Serialization,
    broker_name: &str,
) -> Result<Answer, WireError> {
    let request = |code| RemotingCommand::request(code, opaque, serialization).one_way();
    match notice {
        Notice::Members(group) => {
            let mut notice: RemotingCommand<'_> = request(RequestCode::NotifyConsumerIdsChanged);
            ConsumerGroupRequest { consumer_group: group }.write(&mut notice.fields);
            super::written(&notice)
        }
        Notice::Offsets { group, topic, offsets } => {
            let mut notice: RemotingCommand<'_> = request(RequestCode::ResetConsumerClientOffset);
            let header = ResetOffsetRequest {
                topic,
                group,
                queue_id: None,
                offset: None,
                timestamp: -1,
                is_force: true,
            };
            header.write(&mut notice.fields);
            notice.body = to_json(&reset_body(broker_name, topic, offsets))?;
            super::written(&notice)
        }
    }
}

/// The offsets of a topic's queues as clients and tools read them.
pub(super) fn reset_body(
    broker_name: &str,
    topic: &str,
    offsets: &[(i32, i64)],
) -> ResetOffsetBody {
    let queue = |&(queue_id, offset): &(i32, i64)| {
        let (broker_name, topic) = (broker_name.to_owned(), topic.to_owned());
        (MessageQueue { broker_name, queue_id, topic }, offset)
    };
    ResetOffsetBody { offset_table: Table(offsets.iter().map(queue).collect()) }
}
