//! The real Kafka, from Maven Central's jars alone, at its defaults.

use crate::broker_process::{BrokerProcess, spawn};
use crate::error::{Doing, PerfError, Result};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The release compared with.
pub const KAFKA_VERSION: &str = "4.3.1";

/// Kafka needs it, and says nothing helpful without.
const JAVA_VERSION: u32 = 17;

/// Heap and collector as in Kafka's own start script.
const JVM_OPTIONS: [&str; 6] = [
    "-Xms1G",
    "-Xmx1G",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
];

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

const ARTIFACTS: [(&str, &str, &str); 5] = [
    ("org.apache.kafka", "kafka_2.13", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-tools", KAFKA_VERSION),
    ("org.apache.kafka", "kafka-clients", KAFKA_VERSION),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
    ("org.apache.logging.log4j", "log4j-core", "2.24.3"),
];

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
        let found = java_version().ok_or_else(|| {
            PerfError::Failed(format!(
                "no java on the PATH: Kafka {KAFKA_VERSION} needs Java {JAVA_VERSION} or later"
            ))
        })?;
        if found < JAVA_VERSION {
            return Err(PerfError::Failed(format!(
                "java on the PATH is {found}: Kafka {KAFKA_VERSION} needs {JAVA_VERSION} or later"
            )));
        }
        let lib = lib.map_or_else(|| cache.join("lib"), Path::to_path_buf);
        if !has_jars(&lib) {
            fetch(&lib, cache)?;
        }
        let lib = lib.canonicalize().doing(|| format!("finding {}", lib.display()))?;
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
        let mut command = self.java(&["-Xmx256M"]);
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
        let mut command = self.java(&JVM_OPTIONS);
        command.arg("kafka.Kafka").arg(data.join("server.properties"));
        BrokerProcess::start_until_port(&mut command, address, log)
    }

    fn java(&self, options: &[&str]) -> Command {
        let mut command = Command::new("java");
        command.args(options).arg("-cp").arg(self.lib.join("*"));
        command
    }

    fn write_properties(&self, data: &Path) -> Result<String> {
        let (broker, controller) = (free_port()?, free_port()?);
        let (broker_port, controller_port) = (port(&broker)?, port(&controller)?);
        let mut lines = vec![
            "process.roles=broker,controller".to_owned(),
            "node.id=1".into(),
            format!("controller.quorum.voters=1@127.0.0.1:{controller_port}"),
            format!(
                "listeners=PLAINTEXT://127.0.0.1:{broker_port},\
                 CONTROLLER://127.0.0.1:{controller_port}"
            ),
            format!("advertised.listeners=PLAINTEXT://127.0.0.1:{broker_port}"),
            "controller.listener.names=CONTROLLER".into(),
            "inter.broker.listener.name=PLAINTEXT".into(),
            format!("log.dirs={}", data.join("logs").display()),
            "offsets.topic.replication.factor=1".into(),
            "transaction.state.log.replication.factor=1".into(),
            "transaction.state.log.min.isr=1".into(),
            "share.coordinator.state.topic.replication.factor=1".into(),
            "share.coordinator.state.topic.min.isr=1".into(),
            "group.initial.rebalance.delay.ms=0".into(),
        ];
        lines.extend(self.overrides.iter().cloned());
        let path = data.join("server.properties");
        fs::write(&path, lines.join("\n") + "\n")
            .doing(|| format!("writing {}", path.display()))?;
        Ok(format!("127.0.0.1:{broker_port}"))
    }
}

fn has_jars(lib: &Path) -> bool {
    lib.join(format!("kafka_2.13-{KAFKA_VERSION}.jar")).is_file()
}

fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // `openjdk version "17.0.15" 2025-04-15`
    text.split('"').nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

fn fetch(lib: &Path, cache: &Path) -> Result<()> {
    eprintln!("fetching Kafka {KAFKA_VERSION} with Maven");
    fs::create_dir_all(cache).doing(|| format!("creating {}", cache.display()))?;
    let pom = cache.join("pom.xml");
    fs::write(&pom, project_file()).doing(|| format!("writing {}", pom.display()))?;
    fs::create_dir_all(lib).doing(|| format!("creating {}", lib.display()))?;
    let lib = lib.canonicalize().doing(|| format!("finding {}", lib.display()))?;
    let mut command = Command::new("mvn");
    command.args(["--quiet", "--batch-mode", "-Dstyle.color=never", "--file"]).arg(&pom);
    command.arg("dependency:copy-dependencies");
    command.arg(format!("-DoutputDirectory={}", lib.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = spawn(&mut command).and_then(|mut m| m.wait().doing(|| "running mvn".into()));
    match status {
        Ok(status) if status.success() && has_jars(&lib) => Ok(()),
        Ok(_) => Err(PerfError::Failed("Maven could not fetch Kafka's jars".into())),
        Err(error) => Err(PerfError::Failed(format!(
            "{error}: Kafka {KAFKA_VERSION} is fetched by Maven; install it, or name a directory \
             that has the jars with --kafka-lib"
        ))),
    }
}

fn project_file() -> String {
    let dependencies: String = ARTIFACTS
        .iter()
        .map(|(group, artifact, version)| {
            format!(
                "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                 <version>{version}</version></dependency>"
            )
        })
        .collect();
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>mainstem</groupId><artifactId>anchor</artifactId><version>1</version>\
         <packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>\n"
    )
}

/// A listener on a port nobody else has; the port stays free for a moment after it is closed.
fn free_port() -> Result<TcpListener> {
    TcpListener::bind("127.0.0.1:0").doing(|| "finding a free port".into())
}

fn port(listener: &TcpListener) -> Result<u16> {
    Ok(listener.local_addr().doing(|| "finding a free port".into())?.port())
}
