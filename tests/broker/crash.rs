//! Crashes and stops lose nothing that was acknowledged, and repeat nothing.

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};

use super::{
    client::{Sender, Sent, config, read_texts, send_one, watermarks},
    process::{BrokerProcess, DataDir, PATIENCE, until, verified},
    relay::Relay,
    topics::Administrator,
};

const ROUNDS: usize = 4;
const PER_ROUND: usize = 400;

fn committed(consumer: &BaseConsumer, topic: &str) -> Option<i64> {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let answer = consumer.committed_offsets(list, PATIENCE).unwrap();
    match answer.elements()[0].offset() {
        Offset::Offset(offset) => Some(offset),
        _ => None,
    }
}

fn commit(consumer: &BaseConsumer, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
}

fn group_member(address: &str, group: &str) -> BaseConsumer {
    let config: ClientConfig =
        config(address, &[("group.id", group), ("enable.auto.commit", "false")]);
    config.create().unwrap()
}

fn killed_again_and_again(settings: &[&str]) {
    let (data, relay) = (DataDir::new(), Relay::new());
    let advertised = relay.advertised();
    let settings: Vec<_> = settings.iter().copied().chain([advertised.as_str()]).collect();
    let mut broker = BrokerProcess::start(data.path(), &settings);
    relay.to(&broker.kafka);
    Administrator::new(&relay.address).create("orders", 1, &[]).unwrap();
    let sender = Sender::new(
        &relay.address,
        &[("enable.idempotence", "true"), ("batch.num.messages", "16"), ("linger.ms", "0")],
    );
    let groups = group_member(&relay.address, "billing");
    for round in 0..ROUNDS {
        for number in 0..PER_ROUND {
            let number = round * PER_ROUND + number;
            sender.send("orders", 0, &Sent::value(number.to_string()));
        }
        // The rest of the round is under way, or not sent yet, when the broker dies.
        sender.wait_for(round * PER_ROUND + PER_ROUND / 2);
        let offset = (round * PER_ROUND + PER_ROUND / 4) as i64;
        commit(&groups, "orders", offset);
        broker.kill();
        verified(data.path());
        broker = BrokerProcess::start(data.path(), &settings);
        relay.to(&broker.kafka);
        assert_eq!(committed(&groups, "orders"), Some(offset), "round {round}");
    }
    let total = ROUNDS * PER_ROUND;
    let offsets = sender.delivered();
    assert_eq!(offsets, (0..total as i64).collect::<Vec<_>>());
    assert_eq!(watermarks(&relay.address, "orders", 0), (0, total as i64));
    let expected: Vec<_> = (0..total).map(|number| number.to_string()).collect();
    assert_eq!(read_texts(&relay.address, "orders", total), expected);
    drop(broker.stop());
    verified(data.path());
}

#[test]
fn an_idempotent_producer_survives_kills_without_loss_or_repetition() {
    killed_again_and_again(&[]);
}

#[test]
fn an_idempotent_producer_survives_kills_of_three_shards() {
    killed_again_and_again(&["shards.count=3"]);
}

/// The number behind `words` in what `log verify` says.
fn number_after(text: &str, words: &str) -> u64 {
    let (_, rest) = text.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {text}"));
    rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn a_stop_leaves_nothing_to_replay() {
    let data = DataDir::new();
    for round in 0..3 {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert_eq!(send_one(&broker.kafka, "orders", &round.to_string()), Ok(round));
        let group = group_member(&broker.kafka, "billing");
        assert_eq!(committed(&group, "orders"), (round > 0).then_some(round));
        commit(&group, "orders", round + 1);
        drop(group);
        let ended = broker.stop();
        assert!(!ended.errors.contains("WARN"), "{}", ended.errors);
        let text = verified(data.path());
        assert!(!text.contains("torn tail"), "{text}");
        let replayed_from = number_after(&text, "replay starts at position ");
        let (_, positions) = text.split_once("positions ").unwrap();
        assert_eq!(replayed_from, number_after(positions, " to "), "{text}");
    }
}

#[test]
fn a_kill_before_anything_was_sent_is_survived() {
    let data = DataDir::new();
    for round in 0..3 {
        let broker = BrokerProcess::start(data.path(), &[]);
        let errors = broker.kill().errors;
        assert!(!errors.contains("ERROR"), "round {round}: {errors}");
        verified(data.path());
    }
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(send_one(&broker.kafka, "orders", "first"), Ok(0));
}

/// The index of a segment that was finished before a crash is written at the next start, at a position
/// in front of where shards without messages in it go on.
#[test]
fn shards_without_messages_seal_with_the_others() {
    let data = DataDir::new();
    let settings = [
        "shards.count=3",
        "log.flush=async",
        // A segment is shown to who seals the one before it once something in it is durable.
        "log.sync_interval_ms=1000",
        "log.first_segment_bytes=4MiB",
    ];
    let broker = BrokerProcess::start(data.path(), &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let sender = Sender::new(&broker.kafka, &[]);
    for _ in 0..600 {
        sender.send("orders", 0, &Sent::value("x".repeat(10_000)));
    }
    until("the second segment has begun", || broker.metric("log_written_bytes_total") > 5_000_000);
    broker.kill();
    let broker = BrokerProcess::start(data.path(), &settings);
    assert!(watermarks(&broker.kafka, "orders", 0).1 >= 480);
    let ended = broker.stop();
    assert!(!ended.errors.contains("panicked"), "{}", ended.errors);
    verified(data.path());
}
