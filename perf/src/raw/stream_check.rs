//! Finds loss, duplicates and disorder by the numbers of each stream, a batch at a time.

use super::record_batch::SeenBatch;
use crate::sequence_check::Findings;

/// Streams are numbered from 0; a larger number is not the generator's.
const STREAMS_MAX: u32 = 1 << 24;

/// What was read of every stream.
#[derive(Default)]
pub struct StreamCheck {
    streams: Vec<Stream>,
    /// The run that counts, if only one does; records of others are passed over.
    only_run: Option<u64>,
    foreign: u64,
    missing: u64,
    duplicates: u64,
    out_of_order: u64,
}

#[derive(Clone, Default)]
struct Stream {
    run: u64,
    /// The number after the highest seen.
    next: u64,
    /// Numbers passed over so far, as ranges. Hardly ever is there any.
    gaps: Vec<(u64, u64)>,
}

impl StreamCheck {
    /// A check of one run, or of every run that comes by.
    pub fn new(only_run: Option<u64>) -> Self {
        Self { only_run, ..Self::default() }
    }

    /// Takes note of a batch, and says whether it counts: it does not if it is another run's.
    pub fn observe(&mut self, batch: &SeenBatch) -> bool {
        let stamp = batch.stamp.filter(|stamp| stamp.stream < STREAMS_MAX);
        let Some(stamp) = stamp else {
            // Beside the one run that counts, anybody may have written there.
            self.foreign += if self.only_run.is_none() { batch.records } else { 0 };
            return self.only_run.is_none();
        };
        if self.only_run.is_some_and(|run| run != stamp.run) {
            return false;
        }
        let index = stamp.stream as usize;
        if index >= self.streams.len() {
            self.streams.resize(index + 1, Stream::default());
        }
        let stream = &mut self.streams[index];
        if stream.run != stamp.run {
            self.missing += stream.missing();
            *stream = Stream { run: stamp.run, ..Stream::default() };
        }
        let (from, to) = (stamp.sequence, stamp.sequence + batch.records);
        if from >= stream.next {
            if from > stream.next {
                stream.gaps.push((stream.next, from));
            }
            stream.next = to;
        } else {
            let late = stream.fill(from, to);
            self.out_of_order += late;
            self.duplicates += stream.next.min(to) - from - late;
            stream.next = stream.next.max(to);
        }
        true
    }

    /// The checks of several threads in one; each stream was read by one of them.
    pub fn joined<'a>(parts: impl Iterator<Item = &'a StreamCheck>) -> Self {
        parts.fold(Self::default(), |mut all, part| {
            if all.streams.len() < part.streams.len() {
                all.streams.resize(part.streams.len(), Stream::default());
            }
            let read = part.streams.iter().enumerate().filter(|(_, stream)| stream.next > 0);
            read.for_each(|(index, stream)| all.streams[index] = stream.clone());
            all.foreign += part.foreign;
            all.missing += part.missing;
            all.duplicates += part.duplicates;
            all.out_of_order += part.out_of_order;
            all
        })
    }

    /// What was found, once everything was read; `sent` has the streams' lengths, where they are
    /// known.
    pub fn findings(&self, sent: &[(u32, u64)]) -> Findings {
        let passed_over: u64 = self.streams.iter().map(Stream::missing).sum();
        let read = |stream: u32| self.streams.get(stream as usize).map_or(0, |s| s.next);
        let cut_off = sent.iter().map(|&(stream, length)| length.saturating_sub(read(stream)));
        Findings {
            foreign: self.foreign,
            missing: self.missing + passed_over + cut_off.sum::<u64>(),
            duplicates: self.duplicates,
            out_of_order: self.out_of_order,
        }
    }
}

impl Stream {
    fn missing(&self) -> u64 {
        self.gaps.iter().map(|(from, to)| to - from).sum()
    }

    /// Takes a range out of the gaps; returns how much of it they had.
    fn fill(&mut self, from: u64, to: u64) -> u64 {
        let before = self.missing();
        let outside = |&(start, end): &(u64, u64)| {
            [(start, end.min(from)), (start.max(to), end)].into_iter().filter(|(a, b)| a < b)
        };
        self.gaps = self.gaps.iter().flat_map(outside).collect();
        before - self.missing()
    }
}

#[cfg(test)]
mod tests {
    use super::super::stamp::Stamp;
    use super::*;

    fn batch(run: u64, stream: u32, sequence: u64, records: u64) -> SeenBatch {
        let stamp = Some(Stamp { stream, run, sequence, intended_ns: 0 });
        SeenBatch { next_offset: 0, records, record_bytes: 100, stamp }
    }

    fn counts(check: &StreamCheck, sent: &[(u32, u64)]) -> (u64, u64, u64) {
        let found = check.findings(sent);
        (found.missing, found.duplicates, found.out_of_order)
    }

    #[test]
    fn loss_duplicates_and_disorder_are_told_apart() {
        let mut check = StreamCheck::new(None);
        for sequence in [0, 10, 30, 40] {
            assert!(check.observe(&batch(1, 0, sequence, 10)));
        }
        assert_eq!(counts(&check, &[(0, 50)]), (10, 0, 0));
        check.observe(&batch(1, 0, 10, 10));
        assert_eq!(counts(&check, &[(0, 50)]), (10, 10, 0));
        check.observe(&batch(1, 0, 20, 10));
        assert_eq!(counts(&check, &[(0, 50)]), (0, 10, 10));
        check.observe(&batch(1, 0, 45, 10));
        assert_eq!(counts(&check, &[(0, 60), (1, 3)]), (5 + 3, 15, 10));
    }

    #[test]
    fn runs_follow_each_other_and_others_are_told() {
        let mut check = StreamCheck::new(None);
        check.observe(&batch(1, 0, 5, 5));
        check.observe(&batch(2, 0, 0, 5));
        check.observe(&SeenBatch { stamp: None, ..batch(2, 0, 5, 5) });
        assert_eq!(counts(&check, &[(0, 5)]), (5, 0, 0));
        assert_eq!(check.findings(&[]).foreign, 5);

        let mut only = StreamCheck::new(Some(2));
        assert!(!only.observe(&batch(1, 0, 5, 5)));
        assert!(only.observe(&batch(2, 0, 0, 5)));
        assert!(!only.observe(&SeenBatch { stamp: None, ..batch(2, 0, 5, 5) }));
        assert_eq!(counts(&only, &[(0, 5)]), (0, 0, 0));
        assert_eq!(only.findings(&[]).foreign, 0);
    }
}
