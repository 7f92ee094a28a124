//! The ways in which the log may be written.

use super::{
    client::{Sender, Sent, read_texts},
    process::{BrokerProcess, DataDir, verified},
    topics::Administrator,
};

const COUNT: usize = 500;

/// Sends, kills, starts again and stops: with every way of writing, what was durable is there.
fn survives_a_kill(settings: &[&str]) -> String {
    let data = DataDir::new();
    let values: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    let broker = BrokerProcess::start(data.path(), settings);
    let sender = Sender::new(&broker.kafka, &[("batch.num.messages", "10")]);
    values.iter().for_each(|value| sender.send("orders", 0, &Sent::value(value.as_str())));
    assert_eq!(sender.delivered(), (0..COUNT as i64).collect::<Vec<_>>());
    drop(sender);
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values);
    let errors = broker.kill().errors;
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), settings);
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values);
    broker.stop();
    verified(data.path());
    errors
}

#[test]
fn syncs_may_be_gathered_over_time() {
    survives_a_kill(&["log.sync_interval_ms=50"]);
}

#[test]
fn glommio_may_write_the_log() {
    survives_a_kill(&["log.writer=glommio"]);
    survives_a_kill(&["log.writer=glommio", "log.sync_interval_ms=20"]);
}

#[test]
fn answers_before_durability_say_what_they_risk() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.flush=async"]);
    let errors = broker.errors();
    assert!(errors.contains("log.flush=async: sends are answered before they are"), "{errors}");
    let sender = Sender::new(&broker.kafka, &[]);
    let values: Vec<_> = (0..COUNT).map(|number| number.to_string()).collect();
    values.iter().for_each(|value| sender.send("orders", 0, &Sent::value(value.as_str())));
    sender.delivered();
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values);
    drop(sender);
    // A stop loses nothing.
    broker.stop();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &[]);
    assert!(!broker.errors().contains(".flush"), "{}", broker.errors());
    assert_eq!(read_texts(&broker.kafka, "orders", COUNT), values);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.create("quick", 1, &[("mainstem.flush", "async")]), Ok(()));
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("mainstem.flush=async on quick: sends are answered");
}
