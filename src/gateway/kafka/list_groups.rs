//! ListGroups (key 16, versions 0–5): the groups of all shards. Sources: KIP-518 (states), KIP-848
//! (types).

use kafka_protocol::{
    messages::{GroupId, ListGroupsRequest, ListGroupsResponse, list_groups_response::ListedGroup},
    protocol::StrBytes,
};

use super::{Gateway, Request, error::ErrorCode, fan_out::on_shards, wire};
use crate::{
    base::ShardId,
    broker::group::{self, GroupError, GroupState},
    wire::WireError,
};

/// The type of every group there is.
const CLASSIC: StrBytes = StrBytes::from_static_str("classic");

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<ListGroupsResponse, WireError> {
    let list: ListGroupsRequest = request.decode()?;
    let response = ListGroupsResponse::default();
    if !list.types_filter.is_empty() && !names(&list.types_filter, &CLASSIC) {
        return Ok(response);
    }
    let broker = &gateway.broker;
    let shards = (0..broker.shards()).map(ShardId);
    let items = shards.map(|shard| (shard, list.states_filter.clone())).collect();
    let found = on_shards(broker, items, |owner, filters: Vec<Vec<StrBytes>>| {
        let found = owner.with_groups(|groups, _| {
            let listed = |states: &Vec<StrBytes>| {
                let groups = groups.list().filter(|group| is_wanted(states, group.state));
                groups.map(|group| listed(&group)).collect::<Vec<_>>()
            };
            filters.iter().map(listed).collect()
        });
        Box::pin(std::future::ready(found))
    });
    let groups: Result<Vec<_>, _> = found.await.into_iter().collect();
    Ok(match groups {
        Ok(groups) => response.with_groups(groups.concat()),
        Err(_) => response.with_error_code(GroupError::CoordinatorNotAvailable.code()),
    })
}

/// Whether a filter lets a group of this state through. An empty one lets all.
fn is_wanted(states: &[StrBytes], state: GroupState) -> bool {
    states.is_empty() || names(states, &state.to_string())
}

/// Whether a filter names something, in capitals or not.
fn names(filter: &[StrBytes], what: &str) -> bool {
    filter.iter().any(|name| name.trim().eq_ignore_ascii_case(what))
}

fn listed(group: &group::ListedGroup<'_>) -> ListedGroup {
    ListedGroup::default()
        .with_group_id(GroupId(wire(group.group)))
        .with_protocol_type(wire(group.protocol_type))
        .with_group_state(wire(&group.state.to_string()))
        .with_group_type(CLASSIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::kafka::{ApiKey, message};

    #[test]
    fn filters_do_not_mind_capitals() {
        assert!(is_wanted(&[], GroupState::Stable));
        assert!(is_wanted(&[wire("empty"), wire(" STABLE ")], GroupState::Stable));
        assert!(!is_wanted(&[wire("empty"), wire("unheard-of")], GroupState::Stable));
        assert!(names(&[wire("Classic")], &CLASSIC) && !names(&[wire("consumer")], &CLASSIC));
    }

    #[test]
    fn answers_fit_every_version() {
        let group = "g".into();
        let state = GroupState::CompletingRebalance;
        let group = listed(&group::ListedGroup { group: &group, protocol_type: "", state });
        assert_eq!(group.group_state.as_str(), "CompletingRebalance");
        let response = ListGroupsResponse::default().with_groups(vec![group]);
        for version in 0..=5 {
            message::encode_response(1, ApiKey::ListGroups, version, &response).unwrap();
        }
    }
}
