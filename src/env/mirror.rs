//! Memory mapped twice, end to end, so that a ring's contents are contiguous wherever they start.

use std::{io, ptr};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap},
};

/// A page of the common size, in bytes.
const PAGE: usize = 4 << 10;
/// A huge page, in bytes.
pub const HUGE_PAGE: usize = 2 << 20;

/// What pages a mapping is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// Of 4 KiB, which take memory only once they are touched; of 2 MiB, likewise, where the system
    /// gives such to memory files that ask for them (`transparent_hugepage/shmem_enabled`).
    Common,
    /// Of 2 MiB, out of what the system has set aside for them (`vm.nr_hugepages`): a third less
    /// work at their first touch, and less for each write that goes past the page cache.
    Huge,
}

/// `capacity` bytes of zeroed memory that appear twice in a row: byte `i` and byte `i + capacity`
/// are the same byte.
///
/// It hands out raw pointers only; whoever shares it says who may touch which part when.
pub struct MirrorMemory {
    start: *mut u8,
    capacity: usize,
    /// Held for its end.
    _reserved: Reservation,
}

/// Addresses that belong to this value; what is mapped there goes with them.
struct Reservation {
    start: *mut u8,
    bytes: usize,
}

// SAFETY: the mapping belongs to this value alone and lives until it is dropped; access goes through
// raw pointers, whose users order it.
unsafe impl Send for MirrorMemory {}
// SAFETY: as above; `&MirrorMemory` gives nothing but the pointer and the capacity.
unsafe impl Sync for MirrorMemory {}

impl MirrorMemory {
    /// Maps `capacity` bytes, a multiple of the pages' size.
    ///
    /// # Errors
    /// What the kernel says when it has no memory file or no room for the mapping; of huge pages,
    /// also when there are not enough.
    pub fn new(capacity: usize, pages: Pages) -> io::Result<Self> {
        let (page, flags) = match pages {
            Pages::Common => (PAGE, MemfdFlags::CLOEXEC),
            Pages::Huge => (HUGE_PAGE, MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB),
        };
        assert!(capacity > 0 && capacity.is_multiple_of(page), "capacity is in whole pages");
        let memory = memfd_create("mainstem-tail", flags)?;
        ftruncate(&memory, capacity as u64)?;
        // Huge pages are mapped only where the addresses fit them.
        let reserved = Reservation::new(capacity * 2 + HUGE_PAGE)?;
        // SAFETY: the reservation has a huge page to spare for this.
        let start = unsafe { reserved.start.add(reserved.start.align_offset(HUGE_PAGE)) };
        for half in 0..2 {
            // SAFETY: both halves lie inside the reservation made above.
            unsafe {
                mmap(
                    start.add(half * capacity).cast(),
                    capacity,
                    ProtFlags::READ | ProtFlags::WRITE,
                    MapFlags::SHARED | MapFlags::FIXED,
                    &memory,
                    0,
                )?;
            }
        }
        // SAFETY: advice about the mapping made above. A kernel without such pages refuses it, which
        // changes nothing.
        let _ = unsafe { madvise(start.cast(), capacity * 2, Advice::LinuxHugepage) };
        Ok(Self { start, capacity, _reserved: reserved })
    }

    /// Bytes in the ring.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The address of ring byte `position % capacity`; the `capacity` bytes from there are mapped.
    #[must_use]
    pub fn at(&self, position: u64) -> *mut u8 {
        let offset = (position % self.capacity as u64) as usize;
        // SAFETY: `offset` lies inside the first half of the mapping.
        unsafe { self.start.add(offset) }
    }

    /// Takes memory for the `bytes` ring bytes from `position` on, in whole pages, as their first
    /// touch would. What they hold stays, whoever reads or writes it meanwhile.
    ///
    /// # Errors
    /// When the kernel does not know how to (before Linux 5.14), or has no memory.
    pub fn populate(&self, position: u64, bytes: usize) -> io::Result<()> {
        assert!(bytes <= self.capacity, "both mappings have it");
        // SAFETY: the range is mapped, for as long as `self` lives, and its contents do not change.
        unsafe { madvise(self.at(position).cast(), bytes, Advice::LinuxPopulateWrite)? };
        Ok(())
    }
}

impl Reservation {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a fresh anonymous reservation; nobody else knows its address.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), bytes, ProtFlags::empty(), MapFlags::PRIVATE)?
        };
        Ok(Self { start: start.cast(), bytes })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // SAFETY: the range is the one mapped in `new`, and nobody can hold this value any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of the mapping that begins at `start` has memory, in bytes.
    fn resident(start: *const u8) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, map) = maps.split_once(&format!("{:x}-", start.addr())).expect("it is mapped");
        let rss = map.lines().find_map(|line| line.strip_prefix("Rss:")).expect("it has a size");
        rss.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    #[test]
    fn memory_is_taken_when_it_is_asked_for_and_keeps_what_it_holds() {
        let memory = MirrorMemory::new(16 * PAGE, Pages::Common).unwrap();
        assert_eq!(resident(memory.at(0)), 0);
        // SAFETY: one thread, inside the mapping.
        unsafe { memory.at(5 * PAGE as u64).write(7) };
        memory.populate(16 * PAGE as u64 + 4 * PAGE as u64, 3 * PAGE).unwrap();
        assert_eq!(resident(memory.at(0)), 3 * PAGE);
        // SAFETY: as above.
        assert_eq!(unsafe { memory.at(5 * PAGE as u64).read() }, 7);
    }

    #[test]
    fn a_write_across_the_end_is_seen_at_the_start() {
        let memory = MirrorMemory::new(8192, Pages::Common).unwrap();
        // SAFETY: one thread, inside the mapping.
        unsafe {
            memory.at(8190).copy_from(b"abcd".as_ptr(), 4);
            assert_eq!(std::slice::from_raw_parts(memory.at(8192), 2), b"cd");
            assert_eq!(std::slice::from_raw_parts(memory.at(8190), 4), b"abcd");
        }
    }
}
