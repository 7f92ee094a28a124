//! What a process has used, from `/proc`: the figure that stays steady on a shared machine.

use crate::error::{Doing, Result};
use crate::report::announce_measuring;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs;
use std::time::Instant;

/// One reading of a process's counters, all of its threads together.
pub struct ProcSample {
    at: Instant,
    user_ticks: u64,
    system_ticks: u64,
    on_cpu_ns: HashMap<String, u64>,
    voluntary_switches: u64,
    involuntary_switches: u64,
    read_bytes: u64,
    write_bytes: u64,
    /// Resident memory now, in bytes.
    pub rss_bytes: u64,
    /// Resident memory at its highest, in bytes.
    pub peak_rss_bytes: u64,
}

/// What a process used between two readings.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ProcUse {
    /// Time between the readings, in seconds.
    pub seconds: f64,
    /// CPU seconds, user and system, in the kernel's ticks (10 ms).
    pub cpu_seconds: f64,
    /// The user part of it.
    pub user_seconds: f64,
    /// The system part of it.
    pub system_seconds: f64,
    /// CPU seconds of the threads that live, by the scheduler's finer clock.
    pub on_cpu_seconds: f64,
    /// The same of the thread that used most. Near `seconds`, this thread is a limit.
    pub busiest_thread_seconds: f64,
    /// Context switches of the threads that live, given up by themselves.
    pub voluntary_switches: u64,
    /// Context switches of the threads that live, forced.
    pub involuntary_switches: u64,
    /// Bytes that caused reads from the disk.
    pub disk_read_bytes: u64,
    /// Bytes that caused writes to the disk, counted when pages are dirtied.
    pub disk_write_bytes: u64,
    /// Resident memory at the end, in bytes.
    pub rss_bytes: u64,
    /// Resident memory at its highest since the process started, in bytes.
    pub peak_rss_bytes: u64,
}

/// Reads the counters of a process.
///
/// # Errors
/// The process is gone, or belongs to someone else.
pub fn sample(pid: u32) -> Result<ProcSample> {
    let stat = read(pid, "stat")?;
    // The name in parentheses may itself hold spaces and parentheses.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let field = |i: usize| after_name.split_whitespace().nth(i).and_then(|f| f.parse().ok());
    let status = read(pid, "status")?;
    let io = read(pid, "io")?;
    let mut sample = ProcSample {
        at: Instant::now(),
        user_ticks: field(11).unwrap_or(0),
        system_ticks: field(12).unwrap_or(0),
        on_cpu_ns: HashMap::new(),
        voluntary_switches: 0,
        involuntary_switches: 0,
        read_bytes: labelled(&io, "read_bytes:"),
        write_bytes: labelled(&io, "write_bytes:"),
        rss_bytes: labelled(&status, "VmRSS:") * 1024,
        peak_rss_bytes: labelled(&status, "VmHWM:") * 1024,
    };
    let tasks = format!("/proc/{pid}/task");
    for task in fs::read_dir(&tasks).doing(|| format!("listing {tasks}"))?.flatten() {
        // A thread may end between the listing and the reading.
        let text = |name| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let (status, schedstat) = (text("status"), text("schedstat"));
        sample.voluntary_switches += labelled(&status, "voluntary_ctxt_switches:");
        sample.involuntary_switches += labelled(&status, "nonvoluntary_ctxt_switches:");
        let on_cpu = schedstat.split_whitespace().next().and_then(|f| f.parse::<u64>().ok());
        let thread = task.file_name().to_string_lossy().into_owned();
        sample.on_cpu_ns.insert(thread, on_cpu.unwrap_or(0));
    }
    Ok(sample)
}

impl ProcSample {
    /// CPU seconds, user and system, since the process started.
    pub fn cpu_seconds(&self) -> f64 {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        (self.user_ticks + self.system_ticks) as f64 / ticks
    }

    /// What was used since an earlier reading.
    pub fn since(&self, earlier: &ProcSample) -> ProcUse {
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |now: u64, then: u64| now.saturating_sub(then) as f64 / ticks;
        let user_seconds = seconds(self.user_ticks, earlier.user_ticks);
        let system_seconds = seconds(self.system_ticks, earlier.system_ticks);
        let then = |thread: &String| earlier.on_cpu_ns.get(thread).copied().unwrap_or(0);
        let on_cpu_ns: Vec<u64> =
            self.on_cpu_ns.iter().map(|(t, ns)| ns.saturating_sub(then(t))).collect();
        ProcUse {
            seconds: (self.at - earlier.at).as_secs_f64(),
            cpu_seconds: user_seconds + system_seconds,
            user_seconds,
            system_seconds,
            on_cpu_seconds: on_cpu_ns.iter().sum::<u64>() as f64 / 1e9,
            busiest_thread_seconds: on_cpu_ns.iter().max().copied().unwrap_or(0) as f64 / 1e9,
            voluntary_switches: self.voluntary_switches.saturating_sub(earlier.voluntary_switches),
            involuntary_switches: self
                .involuntary_switches
                .saturating_sub(earlier.involuntary_switches),
            disk_read_bytes: self.read_bytes.saturating_sub(earlier.read_bytes),
            disk_write_bytes: self.write_bytes.saturating_sub(earlier.write_bytes),
            rss_bytes: self.rss_bytes,
            peak_rss_bytes: self.peak_rss_bytes,
        }
    }
}

/// Takes a client's counters, and a broker's if its id is known, at both ends of a measurement.
pub struct Meter {
    broker: Option<(u32, ProcSample)>,
    client: (u32, ProcSample),
}

impl Meter {
    /// Begins a measurement whose client is this process.
    ///
    /// # Errors
    /// The broker's process is gone, or belongs to someone else.
    pub fn start(broker: Option<u32>) -> Result<Self> {
        Self::start_beside(broker, std::process::id())
    }

    /// Begins a measurement whose client is that process.
    ///
    /// # Errors
    /// One of the processes is gone, or belongs to someone else.
    pub fn start_beside(broker: Option<u32>, client: u32) -> Result<Self> {
        announce_measuring();
        let now = |pid| sample(pid).map(|sample| (pid, sample));
        Ok(Self { broker: broker.map(now).transpose()?, client: now(client)? })
    }

    /// Ends it: what the broker used, and what the client used.
    ///
    /// # Errors
    /// One of the processes is gone.
    pub fn finish(&self) -> Result<(Option<ProcUse>, ProcUse)> {
        let used = |(pid, then): &(u32, ProcSample)| sample(*pid).map(|now| now.since(then));
        let client = used(&self.client)?;
        Ok((self.broker.as_ref().map(used).transpose()?, client))
    }
}

fn read(pid: u32, name: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{name}");
    fs::read_to_string(&path).doing(|| format!("reading {path}"))
}

fn labelled(text: &str, label: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(label));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let before = sample(std::process::id()).expect("a process may read itself");
        let mut sum = 0u64;
        while before.at.elapsed().as_millis() < 50 {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let used = sample(std::process::id()).expect("a process may read itself").since(&before);
        // Not by the finer clock: a thread that ends meanwhile takes its time along.
        assert!(used.cpu_seconds > 0.0, "{used:?}");
        assert!(used.rss_bytes > 0 && used.peak_rss_bytes > 0);
    }
}
