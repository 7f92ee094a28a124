//! One workload against one broker: which command measures it, and what that found.
//!
//! Each measurement is a process of this same program, so that the commands shown are those that
//! ran, and what a client uses is counted by itself.

use crate::broker_process::{spawn, was_interrupted};
use crate::error::{Doing, PerfError, Result};
use crate::rate_search::RateSearch;
use crate::raw::NEVER_SENT;
use crate::report::MEASURING;
use crate::run_result::{Line, RunResult, Step};
use crate::workload::{Acks, Measure, Protocol, Rate, Source, Workload};
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Where a search for the highest rate begins.
const FIRST_RATE: f64 = 8_000.0;

/// What a workload runs against.
#[derive(Debug, Clone)]
pub enum Target {
    /// A broker that runs.
    Running {
        /// Where clients begin, as host:port.
        address: String,
        /// Its process, to measure what it uses.
        pid: Option<u32>,
        /// Bytes that were written to it so that it is warm.
        filled_bytes: u64,
    },
    /// A broker of the workload's own, started with these options.
    Own(Vec<String>),
}

impl Workload {
    /// Whether it starts a broker of its own when systems are compared.
    pub fn has_own_broker(&self) -> bool {
        self.measures_start() || self.source == Source::RocketmqBenchmark
    }

    /// Whether the start of a broker is what it measures.
    pub fn measures_start(&self) -> bool {
        self.measure != Measure::Load
    }

    /// The options that make this program measure it.
    ///
    /// # Errors
    /// It measures a broker's start, and there is one that runs.
    pub fn arguments(&self, target: &Target, rate: Option<f64>) -> Result<Vec<String>> {
        let mut arguments = match (self.source, self.measure) {
            (Source::Librdkafka, Measure::Load) => self.load_arguments(rate),
            (Source::Librdkafka, Measure::Restart) => self.restart_arguments(),
            (Source::Librdkafka, Measure::Idle) => {
                words(&format!("idle --seconds {}", self.seconds.unwrap_or(10.0)))
            }
            (Source::RocketmqBenchmark, _) => vec!["rocketmq".into()],
            (Source::Raw, _) => vec!["raw".into()],
        };
        arguments.extend(self.options.iter().cloned());
        match self.source {
            Source::Librdkafka => {}
            Source::RocketmqBenchmark => arguments.extend(self.program_arguments()),
            Source::Raw => arguments.extend(self.raw_arguments(rate)),
        }
        match target {
            Target::Own(options) => {
                // Whoever starts the broker has to fill it.
                if self.fill_bytes > 0 {
                    arguments.extend(["--fill-bytes".into(), self.fill_bytes.to_string()]);
                }
                arguments.extend(options.iter().cloned());
            }
            Target::Running { .. } if self.measures_start() => {
                let name = &self.name;
                return Err(PerfError::Failed(format!("{name} starts a broker of its own")));
            }
            Target::Running { address, pid, .. } => {
                let option = match self.protocol() {
                    Protocol::Kafka => "--brokers",
                    Protocol::Rocketmq => "--namesrv",
                };
                arguments.extend([option.into(), address.clone()]);
                if let Some(pid) = pid {
                    arguments.extend(["--pid".into(), pid.to_string()]);
                }
            }
        }
        Ok(arguments)
    }

    fn load_arguments(&self, rate: Option<f64>) -> Vec<String> {
        let command = match (rate, self.producers) {
            (Some(_), _) => "latency",
            (None, 0) => "consume",
            (None, _) => "produce",
        };
        let (topic, topics, partitions) = (self.topic(), self.topics, self.partitions);
        let mut text =
            format!("{command} --topic {topic} --topics {topics} --partitions {partitions}");
        let mut add = |name: &str, value: Option<String>| {
            text += &value.map(|value| format!(" {name} {value}")).unwrap_or_default();
        };
        if self.producers > 0 {
            add("--record-bytes", Some(self.record_bytes.to_string()));
            add("--producers", Some(self.producers.to_string()));
            add("--keys", self.keys.to_possible_value().map(|v| v.get_name().to_owned()));
            add("--compression", Some(word(&self.codec)));
            add("--linger-ms", self.linger_ms.map(|ms| ms.to_string()));
            match self.acks {
                Acks::All => {}
                Acks::Leader => add("--idempotence false -X", Some("acks=1".into())),
                Acks::None => add("--idempotence false -X", Some("acks=0".into())),
            }
        }
        if self.consumers > 0 {
            add("--consumers", Some(self.consumers.to_string()));
        }
        match rate {
            Some(rate) => {
                add("--rate", Some(rate.to_string()));
                add("--seconds", self.seconds.map(|s| s.to_string()));
                add("--warmup-seconds", self.warmup_seconds.map(|s| s.to_string()));
            }
            None => {
                add("--records", self.records.map(|r| r.to_string()));
                if self.producers > 0 {
                    add("--no-read-back", (!self.read_back).then(String::new));
                    add("--warmup-records", self.warmup_records.map(|r| r.to_string()));
                }
            }
        }
        words(&text)
    }

    /// RocketMQ's programs are told their work and times by the options, and all else by the
    /// workload's own keys.
    fn program_arguments(&self) -> Vec<String> {
        let mut text = format!("--topic {} --message-bytes {}", self.topic(), self.record_bytes);
        if self.topics > 1 {
            text += &format!(" --topics {}", self.topics);
        }
        if self.producers > 0 {
            text += &format!(" --threads {}", self.producers);
        }
        words(&text)
    }

    /// The generator is told its work by the options, and its sizes by the workload's own keys.
    fn raw_arguments(&self, rate: Option<f64>) -> Vec<String> {
        let (topic, topics, partitions) = (self.topic(), self.topics, self.partitions);
        let (queues, bytes) = match self.protocol() {
            Protocol::Kafka => ("--partitions", "--record-bytes"),
            Protocol::Rocketmq => ("--queues", "--message-bytes"),
        };
        let mut text = format!("--topic {topic} --topics {topics} {queues} {partitions}");
        if self.producers > 0 {
            text += &format!(" {bytes} {}", self.record_bytes);
        }
        if !self.read_back {
            text += " --no-read-back";
        }
        if let Some(records) = self.records {
            text += &format!(" --records {records}");
        }
        if let Some(rate) = rate {
            text += &format!(" --rate {rate}");
        }
        if let Some(seconds) = self.seconds {
            text += &format!(" --seconds {seconds}");
        }
        if let Some(seconds) = self.warmup_seconds {
            text += &format!(" --warmup-seconds {seconds}");
        }
        words(&text)
    }

    fn restart_arguments(&self) -> Vec<String> {
        let (topics, partitions, bytes) = (self.topics, self.partitions, self.record_bytes);
        let fill = self.fill_gb.unwrap_or(0.0);
        words(&format!(
            "startup --fill-gb {fill} --topics {topics} --partitions {partitions} \
             --record-bytes {bytes}"
        ))
    }
}

/// Runs a workload and takes its result; `say` is told what is being done. A workload that breaks
/// off has a result that says so.
///
/// # Errors
/// It cannot be run against such a target, or was interrupted.
pub fn measure(workload: &Workload, target: &Target, say: &dyn Fn(&str)) -> Result<RunResult> {
    let mut result = match workload.rate {
        Some(Rate::Search(_)) => search(workload, target, say),
        Some(Rate::PerSecond(rate)) => once(workload, target, Some(rate)),
        None => once(workload, target, None),
    }?;
    if let Target::Running { filled_bytes, .. } = target {
        result.filled_bytes = *filled_bytes;
    }
    Ok(result)
}

/// Runs a workload of whose figures none are wanted.
///
/// # Errors
/// It cannot be run against such a target, or did not go well.
pub fn carry_out(workload: &Workload, target: &Target) -> Result<()> {
    let result = measure(workload, target, &|_| ())?;
    let why = match result.setup_exceeded_seconds {
        Some(seconds) => format!("setting up took over {seconds:.0} s"),
        None if result.ok => return Ok(()),
        None => result.failures.join("; "),
    };
    Err(PerfError::Failed(format!("the {} failed: {why}", workload.name)))
}

fn once(workload: &Workload, target: &Target, rate: Option<f64>) -> Result<RunResult> {
    let arguments = workload.arguments(target, rate)?;
    let mut result = match run(&arguments, setup_limit(workload, target))? {
        Outcome::Line(mut line) => {
            if workload.measure == Measure::Load {
                line.judge_records();
            }
            RunResult::of(workload, *line)
        }
        Outcome::SetupExceeded(limit) => RunResult::setup_exceeded(workload, limit.as_secs_f64()),
    };
    result.command = command_line(&arguments);
    Ok(result)
}

/// Looks for the highest rate that is sustained, and measures at half of it.
fn search(workload: &Workload, target: &Target, say: &dyn Fn(&str)) -> Result<RunResult> {
    let (mut search, mut steps) = (RateSearch::from(FIRST_RATE), Vec::<Step>::new());
    let mut failures = Vec::new();
    // Of the lowest rate that was not sustained, which is the last of them.
    let mut client_bound = None;
    while let Some(rate) = search.next() {
        say(&format!("{rate:.0} records a second"));
        let arguments = workload.arguments(target, Some(rate))?;
        let line = match run(&arguments, setup_limit(workload, target))? {
            Outcome::Line(line) => line,
            Outcome::SetupExceeded(limit) => {
                let mut result = RunResult::setup_exceeded(workload, limit.as_secs_f64());
                result.steps = steps;
                result.fail(failures);
                return Ok(result);
            }
        };
        let step = line.step(rate, workload.p99_limit_ms);
        // A rate too high is no failure; a record lost is one at any rate.
        let losses = line.failures.iter().filter(|failure| !failure.ends_with(NEVER_SENT));
        failures.extend(losses.map(|f| format!("at {rate:.0} a second: {f}")));
        if !step.sustained {
            let why = line.client_bound(workload);
            client_bound = why.map(|why| format!("at {rate:.0} a second: {why}"));
        }
        search.note(step.sustained);
        steps.push(step);
    }
    let Some(highest) = search.highest() else {
        let line = Line::failed("no rate was sustained".into());
        let mut result = RunResult::of(workload, line);
        result.steps = steps;
        result.fail(failures);
        return Ok(result);
    };
    let half = (highest / 2.0).round();
    say(&format!("{half:.0} records a second, half the highest"));
    let mut result = once(workload, target, Some(half))?;
    steps.sort_by(|a, b| a.rate.total_cmp(&b.rate));
    result.steps = steps;
    result.fail(failures);
    result.client_bound = result.client_bound.or(client_bound);
    result.figures.insert("highest_rate".into(), highest);
    Ok(result)
}

/// What a process came to.
enum Outcome {
    Line(Box<Line>),
    SetupExceeded(Duration),
}

/// Workloads on a broker that runs say when they have set up; the others set up by starting one.
fn setup_limit(workload: &Workload, target: &Target) -> Option<Duration> {
    let running = matches!(target, Target::Running { .. });
    running.then(|| Duration::from_secs_f64(workload.setup_limit_seconds))
}

/// Runs this program with other arguments and takes its result.
///
/// # Errors
/// It was interrupted. Whatever else goes wrong is its result.
fn run(arguments: &[String], setup_limit: Option<Duration>) -> Result<Outcome> {
    match start(arguments).and_then(|child| finish(child, arguments, setup_limit)) {
        Err(error @ PerfError::Interrupted(_)) => Err(error),
        Err(error) => Ok(Outcome::Line(Box::new(Line::failed(error.to_string())))),
        outcome => outcome,
    }
}

fn start(arguments: &[String]) -> Result<Child> {
    let program = std::env::current_exe().doing(|| "finding this program".into())?;
    let mut command = Command::new(program);
    command.arg("--detail").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    spawn(&mut command)
}

fn finish(mut child: Child, arguments: &[String], limit: Option<Duration>) -> Result<Outcome> {
    let stdout = child.stdout.take().expect("standard output is piped");
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(io::Result::ok);
        // Nobody listens any more once the set-up took too long.
        lines.for_each(|line| drop(tell.send(line)));
    });
    let first = match limit {
        Some(limit) => told.recv_timeout(limit),
        None => told.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
    };
    if let (Err(mpsc::RecvTimeoutError::Timeout), Some(limit)) = (&first, limit) {
        child.kill().doing(|| "ending a workload".into())?;
        child.wait().doing(|| "ending a workload".into())?;
        return Ok(Outcome::SetupExceeded(limit));
    }
    let last = first.into_iter().chain(told).filter(|line| line != MEASURING).last();
    let status = child.wait().doing(|| "running a workload".into())?;
    if was_interrupted(status) {
        return Err(PerfError::Interrupted(command_line(arguments)));
    }
    let line = last.and_then(|line| serde_json::from_str(&line).ok());
    let line = line.ok_or_else(|| {
        PerfError::Failed(format!("`{}` gave no result", command_line(arguments)))
    })?;
    Ok(Outcome::Line(Box::new(line)))
}

fn command_line(arguments: &[String]) -> String {
    format!("mainstem-perf {}", arguments.join(" "))
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The word a value has in workload files.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).expect("a word");
    value.as_str().expect("a word").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::load;
    use clap::Parser;

    fn arguments(more: &str, rate: Option<f64>) -> String {
        let text = format!("name = \"a\"\nshows = \"b\"\nsystems = [\"kafka\"]\n{more}");
        let workload = Workload::parse("a.toml", &text, false, &[]).expect("right");
        let target = Target::Running { address: "host:1".into(), pid: Some(7), filled_bytes: 0 };
        workload.arguments(&target, rate).expect("it runs there").join(" ")
    }

    #[test]
    fn every_key_of_a_workload_reaches_its_command() {
        let keyed = "topics = 3\npartitions = 4\nrecord_bytes = 99\nkeys = \"random\"\n\
                     producers = 2\nacks = \"leader\"\ncodec = \"lz4\"\nlinger_ms = 7\n\
                     records = 10\nwarmup_records = 1\nread_back = false\noptions = [\"--batch-bytes\", \"5\"]\n";
        assert_eq!(
            arguments(keyed, None),
            "produce --topic a --topics 3 --partitions 4 --record-bytes 99 --producers 2 \
             --keys random --compression lz4 --linger-ms 7 --idempotence false -X acks=1 \
             --records 10 --no-read-back --warmup-records 1 --batch-bytes 5 --brokers host:1 --pid 7"
        );
        let open =
            "producers = 1\nconsumers = 2\nrate = 5.0\nseconds = 3.0\nwarmup_seconds = 1.0\n";
        let text = arguments(open, Some(5.0));
        assert!(text.starts_with("latency "), "{text}");
        assert!(text.contains("--consumers 2 --rate 5 --seconds 3 --warmup-seconds 1"), "{text}");
    }

    #[test]
    fn a_broker_of_the_workloads_own_is_filled_by_its_command() {
        let command = |more: &str| {
            let text = format!(
                "name = \"a\"\nshows = \"b\"\nsystems = [\"rocketmq\"]\n\
                 source = \"rocketmq-benchmark\"\npartitions = 4\noptions = [\"send\"]\n{more}"
            );
            let workload = Workload::parse("a.toml", &text, false, &[]).expect("right");
            let target = Target::Own(words("--mainstem m"));
            workload.arguments(&target, None).expect("it runs there").join(" ")
        };
        let all = "rocketmq send --topic a --message-bytes 1024";
        assert_eq!(command(""), format!("{all} --mainstem m"));
        assert_eq!(command("fill_bytes = 7\n"), format!("{all} --fill-bytes 7 --mainstem m"));
    }

    #[test]
    fn rocketmqs_programs_are_led_to_the_name_server() {
        let text = "source = \"rocketmq-benchmark\"\noptions = [\"send\"]\ntopics = 2\n\
                    partitions = 4\nrecord_bytes = 9\nproducers = 3\nfill_bytes = 7\n";
        assert_eq!(
            arguments(text, None),
            "rocketmq send --topic a --message-bytes 9 --topics 2 --threads 3 --namesrv host:1 --pid 7"
        );
    }

    #[test]
    fn the_generator_is_told_its_sizes() {
        let raw = "source = \"raw\"\noptions = [\"latency\"]\nproducers = 1\nconsumers = 1\n\
                   rate = \"highest\"\nseconds = 3.0\n";
        assert_eq!(
            arguments(raw, Some(500.0)),
            "raw latency --topic a --topics 1 --partitions 6 --record-bytes 1024 --rate 500 \
             --seconds 3 --brokers host:1 --pid 7"
        );
        let raw = "source = \"raw\"\nprotocol = \"rocketmq\"\noptions = [\"rocketmq-send\"]\n\
                   partitions = 8\nproducers = 1\nseconds = 3.0\n";
        assert_eq!(
            arguments(raw, None),
            "raw rocketmq-send --topic a --topics 1 --queues 8 --message-bytes 1024 --seconds 3 \
             --namesrv host:1 --pid 7"
        );
    }

    #[test]
    fn what_is_shipped_is_understood() {
        for workload in load(None, false, &[]).expect("what is shipped is right") {
            let own = Target::Own(words("--mainstem m"));
            let running =
                Target::Running { address: "host:1".into(), pid: Some(7), filled_bytes: 0 };
            for (target, meant) in
                [(own, workload.has_own_broker()), (running, !workload.measures_start())]
            {
                if meant {
                    let rate = workload.rate.map(|_| FIRST_RATE);
                    let arguments = workload.arguments(&target, rate).expect("it runs there");
                    let line = ["perf".to_owned()].into_iter().chain(arguments);
                    crate::Cli::try_parse_from(line).map(drop).expect(&workload.name);
                }
            }
        }
    }

    #[test]
    fn a_process_without_result_is_a_failed_run() {
        let mut command = Command::new("true");
        let child = command.stdout(Stdio::piped()).spawn().expect("there is `true`");
        let error = finish(child, &["x".into()], None).err().expect("there is no result");
        assert!(error.to_string().contains("`mainstem-perf x` gave no result"));
    }

    #[test]
    fn a_process_that_was_interrupted_has_no_result() {
        for script in ["kill -INT $$", "kill -TERM $$", "exit 130"] {
            // Whoever runs the tests in the background may have SIGINT ignored.
            let mut command = Command::new("env");
            command.args(["--default-signal=INT,TERM", "sh", "-c", script]);
            let child = command.stdout(Stdio::piped()).spawn().expect("there is `env`");
            let error = finish(child, &["x".into()], None).err();
            assert!(matches!(error, Some(PerfError::Interrupted(_))), "{script}: {error:?}");
        }
    }

    #[test]
    fn a_set_up_that_takes_too_long_is_ended_and_said() {
        let mut command = Command::new("sleep");
        let child = command.arg("600").stdout(Stdio::piped()).spawn().expect("there is `sleep`");
        let outcome = finish(child, &[], Some(Duration::from_millis(20))).expect("it is ended");
        assert!(matches!(outcome, Outcome::SetupExceeded(_)));
    }

    #[test]
    fn a_result_follows_the_announcement() {
        let mut command = Command::new("printf");
        command.arg(format!("{MEASURING}\\n{{\"records\":3,\"failures\":[\"x\"]}}\\n"));
        let child = command.stdout(Stdio::piped()).spawn().expect("there is `printf`");
        let limit = Some(Duration::from_secs(60));
        let Outcome::Line(line) = finish(child, &[], limit).expect("a result") else {
            panic!("nothing took too long");
        };
        assert_eq!(line.failures, ["x"]);
    }
}
