//! `rocketmq`: RocketMQ's own benchmark programs, and two of ours that use its client, against a
//! broker started for them, or one that runs.

use crate::benchmark_program::{BenchmarkProgram, EVERY_SECOND, Observed};
use crate::broker_process::{BrokerProcess, DataDirectory, spawn};
use crate::error::{Doing, PerfError, Result};
use crate::fill::fill;
use crate::histogram::{Counts, merge};
use crate::proc_stat::ProcUse;
use crate::raw::{TopicWatch, messages_stored};
use crate::report::{Report, announce_measuring};
use crate::rocketmq_anchor::RocketMqAnchor;
use crate::system::{RocketmqSystem, RocketmqSystemArgs, settle_disk};
use crate::workload::Protocol;
use clap::{Args, ValueEnum};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Programs of ours, for what RocketMQ's own cannot do.
const SENDS: &str = include_str!("../java/Sends.java");
const TIMERS: &str = include_str!("../java/Timers.java");
/// Threads that send single messages, and batches.
const THREADS: usize = 16;
const BATCH_THREADS: usize = 4;
/// Messages of a batch.
const BATCH_MESSAGES: &str = "32";
/// The histogram of how late messages with delays came.
pub const TIMER_LATENESS: &str = "timerLateness";
/// As many as RocketMQ gives a topic by itself.
const QUEUES: u32 = 4;

/// What to run, against what, and for how long.
#[derive(Args, Debug, Clone)]
pub struct RocketMqArgs {
    /// The work to measure.
    #[arg(value_enum)]
    work: Work,
    /// The topic; where there are several, or a group, the beginning of its name.
    #[arg(long, default_value = "perf")]
    topic: String,
    /// Threads that send one message, or batch, after the other. [default: 16; of batches 4]
    #[arg(long)]
    threads: Option<usize>,
    /// Bytes of each message's body.
    #[arg(long, default_value_t = 1024)]
    message_bytes: usize,
    /// Times of nine seconds that pass before the measurement, besides the first ten seconds.
    #[arg(long, default_value_t = 1)]
    warmup_windows: u64,
    /// Times of nine seconds measured.
    #[arg(long, default_value_t = 2)]
    windows: u64,
    /// Messages that are written in batches before they are consumed; how they are read is
    /// measured from the first fifth's end to the last tenth's beginning.
    #[arg(long, default_value_t = 4_000_000)]
    backlog_messages: u64,
    /// Topics of four queues that `topics` sends to, in turn.
    #[arg(long, default_value_t = 10_000)]
    topics: usize,
    /// Messages to be delivered in a day that `timers` stores before it sends.
    #[arg(long, default_value_t = 1_000_000)]
    pending: usize,
    /// Seconds in which `timers` sends 1,000 messages each that it waits for.
    #[arg(long, default_value_t = 30)]
    lateness_seconds: usize,
    /// Bytes written into a topic `fill` before all work, by the raw generator in batches of 32
    /// messages of 1 KiB, so that no memory is touched for the first time while it is measured.
    #[arg(long, default_value_t = 0)]
    fill_bytes: u64,
    #[command(flatten)]
    system: RocketmqSystemArgs,
}

/// What RocketMQ's clients do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Work {
    /// Synchronous sends (`benchmark.Producer`).
    Send,
    /// Synchronous sends of 32 messages each (`benchmark.BatchProducer`).
    Batch,
    /// What such batches wrote, read from its beginning by a push consumer
    /// (`benchmark.Consumer`).
    Consume,
    /// Synchronous sends over many topics, against the same over one. The client asks for each
    /// topic's route once.
    Topics,
    /// Synchronous sends while many messages wait to be delivered, against the same while none
    /// does; then how late messages with delays of 0.5 to 3 s reach a push consumer. The many stay
    /// behind.
    Timers,
}

/// Result of `rocketmq`.
#[derive(Debug, Serialize)]
pub struct RocketMqReport {
    /// Records are messages, errors are messages that failed since the program started.
    #[serde(flatten)]
    pub report: Report,
    /// Bytes written before all work.
    filled_bytes: u64,
    /// The mean time of a call, in milliseconds.
    mean_ms: Option<f64>,
    /// The longest since a producer started.
    max_ms: Option<u64>,
    /// What the figures are held against, if the work is done twice.
    base: Option<Base>,
    /// How late messages came after their time to be delivered.
    lateness: Option<Lateness>,
}

/// The same work before it was made harder.
#[derive(Debug, Serialize)]
struct Base {
    records_per_second: f64,
    broker_cpu_us_per_record: Option<f64>,
    /// The broker's CPU a message of the harder work in times of this one's.
    times_the_cpu: Option<f64>,
    broker: Option<ProcUse>,
}

/// What became of messages with a time to be delivered, in whole milliseconds.
#[derive(Debug, Serialize, Deserialize)]
struct Lateness {
    sent: u64,
    failed: u64,
    received: u64,
    doubled: u64,
    early: u64,
    p50_ms: i64,
    p99_ms: i64,
    max_ms: i64,
    /// All of them, which the report keeps among its histograms.
    #[serde(skip_serializing)]
    late_ns: Counts,
}

/// What became of messages that stay pending.
#[derive(Deserialize)]
struct Pending {
    sent: u64,
    failed: u64,
}

/// Starts the system on nothing, if it is to be started, and lets the programs work.
///
/// # Errors
/// Something that is needed is missing, or ends.
pub fn rocketmq(args: &RocketMqArgs) -> Result<RocketMqReport> {
    let programs = args.system.programs()?;
    let subject = Subject::of(args, &programs)?;
    let bench = Bench {
        args,
        programs,
        // What the clients logged outlives the data: only there is said why one has nothing to do.
        home: args.log_path(subject.name, "client"),
        log: args.log_path(subject.name, "client.log"),
        subject,
    };
    bench.fill()?;
    let mut lateness = None;
    let mut base = None;
    let done = match args.work {
        Work::Send => bench.send()?,
        Work::Batch => bench.batch()?,
        Work::Consume => bench.consume()?,
        Work::Topics => {
            base = Some(bench.sends("one", 1)?);
            bench.sends("many", args.topics)?
        }
        Work::Timers => {
            base = Some(bench.sends("before", 1)?);
            bench.store_pending()?;
            let done = bench.sends("after", 1)?;
            lateness = Some(bench.lateness()?);
            done
        }
    };
    let mut report = args.report(done);
    report.hold_against(base.map(|base| args.report(base)));
    if let Some(lateness) = lateness {
        report.judge_lateness(lateness);
    }
    let failed = report.report.errors.unwrap_or(0);
    if failed > 0 {
        report.report.failures.push(format!("{failed} messages failed"));
    }
    report.report = report.report.finish();
    Ok(report)
}

/// The broker that is measured.
struct Subject {
    /// A word for its files.
    name: &'static str,
    /// Its name server.
    address: String,
    pid: Option<u32>,
    /// The process and its data, if it was started here; they go in this order.
    _started: Option<(BrokerProcess, DataDirectory)>,
}

impl Subject {
    fn of(args: &RocketMqArgs, programs: &RocketMqAnchor) -> Result<Self> {
        let system = match args.system.chosen(programs)? {
            RocketmqSystem::Running { name_server, pid } => {
                let logs = args.logs();
                fs::create_dir_all(&logs).doing(|| format!("creating {}", logs.display()))?;
                return Ok(Self { name: "running", address: name_server, pid, _started: None });
            }
            RocketmqSystem::ToStart(system) => system,
        };
        let name = system.name();
        let data = args.system.places().data().join(format!("rocketmq-{name}"));
        let data = DataDirectory::create(data)?;
        system.prepare(data.path())?;
        settle_disk()?;
        let broker = system.start_for_rocketmq(data.path(), &args.log_path(name, "log"))?;
        let (address, pid) = (broker.address.clone(), Some(broker.pid()));
        Ok(Self { name, address, pid, _started: Some((broker, data)) })
    }
}

/// What a program did.
struct Done {
    messages: u64,
    /// Messages that failed since it started.
    failed: u64,
    mean_ms: Option<f64>,
    max_ms: Option<u64>,
    broker: Option<ProcUse>,
    client: ProcUse,
    /// What is wrong with what it left behind.
    fault: Option<String>,
}

impl Done {
    /// What a program that sends did, and the messages its topics gained.
    fn sent(observed: Observed, stored: u64) -> Self {
        Self {
            messages: observed.messages(),
            failed: observed.failed(),
            mean_ms: observed.mean_ms(),
            max_ms: Some(observed.max_ms()),
            fault: wrong_number(&observed, stored),
            broker: observed.broker,
            client: observed.client,
        }
    }
}

/// What is wrong with the number of messages stored, if anything is. Of a program that is killed only
/// loss is seen, and only what exceeds the messages that its lines do not tell of: see
/// [`Observed::acknowledged`].
fn wrong_number(observed: &Observed, stored: u64) -> Option<String> {
    let acknowledged = observed.acknowledged();
    if stored < acknowledged {
        return Some(format!("{stored} messages are there, {acknowledged} were acknowledged"));
    }
    let most = observed.stored_at_most().filter(|most| stored > *most)?;
    Some(format!("{stored} messages are there, {most} were sent"))
}

impl RocketMqArgs {
    fn work_name(&self) -> String {
        self.work.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
    }

    /// The group that consumes.
    fn group(&self) -> String {
        format!("{}_group", self.topic)
    }

    /// Tells a program of RocketMQ's that sends where, and how much.
    fn tell(&self, command: &mut Command, threads: usize) {
        let threads = self.threads.unwrap_or(threads).to_string();
        command.args(["-t", &self.topic, "-w", &threads, "-s", &self.message_bytes.to_string()]);
    }

    fn logs(&self) -> PathBuf {
        self.system.places().out.join("logs")
    }

    fn log_path(&self, system: &str, extension: &str) -> PathBuf {
        self.logs().join(format!("rocketmq-{}-{system}.{extension}", self.work_name()))
    }

    fn report(&self, done: Done) -> RocketMqReport {
        let Done { messages, failed, mean_ms, max_ms, broker, client, fault } = done;
        let mut report = Report::new("rocketmq", messages, self.message_bytes, broker, client);
        report.errors = Some(failed);
        if messages == 0 {
            report.failures.push("no message went through".into());
        }
        report.failures.extend(fault);
        let filled_bytes = self.fill_bytes;
        RocketMqReport { report, filled_bytes, mean_ms, max_ms, base: None, lateness: None }
    }
}

impl RocketMqReport {
    fn hold_against(&mut self, base: Option<RocketMqReport>) {
        let Some(RocketMqReport { report: base, .. }) = base else { return };
        let here = self.report.broker_cpu_us_per_record;
        let there = base.broker_cpu_us_per_record;
        self.report.failures.extend(base.failures);
        self.report.errors = Some(self.report.errors.unwrap_or(0) + base.errors.unwrap_or(0));
        self.base = Some(Base {
            records_per_second: base.records_per_second,
            broker_cpu_us_per_record: there,
            times_the_cpu: here.zip(there).map(|(here, there)| here / there),
            broker: base.broker,
        });
    }

    fn judge_lateness(&mut self, lateness: Lateness) {
        let Lateness { sent, failed, received, doubled, early, .. } = lateness;
        self.report.errors = Some(self.report.errors.unwrap_or(0) + failed);
        if received + failed != sent {
            self.report.failures.push(format!("{received} of {sent} delayed messages came"));
        }
        if doubled > 0 {
            self.report.failures.push(format!("{doubled} delayed messages came once more"));
        }
        if early > 0 {
            self.report.failures.push(format!("{early} messages came before their time"));
        }
        merge([&lateness.late_ns]).iter().for_each(|h| self.report.keep(TIMER_LATENESS, h));
        self.lateness = Some(lateness);
    }
}

/// A broker, and what drives it.
struct Bench<'a> {
    args: &'a RocketMqArgs,
    programs: RocketMqAnchor,
    subject: Subject,
    home: PathBuf,
    log: PathBuf,
}

impl Bench<'_> {
    fn fill(&self) -> Result<()> {
        fill(Protocol::Rocketmq, &self.subject.address, self.args.fill_bytes)?;
        settle_disk()
    }

    fn send(&self) -> Result<Done> {
        let mut command = self.benchmark("Producer");
        self.args.tell(&mut command, THREADS);
        self.sending(std::slice::from_ref(&self.args.topic), || self.observe(command))
    }

    fn batch(&self) -> Result<Done> {
        self.sending(std::slice::from_ref(&self.args.topic), || self.observe(self.batches()))
    }

    /// The program that sends batches.
    fn batches(&self) -> Command {
        let mut command = self.benchmark("BatchProducer");
        self.args.tell(&mut command, BATCH_THREADS);
        command.args(["-b", BATCH_MESSAGES]);
        command
    }

    /// Has the batch producer write a backlog, of which what is there already is a part, and reads it.
    fn consume(&self) -> Result<Done> {
        let mut topic = TopicWatch::create(&self.subject.address, &self.args.topic, QUEUES)?;
        // Writing the backlog takes as long as it takes.
        announce_measuring();
        let writer = BenchmarkProgram::start(self.batches(), &self.log)?;
        let written = topic.wait_for(self.args.backlog_messages, TopicWatch::stored);
        written.map_err(|error| writer.failed_by(&error))?;
        drop(writer);
        self.reset_group(topic.broker())?;
        settle_disk()?;
        self.read(&mut topic)
    }

    /// Watches the consumer by what its group has consumed: its lines do not tell how much it read.
    fn read(&self, topic: &mut TopicWatch) -> Result<Done> {
        let mut command = self.benchmark("Consumer");
        let group = self.args.group();
        command.args(["-t", &self.args.topic, "-g", &group, "-p", "false"]);
        let stored = topic.stored()?;
        let reader = BenchmarkProgram::start(command, &self.log)?;
        let mut reach = |messages| {
            let consumed = topic.wait_for(messages, |topic| topic.consumed(&group));
            consumed.map_err(|error| reader.failed_by(&error))
        };
        let from = reach(stored / 5)?;
        let meter = reader.meter(self.subject.pid)?;
        let messages = reach(stored / 10 * 9)? - from;
        let (broker, client) = meter.finish()?;
        // Nothing is passed over.
        reach(stored)?;
        let (mean_ms, max_ms) = (None, None);
        Ok(Done { messages, failed: 0, mean_ms, max_ms, broker, client, fault: None })
    }

    fn sends(&self, which: &str, topics: usize) -> Result<Done> {
        let prefix = format!("{}_{which}", self.args.topic);
        let mut command = self.own_program("Sends.java", SENDS)?;
        command.args([&self.subject.address, &prefix, &topics.to_string()]);
        let threads = self.args.threads.unwrap_or(THREADS).to_string();
        command.args([threads, self.args.message_bytes.to_string()]);
        let names: Vec<String> = (0..topics).map(|i| format!("{prefix}_{i:05}")).collect();
        self.sending(&names, || {
            let mut program = BenchmarkProgram::start(command, &self.log)?;
            let mut observed = self.windows_of(&mut program)?;
            observed.end = Some(program.finish()?);
            Ok(observed)
        })
    }

    /// Lets a program send to these topics, and looks what they gained. Nobody else sends to them.
    fn sending(
        &self,
        topics: &[String],
        program: impl FnOnce() -> Result<Observed>,
    ) -> Result<Done> {
        let stored = |at_least| messages_stored(&self.subject.address, topics, at_least);
        let before = stored(0)?;
        let observed = program()?;
        let after = stored(before + observed.acknowledged())?;
        Ok(Done::sent(observed, after.saturating_sub(before)))
    }

    fn store_pending(&self) -> Result<()> {
        let mut command = self.own_program("Timers.java", TIMERS)?;
        command.args([&self.subject.address, &self.args.topic]);
        command.args(["pending", &self.args.pending.to_string()]);
        let Pending { sent, failed } = result_of(&mut command)?;
        match failed {
            0 => Ok(()),
            _ => Err(PerfError::Failed(format!("{failed} of {sent} pending messages failed"))),
        }
    }

    fn lateness(&self) -> Result<Lateness> {
        let mut command = self.own_program("Timers.java", TIMERS)?;
        let seconds = self.args.lateness_seconds.to_string();
        command.args([&self.subject.address, &self.args.topic, "lateness", &seconds]);
        result_of(&mut command)
    }

    /// A program of ours, which Java compiles as it starts it.
    fn own_program(&self, file: &str, text: &str) -> Result<Command> {
        let path = self.home.join(file);
        fs::create_dir_all(&self.home).doing(|| format!("creating {}", self.home.display()))?;
        fs::write(&path, text).doing(|| format!("writing {}", path.display()))?;
        Ok(self.programs.program(&path.display().to_string(), &self.home))
    }

    /// Sets the group to the queues' beginnings: a new group begins at the end of a queue whose
    /// beginning has left the memory, and the benchmark program has no option for that.
    fn reset_group(&self, broker: &str) -> Result<()> {
        let (topic, group) = (&self.args.topic, &self.args.group());
        self.mqadmin(&["updateSubGroup", "-b", broker, "-g", group])?;
        self.mqadmin(&["resetOffsetByTime", "-t", topic, "-g", group, "-s", "0"])
    }

    fn mqadmin(&self, arguments: &[&str]) -> Result<()> {
        let class = "org.apache.rocketmq.tools.command.MQAdminStartup";
        let mut command = self.programs.program(class, &self.home);
        command.args(arguments).args(["-n", &self.subject.address]);
        run(&mut command)
    }

    fn benchmark(&self, program: &str) -> Command {
        let class = format!("org.apache.rocketmq.example.benchmark.{program}");
        let mut command = self.programs.program(&class, &self.home);
        command.args(["-n", &self.subject.address]).args(EVERY_SECOND);
        command
    }

    fn observe(&self, command: Command) -> Result<Observed> {
        self.windows_of(&mut BenchmarkProgram::start(command, &self.log)?)
    }

    fn windows_of(&self, program: &mut BenchmarkProgram) -> Result<Observed> {
        program.observe(self.subject.pid, self.args.warmup_windows, self.args.windows)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let (success, out, err) = output_of(command)?;
    // mqadmin says so and ends well, whatever befell it.
    if success && !out.contains("Exception") && !err.contains("Exception") {
        return Ok(());
    }
    Err(PerfError::Failed(format!("mqadmin failed:\n{out}{err}")))
}

/// What a program of ours says in its last line.
fn result_of<T: DeserializeOwned>(command: &mut Command) -> Result<T> {
    let (_, out, err) = output_of(command)?;
    serde_json::from_str(out.lines().last().unwrap_or_default())
        .map_err(|_| PerfError::Failed(format!("a program gave no result:\n{out}{err}")))
}

fn output_of(command: &mut Command) -> Result<(bool, String, String)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(command)?.wait_with_output().doing(|| "running a Java program".into())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::benchmark_line::BenchmarkLine;

    #[test]
    fn lateness_comes_with_its_counts_which_are_told_once() {
        let line = "{\"sent\":5,\"failed\":0,\"received\":5,\"doubled\":0,\"early\":1,\"p50_ms\":3,\"p99_ms\":9,\
                    \"max_ms\":9,\"late_ns\":[[0,2],[3000000,2],[9000000,1]]}";
        let lateness: Lateness = serde_json::from_str(line).expect("what Timers.java prints");
        let all = merge([&lateness.late_ns]).expect("there are values");
        assert_eq!((all.len(), all.value_at_quantile(0.6) / 100_000), (5, 30));
        assert!(!serde_json::to_string(&lateness).expect("plain").contains("late_ns"));
    }

    #[test]
    fn neither_lost_messages_nor_too_many_go_unseen() {
        let line = |total: &str| {
            let text = format!(
                "Current Time: 1 | Send TPS: 10 | Max RT(ms): 1 | Average RT(ms): 1.0 | \
                 Send Failed: 2{total}"
            );
            BenchmarkLine::parse(&text).expect("it is one")
        };
        let fault = |end: Option<&str>, stored| {
            let (lines, end) = (vec![line("")], end.map(line));
            let client = ProcUse::default();
            let observed = Observed { lines, before: 10, end, broker: None, client };
            Done::sent(observed, stored).fault
        };
        assert_eq!(fault(None, 99).unwrap(), "99 messages are there, 100 were acknowledged");
        assert_eq!(fault(None, 1_000), None, "it was killed");
        let ended = Some(" | Send Total: 120");
        assert_eq!(fault(ended, 119).unwrap(), "119 messages are there, 120 were acknowledged");
        assert_eq!(fault(ended, 122), None, "what failed may be there");
        assert_eq!(fault(ended, 123).unwrap(), "123 messages are there, 122 were sent");
    }
}
