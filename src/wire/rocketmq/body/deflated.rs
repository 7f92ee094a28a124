//! A broker's registration, deflated (`RegisterBrokerBody.java`, brokers with
//! `compressedRegister=true`).
//!
//! ```text
//! zlib of: length i32 | data version, JSON | topics i32 | per topic: length i32 | topic
//!          | length i32 | filter servers, JSON | static topics i32 | …
//! topic: name | read queues | write queues | perm | filter type | attributes, JSON; a space between
//! ```
//! Big-endian. What lies behind the topics means nothing to a name server without static topics.

use super::{RegisterBrokerBody, TopicConfig, TopicFilterType, from_json};
use crate::wire::{WireError, kafka::compression};

/// Characters of a topic that cannot be read that an error tells.
const SHOWN: usize = 100;

impl RegisterBrokerBody {
    /// Reads a deflated registration.
    ///
    /// # Errors
    /// [`WireError::Deflated`] if it has more than `limit_bytes` or is broken, and what else is wrong.
    pub fn inflate(body: &[u8], limit_bytes: usize) -> Result<Self, WireError> {
        let inflated = compression::zlib(body, limit_bytes);
        let inflated = inflated.map_err(|error| WireError::Deflated(error.to_string()))?;
        let mut rest = &inflated[..];
        let mut read = Self::default();
        let wrapper = &mut read.topic_config_serialize_wrapper;
        wrapper.data_version = from_json(sized(&mut rest)?)?;
        // Whatever is claimed: each one takes bytes.
        for _ in 0..number(&mut rest)? {
            let topic = topic(sized(&mut rest)?)?;
            wrapper.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        Ok(read)
    }
}

fn topic(bytes: &[u8]) -> Result<TopicConfig, WireError> {
    let text = str::from_utf8(bytes).map_err(|_| WireError::NotUtf8)?;
    // Who reads it needs no more to find the topic, which may have all the bytes there are.
    let shown = || text.chars().take(SHOWN).collect::<String>();
    let broken = || WireError::Deflated(format!("{:?} is no topic", shown()));
    let mut words = text.splitn(6, ' ');
    let mut word = || words.next().ok_or_else(broken);
    let topic_name = word()?.to_owned();
    let mut number = || word()?.parse().map_err(|_| broken());
    Ok(TopicConfig {
        read_queue_nums: number()?,
        write_queue_nums: number()?,
        perm: number()?,
        topic_filter_type: TopicFilterType::from_name(word()?),
        // Brokers before 5.0 have none.
        attributes: match words.next() {
            Some(attributes) if !attributes.is_empty() => from_json(attributes.as_bytes())?,
            _ => Default::default(),
        },
        topic_name,
        ..TopicConfig::default()
    })
}

fn number(rest: &mut &[u8]) -> Result<i32, WireError> {
    let left = rest.len();
    let (number, behind) =
        rest.split_first_chunk().ok_or(WireError::Truncated { needed: size_of::<i32>(), left })?;
    *rest = behind;
    Ok(i32::from_be_bytes(*number))
}

fn sized<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], WireError> {
    let length = number(rest)?;
    let needed =
        usize::try_from(length).map_err(|_| WireError::NegativeLength(i64::from(length)))?;
    let left = rest.len();
    let (bytes, behind) =
        rest.split_at_checked(needed).ok_or(WireError::Truncated { needed, left })?;
    *rest = behind;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// `RegisterBrokerBody.encode(true)` of RocketMQ 5.5.0.
    const REGISTRATION: &str = "78da636060b0a8564ace2fcd2b492d52b232d7512a2e492c490d4b2d2acecc\
        cf53b232d6512ac9cc4d050ae6162859199a1b20402d03030313104be517a500952b982858289829047bfab9\
        fbb8c68738ba2b5483549897679664c42796941465269596a4162b182a180195222b53029a5f9c989eaa5752\
        5990aa64a594a890a404363c3a1648320000b0c62c9b";

    fn registration() -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&REGISTRATION[at..at + 2], 16).unwrap();
        (0..REGISTRATION.len()).step_by(2).map(digit).collect()
    }

    fn deflated(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Default::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn what_java_deflated_is_read() {
        let read = RegisterBrokerBody::inflate(&registration(), 1 << 20).unwrap();
        let topics = read.topic_config_serialize_wrapper;
        let version = topics.data_version;
        assert_eq!((version.counter, version.state_version), (7, 3));
        assert_eq!(version.timestamp, 1_700_000_000_000);
        let of = |name: &str| {
            let topic = &topics.topic_config_table[name];
            assert_eq!(topic.topic_filter_type, TopicFilterType::SingleTag);
            (topic.read_queue_nums, topic.write_queue_nums, topic.perm, topic.attributes.clone())
        };
        assert_eq!(of("orders"), (4, 8, 6, Default::default()));
        let attributes = [("message.type".to_owned(), "a b".to_owned())].into();
        assert_eq!(of("with_attributes"), (1, 2, 4, attributes));
        assert_eq!(topics.topic_config_table.len(), 2);
    }

    #[test]
    fn what_is_broken_or_too_large_is_refused() {
        let bytes = registration();
        for bad in [&bytes[..bytes.len() - 30], &bytes[1..], b"", b"{}"] {
            assert!(RegisterBrokerBody::inflate(bad, 1 << 20).is_err());
        }
        assert!(RegisterBrokerBody::inflate(&bytes, 100).is_err());
        let bomb = deflated(&vec![0; 1 << 24]);
        let refused = RegisterBrokerBody::inflate(&bomb, 1 << 20);
        assert!(matches!(refused, Err(WireError::Deflated(_))), "{refused:?}");
        // A version, and more topics than there are bytes.
        let claims = deflated(b"\0\0\0\x02{}\x7f\xff\xff\xff\0\0\0\x0ct 1 1 6 X {}");
        let refused = RegisterBrokerBody::inflate(&claims, 1 << 20);
        assert!(matches!(refused, Err(WireError::Truncated { .. })), "{refused:?}");
        let endless = [&b"\0\0\0\x02{}\0\0\0\x01\0\x01\0\0"[..], &[b'x'; 1 << 16]].concat();
        let refused = RegisterBrokerBody::inflate(&deflated(&endless), 1 << 20).unwrap_err();
        assert!(refused.to_string().len() < 200, "{refused}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = RegisterBrokerBody::inflate(&bytes, 1 << 20);
            let _ = RegisterBrokerBody::inflate(&deflated(&bytes), 1 << 20);
            let _ = RegisterBrokerBody::inflate(&deflated(&[b"\0\0\0\x02{}", &bytes[..]].concat()), 1 << 20);
        }
    }
}
