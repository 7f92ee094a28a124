//! That a broker is filled before it is measured, that none of it is in the figures, and that what
//! is sent is read back: by the program itself, against a listener that answers as RocketMQ does and
//! keeps an account.

use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::thread;

const PULL_MESSAGE: i64 = 11;
const UPDATE_AND_CREATE_TOPIC: i64 = 17;
const GET_MAX_OFFSET: i64 = 30;
const GET_BROKER_CLUSTER_INFO: i64 = 106;
const SEND_MESSAGE_V2: i64 = 310;
const SEND_BATCH_MESSAGE: i64 = 320;

/// A name server and broker in one, which holds batches as their lengths only. It lives as long as
/// the test's process.
struct FakeBroker {
    address: String,
    account: Arc<Mutex<Account>>,
}

#[derive(Default)]
struct Account {
    /// Whether it was asked for brokers before: the first time it knows none.
    asked: bool,
    /// The length of each topic's queues.
    lengths: HashMap<(String, String), usize>,
    /// The bodies of single messages, by queue.
    bodies: HashMap<(String, String), Vec<Vec<u8>>>,
    /// Whether it keeps every hundredth message in place of the one behind it.
    forgets: bool,
    /// Every send as it came: its topic, and how many messages it had.
    sends: Vec<(String, usize)>,
}

impl FakeBroker {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let account = Arc::<Mutex<Account>>::default();
        let (own, shared) = (address.clone(), account.clone());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (own, account) = (own.clone(), shared.clone());
                thread::spawn(move || serve(stream, &own, &account));
            }
        });
        Self { address, account }
    }

    /// Sends in a row to one topic as one: the topic and all their messages.
    fn story(&self) -> Vec<(String, usize)> {
        let mut story: Vec<(String, usize)> = Vec::new();
        for (topic, messages) in self.account.lock().unwrap().sends.drain(..) {
            match story.last_mut().filter(|(last, _)| *last == topic) {
                Some((_, all)) => *all += messages,
                None => story.push((topic, messages)),
            }
        }
        story
    }
}

/// Answers one connection's requests until it closes.
fn serve(mut stream: TcpStream, own: &str, account: &Mutex<Account>) -> Option<()> {
    loop {
        let (header, body) = read_request(&mut stream)?;
        let mut account = account.lock().unwrap();
        let code = header["code"].as_i64().unwrap();
        let text = |field: &str| header["extFields"][field].as_str().unwrap().to_owned();
        let (fields, answer) = match code {
            GET_BROKER_CLUSTER_INFO if !std::mem::replace(&mut account.asked, true) => {
                (json!({}), json!({"brokerAddrTable": {}}).to_string().into())
            }
            GET_BROKER_CLUSTER_INFO => {
                let addresses = json!({"brokerAddrs": {"0": own}, "brokerName": "fake"});
                (json!({}), json!({"brokerAddrTable": {"fake": addresses}}).to_string().into())
            }
            UPDATE_AND_CREATE_TOPIC => (json!({}), Vec::new()),
            GET_MAX_OFFSET => {
                let queue = (text("topic"), text("queueId"));
                let length = account.lengths.get(&queue).copied().unwrap_or(0);
                (json!({"offset": length.to_string()}), Vec::new())
            }
            SEND_MESSAGE_V2 | SEND_BATCH_MESSAGE => {
                let messages = if code == SEND_MESSAGE_V2 { 1 } else { messages_of(&body) };
                account.sends.push((text("b"), messages));
                let queue = (text("b"), text("e"));
                let length = account.lengths.entry(queue.clone()).or_default();
                let at = *length;
                *length += messages;
                if code == SEND_MESSAGE_V2 {
                    let forgets = account.forgets && at % 100 == 1;
                    let bodies = account.bodies.entry(queue).or_default();
                    bodies.push(if forgets { bodies[at - 1].clone() } else { body });
                }
                (json!({"queueOffset": at.to_string()}), Vec::new())
            }
            PULL_MESSAGE => {
                let number = |field| text(field).parse::<usize>().unwrap();
                let (from, most) = (number("queueOffset"), number("maxMsgNums"));
                let bodies = &account.bodies[&(text("topic"), text("queueId"))];
                let found = bodies.iter().enumerate().skip(from).take(most);
                let records: Vec<u8> = found.flat_map(|(at, body)| record(at, body)).collect();
                let next = bodies.len().min(from + most);
                (json!({"nextBeginOffset": next.to_string()}), records)
            }
            _ => panic!("request code {code}"),
        };
        drop(account);
        let opaque = &header["opaque"];
        let header = json!({"code": 0, "flag": 1, "opaque": opaque, "extFields": fields});
        write_answer(&mut stream, &header, &answer)?;
    }
}

fn read_request(stream: &mut TcpStream) -> Option<(Value, Vec<u8>)> {
    let mut lengths = [0; 8];
    stream.read_exact(&mut lengths).ok()?;
    let word = |at: usize| u32::from_be_bytes(lengths[at..at + 4].try_into().unwrap()) as usize;
    let mut rest = vec![0; word(0) - 4];
    stream.read_exact(&mut rest).ok()?;
    let body = rest.split_off(word(4));
    Some((serde_json::from_slice(&rest).unwrap(), body))
}

fn write_answer(stream: &mut TcpStream, header: &Value, body: &[u8]) -> Option<()> {
    let header = header.to_string();
    let mut frame = ((4 + header.len() + body.len()) as u32).to_be_bytes().to_vec();
    frame.extend_from_slice(&(header.len() as u32).to_be_bytes());
    frame.extend_from_slice(header.as_bytes());
    frame.extend_from_slice(body);
    stream.write_all(&frame).ok()
}

/// A message as it is stored, with nothing in it but its offset and its body.
fn record(offset: usize, body: &[u8]) -> Vec<u8> {
    let mut record = vec![0; 20];
    record.extend_from_slice(&(offset as u64).to_be_bytes());
    record.extend_from_slice(&[0; 56]);
    record.extend_from_slice(&(body.len() as u32).to_be_bytes());
    record.extend_from_slice(body);
    let size = record.len() as u32;
    record[..4].copy_from_slice(&size.to_be_bytes());
    record
}

/// Messages of a batch, each of which begins with its size.
fn messages_of(mut body: &[u8]) -> usize {
    let mut messages = 0;
    while let Some((size, _)) = body.split_first_chunk() {
        body = &body[u32::from_be_bytes(*size) as usize..];
        messages += 1;
    }
    messages
}

/// A workload of 3,000 messages, one at a time, with 3,200,000 bytes written before it.
fn workload(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.toml"));
    let text = "name = \"sends\"\nshows = \"\"\nsource = \"raw\"\nprotocol = \"rocketmq\"\n\
                systems = [\"mainstem\"]\nproducers = 1\nrecords = 3_000\nrecord_bytes = 100\n\
                options = [\"rocketmq-send\", \"--in-flight\", \"1\"]\nfill_bytes = 3_200_000\n\
                [quick]\nfill_bytes = 0\n";
    std::fs::write(&path, text).unwrap();
    path
}

fn run(broker: &FakeBroker, name: &str, options: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem-perf"));
    command.arg("run").arg(workload(name)).args(["--target", &broker.address]).args(options);
    command.output().unwrap()
}

fn result(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

#[test]
fn a_broker_is_filled_before_and_that_is_in_no_figure() {
    let broker = FakeBroker::start();
    let result = result(&run(&broker, "filled", &["--fill"]));
    // 3,125 messages of 1 KiB hold 3,200,000 bytes, and 3,136 are whole batches of 32.
    let story = [("fill".to_owned(), 3_136), ("sends".to_owned(), 3_000)];
    assert_eq!(broker.story(), story);
    assert_eq!(result["filledBytes"], 3_200_000);
    assert_eq!(result["figures"]["acknowledged"], 3_000.0);
    let records = result["records"].as_u64().unwrap();
    assert!(records <= 3_000, "{records} records of 3,000 were measured");
    assert_eq!(result["findings"]["missing"], 0);
    let command = result["command"].as_str().unwrap();
    assert!(command.contains("--topic sends") && !command.contains("fill"), "{command}");
}

#[test]
fn nobodys_broker_is_filled_unasked() {
    let broker = FakeBroker::start();
    let result = result(&run(&broker, "unasked", &[]));
    assert_eq!(broker.story(), [("sends".to_owned(), 3_000)]);
    assert_eq!(result["filledBytes"], 0);
}

#[test]
fn a_message_that_is_there_twice_in_place_of_another_fails_the_run() {
    let broker = FakeBroker::start();
    broker.account.lock().unwrap().forgets = true;
    let output = run(&broker, "forgotten", &[]);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let result: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let found = |what: &str| result["findings"][what].as_u64().unwrap();
    assert_eq!((found("missing"), found("duplicates")), (30, 30), "{text}");
}

#[test]
fn a_fill_of_nothing_is_refused() {
    let broker = FakeBroker::start();
    for options in [&["--fill", "--quick"][..], &["--fill", "--set", "sends.fill_bytes=0"]] {
        let output = run(&broker, "nothing", options);
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("no fill_bytes"), "{text}");
    }
    assert_eq!(broker.story(), []);
}
