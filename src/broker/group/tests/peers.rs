//! Members that divide the queues among themselves.

use super::*;

const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;

fn attend(bench: &mut Bench, client: &str) -> Result<(), GroupError> {
    let done = bench.groups.attend(bench.at, GROUP, &client.into(), &"/10.0.0.2".into());
    bench.drain();
    bench.groups.check_timers();
    done
}

fn depart(bench: &mut Bench, client: &str) {
    bench.groups.depart(bench.at, GROUP, client);
    bench.drain();
    bench.groups.check_timers();
}

fn commit(bench: &mut Bench, offset: i64) -> Result<Vec<Result<(), GroupError>>, GroupError> {
    let token = bench.token();
    bench.groups.commit_peer_offsets(bench.at, GROUP, &[to_commit(offset)], token);
    committed(bench, token)
}

fn reset(bench: &mut Bench, offset: i64, lead: bool) {
    let token = bench.token();
    bench.groups.reset_peer_offsets(bench.at, GROUP, &[to_commit(offset)], lead, token);
    assert_eq!(committed(bench, token), Ok(vec![Ok(())]));
}

fn to_commit(offset: i64) -> OffsetToCommit<'static> {
    OffsetToCommit { partition: at('a', 0), offset, leader_epoch: None, metadata: "" }
}

fn committed(
    bench: &mut Bench,
    token: ReplyToken,
) -> Result<Vec<Result<(), GroupError>>, GroupError> {
    bench.drain();
    match bench.replies.remove(&token) {
        Some(Reply::CommitOffsets(result)) => result,
        other => panic!("not committed: {other:?}"),
    }
}

#[test]
fn they_are_led_to_a_reset_once_and_commit_nothing_before() {
    let mut bench = Bench::new();
    let partition = at('a', 0);
    let offset = |bench: &Bench| {
        bench.groups.committed_offset(GROUP, partition).map(|committed| committed.offset)
    };
    // Nobody is there to be led.
    reset(&mut bench, 3, true);
    assert_eq!(bench.groups.take_reset(GROUP, partition), None);
    attend(&mut bench, "one").unwrap();
    reset(&mut bench, 5, true);
    commit(&mut bench, 9).unwrap();
    assert_eq!(offset(&bench), Some(5));
    reset(&mut bench, 4, true);
    assert_eq!(bench.groups.take_reset(GROUP, at('a', 1)), None);
    assert_eq!(bench.groups.take_reset(GROUP, partition), Some(4));
    assert_eq!(bench.groups.take_reset(GROUP, partition), None);
    commit(&mut bench, 9).unwrap();
    assert_eq!(offset(&bench), Some(9));
    // It is forgotten with the next one that leads nobody, and with the last member.
    reset(&mut bench, 2, true);
    reset(&mut bench, 1, false);
    commit(&mut bench, 7).unwrap();
    assert_eq!(offset(&bench), Some(7));
    reset(&mut bench, 6, true);
    depart(&mut bench, "one");
    assert_eq!(bench.groups.take_reset(GROUP, partition), None);
    assert_eq!(offset(&bench), Some(6));
}

#[test]
fn they_are_seen_while_they_are_there_and_leave_nothing() {
    let mut bench = Bench::new();
    assert_eq!(attend(&mut bench, "one"), Ok(()));
    assert_eq!(attend(&mut bench, "two"), Ok(()));
    assert_eq!(attend(&mut bench, "one"), Ok(()));
    let listed: Vec<_> = bench.groups.list().map(|group| group.state).collect();
    assert_eq!(listed, [GroupState::Stable]);
    let described = bench.groups.describe(GROUP).unwrap();
    assert_eq!((described.state, &*described.protocol_type), (GroupState::Stable, "consumer"));
    let members: Vec<_> = described.members.iter().map(|member| &*member.client_id).collect();
    assert_eq!(members, ["one", "two"]);
    depart(&mut bench, "one");
    depart(&mut bench, "stranger");
    assert_eq!(bench.state(), Some(GroupState::Stable));
    depart(&mut bench, "two");
    assert_eq!((bench.state(), bench.log.len()), (None, 0));
}

#[test]
fn a_group_has_one_kind_of_members() {
    let mut bench = Bench::new();
    attend(&mut bench, "one").unwrap();
    let token = bench.join(&Client::new());
    let refused = Reply::Join(Err(GroupError::InconsistentProtocol));
    assert_eq!(bench.replies.remove(&token), Some(refused));
    let token = bench.commit(Sender::SIMPLE, &[(at('a', 0), 1)]);
    let refused = Reply::CommitOffsets(Err(GroupError::UnknownMember));
    assert_eq!(bench.replies.remove(&token), Some(refused));
    assert_eq!(commit(&mut bench, 1), Ok(vec![Ok(())]));
    let token = bench.token();
    bench.groups.delete_group(bench.at, GROUP, token);
    bench.drain();
    let refused = Reply::DeleteGroup(Err(GroupError::NonEmptyGroup));
    assert_eq!(bench.replies.remove(&token), Some(refused));
    depart(&mut bench, "one");

    let joined = bench.stable(&[Client::new()]);
    assert_eq!(attend(&mut bench, "one"), Err(GroupError::InconsistentProtocol));
    assert_eq!(bench.groups.check_peers(GROUP), Err(GroupError::InconsistentProtocol));
    assert_eq!(commit(&mut bench, 2), Err(GroupError::InconsistentProtocol));
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    bench.leave(&joined[0].member, None);
    assert_eq!(attend(&mut bench, "one"), Ok(()));
}

#[test]
fn offsets_live_on_from_when_the_last_one_went() {
    let mut bench = Bench::new();
    attend(&mut bench, "one").unwrap();
    commit(&mut bench, 1).unwrap();
    bench.pass_ms(2 * RETENTION_MS);
    assert_eq!(bench.offset(at('a', 0)), Some(1), "somebody is there");
    depart(&mut bench, "one");
    bench.pass_ms(RETENTION_MS - 1);
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    // Nobody can say that they are there while the broker is not.
    bench.restart();
    bench.pass_ms(RETENTION_MS / 2);
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    attend(&mut bench, "one").unwrap();
    depart(&mut bench, "one");
    bench.pass_ms(2 * RETENTION_MS);
    assert_eq!(bench.state(), None, "nothing is left of the group");
}

#[test]
fn who_takes_a_queue_over_waits_for_commits_on_their_way() {
    let mut bench = Bench::new();
    bench.instant = false;
    let settle = |bench: &mut Bench, partition| {
        let token = bench.token();
        bench.groups.settle_offset(GROUP, partition, token);
        bench.drain();
        token
    };
    let nothing = settle(&mut bench, at('a', 0));
    assert_eq!(bench.replies.remove(&nothing), Some(Reply::Settled), "there is no such group");
    for (count, (partition, offset)) in [(1, (at('a', 0), 5)), (2, (at('a', 0), 6))] {
        bench.commit(Sender::SIMPLE, &[(partition, offset)]);
        assert_eq!(bench.appended.len(), count);
    }
    let (other, both) = (settle(&mut bench, at('a', 1)), settle(&mut bench, at('a', 0)));
    assert_eq!(bench.replies.remove(&other), Some(Reply::Settled), "nobody commits that");
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 7)]);
    bench.make_durable(1);
    assert_eq!(bench.replies.remove(&both), None);
    bench.make_durable(1);
    assert_eq!(bench.replies.remove(&both), Some(Reply::Settled), "not for what came later");
    let last = settle(&mut bench, at('a', 0));
    assert_eq!(bench.replies.remove(&last), None);
    let refused = bench.appended.remove(0);
    bench.groups.refused(refused.token, bench.at);
    bench.drain();
    assert_eq!(bench.replies.remove(&last), Some(Reply::Settled), "what is refused has its end");
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 8)]);
    let stopped = settle(&mut bench, at('a', 0));
    bench.groups.stop();
    bench.drain();
    assert_eq!(bench.replies.remove(&stopped), Some(Reply::Settled));
}
