//! Waiting for another thread that is about to be done.

use std::{hint, thread, time::Duration};

/// Looks after which the thread gives up its core in between.
const SPINS: u32 = 128;

/// Looks after which it sleeps in between.
const YIELDS: u32 = 1_024;

/// How long it sleeps. Whoever takes so long waits for something itself: a core, or memory.
const NAP: Duration = Duration::from_micros(50);

/// Waits until another thread has made `is_done` true, as it does within microseconds unless it lost
/// its core meanwhile or has to wait for the kernel.
pub(super) fn spin_until(is_done: impl Fn() -> bool) {
    let mut looks = 0u32;
    while !is_done() {
        match looks {
            ..SPINS => hint::spin_loop(),
            SPINS..YIELDS => thread::yield_now(),
            _ => thread::sleep(NAP),
        }
        looks = looks.saturating_add(1);
    }
}
