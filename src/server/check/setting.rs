//! A setting of the kernel's: how its files are read, what they should say, and what to write.

use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    Finding, State,
    machine::{self, Machine},
};
use crate::config::Cores;

/// Why a file does not matter on this machine, if it does not.
pub type Moot = fn(&Machine<'_>, &Path) -> Option<&'static str>;

/// What the files of a check should say.
pub struct Setting {
    /// What is good.
    pub wanted: Wanted,
    /// Where it does not matter.
    pub moot: Moot,
    /// The file beside it that lists the words the kernel takes, where one does.
    pub choices: Option<&'static str>,
}

/// What is good, and what is written where it is not so.
pub enum Wanted {
    /// One of these words; the first is written.
    Word(&'static [&'static str]),
    /// A number within these bounds, and the one that is written.
    Number(RangeInclusive<u64>, u64),
    /// At least the number that the configuration needs, which is written.
    Needed(fn(&Machine<'_>) -> u64),
    /// A list of cores without those that a thread of the broker's stays on; all others are written.
    OffPinned,
    /// A mask of any cores; those that the function gives for the file are written.
    Spread(fn(&Machine<'_>, &Path) -> Vec<usize>),
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word([first, ..]) => f.write_str(first),
            Self::Word([]) => Ok(()),
            Self::Number(range, _) => match (*range.start(), *range.end()) {
                (from, to) if from == to => write!(f, "{from}"),
                (0, to) => write!(f, "at most {to}"),
                (from, u64::MAX) => write!(f, "at least {from}"),
                (from, to) => write!(f, "{from} to {to}"),
            },
            Self::Needed(_) => f.write_str("what the configuration takes"),
            Self::OffPinned => f.write_str("no core a thread stays on"),
            Self::Spread(_) => f.write_str("spread over the cores"),
        }
    }
}

/// What one file says.
pub(super) struct Seen {
    pub(super) path: PathBuf,
    pub(super) value: String,
    pub(super) verdict: Verdict,
}

/// What that means.
pub(super) enum Verdict {
    Good,
    /// It does not matter here, and why.
    Moot(&'static str),
    Unknown,
    /// This is to be written.
    Write(String),
    /// It is not good, and nothing could be written that is; the reason.
    Stuck(String),
}

impl Setting {
    /// Reads all files of `pattern`.
    pub(super) fn look(&self, machine: &Machine<'_>, pattern: &str) -> Vec<Seen> {
        machine.files(pattern).into_iter().map(|path| self.see(machine, path)).collect()
    }

    /// Reads one file.
    pub(super) fn see(&self, machine: &Machine<'_>, path: PathBuf) -> Seen {
        let text = machine.read(&path);
        let value = text.as_deref().map_or("unreadable", chosen).to_owned();
        let verdict = match (&text, (self.moot)(machine, &path)) {
            (_, Some(reason)) => Verdict::Moot(reason),
            (None, None) => Verdict::Unknown,
            (Some(text), None) => self.judge(machine, &path, text),
        };
        Seen { path, value, verdict }
    }

    fn judge(&self, machine: &Machine<'_>, path: &Path, text: &str) -> Verdict {
        let value = chosen(text);
        let number = || value.parse::<u64>().ok();
        let good = match &self.wanted {
            Wanted::Word(words) => Some(words.contains(&value)),
            Wanted::Number(range, _) => number().map(|number| range.contains(&number)),
            Wanted::Needed(needed) => number().map(|number| number >= needed(machine)),
            Wanted::OffPinned => machine::cores(value)
                .map(|cores| cores.iter().all(|core| !machine.pinned.contains(core))),
            Wanted::Spread(_) => Some(value.contains(|c: char| c.is_ascii_hexdigit() && c != '0')),
        };
        match good {
            Some(true) => Verdict::Good,
            None => Verdict::Unknown,
            Some(false) => {
                let write = self.to_write(machine, path);
                let offered = self.offered(machine, path, text);
                if write.is_empty() {
                    Verdict::Stuck("leave a core out of shards.cores".to_owned())
                } else if offered.as_ref().is_some_and(|words| !words.contains(&write)) {
                    let words = offered.unwrap_or_default().join(", ");
                    Verdict::Stuck(format!("the kernel offers {words} only"))
                } else {
                    Verdict::Write(write)
                }
            }
        }
    }

    fn to_write(&self, machine: &Machine<'_>, path: &Path) -> String {
        match &self.wanted {
            Wanted::Word(words) => words.first().copied().unwrap_or_default().to_owned(),
            Wanted::Number(_, write) => write.to_string(),
            Wanted::Needed(needed) => needed(machine).to_string(),
            Wanted::OffPinned => Cores::List(machine.spare_cores()).to_string(),
            Wanted::Spread(cores) => machine::mask(&cores(machine, path)),
        }
    }

    /// The words that the kernel takes, where it says so.
    fn offered(&self, machine: &Machine<'_>, path: &Path, text: &str) -> Option<Vec<String>> {
        let list = match self.choices {
            Some(beside) => machine.read(path.with_file_name(beside))?,
            None if text.contains('[') => text.replace(['[', ']'], ""),
            None => return None,
        };
        Some(list.split_whitespace().map(str::to_owned).collect())
    }

    pub(super) fn finding(&self, machine: &Machine<'_>, pattern: &str) -> Finding {
        let seen = self.look(machine, pattern);
        let failed: Vec<_> = seen
            .iter()
            .filter(|seen| matches!(seen.verdict, Verdict::Write(_) | Verdict::Stuck(_)))
            .collect();
        let unknown = seen.iter().all(|seen| matches!(seen.verdict, Verdict::Unknown));
        let state = match (failed.is_empty(), unknown) {
            (false, _) => State::Failed,
            (true, true) => State::Unknown,
            (true, false) => State::Passed,
        };
        let mut mend = match failed.first() {
            Some(Seen { path, verdict: Verdict::Write(value), .. }) => {
                format!("echo {value} | sudo tee {}", path.display())
            }
            Some(Seen { verdict: Verdict::Stuck(reason), .. }) => reason.clone(),
            _ => String::new(),
        };
        if failed.len() > 1 {
            mend += &format!(" (and {} more: mainstem tune --dry-run)", failed.len() - 1);
        }
        Finding { required: self.wanted.to_string(), current: summary(&seen), state, mend }
    }
}

/// All that the files say, each once.
fn summary(seen: &[Seen]) -> String {
    let mut values: Vec<String> = Vec::new();
    for Seen { value, verdict, .. } in seen {
        let text = match verdict {
            Verdict::Moot(reason) => format!("{value} ({reason})"),
            _ => value.clone(),
        };
        if !values.contains(&text) {
            values.push(text);
        }
    }
    match values.as_slice() {
        [] => "none here".to_owned(),
        [first, second, _, _, ..] => format!("{first}, {second}, and {} more", values.len() - 2),
        few => few.join(", "),
    }
}

/// The word in brackets, as in `[none] mq-deadline`, or all of it.
pub(super) fn chosen(text: &str) -> &str {
    let word = text.split_whitespace().find_map(|word| word.strip_prefix('['));
    word.map_or(text, |word| word.trim_end_matches(']'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_in_brackets_is_the_one() {
        assert_eq!(chosen("mq-deadline [none]"), "none");
        assert_eq!(chosen("[mq-deadline] none"), "mq-deadline");
        assert_eq!(chosen("none"), "none");
    }

    #[test]
    fn what_is_wanted_is_said_as_it_is_judged() {
        assert_eq!(Wanted::Number(0..=10, 1).to_string(), "at most 10");
        assert_eq!(Wanted::Number(1024..=u64::MAX, 4096).to_string(), "at least 1024");
        assert_eq!(Wanted::Number(0..=0, 0).to_string(), "0");
        assert_eq!(Wanted::Number(1..=10, 10).to_string(), "1 to 10");
    }
}
