//! A comparison's directory: the plan, a file for every result, the logs and the report.

use crate::error::{Doing, PerfError, Result};
use crate::histogram::{hgrm, merge};
use crate::run_result::RunResult;
use crate::system::SystemOptions;
use crate::variant::Variant;
use crate::workload::{Tier, Workload};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// What is compared, decided before the first run and kept for those after an interruption.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// When it began, in seconds since 1970.
    pub begun: u64,
    /// Whether sizes are small.
    pub quick: bool,
    /// Turns of each contestant.
    pub runs: usize,
    /// Records each broker is given before its first workload.
    pub warmup_records: u64,
    /// Which promises are compared with which.
    pub tiers: Vec<Tier>,
    /// Who takes part.
    pub contestants: Vec<Contestant>,
    /// What they do.
    pub workloads: Vec<Workload>,
    /// The machine and its settings.
    pub environment: Vec<(String, String)>,
    /// Our own program, if it takes part.
    pub mainstem: Option<PathBuf>,
    /// How systems are started.
    #[serde(rename = "places")]
    pub options: SystemOptions,
}

/// One who takes part.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Contestant {
    /// The system and what it promises.
    pub variant: Variant,
    /// The system, with its version.
    pub title: String,
    /// Which build of it, where versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// How it is started: what is given to it, line by line, ports and directories aside.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<String>,
}

impl Contestant {
    /// The system, with its version and build.
    pub fn name(&self) -> String {
        let build = self.build.as_ref().map(|build| format!(", build {build}"));
        self.title.clone() + &build.unwrap_or_default()
    }
}

impl Plan {
    /// The tiers of this comparison in which a variant has to do a workload.
    pub fn tiers(&self, workload: &Workload, variant: Variant) -> Vec<Tier> {
        let tiers = self.tiers.iter().filter(|tier| workload.tiers.contains(tier));
        let takes_part = workload.systems.contains(&variant.system);
        tiers.filter(|t| takes_part && t.variant(variant.system) == variant).copied().collect()
    }

    /// What a variant has to do, in order.
    pub fn work_of(&self, variant: Variant) -> Vec<&Workload> {
        self.workloads.iter().filter(|w| !self.tiers(w, variant).is_empty()).collect()
    }

    /// How many results there will be.
    pub fn all_results(&self) -> usize {
        let each = self.contestants.iter().map(|c| self.work_of(c.variant).len());
        each.sum::<usize>() * self.runs
    }
}

/// The directory, with its plan.
pub struct RunDirectory {
    path: PathBuf,
    plan: Plan,
}

impl RunDirectory {
    /// Begins a comparison.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn create(path: PathBuf, plan: Plan) -> Result<Self> {
        let results = path.join("results");
        fs::create_dir_all(&results).doing(|| format!("creating {}", results.display()))?;
        let file = path.join("plan.json");
        let text = serde_json::to_string_pretty(&plan).expect("a plan has only string keys");
        fs::write(&file, text).doing(|| format!("writing {}", file.display()))?;
        Ok(Self { path, plan })
    }

    /// Opens one that was begun.
    ///
    /// # Errors
    /// There is no plan, or not of this program's.
    pub fn open(path: PathBuf) -> Result<Self> {
        let file = path.join("plan.json");
        let text = fs::read_to_string(&file).doing(|| format!("reading {}", file.display()))?;
        let plan = serde_json::from_str(&text)
            .map_err(|e| PerfError::Failed(format!("{}: {e}", file.display())))?;
        Ok(Self { path, plan })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is compared.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Whether a result is there.
    pub fn has(&self, workload: &Workload, variant: Variant, run: usize) -> bool {
        self.result_path(&workload.name, &variant.to_string(), run).is_file()
    }

    /// What has to be done on one broker for the results of a turn that are missing: these
    /// workloads, and those whose records they go on with. The broker's data went with it.
    pub fn missing(&self, variant: Variant, run: usize) -> Vec<&Workload> {
        let mut needed: Vec<&Workload> = Vec::new();
        for workload in self.plan.work_of(variant).into_iter().rev() {
            let followed = needed.iter().any(|n| n.follows() == Some(workload.name.as_str()));
            if followed || !self.has(workload, variant, run) {
                needed.push(workload);
            }
        }
        needed.reverse();
        needed
    }

    /// Keeps a result, unless an earlier one is there, and its histograms beside it.
    ///
    /// # Errors
    /// The files cannot be written.
    pub fn store(&self, result: &RunResult) -> Result<()> {
        let path = self.result_path(&result.workload, &result.variant, result.run);
        if path.is_file() {
            return Ok(());
        }
        // Under another name at first: a result counts once it is complete.
        let unfinished = path.with_extension("unfinished");
        result.write(&unfinished)?;
        result.write_histograms(&path)?;
        fs::rename(&unfinished, &path).doing(|| format!("writing {}", path.display()))
    }

    /// Every result there is, workload by workload in the plan's order.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn results(&self) -> Result<Vec<RunResult>> {
        let mut results = Vec::new();
        for workload in &self.plan.workloads {
            for contestant in &self.plan.contestants {
                for run in 1..=self.plan.runs {
                    if self.has(workload, contestant.variant, run) {
                        let variant = contestant.variant.to_string();
                        let path = self.result_path(&workload.name, &variant, run);
                        results.push(RunResult::read(&path)?);
                    }
                }
            }
        }
        Ok(results)
    }

    /// The log of a broker.
    pub fn log_path(&self, variant: Variant, run: usize) -> PathBuf {
        self.path.join(format!("logs/{variant}-{run}.log"))
    }

    fn result_path(&self, workload: &str, variant: &str, run: usize) -> PathBuf {
        self.path.join(format!("results/{workload}.{variant}.{run}.json"))
    }
}

impl RunResult {
    /// Writes each histogram as HdrHistogram's text beside the result's own file.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write_histograms(&self, beside: &Path) -> Result<()> {
        for (name, counts) in &self.histograms {
            if let Some(histogram) = merge([counts]) {
                let path = beside.with_extension(format!("{name}.hgrm"));
                fs::write(&path, hgrm(&histogram))
                    .doing(|| format!("writing {}", path.display()))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_result::Line;
    use crate::workload::{SystemName, load};

    fn plan(names: &[&str]) -> Plan {
        let mut workloads = load(None, true, &[]).expect("what is shipped is right");
        workloads.retain(|w| names.contains(&w.name.as_str()));
        let contestant = |system| Contestant {
            variant: Tier::AsShipped.variant(system),
            title: system.to_string(),
            build: None,
            configuration: Vec::new(),
        };
        Plan {
            begun: 0,
            quick: true,
            runs: 2,
            warmup_records: 0,
            tiers: vec![Tier::AsShipped],
            contestants: [SystemName::Mainstem, SystemName::Kafka].map(contestant).to_vec(),
            workloads,
            environment: Vec::new(),
            mainstem: None,
            options: SystemOptions::default(),
        }
    }

    fn store(directory: &RunDirectory, workload: usize, variant: Variant, run: usize) {
        let workload = &directory.plan().workloads[workload];
        let mut result = RunResult::of(workload, Line::default());
        (result.variant, result.run) = (variant.to_string(), run);
        directory.store(&result).expect("a temporary directory takes it");
    }

    fn names(workloads: Vec<&Workload>) -> Vec<&str> {
        workloads.into_iter().map(|w| w.name.as_str()).collect()
    }

    #[test]
    fn an_interrupted_comparison_goes_on_at_what_is_missing() {
        let temporary = tempfile::tempdir().expect("a temporary directory");
        let path = temporary.path().to_path_buf();
        let plan = plan(&["produce", "produce-100b", "consume"]);
        let directory = RunDirectory::create(path.clone(), plan).expect("it is empty");
        let variant = Tier::AsShipped.variant(SystemName::Mainstem);
        assert_eq!(directory.plan().all_results(), 12);
        assert_eq!(names(directory.missing(variant, 1)), ["produce", "produce-100b", "consume"]);
        store(&directory, 0, variant, 1);
        store(&directory, 1, variant, 1);

        // What was written is found again, and reading back needs the records once more.
        let again = RunDirectory::open(path).expect("it was begun");
        assert_eq!(again.plan().workloads, directory.plan().workloads);
        assert_eq!(names(again.missing(variant, 1)), ["produce", "consume"]);
        store(&again, 2, variant, 1);
        assert!(again.missing(variant, 1).is_empty());
        assert_eq!(again.missing(variant, 2).len(), 3);
        assert_eq!(again.results().expect("three files").len(), 3);
    }

    #[test]
    fn a_variant_does_what_its_tiers_ask() {
        let mut plan = plan(&["produce"]);
        let workload = plan.workloads[0].clone();
        let unsynced = Tier::Unsynced.variant(SystemName::Mainstem);
        assert!(plan.tiers(&workload, unsynced).is_empty());
        plan.tiers = vec![Tier::AsShipped, Tier::Unsynced];
        assert_eq!(plan.tiers(&workload, unsynced), [Tier::Unsynced]);
        let kafka = Tier::AsShipped.variant(SystemName::Kafka);
        assert_eq!(plan.tiers(&workload, kafka), [Tier::AsShipped, Tier::Unsynced]);
    }
}
