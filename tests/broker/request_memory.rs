//! Memory for requests: what goes beyond it is not read until there is room, and then in turn.

use std::{io::Write as _, sync::mpsc, thread, time::Duration};

use bytes::BytesMut;
use kafka_protocol::messages::{
    ApiVersionsRequest, DescribeGroupsRequest, FetchRequest, GroupId, SyncGroupRequest, TopicName,
    fetch_request::{FetchPartition, FetchTopic},
    sync_group_request::SyncGroupRequestAssignment,
};

use super::{
    client::send_one,
    process::{BrokerProcess, DataDir, PATIENCE, until, verified},
    wire::{Wire, frame, join, produce},
};

const MIB: usize = 1 << 20;
const SETTINGS: [&str; 2] = ["kafka.request_memory_bytes=16MiB", "kafka.max_request_bytes=12MiB"];

/// How long to look that something does not happen.
const MOMENT: Duration = Duration::from_millis(300);

/// A request of about so many bytes, which is answered with an error.
fn large(bytes: usize) -> BytesMut {
    frame(9, &produce("orders", vec![0; bytes].into()))
}

fn taken(broker: &BrokerProcess) -> usize {
    broker.metric("kafka_request_memory_bytes") as usize
}

/// Sends a whole request on a connection of its own; tells `name` when it is answered.
fn send(
    broker: &BrokerProcess,
    bytes: usize,
    name: &'static str,
    answered: &mpsc::Sender<&'static str>,
) {
    let (mut wire, answered) = (Wire::connect(&broker.kafka), answered.clone());
    thread::spawn(move || {
        wire.stream.write_all(&large(bytes)).unwrap();
        wire.answer().unwrap().expect("an answer");
        answered.send(name).unwrap();
    });
}

#[test]
fn requests_beyond_the_memory_are_read_when_there_is_room() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SETTINGS);
    // It has most of the memory for as long as its last byte is missing.
    let slow = large(10 * MIB);
    let mut first = Wire::connect(&broker.kafka);
    first.stream.write_all(&slow[..slow.len() - 1]).unwrap();
    until("the first has its memory", || taken(&broker) >= 10 * MIB);
    let (answered, answers) = mpsc::channel();
    send(&broker, 10 * MIB, "second", &answered);
    until("the second waits for what is left", || taken(&broker) == 16 * MIB);
    // It would fit beside the first, but came later.
    send(&broker, MIB, "third", &answered);
    assert!(answers.recv_timeout(MOMENT).is_err(), "there is no room for the second");
    // Small requests need none.
    assert_eq!(send_one(&broker.kafka, "orders", "small"), Ok(0));
    Wire::connect(&broker.kafka).ask(3, &ApiVersionsRequest::default());
    first.stream.write_all(&slow[slow.len() - 1..]).unwrap();
    first.answer().unwrap().expect("an answer");
    let mut names = [(); 2].map(|()| answers.recv_timeout(PATIENCE).unwrap());
    names.sort_unstable();
    assert_eq!(names, ["second", "third"]);
    until("all is given back", || taken(&broker) == 0);
    broker.stop();
    verified(data.path());
}

#[test]
fn a_connection_that_ends_gives_its_memory_back() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SETTINGS);
    let whole = large(11 * MIB);
    for _ in 0..3 {
        let mut wire = Wire::connect(&broker.kafka);
        wire.stream.write_all(&whole[..MIB]).unwrap();
        until("it has its memory", || taken(&broker) >= 11 * MIB);
        drop(wire);
        until("it is given back", || taken(&broker) == 0);
    }
    // One that waits for memory may go, too; and its place in the line.
    let mut first = Wire::connect(&broker.kafka);
    first.stream.write_all(&whole[..MIB]).unwrap();
    until("it has its memory", || taken(&broker) >= 11 * MIB);
    let mut second = Wire::connect(&broker.kafka);
    second.stream.write_all(&whole[..MIB]).unwrap();
    until("the second waits", || taken(&broker) == 16 * MIB);
    drop(second);
    drop(first);
    until("all is given back", || taken(&broker) == 0);
    broker.stop();
}

#[test]
fn uploads_that_stall_make_room_for_others() {
    let data = DataDir::new();
    let stall = ["kafka.upload_stall_ms=500ms"];
    let broker = BrokerProcess::start(data.path(), &[&SETTINGS[..], &stall].concat());
    let whole = large(11 * MIB);
    let mut stalled: Vec<_> = (0..3).map(|_| Wire::connect(&broker.kafka)).collect();
    for wire in &mut stalled {
        wire.stream.write_all(&whole[..MIB / 8]).unwrap();
    }
    until("they have all the memory", || taken(&broker) == 16 * MIB);
    let (answered, answers) = mpsc::channel();
    send(&broker, 100 << 10, "small", &answered);
    assert_eq!(answers.recv_timeout(PATIENCE), Ok("small"));
    broker.wait_for_error("comes too slowly: 131068 of them are here");
    for mut wire in stalled {
        assert_eq!(wire.answer().unwrap(), None, "it was not closed");
    }
    until("all is given back", || taken(&broker) == 0);
    broker.stop();
}

#[test]
fn a_large_fetch_has_its_memory_while_it_waits_which_is_not_long() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &SETTINGS);
    assert_eq!(send_one(&broker.kafka, "orders", "first"), Ok(0));
    let partition = FetchPartition::default().with_fetch_offset(1).with_partition_max_bytes(1);
    let topic = FetchTopic::default()
        .with_topic(TopicName("orders".to_owned().into()))
        .with_partitions(vec![partition; 20_000]);
    let fetch = FetchRequest::default()
        .with_session_epoch(-1)
        .with_max_wait_ms(i32::MAX)
        .with_min_bytes(1)
        .with_max_bytes(1)
        .with_topics(vec![topic]);
    let mut wire = Wire::connect(&broker.kafka);
    wire.stream.write_all(&frame(12, &fetch)).unwrap();
    until("it has its memory", || taken(&broker) >= 20_000 * 33);
    // Nothing is sent to it.
    wire.answer().unwrap().expect("an answer");
    until("it is given back", || taken(&broker) == 0);
    broker.stop();
}

#[test]
fn members_that_wait_for_others_take_no_memory() {
    let data = DataDir::new();
    let delay = ["groups.initial_rebalance_delay_ms=5min"];
    let broker = BrokerProcess::start(data.path(), &[&SETTINGS[..], &delay].concat());
    let mut request = join("readers", "consumer");
    request.protocols[0].metadata = vec![0; MIB].into();
    let (mut member, mut other) = (Wire::connect(&broker.kafka), Wire::connect(&broker.kafka));
    member.stream.write_all(&frame(3, &request)).unwrap();
    let group = || GroupId("readers".to_owned().into());
    until("it waits for others", || {
        let asked = DescribeGroupsRequest::default().with_groups(vec![group()]);
        let answer = other.ask(5, &asked);
        answer.groups[0].group_state.as_str() == "PreparingRebalance"
    });
    until("it has given the memory back", || taken(&broker) == 0);
    // Nor does an assignment of somebody who is no member.
    let assignment =
        SyncGroupRequestAssignment::default().with_assignment(vec![0; 10 * MIB].into());
    let sync =
        SyncGroupRequest::default().with_group_id(group()).with_assignments(vec![assignment]);
    assert_ne!(other.ask(3, &sync).error_code, 0);
    until("it has given the memory back", || taken(&broker) == 0);
    broker.stop();
}
