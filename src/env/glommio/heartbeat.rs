//! What wakes an executor of glommio that would sleep too long.

use std::{cell::RefCell, future::poll_fn, pin::Pin, task::Poll, time::Duration};

use glommio::timer::Timer;

/// The longest a shard sleeps after a client has asked for something, and while none does.
///
/// An executor of glommio 0.9 sleeps over tasks that are ready, once in about a thousand wake-ups
/// under load: it asks whether it is to be preempted before it runs the first of them, and where its
/// preemption timer or a wake-up from another thread comes in just then, it runs none, takes that
/// for having nothing to run, and sleeps. Whatever was ready then waits for the next event. So the
/// preemption timer is long, and a shard never sleeps for long.
const HEARTBEAT_BUSY: Duration = Duration::from_millis(1);
const HEARTBEAT_IDLE: Duration = Duration::from_millis(50);

/// Heartbeats after the last read in which a shard still counts as busy.
const BUSY_BEATS: u32 = 500;

thread_local! {
    /// This shard's, from its start on.
    static HEARTBEAT: RefCell<Option<Heartbeat>> = const { RefCell::new(None) };
}

/// Wakes an executor that nothing else has woken for a while.
pub(super) struct Heartbeat {
    timer: Timer,
    /// Beats since the last read from a client.
    quiet: u32,
}

impl Heartbeat {
    /// Beats as long as the shard lives, on the shard.
    pub(super) async fn run() {
        let timer = Timer::new(HEARTBEAT_IDLE);
        HEARTBEAT.set(Some(Self { timer, quiet: BUSY_BEATS }));
        poll_fn(|context| {
            HEARTBEAT.with_borrow_mut(|heartbeat| {
                let heartbeat = heartbeat.as_mut().expect("it was set");
                while Pin::new(&mut heartbeat.timer).poll(context).is_ready() {
                    heartbeat.quiet = heartbeat.quiet.saturating_add(1);
                    let busy = heartbeat.quiet < BUSY_BEATS;
                    heartbeat.timer.reset(if busy { HEARTBEAT_BUSY } else { HEARTBEAT_IDLE });
                }
            });
            Poll::<()>::Pending
        })
        .await;
    }

    /// Puts the next beat off: the shard has something to do, and what it does leads to the next.
    pub(super) fn put_off() {
        HEARTBEAT.with_borrow_mut(|heartbeat| {
            if let Some(heartbeat) = heartbeat {
                heartbeat.quiet = 0;
                heartbeat.timer.reset(HEARTBEAT_BUSY);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::{Tasks, glommio::tests::on_a_shard};

    /// Waits for two beats that nobody put off.
    async fn two_beats(tasks: &dyn Tasks) -> u32 {
        let beats = || HEARTBEAT.with_borrow(|heartbeat| heartbeat.as_ref().unwrap().quiet);
        let before = beats();
        for _ in 0..10_000 {
            tasks.sleep(Duration::from_millis(1)).await;
            if beats() >= before + 2 {
                break;
            }
        }
        beats() - before
    }

    #[test]
    fn a_shard_wakes_itself_whether_clients_ask_for_something_or_not() {
        on_a_shard(|env| async move {
            assert!(two_beats(&*env.tasks).await >= 2, "it is idle");
            for _ in 0..3 {
                Heartbeat::put_off();
                assert!(two_beats(&*env.tasks).await >= 2, "the next beat is only put off");
            }
            HEARTBEAT.with_borrow_mut(|heartbeat| heartbeat.as_mut().unwrap().quiet = BUSY_BEATS);
            assert!(two_beats(&*env.tasks).await >= 2, "it is idle again");
        });
    }
}
