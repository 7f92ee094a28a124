//! What the figures depend on besides the two programs.

use rdkafka::util::get_rdkafka_version;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// The machine and the settings of it that are known to change results.
pub fn environment(data: &Path) -> Vec<(&'static str, String)> {
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let meminfo = read("/proc/meminfo");
    let memory_kib: f64 = meminfo
        .lines()
        .find_map(|l| l.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    let (device, file_system) = mount_of(data);
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("processor", format!("{} × {cores}", model.trim_start_matches([' ', '\t', ':']))),
        ("memory", format!("{:.0} GiB", memory_kib / 1_048_576.0)),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("file system of both", file_system),
        // Kafka maps its index files; what their first page brings in follows from this.
        ("device read-ahead, KiB (Linux's default is 128)", read_ahead(&device)),
        ("transparent huge pages", read("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("java", java_version()),
        ("client", format!("librdkafka {}", get_rdkafka_version().1)),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

/// The device and the type of the file system a path is on.
fn mount_of(path: &Path) -> (String, String) {
    // The directory may not be there yet: the nearest one above it is on the same file system.
    let path = path.ancestors().find_map(|p| p.canonicalize().ok()).unwrap_or_default();
    let mounts = read("/proc/mounts");
    let fields = mounts.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let nearest =
        fields.filter(|(_, at, _)| path.starts_with(at)).max_by_key(|(_, at, _)| at.len());
    nearest.map_or_else(Default::default, |(device, _, kind)| (device.into(), kind.into()))
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
