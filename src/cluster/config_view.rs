//! Configs as they are shown: the value in force, where it comes from, and what it hides.

use std::{borrow::Cow, sync::Arc};

use super::{
    BrokerScope, ClusterState, Configs, Topic,
    broker_config::{BROKER_CONFIGS, broker_config},
    config_def::{ConfigDef, Kind},
    topic_config::{TOPIC_CONFIGS, topic_config},
};

/// Where a value comes from, nearest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConfigSource {
    /// Set on the topic.
    Topic,
    /// Set on this broker while it runs.
    Broker,
    /// Set on all brokers while they run.
    AllBrokers,
    /// The config the broker was started with.
    Static,
    /// Nobody set it.
    Default,
}

/// One config that a value could come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigSynonym {
    /// The config's name, for instance `log.retention.hours` for the topic config `retention.ms`.
    pub name: Arc<str>,
    /// Its value in its own unit; `None` where it must not be shown.
    pub value: Option<Arc<str>>,
    /// Where it is set.
    pub source: ConfigSource,
}

/// One config with its value in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigEntry {
    /// Its name.
    pub name: Arc<str>,
    /// Its value; `None` where there is none or it must not be shown.
    pub value: Option<Arc<str>>,
    /// Its type.
    pub kind: Kind,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Whether its value must not be shown.
    pub sensitive: bool,
    /// All that gives it a value, the one in force first.
    pub synonyms: Vec<ConfigSynonym>,
    /// What it does.
    pub documentation: String,
}

impl ClusterState {
    /// A topic's configs by name, those that `wanted` takes.
    #[must_use]
    pub fn describe_topic(&self, topic: &Topic, wanted: impl Fn(&str) -> bool) -> Vec<ConfigEntry> {
        let listed = TOPIC_CONFIGS.iter().filter(|def| {
            wanted(def.name) && (!def.internal || topic.configs.contains_key(def.name))
        });
        let entry = |def: &ConfigDef| {
            let (value, source) = self.topic_value(&topic.configs, def.name);
            let mut entry = entry(def, Some(value), source);
            entry.synonyms = self.topic_synonyms(&topic.configs, def);
            entry
        };
        // Configs that only a later version knows are shown as they are.
        let unknown = topic.configs.iter().filter(|(name, _)| topic_config(name).is_none());
        let unknown = unknown.filter(|(name, _)| wanted(name));
        listed.map(entry).chain(unknown.map(|(name, value)| strange(name, value))).collect()
    }

    /// This broker's configs by name, those that `wanted` takes.
    #[must_use]
    pub fn describe_broker(&self, wanted: impl Fn(&str) -> bool) -> Vec<ConfigEntry> {
        let listed = BROKER_CONFIGS.iter().filter(|def| wanted(def.name));
        let entry = |def: &ConfigDef| {
            let synonyms = self.broker_synonyms(def.name);
            let (value, source) = match synonyms.first() {
                Some(first) => (first.value.as_deref().map(Cow::Borrowed), first.source),
                None => (None, ConfigSource::Default),
            };
            ConfigEntry { synonyms: synonyms.clone(), ..entry(def, value, source) }
        };
        let others = self.setup.configs.iter().filter(|(name, _)| broker_config(name).is_none());
        let others = others.filter(|(name, _)| wanted(name)).map(|(name, value)| ConfigEntry {
            source: ConfigSource::Static,
            read_only: true,
            ..strange(name, value)
        });
        listed.map(entry).chain(others).collect()
    }

    /// What is set for all brokers while they run, those that `wanted` takes.
    #[must_use]
    pub fn describe_all_brokers(&self, wanted: impl Fn(&str) -> bool) -> Vec<ConfigEntry> {
        let set = self.broker_configs.get(&BrokerScope::Default).into_iter().flatten();
        let entry = |(name, value): (&Arc<str>, &Arc<str>)| {
            let source = ConfigSource::AllBrokers;
            let mut entry = match broker_config(name) {
                Some(def) => entry(def, Some(Cow::Borrowed(value)), source),
                None => ConfigEntry { source, ..strange(name, value) },
            };
            entry.synonyms =
                vec![ConfigSynonym { name: Arc::clone(name), value: entry.value.clone(), source }];
            entry
        };
        set.filter(|(name, _)| wanted(name)).map(entry).collect()
    }

    /// The value in force of a broker config, if it has one.
    #[must_use]
    pub fn broker_value<'a>(&'a self, name: &str) -> Option<&'a str> {
        let set = self.set_broker_values(name).next().map(|(value, _)| &**value);
        set.or_else(|| broker_config(name)?.default)
    }

    /// The value in force of a topic config and its source, given the topic's own configs.
    pub(super) fn topic_value<'a>(
        &'a self,
        configs: &'a Configs,
        name: &str,
    ) -> (Cow<'a, str>, ConfigSource) {
        if let Some(value) = configs.get(name) {
            return (Cow::Borrowed(value), ConfigSource::Topic);
        }
        self.inherited_value(name)
    }

    /// The value a topic config has when the topic does not set it.
    pub(super) fn inherited_value(&self, name: &str) -> (Cow<'_, str>, ConfigSource) {
        let def = topic_config(name);
        for synonym in def.map_or(&[][..], |def| def.synonyms) {
            if let Some((value, source)) = self.set_broker_values(synonym.name).next() {
                return (Cow::Owned(synonym.convert(value)), source);
            }
        }
        let default = def.and_then(|def| def.default).unwrap_or_default();
        (Cow::Borrowed(default), ConfigSource::Default)
    }

    /// Where a broker config is set, nearest first.
    fn set_broker_values(&self, name: &str) -> impl Iterator<Item = (&Arc<str>, ConfigSource)> {
        let dynamic = |scope| self.broker_configs.get(&scope)?.get(name);
        let own = dynamic(BrokerScope::Node(self.setup.node_id));
        let own = own.map(|value| (value, ConfigSource::Broker));
        let all = dynamic(BrokerScope::Default).map(|value| (value, ConfigSource::AllBrokers));
        let fixed = self.setup.configs.get(name).map(|value| (value, ConfigSource::Static));
        own.into_iter().chain(all).chain(fixed)
    }

    fn topic_synonyms(&self, configs: &Configs, def: &ConfigDef) -> Vec<ConfigSynonym> {
        let own = configs.get(def.name).map(|value| ConfigSynonym {
            name: def.name.into(),
            value: Some(Arc::clone(value)),
            source: ConfigSource::Topic,
        });
        let inherited = def.synonyms.iter().flat_map(|synonym| self.broker_synonyms(synonym.name));
        let mut all: Vec<_> = own.into_iter().chain(inherited).collect();
        // Of two broker configs the first one set wins, before the default of either.
        all.sort_by_key(|synonym| synonym.source == ConfigSource::Default);
        all
    }

    fn broker_synonyms(&self, name: &str) -> Vec<ConfigSynonym> {
        let def = broker_config(name);
        let shown = |value: &str| {
            (def.map(|def| def.kind) != Some(Kind::Password)).then(|| Arc::from(value))
        };
        let of =
            |value: &str, source| ConfigSynonym { name: name.into(), value: shown(value), source };
        let set = self.set_broker_values(name).map(|(value, source)| of(value, source));
        let default = def.and_then(|def| def.default);
        set.chain(default.map(|value| of(value, ConfigSource::Default))).collect()
    }
}

fn entry(def: &ConfigDef, value: Option<Cow<'_, str>>, source: ConfigSource) -> ConfigEntry {
    let sensitive = def.kind == Kind::Password;
    ConfigEntry {
        name: def.name.into(),
        value: value.filter(|_| !sensitive).map(Arc::from),
        kind: def.kind,
        source,
        read_only: !def.dynamic,
        sensitive,
        synonyms: Vec::new(),
        documentation: def.documentation(),
    }
}

/// A config that no table knows.
fn strange(name: &Arc<str>, value: &Arc<str>) -> ConfigEntry {
    ConfigEntry {
        name: Arc::clone(name),
        value: Some(Arc::clone(value)),
        kind: Kind::String,
        source: ConfigSource::Topic,
        read_only: false,
        sensitive: false,
        synonyms: Vec::new(),
        documentation: String::new(),
    }
}
