//! SyncGroup (key 14, versions 0–5): a member asks for its assignment, the leader brings everybody's.
//! Sources: KIP-345, KIP-559.

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{Gateway, Request, group_call, shared};
use crate::{
    broker::group::{GroupError, Reply, SyncRequest, Synced},
    wire::WireError,
};

/// Members name their protocol from this version on (KIP-559).
const NAMES_PROTOCOL: i16 = 5;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &mut Request,
) -> Result<SyncGroupResponse, WireError> {
    let sync: SyncGroupRequest = request.decode_last()?;
    if lacks_protocol(request.version, &sync) {
        return Ok(respond(Err(GroupError::InconsistentProtocol)));
    }
    let group = shared(&sync.group_id);
    let reply = group_call::ask(&gateway.broker, &group, move |groups, at, token| {
        let assignments: Vec<_> = sync
            .assignments
            .iter()
            .map(|assigned| (assigned.member_id.as_str(), &assigned.assignment[..]))
            .collect();
        let sync = SyncRequest {
            group: &sync.group_id,
            member: &sync.member_id,
            instance: sync.group_instance_id.as_deref(),
            generation: sync.generation_id,
            protocol_type: sync.protocol_type.as_deref(),
            protocol: sync.protocol_name.as_deref(),
            assignments: &assignments,
        };
        groups.sync(at, &sync, token);
    });
    Ok(respond(match reply.await {
        Some(Reply::Sync(result)) => result,
        _ => Err(GroupError::CoordinatorNotAvailable),
    }))
}

/// Whether the request leaves out what its version must name.
fn lacks_protocol(version: i16, sync: &SyncGroupRequest) -> bool {
    version >= NAMES_PROTOCOL && (sync.protocol_type.is_none() || sync.protocol_name.is_none())
}

fn respond(result: Result<Synced, GroupError>) -> SyncGroupResponse {
    let response = SyncGroupResponse::default().with_error_code(group_call::code(&result));
    match result {
        Ok(synced) => response
            .with_protocol_type(group_call::wire_name(synced.protocol_type.as_ref()))
            .with_protocol_name(group_call::wire_name(synced.protocol.as_ref()))
            .with_assignment(group_call::wire_bytes(synced.assignment)),
        Err(_) => response,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire, *};
    use crate::wire::kafka::{ApiKey, message};

    #[test]
    fn the_protocol_is_a_must_since_version_5() {
        let mut sync = SyncGroupRequest::default().with_protocol_type(Some(wire("consumer")));
        assert!((0..5).all(|version| !lacks_protocol(version, &sync)));
        assert!(lacks_protocol(5, &sync));
        sync.protocol_name = Some(wire("range"));
        assert!(!lacks_protocol(5, &sync));
    }

    #[test]
    fn answers_fit_every_version() {
        let synced = Synced {
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            assignment: b"partitions".as_slice().into(),
        };
        for version in 0..=5 {
            for result in [Ok(synced.clone()), Err(GroupError::RebalanceInProgress)] {
                let response = respond(result);
                message::encode_response(1, ApiKey::SyncGroup, version, &response).unwrap();
            }
        }
    }
}
