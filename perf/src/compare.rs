//! `compare`: the same workloads against every system, in turn.
//!
//! One turn is one system, started on an empty directory, warmed, measured and killed; the others
//! do not run meanwhile, since all would share the cores. Turns alternate, and another system
//! begins each round, so that a machine that changes its speed changes it for all.

use crate::broker_process::{DataDirectory, hold_if_interrupted};
use crate::environment::environment;
use crate::error::{PerfError, Result};
use crate::fill::fill_for;
use crate::measurement::{Target, carry_out, measure};
use crate::own_build::own_build;
use crate::pages;
use crate::progress::Progress;
use crate::run_directory::{Contestant, Plan, RunDirectory};
use crate::run_result::{Line, RunResult};
use crate::system::{System, SystemOptions, settle_disk};
use crate::variant::Variant;
use crate::workload::{self, Protocol, Setting, Source, SystemName, Tier, Workload};
use clap::Args;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What to compare, and how thoroughly.
#[derive(Args, Debug, Clone)]
pub struct CompareArgs {
    /// The `mainstem` program, built in release mode. [default: that beside this program]
    #[arg(long, value_name = "PATH")]
    mainstem: Option<PathBuf>,
    /// The systems to compare. [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    systems: Vec<SystemName>,
    /// Which promises are compared with which; a table for each.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Tier::AsShipped])]
    tiers: Vec<Tier>,
    /// Turns of each system, whose medians the tables show. [default: 5; with --quick 1]
    #[arg(long)]
    runs: Option<usize>,
    /// Small sizes: shows that everything works, its figures mean little.
    #[arg(long)]
    quick: bool,
    /// A directory of workload files. [default: those this program came with]
    #[arg(long, value_name = "DIR")]
    workloads: Option<PathBuf>,
    /// The workloads to run, by their names. [default: all]
    #[arg(long, value_delimiter = ',', alias = "rows", value_name = "NAME")]
    only: Vec<String>,
    /// Changes a key of a workload, as in `produce.records=1000000`, or `rmq-batch.fill_bytes=0` so
    /// that the broker is not filled before; may be repeated.
    #[arg(long = "set", value_name = "WORKLOAD.KEY=VALUE")]
    settings: Vec<Setting>,
    /// Records produced and consumed before anything is measured, so that a JVM has compiled what
    /// it runs; every system gets the same. [default: 7000000; with --quick 100000]
    #[arg(long)]
    warmup_records: Option<u64>,
    /// Goes on with a comparison that was interrupted, as it was begun.
    #[arg(long, value_name = "DIR", exclusive = true)]
    resume: Option<PathBuf>,
    #[command(flatten)]
    options: SystemOptions,
}

/// Runs every workload against each system, as often as asked, and writes the report. Says whether
/// all went well.
///
/// # Errors
/// A system cannot be prepared or started.
pub fn compare(args: &CompareArgs) -> Result<bool> {
    let (directory, systems) = match &args.resume {
        Some(path) => resume(path.clone())?,
        None => begin(args)?,
    };
    eprintln!("results go to {}", directory.path().display());
    let plan = directory.plan();
    let done = directory.results()?.len();
    let turns = Turns { directory: &directory, progress: Progress::new(plan.all_results(), done) };
    let outcome = turns.all(&systems);
    drop(turns);
    // Whatever stopped it, what there is can be read.
    let text = pages::write(&directory)?;
    println!("{text}");
    let path = directory.path().display();
    eprintln!("written to {path}");
    if outcome.is_err() {
        eprintln!("unfinished; `mainstem-perf compare --resume {path}` goes on with it");
    }
    outcome?;
    Ok(directory.results()?.iter().all(|r| r.failures.is_empty()))
}

/// Every contestant, ready to start.
type Systems = Vec<(Variant, System)>;

fn begin(args: &CompareArgs) -> Result<(RunDirectory, Systems)> {
    let mut workloads = workload::load(args.workloads.as_deref(), args.quick, &args.settings)?;
    choose(&mut workloads, &args.only)?;
    read_back_what_nobody_reads(&mut workloads);
    let mut plan = Plan {
        begun: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        quick: args.quick,
        runs: args.runs.unwrap_or(if args.quick { 1 } else { 5 }).max(1),
        warmup_records: match args.warmup_records {
            Some(records) => records,
            None => {
                if args.quick {
                    100_000
                } else {
                    7_000_000
                }
            }
        },
        tiers: args.tiers.clone(),
        contestants: Vec::new(),
        workloads,
        environment: environment(&args.options.places.data()),
        mainstem: None,
        options: args.options.clone(),
    };
    let variants = contestants(&plan, &args.systems)?;
    if variants.iter().any(|v| v.system == SystemName::Mainstem) {
        plan.mainstem = Some(args.mainstem.clone().map_or_else(own_build, Ok)?);
    }
    // Said now, not after an hour by the first of them.
    let takes_part = |w: &Workload| variants.iter().any(|v| !plan.tiers(w, *v).is_empty());
    let mut foreign = plan.workloads.iter().filter(|w| w.source == Source::RocketmqBenchmark);
    if foreign.any(takes_part) {
        plan.options.rocketmq.prepare(&plan.options.places)?;
    }
    let systems = variants
        .into_iter()
        .map(|variant| Ok((variant, variant.system(&plan.options, plan.mainstem.as_deref())?)))
        .collect::<Result<Systems>>()?;
    let contestant = |(variant, system): &(Variant, System)| contestant(*variant, system);
    plan.contestants = systems.iter().map(contestant).collect::<Result<_>>()?;
    let path = args.options.places.out.join(format!("compare-{}", plan.begun));
    Ok((RunDirectory::create(path, plan)?, systems))
}

fn resume(path: PathBuf) -> Result<(RunDirectory, Systems)> {
    let directory = RunDirectory::open(path)?;
    let plan = directory.plan();
    let mut systems = Vec::new();
    for begun in &plan.contestants {
        let system = begun.variant.system(&plan.options, plan.mainstem.as_deref())?;
        let now = contestant(begun.variant, &system)?;
        if (&now.title, &now.build) != (&begun.title, &begun.build) {
            let (was, is) = (begun.name(), now.name());
            let why = format!("this began with {was}; it is {is} now, which is another run");
            return Err(PerfError::Failed(why));
        }
        systems.push((begun.variant, system));
    }
    Ok((directory, systems))
}

/// What the report says of who takes part.
fn contestant(variant: Variant, system: &System) -> Result<Contestant> {
    Ok(Contestant {
        variant,
        title: system.title(),
        build: system.build()?,
        configuration: system.configuration(),
    })
}

/// Keeps the workloads named, and those they go on from.
fn choose(workloads: &mut Vec<Workload>, only: &[String]) -> Result<()> {
    if only.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = workloads.iter().map(|w| w.name.clone()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(name)) {
        let all = names.join(", ");
        return Err(PerfError::Failed(format!("no workload {unknown:?}; there are {all}")));
    }
    let mut chosen = only.to_vec();
    for workload in workloads.iter().rev() {
        if chosen.contains(&workload.name) {
            chosen.extend(workload.follows().map(str::to_owned));
        }
    }
    workloads.retain(|w| chosen.contains(&w.name));
    Ok(())
}

/// A workload leaves reading to another one only if that one runs too.
fn read_back_what_nobody_reads(workloads: &mut [Workload]) {
    let follows = |w: &Workload| w.follows().map(str::to_owned);
    let read: Vec<String> = workloads.iter().filter_map(follows).collect();
    workloads.iter_mut().for_each(|w| w.read_back |= !read.contains(&w.name));
}

/// Whom the tiers and workloads ask for, in a fixed order.
fn contestants(plan: &Plan, systems: &[SystemName]) -> Result<Vec<Variant>> {
    let mut found = Vec::new();
    for tier in &plan.tiers {
        for workload in plan.workloads.iter().filter(|w| w.tiers.contains(tier)) {
            found.extend(workload.systems.iter().map(|system| tier.variant(*system)));
        }
    }
    found.retain(|v| systems.is_empty() || systems.contains(&v.system));
    found.sort();
    found.dedup();
    match found.is_empty() {
        true => Err(PerfError::Failed("no system has any of these workloads to do".into())),
        false => Ok(found),
    }
}

/// A comparison under way.
struct Turns<'a> {
    directory: &'a RunDirectory,
    progress: Progress,
}

impl Turns<'_> {
    /// Every system's turns, in each round another first.
    fn all(&self, systems: &Systems) -> Result<()> {
        for run in 1..=self.directory.plan().runs {
            for i in 0..systems.len() {
                let (variant, system) = &systems[(run - 1 + i) % systems.len()];
                self.turn(*variant, system, run)?;
            }
        }
        Ok(())
    }

    /// Everything that is missing once against one system.
    fn turn(&self, variant: Variant, system: &System, run: usize) -> Result<()> {
        let missing = || {
            let missing = self.directory.missing(variant, run);
            missing.into_iter().partition::<Vec<_>, _>(|w| w.has_own_broker())
        };
        // More than one broker if one of them ended, or had to be given up.
        while let (_, mut shared) = missing()
            && let Some(protocol) = shared.first().map(|w| w.protocol())
        {
            shared.retain(|w| w.protocol() == protocol);
            self.shared_broker(variant, system, run, protocol, &shared)?;
        }
        for workload in missing().0 {
            let mut target = self.own_target(system, workload);
            self.measure(variant, system, run, workload, &mut target, || false)?;
        }
        Ok(())
    }

    /// Runs workloads on one broker until they are done, it has ended, or setting one up took too
    /// long: what that broker has begun would go on beside the next. Stores one result at least.
    fn shared_broker(
        &self,
        variant: Variant,
        system: &System,
        run: usize,
        protocol: Protocol,
        workloads: &[&Workload],
    ) -> Result<()> {
        let plan = self.directory.plan();
        let data = DataDirectory::create(plan.options.places.data().join(variant.to_string()))?;
        system.prepare(data.path())?;
        settle_disk()?;
        let log = self.directory.log_path(variant, run);
        let (mut broker, warm_up) = match protocol {
            Protocol::Kafka => (system.start(data.path(), &log)?, warm_up(plan.warmup_records)),
            Protocol::Rocketmq => {
                let log = log.with_extension("rocketmq.log");
                (system.start_for_rocketmq(data.path(), &log)?, Vec::new())
            }
        };
        let (address, pid) = (broker.address.clone(), Some(broker.pid()));
        let mut target = Target::Running { address, pid, filled_bytes: 0 };
        for workload in warm_up {
            self.progress.say(&format!("run {run} of {}, {variant}: warm-up", plan.runs));
            carry_out(&workload, &target)?;
        }
        let missing = || workloads.iter().filter(|w| !self.directory.has(w, variant, run)).count();
        let missing_before = missing();
        for workload in workloads {
            if broker.has_ended() {
                if missing() < missing_before {
                    return Ok(());
                }
                let line = Line::failed("the broker had ended before".into());
                self.store(variant, system, run, workload, RunResult::of(workload, line))?;
                continue;
            }
            let ended = || broker.has_ended();
            let exceeded = self.measure(variant, system, run, workload, &mut target, ended)?;
            if let Some(seconds) = exceeded {
                let name = Some(workload.name.as_str());
                for follower in workloads.iter().filter(|w| w.follows() == name) {
                    let result = RunResult::setup_exceeded(follower, seconds);
                    self.store(variant, system, run, follower, result)?;
                }
                return Ok(());
            }
        }
        Ok(())
    }

    /// Fills the broker if the workload asks for it, measures and keeps the result; tells how long
    /// setting up may take if it took longer, though the broker has not ended.
    fn measure(
        &self,
        variant: Variant,
        system: &System,
        run: usize,
        workload: &Workload,
        target: &mut Target,
        has_ended: impl FnOnce() -> bool,
    ) -> Result<Option<f64>> {
        let (runs, name) = (self.directory.plan().runs, &workload.name);
        let what = format!("run {run} of {runs}, {variant}: {name}");
        self.progress.say(&what);
        let say = |step: &str| self.progress.say(&format!("{what}, {step}"));
        let filled = fill_for(workload, target, &say);
        settle_disk()?;
        // A workload that breaks off fails its own result; the others still run.
        let result = match filled.and_then(|()| measure(workload, target, &say)) {
            Err(error @ PerfError::Interrupted(_)) => return Err(error),
            Err(error) => RunResult::of(workload, Line::failed(error.to_string())),
            Ok(mut result) if result.setup_exceeded_seconds.is_some() && has_ended() => {
                result.setup_exceeded_seconds = None;
                result.fail(vec!["the broker ended while it was set up".into()]);
                result
            }
            Ok(result) => result,
        };
        let exceeded = result.setup_exceeded_seconds;
        self.store(variant, system, run, workload, result)?;
        Ok(exceeded)
    }

    fn store(
        &self,
        variant: Variant,
        system: &System,
        run: usize,
        workload: &Workload,
        mut result: RunResult,
    ) -> Result<()> {
        hold_if_interrupted();
        result.driver = system.title();
        result.variant = variant.to_string();
        result.run = run;
        if !self.directory.has(workload, variant, run) {
            self.directory.store(&result)?;
            self.progress.step();
        }
        Ok(())
    }

    /// What makes this program start a system by itself.
    fn own_target(&self, system: &System, workload: &Workload) -> Target {
        let SystemOptions { places, rocketmq, .. } = &self.directory.plan().options;
        let mut options = system.arguments();
        options.extend(["--out".into(), places.out.display().to_string()]);
        if let Some(data) = &places.data {
            options.extend(["--data".into(), data.display().to_string()]);
        }
        // RocketMQ's programs are the clients, whatever the system.
        let foreign_client = workload.source == Source::RocketmqBenchmark;
        if let (true, System::Mainstem { .. }, Some(lib)) =
            (foreign_client, system, &rocketmq.rocketmq_lib)
        {
            options.extend(["--rocketmq-lib".into(), lib.display().to_string()]);
        }
        Target::Own(options)
    }
}

/// What every broker does before it is measured.
fn warm_up(records: u64) -> Vec<Workload> {
    let texts = [
        format!("producers = 1\nrecords = {records}"),
        "consumers = 1\ntopic = \"warm-up\"".to_owned(),
    ];
    let parse = |text: &String| {
        let text = format!("name = \"warm-up\"\nshows = \"\"\nsystems = [\"mainstem\"]\n{text}\n");
        Workload::parse("warm-up", &text, false, &[]).expect("the warm-up is right")
    };
    match records {
        0 => Vec::new(),
        _ => texts.iter().map(parse).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_workload_goes_on_from_comes_along() {
        for (only, wanted) in [
            ("topics-again", &["topics", "topics-again"][..]),
            ("raw-latency-cold", &["raw-cold-fill", "raw-latency-cold"]),
            ("latency", &["latency"]),
        ] {
            let mut workloads = workload::load(None, true, &[]).expect("what is shipped is right");
            choose(&mut workloads, &[only.to_owned()]).expect("there is such a workload");
            let names: Vec<_> = workloads.iter().map(|w| w.name.as_str()).collect();
            assert_eq!(names, wanted);
        }
    }

    #[test]
    fn what_no_other_workload_reads_is_read_back() {
        for (only, last) in [("produce", true), ("consume", false)] {
            let mut workloads = workload::load(None, true, &[]).expect("what is shipped is right");
            choose(&mut workloads, &[only.to_owned()]).expect("there is such a workload");
            read_back_what_nobody_reads(&mut workloads);
            assert_eq!((workloads[0].name.as_str(), workloads[0].read_back), ("produce", last));
        }
    }
}
