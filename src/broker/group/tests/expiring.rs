//! Offset retention (KIP-211).

use super::*;

const RETENTION_MS: u64 = 7 * 24 * 60 * 60 * 1000;
const CHECK_MS: u64 = 10 * 60 * 1000;

/// Lets `ms` pass while `members` send heartbeats.
fn pass_alive(bench: &mut Bench, ms: u64, members: &[Joined]) {
    let end = bench.at.now + Duration::from_millis(ms);
    while bench.at.now < end {
        let rest = u64::try_from((end - bench.at.now).as_millis()).unwrap();
        bench.pass_ms(rest.min(1_500_000));
        for joined in members {
            assert_eq!(bench.heartbeat(&joined.member, joined.generation), Ok(()));
        }
    }
}

/// A consumer with the longest session there is.
fn patient() -> Client {
    Client { session_ms: 1_800_000, ..Client::new() }
}

#[test]
fn a_simple_consumers_offsets_outlive_its_commits() {
    let mut bench = Bench::new();
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 1), (at('a', 1), 1)]);
    bench.pass_ms(RETENTION_MS / 2);
    bench.commit(Sender::SIMPLE, &[(at('a', 1), 2)]);
    bench.pass_ms(RETENTION_MS / 2 - 1);
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    bench.pass_ms(CHECK_MS);
    assert_eq!((bench.offset(at('a', 0)), bench.offset(at('a', 1))), (None, Some(2)));
    bench.pass_ms(RETENTION_MS / 2);
    assert_eq!((bench.state(), bench.groups.next_deadline()), (None, None));
    assert_eq!(bench.replayed().snapshot().count(), 0);
}

#[test]
fn a_groups_offsets_outlive_its_last_member() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[patient()]);
    bench.commit(sender(&joined[0]), &[(at('a', 0), 1), (at('b', 0), 1)]);
    pass_alive(&mut bench, RETENTION_MS + CHECK_MS, &joined);
    assert_eq!(bench.offset(at('a', 0)), Some(1), "somebody subscribes it");
    assert_eq!(bench.offset(at('b', 0)), None, "nobody does");
    bench.leave(&joined[0].member, None);
    bench.pass_ms(RETENTION_MS - 1);
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    bench.restart();
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.state(), None, "nothing is left of the group");
    assert_eq!(bench.replayed().snapshot().count(), 0);
}

#[test]
fn a_group_that_is_not_understood_keeps_its_offsets() {
    for client in [
        Client { session_ms: 1_800_000, ..Client::offering(&[("range", b"?")]) },
        Client { protocol_type: "connect".into(), ..patient() },
    ] {
        let mut bench = Bench::new();
        let joined = bench.stable(&[client]);
        bench.commit(sender(&joined[0]), &[(at('b', 0), 1)]);
        pass_alive(&mut bench, RETENTION_MS + CHECK_MS, &joined);
        assert_eq!(bench.offset(at('b', 0)), Some(1));
    }
}

#[test]
fn a_client_may_ask_for_a_retention_of_its_own() {
    let mut bench = Bench::new();
    let offsets =
        [OffsetToCommit { partition: at('a', 0), offset: 1, leader_epoch: None, metadata: "" }];
    let request = CommitRequest {
        group: GROUP,
        sender: Sender::SIMPLE,
        retention: Some(Duration::from_secs(3600)),
        offsets: &offsets,
    };
    let token = bench.token();
    bench.groups.commit_offsets(bench.at, &request, token);
    bench.drain();
    bench.pass_ms(3_599_999);
    assert_eq!(bench.offset(at('a', 0)), Some(1));
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.offset(at('a', 0)), None);
}

#[test]
fn an_offset_that_is_being_committed_does_not_expire() {
    let mut bench = Bench::new();
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 1)]);
    bench.instant = false;
    bench.pass_ms(RETENTION_MS - CHECK_MS);
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 2)]);
    bench.pass_ms(3 * CHECK_MS);
    assert_eq!((bench.appended.len(), bench.offset(at('a', 0))), (1, Some(1)));
    bench.make_durable(1);
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.offset(at('a', 0)), Some(2));
}

#[test]
fn an_emptied_group_without_offsets_is_deleted() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    bench.leave(&joined[0].member, None);
    assert_eq!(bench.state(), Some(GroupState::Empty));
    bench.pass_ms(CHECK_MS);
    assert_eq!(bench.state(), None);
}

#[test]
fn a_topic_that_is_gone_is_not_subscribed() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[patient()]);
    let nameless = TopicPartition { topic: TopicId::ZERO, partition: 0 };
    bench.commit(sender(&joined[0]), &[(nameless, 1)]);
    pass_alive(&mut bench, RETENTION_MS + CHECK_MS, &joined);
    assert_eq!(bench.offset(nameless), None);
}

#[test]
fn a_group_of_rocketmqs_keeps_its_offsets() {
    let mut bench = Bench::new();
    let token = bench.token();
    let commit =
        OffsetToCommit { partition: at('a', 0), offset: 7, leader_epoch: None, metadata: "" };
    let request = CommitRequest {
        group: OF_ROCKETMQ,
        sender: Sender::SIMPLE,
        retention: None,
        offsets: &[commit],
    };
    bench.groups.commit_offsets(bench.at, &request, token);
    bench.drain();
    bench.commit(Sender::SIMPLE, &[(at('a', 0), 1)]);
    bench.pass_ms(3 * RETENTION_MS);
    assert_eq!(bench.offset(at('a', 0)), None, "the other group is Kafka's");
    let kept = bench.groups.committed_offset(OF_ROCKETMQ, at('a', 0));
    assert_eq!(kept.map(|kept| kept.offset), Some(7));
}
