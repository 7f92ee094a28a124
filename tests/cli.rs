//! The command line, by running the program.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::{Command, Output},
};

fn mainstem(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("MAINSTEM_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(environment.iter().copied()).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The program's own panics end it with SIGABRT, in builds that unwind as well. Nothing is built in to
/// make it panic; that it cannot tell of an error does.
#[test]
fn a_panic_aborts_the_program() {
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    let status = command.args(["config", "check", "/nowhere"]).stderr(full).status().unwrap();
    assert_eq!(status.signal(), Some(6), "{status}");
}

#[test]
fn config_prints_every_key() {
    let output = mainstem(&["config"], &[]);
    assert!(output.status.success());
    for key in mainstem::config::KEYS {
        let entry = format!("\n{} = ", key.name);
        assert!(out(&output).contains(&entry), "{} is missing", key.name);
    }
    assert!(out(&output).contains("log.segment_bytes = 128MiB  [restart]"));
    assert!(out(&output).contains("Allowed: 16MiB..16GiB, multiple of 4KiB (plain: bytes)"));
    let markdown = mainstem(&["config", "--markdown"], &[]);
    assert_eq!(out(&markdown), mainstem::config::markdown());
}

#[test]
fn config_check_tells_what_a_file_changes_or_what_is_wrong_with_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("mainstem.toml");
    let path = file.to_str().unwrap();

    fs::write(&file, "[log]\nsegment_bytes = '64MiB'\n").unwrap();
    let output = mainstem(&["config", "check", path], &[("MAINSTEM_LOG_FLUSH", "wrong")]);
    assert!(output.status.success(), "the environment is not asked: {output:?}");
    assert!(out(&output).ends_with("holds.\nlog.segment_bytes = 64MiB\n"), "{}", out(&output));

    fs::write(&file, "[log]\nsegment_bytes = 1\nflash = 'sync'\n").unwrap();
    let output = mainstem(&["config", "check", path], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("log.segment_bytes: 1 is out of bounds"), "{}", err(&output));
    assert!(err(&output).contains("line 3); did you mean log.flush?"), "{}", err(&output));
}

#[test]
fn a_start_ends_at_an_unknown_or_impossible_key_and_names_it() {
    type Case = (&'static [&'static str], &'static [(&'static str, &'static str)], &'static str);
    let cases: [Case; 6] = [
        (&["serve", "--set", "log.flash=sync"], &[], "unknown key log.flash"),
        (&["serve", "--flush", "never"], &[], "log.flush: \"never\""),
        (&["serve", "--cores", "x"], &[], "shards.cores: "),
        (&["serve", "--kafka", "0.0.0.0:9092"], &[], "kafka.advertised: "),
        (&[], &[("MAINSTEM_KAFKA_LISTENN", "off")], "unknown key MAINSTEM_KAFKA_LISTENN"),
        (&[], &[("MAINSTEM_COLD_READS", "0")], "cold.reads: 0 is out of bounds"),
    ];
    for (arguments, environment, message) in cases {
        let output = mainstem(arguments, environment);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(err(&output).contains(message), "{arguments:?}: {}", err(&output));
    }
}

#[test]
fn check_prints_the_table_for_this_machine() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let output = mainstem(&["check", "--data-dir", data_dir], &[]);
    let table = out(&output);
    let mut titles = table.lines().next().unwrap().split('|').map(str::trim);
    let expected = ["Condition", "Required", "Current", "Severity", "Passed"];
    assert!(expected.iter().all(|title| titles.next() == Some(title)), "{table}");
    for condition in ["Kernel ", "io_uring ", "Locked memory ", "Free disk space", "Clock source"] {
        assert!(table.lines().any(|line| line.starts_with(condition)), "{condition}: {table}");
    }
    let fatal = table.lines().any(|line| line.ends_with("| Fatal    | no"));
    assert_eq!(output.status.code(), Some(i32::from(fatal)), "{table}");
    assert_eq!(fs::read_dir(data_dir).unwrap().count(), 0);
}

#[test]
fn check_ends_with_1_when_a_fatal_row_fails() {
    let output = mainstem(&["check", "--data-dir", "/proc/nothing"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("Data directory is writable (Fatal)"), "{}", out(&output));
    let output = mainstem(&["check", "--set", "shards.cores=8000"], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("core 8000 is not available"), "{}", out(&output));
}

#[test]
fn log_tools_make_nothing_where_there_is_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("data");
    let data_dir = missing.to_str().unwrap();
    for action in [&["verify"][..], &["dump"], &["repair"], &["repair", "--dry-run"]] {
        let arguments = [&["log"], action, &["--data-dir", data_dir]].concat();
        let output = mainstem(&arguments, &[]);
        assert_eq!(output.status.code(), Some(1), "{action:?}");
        assert!(err(&output).contains(data_dir), "{action:?}: {}", err(&output));
        assert!(!missing.exists(), "{action:?}");
    }
}

#[test]
fn there_is_nothing_to_repair_in_an_empty_log() {
    let directory = tempfile::tempdir().unwrap();
    let data_dir = directory.path().to_str().unwrap();
    let output = mainstem(&["log", "repair", "--data-dir", data_dir], &[]);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(out(&output), "no damage is left to repair\n");
}
