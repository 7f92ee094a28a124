//! A full disk: sends are refused, everything else goes on, and sends come back with the space.
//!
//! Needs a file system of its own, so that these tests say that they were skipped where nothing may
//! be mounted.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
};

use mainstem::wire::{
    kafka::BatchBuilder,
    rocketmq::{ResponseCode, record::Record},
};

use super::{
    client::{config, read, read_texts, send_one},
    damage::flip,
    index_damage::{HEADER, index_files},
    process::{BrokerProcess, PATIENCE, mainstem, until, verified},
    remoting::Remoting,
    rocketmq::{ask_send, header, properties},
    timers::{await_messages, now_ms},
    topics::Administrator,
    wire::{Wire, produce},
};

const VALUE_BYTES: usize = 500_000;
const KAFKA_STORAGE_ERROR: i16 = 56;

/// A small file system, unmounted when dropped.
struct SmallDisk {
    root: tempfile::TempDir,
}

impl SmallDisk {
    fn mount(bytes: u64) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "mainstem-test"]);
        let mounted = mount.arg(root.path()).stderr(Stdio::null()).status();
        if !mounted.is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no file system can be mounted here, so none can be filled");
            return None;
        }
        Some(Self { root })
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Takes the space there is but for so many bytes; gives it back when the file is removed.
    fn fill_but(&self, bytes: u64) -> PathBuf {
        let room = self.root.path().join("room");
        File::create(&room).unwrap().write_all(&vec![0; bytes as usize]).unwrap();
        let filler = self.fill();
        fs::remove_file(room).unwrap();
        filler
    }

    /// Takes all the space there is left; gives it back when the file is removed.
    fn fill(&self) -> PathBuf {
        let path = self.root.path().join("filler");
        let mut file = File::create(&path).unwrap();
        let full = loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.root.path()).status();
    }
}

/// Sends messages with so large values until the disk is full; returns how many were taken.
///
/// Not by librdkafka, which repeats such a send instead of telling its error.
fn send_until_refused(broker: &BrokerProcess, topic: &str, value_bytes: usize) -> usize {
    let mut builder = BatchBuilder::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    builder.record(now, None, Some(&vec![b'x'; value_bytes]), &[]);
    let request = produce(topic, builder.build().unwrap().to_vec().into());
    let mut wire = Wire::connect(&broker.kafka);
    let mut taken = 0;
    let mut next = None;
    loop {
        let answer = wire.ask(9, &request);
        let partition = &answer.responses[0].partition_responses[0];
        if partition.error_code != 0 {
            assert_eq!(partition.error_code, KAFKA_STORAGE_ERROR);
            return taken;
        }
        assert_eq!(*next.get_or_insert(partition.base_offset), partition.base_offset);
        next = next.map(|offset| offset + 1);
        taken += 1;
    }
}

fn commit(consumer: &BaseConsumer, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    consumer.commit(&list, CommitMode::Sync).unwrap();
    let committed = consumer.committed_offsets(list, PATIENCE).unwrap();
    assert_eq!(committed.elements()[0].offset(), Offset::Offset(offset));
}

/// What must go on while sends are refused.
fn serves_without_space(broker: &BrokerProcess, topic: &str, stored: usize) {
    assert_eq!(broker.metric("log_disk_full"), 1);
    let messages = read(&broker.kafka, topic, 0, stored);
    assert_eq!(messages.len(), stored);
    let group: BaseConsumer =
        config(&broker.kafka, &[("group.id", "billing"), ("enable.auto.commit", "false")])
            .create()
            .unwrap();
    for offset in 1..=20 {
        commit(&group, topic, offset);
    }
    let admin = Administrator::new(&broker.kafka);
    assert_eq!(admin.delete_records(topic, Offset::Offset(1)), Ok(1));
}

#[test]
fn a_full_disk_refuses_sends_until_there_is_room() {
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let (data, settings) = (disk.data(), ["log.reserve_bytes=0"]);
    let broker = BrokerProcess::start(&data, &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    Administrator::new(&broker.kafka).create("other", 1, &[]).unwrap();
    // One segment is in use, one is held back; no third one can be made.
    until("a segment is held back", || has_ready_segment(&data));
    let filler = disk.fill();
    let taken = send_until_refused(&broker, "orders", VALUE_BYTES);
    assert!(taken > 0);
    serves_without_space(&broker, "orders", taken);
    assert_eq!(Administrator::new(&broker.kafka).delete("other"), Ok(()));
    fs::remove_file(filler).unwrap();
    // The producer repeats its send until it is taken.
    assert_eq!(send_one(&broker.kafka, "orders", "room again"), Ok(taken as i64));
    until("sends are no longer refused", || broker.metric("log_disk_full") == 0);
    // A crash on a full disk loses nothing either.
    until("a segment is held back", || has_ready_segment(&data));
    let filler = disk.fill();
    let more = send_until_refused(&broker, "orders", VALUE_BYTES);
    broker.kill();
    verified(&data);
    fs::remove_file(filler).unwrap();
    let broker = BrokerProcess::start(&data, &settings);
    assert_eq!(read(&broker.kafka, "orders", 0, taken + more).len(), taken + more);
    broker.stop();
    verified(&data);
}

fn has_ready_segment(data: &Path) -> bool {
    !ready_segments(data).is_empty()
}

fn ready_segments(data: &Path) -> Vec<PathBuf> {
    let paths = data.join("log").read_dir().unwrap().map(|entry| entry.unwrap().path());
    let ready = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("ready-");
    paths.filter(ready).collect()
}

#[test]
fn delayed_messages_come_when_there_is_room_again() {
    const COUNT: usize = 20;
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let (data, settings) = (disk.data(), ["log.reserve_bytes=0"]);
    let broker = BrokerProcess::start(&data, &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    let mut client = Remoting::connect(&broker.rocketmq);
    until("a segment is held back", || has_ready_segment(&data));
    let body = "x".repeat(400_000);
    let due_ms = now_ms() + 5_000;
    for _ in 0..COUNT {
        let later = properties(&[("TAGS", "A"), ("TIMER_DELIVER_MS", &due_ms.to_string())]);
        ask_send(&mut client, &header("delayed", 0, &later), &body).expect(ResponseCode::Success);
    }
    let filler = disk.fill();
    send_until_refused(&broker, "orders", VALUE_BYTES);
    until("they have been due for a while", || now_ms() > due_ms + 1_000);
    assert!(broker.metric("timers_fired_total") < COUNT as u64, "there was room");
    fs::remove_file(filler).unwrap();
    let came = await_messages(&mut client, "delayed", 0, COUNT);
    assert_eq!(came.len(), COUNT, "none comes twice");
    assert_eq!(broker.metric("timers_undeliverable_total"), 0);
    for record in came.iter().map(|bytes| Record::parse(bytes).unwrap()) {
        assert!(record.store_timestamp >= due_ms && record.body == body.as_bytes());
    }
    broker.stop();
    verified(&data);
}

#[test]
fn a_deleted_topic_makes_room_on_a_full_disk() {
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let data = disk.data();
    let settings = ["log.retention_check_ms=100", "log.reserve_bytes=0", "timers.held_bytes=1MiB"];
    let broker = BrokerProcess::start(&data, &settings);
    let admin = Administrator::new(&broker.kafka);
    // It is put behind what goes, though there is no room for anybody else.
    let mut client = Remoting::connect(&broker.rocketmq);
    let later = properties(&[("TAGS", "A"), ("TIMER_DELAY_SEC", "3600")]);
    ask_send(&mut client, &header("delayed", 0, &later), "later").expect(ResponseCode::Success);
    admin.create("large", 1, &[]).unwrap();
    admin.create("small", 1, &[]).unwrap();
    assert_eq!(send_one(&broker.kafka, "small", "before"), Ok(0));
    let taken = send_until_refused(&broker, "large", VALUE_BYTES);
    assert!(taken * VALUE_BYTES > 32 << 20, "{taken}");
    serves_without_space(&broker, "large", taken);
    assert_eq!(admin.delete("large"), Ok(()));
    assert_eq!(admin.delete_records("small", Offset::End), Ok(1));
    assert_eq!(send_one(&broker.kafka, "small", "after"), Ok(1));
    assert_eq!(broker.metric("timers_pending"), 1);
    broker.stop();
    verified(&data);
}

/// What `mainstem check` must say of a data directory on a full disk.
fn lacks_space_and_may_run(data: &Path, settings: &[&str]) {
    let output = mainstem(&["check"], data, settings).output().unwrap();
    let table = String::from_utf8(output.stdout).unwrap();
    let row = table.lines().find(|line| line.starts_with("Free disk space")).unwrap();
    assert!(row.ends_with("| Warning  | no"), "{table}");
    let fatal = |row: &str| row.contains("No space left") && row.ends_with("| Fatal    | no");
    assert!(!table.lines().any(fatal), "{table}");
}

#[test]
fn a_start_on_a_full_disk_serves_what_needs_no_space() {
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let (data, settings) = (disk.data(), ["log.reserve_bytes=0"]);
    let broker = BrokerProcess::start(&data, &settings);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    until("a segment is held back", || has_ready_segment(&data));
    disk.fill();
    let taken = send_until_refused(&broker, "orders", VALUE_BYTES);
    broker.kill();
    // As if control frames had needed what was held back.
    ready_segments(&data).into_iter().for_each(|path| fs::remove_file(path).unwrap());
    for _ in 0..2 {
        let filler = disk.fill();
        lacks_space_and_may_run(&data, &settings);
        let broker = BrokerProcess::start(&data, &settings);
        assert_eq!(broker.metric("log_disk_full"), 1);
        assert_eq!(send_until_refused(&broker, "orders", VALUE_BYTES), 0);
        assert_eq!(read(&broker.kafka, "orders", 0, taken).len(), taken);
        let refused = Administrator::new(&broker.kafka).delete("orders");
        assert!(refused.is_err(), "there is no room for anything");
        broker.stop();
        verified(&data);
        fs::remove_file(filler).unwrap();
    }
    let filler = disk.fill();
    let broker = BrokerProcess::start(&data, &settings);
    fs::remove_file(filler).unwrap();
    assert_eq!(send_one(&broker.kafka, "orders", "room again"), Ok(taken as i64));
    assert_eq!(Administrator::new(&broker.kafka).delete("orders"), Ok(()));
    broker.stop();
    verified(&data);
}

/// What has no index file for want of space is in memory until there is some.
#[test]
fn a_start_on_a_full_disk_needs_no_index_files() {
    let Some(disk) = SmallDisk::mount(96 << 20) else { return };
    let data = disk.data();
    let start = || BrokerProcess::start(&data, &["log.reserve_bytes=0"]);
    let texts = ["first", "second", "third", "fourth"];
    for (offset, text) in (0..).zip(&texts[..3]) {
        let broker = start();
        assert_eq!(send_one(&broker.kafka, "orders", text), Ok(offset));
        broker.stop();
    }
    flip(&index_files(&data)[1], HEADER);
    let filler = disk.fill();
    let broker = start();
    assert_eq!(read_texts(&broker.kafka, "orders", 3), texts[..3]);
    broker.stop();
    let broker = start();
    fs::remove_file(filler).unwrap();
    assert_eq!(send_one(&broker.kafka, "orders", texts[3]), Ok(3));
    broker.stop();
    for _ in 0..2 {
        verified(&data);
        let broker = start();
        assert_eq!(read_texts(&broker.kafka, "orders", 4), texts);
        broker.stop();
    }
}

#[test]
fn sends_are_refused_while_less_than_the_reserve_is_free() {
    let Some(disk) = SmallDisk::mount(160 << 20) else { return };
    let data = disk.data();
    let broker = BrokerProcess::start(&data, &["log.reserve_bytes=60MiB"]);
    Administrator::new(&broker.kafka).create("orders", 1, &[]).unwrap();
    assert_eq!(send_one(&broker.kafka, "orders", "before"), Ok(0));
    until("a segment is held back", || has_ready_segment(&data));
    let filler = disk.fill_but(50 << 20);
    until("sends are refused", || broker.metric("log_disk_full") == 1);
    broker.wait_for_error("disk space is short");
    assert_eq!(
        send_until_refused(&broker, "orders", VALUE_BYTES),
        0,
        "the segment in use is not full"
    );
    serves_without_space(&broker, "orders", 1);
    fs::remove_file(filler).unwrap();
    assert_eq!(send_one(&broker.kafka, "orders", "after"), Ok(1));
    broker.wait_for_error("there is disk space again");
    broker.stop();
    verified(&data);
}
