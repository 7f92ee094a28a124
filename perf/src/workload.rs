//! A workload: what is to be done and what that shows, as one of the files in `perf/workloads`.

use crate::error::{PerfError, Result};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

/// Embeds a file of `perf/workloads`.
macro_rules! shipped {
    ($name:literal) => {
        ($name, include_str!(concat!("../workloads/", $name)))
    };
}

/// The files that come with this program, in the order they are run.
const SHIPPED: [(&str, &str); 31] = [
    shipped!("10-produce.toml"),
    shipped!("11-produce-100b.toml"),
    shipped!("12-produce-keyed.toml"),
    shipped!("20-consume.toml"),
    shipped!("30-latency.toml"),
    shipped!("31-highest-rate.toml"),
    shipped!("40-topics.toml"),
    shipped!("41-topics-again.toml"),
    shipped!("50-startup.toml"),
    shipped!("51-idle.toml"),
    shipped!("60-rmq-send-16.toml"),
    shipped!("61-rmq-send-64.toml"),
    shipped!("62-rmq-batch.toml"),
    shipped!("63-rmq-consume.toml"),
    shipped!("64-rmq-topics.toml"),
    shipped!("65-rmq-timers.toml"),
    shipped!("70-raw-produce.toml"),
    shipped!("71-raw-consume.toml"),
    shipped!("72-raw-both.toml"),
    shipped!("73-raw-latency.toml"),
    shipped!("74-raw-highest-rate.toml"),
    shipped!("75-raw-cold-fill.toml"),
    shipped!("76-raw-latency-cold.toml"),
    shipped!("77-raw-produce-100b.toml"),
    shipped!("78-raw-produce-100b-small.toml"),
    shipped!("80-raw-topics-1.toml"),
    shipped!("81-raw-topics-1000.toml"),
    shipped!("82-raw-topics-10000.toml"),
    shipped!("83-raw-topics-100000.toml"),
    shipped!("90-raw-rmq-send.toml"),
    shipped!("91-raw-rmq-pull.toml"),
];

/// What a run does. Sizes are those of a full run; `quick` lays others over them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// Its name, and that of its topic where it names no other.
    pub name: String,
    /// What a reader learns from it, in a sentence.
    pub shows: String,
    /// What makes the load.
    #[serde(default)]
    pub source: Source,
    /// What the raw generator and the broker speak.
    #[serde(default)]
    protocol: Protocol,
    /// What is done.
    #[serde(default)]
    pub measure: Measure,
    /// The systems it runs against.
    pub systems: Vec<SystemName>,
    /// Which promises are compared with which.
    #[serde(default = "every_tier")]
    pub tiers: Vec<Tier>,
    /// The topic, or the prefix of several topics' names. That of another workload means that this
    /// one goes on with what the other left there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// A workload whose records it reads besides, from a topic that its options name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How many topics.
    #[serde(default = "one")]
    pub topics: usize,
    /// Partitions of each.
    #[serde(default = "six")]
    pub partitions: usize,
    /// Bytes of each record, without its key.
    #[serde(default = "kibibyte")]
    pub record_bytes: usize,
    /// How keys, and with them partitions, are chosen.
    #[serde(default)]
    pub keys: Keys,
    /// Clients that write.
    #[serde(default)]
    pub producers: usize,
    /// Clients that read.
    #[serde(default)]
    pub consumers: usize,
    /// Records a second; without it, as fast as the broker takes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// When a send counts as done.
    #[serde(default)]
    pub acks: Acks,
    /// How batches are compressed.
    #[serde(default)]
    pub codec: Codec,
    /// How long a client waits for a batch to fill, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linger_ms: Option<u32>,
    /// Records of the measured time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
    /// The measured time; of a search for the highest rate, that of one step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Records before the measured time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_records: Option<u64>,
    /// Time at the same rate before the measured time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_seconds: Option<f64>,
    /// Gigabytes a broker holds when it is killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fill_gb: Option<f64>,
    /// Bytes that the broker was given before it is measured, in a topic of their own: what a
    /// broker just started writes first touches its memory, or the page cache, for the first time,
    /// which users' brokers have behind them. `run` writes them only if it is told to.
    #[serde(default)]
    pub fill_bytes: u64,
    /// Every record is read back after the measured time. Not where another workload measures how they
    /// are read: that would find them read before.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// The end-to-end p99 beyond which a rate is not sustained, in milliseconds.
    #[serde(default = "hundred")]
    pub p99_limit_ms: f64,
    /// How long setting it up may take before that is the result.
    #[serde(default = "five_minutes")]
    pub setup_limit_seconds: f64,
    /// More of the load program's own options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// What `--quick` changes: any of the above.
    #[serde(default, skip_serializing_if = "Table::is_empty")]
    pub quick: Table,
}

fn every_tier() -> Vec<Tier> {
    vec![Tier::AsShipped, Tier::Synced, Tier::Unsynced]
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

fn six() -> usize {
    6
}

fn kibibyte() -> usize {
    1024
}

fn hundred() -> f64 {
    100.0
}

fn five_minutes() -> f64 {
    300.0
}

/// What makes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// A real client library, used by this program.
    #[default]
    Librdkafka,
    /// RocketMQ's own benchmark programs.
    RocketmqBenchmark,
    /// Prepared frames, so that the client is not what is measured.
    Raw,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Librdkafka => "librdkafka",
            Source::RocketmqBenchmark => "RocketMQ's benchmark programs",
            Source::Raw => "raw generator",
        })
    }
}

/// What clients and brokers speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// Kafka's: clients begin at a broker.
    #[default]
    Kafka,
    /// RocketMQ's: clients begin at a name server.
    Rocketmq,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// Producers and consumers do their work against a broker that runs.
    #[default]
    Load,
    /// A broker starts, is filled and killed, and starts again.
    Restart,
    /// A broker starts and has nothing to do.
    Idle,
}

/// A system that can be compared.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum SystemName {
    /// This project's broker.
    Mainstem,
    /// Apache Kafka.
    Kafka,
    /// Apache RocketMQ.
    Rocketmq,
}

impl fmt::Display for SystemName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SystemName::Mainstem => "mainstem",
            SystemName::Kafka => "kafka",
            SystemName::Rocketmq => "rocketmq",
        })
    }
}

/// Which promises are compared. Each is a table of its own.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// Each system as it comes: Mainstem synced, the others not. The tables say so.
    AsShipped,
    /// Every system answers once the record is on the disk.
    Synced,
    /// No system waits for the disk.
    Unsynced,
}

/// How keys are chosen. With a key, the key decides the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// No key; the partitions in turn.
    #[default]
    None,
    /// Ten thousand keys in turn.
    InTurn,
    /// Ten thousand keys at random.
    Random,
}

/// When a send counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// All replicas in sync have it.
    #[default]
    All,
    /// The leader has it.
    Leader,
    /// It was sent. Loss is not found out by the sender, then.
    None,
}

/// How batches are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// How often records are sent, whatever the broker does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rate {
    /// So many a second.
    PerSecond(f64),
    /// As many as are sustained: the word `highest`.
    Search(Highest),
}

/// The one word there is for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Highest {
    /// Rates are stepped up until one is not sustained, then bisected.
    Highest,
}

impl Workload {
    /// Reads a workload and, if asked, lays its quick sizes and the user's own settings over it.
    ///
    /// # Errors
    /// What is wrong, with the place in the file.
    pub fn parse(place: &str, text: &str, quick: bool, settings: &[Setting]) -> Result<Self> {
        let wrong = |error: &dyn fmt::Display| PerfError::Failed(format!("{place}: {error}"));
        // Read by itself first: only the text knows the lines of its errors.
        let file: Workload = toml::from_str(text).map_err(|e| wrong(&e))?;
        let mut table: Table = toml::from_str(text).map_err(|e| wrong(&e))?;
        table.remove("quick");
        if quick {
            table.extend(file.quick.clone());
        }
        for setting in settings.iter().filter(|s| s.workload == file.name) {
            table.insert(setting.key.clone(), setting.value.clone());
        }
        let workload: Workload = table.try_into().map_err(|e: toml::de::Error| {
            wrong(&format!("with [quick] or --set laid over it: {}", e.message()))
        })?;
        workload.check().map_err(|what| wrong(&what))?;
        Ok(workload)
    }

    /// What clients and broker speak.
    pub fn protocol(&self) -> Protocol {
        match self.source {
            Source::Librdkafka => Protocol::Kafka,
            Source::RocketmqBenchmark => Protocol::Rocketmq,
            Source::Raw => self.protocol,
        }
    }

    /// Its topic, or the prefix of its topics.
    pub fn topic(&self) -> &str {
        self.topic.as_deref().unwrap_or(&self.name)
    }

    /// The workload whose records it goes on with.
    pub fn follows(&self) -> Option<&str> {
        let topic = self.topic.as_deref().filter(|topic| *topic != self.name);
        topic.or(self.after.as_deref())
    }

    /// What its load program would pass over.
    fn check_source(&self) -> std::result::Result<(), String> {
        let of_librdkafka = self.keys != Keys::None
            || self.acks != Acks::All
            || self.codec != Codec::None
            || self.linger_ms.is_some()
            || self.warmup_records.is_some();
        let times = self.rate.is_some()
            || self.records.is_some()
            || self.seconds.is_some()
            || self.warmup_seconds.is_some();
        match self.source {
            Source::Librdkafka => Ok(()),
            Source::Raw | Source::RocketmqBenchmark if of_librdkafka => {
                Err("keys, acks, codec, linger_ms and warmup_records are librdkafka's".into())
            }
            Source::Raw if self.producers.max(self.consumers) > 1 => {
                Err("the generator is one client; its connections are among its options".into())
            }
            Source::RocketmqBenchmark if times => {
                Err("how long RocketMQ's programs work is told by their options".into())
            }
            Source::RocketmqBenchmark if self.partitions != 4 || self.consumers > 1 => {
                Err("RocketMQ's programs have topics of 4 queues, and one consumer".into())
            }
            Source::Raw | Source::RocketmqBenchmark => Ok(()),
        }
    }

    /// What is contradictory or missing.
    fn check(&self) -> std::result::Result<(), String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err("name: lower-case letters, digits and hyphens, please".into());
        }
        if self.topics == 0 || self.partitions == 0 || self.systems.is_empty() {
            return Err("topics, partitions and systems are at least one".into());
        }
        if self.fill_bytes > 0 && self.measure != Measure::Load {
            return Err(
                "fill_bytes go with a load: nothing else is measured on a warm broker".into()
            );
        }
        self.check_source()?;
        if self.measure != Measure::Load || self.source != Source::Librdkafka {
            return Ok(());
        }
        if self.producers + self.consumers == 0 {
            return Err("neither producers nor consumers: nothing would be done".into());
        }
        let amount = (self.rate, self.records, self.seconds);
        match amount {
            (Some(_), None, Some(_)) if self.producers > 0 && self.consumers > 0 => Ok(()),
            (Some(_), _, _) => Err("a rate goes with seconds, producers and consumers".into()),
            (None, _, Some(_)) => Err("seconds go with a rate; without one, say records".into()),
            (None, None, None) if self.producers > 0 => Err("no records to write".into()),
            (None, _, None) if self.producers > 0 && self.consumers > 0 => {
                Err("producers and consumers at the same time go with a rate".into())
            }
            (None, _, None) => Ok(()),
        }
    }
}

/// One value of a workload, changed by the user: WORKLOAD.KEY=VALUE.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    workload: String,
    key: String,
    value: Value,
}

impl std::str::FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let form = || format!("`{text}` is not of the form WORKLOAD.KEY=VALUE");
        let (path, value) = text.split_once('=').ok_or_else(form)?;
        let (workload, key) = path.split_once('.').ok_or_else(form)?;
        // What is no TOML value is a string without its quotation marks.
        let parsed = toml::from_str::<Table>(&format!("value = {value}"));
        let value = parsed.ok().and_then(|mut table| table.remove("value"));
        let value = value.unwrap_or_else(|| Value::String(text[path.len() + 1..].to_owned()));
        Ok(Self { workload: workload.to_owned(), key: key.to_owned(), value })
    }
}

/// All workloads of a directory in the order of their files' names; without one, those that come
/// with this program.
///
/// # Errors
/// A file cannot be read or is wrong, two have one name, or a setting is of no workload.
pub fn load(directory: Option<&Path>, quick: bool, settings: &[Setting]) -> Result<Vec<Workload>> {
    let files = match directory {
        Some(directory) => read_directory(directory)?,
        None => SHIPPED.iter().map(|(n, t)| ((*n).to_owned(), (*t).to_owned())).collect(),
    };
    let mut workloads: Vec<Workload> = Vec::new();
    for (place, text) in files {
        let workload = Workload::parse(&place, &text, quick, settings)?;
        if workloads.iter().any(|w| w.name == workload.name) {
            return Err(PerfError::Failed(format!("{place}: a second {:?}", workload.name)));
        }
        let known = |name: &&str| workloads.iter().any(|w: &Workload| w.name == **name);
        if let Some(earlier) = workload.follows().filter(|name| !known(name)) {
            let why = format!("{place}: {earlier:?} is no workload before this one");
            return Err(PerfError::Failed(why));
        }
        workloads.push(workload);
    }
    match settings.iter().find(|s| !workloads.iter().any(|w| w.name == s.workload)) {
        Some(s) => Err(PerfError::Failed(format!("--set: there is no workload {:?}", s.workload))),
        None => Ok(workloads),
    }
}

fn read_directory(directory: &Path) -> Result<Vec<(String, String)>> {
    use crate::error::Doing;
    let listing = fs::read_dir(directory).doing(|| format!("listing {}", directory.display()))?;
    let mut paths: Vec<_> = listing.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "toml"));
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let text = fs::read_to_string(path).doing(|| format!("reading {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = "name = \"a\"\nshows = \"b\"\nsystems = [\"mainstem\"]\n";

    fn parse(more: &str, quick: bool, settings: &[Setting]) -> Result<Workload> {
        Workload::parse("a.toml", &format!("{SMALL}{more}"), quick, settings)
    }

    fn refusal(more: &str) -> String {
        parse(more, true, &[]).expect_err("this is wrong").to_string()
    }

    #[test]
    fn every_file_is_shipped_and_right_in_both_sizes() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads");
        for quick in [false, true] {
            let shipped = load(None, quick, &[]).expect("what is shipped is right");
            assert_eq!(load(Some(&directory), quick, &[]).expect("the same files"), shipped);
        }
    }

    #[test]
    fn quick_sizes_and_settings_lie_over_the_file() {
        let more = "producers = 1\nrecords = 10\ncodec = \"lz4\"\n[quick]\nrecords = 2\n";
        assert_eq!(parse(more, false, &[]).expect("right").records, Some(10));
        assert_eq!(parse(more, true, &[]).expect("right").records, Some(2));
        let settings = ["a.records=3", "a.codec=zstd", "other.records=4"]
            .map(|s| s.parse::<Setting>().expect("right"));
        let workload = parse(more, true, &settings).expect("right");
        assert_eq!((workload.records, workload.codec), (Some(3), Codec::Zstd));
        assert!("records=3".parse::<Setting>().is_err());
    }

    #[test]
    fn an_error_names_its_place() {
        let text = refusal("producers = 1\nrecord = 10\n");
        assert!(text.starts_with("a.toml") && text.contains("line 5"), "{text}");
        assert!(text.contains("unknown field `record`"), "{text}");
        let text = refusal("producers = 1\nrecords = 1\n[quick]\nrecord = 1\n");
        assert!(text.contains("[quick]") && text.contains("`record`"), "{text}");
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(refusal("").contains("nothing would be done"));
        assert!(refusal("producers = 1\n").contains("no records"));
        assert!(refusal("producers = 1\nrecords = 1\nrate = 5.0\n").contains("a rate goes with"));
        assert!(refusal("producers = 1\nseconds = 1.0\n").contains("seconds go with a rate"));
        assert!(refusal("rate = \"higher\"\n").contains("a.toml"));
        assert!(refusal("topics = 0\n").contains("at least one"));
    }

    #[test]
    fn what_a_load_program_would_pass_over_is_refused() {
        for key in ["keys = \"random\"", "acks = \"leader\"", "codec = \"lz4\"", "linger_ms = 1"] {
            for source in ["raw", "rocketmq-benchmark"] {
                let text = refusal(&format!("source = \"{source}\"\npartitions = 4\n{key}\n"));
                assert!(text.contains("are librdkafka's"), "{text}");
            }
        }
        assert!(refusal("source = \"raw\"\nproducers = 2\n").contains("one client"));
        let programs = "source = \"rocketmq-benchmark\"\n";
        assert!(refusal(&format!("{programs}partitions = 8\n")).contains("4 queues"));
        let timed = format!("{programs}partitions = 4\nseconds = 9.0\n");
        assert!(refusal(&timed).contains("told by their options"));
    }

    #[test]
    fn the_highest_rate_is_a_word() {
        let more = "producers = 1\nconsumers = 1\nseconds = 1.0\nrate = \"highest\"\n";
        let workload = parse(more, false, &[]).expect("right");
        assert_eq!(workload.rate, Some(Rate::Search(Highest::Highest)));
    }

    #[test]
    fn a_fill_is_a_number_of_bytes_before_a_load() {
        let load = "producers = 1\nrecords = 1\n";
        let filled = format!("{load}fill_bytes = 4_000\n[quick]\nfill_bytes = 0\n");
        let bytes = |quick, settings: &[Setting]| {
            parse(&filled, quick, settings).expect("right").fill_bytes
        };
        assert_eq!(parse(load, false, &[]).expect("right").fill_bytes, 0);
        assert_eq!((bytes(false, &[]), bytes(true, &[])), (4_000, 0));
        let zero = "a.fill_bytes=0".parse::<Setting>().expect("right");
        assert_eq!(bytes(false, &[zero]), 0);
        for wrong in ["-1", "\"4 GB\"", "1.5"] {
            let text = refusal(&format!("{load}fill_bytes = {wrong}\n"));
            assert!(text.starts_with("a.toml") && text.contains("fill_bytes"), "{text}");
        }
        for measure in ["idle", "restart"] {
            let text = refusal(&format!("measure = \"{measure}\"\nfill_bytes = 1\n"));
            assert!(text.contains("fill_bytes go with a load"), "{text}");
        }
    }

    #[test]
    fn what_rocketmqs_clients_send_is_sent_to_filled_brokers_and_nothing_quick_is() {
        let filled = |quick| {
            let all = load(None, quick, &[]).expect("what is shipped is right");
            all.into_iter().filter(|w| w.fill_bytes > 0).collect::<Vec<_>>()
        };
        assert_eq!(filled(true), []);
        let names: Vec<_> = filled(false).into_iter().map(|workload| workload.name).collect();
        let sends =
            ["rmq-send-16", "rmq-send-64", "rmq-batch", "rmq-topics", "rmq-timers", "raw-rmq-send"];
        assert_eq!(names, sends);
    }
}
