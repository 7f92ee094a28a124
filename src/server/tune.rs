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
    /// The kernel refused some of the values.
    #[error("{0} of the values were refused")]
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
/// recorded there before stays: it is older. Says what was done, a line each.
///
/// # Errors
/// See [`TuneError`]. A value the kernel refuses keeps none of the others from being written.
pub fn apply(machine: &Machine<'_>, plan: &Plan, record: &Path) -> Result<String, TuneError> {
    allowed(machine)?;
    let mut kept = match fs::metadata(record) {
        Ok(_) => read_record(record)?,
        Err(_) => Vec::new(),
    };
    for change in plan.all() {
        if !kept.iter().any(|older| older.path == change.path) {
            kept.push(change.clone());
        }
    }
    if kept.is_empty() {
        return Ok("nothing is to be set\n".to_owned());
    }
    write_record(record, &kept)?;
    let values = plan.all().map(|change| (change, &change.after));
    let (mut said, refused) = write_all(machine, values);
    _ = writeln!(said, "old values are in {}: mainstem tune --undo", record.display());
    finish(said, refused.len())
}

/// Puts back what the file `record` says, the last one first, and removes the file. Values that the
/// kernel refuses stay in it.
///
/// # Errors
/// See [`TuneError`].
pub fn undo(machine: &Machine<'_>, record: &Path) -> Result<String, TuneError> {
    allowed(machine)?;
    let kept = read_record(record)?;
    let backwards = kept.iter().rev().map(|change| (change, &change.before));
    let (said, mut refused) = write_all(machine, backwards);
    // The record is in the order in which they were written.
    refused.reverse();
    if refused.is_empty() {
        fs::remove_file(record)
            .map_err(|source| TuneError::Record { path: record.to_owned(), source })?;
    } else {
        write_record(record, &refused)?;
    }
    finish(said, refused.len())
}

fn allowed(machine: &Machine<'_>) -> Result<(), TuneError> {
    let root = !machine.is_real() || rustix::process::geteuid().is_root();
    if root { Ok(()) } else { Err(TuneError::NotRoot) }
}

fn finish(said: String, refused: usize) -> Result<String, TuneError> {
    if refused == 0 {
        return Ok(said);
    }
    super::cli::print(&said);
    Err(TuneError::Refused(refused))
}

/// Writes each value, tells of it, and gives what was refused.
fn write_all<'a>(
    machine: &Machine<'_>,
    values: impl Iterator<Item = (&'a Change, &'a String)>,
) -> (String, Vec<Change>) {
    let (mut said, mut refused) = (String::new(), Vec::new());
    for (change, value) in values {
        // Never made where there is none: these are the kernel's.
        let written = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(machine.at(Path::new(&change.path)))
            .and_then(|mut file| file.write_all(format!("{value}\n").as_bytes()));
        let outcome = match written {
            Ok(()) => String::new(),
            Err(error) => {
                refused.push(change.clone());
                format!(": refused, {error}")
            }
        };
        _ = writeln!(said, "{} = {value}{outcome}", change.path);
    }
    (said, refused)
}

fn read_record(path: &Path) -> Result<Vec<Change>, TuneError> {
    let wrong = |reason: String| TuneError::NoRecord { path: path.to_owned(), reason };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    let changes: Vec<Change> =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    // Written with root's rights: only where tune itself would write.
    let outside = changes.iter().find(|change| {
        let path = Path::new(&change.path);
        let up = path.components().any(|part| part == Component::ParentDir);
        up || !(path.starts_with("/sys") || path.starts_with("/proc"))
    });
    match outside {
        Some(change) => Err(wrong(format!("{} is no setting of the kernel's", change.path))),
        None => Ok(changes),
    }
}

/// Durable before it returns: with the old values gone nothing could be undone.
fn write_record(path: &Path, changes: &[Change]) -> Result<(), TuneError> {
    let write = || {
        let directory = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(directory)?;
        let fresh = path.with_extension("new");
        let mut file = fs::File::create(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(changes).map_err(io::Error::other)?)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(directory)?.sync_all()
    };
    write().map_err(|source| TuneError::Record { path: path.to_owned(), source })
}
