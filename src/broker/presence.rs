//! Who consumes in a group whose members divide its queues among themselves, as RocketMQ's do, and what
//! the group wants: the broker tells the members who is there, and that it changed. And who produces
//! in a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{Broker, filter::Filter, group::GroupError};
use crate::{
    base::ShardId,
    cluster::Topic,
    wire::rocketmq::body::{Connection, ConsumeType, ConsumerData},
};

/// A connection of a member, unlike any other of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Session {
    /// The connection's shard.
    pub shard: ShardId,
    /// Its number there.
    pub number: u64,
}

/// What a consumer's client is told without having asked.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Others came to this group, or went, or it wants something else.
    Members(Arc<str>),
    /// An administrator said where the group goes on in a topic.
    Offsets {
        /// The group.
        group: Arc<str>,
        /// The topic.
        topic: Arc<str>,
        /// Its partitions' new offsets.
        offsets: Arc<[(i32, i64)]>,
    },
}

/// What a group wants of a topic.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// Counts the group's changes of mind: the newest one holds for all members.
    pub version: i64,
    /// These messages, or why there can be none.
    pub filter: Result<Arc<Filter>, String>,
}

/// What a group wants, by topic.
pub type Subscriptions = BTreeMap<Arc<str>, Subscription>;

/// A consumer of a group, on its connection.
#[derive(Clone, Debug)]
pub struct Member {
    /// The connection.
    pub session: Session,
    /// How its client is told.
    pub notices: flume::Sender<Notice>,
    /// What is known of its client.
    pub connection: Arc<Connection>,
    /// What it said of its part in the group.
    pub consumer: Arc<ConsumerData>,
}

/// A client says that it consumes in a group.
#[derive(Debug)]
pub struct Attendance {
    /// The group.
    pub group: Arc<str>,
    /// The client's id.
    pub client: Arc<str>,
    /// Where it connects from.
    pub host: Arc<str>,
    /// What is known of it.
    pub member: Member,
    /// Everything that it wants in this group.
    pub subscriptions: Subscriptions,
}

/// Why a group's subscription cannot be gone by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubscriptionError {
    /// The group is not to be consumed in like this.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// Nobody consumes in the group.
    #[error("nobody consumes in the group")]
    NoMembers,
    /// The group does not want anything of the topic.
    #[error("the group does not subscribe the topic")]
    NoSubscription,
    /// The client knows of a newer one than the broker.
    #[error("the subscription is not the latest one")]
    NotLatest,
    /// It asks for what there is not.
    #[error("{0}")]
    Unserved(String),
}

/// A group's members, by their clients' ids and connections, and what they want. Clients of Java's that
/// broadcast share an id, all on a machine.
#[derive(Default)]
struct Attended {
    members: BTreeMap<(Arc<str>, Session), Member>,
    subscriptions: Subscriptions,
}

impl Attended {
    /// Takes over what one member wants, as RocketMQ does: newer versions replace older ones, and what
    /// it does not want any more nobody wants. Returns whether topics came or went: of another version
    /// alone nobody is told, since clients make one whenever they were given other queues.
    fn subscribe(&mut self, wanted: Subscriptions) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|topic, _| wanted.contains_key(topic));
        let mut changed = self.subscriptions.len() != before;
        for (topic, subscription) in wanted {
            let known = self.subscriptions.get(&topic);
            changed |= known.is_none();
            if known.is_none_or(|known| known.version < subscription.version) {
                self.subscriptions.insert(topic, subscription);
            }
        }
        changed
    }
}

/// A group's producers on their connections, by client id.
type Producers = BTreeMap<Arc<str>, (Session, Arc<Connection>)>;

/// A shard's groups: who consumes in them, and who produces.
#[derive(Default)]
pub(super) struct Presence {
    consumers: HashMap<Arc<str>, Attended>,
    producers: HashMap<Arc<str>, Producers>,
}

impl Presence {
    fn members(&self, group: &str) -> impl Iterator<Item = (&Arc<str>, &Member)> {
        let members = self.consumers.get(group).into_iter().flat_map(|group| &group.members);
        members.map(|((client, _), member)| (client, member))
    }
}

impl Broker {
    /// Tells the members of a group that something changed, unless its config is against it. Who does
    /// not keep up has been told already.
    fn tell_members(&self, group: &Arc<str>) {
        if self.cluster().group_config(group).notify_members {
            for (_, member) in self.presence.borrow().members(group) {
                let _ = member.notices.try_send(Notice::Members(Arc::clone(group)));
            }
        }
    }

    /// A client consumes in a group that this shard owns, or still does. All members are told if it
    /// is new, or if what the group wants has changed.
    ///
    /// # Errors
    /// See [`Groups::attend`](super::group::Groups::attend).
    pub fn enter_group(self: &Rc<Self>, attendance: Attendance) -> Result<(), GroupError> {
        let Attendance { group, client, host, member, subscriptions } = attendance;
        self.with_groups(|groups, at| groups.attend(at, &group, &client, &host))?;
        let changed = {
            let consumers = &mut self.presence.borrow_mut().consumers;
            let attended = consumers.entry(Arc::clone(&group)).or_default();
            let is_new = attended.members.insert((client, member.session), member).is_none();
            attended.subscribe(subscriptions) || is_new
        };
        if changed {
            self.tell_members(&group);
        }
        Ok(())
    }

    /// A client does not consume in a group any more, as far as this session goes: it may have come
    /// back on another one, and another client may have the same id.
    pub fn leave_group(self: &Rc<Self>, group: &Arc<str>, client: &str, session: Session) {
        let is_last = {
            let consumers = &mut self.presence.borrow_mut().consumers;
            let Some(attended) = consumers.get_mut(group) else { return };
            if attended.members.remove(&(client.into(), session)).is_none() {
                return;
            }
            let is_last = attended.members.keys().all(|(other, _)| &**other != client);
            if attended.members.is_empty() {
                consumers.remove(group);
            }
            is_last
        };
        self.tell_members(group);
        if is_last {
            self.with_groups(|groups, at| groups.depart(at, group, client));
        }
    }

    /// A client produces in a group that this shard owns.
    pub fn enter_producers(&self, group: Arc<str>, session: Session, connection: Arc<Connection>) {
        let producers = &mut self.presence.borrow_mut().producers;
        let client = connection.client_id.as_str().into();
        producers.entry(group).or_default().insert(client, (session, connection));
    }

    /// A client does not produce in a group any more, as far as this session goes.
    pub fn leave_producers(&self, group: &str, client: &str, session: Session) {
        let producers = &mut self.presence.borrow_mut().producers;
        let Some(members) = producers.get_mut(group) else { return };
        if members.get(client).is_some_and(|(at, _)| *at == session) {
            members.remove(client);
        }
        if members.is_empty() {
            producers.remove(group);
        }
    }

    /// The clients that produce in a group this shard owns.
    #[must_use]
    pub fn group_producers(&self, group: &str) -> Vec<Arc<Connection>> {
        let presence = self.presence.borrow();
        let producers = presence.producers.get(group).into_iter().flat_map(BTreeMap::values);
        producers.map(|(_, connection)| Arc::clone(connection)).collect()
    }

    /// The clients that produce in the groups this shard owns.
    #[must_use]
    pub fn producers(&self) -> Vec<(Arc<str>, Vec<Arc<Connection>>)> {
        let presence = self.presence.borrow();
        let members = |producers: &Producers| {
            producers.values().map(|(_, connection)| Arc::clone(connection)).collect()
        };
        let groups = presence.producers.iter();
        groups.map(|(group, producers)| (Arc::clone(group), members(producers))).collect()
    }

    /// The members of a group this shard owns, in the order of their clients' ids.
    #[must_use]
    pub fn group_members(&self, group: &str) -> Vec<Member> {
        self.presence.borrow().members(group).map(|(_, member)| member.clone()).collect()
    }

    /// Whether there are members of a group this shard owns and all of them pull by themselves: these
    /// pass over a notice of offsets, and go where the answer to a pull sends them.
    #[must_use]
    pub fn group_pulls_by_itself(&self, group: &str) -> bool {
        let pulls = |member: &Member| member.consumer.consume_type == ConsumeType::Actively;
        let presence = self.presence.borrow();
        presence.consumers.get(group).is_some_and(|group| group.members.values().all(pulls))
    }

    /// The ids of the clients that consume in a group this shard owns, in order.
    #[must_use]
    pub fn group_clients(&self, group: &str) -> Vec<Arc<str>> {
        let presence = self.presence.borrow();
        let clients: BTreeSet<_> = presence.members(group).map(|(client, _)| client).collect();
        clients.into_iter().map(Arc::clone).collect()
    }

    /// The groups of this shard that consume a topic, or have committed offsets of it.
    pub fn groups_of(self: &Rc<Self>, topic: &Topic) -> BTreeSet<Arc<str>> {
        let mut found: BTreeSet<_> =
            self.with_groups(|groups, _| groups.with_offsets_of(topic.id).cloned().collect());
        let presence = self.presence.borrow();
        let subscribes = |attended: &Attended| attended.subscriptions.contains_key(&*topic.name);
        let online = presence.consumers.iter().filter(|(_, attended)| subscribes(attended));
        found.extend(online.map(|(group, _)| Arc::clone(group)));
        found
    }

    /// What a group that this shard owns wants of a topic, as a client knows it that has heard of
    /// `version`.
    ///
    /// # Errors
    /// See [`SubscriptionError`].
    pub fn subscription(
        &self,
        group: &str,
        topic: &str,
        version: i64,
    ) -> Result<Arc<Filter>, SubscriptionError> {
        let presence = self.presence.borrow();
        let attended = presence.consumers.get(group).ok_or(SubscriptionError::NoMembers)?;
        let found = attended.subscriptions.get(topic).ok_or(SubscriptionError::NoSubscription)?;
        if found.version < version {
            return Err(SubscriptionError::NotLatest);
        }
        found.filter.clone().map_err(SubscriptionError::Unserved)
    }
}
