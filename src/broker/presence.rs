//! Who consumes in a group whose members divide its queues among themselves, as RocketMQ's do: the
//! broker only tells them who is there, and that it changed. And who produces in a group.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use hashbrown::HashMap;

use super::Broker;
use crate::{
    base::ShardId,
    cluster::Topic,
    wire::rocketmq::body::{Connection, ConsumerData},
};

/// A connection of a member, unlike any other of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The connection's shard.
    pub shard: ShardId,
    /// Its number there.
    pub number: u64,
}

/// What a consumer's client is told without having asked.
#[derive(Clone, Debug)]
pub enum Notice {
    /// Others came to this group, or went.
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

/// A group's producers on their connections, by client id.
type Producers = BTreeMap<Arc<str>, (Session, Arc<Connection>)>;

/// A shard's groups: their members by client id, and their producers.
#[derive(Default)]
pub(super) struct Presence {
    consumers: HashMap<Arc<str>, BTreeMap<Arc<str>, Member>>,
    producers: HashMap<Arc<str>, Producers>,
}

impl Presence {
    fn members(&self, group: &str) -> impl Iterator<Item = &Member> {
        self.consumers.get(group).into_iter().flat_map(BTreeMap::values)
    }
}

impl Broker {
    /// Tells the members of a group that there are others now. Who does not keep up has been told
    /// already.
    fn tell_members(&self, group: &Arc<str>) {
        if self.cluster().group_config(group).notify_members {
            for member in self.presence.borrow().members(group) {
                let _ = member.notices.try_send(Notice::Members(Arc::clone(group)));
            }
        }
    }

    /// A client consumes in a group that this shard owns. The others are told if it is new.
    pub fn enter_group(self: &Rc<Self>, group: Arc<str>, client: Arc<str>, member: Member) {
        let before = {
            let consumers = &mut self.presence.borrow_mut().consumers;
            consumers.entry(Arc::clone(&group)).or_default().insert(client, member)
        };
        if before.is_none() {
            self.tell_members(&group);
        }
    }

    /// A client does not consume in a group any more, as far as this session goes: it may have come
    /// back on another one.
    pub fn leave_group(self: &Rc<Self>, group: &Arc<str>, client: &str, session: Session) {
        {
            let consumers = &mut self.presence.borrow_mut().consumers;
            let Some(members) = consumers.get_mut(group) else { return };
            if members.get(client).is_none_or(|member| member.session != session) {
                return;
            }
            members.remove(client);
            if members.is_empty() {
                consumers.remove(group);
            }
        }
        self.tell_members(group);
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

    /// The members of a group this shard owns, by their clients' ids.
    #[must_use]
    pub fn group_members(&self, group: &str) -> Vec<Member> {
        self.presence.borrow().members(group).cloned().collect()
    }

    /// The groups of this shard that consume a topic, or have committed offsets of it.
    pub fn groups_of(self: &Rc<Self>, topic: &Topic) -> BTreeSet<Arc<str>> {
        let mut found: BTreeSet<_> =
            self.with_groups(|groups, _| groups.with_offsets_of(topic.id).cloned().collect());
        let presence = self.presence.borrow();
        let subscribes = |member: &Member| {
            let topics = &member.consumer.subscription_data_set;
            topics.iter().any(|subscription| *subscription.topic == *topic.name)
        };
        let online = presence.consumers.iter().filter(|(_, all)| all.values().any(subscribes));
        found.extend(online.map(|(group, _)| Arc::clone(group)));
        found
    }

    /// The ids of the clients that consume in a group this shard owns, in order.
    #[must_use]
    pub fn group_clients(&self, group: &str) -> Vec<Arc<str>> {
        let presence = self.presence.borrow();
        presence.consumers.get(group).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }
}
