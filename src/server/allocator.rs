//! How the C library's allocator keeps memory that was freed.

/// Larger allocations than this come from the kernel by themselves, bytes: none that is made often.
#[cfg(target_env = "gnu")]
const FROM_KERNEL: libc::c_int = 32 << 20;

/// As much freed memory each thread's heap keeps at its end, bytes.
#[cfg(target_env = "gnu")]
const KEPT: libc::c_int = 32 << 20;

/// From now on the buffers of file reads and large requests, some hundred KiB each, are made of memory
/// that was used before. By itself the allocator gives much of that back to the kernel, whose pages
/// have to be cleared and mapped anew, one by one, at the next buffer's first touch: that was a third of
/// what reading the log back from the disk cost. Called before there are threads.
pub fn keep_freed_memory() {
    #[cfg(target_env = "gnu")]
    for (parameter, bytes) in
        [(libc::M_MMAP_THRESHOLD, FROM_KERNEL), (libc::M_TRIM_THRESHOLD, KEPT)]
    {
        // SAFETY: it sets a number of the allocator's, which knows both parameters.
        unsafe { libc::mallopt(parameter, bytes) };
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, hint::black_box, thread};

    use super::*;

    /// Pages this thread touched for the first time.
    fn faults() -> u64 {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, behind_name) = stat.rsplit_once(") ").unwrap();
        behind_name.split(' ').nth(7).unwrap().parse().unwrap()
    }

    #[test]
    fn buffers_are_made_of_memory_that_was_used_before() {
        keep_freed_memory();
        let use_buffers = || {
            let buffers: Vec<_> = (0..16).map(|_| black_box(vec![1u8; 256 << 10])).collect();
            drop(buffers);
        };
        // A thread of its own has a heap of its own.
        let of_rounds = thread::spawn(move || {
            use_buffers();
            let before = faults();
            (0..10).for_each(|_| use_buffers());
            faults() - before
        });
        let pages = 16 * (256 << 10) / 4096;
        assert!(of_rounds.join().unwrap() < pages, "ten rounds touch {} pages", 10 * pages);
    }
}
