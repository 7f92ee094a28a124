//! `mainstem check`: what the broker needs of the machine, what it has, and what would mend it.

mod disk;
mod io_uring;
mod limits;
mod machine;
mod memory;
mod setting;
mod table;

use std::{fmt, path::Path};

pub use io_uring::{Explanation, io_uring_ready};
pub use machine::{Machine, available_cores};
pub use memory::memory_bytes;
pub use setting::{Moot, Setting, Wanted};
pub use table::CHECKS;

use setting::Verdict;

/// How much it matters when a check is not passed.
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

/// One thing that is looked at. [`CHECKS`] has all of them.
pub struct Check {
    /// What is looked at.
    pub condition: &'static str,
    /// Where: a pattern of files, see [`Machine::files`], or a name for a limit or a key.
    pub path: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Why it is wanted.
    pub why: &'static str,
    /// What it may do to others.
    pub risk: &'static str,
    /// How it is looked at.
    pub look: Look,
}

/// How a check is made.
pub enum Look {
    /// By trying; with what is wanted in words.
    Probe(&'static str, fn(&Machine<'_>) -> Finding),
    /// By reading files, which `mainstem tune` writes.
    Setting(Setting),
}

impl Check {
    /// What is wanted on any machine.
    #[must_use]
    pub fn wanted(&self) -> String {
        match &self.look {
            Look::Probe(wanted, _) => (*wanted).to_owned(),
            Look::Setting(setting) => setting.wanted.to_string(),
        }
    }

    fn row(&'static self, machine: &Machine<'_>) -> Row {
        let finding = match &self.look {
            Look::Probe(_, find) => find(machine),
            Look::Setting(setting) => setting.finding(machine, self.path),
        };
        Row { check: self, finding }
    }

    /// What is to be written on this machine: each file, what it says now, and what it should say.
    #[must_use]
    pub fn changes(&self, machine: &Machine<'_>) -> Vec<Change> {
        let Look::Setting(setting) = &self.look else { return Vec::new() };
        let seen = setting.look(machine, self.path).into_iter();
        let changes = seen.filter_map(|seen| match seen.verdict {
            Verdict::Write(after) => {
                let path = seen.path.display().to_string();
                Some(Change { path, before: seen.value, after })
            }
            Verdict::Good | Verdict::Moot(_) | Verdict::Unknown | Verdict::Stuck(_) => None,
        });
        changes.collect()
    }

    /// Whether a file of this check's says what is wanted of it on this machine.
    #[must_use]
    pub fn holds(&self, machine: &Machine<'_>, path: &Path) -> bool {
        let Look::Setting(setting) = &self.look else { return false };
        let seen = setting.see(machine, path.to_owned());
        matches!(seen.verdict, Verdict::Good | Verdict::Moot(_))
    }
}

/// One file of the kernel's to be written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Change {
    /// The file, as on the real machine.
    pub path: String,
    /// What it says.
    pub before: String,
    /// What it is to say.
    pub after: String,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Passed,
    /// Not as it should be.
    Failed,
    /// It cannot be told from here, as in a container or a virtual machine.
    Unknown,
}

impl State {
    const fn of(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Passed => "yes",
            Self::Failed => "no",
            Self::Unknown => "unknown",
        }
    }
}

/// What a check found on this machine.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What it should be.
    pub required: String,
    /// What it is.
    pub current: String,
    /// Whether it is as it should be.
    pub state: State,
    /// A command, or a step, that mends it.
    pub mend: String,
}

impl Finding {
    const fn of(required: String, current: String, passed: bool, mend: String) -> Self {
        Self { required, current, state: State::of(passed), mend }
    }
}

/// One check and what it found.
pub struct Row {
    /// The check.
    pub check: &'static Check,
    /// What it found.
    pub finding: Finding,
}

/// All rows for one machine and one configuration.
pub struct Report {
    /// The rows, what is fatal first.
    pub rows: Vec<Row>,
    /// Whether every row is explained, or those that failed.
    pub explain: bool,
}

impl Report {
    /// Looks at this machine. Writes one block to a file without a name in the data directory, or
    /// in the directory that will hold it, and leaves nothing behind.
    #[must_use]
    pub fn of(machine: &Machine<'_>) -> Self {
        Self { rows: CHECKS.iter().map(|check| check.row(machine)).collect(), explain: false }
    }

    /// Whether the broker can run here: no fatal row has failed.
    #[must_use]
    pub fn can_run(&self) -> bool {
        let fatal = |row: &Row| row.check.severity == Severity::Fatal;
        !self.rows.iter().any(|row| fatal(row) && row.finding.state == State::Failed)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |cell: fn(&Row) -> &str, title: &str| {
            let cells = self.rows.iter().map(|row| cell(row).chars().count());
            cells.chain([title.len()]).max().unwrap_or(0)
        };
        let condition = width(|row| row.check.condition, "Condition");
        let required = width(|row| &row.finding.required, "Required");
        let current = width(|row| &row.finding.current, "Current");
        let mut line = |cells: [&dyn fmt::Display; 5]| {
            let [a, b, c, d, e] = cells;
            writeln!(f, "{a:condition$} | {b:required$} | {c:current$} | {d:8} | {e}")
        };
        line([&"Condition", &"Required", &"Current", &"Severity", &"Passed"])?;
        for Row { check, finding } in &self.rows {
            let passed = finding.state.name();
            line([
                &check.condition,
                &finding.required,
                &finding.current,
                &check.severity,
                &passed,
            ])?;
        }
        let explained = |row: &&Row| self.explain || row.finding.state == State::Failed;
        for Row { check, finding } in self.rows.iter().filter(explained) {
            writeln!(f, "\n{} ({})", check.condition, check.severity)?;
            writeln!(f, "  where: {}\n  why: {}\n  risk: {}", check.path, check.why, check.risk)?;
            if finding.state == State::Failed {
                writeln!(f, "  to mend it: {}", finding.mend)?;
            }
        }
        Ok(())
    }
}

/// The checks as a table of tuning.md's.
#[must_use]
pub fn markdown() -> String {
    let mut table = "| Check | Where | Wanted | Set by | Why | Risk |\n\
                     | --- | --- | --- | --- | --- | --- |\n"
        .to_owned();
    for check in &CHECKS {
        let by = if matches!(check.look, Look::Setting(_)) { "`tune`" } else { "hand" };
        let Check { condition, path, why, risk, .. } = check;
        let wanted = check.wanted();
        table += &format!("| {condition} | `{path}` | {wanted} | {by} | {why} | {risk} |\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn report(rows: &[(usize, State)]) -> Report {
        let row = |(check, state): &(usize, State)| {
            let finding = Finding {
                required: "at most 10".to_owned(),
                current: "60".to_owned(),
                state: *state,
                mend: "echo 1".to_owned(),
            };
            Row { check: &CHECKS[*check], finding }
        };
        Report { rows: rows.iter().map(row).collect(), explain: false }
    }

    #[test]
    fn only_a_failed_fatal_row_keeps_the_broker_from_running() {
        let last = CHECKS.len() - 1;
        assert!(report(&[(0, State::Passed), (last, State::Failed)]).can_run());
        assert!(report(&[(0, State::Unknown)]).can_run());
        assert!(!report(&[(0, State::Failed), (last, State::Passed)]).can_run());
    }

    #[test]
    fn the_table_explains_what_failed() {
        let text = report(&[(0, State::Unknown), (2, State::Failed)]).to_string();
        let expected = "\
            Condition | Required   | Current | Severity | Passed\n\
            Kernel    | at most 10 | 60      | Fatal    | unknown\n\
            Cores     | at most 10 | 60      | Fatal    | no\n\
            \n\
            Cores (Fatal)\n  where: shards.cores, log.core\n  \
            why: a thread cannot stay on a core that is not there\n  risk: none\n  \
            to mend it: echo 1\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn this_machine_has_a_report() {
        let directory = tempfile::tempdir().unwrap();
        let data_dir = directory.path().join("not/made/yet");
        let config = Config { data_dir, ..Config::default() };
        let report = Report::of(&Machine::new(Path::new("/"), &config));
        assert_eq!(report.rows.len(), CHECKS.len());
        let mended = |row: &Row| row.finding.state != State::Failed || !row.finding.mend.is_empty();
        assert!(report.rows.iter().all(mended), "{report}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left");
    }
}
