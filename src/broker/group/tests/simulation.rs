//! Clients that join, commit, crash and come back, a coordinator that restarts, and what must hold
//! all the while.

use std::collections::BTreeSet;

use super::*;

const PARTITIONS: u32 = 6;

/// What a client is about to do, or waits for.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    /// It joins next.
    Out,
    Joining(ReplyToken),
    Syncing(ReplyToken),
    Member,
    /// Its process is gone.
    Down,
}

/// A consumer that behaves as Kafka's do.
struct Consumer {
    client: Client,
    phase: Phase,
    generation: i32,
    /// Partitions it may read.
    owned: Vec<u32>,
}

impl Consumer {
    fn new(place: u64) -> Self {
        let client = match place % 3 {
            0 => {
                Client { session_ms: 6_000, rebalance_ms: 8_000, ..Client::of(&place.to_string()) }
            }
            1 => Client { session_ms: 6_000, rebalance_ms: 5_000, ..Client::new() },
            _ => Client {
                version: 3,
                protocols: Client::offering(&[("sticky", b"s"), ("range", b"r")]).protocols,
                ..Client::new()
            },
        };
        Self { client, phase: Phase::Out, generation: -1, owned: Vec::new() }
    }

    /// Starts over under a new id.
    fn forget(&mut self) {
        self.client.member.clear();
        self.generation = -1;
        self.out();
    }

    /// Joins again under its id.
    fn out(&mut self) {
        self.owned.clear();
        self.phase = Phase::Out;
    }

    /// What a refused request means to a consumer.
    fn refused(&mut self, error: &GroupError) {
        match error {
            GroupError::MemberIdRequired(id) => {
                self.client.member = id.to_string();
                self.out();
            }
            GroupError::UnknownMember | GroupError::IllegalGeneration => self.forget(),
            GroupError::FencedInstanceId => self.phase = Phase::Down,
            GroupError::RebalanceInProgress => self.out(),
            other => panic!("a consumer does not expect: {other}"),
        }
    }
}

/// Everything, and what was promised so far.
struct World {
    bench: Bench,
    dice: Seeded,
    consumers: Vec<Consumer>,
    /// Each generation's one assignment, by the number its leader put into it, and who got what.
    assigned: BTreeMap<i32, (u64, BTreeMap<u32, String>)>,
    assignments: u64,
    /// Requests that have to be answered, and the commits among them with their offset.
    asked: BTreeMap<ReplyToken, Vec<(u32, i64)>>,
    /// The last offset answered for each partition.
    acknowledged: BTreeMap<u32, i64>,
    /// The last offset seen for each partition.
    seen: BTreeMap<u32, i64>,
    next_offset: i64,
}

impl World {
    fn new(seed: u64) -> Self {
        let settings = GroupSettings {
            // Nothing expires here.
            offsets_check_interval: Duration::from_secs(365 * 24 * 60 * 60),
            initial_rebalance_delay: Duration::from_millis([0, 1_000, 3_000][seed as usize % 3]),
            ..GroupSettings::default()
        };
        let mut bench = Bench::with(settings, seed);
        bench.instant = false;
        let dice = Seeded::new(!seed);
        let consumers = (0..2 + dice.below(5)).map(Consumer::new).collect();
        Self {
            bench,
            dice,
            consumers,
            assigned: BTreeMap::new(),
            assignments: 0,
            asked: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            seen: BTreeMap::new(),
            next_offset: 0,
        }
    }

    fn step(&mut self) {
        let who = self.dice.below(self.consumers.len() as u64) as usize;
        match self.dice.below(100) {
            0..50 => self.act(who),
            50..75 => {
                let ms = self.dice.below(1_000);
                self.bench.pass_ms(ms);
            }
            75..92 => {
                let count = self.dice.below(4) as usize;
                self.bench.make_durable(count);
            }
            92..94 => self.consumers[who].phase = Phase::Down,
            94..96 => self.leave(who),
            96..98 => self.bench.pass_ms(7_000),
            _ => self.restart(),
        }
        self.hear();
        self.check();
    }

    /// Lets one consumer do its next thing.
    fn act(&mut self, who: usize) {
        match self.consumers[who].phase {
            Phase::Out => {
                let token = self.bench.join(&self.consumers[who].client);
                self.asked.insert(token, Vec::new());
                self.consumers[who].phase = Phase::Joining(token);
            }
            // An impatient client repeats its request.
            Phase::Joining(_) | Phase::Syncing(_) if self.dice.below(20) == 0 => {
                self.consumers[who].out();
            }
            Phase::Joining(_) | Phase::Syncing(_) => (),
            Phase::Member if self.dice.below(2) == 0 => self.commit(who),
            Phase::Member => {
                let consumer = &mut self.consumers[who];
                let heard = self.bench.groups.heartbeat(
                    self.bench.at,
                    GROUP,
                    &Sender {
                        member: &consumer.client.member,
                        instance: consumer.client.instance.as_deref(),
                        generation: consumer.generation,
                    },
                );
                if let Err(error) = heard {
                    consumer.refused(&error);
                }
            }
            Phase::Down => {
                self.consumers[who].forget();
            }
        }
    }

    /// Commits what it owns; a zombie may try with an older generation.
    fn commit(&mut self, who: usize) {
        let consumer = &self.consumers[who];
        let stale = i32::from(self.dice.below(5) == 0);
        let sender = Sender {
            member: &consumer.client.member,
            instance: consumer.client.instance.as_deref(),
            generation: (consumer.generation - stale).max(0),
        };
        self.next_offset += 1;
        let offsets: Vec<_> =
            consumer.owned.iter().map(|partition| (*partition, self.next_offset)).collect();
        let places: Vec<_> =
            offsets.iter().map(|(partition, offset)| (at('a', *partition), *offset)).collect();
        let group = self.bench.groups.describe(GROUP);
        let may_commit = group.is_some_and(|group| {
            group.generation == sender.generation
                && group.members.iter().any(|member| *member.member == *sender.member)
                && matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance)
        });
        let before = self.bench.appended.len();
        let token = self.bench.commit(sender, &places);
        let accepted = self.bench.appended.len() > before;
        assert!(may_commit || !accepted, "only this generation's members commit");
        self.asked.insert(token, offsets);
    }

    fn leave(&mut self, who: usize) {
        let consumer = &mut self.consumers[who];
        if consumer.phase == Phase::Member && consumer.client.instance.is_none() {
            let token = self.bench.leave(&consumer.client.member, None);
            self.asked.insert(token, Vec::new());
            consumer.forget();
        }
    }

    /// The broker crashes; some of what was on its way survives without having been answered.
    fn restart(&mut self) {
        let survivors = self.dice.below(self.bench.appended.len() as u64 + 1) as usize;
        self.hear();
        for append in self.bench.appended.drain(..survivors) {
            self.bench.log.extend(append.records.iter().cloned());
        }
        self.bench.restart();
        self.asked.clear();
        for consumer in &mut self.consumers {
            if matches!(consumer.phase, Phase::Joining(_) | Phase::Syncing(_)) {
                consumer.out();
            }
        }
    }

    /// Hands out the answers.
    fn hear(&mut self) {
        for (token, reply) in std::mem::take(&mut self.bench.replies) {
            let committed = self.asked.remove(&token).expect("an answer to a question");
            let waiting = self.consumers.iter().position(|consumer| {
                matches!(consumer.phase, Phase::Joining(on) | Phase::Syncing(on) if on == token)
            });
            match (reply, waiting) {
                (Reply::Join(Ok(joined)), Some(who)) => self.joined(who, joined),
                (Reply::Sync(Ok(synced)), Some(who)) => self.synced(who, &synced.assignment),
                (Reply::Join(Err(error)) | Reply::Sync(Err(error)), Some(who)) => {
                    self.consumers[who].refused(&error);
                }
                (Reply::CommitOffsets(Ok(results)), _) => {
                    assert!(results.iter().all(Result::is_ok));
                    for (partition, offset) in committed {
                        let last = self.acknowledged.entry(partition).or_default();
                        *last = offset.max(*last);
                    }
                }
                _ => (),
            }
        }
    }

    fn joined(&mut self, who: usize, joined: Joined) {
        self.assignments += 1;
        let number = self.assignments;
        let ids: Vec<&str> = joined.members.iter().map(|member| &*member.member).collect();
        let bytes: Vec<Vec<u8>> = (0..ids.len())
            .map(|place| {
                let owned = (0..PARTITIONS).filter(|one| *one as usize % ids.len() == place);
                postcard::to_stdvec(&(number, owned.collect::<Vec<_>>())).unwrap()
            })
            .collect();
        let given: Vec<(&str, &[u8])> =
            ids.iter().copied().zip(bytes.iter().map(Vec::as_slice)).collect();
        let given = if joined.skip_assignment { &[] } else { &given[..] };
        let consumer = &mut self.consumers[who];
        consumer.client.member = joined.member.to_string();
        consumer.generation = joined.generation;
        let instance = consumer.client.instance.clone();
        let token = self.bench.sync(&joined.member, instance.as_deref(), joined.generation, given);
        self.asked.insert(token, Vec::new());
        self.consumers[who].phase = Phase::Syncing(token);
    }

    /// One generation has one assignment, and no partition two readers.
    fn synced(&mut self, who: usize, assignment: &[u8]) {
        let consumer = &mut self.consumers[who];
        let (number, owned): (u64, Vec<u32>) =
            postcard::from_bytes(assignment).expect("the leader assigned something to everybody");
        let (first, readers) =
            self.assigned.entry(consumer.generation).or_insert_with(|| (number, BTreeMap::new()));
        assert_eq!(*first, number, "generation {} has one assignment", consumer.generation);
        // A static member keeps its assignment under another id.
        let reader = consumer.client.instance.as_ref().unwrap_or(&consumer.client.member);
        for partition in &owned {
            let earlier = readers.insert(*partition, reader.clone());
            assert!(earlier.is_none_or(|earlier| earlier == *reader), "two read {partition}");
        }
        consumer.owned = owned;
        consumer.phase = Phase::Member;
    }

    /// What holds after every step.
    fn check(&mut self) {
        self.bench.groups.check_timers();
        for partition in 0..PARTITIONS {
            let offset = self.bench.offset(at('a', partition)).unwrap_or(0);
            let acknowledged = self.acknowledged.get(&partition).copied().unwrap_or(0);
            assert!(offset >= acknowledged, "{partition}: {offset} < {acknowledged}");
            let seen = self.seen.insert(partition, offset).unwrap_or(0);
            assert!(offset >= seen, "{partition} went back from {seen} to {offset}");
        }
        if self.dice.below(50) == 0 {
            let now: Vec<_> = self.bench.groups.snapshot().collect();
            assert!(self.bench.replayed().snapshot().eq(now), "memory is what the log comes to");
        }
    }

    /// Lets everybody behave: all questions are answered, and one generation has everybody.
    fn calm(&mut self) {
        for consumer in &mut self.consumers {
            if consumer.phase == Phase::Down {
                consumer.forget();
            }
        }
        for _ in 0..200 {
            for who in 0..self.consumers.len() {
                if !matches!(self.consumers[who].phase, Phase::Joining(_) | Phase::Syncing(_)) {
                    self.act(who);
                }
            }
            self.bench.make_durable(usize::MAX);
            self.hear();
            self.bench.make_durable(usize::MAX);
            self.hear();
            self.bench.pass_ms(500);
        }
        self.bench.make_durable(usize::MAX);
        self.hear();
        self.check();
        assert_eq!(self.bench.state(), Some(GroupState::Stable));
        assert!(self.asked.is_empty(), "unanswered: {:?}", self.asked);
        let generations: BTreeSet<_> =
            self.consumers.iter().map(|consumer| consumer.generation).collect();
        assert_eq!(generations, BTreeSet::from([self.bench.generation()]));
        let mut owned: Vec<_> =
            self.consumers.iter().flat_map(|consumer| consumer.owned.clone()).collect();
        owned.sort_unstable();
        assert_eq!(owned, Vec::from_iter(0..PARTITIONS));
    }
}

#[test]
fn promises_hold_whatever_happens() {
    for seed in 0..100 {
        let run = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            (0..600).for_each(|_| world.step());
            world.calm();
        });
        assert!(run.is_ok(), "seed {seed}");
    }
}
