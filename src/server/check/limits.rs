//! The kernel's version, what this process may do, and the cores it may run on.

use rustix::{
    process::{Resource, getrlimit},
    system::uname,
};

use super::{
    Finding,
    io_uring::{KERNEL_MIN, MEMLOCK_BYTES_MIN, memlock_mend},
    machine::Machine,
};
use crate::server::open_files;

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

pub(super) fn kernel(_: &Machine<'_>) -> Finding {
    let (major, minor, _) = KERNEL_MIN;
    Finding::of(
        format!("{major}.{minor} or later"),
        release(),
        version(&release()) >= KERNEL_MIN,
        "boot a newer kernel, best 6.12.21 or later".to_owned(),
    )
}

pub(super) fn stable_kernel(_: &Machine<'_>) -> Finding {
    Finding::of(
        "6.6.86, 6.12.21, 6.13.9, 6.14 or later".to_owned(),
        release(),
        without_false_enomem(version(&release())),
        "boot a newer kernel: this one may answer io_uring with ENOMEM without need".to_owned(),
    )
}

fn limit(bytes: Option<u64>) -> String {
    bytes.map_or("unlimited".to_owned(), |bytes| format!("{} KiB", bytes / 1024))
}

pub(super) fn memlock(_: &Machine<'_>) -> Finding {
    let current = memlock_bytes();
    Finding::of(
        format!("{} KiB", MEMLOCK_BYTES_MIN / 1024),
        limit(current),
        current.is_none_or(|bytes| bytes >= MEMLOCK_BYTES_MIN),
        memlock_mend(),
    )
}

pub(super) fn buffers(machine: &Machine<'_>) -> Finding {
    // A shard registers its memory with each of its three rings.
    let required = 3 * machine.config.shards.io_memory_bytes * machine.shards() as u64;
    let current = memlock_bytes();
    Finding::of(
        format!("{} KiB", required / 1024),
        limit(current),
        current.is_none_or(|bytes| bytes >= required),
        format!("{}, or lower shards.io_memory_bytes", memlock_mend()),
    )
}

pub(super) fn cores(machine: &Machine<'_>) -> Finding {
    let placement = machine.config.placement(&machine.cores);
    Finding::of(
        "those named in shards.cores and log.core".to_owned(),
        format!("{} available", machine.cores.len()),
        placement.is_ok(),
        placement.err().unwrap_or_default(),
    )
}

pub(super) fn open_files(machine: &Machine<'_>) -> Finding {
    let config = machine.config;
    let beside = open_files::beside_connections(config, machine.shards());
    let required = u64::from(config.kafka.max_connections) + beside;
    // The start raises the soft limit to the hard one.
    let current = open_files::limit();
    Finding::of(
        required.to_string(),
        current.map_or("unlimited".to_owned(), |files| files.to_string()),
        current.is_none_or(|files| files >= required),
        format!(
            "raise the limit with `ulimit -n {required}` (systemd: LimitNOFILE={required}), or \
             lower kafka.max_connections"
        ),
    )
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
}
