//! RocketMQ records as Kafka's.

use std::borrow::Cow;

use hashbrown::HashSet;

use super::{
    BODY_BYTES_MAX, DROPPED, EMPTY, FLAG, HEADERS, KEY, NO_BODY, RECONSUME_TIMES, TOMBSTONE,
};
use crate::{
    base::base64,
    wire::{
        kafka::{
            BatchBuilder, BatchError, Codec, batch, compression,
            record::{Header, placed_headers},
        },
        rocketmq::{BodyCompression, property, record::Record},
    },
};

/// Bytes of the records in one batch made here, unless a single record has more.
const BATCH_BYTES: usize = 1 << 20;

/// A header whose bytes lie in the record, or were made here.
type OwnedHeader<'a> = (Cow<'a, [u8]>, Option<Cow<'a, [u8]>>);

/// A RocketMQ message as Kafka's consumers see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaRecord<'a> {
    /// When the message was born, ms.
    pub timestamp_ms: i64,
    /// Its keys.
    pub key: Option<Cow<'a, [u8]>>,
    /// Its body.
    pub value: Option<Cow<'a, [u8]>>,
    /// Its properties.
    pub headers: Vec<OwnedHeader<'a>>,
    /// Something could not be expressed.
    pub lossy: bool,
}

/// What a record's properties say.
#[derive(Default)]
struct Said<'a> {
    keys: Option<&'a str>,
    binary_key: Option<Vec<u8>>,
    tombstone: bool,
    empty: bool,
    hidden: Vec<u8>,
    plain: Vec<(&'a str, &'a str)>,
}

impl<'a> Said<'a> {
    fn of(record: &Record<'a>) -> Self {
        let mut said = Self::default();
        for (name, value) in record.properties() {
            match name {
                property::KEYS => said.keys = Some(value),
                name if property::OF_BROKER.contains(&name) => {}
                TOMBSTONE if value == "true" && record.body == NO_BODY => said.tombstone = true,
                EMPTY if value == "true" && record.body == NO_BODY => said.empty = true,
                KEY => match base64::decode(value) {
                    Some(key) => said.binary_key = Some(key),
                    None => said.plain.push((name, value)),
                },
                HEADERS => {
                    match base64::decode(value).filter(|bytes| placed_headers(bytes).is_some()) {
                        Some(bytes) => said.hidden = bytes,
                        None => said.plain.push((name, value)),
                    }
                }
                _ => said.plain.push((name, value)),
            }
        }
        said
    }
}

impl<'a> From<&Record<'a>> for KafkaRecord<'a> {
    fn from(record: &Record<'a>) -> Self {
        let said = Said::of(record);
        let mut headers = headers(&said);
        for (name, number) in [(FLAG, record.flag), (RECONSUME_TIMES, record.reconsume_times)] {
            if number != 0 {
                headers.push(made(name, number.to_string()));
            }
        }
        let (body, lossy) = match decompressed(record) {
            Ok(body) => (body, false),
            Err(_) => {
                headers.push(made(DROPPED, "body".to_owned()));
                (Cow::Borrowed(record.body), true)
            }
        };
        let keys = said.keys.map(|keys| Cow::Borrowed(keys.as_bytes()));
        Self {
            timestamp_ms: record.born_timestamp,
            key: said.binary_key.map(Cow::Owned).or(keys),
            value: match () {
                () if said.tombstone => None,
                () if said.empty => Some(Cow::Borrowed(&[])),
                () => Some(body),
            },
            headers,
            lossy,
        }
    }
}

fn made<'a>(name: &'static str, value: String) -> OwnedHeader<'a> {
    (Cow::Borrowed(name.as_bytes()), Some(Cow::Owned(value.into_bytes())))
}

/// The properties, and the hidden headers in their places.
fn headers<'a>(said: &Said<'a>) -> Vec<OwnedHeader<'a>> {
    let plain = |(name, value): &(&'a str, &'a str)| -> OwnedHeader<'a> {
        (Cow::Borrowed(name.as_bytes()), Some(Cow::Borrowed(value.as_bytes())))
    };
    let hidden = placed_headers(&said.hidden).unwrap_or_default();
    if hidden.is_empty() {
        return said.plain.iter().map(plain).collect();
    }
    let names: HashSet<&[u8]> = hidden.iter().map(|(_, header)| header.name).collect();
    let mut headers = Vec::with_capacity(hidden.len() + said.plain.len());
    let mut shown = said.plain.iter().filter(|(name, _)| !names.contains(name.as_bytes()));
    for (place, header) in &hidden {
        while headers.len() < *place {
            let Some(next) = shown.next() else { break };
            headers.push(plain(next));
        }
        let owned = |bytes: &[u8]| Cow::Owned(bytes.to_vec());
        headers.push((owned(header.name), header.value.map(owned)));
    }
    headers.extend(shown.map(plain));
    headers
}

fn decompressed<'a>(record: &Record<'a>) -> Result<Cow<'a, [u8]>, BatchError> {
    match record.sys_flag.compression() {
        None => Ok(Cow::Borrowed(record.body)),
        Some(BodyCompression::Zlib) => compression::zlib(record.body, BODY_BYTES_MAX),
        Some(BodyCompression::Lz4) => {
            compression::decompress(Codec::Lz4, record.body, BODY_BYTES_MAX)
        }
        Some(BodyCompression::Zstd) => {
            compression::decompress(Codec::Zstd, record.body, BODY_BYTES_MAX)
        }
    }
}

impl KafkaRecord<'_> {
    /// Stands for a stored message that is none.
    fn unreadable() -> Self {
        Self {
            timestamp_ms: -1,
            key: None,
            value: Some(Cow::Borrowed(&[])),
            headers: vec![made(DROPPED, "records".to_owned())],
            lossy: true,
        }
    }

    /// Bytes that it takes in a batch, at most.
    fn bytes_max(&self) -> usize {
        // No variable-length integer of a length takes more than 5 bytes, no other one more than 10.
        let nullable = |bytes: &Option<Cow<'_, [u8]>>| bytes.as_ref().map_or(0, |it| it.len());
        let of = |(name, value): &OwnedHeader<'_>| 10 + name.len() + nullable(value);
        let headers: usize = self.headers.iter().map(of).sum();
        40 + nullable(&self.key) + nullable(&self.value) + headers
    }
}

/// Gathers a queue's RocketMQ records into uncompressed batches, one beside the other. A gap between
/// offsets ends a batch, and so does its size.
#[derive(Debug)]
pub struct ToKafka {
    out: Vec<u8>,
    builder: BatchBuilder,
    next_offset: i64,
    bytes_max: usize,
    records: u64,
    lossy: u64,
}

impl ToKafka {
    /// At most `bytes_max` bytes; one record may be larger.
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        Self {
            out: Vec::new(),
            builder: BatchBuilder::new(),
            next_offset: 0,
            bytes_max,
            records: 0,
            lossy: 0,
        }
    }

    /// Takes the record at `offset`, which lies behind the ones before; false if it has no room.
    pub fn push(&mut self, offset: i64, record: &[u8]) -> bool {
        let record = Record::parse(record);
        let converted =
            record.as_ref().map_or_else(|_| KafkaRecord::unreadable(), KafkaRecord::from);
        let bytes = converted.bytes_max();
        let so_far = self.out.len() + self.open_bytes();
        if self.records > 0 && so_far + batch::HEADER_BYTES + bytes > self.bytes_max {
            return false;
        }
        let ends = offset != self.next_offset || self.builder.records_bytes() >= BATCH_BYTES;
        if ends || self.builder.count() == 0 {
            self.close();
            self.builder.base_offset(offset);
        }
        let headers =
            converted.headers.iter().map(|(name, value)| Header { name, value: value.as_deref() });
        let (key, value) = (converted.key.as_deref(), converted.value.as_deref());
        self.builder.record_with(converted.timestamp_ms, key, value, headers);
        self.next_offset = offset.wrapping_add(1);
        self.records += 1;
        self.lossy += u64::from(converted.lossy);
        true
    }

    fn open_bytes(&self) -> usize {
        if self.builder.count() == 0 {
            0
        } else {
            batch::HEADER_BYTES + self.builder.records_bytes()
        }
    }

    fn close(&mut self) {
        let builder = std::mem::take(&mut self.builder);
        if builder.count() == 0 {
            return;
        }
        let mut bytes = builder.build().expect("uncompressed, and far below 2 GiB");
        let base_offset = self.next_offset.wrapping_sub(i64::from(builder.count()));
        let assigned = batch::set_assigned(&mut bytes, base_offset, 0);
        debug_assert!(assigned.is_ok(), "a batch was just built");
        self.out.extend_from_slice(&bytes);
    }

    /// Messages taken so far, and how many of them lack something.
    #[must_use]
    pub const fn counts(&self) -> (u64, u64) {
        (self.records, self.lossy)
    }

    /// The batches.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.close();
        self.out
    }
}
