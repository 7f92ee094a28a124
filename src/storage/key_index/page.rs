//! A key file's pages: 4 KiB, little-endian, each with a checksum that covers its number too.
//!
//! ```text
//! checksum u32 │ stamp u32 │ count u32 │ 0 u32 │ entries, 24 bytes each
//! entry: hash u64 │ stored_s u32 │ queue u32 │ offset i64
//! ```
//! Page 0 is the header: in place of entries magic u64, covers u64 u64, entries u64, first and last
//! stored_s u32 u32.

use super::KeyEntry;
use crate::{
    base::{Position, QueueId, checksum},
    storage::queue_index::LogRange,
};

pub(super) const PAGE_BYTES: usize = 4096;
const HEAD_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;
/// Entries of a full page.
pub(super) const PER_PAGE: usize = (PAGE_BYTES - HEAD_BYTES) / ENTRY_BYTES;
/// "MSkeys" and the format's version.
const MAGIC: u64 = u64::from_le_bytes(*b"MSkeys\0\x01");

/// What a key file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) covers: LogRange,
    pub(super) entries: u64,
    /// The first and the last `stored_s`.
    pub(super) stored_s: (u32, u32),
}

/// Makes a page of what `fill` appends; `count` of it.
fn page(stamp: u32, number: u64, count: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAGE_BYTES);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&stamp.to_le_bytes());
    bytes.extend_from_slice(&(count as u32).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    fill(&mut bytes);
    bytes.resize(PAGE_BYTES, 0);
    let sum = checksum::crc32c_of(&[&number.to_le_bytes(), &bytes[4..]]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// A page's count and content, if it is whole.
fn open(bytes: &[u8], stamp: u32, number: u64) -> Option<(usize, &[u8])> {
    let whole = bytes.len() == PAGE_BYTES
        && checksum::crc32c_of(&[&number.to_le_bytes(), &bytes[4..]]) == u32_at(bytes, 0)
        && u32_at(bytes, 4) == stamp;
    whole.then(|| (u32_at(bytes, 8) as usize, &bytes[HEAD_BYTES..]))
}

impl Header {
    pub(super) fn encode(&self, stamp: u32) -> Vec<u8> {
        page(stamp, 0, 0, |bytes| {
            let LogRange { start, end } = self.covers;
            for number in [MAGIC, start.0, end.0, self.entries] {
                bytes.extend_from_slice(&number.to_le_bytes());
            }
            for time in [self.stored_s.0, self.stored_s.1] {
                bytes.extend_from_slice(&time.to_le_bytes());
            }
        })
    }

    pub(super) fn decode(bytes: &[u8], stamp: u32) -> Option<Self> {
        let (_, content) = open(bytes, stamp, 0)?;
        let [magic, start, end, entries] = [0, 8, 16, 24].map(|at| u64_at(content, at));
        let stored_s = (u32_at(content, 32), u32_at(content, 36));
        let sound = magic == MAGIC && start <= end;
        sound.then(|| Self {
            covers: LogRange::new(Position(start), Position(end)),
            entries,
            stored_s,
        })
    }
}

/// A page of entries, at most [`PER_PAGE`].
pub(super) fn encode(stamp: u32, number: u64, entries: &[KeyEntry]) -> Vec<u8> {
    page(stamp, number, entries.len(), |bytes| {
        for entry in entries {
            bytes.extend_from_slice(&entry.hash.to_le_bytes());
            bytes.extend_from_slice(&entry.stored_s.to_le_bytes());
            bytes.extend_from_slice(&entry.queue.0.to_le_bytes());
            bytes.extend_from_slice(&entry.offset.to_le_bytes());
        }
    })
}

/// A page's entries, if it is whole and has some.
pub(super) fn decode(bytes: &[u8], stamp: u32, number: u64) -> Option<Vec<KeyEntry>> {
    let (count, content) = open(bytes, stamp, number)?;
    let entries = content.chunks_exact(ENTRY_BYTES).take(count).map(|bytes| KeyEntry {
        hash: u64_at(bytes, 0),
        stored_s: u32_at(bytes, 8),
        queue: QueueId(u32_at(bytes, 12)),
        offset: u64_at(bytes, 16) as i64,
    });
    (1..=PER_PAGE).contains(&count).then(|| entries.collect())
}
