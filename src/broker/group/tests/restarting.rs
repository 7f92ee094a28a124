//! What a restart finds.

use super::*;

#[test]
fn members_of_a_stable_group_carry_on() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::new()];
    let joined = bench.stable(&clients);
    bench.commit(sender(&joined[1]), &[(at('a', 0), 5)]);
    bench.restart();
    assert_eq!((bench.state(), bench.generation()), (Some(GroupState::Stable), 1));
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Ok(()));
    let token = bench.sync(&joined[1].member, None, 1, &[]);
    assert_eq!(bench.synced(token), Ok(vec![1]));
    let token = bench.commit(sender(&joined[1]), &[(at('a', 0), 6)]);
    assert_eq!(bench.commit_result(token), Ok(vec![Ok(())]));
    let token = bench.join(&clients[0]);
    let again = bench.joined(token);
    assert_eq!((again.leader, again.generation), (again.member, 1), "the leader leads");
    bench.pass_ms(10_000);
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Err(GroupError::UnknownMember));
}

#[test]
fn a_generation_without_a_durable_assignment_is_lost() {
    let mut bench = Bench::new();
    let client = Client::new();
    let joined = bench.stable(std::slice::from_ref(&client));
    let again = bench.join(&client.named(&joined[0].member));
    let again = bench.joined(again);
    bench.instant = false;
    bench.sync(&again.member, None, 2, &[]);
    bench.restart();
    assert_eq!(bench.heartbeat(&again.member, 2), Err(GroupError::IllegalGeneration));
    assert_eq!(bench.heartbeat(&again.member, 1), Ok(()));
    let again = bench.join(&client.named(&joined[0].member));
    assert_eq!(bench.joined(again).generation, 2);
}

#[test]
fn a_group_larger_than_it_may_be_rebalances() {
    let mut bench = Bench::new();
    let clients = [(); 3].map(|()| Client { rebalance_ms: 5_000, ..Client::new() });
    let joined = bench.stable(&clients);
    bench.settings.max_size = 2;
    bench.restart();
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    let tokens: Vec<_> = clients
        .iter()
        .zip(&joined)
        .map(|(client, joined)| bench.join(&client.named(&joined.member)))
        .collect();
    assert_eq!(bench.join_error(tokens[2]), GroupError::GroupMaxSize);
    assert_eq!(bench.joined(tokens[0]).generation, 2, "who has a place does not wait");
    assert_eq!(bench.joined(tokens[1]).generation, 2);
}

#[test]
fn members_still_offer_what_was_not_chosen() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::offering(&[("sticky", b""), ("range", b"")])]);
    assert_eq!(joined[0].protocol.as_deref(), Some("sticky"));
    bench.restart();
    let token = bench.join(&Client::offering(&[("range", b"")]));
    assert!(matches!(bench.join_error(token), GroupError::MemberIdRequired(_)));
}

#[test]
fn a_snapshot_is_what_the_log_comes_to() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new(), Client::of("i")]);
    for offset in 0..10 {
        bench.commit(sender(&joined[0]), &[(at('a', 0), offset), (at('b', 1), offset)]);
    }
    bench.instant = false;
    bench.commit(sender(&joined[0]), &[(at('a', 0), 99)]);
    let snapshot: Vec<_> = bench.groups.snapshot().collect();
    assert_eq!(snapshot, bench.replayed().snapshot().collect::<Vec<_>>());
    assert_eq!(snapshot.len(), 2, "the generation, and the last offsets");
    // A checkpoint may be older than the records that are replayed after it.
    for from in 0..bench.log.len() {
        let mut groups = bench.replayed();
        bench.log[from..].iter().for_each(|record| groups.replay(record));
        assert_eq!(groups.snapshot().collect::<Vec<_>>(), snapshot, "from record {from}");
    }
}

#[test]
fn checks_after_a_start_are_spread() {
    let mut bench = Bench::new();
    for group in 0..10 {
        let metadata = GroupMetadata {
            group: group.to_string().into(),
            generation: 1,
            protocol_type: Some("consumer".into()),
            protocol: None,
            leader: None,
            state_ms: 0,
            members: Vec::new(),
        };
        bench.log.push(GroupRecord::Metadata(metadata.into()));
    }
    bench.restart();
    assert_eq!(bench.groups.list().count(), 10);
    bench.pass_ms(60_000);
    assert_eq!(bench.groups.list().count(), 9);
    bench.pass_ms(540_000);
    assert_eq!(bench.groups.list().count(), 0);
}
