//! Whether io_uring can start, and if not, why.

use std::fmt;

use rustix::{
    io::Errno,
    io_uring::{IoringEnterFlags, io_uring_enter, io_uring_params, io_uring_setup},
};
use thiserror::Error;

use super::{
    Finding, limits,
    machine::{self, Machine},
};

/// Why the broker cannot run on this machine, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct Explanation {
    /// What is in the way.
    pub reason: String,
    /// A command, or a step, that mends it.
    pub mend: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nto mend it, {}", self.reason, self.mend)
    }
}

/// Memory glommio asks to be allowed to lock before it starts, in bytes.
pub(super) const MEMLOCK_BYTES_MIN: u64 = 512 * 1024;

/// The oldest kernel that has all the operations in use.
pub(super) const KERNEL_MIN: (u32, u32, u32) = (5, 8, 0);

/// What bears on whether io_uring starts.
#[derive(Clone, Debug)]
struct Facts {
    release: String,
    /// `kernel.io_uring_disabled`, where the kernel has it (6.6 on).
    disabled: Option<u32>,
    /// Whether a seccomp filter is laid over this process.
    seccomp: bool,
    /// `None` is unlimited.
    memlock_bytes: Option<u64>,
}

impl Facts {
    fn gather() -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mut modes = status.lines().filter_map(|line| line.strip_prefix("Seccomp:"));
        Self {
            release: limits::release(),
            disabled: machine::read("/proc/sys/kernel/io_uring_disabled")
                .and_then(|text| text.parse().ok()),
            seccomp: modes.any(|mode| mode.trim() != "0"),
            memlock_bytes: limits::memlock_bytes(),
        }
    }
}

/// Sets a small ring up and enters it once, to learn whether io_uring can start.
///
/// # Errors
/// What is in the way and what would mend it.
pub fn io_uring_ready() -> Result<(), Explanation> {
    ready(&Facts::gather(), probe())
}

fn ready(facts: &Facts, probed: Result<(), Errno>) -> Result<(), Explanation> {
    probed.map_err(|errno| explain(facts, errno))?;
    if limits::version(&facts.release) < KERNEL_MIN {
        return Err(old_kernel(facts));
    }
    match facts.memlock_bytes {
        Some(limit) if limit < MEMLOCK_BYTES_MIN => Err(little_memlock(limit)),
        _ => Ok(()),
    }
}

fn probe() -> Result<(), Errno> {
    let mut params = io_uring_params::default();
    // SAFETY: the parameters are all zero, so the kernel allocates the ring by itself and writes
    // to nothing but `params`. The ring is never mapped and closes with its descriptor.
    let ring = unsafe { io_uring_setup(4, &mut params) }?;
    // SAFETY: nothing is submitted and nothing waited for: the kernel only checks that it may.
    unsafe { io_uring_enter(&ring, 0, 0, IoringEnterFlags::empty()) }.map(drop)
}

fn explain(facts: &Facts, errno: Errno) -> Explanation {
    match errno {
        Errno::PERM if facts.disabled.is_some_and(|disabled| disabled > 0) => switched_off(facts),
        Errno::NOSYS if limits::version(&facts.release) < KERNEL_MIN => old_kernel(facts),
        Errno::PERM | Errno::ACCESS | Errno::NOSYS if facts.seccomp => Explanation {
            reason: "io_uring is blocked by a seccomp filter, as Docker and other container \
                     runtimes lay over their containers"
                .to_owned(),
            mend: "start the container with --security-opt seccomp=unconfined, or with a profile \
                   that allows io_uring_setup, io_uring_enter and io_uring_register"
                .to_owned(),
        },
        Errno::PERM | Errno::ACCESS => Explanation {
            reason: "io_uring is forbidden to this process by the system's security policy \
                     (SELinux, AppArmor or another module)"
                .to_owned(),
            mend: "allow io_uring in that policy; `journalctl -k | grep -i denied` names the rule"
                .to_owned(),
        },
        Errno::NOSYS => Explanation {
            reason: format!("the kernel {} has no io_uring (CONFIG_IO_URING)", facts.release),
            mend: "boot a kernel built with CONFIG_IO_URING; gVisor and WSL 1 have none".to_owned(),
        },
        Errno::NOMEM => no_memory(facts),
        Errno::MFILE | Errno::NFILE => Explanation {
            reason: "io_uring cannot start: too many files are open".to_owned(),
            mend: "raise the limit with `ulimit -n 65536` (systemd: LimitNOFILE=65536)".to_owned(),
        },
        other => Explanation {
            reason: format!("io_uring cannot start on kernel {}: {other}", facts.release),
            mend: "run `mainstem check`, and report what it prints".to_owned(),
        },
    }
}

fn switched_off(facts: &Facts) -> Explanation {
    let (who, group) = match facts.disabled {
        Some(1) => (
            "for processes without CAP_SYS_ADMIN outside its group",
            ", or set kernel.io_uring_group to this process's group",
        ),
        _ => ("for all processes", ""),
    };
    let value = facts.disabled.unwrap_or_default();
    Explanation {
        reason: format!("io_uring is switched off {who} (kernel.io_uring_disabled = {value})"),
        mend: format!(
            "run `sysctl -w kernel.io_uring_disabled=0`{group}; in a container, on its host"
        ),
    }
}

fn old_kernel(facts: &Facts) -> Explanation {
    let (major, minor, _) = KERNEL_MIN;
    Explanation {
        reason: format!(
            "the kernel {} is too old: io_uring has all it needs from {major}.{minor} on",
            facts.release
        ),
        mend: "boot a newer kernel, best 6.12.21 or later".to_owned(),
    }
}

fn little_memlock(limit: u64) -> Explanation {
    Explanation {
        reason: format!(
            "this process may lock only {} KiB of memory, and io_uring needs {} KiB at least",
            limit / 1024,
            MEMLOCK_BYTES_MIN / 1024
        ),
        mend: memlock_mend(),
    }
}

fn no_memory(facts: &Facts) -> Explanation {
    let limit =
        facts.memlock_bytes.map_or("unlimited".to_owned(), |bytes| format!("{bytes} bytes"));
    Explanation {
        reason: format!(
            "io_uring gets no memory: the limit of locked memory ({limit}) or the memory cgroup \
             is exhausted (kernels before 6.6.86 and 6.12.21 also say so by mistake; this is {})",
            facts.release
        ),
        mend: memlock_mend(),
    }
}

pub(super) fn memlock_mend() -> String {
    "raise the limit with `ulimit -l unlimited` (systemd: LimitMEMLOCK=infinity; Docker: \
     --ulimit memlock=-1)"
        .to_owned()
}

pub(super) fn starts(_: &Machine<'_>) -> Finding {
    let result = io_uring_ready();
    let current = if result.is_ok() { "starts" } else { "does not start" };
    let passed = result.is_ok();
    let mend =
        result.map_or_else(|why| format!("{}:\n  {}", why.reason, why.mend), |()| String::new());
    Finding::of("starts".to_owned(), current.to_owned(), passed, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            release: "6.18.1-generic".to_owned(),
            disabled: Some(0),
            seccomp: false,
            memlock_bytes: Some(8 << 20),
        }
    }

    fn explained(facts: &Facts, errno: Errno) -> String {
        ready(facts, Err(errno)).unwrap_err().to_string()
    }

    #[test]
    fn each_obstacle_is_told_from_the_others() {
        let seccomp = Facts { seccomp: true, ..facts() };
        let docker = explained(&seccomp, Errno::PERM);
        assert!(docker.contains("seccomp filter") && docker.contains("--security-opt"), "{docker}");
        assert!(explained(&seccomp, Errno::NOSYS).contains("seccomp filter"));

        let off = explained(&Facts { disabled: Some(2), ..seccomp }, Errno::PERM);
        assert!(off.contains("for all processes (kernel.io_uring_disabled = 2)"), "{off}");
        assert!(off.contains("sysctl -w kernel.io_uring_disabled=0"), "{off}");
        let group = explained(&Facts { disabled: Some(1), ..facts() }, Errno::PERM);
        assert!(group.contains("kernel.io_uring_group"), "{group}");

        let old = Facts { release: "4.19.0-21".to_owned(), disabled: None, ..facts() };
        assert!(explained(&old, Errno::NOSYS).contains("4.19.0-21 is too old"));
        assert!(explained(&facts(), Errno::NOSYS).contains("CONFIG_IO_URING"));
        assert!(explained(&facts(), Errno::PERM).contains("SELinux"));
        assert!(explained(&facts(), Errno::NOMEM).contains("ulimit -l unlimited"));
        assert!(explained(&facts(), Errno::MFILE).contains("ulimit -n"));
        let unknown = explained(&facts(), Errno::INVAL);
        assert!(unknown.contains("Invalid argument"), "{unknown}");
    }

    #[test]
    fn a_ring_that_starts_is_not_enough() {
        assert_eq!(ready(&facts(), Ok(())), Ok(()));
        assert_eq!(ready(&Facts { memlock_bytes: None, ..facts() }, Ok(())), Ok(()));
        let little = Facts { memlock_bytes: Some(64 << 10), ..facts() };
        let text = ready(&little, Ok(())).unwrap_err().to_string();
        assert!(text.contains("only 64 KiB") && text.contains("512 KiB"), "{text}");
        let old = Facts { release: "5.4.0".to_owned(), ..facts() };
        assert!(ready(&old, Ok(())).unwrap_err().to_string().contains("5.8"));
    }
}
