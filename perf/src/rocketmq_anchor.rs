//! The real RocketMQ, from Maven Central's jars alone, at its defaults.

use crate::broker_process::BrokerProcess;
use crate::error::{Doing, Result};
use crate::free_port::FreePort;
use crate::maven::{Jars, java};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The release compared with.
pub const ROCKETMQ_VERSION: &str = "5.5.0";

const JARS: Jars = Jars {
    title: "RocketMQ 5.5.0",
    artifacts: &[
        ("org.apache.rocketmq", "rocketmq-broker", ROCKETMQ_VERSION),
        ("org.apache.rocketmq", "rocketmq-namesrv", ROCKETMQ_VERSION),
        ("org.apache.rocketmq", "rocketmq-client", ROCKETMQ_VERSION),
        ("org.apache.rocketmq", "rocketmq-tools", ROCKETMQ_VERSION),
        ("org.apache.rocketmq", "rocketmq-example", ROCKETMQ_VERSION),
    ],
    option: "--rocketmq-lib",
};

const NAME_SERVER_OPTIONS: [&str; 2] = ["-Xms256m", "-Xmx256m"];

/// A heap that leaves the page cache its share on a small machine: RocketMQ's own script asks for
/// 8 GB. Without the exports and opens a Java of today keeps it from unmapping its files.
const BROKER_OPTIONS: [&str; 7] = [
    "-Xms2g",
    "-Xmx2g",
    "-XX:MaxDirectMemorySize=2g",
    "-XX:+UseG1GC",
    "--add-exports=java.base/sun.nio.ch=ALL-UNNAMED",
    "--add-opens=java.base/java.nio=ALL-UNNAMED",
    "--add-opens=java.base/java.lang=ALL-UNNAMED",
];

/// What a broker alone is told besides its ports and directories, all of it RocketMQ's defaults.
const SETTINGS: [&str; 6] = [
    "brokerClusterName=DefaultCluster",
    "brokerName=broker-a",
    "brokerId=0",
    "brokerRole=ASYNC_MASTER",
    "flushDiskType=ASYNC_FLUSH",
    "autoCreateTopicEnable=true",
];

/// Old clients' second port lies so far below the first.
const VIP_DISTANCE: u16 = 2;

/// RocketMQ's jars, ready to run.
#[derive(Debug, Clone)]
pub struct RocketMqAnchor {
    lib: PathBuf,
    /// Broker settings over the defaults, NAME=VALUE.
    overrides: Vec<String>,
}

impl RocketMqAnchor {
    /// Uses the jars in `lib`; without one, those below `cache`, which are fetched if need be.
    ///
    /// # Errors
    /// Java or Maven are missing or too old, or the jars cannot be had.
    pub fn prepare(lib: Option<&Path>, cache: &Path, overrides: &[String]) -> Result<Self> {
        let lib = JARS.prepare(lib, cache)?;
        Ok(Self { lib, overrides: overrides.to_vec() })
    }

    /// The directory of the jars.
    pub fn lib(&self) -> &Path {
        &self.lib
    }

    /// The options that make this tool start it.
    pub fn arguments(&self) -> Vec<String> {
        let mut options =
            vec!["--rocketmq".into(), "--rocketmq-lib".into(), self.lib.display().to_string()];
        for setting in &self.overrides {
            options.extend(["--rocketmq-set".into(), setting.clone()]);
        }
        options
    }

    /// Starts a name server and a broker on an empty directory, on ports free at this moment. The
    /// broker's is the process measured; it is ready when it says that it has booted. On a busy
    /// machine its name server may hear of it a moment later.
    ///
    /// # Errors
    /// One of them does not get ready.
    pub fn start(&self, data: &Path, log: &Path) -> Result<BrokerProcess> {
        let name_server_log = log.with_extension("namesrv.log");
        let (address, mut command) = self.name_server(data)?;
        let name_server =
            BrokerProcess::start_until_port(&mut command, address.clone(), &name_server_log)?;
        let mut command = self.broker(data, &address)?;
        let broker = BrokerProcess::start_until_line(&mut command, log, move |line| {
            line.contains("boot success").then(|| address.clone())
        })?;
        Ok(broker.with_beside(name_server))
    }

    /// One of RocketMQ's own programs as a client, with what it logs below `home`.
    pub fn program(&self, class: &str, home: &Path) -> Command {
        let mut command = java(&self.lib, &["-Xmx512m", &user_home(home)]);
        command.arg(class);
        command
    }

    fn name_server(&self, data: &Path) -> Result<(String, Command)> {
        let port = FreePort::any()?.number()?;
        let home = data.join("namesrv");
        let config = home.join("namesrv.conf");
        let lines = [
            format!("listenPort={port}"),
            "bindAddress=127.0.0.1".into(),
            format!("kvConfigPath={}", home.join("kvConfig.json").display()),
            format!("configStorePath={}", home.join("namesrv.properties").display()),
        ];
        write_config(&config, &lines)?;
        let mut command = java(&self.lib, &NAME_SERVER_OPTIONS);
        in_home(&mut command, &home);
        command.arg("org.apache.rocketmq.namesrv.NamesrvStartup").arg("-c").arg(config);
        Ok((format!("127.0.0.1:{port}"), command))
    }

    /// What the broker is started with, ports and directories aside.
    pub fn configuration(&self) -> Vec<String> {
        let java = format!("java {}", BROKER_OPTIONS.join(" "));
        let script =
            "its own script asks for a heap of 8 GB, which leaves a small machine no cache";
        let java = [java, format!("({script})")];
        java.into_iter().chain(self.settings()).collect()
    }

    fn settings(&self) -> impl Iterator<Item = String> {
        SETTINGS.map(str::to_owned).into_iter().chain(self.overrides.iter().cloned())
    }

    fn broker(&self, data: &Path, name_server: &str) -> Result<Command> {
        let (listen, vip) = FreePort::with_lower(VIP_DISTANCE)?;
        let replication = FreePort::any()?;
        let home = data.join("broker");
        let store = home.join("store");
        let mut lines = vec![
            "brokerIP1=127.0.0.1".to_owned(),
            format!("listenPort={}", listen.number()?),
            format!("haListenPort={}", replication.number()?),
            format!("storePathRootDir={}", store.display()),
            format!("storePathCommitLog={}", store.join("commitlog").display()),
        ];
        drop((listen, vip, replication));
        lines.extend(self.settings());
        let config = home.join("broker.conf");
        write_config(&config, &lines)?;
        let mut command = java(&self.lib, &BROKER_OPTIONS);
        in_home(&mut command, &home);
        command.args(["org.apache.rocketmq.broker.BrokerStartup", "-n", name_server, "-c"]);
        command.arg(config);
        Ok(command)
    }
}

/// Keeps what a server writes beside its data in `home`: it ends unless it has a home of its own.
fn in_home(command: &mut Command, home: &Path) {
    command.env("ROCKETMQ_HOME", home).arg(user_home(home));
}

fn user_home(home: &Path) -> String {
    format!("-Duser.home={}", home.display())
}

fn write_config(path: &Path, lines: &[String]) -> Result<()> {
    let home = path.parent().expect("a configuration lies in its home");
    fs::create_dir_all(home).doing(|| format!("creating {}", home.display()))?;
    fs::write(path, lines.join("\n") + "\n").doing(|| format!("writing {}", path.display()))
}
