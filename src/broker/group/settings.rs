//! The coordinator's knobs.

use std::time::Duration;

/// What a broker's config says about groups. The defaults are Kafka's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Shortest session timeout a member may ask for.
    pub min_session_timeout: Duration,
    /// Longest session timeout a member may ask for.
    pub max_session_timeout: Duration,
    /// How long an empty group's first rebalance waits for more members (KIP-134).
    pub initial_rebalance_delay: Duration,
    /// How long a join of a member that has no session yet may stay unanswered.
    pub new_member_join_timeout: Duration,
    /// Members a group may have (KIP-389). Ids that were given out count, when another one is asked for.
    pub max_size: usize,
    /// How long offsets outlive their group's last member, or a simple consumer's commit (KIP-211).
    pub offsets_retention: Duration,
    /// How often a group is looked through for expired offsets.
    pub offsets_check_interval: Duration,
    /// Bytes of metadata one committed offset may carry.
    pub offset_metadata_max_bytes: usize,
    /// Bytes that a group's members may tell of themselves, with their assignments: one record holds
    /// all of it.
    pub metadata_max_bytes: usize,
    /// Groups one shard may hold.
    pub max_groups: usize,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(30 * 60),
            initial_rebalance_delay: Duration::from_secs(3),
            new_member_join_timeout: Duration::from_secs(5 * 60),
            max_size: usize::MAX,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_check_interval: Duration::from_secs(10 * 60),
            offset_metadata_max_bytes: 4096,
            metadata_max_bytes: 16 << 20,
            max_groups: usize::MAX,
        }
    }
}
