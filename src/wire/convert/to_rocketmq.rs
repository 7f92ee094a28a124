//! A Kafka batch as RocketMQ records.

use std::{net::SocketAddr, ops::Range};

use hashbrown::HashMap;

use super::{
    BODY_BYTES_MAX, DROPPED, EMPTY, FLAG, HEADERS, KEY, NO_BODY, RECONSUME_TIMES, TOMBSTONE, plain,
};
use crate::{
    base::{QueueId, base64},
    wire::{
        kafka::{
            BatchError, BatchHeader, batch, compression,
            record::{self, Records},
        },
        rocketmq::{
            SysFlag,
            property::{self, PROPERTIES_BYTES_MAX},
            record::{Record, RecordVersion},
        },
    },
};

/// Room kept in the properties to say what was dropped.
const MARK_BYTES: usize = 64;

/// More headers than this do not fit into the properties, whatever they are: each takes 4 bytes.
const HEADERS_MAX: usize = PROPERTIES_BYTES_MAX / 4;

/// Where the records are said to lie.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The queue in its topic.
    pub queue_id: i32,
    /// The queue.
    pub queue: QueueId,
    /// When the batch was stored, ms.
    pub store_timestamp: i64,
    /// The broker as RocketMQ's clients reach it. A producer's own host is not known any more, so
    /// that messages are born here, too.
    pub store_host: SocketAddr,
}

/// A stretch of a batch as RocketMQ records, end to end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Messages {
    offsets: Range<i64>,
    bytes: Vec<u8>,
    /// Each record's offset and end.
    places: Vec<(i64, usize)>,
    lossy: u64,
}

impl Messages {
    /// The offsets that were looked at; not each of them has a message.
    #[must_use]
    pub fn offsets(&self) -> Range<i64> {
        self.offsets.clone()
    }

    /// The records from `offset` on, each with its offset.
    pub fn since(&self, offset: i64) -> impl Iterator<Item = (i64, &[u8])> {
        let first = self.places.partition_point(|(at, _)| *at < offset);
        (first..self.places.len()).map(|place| {
            let start = place.checked_sub(1).map_or(0, |before| self.places[before].1);
            let (offset, end) = self.places[place];
            (offset, &self.bytes[start..end])
        })
    }

    /// How many records there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none, as in a control batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many of them lack something.
    #[must_use]
    pub const fn lossy(&self) -> u64 {
        self.lossy
    }

    /// Memory it takes, bytes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.capacity() + self.places.capacity() * size_of::<(i64, usize)>()
    }

    fn push(&mut self, record: &Record<'_>, lossy: bool) {
        // Only its size could be refused, and all of it was looked at.
        if record.encode(&mut self.bytes).is_ok() {
            self.places.push((record.queue_offset, self.bytes.len()));
            self.lossy += u64::from(lossy);
        }
    }
}

/// The records of a batch from offset `from` on, until they take `bytes_max` bytes or more.
/// `decompressed_max` is how large a compressed batch may become before.
#[must_use]
pub fn to_rocketmq(
    bytes: &[u8],
    from: i64,
    bytes_max: usize,
    decompressed_max: usize,
    target: &Target<'_>,
) -> Messages {
    let mut messages = Messages { offsets: from..from, ..Messages::default() };
    let Ok(header) = BatchHeader::parse(bytes) else {
        messages.offsets.end = from.saturating_add(1);
        stand_in(from, -1, target, &mut messages);
        return messages;
    };
    let end = header.last_offset().saturating_add(1);
    messages.offsets = from.max(header.base_offset).min(end)..end;
    if header.is_control() {
        return messages;
    }
    let read = read_records(&header, bytes, decompressed_max, &mut messages, |record, to| {
        let at = header.offset_time(record);
        if at.offset >= from {
            convert(record, at, target, to);
        }
        to.bytes.len() < bytes_max
    });
    if let Err(at) = read {
        // What lies before `from` was told before, if at all.
        if at >= from {
            stand_in(at, header.max_timestamp, target, &mut messages);
        }
    }
    // They may be kept for a while.
    messages.bytes.shrink_to_fit();
    messages.places.shrink_to_fit();
    messages
}

/// Calls `take` with each record until it wants no more.
///
/// # Errors
/// The offset from which on nothing can be read.
fn read_records(
    header: &BatchHeader,
    bytes: &[u8],
    decompressed_max: usize,
    messages: &mut Messages,
    mut take: impl FnMut(&record::Record<'_>, &mut Messages) -> bool,
) -> Result<(), i64> {
    let offset = |delta: i32| header.base_offset.wrapping_add(i64::from(delta));
    let records = bytes.get(batch::HEADER_BYTES..).unwrap_or_default();
    let codec = header.codec();
    // What is not compressed is there already.
    let limit = decompressed_max.max(records.len());
    let records = codec.and_then(|codec| compression::decompress(codec, records, limit));
    let records = records.map_err(|_: BatchError| header.base_offset)?;
    let mut next_delta = 0;
    for record in Records::new(header, &records) {
        // Compaction leaves gaps; nothing goes back.
        let record = record.ok().filter(|record| {
            (next_delta..=header.last_offset_delta).contains(&record.offset_delta)
        });
        let Some(record) = record else {
            // Bytes behind the last record take no offset.
            let is_there = next_delta <= header.last_offset_delta;
            return if is_there { Err(offset(next_delta)) } else { Ok(()) };
        };
        let more = take(&record, messages);
        next_delta = record.offset_delta.saturating_add(1);
        if !more {
            messages.offsets.end = messages.offsets.end.min(offset(next_delta));
            break;
        }
    }
    Ok(())
}

/// Properties on their way into a record, and what had no room among them.
#[derive(Default)]
struct Block {
    text: String,
    dropped: Vec<&'static str>,
}

impl Block {
    /// Adds a property, or marks `what` as dropped.
    fn push(&mut self, name: &str, value: &str, what: &'static str) {
        let bytes = self.text.len() + name.len() + value.len() + 2;
        if bytes > PROPERTIES_BYTES_MAX - MARK_BYTES || !property::push(&mut self.text, name, value)
        {
            self.drop(what);
        }
    }

    fn drop(&mut self, what: &'static str) {
        if self.dropped.last() != Some(&what) {
            self.dropped.push(what);
        }
    }

    fn key(&mut self, key: &[u8]) {
        match plain(key) {
            Some(text) => self.push(property::KEYS, text, "key"),
            None if key.is_empty() => self.push(KEY, "=", "key"),
            None if key.len() > PROPERTIES_BYTES_MAX => self.drop("key"),
            None => self.push(KEY, &base64::encode(key), "key"),
        }
    }
}

/// What the headers of one name are like.
#[derive(Default)]
struct Named<'a> {
    count: usize,
    /// One of them is no property.
    odd: bool,
    /// The last one that is, and its place.
    last: Option<(usize, &'a str)>,
}

/// Numbers that a record has fields for.
#[derive(Default)]
struct Fields {
    flag: i32,
    reconsume_times: i32,
}

impl Fields {
    /// Takes a header that means a field.
    fn take(&mut self, header: &record::Header<'_>) -> bool {
        let number = || {
            let text = str::from_utf8(header.value?).ok()?;
            text.parse().ok().filter(|number: &i32| *number != 0 && number.to_string() == text)
        };
        let field = match header.name {
            name if name == FLAG.as_bytes() => &mut self.flag,
            name if name == RECONSUME_TIMES.as_bytes() => &mut self.reconsume_times,
            _ => return false,
        };
        // A second one stays a header.
        let number = number().filter(|_| *field == 0);
        number.map(|number| *field = number).is_some()
    }
}

/// Puts the headers into the properties; gives what of them are fields.
fn put_headers(headers: record::Headers<'_>, block: &mut Block) -> Fields {
    let mut fields = Fields::default();
    if headers.len() > HEADERS_MAX {
        block.drop("headers");
    }
    let headers = headers.take(HEADERS_MAX).filter(|header| !fields.take(header));
    let headers: Vec<_> = headers.collect();
    let mut names: HashMap<&[u8], Named<'_>> = HashMap::with_capacity(headers.len());
    for (place, header) in headers.iter().enumerate() {
        let named = names.entry(header.name).or_default();
        named.count += 1;
        match header.value.and_then(plain) {
            Some(value) => named.last = Some((place, value)),
            None => named.odd = true,
        }
    }
    let mut hidden = Vec::new();
    for (place, header) in headers.iter().enumerate() {
        let named = &names[header.name];
        // What has a meaning of its own among properties is not to be found there by accident.
        let name = plain(header.name).filter(|name| {
            ![property::KEYS, KEY, HEADERS, TOMBSTONE, EMPTY].contains(name)
                && !property::OF_BROKER.contains(name)
        });
        let is_hidden = name.is_none() || named.odd || named.count > 1;
        if is_hidden && hidden.len() <= PROPERTIES_BYTES_MAX {
            record::put_placed_header(&mut hidden, place, header);
        }
        if let (Some(name), Some((last, value))) = (name, named.last)
            && last == place
        {
            block.push(name, value, "headers");
        }
    }
    if hidden.len() > PROPERTIES_BYTES_MAX {
        block.drop("headers");
    } else if !hidden.is_empty() {
        block.push(HEADERS, &base64::encode(&hidden), "headers");
    }
    fields
}

fn convert(
    record: &record::Record<'_>,
    at: record::OffsetTime,
    target: &Target<'_>,
    messages: &mut Messages,
) {
    let mut block = Block::default();
    if let Some(key) = record.key {
        block.key(key);
    }
    match record.value {
        None => block.push(TOMBSTONE, "true", "headers"),
        Some([]) => block.push(EMPTY, "true", "headers"),
        Some(_) => {}
    }
    let fields = put_headers(record.headers.clone(), &mut block);
    let mut body = record.value.filter(|value| !value.is_empty()).unwrap_or(NO_BODY);
    if body.len() > BODY_BYTES_MAX {
        body = NO_BODY;
        block.drop("body");
    }
    write(at.offset, at.timestamp_ms, body, fields, block, target, messages);
}

/// One message that stands for what cannot be read.
fn stand_in(offset: i64, timestamp_ms: i64, target: &Target<'_>, messages: &mut Messages) {
    let mut block = Block::default();
    block.drop("records");
    write(offset, timestamp_ms, NO_BODY, Fields::default(), block, target, messages);
}

fn write(
    offset: i64,
    timestamp_ms: i64,
    body: &[u8],
    fields: Fields,
    mut block: Block,
    target: &Target<'_>,
    messages: &mut Messages,
) {
    let lossy = !block.dropped.is_empty();
    if lossy {
        property::push(&mut block.text, DROPPED, &block.dropped.join(" "));
    }
    let record = Record {
        version: RecordVersion::of_topic(target.topic),
        body_crc: 0,
        queue_id: target.queue_id,
        flag: fields.flag,
        queue_offset: offset,
        physical_offset: target.queue.locator(offset),
        sys_flag: SysFlag::default(),
        born_timestamp: timestamp_ms,
        born_host: target.store_host,
        store_timestamp: target.store_timestamp,
        store_host: target.store_host,
        reconsume_times: fields.reconsume_times,
        prepared_transaction_offset: 0,
        body,
        topic: target.topic,
        properties: &block.text,
    };
    messages.push(&record, lossy);
}
