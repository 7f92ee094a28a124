//! Several messages at once, on one shard's broker whose log no writer empties.

use std::{cell::Cell, sync::Arc};

use futures_lite::future::block_on;

use super::*;
use crate::{
    broker::pull::tests::{QUEUE, broker_with, message_record},
    cluster::{FlushMode, TopicSettings},
    env::{LocalFuture, Tasks},
};

/// Time passes at once, and is counted.
#[derive(Default)]
struct Passing(Cell<Duration>);

impl Tasks for Passing {
    fn spawn(&self, _: LocalFuture<'static, ()>) {}

    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()> {
        self.0.set(self.0.get() + duration);
        Box::pin(std::future::ready(()))
    }
}

const STALL: Duration = Duration::from_secs(10);

fn lend(record: &[u8]) -> MessageToAppend<'_> {
    let tag_hash = TagHash::UNTAGGED;
    MessageToAppend { record, tag_hash, has_key: false, early: false, admitted: false }
}

fn append(broker: &Rc<Broker>, bodies: &[usize]) -> Result<Vec<i64>, AppendError> {
    let records: Vec<_> = bodies.iter().map(|bytes| message_record(&"b".repeat(*bytes))).collect();
    let messages: Vec<_> = records.iter().map(|record| lend(record)).collect();
    let appended = block_on(broker.append_messages_when_free(QUEUE, &messages, STALL));
    appended.map(|all| all.iter().map(|one| one.base_offset).collect())
}

#[test]
fn messages_that_do_not_all_fit_are_refused_together_and_wait_once() {
    let tasks = Rc::new(Passing::default());
    let broker = broker_with(Rc::clone(&tasks) as Rc<dyn Tasks>);
    assert_eq!(append(&broker, &[100, 200]), Ok(vec![0, 1]));
    assert_eq!(broker.ends(QUEUE), Some((0, 2)), "all of them show");
    for _ in 0..3 {
        append(&broker, &[8 << 10, 6 << 10]).unwrap();
    }
    let before = (broker.ends(QUEUE), broker.log().reserved());
    assert_eq!(tasks.0.get(), Duration::ZERO);
    // The small ones alone would fit.
    let refused = append(&broker, &[12 << 10, 10, 12 << 10, 10]);
    assert_eq!(refused, Err(AppendError::Busy));
    assert_eq!(tasks.0.get(), STALL, "for all of them together");
    assert_eq!((broker.ends(QUEUE), broker.log().reserved()), before, "nothing is left of them");
    assert_eq!(append(&broker, &[10, 10]), Ok(vec![8, 9]));
}

#[test]
fn who_is_answered_ahead_of_the_disk_is_to_be_told_what_it_lost() {
    let broker = broker_with(Rc::new(Passing::default()));
    let synced = TopicSettings { flush: Some(FlushMode::Sync), ..TopicSettings::default() };
    broker.queues.borrow_mut().get_mut(&QUEUE).unwrap().set(&Arc::new(synced));
    let log = broker.log();
    let record = message_record("b");
    let append = |message: MessageToAppend<'_>| {
        block_on(broker.append_message_when_free(QUEUE, &message, STALL)).unwrap();
        log.answered()
    };
    let before = log.answered();
    assert_eq!(append(lend(&record)), before);
    assert_eq!(append(MessageToAppend { early: true, admitted: true, ..lend(&record) }), before);
    let ahead = append(MessageToAppend { early: true, ..lend(&record) });
    assert!(ahead > before, "{ahead:?}");
}

#[test]
fn what_one_of_them_or_all_together_may_not_be_is_refused() {
    let broker = broker_with(Rc::new(Passing::default()));
    let refused = append(&broker, &[20 << 10, 20 << 10]);
    let Err(AppendError::BatchTooLong { bytes }) = refused else { panic!("{refused:?}") };
    assert!(bytes > 40 << 10);
    let refused = append(&broker, &[10, 2 << 20]);
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })), "{refused:?}");
    assert_eq!((broker.ends(QUEUE), broker.log().reserved()), (Some((0, 0)), Position(0)));
}
