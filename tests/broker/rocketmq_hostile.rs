//! Input that is wrong, on RocketMQ's ports: each gets an answer or a closed connection, memory does
//! not grow with what is claimed, and nobody else notices.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpStream},
};

use bytes::{Bytes, BytesMut};
use mainstem::wire::rocketmq::{
    RemotingCommand, RequestCode, ResponseCode, Serialization,
    header::{GetRouteInfoRequest, PullMessageRequest, TopicQueueRequest},
};

use super::{
    process::{BrokerProcess, DataDir, PATIENCE, verified},
    remoting::Remoting,
    rocketmq::{bodies, by_tags, header, heartbeat_request, properties, pull, pull_header, send},
};

/// What all the bad input of a test may make the broker grow by.
const GROWTH_BYTES: u64 = 64 << 20;

/// Messages stored before and after the bad input.
const STORED: usize = 10;

/// A broker with a topic, and a client that was connected before anybody misbehaved.
struct Victim {
    data: DataDir,
    broker: BrokerProcess,
    bystander: Remoting,
    resident_bytes: u64,
}

impl Victim {
    fn new() -> Self {
        let data = DataDir::new();
        let broker = BrokerProcess::start(data.path(), &[]);
        let bystander = Remoting::connect(&broker.rocketmq);
        let mut victim = Self { data, broker, bystander, resident_bytes: 0 };
        victim.store(0);
        victim.resident_bytes = victim.broker.resident_bytes();
        victim
    }

    fn store(&mut self, from: usize) {
        for number in from..from + STORED {
            let offset = send(&mut self.bystander, "orders", "A", &number.to_string());
            assert_eq!(offset, number as i64);
        }
    }

    fn ports(&self) -> [&str; 2] {
        [&self.broker.rocketmq, &self.broker.namesrv]
    }

    /// Sends bytes that must close their connection, on both ports, for a reason that is in the log.
    fn closes(&self, bytes: &[u8], reason: &str) {
        for port in self.ports() {
            assert_eq!(answers(port, bytes), b"", "{reason}");
        }
        self.broker.wait_for_error(reason);
    }

    /// The bystander goes on, on the connection it had, and everything stored is as it was.
    fn unharmed(mut self) {
        let grown = self.broker.resident_bytes().saturating_sub(self.resident_bytes);
        assert!(grown < GROWTH_BYTES, "{grown} bytes");
        self.store(STORED);
        let all: Vec<_> = (0..2 * STORED).map(|number| number.to_string()).collect();
        assert_eq!(bodies(&pull(&mut self.bystander, "orders", 0, "*")), all);
        self.broker.stop();
        verified(self.data.path());
    }
}

/// Everything that comes back for these bytes, of a client that sends no more. Fails if the connection
/// stays open.
fn answers(port: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The broker may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut all = Vec::new();
    match stream.read_to_end(&mut all) {
        Err(error) if error.kind() != std::io::ErrorKind::ConnectionReset => panic!("{error}"),
        _ => all,
    }
}

fn encoded(request: &RemotingCommand<'_>) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    request.encode(&mut bytes).unwrap();
    bytes.to_vec()
}

/// Puts the right length in front.
fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as i32).to_be_bytes()[..], frame].concat()
}

/// Good requests in both of the protocol's forms, none of which waits or changes what the bystander has.
fn good_requests() -> Vec<Vec<u8>> {
    let mut requests = Vec::new();
    for serialization in [Serialization::Json, Serialization::RocketMq] {
        let mut add = |code, fill: &dyn Fn(&mut RemotingCommand<'static>)| {
            let mut request = RemotingCommand::request(code, 7, serialization);
            fill(&mut request);
            requests.push(encoded(&request));
        };
        let properties: &'static str = properties(&[("TAGS", "A"), ("KEYS", "k")]).leak();
        add(RequestCode::SendMessageV2, &|request| {
            header("attacked", 0, properties).write(&mut request.fields);
            request.body = Bytes::from_static(b"body");
        });
        add(RequestCode::PullMessage, &|request| {
            PullMessageRequest { suspend_timeout_millis: 0, ..pull_header("attacked", 0, "A", 0) }
                .write(&mut request.fields);
        });
        add(RequestCode::GetRouteinfoByTopic, &|request| {
            GetRouteInfoRequest { topic: "attacked", accept_standard_json_only: None }
                .write(&mut request.fields);
        });
        add(RequestCode::GetMaxOffset, &|request| {
            TopicQueueRequest { topic: "attacked", queue_id: 0 }.write(&mut request.fields);
        });
    }
    requests
}

/// Numbers that look random and are the same in each run (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next() as u8).collect()
    }
}

#[test]
fn frames_of_impossible_length_close_their_connection() {
    let victim = Victim::new();
    victim.closes(&((16 << 20) + 1_i32).to_be_bytes(), "frame of 16777217 bytes, the limit is");
    victim.closes(&i32::MAX.to_be_bytes(), "frame of 2147483647 bytes, the limit is");
    victim.closes(&(-1_i32).to_be_bytes(), "frame of -1 bytes");
    victim.closes(&i32::MIN.to_be_bytes(), "frame of -2147483648 bytes");
    victim.closes(&0_i32.to_be_bytes(), "connection closed");
    victim.closes(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "frame of 1195725856 bytes");
    // The header is longer than its frame, than any may be, or of no known form.
    victim.closes(&framed(&[0, 0, 1, 0]), "connection closed");
    victim.closes(&framed(&[0, 0xff, 0xff, 0xff]), "a header of 16777215 bytes is claimed");
    victim.closes(&framed(&[9, 0, 0, 0]), "header serialization 9 is unknown");
    victim.unharmed();
}

#[test]
fn claimed_lengths_take_no_memory() {
    let victim = Victim::new();
    let mut held = Vec::new();
    for port in victim.ports() {
        for _ in 0..100 {
            let mut stream = TcpStream::connect(port).unwrap();
            stream.write_all(&(16_i32 << 20).to_be_bytes()).unwrap();
            stream.write_all(&[0; 100]).unwrap();
            held.push(stream);
        }
    }
    // Lengths and counts within a frame: of a remark, of fields and of one of them.
    let fixed = [0, 11, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0];
    for claimed in [i32::MAX, 1 << 28, -1, i32::MIN] {
        let claimed = claimed.to_be_bytes();
        for rest in [
            claimed.to_vec(),
            [&[0; 4], &claimed[..]].concat(),
            [&[0; 4][..], &[0, 0, 0, 9, 0, 1, b'a'], &claimed].concat(),
        ] {
            let header = [&fixed[..], &rest].concat();
            let start = [1, 0, 0, header.len() as u8];
            for port in victim.ports() {
                answers(port, &framed(&[&start[..], &header].concat()));
            }
        }
    }
    victim.unharmed();
    drop(held);
}

#[test]
fn bodies_that_are_no_json_are_refused() {
    let victim = Victim::new();
    let deep = "[".repeat(100_000);
    let many = format!("{{\"clientID\":\"x\",\"consumerDataSet\":[{}0]}}", "0,".repeat(100_000));
    let wrong =
        ["", "{", "{]", "null", "7", "\"\"", "[]", "{\"clientID\":7}", "\u{1}", &deep, &many];
    let mut client = Remoting::connect(&victim.broker.rocketmq);
    for body in wrong {
        for code in [
            RequestCode::HeartBeat,
            RequestCode::CheckClientConfig,
            RequestCode::LockBatchMq,
            RequestCode::UnlockBatchMq,
            RequestCode::UpdateAndCreateSubscriptiongroup,
            RequestCode::UpdateAndCreateTopicList,
        ] {
            let told = client.call(code, |_| {}, Bytes::copy_from_slice(body.as_bytes()));
            let start: String = body.chars().take(20).collect();
            assert_ne!(told.code, 0, "{code:?} {start}");
        }
    }
    // The connection lives on, and is as good as any.
    let heartbeat = heartbeat_request(&mut client, "one", by_tags("*", 0));
    client.ask_among_notices(&heartbeat).expect(ResponseCode::Success);
    let offset = send(&mut client, "attacked", "A", "a0");
    assert_eq!(offset, 0);
    victim.unharmed();
}

/// Each request cut at every byte, with a byte changed, with noise behind it, and noise alone.
#[test]
fn mutated_frames_are_answered_or_close_their_connection() {
    const ROUNDS: usize = 150;
    let victim = Victim::new();
    send(&mut Remoting::connect(&victim.broker.rocketmq), "attacked", "A", "a0");
    let good = good_requests();
    let noise = &mut Noise(0x5eed);
    for port in victim.ports() {
        for request in &good {
            let whole = &request[4..];
            assert_ne!(answers(port, request), b"", "the good one");
            for length in (0..whole.len()).step_by(3) {
                answers(port, &framed(&whole[..length]));
            }
            for _ in 0..ROUNDS {
                let mut changed = whole.to_vec();
                for _ in 0..=noise.below(3) {
                    let at = noise.below(changed.len());
                    changed[at] = noise.next() as u8;
                }
                let more = noise.below(8);
                changed.extend(noise.bytes(more));
                // A good one behind it, which may be answered.
                answers(port, &[framed(&changed), request.clone()].concat());
            }
        }
        for _ in 0..ROUNDS {
            let count = noise.below(300);
            answers(port, &framed(&noise.bytes(count)));
        }
    }
    victim.unharmed();
}
