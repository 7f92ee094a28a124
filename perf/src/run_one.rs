//! `run`: one workload against one broker that runs.

use crate::error::{Doing, PerfError, Result};
use crate::fill::fill_for;
use crate::measurement::{Target, measure};
use crate::progress::Progress;
use crate::rocketmq_anchor::RocketMqAnchor;
use crate::run_result::RunResult;
use crate::system::{OUT, settle_disk};
use crate::workload::{Setting, Source, Workload};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};

/// What to run, and against whom.
#[derive(Args, Debug, Clone)]
pub struct RunArgs {
    /// The workload's file.
    #[arg(value_name = "WORKLOAD.toml")]
    workload: PathBuf,
    /// Where clients of the broker begin, as host:port.
    #[arg(long, value_name = "ADDRESS")]
    target: String,
    /// The broker's process id, to measure what it uses.
    #[arg(long)]
    pid: Option<u32>,
    /// Small sizes: shows that it works, its figures mean little.
    #[arg(long)]
    quick: bool,
    /// Writes the workload's `fill_bytes` into a topic `fill` first, as `compare` does. That topic
    /// stays.
    #[arg(long)]
    fill: bool,
    /// Changes a key of the workload, as in `produce.records=1000000`; may be repeated.
    #[arg(long = "set", value_name = "WORKLOAD.KEY=VALUE")]
    settings: Vec<Setting>,
    /// A directory for the result and its histograms, besides the line that is printed.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// A directory that has RocketMQ's jars, for workloads of its benchmark programs.
    /// [default: target/perf/rocketmq/lib, fetched with Maven]
    #[arg(long, value_name = "DIR")]
    rocketmq_lib: Option<PathBuf>,
}

/// Runs it.
///
/// # Errors
/// The workload is wrong, measures a broker's start, or the result cannot be written.
pub fn run_one(args: &RunArgs) -> Result<RunResult> {
    let place = args.workload.display().to_string();
    let text = fs::read_to_string(&args.workload).doing(|| format!("reading {place}"))?;
    let mut workload = Workload::parse(&place, &text, args.quick, &args.settings)?;
    if workload.measures_start() {
        let why = format!("{} measures a broker's start: `compare` runs it", workload.name);
        return Err(PerfError::Failed(why));
    }
    // No other workload is known to come.
    workload.read_back = true;
    if workload.source == Source::RocketmqBenchmark {
        // Fetched before anything is held against the time that setting up may take.
        let cache = Path::new(OUT).join("rocketmq");
        let programs = RocketMqAnchor::prepare(args.rocketmq_lib.as_deref(), &cache, &[])?;
        workload.options.extend(["--rocketmq-lib".into(), programs.lib().display().to_string()]);
    }
    if args.fill && workload.fill_bytes == 0 {
        let why = format!("--fill: {} has no fill_bytes in this size", workload.name);
        return Err(PerfError::Failed(why));
    }
    let progress = Progress::new(1, 0);
    progress.say(&workload.name);
    let say = |step: &str| progress.say(&format!("{}, {step}", workload.name));
    let mut target =
        Target::Running { address: args.target.clone(), pid: args.pid, filled_bytes: 0 };
    if args.fill {
        fill_for(&workload, &mut target, &say)?;
        settle_disk()?;
    }
    let mut result = measure(&workload, &target, &say)?;
    drop(progress);
    (result.driver, result.variant, result.run) = (args.target.clone(), "alone".into(), 1);
    if let Some(out) = &args.out {
        fs::create_dir_all(out).doing(|| format!("creating {}", out.display()))?;
        let path = out.join(format!("{}.json", workload.name));
        result.write(&path)?;
        result.write_histograms(&path)?;
    }
    Ok(result)
}
