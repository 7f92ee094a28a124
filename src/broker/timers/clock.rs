//! The clock that timers fire by: the wall clock, but for jumps forward.
//!
//! What has fired cannot be taken back, and nothing that is stored later comes in behind it. So a jump
//! that is corrected a moment later, as by hand or where the machine's clock was read wrongly, must
//! not have let days of timers fire. This clock goes on as the monotonic one does until the wall clock
//! has been ahead of it for a while; timers then fire late by as much as it jumped, for no longer than
//! that. Backwards it follows at once: nothing fires early.

use std::time::Duration;

use crate::env::Clock;

/// How far ahead the wall clock may come between two looks, in milliseconds. They are a second apart at
/// most, in which clocks that are slewed gain a tenth of it.
const JUMP_MS: i64 = 1_000;

/// How long a jump has to last before timers fire across it.
const LASTS: Duration = Duration::from_secs(60);

/// Tells the time to fire. Lives on a shard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TimerClock {
    /// What both clocks told when the wall clock was last followed.
    followed: Option<(i64, Duration)>,
    /// When the wall clock was first seen ahead, on the monotonic clock.
    jumped_at: Option<Duration>,
}

impl TimerClock {
    /// Milliseconds since 1970.
    pub(super) fn now_ms(&mut self, clock: &dyn Clock) -> i64 {
        // A pause between the two looks like a jump, which is over at the next look.
        let monotonic = clock.monotonic();
        let wall_ms = clock.wall_ms();
        let steady_ms = self.followed.map_or(wall_ms, |(then_ms, then)| {
            then_ms.saturating_add_unsigned(monotonic.saturating_sub(then).as_millis() as u64)
        });
        let ahead_ms = wall_ms.saturating_sub(steady_ms);
        if ahead_ms > JUMP_MS && !self.lasts(monotonic, ahead_ms) {
            return steady_ms;
        }
        if self.jumped_at.take().is_some() {
            tracing::warn!(ahead_ms, "timers fire by the wall clock again");
        }
        self.followed = Some((wall_ms, monotonic));
        wall_ms
    }

    /// Whether the wall clock has been ahead for long enough.
    fn lasts(&mut self, monotonic: Duration, ahead_ms: i64) -> bool {
        let jumped_at = *self.jumped_at.get_or_insert_with(|| {
            tracing::warn!(
                ahead_ms,
                "the wall clock jumped; no timers fire across it for a minute"
            );
            monotonic
        });
        monotonic.saturating_sub(jumped_at) >= LASTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::QueueId,
        broker::timers::{TimerKey, TimerQueue, TimersSnapshot, Waiting},
        env::simulated::SimulatedClock,
    };

    const START_MS: i64 = 1_000_000;
    const HOUR_MS: i64 = 3_600_000;

    /// Both clocks, looked at for the first time.
    fn clocks() -> (SimulatedClock, TimerClock) {
        let (clock, mut timers) = (SimulatedClock::new(START_MS), TimerClock::default());
        assert_eq!(timers.now_ms(&clock), START_MS);
        (clock, timers)
    }

    fn jump(clock: &SimulatedClock, by_ms: i64) {
        clock.set_wall_ms(clock.wall_ms() + by_ms);
    }

    #[test]
    fn a_clock_that_is_slewed_or_set_back_is_followed_at_once() {
        let (clock, mut timers) = clocks();
        for by_ms in [0, 1, 100, -100, 999, JUMP_MS, -5, -HOUR_MS, 0, 7] {
            clock.advance(Duration::from_secs(1));
            jump(&clock, by_ms);
            assert_eq!(timers.now_ms(&clock), clock.wall_ms());
        }
        clock.advance(Duration::from_secs(86_400));
        assert_eq!(timers.now_ms(&clock), clock.wall_ms());
    }

    #[test]
    fn a_jump_is_followed_once_it_has_lasted() {
        let (clock, mut timers) = clocks();
        jump(&clock, HOUR_MS);
        for seconds in 0..60 {
            assert_eq!(timers.now_ms(&clock), START_MS + seconds * 1_000);
            clock.advance(Duration::from_secs(1));
        }
        assert_eq!(timers.now_ms(&clock), START_MS + HOUR_MS + 60_000);
        clock.advance(Duration::from_secs(1));
        assert_eq!(timers.now_ms(&clock), clock.wall_ms());
        // The next one has to last as long.
        jump(&clock, JUMP_MS + 1);
        assert_eq!(timers.now_ms(&clock), clock.wall_ms() - JUMP_MS - 1);
        clock.advance(Duration::from_secs(30));
        jump(&clock, HOUR_MS);
        timers.now_ms(&clock);
        clock.advance(Duration::from_secs(30));
        assert_eq!(timers.now_ms(&clock), clock.wall_ms());
    }

    #[test]
    fn a_jump_that_is_corrected_fires_nothing_and_makes_nothing_late() {
        let (clock, mut timers) = clocks();
        let mut queue = TimerQueue::restored(TimersSnapshot::new(QueueId(0)));
        let waits = TimerKey { due_ms: START_MS + 2 * HOUR_MS, offset: 0 };
        queue.insert(waits, Waiting { id_hash: 0, bytes: 1 });
        for _ in 0..3 {
            jump(&clock, 3 * HOUR_MS);
            assert!(queue.take(timers.now_ms(&clock), 1, 9).is_empty());
            clock.advance(Duration::from_secs(40));
            assert!(queue.take(timers.now_ms(&clock), 1, 9).is_empty());
            jump(&clock, -3 * HOUR_MS);
            assert_eq!(timers.now_ms(&clock), clock.wall_ms());
            let soon_ms = clock.wall_ms() + 1;
            assert_eq!(queue.admit(soon_ms), soon_ms);
        }
        clock.advance(Duration::from_secs(7_200));
        assert_eq!(queue.take(timers.now_ms(&clock), 1, 9).len(), 1);
    }
}
