//! LeaveGroup (key 13, versions 0–5): members go, or are sent away by an administrator. Sources:
//! KIP-345 (several members), KIP-800 (reasons).

use kafka_protocol::{
    messages::{
        LeaveGroupRequest, LeaveGroupResponse, leave_group_request::MemberIdentity,
        leave_group_response::MemberResponse,
    },
    protocol::StrBytes,
};

use super::{
    Gateway, Request,
    error::{ErrorCode, NONE},
    group_call,
};
use crate::{
    broker::group::{GroupError, LeavingMember, Reply},
    wire::WireError,
};

/// A request names several members from this version on.
const SEVERAL: i16 = 3;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<LeaveGroupResponse, WireError> {
    let leave: LeaveGroupRequest = request.decode()?;
    let members = members(request.version, leave.members, leave.member_id);
    let leaving = members.clone();
    let group = leave.group_id.clone();
    let reply = group_call::ask(&gateway.broker, &group, move |groups, at, token| {
        let leaving: Vec<_> = leaving
            .iter()
            .map(|member| LeavingMember {
                member: &member.member_id,
                instance: member.group_instance_id.as_deref(),
                reason: member.reason.as_deref(),
            })
            .collect();
        groups.leave(at, &leave.group_id, &leaving, token);
    });
    let result = match reply.await {
        Some(Reply::Leave(result)) => result,
        _ => Err(GroupError::CoordinatorNotAvailable),
    };
    Ok(respond(request.version, &members, result))
}

/// Who leaves, in the form for several.
fn members(version: i16, several: Vec<MemberIdentity>, single: StrBytes) -> Vec<MemberIdentity> {
    match version {
        SEVERAL.. => several,
        _ => vec![MemberIdentity::default().with_member_id(single)],
    }
}

fn respond(
    version: i16,
    members: &[MemberIdentity],
    result: Result<Vec<Result<(), GroupError>>, GroupError>,
) -> LeaveGroupResponse {
    let response = LeaveGroupResponse::default();
    let results = match result {
        Ok(results) => results,
        // There is no such group: nobody is a member of it.
        Err(GroupError::UnknownMember) => vec![Err(GroupError::UnknownMember); members.len()],
        Err(error) => return response.with_error_code(error.code()),
    };
    if version < SEVERAL {
        return response.with_error_code(results.first().map_or(NONE, group_call::code));
    }
    let members = members.iter().zip(&results).map(|(member, result)| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(group_call::code(result))
    });
    response.with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::{super::wire, *};
    use crate::wire::kafka::{ApiKey, message};

    fn member(id: &str) -> MemberIdentity {
        MemberIdentity::default().with_member_id(wire(id)).with_group_instance_id(Some(wire("i")))
    }

    #[test]
    fn one_member_has_its_error_above_and_several_have_their_own() {
        let unknown = ResponseError::UnknownMemberId.code();
        for version in 0..=5 {
            let asked = members(version, vec![member("a"), member("b")], wire("a"));
            let results = [Err(GroupError::UnknownMember), Ok(())];
            let response = respond(version, &asked, Ok(results[..asked.len()].to_vec()));
            message::encode_response(1, ApiKey::LeaveGroup, version, &response).unwrap();
            let codes: Vec<_> = response.members.iter().map(|member| member.error_code).collect();
            if version < 3 {
                assert_eq!((response.error_code, codes), (unknown, vec![]));
            } else {
                assert_eq!((response.error_code, codes), (NONE, vec![unknown, NONE]));
            }
        }
    }

    #[test]
    fn without_the_group_its_members_are_unknown() {
        let unknown = ResponseError::UnknownMemberId.code();
        let asked = [member("a"), member("b")];
        let response = respond(3, &asked, Err(GroupError::UnknownMember));
        assert_eq!(response.error_code, NONE);
        assert!(response.members.iter().all(|member| member.error_code == unknown));
        assert_eq!(respond(2, &asked[..1], Err(GroupError::UnknownMember)).error_code, unknown);
        let response = respond(3, &asked, Err(GroupError::InvalidGroupId));
        assert_eq!(response.error_code, ResponseError::InvalidGroupId.code());
        assert!(response.members.is_empty());
    }
}
