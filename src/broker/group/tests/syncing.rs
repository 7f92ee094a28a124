//! SyncGroup and Heartbeat.

use super::*;

/// A group of `clients` whose leader has yet to assign, the leader first.
fn completing(bench: &mut Bench, clients: &[Client]) -> Vec<Joined> {
    let tokens: Vec<_> = clients.iter().map(|client| bench.join_as_told(client).0).collect();
    bench.pass_join_phase();
    let mut joined: Vec<_> = tokens.into_iter().map(|token| bench.joined(token)).collect();
    joined.sort_by_key(|one| one.member != one.leader);
    assert_eq!(bench.state(), Some(GroupState::CompletingRebalance));
    joined
}

#[test]
fn an_assignment_is_answered_when_it_is_durable() {
    let mut bench = Bench::new();
    let joined = completing(&mut bench, &[Client::new(), Client::new(), Client::new()]);
    bench.instant = false;
    let follower = bench.sync(&joined[1].member, None, 1, &[]);
    let given: [(&str, &[u8]); 3] =
        [(&joined[0].member, b"x"), (&joined[1].member, b"y"), ("nobody", b"z")];
    let leader = bench.sync(&joined[0].member, None, 1, &given);
    assert_eq!((bench.replies.len(), bench.state()), (0, Some(GroupState::CompletingRebalance)));
    bench.make_durable(1);
    assert_eq!(bench.synced(leader), Ok(b"x".to_vec()));
    assert_eq!(bench.synced(follower), Ok(b"y".to_vec()));
    assert_eq!(bench.state(), Some(GroupState::Stable));
    let late = bench.sync(&joined[2].member, None, 1, &[]);
    assert_eq!(bench.synced(late), Ok(vec![]), "who was given nothing gets nothing");
}

#[test]
fn a_generation_has_one_assignment() {
    let mut bench = Bench::new();
    let joined = completing(&mut bench, &[Client::new()]);
    bench.instant = false;
    let member = &*joined[0].member;
    let first = bench.sync(member, None, 1, &[(member, b"first")]);
    let second = bench.sync(member, None, 1, &[(member, b"second")]);
    assert_eq!(bench.synced(first), Err(GroupError::RebalanceInProgress), "it was repeated");
    assert_eq!(bench.appended.len(), 1);
    bench.make_durable(1);
    assert_eq!(bench.synced(second), Ok(b"first".to_vec()));
}

#[test]
fn an_assignment_that_comes_too_late_is_dropped() {
    let mut bench = Bench::new();
    let client = Client::new();
    let joined = completing(&mut bench, std::slice::from_ref(&client));
    bench.instant = false;
    let member = &*joined[0].member;
    let token = bench.sync(member, None, 1, &[(member, b"old")]);
    let (new, _) = bench.join_as_told(&Client { version: 3, ..Client::new() });
    assert_eq!(bench.synced(token), Err(GroupError::RebalanceInProgress));
    bench.make_durable(1);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    let again = bench.join(&client.named(member));
    assert_eq!(bench.joined(again).generation, 2);
    assert_eq!(bench.joined(new).generation, 2);
    let members = bench.groups.describe(GROUP).unwrap().members;
    assert!(members.iter().all(|member| member.assignment.is_empty()));
}

#[test]
fn requests_are_checked() {
    let mut bench = Bench::new();
    let token = bench.sync("x", None, 1, &[]);
    assert_eq!(bench.synced(token), Err(GroupError::UnknownMember));
    let joined = completing(&mut bench, &[Client::new()]);
    let member = &*joined[0].member;
    let token = bench.sync("x", None, 1, &[]);
    assert_eq!(bench.synced(token), Err(GroupError::UnknownMember));
    let token = bench.sync(member, None, 2, &[]);
    assert_eq!(bench.synced(token), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.heartbeat(member, 0), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.heartbeat(member, 1), Ok(()), "also while the assignment is missing");
    for (protocol_type, protocol) in [(Some("connect"), None), (None, Some("sticky"))] {
        let token = bench.token();
        let request = SyncRequest {
            group: GROUP,
            member,
            instance: None,
            generation: 1,
            protocol_type,
            protocol,
            assignments: &[],
        };
        bench.groups.sync(bench.at, &request, token);
        bench.drain();
        assert_eq!(bench.synced(token), Err(GroupError::InconsistentProtocol));
    }
}

#[test]
fn who_does_not_sync_in_time_is_out() {
    let mut bench = Bench::new();
    let client = Client { rebalance_ms: 5_000, ..Client::new() };
    let joined = completing(&mut bench, &[client.clone(), client.clone()]);
    let waiting = bench.sync(&joined[1].member, None, 1, &[]);
    bench.pass_ms(4_999);
    assert!(bench.replies.is_empty());
    bench.pass_ms(1);
    assert_eq!(bench.synced(waiting), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Err(GroupError::UnknownMember));
    let again = bench.join(&client.named(&joined[1].member));
    assert_eq!(bench.joined(again).leader, joined[1].member);
}

#[test]
fn also_in_a_stable_group() {
    let mut bench = Bench::new();
    let client = Client { rebalance_ms: 5_000, ..Client::new() };
    let joined = completing(&mut bench, &[client.clone(), client]);
    let token = bench.sync(&joined[0].member, None, 1, &[]);
    assert_eq!(bench.synced(token), Ok(vec![]));
    bench.pass_ms(4_999);
    assert_eq!(bench.state(), Some(GroupState::Stable));
    bench.pass_ms(1);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Err(GroupError::UnknownMember));
}

#[test]
fn everybody_synced_so_nobody_is_out() {
    let mut bench = Bench::new();
    let client = Client { rebalance_ms: 5_000, ..Client::new() };
    let joined = bench.stable(&[client.clone(), client]);
    bench.pass_ms(5_000);
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Ok(()));
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Ok(()));
}

#[test]
fn a_member_that_waits_for_its_assignment_needs_no_heartbeat() {
    let mut bench = Bench::new();
    let joined = completing(
        &mut bench,
        &[
            Client { session_ms: 50_000, ..Client::new() },
            Client { session_ms: 50_000, ..Client::new() },
        ],
    );
    let waiting = bench.sync(&joined[1].member, None, 1, &[]);
    for _ in 0..2 {
        bench.pass_ms(29_000);
        assert_eq!(bench.heartbeat(&joined[0].member, 1), Ok(()));
    }
    let leader = bench.sync(&joined[0].member, None, 1, &[]);
    assert_eq!((bench.synced(leader), bench.synced(waiting)), (Ok(vec![]), Ok(vec![])));
    bench.pass_ms(49_999);
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Ok(()), "its session began anew");
}

#[test]
fn a_rebalancing_group_has_no_assignment() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new(), Client::new()]);
    bench.join_as_told(&Client::new());
    let token = bench.sync(&joined[0].member, None, 1, &[]);
    assert_eq!(bench.synced(token), Err(GroupError::RebalanceInProgress));
}

#[test]
fn a_description_tells_what_a_state_has() {
    let mut bench = Bench::new();
    assert_eq!(bench.groups.describe(GROUP), None);
    let clients = [Client::new()];
    let joined = completing(&mut bench, &clients);
    let description = bench.groups.describe(GROUP).unwrap();
    assert_eq!((description.protocol, description.members[0].metadata.len()), (None, 0));
    bench.assign(&clients, &joined);
    let description = bench.groups.describe(GROUP).unwrap();
    assert_eq!(description.protocol.as_deref(), Some("range"));
    assert_eq!(*description.members[0].metadata, *subscription::subscription(&["a"]));
    assert_eq!(*description.members[0].assignment, [0]);
    assert_eq!(&*description.members[0].client_host, "/10.0.0.1");
    let listed: Vec<_> = bench.groups.list().collect();
    assert_eq!((listed.len(), listed[0].protocol_type), (1, "consumer"));
    assert_eq!(listed[0].state.to_string(), "Stable");
}
