//! A machine that is only imagined: a disk that forgets what was not synced, a clock that stands
//! still, randomness from a seed. One seed gives one course of events.

mod disk;
#[cfg(test)]
mod disk_tests;
mod inode;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

pub use disk::SimulatedDisk;

use super::{Clock, Random};

/// A clock that moves only when told to. May be shared by all threads.
#[derive(Debug)]
pub struct SimulatedClock {
    now: Mutex<(i64, Duration)>,
}

impl SimulatedClock {
    /// A clock at `wall_ms` (milliseconds since 1970, UTC); its monotonic time is zero.
    #[must_use]
    pub fn new(wall_ms: i64) -> Self {
        Self { now: Mutex::new((wall_ms, Duration::ZERO)) }
    }

    /// Lets time pass, on both clocks.
    pub fn advance(&self, duration: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.0 += i64::try_from(duration.as_millis()).expect("a duration a clock can hold");
        now.1 += duration;
    }

    /// Makes the wall clock jump, forwards or back; no time passes.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0 = wall_ms;
    }
}

impl Clock for SimulatedClock {
    fn wall_ms(&self) -> i64 {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).0
    }

    fn monotonic(&self) -> Duration {
        self.now.lock().unwrap_or_else(PoisonError::into_inner).1
    }
}

/// Random numbers that follow from a seed (SplitMix64). May be shared by all threads, but the course
/// of events repeats only on one.
#[derive(Debug)]
pub struct SeededRandom {
    state: Mutex<Dice>,
}

impl SeededRandom {
    /// The sequence that `seed` stands for.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: Mutex::new(Dice(seed)) }
    }
}

impl Random for SeededRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut dice = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&dice.roll().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// SplitMix64.
#[derive(Clone, Copy, Debug)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        (self.roll() % bound as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_stands_until_it_is_moved() {
        let clock = SimulatedClock::new(1_000);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (1_000, Duration::ZERO));
        clock.advance(Duration::from_millis(5));
        clock.set_wall_ms(3);
        assert_eq!((clock.wall_ms(), clock.monotonic()), (3, Duration::from_millis(5)));
    }

    #[test]
    fn one_seed_gives_one_sequence() {
        let draw = |seed| {
            let mut bytes = [0; 19];
            SeededRandom::new(seed).fill(&mut bytes);
            bytes
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
