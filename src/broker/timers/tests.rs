//! A timer queue against a model, with crashes: nothing is lost that the log holds, nothing fires
//! early, and nothing fires twice but what a crash kept the log from knowing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{TimerKey, TimerQueue, TimersSnapshot, Waiting};
use crate::base::QueueId;

const QUEUE: QueueId = QueueId(3);

/// Bytes that each timer is taken to have.
const BYTES: u32 = 100;

fn waiting(id_hash: u32) -> Waiting {
    Waiting { id_hash, bytes: BYTES }
}

/// A frame of the log, as far as timers go.
#[derive(Clone, Copy, Debug)]
enum Logged {
    Timer {
        key: TimerKey,
        id_hash: u32,
    },
    Delivered(TimerKey),
    Fired(TimerKey),
    /// Delivered, while one before it was not.
    Ahead(TimerKey),
    Recalled(TimerKey),
    Start(i64),
}

#[derive(Clone, Debug)]
enum Step {
    /// A timer this much after now, or before.
    Schedule {
        in_ms: i64,
        id_hash: u32,
    },
    /// The log becomes durable up to so many of the frames that are not.
    Sync {
        frames: usize,
    },
    /// Time passes, or the wall clock is set back.
    Wait {
        ms: i64,
    },
    /// So many are taken; a bit of `left` is set for each that cannot be delivered.
    Fire {
        count: usize,
        left: u8,
    },
    Recall {
        nth: usize,
    },
    /// The queue's start moves on, over so many pending timers that are stored again.
    Move {
        timers: usize,
    },
    Checkpoint,
    /// All is durable, a checkpoint tells of it, and it starts again.
    Stop,
    /// What is not durable is gone; of it some may have been written all the same.
    Crash {
        kept: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (-20..60_i64, 0..4_u32).prop_map(|(in_ms, id_hash)| Step::Schedule { in_ms, id_hash }),
        4 => (0..6_usize).prop_map(|frames| Step::Sync { frames }),
        4 => (-5..30_i64).prop_map(|ms| Step::Wait { ms }),
        6 => (1..6_usize, 0..32_u8).prop_map(|(count, left)| Step::Fire { count, left }),
        1 => (0..8_usize).prop_map(|nth| Step::Recall { nth }),
        1 => (0..3_usize).prop_map(|timers| Step::Move { timers }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Stop),
        1 => (0..4_usize).prop_map(|kept| Step::Crash { kept }),
    ]
}

/// What happened to a timer.
#[derive(Clone, Copy, Debug, Default)]
struct Fate {
    delivered: u32,
    recalled: bool,
}

struct World {
    now_ms: i64,
    log: Vec<Logged>,
    durable: usize,
    /// Up to where a checkpoint tells all, and what it tells.
    checkpoint: (usize, TimersSnapshot),
    queue: TimerQueue,
    next_offset: i64,
    /// Which scheduling each stored timer is of.
    numbers: BTreeMap<TimerKey, usize>,
    /// When each was to be due.
    wanted_ms: Vec<i64>,
    crashed: bool,
}

impl World {
    fn new() -> Self {
        let state = TimersSnapshot::new(QUEUE);
        Self {
            now_ms: 1_000,
            log: Vec::new(),
            durable: 0,
            checkpoint: (0, state.clone()),
            queue: TimerQueue::restored(state),
            next_offset: 0,
            numbers: BTreeMap::new(),
            wanted_ms: Vec::new(),
            crashed: false,
        }
    }

    /// The first offset that is not durable yet.
    fn high_watermark(&self) -> i64 {
        let timers = self.log[..self.durable].iter().filter_map(|frame| match frame {
            Logged::Timer { key, .. } => Some(key.offset + 1),
            _ => None,
        });
        timers.max().unwrap_or(0)
    }

    fn store(&mut self, due_ms: i64, id_hash: u32, number: usize) {
        let key = TimerKey { due_ms: self.queue.admit(due_ms), offset: self.next_offset };
        self.next_offset += 1;
        self.queue.insert(key, waiting(id_hash));
        self.numbers.insert(key, number);
        self.log.push(Logged::Timer { key, id_hash });
    }

    fn deliver(&mut self, key: TimerKey) {
        let wanted_ms = self.wanted_ms[self.numbers[&key]];
        assert!(wanted_ms <= self.now_ms, "{key:?} of {wanted_ms} fires early at {}", self.now_ms);
        self.log.push(Logged::Delivered(key));
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Schedule { in_ms, id_hash } => {
                let due_ms = self.now_ms + in_ms;
                self.wanted_ms.push(due_ms);
                self.store(due_ms, id_hash, self.wanted_ms.len() - 1);
            }
            Step::Sync { frames } => self.durable = (self.durable + frames).min(self.log.len()),
            Step::Wait { ms } => self.now_ms += ms,
            Step::Fire { count, left } => self.fire(count, left),
            Step::Recall { nth } => {
                let Some(key) = self.numbers.keys().nth(nth).copied() else { return };
                let found = self.queue.find(key.due_ms, self.hash_of(key));
                assert_eq!(found.contains(&key), self.queue.awaits(key));
                if self.queue.awaits(key) {
                    self.log.push(Logged::Recalled(key));
                    self.queue.settle(key);
                }
            }
            Step::Move { timers } => self.move_start(timers),
            Step::Checkpoint => self.take_checkpoint(),
            Step::Stop => {
                self.take_checkpoint();
                self.start_again();
            }
            Step::Crash { kept } => {
                self.crashed = true;
                self.log.truncate(self.durable + kept);
                self.start_again();
            }
        }
        assert_eq!(self.queue.bytes(), self.queue.len() as u64 * u64::from(BYTES));
    }

    fn take_checkpoint(&mut self) {
        self.durable = self.log.len();
        self.checkpoint = (self.log.len(), self.queue.snapshot());
    }

    fn fire(&mut self, count: usize, left: u8) {
        let taken = self.queue.take(self.now_ms, self.high_watermark(), count);
        if taken.is_empty() {
            self.queue.pass(self.now_ms);
        }
        let places = taken.iter().enumerate();
        let (left, done): (Vec<_>, Vec<_>) = places.partition(|(at, _)| left >> at & 1 == 1);
        let cursor = left.first().map_or(taken.len(), |(at, _)| *at);
        done.iter().for_each(|(_, (key, _))| self.deliver(*key));
        if let Some((last, _)) = cursor.checked_sub(1).map(|last| taken[last]) {
            self.log.push(Logged::Fired(last));
            self.queue.delivered(last);
        }
        for (_, (key, _)) in done.into_iter().filter(|(at, _)| *at > cursor) {
            self.log.push(Logged::Ahead(*key));
            self.queue.settle(*key);
        }
        self.queue.put_back(&taken);
    }

    fn hash_of(&self, wanted: TimerKey) -> u32 {
        let hash = |frame: &Logged| match frame {
            Logged::Timer { key, id_hash } if *key == wanted => Some(*id_hash),
            _ => None,
        };
        self.log.iter().find_map(hash).unwrap_or(0)
    }

    fn move_start(&mut self, mut timers: usize) {
        let stored: BTreeMap<i64, TimerKey> =
            self.numbers.keys().map(|key| (key.offset, *key)).collect();
        let high_watermark = self.high_watermark();
        let mut to = 0;
        for (offset, key) in stored.range(..high_watermark) {
            if self.queue.awaits(*key) {
                if timers == 0 {
                    break;
                }
                timers -= 1;
                let hash = self.hash_of(*key);
                self.queue.forget(*key);
                self.store(key.due_ms, hash, self.numbers[key]);
            }
            to = offset + 1;
        }
        self.log.push(Logged::Start(to));
        self.durable = self.log.len();
        self.queue.dropped_below(to);
    }

    /// As a start does: the checkpoint, the log behind it, then the index.
    fn start_again(&mut self) {
        self.durable = self.log.len();
        let (from, mut state) = self.checkpoint.clone();
        for frame in &self.log[from.min(self.log.len())..] {
            match frame {
                Logged::Fired(key) => state.fired(*key),
                Logged::Ahead(key) | Logged::Recalled(key) => state.settled(*key),
                _ => {}
            }
        }
        let starts = self.log.iter().filter_map(|frame| match frame {
            Logged::Start(to) => Some(*to),
            _ => None,
        });
        let start = starts.max().unwrap_or(0);
        self.queue = TimerQueue::restored(state);
        // What the crash took was never acknowledged.
        let logged: Vec<_> = self.log.iter().filter_map(timer_key).collect();
        self.numbers.retain(|key, _| logged.contains(key));
        self.next_offset = 0;
        for frame in self.log.clone() {
            if let Logged::Timer { key, id_hash } = frame {
                self.next_offset = key.offset + 1;
                if key.offset >= start {
                    self.queue.load(key, waiting(id_hash));
                }
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.durable = world.log.len();
    world.now_ms += 100_000;
    while world.queue.len() > 0 {
        world.fire(3, 0);
    }
    world.queue.pass(world.now_ms);
    assert_eq!((world.queue.len(), world.queue.kept()), (0, 0));
    judge(&world);
}

fn timer_key(frame: &Logged) -> Option<TimerKey> {
    match frame {
        Logged::Timer { key, .. } => Some(*key),
        _ => None,
    }
}

/// Every timer of the log was delivered or recalled, and nothing after a recall that the log knows.
fn judge(world: &World) {
    let mut fates = vec![Fate::default(); world.wanted_ms.len()];
    for frame in &world.log {
        match frame {
            Logged::Delivered(key) => {
                let fate = &mut fates[world.numbers[key]];
                assert!(!fate.recalled, "{key:?} was delivered after it was recalled");
                fate.delivered += 1;
            }
            Logged::Recalled(key) => fates[world.numbers[key]].recalled = true,
            _ => {}
        }
    }
    for key in world.log.iter().filter_map(timer_key) {
        let fate = fates[world.numbers[&key]];
        assert!(fate.delivered > 0 || fate.recalled, "{key:?} is lost");
        assert!(fate.delivered <= 1 || world.crashed, "{key:?} came twice");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_is_lost_and_nothing_is_early(steps in prop::collection::vec(step(), 1..80)) {
        run(steps);
    }
}

#[test]
fn what_fired_fires_once_without_a_crash() {
    let mut world = World::new();
    for in_ms in [5, 1, 1, 3, 9] {
        world.step(Step::Schedule { in_ms, id_hash: 0 });
    }
    assert!(world.queue.take(i64::MAX, 0, 9).is_empty(), "nothing is durable");
    world.durable = world.log.len();
    world.now_ms += 4;
    world.step(Step::Fire { count: 9, left: 0b1100 });
    world.step(Step::Fire { count: 9, left: 0 });
    // One that is due before the last that fired comes behind it.
    world.step(Step::Schedule { in_ms: -3, id_hash: 0 });
    world.durable = world.log.len();
    world.step(Step::Fire { count: 9, left: 0 });
    let delivered = world.log.iter().filter_map(|frame| match frame {
        Logged::Delivered(key) => Some(key.offset),
        _ => None,
    });
    assert_eq!(delivered.collect::<Vec<_>>(), [1, 2, 3, 5]);
}

#[test]
fn recalled_timers_are_kept_until_their_time_has_passed() {
    let mut world = World::new();
    for in_ms in [3, 9, 5, 20] {
        world.step(Step::Schedule { in_ms, id_hash: 0 });
    }
    world.durable = world.log.len();
    // Those due in 5 and 20 ms.
    [1, 3].into_iter().for_each(|nth| world.step(Step::Recall { nth }));
    let mut kept_after = |ms, left| {
        world.now_ms += ms;
        world.step(Step::Fire { count: 9, left });
        (world.queue.len(), world.queue.kept())
    };
    assert_eq!(kept_after(0, 0), (2, 4));
    assert_eq!(kept_after(4, 0), (1, 3));
    assert_eq!(kept_after(1, 0), (1, 2));
    // The one due in 9 ms is before the last.
    assert_eq!(kept_after(20, 1), (1, 2));
    assert_eq!(kept_after(0, 0), (0, 1));
    assert_eq!(kept_after(0, 0), (0, 0));
}
