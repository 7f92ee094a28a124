//! Every check, once: what `mainstem check` looks at, `mainstem tune` sets, and tuning.md lists.

use std::path::Path;

use super::{
    Check, Look, Severity, disk, io_uring, limits,
    machine::Machine,
    memory,
    setting::{Moot, Setting, Wanted},
};
use crate::env::mirror::HUGE_PAGE;

/// All checks, the fatal ones first.
pub static CHECKS: [Check; 29] = [
    fatal("Kernel", "uname -r", "5.8 or later", limits::kernel)
        .since("older ones lack operations of io_uring that are in use", "a reboot"),
    fatal("Locked memory", "ulimit -l, LimitMEMLOCK", "512 KiB, best unlimited", limits::memlock)
        .since(
            "the runtime does not start with less",
            "processes may keep more memory from being swapped",
        ),
    fatal("Cores", "shards.cores, log.core", "those named are there", limits::cores)
        .since("a thread cannot stay on a core that is not there", "none"),
    fatal("io_uring", "/proc/sys/kernel/io_uring_disabled, seccomp", "starts", io_uring::starts)
        .since("the shards run on it", "it has had flaws of its own: keep the kernel up to date"),
    fatal("Data directory is writable", "data_dir", "yes", disk::writable)
        .since("everything the broker keeps is there", "none"),
    fatal("Data directory has O_DIRECT", "data_dir", "yes", disk::direct)
        .since("the log is written and read past the page cache", "none"),
    probe("Free disk space", "data_dir", "room for the next segments", disk::free).since(
        "else sends are refused once the segments there are full, and at once with less than \
`log.reserve_bytes`",
        "none",
    ),
    probe(
        "Kernel's io_uring",
        "uname -r",
        "6.6.86, 6.12.21, 6.13.9, 6.14 or later",
        limits::stable_kernel,
    )
    .since("others may answer io_uring with ENOMEM without need", "a reboot"),
    probe(
        "Locked memory for buffers",
        "ulimit -l, LimitMEMLOCK",
        "3 × `shards.io_memory_bytes` a shard",
        limits::buffers,
    )
    .since(
        "else files are read without registered buffers",
        "processes may keep more memory from being swapped",
    ),
    probe(
        "Open files",
        "ulimit -n, LimitNOFILE",
        "`kafka.max_connections` and some hundreds",
        limits::open_files,
    )
    .since(
        "each connection takes one, and the log has its own; fewer connections are \
taken else",
        "none",
    ),
    probe("Memory", "/proc/meminfo", "what `log.tail_bytes` and requests take", memory::available)
        .since("a hot tail that is swapped is worse than none", "none"),
    probe("File system", "data_dir", "ext4 or xfs", disk::file_system)
        .since("others are not tried out, and some forget", "the data has to move"),
    probe(
        "Mount options",
        "/proc/self/mountinfo",
        "noatime, and none that harms",
        disk::mount_options,
    )
    .since(
        "`data=writeback` and `nobarrier` make the disk's word worth less; \
`data=journal`, `sync` and `discard` its writes slower",
        "without `discard`, run `fstrim` from time to time",
    ),
    setting("Disk scheduler", "/sys/block/DISK/queue/scheduler", Wanted::Word(&["none"])).since(
        "the log is one sequential stream, nothing to sort",
        "a slow disk no longer puts others' reads first",
    ),
    setting("Merging of requests", "/sys/block/DISK/queue/nomerges", Wanted::Number(1..=2, 2))
        .since(
            "each write of the log is whole; looking for neighbours is lost time",
            "programs that write small pieces make more requests",
        ),
    setting(
        "CPU governor",
        "/sys/devices/system/cpu/cpufreq/policy*/scaling_governor",
        Wanted::Word(&["performance"]),
    )
    .among("scaling_available_governors")
    .since("a core that clocks down between requests adds latency", "power and heat at idle"),
    setting(
        "C-states",
        "/sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us",
        Wanted::Number(1..=10, 10),
    )
    .unless(without_idle_states)
    .since(
        "a core wakes from its deepest sleep after 100 µs and more; 0 allows any \
depth",
        "power and heat at idle, less turbo for busy cores",
    ),
    setting(
        "Clock source",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
        Wanted::Word(&CHEAP_CLOCKS),
    )
    .among("available_clocksource")
    .since(
        "others are read by a system call, several times a request",
        "where the kernel gave tsc up as unstable, time may jump",
    ),
    setting("Swappiness", "/proc/sys/vm/swappiness", Wanted::Number(0..=10, 1))
        .unless(without_swap)
        .since(
            "a swapped hot tail is worse than none",
            "short of memory the page cache shrinks first",
        ),
    setting(
        "Transparent huge pages",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        Wanted::Word(&["madvise", "never"]),
    )
    .since(
        "`always` gives small buffers 2 MiB, and stalls threads while it makes room",
        "programs that do not ask for them get slower",
    ),
    setting(
        "Huge pages of memory files",
        "/sys/kernel/mm/transparent_hugepage/shmem_enabled",
        Wanted::Word(&["advise", "within_size", "always"]),
    )
    .since(
        "the hot tail is one: what a shard is the first to touch is then huge, too",
        "programs that ask for them get them",
    ),
    setting(
        "Huge pages",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages",
        Wanted::Needed(huge_pages),
    )
    .unless(without_huge_pages)
    .since("`log.huge_pages` takes `log.tail_bytes` from them", "the memory is nobody else's"),
    setting("NUMA balancing", "/proc/sys/kernel/numa_balancing", Wanted::Number(0..=0, 0))
        .unless(on_one_node)
        .since(
            "it unmaps memory to see who uses it: page faults on every way",
            "unpinned programs stay with far memory",
        ),
    setting("Zone reclaim", "/proc/sys/vm/zone_reclaim_mode", Wanted::Number(0..=0, 0))
        .unless(on_one_node)
        .since(
            "a full node would drop its own pages before it takes another's",
            "more of the far memory is used",
        ),
    setting("Network interrupts", "/proc/irq/IRQ/smp_affinity_list", Wanted::OffPinned)
        .unless(without_pins)
        .since(
            "an interrupt takes a shard its core in the middle of a request",
            "the other cores bear them; irqbalance moves them back unless it is stopped",
        ),
    setting("RPS", "/sys/class/net/NIC/queues/rx-*/rps_cpus", Wanted::Spread(receiving_cores))
        .unless(spread_by_the_card)
        .since(
            "a card with one queue leaves all receiving to one core",
            "a wake-up of another core for each burst",
        ),
    setting("XPS", "/sys/class/net/NIC/queues/tx-*/xps_cpus", Wanted::Spread(sending_cores))
        .unless(with_one_queue)
        .since("each core sends by a queue of its own, without another's lock", "none"),
    setting(
        "Connections waiting for accept",
        "/proc/sys/net/core/somaxconn",
        Wanted::Number(1024..=u64::MAX, 4096),
    )
    .since("clients that come back all at once", "none"),
    setting(
        "Slow start after idle",
        "/proc/sys/net/ipv4/tcp_slow_start_after_idle",
        Wanted::Number(0..=0, 0),
    )
    .since(
        "a connection that paused sends its next batch at once",
        "bursts, on a network that is full",
    ),
];

/// Clocks that are read without a system call. What is written is the first.
const CHEAP_CLOCKS: [&str; 5] =
    ["tsc", "kvm-clock", "arch_sys_counter", "hyperv_clocksource_tsc_page", "riscv_clocksource"];

type Find = fn(&Machine<'_>) -> super::Finding;

const fn fatal(
    condition: &'static str,
    path: &'static str,
    wanted: &'static str,
    find: Find,
) -> Check {
    Check { severity: Severity::Fatal, ..probe(condition, path, wanted, find) }
}

const fn probe(
    condition: &'static str,
    path: &'static str,
    wanted: &'static str,
    find: Find,
) -> Check {
    let look = Look::Probe(wanted, find);
    Check { condition, path, severity: Severity::Warning, why: "", risk: "", look }
}

const fn setting(condition: &'static str, path: &'static str, wanted: Wanted) -> Check {
    let look = Look::Setting(Setting { wanted, moot: |_, _| None, choices: None });
    Check { condition, path, severity: Severity::Warning, why: "", risk: "", look }
}

impl Check {
    /// Why it is wanted, and what it may do to others.
    const fn since(mut self, why: &'static str, risk: &'static str) -> Self {
        self.why = why;
        self.risk = risk;
        self
    }

    /// Where it does not matter.
    const fn unless(mut self, moot: Moot) -> Self {
        if let Look::Setting(setting) = &mut self.look {
            setting.moot = moot;
        }
        self
    }

    /// The file beside it that lists the words the kernel takes.
    const fn among(mut self, choices: &'static str) -> Self {
        if let Look::Setting(setting) = &mut self.look {
            setting.choices = Some(choices);
        }
        self
    }
}

fn without_idle_states(machine: &Machine<'_>, path: &Path) -> Option<&'static str> {
    let core = path.parent()?.parent()?;
    let states = machine.files(&format!("{}/cpuidle/state*/latency", core.display()));
    let latency_us = |path| machine.read(path)?.parse::<u64>().ok();
    let deep = states.into_iter().filter_map(latency_us).any(|latency_us| latency_us > 10);
    (!deep).then_some("no deep sleep")
}

fn without_swap(machine: &Machine<'_>, _: &Path) -> Option<&'static str> {
    // One line is the heading.
    let swaps = machine.read("/proc/swaps")?;
    (swaps.lines().count() < 2).then_some("no swap")
}

fn without_huge_pages(machine: &Machine<'_>, _: &Path) -> Option<&'static str> {
    (!machine.config.log.huge_pages).then_some("log.huge_pages is off")
}

fn huge_pages(machine: &Machine<'_>) -> u64 {
    machine.config.log.tail_bytes.div_ceil(HUGE_PAGE as u64)
}

fn on_one_node(machine: &Machine<'_>, _: &Path) -> Option<&'static str> {
    let nodes = machine.files("/sys/devices/system/node/node*/cpulist");
    (nodes.len() < 2).then_some("one node")
}

fn without_pins(machine: &Machine<'_>, _: &Path) -> Option<&'static str> {
    machine.pinned.is_empty().then_some("no core is named")
}

/// How many queues there are beside a queue's file, itself among them.
fn queues(machine: &Machine<'_>, path: &Path) -> usize {
    let queue =
        path.parent().and_then(|queue| Some((queue.parent()?, queue.file_name()?.to_str()?)));
    let Some((all, kind)) = queue.and_then(|(all, name)| Some((all, name.split_once('-')?.0)))
    else {
        return 0;
    };
    let file = path.file_name().unwrap_or_default().display();
    machine.files(&format!("{}/{kind}-*/{file}", all.display())).len()
}

fn spread_by_the_card(machine: &Machine<'_>, path: &Path) -> Option<&'static str> {
    match (machine.cores.len(), queues(machine, path)) {
        (1, _) => Some("one core"),
        (_, 0 | 1) => None,
        _ => Some("the card has several queues"),
    }
}

fn with_one_queue(machine: &Machine<'_>, path: &Path) -> Option<&'static str> {
    (queues(machine, path) < 2).then_some("the card has one queue")
}

/// The cores that receive: those without a thread that stays there, if there are any.
fn receiving_cores(machine: &Machine<'_>, _: &Path) -> Vec<usize> {
    let spare = machine.spare_cores();
    if spare.is_empty() { machine.cores.clone() } else { spare }
}

/// The cores that send by a queue: all are dealt out to the queues in turn.
fn sending_cores(machine: &Machine<'_>, path: &Path) -> Vec<usize> {
    let queue = path.parent().and_then(|queue| queue.file_name()?.to_str());
    let number = queue.and_then(|name| name.rsplit('-').next()?.parse().ok()).unwrap_or(0_usize);
    let (queues, cores) = (queues(machine, path).max(1), &machine.cores);
    let own = cores.iter().enumerate().filter(|(index, _)| index % queues == number % queues);
    let own: Vec<_> = own.map(|(_, core)| *core).collect();
    // With more queues than cores the ones beyond serve all.
    if own.is_empty() { cores.clone() } else { own }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_says_all_there_is_to_say() {
        for check in &CHECKS {
            let texts = [check.condition, check.path, check.why, check.risk];
            assert!(texts.iter().all(|text| !text.is_empty()), "{}", check.condition);
        }
        let warnings = CHECKS.iter().skip_while(|check| check.severity == Severity::Fatal);
        assert!(warnings.clone().all(|check| check.severity == Severity::Warning));
        let mut names: Vec<_> = CHECKS.iter().map(|check| check.condition).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHECKS.len());
    }
}
