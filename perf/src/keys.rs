//! Keys, and which partition a record goes to.

use crate::payload::mix;
use crate::workload::Keys;

/// How many keys there are.
const KEYS: u64 = 10_000;

/// Chooses keys and partitions. The same numbers give the same choices, for every system.
pub struct KeySource {
    keys: Keys,
    partitions: u64,
    run_length: u64,
    key: Vec<u8>,
}

impl KeySource {
    /// Over so many partitions; without keys, so many records in a row go to one of them.
    pub fn new(keys: Keys, partitions: usize, run_length: u64) -> Self {
        Self { keys, partitions: partitions as u64, run_length: run_length.max(1), key: Vec::new() }
    }

    /// The partition and the key, empty for none, of the record with this number.
    pub fn choose(&mut self, sequence: u64) -> (usize, &[u8]) {
        let number = match self.keys {
            Keys::None => {
                let partition = sequence / self.run_length % self.partitions;
                return (partition as usize, &[]);
            }
            Keys::InTurn => sequence % KEYS,
            Keys::Random => mix(sequence) % KEYS,
        };
        self.key.clear();
        self.key.extend_from_slice(format!("key-{number:05}").as_bytes());
        ((mix(number) % self.partitions) as usize, &self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn a_key_stays_in_its_partition_and_keys_spread() {
        for keys in [Keys::InTurn, Keys::Random] {
            let mut source = KeySource::new(keys, 6, 1);
            let mut homes: HashMap<Vec<u8>, usize> = HashMap::new();
            let mut loads = [0; 6];
            for sequence in 0..60_000 {
                let (partition, key) = source.choose(sequence);
                assert_eq!(*homes.entry(key.to_vec()).or_insert(partition), partition);
                loads[partition] += 1;
            }
            assert!(loads.iter().all(|n| (9_000..11_000).contains(n)), "{loads:?}");
        }
    }

    #[test]
    fn without_keys_partitions_come_in_turn() {
        let mut source = KeySource::new(Keys::None, 3, 2);
        let partitions: Vec<_> = (0..7).map(|s| source.choose(s).0).collect();
        assert_eq!(partitions, [0, 0, 1, 1, 2, 2, 0]);
        assert!(source.choose(0).1.is_empty());
    }
}
