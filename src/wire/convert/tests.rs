//! Messages go there and back, by both ways.

use std::{borrow::Cow, net::SocketAddr};

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::{
    base::QueueId,
    wire::{
        kafka::{BatchBuilder, BatchHeader, Codec, batch, compression, record as kafka},
        rocketmq::{
            SysFlag, property,
            record::{Record, RecordVersion},
        },
    },
};

const HOST: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1);
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

fn target() -> Target<'static> {
    Target {
        topic: "orders",
        queue_id: 3,
        queue: QueueId(5),
        store_timestamp: 2_000,
        store_host: HOST,
    }
}

type Headers = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// A Kafka record as tests have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Told {
    timestamp_ms: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Headers,
}

fn batch_of(codec: Codec, base_offset: i64, records: &[Told]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.codec(codec).base_offset(base_offset);
    for record in records {
        let headers = record
            .headers
            .iter()
            .map(|(name, value)| kafka::Header { name, value: value.as_deref() });
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        builder.record_with(record.timestamp_ms, key, value, headers);
    }
    builder.build().unwrap()
}

/// The records of batches that lie end to end, each with its offset.
fn read_batches(mut bytes: &[u8]) -> Vec<(i64, Told)> {
    let mut told = Vec::new();
    while !bytes.is_empty() {
        let header = BatchHeader::parse(bytes).unwrap();
        let (batch, rest) = bytes.split_at(header.total_bytes());
        BatchHeader::validate(batch).unwrap();
        batch::check_crc(batch).unwrap();
        assert_eq!((header.partition_leader_epoch, header.producer_id), (0, -1));
        let payload = &batch[batch::HEADER_BYTES..];
        let payload = compression::decompress(header.codec().unwrap(), payload, 1 << 24).unwrap();
        for record in kafka::Records::new(&header, &payload) {
            let record = record.unwrap();
            let at = header.offset_time(&record);
            let owned = |header: kafka::Header<'_>| {
                (header.name.to_vec(), header.value.map(<[u8]>::to_vec))
            };
            told.push((
                at.offset,
                Told {
                    timestamp_ms: at.timestamp_ms,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                    headers: record.headers.clone().map(owned).collect(),
                },
            ));
        }
        bytes = rest;
    }
    told
}

fn to_kafka<'a>(records: impl IntoIterator<Item = (i64, &'a [u8])>) -> Vec<(i64, Told)> {
    let mut converting = ToKafka::new(usize::MAX);
    for (offset, record) in records {
        assert!(converting.push(offset, record));
    }
    read_batches(&converting.finish())
}

/// A record's properties as Java's map of them.
fn properties(record: &Record<'_>) -> Vec<(String, String)> {
    let all = record.properties().map(|(name, value)| (name.to_owned(), value.to_owned()));
    let map: std::collections::BTreeMap<_, _> = all.collect();
    map.into_iter().collect()
}

fn convert_all(batch: &[u8]) -> Messages {
    to_rocketmq(batch, 0, usize::MAX, 1 << 26, &target())
}

fn text(name: &str, value: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    (name.into(), Some(value.into()))
}

#[test]
fn a_kafka_record_is_a_message() {
    let record = Told {
        timestamp_ms: 1_000,
        key: Some(b"one two".to_vec()),
        value: Some(b"body".to_vec()),
        headers: vec![text("TAGS", "a"), text("UNIQ_KEY", "id"), text("color", "blau\u{e4}")],
    };
    let other = Told { timestamp_ms: 900, value: None, ..Told::default() };
    let batch = batch_of(Codec::Lz4, 7, &[record, other]);
    let messages = convert_all(&batch);
    assert_eq!((messages.offsets(), messages.len(), messages.lossy()), (7..9, 2, 0));
    let all: Vec<_> = messages.since(0).collect();
    let first = Record::parse(all[0].1).unwrap();
    first.check_body().unwrap();
    let expected = Record {
        version: RecordVersion::V1,
        body_crc: first.body_crc,
        queue_id: 3,
        flag: 0,
        queue_offset: 7,
        physical_offset: QueueId(5).locator(7),
        sys_flag: SysFlag(0),
        born_timestamp: 1_000,
        born_host: HOST,
        store_timestamp: 2_000,
        store_host: HOST,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body: b"body",
        topic: "orders",
        properties: "KEYS\u{1}one two\u{2}TAGS\u{1}a\u{2}UNIQ_KEY\u{1}id\u{2}color\u{1}blau\u{e4}\u{2}",
    };
    assert_eq!(first, expected);
    let second = Record::parse(all[1].1).unwrap();
    assert_eq!((second.queue_offset, second.born_timestamp, second.body), (8, 900, NO_BODY));
    assert_eq!(properties(&second), [(TOMBSTONE.to_owned(), "true".to_owned())]);
    assert_eq!(messages.since(8).count(), 1);
}

#[test]
fn odd_headers_are_hidden_and_the_last_plain_one_shows() {
    let null = |name: &str| (name.as_bytes().to_vec(), None);
    let record = Told {
        key: Some(vec![0xff]),
        value: Some(Vec::new()),
        headers: vec![
            text("a", "1"),
            text("b", "2"),
            text("a", "3"),
            null("a"),
            text("KEYS", "not the key"),
            text("c", "x\u{2}y"),
            (vec![0xfe], Some(vec![])),
            text(FLAG, "7"),
        ],
        ..Told::default()
    };
    let messages = convert_all(&batch_of(Codec::None, 0, std::slice::from_ref(&record)));
    let (_, bytes) = messages.since(0).next().unwrap();
    let message = Record::parse(bytes).unwrap();
    assert_eq!(message.flag, 7);
    let shown = properties(&message);
    let names: Vec<_> = shown.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["a", "b", EMPTY, HEADERS, KEY]);
    assert_eq!((shown[0].1.as_str(), shown[4].1.as_str()), ("3", "_w"));
    assert_eq!(to_kafka(messages.since(0)), [(0, record.clone())]);

    // A bridge whose properties are a map writes them in another order.
    let mut shuffled = String::new();
    for (name, value) in shown.iter().rev() {
        assert!(property::push(&mut shuffled, name, value));
    }
    let mut bytes = Vec::new();
    Record { properties: &shuffled, ..message }.encode(&mut bytes).unwrap();
    assert_eq!(to_kafka([(0, &bytes[..])]), [(0, record)]);
}

#[test]
fn what_the_broker_sets_is_no_header() {
    let mut block = String::new();
    let set = property::OF_BROKER.map(|name| (name, "x"));
    for (name, value) in [("TAGS", "t")].iter().chain(&set) {
        assert!(property::push(&mut block, name, value));
    }
    let told = to_kafka([(7, &encoded(&message(b"body", &block))[..])]);
    assert_eq!(told[0].1.headers, [text("TAGS", "t")]);
    // Who means something else by such a name keeps it.
    let record = Told { headers: vec![text("CLUSTER", "of stars")], ..Told::default() };
    let messages = convert_all(&batch_of(Codec::None, 0, std::slice::from_ref(&record)));
    let (_, bytes) = messages.since(0).next().unwrap();
    assert_eq!(Record::parse(bytes).unwrap().properties().get("CLUSTER"), None);
    assert_eq!(to_kafka(messages.since(0)), [(0, record)]);
}

fn message<'a>(body: &'a [u8], properties: &'a str) -> Record<'a> {
    Record {
        version: RecordVersion::V1,
        body_crc: 0,
        queue_id: 3,
        flag: 0,
        queue_offset: 7,
        physical_offset: 9,
        sys_flag: SysFlag(0),
        born_timestamp: 1_000,
        born_host: HOST,
        store_timestamp: 2_000,
        store_host: HOST,
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        topic: "orders",
        properties,
    }
}

fn encoded(record: &Record<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    record.encode(&mut bytes).unwrap();
    bytes
}

#[test]
fn bodies_are_decompressed() {
    let body = b"again and again and again".repeat(50);
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
    std::io::Write::write_all(&mut zlib, &body).unwrap();
    let compressed = [
        (0x001, zlib.finish().unwrap()),
        (0x301, compression::compress(Codec::None, &[]).unwrap()),
        (0x101, compression::compress(Codec::Lz4, &body).unwrap()),
        (0x201, compression::compress(Codec::Zstd, &body).unwrap()),
        (0x000, body.clone()),
    ];
    for (sys_flag, stored) in compressed {
        let record = Record { sys_flag: SysFlag(sys_flag), ..message(&stored, "") };
        let converted = KafkaRecord::from(&record);
        // The second is no zlib.
        let lossy = sys_flag == 0x301;
        assert_eq!(converted.lossy, lossy, "{sys_flag:x}");
        let dropped = converted.headers.iter().any(|(name, _)| &**name == DROPPED.as_bytes());
        assert_eq!(dropped, lossy);
        let expected = if lossy { &stored } else { &body };
        assert_eq!(converted.value.as_deref(), Some(&expected[..]));
    }
    // One that would grow beyond the limit stays as it is.
    let bomb = compression::compress(Codec::Zstd, &vec![0; BODY_BYTES_MAX + 1]).unwrap();
    let record = Record { sys_flag: SysFlag(0x201), ..message(&bomb, "") };
    let converted = KafkaRecord::from(&record);
    assert!(converted.lossy && converted.value == Some(Cow::Borrowed(&bomb[..])));
}

#[test]
fn batches_end_at_gaps_and_when_they_are_large() {
    let body = vec![1; 300 << 10];
    let record = encoded(&message(&body, ""));
    let offsets = [5, 6, 7, 8, 9, 11];
    let mut converting = ToKafka::new(usize::MAX);
    offsets.iter().for_each(|offset| assert!(converting.push(*offset, &record)));
    assert_eq!(converting.counts(), (6, 0));
    let bytes = converting.finish();
    assert_eq!(read_batches(&bytes).iter().map(|(at, _)| *at).collect::<Vec<_>>(), offsets);
    let mut bases = Vec::new();
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let header = BatchHeader::parse(rest).unwrap();
        bases.push(header.base_offset);
        rest = &rest[header.total_bytes()..];
    }
    assert_eq!(bases, [5, 9, 11]);

    let mut bounded = ToKafka::new(700 << 10);
    let taken = offsets.iter().take_while(|offset| bounded.push(**offset, &record)).count();
    assert_eq!(taken, 2);
    assert!(bounded.finish().len() <= 700 << 10);
    // A single record is given whatever its size.
    assert!(ToKafka::new(0).push(5, &record));
}

#[test]
fn a_batch_is_read_in_stretches() {
    let record = |body: u8| Told { value: Some(vec![body; 100]), ..Told::default() };
    let batch = batch_of(Codec::Zstd, 10, &(0..20).map(record).collect::<Vec<_>>());
    let (mut at, mut found) = (13, Vec::new());
    while at < 30 {
        let messages = to_rocketmq(&batch, at, 500, 1 << 20, &target());
        assert_eq!(messages.offsets().start, at);
        assert!(messages.len() <= 3);
        found.extend(messages.since(at).map(|(offset, bytes)| {
            let record = Record::parse(bytes).unwrap();
            assert_eq!((record.queue_offset, i64::from(record.body[0])), (offset, offset - 10));
            offset
        }));
        at = messages.offsets().end;
    }
    assert_eq!(found, (13..30).collect::<Vec<_>>());
}

#[test]
fn offsets_without_messages_are_passed_over() {
    let none = BatchBuilder::without_records(4, 6).unwrap();
    let messages = convert_all(&none);
    assert_eq!((messages.offsets(), messages.is_empty()), (4..10, true));
    let mut control = BatchBuilder::new();
    control.base_offset(4).attributes(1 << 5).record(0, Some(b"k"), None, &[]);
    let messages = convert_all(&control.build().unwrap());
    assert_eq!((messages.offsets(), messages.is_empty()), (4..5, true));
}

#[test]
fn what_cannot_be_read_is_one_marked_message() {
    let records: Vec<_> =
        (0..3).map(|n| Told { value: Some(vec![n; 9]), ..Told::default() }).collect();
    let mut batch = batch_of(Codec::None, 10, &records);
    let end = batch.len();
    // The third record's length.
    let third = end - (end - batch::HEADER_BYTES) / 3;
    batch[third] = 0xff;
    let messages = convert_all(&batch);
    assert_eq!((messages.offsets(), messages.len(), messages.lossy()), (10..13, 3, 1));
    let (offset, bytes) = messages.since(12).next().unwrap();
    let stand_in = Record::parse(bytes).unwrap();
    assert_eq!((offset, stand_in.queue_offset, stand_in.body), (12, 12, NO_BODY));
    assert_eq!(stand_in.properties().get(DROPPED), Some("records"));

    let bomb =
        batch_of(Codec::Zstd, 10, &[Told { value: Some(vec![0; 1 << 20]), ..Told::default() }]);
    let messages = to_rocketmq(&bomb, 10, usize::MAX, 1 << 19, &target());
    assert_eq!((messages.offsets(), messages.len(), messages.lossy()), (10..11, 1, 1));
}

#[test]
fn what_has_no_room_is_said() {
    let long = "x".repeat(20_000);
    let record = Told {
        key: Some(vec![b'k'; 40_000]),
        value: Some(vec![0; BODY_BYTES_MAX + 1]),
        headers: vec![text("a", &long), text("b", &long), text("TAGS", "t")],
        ..Told::default()
    };
    let messages = convert_all(&batch_of(Codec::None, 0, &[record]));
    let message = Record::parse(messages.since(0).next().unwrap().1).unwrap();
    assert_eq!((message.body, messages.lossy()), (NO_BODY, 1));
    let names: Vec<_> = message.properties().map(|(name, _)| name).collect();
    assert_eq!(names, ["a", "TAGS", DROPPED]);
    assert_eq!(message.properties().get(DROPPED), Some("key headers body"));
}

#[test]
fn many_headers_do_not_outgrow_the_properties() {
    let many = |count: usize, value: &str| {
        let headers = (0..count).map(|n| (format!("{n:x}").into_bytes(), Some(value.into())));
        Told { headers: headers.collect(), ..Told::default() }
    };
    // All are odd in the second, and one of them is large.
    let mut odd = many(30_000, "");
    odd.headers[7].1 = Some(vec![0xff; 50_000]);
    for record in [many(30_000, "v"), odd, many(8_000, "vv")] {
        let messages = convert_all(&batch_of(Codec::Zstd, 0, &[record]));
        let message = Record::parse(messages.since(0).next().unwrap().1).unwrap();
        assert_eq!(message.properties().get(DROPPED), Some("headers"));
        assert!(message.properties.len() <= property::PROPERTIES_BYTES_MAX);
    }
}

fn any_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-c\u{1}\u{2}é ]{0,4}".prop_map(String::into_bytes),
        "[a-c]{1,3}".prop_map(String::into_bytes),
        vec(any::<u8>(), 0..4),
    ]
}

const NAMES: [&str; 12] = [
    "KEYS", "TAGS", "UNIQ_KEY", "DELAY", "CLUSTER", KEY, HEADERS, TOMBSTONE, EMPTY, DROPPED, "a",
    "b",
];

fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any_bytes(),
        proptest::sample::select(&NAMES[..]).prop_map(|name| name.as_bytes().to_vec()),
    ]
}

prop_compose! {
    fn any_record()(
        timestamp_ms in any::<i32>(),
        key in option::of(any_bytes()),
        value in option::of(any_bytes()),
        headers in vec((any_name(), option::of(any_bytes())), 0..6),
    ) -> Told {
        Told { timestamp_ms: timestamp_ms.into(), key, value, headers }
    }
}

proptest! {
    #[test]
    fn kafka_records_return(
        codec in proptest::sample::select(&CODECS[..]),
        base_offset in 0..1_000_000_i64,
        records in vec(any_record(), 1..5),
    ) {
        let messages = convert_all(&batch_of(codec, base_offset, &records));
        prop_assert_eq!(messages.lossy(), 0);
        let expected: Vec<_> = (base_offset..).zip(records).collect();
        prop_assert_eq!(to_kafka(messages.since(0)), expected);
    }

    #[test]
    fn rocketmq_messages_return(
        body in vec(any::<u8>(), 1..20),
        flag in any::<i32>(),
        reconsume_times in 0..3,
        born_timestamp in any::<i32>(),
        names in vec(("KEYS|TAGS|[a-d]{1,2}|mainstem-dropped", "[a-c é]{1,4}"), 0..6),
    ) {
        let mut block = String::new();
        for (name, value) in &names {
            assert!(property::push(&mut block, name, value));
        }
        let born_timestamp = born_timestamp.into();
        let sent = Record { flag, reconsume_times, born_timestamp, ..message(&body, &block) };
        let mut converting = ToKafka::new(0);
        converting.push(7, &encoded(&sent));
        let messages = convert_all(&converting.finish());
        let bytes: Vec<_> = messages.since(0).collect();
        let back = Record::parse(bytes[0].1).unwrap();
        // What Java's map makes of names that repeat, and beside it how they lay.
        let mut shown = properties(&back);
        shown.retain(|(name, _)| name != HEADERS);
        prop_assert_eq!(shown, properties(&sent));
        let fields = |record: &Record<'_>| {
            (record.flag, record.reconsume_times, record.born_timestamp, record.queue_offset)
        };
        prop_assert_eq!(fields(&back), fields(&sent));
        prop_assert_eq!(back.body, sent.body);
    }

    #[test]
    fn any_bytes_are_survived(
        record in any_record(),
        codec in proptest::sample::select(&CODECS[..]),
        at in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
        from in any::<i64>(),
        bytes_max in 0..1_000_usize,
    ) {
        let mut batch = batch_of(codec, 5, &[record.clone(), record]);
        let at = at.index(batch.len());
        batch[at] = byte;
        let messages = to_rocketmq(&batch, from, bytes_max, 10_000, &target());
        for (_, record) in messages.since(i64::MIN) {
            prop_assert!(Record::parse(record).is_ok());
        }
        let _ = to_rocketmq(&batch[..at], from, bytes_max, 10_000, &target());
        let mut converting = ToKafka::new(bytes_max);
        for (offset, bytes) in messages.since(i64::MIN) {
            let mut bytes = bytes.to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            converting.push(offset, &bytes);
        }
        let _ = converting.finish();
    }
}
