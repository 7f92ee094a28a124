//! Finds loss, duplicates and reordering in what was read back, by the records' own numbers.

use crate::payload::Header;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// Collects the sequence numbers of every run seen.
#[derive(Default)]
pub struct SequenceCheck {
    runs: Vec<Run>,
    foreign: u64,
}

struct Run {
    id: u64,
    total: u64,
    seen: Vec<u64>,
    unique: u64,
    duplicates: u64,
    out_of_order: u64,
    next_in_partition: HashMap<usize, u64>,
}

/// What the check found.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Records that were not written by this tool.
    pub foreign: u64,
    /// Sequence numbers of the runs seen that were never read.
    pub missing: u64,
    /// Records read again under a number already seen.
    pub duplicates: u64,
    /// Records with a lower number than one before them in the same partition.
    pub out_of_order: u64,
}

impl SequenceCheck {
    /// Takes note of a record read from the partition with this index.
    pub fn observe(&mut self, header: Option<Header>, partition: usize) {
        let Some(header) = header.filter(|h| h.sequence < h.total) else {
            self.foreign += 1;
            return;
        };
        // There is one run in nearly every case, so a scan is the fastest look-up.
        let position = self.runs.iter().position(|r| r.id == header.run);
        let run = match position {
            Some(i) => &mut self.runs[i],
            None => {
                self.runs.push(Run::new(&header));
                self.runs.last_mut().expect("a run was just pushed")
            }
        };
        run.observe(header.sequence, partition);
    }

    /// Takes in what another check saw of other partitions.
    pub fn merge(&mut self, other: SequenceCheck) {
        self.foreign += other.foreign;
        for theirs in other.runs {
            match self.runs.iter_mut().find(|r| r.id == theirs.id) {
                Some(run) => run.merge(theirs),
                None => self.runs.push(theirs),
            }
        }
    }

    /// What was found so far. Missing numbers only mean something once everything was read.
    pub fn findings(&self) -> Findings {
        Findings {
            foreign: self.foreign,
            missing: self.runs.iter().map(|r| r.total - r.unique).sum(),
            duplicates: self.runs.iter().map(|r| r.duplicates).sum(),
            out_of_order: self.runs.iter().map(|r| r.out_of_order).sum(),
        }
    }
}

impl Run {
    fn new(header: &Header) -> Self {
        let words = usize::try_from(header.total.div_ceil(64)).expect("a run fits in memory");
        Self {
            id: header.run,
            total: header.total,
            seen: vec![0; words],
            unique: 0,
            duplicates: 0,
            out_of_order: 0,
            next_in_partition: HashMap::new(),
        }
    }

    fn merge(&mut self, other: Run) {
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.unique += other.unique;
        for (word, theirs) in self.seen.iter_mut().zip(other.seen) {
            let twice = u64::from((*word & theirs).count_ones());
            self.duplicates += twice;
            self.unique -= twice;
            *word |= theirs;
        }
        self.next_in_partition.extend(other.next_in_partition);
    }

    fn observe(&mut self, sequence: u64, partition: usize) {
        let word = &mut self.seen[(sequence / 64) as usize];
        let bit = 1 << (sequence % 64);
        if *word & bit != 0 {
            self.duplicates += 1;
            return;
        }
        *word |= bit;
        self.unique += 1;
        let next = self.next_in_partition.entry(partition).or_default();
        if sequence < *next {
            self.out_of_order += 1;
        }
        *next = (*next).max(sequence + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(sequence: u64) -> Option<Header> {
        Some(Header { run: 9, sequence, total: 100, intended_ns: 0 })
    }

    #[test]
    fn two_consumers_see_one_run() {
        let (mut even, mut odd) = (SequenceCheck::default(), SequenceCheck::default());
        (0..100).step_by(2).for_each(|s| even.observe(header(s), 0));
        (1..99).step_by(2).for_each(|s| odd.observe(header(s), 1));
        odd.observe(header(4), 1);
        even.merge(odd);
        let found = even.findings();
        assert_eq!((found.missing, found.duplicates, found.out_of_order), (1, 1, 1));
    }

    #[test]
    fn loss_duplicates_and_reordering_are_counted() {
        let mut check = SequenceCheck::default();
        for sequence in (0..100).filter(|s| *s != 42) {
            check.observe(header(sequence), (sequence % 2) as usize);
        }
        check.observe(header(7), 1);
        check.observe(None, 0);
        let found = check.findings();
        assert_eq!((found.missing, found.duplicates, found.out_of_order), (1, 1, 0));
        assert_eq!(found.foreign, 1);
        check.observe(header(42), 0);
        let found = check.findings();
        assert_eq!((found.missing, found.out_of_order), (0, 1));
    }
}
