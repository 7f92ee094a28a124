//! Filters by tag, and the hash by which a frame is taken or passed over unread.

use super::{EXPRESSION_BYTES_MAX, Fault, FilterError, Verdict};

/// The hash an index entry has for the tag of its frame's messages: Java's `String.hashCode`, which
/// RocketMQ's subscriptions have in their code sets, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TagHash(pub u32);

impl TagHash {
    /// The messages differ in tag, or nobody looked: each has to be asked.
    pub const MIXED: Self = Self(0);
    /// No message has a tag.
    pub const UNTAGGED: Self = Self(0x8000_0000);

    /// The hash of one message's tag. A tag whose own hash means something else here counts as mixed:
    /// its messages are asked one by one, which costs more and says the same.
    #[must_use]
    pub fn of(tag: Option<&str>) -> Self {
        let Some(tag) = tag else { return Self::UNTAGGED };
        match Self(java_hash(tag)) {
            Self::UNTAGGED => Self::MIXED,
            hash => hash,
        }
    }

    /// The hash of a frame whose messages have these.
    #[must_use]
    pub fn shared(hashes: impl IntoIterator<Item = Self>) -> Self {
        let mut hashes = hashes.into_iter();
        let first = hashes.next().unwrap_or(Self::MIXED);
        if hashes.all(|hash| hash == first) { first } else { Self::MIXED }
    }
}

/// `String.hashCode`: over UTF-16, `31 * hash + unit`, wrapping.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash: u32, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

/// Messages with one of these tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagFilter {
    /// In order.
    hashes: Box<[u32]>,
    /// In order.
    tags: Box<[Box<str>]>,
}

impl TagFilter {
    /// Reads tags with `||` between; blanks around them do not count (`FilterAPI.java`). A `*` among
    /// them is a tag like any other.
    ///
    /// # Errors
    /// When it names no tag, which in RocketMQ receives nothing or is refused, or is too long.
    pub fn parse(expression: &str) -> Result<Self, FilterError> {
        let error = |fault| Err(FilterError::new(expression, 0, fault));
        if expression.len() > EXPRESSION_BYTES_MAX {
            return error(Fault::TooLong);
        }
        let pieces = expression.split("||").map(|piece| piece.trim_matches(is_blank));
        let mut tags: Vec<&str> = pieces.filter(|tag| !tag.is_empty()).collect();
        if tags.is_empty() {
            return error(Fault::NoTag);
        }
        tags.sort_unstable();
        tags.dedup();
        let mut hashes: Vec<u32> = tags.iter().map(|tag| java_hash(tag)).collect();
        hashes.sort_unstable();
        Ok(Self { hashes: hashes.into(), tags: tags.into_iter().map(Into::into).collect() })
    }

    /// What to do with a frame whose index entry has this hash.
    #[must_use]
    pub fn verdict(&self, hash: TagHash) -> Verdict {
        match hash {
            TagHash::MIXED => Verdict::Each,
            TagHash::UNTAGGED => Verdict::None,
            TagHash(code) if self.hashes.binary_search(&code).is_ok() => Verdict::All,
            TagHash(_) => Verdict::None,
        }
    }

    /// Whether `tag` is one of them.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        self.tags.binary_search_by(|known| (**known).cmp(tag)).is_ok()
    }
}

/// What Java's `String.trim` takes away.
const fn is_blank(c: char) -> bool {
    c <= ' '
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hashes_are_javas() {
        for (tag, hash) in [
            ("a", 97),
            ("TagA", 2_598_919),
            ("ä", 228),
            ("消息", 893_927),
            ("😀", 1_772_899),
            ("Aa", 2112),
            ("a considerably longer tag", 3_582_441_341),
            ("größe😀", 423_021_364),
            ("BB", 2112),
        ] {
            assert_eq!(TagHash::of(Some(tag)), TagHash(hash), "{tag}");
        }
        assert_eq!(TagHash::of(None), TagHash::UNTAGGED);
        assert_eq!(java_hash("polygenelubricants"), i32::MIN as u32);
        assert_eq!(TagHash::of(Some("polygenelubricants")), TagHash::MIXED);
    }

    #[test]
    fn tags_are_read_as_java_reads_them() {
        let tags = |expression| TagFilter::parse(expression).map(|filter| filter.tags);
        let some = |tags: &[&str]| Ok(tags.iter().map(|tag| Box::from(*tag)).collect());
        assert_eq!(tags("b||a"), some(&["a", "b"]));
        assert_eq!(tags(" \ta \n|| || a|b||"), some(&["a", "a|b"]));
        assert_eq!(tags("a || *"), some(&["*", "a"]));
        assert_eq!(tags("|||a"), some(&["|a"]));
        // Not Java's blanks.
        assert_eq!(tags("\u{a0}a"), some(&["\u{a0}a"]));
        for nothing in ["||", " || ", " ", "||||"] {
            let error = tags(nothing).unwrap_err();
            assert_eq!((error.position, error.fault), (1, Fault::NoTag));
        }
        let long = "a||".repeat(EXPRESSION_BYTES_MAX / 3 + 1);
        assert_eq!(tags(&long).unwrap_err().fault, Fault::TooLong);
    }

    #[test]
    fn equal_hashes_are_told_apart_by_tag() {
        let filter = TagFilter::parse("Aa").unwrap();
        assert_eq!(filter.verdict(TagHash::of(Some("BB"))), Verdict::All);
        assert!(filter.has("Aa") && !filter.has("BB"));
    }

    proptest! {
        /// Whatever the hashes collide with, no wanted message is ever passed over unread.
        #[test]
        fn a_verdict_hides_nothing(
            wanted in vec("[ab]{1,2}|polygenelubricants|\u{0}", 1..4),
            frame in vec(proptest::option::of("[ab]{1,2}|polygenelubricants|\u{0}"), 1..4),
        ) {
            let Ok(filter) = TagFilter::parse(&wanted.join("||")) else { return Ok(()) };
            let hash = TagHash::shared(frame.iter().map(|tag| TagHash::of(tag.as_deref())));
            let has = frame.iter().map(|tag| tag.as_deref().is_some_and(|tag| filter.has(tag)));
            let has: Vec<bool> = has.collect();
            match filter.verdict(hash) {
                Verdict::None => prop_assert!(!has.contains(&true)),
                // None of these collide but those that are mixed.
                Verdict::All => prop_assert!(!has.contains(&false)),
                Verdict::Each => {}
            }
        }
    }
}
