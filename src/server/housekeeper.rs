//! The housekeeper: fresh segments, index files, checkpoints, and dropping what nobody needs.
//!
//! One thread that may block. It asks the shards for what it needs through their mailboxes and holds
//! nothing they wait for.

use std::{
    io,
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{ServerError, known_state::KnownState};
use crate::{
    base::Position,
    broker::{Broker, Job, Mailboxes},
    env::{Clock, LocalFuture},
    storage::{
        checkpoint::{CheckpointHeader, CheckpointStore},
        commit_log::{
            CommitLog, TailReader,
            segment::{Pace, SegmentPool, Segments},
        },
        key_index::KeyStore,
        queue_index::{Generation, LogRange, RunStore},
    },
};

/// How often it looks whether there is something to do.
const LOOK: Duration = Duration::from_millis(50);

/// How soon what failed is tried again, as on a full disk.
const RETRY: Duration = Duration::from_secs(1);

/// How soon index files and a checkpoint are tried again: each try writes them whole, and says why it
/// failed.
const SEAL_RETRY: Duration = Duration::from_secs(5);

/// Queues whose changes a shard is asked for at a time.
const CHANGES: usize = 4096;

/// Sizes and times from the config.
#[derive(Clone, Copy, Debug)]
pub struct HousekeeperSettings {
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// Bytes of log between checkpoints.
    pub checkpoint_bytes: u64,
    /// Limit for zero-filling; 0 never zero-fills.
    pub zero_fill_bytes_per_s: u64,
    /// Limit for the whole log; 0 is none.
    pub max_bytes: u64,
    /// Time between looks for segments that can go.
    pub retention_check: Duration,
}

/// What the housekeeper works on.
pub struct Housekeeper {
    /// From the config.
    pub settings: HousekeeperSettings,
    /// The log's id.
    pub log_id: u64,
    /// The log.
    pub log: Arc<CommitLog>,
    /// Its segments.
    pub segments: Arc<Segments>,
    /// Fresh ones.
    pub pool: Arc<SegmentPool>,
    /// Index files.
    pub runs: RunStore,
    /// Key files.
    pub keys: KeyStore,
    /// This thread's way into the hot tail.
    pub tail: TailReader,
    /// Checkpoints.
    pub checkpoints: CheckpointStore,
    /// All shards' mailboxes.
    pub mailboxes: Arc<Mailboxes>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Entries sealed and not yet in an index file, oldest first.
    pub sealed: Vec<Arc<Generation>>,
    /// What the shards have told of their state.
    pub known: KnownState,
    /// It was said that sends are refused for want of disk space.
    pub refusing: bool,
    /// What it counts.
    pub figures: Arc<HousekeeperFigures>,
}

/// What the housekeeper counts, for whoever asks.
#[derive(Debug, Default)]
pub struct HousekeeperFigures {
    /// Index files that were found damaged while the broker ran.
    pub damaged_runs: AtomicU64,
    /// Times that a partition lost messages before their time to `log.max_bytes`.
    pub cut_partitions: AtomicU64,
}

/// The housekeeper's thread.
pub struct HousekeeperHandle {
    stop: flume::Sender<()>,
    thread: JoinHandle<Housekeeper>,
}

impl HousekeeperHandle {
    /// Stops the thread and gives its work back.
    ///
    /// # Panics
    /// When the thread did.
    #[must_use]
    pub fn stop(self) -> Housekeeper {
        drop(self.stop);
        self.thread.join().expect("the housekeeper does not panic")
    }
}

/// Zero-filling at a steady rate, given up when the housekeeper is to stop.
struct Paced<'a> {
    clock: &'a dyn Clock,
    stopped: &'a flume::Receiver<()>,
}

impl Pace for Paced<'_> {
    fn now(&self) -> Duration {
        self.clock.monotonic()
    }

    fn wait_until(&self, moment: Duration) -> bool {
        goes_on(self.stopped, moment.saturating_sub(self.clock.monotonic()))
    }
}

/// Waits so long, or until the housekeeper is to stop; false then.
pub(super) fn goes_on(stopped: &flume::Receiver<()>, time: Duration) -> bool {
    matches!(stopped.recv_timeout(time), Err(flume::RecvTimeoutError::Timeout))
}

impl Housekeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When there can be none.
    pub fn start(mut self) -> io::Result<HousekeeperHandle> {
        let (stop, stopped) = flume::bounded(1);
        let thread = thread::Builder::new().name("housekeeper".to_owned()).spawn(move || {
            self.run(&stopped);
            self
        })?;
        Ok(HousekeeperHandle { stop, thread })
    }

    fn run(&mut self, stopped: &flume::Receiver<()>) {
        let mut retention_due = self.clock.monotonic() + self.settings.retention_check;
        let [mut prepare_due, mut reindex_due, mut seal_due, mut keys_due, mut recycle_due] =
            [Duration::ZERO; 5];
        while goes_on(stopped, LOOK) {
            if self.log.failure().is_some() {
                continue;
            }
            let now = self.clock.monotonic();
            if now >= prepare_due {
                prepare_due = self.prepare(now, stopped);
            }
            if now >= reindex_due {
                reindex_due = self.reindex(now, stopped);
            }
            if now >= seal_due
                && let Err(error) = self.seal_and_checkpoint()
            {
                seal_due = now + SEAL_RETRY;
                tracing::error!(%error, "index files or checkpoints could not be written");
            }
            if now >= keys_due {
                keys_due = self.fill_keys(now);
            }
            if now >= retention_due {
                retention_due = now + self.settings.retention_check;
                if let Err(error) = self.drop_segments() {
                    tracing::error!(%error, "old segments could not be dropped");
                }
            }
            if now >= recycle_due
                && let Err(error) = self.recycle()
            {
                recycle_due = now + SEAL_RETRY;
                tracing::error!(%error, "the files of old segments could not be given back");
            }
        }
    }

    /// Makes one more segment ready, if one is wanted, and says what the disk has room for; returns
    /// when to do so again.
    fn prepare(&mut self, now: Duration, stopped: &flume::Receiver<()>) -> Duration {
        let bytes = self.settings.segment_bytes;
        let rate = self.settings.zero_fill_bytes_per_s;
        let made = self.pool.look_for_space().and_then(|volume| {
            self.segments.set_volume(volume);
            match rate > 0 && self.pool.wants_more() {
                true => self.pool.prepare(bytes, rate, &Paced { clock: &*self.clock, stopped }),
                false => Ok(()),
            }
        });
        self.log.set_space(self.pool.space());
        self.say_refusing();
        match made {
            Ok(()) => now,
            Err(error) => {
                if ![io::ErrorKind::StorageFull, io::ErrorKind::Interrupted].contains(&error.kind())
                {
                    tracing::warn!(%error, "no segment could be made ready");
                }
                now + RETRY
            }
        }
    }

    /// Says once that the disk is full, and once that it is no longer.
    fn say_refusing(&mut self) {
        let refusing = self.log.disk_full();
        match (self.refusing, refusing) {
            (false, true) => tracing::warn!(
                "disk space is short (see log.reserve_bytes): sends are refused until there is more"
            ),
            (true, false) => tracing::info!("there is disk space again: sends are taken"),
            _ => {}
        }
        self.refusing = refusing;
    }

    /// Writes the index of segments that were finished, and a checkpoint when it is time.
    fn seal_and_checkpoint(&mut self) -> Result<(), ServerError> {
        let segments = self.segments.all();
        let Some(active) = segments.last() else { return Ok(()) };
        if active.base > self.covered(segments[0].base) {
            self.seal(active.base)?;
        }
        // One that failed is tried again.
        let covered = self.covered(segments[0].base);
        let last = self.checkpoints.latest().map_or(segments[0].base, |last| last.replay_from);
        if covered.since(last.min(covered)) >= self.settings.checkpoint_bytes {
            self.checkpoint(covered)?;
        }
        Ok(())
    }

    /// End of what index files hold.
    pub(super) fn covered(&self, first: Position) -> Position {
        self.runs.covers().map_or(first, |covers| covers.end.max(first))
    }

    /// Writes one index file for everything before `end` that is in none yet.
    ///
    /// # Errors
    /// What the disk says; it is tried again the next time.
    pub fn seal(&mut self, end: Position) -> Result<(), ServerError> {
        let first = self.segments.all().first().map_or(Position(0), |segment| segment.base);
        let covered = self.covered(first);
        if end <= covered {
            return Ok(());
        }
        let sealed = self.ask_all(move |broker| Box::pin(async move { broker.seal_entries(end) }));
        self.sealed.extend(sealed.into_iter().filter(|generation| generation.entry_count() > 0));
        let covers = LogRange::new(covered, end);
        self.runs.write(covers, &self.sealed)?;
        self.index_keys(covers);
        self.sealed.clear();
        self.install_indexes();
        self.merge_keys();
        self.merge();
        Ok(())
    }

    /// Gives the shards the index and key files there are, together: what leaves their memory is in
    /// both.
    pub(super) fn install_indexes(&mut self) {
        let (runs, keys) = (self.runs.runs(), self.keys.files());
        self.ask_all(move |broker| {
            let (runs, keys) = (runs.clone(), keys.clone());
            Box::pin(async move { broker.install_indexes(runs, keys) })
        });
        if let Err(error) = self.runs.sweep() {
            tracing::warn!(%error, "old index files could not be removed");
        }
        if let Err(error) = self.keys.sweep() {
            tracing::warn!(%error, "old key files could not be removed");
        }
    }

    /// Merges index files. What has been sealed is good without it, so that nothing waits for it.
    fn merge(&mut self) {
        self.hear_of_queues();
        loop {
            let room = self.merge_room();
            match self.runs.merge_some(room, &|queue| self.known.index_start(queue)) {
                Ok(true) => self.install_indexes(),
                Ok(false) => return,
                // It is noted, and rebuilt.
                Err(error) if error.is_damage() => return,
                Err(error) => {
                    tracing::warn!(%error, "index files could not be merged; they are tried again");
                    return;
                }
            }
        }
    }

    /// Bytes that a merged file may take: both it and what it is made of are there for a while.
    pub(super) fn merge_room(&self) -> u64 {
        self.pool.room().unwrap_or(0)
    }

    /// Asks the shards what has become of their queues, of some at a time.
    pub(super) fn hear_of_queues(&mut self) {
        loop {
            let told =
                self.ask_all(|broker| Box::pin(async move { broker.queue_changes(CHANGES) }));
            let more = told.iter().any(|changes| changes.len() == CHANGES);
            told.into_iter().for_each(|changes| self.known.take_in(changes));
            if !more {
                return;
            }
        }
    }

    /// Writes a checkpoint from which replay starts at `from`, where everything before is indexed.
    ///
    /// # Errors
    /// What the disk says.
    pub fn checkpoint(&mut self, from: Position) -> Result<(), ServerError> {
        self.hear_of_queues();
        let known = self.known.applied();
        let mut snapshots =
            self.ask_all(move |broker| Box::pin(async move { broker.snapshot(known) }));
        for part in &mut snapshots {
            self.known.take_in(std::mem::take(&mut part.queues));
            part.cluster.take().into_iter().for_each(|cluster| self.known.take_in_cluster(cluster));
        }
        // A snapshot may hold what is not durable yet; it must be before the checkpoint counts.
        let reserved = snapshots.iter().map(|part| part.reserved).max().unwrap_or(from);
        while self.log.durable() < reserved {
            if let Some(failure) = self.log.failure() {
                return Err(ServerError::LogStopped(failure.to_owned()));
            }
            if self.log.starved() {
                return Err(ServerError::NoSpace);
            }
            self.log.wake_writer();
            thread::sleep(Duration::from_millis(1));
        }
        let mut log_id = [0; 16];
        log_id[..8].copy_from_slice(&self.log_id.to_le_bytes());
        let header =
            CheckpointHeader { log_id, replay_from: from, created_ms: self.clock.wall_ms() };
        self.checkpoints
            .write(header, |writer| self.known.write_sections(writer, &snapshots))
            .map(drop)
            .map_err(ServerError::from)
    }

    /// Drops the oldest segments that hold nothing anybody may still read or replay.
    fn drop_segments(&mut self) -> Result<(), ServerError> {
        self.enforce_max_bytes();
        let needed = self
            .ask_all(|broker| Box::pin(async move { broker.oldest_message() }))
            .into_iter()
            .flatten()
            .min();
        let Some(replayed) = self.checkpoints.replay_needed() else { return Ok(()) };
        let needed = needed.map_or(replayed, |needed| needed.min(replayed));
        let mut dropped = false;
        loop {
            let segments = self.segments.all();
            let [_, second, ..] = segments.as_slice() else { break };
            if second.base > needed {
                break;
            }
            drop(segments);
            let Some(segment) = self.segments.pop_oldest() else { break };
            tracing::info!(sequence = segment.sequence, "segment dropped");
            self.pool.owe(segment);
            dropped = true;
        }
        if !dropped {
            return Ok(());
        }
        // What fails or is still read is tried again; the rest goes on without it.
        let recycled = self.recycle();
        let first = self.segments.all().first().map_or(Position(0), |segment| segment.base);
        self.runs.drop_below(first);
        self.keys.drop_useless(first);
        self.install_indexes();
        self.log.set_space(self.pool.space());
        recycled
    }

    /// Gives back the files of dropped segments; those that a shard still reads later.
    fn recycle(&self) -> Result<(), ServerError> {
        // The disk keeps a removed file as long as a shard has it open.
        let forget = |path: &Path| {
            let path: Arc<Path> = path.into();
            self.ask_all(move |broker| {
                let path = Arc::clone(&path);
                Box::pin(async move { broker.env().cold.forget(&path) })
            });
        };
        let failed = |source| ServerError::DataDir { path: self.pool.dir().to_path_buf(), source };
        self.pool.recycle(forget).map(drop).map_err(failed)
    }

    /// Moves log starts past the oldest segments while the log is larger than it may be.
    fn enforce_max_bytes(&self) {
        let max = self.settings.max_bytes;
        let mut excess = self.segments.disk_bytes().saturating_sub(max);
        if max == 0 || excess == 0 {
            return;
        }
        let segments = self.segments.all();
        let mut end = None;
        for pair in segments.windows(2) {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(pair[0].file_bytes);
            end = Some(pair[1].base);
        }
        let Some(end) = end else { return };
        let queues: usize = self
            .ask_all(move |broker| Box::pin(async move { broker.give_up_before(end).await }))
            .into_iter()
            .sum();
        if queues > 0 {
            self.figures.cut_partitions.fetch_add(queues as u64, Ordering::Relaxed);
            tracing::warn!(queues, max, "log.max_bytes: messages were given up before their time");
        }
    }

    /// Asks every shard and waits for all. Shards that have ended give no answer.
    fn ask_all<R: Send + 'static>(
        &self,
        work: impl Fn(Rc<Broker>) -> LocalFuture<'static, R> + Clone + Send + 'static,
    ) -> Vec<R> {
        self.ask(&self.mailboxes, work)
    }

    /// Asks some shards by their mailboxes, likewise.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        mailboxes: &[flume::Sender<Job>],
        work: impl Fn(Rc<Broker>) -> LocalFuture<'static, R> + Clone + Send + 'static,
    ) -> Vec<R> {
        let (answer, answers) = flume::unbounded();
        for mailbox in mailboxes {
            let (work, answer) = (work.clone(), answer.clone());
            let job: Job = Box::new(move |broker| {
                Box::pin(async move {
                    let _ = answer.send(work(broker).await);
                })
            });
            let _ = mailbox.send(job);
        }
        drop(answer);
        answers.into_iter().collect()
    }
}
