//! The committed figures of a bench: held against those of a run, or written anew.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::SystemTime,
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/baseline.md");
const BEGIN: &str = "<!-- baseline: begin -->\n";
const END: &str = "<!-- baseline: end -->";

/// Where criterion puts its results.
pub fn results() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/criterion")
}

/// Nanoseconds an iteration took: the median, and where it lies with 95 % confidence.
#[derive(Clone, Copy)]
struct Figure {
    median_ns: f64,
    low_ns: f64,
    high_ns: f64,
}

/// A run of benches, from its begin on.
pub struct Baseline {
    began: SystemTime,
}

impl Baseline {
    /// Before the first bench.
    pub fn begin() -> Self {
        Self { began: SystemTime::now() }
    }

    /// After the last bench: with UPDATE_BASELINE in the environment writes what was measured into the
    /// page, else prints it beside what the page has. Nothing was measured in a test's run.
    pub fn end(self) {
        let mut measured = BTreeMap::new();
        self.collect(&results(), &mut measured);
        if measured.is_empty() {
            return;
        }
        let page = fs::read_to_string(PAGE).expect("benches/baseline.md");
        let (before, rest) = page.split_once(BEGIN).expect("the mark at the beginning");
        let (table, after) = rest.split_once(END).expect("the mark at the end");
        if env::var_os("UPDATE_BASELINE").is_none() {
            return print!("\n{}", beside(&measured, table));
        }
        let table = format!("\n{}\n\n{}\n", machine(), written(&measured, table));
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).expect("it can be written");
    }

    /// The figures of this run under a directory.
    fn collect(&self, directory: &Path, measured: &mut BTreeMap<String, Figure>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if entry.file_name() == "new" {
                measured.extend(self.figure(&path));
            } else if path.is_dir() {
                self.collect(&path, measured);
            }
        }
    }

    fn figure(&self, directory: &Path) -> Option<(String, Figure)> {
        let estimates = directory.join("estimates.json");
        if fs::metadata(&estimates).ok()?.modified().ok()? < self.began {
            return None;
        }
        let json = |path: &Path| -> Option<serde_json::Value> {
            serde_json::from_slice(&fs::read(path).ok()?).ok()
        };
        let estimates = json(&estimates)?;
        let median = &estimates["median"];
        let id = json(&directory.join("benchmark.json"))?["full_id"].as_str()?.to_owned();
        let figure = Figure {
            median_ns: median["point_estimate"].as_f64()?,
            low_ns: median["confidence_interval"]["lower_bound"].as_f64()?,
            high_ns: median["confidence_interval"]["upper_bound"].as_f64()?,
        };
        Some((id, figure))
    }
}

/// The rows of a table by their first cell.
fn rows(table: &str) -> BTreeMap<String, String> {
    let lines = table.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| Some((line.split('`').nth(1)?.to_owned(), line.to_owned()));
    lines.filter_map(row).collect()
}

/// The table with this run's rows in place of older ones. What a filter left out stays.
fn written(measured: &BTreeMap<String, Figure>, table: &str) -> String {
    let mut rows = rows(table);
    for (id, figure) in measured {
        let Figure { median_ns, low_ns, high_ns } = figure;
        let row = format!("| `{id}` | {median_ns:.1} | {low_ns:.1}–{high_ns:.1} |");
        rows.insert(id.clone(), row);
    }
    let lines: Vec<_> = rows.into_values().collect();
    let heading = "| Bench | Median, ns | 95 % confidence, ns |\n| --- | --- | --- |";
    format!("{heading}\n{}", lines.join("\n"))
}

/// This run's figures and what part of the page's they are.
fn beside(measured: &BTreeMap<String, Figure>, table: &str) -> String {
    let rows = rows(table);
    let mut text = format!("{:44} {:>12} {:>12} {:>8}\n", "ns", "baseline", "here", "times");
    for (id, figure) in measured {
        let cell = rows.get(id).and_then(|row| row.split('|').nth(2));
        let known = cell.and_then(|cell| cell.trim().parse::<f64>().ok());
        let (baseline, times) = match known {
            Some(known) => (format!("{known:.1}"), format!("{:.2}", figure.median_ns / known)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        text += &format!("{id:44} {baseline:>12} {:>12.1} {times:>8}\n", figure.median_ns);
    }
    text
}

/// What the figures were taken on.
fn machine() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(": ")?.1.to_owned())
    };
    let cpu = field("model name").unwrap_or_else(|| env::consts::ARCH.to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let said = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output().ok()?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    let kernel = said("uname", "-r").unwrap_or_default();
    let compiler = said("rustc", "--version").unwrap_or_default();
    format!("{cpu}, {cores} cores, Linux {kernel}, {compiler}.")
}
