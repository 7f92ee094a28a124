//! The command line, by running the program.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::Path,
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

/// A machine with two cores, a disk under `data_dir`, and a network card with two queues for sending.
fn machine(root: &Path, data_dir: &Path) {
    let files = [
        ("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/cpufreq/policy10/scaling_governor", "performance\n"),
        ("sys/devices/system/cpu/cpufreq/policy2/scaling_governor", "ondemand\n"),
        ("sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us", "0\n"),
        ("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "2\n"),
        ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet\n"),
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "hpet acpi_pm\n"),
        ("sys/kernel/mm/transparent_hugepage/enabled", "[always] madvise never\n"),
        ("sys/devices/sda/queue/scheduler", "[mq-deadline] none\n"),
        ("sys/devices/sda/sda1/partition", "1\n"),
        ("sys/class/net/lo/queues/tx-0/xps_cpus", "0\n"),
        ("sys/class/net/eth0/device/name", ""),
        ("sys/class/net/eth0/queues/tx-0/xps_cpus", "0\n"),
        ("sys/class/net/eth0/queues/tx-1/xps_cpus", "0\n"),
        ("proc/sys/vm/swappiness", "60\n"),
        ("proc/swaps", "Filename Type\n/dev/zram0 partition\n"),
        ("proc/sys/net/core/somaxconn", "4096\n"),
    ];
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let device = fs::metadata(data_dir).unwrap().dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    fs::create_dir_all(root.join("sys/dev/block")).unwrap();
    fs::create_dir_all(root.join("sys/block")).unwrap();
    symlink("../../devices/sda/sda1", root.join("sys/dev/block").join(number)).unwrap();
    symlink("../devices/sda", root.join("sys/block/sda")).unwrap();
}

/// Never on the machine the tests run on: the root is always given.
fn on(root: &Path, arguments: &[&str]) -> Output {
    let (data_dir, state) = (root.join("data"), root.join("state/tune.json"));
    fs::create_dir_all(&data_dir).unwrap();
    let place = ["--root", root.to_str().unwrap(), "--data-dir", data_dir.to_str().unwrap()];
    let state = match arguments[0] {
        "tune" => &["--state", state.to_str().unwrap()][..],
        _ => &[],
    };
    mainstem(&[arguments, &place, state].concat(), &[])
}

#[test]
fn check_tells_what_fails_and_what_it_cannot_see() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    let text = out(&on(root.path(), &["check"]));
    let row = |condition: &str| {
        let row = text.lines().find(|line| line.starts_with(&format!("{condition} ")));
        let cells = row.unwrap_or_else(|| panic!("{condition}: {text}")).split('|').map(str::trim);
        let cells: Vec<_> = cells.collect();
        (cells[2].to_owned(), cells[4].to_owned())
    };
    let expected = [
        ("CPU governor", "powersave, ondemand, performance", "no"),
        ("C-states", "0 (no deep sleep)", "yes"),
        ("Clock source", "hpet", "no"),
        ("Transparent huge pages", "always", "no"),
        ("Disk scheduler", "mq-deadline", "no"),
        ("Merging of requests", "none here", "unknown"),
        ("Swappiness", "60", "no"),
        ("XPS", "0", "no"),
        ("Network interrupts", "none here", "unknown"),
        ("Connections waiting for accept", "4096", "yes"),
    ];
    for (condition, current, passed) in expected {
        assert_eq!(row(condition), (current.to_owned(), passed.to_owned()), "{condition}");
    }
    assert!(text.contains("to mend it: echo none | sudo tee /sys/block/sda/queue/scheduler\n"));
    assert!(text.contains("to mend it: the kernel offers hpet, acpi_pm only\n"), "{text}");
    assert!(!text.contains("\nRPS ("), "only what failed is explained: {text}");
    let text = out(&on(root.path(), &["check", "--explain"]));
    assert!(text.contains("\nRPS (Warning)\n  where: /sys/class/net/NIC/"), "{text}");
}

#[test]
fn tune_writes_what_fails_and_puts_it_back() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    let scheduler = root.path().join("sys/block/sda/queue/scheduler");
    let governor = root.path().join("sys/devices/system/cpu/cpufreq/policy0/scaling_governor");
    let state = root.path().join("state/tune.json");
    let read = |path: &Path| fs::read_to_string(path).unwrap();

    let script = out(&on(root.path(), &["tune", "--dry-run"]));
    for line in [
        "echo none > /sys/block/sda/queue/scheduler # was mq-deadline",
        "echo performance > /sys/devices/system/cpu/cpufreq/policy0/scaling_governor # was powersave",
        "echo 1 > /proc/sys/vm/swappiness # was 60",
        "# By hand: Clock source: the kernel offers hpet, acpi_pm only",
    ] {
        assert!(script.lines().any(|found| found == line), "{line}: {script}");
    }
    assert!(!script.contains("policy10") && !script.contains("somaxconn"), "{script}");
    assert_eq!(read(&scheduler), "[mq-deadline] none\n", "nothing is written");
    assert!(!state.exists());

    let output = on(root.path(), &["tune"]);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!((read(&scheduler), read(&governor)), ("none\n".into(), "performance\n".into()));
    // A second time: what was recorded first is what comes back.
    fs::write(&scheduler, "[kyber] none\n").unwrap();
    assert!(on(root.path(), &["tune"]).status.success());
    assert_eq!(read(&scheduler), "none\n");

    let output = on(root.path(), &["tune", "--undo"]);
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!((read(&scheduler), read(&governor)), ("mq-deadline\n".into(), "powersave\n".into()));
    assert!(!state.exists());
    let again = on(root.path(), &["tune", "--undo"]);
    assert_eq!(again.status.code(), Some(1));
    assert!(err(&again).contains("holds no values to put back"), "{}", err(&again));
}

#[test]
fn tune_keeps_the_old_values_in_the_directory_it_is_in() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    command.args(["tune", "--state", "tune.json", "--root"]).arg(root.path());
    command.arg("--data-dir").arg(root.path()).current_dir(root.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(root.path().join("tune.json").exists());
}

#[test]
fn tune_keeps_what_could_not_be_put_back_and_writes_to_the_kernel_only() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    assert!(on(root.path(), &["tune"]).status.success());
    let swappiness = root.path().join("proc/sys/vm/swappiness");
    fs::remove_file(&swappiness).unwrap();
    let output = on(root.path(), &["tune", "--undo"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(out(&output).contains("/proc/sys/vm/swappiness = 60: refused, "), "{}", out(&output));
    assert!(err(&output).contains("1 of the values were refused"), "{}", err(&output));
    assert!(!swappiness.exists(), "never made where there was none");
    fs::write(&swappiness, "1\n").unwrap();
    let output = on(root.path(), &["tune", "--undo"]);
    assert_eq!(out(&output), "/proc/sys/vm/swappiness = 60\n");

    let state = root.path().join("state/tune.json");
    for path in ["/etc/passwd", "/sys/../etc/passwd"] {
        let change = format!(r#"[{{"path":"{path}","before":"x","after":"y"}}]"#);
        fs::write(&state, change).unwrap();
        let output = on(root.path(), &["tune", "--undo"]);
        assert!(err(&output).contains("is no setting of the kernel's"), "{}", err(&output));
    }
}

/// The kernel takes a 0 for this one, and makes its default of it.
#[test]
fn tune_reads_back_what_it_has_set() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    let path = "/proc/sys/net/ipv4/tcp_slow_start_after_idle";
    let file = root.path().join(&path[1..]);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    symlink("/proc/self/timerslack_ns", file).unwrap();
    let output = on(root.path(), &["tune"]);
    assert_eq!(output.status.code(), Some(1));
    let said = out(&output);
    let line = said.lines().find(|line| line.starts_with(path)).unwrap();
    assert!(line.starts_with(&format!("{path} = 0: the kernel made it \"")), "{said}");
    assert!(err(&output).contains("1 of the values were refused, or not granted"), "{output:?}");
    assert!(said.contains("\n/proc/sys/vm/swappiness = 1\n"), "{said}");
}

#[test]
fn undo_leaves_alone_what_was_set_before_the_machine_started_anew() {
    let root = tempfile::tempdir().unwrap();
    machine(root.path(), root.path());
    let boot_id = root.path().join("proc/sys/kernel/random/boot_id");
    fs::create_dir_all(boot_id.parent().unwrap()).unwrap();
    let swappiness = root.path().join("proc/sys/vm/swappiness");
    let state = root.path().join("state/tune.json");

    fs::write(&boot_id, "first\n").unwrap();
    assert!(on(root.path(), &["tune"]).status.success());
    fs::write(&boot_id, "second\n").unwrap();
    let output = on(root.path(), &["tune", "--undo"]);
    assert!(output.status.success(), "{}", err(&output));
    let left = "/proc/sys/vm/swappiness = 60: left, not known to be of this boot\n";
    assert!(out(&output).contains(left), "{}", out(&output));
    assert_eq!(fs::read_to_string(&swappiness).unwrap(), "1\n");
    assert!(!state.exists());

    // A record of before does not stand in the way of one of now.
    fs::write(&swappiness, "60\n").unwrap();
    assert!(on(root.path(), &["tune"]).status.success());
    fs::write(&boot_id, "third\n").unwrap();
    fs::write(&swappiness, "30\n").unwrap();
    assert!(on(root.path(), &["tune"]).status.success());
    let output = on(root.path(), &["tune", "--undo"]);
    assert_eq!(out(&output), "/proc/sys/vm/swappiness = 30\n");
}
