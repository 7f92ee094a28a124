//! Who consumes in a group whose members divide its queues among themselves, as RocketMQ's do: the
//! broker only tells them who is there, and that it changed.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use hashbrown::HashMap;

use super::Broker;
use crate::base::ShardId;

/// A connection of a member, unlike any other of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// The connection's shard.
    pub shard: ShardId,
    /// Its number there.
    pub number: u64,
}

/// A member on its connection, and how that is told of changes: by the group's name.
struct Present {
    session: Session,
    changes: flume::Sender<Arc<str>>,
}

/// The members of a shard's groups, by their clients' ids.
#[derive(Default)]
pub(super) struct Presence(HashMap<Arc<str>, BTreeMap<Arc<str>, Present>>);

impl Presence {
    /// Tells the members of a group that there are others now. Who does not keep up has been told
    /// already.
    fn tell(&self, group: &Arc<str>) {
        for member in self.0.get(group).into_iter().flat_map(BTreeMap::values) {
            let _ = member.changes.try_send(Arc::clone(group));
        }
    }
}

impl Broker {
    /// A client consumes in a group that this shard owns. The others are told if it is new.
    pub fn enter_group(
        self: &Rc<Self>,
        group: Arc<str>,
        client: Arc<str>,
        session: Session,
        changes: flume::Sender<Arc<str>>,
    ) {
        let mut presence = self.presence.borrow_mut();
        let members = presence.0.entry(Arc::clone(&group)).or_default();
        let before = members.insert(client, Present { session, changes });
        if before.is_none() {
            presence.tell(&group);
        }
    }

    /// A client does not consume in a group any more, as far as this session goes: it may have come
    /// back on another one.
    pub fn leave_group(self: &Rc<Self>, group: &Arc<str>, client: &str, session: Session) {
        let mut presence = self.presence.borrow_mut();
        let Some(members) = presence.0.get_mut(group) else { return };
        if members.get(client).is_none_or(|member| member.session != session) {
            return;
        }
        members.remove(client);
        if members.is_empty() {
            presence.0.remove(group);
        }
        presence.tell(group);
    }

    /// The ids of the clients that consume in a group this shard owns, in order.
    #[must_use]
    pub fn group_clients(&self, group: &str) -> Vec<Arc<str>> {
        let presence = self.presence.borrow();
        presence.0.get(group).into_iter().flat_map(BTreeMap::keys).cloned().collect()
    }
}
