//! Other brokers that registered here, so that clients find queues wherever they are, as in
//! RocketMQ's `RouteInfoManager.java`. Nothing of it outlives a restart: brokers say it again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::base::ShardId;

/// Silence after which a broker is gone that did not say how long it may be silent.
const PATIENCE: Duration = Duration::from_secs(120);

/// Brokers at a time, with their replicas.
const BROKERS: usize = 1_024;

/// Topics of all of them, each counted once for each broker that has it.
const TOPICS: usize = 1_000_000;

/// Bytes of a name or an address. RocketMQ's groups have 255 at most, and their retry topics a few more.
const NAME_BYTES: usize = 512;

/// The id of the replica that writes.
const MASTER: i64 = 0;

/// The bit of a topic's `perm` that lets producers write.
pub const WRITE: i32 = 2;

/// Where a master is: for clients, and for its replicas.
pub type MasterAddresses = (Arc<str>, Arc<str>);

/// A broker's connection: its shard, and its number there.
pub type Link = (ShardId, u64);

/// What a broker has of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TopicQueues {
    /// Queues to read.
    pub read: i32,
    /// Queues to write.
    pub write: i32,
    /// Bits: 4 read, 2 write, 1 inherit.
    pub perm: i32,
    /// Bit 0 a unit topic, bit 1 a unit's subscription.
    pub sys_flag: i32,
}

impl TopicQueues {
    /// The same, not to be written.
    #[must_use]
    pub fn closed(self) -> Self {
        Self { perm: self.perm & !WRITE, ..self }
    }
}

/// Tells a broker's newer topics from its older ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TopicsVersion {
    /// Of the last change, ms since 1970.
    pub timestamp: i64,
    /// Counts the changes.
    pub counter: i64,
    /// The master's epoch.
    pub state: i64,
}

/// A broker says that it is there.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Its cluster.
    pub cluster: Arc<str>,
    /// Its name, which its replicas share.
    pub name: Arc<str>,
    /// Which replica it is; 0 writes.
    pub id: i64,
    /// `ip:port`, for clients.
    pub address: Arc<str>,
    /// `ip:port`, for its replicas.
    pub ha_address: Arc<str>,
    /// How long it may be silent.
    pub patience: Option<Duration>,
    /// Its topics, or those that changed. It does not say which are gone.
    pub topics: Vec<(Arc<str>, TopicQueues)>,
    /// Of its topics.
    pub version: TopicsVersion,
    /// The connection it says so on.
    pub link: Link,
}

/// Why a broker is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FleetError {
    /// There are as many as there may be.
    #[error("{BROKERS} brokers are registered already")]
    TooManyBrokers,
    /// What is kept of each is bounded too.
    #[error("a name or an address is longer than {NAME_BYTES} bytes")]
    NameTooLong,
    /// They have as many topics as they may.
    #[error("the registered brokers have {TOPICS} topics already")]
    TooManyTopics,
}

#[derive(Debug)]
struct Replica {
    address: Arc<str>,
    ha_address: Arc<str>,
    version: TopicsVersion,
    /// When it was heard last, on the monotonic clock.
    heard: Duration,
    patience: Duration,
    link: Link,
}

#[derive(Debug, Default)]
struct Member {
    cluster: Arc<str>,
    replicas: BTreeMap<i64, Replica>,
    topics: BTreeMap<Arc<str>, TopicQueues>,
    /// Producers do not find it.
    closed: bool,
}

impl Member {
    /// Whether it is of this cluster, if one is named.
    fn is_of(&self, cluster: Option<&str>) -> bool {
        cluster.is_none_or(|cluster| *self.cluster == *cluster)
    }
}

/// A broker as clients are told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownBroker {
    /// Its name.
    pub name: Arc<str>,
    /// Its cluster.
    pub cluster: Arc<str>,
    /// `ip:port` of its replicas; 0 writes.
    pub addresses: BTreeMap<i64, Arc<str>>,
}

/// The brokers that registered. Lives on the first shard.
#[derive(Debug, Default)]
pub struct Fleet {
    members: BTreeMap<Arc<str>, Member>,
    /// Producers do not find this broker itself.
    pub own_closed: bool,
}

impl Fleet {
    /// Takes a broker in, or hears of it again at `now`, on the monotonic clock. A replica is told
    /// its master's addresses.
    ///
    /// # Errors
    /// See [`FleetError`]; then nothing has changed.
    pub fn register(
        &mut self,
        now: Duration,
        broker: Registration,
    ) -> Result<Option<MasterAddresses>, FleetError> {
        self.expire(now);
        self.check_room(&broker)?;
        let Registration { cluster, name, id, address, ha_address, .. } = broker;
        let member = self.members.entry(name).or_default();
        member.cluster = cluster;
        // One that changed its role.
        member.replicas.retain(|other, replica| *other == id || replica.address != address);
        let (heard, version, link) = (now, broker.version, broker.link);
        let patience = broker.patience.unwrap_or(PATIENCE);
        let replica = Replica { address, ha_address, version, heard, patience, link };
        member.replicas.insert(id, replica);
        if id == MASTER {
            member.topics.extend(broker.topics);
            return Ok(None);
        }
        let master = member.replicas.get(&MASTER);
        Ok(master.map(|master| (Arc::clone(&master.address), Arc::clone(&master.ha_address))))
    }

    fn check_room(&self, broker: &Registration) -> Result<(), FleetError> {
        let names = [&broker.cluster, &broker.name, &broker.address, &broker.ha_address];
        let mut names = names.into_iter().chain(broker.topics.iter().map(|(name, _)| name));
        if names.any(|name| name.len() > NAME_BYTES) {
            return Err(FleetError::NameTooLong);
        }
        let known = self.members.get(&broker.name);
        let brokers: usize = self.members.values().map(|member| member.replicas.len()).sum();
        if brokers >= BROKERS && !known.is_some_and(|of| of.replicas.contains_key(&broker.id)) {
            return Err(FleetError::TooManyBrokers);
        }
        let is_new = |name: &Arc<str>| !known.is_some_and(|known| known.topics.contains_key(name));
        let more = broker.topics.iter().filter(|(name, _)| is_new(name)).count();
        let topics: usize = self.members.values().map(|member| member.topics.len()).sum();
        if topics + more > TOPICS {
            return Err(FleetError::TooManyTopics);
        }
        Ok(())
    }

    /// A broker goes by itself.
    pub fn unregister(&mut self, name: &str, id: i64, address: &str) {
        self.keep(|known, known_id, replica| {
            known != name || known_id != id || *replica.address != *address
        });
    }

    /// A connection has ended: so have the brokers that registered on it.
    pub fn leave(&mut self, link: Link) {
        self.keep(|_, _, replica| replica.link != link);
    }

    /// Forgets who has been silent for too long.
    pub fn expire(&mut self, now: Duration) {
        self.keep(|_, _, replica| now.saturating_sub(replica.heard) < replica.patience);
    }

    fn keep(&mut self, keep: impl Fn(&str, i64, &Replica) -> bool) {
        self.members.retain(|name, member| {
            member.replicas.retain(|id, replica| keep(name, *id, replica));
            !member.replicas.is_empty()
        });
    }

    /// A broker is there, and has nothing new. Returns its topics' version, if it is known.
    pub fn hear(&mut self, now: Duration, name: &str, address: &str) -> Option<TopicsVersion> {
        self.expire(now);
        let replicas = &mut self.members.get_mut(name)?.replicas;
        let replica = replicas.values_mut().find(|replica| *replica.address == *address)?;
        replica.heard = now;
        Some(replica.version)
    }

    /// Closes another broker to producers, or opens it again: until it is gone, whatever it says of its
    /// topics. Returns how many of them there are.
    pub fn set_closed(&mut self, name: &str, closed: bool) -> usize {
        let Some(member) = self.members.get_mut(name) else { return 0 };
        member.closed = closed;
        member.topics.len()
    }

    /// Who has a topic, and what of it.
    #[must_use]
    pub fn of_topic(&self, topic: &str) -> Vec<(KnownBroker, TopicQueues)> {
        let found = |(name, member): (&Arc<str>, &Member)| {
            let queues = *member.topics.get(topic)?;
            Some((known(name, member), if member.closed { queues.closed() } else { queues }))
        };
        self.members.iter().filter_map(found).collect()
    }

    /// Whether a broker of this cluster is there.
    #[must_use]
    pub fn has_cluster(&self, cluster: &str) -> bool {
        self.members.values().any(|member| *member.cluster == *cluster)
    }

    /// The topics of all brokers, or of those of one cluster.
    #[must_use]
    pub fn topics(&self, cluster: Option<&str>) -> BTreeSet<Arc<str>> {
        let members = self.members.values().filter(|member| member.is_of(cluster));
        members.flat_map(|member| member.topics.keys().cloned()).collect()
    }

    /// A topic is gone from all brokers, or from those of one cluster, as far as they do not register
    /// it once more.
    pub fn forget_topic(&mut self, topic: &str, cluster: Option<&str>) {
        for member in self.members.values_mut().filter(|member| member.is_of(cluster)) {
            member.topics.remove(topic);
        }
    }

    /// All brokers by name.
    #[must_use]
    pub fn brokers(&self) -> Vec<KnownBroker> {
        self.members.iter().map(|(name, member)| known(name, member)).collect()
    }
}

fn known(name: &Arc<str>, member: &Member) -> KnownBroker {
    let addresses = member.replicas.iter().map(|(id, replica)| (*id, Arc::clone(&replica.address)));
    KnownBroker {
        name: Arc::clone(name),
        cluster: Arc::clone(&member.cluster),
        addresses: addresses.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUES: TopicQueues = TopicQueues { read: 8, write: 8, perm: 6, sys_flag: 0 };

    fn broker(name: &str, id: i64, topics: &[&str]) -> Registration {
        Registration {
            cluster: "c".into(),
            name: name.into(),
            id,
            address: format!("10.0.0.{id}:10911").into(),
            ha_address: format!("10.0.0.{id}:10912").into(),
            patience: None,
            topics: topics.iter().map(|topic| ((*topic).into(), QUEUES)).collect(),
            version: TopicsVersion { counter: 7, ..TopicsVersion::default() },
            link: (ShardId(0), id as u64),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn brokers_are_known_while_they_are_heard() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.register(at(1), broker("a", 0, &["t"])), Ok(None));
        let quick = Registration { patience: Some(at(5)), ..broker("b", 0, &["t", "u"]) };
        fleet.register(at(1), quick).unwrap();
        assert_eq!((fleet.of_topic("t").len(), fleet.of_topic("u").len()), (2, 1));
        assert_eq!(fleet.hear(at(5), "b", "10.0.0.0:10911").unwrap().counter, 7);
        fleet.expire(at(9));
        assert_eq!(fleet.brokers().len(), 2);
        fleet.expire(at(10));
        assert_eq!(fleet.brokers().len(), 1);
        assert_eq!(fleet.hear(at(120), "a", "10.0.0.0:1"), None, "another one");
        fleet.expire(at(121));
        assert!(fleet.brokers().is_empty() && fleet.of_topic("t").is_empty());
    }

    #[test]
    fn replicas_know_their_master_and_tell_no_topics() {
        let mut fleet = Fleet::default();
        assert_eq!(fleet.register(at(1), broker("a", 1, &["u"])), Ok(None));
        fleet.register(at(1), broker("a", 0, &["t"])).unwrap();
        let master = fleet.register(at(1), broker("a", 1, &["u"])).unwrap().unwrap();
        assert_eq!((&*master.0, &*master.1), ("10.0.0.0:10911", "10.0.0.0:10912"));
        assert_eq!(fleet.of_topic("u"), []);
        let [(known, queues)] = &fleet.of_topic("t")[..] else { panic!("one broker has it") };
        assert_eq!((known.addresses.len(), *queues), (2, QUEUES));
        // What changed is told alone.
        fleet.register(at(2), broker("a", 0, &["v"])).unwrap();
        assert_eq!((fleet.of_topic("t").len(), fleet.of_topic("v").len()), (1, 1));
        // The replica becomes the master.
        let promoted = Registration { id: 0, ..broker("a", 1, &[]) };
        fleet.register(at(3), promoted).unwrap();
        assert_eq!(fleet.brokers()[0].addresses.len(), 1);
    }

    #[test]
    fn they_go_by_themselves_or_with_their_connection() {
        let mut fleet = Fleet::default();
        fleet.register(at(1), broker("a", 0, &["t"])).unwrap();
        fleet.register(at(1), broker("a", 1, &[])).unwrap();
        fleet.unregister("a", 1, "10.0.0.9:10911");
        fleet.leave((ShardId(1), 1));
        assert_eq!(fleet.brokers()[0].addresses.len(), 2);
        fleet.unregister("a", 1, "10.0.0.1:10911");
        assert_eq!(fleet.brokers()[0].addresses.len(), 1);
        fleet.leave((ShardId(0), 0));
        assert!(fleet.brokers().is_empty());
    }

    #[test]
    fn closed_brokers_are_found_by_consumers_alone() {
        let mut fleet = Fleet::default();
        fleet.register(at(1), broker("a", 0, &["t", "u"])).unwrap();
        fleet.register(at(1), broker("b", 0, &["t"])).unwrap();
        assert_eq!((fleet.set_closed("a", true), fleet.set_closed("c", true)), (2, 0));
        let perms = |fleet: &Fleet| -> Vec<i32> {
            fleet.of_topic("t").iter().map(|(_, queues)| queues.perm).collect()
        };
        assert_eq!(perms(&fleet), [4, 6]);
        fleet.register(at(2), broker("a", 0, &["t"])).unwrap();
        assert_eq!(perms(&fleet), [4, 6], "it is not opened by what it says");
        assert_eq!(fleet.set_closed("a", false), 2);
        assert_eq!(perms(&fleet), [6, 6]);
    }

    #[test]
    fn topics_are_listed_and_forgotten_by_cluster() {
        let mut fleet = Fleet::default();
        fleet.register(at(1), broker("a", 0, &["t", "u"])).unwrap();
        let other = Registration { cluster: "d".into(), ..broker("b", 0, &["t", "v"]) };
        fleet.register(at(1), other).unwrap();
        let topics = |fleet: &Fleet, cluster| -> Vec<String> {
            fleet.topics(cluster).iter().map(ToString::to_string).collect()
        };
        assert_eq!(topics(&fleet, None), ["t", "u", "v"]);
        assert_eq!(topics(&fleet, Some("d")), ["t", "v"]);
        assert!(fleet.has_cluster("c") && !fleet.has_cluster("e"));
        fleet.forget_topic("t", Some("d"));
        fleet.forget_topic("u", Some("d"));
        assert_eq!((fleet.of_topic("t").len(), fleet.of_topic("u").len()), (1, 1));
        fleet.forget_topic("t", None);
        assert_eq!(topics(&fleet, None), ["u", "v"]);
        // The broker has it after all.
        fleet.register(at(2), broker("a", 0, &["t"])).unwrap();
        assert_eq!(fleet.of_topic("t").len(), 1);
    }

    #[test]
    fn what_is_kept_of_each_is_bounded() {
        let mut fleet = Fleet::default();
        let longest = "n".repeat(NAME_BYTES);
        fleet.register(at(1), broker("a", 0, &[&longest])).unwrap();
        let longer = longest + "n";
        let long: Arc<str> = longer.as_str().into();
        for refused in [
            broker(&longer, 0, &[]),
            broker("a", 0, &[&longer]),
            Registration { cluster: Arc::clone(&long), ..broker("a", 0, &[]) },
            Registration { address: Arc::clone(&long), ..broker("a", 0, &[]) },
            Registration { ha_address: long, ..broker("a", 0, &[]) },
        ] {
            assert_eq!(fleet.register(at(1), refused), Err(FleetError::NameTooLong));
        }
    }

    #[test]
    fn there_are_bounds() {
        let mut fleet = Fleet::default();
        for id in 0..BROKERS as i64 {
            fleet.register(at(1), broker("a", id, &[])).unwrap();
        }
        fleet.register(at(1), broker("a", 0, &[])).unwrap();
        let refused = fleet.register(at(1), broker("b", 0, &[]));
        assert_eq!(refused, Err(FleetError::TooManyBrokers));
        let many = |from: usize, to: usize| (from..to).map(|n| (n.to_string().into(), QUEUES));
        let full = Registration { topics: many(0, TOPICS).collect(), ..broker("a", 0, &[]) };
        fleet.register(at(1), full.clone()).unwrap();
        fleet.register(at(1), full).unwrap();
        let more = Registration { topics: many(0, TOPICS + 1).collect(), ..broker("a", 0, &[]) };
        assert_eq!(fleet.register(at(1), more), Err(FleetError::TooManyTopics));
    }
}
