//! How many messages came and went in the last minute, hour and day, as RocketMQ's tools show it.
//!
//! A count costs a few additions and no task: slots of time that are over are cleared by the next
//! count, or left out by whoever asks. What came to one topic is not counted at all, but asked of the
//! index.

use std::{ops::RangeInclusive, rc::Rc, sync::Arc};

use hashbrown::HashMap;

use super::{Broker, OffsetError, OffsetSpec};
use crate::base::QueueId;

const TEN_SECONDS_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// Queues of a group and a topic of which it is known how far they were pulled, on average.
const QUEUES_EACH: usize = 16;

/// Counts by slots of time, of the newest `N` ones.
#[derive(Clone, Copy)]
struct Slots<const N: usize> {
    newest: i64,
    counts: [u32; N],
}

impl<const N: usize> Default for Slots<N> {
    fn default() -> Self {
        Self { newest: 0, counts: [0; N] }
    }
}

impl<const N: usize> Slots<N> {
    fn at(slot: i64) -> usize {
        slot.rem_euclid(N as i64) as usize
    }

    /// Counts in a slot; in the newest one if the clock was set back.
    fn add(&mut self, slot: i64, count: u32) {
        if slot > self.newest {
            let first = (self.newest + 1).max(slot - N as i64 + 1);
            (first..=slot).for_each(|over| self.counts[Self::at(over)] = 0);
            self.newest = slot;
        }
        let here = &mut self.counts[Self::at(self.newest)];
        *here = here.saturating_add(count);
    }

    fn sum(&self, slots: RangeInclusive<i64>) -> u64 {
        let first = (*slots.start()).max(self.newest - N as i64 + 1);
        let last = (*slots.end()).min(self.newest);
        (first..=last).map(|slot| u64::from(self.counts[Self::at(slot)])).sum()
    }
}

/// One count, by several measures of time.
#[derive(Clone, Copy, Default)]
struct Flow {
    total: u64,
    tens: Slots<6>,
    minutes: Slots<60>,
    hours: Slots<48>,
}

impl Flow {
    fn add(&mut self, now_ms: i64, count: u32) {
        self.total += u64::from(count);
        self.tens.add(now_ms / TEN_SECONDS_MS, count);
        self.minutes.add(now_ms / MINUTE_MS, count);
        self.hours.add(now_ms / HOUR_MS, count);
    }

    fn figures(&self, now_ms: i64) -> FlowFigures {
        let (ten, minute, hour) = (now_ms / TEN_SECONDS_MS, now_ms / MINUTE_MS, now_ms / HOUR_MS);
        let morning = now_ms / DAY_MS * 24;
        FlowFigures {
            total: self.total,
            ten_seconds: self.tens.sum(ten - 1..=ten - 1),
            minute: self.tens.sum(ten - 5..=ten),
            ten_minutes: self.minutes.sum(minute - 9..=minute),
            hour: self.minutes.sum(minute - 59..=minute),
            day: self.hours.sum(hour - 23..=hour),
            today: self.hours.sum(morning..=hour),
            yesterday: self.hours.sum(morning - 24..=morning - 1),
        }
    }
}

/// How many messages, until a moment. Days begin at midnight UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFigures {
    /// Since the broker's start.
    pub total: u64,
    /// In the last whole ten seconds.
    pub ten_seconds: u64,
    /// In the last minute.
    pub minute: u64,
    /// In the last ten minutes.
    pub ten_minutes: u64,
    /// In the last hour.
    pub hour: u64,
    /// In the last 24 hours.
    pub day: u64,
    /// Since midnight.
    pub today: u64,
    /// In the day before it.
    pub yesterday: u64,
}

impl FlowFigures {
    /// Adds another shard's.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        self.ten_seconds += other.ten_seconds;
        self.minute += other.minute;
        self.ten_minutes += other.ten_minutes;
        self.hour += other.hour;
        self.day += other.day;
        self.today += other.today;
        self.yesterday += other.yesterday;
    }
}

/// How far a group has pulled a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PulledTo {
    /// When: of those that several shards know the last one counts.
    pub at_ms: i64,
    /// The first offset that it was not given.
    pub offset: i64,
}

/// What a group pulled of a topic.
#[derive(Clone, Default)]
struct Pulls {
    flow: Flow,
    /// How far, by queue.
    to: HashMap<QueueId, PulledTo>,
}

impl Pulls {
    /// Counts a pull. `queues` counts the queues of all groups and topics.
    fn add(&mut self, now_ms: i64, pull: &PullCount<'_>, queues: &mut usize, queues_max: usize) {
        self.flow.add(now_ms, pull.messages);
        let to = PulledTo { at_ms: now_ms, offset: pull.next_offset };
        if let Some(known) = self.to.get_mut(&pull.queue) {
            *known = to;
        } else if *queues < queues_max {
            *queues += 1;
            self.to.insert(pull.queue, to);
        }
    }
}

/// One pull that brought messages.
#[derive(Clone, Copy, Debug)]
pub struct PullCount<'a> {
    /// Whose.
    pub group: &'a str,
    /// Of which topic.
    pub topic: &'a str,
    /// Of which of its queues.
    pub queue: QueueId,
    /// How many messages.
    pub messages: u32,
    /// Bytes of these.
    pub bytes: u64,
    /// Where the next one begins.
    pub next_offset: i64,
}

/// What a shard counts of its traffic. Not kept over a restart.
#[derive(Default)]
pub(super) struct Traffic {
    puts: Flow,
    gets: Flow,
    /// What groups pulled, by group and topic.
    groups: HashMap<Arc<str>, HashMap<Arc<str>, Pulls>>,
    /// How many there are in all.
    counted: usize,
    /// How many queues they have.
    queues: usize,
    /// When idle ones are looked for again.
    next_sweep_ms: i64,
}

impl Traffic {
    pub(super) fn put(&mut self, now_ms: i64, count: u32) {
        self.puts.add(now_ms, count);
    }

    /// Groups and topics beyond `limit` are not counted by themselves, until others were idle for a
    /// day.
    fn got(&mut self, now_ms: i64, pull: &PullCount<'_>, limit: usize) {
        self.gets.add(now_ms, pull.messages);
        let queues_max = limit.saturating_mul(QUEUES_EACH);
        let known = self.groups.get_mut(pull.group).and_then(|topics| topics.get_mut(pull.topic));
        if let Some(pulls) = known {
            return pulls.add(now_ms, pull, &mut self.queues, queues_max);
        }
        if self.counted >= limit && now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = now_ms + MINUTE_MS;
            self.sweep(now_ms);
        }
        if self.counted < limit {
            self.counted += 1;
            let topics = self.groups.entry(pull.group.into()).or_default();
            let pulls = topics.entry(pull.topic.into()).or_default();
            pulls.add(now_ms, pull, &mut self.queues, queues_max);
        }
    }

    fn sweep(&mut self, now_ms: i64) {
        self.groups.retain(|_, topics| {
            topics.retain(|_, pulls| pulls.flow.figures(now_ms).day > 0);
            !topics.is_empty()
        });
        self.counted = self.groups.values().map(HashMap::len).sum();
        let topics = self.groups.values().flat_map(HashMap::values);
        self.queues = topics.map(|pulls| pulls.to.len()).sum();
    }

    /// Messages that were pulled since the start.
    pub(super) fn pulled(&self) -> u64 {
        self.gets.total
    }

    fn pulls(&self, group: &str, topic: &str) -> Option<&Pulls> {
        self.groups.get(group)?.get(topic)
    }
}

impl Broker {
    /// Messages went to a consumer of a group, connected to this shard.
    pub fn count_pulled(&self, pull: &PullCount<'_>) {
        let (now_ms, limit) = (self.env.clock.wall_ms(), self.settings.counted_groups);
        self.traffic.borrow_mut().got(now_ms, pull, limit);
        self.count(|figures| figures.bytes_pulled += pull.bytes);
    }

    /// Messages that came to this shard's queues, and those that RocketMQ's consumers connected to
    /// it pulled.
    #[must_use]
    pub fn traffic(&self) -> (FlowFigures, FlowFigures) {
        let (now_ms, traffic) = (self.env.clock.wall_ms(), self.traffic.borrow());
        (traffic.puts.figures(now_ms), traffic.gets.figures(now_ms))
    }

    /// What a group pulled of a topic by way of this shard.
    #[must_use]
    pub fn pulled(&self, group: &str, topic: &str) -> FlowFigures {
        let (now_ms, traffic) = (self.env.clock.wall_ms(), self.traffic.borrow());
        traffic.pulls(group, topic).map(|pulls| pulls.flow.figures(now_ms)).unwrap_or_default()
    }

    /// How far a group pulled a topic's queues by way of this shard, as far as that is known.
    #[must_use]
    pub fn pulled_to(&self, group: &str, topic: &str) -> HashMap<QueueId, PulledTo> {
        let traffic = self.traffic.borrow();
        traffic.pulls(group, topic).map(|pulls| pulls.to.clone()).unwrap_or_default()
    }

    /// A group begins elsewhere in a topic: what it pulled before is on its way to nobody.
    pub fn forget_pulled(&self, group: &str, topic: &str) {
        let mut traffic = self.traffic.borrow_mut();
        let pulls = traffic.groups.get_mut(group).and_then(|topics| topics.get_mut(topic));
        let forgotten = pulls.map_or(0, |pulls| std::mem::take(&mut pulls.to).len());
        traffic.queues -= forgotten;
    }

    /// How many of the messages that a queue of this shard holds came in the last minute, hour and
    /// day, by its index.
    ///
    /// # Errors
    /// See [`OffsetError`].
    pub async fn came(self: &Rc<Self>, id: QueueId) -> Result<FlowFigures, OffsetError> {
        let (_, end) = self.ends(id).ok_or(OffsetError::UnknownQueue)?;
        let now_ms = self.env.clock.wall_ms();
        let since = async |ago_ms: i64| {
            let first = self.find_offset(id, OffsetSpec::StoredAt(now_ms - ago_ms)).await?;
            let came = first.map_or(0, |first| end - first.offset);
            Ok::<_, OffsetError>(u64::try_from(came).unwrap_or(0))
        };
        Ok(FlowFigures {
            minute: since(MINUTE_MS).await?,
            hour: since(HOUR_MS).await?,
            day: since(DAY_MS).await?,
            ..FlowFigures::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_end_and_come_again() {
        let mut flow = Flow::default();
        // Noon of a day.
        let noon = 20_000 * DAY_MS + 12 * HOUR_MS;
        flow.add(noon - DAY_MS, 1);
        flow.add(noon - 2 * HOUR_MS, 10);
        flow.add(noon - 30 * MINUTE_MS, 100);
        flow.add(noon - 5 * MINUTE_MS, 1_000);
        flow.add(noon - TEN_SECONDS_MS, 10_000);
        flow.add(noon, 100_000);
        // The clock is set back: counted all the same.
        flow.add(noon - MINUTE_MS, 1_000_000);
        let expected = FlowFigures {
            total: 1_111_111,
            ten_seconds: 10_000,
            minute: 1_110_000,
            ten_minutes: 1_111_000,
            hour: 1_111_100,
            day: 1_111_110,
            today: 1_111_110,
            yesterday: 1,
        };
        assert_eq!(flow.figures(noon), expected);
        // Nobody counted since, and it is over all the same.
        let later = flow.figures(noon + 13 * HOUR_MS);
        assert_eq!((later.hour, later.today, later.yesterday), (0, 0, 1_111_110));
        let mut later = flow;
        later.add(noon + 70 * MINUTE_MS, 5);
        assert_eq!(later.figures(noon + 70 * MINUTE_MS).hour, 5);
    }

    #[test]
    fn groups_are_counted_up_to_a_limit_and_forgotten_when_idle() {
        let mut traffic = Traffic::default();
        let of = |traffic: &Traffic, group: &str, topic: &str| {
            traffic.pulls(group, topic).map(|pulls| (pulls.flow.total, pulls.to.len()))
        };
        let got = |traffic: &mut Traffic, now_ms, group, topic, queue| {
            let queue = QueueId(queue);
            let (messages, bytes, next_offset) = (1, 100, now_ms + 10);
            let pull = PullCount { group, topic, queue, messages, bytes, next_offset };
            traffic.got(now_ms, &pull, 2);
        };
        for (now_ms, group, topic) in [(0, "a", "x"), (1, "a", "y"), (2, "b", "x"), (3, "a", "x")] {
            got(&mut traffic, now_ms, group, topic, 7);
        }
        assert_eq!((of(&traffic, "a", "x"), of(&traffic, "a", "y")), (Some((2, 1)), Some((1, 1))));
        assert_eq!((of(&traffic, "b", "x"), traffic.gets.total), (None, 4));
        let to = traffic.pulls("a", "x").unwrap().to[&QueueId(7)];
        assert_eq!(to, PulledTo { at_ms: 3, offset: 13 });
        // Queues have a limit of their own.
        (0..100).for_each(|queue| got(&mut traffic, 4, "a", "x", queue));
        assert_eq!((of(&traffic, "a", "x"), traffic.queues), (Some((102, 31)), 32));
        got(&mut traffic, 2 * DAY_MS, "b", "x", 7);
        assert_eq!((of(&traffic, "a", "x"), of(&traffic, "b", "x")), (None, Some((1, 1))));
        assert_eq!((traffic.counted, traffic.queues), (1, 1));
    }
}
