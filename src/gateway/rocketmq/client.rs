//! What is known of the client at the other end of a connection.

use std::{
    cell::{Cell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
};

use hashbrown::{HashMap, HashSet};

use super::{Gateway, commits::Commits, pull::Wanted, refusal::Refusal};
use crate::{
    broker::{Member, Notice, Session},
    wire::rocketmq::{
        ResponseCode, Serialization,
        body::{Connection, ConsumerData, MessageModel},
    },
};

/// Notices that wait to be told to one client; who is in its group it asks by itself every 20 s
/// anyway.
const NOTICES: usize = 64;

/// Most groups, and most topics in all of them, that one connection may consume.
const SUBSCRIPTIONS_MAX: usize = 10_000;

/// The names of a group and of a topic that it consumes.
type GroupAndTopic = (Arc<str>, Arc<str>);

/// A client, as far as it has told of itself on this connection.
pub(super) struct Client {
    pub peer: SocketAddr,
    pub session: Session,
    pub notices: flume::Sender<Notice>,
    /// Its commits that are not durable yet.
    pub commits: Rc<Commits>,
    /// Requests that are worked on beside the others.
    pub under_way: Cell<usize>,
    serialization: Cell<Serialization>,
    /// The groups it consumes in, and under which client id.
    groups: RefCell<HashSet<(Arc<str>, Arc<str>)>>,
    /// The groups it produces in, and under which client id.
    producing: RefCell<HashSet<(Arc<str>, Arc<str>)>>,
    /// The groups in which it gets every message.
    broadcasting: RefCell<HashSet<Arc<str>>>,
    /// What it wants, by group and topic.
    filters: RefCell<HashMap<GroupAndTopic, Wanted>>,
}

impl Client {
    pub(super) fn new(gateway: &Gateway, peer: SocketAddr) -> (Self, flume::Receiver<Notice>) {
        let number = gateway.connections.get();
        gateway.connections.set(number + 1);
        let (notices, told) = flume::bounded(NOTICES);
        let client = Self {
            peer,
            session: Session { shard: gateway.broker.shard(), number },
            notices,
            commits: Rc::default(),
            under_way: Cell::default(),
            serialization: Cell::default(),
            groups: RefCell::default(),
            producing: RefCell::default(),
            broadcasting: RefCell::default(),
            filters: RefCell::default(),
        };
        (client, told)
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
    /// In too many of them.
    pub(super) async fn enter(
        &self,
        gateway: &Gateway,
        connection: &Arc<Connection>,
        consumer: ConsumerData,
    ) -> Result<(), Refusal> {
        let (group, id): (Arc<str>, Arc<str>) =
            (consumer.group_name.as_str().into(), connection.client_id.as_str().into());
        enter_set(&self.groups, &group, &id)?;
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
        let broker = &gateway.broker;
        let entered = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.enter_group(group, id, member) })
        });
        Ok(entered.await?)
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
        enter_set(&self.producing, &group, &id)?;
        let (session, connection) = (self.session, Arc::clone(connection));
        let broker = &gateway.broker;
        let entered = broker.on(broker.group_owner(&group), move |owner| {
            Box::pin(async move { owner.enter_producers(group, session, connection) })
        });
        Ok(entered.await?)
    }

    /// It produces in a group no more.
    pub(super) async fn end_producing(&self, gateway: &Gateway, group: Arc<str>, id: Arc<str>) {
        self.producing.borrow_mut().remove(&(Arc::clone(&group), Arc::clone(&id)));
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
        self.groups.borrow_mut().remove(&(Arc::clone(&group), Arc::clone(&id)));
        self.filters.borrow_mut().retain(|(of, _), _| *of != group);
        self.broadcasting.borrow_mut().remove(&group);
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
        let groups: Vec<_> = self.groups.borrow().iter().cloned().collect();
        for (group, id) in groups {
            self.leave(gateway, group, id).await;
        }
        let producing: Vec<_> = self.producing.borrow().iter().cloned().collect();
        for (group, id) in producing {
            self.end_producing(gateway, group, id).await;
        }
    }

    /// What it wants of a topic in a group.
    ///
    /// # Errors
    /// It wants too many.
    pub(super) fn subscribe(
        &self,
        group: &Arc<str>,
        topic: &str,
        wanted: Wanted,
    ) -> Result<(), Refusal> {
        let what = (Arc::clone(group), topic.into());
        let mut filters = self.filters.borrow_mut();
        check_room(filters.len(), filters.contains_key(&what))?;
        filters.insert(what, wanted);
        Ok(())
    }

    /// Whether it gets every message in a group, as far as it has told on this connection.
    pub(super) fn broadcasts(&self, group: &str) -> bool {
        self.broadcasting.borrow().contains(group)
    }

    /// What it wants of a topic in a group, if it has told on this connection.
    pub(super) fn wanted(&self, group: &str, topic: &str) -> Option<Wanted> {
        self.filters.borrow().get(&(group.into(), topic.into())).cloned()
    }
}

/// Notes a group and a client id, unless there are too many.
fn enter_set(
    groups: &RefCell<HashSet<(Arc<str>, Arc<str>)>>,
    group: &Arc<str>,
    id: &Arc<str>,
) -> Result<(), Refusal> {
    let member = (Arc::clone(group), Arc::clone(id));
    let mut groups = groups.borrow_mut();
    check_room(groups.len(), groups.contains(&member))?;
    groups.insert(member);
    Ok(())
}

fn check_room(there: usize, known: bool) -> Result<(), Refusal> {
    if known || there < SUBSCRIPTIONS_MAX {
        return Ok(());
    }
    let remark = format!("a connection may have {SUBSCRIPTIONS_MAX} subscriptions");
    Err(Refusal::new(ResponseCode::SystemError, remark))
}
