//! LeaveGroup and DeleteGroups.

use super::*;

#[test]
fn the_last_member_leaves_an_empty_group() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    bench.instant = false;
    let token = bench.leave(&joined[0].member, None);
    assert_eq!((bench.state(), bench.replies.len()), (Some(GroupState::Empty), 0));
    bench.make_durable(1);
    assert_eq!(bench.left(token), Ok(vec![Ok(())]));
    let Some(GroupRecord::Metadata(metadata)) = bench.log.last() else { panic!() };
    assert_eq!((metadata.generation, metadata.members.len()), (2, 0));
    assert_eq!((&metadata.protocol, &metadata.leader), (&None, &None));
    assert_eq!(metadata.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(metadata.state_ms, bench.at.wall_ms);
}

#[test]
fn the_others_rebalance() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new(), Client::new()]);
    let token = bench.leave(&joined[0].member, None);
    assert_eq!(bench.left(token), Ok(vec![Ok(())]), "nothing durable depends on it");
    assert_eq!(bench.state(), Some(GroupState::PreparingRebalance));
    assert_eq!(bench.heartbeat(&joined[1].member, 1), Err(GroupError::RebalanceInProgress));
}

#[test]
fn several_leave_at_once_each_with_its_result() {
    let mut bench = Bench::new();
    let clients = [Client::of("i"), Client::new(), Client::of("j"), Client::new()];
    let joined = bench.stable(&clients);
    let leaving = |member, instance| LeavingMember { member, instance, reason: None };
    let token = bench.token();
    let members = [
        leaving("", Some("i")),
        leaving(&joined[1].member, None),
        leaving("", Some("k")),
        leaving("", None),
        leaving("x", None),
        leaving(&joined[1].member, Some("j")),
    ];
    bench.groups.leave(bench.at, GROUP, &members, token);
    bench.drain();
    let unknown = Err(GroupError::UnknownMember);
    let fenced = Err(GroupError::FencedInstanceId);
    let expected = vec![Ok(()), Ok(()), unknown.clone(), unknown.clone(), unknown, fenced];
    assert_eq!(bench.left(token), Ok(expected));
    assert_eq!(bench.groups.describe(GROUP).unwrap().members.len(), 2);
}

#[test]
fn an_unknown_group_has_no_members() {
    let mut bench = Bench::new();
    let token = bench.leave("x", None);
    assert_eq!(bench.left(token), Err(GroupError::UnknownMember));
}

#[test]
fn a_pending_member_leaves_without_a_rebalance() {
    let mut bench = Bench::new();
    let client = Client { version: 3, ..Client::new() };
    let joined = bench.stable(std::slice::from_ref(&client));
    let pending = bench.join(&Client::new());
    let GroupError::MemberIdRequired(pending) = bench.join_error(pending) else { panic!() };
    let token = bench.leave(&pending, None);
    assert_eq!(bench.left(token), Ok(vec![Ok(())]));
    assert_eq!(bench.state(), Some(GroupState::Stable));
    // While the group rebalances, it was waited for.
    let pending = bench.join(&Client::new());
    let GroupError::MemberIdRequired(pending) = bench.join_error(pending) else { panic!() };
    let again = bench.join(&client.named(&joined[0].member));
    bench.leave(&pending, None);
    assert_eq!(bench.joined(again).generation, 2);
}

#[test]
fn who_waits_when_it_leaves_is_answered() {
    let mut bench = Bench::new();
    let (token, client) = bench.join_as_told(&Client::new());
    bench.leave(&client.member, None);
    assert_eq!(bench.join_error(token), GroupError::UnknownMember);
    bench.pass_ms(3_000);
    assert_eq!(bench.state(), Some(GroupState::Empty));
}

#[test]
fn who_waits_for_its_assignment_when_it_leaves_is_answered() {
    let mut bench = Bench::new();
    let tokens = [(); 2].map(|()| bench.join_as_told(&Client::new()).0);
    bench.pass_join_phase();
    let joined = tokens.map(|token| bench.joined(token));
    let follower = joined.iter().find(|one| one.member != one.leader).unwrap();
    let token = bench.sync(&follower.member, None, 1, &[]);
    bench.leave(&follower.member, None);
    assert_eq!(bench.synced(token), Err(GroupError::UnknownMember));
}

fn delete(bench: &mut Bench) -> ReplyToken {
    let token = bench.token();
    bench.groups.delete_group(bench.at, GROUP, token);
    bench.drain();
    token
}

#[test]
fn only_a_group_without_members_can_be_deleted() {
    let mut bench = Bench::new();
    let token = delete(&mut bench);
    let failed = |error| Some(Reply::DeleteGroup(Err(error)));
    assert_eq!(bench.replies.remove(&token), failed(GroupError::GroupNotFound));
    let joined = bench.stable(&[Client::new()]);
    let token = delete(&mut bench);
    assert_eq!(bench.replies.remove(&token), failed(GroupError::NonEmptyGroup));
    let token = bench.commit(sender(&joined[0]), &[(at('a', 0), 5)]);
    assert_eq!(bench.commit_result(token), Ok(vec![Ok(())]));
    bench.leave(&joined[0].member, None);
    bench.instant = false;
    let token = delete(&mut bench);
    // Until that is durable it is dead: nothing new may enter it, and its offsets stand.
    assert_eq!((bench.state(), bench.offset(at('a', 0))), (Some(GroupState::Dead), Some(5)));
    let join = bench.join(&Client::new());
    assert_eq!(bench.join_error(join), GroupError::CoordinatorNotAvailable);
    let commit = bench.commit(Sender::SIMPLE, &[(at('a', 0), 6)]);
    assert_eq!(bench.commit_result(commit), Err(GroupError::CoordinatorNotAvailable));
    let again = delete(&mut bench);
    assert_eq!(bench.replies.remove(&again), failed(GroupError::GroupNotFound));
    bench.make_durable(1);
    assert_eq!(bench.replies.remove(&token), Some(Reply::DeleteGroup(Ok(()))));
    assert_eq!((bench.state(), bench.offset(at('a', 0))), (None, None));
    assert_eq!(bench.groups.next_deadline(), None);
    assert_eq!(bench.replayed().snapshot().count(), 0);
}

#[test]
fn a_stopped_coordinator_answers_everybody() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    bench.instant = false;
    let commit = bench.commit(sender(&joined[0]), &[(at('a', 0), 5)]);
    let (join, _) = bench.join_as_told(&Client { version: 3, ..Client::new() });
    bench.groups.stop();
    bench.drain();
    assert_eq!(bench.commit_result(commit), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(bench.join_error(join), GroupError::CoordinatorNotAvailable);
    let late = bench.join(&Client::new());
    assert_eq!(bench.join_error(late), GroupError::CoordinatorNotAvailable);
    assert_eq!(bench.heartbeat(&joined[0].member, 1), Err(GroupError::CoordinatorNotAvailable));
    assert_eq!(bench.groups.next_deadline(), None);
}
