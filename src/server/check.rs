//! `mainstem check`: what the broker needs of the machine, what it has, and what would mend it.

mod disk;
mod io_uring;
mod machine;
mod memory;

use std::fmt;

pub use io_uring::{Explanation, io_uring_ready};
pub use machine::available_cores;
pub use memory::memory_bytes;

use crate::config::Config;

/// How much it matters when a row is not passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The broker cannot run.
    Fatal,
    /// The broker runs, but slower or less safely.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Fatal => "Fatal",
            Self::Warning => "Warning",
        })
    }
}

/// One condition and whether it is met.
#[derive(Clone, Debug)]
pub struct Row {
    /// What is looked at.
    pub condition: &'static str,
    /// What it should be.
    pub required: String,
    /// What it is.
    pub current: String,
    /// How much it matters.
    pub severity: Severity,
    /// Whether it is as it should be.
    pub passed: bool,
    /// A command, or a step, that mends it.
    pub mend: String,
}

/// All rows for one machine and one configuration.
#[derive(Clone, Debug)]
pub struct Report {
    /// The rows, what is fatal first.
    pub rows: Vec<Row>,
}

impl Report {
    /// Looks at this machine. Writes one block to a file without a name in the data directory, or
    /// in the directory that will hold it, and leaves nothing behind.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let mut rows = machine::rows(config);
        rows.push(io_uring::row());
        rows.extend(disk::rows(config));
        rows.sort_by_key(|row| row.severity == Severity::Warning);
        Self { rows }
    }

    /// Whether the broker can run here: no fatal row has failed.
    #[must_use]
    pub fn can_run(&self) -> bool {
        self.rows.iter().all(|row| row.passed || row.severity != Severity::Fatal)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: fn(&Row) -> &str, title: &str| {
            let cells = self.rows.iter().map(|row| cell(row).chars().count());
            cells.chain([title.len()]).max().unwrap_or(0)
        };
        let condition = width(|row| row.condition, "Condition");
        let required = width(|row| &row.required, "Required");
        let current = width(|row| &row.current, "Current");
        let mut line = |cells: [&dyn fmt::Display; 5]| {
            let [a, b, c, d, e] = cells;
            writeln!(f, "{a:condition$} | {b:required$} | {c:current$} | {d:8} | {e}")
        };
        line([&"Condition", &"Required", &"Current", &"Severity", &"Passed"])?;
        for row in &self.rows {
            let passed = if row.passed { "yes" } else { "no" };
            line([&row.condition, &row.required, &row.current, &row.severity, &passed])?;
        }
        for row in self.rows.iter().filter(|row| !row.passed) {
            writeln!(f, "\n{} ({}): to mend it,\n  {}", row.condition, row.severity, row.mend)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(severity: Severity, passed: bool) -> Row {
        Row {
            condition: "Swappiness",
            required: "at most 10".to_owned(),
            current: "60".to_owned(),
            severity,
            passed,
            mend: "sysctl -w vm.swappiness=1".to_owned(),
        }
    }

    #[test]
    fn only_a_failed_fatal_row_keeps_the_broker_from_running() {
        let can_run = |rows: Vec<Row>| Report { rows }.can_run();
        assert!(can_run(vec![row(Severity::Fatal, true), row(Severity::Warning, false)]));
        assert!(!can_run(vec![row(Severity::Fatal, false), row(Severity::Warning, true)]));
    }

    #[test]
    fn the_table_names_what_mends_a_failed_row() {
        let rows = vec![row(Severity::Warning, false), row(Severity::Fatal, true)];
        let text = Report { rows }.to_string();
        let expected = "\
            Condition  | Required   | Current | Severity | Passed\n\
            Swappiness | at most 10 | 60      | Warning  | no\n\
            Swappiness | at most 10 | 60      | Fatal    | yes\n\
            \n\
            Swappiness (Warning): to mend it,\n  sysctl -w vm.swappiness=1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn this_machine_has_a_report() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("not/made/yet");
        let config = Config { data_dir, ..Config::default() };
        let report = Report::of(&config);
        assert!(report.rows.len() >= 12, "{report}");
        assert!(report.rows.iter().all(|row| row.passed || !row.mend.is_empty()), "{report}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
