//! What the figures depend on besides the two programs.

use rdkafka::util::get_rdkafka_version;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The machine and the settings of it that are known to change results.
pub fn environment(data: &Path) -> Vec<(String, String)> {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let memory_kib: f64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let mount = mount_of(data);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let named = vec![
        ("processor", format!("{} × {cores}", model.trim_start_matches([' ', '\t', ':']))),
        ("memory", format!("{:.0} GiB", memory_kib / 1_048_576.0)),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("file system of the data", mount.kind),
        ("mount options", mount.options),
        // Kafka maps its index files; what their first page brings in follows from this.
        ("device read-ahead, KiB (Linux's default is 128)", read_ahead(&mount.device)),
        ("transparent huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("CPU governor", read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")),
        ("clock source", read("/sys/devices/system/clocksource/clocksource0/current_clocksource")),
        ("I/O scheduler", scheduler(&mount.device)),
        ("dirty ratio, background ratio", dirty_ratios()),
        ("CPU mitigations", mitigations()),
        ("java", java_version()),
        ("client", format!("librdkafka {}", get_rdkafka_version().1)),
    ];
    let told = |value: String| if value.is_empty() { "not told".into() } else { value };
    named.into_iter().map(|(name, value)| (name.to_owned(), told(value))).collect()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// What a directory's file system is.
#[derive(Default)]
struct Mount {
    device: String,
    kind: String,
    options: String,
}

/// Of the file system a path is on.
fn mount_of(path: &Path) -> Mount {
    // The directory may not be there yet: the nearest one above it is on the same file system.
    let path = std::path::absolute(path).unwrap_or_default();
    let path = path.ancestors().find_map(|p| p.canonicalize().ok()).unwrap_or_default();
    let mounts = read("/proc/mounts");
    let lines = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().map(str::to_owned);
        let (device, at) = (fields.next()?, fields.next()?);
        Some((at, Mount { device, kind: fields.next()?, options: fields.next()? }))
    });
    let above = lines.filter(|(at, _)| path.starts_with(at));
    // Of two at one place the later one hides the other.
    above.max_by_key(|(at, _)| at.len()).map(|(_, mount)| mount).unwrap_or_default()
}

fn scheduler(device: &str) -> String {
    let name = device.trim_start_matches("/dev/");
    read(&format!("/sys/class/block/{name}/queue/scheduler"))
}

fn dirty_ratios() -> String {
    let ratio = |name: &str| read(&format!("/proc/sys/vm/{name}"));
    format!("{} %, {} %", ratio("dirty_ratio"), ratio("dirty_background_ratio"))
}

/// Which of the processor's weaknesses cost something, by the kernel's account.
fn mitigations() -> String {
    let listing = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let files = listing.into_iter().flatten().flatten();
    let mut active: Vec<String> = files
        .filter(|f| read(&f.path().display().to_string()).starts_with("Mitigation"))
        .map(|f| f.file_name().to_string_lossy().into_owned())
        .collect();
    active.sort();
    active.join(", ")
}

fn read_ahead(device: &str) -> String {
    let name = device.trim_start_matches("/dev/");
    // A partition has its queue with the disk it is a part of.
    let whole = read(&format!("/sys/class/block/{name}/queue/read_ahead_kb"));
    if whole.is_empty() {
        read(&format!("/sys/class/block/{name}/../queue/read_ahead_kb"))
    } else {
        whole
    }
}

fn java_version() -> String {
    let output = Command::new("java").arg("-version").stdin(Stdio::null()).output();
    let text = output.map(|o| String::from_utf8_lossy(&o.stderr).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("none").replace('"', "")
}
