//! Static members (KIP-345, 814).

use super::*;

/// A stable group of static members: `i`, which leads, and `j`.
fn stable() -> (Bench, [Client; 2], Vec<Joined>) {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::of("j")];
    let joined = bench.stable(&clients);
    (bench, clients, joined)
}

#[test]
fn a_static_member_joins_in_one_step_under_its_own_name() {
    let mut bench = Bench::new();
    let token = bench.join(&Client::of("i"));
    bench.pass_ms(3_000);
    let joined = bench.joined(token);
    assert!(joined.member.starts_with("i-"));
    assert_eq!(joined.members[0].instance.as_deref(), Some("i"));
}

#[test]
fn a_returning_member_takes_over_without_a_rebalance() {
    let (mut bench, clients, joined) = stable();
    let token = bench.join(&clients[1]);
    let again = bench.joined(token);
    assert_ne!(again.member, joined[1].member);
    assert_eq!((again.generation, bench.state()), (1, Some(GroupState::Stable)));
    assert!(!again.skip_assignment && again.members.is_empty());
    let token = bench.sync(&again.member, Some("j"), 1, &[]);
    assert_eq!(bench.synced(token), Ok(vec![1]), "it keeps its assignment");
    assert_eq!(bench.heartbeat(&again.member, 1), Ok(()));
}

#[test]
fn the_former_self_is_fenced() {
    let (mut bench, clients, joined) = stable();
    let old = joined[0].member.clone();
    bench.join(&clients[0]);
    let instance = Some("i");
    let former = Sender { member: &old, instance, generation: 1 };
    let fenced = Err(GroupError::FencedInstanceId);
    assert_eq!(bench.groups.heartbeat(bench.at, GROUP, &former), fenced);
    let token = bench.sync(&old, instance, 1, &[]);
    assert_eq!(bench.synced(token), Err(GroupError::FencedInstanceId));
    let token = bench.commit(former, &[(at('a', 0), 1)]);
    assert_eq!(bench.commit_result(token), Err(GroupError::FencedInstanceId));
    let token = bench.leave(&old, instance);
    assert_eq!(bench.left(token), Ok(vec![Err(GroupError::FencedInstanceId)]));
    let token = bench.join(&clients[0].named(&old));
    assert_eq!(bench.join_error(token), GroupError::FencedInstanceId);
    assert_eq!(bench.heartbeat(&old, 1), Err(GroupError::UnknownMember));
    let nobody = Sender { member: &old, instance: Some("k"), generation: 1 };
    let unknown = Err(GroupError::UnknownMember);
    assert_eq!(bench.groups.heartbeat(bench.at, GROUP, &nobody), unknown);
}

#[test]
fn a_returning_leader_need_not_assign() {
    let (mut bench, clients, _) = stable();
    let token = bench.join(&clients[0]);
    let again = bench.joined(token);
    assert!(again.skip_assignment, "but it may watch the subscriptions");
    assert_eq!((&again.leader, again.members.len()), (&again.member, 2));
}

#[test]
fn an_older_returning_leader_is_told_that_its_former_self_leads() {
    let (mut bench, clients, joined) = stable();
    let token = bench.join(&Client { version: 8, ..clients[0].clone() });
    let again = bench.joined(token);
    assert_eq!(again.leader, joined[0].member);
    assert!(again.members.is_empty() && !again.skip_assignment);
    let token = bench.join(&Client { version: 8, ..clients[1].clone() });
    assert_eq!(bench.joined(token).leader, again.member);
}

#[test]
fn a_returning_member_is_answered_when_its_new_id_is_durable() {
    let (mut bench, clients, joined) = stable();
    bench.instant = false;
    let token = bench.join(&clients[0]);
    assert_eq!(bench.replies.len(), 0);
    // A slow log does not end the session of who waits for it.
    for _ in 0..2 {
        bench.pass_ms(9_000);
        let other = Sender { member: &joined[1].member, instance: Some("j"), generation: 1 };
        assert_eq!(bench.groups.heartbeat(bench.at, GROUP, &other), Ok(()));
    }
    bench.make_durable(1);
    let again = bench.joined(token);
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Err(GroupError::UnknownMember));
    let Some(GroupRecord::Metadata(metadata)) = bench.log.last() else { panic!() };
    assert!(metadata.members.iter().any(|member| member.member == again.member));
    assert!(metadata.members.iter().all(|member| member.assignment.len() == 1));
}

#[test]
fn a_rebalance_meanwhile_answers_the_returning_member() {
    let (mut bench, clients, joined) = stable();
    bench.instant = false;
    let token = bench.join(&clients[1]);
    let other = bench.join(&clients[0].named(&joined[0].member));
    assert_eq!(bench.joined(token).generation, 2, "both joined");
    assert_eq!(bench.joined(other).generation, 2);
    bench.make_durable(1);
    assert!(bench.replies.is_empty(), "the record that comes late changes nothing");
}

#[test]
fn a_returning_member_is_not_answered_while_others_are_waited_for() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::of("j"), Client::of("k")];
    let joined = bench.stable(&clients);
    bench.instant = false;
    let token = bench.join(&clients[1]);
    bench.join(&clients[0].named(&joined[0].member));
    bench.make_durable(1);
    assert!(bench.replies.is_empty());
    bench.join(&clients[2].named(&joined[2].member));
    assert_eq!(bench.joined(token).generation, 2);
}

#[test]
fn a_returning_member_has_to_sync_if_its_former_self_did_not() {
    let mut bench = Bench::new();
    let clients = ["i", "j"].map(|instance| Client { rebalance_ms: 5_000, ..Client::of(instance) });
    let tokens = clients.clone().map(|client| bench.join(&client));
    bench.pass_join_phase();
    let joined = tokens.map(|token| bench.joined(token));
    bench.sync(&joined[0].member, Some("i"), 1, &[]);
    let token = bench.join(&clients[1]);
    let again = bench.joined(token);
    bench.pass_ms(5_000);
    assert_eq!(bench.heartbeat(&again.member, 1), Err(GroupError::UnknownMember));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
}

#[test]
fn a_change_of_protocol_is_a_rebalance() {
    let mut bench = Bench::new();
    let offer = |instance: &str, protocols| Client {
        instance: Some(instance.into()),
        ..Client::offering(protocols)
    };
    let clients = [
        offer("i", &[("range", b""), ("sticky", b"")]),
        offer("j", &[("range", b""), ("sticky", b"")]),
    ];
    bench.stable(&clients);
    bench.join(&offer("i", &[("sticky", b"")]));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
}

#[test]
fn while_the_leader_assigns_a_return_is_a_rebalance() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::of("j")];
    let tokens = clients.clone().map(|client| bench.join(&client));
    bench.pass_join_phase();
    let joined = tokens.map(|token| bench.joined(token));
    let waiting = bench.sync(&joined[1].member, Some("j"), 1, &[]);
    let token = bench.join(&clients[1]);
    assert_eq!(bench.synced(waiting), Err(GroupError::FencedInstanceId));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    bench.join(&clients[0].named(&joined[0].member));
    assert_eq!(bench.joined(token).generation, 2);
}

#[test]
fn a_second_return_fences_the_first() {
    let mut bench = Bench::new();
    let first = bench.join(&Client::of("i"));
    let second = bench.join(&Client::of("i"));
    assert_eq!(bench.join_error(first), GroupError::FencedInstanceId);
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(second).members.len(), 1);
}

#[test]
fn an_absent_static_member_keeps_its_place_until_its_session_ends() {
    let mut bench = Bench::new();
    let clients = [
        Client { rebalance_ms: 5_000, ..Client::of("i") },
        Client { rebalance_ms: 5_000, session_ms: 60_000, ..Client::of("j") },
    ];
    let joined = bench.stable(&clients);
    let again = bench.join(&clients[0].named(&joined[0].member));
    bench.pass_ms(5_000);
    let again = bench.joined(again);
    assert_eq!((again.generation, again.members.len()), (2, 2));
    // It does not sync either, and that ends its membership.
    let given: [(&str, &[u8]); 1] = [(&again.member, b"all")];
    let token = bench.sync(&again.member, Some("i"), 2, &given);
    assert_eq!(bench.synced(token), Ok(b"all".to_vec()));
    bench.pass_ms(5_000);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
}

#[test]
fn with_only_absent_static_members_a_rebalance_waits() {
    let mut bench = Bench::new();
    let clients = [
        Client { rebalance_ms: 4_000, session_ms: 20_000, ..Client::of("i") },
        Client { rebalance_ms: 4_000, ..Client::new() },
    ];
    let joined = bench.stable(&clients);
    bench.leave(&joined[1].member, None);
    bench.pass_ms(8_000);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    let token = bench.join(&clients[0]);
    assert_eq!(bench.joined(token).generation, 2);
}

#[test]
fn an_id_given_to_a_dynamic_member_is_not_for_a_static_one() {
    let mut bench = Bench::new();
    let token = bench.join(&Client::new());
    let GroupError::MemberIdRequired(id) = bench.join_error(token) else { panic!() };
    let token = bench.join(&Client::of("i").named(&id));
    assert_eq!(bench.join_error(token), GroupError::UnknownMember);
}
