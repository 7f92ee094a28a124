//! The systems compared, and how each is started.

use crate::broker_process::BrokerProcess;
use crate::error::{Doing, PerfError, Result};
use crate::kafka_anchor::{KAFKA_VERSION, KafkaAnchor};
use crate::own_build::checksum;
use crate::rocketmq_anchor::{ROCKETMQ_VERSION, RocketMqAnchor};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where results, logs and the fetched jars go unless the user says otherwise.
pub const OUT: &str = "target/perf";

/// Which system to start for Kafka's clients, and where its files go.
#[derive(Args, Debug, Clone)]
pub struct KafkaSystemArgs {
    /// The `mainstem` program.
    #[arg(long, value_name = "PATH", required_unless_present = "kafka")]
    mainstem: Option<PathBuf>,
    /// Start the real Kafka instead.
    #[arg(long, conflicts_with = "mainstem")]
    kafka: bool,
    #[command(flatten)]
    options: KafkaOptions,
    #[command(flatten)]
    places: Places,
}

/// Which system to start for RocketMQ's clients, or which runs already, and where files go.
#[derive(Args, Debug, Clone)]
pub struct RocketmqSystemArgs {
    /// The `mainstem` program.
    #[arg(long, value_name = "PATH", required_unless_present_any = ["rocketmq", "namesrv"])]
    mainstem: Option<PathBuf>,
    /// Start the real RocketMQ instead.
    #[arg(long, conflicts_with = "mainstem")]
    rocketmq: bool,
    /// Start none: the broker of the name server at this address, as host:port, is measured.
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["mainstem", "rocketmq"])]
    namesrv: Option<String>,
    /// That broker's process id, to measure what it uses.
    #[arg(long, requires = "namesrv")]
    pid: Option<u32>,
    #[command(flatten)]
    options: RocketmqOptions,
    #[command(flatten)]
    places: Places,
}

/// Options of starting any of the systems.
#[derive(Args, Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SystemOptions {
    /// Whatever the system.
    #[command(flatten)]
    #[serde(flatten)]
    pub places: Places,
    /// Of Kafka.
    #[command(flatten)]
    #[serde(flatten)]
    pub kafka: KafkaOptions,
    /// Of RocketMQ.
    #[command(flatten)]
    #[serde(flatten)]
    pub rocketmq: RocketmqOptions,
}

/// Options of starting whatever system, and those of ours.
#[derive(Args, Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Places {
    /// One more argument for `mainstem serve`; may be repeated.
    #[arg(long = "mainstem-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub mainstem_args: Vec<String>,
    /// Where results, logs and the fetched jars go.
    #[arg(long, value_name = "DIR", default_value = OUT)]
    pub out: PathBuf,
    /// Where the brokers keep their data while they run, all on the same file system.
    /// [default: OUT/data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

/// Options of starting Kafka.
#[derive(Args, Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct KafkaOptions {
    /// A directory that has Kafka's jars. [default: OUT/kafka/lib, fetched with Maven]
    #[arg(long, value_name = "DIR")]
    pub kafka_lib: Option<PathBuf>,
    /// A setting of Kafka's over its defaults; may be repeated. `compare` sets those that
    /// make it sync by itself, with `--tiers synced`.
    #[arg(long = "kafka-set", value_name = "NAME=VALUE")]
    pub kafka_set: Vec<String>,
}

/// Options of starting RocketMQ, or its programs.
#[derive(Args, Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RocketmqOptions {
    /// A directory that has RocketMQ's jars. [default: OUT/rocketmq/lib, fetched with Maven]
    #[arg(long, value_name = "DIR")]
    pub rocketmq_lib: Option<PathBuf>,
    /// A setting of RocketMQ's broker over its defaults; may be repeated. `compare` sets
    /// those that make it sync by itself, with `--tiers synced`.
    #[arg(long = "rocketmq-set", value_name = "NAME=VALUE")]
    pub rocketmq_set: Vec<String>,
}

impl Places {
    /// Where the brokers' data goes.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.out.join("data"))
    }

    /// Mainstem, ready to start.
    ///
    /// # Errors
    /// There is no such program.
    pub fn mainstem(&self, program: &Path) -> Result<System> {
        let program = program.canonicalize().doing(|| format!("finding {}", program.display()))?;
        Ok(System::Mainstem { program, arguments: self.mainstem_args.clone() })
    }
}

impl KafkaOptions {
    /// Kafka, ready to start.
    ///
    /// # Errors
    /// Java, Maven or the jars are missing.
    pub fn prepare(&self, places: &Places) -> Result<System> {
        let cache = places.out.join("kafka");
        let anchor = KafkaAnchor::prepare(self.kafka_lib.as_deref(), &cache, &self.kafka_set)?;
        Ok(System::Kafka(anchor))
    }
}

impl RocketmqOptions {
    /// RocketMQ, ready to start; its benchmark programs come with it.
    ///
    /// # Errors
    /// Java, Maven or the jars are missing.
    pub fn prepare(&self, places: &Places) -> Result<RocketMqAnchor> {
        let cache = places.out.join("rocketmq");
        RocketMqAnchor::prepare(self.rocketmq_lib.as_deref(), &cache, &self.rocketmq_set)
    }
}

impl KafkaSystemArgs {
    /// The system chosen.
    ///
    /// # Errors
    /// What it needs is missing.
    pub fn system(&self) -> Result<System> {
        match &self.mainstem {
            Some(program) => self.places.mainstem(program),
            None => self.options.prepare(&self.places),
        }
    }

    /// Where its files go.
    pub fn places(&self) -> &Places {
        &self.places
    }
}

impl RocketmqSystemArgs {
    /// RocketMQ's programs, which are the clients.
    ///
    /// # Errors
    /// What they need is missing.
    pub fn programs(&self) -> Result<RocketMqAnchor> {
        self.options.prepare(&self.places)
    }

    /// The system chosen, which may be that of these programs.
    ///
    /// # Errors
    /// There is no such program.
    pub fn chosen(&self, programs: &RocketMqAnchor) -> Result<RocketmqSystem> {
        Ok(match (&self.namesrv, &self.mainstem) {
            (Some(name_server), _) => {
                RocketmqSystem::Running { name_server: name_server.clone(), pid: self.pid }
            }
            (None, Some(program)) => RocketmqSystem::ToStart(self.places.mainstem(program)?),
            (None, None) => RocketmqSystem::ToStart(System::RocketMq(programs.clone())),
        })
    }

    /// Where its files go.
    pub fn places(&self) -> &Places {
        &self.places
    }
}

/// A system for RocketMQ's clients.
pub enum RocketmqSystem {
    /// One to start.
    ToStart(System),
    /// One that runs.
    Running {
        /// Its name server, as host:port.
        name_server: String,
        /// The broker's process.
        pid: Option<u32>,
    },
}

/// A system that can be started on a data directory.
#[derive(Debug, Clone)]
pub enum System {
    /// Ours, at its defaults: durable before it answers.
    Mainstem {
        /// The program.
        program: PathBuf,
        /// More arguments for `serve`.
        arguments: Vec<String>,
    },
    /// Kafka, at its defaults: it does not call fsync.
    Kafka(KafkaAnchor),
    /// RocketMQ, at its defaults: it does not wait for fsync.
    RocketMq(RocketMqAnchor),
}

impl System {
    /// A word for file names and results.
    pub fn name(&self) -> &'static str {
        match self {
            System::Mainstem { .. } => "mainstem",
            System::Kafka(_) => "kafka",
            System::RocketMq(_) => "rocketmq",
        }
    }

    /// What is being measured, with its version.
    pub fn title(&self) -> String {
        match self {
            System::Mainstem { program, .. } => {
                let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
                let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
                let line = text.unwrap_or_default().lines().next().unwrap_or("").trim().to_owned();
                if line.is_empty() { "mainstem".into() } else { line }
            }
            System::Kafka(_) => format!("Kafka {KAFKA_VERSION}"),
            System::RocketMq(_) => format!("RocketMQ {ROCKETMQ_VERSION}"),
        }
    }

    /// Which build of it, where versions do not say.
    ///
    /// # Errors
    /// The program cannot be read.
    pub fn build(&self) -> Result<Option<String>> {
        match self {
            System::Mainstem { program, .. } => checksum(program).map(Some),
            System::Kafka(_) | System::RocketMq(_) => Ok(None),
        }
    }

    /// How it is started, line by line: what is given to it, ports and directories aside.
    pub fn configuration(&self) -> Vec<String> {
        match self {
            System::Mainstem { arguments, .. } => {
                let serve = |others| {
                    let given = arguments.join(" ");
                    format!("serve --admin off {others} {given}").trim_end().to_owned()
                };
                vec![
                    serve("--rocketmq off --namesrv off"),
                    format!("for RocketMQ's clients: {}", serve("--kafka off")),
                ]
            }
            System::Kafka(anchor) => anchor.configuration(),
            System::RocketMq(anchor) => anchor.configuration(),
        }
    }

    /// The options that make this tool start it.
    pub fn arguments(&self) -> Vec<String> {
        match self {
            System::Mainstem { program, arguments } => {
                let mut options = vec!["--mainstem".into(), program.display().to_string()];
                for argument in arguments {
                    options.extend(["--mainstem-arg".into(), argument.clone()]);
                }
                options
            }
            System::Kafka(anchor) => anchor.arguments(),
            System::RocketMq(anchor) => anchor.arguments(),
        }
    }

    /// Makes an empty directory one that the system starts on.
    ///
    /// # Errors
    /// Kafka's tool fails.
    pub fn prepare(&self, data: &Path) -> Result<()> {
        match self {
            System::Mainstem { .. } | System::RocketMq(_) => Ok(()),
            System::Kafka(anchor) => anchor.format(data),
        }
    }

    /// Starts it for Kafka's clients and waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not get ready, or has no place for such clients.
    pub fn start(&self, data: &Path, log: &Path) -> Result<BrokerProcess> {
        match self {
            System::Mainstem { program, arguments } => {
                let mut command = serve(program, data);
                command.args(["--kafka", "127.0.0.1:0", "--rocketmq", "off", "--namesrv", "off"]);
                command.args(arguments);
                BrokerProcess::start_until_ready_line(&mut command, "kafka", log)
            }
            System::Kafka(anchor) => anchor.start(data, log),
            System::RocketMq(_) => {
                Err(PerfError::Failed("RocketMQ has no listener for Kafka's clients".into()))
            }
        }
    }

    /// Starts it for RocketMQ's clients and waits until it says that it is ready. Its address is
    /// its name server's.
    ///
    /// # Errors
    /// It does not get ready, or has no place for such clients.
    pub fn start_for_rocketmq(&self, data: &Path, log: &Path) -> Result<BrokerProcess> {
        match self {
            System::Mainstem { program, arguments } => {
                let mut command = serve(program, data);
                command.args(["--rocketmq", "127.0.0.1:0", "--namesrv", "127.0.0.1:0"]);
                command.args(["--kafka", "off"]).args(arguments);
                BrokerProcess::start_until_ready_line(&mut command, "namesrv", log)
            }
            System::RocketMq(anchor) => anchor.start(data, log),
            System::Kafka(_) => {
                Err(PerfError::Failed("Kafka has no listener for RocketMQ's clients".into()))
            }
        }
    }
}

fn serve(program: &Path, data: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("serve").arg("--data-dir").arg(data).args(["--admin", "off"]);
    // Settings of whoever measures would be in no report.
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"MAINSTEM_") {
            command.env_remove(name);
        }
    }
    command
}

/// Has the kernel write out what it holds, so that no run pays for the one before it.
///
/// # Errors
/// There is no `sync` program.
pub fn settle_disk() -> Result<()> {
    let status = Command::new("sync").status().doing(|| "running sync".into())?;
    match status.success() {
        true => Ok(()),
        false => Err(PerfError::Failed("sync failed".into())),
    }
}
