//! What can be wrong with a configuration.

use std::{fmt, path::PathBuf};

use thiserror::Error;

use super::KEYS;

/// Where a value was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A line of a file, counted from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
    /// A client's request to change a key.
    Request,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path, line) => write!(f, "{}, line {line}", path.display()),
            Self::Environment(variable) => write!(f, "environment, {variable}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Request => f.write_str("request"),
        }
    }
}

/// One thing wrong with a configuration. The text names the key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no such key.
    #[error("unknown key {key} ({origin}){}", nearest.map_or(String::new(), |near| format!("; did you mean {near}?")))]
    Unknown {
        /// The name that was given.
        key: String,
        /// Where.
        origin: Origin,
        /// The name that was probably meant.
        nearest: Option<&'static str>,
    },
    /// The value cannot be read or is out of bounds.
    #[error("{key}: {reason} ({origin})")]
    Invalid {
        /// The key.
        key: String,
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// The value does not go with another key's.
    #[error("{key}: {reason}")]
    Contradiction {
        /// The key to change.
        key: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be read as TOML.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// The file cannot be read at all.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// A flag is not of the form `KEY=VALUE`.
    #[error("{0:?} is not of the form KEY=VALUE (--set)")]
    NotAssignment(String),
}

impl ConfigError {
    pub(super) fn unknown(key: &str, origin: Origin) -> Self {
        let distances = KEYS.iter().map(|known| (distance(key, known.name), known.name));
        let nearest = distances.min().filter(|(distance, _)| *distance <= 1 + key.len() / 5);
        Self::Unknown { key: key.to_owned(), origin, nearest: nearest.map(|(_, name)| name) }
    }
}

/// All that is wrong with a configuration, one a line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Letters to insert, remove or replace to get from one name to the other.
fn distance(from: &str, to: &str) -> usize {
    let to = to.as_bytes();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_proposed() {
        let nearest = |name: &str| match ConfigError::unknown(name, Origin::Request) {
            ConfigError::Unknown { nearest, .. } => nearest,
            other => panic!("{other}"),
        };
        assert_eq!(nearest("log.segmnt_bytes"), Some("log.segment_bytes"));
        assert_eq!(nearest("kafka.listener"), Some("kafka.listen"));
        assert_eq!(nearest("something.else_entirely"), None);
    }
}
