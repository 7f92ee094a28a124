//! What is known of the client at the other end of a connection.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::{
    Gateway, check_group,
    held::{Held, HeldGroups, check_entries, member_bytes, name_bytes},
    refusal::Refusal,
    under_way::{OneUnderWay, UnderWay},
};
use crate::{
    base::QueueId,
    broker::{Attendance, ClientAnswer, Delivery, Member, Notice, Session, Subscriptions},
    gateway::{answer::Answers, group_call::shown_host},
    wire::rocketmq::{
        RemotingCommand, ResponseCode, Serialization,
        body::{Connection, ConsumerData, MessageModel},
    },
};

/// Notices that wait to be told to one client; who is in its group it asks by itself every 20 s
/// anyway.
const NOTICES: usize = 64;

/// Messages for one client that wait to be passed to it, and as many again whose taking it has not
/// confirmed.
const DELIVERIES: usize = 1_024;

/// Longest id of a client, in bytes. Java's is an address and a name of its own.
const ID_BYTES_MAX: usize = 512;

/// How often an offset that comes with pulls is stored; a client commits its offsets every 5 s anyway.
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);

/// Requests of one connection under way that others have to take or to answer.
const QUESTIONS: usize = 4_096;

/// Commits of one connection under way at a time; it is not read while there are more.
const COMMITS_UNDER_WAY: usize = 4_096;

/// Queues whose offsets came with pulls, of one connection, before they are counted anew.
const COMMITS: usize = 10_000;

/// The last offset of a queue that came with a pull and was stored, and when.
struct Committed {
    offset: i64,
    at: Duration,
}

/// What others have for a client.
pub(super) struct Told {
    /// Notices.
    pub notices: flume::Receiver<Notice>,
    /// Messages.
    pub deliveries: flume::Receiver<Delivery>,
}

/// A client, as far as it has told of itself on this connection.
pub(super) struct Client {
    pub peer: SocketAddr,
    pub session: Session,
    pub notices: flume::Sender<Notice>,
    pub deliveries: flume::Sender<Delivery>,
    /// What is on its way to it.
    pub answers: Rc<Answers>,
    /// Disconnected once its connection has ended: nothing is ever sent.
    pub gone: flume::Receiver<()>,
    /// The only sender to it.
    _here: flume::Sender<()>,
    /// Its pulls, most of which are held.
    pulls: Rc<UnderWay>,
    /// What somebody else has to take or to answer.
    questions: Rc<UnderWay>,
    serialization: Cell<Serialization>,
    /// Counts what it is asked.
    opaque: Cell<i32>,
    /// Who waits for its answers.
    asked: RefCell<HashMap<i32, flume::Sender<ClientAnswer>>>,
    /// What it calls itself.
    ids: RefCell<HashSet<Arc<str>>>,
    /// The groups it consumes in.
    groups: HeldGroups,
    /// The groups it produces in.
    producing: HeldGroups,
    /// What its heartbeats leave behind.
    held: Held,
    /// The groups in which it gets every message.
    broadcasting: RefCell<HashSet<Arc<str>>>,
    /// Its commits that are not durable yet, whether they came by themselves or with pulls.
    commits: Rc<UnderWay>,
    /// What came with its pulls.
    committed: RefCell<HashMap<(Arc<str>, QueueId), Committed>>,
}

impl Client {
    pub(super) fn new(gateway: &Gateway, peer: SocketAddr, answers: Rc<Answers>) -> (Self, Told) {
        let number = gateway.next_connection();
        let (notices, of_notices) = flume::bounded(NOTICES);
        let (deliveries, of_deliveries) = flume::bounded(DELIVERIES);
        let (here, gone) = flume::bounded(1);
        let client = Self {
            peer,
            session: Session { shard: gateway.broker.shard(), number },
            notices,
            deliveries,
            answers,
            gone,
            _here: here,
            pulls: Rc::default(),
            questions: Rc::default(),
            serialization: Cell::default(),
            opaque: Cell::default(),
            asked: RefCell::default(),
            ids: RefCell::default(),
            groups: HeldGroups::default(),
            producing: HeldGroups::default(),
            held: Held::default(),
            broadcasting: RefCell::default(),
            commits: Rc::default(),
            committed: RefCell::default(),
        };
        (client, Told { notices: of_notices, deliveries: of_deliveries })
    }

    pub(super) fn next_opaque(&self) -> i32 {
        self.opaque.replace(self.opaque.get().wrapping_add(1))
    }

    /// The number of a request to it, whose answer somebody waits for.
    pub(super) fn asks(&self, answer: flume::Sender<ClientAnswer>) -> i32 {
        let mut asked = self.asked.borrow_mut();
        if asked.len() >= DELIVERIES {
            // Nobody waits for those any more.
            asked.retain(|_, waiting| !waiting.is_disconnected());
        }
        let opaque = self.next_opaque();
        asked.insert(opaque, answer);
        opaque
    }

    /// It answers a request.
    pub(super) fn answered(&self, command: &RemotingCommand<'_>) {
        if let Some(waiting) = self.asked.borrow_mut().remove(&command.opaque) {
            let answer = ClientAnswer {
                code: command.code,
                remark: command.remark.as_deref().map(str::to_owned),
                // A copy: the frame it lies in is given back when it is handled.
                body: Bytes::copy_from_slice(&command.body),
            };
            // Who asked may have given up.
            let _ = waiting.send(answer);
        }
    }

    /// It tells its id, by which others reach it.
    ///
    /// # Errors
    /// It is too long, or one too many.
    pub(super) async fn introduce(&self, gateway: &Gateway, id: Arc<str>) -> Result<(), Refusal> {
        check_id(&id)?;
        if !self.ids.borrow().contains(&id) {
            self.held.replace(0, name_bytes(&id))?;
            self.ids.borrow_mut().insert(Arc::clone(&id));
        }
        let (session, deliveries) = (self.session, self.deliveries.clone());
        let broker = &gateway.broker;
        let entered = broker.on(broker.client_owner(&id), move |owner| {
            Box::pin(async move { owner.enter_client(id, session, deliveries) })
        });
        Ok(entered.await?)
    }

    /// How its last request was written, which is how it is asked.
    pub(super) fn serialization(&self) -> Serialization {
        self.serialization.get()
    }

    pub(super) fn speaks(&self, serialization: Serialization) {
        self.serialization.set(serialization);
    }

    /// It consumes in a group.
    ///
    /// # Errors
    /// In too many of them, in one that may not be named so, or that is active with Kafka's clients.
    pub(super) async fn enter(
        &self,
        gateway: &Gateway,
        connection: &Arc<Connection>,
        consumer: ConsumerData,
        subscriptions: Subscriptions,
    ) -> Result<(), Refusal> {
        let (group, id): (Arc<str>, Arc<str>) =
            (consumer.group_name.as_str().into(), connection.client_id.as_str().into());
        check_group(&group)?;
        check_entries(subscriptions.len())?;
        self.groups.enter(&self.held, &group, &id, member_bytes(&consumer))?;
        match consumer.message_model {
            MessageModel::Broadcasting => self.broadcasting.borrow_mut().insert(Arc::clone(&group)),
            _ => self.broadcasting.borrow_mut().remove(&group),
        };
        let member = Member {
            session: self.session,
            notices: self.notices.clone(),
            connection: Arc::clone(connection),
            consumer: Arc::new(consumer),
        };
        let attendance = Attendance {
            group: Arc::clone(&group),
            client: id,
            host: shown_host(self.peer.ip()).into(),
            member,
            subscriptions,
        };
        let broker = &gateway.broker;
        let entered = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.enter_group(attendance) })
        });
        Ok(entered.await??)
    }

    /// It pulls; to be dropped when that is answered.
    ///
    /// # Errors
    /// It has too many pulls under way.
    pub(super) fn begins_pull(&self, gateway: &Gateway) -> Result<OneUnderWay, Refusal> {
        begin_below(gateway.settings.connection_pulls, &self.pulls, "pulls")
    }

    /// It sends what somebody else has to take or to answer; to be dropped when that is done.
    ///
    /// # Errors
    /// It has too many such requests under way.
    pub(super) fn begins_question(&self) -> Result<OneUnderWay, Refusal> {
        begin_below(QUESTIONS, &self.questions, "questions and replies to others")
    }

    /// It commits an offset; to be dropped when that is done.
    pub(super) fn begins_commit(&self) -> OneUnderWay {
        self.commits.begin()
    }

    /// Waits until there is room for another commit.
    ///
    /// # Errors
    /// There was none for as long as a send may wait for the log.
    pub(super) async fn room_for_commit(&self, gateway: &Gateway) -> Result<(), Refusal> {
        let (tasks, patience) = (&*gateway.broker.env().tasks, gateway.settings.stall_answer);
        if self.commits.at_most(COMMITS_UNDER_WAY - 1, tasks, patience).await {
            return Ok(());
        }
        let remark = format!("{COMMITS_UNDER_WAY} commits of this connection wait for the log");
        Err(Refusal::new(ResponseCode::SystemBusy, remark))
    }

    /// Waits until what it committed so far can be read: before it is told what it committed, and
    /// before others take over what was its, for they begin where it says that it ended.
    pub(super) async fn commits_end(&self, gateway: &Gateway) {
        let (tasks, patience) = (&*gateway.broker.env().tasks, gateway.settings.stall_answer);
        self.commits.at_most(0, tasks, patience).await;
    }

    /// It produces in a group.
    ///
    /// # Errors
    /// In too many of them.
    pub(super) async fn produce(
        &self,
        gateway: &Gateway,
        connection: &Arc<Connection>,
        group: &str,
    ) -> Result<(), Refusal> {
        let (group, id): (Arc<str>, Arc<str>) =
            (group.into(), connection.client_id.as_str().into());
        self.producing.enter(&self.held, &group, &id, 0)?;
        let (session, connection) = (self.session, Arc::clone(connection));
        let broker = &gateway.broker;
        let entered = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.enter_producers(group, session, connection) })
        });
        Ok(entered.await?)
    }

    /// It produces in a group no more.
    pub(super) async fn end_producing(&self, gateway: &Gateway, group: Arc<str>, id: Arc<str>) {
        self.producing.leave(&self.held, &group, &id);
        let session = self.session;
        let broker = &gateway.broker;
        let left = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.leave_producers(&group, &id, session) })
        });
        // A stopping broker has no groups.
        let _ = left.await;
    }

    /// It consumes in a group no more.
    pub(super) async fn leave(&self, gateway: &Gateway, group: Arc<str>, id: Arc<str>) {
        self.commits_end(gateway).await;
        self.groups.leave(&self.held, &group, &id);
        self.broadcasting.borrow_mut().remove(&group);
        self.committed.borrow_mut().retain(|(of, _), _| *of != group);
        let session = self.session;
        let broker = &gateway.broker;
        let left = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.leave_group(&group, &id, session) })
        });
        // A stopping broker has no groups.
        let _ = left.await;
    }

    /// Its connection has ended.
    pub(super) async fn leave_all(&self, gateway: &Gateway) {
        for (group, id) in self.groups.all() {
            self.leave(gateway, group, id).await;
        }
        for (group, id) in self.producing.all() {
            self.end_producing(gateway, group, id).await;
        }
        let (broker, session) = (&gateway.broker, self.session);
        let ids = self.ids.take();
        for id in ids {
            let left = broker.on(broker.client_owner(&id), move |owner| {
                Box::pin(async move { owner.leave_client(&id, session) })
            });
            // As above.
            let _ = left.await;
        }
    }

    /// Whether it gets every message in a group, as far as it has told on this connection.
    pub(super) fn broadcasts(&self, group: &str) -> bool {
        self.broadcasting.borrow().contains(group)
    }

    /// Whether an offset that came with a pull is to be stored: if it is another one than the last,
    /// and that was a while ago. The next pull brings it again.
    pub(super) fn is_to_commit(
        &self,
        group: &str,
        queue: QueueId,
        offset: i64,
        now: Duration,
    ) -> bool {
        let mut committed = self.committed.borrow_mut();
        let key = (group.into(), queue);
        let last = committed.get(&key);
        if last.is_some_and(|last| last.offset == offset || now < last.at + COMMIT_INTERVAL) {
            return false;
        }
        if committed.len() >= COMMITS {
            committed.clear();
        }
        committed.insert(key, Committed { offset, at: now });
        true
    }
}

fn begin_below(limit: usize, under_way: &Rc<UnderWay>, what: &str) -> Result<OneUnderWay, Refusal> {
    if under_way.count() < limit {
        return Ok(under_way.begin());
    }
    let remark = format!("too many {what} of this connection are under way");
    Err(Refusal::new(ResponseCode::SystemBusy, remark))
}

/// # Errors
/// The client's id is too long.
pub(super) fn check_id(id: &str) -> Result<(), Refusal> {
    if id.len() <= ID_BYTES_MAX {
        return Ok(());
    }
    let remark = format!("the clientID has {} bytes, allowed are {ID_BYTES_MAX}", id.len());
    Err(Refusal::bad_input(ResponseCode::InvalidParameter, remark))
}
