//! What the kernel says of this process.

use std::fs;

use rustix::param::{clock_ticks_per_second, page_size};

use super::{Family, Snapshot};

/// Adds build, uptime, CPU and memory. What the kernel does not tell is left out.
pub(super) fn add(snapshot: &mut Snapshot) {
    let build = Family::gauge("build_info", "Always 1; the version is in the label.");
    snapshot.push(build.count(&[("version", env!("CARGO_PKG_VERSION"))], 1));
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let times = Times::read(&read("/proc/self/stat"), &read("/proc/uptime"));
    if let Some(times) = times {
        let uptime = Family::gauge("uptime_seconds", "Time since the process started.");
        snapshot.push(uptime.number(&[], times.uptime_s));
        let cpu = Family::counter("process_cpu_seconds_total", "CPU time used, by mode.");
        snapshot.push(
            cpu.number(&[("mode", "user")], times.user_s)
                .number(&[("mode", "system")], times.system_s),
        );
    }
    let pages = read("/proc/self/statm").split(' ').nth(1).and_then(|pages| pages.parse().ok());
    if let Some::<u64>(pages) = pages {
        let resident = Family::gauge("process_resident_bytes", "Memory in use.");
        snapshot.push(resident.count(&[], pages * page_size() as u64));
    }
}

/// Times of this process in seconds.
struct Times {
    user_s: f64,
    system_s: f64,
    uptime_s: f64,
}

impl Times {
    /// From /proc/self/stat and /proc/uptime, see proc(5).
    fn read(stat: &str, uptime: &str) -> Option<Self> {
        // The program's name may hold anything but ends with the last bracket.
        let (_, fields) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split(' ').collect();
        let seconds = |field: usize| {
            // Fields are counted from 1 in the manual; the third is the first after the name.
            let ticks: f64 = fields.get(field - 3)?.parse().ok()?;
            Some(ticks / clock_ticks_per_second() as f64)
        };
        let since_boot: f64 = uptime.split(' ').next()?.parse().ok()?;
        // Both come in hundredths; their difference would not, as a binary fraction.
        let uptime_s = ((since_boot - seconds(22)?).max(0.0) * 100.0).round() / 100.0;
        Some(Self { user_s: seconds(14)?, system_s: seconds(15)?, uptime_s })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 0 0 0 0 0 250 50 0 0 20 0 3 0 1000 0 0";
        let times = Times::read(stat, "25.50 40.00\n").unwrap();
        let ticks = clock_ticks_per_second() as f64;
        assert_eq!((times.user_s, times.system_s), (250.0 / ticks, 50.0 / ticks));
        assert_eq!(times.uptime_s, 25.5 - 1000.0 / ticks);
        let times = Times::read(stat, "25.58 40.00\n").unwrap();
        assert_eq!(times.uptime_s.to_string(), "15.58", "and no more digits");
        assert!(Times::read("", "").is_none());
    }

    #[test]
    fn this_process_is_described() {
        let mut snapshot = Snapshot::default();
        add(&mut snapshot);
        let text = snapshot.text();
        for name in ["build_info{version=", "uptime_seconds ", "process_resident_bytes "] {
            assert!(text.contains(&format!("\nmainstem_{name}")), "{name}: {text}");
        }
        assert!(text.contains("mainstem_process_cpu_seconds_total{mode=\"user\"} "), "{text}");
    }
}
