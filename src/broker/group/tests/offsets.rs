//! OffsetCommit, OffsetFetch, OffsetDelete.

use super::*;

#[test]
fn a_simple_consumer_needs_no_group() {
    let mut bench = Bench::new();
    let token = bench.commit(Sender::SIMPLE, &[(at('a', 0), 5), (at('b', 1), 6)]);
    assert_eq!(bench.commit_result(token), Ok(vec![Ok(()), Ok(())]));
    assert_eq!(bench.offset(at('a', 0)), Some(5));
    assert_eq!(bench.offset(at('a', 1)), None);
    let all: Vec<_> = bench.groups.committed_offsets(GROUP).map(|(place, _)| place).collect();
    assert_eq!(all, [at('a', 0), at('b', 1)]);
    assert_eq!(bench.groups.committed_offsets("other").count(), 0);
    let listed = bench.groups.list().next().unwrap();
    assert_eq!((listed.protocol_type, listed.state), ("", GroupState::Empty));
}

#[test]
fn offsets_are_read_when_they_are_durable() {
    let mut bench = Bench::new();
    bench.instant = false;
    let first = bench.commit(Sender::SIMPLE, &[(at('a', 0), 5)]);
    let second = bench.commit(Sender::SIMPLE, &[(at('a', 0), 6)]);
    assert_eq!((bench.offset(at('a', 0)), bench.replies.len()), (None, 0));
    bench.make_durable(1);
    assert_eq!(bench.commit_result(first), Ok(vec![Ok(())]));
    assert_eq!((bench.offset(at('a', 0)), bench.replies.len()), (Some(5), 0));
    bench.make_durable(1);
    assert_eq!(bench.commit_result(second), Ok(vec![Ok(())]));
    assert_eq!(bench.offset(at('a', 0)), Some(6));
}

#[test]
fn members_commit_in_their_generation_only() {
    let mut bench = Bench::new();
    let place = [(at('a', 0), 5)];
    let token = bench.commit(Sender { member: "x", instance: None, generation: 1 }, &place);
    assert_eq!(bench.commit_result(token), Err(GroupError::GroupNotFound));
    let joined = bench.stable(&[Client::new(), Client::new()]);
    let member = &*joined[0].member;
    let cases = [
        (Sender { member, instance: None, generation: 1 }, Ok(vec![Ok(())])),
        (Sender { member, instance: None, generation: 0 }, Err(GroupError::IllegalGeneration)),
        (Sender { member, instance: None, generation: 2 }, Err(GroupError::IllegalGeneration)),
        (Sender { member, instance: None, generation: -1 }, Err(GroupError::IllegalGeneration)),
        (Sender { member: "x", instance: None, generation: 1 }, Err(GroupError::UnknownMember)),
        (Sender { member, instance: Some("i"), generation: 1 }, Err(GroupError::UnknownMember)),
        (Sender::SIMPLE, Err(GroupError::UnknownMember)),
    ];
    for (sender, expected) in cases {
        let token = bench.commit(sender, &place);
        assert_eq!(bench.commit_result(token), expected, "{sender:?}");
    }
}

#[test]
fn members_commit_until_the_next_generation_begins() {
    let mut bench = Bench::new();
    let client = Client::new();
    let joined = bench.stable(std::slice::from_ref(&client));
    let (new, _) = bench.join_as_told(&Client { version: 3, ..client.clone() });
    let token = bench.commit(sender(&joined[0]), &[(at('a', 0), 5)]);
    assert_eq!(bench.commit_result(token), Ok(vec![Ok(())]), "what is revoked is committed");
    bench.join(&client.named(&joined[0].member));
    let token = bench.commit(sender(&joined[0]), &[(at('a', 0), 6)]);
    assert_eq!(bench.commit_result(token), Err(GroupError::IllegalGeneration));
    let joined = bench.joined(new);
    let token = bench.commit(sender(&joined), &[(at('a', 0), 6)]);
    assert_eq!(bench.commit_result(token), Err(GroupError::RebalanceInProgress));
    assert_eq!(bench.offset(at('a', 0)), Some(5));
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    for offset in 0..3 {
        bench.pass_ms(9_000);
        let token = bench.commit(sender(&joined[0]), &[(at('a', 0), offset)]);
        assert_eq!(bench.commit_result(token), Ok(vec![Ok(())]));
    }
}

#[test]
fn an_empty_group_takes_simple_commits() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    bench.leave(&joined[0].member, None);
    let token = bench.commit(Sender::SIMPLE, &[(at('a', 0), 5)]);
    assert_eq!(bench.commit_result(token), Ok(vec![Ok(())]));
    let token = bench.commit(sender(&joined[0]), &[(at('a', 0), 6)]);
    assert_eq!(bench.commit_result(token), Err(GroupError::UnknownMember));
}

#[test]
fn metadata_has_a_limit_per_offset() {
    let mut bench = Bench::new();
    let (fits, too_long) = ("x".repeat(4096), "x".repeat(4097));
    let commit = |partition, metadata| OffsetToCommit {
        partition: at('a', partition),
        offset: 7,
        leader_epoch: None,
        metadata,
    };
    for (offsets, expected) in [
        (vec![commit(0, &too_long)], vec![Err(GroupError::OffsetMetadataTooLarge)]),
        (
            vec![commit(0, &too_long), commit(1, &fits)],
            vec![Err(GroupError::OffsetMetadataTooLarge), Ok(())],
        ),
    ] {
        let token = bench.token();
        let sender = Sender::SIMPLE;
        let request = CommitRequest { group: GROUP, sender, retention: None, offsets: &offsets };
        bench.groups.commit_offsets(bench.at, &request, token);
        bench.drain();
        assert_eq!(bench.commit_result(token), Ok(expected));
    }
    assert_eq!(bench.offset(at('a', 0)), None);
    let kept = bench.groups.committed_offset(GROUP, at('a', 1)).unwrap();
    assert_eq!((&*kept.metadata, kept.leader_epoch), (&*fits, None));
}

#[test]
fn a_large_commit_is_several_records() {
    let mut bench = Bench::new();
    let offsets: Vec<_> = (0..2_500).map(|partition| (at('a', partition), 1)).collect();
    let token = bench.commit(Sender::SIMPLE, &offsets);
    assert_eq!(bench.commit_result(token).unwrap().len(), 2_500);
    assert_eq!(bench.log.len(), 3);
    assert_eq!(bench.groups.snapshot().count(), 3);
}

fn delete(bench: &mut Bench, partitions: &[TopicPartition]) -> Option<Reply> {
    let token = bench.token();
    bench.groups.delete_offsets(bench.at, GROUP, partitions, token);
    bench.drain();
    bench.replies.remove(&token)
}

#[test]
fn offsets_that_nobody_subscribes_can_be_deleted() {
    let mut bench = Bench::new();
    let failed = |error| Some(Reply::DeleteOffsets(Err(error)));
    assert_eq!(delete(&mut bench, &[at('a', 0)]), failed(GroupError::GroupNotFound));
    let joined = bench.stable(&[Client::new()]);
    bench.commit(sender(&joined[0]), &[(at('a', 0), 5), (at('b', 0), 5), (at('b', 1), 5)]);
    let subscribed = Err(GroupError::SubscribedToTopic);
    assert_eq!(
        delete(&mut bench, &[at('a', 0), at('b', 0), at('b', 9)]),
        Some(Reply::DeleteOffsets(Ok(vec![subscribed, Ok(()), Ok(())])))
    );
    let left: Vec<_> = bench.groups.committed_offsets(GROUP).map(|(place, _)| place).collect();
    assert_eq!(left, [at('a', 0), at('b', 1)]);
    bench.leave(&joined[0].member, None);
    assert_eq!(
        delete(&mut bench, &[at('a', 0)]),
        Some(Reply::DeleteOffsets(Ok(vec![Ok(())]))),
        "an empty group subscribes nothing"
    );
    assert_eq!(bench.offset(at('a', 0)), None);
}

#[test]
fn a_group_that_is_not_understood_subscribes_everything() {
    let mut bench = Bench::new();
    bench.stable(&[Client::offering(&[("range", b"?")])]);
    let subscribed = Err(GroupError::SubscribedToTopic);
    let reply = delete(&mut bench, &[at('b', 0)]);
    assert_eq!(reply, Some(Reply::DeleteOffsets(Ok(vec![subscribed]))));
}

#[test]
fn members_that_are_no_consumers_keep_their_offsets() {
    let mut bench = Bench::new();
    bench.stable(&[Client { protocol_type: "connect".into(), ..Client::new() }]);
    let reply = delete(&mut bench, &[at('b', 0)]);
    assert_eq!(reply, Some(Reply::DeleteOffsets(Err(GroupError::NonEmptyGroup))));
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let mut bench = Bench::new();
    let joined = bench.stable(&[Client::new()]);
    bench.commit(sender(&joined[0]), &[(at('a', 0), 5), (at('b', 0), 5)]);
    bench.instant = false;
    // This one is durable before the deletion, and gone after it.
    let late = bench.commit(sender(&joined[0]), &[(at('b', 7), 5)]);
    bench.groups.topic_deleted(bench.at, at('b', 0).topic);
    bench.drain();
    assert_eq!(bench.offset(at('b', 0)), Some(5), "until that is durable");
    bench.make_durable(1);
    assert_eq!((bench.commit_result(late), bench.offset(at('b', 7))), (Ok(vec![Ok(())]), Some(5)));
    bench.make_durable(1);
    let left: Vec<_> = bench.groups.committed_offsets(GROUP).map(|(place, _)| place).collect();
    assert_eq!(left, [at('a', 0)]);
}

#[test]
fn a_simple_group_ends_with_its_last_offset() {
    let mut bench = Bench::new();
    bench.commit(Sender::SIMPLE, &[(at('b', 0), 5)]);
    bench.groups.topic_deleted(bench.at, at('b', 0).topic);
    bench.drain();
    assert_eq!((bench.state(), bench.groups.next_deadline()), (None, None));
    assert_eq!(bench.replayed().snapshot().count(), 0);
}

#[test]
fn a_record_of_offsets_is_bounded_by_their_metadata_too() {
    let settings = GroupSettings { offset_metadata_max_bytes: 64 << 10, ..Default::default() };
    let mut bench = Bench::with(settings, 1);
    let long = "x".repeat(64 << 10);
    let commit = |partition| OffsetToCommit {
        partition: at('a', partition),
        offset: 7,
        leader_epoch: None,
        metadata: &long,
    };
    let offsets: Vec<_> = (0..10).map(commit).collect();
    let token = bench.token();
    let request =
        CommitRequest { group: GROUP, sender: Sender::SIMPLE, retention: None, offsets: &offsets };
    bench.groups.commit_offsets(bench.at, &request, token);
    let append = bench.groups.take_appends().pop().expect("the offsets");
    let counts = append.records.iter().map(|record| match record {
        GroupRecord::OffsetsCommitted { offsets, .. } => offsets.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(counts.collect::<Vec<_>>(), [4, 4, 2]);
}
