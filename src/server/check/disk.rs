//! The data directory and the disk under it.

use std::{
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::{Row, Severity, machine::read};
use crate::config::{Config, MIB};

pub(super) fn rows(config: &Config) -> Vec<Row> {
    let directory = existing(&config.data_dir);
    vec![
        writable(&directory),
        direct(&directory),
        free(&directory, config),
        file_system(&directory),
        scheduler(&directory),
    ]
}

/// The data directory, or what there is of the path to it.
fn existing(data_dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

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

fn writable(directory: &Path) -> Row {
    let result = unnamed(directory, OFlags::empty()).map(drop);
    Row {
        condition: "Data directory is writable",
        required: "yes".to_owned(),
        current: outcome(&result),
        severity: Severity::Fatal,
        passed: result.is_ok(),
        mend: format!(
            "sudo chown \"$(id -un)\" {}, or choose another --data-dir",
            directory.display()
        ),
    }
}

/// Memory as O_DIRECT wants it.
#[repr(C, align(4096))]
struct Page([u8; 4096]);

fn direct(directory: &Path) -> Row {
    let result = unnamed(directory, OFlags::DIRECT).and_then(|file| {
        let page = Box::new(Page([0; 4096]));
        let written = rustix::io::pwrite(&file, &page.0, 0)?;
        if written == page.0.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    });
    Row {
        condition: "Data directory has O_DIRECT",
        required: "yes".to_owned(),
        current: outcome(&result),
        severity: Severity::Fatal,
        passed: result.is_ok(),
        mend: "choose a --data-dir on ext4 or XFS".to_owned(),
    }
}

fn free(directory: &Path, config: &Config) -> Row {
    let log = &config.log;
    let segments = u64::from(log.ready_segments) + 1;
    let required = log.reserve_bytes + segments * log.segment_bytes;
    let found = rustix::fs::statvfs(directory).map(|stat| stat.f_bavail * stat.f_frsize);
    Row {
        condition: "Free disk space",
        required: format!("{} MiB", required.div_ceil(MIB)),
        current: match &found {
            Ok(bytes) => format!("{} MiB", bytes / MIB),
            Err(error) => error.to_string(),
        },
        severity: Severity::Fatal,
        passed: found.is_ok_and(|bytes| bytes >= required),
        mend: "make room, choose another --data-dir, or lower log.segment_bytes and \
               log.reserve_bytes"
            .to_owned(),
    }
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

fn file_system(directory: &Path) -> Row {
    let magic = rustix::fs::statfs(directory).map(|stat| stat.f_type as u64 & 0xffff_ffff);
    let current = magic.map_or_else(
        |error| error.to_string(),
        |magic| {
            let known = FILE_SYSTEMS.iter().find(|(number, _)| *number == magic);
            known.map_or_else(|| format!("unknown ({magic:#x})"), |(_, name)| (*name).to_owned())
        },
    );
    Row {
        condition: "File system",
        required: "ext4 or xfs".to_owned(),
        passed: current == "ext4" || current == "xfs",
        current,
        severity: Severity::Warning,
        mend: "choose a --data-dir on ext4 or XFS on a local disk; others are not tried out, and \
               tmpfs forgets"
            .to_owned(),
    }
}

/// The directory in /sys/block of the disk that holds `directory`.
fn disk(directory: &Path) -> Option<PathBuf> {
    let device = fs::metadata(directory).ok()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let block = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if block.join("partition").exists() { block.parent()? } else { &block };
    Some(Path::new("/sys/block").join(whole.file_name()?))
}

/// The word in brackets: `[none] mq-deadline`.
fn chosen(schedulers: &str) -> &str {
    let word = schedulers.split_whitespace().find_map(|word| word.strip_prefix('['));
    word.map_or(schedulers, |word| word.trim_end_matches(']'))
}

fn scheduler(directory: &Path) -> Row {
    let disk = disk(directory);
    let path = disk.map(|disk| disk.join("queue/scheduler"));
    let current = path.as_ref().and_then(read).map(|text| chosen(&text).to_owned());
    Row {
        condition: "Disk scheduler",
        required: "none".to_owned(),
        passed: current.as_ref().is_none_or(|scheduler| scheduler == "none"),
        current: current.unwrap_or_else(|| "no disk of its own".to_owned()),
        severity: Severity::Warning,
        mend: format!("echo none | sudo tee {}", path.unwrap_or_default().display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheduler_in_brackets_is_the_one() {
        assert_eq!(chosen("mq-deadline [none]"), "none");
        assert_eq!(chosen("[mq-deadline] none"), "mq-deadline");
        assert_eq!(chosen("none"), "none");
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(&directory.path().join("a/b")), directory.path());
        assert!(writable(directory.path()).passed);
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!writable(&file).passed);
    }
}
