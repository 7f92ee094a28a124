//! The real Kafka, from Maven Central's jars alone, at its defaults.

use crate::broker_process::BrokerProcess;
use crate::error::{Doing, PerfError, Result};
use crate::free_port::FreePort;
use crate::maven::{Jars, java};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The release compared with.
pub const KAFKA_VERSION: &str = "4.3.1";

/// Heap and collector as in Kafka's own start script.
const JVM_OPTIONS: [&str; 6] = [
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

/// What a node alone needs, besides its ports and directories; all else is at its default.
const SETTINGS: [&str; 10] = [
    "process.roles=broker,controller",
    "node.id=1",
    "controller.listener.names=CONTROLLER",
    "inter.broker.listener.name=PLAINTEXT",
    "offsets.topic.replication.factor=1",
    "transaction.state.log.replication.factor=1",
    "transaction.state.log.min.isr=1",
    "share.coordinator.state.topic.replication.factor=1",
    "share.coordinator.state.topic.min.isr=1",
    "group.initial.rebalance.delay.ms=0",
];

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

const JARS: Jars = Jars {
    title: "Kafka 4.3.1",
    artifacts: &[
        ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
        ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
        ("org.apache.kafka", "kafka-clients", KAFKA_VERSION),
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
        ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
    ],
    option: "--kafka-lib",
};

/// Kafka's jars, ready to run.
#[derive(Debug, Clone)]
pub struct KafkaAnchor {
    lib: PathBuf,
    /// Broker settings over the defaults, NAME=VALUE.
    overrides: Vec<String>,
}

impl KafkaAnchor {
    /// Uses the jars in `lib`; without one, those below `cache`, which are fetched if need be.
    ///
    /// # Errors
    /// Java or Maven are missing or too old, or the jars cannot be had.
    pub fn prepare(lib: Option<&Path>, cache: &Path, overrides: &[String]) -> Result<Self> {
        let lib = JARS.prepare(lib, cache)?;
        Ok(Self { lib, overrides: overrides.to_vec() })
    }

    /// The options that make this tool start it.
    pub fn arguments(&self) -> Vec<String> {
        let mut options =
            vec!["--kafka".into(), "--kafka-lib".into(), self.lib.display().to_string()];
        for setting in &self.overrides {
            options.extend(["--kafka-set".into(), setting.clone()]);
        }
        options
    }

    /// Formats an empty directory, which is not counted as part of starting.
    ///
    /// # Errors
    /// Kafka's tool fails.
    pub fn format(&self, data: &Path) -> Result<()> {
        self.write_properties(data)?;
        let mut command = java(&self.lib, &["-Xmx256M"]);
        command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c"]);
        command.arg(data.join("server.properties")).stdin(Stdio::null());
        let output = command.output().doing(|| "starting Kafka's storage tool".into())?;
        if output.status.success() {
            return Ok(());
        }
        let (out, err) = (&output.stdout, &output.stderr);
        Err(PerfError::Failed(format!(
            "formatting Kafka's directory failed:\n{}{}",
            String::from_utf8_lossy(out),
            String::from_utf8_lossy(err)
        )))
    }

    /// Starts a broker on a formatted directory, on ports free at this moment. It is ready when its
    /// listener accepts.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn start(&self, data: &Path, log: &Path) -> Result<BrokerProcess> {
        let address = self.write_properties(data)?;
        let mut command = java(&self.lib, &JVM_OPTIONS);
        command.arg("kafka.Kafka").arg(data.join("server.properties"));
        BrokerProcess::start_until_port(&mut command, address, log)
    }

    /// What it is started with, ports and directories aside.
    pub fn configuration(&self) -> Vec<String> {
        [format!("java {}", JVM_OPTIONS.join(" "))].into_iter().chain(self.settings()).collect()
    }

    fn settings(&self) -> impl Iterator<Item = String> {
        SETTINGS.map(str::to_owned).into_iter().chain(self.overrides.iter().cloned())
    }

    fn write_properties(&self, data: &Path) -> Result<String> {
        let (broker, controller) = (FreePort::any()?, FreePort::any()?);
        let (broker_port, controller_port) = (broker.number()?, controller.number()?);
        let mut lines = vec![
            format!("controller.quorum.voters=1@127.0.0.1:{controller_port}"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{broker_port},\
                 CONTROLLER://127.0.0.1:{controller_port}"
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{broker_port}"),
            format!("log.dirs={}", data.join("logs").display()),
        ];
        lines.extend(self.settings());
        let path = data.join("server.properties");
        fs::write(&path, lines.join("\n") + "\n")
            .doing(|| format!("writing {}", path.display()))?;
        Ok(format!("127.0.0.1:{broker_port}"))
    }
}
