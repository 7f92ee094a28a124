//! Damage to what had been durable: what it took away, and how that is told.

use std::sync::Arc;

use super::reindex::parts_of;
use crate::{
    base::{Position, QueueId},
    broker::{Ledger, Lift, LostOffsets, Replay, index_entry},
    env::Disk,
    storage::{
        commit_log::{
            recovery::{FoundFrame, Hole, Recovered, RecoveryError, read_finished},
            segment::Segment,
        },
        queue_index::{LogRange, Run, RunStore, each_entry},
    },
};

/// Lines that are told of lost offsets; there may be a million partitions.
const LINES_MAX: usize = 1000;

/// A damaged log. Nothing is written to it until it is repaired.
#[derive(Debug)]
pub struct Damage {
    /// Where, in the log's order.
    pub holes: Vec<Hole>,
    /// Offsets known to be lost.
    pub lost: LostOffsets,
    /// Queues whose ends a repair moves on.
    pub lifts: Vec<Lift>,
    /// What to tell, a line each.
    pub lines: Vec<String>,
}

impl Damage {
    /// Finds out what is lost in the holes of the log: in `front` from index files, and from the log
    /// where there are none, behind it from what was replayed; `None` without holes.
    ///
    /// # Errors
    /// What kept the log from being read.
    pub fn assess(
        recovered: &Recovered,
        replay: &Replay,
        disk: &Arc<dyn Disk>,
        log_id: u64,
        runs: &RunStore,
        front: LogRange,
    ) -> Result<Option<Self>, RecoveryError> {
        let Recovered { holes, segments, .. } = recovered;
        if holes.is_empty() {
            return Ok(None);
        }
        let ledger = replay.ledger(holes);
        let mut survey = Survey { disk, log_id, segments, ledger, indexed: front.end };
        survey.front(&runs.runs(), front)?;
        let Survey { mut ledger, indexed, .. } = survey;
        replay.complete(&mut ledger);
        let (lost, lifts) = (ledger.lost().clone(), ledger.lifts(indexed));
        let holes = holes.clone();
        let lines = lines(&holes, &lost, &lifts, replay);
        Ok(Some(Self { holes, lost, lifts, lines }))
    }

    /// Why nothing is written, in one line.
    #[must_use]
    pub fn reason(&self) -> String {
        let first = self.holes.first().map(Hole::to_string).unwrap_or_default();
        let more = match self.holes.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more places)"),
        };
        format!(
            "read-only, because acknowledged data is damaged: {first}{more}; stop the broker and run \
             `mainstem log repair`"
        )
    }
}

/// Shows a ledger the messages that were not replayed.
struct Survey<'a> {
    disk: &'a Arc<dyn Disk>,
    log_id: u64,
    segments: &'a [Segment],
    ledger: Ledger<'a>,
    /// Index files told of all messages in front of this.
    indexed: Position,
}

impl Survey<'_> {
    fn front(&mut self, runs: &[Arc<Run>], front: LogRange) -> Result<(), RecoveryError> {
        let mut at = front.start;
        for run in runs {
            let covers = run.covers();
            self.log(LogRange::new(at, covers.start.max(at)))?;
            self.run(run)?;
            at = covers.end;
        }
        self.log(LogRange::new(at, front.end.max(at)))
    }

    fn run(&mut self, run: &Arc<Run>) -> Result<(), RecoveryError> {
        let ledger = &mut self.ledger;
        match each_entry(&**self.disk, run, |queue, entry| ledger.frame(queue, &entry)) {
            Ok(()) => {
                self.ledger.headers_before(run.covers().end);
                Ok(())
            }
            Err(error) => {
                tracing::warn!(%error, "an index file is damaged; the log is read in its place");
                self.log(run.covers())
            }
        }
    }

    /// What is in no index file: so what was in holes cannot be told.
    fn log(&mut self, stretch: LogRange) -> Result<(), RecoveryError> {
        for (segment, part) in parts_of(self.segments, stretch) {
            self.indexed = self.indexed.min(part.start);
            let ledger = &mut self.ledger;
            let mut visit = |frame: FoundFrame<'_>| {
                if let Some(entry) = index_entry(&frame)? {
                    ledger.next_frame(frame.meta.queue, &entry);
                }
                Ok(())
            };
            read_finished(&**self.disk, self.log_id, segment, (part.start, part.end), &mut visit)?;
        }
        Ok(())
    }
}

/// A partition as Kafka's tools name it.
#[must_use]
pub fn name(replay: &Replay, queue: QueueId) -> String {
    match replay.cluster().queue(queue) {
        Some((topic, partition)) => format!("{}-{partition}", topic.name),
        None => format!("queue {queue}"),
    }
}

fn lines(holes: &[Hole], lost: &LostOffsets, lifts: &[Lift], replay: &Replay) -> Vec<String> {
    let mut lines: Vec<_> = holes.iter().map(|hole| format!("damaged: {hole}")).collect();
    let ranges = lost.iter().flat_map(|(queue, ranges)| ranges.iter().map(move |r| (queue, r)));
    for (queue, range) in ranges.clone().take(LINES_MAX) {
        let name = name(replay, *queue);
        lines.push(format!("lost: {name}, offsets {} to {}", range.start, range.end - 1));
    }
    if let Some(more) = ranges.count().checked_sub(LINES_MAX + 1) {
        lines.push(format!("lost: {} more stretches of offsets", more + 1));
    }
    let known = |lift: &&Lift| {
        let end = lost.get(&lift.queue).and_then(|ranges| ranges.last()).map(|last| last.end);
        end.is_some_and(|end| end == lift.to)
    };
    let unknown = lifts.len() - lifts.iter().filter(known).count();
    if unknown > 0 {
        lines.push(format!(
            "perhaps lost: messages behind the last one of {unknown} partitions, and changes of \
             topics, configs and groups; nothing is left that could tell"
        ));
    }
    lines
}
