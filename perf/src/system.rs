//! The two systems compared, and how each is started.

use crate::broker_process::BrokerProcess;
use crate::error::{Doing, PerfError, Result};
use crate::kafka_anchor::{KAFKA_VERSION, KafkaAnchor};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Which system to start, and where its files go.
#[derive(Args, Debug, Clone)]
pub struct SystemArgs {
    /// The `mainstem` program.
    #[arg(long, value_name = "PATH", required_unless_present = "kafka")]
    mainstem: Option<PathBuf>,
    /// Start the real Kafka instead.
    #[arg(long, conflicts_with = "mainstem")]
    kafka: bool,
    #[command(flatten)]
    places: Places,
}

/// Options of starting either system.
#[derive(Args, Debug, Clone)]
pub struct Places {
    /// One more argument for `mainstem serve`; may be repeated.
    #[arg(long = "mainstem-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub mainstem_args: Vec<String>,
    /// A directory that has Kafka's jars. [default: OUT/kafka/lib, fetched with Maven]
    #[arg(long, value_name = "DIR")]
    pub kafka_lib: Option<PathBuf>,
    /// A setting of Kafka's over its defaults; may be repeated. The durable comparison is
    /// log.flush.interval.messages=1.
    #[arg(long = "kafka-set", value_name = "NAME=VALUE")]
    pub kafka_set: Vec<String>,
    /// Where results, logs and Kafka's jars go.
    #[arg(long, value_name = "DIR", default_value = "target/perf")]
    pub out: PathBuf,
    /// Where the brokers keep their data while they run, both on the same file system.
    /// [default: OUT/data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
}

impl Places {
    /// Where the brokers' data goes.
    pub fn data(&self) -> PathBuf {
        self.data.clone().unwrap_or_else(|| self.out.join("data"))
    }

    /// Kafka, ready to start.
    ///
    /// # Errors
    /// Java, Maven or the jars are missing.
    pub fn kafka(&self) -> Result<System> {
        let cache = self.out.join("kafka");
        let anchor = KafkaAnchor::prepare(self.kafka_lib.as_deref(), &cache, &self.kafka_set)?;
        Ok(System::Kafka(anchor))
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

impl SystemArgs {
    /// The system chosen.
    ///
    /// # Errors
    /// What it needs is missing.
    pub fn system(&self) -> Result<System> {
        match &self.mainstem {
            Some(program) => self.places.mainstem(program),
            None => self.places.kafka(),
        }
    }

    /// Where its files go.
    pub fn places(&self) -> &Places {
        &self.places
    }
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
}

impl System {
    /// A word for file names and results.
    pub fn name(&self) -> &'static str {
        match self {
            System::Mainstem { .. } => "mainstem",
            System::Kafka(_) => "kafka",
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
        }
    }

    /// Makes an empty directory one that the system starts on.
    ///
    /// # Errors
    /// Kafka's tool fails.
    pub fn prepare(&self, data: &Path) -> Result<()> {
        match self {
            System::Mainstem { .. } => Ok(()),
            System::Kafka(anchor) => anchor.format(data),
        }
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(&self, data: &Path, log: &Path) -> Result<BrokerProcess> {
        match self {
            System::Mainstem { program, arguments } => {
                let mut command = Command::new(program);
                command.arg("serve").arg("--data-dir").arg(data);
                command.args(["--kafka", "127.0.0.1:0", "--admin", "off"]);
                command.args(["--rocketmq", "off", "--namesrv", "off"]).args(arguments);
                BrokerProcess::start_until_ready_line(&mut command, log)
            }
            System::Kafka(anchor) => anchor.start(data, log),
        }
    }
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
