//! Records against the kafka-protocol crate, and what only the hand parser keeps.

use kafka_protocol::records::RecordBatchDecoder;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::wire::kafka::batch::{HEADER_BYTES, set_log_append_time};
use crate::wire::kafka::compression::decompress;
use crate::wire::kafka::{BatchBuilder, Codec};

type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<(String, Option<Vec<u8>>)>);

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let bytes = || option::of(vec(any::<u8>(), 0..20));
    let headers = vec(("[a-c]{0,2}", bytes()), 0..5);
    vec((0..2_000_000_000_000_i64, bytes(), bytes(), headers), 1..8)
}

fn batch(records: &[Owned]) -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(1000);
    for (timestamp_ms, key, value, headers) in records {
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        builder.record(*timestamp_ms, key.as_deref(), value.as_deref(), &headers);
    }
    builder.build().unwrap()
}

#[test]
fn repeated_header_names_survive() {
    let headers = [("a", Some(&b"1"[..])), ("b", None), ("a", Some(b"2")), ("a", None)];
    let batch = BatchBuilder::new().record(5, None, None, &headers).build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let record = Records::new(&header, &batch[HEADER_BYTES..]).next().unwrap().unwrap();
    assert_eq!(record.headers.len(), 4);
    let read = record.headers.map(|header| (str::from_utf8(header.name).unwrap(), header.value));
    assert!(read.eq(headers));
}

#[test]
fn keys_and_offsets_are_checked() {
    let mut builder = BatchBuilder::new();
    builder.record(7, Some(b"k"), None, &[]).record(9, None, None, &[]).record(9, None, None, &[]);
    let mut batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let latest = OffsetTime { offset: 1, timestamp_ms: 9 };
    assert_eq!(check_records(&header, &batch[HEADER_BYTES..], false), Ok(latest));
    let no_key = Err(BatchError::NoKey(1));
    assert_eq!(check_records(&header, &batch[HEADER_BYTES..], true), no_key);
    // The first record's offset delta, behind its length, attributes and timestamp delta.
    batch[HEADER_BYTES + 3] = 2;
    let disordered = BatchError::Record { index: 0, reason: "its offset is out of order" };
    assert_eq!(check_records(&header, &batch[HEADER_BYTES..], false), Err(disordered));
}

#[test]
fn a_time_is_found() {
    let mut builder = BatchBuilder::new();
    builder.base_offset(40);
    for timestamp_ms in [100, 90, 120, 110] {
        builder.record(timestamp_ms, None, None, &[]);
    }
    let mut batch = builder.build().unwrap();
    let find = |batch: &[u8], timestamp_ms| {
        let header = BatchHeader::parse(batch).unwrap();
        find_timestamp(&header, &batch[HEADER_BYTES..], i64::MIN, timestamp_ms).unwrap()
    };
    let found = |offset, timestamp_ms| Some(OffsetTime { offset, timestamp_ms });
    assert_eq!(find(&batch, 0), found(40, 100));
    assert_eq!(find(&batch, 101), found(42, 120));
    assert_eq!(find(&batch, 121), None);
    set_log_append_time(&mut batch, 500).unwrap();
    assert_eq!(find(&batch, 121), found(40, 500));
}

#[test]
fn compressed_records_return() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let mut builder = BatchBuilder::new();
        builder.codec(codec).record(1, Some(b"k"), Some(&[0; 1000]), &[]);
        let batch = builder.build().unwrap();
        let header = BatchHeader::validate(&batch).unwrap();
        let limit_bytes = builder.records_bytes();
        let records = decompress(codec, &batch[HEADER_BYTES..], limit_bytes).unwrap();
        check_records(&header, &records, true).unwrap();
        assert_eq!(header.codec(), Ok(codec));
    }
}

#[test]
fn bytes_behind_the_last_record_are_an_error() {
    let mut batch = BatchBuilder::new().record(1, None, None, &[]).build().unwrap();
    batch.push(0);
    let header = BatchHeader::parse(&batch).unwrap();
    let results: Vec<_> = Records::new(&header, &batch[HEADER_BYTES..]).collect();
    assert!(matches!(results[..], [Ok(_), Err(BatchError::Record { index: 1, .. })]));
}

proptest! {
    #[test]
    fn records_return(records in records()) {
        let batch = batch(&records);
        let header = BatchHeader::validate(&batch).unwrap();
        let read: Vec<Owned> = Records::new(&header, &batch[HEADER_BYTES..])
            .map(|record| {
                let record = record.unwrap();
                let headers = record.headers.clone().map(|header| {
                    let name = String::from_utf8(header.name.to_vec()).unwrap();
                    (name, header.value.map(<[u8]>::to_vec))
                });
                let timestamp_ms = header.offset_time(&record).timestamp_ms;
                let (key, value) = (record.key, record.value);
                let owned = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
                (timestamp_ms, owned(key), owned(value), headers.collect())
            })
            .collect();
        prop_assert_eq!(&read, &records);
    }

    #[test]
    fn the_crate_reads_our_batches(records in records()) {
        let mut bytes = bytes::Bytes::from(batch(&records));
        let theirs = RecordBatchDecoder::decode(&mut bytes).unwrap().records;
        prop_assert_eq!(theirs.len(), records.len());
        for (index, (theirs, ours)) in theirs.iter().zip(&records).enumerate() {
            prop_assert_eq!(theirs.offset, 1000 + index as i64);
            prop_assert_eq!(theirs.timestamp, ours.0);
            prop_assert_eq!(theirs.key.as_deref(), ours.1.as_deref());
            prop_assert_eq!(theirs.value.as_deref(), ours.2.as_deref());
        }
    }

    #[test]
    fn broken_records_are_survived(
        records in records(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        noise in vec(any::<u8>(), 0..100),
        count in any::<i32>(),
    ) {
        let mut batch = batch(&records);
        let mut header = BatchHeader::parse(&batch).unwrap();
        let at = HEADER_BYTES + at.index(batch.len() - HEADER_BYTES);
        let cut = check_records(&header, &batch[HEADER_BYTES..at], false);
        prop_assert!(cut.is_err());
        batch[at] = byte;
        let _ = check_records(&header, &batch[HEADER_BYTES..], true);
        header.record_count = count;
        let _ = find_timestamp(&header, &noise, i64::MIN, i64::MAX);
        prop_assert!(Records::new(&header, &noise).count() <= noise.len() + 1);
    }
}
