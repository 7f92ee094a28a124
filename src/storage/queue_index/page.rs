//! Pages of 4 KiB under a checksum each, and the items they hold. All numbers are little-endian.
//!
//! | byte | what |
//! | --- | --- |
//! | 0 | CRC-32C of the rest of the page |
//! | 4 | the page's number in its file |
//! | 8 | the run's stamp, so that another run's page is not taken for this one's |
//! | 12 | kind of its items |
//! | 14 | how many items |
//! | 16 | items, end to end; zeros behind them |

use std::ops::Range;

use super::{IndexEntry, LogRange};
use crate::base::{Dialect, Position, QueueId, checksum};

/// Bytes of a page.
pub(super) const PAGE_BYTES: usize = 4096;
const HEADER_BYTES: usize = 16;

/// Something of a fixed size that pages hold.
pub(super) trait Item: Sized {
    const KIND: u16;
    const BYTES: usize;
    const PER_PAGE: usize = (PAGE_BYTES - HEADER_BYTES) / Self::BYTES;

    fn encode(&self, out: &mut Fields<'_>);
    fn decode(fields: &mut Fields<'_>) -> Self;

    /// Pages that so many items take.
    fn pages(items: u64) -> u64 {
        items.div_ceil(Self::PER_PAGE as u64)
    }
}

/// An item's bytes, read or written field by field.
pub(super) enum Fields<'a> {
    Read(&'a [u8]),
    Write(&'a mut [u8]),
}

impl Fields<'_> {
    fn next<const N: usize>(&mut self) -> [u8; N] {
        match self {
            Self::Read(bytes) => {
                let (field, rest) = bytes.split_first_chunk().expect("an item has all its fields");
                *bytes = rest;
                *field
            }
            Self::Write(_) => unreachable!("fields are being written"),
        }
    }

    fn put(&mut self, field: &[u8]) {
        match self {
            Self::Write(bytes) => {
                let (head, rest) = std::mem::take(bytes).split_at_mut(field.len());
                head.copy_from_slice(field);
                *bytes = rest;
            }
            Self::Read(_) => unreachable!("fields are being read"),
        }
    }

    fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.next())
    }

    fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.next())
    }

    fn i64(&mut self) -> i64 {
        i64::from_le_bytes(self.next())
    }
}

/// An entry, with the highest timestamp of its queue in this run up to and including it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StoredEntry {
    pub(super) entry: IndexEntry,
    pub(super) running_max: i64,
}

/// The bit of a stored length that tells a RocketMQ record; frames are far shorter.
const ROCKETMQ: u32 = 1 << 31;

impl Item for StoredEntry {
    const KIND: u16 = 4;
    const BYTES: usize = 52;

    fn encode(&self, out: &mut Fields<'_>) {
        let entry = &self.entry;
        out.put(&entry.base_offset.to_le_bytes());
        out.put(&entry.position.0.to_le_bytes());
        out.put(&entry.max_timestamp.to_le_bytes());
        out.put(&entry.append_time.to_le_bytes());
        let mark = if entry.dialect == Dialect::RocketMq { ROCKETMQ } else { 0 };
        out.put(&(entry.length | mark).to_le_bytes());
        out.put(&entry.count.to_le_bytes());
        out.put(&entry.tag_hash.to_le_bytes());
        out.put(&self.running_max.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        let mut entry = IndexEntry {
            base_offset: fields.i64(),
            position: Position(fields.u64()),
            max_timestamp: fields.i64(),
            append_time: fields.i64(),
            length: fields.u32(),
            count: fields.u32(),
            tag_hash: fields.u32(),
            dialect: Dialect::Kafka,
        };
        if entry.length & ROCKETMQ != 0 {
            entry.length &= !ROCKETMQ;
            entry.dialect = Dialect::RocketMq;
        }
        Self { entry, running_max: fields.i64() }
    }
}

/// What a run holds of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// The queue.
    pub queue: QueueId,
    /// How many entries there are; at least one.
    pub entry_count: u32,
    /// The number of the first one, counted over the whole run.
    pub entry_start: u64,
    /// The first entry's first offset.
    pub first_offset: i64,
    /// The offset after the last entry's last one.
    pub next_offset: i64,
    /// The highest timestamp of all entries, in milliseconds since 1970.
    pub max_timestamp: i64,
    /// When the first frame was appended, in milliseconds since 1970.
    pub first_append_time: i64,
    /// Bytes of all frames.
    pub payload_bytes: u64,
}

impl Item for DirectoryEntry {
    const KIND: u16 = 2;
    const BYTES: usize = 56;

    fn encode(&self, out: &mut Fields<'_>) {
        out.put(&self.queue.0.to_le_bytes());
        out.put(&self.entry_count.to_le_bytes());
        out.put(&self.entry_start.to_le_bytes());
        out.put(&self.first_offset.to_le_bytes());
        out.put(&self.next_offset.to_le_bytes());
        out.put(&self.max_timestamp.to_le_bytes());
        out.put(&self.first_append_time.to_le_bytes());
        out.put(&self.payload_bytes.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        Self {
            queue: QueueId(fields.u32()),
            entry_count: fields.u32(),
            entry_start: fields.u64(),
            first_offset: fields.i64(),
            next_offset: fields.i64(),
            max_timestamp: fields.i64(),
            first_append_time: fields.i64(),
            payload_bytes: fields.u64(),
        }
    }
}

/// The first entry of an entry page, whichever queue it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) base_offset: i64,
    pub(super) running_max: i64,
}

impl Item for Fence {
    const KIND: u16 = 3;
    const BYTES: usize = 16;

    fn encode(&self, out: &mut Fields<'_>) {
        out.put(&self.base_offset.to_le_bytes());
        out.put(&self.running_max.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        Self { base_offset: fields.i64(), running_max: fields.i64() }
    }
}

/// The first fence of a fence page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TopFence(pub(super) Fence);

impl Item for TopFence {
    const KIND: u16 = 6;
    const BYTES: usize = Fence::BYTES;

    fn encode(&self, out: &mut Fields<'_>) {
        self.0.encode(out);
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        Self(Fence::decode(fields))
    }
}

/// The first queue of a directory page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectoryKey(pub(super) QueueId);

impl Item for DirectoryKey {
    const KIND: u16 = 5;
    const BYTES: usize = 4;

    fn encode(&self, out: &mut Fields<'_>) {
        out.put(&self.0.0.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        Self(QueueId(fields.u32()))
    }
}

/// The first page of a run: what it covers and where its parts start, in pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) version: u32,
    pub(super) covers: LogRange,
    pub(super) queue_count: u64,
    pub(super) entry_count: u64,
    pub(super) directory_page: u32,
    pub(super) fence_page: u32,
    pub(super) entry_page: u32,
    pub(super) key_page: u32,
    pub(super) top_page: u32,
}

impl Header {
    pub(super) const MAGIC: [u8; 8] = *b"MSTEMRUN";
    pub(super) const VERSION: u32 = 1;

    /// Pages of entries.
    pub(super) fn entry_pages(&self) -> u64 {
        StoredEntry::pages(self.entry_count)
    }

    /// Pages of fences.
    pub(super) fn fence_pages(&self) -> u64 {
        Fence::pages(self.entry_pages())
    }

    /// Pages of the directory.
    pub(super) fn directory_pages(&self) -> u64 {
        DirectoryEntry::pages(self.queue_count)
    }

    /// Pages of the whole file.
    pub(super) fn pages(&self) -> u64 {
        u64::from(self.top_page) + TopFence::pages(self.fence_pages())
    }

    /// Whether the parts lie behind each other, none reaching into the next.
    pub(super) fn is_consistent(&self) -> bool {
        let counts = [self.queue_count, self.entry_count];
        let parts = [
            (self.directory_page, self.directory_pages()),
            (self.fence_page, self.fence_pages()),
            (self.entry_page, self.entry_pages()),
            (self.key_page, DirectoryKey::pages(self.directory_pages())),
        ];
        let next = [self.fence_page, self.entry_page, self.key_page, self.top_page];
        self.directory_page >= 1
            && counts.iter().all(|&count| count <= u64::from(u32::MAX) * PAGE_BYTES as u64)
            && parts.iter().zip(next).all(|(&(first, pages), next)| {
                u64::from(first).saturating_add(pages) <= u64::from(next)
            })
    }
}

impl Item for Header {
    const KIND: u16 = 1;
    const BYTES: usize = 64;

    fn encode(&self, out: &mut Fields<'_>) {
        out.put(&self.magic);
        out.put(&self.version.to_le_bytes());
        out.put(&self.covers.start.0.to_le_bytes());
        out.put(&self.covers.end.0.to_le_bytes());
        out.put(&self.queue_count.to_le_bytes());
        out.put(&self.entry_count.to_le_bytes());
        out.put(&self.directory_page.to_le_bytes());
        out.put(&self.fence_page.to_le_bytes());
        out.put(&self.entry_page.to_le_bytes());
        out.put(&self.key_page.to_le_bytes());
        out.put(&self.top_page.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Self {
        Self {
            magic: fields.next(),
            version: fields.u32(),
            covers: LogRange { start: Position(fields.u64()), end: Position(fields.u64()) },
            queue_count: fields.u64(),
            entry_count: fields.u64(),
            directory_page: fields.u32(),
            fence_page: fields.u32(),
            entry_page: fields.u32(),
            key_page: fields.u32(),
            top_page: fields.u32(),
        }
    }
}

/// Writes an item into its place on a page.
pub(super) fn put<T: Item>(page: &mut [u8], index: usize, item: &T) {
    let at = HEADER_BYTES + index * T::BYTES;
    item.encode(&mut Fields::Write(&mut page[at..at + T::BYTES]));
}

/// Fills in a page's header; the page must not change any more.
pub(super) fn seal<T: Item>(page: &mut [u8], stamp: u32, number: u32, count: usize) {
    assert!(count <= T::PER_PAGE, "a page holds at most {} items", T::PER_PAGE);
    page[4..8].copy_from_slice(&number.to_le_bytes());
    page[8..12].copy_from_slice(&stamp.to_le_bytes());
    page[12..14].copy_from_slice(&T::KIND.to_le_bytes());
    page[14..16].copy_from_slice(&(count as u16).to_le_bytes());
    let sum = checksum::crc32c(&page[4..PAGE_BYTES]);
    page[..4].copy_from_slice(&sum.to_le_bytes());
}

/// A page that was verified to be the one that was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    bytes: &'a [u8],
}

impl<'a> Page<'a> {
    /// Checks what was read; says what is wrong with it.
    pub(super) fn verify<T: Item>(
        bytes: &'a [u8],
        stamp: u32,
        number: u32,
    ) -> Result<Self, &'static str> {
        if bytes.len() != PAGE_BYTES {
            return Err("the file ends within the page");
        }
        let at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
        if checksum::crc32c(&bytes[4..]) != at(0) {
            return Err("the checksum does not match");
        }
        if at(4) != number || at(8) != stamp {
            return Err("it is another page, or another run's");
        }
        let page = Self { bytes };
        if at(12) as u16 != T::KIND || page.count() > T::PER_PAGE {
            return Err("it is a page of another kind");
        }
        Ok(page)
    }

    /// A page that [`Self::verify`] has accepted before.
    pub(super) fn verified(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// How many items it holds.
    pub(super) fn count(&self) -> usize {
        usize::from(u16::from_le_bytes([self.bytes[14], self.bytes[15]]))
    }

    /// An item, counted from 0.
    pub(super) fn get<T: Item>(&self, index: usize) -> T {
        let at = HEADER_BYTES + index * T::BYTES;
        T::decode(&mut Fields::Read(&self.bytes[at..at + T::BYTES]))
    }

    /// The first item of `range` for which `before` does not hold; the end if it holds for all.
    pub(super) fn partition_point<T: Item>(
        &self,
        range: Range<usize>,
        before: impl Fn(&T) -> bool,
    ) -> usize {
        let (mut low, mut high) = (range.start, range.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if before(&self.get(middle)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_come_back_and_every_flipped_bit_is_seen() {
        let entry = IndexEntry {
            base_offset: 1,
            position: Position(2),
            max_timestamp: -3,
            append_time: 4,
            length: 5,
            count: 6,
            tag_hash: 7,
            dialect: Dialect::RocketMq,
        };
        let stored = StoredEntry { entry, running_max: i64::MAX };
        let mut bytes = vec![0; PAGE_BYTES];
        put(&mut bytes, 77, &stored);
        seal::<StoredEntry>(&mut bytes, 9, 3, 78);
        let page = Page::verify::<StoredEntry>(&bytes, 9, 3).unwrap();
        assert_eq!((page.count(), page.get::<StoredEntry>(77)), (78, stored));
        assert!(Page::verify::<StoredEntry>(&bytes, 8, 3).is_err(), "another run's");
        assert!(Page::verify::<StoredEntry>(&bytes, 9, 4).is_err(), "another page");
        assert!(Page::verify::<Fence>(&bytes, 9, 3).is_err(), "another kind");
        for bit in 0..PAGE_BYTES * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Page::verify::<StoredEntry>(&bytes, 9, 3).is_err());
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }
}
