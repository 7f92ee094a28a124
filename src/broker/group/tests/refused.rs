//! Records that the log does not take.

use super::*;

const ERROR: GroupError = GroupError::MetadataTooLarge;

/// The log refuses the next records.
fn refuse(bench: &mut Bench) {
    let append = bench.appended.remove(0);
    bench.groups.refused(append.token, bench.at);
    bench.drain();
}

#[test]
fn a_refused_commit_leaves_nothing_and_those_around_it_count() {
    let mut bench = Bench::new();
    bench.instant = false;
    let commits: Vec<_> =
        (5..8).map(|offset| bench.commit(Sender::SIMPLE, &[(at('a', 0), offset)])).collect();
    let second = bench.appended.remove(1);
    bench.groups.refused(second.token, bench.at);
    bench.make_durable(1);
    assert_eq!(bench.commit_result(commits[0]), Ok(vec![Ok(())]));
    assert_eq!(bench.commit_result(commits[1]), Err(ERROR));
    assert_eq!(bench.offset(at('a', 0)), Some(5));
    bench.make_durable(1);
    assert_eq!(bench.commit_result(commits[2]), Ok(vec![Ok(())]));
    assert_eq!(bench.offset(at('a', 0)), Some(7));
}

#[test]
fn a_group_whose_first_commit_is_refused_is_gone() {
    let mut bench = Bench::new();
    bench.instant = false;
    let token = bench.commit(Sender::SIMPLE, &[(at('a', 0), 5)]);
    refuse(&mut bench);
    assert_eq!(bench.commit_result(token), Err(ERROR));
    assert_eq!((bench.state(), bench.groups.next_deadline()), (None, None));
}

#[test]
fn members_whose_assignment_is_refused_join_again() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::of("j")];
    let tokens = clients.each_ref().map(|client| bench.join(client));
    bench.pass_join_phase();
    let joined = tokens.map(|token| bench.joined(token));
    bench.instant = false;
    let [leader, other] = [&joined[0].member, &joined[1].member];
    let follower = bench.sync(other, Some("j"), 1, &[]);
    let assigner = bench.sync(leader, Some("i"), 1, &[(other, b"y")]);
    refuse(&mut bench);
    assert_eq!(bench.synced(follower), Err(ERROR));
    assert_eq!(bench.synced(assigner), Err(ERROR));
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    bench.instant = true;
    let named = [clients[0].named(leader), clients[1].named(other)];
    let tokens = named.each_ref().map(|client| bench.join(client));
    let joined = tokens.map(|token| bench.joined(token));
    assert_eq!(joined[0].generation, 2);
    bench.assign(&named, &joined);
}

#[test]
fn a_static_member_whose_new_id_is_refused_may_come_again() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::of("j")];
    bench.stable(&clients);
    bench.instant = false;
    let token = bench.join(&clients[1]);
    refuse(&mut bench);
    assert_eq!(bench.join_error(token), ERROR);
    let again = bench.join(&clients[1]);
    bench.make_durable(1);
    assert_eq!((bench.joined(again).generation, bench.state()), (1, Some(GroupState::Stable)));
}

#[test]
fn a_group_whose_deletion_is_refused_stays() {
    let mut bench = Bench::new();
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 5)]);
    bench.instant = false;
    let token = bench.token();
    bench.groups.delete_group(bench.at, GROUP, token);
    bench.drain();
    refuse(&mut bench);
    assert_eq!(bench.replies.remove(&token), Some(Reply::DeleteGroup(Err(ERROR))));
    assert_eq!((bench.state(), bench.offset(at('a', 0))), (Some(GroupState::Empty), Some(5)));
}

#[test]
fn ids_are_no_longer_than_can_be_told() {
    let mut bench = Bench::new();
    let long = Client { version: 9, ..Client::of(&"ä".repeat(16_000)) };
    let token = bench.join(&long);
    bench.pass_join_phase();
    assert!(bench.joined(token).member.len() < i16::MAX as usize);
}
