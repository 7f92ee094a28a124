//! JoinGroup (key 11, versions 0–9): a member joins its group's next generation. Sources: KIP-62,
//! KIP-345, KIP-394, KIP-559, KIP-800, KIP-814.

use std::time::Duration;

use kafka_protocol::messages::{
    JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember,
};

use super::{Gateway, Request, group_call, shared, wire};
use crate::{
    broker::group::{GroupError, JoinRequest, Joined, JoinedMember, Reply},
    wire::WireError,
};

/// A rebalance has a timeout of its own from this version on (KIP-62).
const REBALANCE_TIMEOUT: i16 = 1;

/// New dynamic members join twice from this version on (KIP-394).
const KNOWN_MEMBER: i16 = 4;

/// The protocol may be null from this version on (KIP-559).
const NULLABLE_PROTOCOL: i16 = 7;

/// A returning leader may be told not to assign from this version on (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &mut Request,
) -> Result<JoinGroupResponse, WireError> {
    let version = request.version;
    let join: JoinGroupRequest = request.decode_last()?;
    let (group, member) = (shared(&join.group_id), shared(&join.member_id));
    let client_id = request.client_id.clone().unwrap_or_default();
    let client_host = group_call::shown_host(request.client_host);
    let reply = group_call::ask(&gateway.broker, &group, move |groups, at, token| {
        with_join(version, &join, &client_id, &client_host, |join| groups.join(at, join, token));
    });
    let result = match reply.await {
        Some(Reply::Join(result)) => result,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    Ok(respond(version, &member, result))
}

/// Lends the request in the coordinator's form.
fn with_join(
    version: i16,
    join: &JoinGroupRequest,
    client_id: &str,
    client_host: &str,
    call: impl FnOnce(&JoinRequest<'_>),
) {
    let protocols: Vec<_> = join
        .protocols
        .iter()
        .map(|protocol| (protocol.name.as_str(), &protocol.metadata[..]))
        .collect();
    let rebalance_timeout_ms = match version {
        ..REBALANCE_TIMEOUT => join.session_timeout_ms,
        _ => join.rebalance_timeout_ms,
    };
    call(&JoinRequest {
        group: &join.group_id,
        member: &join.member_id,
        instance: join.group_instance_id.as_deref(),
        client_id,
        client_host,
        session_timeout: timeout(join.session_timeout_ms),
        rebalance_timeout: timeout(rebalance_timeout_ms),
        protocol_type: &join.protocol_type,
        protocols: &protocols,
        requires_known_member: version >= KNOWN_MEMBER,
        supports_skip_assignment: version >= SKIP_ASSIGNMENT,
        reason: join.reason.as_deref().filter(|reason| !reason.is_empty()),
    });
}

/// A timeout of the wire's; negative ones are as short as can be.
fn timeout(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

fn respond(version: i16, member: &str, result: Result<Joined, GroupError>) -> JoinGroupResponse {
    let response = JoinGroupResponse::default().with_error_code(group_call::code(&result));
    // Where null is not possible the empty string stands for no protocol.
    let no_protocol = (version < NULLABLE_PROTOCOL).then(Default::default);
    let joined = match result {
        Ok(joined) => joined,
        Err(error) => {
            let member = match &error {
                GroupError::MemberIdRequired(member) => member,
                GroupError::GroupMaxSize | GroupError::TooManyGroups => "",
                _ => member,
            };
            return response.with_member_id(wire(member)).with_protocol_name(no_protocol);
        }
    };
    let protocol = group_call::wire_name(joined.protocol.as_ref());
    let joined_member = |member: JoinedMember| {
        JoinGroupResponseMember::default()
            .with_member_id(wire(&member.member))
            .with_group_instance_id(group_call::wire_name(member.instance.as_ref()))
            .with_metadata(group_call::wire_bytes(member.metadata))
    };
    response
        .with_generation_id(joined.generation)
        .with_protocol_type(group_call::wire_name(joined.protocol_type.as_ref()))
        .with_protocol_name(protocol.filter(|protocol| !protocol.is_empty()).or(no_protocol))
        .with_leader(wire(&joined.leader))
        .with_skip_assignment(version >= SKIP_ASSIGNMENT && joined.skip_assignment)
        .with_member_id(wire(&joined.member))
        .with_members(joined.members.into_iter().map(joined_member).collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::{
        ResponseError,
        messages::{GroupId, join_group_request::JoinGroupRequestProtocol},
        protocol::StrBytes,
    };

    use super::*;
    use crate::wire::kafka::{ApiKey, message};

    fn join() -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(wire("range"))
            .with_metadata(b"topics".as_slice().into());
        JoinGroupRequest::default()
            .with_group_id(GroupId(wire("g")))
            .with_session_timeout_ms(6000)
            .with_rebalance_timeout_ms(-1)
            .with_protocol_type(wire("consumer"))
            .with_protocols(vec![protocol])
            .with_reason(Some(StrBytes::new()))
    }

    #[test]
    fn versions_differ_in_timeouts_and_abilities() {
        for version in 0..=9 {
            with_join(version, &join(), "client", "/host", |join| {
                assert_eq!(join.session_timeout, Duration::from_secs(6));
                let rebalance_s = if version == 0 { 6 } else { 0 };
                assert_eq!(join.rebalance_timeout, Duration::from_secs(rebalance_s));
                assert_eq!(join.protocols, [("range", b"topics".as_slice())]);
                assert_eq!(join.requires_known_member, version >= 4);
                assert_eq!(join.supports_skip_assignment, version == 9);
                assert_eq!((join.member, join.instance, join.reason), ("", None, None));
            });
        }
    }

    #[test]
    fn hosts_look_like_kafkas() {
        for (host, shown) in [
            ("127.0.0.1", "/127.0.0.1"),
            ("::ffff:10.1.2.3", "/10.1.2.3"),
            ("::1", "/0:0:0:0:0:0:0:1"),
            ("2001:db8::ff", "/2001:db8:0:0:0:0:0:ff"),
        ] {
            assert_eq!(group_call::shown_host(host.parse().unwrap()), shown);
        }
    }

    #[test]
    fn answers_fit_every_version() {
        let joined = Joined {
            member: "m".into(),
            generation: 3,
            protocol_type: Some("consumer".into()),
            protocol: Some("range".into()),
            leader: "l".into(),
            members: vec![JoinedMember {
                member: "m".into(),
                instance: Some("i".into()),
                metadata: b"topics".as_slice().into(),
            }],
            skip_assignment: true,
        };
        for version in 0..=9 {
            let response = respond(version, "m", Ok(joined.clone()));
            assert_eq!(response.skip_assignment, version == 9);
            assert_eq!(response.protocol_name.as_deref(), Some("range"));
            message::encode_response(1, ApiKey::JoinGroup, version, &response).unwrap();
            let response = respond(version, "m", Err(GroupError::UnknownMember));
            assert_eq!(response.member_id.as_str(), "m");
            assert_eq!(response.generation_id, -1);
            assert_eq!(response.protocol_name.as_deref(), (version < 7).then_some(""));
            message::encode_response(1, ApiKey::JoinGroup, version, &response).unwrap();
        }
    }

    #[test]
    fn refusals_name_the_member() {
        let refused = |error| {
            let response = respond(9, "m", Err(error));
            (response.error_code, response.member_id.to_string())
        };
        let required = refused(GroupError::MemberIdRequired("new".into()));
        assert_eq!(required, (ResponseError::MemberIdRequired.code(), "new".to_owned()));
        let full = refused(GroupError::GroupMaxSize);
        assert_eq!(full, (ResponseError::GroupMaxSizeReached.code(), String::new()));
        let fenced = refused(GroupError::FencedInstanceId);
        assert_eq!(fenced, (ResponseError::FencedInstanceId.code(), "m".to_owned()));
    }
}
