//! One message in both dialects: a RocketMQ record as a Kafka record, and a Kafka batch as RocketMQ
//! records.
//!
//! | RocketMQ | Kafka |
//! | --- | --- |
//! | property `KEYS` | key |
//! | body, decompressed | value |
//! | born timestamp | timestamp |
//! | any other property, `TAGS` and `UNIQ_KEY` among them | header of that name |
//! | flag, if it is not 0 | header [`FLAG`] |
//! | reconsume times, if they are not 0 | header [`RECONSUME_TIMES`] |
//! | property [`KEY`], base64 | a key that `KEYS` cannot hold: empty, or not plain text |
//! | property [`TOMBSTONE`], `true`, and the body [`NO_BODY`] | no value |
//! | property [`EMPTY`], `true`, and the body [`NO_BODY`] | an empty value |
//! | property [`HEADERS`], base64 | headers that properties cannot hold |
//! | properties that the broker sets ([`OF_BROKER`](super::rocketmq::property::OF_BROKER)) | nothing |
//!
//! Plain text is UTF-8, not empty, and without the two characters that part properties (`\x01` and
//! `\x02`; older clients trip over the first one inside a value).
//!
//! # Headers that properties cannot hold
//! A name that repeats, or whose value is null or no plain text, or that is `KEYS`, one of those that
//! the broker sets, or no plain text itself: all headers of that name are in [`HEADERS`], in base64,
//! each as
//!
//! ```text
//! place among the record's headers varint | name length varint | name | value length varint, -1 for null | value
//! ```
//!
//! Beside that, the last plain value of such a name is a property of its own (but for `KEYS`, which is
//! the key), for RocketMQ's consumers and their filters to see. It is passed over on the way back.
//!
//! # There and back
//! Whoever reads a converted message and produces it again, in either dialect, gives what it was: the
//! names above mean the same on either side. What a message has beyond that stays behind: hosts,
//! the broker's cluster and region, offsets, the time it was stored at, a producer's id. RocketMQ's
//! Java client keeps properties in a map, so that headers of different names may come back in another
//! order, those of one name never.
//!
//! # What cannot be expressed
//! It is left out, [`DROPPED`] says what, in words with spaces between, and the message is counted:
//! - `key`, `headers`: beyond the 32 KiB that properties may take.
//! - `body`: larger than RocketMQ's clients take ([`BODY_BYTES_MAX`]), or compressed and not to be
//!   decompressed: then it stays as it is.
//! - `records`: the rest of a batch that cannot be read; one message stands for it.
//!
//! RocketMQ has no messages without a body: its producers and brokers refuse them, and its Java
//! consumers up to 5.3.1 stop at one for good. What has none here has the body [`NO_BODY`].
//!
//! Nothing here panics, whatever the bytes.

mod keys;
mod to_kafka;
mod to_rocketmq;

#[cfg(test)]
mod tests;

pub use keys::each_key;
pub use to_kafka::{KafkaRecord, ToKafka};
pub use to_rocketmq::{Messages, Target, to_rocketmq};

/// Property: a key in base64 (URL-safe), `=` for an empty one.
pub const KEY: &str = "mainstem-key";
/// Property: `true` if there was no value.
pub const TOMBSTONE: &str = "mainstem-tombstone";
/// Property: `true` if the value was empty.
pub const EMPTY: &str = "mainstem-empty";
/// The body of a message that stands for a record without one.
pub const NO_BODY: &[u8] = b"\0";
/// Property: headers in base64 (URL-safe).
pub const HEADERS: &str = "mainstem-headers";
/// Header: a RocketMQ message's flag, decimal.
pub const FLAG: &str = "mainstem-flag";
/// Header: how often a RocketMQ message was consumed again, decimal.
pub const RECONSUME_TIMES: &str = "mainstem-reconsume-times";
/// Property and header: what the message had and has no more.
pub const DROPPED: &str = "mainstem-dropped";

/// The largest body that is given to RocketMQ's clients, which take frames of 16 MiB, and that a
/// compressed one may grow to.
pub const BODY_BYTES_MAX: usize = (16 << 20) - (64 << 10);

/// Whether RocketMQ's properties can hold it as a name or a value.
fn plain(bytes: &[u8]) -> Option<&str> {
    let text = str::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.contains(['\u{1}', '\u{2}'])).then_some(text)
}
