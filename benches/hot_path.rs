//! What every message passes: the batch's checks, the frame's and the block's seal, the look-up in
//! memory, the fetch's answer, a remoting frame's header, and a subscription's filter.
//!
//!     cargo bench --bench hot_path
//!
//! At its end it holds what it measured against `benches/baseline.md`; see there.

mod baseline;

use std::{hint::black_box, time::Duration};

use baseline::Baseline;
use bytes::{Buf as _, Bytes, BytesMut};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group};
use mainstem::{
    base::{Position, QueueId, Term, TopicId},
    broker::filter::{Filter, TagHash},
    storage::{
        commit_log::{
            SECTOR,
            block::{BLOCK_HEADER, BlockHeader, seal_block},
            frame::{FRAME_HEADER, FrameKind, FrameMeta, frame_span, seal_frame},
        },
        queue_index::{Budget, IndexEntry, MemoryIndex},
    },
    wire::kafka::{
        BatchBuilder, BatchHeader, batch,
        fetch::{FetchPartitionResponse, FetchResponse, FetchTopicResponse},
    },
    wire::rocketmq::{
        RemotingCommand, RequestCode, Serialization,
        header::{SendMessageRequest, SendMessageRequestV2},
        property::Properties,
    },
};

const KIB: usize = 1024;

/// A batch of `records` records of 1 KiB.
fn record_batch(records: usize) -> Vec<u8> {
    let value = vec![7; KIB];
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.record(1_700_000_000_000, None, Some(&value), &[]);
    }
    builder.build().expect("an uncompressed batch")
}

fn meta(count: usize) -> FrameMeta {
    FrameMeta {
        kind: FrameKind::KafkaBatch,
        queue: QueueId(7),
        base_offset: 42,
        count: count as u32,
        tag_hash: 0,
        append_time_ms: 1_700_000_000_000,
    }
}

/// Checks of a batch as it comes in, its CRC-32C included.
fn check_batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("check_batch");
    for records in [1, 16, 256] {
        let bytes = record_batch(records);
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        if records == 1 {
            group.bench_function("header_alone", |bencher| {
                bencher.iter(|| BatchHeader::validate(black_box(&bytes)).expect("it is whole"));
            });
        }
        group.bench_function(BenchmarkId::from_parameter(format!("{records}KiB")), |bencher| {
            bencher.iter(|| {
                let header = BatchHeader::validate(black_box(&bytes)).expect("it is whole");
                batch::check_crc(&bytes).expect("its CRC matches");
                header
            });
        });
    }
    group.finish();
}

fn seal_one_frame(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal_frame");
    for records in [1, 16, 256] {
        let batch = record_batch(records);
        let mut span = vec![0; frame_span(batch.len())];
        span[FRAME_HEADER..][..batch.len()].copy_from_slice(&batch);
        group.bench_function(BenchmarkId::from_parameter(format!("{records}KiB")), |bencher| {
            bencher.iter(|| seal_frame(black_box(&mut span), batch.len(), &meta(records)));
        });
    }
    group.finish();
}

fn seal_one_block(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("seal_block");
    let batch = record_batch(1);
    let span = frame_span(batch.len());
    for frames in [1, 60, 960] {
        let frames_bytes = frames * span;
        let block_bytes = (BLOCK_HEADER + frames_bytes).next_multiple_of(SECTOR);
        let mut block = vec![0; block_bytes];
        for frame in block[BLOCK_HEADER..][..frames_bytes].chunks_mut(span) {
            frame[FRAME_HEADER..][..batch.len()].copy_from_slice(&batch);
            seal_frame(frame, batch.len(), &meta(1));
        }
        let header = BlockHeader {
            log_id: 1,
            segment: 2,
            position: Position(4096),
            durable_through: Position(4096),
            frames_before: 3,
            block_bytes: block_bytes as u32,
            previous: 4,
            term: Term(0),
            index: 5,
            frame_count: frames as u32,
            frames_bytes: frames_bytes as u32,
        };
        group.bench_function(BenchmarkId::from_parameter(format!("{frames}_frames")), |bencher| {
            let (head, rest) = block.split_first_chunk_mut().expect("it has a header");
            let frames = &rest[..frames_bytes];
            bencher.iter(|| seal_block(black_box(head), frames, &header));
        });
    }
    group.finish();
}

/// An index of `queues` queues with `entries` frames each, in the order of a busy log.
fn index(queues: u32, entries: u64) -> MemoryIndex {
    let mut index = MemoryIndex::new(Position(0));
    let mut position = 0;
    for entry in 0..entries {
        for queue in 0..queues {
            let frame = IndexEntry {
                base_offset: entry as i64 * 16,
                position: Position(position),
                max_timestamp: 1_700_000_000_000 + entry as i64,
                append_time: 1_700_000_000_000 + entry as i64,
                length: 16 * KIB as u32,
                count: 16,
                tag_hash: 0,
                ..IndexEntry::default()
            };
            index.push(QueueId(queue), frame);
            position += u64::from(frame.length);
        }
    }
    index
}

/// The look-up of one fetch: up to 1 MiB from an offset on.
fn index_range(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("index_range");
    let budget = Budget { entries: 256, bytes: 1 << 20 };
    for (queues, entries) in [(1, 100_000), (100, 1_000), (10_000, 10)] {
        let index = index(queues, entries);
        let id = BenchmarkId::from_parameter(format!("{queues}_queues_of_{entries}"));
        let mut turn = 0u64;
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                // Jumps through queues and offsets, so that caches do not answer alone.
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let queue = QueueId((turn >> 33) as u32 % queues);
                let offset = ((turn >> 20) % (entries * 16)) as i64;
                black_box(index.range(queue, offset, budget))
            });
        });
    }
    group.finish();
}

/// The answer to a fetch, without the records, which are sent from where they lie.
fn fetch_answer(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("fetch_answer");
    for partitions in [1, 100] {
        let partitions = (0..partitions).map(|index| FetchPartitionResponse {
            high_watermark: 1_000,
            last_stable_offset: 1_000,
            log_start_offset: 0,
            records_bytes: 16 * KIB,
            ..FetchPartitionResponse::failed(index, 0)
        });
        let partitions: Vec<_> = partitions.collect();
        let count = partitions.len();
        let topic = FetchTopicResponse { name: "orders", id: TopicId([7; 16]), partitions };
        let response = FetchResponse {
            throttle_time_ms: 0,
            error_code: 0,
            session_id: 0,
            topics: vec![topic],
        };
        group.bench_function(
            BenchmarkId::from_parameter(format!("{count}_partitions")),
            |bencher| {
                bencher.iter_batched_ref(
                    || BytesMut::with_capacity(64 + 64 * count),
                    |out| response.encode(1, 17, black_box(out)).expect("it fits a frame"),
                    BatchSize::SmallInput,
                );
            },
        );
    }
    group.finish();
}

/// A message's properties as a producer of RocketMQ and its broker write them, with three of the user's.
const PROPERTIES: &str = "KEYS\u{1}order-4711\u{2}UNIQ_KEY\u{1}7F0000010B2C18B4AAC2A4C6F1E80001\u{2}\
    WAIT\u{1}true\u{2}TAGS\u{1}paid\u{2}amount\u{1}1250\u{2}region\u{1}eu-west\u{2}vip\u{1}true\u{2}\
    MSG_REGION\u{1}DefaultRegion\u{2}TRACE_ON\u{1}true\u{2}CLUSTER\u{1}DefaultCluster\u{2}";

/// A send of 1 KiB as RocketMQ's Java client makes it, without the length that goes before it.
fn send_frame(serialization: Serialization) -> Bytes {
    let mut request = RemotingCommand::request(RequestCode::SendMessageV2, 4711, serialization);
    SendMessageRequestV2 {
        producer_group: "orders-producer",
        topic: "orders",
        default_topic: "TBW102",
        default_topic_queue_nums: 4,
        queue_id: 3,
        sys_flag: 0,
        born_timestamp: 1_700_000_000_000,
        flag: 0,
        properties: Some(PROPERTIES),
        reconsume_times: Some(0),
        unit_mode: Some(false),
        max_reconsume_times: None,
        batch: Some(false),
        broker_name: Some("mainstem"),
    }
    .write(&mut request.fields);
    request.body = Bytes::from(vec![7; KIB]);
    let mut frame = BytesMut::new();
    request.encode(&mut frame).expect("it fits a frame");
    frame.advance(4);
    frame.freeze()
}

/// A remoting frame to a send's typed header: the frame's cutting is not in it, nor the body's copy.
fn parse_remoting(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse_remoting");
    for (name, serialization) in
        [("json", Serialization::Json), ("rocketmq", Serialization::RocketMq)]
    {
        let frame = send_frame(serialization);
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter(|| {
                let command = RemotingCommand::parse(black_box(&frame)).expect("it is whole");
                let header = SendMessageRequestV2::parse(&command.fields).expect("all are there");
                SendMessageRequest::from(header).queue_id
            });
        });
    }
    group.finish();
}

/// One message held against a subscription: the index entry's hash, or the properties.
fn filter_message(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("filter_message");
    let tags = Filter::tags("new || paid || sent").expect("tags");
    let hash = TagHash::of(Some("paid"));
    group.bench_function("tag_hash", |bencher| bencher.iter(|| tags.verdict(black_box(hash))));
    let conditions = [
        ("one_property", "amount > 1000"),
        (
            "three_properties",
            "amount BETWEEN 1000 AND 5000 AND region IN ('eu-west', 'eu-north') AND vip = TRUE",
        ),
    ];
    for (name, condition) in conditions {
        let filter = Filter::sql(condition).expect("a condition");
        assert!(filter.wants(None, Properties::new(PROPERTIES)));
        group.bench_function(BenchmarkId::new("sql", name), |bencher| {
            bencher.iter(|| filter.wants(None, Properties::new(black_box(PROPERTIES))));
        });
    }
    group.bench_function("properties_alone", |bencher| {
        bencher.iter(|| Properties::new(black_box(PROPERTIES)).count());
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .output_directory(&baseline::results())
        .sample_size(50)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = check_batch, seal_one_frame, seal_one_block, index_range, fetch_answer,
        parse_remoting, filter_message
}

fn main() {
    let baseline = Baseline::begin();
    benches();
    Criterion::default().configure_from_args().final_summary();
    baseline.end();
}
