//! The state under plans, commands, replay and snapshots.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    base::{Position, QueueId, TopicId},
    config::{Config, Sources},
};

fn id(n: u8) -> TopicId {
    TopicId([n; 16])
}

fn text(text: &str) -> Arc<str> {
    text.into()
}

fn configs(pairs: &[(&str, &str)]) -> Configs {
    pairs.iter().map(|(name, value)| (text(name), text(value))).collect()
}

fn setup() -> Setup {
    let configs = configs(&[("num.partitions", "3"), ("log.retention.hours", "24")]);
    let limits = Limits { topic_partitions: 10, queues: 25, group_configs: 2 };
    Setup { node_id: 1, limits, configs }
}

fn new_topic(name: &str, partitions: i32) -> NewTopic {
    let name = text(name);
    NewTopic { name, partitions, replication_factor: -1, ..NewTopic::default() }
}

fn change(name: &str, op: ConfigOp, value: &str) -> ConfigChange {
    ConfigChange { name: text(name), op, value: Some(text(value)) }
}

/// A state that gives each command the next position.
struct Log {
    state: ClusterState,
    end: u64,
}

impl Log {
    fn new() -> Self {
        Self { state: ClusterState::new(setup()), end: 0 }
    }

    fn apply(&mut self, command: &Command) -> Applied {
        self.end += 1;
        self.state.apply(Position(self.end), command)
    }

    fn create(&mut self, n: u8, topic: &NewTopic) -> Result<Arc<Topic>, ClusterError> {
        let command = self.state.plan_create_topic(topic, id(n), 7)?;
        match self.apply(&command) {
            Applied::TopicCreated(topic) => Ok(topic),
            Applied::Refused(error) => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn topics_come_grow_and_go() {
    let mut log = Log::new();
    let a = log.create(1, &new_topic("a", -1)).unwrap();
    assert_eq!(*a.queues, [QueueId(0), QueueId(1), QueueId(2)], "num.partitions is 3");
    log.create(2, &new_topic("b", 1)).unwrap();

    let grow = log.state.plan_create_partitions("a", 5, Some(&[vec![1], vec![1]])).unwrap();
    let grown = log.apply(&grow);
    assert_eq!(grown.added(), [QueueId(4), QueueId(5)]);
    let a = Arc::clone(log.state.topic("a").unwrap());
    assert_eq!((a.queue(3), a.queue(5), a.queue(-1)), (Some(QueueId(4)), None, None));
    let (topic, partition) = log.state.queue(QueueId(5)).unwrap();
    assert_eq!((&*topic.name, partition), ("a", 4));
    assert_eq!(log.state.queue(QueueId(3)).unwrap().0.id, id(2));
    assert_eq!(log.state.queue(QueueId(6)), None);

    let delete = log.state.plan_delete_topic(id(1)).unwrap();
    assert_eq!(log.apply(&delete).removed().len(), 5);
    assert_eq!(log.apply(&delete), Applied::Refused(ClusterError::UnknownTopicId { id: id(1) }));
    assert_eq!((log.state.topic("a"), log.state.queue(QueueId(0))), (None, None));
    assert_eq!(log.state.queue_count(), 1);
    let again = log.create(3, &new_topic("a", 1)).unwrap();
    assert_eq!(*again.queues, [QueueId(6)], "numbers are never reused");
    let names: Vec<_> = log.state.topics_from("aa").map(|topic| &*topic.name).collect();
    assert_eq!(names, ["b"]);
}

#[test]
fn what_cannot_be_created_is_refused() {
    use ClusterError::*;
    let mut log = Log::new();
    log.create(1, &new_topic("a.b", 1)).unwrap();
    let plan = |topic: NewTopic| log.state.plan_create_topic(&topic, id(9), 0).unwrap_err();
    assert!(matches!(plan(new_topic("a.b", 1)), TopicExists { .. }));
    assert!(matches!(plan(new_topic("a_b", 1)), InvalidName { .. }), "a collision");
    assert!(matches!(plan(new_topic("a b", 1)), InvalidName { .. }));
    assert!(matches!(plan(new_topic("c", 0)), InvalidPartitions { .. }));
    assert!(matches!(plan(new_topic("c", -2)), InvalidPartitions { .. }));
    assert!(matches!(plan(new_topic("c", 11)), InvalidPartitions { .. }));
    let three = NewTopic { replication_factor: 3, ..new_topic("c", 1) };
    assert!(matches!(plan(three), InvalidReplication { requested: 3 }));

    let assigned = |partitions, assignments: &[(i32, &[i32])]| NewTopic {
        assignments: assignments.iter().map(|(p, brokers)| (*p, brokers.to_vec())).collect(),
        ..new_topic("c", partitions)
    };
    assert!(matches!(plan(assigned(2, &[(0, &[1])])), InvalidRequest { .. }));
    for bad in [&[(0, &[2][..])][..], &[(0, &[])], &[(1, &[1])], &[(0, &[1]), (0, &[1])]] {
        assert!(matches!(plan(assigned(-1, bad)), InvalidAssignment { .. }), "{bad:?}");
    }
    let good = assigned(-1, &[(1, &[1]), (0, &[1])]);
    let command = log.state.plan_create_topic(&good, id(9), 0).unwrap();
    assert!(matches!(command, Command::CreateTopic { partitions: 2, .. }));

    let with = |name: &str, value: Option<&str>| NewTopic {
        configs: vec![(text(name), value.map(text))],
        ..new_topic("c", 1)
    };
    for (name, value) in [
        ("nonsense", Some("1")),
        ("retention.ms", Some("soon")),
        ("retention.ms", None),
        ("remote.storage.enable", Some("true")),
    ] {
        assert!(matches!(plan(with(name, value)), InvalidConfig { .. }), "{name}");
    }

    (2..4).for_each(|n| drop(log.create(n, &new_topic(&format!("t{n}"), 10)).unwrap()));
    let full = log.state.plan_create_topic(&new_topic("c", 5), id(9), 0);
    assert!(matches!(full, Err(PolicyViolation { .. })), "25 queues are the limit");
    let full = log.state.plan_create_partitions("a.b", 6, None);
    assert!(matches!(full, Err(PolicyViolation { .. })));
}

#[test]
fn a_plan_that_came_too_late_is_refused_alike_everywhere() {
    let mut log = Log::new();
    let first = log.state.plan_create_topic(&new_topic("a.b", 2), id(1), 0).unwrap();
    let same = log.state.plan_create_topic(&new_topic("a.b", 2), id(2), 0).unwrap();
    let colliding = log.state.plan_create_topic(&new_topic("a_b", 2), id(3), 0).unwrap();
    log.apply(&first);
    assert!(matches!(log.apply(&same), Applied::Refused(ClusterError::TopicExists { .. })));
    assert!(matches!(log.apply(&colliding), Applied::Refused(ClusterError::InvalidName { .. })));
    assert_eq!(log.state.next_queue(), QueueId(2), "a refused command takes no numbers");
}

#[test]
fn lowered_limits_do_not_undo_what_was_created() {
    let mut log = Log::new();
    let command = log.state.plan_create_topic(&new_topic("a", 9), id(1), 0).unwrap();
    log.apply(&command);
    let mut lower = setup();
    lower.limits = Limits { topic_partitions: 1, queues: 1, group_configs: 1 };
    let mut restarted = ClusterState::new(lower);
    restarted.apply(Position(1), &command);
    assert_eq!(restarted.topic("a").unwrap().partitions(), 9);
}

#[test]
fn settings_follow_topic_over_broker_over_default() {
    let mut log = Log::new();
    log.create(1, &new_topic("a", 1)).unwrap();
    let own =
        NewTopic { configs: vec![(text("retention.ms"), Some(text("5")))], ..new_topic("b", 1) };
    log.create(2, &own).unwrap();
    let retention = |log: &Log, name| log.state.topic(name).unwrap().settings.retention_ms;
    assert_eq!(retention(&log, "a"), Some(24 * 3_600_000), "log.retention.hours, static");
    assert_eq!(retention(&log, "b"), Some(5));

    let alter = |log: &mut Log, scope, changes: &[ConfigChange]| {
        let command = log.state.plan_alter_broker(scope, changes).unwrap();
        assert_eq!(log.apply(&command), Applied::BrokerAltered);
    };
    alter(&mut log, BrokerScope::Default, &[change("log.retention.ms", ConfigOp::Set, "77")]);
    assert_eq!((retention(&log, "a"), retention(&log, "b")), (Some(77), Some(5)));
    alter(&mut log, BrokerScope::Node(1), &[change("log.retention.ms", ConfigOp::Set, "-1")]);
    assert_eq!(retention(&log, "a"), None);
    alter(&mut log, BrokerScope::Node(1), &[change("log.retention.ms", ConfigOp::Delete, "")]);
    assert_eq!(retention(&log, "a"), Some(77));

    let command = log
        .state
        .plan_alter_topic(
            "a",
            &[
                change("cleanup.policy", ConfigOp::Append, "compact"),
                change("mainstem.flush", ConfigOp::Set, "async"),
            ],
        )
        .unwrap();
    log.apply(&command);
    let a = log.state.topic("a").unwrap();
    assert_eq!(a.configs[&text("cleanup.policy")], text("delete,compact"));
    assert!(a.settings.compact && a.settings.flush == Some(FlushMode::Async));
    let command = log
        .state
        .plan_alter_topic("a", &[change("cleanup.policy", ConfigOp::Subtract, "delete")])
        .unwrap();
    log.apply(&command);
    assert_eq!(retention(&log, "a"), None, "nothing is deleted by age");

    let refused = log.state.plan_alter_topic("a", &[change("retention.ms", ConfigOp::Append, "1")]);
    assert!(matches!(refused, Err(ClusterError::InvalidConfig { .. })), "not a list");
    for (name, value) in [("node.id", "2"), ("what.is.it", "1"), ("log.retention.bytes", "x")] {
        let refused = log
            .state
            .plan_alter_broker(BrokerScope::Default, &[change(name, ConfigOp::Set, value)]);
        assert!(matches!(refused, Err(ClusterError::InvalidConfig { .. })), "{name}");
    }
    let replaced = log
        .state
        .plan_replace_topic_configs("a", &[(text("retention.ms"), Some(text("9")))])
        .unwrap();
    log.apply(&replaced);
    assert_eq!(log.state.topic("a").unwrap().configs, configs(&[("retention.ms", "9")]));
}

#[test]
fn lags_that_contradict_are_refused() {
    let log = Log::new();
    let mut topic = new_topic("a", 1);
    topic.configs = vec![
        (text("min.compaction.lag.ms"), Some(text("10"))),
        (text("max.compaction.lag.ms"), Some(text("5"))),
    ];
    let refused = log.state.plan_create_topic(&topic, id(1), 0);
    assert!(matches!(refused, Err(ClusterError::InvalidConfig { .. })));
}

#[test]
fn descriptions_say_where_a_value_comes_from() {
    let mut log = Log::new();
    let own = NewTopic {
        configs: vec![(text("max.message.bytes"), Some(text("5")))],
        ..new_topic("a", 1)
    };
    let topic = log.create(1, &own).unwrap();
    let all = log.state.describe_topic(&topic, |_| true);
    assert_eq!(all.len(), 42, "Kafka's 33 without the internal one, and ours");
    let find = |name: &str| all.iter().find(|entry| &*entry.name == name).unwrap();
    let size = find("max.message.bytes");
    assert_eq!((size.value.as_deref(), size.source), (Some("5"), ConfigSource::Topic));
    let sources: Vec<_> = size.synonyms.iter().map(|s| (&*s.name, s.source)).collect();
    assert_eq!(
        sources,
        [("max.message.bytes", ConfigSource::Topic), ("message.max.bytes", ConfigSource::Default)]
    );
    let age = find("retention.ms");
    assert_eq!((age.value.as_deref(), age.source), (Some("86400000"), ConfigSource::Static));
    assert_eq!(age.synonyms[0].value.as_deref(), Some("24"));

    let broker = log.state.describe_broker(|name| name == "num.partitions");
    assert_eq!((broker.len(), broker[0].value.as_deref()), (1, Some("3")));
    assert!(broker[0].read_only && broker[0].source == ConfigSource::Static);
    let command = log.state.plan_alter_broker(
        BrokerScope::Default,
        &[change("message.max.bytes", ConfigOp::Set, "9")],
    );
    log.apply(&command.unwrap());
    let everywhere = log.state.describe_all_brokers(|_| true);
    assert_eq!(everywhere.len(), 1);
    assert_eq!(everywhere[0].source, ConfigSource::AllBrokers);
}

#[test]
fn tables_are_sorted_and_their_defaults_valid() {
    for table in [topic_config::TOPIC_CONFIGS, broker_config::BROKER_CONFIGS] {
        assert!(table.is_sorted_by(|a, b| a.name < b.name));
        for def in table {
            let valid = def.default.is_none_or(|default| def.validate(default).is_ok());
            assert!(valid, "{}", def.name);
            for synonym in def.synonyms {
                assert!(broker_config::broker_config(synonym.name).is_some(), "{}", synonym.name);
            }
        }
    }
}

#[test]
fn the_nodes_config_is_shown_under_kafkas_names() {
    let mut config = Config::load(&Sources::default()).unwrap();
    config.node.rack = "r".to_owned();
    config.topic.retention_ms = 7;
    let setup = Setup::of(&config, ("::1", 9092));
    for (name, value) in &setup.configs {
        let def = broker_config::broker_config(name).unwrap_or_else(|| panic!("{name}"));
        assert_eq!(def.validate(value), Ok(()));
    }
    let mut state = ClusterState::new(setup);
    assert_eq!(state.broker_value("advertised.listeners"), Some("PLAINTEXT://[::1]:9092"));
    assert_eq!(state.default_settings().retention_ms, Some(7));
    let topic = state.setup().configs.keys().filter(|name| name.starts_with("log.ret"));
    assert_eq!(topic.count(), 2, "retention.bytes has its default; the time and its check differ");
    config.topic.retention_ms = -1;
    state.set_setup(Setup::of(&config, ("::1", 9092)));
    assert_eq!(state.default_settings().retention_ms, None);
}

#[test]
fn values_are_checked_as_kafka_does() {
    let check = |name, value| topic_config::topic_config(name).unwrap().validate(value).is_ok();
    for (name, value) in [
        ("cleanup.policy", ""),
        ("cleanup.policy", " compact , delete "),
        ("retention.ms", " 5 "),
        ("retention.ms", "+5"),
        ("retention.bytes", "-5"),
        ("preallocate", "TRUE"),
        ("min.cleanable.dirty.ratio", ".5"),
        ("compression.gzip.level", "-1"),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", "0:1,1:2"),
        ("leader.replication.throttled.replicas", ""),
    ] {
        assert!(check(name, value), "{name}={value}");
    }
    for (name, value) in [
        ("cleanup.policy", "none"),
        ("cleanup.policy", "Compact"),
        ("cleanup.policy", "compact,"),
        ("retention.ms", "-2"),
        ("retention.ms", ""),
        ("preallocate", "yes"),
        ("min.cleanable.dirty.ratio", "1.1"),
        ("compression.gzip.level", "0"),
        ("compression.type", ""),
        ("compression.zstd.level", "23"),
        ("max.message.bytes", "2147483648"),
        ("max.message.bytes", "1.5"),
        ("message.timestamp.type", "createtime"),
        ("segment.bytes", "100"),
        ("leader.replication.throttled.replicas", "x"),
        ("mainstem.flush", "sometimes"),
    ] {
        assert!(!check(name, value), "{name}={value}");
    }
}

#[test]
fn damaged_bytes_are_errors() {
    let command = Command::DeleteTopic { id: id(1) };
    let bytes = command.encode();
    assert_eq!(Command::decode(&bytes), Ok(command));
    assert!(matches!(Command::decode(&[]), Err(DecodeError::Empty { .. })));
    assert!(matches!(Command::decode(&[9, 0]), Err(DecodeError::UnknownVersion { .. })));
    assert!(Command::decode(&bytes[..bytes.len() - 1]).is_err());
    assert!(Command::decode(&[&bytes[..], &[0]].concat()).is_err());
    let huge = [1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
    assert!(Command::decode(&huge).is_err());
    assert!(ClusterState::restore(setup(), &huge).is_err());
}

fn any_name() -> impl Strategy<Value = Arc<str>> {
    prop::sample::select(vec!["a", "b", "a.b", "a_b", "%RETRY%g"]).prop_map(text)
}

fn any_configs() -> impl Strategy<Value = Configs> {
    let pair = prop::sample::select(vec![
        ("retention.ms", "5"),
        ("retention.ms", "6"),
        ("mainstem.flush", "async"),
        ("max.message.bytes", "100"),
        ("of.a.later.version", "x"),
    ]);
    prop::collection::vec(pair, 0..3).prop_map(|pairs| configs(&pairs))
}

fn any_command() -> impl Strategy<Value = Command> {
    let topic = (0..6u8).prop_map(id);
    let scope = prop_oneof![Just(BrokerScope::Default), (0..3).prop_map(BrokerScope::Node)];
    let broker = prop::sample::select(vec![
        ("log.retention.ms", "8"),
        ("log.retention.hours", "2"),
        ("message.max.bytes", "9"),
    ]);
    let broker = prop::collection::vec(broker, 0..2).prop_map(|pairs| configs(&pairs));
    let remove = || {
        prop::collection::vec(prop::sample::select(vec!["retention.ms", "log.retention.ms"]), 0..2)
            .prop_map(|names| names.into_iter().map(text).collect::<Vec<_>>())
    };
    prop_oneof![
        4 => (topic.clone(), any_name(), any::<bool>(), 1..5u32, any_configs(), any::<i64>()).prop_map(
            |(id, name, collides, partitions, configs, created_ms)| Command::CreateTopic {
                id, name, collides, partitions, configs, created_ms
            }
        ),
        2 => topic.clone().prop_map(|id| Command::DeleteTopic { id }),
        2 => (topic.clone(), 1..9u32)
            .prop_map(|(id, partitions)| Command::CreatePartitions { id, partitions }),
        2 => (topic, any_configs(), remove())
            .prop_map(|(id, set, remove)| Command::AlterTopicConfigs { id, set, remove }),
        1 => (scope, broker, remove())
            .prop_map(|(scope, set, remove)| Command::AlterBrokerConfigs { scope, set, remove }),
        1 => (1..1000u32).prop_map(|count| Command::AllocateProducerIds { count }),
        1 => (any_name(), any::<bool>()).prop_map(|(group, consume_enable)| {
            let config = GroupConfig { consume_enable, ..GroupConfig::default() };
            Command::SetGroupConfig { group, config }
        }),
        1 => any_name().prop_map(|group| Command::RemoveGroupConfig { group }),
        1 => prop::sample::select(vec!["x", "y"])
            .prop_map(|name| Command::NameCluster { cluster_id: text(name) }),
    ]
}

/// The invariants that hold after every command.
fn check(state: &ClusterState) {
    let mut count = 0;
    for topic in state.topics() {
        assert_eq!(state.topic_by_id(topic.id), Some(topic));
        assert_eq!(*topic.settings, *state.settings_for(&topic.configs));
        for (partition, &queue) in topic.queues.iter().enumerate() {
            assert_eq!(state.queue(queue), Some((topic, partition as i32)));
            assert!(queue < state.next_queue());
        }
        count += topic.queues.len() as u32;
    }
    assert_eq!(state.queue_count(), count);
    let found = (0..state.next_queue).filter(|&queue| state.queue(QueueId(queue)).is_some());
    assert_eq!(found.count() as u32, count, "numbers of deleted queues lead nowhere");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn copies_agree_through_replay_and_restore(
        commands in prop::collection::vec(any_command(), 0..60),
        cut in any::<prop::sample::Index>(),
        back in any::<prop::sample::Index>(),
    ) {
        let positions = || (0u64..).map(|n| Position(n * 100));
        let mut state = ClusterState::new(setup());
        let mut copy = ClusterState::new(setup());
        let cut = cut.index(commands.len() + 1);
        let mut taken = state.snapshot();
        let mut given = 0;
        for (n, (position, command)) in positions().zip(&commands).enumerate() {
            let decoded = Command::decode(&command.encode()).unwrap();
            prop_assert_eq!(&decoded, command);
            let applied = state.apply(position, command);
            for queue in applied.added() {
                prop_assert!(queue.0 >= given, "a queue number is reused");
                given = queue.0 + 1;
            }
            prop_assert_eq!(applied, copy.apply(position, &decoded));
            check(&state);
            if n + 1 == cut {
                taken = state.snapshot();
            }
        }
        prop_assert_eq!(&state, &copy);
        prop_assert_eq!(&ClusterState::restore(setup(), &state.snapshot()).unwrap(), &state);

        // Replay from any place at or before the snapshot's.
        let mut restored = ClusterState::restore(setup(), &taken).unwrap();
        let from = back.index(cut + 1);
        for (position, command) in positions().zip(&commands).skip(from) {
            restored.apply(position, command);
        }
        prop_assert_eq!(&restored, &state);
        prop_assert_eq!(restored.snapshot(), state.snapshot());

        // Any prefix twice is the same as once.
        let before = state.clone();
        for (position, command) in positions().zip(&commands).take(cut) {
            prop_assert_eq!(state.apply(position, command), Applied::Replayed);
        }
        prop_assert_eq!(&state, &before);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = [&[1u8][..], &bytes].concat();
        drop(Command::decode(&bytes));
        drop(ClusterState::restore(setup(), &bytes));
    }
}

#[test]
fn a_copy_that_misses_commands_gives_the_same_numbers() {
    let create = |n: u8, partitions| Command::CreateTopic {
        id: id(n),
        name: text(&format!("topic-{n}")),
        collides: false,
        partitions,
        configs: Configs::new(),
        created_ms: 0,
    };
    let commands = [
        create(1, 3),
        create(2, 4),
        Command::CreatePartitions { id: id(1), partitions: 5 },
        Command::AllocateProducerIds { count: 1000 },
        // Refused: it takes numbers all the same.
        create(1, 2),
        create(3, 1),
        Command::AllocateProducerIds { count: 1000 },
    ];
    let mut ordered = Vec::new();
    let mut ahead = Numbers::default();
    for command in &commands {
        ordered.push((ahead, command));
        ahead = ahead.behind(command);
    }
    let replay = |missing: Option<usize>| {
        let mut state = ClusterState::new(setup());
        let mut applied = Vec::new();
        for (at, (numbers, command)) in ordered.iter().enumerate() {
            if Some(at) != missing {
                state.number_from(*numbers);
                applied.push(state.apply(Position(at as u64 + 1), command));
            }
        }
        (state, applied)
    };
    let (whole, all) = replay(None);
    for missing in 0..commands.len() {
        let (state, applied) = replay(Some(missing));
        let last = state.topic("topic-3").map(|topic| &topic.queues);
        if missing != 5 {
            assert_eq!(last, whole.topic("topic-3").map(|topic| &topic.queues), "{missing}");
        }
        if missing != 6 {
            assert_eq!(applied.last(), all.last(), "{missing}");
        }
    }
}
