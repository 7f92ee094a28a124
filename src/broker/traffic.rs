//! How many messages came and went in the last minute, hour and day, as RocketMQ's tools show it.
//!
//! A count costs a few additions and no task: slots of time that are over are cleared by the next
//! count, or left out by whoever asks. What came to one topic is not counted at all, but asked of the
//! index.

use std::{ops::RangeInclusive, rc::Rc, sync::Arc};

use hashbrown::HashMap;

use super::{Broker, OffsetError};
use crate::base::QueueId;

const TEN_SECONDS_MS: i64 = 10_000;
const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

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

/// What a shard counts of its traffic. Not kept over a restart.
#[derive(Default)]
pub(super) struct Traffic {
    puts: Flow,
    gets: Flow,
    /// What groups pulled, by group and topic.
    groups: HashMap<Arc<str>, HashMap<Arc<str>, Flow>>,
    /// How many there are in all.
    counted: usize,
    /// When idle ones are looked for again.
    next_sweep_ms: i64,
}

impl Traffic {
    pub(super) fn put(&mut self, now_ms: i64, count: u32) {
        self.puts.add(now_ms, count);
    }

    /// Groups and topics beyond `limit` are not counted by themselves, until others were idle for a
    /// day.
    fn got(&mut self, now_ms: i64, group: &str, topic: &str, count: u32, limit: usize) {
        self.gets.add(now_ms, count);
        if let Some(flow) = self.groups.get_mut(group).and_then(|topics| topics.get_mut(topic)) {
            return flow.add(now_ms, count);
        }
        if self.counted >= limit && now_ms >= self.next_sweep_ms {
            self.next_sweep_ms = now_ms + MINUTE_MS;
            self.sweep(now_ms);
        }
        if self.counted < limit {
            self.counted += 1;
            let topics = self.groups.entry(group.into()).or_default();
            topics.entry(topic.into()).or_default().add(now_ms, count);
        }
    }

    fn sweep(&mut self, now_ms: i64) {
        self.groups.retain(|_, topics| {
            topics.retain(|_, flow| flow.figures(now_ms).day > 0);
            !topics.is_empty()
        });
        self.counted = self.groups.values().map(HashMap::len).sum();
    }
}

impl Broker {
    /// Messages went to a consumer of a group, connected to this shard.
    pub fn count_pulled(&self, group: &str, topic: &str, messages: u32) {
        let (now_ms, limit) = (self.env.clock.wall_ms(), self.settings.counted_groups);
        self.traffic.borrow_mut().got(now_ms, group, topic, messages, limit);
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
        let flow = traffic.groups.get(group).and_then(|topics| topics.get(topic));
        flow.map(|flow| flow.figures(now_ms)).unwrap_or_default()
    }

    /// How many of the messages that a queue of this shard holds came in the last minute, hour and
    /// day, by its index.
    ///
    /// # Errors
    /// See [`OffsetError`].
    pub async fn came(self: &Rc<Self>, id: QueueId) -> Result<FlowFigures, OffsetError> {
        let (start, end) = self.ends(id).ok_or(OffsetError::UnknownQueue)?;
        let now_ms = self.env.clock.wall_ms();
        let since = async |ago_ms: i64| {
            let found = self.index.find_timestamp(id, start, now_ms - ago_ms).await?;
            let from = found.map_or(end, |entry| entry.base_offset.clamp(start, end));
            Ok::<_, OffsetError>((end - from) as u64)
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
            let flow = traffic.groups.get(group).and_then(|topics| topics.get(topic));
            flow.map(|flow| flow.total)
        };
        for (now_ms, group, topic) in [(0, "a", "x"), (1, "a", "y"), (2, "b", "x"), (3, "a", "x")] {
            traffic.got(now_ms, group, topic, 1, 2);
        }
        assert_eq!((of(&traffic, "a", "x"), of(&traffic, "a", "y")), (Some(2), Some(1)));
        assert_eq!((of(&traffic, "b", "x"), traffic.gets.total), (None, 4));
        traffic.got(2 * DAY_MS, "b", "x", 1, 2);
        assert_eq!((of(&traffic, "a", "x"), of(&traffic, "b", "x")), (None, Some(1)));
        assert_eq!(traffic.counted, 1);
    }
}
