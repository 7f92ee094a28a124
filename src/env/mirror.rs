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
    /// gives such to memory files that ask for them (`transparent_hugepage/shmem_enabled`), and what
    /// [`MirrorMemory::populate`] takes wherever it can.
    Common,
    /// Of 2 MiB, out of what the system has set aside for them (`hugepages-2048kB/nr_hugepages`): a
    /// third less work at their first touch, and less for each write that goes past the page cache.
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
            Pages::Huge => {
                (HUGE_PAGE, MemfdFlags::CLOEXEC | MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB)
            }
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
    /// touch would: a huge page where one fits and the system has one. What they hold stays, whoever
    /// reads or writes it meanwhile.
    ///
    /// # Errors
    /// When the kernel does not know how to (before Linux 5.14), or has no memory.
    pub fn populate(&self, position: u64, bytes: usize) -> io::Result<()> {
        assert!(bytes <= self.capacity, "both mappings have it");
        let start = self.at(position);
        if bytes.is_multiple_of(HUGE_PAGE) && start.addr().is_multiple_of(HUGE_PAGE) {
            for huge in 0..bytes / HUGE_PAGE {
                // SAFETY: inside the range, which is mapped.
                take(unsafe { start.add(huge * HUGE_PAGE) }, PAGE)?;
            }
            if collapse(start, bytes).is_ok() {
                return Ok(());
            }
        }
        take(start, bytes)
    }
}

/// Takes memory for mapped bytes, whose contents stay.
fn take(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: advice about a mapping, which changes nothing of its contents.
    unsafe { madvise(start.cast(), bytes, Advice::LinuxPopulateWrite)? };
    Ok(())
}

/// Makes huge pages of mapped bytes, each of which has some memory already. Their contents stay.
///
/// # Errors
/// When the kernel does not know how to (before Linux 6.1), has been told not to (`deny` in
/// `transparent_hugepage/shmem_enabled`; `never` keeps only from making them unasked), has no huge page
/// free, or the bytes are being read or written by a disk; and of [`Pages::Huge`], which are such already.
fn collapse(start: *mut u8, bytes: usize) -> io::Result<()> {
    // SAFETY: advice about a mapping, which changes nothing of its contents.
    match unsafe { libc::madvise(start.cast(), bytes, libc::MADV_COLLAPSE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
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

    /// What the kernel says of the mapping that begins at `start`, in bytes.
    fn figure(start: *const u8, name: &str) -> usize {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let (_, map) = maps.split_once(&format!("{:x}-", start.addr())).expect("it is mapped");
        let figure = map.lines().find_map(|line| line.strip_prefix(name)).expect("it is said");
        figure.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// How much of the mapping that begins at `start` has memory, in bytes.
    fn resident(start: *const u8) -> usize {
        figure(start, "Rss:")
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
    fn huge_pages_are_taken_where_the_system_has_them_and_keep_what_the_small_ones_held() {
        let memory = MirrorMemory::new(4 * HUGE_PAGE, Pages::Common).unwrap();
        let written = HUGE_PAGE as u64 * 2 + 5 * PAGE as u64;
        // SAFETY: one thread, inside the mapping.
        unsafe { memory.at(written).write(7) };
        // A page that something else of the system holds just then stays small that time.
        let are_huge = (0..100).any(|_| {
            memory.populate(HUGE_PAGE as u64, 2 * HUGE_PAGE).unwrap();
            figure(memory.at(0), "ShmemPmdMapped:") == 2 * HUGE_PAGE
        });
        assert_eq!(are_huge, collapse(memory.at(HUGE_PAGE as u64), 2 * HUGE_PAGE).is_ok());
        assert_eq!(resident(memory.at(0)), 2 * HUGE_PAGE);
        // SAFETY: as above.
        assert_eq!(unsafe { memory.at(written).read() }, 7);
        // SAFETY: as above.
        assert_eq!(unsafe { memory.at(HUGE_PAGE as u64).read() }, 0);
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
