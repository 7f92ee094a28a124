//! The command line.

use std::{
    error::Error,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, Parser, Subcommand};

use super::{
    check::{Machine, Report},
    disk_bench,
    top::{self, TopError},
    tune,
};
use crate::config::{Config, ConfigError, ConfigErrors, Sources};

/// A message broker for Kafka's and RocketMQ's clients on one durable commit log.
///
/// Without a command it serves in development mode: data in ./mainstem-data, Kafka's clients on
/// 127.0.0.1:9092, RocketMQ's on 127.0.0.1:10911 with its name server on 127.0.0.1:9876, metrics and
/// health on 127.0.0.1:9644.
#[derive(Debug, Parser)]
#[command(name = "mainstem", version)]
pub struct Cli {
    /// What to do; serves in development mode when not said.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve clients until stopped.
    Serve(ServeArgs),
    /// Check this machine; ends with 1 if the broker could not run on it.
    Check(CheckArgs),
    /// Set what `check` misses in the kernel's files, and keep the old values; takes root.
    Tune(TuneArgs),
    /// Measure how fast the disk is for the log, and print the settings that follow.
    BenchDisk(BenchDiskArgs),
    /// Watch what a running broker does.
    Top(TopArgs),
    /// Print every key with default, bounds and meaning, or check a file.
    Config(ConfigArgs),
    /// Look at the log of a broker that is not running.
    Log {
        /// What to do with it.
        #[command(subcommand)]
        action: LogAction,
    },
}

/// How to serve. A flag outweighs the environment (MAINSTEM_LOG_FLUSH), that the file.
#[derive(Debug, Default, Args)]
pub struct ServeArgs {
    /// Where the data is, and any other key.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Address for Kafka's clients, or off [key kafka.listen].
    #[arg(long, value_name = "ADDR")]
    pub kafka: Option<String>,
    /// Address for RocketMQ's clients, or off [key rocketmq.listen].
    #[arg(long, value_name = "ADDR")]
    pub rocketmq: Option<String>,
    /// Address of RocketMQ's name server, or off [key rocketmq.namesrv].
    #[arg(long, value_name = "ADDR")]
    pub namesrv: Option<String>,
    /// Address for metrics and health, or off [key admin.listen].
    #[arg(long, value_name = "ADDR")]
    pub admin: Option<String>,
    /// Cores to use and stay on, as 0-3,6 [key shards.cores].
    #[arg(long, value_name = "LIST")]
    pub cores: Option<String>,
    /// When sends are answered: sync (once durable) or async [key log.flush].
    #[arg(long, value_name = "MODE")]
    pub flush: Option<String>,
}

/// Where the data is, and any other key.
#[derive(Debug, Default, Args)]
pub struct PlaceArgs {
    /// A TOML file with settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Directory of everything the broker keeps [key data_dir].
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Any key, see `mainstem config`; outweighs every other flag.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// How to check the machine.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Where the data would be, and any other key.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Say of every row where it is set, why, and what the risk is; not only of those that failed.
    #[arg(long)]
    pub explain: bool,
    /// Where /sys and /proc are.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// How to tune the machine. Nothing of it outlasts a restart of the machine.
#[derive(Debug, Args)]
pub struct TuneArgs {
    /// Where the data would be, and any other key.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Only print the commands, as a shell script.
    #[arg(long)]
    pub dry_run: bool,
    /// Put the old values back.
    #[arg(long, conflicts_with = "dry_run")]
    pub undo: bool,
    /// Where the old values are kept.
    #[arg(long, value_name = "FILE", default_value = "/var/lib/mainstem/tune.json")]
    pub state: PathBuf,
    /// Where /sys and /proc are.
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    pub root: PathBuf,
}

/// How to measure a disk. Takes 256 MiB of it meanwhile.
#[derive(Debug, Args)]
pub struct BenchDiskArgs {
    /// A directory on the disk; the one above it where it is not there yet.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// How long to measure, after the file is filled.
    #[arg(long, value_name = "SECONDS", default_value_t = 28, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub seconds: u16,
}

/// How to watch a broker. Ends with q.
#[derive(Debug, Args)]
pub struct TopArgs {
    /// The broker's address for metrics and health.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9644")]
    pub admin: String,
    /// Time from one frame to the next.
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=3600))]
    pub interval: u16,
    /// Print one frame as plain text, after one interval.
    #[arg(long)]
    pub once: bool,
}

/// What to say of the keys.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ConfigArgs {
    /// Print Markdown, as in tuning.md.
    #[arg(long)]
    pub markdown: bool,
    /// What to do instead of printing.
    #[command(subcommand)]
    pub action: Option<ConfigAction>,
}

/// What to do with keys but print them.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Check a file by itself, without the environment.
    Check {
        /// The TOML file.
        file: PathBuf,
    },
}

/// What to do with a log at rest.
#[derive(Debug, Subcommand)]
pub enum LogAction {
    /// Check every checksum.
    Verify(PlaceArgs),
    /// Print the frames, one a line, with the partitions they belong to.
    Dump(PlaceArgs),
    /// Give up what is damaged, so that the broker takes messages again.
    Repair(RepairArgs),
}

/// How to repair a log.
#[derive(Debug, Args)]
pub struct RepairArgs {
    /// Where the log is.
    #[command(flatten)]
    pub place: PlaceArgs,
    /// Only say what is damaged and what would be done.
    #[arg(long)]
    pub dry_run: bool,
}

impl ServeArgs {
    /// The configuration these flags, the environment and the file make.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let own = [
            ("--kafka", "kafka.listen", &self.kafka),
            ("--rocketmq", "rocketmq.listen", &self.rocketmq),
            ("--namesrv", "rocketmq.namesrv", &self.namesrv),
            ("--admin", "admin.listen", &self.admin),
            ("--cores", "shards.cores", &self.cores),
            ("--flush", "log.flush", &self.flush),
        ];
        let mut sources = PlaceArgs::sources();
        for (flag, key, value) in own {
            if let Some(value) = value {
                sources.flag(flag, key, value);
            }
        }
        self.place.load_over(sources)
    }
}

impl PlaceArgs {
    /// The configuration these flags, the environment and the file make.
    ///
    /// # Errors
    /// Everything wrong with it.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        self.load_over(Self::sources())
    }

    /// What there is besides flags and the file.
    fn sources() -> Sources {
        let memory_bytes = super::check::memory_bytes();
        Sources { memory_bytes, ..Sources::default() }.with_environment()
    }

    fn load_over(&self, mut sources: Sources) -> Result<Config, ConfigErrors> {
        sources.file.clone_from(&self.config);
        if let Some(data_dir) = &self.data_dir {
            sources.flag("--data-dir", "data_dir", data_dir);
        }
        let wrong: Vec<ConfigError> =
            self.set.iter().filter_map(|text| sources.assignment(text).err()).collect();
        if wrong.is_empty() { Config::load(&sources) } else { Err(ConfigErrors(wrong)) }
    }
}

impl CheckArgs {
    /// Looks at this machine.
    ///
    /// # Errors
    /// Everything wrong with the configuration.
    pub fn report(&self) -> Result<Report, ConfigErrors> {
        let config = self.place.load()?;
        let report = Report::of(&Machine::new(&self.root, &config));
        Ok(Report { explain: self.explain, ..report })
    }
}

impl TuneArgs {
    /// Prints, sets or puts back; tells what was done.
    ///
    /// # Errors
    /// Everything wrong with the configuration, or why not all could be set.
    pub fn run(&self) -> Result<String, Box<dyn Error>> {
        let config = self.place.load()?;
        let machine = Machine::new(&self.root, &config);
        if self.undo {
            return Ok(tune::undo(&machine, &self.state)?);
        }
        let plan = tune::Plan::of(&machine);
        if self.dry_run {
            Ok(plan.to_string())
        } else {
            Ok(tune::apply(&machine, &plan, &self.state)?)
        }
    }
}

impl BenchDiskArgs {
    /// Measures, and says what was measured.
    ///
    /// # Errors
    /// Everything wrong with the configuration, or what the disk said.
    pub fn run(&self) -> Result<String, Box<dyn Error>> {
        let config = self.place.load()?;
        let directory = Machine::new(Path::new("/"), &config).directory;
        let time = Duration::from_secs(self.seconds.into());
        Ok(disk_bench::measure(&directory, time)?.to_string())
    }
}

impl TopArgs {
    /// Watches until it is ended, or gives one frame.
    ///
    /// # Errors
    /// See [`TopError`].
    pub fn run(&self) -> Result<String, TopError> {
        let interval = Duration::from_secs(self.interval.into());
        if self.once {
            return top::once(&self.admin, interval);
        }
        top::live(&self.admin, interval).map(|()| String::new())
    }
}

impl ConfigArgs {
    /// What to print.
    ///
    /// # Errors
    /// Everything wrong with the file to check.
    pub fn answer(&self) -> Result<String, ConfigErrors> {
        match &self.action {
            None if self.markdown => Ok(crate::config::markdown()),
            None => Ok(crate::config::text()),
            Some(ConfigAction::Check { file }) => {
                let sources = Sources { file: Some(file.clone()), ..Sources::default() };
                let config = Config::load(&sources)?;
                let mut answer = format!("{} holds.\n", file.display());
                for (key, value) in config.differences() {
                    answer += &format!("{key} = {value}\n");
                }
                Ok(answer)
            }
        }
    }
}

/// Writes to standard output. A reader that went away, as `head` does, is no error.
pub fn print(text: &str) {
    _ = std::io::stdout().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_commands_hold() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_have_their_keys() {
        let arguments = "mainstem serve --data-dir d --kafka off --rocketmq off --namesrv off --admin 127.0.0.1:0 --cores 0-1,3 \
                         --flush async --set log.tail_bytes=128MiB --set log.segment_bytes=64MiB --set node.id=7";
        let cli = Cli::parse_from(arguments.split(' ').filter(|word| !word.is_empty()));
        let Some(Command::Serve(serve)) = cli.command else { panic!("{cli:?}") };
        let differences = serve.load().unwrap().differences();
        let text: Vec<_> =
            differences.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(
            text.join(" "),
            "data_dir=d node.id=7 shards.cores=0-1,3 log.flush=async log.segment_bytes=64MiB \
             kafka.listen=off rocketmq.listen=off rocketmq.namesrv=off admin.listen=127.0.0.1:0"
        );
    }

    #[test]
    fn set_outweighs_a_flag() {
        let cli =
            Cli::parse_from(["mainstem", "serve", "--set", "kafka.listen=off", "--kafka", "no"]);
        let Some(Command::Serve(serve)) = cli.command else { panic!("{cli:?}") };
        let error = serve.load().unwrap_err().to_string();
        assert!(error.starts_with("kafka.listen: \"no\""), "{error}");
        assert!(error.ends_with("(--kafka)"), "{error}");
    }
}
