//! Sends that wait for the log, on a broker whose log nobody writes.

use futures_lite::future::block_on;
use kafka_protocol::{
    messages::{
        ProduceRequest, ProduceResponse, ResponseHeader, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
    },
    protocol::{Decodable as _, Encodable as _},
};

use super::*;
use crate::{
    broker::broker_by,
    env::{Clock, LocalFuture, Tasks, simulated::SimulatedClock},
    gateway::{
        ColdRoom, RequestMemory,
        kafka::{FetchSessionMemory, KafkaSettings, Node, wire},
    },
    wire::kafka::{ApiKey, BatchBuilder},
};

const VERSION: i16 = 9;
const STALL: Duration = Duration::from_secs(10);

/// Tasks that never run, and sleeps that end at once: the clock says how long they took.
struct Sleeps(Arc<SimulatedClock>);

impl Tasks for Sleeps {
    fn spawn(&self, _: LocalFuture<'static, ()>) {}

    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()> {
        let clock = Arc::clone(&self.0);
        Box::pin(async move { clock.advance(duration) })
    }
}

fn gateway(clock: &Arc<SimulatedClock>) -> Gateway {
    let settings = KafkaSettings {
        node: Node::new(1, "localhost", 9092, ""),
        max_request_bytes: 1 << 20,
        connection_requests: 1,
        fetch_max_bytes: 1 << 20,
        stall_answer: STALL,
        max_delay: Duration::ZERO,
        idle: Duration::MAX,
    };
    let tasks = Rc::new(Sleeps(Arc::clone(clock)));
    Gateway {
        broker: broker_by(Arc::<SimulatedClock>::clone(clock), tasks),
        settings: Arc::new(settings),
        memory: Arc::new(RequestMemory::new(1 << 20, STALL)),
        complaints: Rc::default(),
        cold: ColdRoom::new(0),
        sessions: Arc::new(FetchSessionMemory::new(0)),
    }
}

/// A send of so many batches of 10 KB each.
fn request(batches: usize) -> Request {
    let mut builder = BatchBuilder::new();
    builder.record(4_000, None, Some(&[b'x'; 10_000]), &[]);
    let records = Bytes::from(builder.build().unwrap().to_vec());
    let partition = PartitionProduceData::default().with_records(Some(records));
    let topic = TopicProduceData::default()
        .with_name(TopicName(wire("orders")))
        .with_partition_data(vec![partition; batches]);
    let produce = ProduceRequest::default().with_acks(1).with_topic_data(vec![topic]);
    let mut body = BytesMut::new();
    produce.encode(&mut body, VERSION).unwrap();
    Request {
        key: ApiKey::Produce,
        version: VERSION,
        correlation_id: 7,
        client_id: None,
        client_host: [127, 0, 0, 1].into(),
        body: body.freeze(),
        holds_memory: false,
    }
}

/// The partitions' error codes.
fn send(gateway: &Gateway, batches: usize) -> Vec<i16> {
    let answer = block_on(handle(gateway, &request(batches))).unwrap().expect("an answer");
    let [Part::Bytes(bytes)] = &answer.parts[..] else { panic!("{answer:?}") };
    let mut bytes = bytes.slice(4..);
    ResponseHeader::decode(&mut bytes, 1).unwrap();
    let response = ProduceResponse::decode(&mut bytes, VERSION).unwrap();
    response.responses[0].partition_responses.iter().map(|part| part.error_code).collect()
}

#[test]
fn all_batches_of_a_send_wait_for_the_log_together() {
    let clock = Arc::new(SimulatedClock::new(5_000));
    let gateway = gateway(&clock);
    let timed_out = ResponseError::RequestTimedOut.code();
    while send(&gateway, 1) == [0] {}
    let began = clock.monotonic();
    assert_eq!(send(&gateway, 3), [timed_out; 3]);
    assert_eq!(clock.monotonic() - began, STALL);
}
