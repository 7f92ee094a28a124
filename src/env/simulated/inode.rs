//! The contents of one simulated file: what is durable, and what only the cache knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use super::Dice;

/// Bytes that a disk writes as one.
pub(super) const SECTOR_BYTES: usize = 512;

type Sector = [u8; SECTOR_BYTES];

/// One sector's contents since it was last durable, oldest first; never empty.
#[derive(Debug, Default)]
struct Unsynced {
    versions: Vec<Sector>,
    /// A sync of this sector failed. The kernel then takes the page for clean, so that later syncs
    /// pass it over although it never reached the disk.
    given_up: bool,
}

/// A file's contents. Sectors that are absent are zeros.
#[derive(Debug, Default)]
pub(super) struct Inode {
    durable: BTreeMap<u64, Box<Sector>>,
    unsynced: BTreeMap<u64, Unsynced>,
    /// Sectors that the disk does not give back until they are written anew.
    unreadable: BTreeSet<u64>,
    durable_len: u64,
    /// Lengths since the last durable one, oldest first.
    unsynced_lens: Vec<u64>,
    /// Space reserved by `allocate`.
    pub(super) allocated: u64,
    /// Open handles.
    pub(super) handles: usize,
}

impl Inode {
    pub(super) fn len(&self) -> u64 {
        self.unsynced_lens.last().copied().unwrap_or(self.durable_len)
    }

    /// Bytes of the disk this file occupies.
    pub(super) fn space(&self) -> u64 {
        self.len().max(self.allocated)
    }

    fn sector(&self, number: u64) -> Sector {
        let newest = self.unsynced.get(&number).and_then(|unsynced| unsynced.versions.last());
        let durable = || self.durable.get(&number).map(|sector| &**sector);
        newest.or_else(durable).copied().unwrap_or([0; SECTOR_BYTES])
    }

    /// `None` where some of it cannot be read.
    pub(super) fn read(&self, buffer: &mut [u8], offset: u64) -> Option<usize> {
        let length = self.len().saturating_sub(offset).min(buffer.len() as u64) as usize;
        for (number, within, range) in pieces(offset, length) {
            if self.unreadable.contains(&number) {
                return None;
            }
            let sector = self.sector(number);
            let piece = &sector[within..within + range.len()];
            buffer[range].copy_from_slice(piece);
        }
        Some(length)
    }

    pub(super) fn fail_read(&mut self, range: Range<u64>) {
        let sectors = pieces(range.start, (range.end - range.start) as usize);
        self.unreadable.extend(sectors.map(|(number, ..)| number));
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: u64) {
        for (number, within, range) in pieces(offset, bytes.len()) {
            let mut sector = self.sector(number);
            sector[within..within + range.len()].copy_from_slice(&bytes[range]);
            self.put(number, sector);
        }
        if offset + bytes.len() as u64 > self.len() {
            self.unsynced_lens.push(offset + bytes.len() as u64);
        }
    }

    fn put(&mut self, number: u64, sector: Sector) {
        self.unreadable.remove(&number);
        let unsynced = self.unsynced.entry(number).or_default();
        if unsynced.given_up {
            unsynced.versions.clear();
            unsynced.given_up = false;
        }
        unsynced.versions.push(sector);
    }

    pub(super) fn set_len(&mut self, bytes: u64) {
        if bytes < self.len() {
            self.allocated = self.allocated.min(bytes);
            self.unreadable.retain(|number| number * (SECTOR_BYTES as u64) < bytes);
            let first = bytes / SECTOR_BYTES as u64;
            let cached = self.unsynced.range(first..).map(|(&number, _)| number);
            let mut cut: Vec<u64> =
                cached.chain(self.durable.range(first..).map(|(&number, _)| number)).collect();
            cut.sort_unstable();
            cut.dedup();
            for number in cut {
                let mut sector = self.sector(number);
                let keep = bytes.saturating_sub(number * SECTOR_BYTES as u64);
                sector[(keep as usize).min(SECTOR_BYTES)..].fill(0);
                self.put(number, sector);
            }
        }
        self.unsynced_lens.push(bytes);
    }

    /// Makes the length and all sectors durable.
    pub(super) fn sync(&mut self) {
        let (kept, synced) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|(_, u)| u.given_up);
        self.unsynced = kept;
        let synced: BTreeMap<u64, Unsynced> = synced;
        synced.into_iter().for_each(|(number, unsynced)| self.harden(number, unsynced));
        self.harden_len();
    }

    /// Makes the length and the sectors of one range durable.
    pub(super) fn sync_range(&mut self, offset: u64, length: usize) {
        for (number, _, _) in pieces(offset, length) {
            if let Some(unsynced) = self.unsynced.remove(&number) {
                self.harden(number, unsynced);
            }
        }
        self.harden_len();
    }

    /// A sync that fails: what it was to harden never will be.
    pub(super) fn fail_sync(&mut self) {
        self.unsynced.values_mut().for_each(|unsynced| unsynced.given_up = true);
    }

    /// Forgets what looks clean and never reached the disk; all else that is clean is there.
    pub(super) fn drop_cache(&mut self) {
        self.unsynced.retain(|_, unsynced| !unsynced.given_up);
    }

    fn harden(&mut self, number: u64, mut unsynced: Unsynced) {
        match unsynced.versions.pop() {
            Some(sector) if sector == [0; SECTOR_BYTES] => drop(self.durable.remove(&number)),
            Some(sector) => drop(self.durable.insert(number, Box::new(sector))),
            None => {}
        }
    }

    fn harden_len(&mut self) {
        self.durable_len = self.len();
        self.unsynced_lens.clear();
    }

    pub(super) fn flip_bit(&mut self, offset: u64, bit: u8) {
        let number = offset / SECTOR_BYTES as u64;
        let mut sector = self.sector(number);
        sector[(offset % SECTOR_BYTES as u64) as usize] ^= 1 << (bit % 8);
        self.unsynced.remove(&number);
        self.durable.insert(number, Box::new(sector));
    }

    /// What a power cut leaves: of each unsynced sector the old contents, any of the newer ones, or
    /// the head of one and the rest of another, regardless of what became of its neighbours.
    pub(super) fn survivor(&self, dice: &mut Dice) -> Self {
        let mut durable = BTreeMap::new();
        let untouched =
            self.durable.iter().filter(|(number, _)| !self.unsynced.contains_key(number));
        durable.extend(untouched.map(|(&number, sector)| (number, sector.clone())));
        for (&number, unsynced) in &self.unsynced {
            let old = self.durable.get(&number).map_or([0; SECTOR_BYTES], |sector| **sector);
            let pick = |dice: &mut Dice| match dice.below(unsynced.versions.len() + 1) {
                0 => old,
                version => unsynced.versions[version - 1],
            };
            let mut sector = pick(dice);
            if dice.below(4) == 0 {
                let torn_at = dice.below(SECTOR_BYTES);
                let other = pick(dice);
                sector[torn_at..].copy_from_slice(&other[torn_at..]);
            }
            durable.insert(number, Box::new(sector));
        }
        let durable_len = match dice.below(self.unsynced_lens.len() + 1) {
            0 => self.durable_len,
            version => self.unsynced_lens[version - 1],
        };
        let unreadable = self.unreadable.clone();
        let mut inode = Self { durable, unreadable, durable_len, ..Self::default() };
        inode.forget_beyond_the_end();
        inode.allocated = self.allocated.min(inode.durable_len);
        inode
    }

    fn forget_beyond_the_end(&mut self) {
        let len = self.durable_len;
        let last = len / SECTOR_BYTES as u64;
        drop(self.durable.split_off(&(last + 1)));
        if let Some(sector) = self.durable.get_mut(&last) {
            sector[(len % SECTOR_BYTES as u64) as usize..].fill(0);
        }
    }
}

/// The sectors of a range: their number, where in the sector the range begins, and which of the
/// range's bytes lie in it.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = (at % SECTOR_BYTES as u64) as usize;
        let piece = (SECTOR_BYTES - within).min(length - done);
        let range = done..done + piece;
        done += piece;
        (piece > 0).then_some((at / SECTOR_BYTES as u64, within, range))
    })
}
