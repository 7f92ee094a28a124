//! DescribeGroups (key 15, versions 0–6): groups and their members. Sources: KIP-345, KIP-430 (rights),
//! KIP-1043 (unknown groups).

use kafka_protocol::messages::{
    DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
    describe_groups_response::{DescribedGroup, DescribedGroupMember},
};

use super::{
    Gateway, Request,
    error::ErrorCode,
    fan_out::on_shards,
    group_call,
    rights::{ON_GROUP, told},
    wire,
};
use crate::{
    broker::group::{GroupDescription, GroupError, GroupState, MemberDescription},
    wire::WireError,
};

/// An unknown group is an error from this version on, and a dead group before (KIP-1043).
const KNOWS_NOT_FOUND: i16 = 6;

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<DescribeGroupsResponse, WireError> {
    let broker = &gateway.broker;
    let describe: DescribeGroupsRequest = request.decode()?;
    let items = describe.groups.iter().map(|group| (broker.group_owner(group), group.clone()));
    let found = on_shards(broker, items.collect(), |owner, asked| {
        let found = owner.with_groups(|groups, _| {
            asked.iter().map(|group: &GroupId| groups.describe(group)).collect()
        });
        Box::pin(std::future::ready(found))
    });
    let groups = describe.groups.iter().zip(found.await).map(|(group, found)| {
        let response = DescribedGroup::default().with_group_id(group.clone());
        match found {
            Ok(Some(found)) => described(response, found)
                .with_authorized_operations(told(describe.include_authorized_operations, ON_GROUP)),
            Ok(None) => unknown(request.version, response),
            Err(_) => response.with_error_code(GroupError::CoordinatorNotAvailable.code()),
        }
    });
    Ok(DescribeGroupsResponse::default().with_groups(groups.collect()))
}

fn described(response: DescribedGroup, group: GroupDescription) -> DescribedGroup {
    let member = |member: MemberDescription| {
        DescribedGroupMember::default()
            .with_member_id(wire(&member.member))
            .with_group_instance_id(group_call::wire_name(member.instance.as_ref()))
            .with_client_id(wire(&member.client_id))
            .with_client_host(wire(&member.client_host))
            .with_member_metadata(group_call::wire_bytes(member.metadata))
            .with_member_assignment(group_call::wire_bytes(member.assignment))
    };
    response
        .with_group_state(wire(&group.state.to_string()))
        .with_protocol_type(wire(&group.protocol_type))
        .with_protocol_data(wire(group.protocol.as_deref().unwrap_or_default()))
        .with_members(group.members.into_iter().map(member).collect())
}

fn unknown(version: i16, response: DescribedGroup) -> DescribedGroup {
    let text = format!("Group {} not found.", response.group_id.as_str());
    let dead = response.with_group_state(wire(&GroupState::Dead.to_string()));
    match version {
        KNOWS_NOT_FOUND.. => dead
            .with_error_code(GroupError::GroupNotFound.code())
            .with_error_message(Some(wire(&text))),
        _ => dead,
    }
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;
    use crate::wire::kafka::{ApiKey, message};

    #[test]
    fn answers_fit_every_version() {
        let group = GroupDescription {
            group: "g".into(),
            state: GroupState::PreparingRebalance,
            generation: 1,
            protocol_type: "consumer".into(),
            protocol: None,
            members: vec![MemberDescription {
                member: "m".into(),
                instance: Some("i".into()),
                client_id: "c".into(),
                client_host: "/127.0.0.1".into(),
                metadata: Default::default(),
                assignment: b"a".as_slice().into(),
            }],
        };
        for version in 0..=6 {
            let asked = || DescribedGroup::default().with_group_id(GroupId(wire("g")));
            let (known, missing) = (described(asked(), group.clone()), unknown(version, asked()));
            assert_eq!(known.group_state.as_str(), "PreparingRebalance");
            assert_eq!(known.authorized_operations, i32::MIN);
            assert_eq!(missing.group_state.as_str(), "Dead");
            let not_found = ResponseError::GroupIdNotFound.code();
            assert_eq!(missing.error_code, if version == 6 { not_found } else { 0 });
            let response = DescribeGroupsResponse::default().with_groups(vec![known, missing]);
            message::encode_response(1, ApiKey::DescribeGroups, version, &response).unwrap();
        }
    }
}
