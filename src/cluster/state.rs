//! The state and how commands change it.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
};

use hashbrown::HashMap;

use super::{
    BrokerScope, ClusterError, Command, Configs, GroupConfig, Numbers, Setup, Topic, TopicSettings,
    topic_name,
};
use crate::base::{Position, QueueId, TopicId};

/// Topics, configs and producer ids, up to one position of the log.
///
/// Every shard holds its own copy and applies the same commands in log order; it never leaves its
/// core, but the topics in it are shared pointers that may.
#[derive(Clone, Debug)]
pub struct ClusterState {
    pub(super) setup: Setup,
    /// The last command's position.
    pub(super) applied: Option<Position>,
    pub(super) cluster_id: Option<Arc<str>>,
    pub(super) names: BTreeMap<Arc<str>, Arc<Topic>>,
    ids: HashMap<TopicId, Arc<Topic>>,
    /// Runs of queue numbers that lie on end in one topic, by their first. Far fewer than queues.
    runs: BTreeMap<QueueId, Run>,
    /// How many queues there are.
    queues: u32,
    /// Names that can collide, each after the form in which they would be equal.
    collisions: BTreeSet<(Box<str>, Arc<str>)>,
    pub(super) next_queue: u32,
    pub(super) next_producer_id: i64,
    pub(super) broker_configs: BTreeMap<BrokerScope, Configs>,
    pub(super) group_configs: BTreeMap<Arc<str>, Arc<GroupConfig>>,
    /// The config of groups that have none of their own.
    group_default: Arc<GroupConfig>,
    /// The settings of topics that set nothing themselves.
    settings: Arc<TopicSettings>,
}

/// Queues of one topic with numbers in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    topic: TopicId,
    first_partition: u32,
    count: u32,
}

/// What a command changed, so that queue owners can act and the asker can be answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Applied {
    /// Nothing: this copy already has the command.
    Replayed,
    /// Nothing: what the plan relied on was changed by a command before it.
    Refused(ClusterError),
    /// The cluster has its id.
    Named,
    /// A topic and all its queues are new.
    TopicCreated(Arc<Topic>),
    /// A topic and all its queues are gone.
    TopicDeleted(Arc<Topic>),
    /// A topic's partitions from this number on are new.
    PartitionsCreated(Arc<Topic>, usize),
    /// A topic's settings may differ.
    TopicAltered(Arc<Topic>),
    /// Every topic's settings may differ.
    BrokerAltered,
    /// A group's config may differ.
    GroupConfigured,
    /// The asker has these producer ids.
    ProducerIds {
        /// The first.
        first: i64,
        /// How many in a row.
        count: u32,
    },
}

impl Applied {
    /// Queues that are new.
    #[must_use]
    pub fn added(&self) -> &[QueueId] {
        match self {
            Self::TopicCreated(topic) => &topic.queues,
            Self::PartitionsCreated(topic, from) => &topic.queues[*from..],
            _ => &[],
        }
    }

    /// Queues that are gone.
    #[must_use]
    pub fn removed(&self) -> &[QueueId] {
        match self {
            Self::TopicDeleted(topic) => &topic.queues,
            _ => &[],
        }
    }
}

impl ClusterState {
    /// The state before the first command.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let mut state = Self {
            setup,
            applied: None,
            cluster_id: None,
            names: BTreeMap::new(),
            ids: HashMap::new(),
            runs: BTreeMap::new(),
            queues: 0,
            collisions: BTreeSet::new(),
            next_queue: 0,
            next_producer_id: 0,
            broker_configs: BTreeMap::new(),
            group_configs: BTreeMap::new(),
            group_default: Arc::default(),
            settings: Arc::new(TopicSettings::default()),
        };
        state.settings = Arc::new(state.read_settings(&Configs::new()));
        state
    }

    /// This node's number, limits and static configs.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Takes up a changed config of this node; every topic's settings may differ then.
    pub fn set_setup(&mut self, setup: Setup) {
        self.setup = setup;
        self.reread_settings();
    }

    /// This node's number.
    #[must_use]
    pub fn node_id(&self) -> i32 {
        self.setup.node_id
    }

    /// The cluster's id, once [`Command::NameCluster`] was applied.
    #[must_use]
    pub fn cluster_id(&self) -> Option<&Arc<str>> {
        self.cluster_id.as_ref()
    }

    /// The position of the last command applied.
    #[must_use]
    pub fn applied(&self) -> Option<Position> {
        self.applied
    }

    /// A topic by name.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.names.get(name)
    }

    /// A topic by id.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.ids.get(&id)
    }

    /// The topic and partition a queue is.
    #[must_use]
    pub fn queue(&self, queue: QueueId) -> Option<(&Arc<Topic>, i32)> {
        let (first, run) = self.runs.range(..=queue).next_back()?;
        let within = queue.0 - first.0;
        if within >= run.count {
            return None;
        }
        let partition = i32::try_from(run.first_partition + within).expect("below 2^24");
        Some((&self.ids[&run.topic], partition))
    }

    /// All topics by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.names.values()
    }

    /// Topics whose name is `name` or comes after it, in order.
    pub fn topics_from(&self, name: &str) -> impl Iterator<Item = &Arc<Topic>> {
        let from = (Bound::Included(name), Bound::Unbounded);
        self.names.range::<str, _>(from).map(|(_, topic)| topic)
    }

    /// A group's config in force; the default where it has none of its own.
    #[must_use]
    pub fn group_config(&self, group: &str) -> &Arc<GroupConfig> {
        self.group_configs.get(group).unwrap_or(&self.group_default)
    }

    /// The groups that have a config of their own, by name.
    #[must_use]
    pub fn group_configs(&self) -> &BTreeMap<Arc<str>, Arc<GroupConfig>> {
        &self.group_configs
    }

    /// How many queues there are.
    #[must_use]
    pub fn queue_count(&self) -> u32 {
        self.queues
    }

    /// The number the next new queue will have; all below are given, or were.
    #[must_use]
    pub fn next_queue(&self) -> QueueId {
        QueueId(self.next_queue)
    }

    /// The settings of a topic that sets nothing itself.
    #[must_use]
    pub fn default_settings(&self) -> &Arc<TopicSettings> {
        &self.settings
    }

    /// Applies the command at `position`, the position of its own frame: the next one must lie
    /// beyond. Skips what was applied before, so that replay may start anywhere at or before
    /// [`ClusterState::applied`].
    pub fn apply(&mut self, position: Position, command: &Command) -> Applied {
        if self.applied.is_some_and(|applied| position <= applied) {
            return Applied::Replayed;
        }
        self.applied = Some(position);
        self.change(command).unwrap_or_else(Applied::Refused)
    }

    /// Makes the next command give no number below `numbers`. Before each command of the log, so that
    /// a copy that misses earlier ones, because they are lost, gives the same numbers as the others.
    pub fn number_from(&mut self, numbers: Numbers) {
        self.next_queue = self.next_queue.max(numbers.queue.0);
        self.next_producer_id = self.next_producer_id.max(numbers.producer_id);
    }

    /// The numbers that the next command gives.
    #[must_use]
    pub fn numbers(&self) -> Numbers {
        Numbers { queue: self.next_queue(), producer_id: self.next_producer_id }
    }

    fn change(&mut self, command: &Command) -> Result<Applied, ClusterError> {
        match command {
            Command::NameCluster { cluster_id } => {
                self.cluster_id.get_or_insert_with(|| Arc::clone(cluster_id));
                Ok(Applied::Named)
            }
            Command::CreateTopic { id, name, collides, partitions, configs, created_ms } => {
                self.check_name_is_free(name, *collides)?;
                if self.ids.contains_key(id) {
                    return Err(ClusterError::TopicExists { name: Arc::clone(name) });
                }
                self.check_numbers(*partitions)?;
                let topic = Topic {
                    id: *id,
                    name: Arc::clone(name),
                    queues: self.number_queues(*id, 0, *partitions),
                    configs: configs.clone(),
                    settings: self.settings_for(configs),
                    created_ms: *created_ms,
                };
                Ok(Applied::TopicCreated(self.put(topic)))
            }
            Command::DeleteTopic { id } => {
                let topic = Arc::clone(self.known(*id)?);
                self.remove(&topic);
                Ok(Applied::TopicDeleted(topic))
            }
            Command::CreatePartitions { id, partitions } => {
                let topic = Arc::clone(self.known(*id)?);
                let from = topic.queues.len();
                let more = Self::check_growth(&topic, *partitions)?;
                self.check_numbers(more)?;
                let new = self.number_queues(*id, from as u32, more);
                let queues = [&topic.queues[..], &new[..]].concat().into();
                let topic = self.put(Topic { queues, ..(*topic).clone() });
                Ok(Applied::PartitionsCreated(topic, from))
            }
            Command::AlterTopicConfigs { id, set, remove } => {
                let topic = Arc::clone(self.known(*id)?);
                let mut configs = topic.configs.clone();
                alter(&mut configs, set, remove);
                let settings = self.settings_for(&configs);
                let topic = self.put(Topic { configs, settings, ..(*topic).clone() });
                Ok(Applied::TopicAltered(topic))
            }
            Command::AlterBrokerConfigs { scope, set, remove } => {
                let configs = self.broker_configs.entry(*scope).or_default();
                alter(configs, set, remove);
                if configs.is_empty() {
                    self.broker_configs.remove(scope);
                }
                self.reread_settings();
                Ok(Applied::BrokerAltered)
            }
            Command::AllocateProducerIds { count } => {
                let first = self.next_producer_id;
                self.next_producer_id =
                    first.checked_add(i64::from(*count)).expect("2^63 ids are never used up");
                Ok(Applied::ProducerIds { first, count: *count })
            }
            Command::SetGroupConfig { group, config } => {
                self.group_configs.insert(Arc::clone(group), Arc::new(config.clone()));
                Ok(Applied::GroupConfigured)
            }
            Command::RemoveGroupConfig { group } => {
                self.group_configs.remove(group);
                Ok(Applied::GroupConfigured)
            }
        }
    }

    /// Fails unless a new topic may have this name.
    pub(super) fn check_name_is_free(
        &self,
        name: &Arc<str>,
        collides: bool,
    ) -> Result<(), ClusterError> {
        if self.names.contains_key(name) {
            return Err(ClusterError::TopicExists { name: Arc::clone(name) });
        }
        match self.colliding(name) {
            Some(other) if collides => Err(ClusterError::InvalidName {
                name: Arc::clone(name),
                reason: format!("it collides with existing topic: {other}"),
            }),
            _ => Ok(()),
        }
    }

    /// The first existing name that collides with this one.
    fn colliding(&self, name: &str) -> Option<&Arc<str>> {
        let least = (topic_name::collision_key(name)?, Arc::from(""));
        let (key, other) = self.collisions.range(&least..).next()?;
        (*key == least.0).then_some(other)
    }

    /// How many queues a command would add.
    #[must_use]
    pub fn queues_added(&self, command: &Command) -> u32 {
        match command {
            Command::CreateTopic { partitions, .. } => *partitions,
            Command::CreatePartitions { id, partitions } => {
                let now = self.topic_by_id(*id).map_or(0, |topic| topic.queues.len() as u32);
                partitions.saturating_sub(now)
            }
            _ => 0,
        }
    }

    /// Fails unless this many new queues may be made under this broker's limits, beside those that
    /// commands on their way to the log will make. Asked before a command is appended and not when
    /// it is applied: what was applied once must apply again after the limits were lowered.
    pub fn check_room(&self, more: u32, on_their_way: u32) -> Result<(), ClusterError> {
        let limit = self.setup.limits.queues;
        let taken = u64::from(self.queues) + u64::from(on_their_way);
        if taken + u64::from(more) > u64::from(limit) {
            return Err(ClusterError::PolicyViolation {
                reason: format!(
                    "{more} more partitions would exceed this broker's limit of {limit}, {taken} \
                     exist."
                ),
            });
        }
        self.check_numbers(on_their_way.saturating_add(more))
    }

    /// Fails unless there are numbers left for this many new queues.
    fn check_numbers(&self, more: u32) -> Result<(), ClusterError> {
        if u64::from(self.next_queue) + u64::from(more) <= u64::from(QueueId::MAX.0) + 1 {
            return Ok(());
        }
        let reason = "the numbers for partitions ever created are used up.".to_owned();
        Err(ClusterError::PolicyViolation { reason })
    }

    /// How many partitions must be added; fails unless that is at least one.
    pub(super) fn check_growth(topic: &Topic, to: u32) -> Result<u32, ClusterError> {
        let now = topic.queues.len() as u32;
        if to <= now {
            let reason = if to == now {
                format!("Topic already has {now} partition(s).")
            } else {
                format!(
                    "The topic {} currently has {now} partition(s); {to} would not be an increase.",
                    topic.name
                )
            };
            return Err(ClusterError::InvalidPartitions { reason });
        }
        Ok(to - now)
    }

    fn known(&self, id: TopicId) -> Result<&Arc<Topic>, ClusterError> {
        self.ids.get(&id).ok_or(ClusterError::UnknownTopicId { id })
    }

    /// Gives the next numbers to new queues of a topic.
    fn number_queues(
        &mut self,
        topic: TopicId,
        first_partition: u32,
        count: u32,
    ) -> Box<[QueueId]> {
        let first = self.next_queue;
        self.next_queue += count;
        let queues: Box<[_]> = (first..self.next_queue).map(QueueId).collect();
        self.record_queues(topic, first_partition, &queues);
        queues
    }

    /// Enters queues into the reverse map, in runs.
    fn record_queues(&mut self, topic: TopicId, first_partition: u32, queues: &[QueueId]) {
        self.queues += queues.len() as u32;
        let mut partition = first_partition;
        for run in queues.chunk_by(|a, b| a.0 + 1 == b.0) {
            let count = run.len() as u32;
            self.runs.insert(run[0], Run { topic, first_partition: partition, count });
            partition += count;
        }
    }

    fn put(&mut self, topic: Topic) -> Arc<Topic> {
        let topic = Arc::new(topic);
        if let Some(key) = topic_name::collision_key(&topic.name) {
            self.collisions.insert((key, Arc::clone(&topic.name)));
        }
        self.names.insert(Arc::clone(&topic.name), Arc::clone(&topic));
        self.ids.insert(topic.id, Arc::clone(&topic));
        topic
    }

    /// Puts a topic of a snapshot in, whose queues have their numbers.
    pub(super) fn put_restored(&mut self, topic: Topic) {
        self.record_queues(topic.id, 0, &topic.queues);
        self.put(topic);
    }

    fn remove(&mut self, topic: &Topic) {
        self.names.remove(&topic.name);
        self.ids.remove(&topic.id);
        self.queues -= topic.queues.len() as u32;
        for run in topic.queues.chunk_by(|a, b| a.0 + 1 == b.0) {
            // A run of the topic may have been entered in parts; each part's first is in it.
            for queue in run {
                self.runs.remove(queue);
            }
        }
        if let Some(key) = topic_name::collision_key(&topic.name) {
            self.collisions.remove(&(key, Arc::clone(&topic.name)));
        }
    }

    /// The settings that follow from a topic's own configs.
    pub(super) fn settings_for(&self, configs: &Configs) -> Arc<TopicSettings> {
        if configs.is_empty() {
            return Arc::clone(&self.settings);
        }
        Arc::new(self.read_settings(configs))
    }

    fn read_settings(&self, configs: &Configs) -> TopicSettings {
        TopicSettings::read(|name| self.topic_value(configs, name).0)
    }

    /// Reads all settings again, after a broker config changed.
    pub(super) fn reread_settings(&mut self) {
        self.settings = Arc::new(self.read_settings(&Configs::new()));
        let topics: Vec<_> = self.names.values().cloned().collect();
        for topic in topics {
            let settings = self.settings_for(&topic.configs);
            if settings != topic.settings {
                self.put(Topic { settings, ..(*topic).clone() });
            }
        }
    }
}

fn alter(configs: &mut Configs, set: &Configs, remove: &[Arc<str>]) {
    remove.iter().for_each(|name| drop(configs.remove(name)));
    configs.extend(set.iter().map(|(name, value)| (Arc::clone(name), Arc::clone(value))));
}

/// Equal when the same commands were applied on nodes set up alike.
impl PartialEq for ClusterState {
    fn eq(&self, other: &Self) -> bool {
        self.setup == other.setup
            && self.applied == other.applied
            && self.cluster_id == other.cluster_id
            && self.names == other.names
            && self.ids == other.ids
            && self.queues == other.queues
            && self.next_queue == other.next_queue
            && self.next_producer_id == other.next_producer_id
            && self.broker_configs == other.broker_configs
            && self.group_configs == other.group_configs
            && self.settings == other.settings
            && self.topics().all(|topic| {
                topic.queues.iter().all(|&queue| self.queue(queue) == other.queue(queue))
            })
    }
}
