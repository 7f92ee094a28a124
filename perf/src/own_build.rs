//! Our own program: which one is measured, and which build of it.

use crate::error::{Doing, PerfError, Result};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The `mainstem` program that belongs to this one: the one beside it. Cargo makes it anew if this
/// program was started by `cargo run`, which builds what it runs and nothing else.
///
/// # Errors
/// It does not compile, or there is none.
pub fn own_build() -> Result<PathBuf> {
    let program = env::current_exe().doing(|| "finding this program".into())?;
    let path = program.with_file_name("mainstem");
    if let Some(cargo) = env::var_os("CARGO") {
        build(Path::new(&cargo), &program)?;
    }
    match path.is_file() {
        true => Ok(path),
        false => Err(PerfError::Failed(
            "no mainstem program beside this one: `cargo build --release` makes it, --mainstem \
             PATH names another"
                .into(),
        )),
    }
}

/// Builds it as this program was.
fn build(cargo: &Path, program: &Path) -> Result<()> {
    eprintln!("building mainstem");
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "mainstem", "--bin", "mainstem"]);
    let directory = program.parent().and_then(Path::file_name);
    if directory.is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    command.args(["--manifest-path", manifest]).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().doing(|| "running cargo".into())?;
    match status.success() {
        true => Ok(()),
        false => Err(PerfError::Failed("mainstem does not compile".into())),
    }
}

/// What tells one build of a program from another: a checksum of all of it.
///
/// # Errors
/// It cannot be read.
pub fn checksum(program: &Path) -> Result<String> {
    let bytes = fs::read(program).doing(|| format!("reading {}", program.display()))?;
    let sum = crc_fast::crc32_iscsi(&bytes);
    Ok(format!("{sum:08x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_build_has_another_checksum() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("mainstem");
        fs::write(&path, b"123456789").expect("it takes a file");
        assert_eq!(checksum(&path).expect("it is there"), "e3069283");
        fs::write(&path, b"12345678").expect("it takes a file");
        assert_ne!(checksum(&path).expect("it is there"), "e3069283");
        assert!(checksum(&directory.path().join("none")).is_err());
    }
}
