//! Memory mapped twice, end to end, so that a ring's contents are contiguous wherever they start.

use std::{io, ptr};

use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap},
};

/// `capacity` bytes of zeroed memory that appear twice in a row: byte `i` and byte `i + capacity`
/// are the same byte. Pages take memory only once they are touched.
///
/// It hands out raw pointers only; whoever shares it says who may touch which part when.
pub struct MirrorMemory {
    start: *mut u8,
    capacity: usize,
}

// SAFETY: the mapping belongs to this value alone and lives until it is dropped; access goes through
// raw pointers, whose users order it.
unsafe impl Send for MirrorMemory {}
// SAFETY: as above; `&MirrorMemory` gives nothing but the pointer and the capacity.
unsafe impl Sync for MirrorMemory {}

impl MirrorMemory {
    /// Maps `capacity` bytes, a multiple of the page size.
    ///
    /// # Errors
    /// What the kernel says when it has no memory file or no room for the mapping.
    pub fn new(capacity: usize) -> io::Result<Self> {
        assert!(capacity > 0 && capacity.is_multiple_of(4096), "capacity is in whole pages");
        let memory = memfd_create("mainstem-tail", MemfdFlags::CLOEXEC)?;
        ftruncate(&memory, capacity as u64)?;
        // SAFETY: a fresh anonymous reservation; nobody else knows its address.
        let start = unsafe {
            mmap_anonymous(ptr::null_mut(), capacity * 2, ProtFlags::empty(), MapFlags::PRIVATE)?
        }
        .cast::<u8>();
        let mirror = Self { start, capacity };
        for half in 0..2 {
            // SAFETY: both halves lie inside the reservation made above, which `mirror` owns.
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
        Ok(mirror)
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
}

impl Drop for MirrorMemory {
    fn drop(&mut self) {
        // SAFETY: the range is the one mapped in `new`, and nobody can hold this value any more.
        let unmapped = unsafe { munmap(self.start.cast(), self.capacity * 2) };
        debug_assert!(unmapped.is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_across_the_end_is_seen_at_the_start() {
        let memory = MirrorMemory::new(8192).unwrap();
        // SAFETY: one thread, inside the mapping.
        unsafe {
            memory.at(8190).copy_from(b"abcd".as_ptr(), 4);
            assert_eq!(std::slice::from_raw_parts(memory.at(8192), 2), b"cd");
            assert_eq!(std::slice::from_raw_parts(memory.at(8190), 4), b"abcd");
        }
    }
}
