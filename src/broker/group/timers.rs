//! Deadlines by what they are for.

use std::{collections::BTreeMap, time::Duration};

use hashbrown::HashMap;

use super::{GroupId, MemberId};

/// What a deadline is for; at most one deadline per key is armed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum TimerKey {
    /// A member's session, or a pending member's wait.
    Session(GroupId, MemberId),
    /// The end of a group's join phase.
    Join(GroupId),
    /// The end of a generation's sync phase.
    Sync(GroupId),
    /// The next look for expired offsets.
    Check(GroupId),
}

/// When a deadline is, and which arming it came from: two deadlines may be at the same moment.
type Slot = (Duration, u64);

/// Armed deadlines in their order. Arming, cancelling and popping cost the logarithm of their number.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<Slot, TimerKey>,
    armed: HashMap<TimerKey, Slot>,
    armings: u64,
}

impl Timers {
    /// Arms `key` at `delay` from `now`, in place of an earlier arming.
    ///
    /// The delay is at least a millisecond: a timer that arms itself again must let time pass.
    pub fn arm(&mut self, key: TimerKey, now: Duration, delay: Duration) {
        self.armings += 1;
        let slot = (now + delay.max(Duration::from_millis(1)), self.armings);
        self.due.insert(slot, key.clone());
        if let Some(earlier) = self.armed.insert(key, slot) {
            self.due.remove(&earlier);
        }
    }

    /// Disarms `key`, if it is armed.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(slot) = self.armed.remove(key) {
            self.due.remove(&slot);
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Duration> {
        self.due.first_key_value().map(|((deadline, _), _)| *deadline)
    }

    /// Disarms and returns the earliest key whose deadline is not after `now`.
    pub fn pop_due(&mut self, now: Duration) -> Option<TimerKey> {
        self.next().filter(|deadline| *deadline <= now)?;
        let (_, key) = self.due.pop_first()?;
        self.armed.remove(&key);
        Some(key)
    }

    /// Whether `key` is armed.
    #[cfg(test)]
    pub fn is_armed(&self, key: &TimerKey) -> bool {
        self.armed.contains_key(key)
    }

    /// How many deadlines are armed.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        assert_eq!(self.due.len(), self.armed.len(), "both sides hold the same deadlines");
        self.due.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn join(group: &str) -> TimerKey {
        TimerKey::Join(group.into())
    }

    #[test]
    fn pops_in_order_and_only_what_is_due() {
        let mut timers = Timers::default();
        let ms = Duration::from_millis;
        timers.arm(join("b"), ms(0), ms(20));
        timers.arm(join("a"), ms(0), ms(10));
        timers.arm(join("c"), ms(0), ms(10));
        assert_eq!(timers.next(), Some(ms(10)));
        assert_eq!(timers.pop_due(ms(9)), None);
        assert_eq!(timers.pop_due(ms(10)), Some(join("a")));
        assert_eq!(timers.pop_due(ms(10)), Some(join("c")));
        assert_eq!(timers.pop_due(ms(10)), None);
        assert_eq!(timers.len(), 1);
    }

    #[test]
    fn a_new_arming_replaces_the_earlier_one() {
        let mut timers = Timers::default();
        let ms = Duration::from_millis;
        timers.arm(join("a"), ms(0), ms(10));
        timers.arm(join("a"), ms(5), ms(10));
        assert_eq!(timers.pop_due(ms(14)), None);
        assert_eq!(timers.len(), 1);
        timers.cancel(&join("a"));
        timers.cancel(&join("a"));
        assert_eq!((timers.len(), timers.next()), (0, None));
    }

    #[test]
    fn no_deadline_is_due_at_once() {
        let mut timers = Timers::default();
        timers.arm(join("a"), Duration::ZERO, Duration::ZERO);
        assert_eq!(timers.pop_due(Duration::ZERO), None);
    }
}
