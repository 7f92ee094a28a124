//! Damaged index files: they cost time, and no message.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kafka_protocol::messages::DescribeLogDirsRequest;
use rdkafka::Offset;

use mainstem::wire::rocketmq::ResponseCode;

use super::{
    client::{read_texts, send_one},
    damage::{find, flip, is_read_only, read_from, read_to_damage},
    process::{BrokerProcess, DataDir, repair, until, verified},
    remoting::Remoting,
    rocketmq::{bodies, pull},
    topics::Administrator,
    wire::Wire,
};

/// In the first page of an index file, without which it cannot be opened.
pub const HEADER: u64 = 100;

/// The data of a broker that was started so often and took one message each time. Each start begins a
/// segment, each stop writes its index.
fn of_sessions(sessions: i64) -> DataDir {
    let data = DataDir::new();
    for number in 0..sessions {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert_eq!(send_one(&broker.kafka, "orders", &format!("value {number}")), Ok(number));
        broker.stop();
    }
    data
}

fn values(sessions: i64) -> Vec<String> {
    (0..sessions).map(|number| format!("value {number}")).collect()
}

/// Oldest first.
pub fn index_files(data: &Path) -> Vec<PathBuf> {
    let entries = data.join("index").read_dir().unwrap();
    let runs = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = runs.filter(|path| path.to_str().unwrap().contains("/run-")).collect();
    paths.sort();
    paths
}

/// Whichever files they are, neighbours or the oldest among them.
#[test]
fn index_files_that_cannot_be_opened_are_rebuilt_for_good() {
    const SESSIONS: i64 = 4;
    for damaged in [0..1, 1..2, 3..4, 0..2, 1..3, 0..4] {
        let data = of_sessions(SESSIONS);
        let files = index_files(data.path());
        assert_eq!(files.len(), SESSIONS as usize);
        files[damaged.clone()].iter().for_each(|path| flip(path, HEADER));
        for told in [damaged.len(), 0] {
            let broker = BrokerProcess::start(data.path(), &[]);
            let read = read_texts(&broker.kafka, "orders", SESSIONS as usize);
            assert_eq!(read, values(SESSIONS), "{damaged:?}");
            let errors = broker.stop().errors;
            assert_eq!(errors.matches("an index file is damaged").count(), told, "{errors}");
        }
        verified(data.path());
    }
}

#[test]
fn an_index_that_is_gone_is_made_again_for_each_segment() {
    let data = of_sessions(3);
    fs::remove_dir_all(data.path().join("index")).unwrap();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(index_files(data.path()).len(), 3);
    assert_eq!(read_texts(&broker.kafka, "orders", 3), values(3));
    broker.stop();
    verified(data.path());
}

/// A start reads of the log what the index lacks, and comes upon what is damaged there.
#[test]
fn damage_to_the_log_is_told_and_repaired_where_the_index_is_damaged_too() {
    let data = of_sessions(3);
    let (path, at) = find(data.path(), "value 1");
    flip(&path, at);
    flip(&index_files(data.path())[1], HEADER);
    let broker = BrokerProcess::start(data.path(), &[]);
    broker.wait_for_error("lost: orders-0, offsets 1 to 1");
    is_read_only(&broker, "orders");
    assert_eq!(read_to_damage(&broker, "orders", Offset::Beginning), ["value 0"]);
    assert_eq!(read_from(&broker, "orders", 2, 1), ["value 2"]);
    broker.kill();
    let said = repair(data.path(), &[]);
    assert!(said.contains("lost: orders-0, offsets 1 to 1\n"), "{said}");
    assert!(!said.contains("go on at"), "{said}");
    for offset in 3..5 {
        let broker = BrokerProcess::start(data.path(), &[]);
        assert_eq!(read_texts(&broker.kafka, "orders", 2), ["value 0", "value 2"]);
        assert_eq!(send_one(&broker.kafka, "orders", "more"), Ok(offset));
        broker.stop();
        verified(data.path());
    }
}

/// Starts read little of the index. What is damaged of the rest is found by whoever reads it, rebuilt
/// from the log beside everybody, and told once.
#[test]
fn an_index_file_damaged_under_a_running_broker_is_rebuilt_without_a_restart() {
    let sessions = 9;
    // Eight files are merged.
    let data = of_sessions(sessions);
    let index_files = || index_files(data.path());
    // The header, then the directory, which no start reads.
    let damage = || {
        index_files().iter().for_each(|path| {
            let bytes = fs::read(path).unwrap();
            let directory =
                bytes.chunks(4096).skip(1).position(|page| page.iter().any(|b| *b != 0));
            flip(path, (directory.unwrap() as u64 + 1) * 4096 + 100);
        });
    };
    assert_eq!(index_files().len(), 2);
    damage();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(broker.metric("index_damaged_total"), 0);
    let values = values(sessions);
    assert_eq!(read_texts(&broker.kafka, "orders", values.len()), values);
    assert_eq!(broker.metric("index_damaged_total"), 2);
    assert!(index_files().len() > 2, "it is rebuilt by segments");
    let errors = broker.stop().errors;
    assert_eq!(errors.matches("an index file is damaged").count(), 2, "{errors}");
    assert!(!errors.contains("ERROR"), "{errors}");
    verified(data.path());
    damage();
    let broker = BrokerProcess::start(data.path(), &[]);
    assert_eq!(pull_texts(&broker, values.len()), values);
    broker.stop();
    // What is deleted meanwhile is taken off the account once the index is there again.
    damage();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut wire = Wire::connect(&broker.kafka);
    let size = |wire: &mut Wire| {
        let asked = DescribeLogDirsRequest::default().with_topics(None);
        wire.ask(4, &asked).results[0].topics[0].partitions[0].partition_size
    };
    let all = size(&mut wire);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::Offset(6)), Ok(6));
    until("it is taken off", || size(&mut wire) == all / 3);
    assert!(broker.metric("index_damaged_total") > 0, "nothing was damaged");
    broker.stop();
    // Nor is that forgotten when the broker stops before.
    damage();
    let broker = BrokerProcess::start(data.path(), &[]);
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records("orders", Offset::Offset(8)), Ok(8));
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &[]);
    let mut wire = Wire::connect(&broker.kafka);
    until("it is taken off", || size(&mut wire) == all / 9);
    broker.stop();
    verified(data.path());
}

/// Pulls as RocketMQ's clients do, which are told to try again while the index is rebuilt.
fn pull_texts(broker: &BrokerProcess, count: usize) -> Vec<String> {
    let mut client = Remoting::connect(&broker.rocketmq);
    let (mut texts, mut tries) = (Vec::new(), 0);
    while texts.len() < count {
        let told = pull(&mut client, "orders", texts.len() as i64, "*");
        if told.code == ResponseCode::PullRetryImmediately.number() {
            assert_eq!(told.number("nextBeginOffset"), texts.len() as i64);
            assert_eq!(told.number("maxOffset"), count as i64);
            tries += 1;
            continue;
        }
        texts.extend(bodies(&told.expect(ResponseCode::Success)));
    }
    assert!(tries > 0, "nothing was damaged");
    texts
}
