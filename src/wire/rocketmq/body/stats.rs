//! How many messages come and go.

use serde::{Deserialize, Serialize};

/// What `VIEW_BROKER_STATS_DATA` (315) is answered with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BrokerStatsData {
    /// Of the last 24 hours.
    pub stats_day: BrokerStatsItem,
    /// Of the last hour.
    pub stats_hour: BrokerStatsItem,
    /// Of the last minute.
    pub stats_minute: BrokerStatsItem,
}

/// A count in a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BrokerStatsItem {
    /// The sum of what was counted, over how often.
    pub avgpt: f64,
    /// The sum.
    pub sum: i64,
    /// The sum a second.
    pub tps: f64,
}
