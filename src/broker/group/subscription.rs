//! The only look the coordinator takes into what members send each other.

use std::collections::BTreeSet;

/// Topic names in a consumer's join metadata, or none if it is not of the consumer protocol.
///
/// Only the prefix that all versions share is read: `version: i16, topics: [string]`, big-endian.
pub(super) fn subscribed_topics(metadata: &[u8]) -> Option<BTreeSet<Box<str>>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let mut topics = BTreeSet::new();
    for _ in 0..u32::try_from(i32::from_be_bytes(*count)).ok()? {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = after.split_at_checked(length)?;
        topics.insert(std::str::from_utf8(name).ok()?.into());
        rest = after;
    }
    Some(topics)
}

/// The join metadata of a consumer of `topics`, as version 0 writes it.
#[cfg(test)]
pub(super) fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut bytes = vec![0, 0];
    bytes.extend(u32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(u16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1_i32).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_common_prefix() {
        let topics = subscribed_topics(&subscription(&["b", "a"])).unwrap();
        assert_eq!(topics.iter().map(AsRef::as_ref).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(subscribed_topics(&subscription(&[])), Some(BTreeSet::new()));
    }

    #[test]
    fn other_bytes_are_not_a_subscription() {
        let whole = subscription(&["orders"]);
        for length in 0..whole.len() - 4 {
            assert_eq!(subscribed_topics(&whole[..length]), None, "{length} bytes");
        }
        assert_eq!(subscribed_topics(&[0, 0, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(subscribed_topics(&[0x80, 0, 0, 0, 0, 0]), None);
        assert_eq!(subscribed_topics(&[0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0]), None);
    }
}
