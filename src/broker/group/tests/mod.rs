//! The coordinator under test: a log that is a vector, clocks that move when told.

mod expiring;
mod joining;
mod leaving;
mod offsets;
mod peers;
mod refused;
mod restarting;
mod simulation;
mod statics;
mod syncing;

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::*;
use crate::{base::TopicId, env::Random};

/// Pseudo-random numbers of a seed (SplitMix64).
pub struct Seeded(AtomicU64);

impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    pub fn next(&self) -> u64 {
        let step = 0x9e37_79b9_7f4a_7c15;
        let mut z = self.0.fetch_add(step, Ordering::Relaxed).wrapping_add(step);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&self, end: u64) -> u64 {
        self.next() % end
    }
}

impl Random for Seeded {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.chunks_mut(8).for_each(|chunk| {
            let number = self.next().to_le_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        });
    }
}

/// A group in which RocketMQ's clients have consumed.
pub const OF_ROCKETMQ: &str = "of-rocketmq";

/// Topics are named by the first byte of their id; zero names none.
struct Letters;

impl TopicNames for Letters {
    fn topic_name(&self, topic: TopicId) -> Option<Arc<str>> {
        (topic.0[0] != 0).then(|| char::from(topic.0[0]).to_string().into())
    }

    fn is_of_rocketmq(&self, group: &str) -> bool {
        group == OF_ROCKETMQ
    }
}

/// Partition `partition` of the topic named by `letter`.
pub fn at(letter: char, partition: u32) -> TopicPartition {
    let mut topic = TopicId::ZERO;
    topic.0[0] = u8::try_from(letter).unwrap();
    TopicPartition { topic, partition }
}

pub const GROUP: &str = "g";

/// A client as it introduces itself.
#[derive(Clone)]
pub struct Client {
    pub member: String,
    pub instance: Option<String>,
    pub session_ms: u64,
    pub rebalance_ms: u64,
    pub protocol_type: String,
    pub protocols: Vec<(String, Vec<u8>)>,
    /// The version of JoinGroup it speaks.
    pub version: u8,
}

impl Client {
    /// A dynamic consumer of topic `a` that knows range only.
    pub fn new() -> Self {
        let metadata = subscription::subscription(&["a"]);
        Self {
            member: String::new(),
            instance: None,
            session_ms: 10_000,
            rebalance_ms: 60_000,
            protocol_type: "consumer".into(),
            protocols: vec![("range".into(), metadata)],
            version: 9,
        }
    }

    pub fn of(instance: &str) -> Self {
        Self { instance: Some(instance.into()), ..Self::new() }
    }

    pub fn offering(protocols: &[(&str, &[u8])]) -> Self {
        let owned = |(name, metadata): &(&str, &[u8])| (name.to_string(), metadata.to_vec());
        Self { protocols: protocols.iter().map(owned).collect(), ..Self::new() }
    }

    pub fn named(&self, member: &str) -> Self {
        Self { member: member.into(), ..self.clone() }
    }
}

/// A coordinator and what surrounds it.
pub struct Bench {
    pub groups: Groups,
    settings: GroupSettings,
    random: Arc<Seeded>,
    pub at: Moment,
    /// What is durable.
    pub log: Vec<GroupRecord>,
    /// Appended and not durable yet.
    pub appended: Vec<Append>,
    pub replies: BTreeMap<ReplyToken, Reply>,
    /// Every append is durable at once.
    pub instant: bool,
    next_token: u64,
}

impl Bench {
    pub fn new() -> Self {
        Self::with(GroupSettings::default(), 1)
    }

    pub fn with(settings: GroupSettings, seed: u64) -> Self {
        let random = Arc::new(Seeded::new(seed));
        Self {
            groups: Groups::new(settings.clone(), random.clone(), Rc::new(Letters)),
            settings,
            random,
            at: Moment { now: Duration::from_secs(1), wall_ms: 1_000_000 },
            log: Vec::new(),
            appended: Vec::new(),
            replies: BTreeMap::new(),
            instant: true,
            next_token: 0,
        }
    }

    pub fn token(&mut self) -> ReplyToken {
        self.next_token += 1;
        ReplyToken(self.next_token)
    }

    /// Takes what came out; the log is durable at once if it is instant.
    pub fn drain(&mut self) {
        self.appended.extend(self.groups.take_appends());
        if self.instant {
            self.make_durable(usize::MAX);
        }
        for (token, reply) in self.groups.take_replies() {
            let earlier = self.replies.insert(token, reply);
            assert_eq!(earlier, None, "{token:?} is answered once");
        }
    }

    /// Makes the next `count` appends durable.
    pub fn make_durable(&mut self, count: usize) {
        for append in self.appended.drain(..count.min(self.appended.len())) {
            // What the log holds is what it encodes.
            for record in &*append.records {
                let bytes = postcard::to_stdvec(record).unwrap();
                self.log.push(postcard::from_bytes(&bytes).unwrap());
            }
            self.groups.committed(append.token, self.at);
        }
        for (token, reply) in self.groups.take_replies() {
            assert_eq!(self.replies.insert(token, reply), None, "{token:?} is answered once");
        }
    }

    /// Loses everything that is not durable.
    pub fn restart(&mut self) {
        self.groups = self.replayed();
        self.appended.clear();
        self.groups.start(self.at);
    }

    /// What a restart would find.
    pub fn replayed(&self) -> Groups {
        let mut groups = Groups::new(self.settings.clone(), self.random.clone(), Rc::new(Letters));
        self.log.iter().for_each(|record| groups.replay(record));
        groups
    }

    /// Lets time pass, deadline by deadline.
    pub fn pass_ms(&mut self, ms: u64) {
        let end = self.at.now + Duration::from_millis(ms);
        loop {
            let next = self.groups.next_deadline().filter(|next| *next <= end);
            let step = next.unwrap_or(end).saturating_sub(self.at.now);
            self.at.now += step;
            self.at.wall_ms += i64::try_from(step.as_millis()).unwrap();
            self.groups.tick(self.at);
            self.drain();
            if next.is_none() {
                self.groups.check_timers();
                return;
            }
        }
    }

    /// Lets the initial rebalance's delays pass, however many there are.
    #[track_caller]
    pub fn pass_join_phase(&mut self) {
        while self.state() == Some(GroupState::PreparingRebalance) {
            let next = self.groups.next_deadline().expect("the join phase ends");
            self.pass_ms(u64::try_from((next - self.at.now).as_millis()).unwrap());
        }
    }

    pub fn join(&mut self, client: &Client) -> ReplyToken {
        let token = self.token();
        let protocols: Vec<_> =
            client.protocols.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        let request = JoinRequest {
            group: GROUP,
            member: &client.member,
            instance: client.instance.as_deref(),
            client_id: "client",
            client_host: "/10.0.0.1",
            session_timeout: Duration::from_millis(client.session_ms),
            rebalance_timeout: Duration::from_millis(client.rebalance_ms),
            protocol_type: &client.protocol_type,
            protocols: &protocols,
            requires_known_member: client.version >= 4,
            supports_skip_assignment: client.version >= 9,
            reason: None,
        };
        self.groups.join(self.at, &request, token);
        self.drain();
        token
    }

    /// Joins in two steps, if that is needed, and leaves the second join to be answered.
    pub fn join_as_told(&mut self, client: &Client) -> (ReplyToken, Client) {
        let token = self.join(client);
        let told = self.replies.remove(&token);
        if let Some(Reply::Join(Err(GroupError::MemberIdRequired(id)))) = &told {
            let client = client.named(id);
            return (self.join(&client), client);
        }
        told.into_iter().for_each(|reply| drop(self.replies.insert(token, reply)));
        (token, client.clone())
    }

    pub fn sync(
        &mut self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
        assignments: &[(&str, &[u8])],
    ) -> ReplyToken {
        let token = self.token();
        let request = SyncRequest {
            group: GROUP,
            member,
            instance,
            generation,
            protocol_type: None,
            protocol: None,
            assignments,
        };
        self.groups.sync(self.at, &request, token);
        self.drain();
        token
    }

    pub fn heartbeat(&mut self, member: &str, generation: i32) -> Result<(), GroupError> {
        let sender = Sender { member, instance: None, generation };
        self.groups.heartbeat(self.at, GROUP, &sender)
    }

    pub fn leave(&mut self, member: &str, instance: Option<&str>) -> ReplyToken {
        let token = self.token();
        let leaving = LeavingMember { member, instance, reason: None };
        self.groups.leave(self.at, GROUP, &[leaving], token);
        self.drain();
        token
    }

    pub fn commit(&mut self, sender: Sender<'_>, offsets: &[(TopicPartition, i64)]) -> ReplyToken {
        let token = self.token();
        let offsets: Vec<_> = offsets
            .iter()
            .map(|(partition, offset)| OffsetToCommit {
                partition: *partition,
                offset: *offset,
                leader_epoch: Some(0),
                metadata: "",
            })
            .collect();
        let request = CommitRequest { group: GROUP, sender, retention: None, offsets: &offsets };
        self.groups.commit_offsets(self.at, &request, token);
        self.drain();
        token
    }

    pub fn offset(&self, partition: TopicPartition) -> Option<i64> {
        self.groups.committed_offset(GROUP, partition).map(|committed| committed.offset)
    }

    pub fn state(&self) -> Option<GroupState> {
        self.groups.describe(GROUP).map(|group| group.state)
    }

    pub fn generation(&self) -> i32 {
        self.groups.describe(GROUP).unwrap().generation
    }

    #[track_caller]
    pub fn joined(&mut self, token: ReplyToken) -> Joined {
        match self.replies.remove(&token) {
            Some(Reply::Join(Ok(joined))) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    #[track_caller]
    pub fn join_error(&mut self, token: ReplyToken) -> GroupError {
        match self.replies.remove(&token) {
            Some(Reply::Join(Err(error))) => error,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[track_caller]
    pub fn synced(&mut self, token: ReplyToken) -> Result<Vec<u8>, GroupError> {
        match self.replies.remove(&token) {
            Some(Reply::Sync(result)) => result.map(|synced| synced.assignment.to_vec()),
            other => panic!("not synced: {other:?}"),
        }
    }

    #[track_caller]
    pub fn left(&mut self, token: ReplyToken) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        match self.replies.remove(&token) {
            Some(Reply::Leave(result)) => result,
            other => panic!("not left: {other:?}"),
        }
    }

    #[track_caller]
    pub fn commit_result(
        &mut self,
        token: ReplyToken,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        match self.replies.remove(&token) {
            Some(Reply::CommitOffsets(result)) => result,
            other => panic!("not committed: {other:?}"),
        }
    }

    /// A stable group of `clients`; the first one leads, because it joined first, and each has its
    /// place as assignment.
    #[track_caller]
    pub fn stable(&mut self, clients: &[Client]) -> Vec<Joined> {
        let tokens: Vec<_> = clients.iter().map(|client| self.join_as_told(client).0).collect();
        self.pass_join_phase();
        let joined: Vec<_> = tokens.into_iter().map(|token| self.joined(token)).collect();
        assert_eq!(joined[0].member, joined[0].leader);
        self.assign(clients, &joined);
        joined
    }

    /// Syncs everybody, the leader last.
    #[track_caller]
    pub fn assign(&mut self, clients: &[Client], joined: &[Joined]) {
        let places: Vec<[u8; 1]> = (0..joined.len()).map(|place| [place as u8]).collect();
        let assignments: Vec<(&str, &[u8])> = joined
            .iter()
            .zip(&places)
            .map(|(member, place)| (&*member.member, &place[..]))
            .collect();
        let mut order: Vec<usize> = (0..joined.len()).collect();
        order.sort_by_key(|place| joined[*place].member == joined[*place].leader);
        let tokens: Vec<_> = order
            .iter()
            .map(|place| {
                let Joined { member, leader, generation, .. } = &joined[*place];
                let given = if member == leader { &assignments[..] } else { &[] };
                self.sync(member, clients[*place].instance.as_deref(), *generation, given)
            })
            .collect();
        for (place, token) in order.iter().zip(tokens) {
            assert_eq!(self.synced(token), Ok(places[*place].to_vec()));
        }
        assert_eq!(self.state(), Some(GroupState::Stable));
    }
}

/// A member as a sender.
pub fn sender(joined: &Joined) -> Sender<'_> {
    Sender { member: &joined.member, instance: None, generation: joined.generation }
}
