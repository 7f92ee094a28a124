//! A disk in memory that may forget what was not synced, and fails where it is told to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{Dice, inode::Inode};
use crate::env::{Disk, File, OpenMode, Volume};

/// Addresses, offsets and lengths of direct transfers are multiples of this.
const DIRECT_ALIGN: u64 = 4096;

/// A disk in memory. Clones share it; it may be shared by all threads, none of which ever waits.
///
/// What it promises is what Linux file systems promise, and no more:
/// - bytes are durable after a sync of their file, or at once by `write_durable` (that range and the
///   file's length only);
/// - names are durable after a sync of their directory, not by a sync of the file;
/// - at a [power cut](Self::power_cut) everything else is kept, lost or torn piece by piece.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

type InodeId = u64;

/// A change of names that no directory sync has made durable yet.
#[derive(Clone, Debug)]
enum Change {
    Link(PathBuf, InodeId),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf, InodeId),
}

/// A failure to come: the `after`th call from now on a path that contains `part` fails.
#[derive(Debug)]
struct Fault {
    part: String,
    after: u64,
}

#[derive(Debug, Default)]
struct State {
    inodes: HashMap<InodeId, Inode>,
    next_inode: InodeId,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, InodeId>,
    durable_names: BTreeMap<PathBuf, InodeId>,
    changes: Vec<Change>,
    capacity: u64,
    dead: bool,
    /// Changing calls until the power goes.
    dies_after: Option<u64>,
    /// Changing calls made so far.
    calls: u64,
    write_faults: Vec<Fault>,
    sync_faults: Vec<Fault>,
}

impl Default for SimulatedDisk {
    fn default() -> Self {
        Self::new(u64::MAX)
    }
}

impl SimulatedDisk {
    /// An empty disk of `capacity` bytes.
    #[must_use]
    pub fn new(capacity: u64) -> Self {
        let state = State { capacity, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Cuts the power. This disk and its open files fail from now on; the disk that is returned
    /// holds what survived, which follows from `seed`.
    #[must_use = "the returned disk holds what survived"]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut state = self.state();
        state.dead = true;
        let survivor = state.survivor(&mut Dice(seed));
        Self { state: Arc::new(Mutex::new(survivor)) }
    }

    /// Lets the power go in the midst of the `calls`th changing call from now (1 is the next one):
    /// it and all later calls fail. What is left is then decided by [`Self::power_cut`].
    pub fn die_after(&self, calls: u64) {
        self.state().dies_after = Some(calls);
    }

    /// Changing calls (writes, syncs, creations, renames, removals, changes of length) made so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// Makes the `nth` write from now (1 is the next one) to a path that contains `part` fail with
    /// EIO. A part of its bytes may have been written.
    pub fn fail_write(&self, part: &str, nth: u64) {
        self.state().write_faults.push(Fault { part: part.to_owned(), after: nth });
    }

    /// Makes the `nth` sync from now of a file or directory whose path contains `part` fail with
    /// EIO. As on Linux, what it was to make durable never will be, even if a later sync succeeds.
    pub fn fail_sync(&self, part: &str, nth: u64) {
        self.state().sync_faults.push(Fault { part: part.to_owned(), after: nth });
    }

    /// Makes reads of a file that touch one of the sectors in which `range` lies (bytes) fail with EIO,
    /// until the sector is written anew.
    ///
    /// # Panics
    /// When there is no such file.
    pub fn fail_read(&self, path: &Path, range: Range<u64>) {
        let mut state = self.state();
        let inode = state.names[path];
        state.inode(inode).fail_read(range);
    }

    /// Changes how many bytes the disk holds.
    pub fn set_capacity(&self, bytes: u64) {
        self.state().capacity = bytes;
    }

    /// Flips one bit of a file, durably.
    ///
    /// # Panics
    /// When there is no such file or byte.
    pub fn flip_bit(&self, path: &Path, offset: u64, bit: u8) {
        let mut state = self.state();
        let inode = state.names[path];
        let inode = state.inodes.get_mut(&inode).expect("a name has an inode");
        assert!(offset < inode.len(), "byte {offset} lies beyond the end");
        inode.flip_bit(offset, bit);
    }
}

impl State {
    /// Begins a call that changes something. An error once the power is gone; `Ok(true)` when it
    /// goes in the midst of this call.
    fn begin(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.calls += 1;
        if let Some(calls) = &mut self.dies_after {
            *calls = calls.saturating_sub(1);
            self.dead = *calls == 0;
        }
        Ok(self.dead)
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("the power was cut")) } else { Ok(()) }
    }

    /// As [`Self::begin`], for calls that happen entirely or not at all.
    fn begin_whole(&mut self) -> io::Result<()> {
        self.begin()?;
        self.alive()
    }

    fn used(&self) -> u64 {
        self.inodes.values().map(Inode::space).sum()
    }

    /// Fails if a file may not grow to `bytes`.
    fn make_room(&self, inode: InodeId, bytes: u64) -> io::Result<()> {
        let space = self.inodes[&inode].space();
        if bytes > space && (self.used() - space).saturating_add(bytes) > self.capacity {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn inode(&mut self, inode: InodeId) -> &mut Inode {
        self.inodes.get_mut(&inode).expect("an inode lives as long as its handles")
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    /// Forgets inodes that no name, durable or not, and no handle leads to.
    fn collect(&mut self) {
        let linked = self.changes.iter().filter_map(Change::inode);
        let named: BTreeSet<InodeId> =
            self.names.values().chain(self.durable_names.values()).copied().chain(linked).collect();
        self.inodes.retain(|id, inode| inode.handles > 0 || named.contains(id));
    }

    fn survivor(&self, dice: &mut Dice) -> Self {
        let mut names = self.durable_names.clone();
        // A change is lost with any earlier one that touched the same names: journals keep order.
        let mut lost: BTreeSet<&Path> = BTreeSet::new();
        for change in &self.changes {
            let touched = change.touched();
            if touched.iter().any(|path| lost.contains(path)) || dice.below(2) == 0 {
                lost.extend(touched);
            } else {
                change.apply(&mut names);
            }
        }
        let mut ids: Vec<InodeId> = names.values().copied().collect();
        ids.sort_unstable();
        ids.dedup();
        let inodes = ids.into_iter().map(|id| (id, self.inodes[&id].survivor(dice))).collect();
        Self {
            inodes,
            next_inode: self.next_inode,
            dirs: self.dirs.clone(),
            durable_names: names.clone(),
            names,
            capacity: self.capacity,
            ..Self::default()
        }
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<PathBuf, InodeId>) {
        match self {
            Self::Link(path, inode) => drop(names.insert(path.clone(), *inode)),
            Self::Unlink(path) => drop(names.remove(path)),
            Self::Rename(from, to, inode) => {
                names.remove(from);
                names.insert(to.clone(), *inode);
            }
        }
    }

    fn touched(&self) -> Vec<&Path> {
        match self {
            Self::Link(path, _) | Self::Unlink(path) => vec![path],
            Self::Rename(from, to, _) => vec![from, to],
        }
    }

    fn inode(&self) -> Option<InodeId> {
        match self {
            Self::Link(_, inode) | Self::Rename(_, _, inode) => Some(*inode),
            Self::Unlink(_) => None,
        }
    }
}

/// Whether one of the failures to come comes now.
fn strikes(faults: &mut Vec<Fault>, path: &Path) -> bool {
    let path = path.to_string_lossy();
    let mut struck = false;
    faults.retain_mut(|fault| {
        if path.contains(&fault.part) {
            fault.after = fault.after.saturating_sub(1);
        }
        struck |= fault.after == 0;
        fault.after > 0
    });
    struck
}

/// EIO.
fn broken() -> io::Error {
    rustix::io::Errno::IO.into()
}

fn missing() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimulatedDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn File>> {
        let mut state = self.state();
        state.alive()?;
        let found = state.names.get(path).copied();
        let inode = match (found, mode) {
            (Some(_), OpenMode::Create) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(inode), _) => inode,
            (None, OpenMode::Create) => {
                if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
                    return Err(missing());
                }
                state.begin_whole()?;
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.change(Change::Link(path.to_path_buf(), inode));
                inode
            }
            (None, _) => return Err(missing()),
        };
        state.inode(inode).handles += 1;
        let disk = self.clone();
        Ok(Arc::new(SimulatedFile { disk, inode, path: path.to_path_buf(), mode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole()?;
        let inode = *state.names.get(from).ok_or_else(missing)?;
        if !to.parent().is_some_and(|dir| state.dirs.contains(dir)) {
            return Err(missing());
        }
        state.change(Change::Rename(from.to_path_buf(), to.to_path_buf(), inode));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole()?;
        if !state.names.contains_key(path) {
            return Err(missing());
        }
        state.change(Change::Unlink(path.to_path_buf()));
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        if !state.dirs.contains(dir) {
            return Err(missing());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.begin_whole()?;
        state.dirs.extend(dir.ancestors().map(Path::to_path_buf));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.dirs.contains(dir) {
            return Err(missing());
        }
        state.begin_whole()?;
        if strikes(&mut state.sync_faults, dir) {
            return Err(broken());
        }
        let (synced, kept) = std::mem::take(&mut state.changes)
            .into_iter()
            .partition(|change| change.touched().iter().any(|path| path.parent() == Some(dir)));
        state.changes = kept;
        let synced: Vec<Change> = synced;
        synced.iter().for_each(|change| change.apply(&mut state.durable_names));
        state.collect();
        Ok(())
    }

    fn volume(&self, _dir: &Path) -> io::Result<Volume> {
        let state = self.state();
        state.alive()?;
        let free_bytes = state.capacity.saturating_sub(state.used());
        Ok(Volume { total_bytes: state.capacity, free_bytes })
    }
}

/// An open file of a [`SimulatedDisk`].
struct SimulatedFile {
    disk: SimulatedDisk,
    inode: InodeId,
    path: PathBuf,
    mode: OpenMode,
}

impl Drop for SimulatedFile {
    fn drop(&mut self) {
        let mut state = self.disk.state();
        let inode = state.inode(self.inode);
        inode.handles -= 1;
        if inode.handles == 0 {
            state.collect();
        }
    }
}

impl SimulatedFile {
    /// Refuses what O_DIRECT refuses.
    fn check_alignment(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let direct = matches!(self.mode, OpenMode::WriteDirect | OpenMode::ReadDirect);
        let numbers = [bytes.as_ptr() as u64, bytes.len() as u64, offset];
        if direct && numbers.iter().any(|number| number % DIRECT_ALIGN != 0) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(())
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.mode {
            OpenMode::Read | OpenMode::ReadDirect => Err(rustix::io::Errno::BADF.into()),
            _ => Ok(()),
        }
    }

    /// Writes, and on a failure leaves the first half of the bytes behind.
    fn write(&self, state: &mut State, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.check_writable()?;
        self.check_alignment(bytes, offset)?;
        state.make_room(self.inode, offset + bytes.len() as u64)?;
        let dies = state.begin()?;
        if strikes(&mut state.write_faults, &self.path) {
            state.inode(self.inode).write(&bytes[..bytes.len() / 2], offset);
            return Err(broken());
        }
        state.inode(self.inode).write(bytes, offset);
        if dies { state.alive() } else { Ok(()) }
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check_alignment(buffer, offset)?;
        let mut state = self.disk.state();
        state.alive()?;
        state.inode(self.inode).read(buffer, offset).ok_or_else(broken)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(&mut self.disk.state(), bytes, offset)
    }

    fn write_durable(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = self.disk.state();
        self.write(&mut state, bytes, offset)?;
        if strikes(&mut state.sync_faults, &self.path) {
            state.inode(self.inode).fail_sync();
            return Err(broken());
        }
        state.inode(self.inode).sync_range(offset, bytes.len());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.begin_whole()?;
        if strikes(&mut state.sync_faults, &self.path) {
            state.inode(self.inode).fail_sync();
            return Err(broken());
        }
        state.inode(self.inode).sync();
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let mut state = self.disk.state();
        state.alive()?;
        Ok(state.inode(self.inode).len())
    }

    fn set_len(&self, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.state();
        state.begin_whole()?;
        state.inode(self.inode).set_len(bytes);
        Ok(())
    }

    fn allocate(&self, bytes: u64) -> io::Result<()> {
        self.check_writable()?;
        let mut state = self.disk.state();
        state.make_room(self.inode, bytes)?;
        state.begin_whole()?;
        let inode = state.inode(self.inode);
        inode.allocated = inode.allocated.max(bytes);
        if bytes > inode.len() {
            inode.set_len(bytes);
        }
        Ok(())
    }

    fn drop_cache(&self) -> io::Result<()> {
        let mut state = self.disk.state();
        state.alive()?;
        state.inode(self.inode).drop_cache();
        Ok(())
    }
}
