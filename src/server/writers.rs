//! The threads that write the log.

use std::{io, sync::Arc, thread, time::Duration};

use core_affinity::CoreId;

use crate::{
    config::Config,
    env::{
        BlockSink, Clock, Disk, Env, Random,
        glommio::{DmaSink, ShardHandle, ShardOptions, start_shard},
    },
    storage::commit_log::{
        CommitLog, FileSink, Pauses, Writer, WriterOptions,
        segment::{SegmentPool, Segments},
    },
};

/// How soon a writer looks again for disk space.
const NO_SPACE_PAUSE: Duration = Duration::from_millis(200);

/// What the log's writers are made from.
pub(super) struct Writing {
    pub(super) log: Arc<CommitLog>,
    pub(super) pool: Arc<SegmentPool>,
    pub(super) segments: Arc<Segments>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) options: WriterOptions,
    pub(super) woken: flume::Receiver<()>,
    pub(super) pauses: Pauses,
}

impl Writing {
    pub(super) fn pauses(config: &Config) -> Pauses {
        let idle = Duration::from_millis(config.log.idle_block_ms);
        Pauses { idle, no_space: NO_SPACE_PAUSE }
    }

    fn writer<S: BlockSink>(&self, sink: S) -> Writer<S> {
        let (log, pool) = (Arc::clone(&self.log), Arc::clone(&self.pool));
        let (segments, clock) = (Arc::clone(&self.segments), Arc::clone(&self.clock));
        Writer::new(log, sink, pool, segments, clock, self.options)
    }

    /// As many threads as writes may be under way: one where they are synced together.
    pub(super) fn on_threads(
        self,
        disk: &Arc<dyn Disk>,
        count: u32,
        core: Option<usize>,
    ) -> io::Result<LogWriters> {
        let count = if self.options.sync_interval.is_zero() { count } else { 1 };
        let first = self.writer(FileSink::new(Arc::clone(disk)));
        let beside = (1..count).map(|_| first.beside(FileSink::new(Arc::clone(disk))));
        let mut writers: Vec<_> = beside.collect();
        writers.push(first);
        let start = |writer: Writer<FileSink>| {
            let (woken, pauses) = (self.woken.clone(), self.pauses);
            thread::Builder::new().name("log-writer".to_owned()).spawn(move || {
                if let Some(id) = core {
                    core_affinity::set_for_current(CoreId { id });
                }
                futures_lite::future::block_on(run(writer, woken, pauses));
            })
        };
        writers.into_iter().map(start).collect::<io::Result<_>>().map(LogWriters::Threads)
    }

    /// One, on a glommio executor.
    pub(super) fn on_executor(
        self,
        options: ShardOptions,
        random: Arc<dyn Random>,
    ) -> io::Result<LogWriters> {
        let clock = Arc::clone(&self.clock);
        let main =
            move |_env: Env| run(self.writer(DmaSink::default()), self.woken.clone(), self.pauses);
        start_shard(options, clock, random, main).map(LogWriters::Executor)
    }
}

async fn run<S: BlockSink>(mut writer: Writer<S>, woken: flume::Receiver<()>, pauses: Pauses) {
    if let Err(error) = writer.run(&woken, pauses).await {
        tracing::error!(%error, "the log has stopped");
    }
}

/// The log's writers while they run.
pub(super) enum LogWriters {
    Threads(Vec<thread::JoinHandle<()>>),
    Executor(ShardHandle),
}

impl LogWriters {
    /// Waits until the last one has ended.
    pub(super) fn join(self) -> io::Result<()> {
        match self {
            Self::Threads(threads) => threads.into_iter().try_for_each(|thread| {
                thread.join().map_err(|_| io::Error::other("a writer panicked"))
            }),
            Self::Executor(executor) => executor.join(),
        }
    }
}
