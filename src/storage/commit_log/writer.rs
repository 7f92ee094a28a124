//! The writer: closes blocks when the disk is free and makes them durable.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{
    log::CommitLog,
    segment::{SegmentPool, Segments},
    write_order::{Next, Write, WriteOrder, WriterOptions},
};
use crate::env::{BlockSink, Clock};

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wrote so many bytes.
    Wrote(u64),
    /// There was nothing to write, or nothing that can be before another writer has done.
    Idle,
    /// Nothing could be written for want of disk space; try again later.
    NoSpace,
}

/// Writes a log, alone or with others beside it. Lives on a thread of its own.
///
/// Writers take turns: one writes all there is, and what comes in meanwhile is the next one's. So a
/// slow write does not hold up the one behind it, though that is acknowledged only after it.
pub struct Writer<S> {
    order: Arc<Mutex<WriteOrder>>,
    log: Arc<CommitLog>,
    clock: Arc<dyn Clock>,
    sink: S,
    /// Sequence number of the segment that the sink has open; the first segment's is 1.
    open: u64,
}

impl<S: BlockSink> Writer<S> {
    /// A writer that continues `log` where it starts.
    pub fn new(
        log: Arc<CommitLog>,
        sink: S,
        pool: Arc<SegmentPool>,
        segments: Arc<Segments>,
        clock: Arc<dyn Clock>,
        options: WriterOptions,
    ) -> Self {
        let now = clock.monotonic();
        let order = WriteOrder::new(Arc::clone(&log), pool, segments, options, now);
        Self { order: Arc::new(Mutex::new(order)), log, clock, sink, open: 0 }
    }

    /// Another writer of the same log: its writes may be under way at the same time.
    ///
    /// # Panics
    /// When writes are made durable by interval: a sync is of one writer's file.
    pub fn beside<T: BlockSink>(&self, sink: T) -> Writer<T> {
        assert!(self.order().sync_interval().is_zero(), "each write is durable by itself");
        Writer {
            order: Arc::clone(&self.order),
            log: Arc::clone(&self.log),
            clock: Arc::clone(&self.clock),
            sink,
            open: 0,
        }
    }

    fn order(&self) -> MutexGuard<'_, WriteOrder> {
        self.order.lock().expect("nobody panics while holding it")
    }

    /// Writes what there is to write, once.
    ///
    /// # Errors
    /// A failed write or sync, this writer's or another's. The log has then stopped for good and this
    /// must not be called again.
    pub async fn step(&mut self) -> io::Result<Step> {
        let result = self.try_step().await;
        if let Err(error) = &result {
            self.log.stop(format!("writing the log failed: {error}"));
        }
        result
    }

    async fn try_step(&mut self) -> io::Result<Step> {
        let step = loop {
            let next = self.order().next()?;
            match next {
                Next::Write(write) => break self.write(&write).await?,
                Next::Sync => self.sync(true).await?,
                Next::Nothing => break Step::Idle,
                Next::NoSpace => break Step::NoSpace,
            }
        };
        self.sync(false).await?;
        Ok(step)
    }

    async fn write(&mut self, write: &Write) -> io::Result<Step> {
        if self.open != write.sequence {
            self.sink.open(&write.path).await?;
            self.open = write.sequence;
        }
        let length = write.end.since(write.start);
        // SAFETY: the blocks are sealed and nobody writes into them; the ring keeps them until they
        // are durable, and its memory is mirrored, so they are contiguous.
        let bytes =
            unsafe { std::slice::from_raw_parts(self.log.tail().at(write.start), length as usize) };
        let began = self.clock.monotonic();
        self.sink.write(bytes, write.offset, write.durable).await?;
        self.log.count_write(self.clock.monotonic().saturating_sub(began), length);
        self.order().done(write)?;
        Ok(Step::Wrote(length))
    }

    /// Makes what was written durable, if it is time to, or at once.
    async fn sync(&mut self, at_once: bool) -> io::Result<()> {
        if self.order().sync_is_due(self.clock.monotonic(), at_once) {
            self.sink.sync().await?;
            self.order().synced(self.clock.monotonic());
        }
        Ok(())
    }

    /// Writes one empty block, if the last one was not empty: so everything before it is known to
    /// have been durable, whatever happens to the file's end later.
    ///
    /// # Errors
    /// As [`Writer::step`].
    pub async fn idle(&mut self) -> io::Result<()> {
        let owed = self.order().take_empty()?;
        if owed { self.step().await.map(drop) } else { Ok(()) }
    }

    /// Makes everything written durable now.
    ///
    /// # Errors
    /// As [`Writer::step`].
    pub async fn finish(&mut self) -> io::Result<()> {
        self.order().check_running()?;
        let result = self.sync(true).await;
        if let Err(error) = &result {
            self.log.stop(format!("syncing the log failed: {error}"));
        }
        result
    }

    /// Makes everything durable, and lets an empty block say so: what a clean stop left behind is
    /// never taken for a torn tail. The writer that is the last to write does it.
    async fn end(&mut self) -> io::Result<()> {
        if self.order().is_busy() {
            return Ok(());
        }
        self.finish().await?;
        self.idle().await?;
        if self.order().has_taken() { self.give_up() } else { self.finish().await }
    }

    /// Ends without what there is no space for. Nobody was told that it was there, unless it had been
    /// answered ahead of the disk: then the log stops over it.
    fn give_up(&self) -> io::Result<()> {
        if self.log.answered() <= self.log.durable() {
            return Ok(());
        }
        let error = io::Error::from(io::ErrorKind::StorageFull);
        self.log.stop(format!("the log was closed before there was space for its end: {error}"));
        Err(error)
    }

    /// Tells the log what the disk has room for.
    pub fn report_space(&self) {
        self.order().report_space();
    }

    /// Runs on a thread of its own until the log is closed and written out, or has stopped.
    ///
    /// # Errors
    /// As [`Writer::step`].
    pub async fn run(&mut self, woken: &flume::Receiver<()>, pauses: Pauses) -> io::Result<()> {
        let result = self.work(woken, pauses).await;
        // The others have the same reason to end.
        self.log.rouse_writer();
        result
    }

    async fn work(&mut self, woken: &flume::Receiver<()>, pauses: Pauses) -> io::Result<()> {
        // After a crash this makes the cut known; on an idle log nothing else would.
        self.idle().await?;
        loop {
            // What was let in before is in the blocks then, and the step finds it.
            let closing = self.log.closing();
            let step = self.step().await?;
            let wait = match step {
                Step::Wrote(_) => continue,
                Step::NoSpace if closing => return self.give_up(),
                Step::NoSpace => pauses.no_space,
                Step::Idle if closing => return self.end().await,
                Step::Idle => self.pause(&pauses),
            };
            self.log.writer_rests();
            // Frames may have come in before their owners could see that the writer sleeps.
            let sleeps = step == Step::NoSpace || !self.log.has_work();
            let timed_out = sleeps && self.sink.wait(woken, wait).await;
            self.log.writer_rises();
            if timed_out {
                self.idle().await?;
            }
        }
    }

    /// How long a writer with nothing to do sleeps if nobody wakes it.
    fn pause(&self, pauses: &Pauses) -> Duration {
        let order = self.order();
        match () {
            () if order.has_unsynced() => order.sync_interval(),
            () if order.owes_empty() => pauses.idle,
            () => Duration::MAX,
        }
    }
}

/// How long the writer waits before it does something by itself.
#[derive(Clone, Copy, Debug)]
pub struct Pauses {
    /// Before an empty block confirms the last commit of a log gone idle.
    pub idle: Duration,
    /// Before it looks for disk space again.
    pub no_space: Duration,
}
