//! Damage to what had been durable: what it took away, and how that is told.

use std::sync::Arc;

use crate::{
    base::{Position, QueueId},
    broker::{Lift, LostOffsets, Replay},
    env::Disk,
    storage::{
        commit_log::recovery::Hole,
        queue_index::{RunStore, each_entry},
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
    /// Finds out what is lost in `holes`, from what was replayed and from index files, which are good
    /// in front of `indexed`; `None` without holes.
    pub fn assess(
        holes: &[Hole],
        replay: &Replay,
        disk: &Arc<dyn Disk>,
        runs: &RunStore,
        mut indexed: Position,
    ) -> Option<Self> {
        if holes.is_empty() {
            return None;
        }
        let mut ledger = replay.ledger(holes);
        for run in runs.runs().iter().take_while(|run| run.covers().end <= indexed) {
            let shown = each_entry(&**disk, run, |queue, entry| ledger.frame(queue, &entry));
            if let Err(error) = shown {
                tracing::warn!(%error, "an index file is damaged; it cannot tell what was lost");
                indexed = run.covers().start;
                break;
            }
        }
        replay.complete(&mut ledger);
        let (lost, lifts) = (ledger.lost().clone(), ledger.lifts(indexed));
        let holes = holes.to_vec();
        let lines = lines(&holes, &lost, &lifts, replay);
        Some(Self { holes, lost, lifts, lines })
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
