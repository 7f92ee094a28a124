//! What a fetch answers for one partition: batches as they lie in the log, and RocketMQ's messages made
//! into batches.

use crate::{
    broker::{Broker, ColdError},
    env::ColdBytes,
    gateway::answer::Part,
    wire::convert::ToKafka,
};

/// A partition's batches, each with its size.
pub(super) struct Found {
    pub(super) parts: Vec<(Part, usize)>,
    /// Why there are no more of them.
    pub(super) error: Option<ColdError>,
}

impl Found {
    /// Bytes of all batches.
    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Batches being gathered for one partition.
///
/// The queue's owner kept within the client's limit by what the messages take in the log. What is
/// converted may take more, by its body's decompression above all, and ends where there is no room.
pub(super) struct Records {
    found: Found,
    bytes: usize,
    bytes_max: usize,
    may_exceed: bool,
    /// RocketMQ's messages that lie side by side.
    run: Option<ToKafka>,
    /// Nothing behind here is taken.
    ended: bool,
    /// Messages converted, and how many of them lack something.
    converted: (u64, u64),
}

impl Records {
    /// At most `bytes_max` bytes; the answer's very first batch or message (`may_exceed`) may be
    /// larger (KIP-74).
    pub(super) fn new(bytes_max: usize, may_exceed: bool) -> Self {
        Self {
            found: Found { parts: Vec::new(), error: None },
            bytes: 0,
            bytes_max,
            may_exceed,
            run: None,
            ended: false,
            converted: (0, 0),
        }
    }

    /// Takes a batch as it lies in the log.
    pub(super) fn batch(&mut self, batch: Result<Part, ColdError>, length: u32) {
        self.end_run();
        if self.ended {
            return;
        }
        match batch {
            Ok(part) => self.push(part, length as usize),
            Err(error) => self.fail(error),
        }
    }

    /// Takes a message of RocketMQ's.
    pub(super) fn foreign(&mut self, offset: i64, record: Result<ColdBytes, ColdError>) {
        if self.ended {
            return;
        }
        let record = match record {
            Ok(record) => record,
            Err(error) => return self.fail(error),
        };
        let room = self.bytes_max.saturating_sub(self.bytes);
        let is_first = self.bytes == 0 && self.may_exceed;
        if room == 0 && !is_first {
            self.ended = true;
            return;
        }
        let run = self.run.get_or_insert_with(|| ToKafka::new(room));
        self.ended = !run.push(offset, &record);
    }

    fn push(&mut self, part: Part, bytes: usize) {
        self.bytes += bytes;
        self.found.parts.push((part, bytes));
    }

    fn fail(&mut self, error: ColdError) {
        self.ended = true;
        self.found.error = Some(error);
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let (records, lossy) = run.counts();
        self.converted.0 += records;
        self.converted.1 += lossy;
        let batches = run.finish();
        if !batches.is_empty() {
            let bytes = batches.len();
            self.push(Part::Bytes(batches.into()), bytes);
        }
    }

    /// What was found; `broker` counts what was converted.
    pub(super) fn finish(mut self, broker: &Broker) -> Found {
        self.end_run();
        let (records, lossy) = self.converted;
        if records > 0 {
            broker.count_converted_to_kafka(records, lossy);
        }
        self.found
    }
}
