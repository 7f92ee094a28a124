//! The header's checks, and batches of the kafka-protocol crate.

use kafka_protocol::records::{
    Compression, NO_PARTITION_LEADER_EPOCH, Record, RecordBatchEncoder, RecordEncodeOptions,
    TimestampType as CrateTimestampType,
};
use proptest::prelude::*;

use super::*;
use crate::wire::kafka::BatchBuilder;

fn batch() -> Vec<u8> {
    let mut builder = BatchBuilder::new();
    builder.base_offset(3).producer(7, 1, 5);
    builder.record(100, Some(b"k"), Some(b"v"), &[]).record(90, None, None, &[]);
    builder.build().unwrap()
}

/// A valid batch with `bytes` written over it at `at`.
fn with<const N: usize>(at: usize, bytes: [u8; N]) -> Vec<u8> {
    let mut batch = batch();
    batch[at..at + N].copy_from_slice(&bytes);
    batch
}

#[test]
fn a_header_is_read() {
    let batch = batch();
    let header = BatchHeader::validate(&batch).unwrap();
    let expected = BatchHeader {
        base_offset: 3,
        length: batch.len() as i32 - 12,
        partition_leader_epoch: -1,
        crc: header.crc,
        attributes: 0,
        last_offset_delta: 1,
        base_timestamp: 100,
        max_timestamp: 100,
        producer_id: 7,
        producer_epoch: 1,
        base_sequence: 5,
        record_count: 2,
    };
    assert_eq!(header, expected);
    assert_eq!((header.total_bytes(), header.last_offset()), (batch.len(), 4));
    assert_eq!(header.codec(), Ok(Codec::None));
    check_crc(&batch).unwrap();
}

#[test]
fn what_kafka_refuses_is_refused() {
    let refused = |bytes: &[u8]| BatchHeader::validate(bytes).unwrap_err();
    let valid = batch();
    assert_eq!(refused(&[]), BatchError::TooShort(0));
    assert_eq!(refused(&valid[..60]), BatchError::TooShort(60));
    assert_eq!(refused(&with(16, [1])), BatchError::OldMagic(1));
    assert_eq!(refused(&with(16, [3])), BatchError::UnknownMagic(3));
    assert_eq!(refused(&with(16, [0xff])), BatchError::UnknownMagic(-1));
    let (claimed, held) = (valid.len() as i64, valid.len() - 1);
    assert_eq!(refused(&valid[..held]), BatchError::Length { claimed, held });
    let claimed = i64::from(i32::MIN) + 12;
    let negative = BatchError::Length { claimed, held: valid.len() };
    assert_eq!(refused(&with(8, i32::MIN.to_be_bytes())), negative);
    assert_eq!(refused(&[&valid[..], &valid[..]].concat()), BatchError::MoreThanOne(valid.len()));
    for (count, last_offset_delta) in [(0, -1), (3, 1), (-1, 1), (i32::MIN, i32::MAX)] {
        let mut bytes = with(57, i32::to_be_bytes(count));
        bytes[23..27].copy_from_slice(&i32::to_be_bytes(last_offset_delta));
        assert_eq!(refused(&bytes), BatchError::Count { count, last_offset_delta });
    }
    assert_eq!(refused(&with(22, [5])), BatchError::UnknownCodec(5));
    assert_eq!(refused(&with(22, [CONTROL as u8])), BatchError::Control);
    assert_eq!(refused(&with(22, [LOG_APPEND_TIME as u8])), BatchError::LogAppendTime);
    let sequence = BatchError::Sequence { producer_id: 7, base_sequence: -1 };
    assert_eq!(refused(&with(53, [0xff; 4])), sequence);
}

#[test]
fn every_byte_under_the_crc_counts() {
    let valid = batch();
    for at in CRC_FROM..valid.len() {
        let mut bytes = valid.clone();
        bytes[at] ^= 1;
        assert!(matches!(check_crc(&bytes), Err(BatchError::Crc { .. })), "byte {at}");
    }
}

#[test]
fn assigned_fields_lie_outside_the_crc() {
    let mut bytes = batch();
    set_assigned(&mut bytes, i64::MAX - 1, 9).unwrap();
    check_crc(&bytes).unwrap();
    let header = BatchHeader::validate(&bytes).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (i64::MAX - 1, 9));
    assert_eq!(set_assigned(&mut bytes[..15], 0, 0), Err(BatchError::TooShort(15)));
}

#[test]
fn the_brokers_time_is_summed() {
    let mut bytes = batch();
    let crc = set_log_append_time(&mut bytes, 12_345).unwrap();
    check_crc(&bytes).unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!((header.crc, header.max_timestamp), (crc, 12_345));
    assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
    let short = bytes.len() - 1;
    assert!(set_log_append_time(&mut bytes[..short], 0).is_err());
}

#[test]
fn batches_of_the_crate_are_valid() {
    let record = |offset: i64| Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: NO_PARTITION_LEADER_EPOCH,
        producer_id: 4,
        producer_epoch: 2,
        timestamp_type: CrateTimestampType::Creation,
        offset,
        sequence: 10 + offset as i32,
        timestamp: 1_000 + offset,
        key: None,
        value: Some("v".into()),
        headers: Default::default(),
    };
    let mut bytes = Vec::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let records = [record(0), record(1), record(2)];
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    let header = BatchHeader::validate(&bytes).unwrap();
    check_crc(&bytes).unwrap();
    assert!(header.is_transactional() && !header.is_control());
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4, 2, 10));
    assert_eq!((header.base_timestamp, header.max_timestamp), (1_000, 1_002));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(
        mut bytes in prop::collection::vec(any::<u8>(), 0..100),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut mutated = batch();
        let at = at.index(mutated.len());
        mutated[at] = byte;
        if let Some(magic) = bytes.get_mut(16).filter(|_| byte % 2 == 0) {
            *magic = 2;
        }
        for bytes in [&mut bytes, &mut mutated] {
            let _ = BatchHeader::validate(bytes).map(|header| header.last_offset());
            let _ = check_crc(bytes);
            let _ = set_assigned(bytes, 1, 1);
            let _ = set_log_append_time(bytes, 1);
        }
    }
}
