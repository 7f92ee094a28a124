//! The memory of the hot tail: when it is taken, and by whom.

use std::fs;

use super::{
    process::{BrokerProcess, DataDir, until, verified},
    retention::{MIB, fill},
};

/// What of the hot tail has memory, in bytes.
fn tail_bytes(broker: &BrokerProcess) -> usize {
    let maps = fs::read_to_string(format!("/proc/{}/smaps", broker.pid())).unwrap();
    let of_tail = maps.split("memfd:mainstem-tail").skip(1);
    let sizes = of_tail.map(|map| map.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap());
    sizes.map(|size| size.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10).sum()
}

fn has_toucher(broker: &BrokerProcess) -> bool {
    let threads = fs::read_dir(format!("/proc/{}/task", broker.pid())).unwrap();
    // One that has just ended has no name any more.
    let names = threads.flat_map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")));
    names.into_iter().any(|name| name.trim() == "tail-toucher")
}

#[test]
fn memory_is_taken_ahead_of_what_is_written_and_no_further() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.tail_bytes=128MiB"]);
    until("the first of it is taken", || tail_bytes(&broker) >= 2 * MIB);
    assert!(has_toucher(&broker) && broker.resident_bytes() < 64 << 20);
    fill(&broker, "orders", 20 * MIB);
    // But for the step that it may have been overtaken in.
    until("as much again is taken", || tail_bytes(&broker) >= 38 * MIB);
    assert!(tail_bytes(&broker) <= 48 * MIB);
    assert!(has_toucher(&broker), "there is more to take");
    // The first round is not over.
    broker.stop();
    verified(data.path());
    let broker = BrokerProcess::start(data.path(), &["log.tail_bytes=16MiB"]);
    until("the first of it is taken", || tail_bytes(&broker) >= 2 * MIB);
    assert!(has_toucher(&broker), "it waits for more");
    fill(&broker, "orders", 10 * MIB);
    until("all is taken", || tail_bytes(&broker) >= 14 * MIB);
    until("nothing is left to do", || !has_toucher(&broker));
    fill(&broker, "orders", 20 * MIB);
    broker.stop();
    verified(data.path());
}
