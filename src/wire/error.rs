//! What can be wrong with a peer's frame.

use bytes::TryGetError;
use thiserror::Error;

/// Why a frame was refused, or an answer could not be written.
///
/// All of these are the peer's doing except [`WireError::Encode`]. A connection whose frame failed to
/// parse is closed, as both Kafka's and RocketMQ's brokers do: who sent it cannot be answered. A
/// RocketMQ body that failed can, because its header did not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A frame's length prefix is negative or above the limit.
    #[error("a frame of {claimed} bytes is claimed, {max_bytes} are allowed")]
    FrameLength {
        /// The length prefix.
        claimed: i32,
        /// The most bytes a frame may have.
        max_bytes: usize,
    },
    /// A field reaches beyond the end of the frame.
    #[error("a field needs {needed} bytes, {left} are left")]
    Truncated {
        /// Bytes that the field claims.
        needed: usize,
        /// Bytes that remain in the frame.
        left: usize,
    },
    /// An array or tagged-field section claims more entries than the rest of the frame can hold.
    #[error("{count} entries of at least {each} bytes are claimed, {left} bytes are left")]
    Count {
        /// Entries that are claimed.
        count: usize,
        /// The fewest bytes one entry takes.
        each: usize,
        /// Bytes that remain in the frame.
        left: usize,
    },
    /// A length below -1, or -1 where null has no meaning.
    #[error("length {0} is negative")]
    NegativeLength(i64),
    /// A string is longer than any may be, in whichever form its length is sent.
    #[error("a string of {0} bytes, the limit is {max}", max = i16::MAX)]
    StringLength(usize),
    /// A variable-length integer runs past its type.
    #[error("a variable-length integer is too long")]
    VarintTooLong,
    /// A string that is not UTF-8.
    #[error("a string is not UTF-8")]
    NotUtf8,
    /// Decoding would allocate more than [`MEMORY_PER_BYTE`](super::MEMORY_PER_BYTE) allows.
    #[error("decoding {received} bytes would take more than {allowed} bytes of memory")]
    Memory {
        /// Bytes in the frame's body.
        received: usize,
        /// Bytes that decoding may allocate.
        allowed: usize,
    },
    /// An API key that this broker does not know.
    #[error("API key {0} is unknown")]
    UnknownApi(i16),
    /// A version of a known API that this broker does not serve.
    #[error("API key {key} has no version {version} here")]
    UnsupportedVersion {
        /// The API key.
        key: i16,
        /// The version that was asked for.
        version: i16,
    },
    /// The body breaks its schema in another way, for instance null where a value is required.
    #[error("the body does not follow its schema: {0}")]
    Schema(String),
    /// RocketMQ's header has a serialization other than JSON (0) and RocketMQ's own (1).
    #[error("header serialization {0} is unknown")]
    UnknownSerialization(u8),
    /// RocketMQ's header claims more than is allowed.
    #[error("a header of {claimed} bytes is claimed, {max_bytes} are allowed")]
    HeaderLength {
        /// The length in the frame.
        claimed: usize,
        /// The most bytes a header may have.
        max_bytes: usize,
    },
    /// JSON that is broken, or that lacks what it must hold.
    #[error("the JSON cannot be read: {0}")]
    Json(String),
    /// What is deflated cannot be read, or is too large.
    #[error("what is deflated cannot be read: {0}")]
    Deflated(String),
    /// An answer cannot be expressed in the version it was asked for in, or is too long.
    #[error("the answer cannot be encoded: {0}")]
    Encode(String),
}

impl From<TryGetError> for WireError {
    fn from(error: TryGetError) -> Self {
        Self::Truncated { needed: error.requested, left: error.available }
    }
}
