//! How much memory there is.

use std::path::{Path, PathBuf};

use super::{
    Finding, State,
    machine::{Machine, read},
};
use crate::config::MIB;

/// Memory this process may use, in bytes: the machine's, or less where a control group says so.
/// `None` where the kernel does not tell.
#[must_use]
pub fn memory_bytes() -> Option<u64> {
    let info = read("/proc/meminfo").unwrap_or_default();
    let machine = field_kib(&info, "MemTotal:").map(|kib| kib * 1024);
    machine.into_iter().chain(group_limit(|path| read(path))).min()
}

pub(super) fn available(machine: &Machine<'_>) -> Finding {
    let config = machine.config;
    let required = config.log.tail_bytes + config.kafka.request_memory_bytes + 256 * MIB;
    let info = machine.read("/proc/meminfo").unwrap_or_default();
    let free = field_kib(&info, "MemAvailable:").map(|kib| kib * 1024);
    let available = free.into_iter().chain(group_limit(|path| machine.read(path))).min();
    Finding {
        required: format!("{} MiB available", required / MIB),
        current: available.map_or("unknown".to_owned(), |bytes| format!("{} MiB", bytes / MIB)),
        state: available.map_or(State::Unknown, |bytes| State::of(bytes >= required)),
        mend: "lower log.tail_bytes or kafka.request_memory_bytes, or give the machine more memory"
            .to_owned(),
    }
}

/// The least that a control group of this process allows it, in bytes, if any says so.
fn group_limit(read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let groups = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    limit_files(&groups).iter().filter_map(|path| limit(&read(path)?)).min()
}

/// The files that hold the limits of the control groups named in /proc/self/cgroup: of version 2
/// (`0::/path`), where each group above counts too, and of version 1 (`4:memory:/path`). Inside a
/// container the path is that of the host and not there; then the group is the root.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|name| name == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        let path = Path::new(path.trim_start_matches('/'));
        files.extend(path.ancestors().map(|above| Path::new(root).join(above).join(file)));
    }
    files
}

/// A limit in bytes; `None` for `max`, version 2's word for no limit.
fn limit(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// A field of /proc/meminfo in KiB.
fn field_kib(info: &str, name: &str) -> Option<u64> {
    let rest = info.lines().find_map(|line| line.strip_prefix(name))?;
    rest.trim().trim_end_matches("kB").trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn fields_of_meminfo_are_found() {
        let info = "MemTotal:       24683820 kB\nMemFree:        20000000 kB";
        assert_eq!(field_kib(info, "MemTotal:"), Some(24_683_820));
        assert_eq!(field_kib(info, "MemAvailable:"), None);
    }

    #[test]
    fn both_versions_of_control_groups_are_asked() {
        let files = limit_files("4:cpu,memory:/pod\n3:cpuset:/pod\n0::/user.slice/a.scope\n");
        let files: Vec<_> = files.iter().map(|path| path.to_str().unwrap()).collect();
        let expected = [
            "/sys/fs/cgroup/memory/pod/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/user.slice/a.scope/memory.max",
            "/sys/fs/cgroup/user.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(files, expected);
        assert_eq!((limit("max"), limit("1073741824")), (None, Some(1 << 30)));
    }

    #[test]
    fn what_a_control_group_allows_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let mut config = Config::default();
        config.log.tail_bytes = 1 << 30;
        let state = || available(&Machine::new(root.path(), &config)).state;
        assert_eq!(state(), State::Unknown);
        write("proc/meminfo", "MemAvailable:   24683820 kB\n");
        assert_eq!(state(), State::Passed);
        write("proc/self/cgroup", "0::/broker\n");
        write("sys/fs/cgroup/broker/memory.max", "1073741824\n");
        assert_eq!(state(), State::Failed);
    }

    #[test]
    fn this_machine_says_how_much_it_has() {
        assert!(memory_bytes().is_some_and(|bytes| bytes > MIB));
    }
}
