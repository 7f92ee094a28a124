//! `rocketmq`: RocketMQ's own benchmark programs against a broker started for them.

use crate::benchmark_program::{BenchmarkProgram, EVERY_SECOND, Observed};
use crate::broker_process::{BrokerProcess, DataDirectory, spawn};
use crate::error::{Doing, PerfError, Result};
use crate::report::Report;
use crate::rocketmq_anchor::RocketMqAnchor;
use crate::system::{System, SystemArgs, settle_disk};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Threads of the batch producer.
const BATCH_THREADS: &str = "4";
/// Messages of a batch.
const BATCH_MESSAGES: &str = "32";
/// The cluster's name in both systems.
const CLUSTER: &str = "DefaultCluster";
/// The group that consumes.
const GROUP: &str = "perf";

/// What to run, against what, and for how long.
#[derive(Args, Debug, Clone)]
pub struct RocketMqArgs {
    /// The work to measure.
    #[arg(value_enum)]
    work: Work,
    /// Threads that send one message after the other.
    #[arg(long, default_value_t = 16)]
    threads: usize,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    message_bytes: usize,
    /// Times of nine seconds that pass before the measurement, besides the first ten seconds.
    #[arg(long, default_value_t = 1)]
    warmup_windows: u64,
    /// Times of nine seconds measured.
    #[arg(long, default_value_t = 2)]
    windows: u64,
    /// Times of nine seconds that batches are written for before they are consumed, besides the
    /// first ten seconds.
    #[arg(long, default_value_t = 4)]
    fill_windows: u64,
    #[command(flatten)]
    system: SystemArgs,
}

/// What RocketMQ's clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Synchronous sends (`benchmark.Producer`).
    Send,
    /// Synchronous sends of 32 messages each, from 4 threads (`benchmark.BatchProducer`).
    Batch,
    /// What such batches wrote, read from its beginning by a push consumer
    /// (`benchmark.Consumer`).
    Consume,
}

/// Result of `rocketmq`.
#[derive(Debug, Serialize)]
pub struct RocketMqReport {
    /// Records are messages, errors are messages that failed since the program started.
    #[serde(flatten)]
    pub report: Report,
    /// The mean time of a call, or from a message's birth until it is consumed, in milliseconds.
    mean_ms: Option<f64>,
    /// The longest: since a producer started, in a consumer's last second.
    max_ms: u64,
}

/// Starts the system on nothing and lets the programs work.
///
/// # Errors
/// Something that is needed is missing, or ends.
pub fn rocketmq(args: &RocketMqArgs) -> Result<RocketMqReport> {
    let system = args.system.system()?;
    let places = args.system.places();
    let name = system.name();
    let data = DataDirectory::create(places.data().join(format!("rocketmq-{name}")))?;
    let logs = places.out.join("logs");
    let file = format!("rocketmq-{}-{name}", args.work_name());
    system.prepare(data.path())?;
    settle_disk()?;
    let broker = system.start_for_rocketmq(data.path(), &logs.join(format!("{file}.log")))?;
    let bench = Bench {
        args,
        programs: places.rocketmq()?,
        broker,
        home: data.path().join("client"),
        log: logs.join(format!("{file}.client.log")),
    };
    let observed = match args.work {
        Work::Send => bench.send()?,
        Work::Batch => bench.batch(args.warmup_windows, args.windows)?,
        Work::Consume => bench.consume()?,
    };
    let mut report = args.report(&observed);
    if args.work == Work::Consume && has_ended(&observed) {
        report
            .report
            .failures
            .push("the backlog ended within the measured time: give more --fill-windows".into());
    }
    if matches!(system, System::Mainstem { .. }) && observed.failed() > 0 {
        report.report.failures.push(format!("{} messages failed", observed.failed()));
    }
    report.report = report.report.finish();
    Ok(report)
}

/// Whether a consumer had nothing to do at last. Its longest time is that of the second before.
fn has_ended(observed: &Observed) -> bool {
    observed.lines.iter().any(|line| line.max_ms == 0)
}

impl RocketMqArgs {
    fn work_name(&self) -> String {
        self.work.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }

    fn report(&self, observed: &Observed) -> RocketMqReport {
        let broker = Some(observed.broker.clone());
        let (messages, client) = (observed.messages(), observed.client.clone());
        let mut report = Report::new("rocketmq", messages, self.message_bytes, broker, client);
        report.errors = Some(observed.failed());
        if messages == 0 {
            report.failures.push("no message went through".into());
        }
        RocketMqReport { report, mean_ms: observed.mean_ms(), max_ms: observed.max_ms() }
    }
}

/// A broker, and what drives it.
struct Bench<'a> {
    args: &'a RocketMqArgs,
    programs: RocketMqAnchor,
    broker: BrokerProcess,
    home: PathBuf,
    log: PathBuf,
}

impl Bench<'_> {
    fn send(&self) -> Result<Observed> {
        let mut command = self.benchmark("Producer");
        command.args(["-t", "send", "-w", &self.args.threads.to_string()]);
        command.args(["-s", &self.args.message_bytes.to_string()]);
        self.observe(command, self.args.warmup_windows, self.args.windows)
    }

    fn batch(&self, warmup: u64, windows: u64) -> Result<Observed> {
        let mut command = self.benchmark("BatchProducer");
        command.args(["-t", "batch", "-w", BATCH_THREADS, "-b", BATCH_MESSAGES]);
        command.args(["-s", &self.args.message_bytes.to_string()]);
        self.observe(command, warmup, windows)
    }

    /// Fills the topic and reads it. The program tells when it has nothing more to read, not how
    /// much it read until then, so that there must be enough.
    fn consume(&self) -> Result<Observed> {
        self.batch(0, self.args.fill_windows)?;
        self.reset_group()?;
        settle_disk()?;
        let mut command = self.benchmark("Consumer");
        command.args(["-t", "batch", "-g", GROUP, "-p", "false"]);
        self.observe(command, self.args.warmup_windows, self.args.windows)
    }

    /// Sets the group to the queues' beginnings: a new group begins at the end of a queue whose
    /// beginning has left the memory, and the benchmark program has no option for that.
    fn reset_group(&self) -> Result<()> {
        self.mqadmin(&["updateSubGroup", "-c", CLUSTER, "-g", GROUP])?;
        self.mqadmin(&["resetOffsetByTime", "-t", "batch", "-g", GROUP, "-s", "0"])
    }

    fn mqadmin(&self, arguments: &[&str]) -> Result<()> {
        let class = "org.apache.rocketmq.tools.command.MQAdminStartup";
        let mut command = self.programs.program(class, &self.home);
        command.args(arguments).args(["-n", &self.broker.address]);
        run(&mut command)
    }

    fn benchmark(&self, program: &str) -> Command {
        let class = format!("org.apache.rocketmq.example.benchmark.{program}");
        let mut command = self.programs.program(&class, &self.home);
        command.args(["-n", &self.broker.address]).args(EVERY_SECOND);
        command
    }

    fn observe(&self, command: Command, warmup: u64, windows: u64) -> Result<Observed> {
        let mut program = BenchmarkProgram::start(command, &self.log)?;
        program.observe(self.broker.pid(), warmup, windows)
    }
}

fn run(command: &mut Command) -> Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command)?.wait_with_output().doing(|| "running mqadmin".into())?;
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // It says so and ends well, whatever befell it.
    if output.status.success() && !out.contains("Exception") && !err.contains("Exception") {
        return Ok(());
    }
    Err(PerfError::Failed(format!("mqadmin failed:\n{out}{err}")))
}
