//! The handle by which a producer recalls a delayed message (`RecallMessageHandle.java`).
//!
//! ```text
//! base64url("v1 topic broker-name timestamp message-id")
//! ```

use std::fmt;

use crate::base::base64;

const VERSION: &str = "v1";

/// What a send's answer gives, and `RECALL_MESSAGE` (370) brings back. `Display` writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecallHandle {
    /// The message's topic.
    pub topic: String,
    /// The name of the broker that has it.
    pub broker_name: String,
    /// When it is to be delivered, ms; text, as Java has it.
    pub timestamp: String,
    /// Its unique id.
    pub message_id: String,
}

impl RecallHandle {
    /// Reads a handle; none if it is none of version 1.
    #[must_use]
    pub fn parse(handle: &str) -> Option<Self> {
        let text = String::from_utf8(base64::decode(handle)?).ok()?;
        let mut parts = text.split(' ');
        let mut part = || parts.next();
        let (version, topic, broker_name) = (part()?, part()?, part()?);
        let (timestamp, message_id) = (part()?, part()?);
        (version == VERSION).then(|| Self {
            topic: topic.to_owned(),
            broker_name: broker_name.to_owned(),
            timestamp: timestamp.to_owned(),
            message_id: message_id.to_owned(),
        })
    }
}

impl fmt::Display for RecallHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, broker_name, timestamp, message_id } = self;
        let text = format!("{VERSION} {topic} {broker_name} {timestamp} {message_id}");
        let base64 = base64::encode(text.as_bytes());
        // Java pads to fours.
        write!(f, "{base64:=<width$}", width = base64.len().next_multiple_of(4))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_handle_is_none() {
        let handle = RecallHandle {
            topic: "topic".into(),
            broker_name: "broker-a".into(),
            timestamp: "1700000000123".into(),
            message_id: "7F0000011F9018B4AAC2549F3D0F0001".into(),
        };
        let text = handle.to_string();
        assert_eq!(RecallHandle::parse(&text), Some(handle));
        // "v2 a b c d", "v1 a b c", a character alone, and what is not in the alphabet.
        for wrong in ["djIgYSBiIGMgZA==", "djEgYSBiIGM=", "djEgYSBiIGMgZ", "djEgYSBiIGMg+A==", ""] {
            assert_eq!(RecallHandle::parse(wrong), None, "{wrong}");
        }
        assert!(RecallHandle::parse("djEgYSBiIGMgZA").is_some());
    }

    proptest! {
        #[test]
        fn handles_return(parts in prop::array::uniform4("[a-zA-Zé%|_-]{0,9}")) {
            let [topic, broker_name, timestamp, message_id] = parts;
            let handle = RecallHandle { topic, broker_name, timestamp, message_id };
            prop_assert_eq!(RecallHandle::parse(&handle.to_string()), Some(handle));
        }

        #[test]
        fn any_text_is_survived(text in prop_oneof!["\\PC{0,30}", "[A-Za-z0-9_=-]{0,30}"]) {
            let _ = RecallHandle::parse(&text);
        }
    }
}
