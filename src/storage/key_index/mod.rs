//! Which messages carry a key: derived from the log, segment by segment, in the background.
//!
//! ```text
//!  sealed segment ──messages──▶ KeyStore ──▶ key file ──merge──▶ larger key file
//!  query ──▶ KeyFile::find (ColdRead) ──▶ candidates, to be looked at
//! ```
//!
//! - A key is found by a hash of topic and key. Whoever asks reads the messages and compares: two keys
//!   may share a hash, and a message may be gone.
//! - Sends pay nothing for it: the housekeeper walks a segment's messages once it is sealed, Kafka's
//!   only of topics that want it. What lies behind the last key file is looked through message by
//!   message.
//! - [`KeyStore`] lives on the housekeeper's thread, the list of [`KeyFile`]s is shared by all shards.

mod file;
mod page;
mod store;
#[cfg(test)]
mod tests;

pub use file::{KeyError, KeyFile, KeyFileList};
pub use store::{KeyStore, verify};

use crate::base::{QueueId, checksum};

/// Where a message with a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyEntry {
    /// See [`key_hash`].
    pub hash: u64,
    /// When the message was stored, in seconds since 1970.
    pub stored_s: u32,
    /// The message's queue.
    pub queue: QueueId,
    /// The message's offset.
    pub offset: i64,
}

/// The hash by which `key` is found in `topic`. It is on disk: it stays as it is.
#[must_use]
pub fn key_hash(topic: &str, key: &str) -> u64 {
    let mut named = Vec::with_capacity(topic.len() + 1 + key.len());
    named.extend_from_slice(topic.as_bytes());
    named.push(0);
    named.extend_from_slice(key.as_bytes());
    let sums = u64::from(checksum::crc32c(&named)) << 32 | u64::from(checksum::crc32(&named));
    // Files are searched by interpolation: similar keys are to lie far apart (splitmix64's finish).
    let mixed = (sums ^ sums >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ mixed >> 31
}
