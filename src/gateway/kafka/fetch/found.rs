//! What a fetch answers for one partition: batches as they lie in the log, and RocketMQ's messages made
//! into batches.

use crate::{broker::ColdError, env::ColdBytes, gateway::answer::Part, wire::convert::ToKafka};

/// Bytes that may be made in one answer, and that what they are made of takes in the log. The answer
/// holds them until they are sent; a client asks again for what lies behind.
pub(super) const CONVERTED_BYTES: u64 = 4 << 20;

/// A partition's batches, each with its size.
#[derive(Default)]
pub(super) struct Found {
    pub(super) parts: Vec<(Part, usize)>,
    /// Bytes made of RocketMQ's messages, among them.
    pub(super) converted_bytes: usize,
    /// RocketMQ's messages among them, and how many of these lack something.
    pub(super) converted: (u64, u64),
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
    bytes_max: usize,
    may_exceed: bool,
    /// RocketMQ's messages that lie side by side.
    run: Option<ToKafka>,
    /// Nothing behind here is taken.
    ended: bool,
}

impl Records {
    /// At most `bytes_max` bytes may be converted; the answer's very first message (`may_exceed`) may
    /// be larger (KIP-74).
    pub(super) fn new(bytes_max: usize, may_exceed: bool) -> Self {
        Self { found: Found::default(), bytes_max, may_exceed, run: None, ended: false }
    }

    /// Takes a batch as it lies in the log.
    pub(super) fn batch(&mut self, batch: Result<Part, ColdError>, length: u32) {
        self.end_run();
        if self.ended {
            return;
        }
        match batch {
            Ok(part) => self.found.parts.push((part, length as usize)),
            Err(error) => self.fail(error),
        }
    }

    /// Takes nothing more.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Takes a message of RocketMQ's; without it, nothing more.
    pub(super) fn foreign(&mut self, offset: i64, record: Option<Result<ColdBytes, ColdError>>) {
        let room = self.bytes_max.saturating_sub(self.found.bytes());
        let is_first = self.found.parts.is_empty() && self.may_exceed;
        let record = match record.filter(|_| room > 0 || is_first) {
            _ if self.ended => return,
            None => return self.end(),
            Some(Err(error)) => return self.fail(error),
            Some(Ok(record)) => record,
        };
        let run = self.run.get_or_insert_with(|| ToKafka::new(room));
        self.ended = !run.push(offset, &record);
    }

    fn fail(&mut self, error: ColdError) {
        self.ended = true;
        self.found.error = Some(error);
    }

    fn end_run(&mut self) {
        let Some(run) = self.run.take() else { return };
        let (records, lossy) = run.counts();
        let batches = run.finish();
        let bytes = batches.len();
        if bytes > 0 {
            let found = &mut self.found;
            found.converted_bytes += bytes;
            found.converted.0 += records;
            found.converted.1 += lossy;
            found.parts.push((Part::Bytes(batches.into()), bytes));
        }
    }

    /// What was found.
    pub(super) fn finish(mut self) -> Found {
        self.end_run();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::wire::{
        kafka::BatchHeader,
        rocketmq::{
            SysFlag,
            record::{Record, RecordVersion},
        },
    };

    /// A message of a body that takes little room in the log.
    fn message() -> ColdBytes {
        let body = zstd::encode_all(&vec![7; 10_000][..], 0).unwrap();
        let host = ([127, 0, 0, 1], 1).into();
        let record = Record {
            version: RecordVersion::V1,
            body_crc: 0,
            queue_id: 0,
            flag: 0,
            queue_offset: 0,
            physical_offset: 0,
            sys_flag: SysFlag(0x201),
            born_timestamp: 0,
            born_host: host,
            store_timestamp: 0,
            store_host: host,
            reconsume_times: 0,
            prepared_transaction_offset: 0,
            body: &body,
            topic: "t",
            properties: "",
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes).unwrap();
        assert!(bytes.len() < 200);
        ColdBytes::new(Rc::new(bytes))
    }

    fn headers(found: &Found) -> Vec<(i64, i32)> {
        let header = |(part, bytes): &(Part, usize)| match part {
            Part::Bytes(batch) => {
                assert_eq!(batch.len(), *bytes);
                let header = BatchHeader::parse(batch).unwrap();
                (header.base_offset, header.record_count)
            }
            _ => (-1, 0),
        };
        found.parts.iter().map(header).collect()
    }

    fn log() -> Result<Part, ColdError> {
        Ok(Part::Cold(ColdBytes::new(Rc::new(vec![0; 50]))))
    }

    #[test]
    fn runs_are_batches_between_those_of_the_log() {
        let mut records = Records::new(100_000, true);
        records.foreign(3, Some(Ok(message())));
        records.foreign(4, Some(Ok(message())));
        records.batch(log(), 50);
        records.foreign(6, Some(Ok(message())));
        let found = records.finish();
        assert_eq!(headers(&found), [(3, 2), (-1, 0), (6, 1)]);
        assert_eq!((found.converted, found.converted_bytes), ((3, 0), found.bytes() - 50));
    }

    #[test]
    fn what_grows_ends_where_the_client_set_its_limit() {
        for (bytes_max, may_exceed, expected) in
            [(25_000, true, 2), (25_000, false, 2), (5_000, true, 1), (0, true, 1), (0, false, 0)]
        {
            let mut records = Records::new(bytes_max, may_exceed);
            (0..4).for_each(|offset| records.foreign(offset, Some(Ok(message()))));
            // Nothing is passed over.
            records.batch(log(), 50);
            let found = records.finish();
            let taken: i32 = headers(&found).iter().map(|(_, count)| count).sum();
            assert_eq!(taken, expected, "{bytes_max} {may_exceed}");
            assert!(headers(&found).iter().all(|(base, _)| *base == 0));
            assert!(found.bytes() <= bytes_max || expected == 1);
        }
    }

    #[test]
    fn nothing_follows_what_cannot_be_read() {
        let gone = || ColdError::Gone(crate::base::Position(7));
        let mut records = Records::new(100_000, true);
        records.foreign(0, Some(Ok(message())));
        records.foreign(1, Some(Err(gone())));
        records.foreign(2, Some(Ok(message())));
        let found = records.finish();
        assert_eq!((headers(&found), found.error), (vec![(0, 1)], Some(gone())));
        let mut records = Records::new(100_000, true);
        records.foreign(0, None);
        records.batch(log(), 50);
        assert!(records.finish().parts.is_empty());
    }
}
