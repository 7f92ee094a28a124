//! A system together with what it promises when it answers.

use crate::error::{PerfError, Result};
use crate::system::{System, SystemOptions};
use crate::workload::{SystemName, Tier};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// One contestant. Synced means: an answered record is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Variant {
    /// The system.
    pub system: SystemName,
    /// Whether it waits for the disk before it answers.
    pub synced: bool,
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.system, if self.synced { "synced" } else { "unsynced" })
    }
}

impl Tier {
    /// What a system takes part as.
    pub fn variant(self, system: SystemName) -> Variant {
        let synced = match self {
            Tier::AsShipped => system == SystemName::Mainstem,
            Tier::Synced => true,
            Tier::Unsynced => false,
        };
        Variant { system, synced }
    }
}

/// Settings that would make a variant something else than its name says.
const FLUSH_SETTINGS: [&str; 4] = ["--flush", "log.flush", "flushDiskType", "log.sync_interval"];

impl Variant {
    /// The system, set up so that it promises this.
    ///
    /// # Errors
    /// Something it needs is missing, or the user's own settings speak of flushing.
    pub fn system(self, options: &SystemOptions, mainstem: Option<&Path>) -> Result<System> {
        let SystemOptions { mut places, mut kafka, mut rocketmq } = options.clone();
        let ours = places.mainstem_args.iter();
        let mut settings = ours.chain(&kafka.kafka_set).chain(&rocketmq.rocketmq_set);
        if let Some(s) = settings.find(|s| FLUSH_SETTINGS.iter().any(|f| s.contains(f))) {
            return Err(PerfError::Failed(format!(
                "{s}: flushing is chosen with --tiers, so that the report says which it was"
            )));
        }
        match (self.system, self.synced) {
            (SystemName::Mainstem, synced) => {
                // Said even where it is the default: a flag outweighs what a file may say.
                let flush = if synced { "sync" } else { "async" };
                places.mainstem_args.extend(["--flush".into(), flush.into()]);
                places.mainstem(mainstem.expect("it was found or made for the plan"))
            }
            (SystemName::Kafka, synced) => {
                if synced {
                    kafka.kafka_set.push("log.flush.interval.messages=1".into());
                }
                kafka.prepare(&places)
            }
            (SystemName::Rocketmq, synced) => {
                if synced {
                    rocketmq.rocketmq_set.push("flushDiskType=SYNC_FLUSH".into());
                }
                rocketmq.prepare(&places).map(System::RocketMq)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_as_shipped_mixes_promises() {
        let synced = |tier: Tier| {
            let systems = [SystemName::Mainstem, SystemName::Kafka, SystemName::Rocketmq];
            systems.map(|system| tier.variant(system).synced)
        };
        assert_eq!(synced(Tier::AsShipped), [true, false, false]);
        assert_eq!(synced(Tier::Synced), [true, true, true]);
        assert_eq!(synced(Tier::Unsynced), [false, false, false]);
    }
}
