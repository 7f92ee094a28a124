//! Heartbeat (key 12, versions 0–4): keeps a member in its group. Source: KIP-345.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{Gateway, Request, group_call};
use crate::{broker::group::Sender, wire::WireError};

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<HeartbeatResponse, WireError> {
    let beat: HeartbeatRequest = request.decode()?;
    let group = beat.group_id.clone();
    let result = group_call::call(&gateway.broker, &group, move |groups, at| {
        let sender = Sender {
            member: &beat.member_id,
            instance: beat.group_instance_id.as_deref(),
            generation: beat.generation_id,
        };
        groups.heartbeat(at, &beat.group_id, &sender)
    });
    let result = result.await.flatten();
    Ok(HeartbeatResponse::default().with_error_code(group_call::code(&result)))
}
