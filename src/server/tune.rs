//! `mainstem tune`: writes what `mainstem check` misses in the kernel's files, and puts it back.

use std::{
    fmt::{self, Write as _},
    fs,
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
};

use thiserror::Error;

use super::check::{CHECKS, Change, Check, Machine, Report, State};

/// Why nothing was tuned, or not all.
#[derive(Debug, Error)]
pub enum TuneError {
    /// The kernel lets only root write.
    #[error(
        "tune writes the kernel's settings, which takes root: run it with sudo, or with --dry-run"
    )]
    NotRoot,
    /// The old values could not be kept, read, or removed.
    #[error("{path}: {source}")]
    Record {
        /// Where they are kept.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is kept there are no old values.
    #[error("{path} holds no values to put back: {reason}")]
    NoRecord {
        /// Where they would be.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The kernel refused some of the values, or made others of them.
    #[error("{0} of the values were refused, or not granted as they were written")]
    Refused(usize),
}

/// What is to be done on a machine. As text it is a shell script that does it.
pub struct Plan {
    changes: Vec<(&'static Check, Vec<Change>)>,
    /// What fails and is not set by writing: the condition, and the step that mends it.
    by_hand: Vec<(&'static str, String)>,
}

impl Plan {
    /// Looks at a machine.
    #[must_use]
    pub fn of(machine: &Machine<'_>) -> Self {
        let changes: Vec<_> = CHECKS
            .iter()
            .map(|check| (check, check.changes(machine)))
            .filter(|(_, changes)| !changes.is_empty())
            .collect();
        let written = |check: &Check| changes.iter().any(|(of, _)| of.condition == check.condition);
        let rows = Report::of(machine).rows.into_iter();
        let by_hand = rows
            .filter(|row| row.finding.state == State::Failed && !written(row.check))
            .map(|row| (row.check.condition, row.finding.mend.replace('\n', " ")))
            .collect();
        Self { changes, by_hand }
    }

    fn all(&self) -> impl Iterator<Item = &Change> {
        self.changes.iter().flat_map(|(_, changes)| changes)
    }

    fn writes(&self) -> impl Iterator<Item = Write<'_>> {
        self.changes.iter().flat_map(|(check, changes)| {
            let write = |change| Write { change, value: &change.after, check: Some(*check) };
            changes.iter().map(write)
        })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "#!/bin/sh")?;
        for (check, changes) in &self.changes {
            let Check { condition, why, risk, .. } = check;
            writeln!(f, "# {condition}: {why}. Risk: {risk}.")?;
            for Change { path, before, after } in changes {
                writeln!(f, "echo {after} > {path} # was {before}")?;
            }
        }
        for (condition, mend) in &self.by_hand {
            writeln!(f, "# By hand: {condition}: {mend}")?;
        }
        Ok(())
    }
}

/// Writes all that is planned, after the values there are now are in the file `record`. What was
/// recorded there before on the same boot stays: it is older. Says what was done, a line each.
///
/// # Errors
/// See [`TuneError`]. A value the kernel refuses keeps none of the others from being written.
pub fn apply(machine: &Machine<'_>, plan: &Plan, record: &Path) -> Result<String, TuneError> {
    allowed(machine)?;
    let mut kept = match fs::metadata(record) {
        Ok(_) => read_record(record)?,
        Err(_) => Vec::new(),
    };
    let boot_id = machine.boot_id();
    kept.retain(|older| older.boot_id == boot_id);
    for change in plan.all() {
        if !kept.iter().any(|older| older.change.path == change.path) {
            kept.push(Kept { change: change.clone(), boot_id: boot_id.clone() });
        }
    }
    if kept.is_empty() {
        return Ok("nothing is to be set\n".to_owned());
    }
    write_record(record, &kept)?;
    let (mut said, failed) = write_all(machine, plan.writes());
    _ = writeln!(said, "old values are in {}: mainstem tune --undo", record.display());
    finish(said, failed.len())
}

/// Puts back what the file `record` says, the last one first, and removes the file. Values that the
/// kernel refuses stay in it. Those recorded before the machine was started anew are left as they are:
/// what was set is forgotten, and an interrupt's number may be another device's by now.
///
/// # Errors
/// See [`TuneError`].
pub fn undo(machine: &Machine<'_>, record: &Path) -> Result<String, TuneError> {
    allowed(machine)?;
    let boot_id = machine.boot_id();
    let (mut kept, left): (Vec<_>, Vec<_>) =
        read_record(record)?.into_iter().partition(|kept| kept.boot_id == boot_id);
    let (mut said, failed) = write_all(machine, kept.iter().rev().map(Kept::undoing));
    for Kept { change, .. } in left {
        _ = writeln!(
            said,
            "{} = {}: left, not known to be of this boot",
            change.path, change.before
        );
    }
    kept.retain(|kept| failed.contains(&kept.change.path));
    if kept.is_empty() {
        fs::remove_file(record)
            .map_err(|source| TuneError::Record { path: record.to_owned(), source })?;
    } else {
        write_record(record, &kept)?;
    }
    finish(said, kept.len())
}

fn allowed(machine: &Machine<'_>) -> Result<(), TuneError> {
    let root = !machine.is_real() || rustix::process::geteuid().is_root();
    if root { Ok(()) } else { Err(TuneError::NotRoot) }
}

fn finish(said: String, failed: usize) -> Result<String, TuneError> {
    if failed == 0 {
        return Ok(said);
    }
    super::cli::print(&said);
    Err(TuneError::Refused(failed))
}

/// A value to be written.
struct Write<'a> {
    change: &'a Change,
    value: &'a str,
    /// What judges the value that the kernel made of it; without, it must read as it was written.
    check: Option<&'static Check>,
}

impl Write<'_> {
    /// Writes the value and reads it back. The error says what became of it instead: the kernel takes
    /// a number of huge pages that it then has no memory for.
    fn run(&self, machine: &Machine<'_>) -> Result<(), String> {
        let path = Path::new(&self.change.path);
        // Never made where there is none: these are the kernel's.
        fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(machine.at(path))
            .and_then(|mut file| file.write_all(format!("{}\n", self.value).as_bytes()))
            .map_err(|error| format!("refused, {error}"))?;
        let granted = machine.value(path).unwrap_or_default();
        let holds = match self.check {
            Some(check) => check.holds(machine, path),
            None => granted == self.value,
        };
        if holds { Ok(()) } else { Err(format!("the kernel made it {granted:?}")) }
    }
}

/// Writes each value, tells of it, and gives the paths of those that do not hold.
fn write_all<'a>(
    machine: &Machine<'_>,
    writes: impl Iterator<Item = Write<'a>>,
) -> (String, Vec<String>) {
    let (mut said, mut failed) = (String::new(), Vec::new());
    for write in writes {
        let outcome = match write.run(machine) {
            Ok(()) => String::new(),
            Err(outcome) => {
                failed.push(write.change.path.clone());
                format!(": {outcome}")
            }
        };
        _ = writeln!(said, "{} = {}{outcome}", write.change.path, write.value);
    }
    (said, failed)
}

/// An old value in the record.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept {
    #[serde(flatten)]
    change: Change,
    /// When it was recorded, see [`Machine::boot_id`]; earlier versions did not say.
    #[serde(default)]
    boot_id: String,
}

impl Kept {
    fn undoing(&self) -> Write<'_> {
        Write { change: &self.change, value: &self.change.before, check: None }
    }
}

fn read_record(path: &Path) -> Result<Vec<Kept>, TuneError> {
    let wrong = |reason: String| TuneError::NoRecord { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let kept: Vec<Kept> =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    // Written with root's rights: only where tune itself would write.
    let outside = kept.iter().map(|kept| &kept.change).find(|change| {
        let path = Path::new(&change.path);
        let up = path.components().any(|part| part == Component::ParentDir);
        up || !(path.starts_with("/sys") || path.starts_with("/proc"))
    });
    match outside {
        Some(change) => Err(wrong(format!("{} is no setting of the kernel's", change.path))),
        None => Ok(kept),
    }
}

/// Durable before it returns: with the old values gone nothing could be undone.
fn write_record(path: &Path, kept: &[Kept]) -> Result<(), TuneError> {
    let write = || {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = parent.unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(kept).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| TuneError::Record { path: path.to_owned(), source })
}
