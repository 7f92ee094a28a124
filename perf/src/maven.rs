//! Systems that come as jars from Maven Central alone, and the Java that runs them.

use crate::broker_process::spawn;
use crate::error::{Doing, PerfError, Result};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The systems compared with need it, and say nothing helpful without.
const JAVA_VERSION: u32 = 17;

/// A jar's coordinates: group, artifact, version.
pub type Artifact = (&'static str, &'static str, &'static str);

/// A system and the jars that make it; Maven adds what these depend on.
pub struct Jars {
    /// Its name and version, for messages.
    pub title: &'static str,
    /// What is fetched; a directory that has these is taken to have all they depend on.
    pub artifacts: &'static [Artifact],
    /// The option that names a directory with the jars.
    pub option: &'static str,
}

impl Jars {
    /// Uses the jars in `lib`; without one, those below `cache`, which are fetched if need be.
    ///
    /// # Errors
    /// Java or Maven are missing or too old, or the jars cannot be had.
    pub fn prepare(&self, lib: Option<&Path>, cache: &Path) -> Result<PathBuf> {
        let title = self.title;
        let found = java_version().ok_or_else(|| {
            PerfError::Failed(format!(
                "no java on the PATH: {title} needs Java {JAVA_VERSION} or later"
            ))
        })?;
        if found < JAVA_VERSION {
            return Err(PerfError::Failed(format!(
                "java on the PATH is {found}: {title} needs {JAVA_VERSION} or later"
            )));
        }
        let fetched = cache.join("lib");
        match lib {
            Some(own) if !self.are_in(own) => {
                let why = format!("{}: the jars of {title} are not all there", own.display());
                return Err(PerfError::Failed(why));
            }
            None if !self.are_in(&fetched) => self.fetch(&fetched, cache)?,
            _ => {}
        }
        let lib = lib.unwrap_or(&fetched);
        lib.canonicalize().doing(|| format!("finding {}", lib.display()))
    }

    fn are_in(&self, lib: &Path) -> bool {
        let jar = |(_, artifact, version): &Artifact| lib.join(format!("{artifact}-{version}.jar"));
        self.artifacts.iter().all(|artifact| jar(artifact).is_file())
    }

    fn fetch(&self, lib: &Path, cache: &Path) -> Result<()> {
        let title = self.title;
        eprintln!("fetching {title} with Maven");
        fs::create_dir_all(cache).doing(|| format!("creating {}", cache.display()))?;
        let pom = cache.join("pom.xml");
        fs::write(&pom, self.project_file()).doing(|| format!("writing {}", pom.display()))?;
        // Under another name at first: an interrupted copy is not taken for all there is.
        let unfinished = cache.join("unfinished");
        fs::create_dir_all(&unfinished).doing(|| format!("creating {}", unfinished.display()))?;
        let unfinished =
            unfinished.canonicalize().doing(|| format!("finding {}", unfinished.display()))?;
        let mut command = Command::new("mvn");
        command.args(["--quiet", "--batch-mode", "-Dstyle.color=never", "--file"]).arg(&pom);
        command.arg("dependency:copy-dependencies");
        command.arg(format!("-DoutputDirectory={}", unfinished.display()));
        // It writes its errors to standard output, which is the report's.
        command.stdin(Stdio::null()).stdout(io::stderr());
        let status = spawn(&mut command).and_then(|mut m| m.wait().doing(|| "running mvn".into()));
        match status {
            Ok(status) if status.success() && self.are_in(&unfinished) => replace(lib, &unfinished),
            Ok(_) => Err(PerfError::Failed(format!("Maven could not fetch the jars of {title}"))),
            Err(error) => Err(PerfError::Failed(format!(
                "{error}: {title} is fetched by Maven; install it, or name a directory that has \
                 the jars with {}",
                self.option
            ))),
        }
    }

    fn project_file(&self) -> String {
        let dependencies: String = self
            .artifacts
            .iter()
            .map(|(group, artifact, version)| {
                format!(
                    "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
                     <version>{version}</version></dependency>"
                )
            })
            .collect();
        format!(
            "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\
             <modelVersion>4.0.0</modelVersion><groupId>mainstem</groupId>\
             <artifactId>anchor</artifactId><version>1</version><packaging>pom</packaging>\
             <dependencies>{dependencies}</dependencies></project>\n"
        )
    }
}

/// Gives a directory another name, in place of what has that name.
fn replace(path: &Path, with: &Path) -> Result<()> {
    if path.exists() {
        fs::remove_dir_all(path).doing(|| format!("removing {}", path.display()))?;
    }
    fs::rename(with, path).doing(|| format!("renaming {}", with.display()))
}

/// A Java program to come, with all jars of a directory at hand.
pub fn java(lib: &Path, options: &[&str]) -> Command {
    let mut command = Command::new("java");
    command.args(options).arg("-cp").arg(lib.join("*"));
    command
}

fn java_version() -> Option<u32> {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // `openjdk version "17.0.15" 2025-04-15`
    text.split('"').nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}
