//! What `mainstem top` and the admin port's `/top` show of a running broker.

use std::process::Command;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};

use super::{
    client::{config, read, send_one},
    process::{BrokerProcess, DataDir, get},
};

fn top(admin: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    let output = command.args(["top", "--once", "--admin", admin]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The words of the line that has this first word.
fn line(frame: &str, first: &str) -> Vec<String> {
    let mut lines = frame.lines().map(|line| line.split_whitespace().map(str::to_owned).collect());
    let found = lines.find(|words: &Vec<String>| words.first().is_some_and(|word| word == first));
    found.unwrap_or_else(|| panic!("no {first} in\n{frame}"))
}

#[test]
fn top_shows_the_busiest_topics_and_the_slowest_groups() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["shards.count=2"]);
    for value in ["a", "b", "c", "d", "e"] {
        send_one(&broker.kafka, "orders", value).unwrap();
    }
    send_one(&broker.kafka, "payments", "x").unwrap();
    assert_eq!(read(&broker.kafka, "orders", 0, 5).len(), 5);
    for (group, offset) in [("billing", 2), ("shipping", 5)] {
        let consumer: BaseConsumer =
            config(&broker.kafka, &[("group.id", group)]).create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset("orders", 0, Offset::Offset(offset)).unwrap();
        consumer.commit(&list, CommitMode::Sync).unwrap();
    }

    let frame = top(&broker.admin);
    assert!(frame.lines().next().unwrap().ends_with(": fine"), "{frame}");
    // Nothing came between the two readings.
    let row = line(&frame, "orders");
    assert_eq!(row, ["orders", "0", "5", "billing", "3", "3", "orders-0"], "{frame}");
    let row = line(&frame, "payments");
    assert_eq!(row, ["payments", "0", "1", "shipping", "0", "0", "orders-0"], "{frame}");
    assert!(broker.metric("records_fetched_total") >= 5);
    let page = get(&broker.admin, "/top");
    assert!(page.contains(r#"{"group":"billing","lag_messages":3,"worst":"orders-0""#), "{page}");
    broker.stop();
}

#[test]
fn a_broker_that_does_not_answer_is_said() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = command.args(["top", "--once", "--admin", &unused.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with(&format!("mainstem: {unused}: /metrics: ")), "{said}");
    let output = Command::new(env!("CARGO_BIN_EXE_mainstem")).arg("top").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("use --once"));
}
