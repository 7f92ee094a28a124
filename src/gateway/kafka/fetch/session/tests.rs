//! A client that keeps a session, over queues that come, grow, shrink and go: after each answer it
//! knows what there is, as one without a session would.

use proptest::prelude::*;

use super::{super::wanted::named, *};
use crate::{
    cluster::{Applied, Command, Setup},
    wire::kafka::fetch::{FetchTopic, ForgottenTopic},
};

const TOPICS: [&str; 3] = ["a", "b", "c"];
const PARTITIONS: i32 = 2;
const BY_NAME: i16 = 12;
const BY_ID: i16 = 13;

/// Room for any session here.
const ENOUGH: u64 = 1 << 20;

/// Queues as their owner knows them, and one connection.
struct Server {
    cluster: ClusterState,
    position: u64,
    /// Log start and high watermark.
    queues: HashMap<QueueId, (i64, i64)>,
    memory: Arc<FetchSessionMemory>,
    session: Option<FetchSession>,
    last_id: i32,
}

/// A partition of an answer, and the offset it was read at.
struct Answered {
    topic: TopicKey,
    offset: i64,
    response: FetchPartitionResponse,
}

impl Server {
    fn new(memory_bytes: u64) -> Self {
        let cluster = ClusterState::new(Setup::default());
        let memory = Arc::new(FetchSessionMemory::new(memory_bytes));
        let (position, queues) = (0, HashMap::new());
        let mut server = Self { cluster, position, queues, memory, session: None, last_id: 0 };
        (0..TOPICS.len()).for_each(|topic| server.create(topic));
        server
    }

    fn apply(&mut self, command: &Command) -> Applied {
        self.position += 1;
        self.cluster.apply(Position(self.position), command)
    }

    fn create(&mut self, topic: usize) {
        let mut id = [topic as u8 + 1; 16];
        id[..8].copy_from_slice(&self.position.to_be_bytes());
        let created = self.apply(&Command::CreateTopic {
            id: TopicId(id),
            name: TOPICS[topic].into(),
            collides: false,
            partitions: PARTITIONS as u32,
            configs: [].into(),
            created_ms: 0,
        });
        self.queues.extend(created.added().iter().map(|queue| (*queue, (0, 0))));
    }

    fn delete(&mut self, topic: usize) {
        let id = self.cluster.topic(TOPICS[topic]).unwrap().id;
        let deleted = self.apply(&Command::DeleteTopic { id });
        self.queues.retain(|queue, _| !deleted.removed().contains(queue));
    }

    fn queue(&mut self, topic: usize, index: i32) -> Option<&mut (i64, i64)> {
        let queue = self.cluster.topic(TOPICS[topic])?.queue(index)?;
        self.queues.get_mut(&queue)
    }

    fn append(&mut self, topic: usize, index: i32, records: i64) {
        self.queue(topic, index).into_iter().for_each(|queue| queue.1 += records);
    }

    /// Answers as a fetch does; a record has one byte.
    fn fetch(
        &mut self,
        version: i16,
        fetch: &FetchRequest<'_>,
    ) -> Result<(i32, Vec<Answered>), ResponseError> {
        self.last_id += 1;
        let new_id = || self.last_id;
        let (session, memory) = (&mut self.session, &self.memory);
        let session = enter(session, memory, &self.cluster, version, fetch, new_id)?;
        let wanted = match session {
            Some(session) => session.wanted(),
            None => named(&self.cluster, version, fetch),
        };
        let mut left = i64::from(fetch.max_bytes);
        let mut answered = Vec::new();
        for one in wanted {
            let offset = one.target.map_or(-1, |target| target.offset);
            let response = read(&self.queues, &one, &mut left);
            if one.cached.is_none_or(|cached| cached.tell(&response)) {
                answered.push(Answered { topic: TopicKey::new(one.topic), offset, response });
            }
        }
        Ok((session.map_or(NO_SESSION, FetchSession::id), answered))
    }
}

fn read(
    queues: &HashMap<QueueId, (i64, i64)>,
    one: &Wanted<'_>,
    left: &mut i64,
) -> FetchPartitionResponse {
    let failed = |error: ResponseError| FetchPartitionResponse::failed(one.index, error.code());
    let target = match one.target {
        Ok(target) => target,
        Err(error) => return failed(error),
    };
    let Some(&(log_start_offset, high_watermark)) = queues.get(&target.queue) else {
        return failed(ResponseError::UnknownTopicOrPartition);
    };
    let ends = FetchPartitionResponse { log_start_offset, high_watermark, ..failed_with_none(one) };
    if !(log_start_offset..=high_watermark).contains(&target.offset) {
        return FetchPartitionResponse {
            error_code: ResponseError::OffsetOutOfRange.code(),
            ..ends
        };
    }
    let records = (high_watermark - target.offset).min(i64::from(target.bytes_max)).min(*left);
    *left -= records;
    FetchPartitionResponse { records_bytes: records as usize, ..ends }
}

fn failed_with_none(one: &Wanted<'_>) -> FetchPartitionResponse {
    FetchPartitionResponse::failed(one.index, 0)
}

/// What the client knows of a partition: its ends, or the error it was told last.
type View = Result<(i64, i64), i16>;

/// A client as Kafka's `FetchSessionHandler` is one.
struct Client {
    version: i16,
    /// The ids it has learned.
    ids: [TopicId; TOPICS.len()],
    /// Where it reads.
    wanted: BTreeMap<(usize, i32), i64>,
    /// Session id and epoch of its next request.
    session: (i32, i32),
    /// What the session has.
    sent: BTreeMap<(usize, TopicId, i32), i64>,
    views: BTreeMap<(usize, i32), View>,
}

impl Client {
    fn new(version: i16, server: &Server) -> Self {
        let (session, sent, views) = Default::default();
        let ids = [TopicId::ZERO; TOPICS.len()];
        let all = |topic| (0..PARTITIONS).map(move |index| ((topic, index), 0));
        let wanted = (0..TOPICS.len()).flat_map(all).collect();
        let mut client = Self { version, ids, wanted, session, sent, views };
        client.learn(server);
        client
    }

    fn learn(&mut self, server: &Server) {
        for (id, name) in self.ids.iter_mut().zip(TOPICS) {
            server.cluster.topic(name).into_iter().for_each(|topic| *id = topic.id);
        }
    }

    fn id(&self, topic: usize) -> TopicId {
        if self.version >= BY_ID { self.ids[topic] } else { TopicId::ZERO }
    }

    fn name(&self, topic: usize) -> &'static str {
        if self.version >= BY_ID { "" } else { TOPICS[topic] }
    }

    /// The next request: everything, or what differs from what the session has.
    fn request(&mut self, max_bytes: i32) -> FetchRequest<'static> {
        let now = self.wanted.iter().map(|(&(topic, index), &offset)| {
            let id = self.id(topic);
            ((topic, id, index), offset)
        });
        let now: BTreeMap<_, _> = now.collect();
        let (session_id, session_epoch) = self.session;
        let whole = session_epoch == FIRST_EPOCH;
        let changed = now.iter().filter(|(key, at)| whole || self.sent.get(key) != Some(at));
        let topics = changed.map(|(&(topic, id, index), &fetch_offset)| {
            let partition = FetchPartition {
                index,
                current_leader_epoch: -1,
                fetch_offset,
                last_fetched_epoch: -1,
                log_start_offset: -1,
                max_bytes: 4,
            };
            FetchTopic { name: self.name(topic), id, partitions: vec![partition] }
        });
        let gone = self.sent.keys().filter(|key| !whole && !now.contains_key(key));
        let forgotten = gone.map(|&(topic, id, index)| ForgottenTopic {
            name: self.name(topic),
            id,
            partitions: vec![index],
        });
        let (topics, forgotten) = (topics.collect(), forgotten.collect());
        self.sent = now;
        FetchRequest {
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes,
            isolation: Default::default(),
            session_id,
            session_epoch,
            topics,
            forgotten,
            rack_id: "",
        }
    }

    /// Names everything the next time.
    fn start_over(&mut self) {
        self.session.1 = FIRST_EPOCH;
    }

    /// Asks until it is answered, and takes the answer in. Returns the partitions that had records.
    fn poll(&mut self, server: &mut Server, max_bytes: i32) -> Vec<(usize, i32)> {
        self.learn(server);
        let request = self.request(max_bytes);
        let (id, answered) = server.fetch(self.version, &request).unwrap_or_else(|error| {
            // Only what a client expects, and only where it named a session.
            assert_eq!(error, ResponseError::FetchSessionIdNotFound);
            assert_ne!(request.session_epoch, FIRST_EPOCH);
            self.session = (NO_SESSION, FIRST_EPOCH);
            let whole = self.request(max_bytes);
            server.fetch(self.version, &whole).unwrap()
        });
        self.session = if id == NO_SESSION { (0, 0) } else { (id, self.session.1 + 1) };
        // An error is told each time, or it is over.
        self.views.retain(|_, view| view.is_ok());
        let mut served = Vec::new();
        for Answered { topic, offset, response } in answered {
            let topic = match topic {
                TopicKey::Id(id) => self.ids.iter().position(|known| *known == id),
                TopicKey::Name(name) => TOPICS.iter().position(|known| **known == *name),
            };
            let place = (topic.expect("it was asked for"), response.index);
            let at = self.wanted.get_mut(&place).expect("it was asked for");
            let view = match response.error_code {
                0 => Ok((response.log_start_offset, response.high_watermark)),
                error => Err(error),
            };
            if view.is_ok() {
                assert_eq!(offset, *at, "read where the client is");
                *at += response.records_bytes as i64;
            }
            if response.records_bytes > 0 {
                served.push(place);
            }
            self.views.insert(place, view);
        }
        served
    }

    /// What it knows is what there is.
    fn check(&mut self, server: &mut Server, before: &BTreeMap<(usize, i32), i64>) {
        for (&place, offset) in before {
            let view = self.views.get(&place).copied();
            let expected = match server.queue(place.0, place.1) {
                None if self.version >= BY_ID => Err(ResponseError::UnknownTopicId.code()),
                None => Err(ResponseError::UnknownTopicOrPartition.code()),
                Some(queue) if !(queue.0..=queue.1).contains(offset) => {
                    Err(ResponseError::OffsetOutOfRange.code())
                }
                Some(queue) => Ok(*queue),
            };
            assert_eq!(view, Some(expected), "{place:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, i32, i64),
    Trim(usize, i32),
    Delete(usize),
    Create(usize),
    Leave(usize, i32),
    Seek(usize, i32, i64),
    /// The connection is another one.
    Reconnect,
    /// The client did not get the answer.
    LoseAnswer,
    Poll(i32),
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, index) = (0..TOPICS.len(), 0..PARTITIONS);
    prop_oneof![
        4 => (topic.clone(), index.clone(), 1..20i64).prop_map(|(t, p, n)| Step::Append(t, p, n)),
        1 => (topic.clone(), index.clone()).prop_map(|(t, p)| Step::Trim(t, p)),
        1 => topic.clone().prop_map(Step::Delete),
        2 => topic.clone().prop_map(Step::Create),
        1 => (topic.clone(), index.clone()).prop_map(|(t, p)| Step::Leave(t, p)),
        2 => (topic, index, 0..10i64).prop_map(|(t, p, offset)| Step::Seek(t, p, offset)),
        1 => Just(Step::Reconnect),
        1 => Just(Step::LoseAnswer),
        8 => (0..12i32).prop_map(Step::Poll),
    ]
}

fn run(server: &mut Server, client: &mut Client, step: &Step) {
    let exists = |server: &Server, topic: usize| server.cluster.topic(TOPICS[topic]).is_some();
    match *step {
        Step::Append(topic, index, records) => server.append(topic, index, records),
        Step::Trim(topic, index) => {
            server.queue(topic, index).into_iter().for_each(|queue| queue.0 = queue.1);
        }
        Step::Delete(topic) if exists(server, topic) => server.delete(topic),
        Step::Create(topic) if !exists(server, topic) => server.create(topic),
        Step::Delete(_) | Step::Create(_) => {}
        Step::Leave(topic, index) => {
            client.wanted.remove(&(topic, index));
        }
        Step::Seek(topic, index, offset) => {
            client.wanted.insert((topic, index), offset);
        }
        Step::Reconnect => server.session = None,
        Step::LoseAnswer => {
            let request = client.request(10);
            let _ = server.fetch(client.version, &request);
            client.start_over();
        }
        Step::Poll(max_bytes) => {
            let before = client.wanted.clone();
            client.poll(server, max_bytes);
            client.check(server, &before);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_client_knows_what_there_is(
        by_id: bool,
        memory_bytes in prop_oneof![Just(0), Just(3 * PARTITION_BYTES), Just(ENOUGH)],
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut server = Server::new(memory_bytes);
        let mut client = Client::new(if by_id { BY_ID } else { BY_NAME }, &server);
        for step in &steps {
            run(&mut server, &mut client, step);
            prop_assert!(server.memory.taken_bytes() <= memory_bytes);
        }
        server.session = None;
        prop_assert_eq!((server.memory.taken_bytes(), server.memory.sessions()), (0, 0));
    }
}

#[test]
fn partitions_with_records_take_turns() {
    let mut server = Server::new(ENOUGH);
    let mut client = Client::new(BY_ID, &server);
    let all: Vec<_> = client.wanted.keys().copied().collect();
    all.iter().for_each(|(topic, index)| server.append(*topic, *index, 100));
    for place in all.iter().cycle().take(4 * all.len()) {
        assert_eq!(client.poll(&mut server, 4), [*place]);
    }
    assert_eq!(server.memory.fetches(), 4 * all.len() as u64 - 1);
}

#[test]
fn what_is_known_is_not_told_again() {
    let mut server = Server::new(ENOUGH);
    let mut client = Client::new(BY_NAME, &server);
    let mut answer = |server: &mut Server| {
        let request = client.request(100);
        let (id, answered) = server.fetch(BY_NAME, &request).unwrap();
        client.session = (id, client.session.1 + 1);
        answered.len()
    };
    assert_eq!(answer(&mut server), 6, "the first time all of them");
    assert_eq!(answer(&mut server), 0);
    server.append(1, 0, 1);
    assert_eq!(answer(&mut server), 1);
    server.queue(2, 1).unwrap().0 = -5;
    // The records come again, since the client has not moved on; and the other has a new log start.
    assert_eq!(answer(&mut server), 2);
    server.delete(0);
    assert_eq!((answer(&mut server), answer(&mut server)), (3, 3), "errors each time");
    server.create(0);
    assert_eq!((answer(&mut server), answer(&mut server)), (3, 1), "and then that they are over");
}

#[test]
fn requests_that_are_not_the_next_one_are_refused() {
    let mut server = Server::new(ENOUGH);
    let mut client = Client::new(BY_ID, &server);
    let whole = client.request(10);
    let ask = |server: &mut Server, version, id, epoch| {
        let request = FetchRequest { session_id: id, session_epoch: epoch, ..whole.clone() };
        server.fetch(version, &request).map(|(id, _)| id)
    };
    use ResponseError::{
        FetchSessionIdNotFound as Unknown, FetchSessionTopicIdError as Mixed,
        InvalidFetchSessionEpoch as WrongEpoch,
    };
    assert_eq!(ask(&mut server, BY_ID, 0, 1), Err(Unknown), "there is none");
    assert_eq!(ask(&mut server, BY_ID, 0, -1), Ok(NO_SESSION), "none is wanted");
    let id = ask(&mut server, BY_ID, 0, 0).unwrap();
    for epoch in [2, i32::MAX, -2, i32::MIN] {
        assert_eq!(ask(&mut server, BY_ID, id, epoch), Err(WrongEpoch), "{epoch}");
    }
    assert_eq!(ask(&mut server, BY_ID, id + 1, 1), Err(Unknown));
    assert_eq!(ask(&mut server, BY_NAME, id, 1), Err(Mixed));
    assert_eq!(ask(&mut server, BY_ID, id, 1), Ok(id));
    assert_eq!(ask(&mut server, BY_ID, id, 1), Err(WrongEpoch), "once is enough");
    // The epoch begins again at 1, as 0 and -1 mean something else.
    server.session.as_mut().unwrap().epoch = i32::MAX;
    assert_eq!(ask(&mut server, BY_ID, id, i32::MAX), Ok(id));
    assert_eq!(ask(&mut server, BY_ID, id, 1), Ok(id));
    // Another's end is none of ours; our own is.
    assert_eq!(ask(&mut server, BY_ID, id + 1, -1), Ok(NO_SESSION));
    assert_eq!(ask(&mut server, BY_ID, id, 2), Ok(id));
    assert_eq!(ask(&mut server, BY_ID, id, -1), Ok(NO_SESSION));
    assert_eq!(ask(&mut server, BY_ID, id, 3), Err(Unknown));
    assert_eq!(server.memory.sessions(), 0);
}

#[test]
fn what_is_empty_or_too_large_is_no_session() {
    let mut server = Server::new(3 * (PARTITION_BYTES + 1));
    let mut client = Client::new(BY_NAME, &server);
    client.poll(&mut server, 10);
    assert!(server.session.is_none(), "six partitions are too many");
    let all = std::mem::take(&mut client.wanted);
    client.poll(&mut server, 10);
    assert!(server.session.is_none(), "none are too few");
    let mut all = all.into_iter();
    client.wanted.extend(all.by_ref().take(3));
    client.poll(&mut server, 10);
    assert_eq!(server.memory.taken_bytes(), 3 * (PARTITION_BYTES + 1));
    client.wanted.pop_first();
    client.poll(&mut server, 10);
    assert_eq!(server.memory.taken_bytes(), 2 * (PARTITION_BYTES + 1));
    client.wanted.extend(all);
    client.poll(&mut server, 10);
    assert!((server.session.is_none(), client.session) == (true, (0, 0)), "it grew too large");
    client.wanted.clear();
    client.poll(&mut server, 10);
    assert_eq!((server.memory.taken_bytes(), server.memory.sessions()), (0, 0));
}
