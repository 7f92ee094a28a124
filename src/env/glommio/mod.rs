//! The seam on glommio executors and io_uring. The only place that names them.

mod cold;
mod connection;
mod heartbeat;
mod sink;

use std::{io, rc::Rc, sync::Arc, time::Duration};

use glommio::{
    Latency, LocalExecutorBuilder, Placement, PoolPlacement, Shares, executor, spawn_local,
    spawn_local_into, timer,
};

pub use cold::GlommioColdRead;
pub use connection::Connection;
pub use sink::DmaSink;

use heartbeat::Heartbeat;

use super::{Clock, Env, LocalFuture, Random, Tasks};

/// How a shard's executor is set up.
#[derive(Clone, Debug)]
pub struct ShardOptions {
    /// The thread's name.
    pub name: String,
    /// The core to pin the thread to; `None` leaves it to the kernel.
    pub core: Option<usize>,
    /// How long a task may run before the executor looks for others.
    pub preempt: Duration,
    /// How long an idle executor looks for work before it sleeps.
    pub spin: Duration,
    /// Memory registered with io_uring, in bytes; counts against the memlock limit.
    pub io_memory_bytes: usize,
    /// Entries of each of the executor's rings.
    pub ring_entries: usize,
}

/// A running shard.
pub struct ShardHandle {
    handle: glommio::ExecutorJoinHandle<()>,
}

impl ShardHandle {
    /// Waits for the shard to end.
    ///
    /// # Errors
    /// When its thread panicked or its executor could not start.
    pub fn join(self) -> io::Result<()> {
        self.handle.join().map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Starts a thread with an executor on it and runs `main` there until it ends.
///
/// # Errors
/// When the thread or its rings cannot be made.
pub fn start_shard<F>(
    options: ShardOptions,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    main: impl FnOnce(Env) -> F + Send + 'static,
) -> io::Result<ShardHandle>
where
    F: Future<Output = ()> + 'static,
{
    let placement = options.core.map_or(Placement::Unbound, Placement::Fixed);
    let builder = LocalExecutorBuilder::new(placement)
        .name(&options.name)
        .preempt_timer(options.preempt)
        .spin_before_park(options.spin)
        .io_memory(options.io_memory_bytes)
        .ring_depth(options.ring_entries)
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    let handle = builder
        .spawn(move || async move {
            // Everything runs in a queue whose latency matters: in any other, a wake-up from
            // another thread waits for the next turn of a busy executor.
            let queue = executor().create_task_queue(
                Shares::default(),
                Latency::Matters(options.preempt.max(Duration::from_micros(200))),
                "shard",
            );
            let env = Env {
                clock,
                random,
                tasks: Rc::new(GlommioTasks),
                cold: Rc::new(GlommioColdRead::default()),
            };
            spawn_local_into(Heartbeat::run(), queue).expect("the queue was just made").detach();
            let main = spawn_local_into(async move { main(env).await }, queue)
                .expect("the queue was just made");
            main.await;
        })
        .map_err(|error| io::Error::other(error.to_string()))?;
    Ok(ShardHandle { handle })
}

/// The shortest sleep, so that the timer is not over when it is looked at for the first time: that
/// would be no turn for anybody else.
const TURN: Duration = Duration::from_micros(1);

struct GlommioTasks;

impl Tasks for GlommioTasks {
    fn spawn(&self, future: LocalFuture<'static, ()>) {
        // A task stays in the queue of the one that spawned it.
        spawn_local(future).detach();
    }

    fn sleep(&self, duration: Duration) -> LocalFuture<'static, ()> {
        Box::pin(timer::sleep(duration.max(TURN)))
    }
}

fn io_error<T>(error: glommio::GlommioError<T>) -> io::Error {
    error.into()
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use std::cell::Cell;

    use super::*;
    use crate::env::blocking::{SystemClock, SystemRandom};

    /// Runs `main` on a shard of its own.
    pub(super) fn on_a_shard<F: Future<Output = ()> + 'static>(
        main: impl FnOnce(Env) -> F + Send + 'static,
    ) {
        let options = ShardOptions {
            name: "shard".to_owned(),
            core: None,
            preempt: Duration::from_millis(10),
            spin: Duration::ZERO,
            io_memory_bytes: 64 << 10,
            ring_entries: 128,
        };
        let clock = Arc::new(SystemClock::default());
        start_shard(options, clock, Arc::new(SystemRandom), main).unwrap().join().unwrap();
    }

    #[test]
    fn a_read_that_fails_says_why_by_its_number() {
        on_a_shard(|env| async move {
            let failed = env.cold.read("/".as_ref(), 0, 1).await.unwrap_err();
            assert_eq!(Errno::from_io_error(&failed), Some(Errno::ISDIR));
        });
    }

    #[test]
    fn a_sleep_of_no_time_gives_others_their_turn() {
        on_a_shard(|env| async move {
            let turns = Rc::new(Cell::new(0));
            let other = Rc::clone(&turns);
            let tasks = Rc::clone(&env.tasks);
            env.tasks.spawn(Box::pin(async move {
                for _ in 0..100 {
                    other.set(other.get() + 1);
                    tasks.sleep(Duration::ZERO).await;
                }
            }));
            for _ in 0..10 {
                env.tasks.sleep(Duration::ZERO).await;
            }
            assert!(turns.get() >= 5, "{} turns", turns.get());
        });
    }
}
