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
