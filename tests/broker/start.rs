//! What keeps a broker from starting, and what does not.

use std::net::{TcpListener, TcpStream};

use super::{
    client::{Sender, Sent, send_one},
    process::{BrokerProcess, DataDir, get, verify},
};

fn refused(data: &DataDir, settings: &[&str]) -> String {
    match BrokerProcess::try_start(data.path(), settings) {
        Ok(_) => panic!("started with {settings:?}"),
        Err(ended) => {
            assert_eq!(ended.status.code(), Some(1), "{}", ended.errors);
            ended.errors
        }
    }
}

#[test]
fn a_data_directory_has_one_process_at_a_time() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &[]);
    let expected = format!("data directory {} is in use", data.path().display());
    let errors = refused(&data, &[]);
    assert!(errors.contains(&expected), "{errors}");
    let output = verify(data.path());
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains(&expected), "{errors}");
    assert_eq!(send_one(&broker.kafka, "orders", "still here"), Ok(0));
    broker.kill();
    drop(BrokerProcess::start(data.path(), &[]));
}

#[test]
fn a_setting_that_cannot_be_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = format!("kafka.listen={}", taken.local_addr().unwrap());
    let cases = [
        ("log.flash=sync", "unknown key log.flash"),
        ("log.block_bytes=1", "log.block_bytes: 1 is out of bounds"),
        ("log.segment_bytes=17000000", "log.segment_bytes: "),
        ("kafka.listen=0.0.0.0:0", "kafka.advertised: must name an address"),
        ("kafka.listen=[::]:0", "kafka.advertised: must name an address"),
        ("telemetry.log=mainstem=loud", "telemetry.log: "),
        ("shards.count=-1", "shards.count: "),
        (&taken, "kafka.listen: cannot listen on 127.0.0.1:"),
    ];
    for (setting, message) in cases {
        let data = DataDir::new();
        let errors = refused(&data, &[setting]);
        assert!(errors.contains(message), "{setting}: {errors}");
    }
}

#[test]
fn a_wildcard_listener_with_an_advertised_address_starts() {
    let data = DataDir::new();
    let settings = ["kafka.listen=0.0.0.0:0", "kafka.advertised=127.0.0.1"];
    let broker = BrokerProcess::start(data.path(), &settings);
    let port = broker.kafka.strip_prefix("0.0.0.0:").unwrap();
    assert_ne!(port, "0");
    assert_eq!(send_one(&format!("127.0.0.1:{port}"), "orders", "first"), Ok(0));
}

/// There may be none on the machine that tests; then the memory is of common pages.
#[test]
fn huge_pages_are_asked_for_and_not_needed() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["log.huge_pages=true"]);
    assert_eq!(send_one(&broker.kafka, "orders", "first"), Ok(0));
    broker.stop();
}

/// Clients cannot take the descriptors that the log needs.
#[test]
fn the_log_finds_a_descriptor_whatever_clients_do() {
    let data = DataDir::new();
    let few = BrokerProcess::try_start_with_files(data.path(), &[], 60).err().unwrap();
    assert!(few.errors.contains("60 files may be open, too few"), "{}", few.errors);

    let settings = ["log.segment_frames=1024", "shards.count=1"];
    let broker = BrokerProcess::try_start_with_files(data.path(), &settings, 240).unwrap();
    broker.wait_for_error("leaves room for 16 connections");
    let sender = Sender::new(&broker.kafka, &[("linger.ms", "0")]);
    sender.send("orders", 0, &Sent::value("first"));
    assert_eq!(sender.delivered(), [0]);
    let idle: Vec<_> = (0..300).map(|_| TcpStream::connect(&broker.kafka).unwrap()).collect();
    broker.wait_for_error("too many are open");
    // Each is a frame of its own, so that segments end and begin.
    for offset in 1..2_100 {
        sender.send("orders", 0, &Sent::value("more"));
        assert_eq!(sender.delivered(), [offset]);
    }
    drop(idle);
    broker.stop();
}

#[test]
fn listeners_may_be_off() {
    let data = DataDir::new();
    let broker = BrokerProcess::start(data.path(), &["kafka.listen=off"]);
    assert_eq!(broker.kafka, "off");
    assert!(get(&broker.admin, "/readyz").starts_with("HTTP/1.1 200"));
    broker.stop();
    let broker = BrokerProcess::start(data.path(), &["admin.listen=off"]);
    assert_eq!(broker.admin, "off");
    assert_eq!(send_one(&broker.kafka, "orders", "first"), Ok(0));
    broker.stop();
}
