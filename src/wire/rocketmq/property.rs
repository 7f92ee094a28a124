//! A message's properties: one string, `name \x01 value \x02` repeated (`MessageDecoder.java`).
//!
//! User properties and the system's share it. The constants name those a broker reads or writes
//! (`MessageConst.java`).

/// Between name and value.
const NAME_END: char = '\u{1}';
/// Behind a value.
const VALUE_END: char = '\u{2}';

/// The most bytes that all properties of a message may take, because a record has a signed 16-bit
/// length for them.
pub const PROPERTIES_BYTES_MAX: usize = i16::MAX as usize;

/// Between the keys of one message, in [`KEYS`].
pub const KEYS_PARTED_BY: char = ' ';

macro_rules! names {
    ($($name:ident = $property:literal, $doc:literal;)*) => {
        $(#[doc = $doc] pub const $name: &str = $property;)*
    };
}

names! {
    KEYS = "KEYS", "The message's keys, with spaces between.";
    TAGS = "TAGS", "The message's tag.";
    WAIT = "WAIT", "`false`: the producer does not wait for the disk.";
    DELAY = "DELAY", "The delay level, 1 to 18.";
    UNIQ_KEY = "UNIQ_KEY", "The unique id that the client made ([`UniqueId`](super::UniqueId)).";
    RETRY_TOPIC = "RETRY_TOPIC", "On a message that was sent back: the topic it came from.";
    ORIGIN_MESSAGE_ID = "ORIGIN_MESSAGE_ID", "On a message that was sent back: its first offsetMsgId.";
    RECONSUME_TIME = "RECONSUME_TIME", "How often it was consumed again, if the client says so.";
    MAX_RECONSUME_TIMES = "MAX_RECONSUME_TIMES", "After how often it is a dead letter, if the client says so.";
    REAL_TOPIC = "REAL_TOPIC", "Where a message that waits is to go.";
    REAL_QID = "REAL_QID", "The queue where a message that waits is to go.";
    TRAN_MSG = "TRAN_MSG", "`true`: a half message.";
    PGROUP = "PGROUP", "The producer's group, on a half message.";
    MSG_REGION = "MSG_REGION", "The broker's region.";
    TRACE_ON = "TRACE_ON", "Whether the broker lets clients trace.";
    CLUSTER = "CLUSTER", "The broker's cluster; replies need it on every stored message.";
    INSTANCE_ID = "INSTANCE_ID", "The namespace.";
    CORRELATION_ID = "CORRELATION_ID", "Pairs a reply with its request.";
    REPLY_TO_CLIENT = "REPLY_TO_CLIENT", "The client id that a reply goes to.";
    TTL = "TTL", "How long a request waits for its reply, ms.";
    MSG_TYPE = "MSG_TYPE", "`reply` on a reply.";
    ARRIVE_TIME = "ARRIVE_TIME", "When a request came, ms.";
    PUSH_REPLY_TIME = "PUSH_REPLY_TIME", "When the broker pushed a reply on, ms.";
    POP_CK = "POP_CK", "POP's handle; a broker strips it from what is sent.";
    SHARDING_KEY = "__SHARDINGKEY", "What the producer chose the queue by.";
    TIMER_DELAY_SEC = "TIMER_DELAY_SEC", "A delay, s. Wins over the next two.";
    TIMER_DELAY_MS = "TIMER_DELAY_MS", "A delay, ms.";
    TIMER_DELIVER_MS = "TIMER_DELIVER_MS", "When to deliver, ms since the epoch.";
    TIMER_OUT_MS = "TIMER_OUT_MS", "When a timer message is due, ms; set by the broker.";
    TIMER_DEL_UNIQKEY = "TIMER_DEL_UNIQKEY", "The unique id of the timer message to recall.";
    BORN_HOST = "__BORNHOST", "The host a dead letter was born on.";
    BORN_TIMESTAMP = "BORN_TIMESTAMP", "When a dead letter was born, ms.";
    DLQ_ORIGIN_TOPIC = "DLQ_ORIGIN_TOPIC", "The topic a dead letter came from.";
    DLQ_ORIGIN_MESSAGE_ID = "DLQ_ORIGIN_MESSAGE_ID", "A dead letter's first offsetMsgId.";
    TRANSACTION_ID = "__transactionId__", "A transaction's id.";
}

/// What a broker says of itself on every message that is sent to it, whatever the client said.
pub const OF_BROKER: [&str; 3] = [MSG_REGION, TRACE_ON, CLUSTER];

/// Iterates over `(name, value)`. Pieces without a name or a value are passed over, as Java does; the
/// last value needs no end.
#[derive(Clone, Debug)]
pub struct Properties<'a> {
    rest: &'a str,
}

impl<'a> Properties<'a> {
    /// The properties in `block`.
    #[must_use]
    pub const fn new(block: &'a str) -> Self {
        Self { rest: block }
    }

    /// The value of `name`; the last one, if there are several.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.clone().filter(|(known, _)| *known == name).last().map(|(_, value)| value)
    }
}

impl<'a> Iterator for Properties<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<(&'a str, &'a str)> {
        while !self.rest.is_empty() {
            let (piece, rest) = self.rest.split_once(VALUE_END).unwrap_or((self.rest, ""));
            self.rest = rest;
            match piece.split_once(NAME_END) {
                Some((name, value)) if !name.is_empty() && !value.is_empty() => {
                    return Some((name, value));
                }
                _ => {}
            }
        }
        None
    }
}

/// Adds those properties of `from` to `block` whose names are to be kept.
pub fn push_those(block: &mut String, from: &str, keep: impl Fn(&str) -> bool) {
    for (name, value) in Properties::new(from).filter(|(name, _)| keep(name)) {
        push(block, name, value);
    }
}

/// Adds a property to `block`. Gives false, and leaves `block` as it was, for what the format cannot
/// express: an empty name or value, or one with the format's own two characters in it (a value may
/// have `\x01`).
pub fn push(block: &mut String, name: &str, value: &str) -> bool {
    let expressible = !name.is_empty()
        && !value.is_empty()
        && !name.contains([NAME_END, VALUE_END])
        && !value.contains(VALUE_END);
    if expressible {
        // What came before may lack its end.
        if !block.is_empty() && !block.ends_with(VALUE_END) {
            block.push(VALUE_END);
        }
        block.push_str(name);
        block.push(NAME_END);
        block.push_str(value);
        block.push(VALUE_END);
    }
    expressible
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_are_read_as_java_reads_them() {
        let block = "a\u{1}1\u{2}\u{2}b\u{2}\u{1}c\u{2}d\u{1}\u{2}e\u{1}2\u{1}3\u{2}a\u{1}4";
        let properties = Properties::new(block);
        let read: Vec<_> = properties.clone().collect();
        assert_eq!(read, [("a", "1"), ("e", "2\u{1}3"), ("a", "4")]);
        assert_eq!(properties.get("a"), Some("4"));
        assert_eq!(properties.get("d"), None);
    }

    #[test]
    fn what_cannot_be_expressed_is_not_written() {
        let mut block = String::from("a\u{1}1");
        for (name, value) in
            [("", "v"), ("n", ""), ("n\u{1}", "v"), ("n\u{2}", "v"), ("n", "\u{2}")]
        {
            assert!(!push(&mut block, name, value));
        }
        assert_eq!(block, "a\u{1}1");
        assert!(push(&mut block, "b", "2\u{1}"));
        assert_eq!(block, "a\u{1}1\u{2}b\u{1}2\u{1}\u{2}");
    }

    proptest! {
        #[test]
        fn properties_return(written in vec(("[a-c\u{1}\u{2}é]{0,3}", "[a-c\u{1}\u{2}é]{0,3}"), 0..8)) {
            let mut block = String::new();
            let kept: Vec<_> = written
                .iter()
                .filter(|(name, value)| push(&mut block, name, value))
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            prop_assert_eq!(Properties::new(&block).collect::<Vec<_>>(), kept);
        }

        #[test]
        fn any_block_is_survived(block in "[ab\u{1}\u{2}]{0,20}") {
            for (name, value) in Properties::new(&block) {
                prop_assert!(!name.is_empty() && !value.is_empty());
            }
        }
    }
}
