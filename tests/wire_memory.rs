//! What a frame makes the broker allocate, measured: at most 64 bytes for each byte received.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes};
use kafka_protocol::messages;
use kafka_protocol::protocol::Decodable;
use mainstem::wire::MEMORY_PER_BYTE;
use mainstem::wire::kafka::fetch::FetchRequest;
use mainstem::wire::kafka::message::decode;
use mainstem::wire::kafka::produce::ProduceRequest;
use mainstem::wire::kafka::{ApiKey, RequestHeader};
use mainstem::wire::rocketmq::batch::BatchMessages;
use mainstem::wire::rocketmq::body::{self, from_json};
use mainstem::wire::rocketmq::header::{PullMessageRequest, SendMessageRequest};
use mainstem::wire::rocketmq::record::Records;
use mainstem::wire::rocketmq::{RemotingCommand, Serialization};
use proptest::prelude::*;
use proptest::test_runner::TestRng;

/// Counts what a thread allocates; what it frees again counts all the same.
struct Counting;

thread_local! {
    static ALLOCATED: Cell<usize> = const { Cell::new(0) };
}

fn count(bytes: usize) {
    ALLOCATED.set(ALLOCATED.get() + bytes);
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn body_of<T: Decodable>(key: ApiKey, version: i16, body: Bytes) -> bool {
    decode::<T>(key, version, body).is_ok()
}

/// Parses a frame as the broker does; tells whether its body was good.
fn parse(frame: &Bytes) -> bool {
    let Ok(header) = RequestHeader::parse(frame) else { return false };
    let (key, version, body) = (header.key, header.version, frame.slice_ref(header.body));
    macro_rules! bodies {
        ($($name:ident $request:ident),* $(,)?) => {
            match key {
                ApiKey::Produce => ProduceRequest::parse(version, &body).is_ok(),
                ApiKey::Fetch => FetchRequest::parse(version, &body).is_ok(),
                $(ApiKey::$name => body_of::<messages::$request>(key, version, body),)*
            }
        };
    }
    bodies!(
        ListOffsets ListOffsetsRequest, Metadata MetadataRequest,
        OffsetCommit OffsetCommitRequest, OffsetFetch OffsetFetchRequest,
        FindCoordinator FindCoordinatorRequest, JoinGroup JoinGroupRequest,
        Heartbeat HeartbeatRequest, LeaveGroup LeaveGroupRequest, SyncGroup SyncGroupRequest,
        DescribeGroups DescribeGroupsRequest, ListGroups ListGroupsRequest,
        ApiVersions ApiVersionsRequest, CreateTopics CreateTopicsRequest,
        DeleteTopics DeleteTopicsRequest, DeleteRecords DeleteRecordsRequest,
        InitProducerId InitProducerIdRequest,
        OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
        DescribeConfigs DescribeConfigsRequest, AlterConfigs AlterConfigsRequest,
        DescribeLogDirs DescribeLogDirsRequest, CreatePartitions CreatePartitionsRequest,
        DeleteGroups DeleteGroupsRequest,
        IncrementalAlterConfigs IncrementalAlterConfigsRequest,
        OffsetDelete OffsetDeleteRequest, DescribeCluster DescribeClusterRequest,
        DescribeProducers DescribeProducersRequest,
        DescribeTopicPartitions DescribeTopicPartitionsRequest,
    )
}

/// Parses a frame and holds what that took against the bound.
fn measure(frame: Vec<u8>) -> bool {
    measure_with(frame, parse)
}

fn measure_with(frame: Vec<u8>, parse: impl FnOnce(&Bytes) -> bool) -> bool {
    let received = frame.len() + 4; // The length prefix was received too.
    let frame = Bytes::from(frame);
    let before = ALLOCATED.get();
    let good = parse(&frame);
    let taken = ALLOCATED.get() - before;
    assert!(taken <= MEMORY_PER_BYTE * received, "{taken} bytes for {received}: {frame:?}");
    good
}

fn header(key: ApiKey, version: i16) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_i16(key.code());
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    if key.is_flexible(version) {
        frame.put_u8(0);
    }
    frame
}

/// Bytes of which most are small, so that many make sense as counts and lengths.
fn noise(rng: &mut TestRng) -> Vec<u8> {
    let (length, limit) = (rng.next_u32() % 400, [2, 3, 5, 256][rng.next_u32() as usize % 4]);
    (0..length).map(|_| (rng.next_u32() % limit) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]
    #[test]
    fn any_body_stays_within_bounds(mut rng in Just(()).prop_perturb(|(), rng| rng)) {
        for &key in ApiKey::ALL {
            let (min, max) = key.advertised();
            for version in min..=max {
                let mut frame = header(key, version);
                frame.extend(noise(&mut rng));
                measure(frame);
            }
        }
    }
}

/// Metadata of `topics` topics with names of `name_bytes` and `tags` empty tagged fields each.
fn tagged(topics: usize, name_bytes: usize, tags: u8) -> Vec<u8> {
    let mut frame = header(ApiKey::Metadata, 9);
    let count = topics + 1;
    frame.extend([count as u8 | 0x80, (count >> 7) as u8 | 0x80, (count >> 14) as u8]);
    for _ in 0..topics {
        frame.push(name_bytes as u8 + 1);
        frame.extend(std::iter::repeat_n(b'n', name_bytes));
        frame.push(tags);
        (0..tags).for_each(|tag| frame.extend([tag, 0]));
    }
    frame.extend([0; 4]);
    frame
}

#[test]
fn tagged_fields_stay_within_bounds() {
    assert!(measure(tagged(10_000, 0, 0)));
    assert!(measure(tagged(10_000, 20, 1)));
    assert!(!measure(tagged(10_000, 0, 1)));
    for tags in (0..127).step_by(6) {
        for name_bytes in (0..20).step_by(4) {
            measure(tagged(100, name_bytes, tags));
        }
    }
}

/// Parses a RocketMQ frame as a gateway does, its body as JSON of every kind, as records and as a
/// batch; each by itself, since a frame has but one body.
fn measure_rocketmq(frame: &[u8]) {
    measure_with(frame.to_vec(), |frame| {
        let Ok(command) = RemotingCommand::parse(frame) else { return false };
        let _ = SendMessageRequest::parse(&command.fields);
        let _ = PullMessageRequest::parse(&command.fields);
        Records::new(&command.body).count() + BatchMessages::new(&command.body).count() > 0
    });
}

/// Reads a frame's body as each of those that a client or a broker may send. Tells whether it was one.
fn measure_body(json: &[u8]) -> bool {
    let frame = remoting(Serialization::RocketMq, &[0; 21], json);
    let read = |body: fn(&[u8]) -> bool| {
        measure_with(frame.clone(), |frame| {
            RemotingCommand::parse(frame).is_ok_and(|command| body(&command.body))
        })
    };
    macro_rules! any_of {
        ($($name:ident),*) => {
            [$(read(|json| from_json::<body::$name>(json).is_ok())),*].contains(&true)
        };
    }
    any_of!(
        HeartbeatData,
        CheckClientRequestBody,
        LockBatchRequestBody,
        RegisterBrokerBody,
        SubscriptionGroupConfig,
        GetConsumerStatusBody,
        TopicConfig,
        KvTable,
        ConsumeStats,
        TopicRouteData,
        DataVersion
    )
}

/// `header` in a frame of that serialization, `body` behind it.
fn remoting(serialization: Serialization, header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.put_u32((serialization as u32) << 24 | header.len() as u32);
    frame.extend(header);
    frame.extend(body);
    frame
}

/// JSON's own characters and what makes the shortest values.
fn json_noise(rng: &mut TestRng) -> Vec<u8> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"\"",
        "0",
        "null",
        "\"a\"",
        "{\"a\":",
        "\"extFields\":{",
        "\"clientID\":\"\",",
        "\"mqSet\":[",
        "\"table\":{",
        "{0:",
        "{{}:",
        "\\",
    ];
    let count = rng.next_u32() % 100;
    let piece = |_| pieces[rng.next_u32() as usize % pieces.len()].bytes();
    (0..count).flat_map(piece).collect()
}

proptest! {
    #[test]
    fn any_remoting_frame_stays_within_bounds(mut rng in Just(()).prop_perturb(|(), rng| rng)) {
        for serialization in [Serialization::Json, Serialization::RocketMq] {
            measure_rocketmq(&remoting(serialization, &noise(&mut rng), &noise(&mut rng)));
            measure_rocketmq(&remoting(serialization, &json_noise(&mut rng), &[]));
        }
        measure_body(&json_noise(&mut rng));
        measure_body(&noise(&mut rng));
    }
}

/// Headers with as many fields as their bytes can hold.
#[test]
fn fields_stay_within_bounds() {
    for count in [1, 2, 4, 5, 8, 9, 16, 17, 33, 65, 129, 1025] {
        for field in ["\"\":0", "\"\":\"\"", "\"\":1.5", "\"\\n\":true", "\"\":null"] {
            let fields = vec![field; count].join(",");
            let header = format!("{{\"extFields\":{{{fields}}}}}");
            measure_rocketmq(&remoting(Serialization::Json, header.as_bytes(), &[]));
        }
        let mut header = vec![0; 17];
        let field = [0, 1, b'n', 0, 0, 0, 1, b'v'];
        header.put_u32((count * field.len()) as u32);
        header.extend(field.repeat(count));
        measure_rocketmq(&remoting(Serialization::RocketMq, &header, &[]));
    }
}

/// Bodies whose elements are as short as they may be, as objects and as arrays, which serde takes for
/// a struct with its fields in order.
#[test]
fn long_lists_stay_within_bounds() {
    let lists = [
        ("{\"clientID\":\"\",\"producerDataSet\":[", "{\"groupName\":\"\"}", "]}"),
        ("{\"clientID\":\"\",\"producerDataSet\":[", "[\"\"]", "]}"),
        ("{\"clientID\":\"\",\"consumerDataSet\":[", "[0,0,\"\",0]", "]}"),
        ("[\"\",[[0,0,\"\",0,[", "[null,null,null,\"\",0,null,\"\"]", "]]]]"),
        ("[\"\",[[0,0,\"\",0,[[null,null,null,\"\",0,[", "\"\"", "],\"\"]]]]]"),
        ("[\"\",[[0,0,\"\",0,[[null,[", "0", "],null,\"\",0,null,\"\"]]]]]"),
        ("{\"clientId\":\"\",\"consumerGroup\":\"\",\"mqSet\":[", "[\"\",0,\"\"]", "]}"),
        ("{\"messageQueueTable\":{", "\"[\\\"\\\",0,\\\"\\\"]\":0", "}}"),
        (
            "{\"consumeTps\":0,\"offsetTable\":{",
            "{\"brokerName\":\"\",\"queueId\":0,\"topic\":\"\"}:[0,0,0,0]",
            "}}",
        ),
        ("{\"brokerDatas\":[],\"queueDatas\":[", "[\"\",0,0,0,0]", "]}"),
        ("{\"queueDatas\":[],\"brokerDatas\":[", "[{},\"\",\"\"]", "]}"),
        ("{\"queueDatas\":[],\"brokerDatas\":[", "[{0:\"\"},\"\",\"\"]", "]}"),
    ];
    for (head, element, tail) in lists {
        for count in [1, 5, 17, 33, 129, 1025] {
            let json = format!("{head}{}{tail}", vec![element; count].join(","));
            assert!(measure_body(json.as_bytes()), "{json}");
        }
    }
}

/// Maps whose keys all differ.
#[test]
fn long_maps_stay_within_bounds() {
    let maps = [
        ("{\"table\":{", "\"\"", "}}"),
        ("[[],{},null,[],{", "0", "}]"),
        ("{\"topicConfigSerializeWrapper\":[null,{", "[{},false,0,0,0,\"\",0,0]", "}]}"),
        ("{\"queueDatas\":[],\"brokerDatas\":[[{", "\"\"", "},\"\",\"\"]]}"),
    ];
    for (head, value, tail) in maps {
        for count in [1, 7, 12, 13, 100, 1000] {
            let entries: Vec<_> = (0..count).map(|key| format!("{key}:{value}")).collect();
            measure_body(format!("{head}{}{tail}", entries.join(",")).as_bytes());
            let entries: Vec<_> = (0..count).map(|key| format!("\"{key}\":{value}")).collect();
            measure_body(format!("{head}{}{tail}", entries.join(",")).as_bytes());
        }
    }
}
