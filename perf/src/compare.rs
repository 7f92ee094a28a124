//! `compare`: the same workloads against Mainstem and the real Kafka or RocketMQ, in turn.
//!
//! One turn is one system, started on an empty directory, warmed, measured and killed; the others
//! do not run meanwhile, since all would share the cores. Turns alternate, Mainstem first,
//! so that a machine that changes its speed changes it for both. Each measurement is a process of
//! this same program, so that the commands shown are those that ran.

use crate::broker_process::{BrokerProcess, DataDirectory, spawn};
use crate::comparison_table::{Comparison, Measured};
use crate::error::{Doing, PerfError, Result};
use crate::system::{Places, System, settle_disk};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What to compare, and how thoroughly.
#[derive(Args, Debug, Clone)]
pub struct CompareArgs {
    /// The `mainstem` program, built in release mode. Without it Kafka runs alone.
    #[arg(long, value_name = "PATH", required_unless_present = "kafka_only")]
    mainstem: Option<PathBuf>,
    /// Measure Kafka alone.
    #[arg(long, conflicts_with_all = ["mainstem", "mainstem_only"])]
    kafka_only: bool,
    /// Measure Mainstem alone.
    #[arg(long)]
    mainstem_only: bool,
    /// Turns of each system; the table shows their medians.
    #[arg(long)]
    runs: Option<usize>,
    /// Small sizes and one run: shows that everything works, its figures mean nothing.
    #[arg(long)]
    quick: bool,
    /// The rows to run, always in this order; the first five share one started broker.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Row::ALL)]
    rows: Vec<Row>,
    /// Records of the produce and consume rows.
    #[arg(long)]
    records: Option<u64>,
    /// Records of the rows over a thousand topics.
    #[arg(long)]
    topics_records: Option<u64>,
    /// Measured seconds of the latency row.
    #[arg(long)]
    latency_seconds: Option<f64>,
    /// Gigabytes a broker holds when it is killed.
    #[arg(long)]
    fill_gb: Option<f64>,
    /// Records produced and consumed before anything is measured, so that Kafka's JVM has
    /// compiled what it runs; Mainstem gets the same.
    #[arg(long)]
    warmup_records: Option<u64>,
    #[command(flatten)]
    places: Places,
}

/// A row of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// 1 KiB records over 6 partitions.
    Produce,
    /// Reading these.
    Consume,
    /// 2,000 records a second.
    Latency,
    /// 1 KiB records over 1,000 fresh topics of 4 partitions.
    Topics,
    /// The same again, over the same topics.
    TopicsAgain,
    /// An empty start, and a start after kill -9.
    Startup,
    /// Nothing to do.
    Idle,
    /// RocketMQ's synchronous sends of 1 KiB from 16 threads.
    #[value(name = "rmq-send-16")]
    RmqSend16,
    /// The same from 64 threads.
    #[value(name = "rmq-send-64")]
    RmqSend64,
    /// RocketMQ's batches of 32 messages of 1 KiB from 4 threads.
    RmqBatch,
    /// Reading such batches by a push consumer.
    RmqConsume,
    /// RocketMQ's synchronous sends over 10,000 topics of 4 queues, and over one.
    RmqTopics,
    /// RocketMQ's synchronous sends with a million timers pending, and with none; how late timers
    /// are.
    RmqTimers,
}

impl Row {
    const ALL: [Row; 13] = [
        Row::Produce,
        Row::Consume,
        Row::Latency,
        Row::Topics,
        Row::TopicsAgain,
        Row::Startup,
        Row::Idle,
        Row::RmqSend16,
        Row::RmqSend64,
        Row::RmqBatch,
        Row::RmqConsume,
        Row::RmqTopics,
        Row::RmqTimers,
    ];

    /// The name it has on the command line.
    pub fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }

    /// Whether it starts its own broker.
    fn is_alone(self) -> bool {
        matches!(self, Row::Startup | Row::Idle) || self.is_rocketmq()
    }

    /// Whether RocketMQ's clients work in it.
    pub fn is_rocketmq(self) -> bool {
        use Row::{RmqBatch, RmqConsume, RmqSend16, RmqSend64, RmqTimers, RmqTopics};
        matches!(self, RmqSend16 | RmqSend64 | RmqBatch | RmqConsume | RmqTopics | RmqTimers)
    }

    /// Whether a system has a place for its clients.
    fn is_for(self, system: &System) -> bool {
        match system {
            System::Mainstem { .. } => true,
            System::Kafka(_) => !self.is_rocketmq(),
            System::RocketMq(_) => self.is_rocketmq(),
        }
    }
}

/// The sizes of everything, full or quick.
struct Sizes {
    runs: usize,
    warmup_records: u64,
    records: u64,
    topics: usize,
    topics_records: u64,
    latency_seconds: f64,
    latency_warmup_seconds: f64,
    fill_gb: f64,
    idle_seconds: f64,
    rocketmq: &'static str,
}

impl Sizes {
    fn of(args: &CompareArgs) -> Self {
        let either = |quick: u64, full: u64| if args.quick { quick } else { full };
        let seconds = |quick: f64, full: f64| if args.quick { quick } else { full };
        Self {
            runs: args.runs.unwrap_or(either(1, 5) as usize).max(1),
            warmup_records: args.warmup_records.unwrap_or(either(100_000, 4_000_000)),
            records: args.records.unwrap_or(either(200_000, 4_000_000)),
            topics: either(50, 1_000) as usize,
            topics_records: args.topics_records.unwrap_or(either(20_000, 500_000)),
            latency_seconds: args.latency_seconds.unwrap_or(seconds(3.0, 30.0)),
            latency_warmup_seconds: seconds(1.0, 10.0),
            fill_gb: args.fill_gb.unwrap_or(seconds(0.1, 5.0)),
            idle_seconds: seconds(2.0, 10.0),
            rocketmq: match args.quick {
                true => {
                    "--warmup-windows 0 --windows 1 --topics 200 --pending 20000 --lateness-seconds 5"
                }
                false => "--warmup-windows 1 --windows 2",
            },
        }
    }
}

/// Runs every row against each system, as often as asked, and prints the table. Says whether all
/// went well.
///
/// # Errors
/// A system cannot be prepared or started.
pub fn compare(args: &CompareArgs) -> Result<bool> {
    let mut systems = Vec::new();
    if let Some(program) = &args.mainstem {
        systems.push(args.places.mainstem(program)?);
    }
    let (rocketmq, kafka): (Vec<Row>, Vec<Row>) = args.rows.iter().partition(|r| r.is_rocketmq());
    if !args.mainstem_only && !kafka.is_empty() {
        systems.push(args.places.kafka()?);
    }
    if !args.mainstem_only && !args.kafka_only && !rocketmq.is_empty() {
        systems.push(System::RocketMq(args.places.rocketmq()?));
    }
    let sizes = Sizes::of(args);
    let directory = args.places.out.join(format!("compare-{}", unix_seconds()));
    fs::create_dir_all(&directory).doing(|| format!("creating {}", directory.display()))?;
    let raw_path = directory.join("results.jsonl");
    let raw = File::create(&raw_path).doing(|| format!("creating {}", raw_path.display()))?;
    let mut turns = Turns {
        args,
        sizes,
        directory: directory.clone(),
        raw,
        comparison: Comparison::new(&systems, &args.places.data()),
        run: 0,
    };
    for run in 1..=turns.sizes.runs {
        turns.run = run;
        for system in &systems {
            turns.turn(system)?;
        }
    }
    let warmup = turns.sizes.warmup_records;
    let text = turns.comparison.markdown(turns.sizes.runs, warmup, args.quick);
    let path = directory.join("report.md");
    fs::write(&path, &text).doing(|| format!("writing {}", path.display()))?;
    println!("{text}");
    eprintln!("written to {} and {}", path.display(), raw_path.display());
    Ok(turns.comparison.failures().is_empty())
}

/// A comparison under way.
struct Turns<'a> {
    args: &'a CompareArgs,
    sizes: Sizes,
    directory: PathBuf,
    raw: File,
    comparison: Comparison,
    run: usize,
}

impl Turns<'_> {
    /// Everything once against one system.
    fn turn(&mut self, system: &System) -> Result<()> {
        let chosen = Row::ALL.into_iter().filter(|row| self.args.rows.contains(row));
        let rows: Vec<Row> = chosen.filter(|row| row.is_for(system)).collect();
        let (alone, shared): (Vec<Row>, Vec<Row>) = rows.into_iter().partition(|r| r.is_alone());
        if !shared.is_empty() {
            self.shared_broker(system, &shared)?;
        }
        for row in alone {
            settle_disk()?;
            let arguments = self.alone_arguments(system, row);
            self.measure(system, row, arguments)?;
        }
        Ok(())
    }

    fn shared_broker(&mut self, system: &System, rows: &[Row]) -> Result<()> {
        let name = system.name();
        let data = DataDirectory::create(self.args.places.data().join(name))?;
        system.prepare(data.path())?;
        settle_disk()?;
        let log = self.directory.join(format!("{name}-{}.log", self.run));
        let broker = system.start(data.path(), &log)?;
        for arguments in self.warmup_arguments(&broker) {
            eprintln!("run {} of {}: {name}: warm-up", self.run, self.sizes.runs);
            let report = self.client(&arguments)?;
            if report["ok"] != Value::Bool(true) {
                return Err(PerfError::Failed(format!("the warm-up failed: {report}")));
            }
        }
        for &row in rows {
            settle_disk()?;
            let arguments = self.load_arguments(&broker, row);
            self.measure(system, row, arguments)?;
        }
        Ok(())
    }

    fn measure(&mut self, system: &System, row: Row, arguments: Vec<String>) -> Result<()> {
        eprintln!("run {} of {}: {}: {}", self.run, self.sizes.runs, system.name(), row.name());
        // A workload that breaks off fails its row; the others still run.
        let report = self
            .client(&arguments)
            .unwrap_or_else(|error| json!({ "ok": false, "failures": [error.to_string()] }));
        let command = format!("mainstem-perf {}", arguments.join(" "));
        let measured = Measured { run: self.run, system: system.name(), row, command, report };
        let line = serde_json::to_string(&measured).expect("results have only string keys");
        writeln!(self.raw, "{line}").doing(|| "writing the results".into())?;
        self.comparison.add(measured);
        Ok(())
    }

    /// Runs this program with other arguments and takes its result.
    fn client(&self, arguments: &[String]) -> Result<Value> {
        let program = std::env::current_exe().doing(|| "finding this program".into())?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let output =
            spawn(&mut command)?.wait_with_output().doing(|| "running a workload".into())?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        serde_json::from_str(last).map_err(|_| {
            PerfError::Failed(format!("`mainstem-perf {}` gave no result", arguments.join(" ")))
        })
    }

    fn warmup_arguments(&self, broker: &BrokerProcess) -> Vec<Vec<String>> {
        let records = self.sizes.warmup_records;
        if records == 0 {
            return Vec::new();
        }
        let common = format!("--brokers {} --topic warmup", broker.address);
        vec![
            words(&format!("produce {common} --records {records}")),
            words(&format!("consume {common}")),
        ]
    }

    fn load_arguments(&self, broker: &BrokerProcess, row: Row) -> Vec<String> {
        let sizes = &self.sizes;
        let common = format!("--brokers {} --pid {}", broker.address, broker.pid());
        let records = sizes.records;
        let (topics, topics_records) = (sizes.topics, sizes.topics_records);
        let (seconds, warmup) = (sizes.latency_seconds, sizes.latency_warmup_seconds);
        words(&match row {
            Row::Produce => format!("produce {common} --topic load --records {records}"),
            Row::Consume => format!("consume {common} --topic load"),
            Row::Latency => format!(
                "latency {common} --topic latency --seconds {seconds} --warmup-seconds {warmup}"
            ),
            Row::Topics | Row::TopicsAgain => {
                format!("topics {common} --topic many --topics {topics} --records {topics_records}")
            }
            row => unreachable!("{} starts its own broker", row.name()),
        })
    }

    fn alone_arguments(&self, system: &System, row: Row) -> Vec<String> {
        let sizes = &self.sizes;
        let mut arguments = words(&match row {
            Row::Startup => {
                format!("startup --fill-gb {} --topics {}", sizes.fill_gb, sizes.topics)
            }
            Row::RmqSend16 => format!("rocketmq send --threads 16 {}", sizes.rocketmq),
            Row::RmqSend64 => format!("rocketmq send --threads 64 {}", sizes.rocketmq),
            Row::RmqBatch => format!("rocketmq batch {}", sizes.rocketmq),
            Row::RmqConsume => "rocketmq consume --warmup-windows 0 --windows 1".to_owned(),
            Row::RmqTopics => format!("rocketmq topics {}", sizes.rocketmq),
            Row::RmqTimers => format!("rocketmq timers {}", sizes.rocketmq),
            _ => format!("idle --seconds {}", sizes.idle_seconds),
        });
        arguments.extend(system.arguments());
        let places = &self.args.places;
        arguments.extend(["--out".into(), places.out.display().to_string()]);
        if let Some(data) = &places.data {
            arguments.extend(["--data".into(), data.display().to_string()]);
        }
        if let (true, System::Mainstem { .. }, Some(lib)) =
            (row.is_rocketmq(), system, &places.rocketmq_lib)
        {
            arguments.extend(["--rocketmq-lib".into(), lib.display().to_string()]);
        }
        arguments
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn unix_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
