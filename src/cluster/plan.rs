//! From a request to a command: what is checked before anything is written.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    BrokerScope, ClusterError, ClusterState, Command, Configs, GroupConfig, Naming, TIMERS_TOPIC,
    Topic,
    broker_config::broker_config,
    config_def::{ConfigDef, Kind, parse_list},
    group_config,
    topic_config::{topic_config, validate_topic_configs},
};
use crate::base::TopicId;

/// A topic asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: Arc<str>,
    /// Whose rule the name follows.
    pub naming: Naming,
    /// How many partitions; -1: as many as the broker's `num.partitions` says.
    pub partitions: i32,
    /// Replicas of each partition; -1: the broker's default.
    pub replication_factor: i16,
    /// The brokers of each partition, by its number. Not empty: the two counts must be -1.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Configs; one without a value is refused.
    pub configs: Vec<(Arc<str>, Option<Arc<str>>)>,
}

/// What to do to a config.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigOp {
    /// Put the value in place.
    Set,
    /// Take the config away.
    Delete,
    /// Add the value's parts to the list in force.
    Append,
    /// Take the value's parts from the list in force.
    Subtract,
}

/// One config's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigChange {
    /// The config's name.
    pub name: Arc<str>,
    /// What to do.
    pub op: ConfigOp,
    /// With what; deleting needs nothing.
    pub value: Option<Arc<str>>,
}

/// What a change does to a set of configs: put in place, taken away.
type Delta = (Configs, Vec<Arc<str>>);

impl ClusterState {
    /// Plans a topic. `id` is random, `now_ms` wall-clock milliseconds since 1970.
    pub fn plan_create_topic(
        &self,
        topic: &NewTopic,
        id: TopicId,
        now_ms: i64,
    ) -> Result<Command, ClusterError> {
        topic.naming.check(&topic.name)?;
        let collides = topic.naming.collides();
        self.check_name_is_free(&topic.name, collides)?;
        let partitions = self.count_partitions(topic)?;
        self.check_room(partitions, 0)?;
        let mut configs = Configs::new();
        for (name, value) in &topic.configs {
            let value = value.as_ref().ok_or_else(|| {
                let reason = format!("Null value not supported for topic configs: {name}");
                ClusterError::invalid_config(name, reason)
            })?;
            configs.insert(Arc::clone(name), Arc::clone(value));
        }
        self.validate_topic(&configs)?;
        let name = Arc::clone(&topic.name);
        Ok(Command::CreateTopic { id, name, collides, partitions, configs, created_ms: now_ms })
    }

    /// Plans the end of a topic.
    pub fn plan_delete_topic(&self, id: TopicId) -> Result<Command, ClusterError> {
        let topic = self.topic_by_id(id).ok_or(ClusterError::UnknownTopicId { id })?;
        check_not_own(topic)?;
        Ok(Command::DeleteTopic { id })
    }

    /// Plans more partitions: `total` in all. `assignments`, if given, has the brokers of each new
    /// partition.
    pub fn plan_create_partitions(
        &self,
        name: &str,
        total: i32,
        assignments: Option<&[Vec<i32>]>,
    ) -> Result<Command, ClusterError> {
        let topic = self.named(name)?;
        check_not_own(topic)?;
        let partitions = u32::try_from(total).unwrap_or(0);
        let more = Self::check_growth(topic, partitions)?;
        self.check_room(more, 0)?;
        self.check_topic_limit(partitions)?;
        if let Some(assignments) = assignments {
            if assignments.len() != more as usize {
                return Err(ClusterError::InvalidAssignment {
                    reason: format!(
                        "Attempted to add {more} additional partition(s), but only {} assignment(s) \
                         were specified.",
                        assignments.len()
                    ),
                });
            }
            assignments.iter().try_for_each(|brokers| self.check_replicas(brokers))?;
        }
        Ok(Command::CreatePartitions { id: topic.id, partitions })
    }

    /// Plans changes to a topic's configs.
    pub fn plan_alter_topic(
        &self,
        name: &str,
        changes: &[ConfigChange],
    ) -> Result<Command, ClusterError> {
        let topic = self.named(name)?;
        let inherited = |def: &ConfigDef| self.inherited_value(def.name).0.into_owned();
        let (set, remove) = fold(changes, &topic.configs, topic_config, inherited)?;
        self.check_altered(topic, &set, &remove)?;
        Ok(Command::AlterTopicConfigs { id: topic.id, set, remove })
    }

    /// Plans that a topic has these configs and no others.
    pub fn plan_replace_topic_configs(
        &self,
        name: &str,
        configs: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Result<Command, ClusterError> {
        let topic = self.named(name)?;
        let (set, remove) = replace(configs, &topic.configs)?;
        self.check_altered(topic, &set, &remove)?;
        Ok(Command::AlterTopicConfigs { id: topic.id, set, remove })
    }

    /// Plans changes to dynamic broker configs.
    pub fn plan_alter_broker(
        &self,
        scope: BrokerScope,
        changes: &[ConfigChange],
    ) -> Result<Command, ClusterError> {
        self.check_scope(scope)?;
        let none = Configs::new();
        let now = self.broker_configs.get(&scope).unwrap_or(&none);
        let inherited = |def: &ConfigDef| self.broker_value(def.name).unwrap_or("").to_owned();
        let (set, remove) = fold(changes, now, broker_config, inherited)?;
        check_dynamic(set.keys().chain(&remove))?;
        validate_broker(&set)?;
        Ok(Command::AlterBrokerConfigs { scope, set, remove })
    }

    /// Plans that a broker has these dynamic configs and no others.
    pub fn plan_replace_broker_configs(
        &self,
        scope: BrokerScope,
        configs: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Result<Command, ClusterError> {
        self.check_scope(scope)?;
        let none = Configs::new();
        let now = self.broker_configs.get(&scope).unwrap_or(&none);
        let (set, remove) = replace(configs, now)?;
        check_dynamic(set.keys())?;
        validate_broker(&set)?;
        Ok(Command::AlterBrokerConfigs { scope, set, remove })
    }

    /// Plans a group's config.
    pub fn plan_set_group_config(
        &self,
        group: &str,
        config: GroupConfig,
    ) -> Result<Command, ClusterError> {
        group_config::check_group_name(group)?;
        config.check()?;
        let limit = self.setup.limits.group_configs;
        let is_new = !self.group_configs.contains_key(group);
        if is_new && self.group_configs.len() >= limit as usize {
            let reason = format!("{limit} groups have a config, which is this broker's limit.");
            return Err(ClusterError::PolicyViolation { reason });
        }
        Ok(Command::SetGroupConfig { group: group.into(), config })
    }

    fn named(&self, name: &str) -> Result<&Arc<Topic>, ClusterError> {
        self.topic(name).ok_or_else(|| ClusterError::UnknownTopic { name: name.into() })
    }

    fn count_partitions(&self, topic: &NewTopic) -> Result<u32, ClusterError> {
        if !topic.assignments.is_empty() {
            return self.count_assigned(topic);
        }
        if !matches!(topic.replication_factor, 1 | -1) {
            return Err(ClusterError::InvalidReplication { requested: topic.replication_factor });
        }
        let partitions = match topic.partitions {
            -1 => self.broker_value("num.partitions").and_then(|value| value.trim().parse().ok()),
            count => u32::try_from(count).ok(),
        };
        match partitions {
            Some(count) if count > 0 => self.check_topic_limit(count).map(|()| count),
            _ => Err(ClusterError::InvalidPartitions {
                reason: "Number of partitions was set to an invalid non-positive value.".into(),
            }),
        }
    }

    fn count_assigned(&self, topic: &NewTopic) -> Result<u32, ClusterError> {
        let contradiction = |what| ClusterError::InvalidRequest {
            reason: format!(
                "A manual partition assignment was specified, but {what} was not set to -1."
            ),
        };
        if topic.replication_factor != -1 {
            return Err(contradiction("replication factor"));
        }
        if topic.partitions != -1 {
            return Err(contradiction("numPartitions"));
        }
        let mut assigned = BTreeMap::new();
        for (partition, brokers) in &topic.assignments {
            if assigned.insert(*partition, brokers).is_some() {
                let reason = format!(
                    "Found multiple manual partition assignments for partition {partition}"
                );
                return Err(ClusterError::InvalidAssignment { reason });
            }
            self.check_replicas(brokers)?;
        }
        if !assigned.keys().copied().eq(0..assigned.len() as i32) {
            let reason = "partitions should be a consecutive 0-based integer sequence";
            return Err(ClusterError::InvalidAssignment { reason: reason.into() });
        }
        let count = assigned.len() as u32;
        self.check_topic_limit(count).map(|()| count)
    }

    fn check_topic_limit(&self, partitions: u32) -> Result<(), ClusterError> {
        let limit = self.setup.limits.topic_partitions;
        if partitions <= limit {
            return Ok(());
        }
        let reason =
            format!("{partitions} partitions exceed this broker's limit of {limit} a topic.");
        Err(ClusterError::InvalidPartitions { reason })
    }

    /// An assignment must name this broker and no other.
    fn check_replicas(&self, brokers: &[i32]) -> Result<(), ClusterError> {
        let this = self.node_id();
        let reason = match brokers {
            [only] if *only == this => return Ok(()),
            [] => "The manual partition assignment includes an empty replica list.".to_owned(),
            _ => match brokers.iter().find(|&&broker| broker != this) {
                Some(other) => format!(
                    "The manual partition assignment includes broker {other}, but no such broker \
                     is registered."
                ),
                None => format!(
                    "The manual partition assignment includes the broker {this} more than once."
                ),
            },
        };
        Err(ClusterError::InvalidAssignment { reason })
    }

    fn check_scope(&self, scope: BrokerScope) -> Result<(), ClusterError> {
        match scope {
            BrokerScope::Node(node) if node != self.node_id() => {
                Err(ClusterError::UnknownNode { node, this: self.node_id() })
            }
            _ => Ok(()),
        }
    }

    fn validate_topic(&self, configs: &Configs) -> Result<(), ClusterError> {
        validate_topic_configs(configs, |def| self.inherited_value(def.name).0.into_owned())
    }

    /// Checks a topic's configs as they will be. Those already there are not checked again if
    /// they are unknown: a later version put them there.
    fn check_altered(
        &self,
        topic: &Topic,
        set: &Configs,
        remove: &[Arc<str>],
    ) -> Result<(), ClusterError> {
        let mut after = topic.configs.clone();
        after.retain(|name, _| topic_config(name).is_some() && !remove.contains(name));
        after.extend(set.clone());
        self.validate_topic(&after)
    }
}

/// Clients may look at the broker's own topics, and that is all.
fn check_not_own(topic: &Topic) -> Result<(), ClusterError> {
    if *topic.name != *TIMERS_TOPIC {
        return Ok(());
    }
    let reason = format!("Topic '{}' is the broker's own.", topic.name);
    Err(ClusterError::PolicyViolation { reason })
}

/// Folds changes into what is put in place and what is taken away.
fn fold(
    changes: &[ConfigChange],
    now: &Configs,
    find: impl Fn(&str) -> Option<&'static ConfigDef>,
    inherited: impl Fn(&ConfigDef) -> String,
) -> Result<Delta, ClusterError> {
    let (mut set, mut remove) = Delta::default();
    for ConfigChange { name, op, value } in changes {
        if set.contains_key(name) || remove.contains(name) {
            let reason = format!("Duplicate config key {name} in one request");
            return Err(ClusterError::InvalidRequest { reason });
        }
        if *op == ConfigOp::Delete {
            if find(name).is_none() && !now.contains_key(name) {
                let reason = format!("Unknown config name: {name}");
                return Err(ClusterError::invalid_config(name, reason));
            }
            remove.push(Arc::clone(name));
            continue;
        }
        let Some(value) = value else {
            let reason = format!("Null value not supported for config {name}");
            return Err(ClusterError::InvalidRequest { reason });
        };
        let value = match op {
            ConfigOp::Append | ConfigOp::Subtract => {
                let def = find(name).filter(|def| def.kind == Kind::List).ok_or_else(|| {
                    let reason = format!(
                        "Config value {op:?} is not allowed for config key: {name}, it is no list"
                    );
                    ClusterError::invalid_config(name, reason)
                })?;
                let base = now.get(name).map(|value| value.to_string());
                edit_list(&base.unwrap_or_else(|| inherited(def)), *op, value)
            }
            _ => Arc::clone(value),
        };
        set.insert(Arc::clone(name), value);
    }
    Ok((set, remove))
}

/// A list with parts added that it lacks, or taken away.
fn edit_list(base: &str, op: ConfigOp, value: &str) -> Arc<str> {
    let mut parts: Vec<&str> = parse_list(base).collect();
    for part in parse_list(value) {
        match op {
            ConfigOp::Append if parts.contains(&part) => {}
            ConfigOp::Append => parts.push(part),
            _ => parts.retain(|other| *other != part),
        }
    }
    parts.join(",").into()
}

fn replace(configs: &[(Arc<str>, Option<Arc<str>>)], now: &Configs) -> Result<Delta, ClusterError> {
    let mut set = Configs::new();
    for (name, value) in configs {
        let Some(value) = value else {
            let reason = format!("Null value not supported for config {name}");
            return Err(ClusterError::InvalidRequest { reason });
        };
        if set.insert(Arc::clone(name), Arc::clone(value)).is_some() {
            let reason = format!("Duplicate config key {name} in one request");
            return Err(ClusterError::InvalidRequest { reason });
        }
    }
    let remove = now.keys().filter(|name| !set.contains_key(*name)).cloned().collect();
    Ok((set, remove))
}

fn check_dynamic<'a>(mut names: impl Iterator<Item = &'a Arc<str>>) -> Result<(), ClusterError> {
    names.try_for_each(|name| match broker_config(name) {
        Some(def) if !def.dynamic => Err(ClusterError::invalid_config(
            name,
            format!(
                "Cannot update these configs dynamically: {name}. It changes with a restart, in what \
                 the broker is started with"
            ),
        )),
        _ => Ok(()),
    })
}

fn validate_broker(configs: &Configs) -> Result<(), ClusterError> {
    configs.iter().try_for_each(|(name, value)| match broker_config(name) {
        Some(def) => def.validate(value),
        None => Err(ClusterError::invalid_config(name, format!("Unknown broker config: {name}"))),
    })
}
