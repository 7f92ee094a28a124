use std::{ffi::OsString, io::Write as _};

use super::*;

fn flags(settings: &[&str]) -> Sources {
    let mut sources = Sources::default();
    settings.iter().for_each(|setting| sources.assignment(setting).unwrap());
    sources
}

fn refusal(settings: &[&str]) -> String {
    Config::load(&flags(settings)).unwrap_err().to_string()
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn variable(name: &str, value: &str) -> (OsString, OsString) {
    (name.into(), value.into())
}

#[test]
fn development_mode_is_as_documented() {
    let config = Config::default();
    assert_eq!(config.data_dir, std::path::Path::new("./mainstem-data"));
    let log_dir = config.log_dir();
    assert!(log_dir.is_absolute() && log_dir.ends_with("mainstem-data/log"), "{log_dir:?}");
    assert_eq!(config.kafka.listen, Listen::At("127.0.0.1:9092".parse().unwrap()));
    assert_eq!(config.admin.listen, Listen::At("127.0.0.1:9644".parse().unwrap()));
    assert!(config.kafka.auto_create_topics);
    assert_eq!(config.log.flush, Flush::Sync);
    assert_eq!(config.log.inflight_bytes, 32 * MIB);
    assert_eq!(config.topic.retention_bytes, -1);
    assert_eq!(config.differences(), []);
    assert_eq!(Config::load(&Sources::default()), Ok(config));
}

#[test]
fn every_key_reads_what_it_shows_and_has_a_name_of_its_own() {
    let mut names = std::collections::HashSet::new();
    for key in KEYS {
        let mut config = Config::default();
        config.set(key.name, &key.default(), Origin::Request).unwrap();
        assert_eq!(config, Config::default(), "{}", key.name);
        assert!(names.insert(key.name), "{} is there twice", key.name);
        assert!(names.insert(key.variable().leak()), "{} is there twice", key.variable());
        assert!(key.meaning().ends_with('.'), "{}: {}", key.name, key.meaning());
        let section = key.section();
        assert!(!section.contains('_'), "unknown_variable() splits at the first underscore");
        assert!(section.is_empty() || SECTIONS.iter().any(|(name, _)| *name == section));
        let (text, markdown) = (text(), markdown());
        assert!(text.contains(&format!("\n{} = ", key.name)));
        assert!(markdown.contains(&format!("| `{}` | ", key.name)));
    }
}

#[test]
fn numbers_take_units() {
    let read = |setting: &str, key: &str| {
        Config::load(&flags(&[setting])).unwrap_or_else(|error| panic!("{error}")).get(key).unwrap()
    };
    assert_eq!(read("log.segment_bytes=64MiB", "log.segment_bytes"), "64MiB");
    assert_eq!(read("log.segment_bytes=67108864", "log.segment_bytes"), "64MiB");
    assert_eq!(read("log.segment_bytes = 65_536 kib", "log.segment_bytes"), "64MiB");
    assert_eq!(read("topic.retention_bytes=1GB", "topic.retention_bytes"), "1000000000");
    assert_eq!(read("topic.retention_bytes=-1", "topic.retention_bytes"), "-1");
    assert_eq!(read("topic.retention_ms=36h", "topic.retention_ms"), "36h");
    assert_eq!(read("topic.retention_ms=0", "topic.retention_ms"), "0");
    assert_eq!(read("kafka.idle_ms=1500", "kafka.idle_ms"), "1500ms");
    assert_eq!(read("kafka.idle_ms=2000000us", "kafka.idle_ms"), "2s");
    assert_eq!(read("shards.preempt_us=2ms", "shards.preempt_us"), "2ms");
}

#[test]
fn what_is_out_of_bounds_is_refused_by_name() {
    for (setting, part) in [
        ("log.segment_bytes=1MiB", "out of bounds: 16MiB..16GiB, multiple of 4KiB"),
        ("log.segment_bytes=16777217", "multiple of 4KiB"),
        ("log.segment_bytes=64M", "is not a number of bytes"),
        ("log.segment_bytes=99999999999999999999999999999999999999999", "is not a number"),
        ("log.segment_bytes=170141183460469231731687303715884105727TiB", "is not a number"),
        ("log.segment_bytes=", "is not a number"),
        ("topic.retention_ms=-2", "or -1 (never)"),
        ("topic.retention_ms=1week", "is not a duration"),
        ("kafka.idle_ms=1000001us", "not a whole number of ms"),
        ("kafka.auto_create_topics=yes", "neither true nor false"),
        ("log.flush=fast", "none of sync, async"),
        ("kafka.listen=localhost", "no listening address"),
        ("kafka.advertised=0.0.0.0:9092", "wildcard"),
        ("kafka.advertised=host:0", "no advertised address"),
        ("shards.cores=3-1", "no list of cores"),
        ("shards.cores=0-4000000000", "no list of cores"),
        ("shards.cores=1,0-2", "names a core twice"),
        ("telemetry.log=info,=", "no filter"),
        ("node.id=-1", "0..2147483647"),
        ("data_dir=", "is empty"),
    ] {
        let message = refusal(&[setting]);
        let key = setting.split('=').next().unwrap();
        assert!(message.starts_with(key) && message.contains(part), "{setting}: {message}");
        assert!(message.contains("(--set)"), "{message}");
    }
}

#[test]
fn what_contradicts_is_refused_by_name() {
    for (settings, key) in [
        (&["log.tail_bytes=16MiB", "log.block_bytes=4MiB"][..], "log.tail_bytes"),
        (&["log.inflight_bytes=65MiB"], "log.inflight_bytes"),
        (&["log.first_segment_bytes=256MiB"], "log.first_segment_bytes"),
        (&["log.segment_bytes=1GiB", "log.checkpoint_bytes=512MiB"], "log.checkpoint_bytes"),
        (&["log.max_bytes=64MiB"], "log.max_bytes"),
        (&["kafka.listen=0.0.0.0:9092"], "kafka.advertised"),
        (&["kafka.listen=[::]:0"], "kafka.advertised"),
        (&["admin.listen=127.0.0.1:9092"], "admin.listen"),
        (&["groups.min_session_timeout_ms=1h"], "groups.max_session_timeout_ms"),
        (&["topic.max_message_bytes=200MiB"], "topic.max_message_bytes"),
        (
            &["kafka.max_request_bytes=1GiB", "kafka.request_memory_bytes=256MiB"],
            "kafka.request_memory_bytes",
        ),
        (&["kafka.max_partitions=10", "kafka.num_partitions=11"], "kafka.num_partitions"),
        (&["shards.cores=0,1", "shards.count=3"], "shards.count"),
    ] {
        let message = refusal(settings);
        assert!(message.starts_with(&format!("{key}: ")), "{settings:?}: {message}");
    }
    let good = ["kafka.listen=0.0.0.0:0", "kafka.advertised=broker1"];
    Config::load(&flags(&good)).unwrap();
    Config::load(&flags(&["kafka.listen=off", "admin.listen=off"])).unwrap();
}

#[test]
fn defaults_fit_what_was_given() {
    let small = Config::load(&flags(&["log.tail_bytes=16MiB"])).unwrap();
    assert_eq!(small.log.inflight_bytes, 8 * MIB);
    let large = ["log.segment_bytes=1GiB", "kafka.max_request_bytes=512MiB"];
    let large = Config::load(&flags(&large)).unwrap();
    assert_eq!(large.log.checkpoint_bytes, GIB);
    assert_eq!(large.kafka.request_memory_bytes, 512 * MIB);
}

#[test]
fn the_tail_is_a_quarter_of_the_memory() {
    let tail = |memory_bytes, settings: &[&str]| {
        let sources = Sources { memory_bytes, ..flags(settings) };
        Config::load(&sources).unwrap().log.tail_bytes
    };
    assert_eq!(tail(None, &[]), 128 * MIB);
    assert_eq!(tail(Some(512 * MIB), &[]), 128 * MIB);
    assert_eq!(tail(Some(24 * GIB + 3), &[]), 6 * GIB);
    assert_eq!(tail(Some(16 * GIB - 1), &[]), 4 * GIB - 2 * MIB);
    assert_eq!(tail(Some(1024 * GIB), &[]), 32 * GIB);
    assert_eq!(tail(Some(24 * GIB), &["log.tail_bytes=256MiB"]), 256 * MIB);
}

#[test]
fn flags_outweigh_the_environment_and_that_the_file() {
    let file = file("[log]\nsegment_bytes = '32MiB'\nblock_bytes = 65536\nflush = 'async'\n");
    let mut sources = Sources {
        file: Some(file.path().to_owned()),
        environment: vec![
            variable("MAINSTEM_LOG_SEGMENT_BYTES", "64MiB"),
            variable("MAINSTEM_LOG_BLOCK_BYTES", "128KiB"),
            variable("PATH", "/bin"),
        ],
        ..Sources::default()
    };
    sources.flag("--flush", "log.flush", "sync");
    sources.assignment("log.segment_bytes=256MiB").unwrap();
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.log.segment_bytes, 256 * MIB, "flag over environment over file");
    assert_eq!(config.log.block_bytes, 128 * KIB, "environment over file");
    assert_eq!(config.log.flush, Flush::Sync, "flag over file");
    sources.flags.clear();
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.log.segment_bytes, config.log.flush), (64 * MIB, Flush::Async));
}

#[test]
fn a_file_may_use_all_of_toml() {
    let file = file(
        "data_dir = '/srv/mainstem'\nlog.segment_bytes = 0x4_000_000\n\
         [shards]\ncores = [0, '2-3']\n[kafka]\nauto_create_topics = false\n",
    );
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.log.segment_bytes, 64 * MIB);
    assert_eq!(config.shards.cores, Cores::List(vec![0, 2, 3]));
    assert_eq!(config.shards.cores.to_string(), "0,2-3");
    assert!(!config.kafka.auto_create_topics);
    let names: Vec<_> = config.differences().into_iter().map(|(name, _)| name).collect();
    let expected = ["data_dir", "shards.cores", "log.segment_bytes", "kafka.auto_create_topics"];
    assert_eq!(names, expected);
}

#[test]
fn a_files_errors_are_all_told_with_their_lines() {
    let file = file("[log]\nsegmnt_bytes = 1\nblock_bytes = 1.5\n[lag]\na = 1\n[log.x]\ny = 1\n");
    let sources = Sources { file: Some(file.path().to_owned()), ..Sources::default() };
    let message = Config::load(&sources).unwrap_err().to_string();
    assert!(message.contains("unknown key log.segmnt_bytes"), "{message}");
    assert!(message.contains("line 2); did you mean log.segment_bytes?"), "{message}");
    assert!(message.contains("log.block_bytes: a float cannot be used"), "{message}");
    assert!(message.contains("unknown key lag ("), "{message}");
    assert!(message.contains("unknown key log.x ("), "{message}");
    assert_eq!(message.lines().count(), 4, "{message}");
}

#[test]
fn files_that_are_none_are_told() {
    let broken = file("[log]\nflush = \n");
    let load = |path: &std::path::Path| {
        let sources = Sources { file: Some(path.to_owned()), ..Sources::default() };
        Config::load(&sources).unwrap_err().to_string()
    };
    assert!(load(broken.path()).contains("line 2: "), "{}", load(broken.path()));
    let missing = load(std::path::Path::new("/nowhere/mainstem.toml"));
    assert!(missing.starts_with("cannot read /nowhere/mainstem.toml"), "{missing}");
}

#[test]
fn unknown_variables_and_flags_are_refused() {
    let load = |variables: Vec<_>| {
        let sources = Sources { environment: variables, ..Sources::default() };
        Config::load(&sources).map(|_| ()).map_err(|error| error.to_string())
    };
    let message = load(vec![variable("MAINSTEM_LOG_SEGMENT_BYTE", "1")]).unwrap_err();
    assert!(message.contains("unknown key MAINSTEM_LOG_SEGMENT_BYTE "), "{message}");
    assert!(message.contains("did you mean log.segment_bytes?"), "{message}");
    let message = load(vec![variable("MAINSTEM_LOG_SEGMENT_BYTES", "1")]).unwrap_err();
    assert!(message.starts_with("log.segment_bytes: "), "{message}");
    assert!(message.contains("(environment, MAINSTEM_LOG_SEGMENT_BYTES)"), "{message}");
    load(vec![variable("MAINSTEM_DATA_DIR", "/srv/x"), variable("HOME", "/root")]).unwrap();
    assert!(refusal(&["log.nothing=1"]).starts_with("unknown key log.nothing (--set)"));
    let error = Sources::default().assignment("log.flush").unwrap_err().to_string();
    assert!(error.contains("KEY=VALUE"), "{error}");
}

#[test]
fn advertised_addresses_complete_themselves_from_the_listener() {
    let of = |text: &str| {
        let advertised: Advertised = text.parse().unwrap();
        assert_eq!(advertised.to_string(), text);
        advertised.of("127.0.0.1:4711".parse().unwrap())
    };
    assert_eq!(of(""), ("127.0.0.1".to_owned(), 4711));
    assert_eq!(of("broker1.example"), ("broker1.example".to_owned(), 4711));
    assert_eq!(of("broker1:9"), ("broker1".to_owned(), 9));
    assert_eq!(of("[2001:db8::1]:9"), ("2001:db8::1".to_owned(), 9));
    assert_eq!(of("[2001:db8::1]"), ("2001:db8::1".to_owned(), 4711));
    for wrong in ["a:b", ":9", "[::1", "[::1]9", "a b", "2001:db8::1"] {
        assert!(wrong.parse::<Advertised>().is_err(), "{wrong}");
    }
}

#[test]
fn delay_levels_are_written_as_rocketmq_writes_them() {
    let seconds = |levels| {
        let delays = delay_levels(levels).unwrap();
        delays.iter().map(std::time::Duration::as_secs).collect::<Vec<_>>()
    };
    assert_eq!(seconds("1s  2m 3h 1d"), [1, 120, 10_800, 86_400]);
    assert_eq!(delay_levels(&Config::default().rocketmq.delay_levels).unwrap().len(), 18);
    for wrong in ["", "10", "s", "5x", "-1s", "1s,2s", "1é"] {
        assert!(delay_levels(wrong).is_err(), "{wrong:?}");
    }
}
