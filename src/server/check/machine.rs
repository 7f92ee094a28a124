//! The machine as the checks see it: the kernel's files below a root, and what the broker would use.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::thread::{CpuSet, sched_getaffinity};

use super::setting::chosen;
use crate::config::{Config, Cores};

/// The cores this process may run on, in ascending order; at least one.
#[must_use]
pub fn available_cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core)).collect()
}

/// A small file of the kernel's, without surrounding space; `None` if it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

/// What a configuration would run on.
pub struct Machine<'a> {
    /// Where /sys and /proc are: `/`, but in tests.
    root: PathBuf,
    /// How the broker would run.
    pub config: &'a Config,
    /// The data directory, or what there is of the path to it.
    pub directory: PathBuf,
    /// The cores this process may run on.
    pub cores: Vec<usize>,
    /// Those that a thread of the broker's stays on.
    pub pinned: Vec<usize>,
}

impl<'a> Machine<'a> {
    /// This machine, with the kernel's files read from below `root`.
    #[must_use]
    pub fn new(root: &Path, config: &'a Config) -> Self {
        let root = root.to_owned();
        let directory = existing(&config.data_dir);
        let mut machine =
            Self { root, config, directory, cores: available_cores(), pinned: Vec::new() };
        // What cannot be placed has a row of its own, and pins nothing.
        if let Ok(placement) = config.placement(&machine.cores) {
            machine.pinned =
                placement.shards.into_iter().chain([placement.writer]).flatten().collect();
        }
        machine
    }

    /// Whether changes change the kernel.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file of the kernel's is.
    #[must_use]
    pub fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A small file of the kernel's.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        read(self.at(path.as_ref()))
    }

    /// What a setting of the kernel's is: of several words the one that is chosen.
    #[must_use]
    pub fn value(&self, path: &Path) -> Option<String> {
        self.read(path).map(|text| chosen(&text).to_owned())
    }

    /// The kernel's name for the time since it was started; empty where it gives none.
    #[must_use]
    pub fn boot_id(&self) -> String {
        self.read("/proc/sys/kernel/random/boot_id").unwrap_or_default()
    }

    /// How many shards there would be.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.config.placement(&self.cores).map_or(1, |placement| placement.shards.len())
    }

    /// The cores that no thread of the broker's stays on.
    #[must_use]
    pub fn spare_cores(&self) -> Vec<usize> {
        self.cores.iter().copied().filter(|core| !self.pinned.contains(core)).collect()
    }

    /// The files a pattern stands for, those that are there, in the order of their numbers. `*` is any
    /// part of a name, DISK the disks under the data directory, NIC the network cards, IRQ their
    /// interrupts' numbers.
    #[must_use]
    pub fn files(&self, pattern: &str) -> Vec<PathBuf> {
        let mut found = vec![PathBuf::from("/")];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let names = match part {
                "DISK" => Some(self.disks()),
                "NIC" => Some(self.cards()),
                "IRQ" => Some(self.interrupts()),
                _ => None,
            };
            found = found
                .into_iter()
                .flat_map(|path| {
                    let names = match (&names, part.split_once('*')) {
                        (Some(names), _) => names.clone(),
                        (None, Some((start, end))) => {
                            let mut names = self.names(&path);
                            names.retain(|name| name.starts_with(start) && name.ends_with(end));
                            names
                        }
                        (None, None) => vec![part.to_owned()],
                    };
                    names.into_iter().map(move |name| path.join(name)).collect::<Vec<_>>()
                })
                .collect();
        }
        found.retain(|path| self.at(path).is_file());
        found
    }

    /// The names in a directory, as their numbers go.
    fn names(&self, path: &Path) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        names
    }

    /// The whole disks that hold the data directory: below a volume of several, each of them.
    fn disks(&self) -> Vec<String> {
        let Ok(device) = fs::metadata(&self.directory).map(|meta| meta.dev()) else {
            return Vec::new();
        };
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        let block = self.at(Path::new(&format!("/sys/dev/block/{major}:{minor}")));
        let mut open: Vec<_> = fs::canonicalize(block).into_iter().collect();
        let mut disks = Vec::new();
        while let Some(block) = open.pop() {
            let whole =
                if block.join("partition").exists() { block.parent() } else { Some(&*block) };
            let Some(name) = whole.and_then(|whole| whole.file_name()?.to_str()) else { continue };
            let below = fs::read_dir(block.join("slaves")).into_iter().flatten().flatten();
            let below: Vec<_> =
                below.filter_map(|entry| fs::canonicalize(entry.path()).ok()).collect();
            if below.is_empty() {
                disks.push(name.to_owned());
            }
            open.extend(below);
        }
        disks.sort();
        disks.dedup();
        disks
    }

    /// Network cards: interfaces with a device.
    fn cards(&self) -> Vec<String> {
        let net = Path::new("/sys/class/net");
        let mut cards = self.names(net);
        cards.retain(|card| self.at(&net.join(card)).join("device").exists());
        cards
    }

    /// The network cards' interrupts. A virtio card has them one device above its own.
    fn interrupts(&self) -> Vec<String> {
        let mut interrupts: Vec<_> = self
            .cards()
            .iter()
            .filter_map(|card| {
                let device = format!("/sys/class/net/{card}/device");
                fs::canonicalize(self.at(Path::new(&device))).ok()
            })
            .flat_map(|device| {
                let places = [device.join("msi_irqs"), device.with_file_name("msi_irqs")];
                let entries = places.into_iter().find_map(|place| fs::read_dir(place).ok());
                entries.into_iter().flatten().flatten()
            })
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        interrupts.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        interrupts
    }
}

/// A list of cores as the kernel and `shards.cores` write them: `0-3,6`.
pub(super) fn cores(text: &str) -> Option<Vec<usize>> {
    match text.parse() {
        Ok(Cores::List(cores)) => Some(cores),
        Ok(Cores::Auto) | Err(_) => None,
    }
}

/// A set of cores as the kernel writes masks: 32 of them a group, in hexadecimal, highest first.
pub(super) fn mask(cores: &[usize]) -> String {
    let groups = cores.iter().max().map_or(1, |highest| highest / 32 + 1);
    let group = |group: usize| {
        let bits = cores.iter().filter(|core| *core / 32 == group);
        format!("{:08x}", bits.fold(0_u32, |mask, core| mask | 1 << (core % 32)))
    };
    (0..groups).rev().map(group).collect::<Vec<_>>().join(",")
}

/// The directory, or what there is of the path to it.
fn existing(data_dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    absolute.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_may_run_somewhere() {
        assert!(!available_cores().is_empty());
    }

    #[test]
    fn a_directory_that_is_not_there_is_judged_by_its_parent() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(existing(&directory.path().join("a/b")), directory.path());
    }

    #[test]
    fn masks_are_written_in_groups() {
        assert_eq!(mask(&[0, 3]), "00000009");
        assert_eq!(mask(&[1, 32, 35]), "00000009,00000002");
        assert_eq!(mask(&[64]), "00000001,00000000,00000000");
    }
}
