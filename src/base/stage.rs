//! The stages of a message's journey and how long each takes.

use std::time::Duration;

use super::Latency;

/// A stage of a send (the first five) or of a fetch (the next three), or how late a timer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// From a whole request to its checked batches.
    Parse,
    /// Waiting for the queue's owner.
    WaitOwner,
    /// From a place in the log's memory to being durable, with the answer's turn come.
    WaitLog,
    /// One durable write.
    Write,
    /// From the durable position to the answer's last byte in the socket.
    Answer,
    /// A fetch waiting for enough bytes.
    FetchWait,
    /// Looking bytes up, in memory or on disk.
    Read,
    /// From a fetch's or a pull's answer to its last byte in the socket.
    Send,
    /// From the time at which a delayed message is due to its place in the log.
    Timer,
}

impl Stage {
    /// All stages, in the order of the journey.
    pub const ALL: [Self; 9] = [
        Self::Parse,
        Self::WaitOwner,
        Self::WaitLog,
        Self::Write,
        Self::Answer,
        Self::FetchWait,
        Self::Read,
        Self::Send,
        Self::Timer,
    ];

    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::WaitOwner => "wait_owner",
            Self::WaitLog => "wait_log",
            Self::Write => "write",
            Self::Answer => "answer",
            Self::FetchWait => "fetch_wait",
            Self::Read => "read",
            Self::Send => "send",
            Self::Timer => "timer",
        }
    }
}

/// A histogram for each stage, about 1.5 MB. Lives on one core; the copies of several are merged.
#[derive(Clone, Debug, Default)]
pub struct Stages {
    latencies: [Latency; Stage::ALL.len()],
}

impl Stages {
    /// Counts one duration.
    pub fn record(&mut self, stage: Stage, duration: Duration) {
        self.latencies[stage as usize].record(duration);
    }

    /// The histogram of one stage.
    #[must_use]
    pub fn of(&self, stage: Stage) -> &Latency {
        &self.latencies[stage as usize]
    }

    /// Adds another histogram to that of one stage.
    pub fn add(&mut self, stage: Stage, latency: &Latency) {
        self.latencies[stage as usize].merge(latency);
    }

    /// Adds another core's counts to these.
    pub fn merge(&mut self, other: &Self) {
        Stage::ALL.into_iter().for_each(|stage| self.add(stage, other.of(stage)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_their_places() {
        for (place, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, place);
        }
        let (mut one, mut other) = (Stages::default(), Stages::default());
        one.record(Stage::Write, Duration::from_micros(50));
        other.record(Stage::Write, Duration::from_micros(70));
        other.record(Stage::Send, Duration::from_micros(7));
        one.merge(&other);
        assert_eq!(one.of(Stage::Write).count(), 2);
        assert_eq!(one.of(Stage::Send).count(), 1);
        assert_eq!(one.of(Stage::Parse).count(), 0);
    }
}
