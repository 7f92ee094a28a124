//! Which of a topic's messages a consumer wants: by tag, or by a condition on their properties.
//!
//! A [`Filter`] is made once for a subscription, kept as long as that stands, and asked twice:
//!
//! 1. [`Filter::verdict`] with the tag hash of an index entry, before anything is read. It takes or
//!    passes over a whole frame, or says that its messages have to be looked at.
//! 2. [`Filter::wants`] with one message's tag and properties, for those frames alone.
//!
//! What an owner writes into a frame as its tag hash is a [`TagHash`]: [`TagHash::of`] a message's
//! tag, and [`TagHash::shared`] of several in one frame. It stays [`TagHash::MIXED`], which is 0, for
//! a frame nobody looked into.
//!
//! A gateway maps its protocol to it: [`Filter::tags`] for RocketMQ's expression type `TAG`, for none
//! and for an empty one, [`Filter::sql`] for `SQL92`; a [`FilterError`] is what its client reads
//! behind `SUBSCRIPTION_PARSE_FAILED` (23), position included. A message's tag is its property `TAGS`,
//! which an SQL condition may name as any other. RocketMQ compares hashes only and leaves the rest
//! to its clients, which compare the tags themselves: so a frame taken by its hash may hold another
//! tag, and no client of RocketMQ minds. Retry topics are subscribed to with `*`; a filter looks at
//! them no second time.
//!
//! Both kinds live on the shard that parsed them, or on several: they are `Send` and never change.

mod error;
mod sql;
mod tag;

pub use error::{Fault, FilterError};
pub use sql::{Mismatch, SqlFilter};
pub use tag::{TagFilter, TagHash};

/// The longest expression, in bytes: ten thousand tags, or values of one `IN`.
pub const EXPRESSION_BYTES_MAX: usize = 256 << 10;

/// What an index entry says about its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// None of its messages is wanted.
    None,
    /// All of them are.
    All,
    /// Each has to be asked for.
    Each,
}

/// What a subscription wants.
#[derive(Clone, Debug)]
pub enum Filter {
    /// Everything.
    All,
    /// Messages with one of some tags.
    Tags(TagFilter),
    /// Messages whose properties fulfil a condition.
    Sql(SqlFilter),
}

impl Filter {
    /// Reads `*` or tags with `||` between. An empty expression means `*`.
    ///
    /// # Errors
    /// When it names no tag, or is too long.
    pub fn tags(expression: &str) -> Result<Self, FilterError> {
        match expression {
            "" | "*" => Ok(Self::All),
            _ => TagFilter::parse(expression).map(Self::Tags),
        }
    }

    /// Reads a condition in RocketMQ's part of SQL92.
    ///
    /// # Errors
    /// Says what is wrong with it, and where.
    pub fn sql(expression: &str) -> Result<Self, FilterError> {
        SqlFilter::parse(expression).map(Self::Sql)
    }

    /// What to do with a frame whose index entry has this hash.
    #[must_use]
    pub fn verdict(&self, hash: TagHash) -> Verdict {
        match self {
            Self::All => Verdict::All,
            Self::Tags(tags) => tags.verdict(hash),
            Self::Sql(_) => Verdict::Each,
        }
    }

    /// Whether a message is wanted. Its properties are names and values, as they lie; they are gone
    /// through at most once, and nothing is allocated.
    #[must_use]
    pub fn wants<'m>(
        &self,
        tag: Option<&str>,
        properties: impl IntoIterator<Item = (&'m str, &'m str)>,
    ) -> bool {
        match self {
            Self::All => true,
            Self::Tags(tags) => tag.is_some_and(|tag| tags.has(tag)),
            Self::Sql(condition) => condition.matches(properties),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_asked_by_hash_and_by_message() {
        let none = || std::iter::empty();
        let all = Filter::tags("").unwrap();
        assert_eq!(all.verdict(TagHash::MIXED), Verdict::All);
        assert!(all.wants(None, none()) && all.wants(Some("a"), none()));

        let tags = Filter::tags("a || b").unwrap();
        assert_eq!(tags.verdict(TagHash::of(Some("a"))), Verdict::All);
        assert!(tags.wants(Some("b"), none()) && !tags.wants(Some("c"), none()));
        assert!(!tags.wants(None, [("TAGS", "a")]));

        let sql = Filter::sql("TAGS = 'a' AND n > 1").unwrap();
        assert_eq!(sql.verdict(TagHash::of(Some("b"))), Verdict::Each);
        assert!(sql.wants(Some("a"), [("TAGS", "a"), ("n", "2")]));
        assert!(!sql.wants(Some("a"), [("TAGS", "a"), ("n", "1")]));
    }
}
