//! What is busiest and what is furthest behind: `/top`, which `mainstem top` asks for.

use serde::{Deserialize, Serialize};

/// How many topics and groups are told of.
pub const TOP_MOST: usize = 20;

/// The busiest topics and the slowest groups at a moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Top {
    /// Seconds that rates are measured over, back from now; 0 where nobody had asked before.
    pub window_s: f64,
    /// The busiest first, at most [`TOP_MOST`]; by all their messages with a window of 0.
    pub topics: Vec<TopicRate>,
    /// The furthest behind first, at most [`TOP_MOST`].
    pub groups: Vec<GroupLag>,
}

/// How busy a topic is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopicRate {
    /// Its name.
    pub topic: String,
    /// Messages that came, a second.
    pub messages_per_s: f64,
    /// Messages that ever came, by its offsets.
    pub messages: u64,
}

/// How far a group is behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLag {
    /// Its name.
    pub group: String,
    /// Messages behind, over all partitions it has committed offsets of.
    pub lag_messages: u64,
    /// The partition where it is furthest behind.
    pub worst: String,
    /// How many messages there.
    pub worst_lag_messages: u64,
}
