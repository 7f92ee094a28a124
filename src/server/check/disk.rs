//! The data directory and the disk under it.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{Mode, OFlags};

use super::{Finding, State, machine::Machine};
use crate::{config::MIB, storage::commit_log::segment::is_ready_name};

/// A file that is gone when it is closed.
fn unnamed(directory: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let mode = Mode::RUSR | Mode::WUSR;
    let access = flags | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, access | OFlags::TMPFILE, mode) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
            let path = directory.join(format!(".mainstem-check-{}", std::process::id()));
            let file = rustix::fs::open(&path, access | OFlags::CREATE | OFlags::EXCL, mode);
            // Removed even when it could not be opened: some file systems make it before they
            // find that they have no O_DIRECT.
            _ = fs::remove_file(path);
            Ok(file?)
        }
        result => Ok(result?),
    }
}

fn outcome(result: &io::Result<()>) -> String {
    result.as_ref().map_or_else(ToString::to_string, |()| "yes".to_owned())
}

pub(super) fn writable(machine: &Machine<'_>) -> Finding {
    let directory = &machine.directory;
    let result = unnamed(directory, OFlags::empty()).map(drop);
    Finding::of(
        "yes".to_owned(),
        outcome(&result),
        result.is_ok(),
        format!("sudo chown \"$(id -un)\" {}, or choose another --data-dir", directory.display()),
    )
}

/// Memory as O_DIRECT wants it.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

pub(super) fn direct(machine: &Machine<'_>) -> Finding {
    let result = unnamed(&machine.directory, OFlags::DIRECT).and_then(|file| {
        let page = Box::new(Page([0; 4096]));
        let written = rustix::io::pwrite(&file, &page.0, 0)?;
        if written == page.0.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    });
    let full = result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::StorageFull);
    let mend = "choose a --data-dir on ext4 or XFS".to_owned();
    let finding = Finding::of("yes".to_owned(), outcome(&result), result.is_ok(), mend);
    // A start needs no space where there is a log; a first one does.
    let state =
        if full && machine.config.log_dir().exists() { State::Unknown } else { finding.state };
    Finding { state, ..finding }
}

pub(super) fn free(machine: &Machine<'_>) -> Finding {
    let log = &machine.config.log;
    // A start goes on in a new segment, beside those it keeps ready.
    let to_make = u64::from(log.ready_segments) + 1 - ready_segments(machine);
    let required = log.reserve_bytes + to_make * log.segment_bytes;
    let found = rustix::fs::statvfs(&machine.directory).map(|stat| stat.f_bavail * stat.f_frsize);
    let current = match &found {
        Ok(bytes) => format!("{} MiB", bytes / MIB),
        Err(error) => error.to_string(),
    };
    Finding::of(
        format!("{} MiB", required.div_ceil(MIB)),
        current,
        found.is_ok_and(|bytes| bytes >= required),
        "make room, choose another --data-dir, or lower log.segment_bytes and log.reserve_bytes"
            .to_owned(),
    )
}

/// How many segments an earlier run has left ready, of those that a start keeps.
fn ready_segments(machine: &Machine<'_>) -> u64 {
    let log = &machine.config.log;
    let entries = fs::read_dir(machine.config.log_dir()).into_iter().flatten().flatten();
    let ready = entries.filter(|entry| {
        let bytes = || entry.metadata().map_or(0, |meta| meta.len());
        is_ready_name(&entry.file_name().to_string_lossy()) && bytes() >= log.segment_bytes
    });
    ready.take(log.ready_segments as usize).count() as u64
}

/// File systems by the number `statfs` gives, see `linux/magic.h`.
const FILE_SYSTEMS: [(u64, &str); 13] = [
    (0xef53, "ext4"),
    (0x5846_5342, "xfs"),
    (0x9123_683e, "btrfs"),
    (0x2fc1_2fc1, "zfs"),
    (0xf2f5_2010, "f2fs"),
    (0xca45_1a4e, "bcachefs"),
    (0x0102_1994, "tmpfs"),
    (0x794c_7630, "overlay"),
    (0x6969, "nfs"),
    (0xff53_4d42, "cifs"),
    (0xfe53_4d42, "smb"),
    (0x6573_5546, "fuse"),
    (0x0102_1997, "9p"),
];

pub(super) fn file_system(machine: &Machine<'_>) -> Finding {
    let magic = rustix::fs::statfs(&machine.directory).map(|stat| stat.f_type as u64 & 0xffff_ffff);
    let current = magic.map_or_else(
        |error| error.to_string(),
        |magic| {
            let known = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
            known.map_or_else(|| format!("unknown ({magic:#x})"), |(_, name)| (*name).to_owned())
        },
    );
    let passed = current == "ext4" || current == "xfs";
    Finding::of(
        "ext4 or xfs".to_owned(),
        current,
        passed,
        "choose a --data-dir on ext4 or XFS on a local disk; others are not tried out, and tmpfs \
         forgets"
            .to_owned(),
    )
}

/// Mount options that make the disk's confirmation worth less, or its writes slower.
const HARMFUL: [&str; 6] =
    ["data=writeback", "data=journal", "nobarrier", "barrier=0", "discard", "sync"];

pub(super) fn mount_options(machine: &Machine<'_>) -> Finding {
    let device = fs::metadata(&machine.directory).map_or(0, |meta| meta.dev());
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let mounts = machine.read("/proc/self/mountinfo").unwrap_or_default();
    let required = "noatime, and none that harms".to_owned();
    let Some(mount) = Mount::of(&mounts, &device, &machine.directory) else {
        let (current, mend) = ("unknown".to_owned(), String::new());
        return Finding { required, current, state: State::Unknown, mend };
    };
    let harmful: Vec<_> =
        mount.options.iter().copied().filter(|option| HARMFUL.contains(option)).collect();
    let noatime = mount.options.contains(&"noatime");
    let shown =
        if harmful.is_empty() { mount.options[0..mount.own].join(",") } else { harmful.join(",") };
    let plain = !mount.point.contains([' ', '\t', '\n', '\\']);
    let point = if plain { mount.point } else { format!("{:?}", mount.point) };
    let mend = if harmful.is_empty() {
        format!("sudo mount -o remount,noatime {point}, and in /etc/fstab")
    } else {
        format!("take {} out of the options of {point} in /etc/fstab", harmful.join(", "))
    };
    Finding::of(required, shown, noatime && harmful.is_empty(), mend)
}

/// A line of /proc/self/mountinfo, see proc(5).
struct Mount<'a> {
    point: String,
    /// The mount's, then the file system's.
    options: Vec<&'a str>,
    /// How many are the mount's.
    own: usize,
}

impl<'a> Mount<'a> {
    /// The mount of a device that holds `directory`: one device may be mounted in several places.
    fn of(mounts: &'a str, device: &str, directory: &Path) -> Option<Self> {
        let mount = |line: &'a str| {
            let (mount, file_system) = line.split_once(" - ")?;
            let fields: Vec<_> = mount.split(' ').collect();
            let (point, own) = (unescaped(fields.get(4)?), *fields.get(5)?);
            let here = fields.get(2) == Some(&device) && directory.starts_with(&point);
            let mut options: Vec<_> = own.split(',').collect();
            let own = options.len();
            options.extend(file_system.split(' ').nth(2)?.split(','));
            here.then_some(Self { point, options, own })
        };
        mounts.lines().filter_map(mount).max_by_key(|mount| mount.point.len())
    }
}

/// A path as it is: the kernel writes its white space and backslashes as a backslash and three octal
/// digits.
fn unescaped(field: &str) -> String {
    let mut pieces = field.split('\\');
    let mut path = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let octal = piece.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        path.push(octal.map_or('\\', char::from));
        path.push_str(if octal.is_some() { &piece[3..] } else { piece });
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn the_innermost_mount_of_the_device_counts() {
        let mounts = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,data=writeback\n\
                      23 22 8:2 / /data rw,noatime - xfs /dev/sda2 rw,attr2\n\
                      24 22 8:1 /x /data/x rw,noatime - ext4 /dev/sda1 rw\n\
                      25 22 8:4 / /a\\040b\\134\\011 rw - ext4 /dev/sda4 rw";
        let of = |device, directory| {
            Mount::of(mounts, device, Path::new(directory))
                .map(|mount| (mount.point, mount.options))
        };
        let root = ("/".to_owned(), vec!["rw", "relatime", "rw", "data=writeback"]);
        assert_eq!(of("8:1", "/var/lib"), Some(root));
        let data = ("/data".to_owned(), vec!["rw", "noatime", "rw", "attr2"]);
        assert_eq!(of("8:2", "/data/log"), Some(data));
        let inner = ("/data/x".to_owned(), vec!["rw", "noatime", "rw"]);
        assert_eq!(of("8:1", "/data/x/y"), Some(inner));
        let spaced = ("/a b\\\t".to_owned(), vec!["rw", "rw"]);
        assert_eq!(of("8:4", "/a b\\\t/log"), Some(spaced));
        assert_eq!(of("8:3", "/data"), None);
    }

    #[test]
    fn segments_that_are_ready_are_not_asked_for_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config { data_dir: directory.path().to_owned(), ..Config::default() };
        (config.log.segment_bytes, config.log.reserve_bytes) = (16 * MIB, MIB);
        config.log.ready_segments = 2;
        let required = || free(&Machine::new(Path::new("/"), &config)).required;
        let log = config.log_dir();
        let make = |name: &str, bytes| {
            fs::File::create(log.join(name)).unwrap().set_len(bytes).unwrap();
        };
        assert_eq!(required(), "49 MiB");
        fs::create_dir(&log).unwrap();
        make("000000000001.segment", 16 * MIB);
        make("ready-1.segment", 4 * MIB);
        assert_eq!(required(), "49 MiB", "one is in use, and one too small to be kept");
        make("ready-2.segment", 16 * MIB);
        assert_eq!(required(), "33 MiB");
        make("ready-3.segment", 32 * MIB);
        make("ready-4.segment", 16 * MIB);
        assert_eq!(required(), "17 MiB", "no more than those wanted are kept");
    }

    #[test]
    fn what_cannot_be_written_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let passed = |data_dir: &Path| {
            let config = Config { data_dir: data_dir.to_owned(), ..Config::default() };
            writable(&Machine::new(Path::new("/"), &config)).state == State::Passed
        };
        assert!(passed(&directory.path().join("a/b")));
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!passed(&file));
    }
}
