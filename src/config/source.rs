//! The sources of values: a TOML file, the environment, flags.

use std::{collections::HashSet, ffi::OsString, fs, path::PathBuf};

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, KEYS, Origin};

/// Where the values come from; a later field outweighs an earlier one.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Environment variables; those that do not begin with `MAINSTEM_` are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// Flags: how it was written, the key, the value. The last one of a key counts.
    pub flags: Vec<(String, String, String)>,
    /// Memory this process may use, in bytes, for the defaults that depend on it.
    pub memory_bytes: Option<u64>,
}

const PREFIX: &str = "MAINSTEM_";

impl Sources {
    /// Adds the process's environment.
    #[must_use]
    pub fn with_environment(mut self) -> Self {
        self.environment.extend(std::env::vars_os());
        self
    }

    /// Adds a flag that has a key of its own, as `--kafka` for `kafka.listen`.
    pub fn flag(&mut self, flag: &str, key: &str, value: impl Into<String>) {
        self.flags.push((flag.to_owned(), key.to_owned(), value.into()));
    }

    /// Adds a `KEY=VALUE` given with `--set`.
    ///
    /// # Errors
    /// Text without an equals sign.
    pub fn assignment(&mut self, text: &str) -> Result<(), ConfigError> {
        let parts = text.split_once('=');
        let (key, value) = parts.ok_or_else(|| ConfigError::NotAssignment(text.to_owned()))?;
        self.flag("--set", key.trim(), value);
        Ok(())
    }

    /// The defaults with everything given laid over them, and all that could not be used.
    pub(super) fn apply(&self) -> Settings {
        let mut settings = Settings::default();
        settings.file(self.file.as_ref());
        settings.environment(&self.environment);
        for (flag, key, value) in &self.flags {
            settings.set(key, value, Origin::Flag(flag.clone()));
        }
        settings
    }
}

/// What the sources make of the defaults.
#[derive(Default)]
pub(super) struct Settings {
    pub(super) config: Config,
    /// The keys any source gave.
    pub(super) given: HashSet<&'static str>,
    pub(super) errors: Vec<ConfigError>,
}

impl Settings {
    fn set(&mut self, key: &str, value: &str, origin: Origin) {
        if let Err(error) = self.config.set(key, value, origin) {
            self.errors.push(error);
        }
        self.given.extend(super::key(key).map(|key| key.name));
    }

    fn environment(&mut self, variables: &[(OsString, OsString)]) {
        for (variable, value) in variables {
            let variable = variable.to_string_lossy();
            if !variable.starts_with(PREFIX) {
                continue;
            }
            let origin = Origin::Environment(variable.clone().into_owned());
            let Some(key) = KEYS.iter().find(|key| key.variable() == variable) else {
                self.errors.push(unknown_variable(&variable));
                continue;
            };
            match value.to_str() {
                Some(value) => self.set(key.name, value, origin),
                None => self.errors.push(ConfigError::Invalid {
                    key: key.name.to_owned(),
                    origin,
                    reason: "is not UTF-8".to_owned(),
                }),
            }
        }
    }

    fn file(&mut self, path: Option<&PathBuf>) {
        let Some(path) = path else { return };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) => {
                let reason = error.to_string();
                self.errors.push(ConfigError::Unreadable { path: path.clone(), reason });
                return;
            }
        };
        let origin = |start: usize| {
            let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
            Origin::File(path.clone(), line)
        };
        match DeTable::parse(&text) {
            Ok(table) => self.table("", table.get_ref(), &origin),
            Err(error) => self.errors.push(ConfigError::Syntax {
                origin: origin(error.span().map_or(0, |span| span.start)),
                reason: error.message().to_owned(),
            }),
        }
    }

    fn table(&mut self, prefix: &str, table: &DeTable<'_>, origin: &dyn Fn(usize) -> Origin) {
        for (name, value) in table {
            let key = format!("{prefix}{}", name.get_ref());
            let origin_here = origin(name.span().start);
            let section = format!("{key}.");
            match value.get_ref() {
                DeValue::Table(inner) if KEYS.iter().any(|key| key.name.starts_with(&section)) => {
                    self.table(&section, inner, origin);
                }
                scalar => match plain(scalar) {
                    Some(text) => self.set(&key, &text, origin_here),
                    None => self.unusable(&key, scalar, origin_here),
                },
            }
        }
    }

    fn unusable(&mut self, key: &str, value: &DeValue<'_>, origin: Origin) {
        self.errors.push(match super::key(key) {
            None => ConfigError::unknown(key, origin),
            Some(known) => ConfigError::Invalid {
                key: key.to_owned(),
                origin,
                reason: format!("a {} cannot be used: {}", value.type_str(), known.bounds()),
            },
        });
    }
}

/// A TOML value as it would be written after `--set`; none for what no key can use.
fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => {
            Some(i128::from_str_radix(number.as_str(), number.radix()).ok()?.to_string())
        }
        DeValue::Array(parts) => {
            let parts: Option<Vec<_>> = parts.iter().map(|part| plain(part.get_ref())).collect();
            Some(parts?.join(","))
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
    }
}

fn unknown_variable(variable: &str) -> ConfigError {
    let origin = Origin::Environment(variable.to_owned());
    let name = variable[PREFIX.len()..].to_lowercase();
    // A section's name has no underscore, so the first one may stand for the dot.
    let dotted = name.replacen('_', ".", 1);
    let mut error = ConfigError::unknown(&dotted, origin);
    if let ConfigError::Unknown { key, .. } = &mut error {
        *key = variable.to_owned();
    }
    error
}
