//! The records' contents: a header that makes loss and duplicates visible, then random bytes.

use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes at the start of every record that the tool itself reads back.
pub const HEADER_BYTES: usize = 32;

/// Random bytes the records are cut from. Larger than any compression window in use, so that the
/// repetition is never found.
const RING_BYTES: usize = 16 << 20;

/// What every record says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The producing run, so that older records of a topic are told apart.
    pub run: u64,
    /// The record's number in its run, from 0.
    pub sequence: u64,
    /// How many records the run writes in all.
    pub total: u64,
    /// When the record was to be sent, in nanoseconds of the producing process's own clock.
    pub intended_ns: u64,
}

impl Header {
    fn encode(&self, to: &mut [u8]) {
        let words = [self.run, self.sequence, self.total, self.intended_ns];
        for (word, bytes) in words.iter().zip(to.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// Reads the header of a record, or nothing if the record is too short to have one.
    pub fn decode(record: &[u8]) -> Option<Header> {
        let header = record.get(..HEADER_BYTES)?;
        let word = |i: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&header[i * 8..i * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        Some(Header { run: word(0), sequence: word(1), total: word(2), intended_ns: word(3) })
    }
}

/// Yields records of one size without copying: each is a slice of one ring of random bytes, into
/// which the header is written.
pub struct PayloadSource {
    ring: Vec<u8>,
    record_bytes: usize,
    at: usize,
}

impl PayloadSource {
    /// A source of records of `record_bytes`, which is at least [`HEADER_BYTES`].
    pub fn new(record_bytes: usize, seed: u64) -> Self {
        assert!(record_bytes >= HEADER_BYTES, "a record has room for its header");
        let mut state = seed;
        let mut ring = Vec::with_capacity(RING_BYTES + record_bytes);
        while ring.len() < RING_BYTES + record_bytes {
            ring.extend_from_slice(&split_mix(&mut state).to_le_bytes());
        }
        Self { ring, record_bytes, at: 0 }
    }

    /// The next record, valid until the next call.
    pub fn next(&mut self, header: &Header) -> &[u8] {
        self.at += self.record_bytes;
        if self.at >= RING_BYTES {
            self.at = 0;
        }
        let record = &mut self.ring[self.at..self.at + self.record_bytes];
        header.encode(record);
        record
    }
}

/// A number no other run has: the wall clock in nanoseconds, mixed with the process id.
pub fn new_run() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64);
    let mut state = now ^ (u64::from(std::process::id()) << 48);
    split_mix(&mut state)
}

/// A number that has nothing to do with `number` any more, but is always the same for it.
pub fn mix(number: u64) -> u64 {
    split_mix(&mut number.clone())
}

fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_comes_back_from_its_record() {
        let mut source = PayloadSource::new(100, 7);
        let header = Header { run: 1, sequence: 2, total: 3, intended_ns: 4 };
        let record = source.next(&header);
        assert_eq!(record.len(), 100);
        assert_eq!(Header::decode(record), Some(header));
        assert_eq!(Header::decode(&record[..31]), None);
    }

    #[test]
    fn the_ring_wraps_within_its_bytes() {
        let mut source = PayloadSource::new(5 << 20, 7);
        let header = Header { run: 1, sequence: 2, total: 3, intended_ns: 4 };
        for _ in 0..10 {
            assert_eq!(source.next(&header).len(), 5 << 20);
        }
    }
}
