//! Kernel, limits, cores and memory.

use std::{fs, path::Path};

use rustix::{
    process::{Resource, getrlimit},
    system::uname,
    thread::{CpuSet, sched_getaffinity},
};

use super::{
    Row, Severity,
    io_uring::{KERNEL_MIN, MEMLOCK_BYTES_MIN, memlock_mend},
    memory::{self, field_kib},
};
use crate::{config::Config, server::open_files};

/// The cores this process may run on, in ascending order; at least one.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// A small file of the kernel's, without surrounding space; `None` if it is not there.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

pub(super) fn release() -> String {
    uname().release().to_string_lossy().into_owned()
}

/// The limit of locked memory in bytes; `None` is unlimited.
pub(super) fn memlock_bytes() -> Option<u64> {
    getrlimit(Resource::Memlock).current
}

/// The three numbers at the start of a kernel's release; what is missing is 0.
pub(super) fn version(release: &str) -> (u32, u32, u32) {
    let mut numbers = release
        .split(|c: char| !c.is_ascii_digit())
        .map(|number| number.parse::<u32>().unwrap_or(0))
        .chain([0; 3]);
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next(), next())
}

/// Whether io_uring is free of the ENOMEM that older kernels answer without need (seastar #2728).
fn without_false_enomem(version: (u32, u32, u32)) -> bool {
    match version {
        (6, 6, patch) => patch >= 86,
        (6, 12, patch) => patch >= 21,
        (6, 13, patch) => patch >= 9,
        (major, minor, _) => (major, minor) >= (6, 14),
    }
}

pub(super) fn rows(config: &Config) -> Vec<Row> {
    let mut rows = vec![kernel(), stable_kernel(), memlock(), cores(config)];
    rows.extend([buffers(config), open_files(config), memory::row(config)]);
    rows.extend([clock_source(), swappiness(), governor(), backlog()]);
    rows
}

fn kernel() -> Row {
    let (major, minor, _) = KERNEL_MIN;
    Row {
        condition: "Kernel",
        required: format!("{major}.{minor} or later"),
        current: release(),
        severity: Severity::Fatal,
        passed: version(&release()) >= KERNEL_MIN,
        mend: "boot a newer kernel, best 6.12.21 or later".to_owned(),
    }
}

fn stable_kernel() -> Row {
    Row {
        condition: "Kernel's io_uring",
        required: "6.6.86, 6.12.21, 6.13.9, 6.14 or later".to_owned(),
        current: release(),
        severity: Severity::Warning,
        passed: without_false_enomem(version(&release())),
        mend: "boot a newer kernel: this one may answer io_uring with ENOMEM without need"
            .to_owned(),
    }
}

fn limit(bytes: Option<u64>) -> String {
    bytes.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes / 1024))
}

fn memlock() -> Row {
    let current = memlock_bytes();
    Row {
        condition: "Locked memory",
        required: format!("{} KiB", MEMLOCK_BYTES_MIN / 1024),
        current: limit(current),
        severity: Severity::Fatal,
        passed: current.is_none_or(|bytes| bytes >= MEMLOCK_BYTES_MIN),
        mend: memlock_mend(),
    }
}

/// How many there would be.
fn shards(config: &Config) -> usize {
    config.placement(&available_cores()).map_or(1, |placement| placement.shards.len())
}

fn buffers(config: &Config) -> Row {
    // A shard registers its memory with each of its three rings.
    let shards = shards(config);
    let required = 3 * config.shards.io_memory_bytes * shards as u64;
    let current = memlock_bytes();
    Row {
        condition: "Locked memory for buffers",
        required: format!("{} KiB", required / 1024),
        current: limit(current),
        severity: Severity::Warning,
        passed: current.is_none_or(|bytes| bytes >= required),
        mend: format!("{}, or lower shards.io_memory_bytes", memlock_mend()),
    }
}

fn cores(config: &Config) -> Row {
    let available = available_cores();
    let placement = config.placement(&available);
    Row {
        condition: "Cores",
        required: "those named in shards.cores and log.core".to_owned(),
        current: format!("{} available", available.len()),
        severity: Severity::Fatal,
        passed: placement.is_ok(),
        mend: placement.err().unwrap_or_default(),
    }
}

fn open_files(config: &Config) -> Row {
    let shards = shards(config);
    let required =
        u64::from(config.kafka.max_connections) + open_files::beside_connections(config, shards);
    // The start raises the soft limit to the hard one.
    let current = open_files::limit();
    Row {
        condition: "Open files",
        required: required.to_string(),
        current: current.map_or("unlimited".to_owned(), |files| files.to_string()),
        severity: Severity::Warning,
        passed: current.is_none_or(|files| files >= required),
        mend: format!(
            "raise the limit with `ulimit -n {required}` (systemd: LimitNOFILE={required}), or \
             lower kafka.max_connections"
        ),
    }
}

fn clock_source() -> Row {
    const CHEAP: [&str; 5] = [
        "tsc",
        "kvm-clock",
        "arch_sys_counter",
        "hyperv_clocksource_tsc_page",
        "riscv_clocksource",
    ];
    let path = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    let current = read(path);
    Row {
        condition: "Clock source",
        required: "tsc, or another read without a system call".to_owned(),
        passed: current.as_ref().is_none_or(|source| CHEAP.contains(&source.as_str())),
        current: current.unwrap_or_else(|| "unknown".to_owned()),
        severity: Severity::Warning,
        mend: format!("echo tsc | sudo tee {path}"),
    }
}

fn swappiness() -> Row {
    let swappiness = read("/proc/sys/vm/swappiness").and_then(|text| text.parse::<u32>().ok());
    let info = read("/proc/meminfo").unwrap_or_default();
    let no_swap = field_kib(&info, "SwapTotal:") == Some(0);
    let number = swappiness.map_or("unknown".to_owned(), |number| number.to_string());
    Row {
        condition: "Swappiness",
        required: "at most 10".to_owned(),
        current: if no_swap { format!("{number}, no swap") } else { number },
        severity: Severity::Warning,
        passed: no_swap || swappiness.is_none_or(|number| number <= 10),
        mend: "sudo sysctl -w vm.swappiness=1".to_owned(),
    }
}

fn governor() -> Row {
    let policies = fs::read_dir("/sys/devices/system/cpu/cpufreq");
    let mut governors: Vec<String> = policies
        .into_iter()
        .flatten()
        .filter_map(|entry| read(entry.ok()?.path().join("scaling_governor")))
        .collect();
    governors.sort();
    governors.dedup();
    Row {
        condition: "CPU governor",
        required: "performance".to_owned(),
        current: match governors.as_slice() {
            [] => "none here".to_owned(),
            some => some.join(", "),
        },
        severity: Severity::Warning,
        passed: governors.iter().all(|governor| governor == "performance"),
        mend:
            "echo performance | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
                .to_owned(),
    }
}

fn backlog() -> Row {
    let current = read("/proc/sys/net/core/somaxconn").and_then(|text| text.parse::<u32>().ok());
    Row {
        condition: "Connections waiting for accept",
        required: "1024".to_owned(),
        current: current.map_or("unknown".to_owned(), |number| number.to_string()),
        severity: Severity::Warning,
        passed: current.is_none_or(|number| number >= 1024),
        mend: "sudo sysctl -w net.core.somaxconn=4096".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_read_as_the_kernels_write_them() {
        assert_eq!(version("6.18.44-generic"), (6, 18, 44));
        assert_eq!(version("5.10.0-21-amd64"), (5, 10, 0));
        assert_eq!(version("6.14-rc3"), (6, 14, 0));
        assert_eq!(version("6"), (6, 0, 0));
        assert_eq!(version(""), (0, 0, 0));
    }

    #[test]
    fn the_kernels_with_false_enomem_are_known() {
        for good in [(6, 6, 86), (6, 12, 21), (6, 13, 9), (6, 14, 0), (6, 18, 1), (7, 0, 0)] {
            assert!(without_false_enomem(good), "{good:?}");
        }
        for bad in [(5, 15, 200), (6, 6, 85), (6, 8, 99), (6, 12, 20), (6, 13, 8)] {
            assert!(!without_false_enomem(bad), "{bad:?}");
        }
    }

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!available_cores().is_empty());
    }
}
