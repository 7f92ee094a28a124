//! Consumer groups: members come and go, and every message is read from where the group was.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use kafka_protocol::{
    messages::{GroupId, SyncGroupRequest, sync_group_request::SyncGroupRequestAssignment},
    protocol::StrBytes,
};
use rdkafka::{
    Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    error::KafkaError,
    types::RDKafkaErrorCode,
};

use super::{
    client::{Sender, Sent, config},
    process::{BrokerProcess, DataDir, PATIENCE},
    topics::Administrator,
    wire::{Wire, commit as commit_request, join},
};

const PARTITIONS: i32 = 6;
const POLL: std::time::Duration = std::time::Duration::from_millis(20);

fn member(broker: &BrokerProcess, settings: &[(&str, &str)]) -> BaseConsumer {
    let mut config = config(
        &broker.kafka,
        &[
            ("group.id", "billing"),
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
            ("session.timeout.ms", "6000"),
            ("heartbeat.interval.ms", "100"),
            ("fetch.wait.max.ms", "50"),
        ],
    );
    settings.iter().for_each(|(key, value)| {
        config.set(*key, *value);
    });
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&["orders"]).unwrap();
    consumer
}

fn assigned(member: &BaseConsumer) -> BTreeSet<i32> {
    member.assignment().unwrap().elements().iter().map(|element| element.partition()).collect()
}

/// Messages read so far: how often each value was.
#[derive(Default)]
struct Tally {
    read: BTreeMap<String, usize>,
    /// Partitions and offsets whose commit was refused, because its member had not heard of the
    /// group's newest generation yet.
    owed: Vec<(i32, i64)>,
}

impl Tally {
    /// Polls every member once and commits what it read.
    fn poll(&mut self, members: &[&BaseConsumer]) {
        for member in members {
            if let Some(message) = member.poll(POLL) {
                let message = message.unwrap();
                let text = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
                *self.read.entry(text).or_default() += 1;
                self.owed.push((message.partition(), message.offset() + 1));
            }
            self.owed.retain(|(partition, offset)| !commit(member, *partition, *offset));
        }
    }

    /// Polls until the partitions are divided among the members as `sizes` says.
    fn poll_until_divided(&mut self, members: &[&BaseConsumer], sizes: &[usize]) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let parts: Vec<_> = members.iter().map(|member| assigned(member)).collect();
            let all: BTreeSet<_> = parts.iter().flatten().copied().collect();
            let mut found: Vec<_> = parts.iter().map(BTreeSet::len).collect();
            found.sort_unstable();
            if found == sizes && all.len() == PARTITIONS as usize {
                return;
            }
            assert!(Instant::now() < deadline, "{parts:?} instead of {sizes:?}");
            self.poll(members);
        }
    }

    fn poll_until_read(&mut self, members: &[&BaseConsumer], count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while self.read.len() < count || !self.owed.is_empty() {
            assert!(Instant::now() < deadline, "{} of {count} were read", self.read.len());
            self.poll(members);
        }
    }
}

/// False if it is to be tried again, by this member or another.
fn commit(member: &BaseConsumer, partition: i32, offset: i64) -> bool {
    use RDKafkaErrorCode::{IllegalGeneration, RebalanceInProgress, UnknownMemberId};
    let mut list = TopicPartitionList::new();
    list.add_partition_offset("orders", partition, Offset::Offset(offset)).unwrap();
    match member.commit(&list, CommitMode::Sync) {
        Ok(()) => true,
        Err(KafkaError::ConsumerCommit(
            IllegalGeneration | RebalanceInProgress | UnknownMemberId,
        )) => false,
        Err(error) => panic!("{error}"),
    }
}

fn send(broker: &BrokerProcess, from: usize, to: usize) {
    let sender = Sender::new(&broker.kafka, &[]);
    for number in from..to {
        let partition = number as i32 % PARTITIONS;
        sender.send("orders", partition, &Sent::value(number.to_string()));
    }
    sender.delivered();
}

fn members_come_and_go(settings: &[&str], strategy: &str) {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), settings);
    Administrator::new(&broker.kafka).create("orders", PARTITIONS, &[]).unwrap();
    let strategy = [("partition.assignment.strategy", strategy)];
    let mut tally = Tally::default();
    let first = member(&broker, &strategy);
    tally.poll_until_divided(&[&first], &[6]);
    send(&broker, 0, 60);
    // All is read and committed before the members change, so that nothing is read twice.
    tally.poll_until_read(&[&first], 60);
    let second = member(&broker, &strategy);
    tally.poll_until_divided(&[&first, &second], &[3, 3]);
    let third = member(&broker, &strategy);
    tally.poll_until_divided(&[&first, &second, &third], &[2, 2, 2]);
    send(&broker, 60, 120);
    tally.poll_until_read(&[&first, &second, &third], 120);
    // Its closing leaves the group.
    drop(second);
    tally.poll_until_divided(&[&first, &third], &[3, 3]);
    send(&broker, 120, 180);
    tally.poll_until_read(&[&first, &third], 180);
    assert_eq!(broker.metric("groups"), 1);
    drop((first, third));
    broker.stop();
    // A new member goes on where the group was.
    let broker = BrokerProcess::start(data.path(), settings);
    send(&broker, 180, 240);
    let fourth = member(&broker, &strategy);
    let mut rest = Tally::default();
    rest.poll_until_read(&[&fourth], 60);
    let expected: BTreeSet<_> = (180..240).map(|number| number.to_string()).collect();
    assert_eq!(rest.read.into_keys().collect::<BTreeSet<_>>(), expected);
    assert!(tally.read.values().all(|count| *count == 1), "read twice: {:?}", tally.read);
}

#[test]
fn members_share_partitions_by_range() {
    members_come_and_go(&[], "range");
}

#[test]
fn members_share_partitions_by_cooperation() {
    members_come_and_go(&[], "cooperative-sticky");
}

#[test]
fn members_share_partitions_of_three_shards() {
    members_come_and_go(&["shards.count=3"], "cooperative-sticky");
}

#[test]
fn a_static_member_takes_its_place_again() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    Administrator::new(&broker.kafka).create("orders", PARTITIONS, &[]).unwrap();
    let mut tally = Tally::default();
    let settings = |name: &'static str| {
        [("group.instance.id", name), ("partition.assignment.strategy", "range")]
    };
    let (first, second) = (member(&broker, &settings("one")), member(&broker, &settings("two")));
    tally.poll_until_divided(&[&first, &second], &[3, 3]);
    let (of_first, of_second) = (assigned(&first), assigned(&second));
    // A static member does not leave when it closes; nobody else gets its partitions.
    drop(second);
    let second = member(&broker, &settings("two"));
    tally.poll_until_divided(&[&first, &second], &[3, 3]);
    assert_eq!((assigned(&first), assigned(&second)), (of_first, of_second));
    send(&broker, 0, 60);
    tally.poll_until_read(&[&first, &second], 60);
    assert!(tally.read.values().all(|count| *count == 1), "read twice: {:?}", tally.read);
}

/// Joins a group of its own and gets the assignment it gave itself, which has become durable.
pub fn become_the_only_member(broker: &BrokerProcess, group: &str) {
    let mut wire = Wire::connect(&broker.kafka);
    let joined = wire.ask(3, &join(group, "consumer"));
    assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id));
    let assignment = SyncGroupRequestAssignment::default()
        .with_member_id(joined.member_id.clone())
        .with_assignment(b"all".as_slice().into());
    let sync = SyncGroupRequest::default()
        .with_group_id(GroupId(StrBytes::from_string(group.to_owned())))
        .with_generation_id(joined.generation_id)
        .with_member_id(joined.member_id)
        .with_assignments(vec![assignment]);
    let synced = wire.ask(3, &sync);
    assert_eq!((synced.error_code, &*synced.assignment), (0, &b"all"[..]));
}

#[test]
fn offsets_with_more_metadata_than_the_log_takes_at_once_are_stored() {
    let data = DataDir::new();
    let small = ["shards.count=1", "log.inflight_bytes=1MiB", "topic.max_message_bytes=512KiB"];
    let broker = BrokerProcess::start(data.path(), &small);
    Administrator::new(&broker.kafka).create("orders", 600, &[]).unwrap();
    let metadata = "m".repeat(4 << 10);
    let request = commit_request("g", "orders", &vec![metadata.as_str(); 600]);
    let answer = Wire::connect(&broker.kafka).ask(8, &request);
    let codes = answer.topics[0].partitions.iter().map(|partition| partition.error_code);
    assert_eq!(codes.collect::<Vec<_>>(), [0; 600]);
    become_the_only_member(&broker, "another");
    broker.stop();
}
