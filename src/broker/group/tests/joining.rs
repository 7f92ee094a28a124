//! JoinGroup and the phases of a rebalance.

use super::*;

#[test]
fn a_dynamic_member_joins_in_two_steps() {
    let mut bench = Bench::new();
    let token = bench.join(&Client::new());
    let GroupError::MemberIdRequired(id) = bench.join_error(token) else { panic!() };
    assert!(id.starts_with("client-") && id.len() == "client-".len() + 36, "{id}");
    let token = bench.join(&Client::new().named(&id));
    assert_eq!(bench.replies.len(), 0, "the first rebalance is delayed");
    bench.pass_ms(3_000);
    let joined = bench.joined(token);
    assert_eq!((&*joined.member, joined.generation), (&*id, 1));
    assert_eq!((joined.leader, joined.protocol.as_deref()), (id.clone(), Some("range")));
    assert_eq!(joined.members.len(), 1);
}

#[test]
fn an_old_client_joins_in_one_step() {
    let mut bench = Bench::new();
    let token = bench.join(&Client { version: 3, ..Client::new() });
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(token).generation, 1);
}

#[test]
fn requests_are_checked() {
    let mut bench = Bench::new();
    let refused = |bench: &mut Bench, client: &Client| {
        let token = bench.join(client);
        bench.join_error(token)
    };
    for session_ms in [5_999, 1_800_001] {
        let client = Client { session_ms, ..Client::new() };
        assert_eq!(refused(&mut bench, &client), GroupError::InvalidSessionTimeout);
    }
    assert_eq!(refused(&mut bench, &Client::new().named("x")), GroupError::UnknownMember);
    let nothing = Client { protocols: Vec::new(), ..Client::new() };
    assert_eq!(refused(&mut bench, &nothing), GroupError::InconsistentProtocol);
    let untyped = Client { protocol_type: String::new(), ..Client::new() };
    assert_eq!(refused(&mut bench, &untyped), GroupError::InconsistentProtocol);
    assert_eq!(bench.state(), None, "a refused join leaves no group behind");
    assert_eq!(bench.groups.next_deadline(), None, "nor a timer");
}

#[test]
fn a_group_needs_a_name_to_have_members() {
    let mut bench = Bench::new();
    let sender = Sender { member: "x", instance: None, generation: 1 };
    assert_eq!(bench.groups.heartbeat(bench.at, "", &sender), Err(GroupError::InvalidGroupId));
}

#[test]
fn a_member_must_share_a_protocol_with_all_others() {
    let mut bench = Bench::new();
    bench.stable(&[Client::offering(&[("range", b""), ("sticky", b"")])]);
    let other = bench.join(&Client::offering(&[("roundrobin", b"")]));
    assert_eq!(bench.join_error(other), GroupError::InconsistentProtocol);
    let connect = Client { protocol_type: "connect".into(), ..Client::offering(&[("range", b"")]) };
    let other = bench.join(&connect);
    assert_eq!(bench.join_error(other), GroupError::InconsistentProtocol);
    let other = bench.join(&Client::offering(&[("x", b""), ("sticky", b"")]));
    assert!(matches!(bench.join_error(other), GroupError::MemberIdRequired(_)));
}

#[test]
fn most_members_choose_the_protocol() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[
        Client::offering(&[("range", b"1"), ("sticky", b"2")]),
        Client::offering(&[("only", b"3"), ("sticky", b"4"), ("range", b"5")]),
        Client::offering(&[("sticky", b"6"), ("range", b"7"), ("sticky", b"8")]),
    ]);
    let mut metadata: Vec<&[u8]> =
        joined[0].members.iter().map(|member| &*member.metadata).collect();
    metadata.sort_unstable();
    assert_eq!(joined[0].protocol.as_deref(), Some("sticky"));
    assert_eq!(metadata, [b"2", b"4", b"6"]);
    assert!(joined[1..].iter().all(|follower| follower.members.is_empty()));
}

#[test]
fn the_first_rebalance_waits_while_members_come() {
    let mut bench = Bench::new();
    let client = Client { rebalance_ms: 8_000, ..Client::new() };
    let (first, _) = bench.join_as_told(&client);
    bench.pass_ms(2_900);
    let (second, _) = bench.join_as_told(&client);
    bench.pass_ms(3_000);
    assert!(bench.replies.is_empty());
    let (third, _) = bench.join_as_told(&client);
    bench.pass_ms(2_000);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    bench.pass_ms(101);
    // At most the rebalance timeout in all: 3 s, 3 s, 2 s.
    for token in [first, second, third] {
        assert_eq!(bench.joined(token).generation, 1);
    }
}

#[test]
fn without_a_delay_the_first_member_is_answered_at_once() {
    let settings =
        GroupSettings { initial_rebalance_delay: Duration::ZERO, ..GroupSettings::default() };
    let mut bench = Bench::with(settings, 1);
    let (token, _) = bench.join_as_told(&Client::new());
    assert_eq!(bench.joined(token).generation, 1);
}

#[test]
fn a_rebalance_waits_for_every_member_and_drops_the_late() {
    let mut bench = Bench::new();
    let clients = [(); 2].map(|()| Client { rebalance_ms: 7_000, ..Client::new() });
    let joined = bench.stable(&clients);
    let (new, _) = bench.join_as_told(&clients[0]);
    assert_eq!(
        bench.heartbeat(&joined[0].member, 1),
        Err(GroupError::RebalanceInProgress),
        "members learn it from their heartbeats"
    );
    let again = bench.join(&clients[0].named(&joined[0].member));
    bench.pass_ms(6_999);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    bench.pass_ms(1);
    assert_eq!(bench.joined(again).generation, 2);
    assert_eq!(bench.joined(new).generation, 2);
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Err(GroupError::UnknownMember));
}

#[test]
fn a_pending_member_is_waited_for_as_long_as_its_session() {
    let mut bench = Bench::new();
    let client = Client { version: 3, ..Client::new() };
    let joined = bench.stable(std::slice::from_ref(&client));
    let pending = bench.join(&Client { session_ms: 6_000, ..Client::new() });
    let GroupError::MemberIdRequired(pending) = bench.join_error(pending) else { panic!() };
    assert_eq!(bench.state(), Some(GroupState::Stable), "it is no member yet");
    let again = bench.join(&client.named(&joined[0].member));
    bench.pass_ms(5_999);
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    bench.pass_ms(1);
    assert_eq!(bench.joined(again).generation, 2);
    let late = bench.join(&Client::new().named(&pending));
    assert_eq!(bench.join_error(late), GroupError::UnknownMember);
}

#[test]
fn a_pending_member_that_never_joins_leaves_nothing_behind() {
    let mut bench = Bench::new();
    bench.join(&Client::new());
    assert_eq!(bench.state(), Some(GroupState::Empty));
    bench.pass_ms(10_000);
    assert_eq!((bench.state(), bench.groups.next_deadline()), (None, None));
}

#[test]
fn a_silent_member_is_out_and_the_group_rebalances() {
    let mut bench = Bench::new();
    let clients = [Client::new(), Client::new()];
    let joined = bench.stable(&clients);
    bench.pass_ms(9_999);
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Ok(()));
    bench.pass_ms(1);
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Err(GroupError::UnknownMember));
    let again = bench.join(&clients[0].named(&joined[0].member));
    let again = bench.joined(again);
    assert_eq!((again.generation, again.members.len()), (2, 1));
}

#[test]
fn a_new_member_whose_client_is_gone_is_forgotten() {
    let settings = GroupSettings {
        initial_rebalance_delay: Duration::from_secs(400),
        ..GroupSettings::default()
    };
    let mut bench = Bench::with(settings, 1);
    let token = bench.join(&Client { version: 3, rebalance_ms: 500_000, ..Client::new() });
    bench.pass_ms(299_999);
    assert!(bench.replies.is_empty());
    bench.pass_ms(1);
    assert_eq!(bench.join_error(token), GroupError::UnknownMember);
}

#[test]
fn a_member_that_waits_for_the_others_needs_no_heartbeat() {
    let mut bench = Bench::new();
    let clients = [Client::new(), Client { session_ms: 60_000, ..Client::new() }];
    let joined = bench.stable(&clients);
    let again = bench.join(&clients[0].named(&joined[0].member));
    bench.pass_ms(59_999);
    assert!(bench.replies.is_empty());
    bench.pass_ms(1);
    assert_eq!(bench.joined(again).generation, 2);
}

#[test]
fn a_member_that_lost_its_answer_gets_it_again() {
    let mut bench = Bench::new();
    let (token, client) = bench.join_as_told(&Client::new());
    bench.pass_ms(3_000);
    let joined = bench.joined(token);
    let again = bench.join(&client);
    assert_eq!(bench.joined(again), joined, "while the assignment is missing");
    let mut other = client.clone();
    other.protocols[0].1 = subscription::subscription(&["b"]);
    let again = bench.join(&other);
    assert_eq!(bench.joined(again).generation, 2, "with other metadata it is another generation");
}

#[test]
fn in_a_stable_group_a_leader_rebalances_and_a_follower_need_not() {
    let mut bench = Bench::new();
    let clients = [Client::new(), Client::new()];
    let joined = bench.stable(&clients);
    let again = bench.join(&clients[1].named(&joined[1].member));
    assert_eq!(bench.joined(again), joined[1]);
    bench.join(&clients[0].named(&joined[0].member));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
}

#[test]
fn a_repeated_join_answers_the_earlier_one() {
    let mut bench = Bench::new();
    let (first, client) = bench.join_as_told(&Client::new());
    let second = bench.join(&client);
    assert_eq!(bench.join_error(first), GroupError::RebalanceInProgress);
    bench.pass_ms(3_000);
    assert_eq!(bench.joined(second).generation, 1);
}

#[test]
fn a_full_group_turns_members_away() {
    let mut bench = Bench::with(GroupSettings { max_size: 2, ..GroupSettings::default() }, 1);
    let clients = [Client::new(), Client::new()];
    let joined = bench.stable(&clients);
    let third = bench.join(&Client::new());
    assert_eq!(bench.join_error(third), GroupError::GroupMaxSize);
    let static_one = bench.join(&Client::of("i"));
    assert_eq!(bench.join_error(static_one), GroupError::GroupMaxSize);
    for member in &joined {
        assert_eq!(bench.heartbeat(&member.member, 1), Ok(()));
    }
    assert_eq!(bench.state(), Some(GroupState::Stable));
}

#[test]
fn a_full_group_takes_a_static_member_back() {
    let mut bench = Bench::with(GroupSettings { max_size: 2, ..GroupSettings::default() }, 1);
    let clients = [Client::new(), Client::of("i")];
    bench.stable(&clients);
    let token = bench.join(&clients[1]);
    assert_eq!(bench.joined(token).generation, 1);
}

#[test]
fn a_group_may_be_large() {
    let mut bench = Bench::new();
    let clients = vec![Client { version: 3, ..Client::new() }; 10_000];
    let joined = bench.stable(&clients);
    assert_eq!(joined[0].members.len(), 10_000);
    for member in &joined {
        assert_eq!(bench.heartbeat(&member.member, 1), Ok(()));
    }
    bench.pass_ms(10_000);
    assert_eq!(bench.state(), Some(GroupState::Empty), "everybody fell silent");
}

#[test]
fn a_shard_holds_so_many_groups() {
    let mut bench = Bench::with(GroupSettings { max_groups: 0, ..GroupSettings::default() }, 1);
    let token = bench.join(&Client::new());
    assert_eq!(bench.join_error(token), GroupError::TooManyGroups);
    let token = bench.commit(Sender::SIMPLE, &[(at('a', 0), 1)]);
    assert_eq!(bench.commit_result(token), Err(GroupError::TooManyGroups));
}

#[test]
fn a_later_leader_is_one_that_joined() {
    let mut bench = Bench::new();
    let clients = [Client::new(), Client::new()];
    let joined = bench.stable(&clients);
    let leaving = bench.leave(&joined[0].member, None);
    assert_eq!(bench.left(leaving), Ok(vec![Ok(())]));
    let other = &joined[1].member;
    let again = bench.join(&clients[0].named(other));
    let again = bench.joined(again);
    assert_eq!((&again.leader, again.members.len()), (other, 1));
}

#[test]
fn a_group_takes_no_more_metadata_than_a_record_holds() {
    let settings = GroupSettings { metadata_max_bytes: 1_000, ..GroupSettings::default() };
    let mut bench = Bench::with(settings, 1);
    let (token, client) = bench.join_as_told(&Client::new());
    bench.pass_join_phase();
    let joined = bench.joined(token);
    let token = bench.sync(&joined.member, None, 1, &[(&joined.member, &[0; 1_000])]);
    assert_eq!(bench.synced(token), Err(GroupError::MetadataTooLarge));
    // It may come again with less.
    let token = bench.sync(&joined.member, None, 1, &[(&joined.member, b"all")]);
    bench.make_durable(1);
    assert_eq!(bench.synced(token), Ok(b"all".to_vec()));
    drop(client);
}

#[test]
fn a_group_gives_out_as_many_ids_as_it_may_have_members() {
    let mut bench = Bench::with(GroupSettings { max_size: 2, ..GroupSettings::default() }, 1);
    let patient = Client { session_ms: 1_800_000, ..Client::new() };
    let (first, second, third) = (bench.join(&patient), bench.join(&patient), bench.join(&patient));
    assert_eq!(bench.join_error(third), GroupError::GroupMaxSize);
    assert_eq!(bench.state(), Some(GroupState::Empty));
    let joined = [first, second].map(|token| {
        let GroupError::MemberIdRequired(id) = bench.join_error(token) else { panic!() };
        let joined = bench.join(&patient.named(&id));
        let another = bench.join(&patient);
        assert_eq!(bench.join_error(another), GroupError::GroupMaxSize);
        joined
    });
    bench.pass_join_phase();
    assert!(joined.into_iter().all(|token| bench.joined(token).generation == 1));
}

#[test]
fn a_member_that_tells_more_than_a_record_holds_is_refused() {
    let settings = GroupSettings { metadata_max_bytes: 1_000, ..GroupSettings::default() };
    let mut bench = Bench::with(settings, 1);
    let telling =
        |bytes: usize| Client { version: 3, ..Client::offering(&[("range", &vec![0; bytes])]) };
    let too_large = bench.join(&telling(1_000));
    assert_eq!(bench.join_error(too_large), GroupError::MetadataTooLarge);
    assert_eq!(bench.state(), None, "nothing is left behind");
    let joined = bench.stable(&[telling(300), telling(300)]);
    let third = bench.join(&telling(300));
    assert_eq!(bench.join_error(third), GroupError::MetadataTooLarge);
    let leader = &joined[0].leader;
    let more = bench.join(&telling(700).named(leader));
    assert_eq!(bench.join_error(more), GroupError::MetadataTooLarge);
    assert_eq!(bench.state(), Some(GroupState::Stable));
    // What it told before does not count beside what it tells now.
    bench.join(&telling(400).named(leader));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
}
