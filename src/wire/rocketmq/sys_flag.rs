//! Bit fields: a message's (`MessageSysFlag.java`) and a pull's (`PullSysFlag.java`).

/// A message's `sysFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SysFlag(pub i32);

/// What a message's transaction bits say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransactionType {
    /// An ordinary message.
    None,
    /// A half message, to be committed or rolled back.
    Prepared,
    /// A half message that was committed.
    Commit,
    /// A half message that was rolled back.
    Rollback,
}

/// How a message's body is compressed. Brokers pass it through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyCompression {
    /// LZ4's frame format.
    Lz4,
    /// Zstandard.
    Zstd,
    /// zlib (RFC 1950), and what clients mean who do not say.
    Zlib,
}

impl SysFlag {
    /// The body is compressed.
    pub const COMPRESSED: Self = Self(1);
    /// The message has several tags.
    pub const MULTI_TAGS: Self = Self(1 << 1);
    /// The born host is an IPv6 address: 20 bytes of the record instead of 8.
    pub const BORN_HOST_V6: Self = Self(1 << 4);
    /// The store host is an IPv6 address.
    pub const STORE_HOST_V6: Self = Self(1 << 5);
    /// The body is a batch, to be taken apart by the consumer.
    pub const NEED_UNWRAP: Self = Self(1 << 6);
    /// The record is a batch of a BatchCQ topic.
    pub const INNER_BATCH: Self = Self(1 << 7);

    const TRANSACTION_SHIFT: i32 = 2;
    const COMPRESSION_SHIFT: i32 = 8;

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set or cleared.
    #[must_use]
    pub const fn with(self, other: Self, set: bool) -> Self {
        Self(if set { self.0 | other.0 } else { self.0 & !other.0 })
    }

    /// What the transaction bits say.
    #[must_use]
    pub const fn transaction(self) -> TransactionType {
        match self.0 >> Self::TRANSACTION_SHIFT & 3 {
            0 => TransactionType::None,
            1 => TransactionType::Prepared,
            2 => TransactionType::Commit,
            _ => TransactionType::Rollback,
        }
    }

    /// How the body is compressed; none if it is not, or in a way that does not exist.
    #[must_use]
    pub const fn compression(self) -> Option<BodyCompression> {
        if !self.has(Self::COMPRESSED) {
            return None;
        }
        match self.0 >> Self::COMPRESSION_SHIFT & 7 {
            0 | 3 => Some(BodyCompression::Zlib),
            1 => Some(BodyCompression::Lz4),
            2 => Some(BodyCompression::Zstd),
            _ => None,
        }
    }
}

/// A pull's `sysFlag`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct PullSysFlag(pub i32);

impl PullSysFlag {
    /// `commitOffset` is to be stored.
    pub const COMMIT_OFFSET: Self = Self(1);
    /// An empty pull may be held.
    pub const SUSPEND: Self = Self(1 << 1);
    /// The header carries the subscription.
    pub const SUBSCRIPTION: Self = Self(1 << 2);
    /// A filter class is meant, which no broker has any more.
    pub const CLASS_FILTER: Self = Self(1 << 3);
    /// It comes from a lite pull consumer.
    pub const LITE_PULL: Self = Self(1 << 4);

    /// Whether all bits of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_mean_what_java_means() {
        let transactions = [
            (0, TransactionType::None),
            (4, TransactionType::Prepared),
            (8, TransactionType::Commit),
            (12, TransactionType::Rollback),
        ];
        for (bits, transaction) in transactions {
            assert_eq!(SysFlag(bits | 0x331).transaction(), transaction);
        }
        assert_eq!(SysFlag(0x1).compression(), Some(BodyCompression::Zlib));
        assert_eq!(SysFlag(0x101).compression(), Some(BodyCompression::Lz4));
        assert_eq!(SysFlag(0x201).compression(), Some(BodyCompression::Zstd));
        assert_eq!(SysFlag(0x301).compression(), Some(BodyCompression::Zlib));
        assert_eq!(SysFlag(0x401).compression(), None);
        assert_eq!(SysFlag(0x100).compression(), None);
        assert_eq!(SysFlag(3).with(SysFlag::BORN_HOST_V6, true), SysFlag(0x13));
        assert_eq!(SysFlag(3).with(SysFlag::MULTI_TAGS, false), SysFlag(1));
    }
}
