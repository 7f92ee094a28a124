//! DeleteGroups (key 42, versions 0–2): deletes groups without members, and their offsets. Source:
//! KIP-229.

use std::rc::Rc;

use hashbrown::HashSet;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, GroupId,
    delete_groups_response::DeletableGroupResult,
};

use super::{
    Gateway, Request,
    fan_out::{each, on_shards},
    group_call,
};
use crate::{
    broker::{
        Broker,
        group::{GroupError, Reply},
    },
    wire::WireError,
};

pub(super) async fn handle(
    gateway: &Gateway,
    request: &Request,
) -> Result<DeleteGroupsResponse, WireError> {
    let broker = &gateway.broker;
    let mut delete: DeleteGroupsRequest = request.decode()?;
    once(&mut delete.groups_names);
    let items = delete.groups_names.iter().map(|group| (broker.group_owner(group), group.clone()));
    let results = on_shards(broker, items.collect(), |owner, groups| {
        Box::pin(each(groups, move |group| remove(Rc::clone(&owner), group)))
    });
    let results = delete.groups_names.iter().zip(results.await).map(|(group, result)| {
        let result = result.unwrap_or(Err(GroupError::CoordinatorNotAvailable));
        DeletableGroupResult::default()
            .with_group_id(group.clone())
            .with_error_code(group_call::code(&result))
    });
    Ok(DeleteGroupsResponse::default().with_results(results.collect()))
}

/// Leaves each group once: its second deletion would fail, and hide that the first did not.
fn once(groups: &mut Vec<GroupId>) {
    let mut seen = HashSet::new();
    groups.retain(|group| seen.insert(group.clone()));
}

/// Deletes a group of this shard.
async fn remove(owner: Rc<Broker>, group: GroupId) -> Result<(), GroupError> {
    let reply = owner.ask_groups(|groups, at, token| groups.delete_group(at, &group, token));
    match reply.await {
        Some(Reply::DeleteGroup(result)) => result,
        _ => Err(GroupError::CoordinatorNotAvailable),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::wire, *};

    #[test]
    fn each_group_is_deleted_once() {
        let mut groups = ["b", "a", "b"].map(|group| GroupId(wire(group))).to_vec();
        once(&mut groups);
        assert_eq!(groups, ["b", "a"].map(|group| GroupId(wire(group))));
    }
}
