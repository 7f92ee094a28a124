//! The writer: closes blocks when the disk is free and makes them durable.

use std::{io, path::Path, sync::Arc, time::Duration};

use super::{
    block::{BlockHeader, seal_block},
    log::{Building, CommitLog},
    segment::{Segment, SegmentPool, Segments},
};
use crate::{
    base::{Position, Term},
    env::{BlockSink, Clock, Disk, File, OpenMode},
};

/// Blocking writes past the page cache (`pwritev2` with RWF_DSYNC), for a thread of its own.
pub struct FileSink {
    disk: Arc<dyn Disk>,
    file: Option<Arc<dyn File>>,
}

impl FileSink {
    /// A sink for files of `disk`.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, file: None }
    }

    fn file(&self) -> &dyn File {
        self.file.as_deref().expect("a segment is open")
    }
}

impl BlockSink for FileSink {
    async fn open(&mut self, path: &Path) -> io::Result<()> {
        self.file = Some(self.disk.open(path, OpenMode::WriteDirect)?);
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8], offset: u64, durable: bool) -> io::Result<()> {
        if durable {
            self.file().write_durable(bytes, offset)
        } else {
            self.file().write_at(bytes, offset)
        }
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file().sync()
    }

    async fn wait(&self, woken: &flume::Receiver<()>, wait: Duration) -> bool {
        if wait == Duration::MAX {
            woken.recv().is_err()
        } else {
            woken.recv_timeout(wait).is_err()
        }
    }
}

/// Where the log continues, and how.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// The log's random id.
    pub log_id: u64,
    /// Sequence number of the next segment.
    pub next_sequence: u64,
    /// Frames already in the log.
    pub frames: u64,
    /// Blocks already in the log.
    pub blocks: u64,
    /// Envelope checksum of the last kept block, 0 if there is none.
    pub previous: u32,
    /// Zero: each write is durable. Otherwise writes are made durable together, so often.
    pub sync_interval: Duration,
    /// Bytes written at once at most (at least one block).
    pub write_bytes_max: u64,
    /// Frames after which a segment ends early; bounds the memory of its index.
    pub segment_frames_max: u64,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wrote so many bytes.
    Wrote(u64),
    /// There was nothing to write.
    Idle,
    /// Nothing could be written for want of disk space; try again later.
    NoSpace,
}

struct Current {
    sequence: u64,
    base: Position,
    bytes: u64,
    /// Frames in the log before its first block.
    frames_before: u64,
}

/// The one writer of a log. Lives on the writer thread.
pub struct Writer<S> {
    log: Arc<CommitLog>,
    sink: S,
    pool: Arc<SegmentPool>,
    segments: Arc<Segments>,
    clock: Arc<dyn Clock>,
    options: WriterOptions,
    current: Option<Current>,
    /// The segment being written, until something in it is durable.
    opened: Option<Segment>,
    taken: Vec<Building>,
    /// End of what was written but, in interval mode, not yet synced.
    written: Position,
    synced_at: Duration,
    /// The last block written had frames in it, so an idle log still owes an empty one.
    owes_empty: bool,
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
        let written = log.durable();
        let synced_at = clock.monotonic();
        Self {
            log,
            sink,
            pool,
            segments,
            clock,
            options,
            current: None,
            opened: None,
            taken: Vec::new(),
            written,
            synced_at,
            owes_empty: true,
        }
    }

    /// Writes what there is to write, once.
    ///
    /// # Errors
    /// A failed write or sync. The log has then stopped for good and this must not be called again.
    pub async fn step(&mut self) -> io::Result<Step> {
        let result = self.try_step().await;
        if let Err(error) = &result {
            self.log.stop(format!("writing the log failed: {error}"));
        }
        result
    }

    async fn try_step(&mut self) -> io::Result<Step> {
        self.check_running()?;
        if self.taken.is_empty() {
            self.log.take_blocks(self.options.write_bytes_max, &mut self.taken);
        }
        if self.taken.is_empty() {
            self.sync_if_due(false).await?;
            return Ok(Step::Idle);
        }
        let step = self.write_taken().await?;
        self.log.set_starved(step == Step::NoSpace);
        self.sync_if_due(false).await?;
        Ok(step)
    }

    /// Nothing is written or acknowledged once the log has stopped, whoever stopped it.
    fn check_running(&self) -> io::Result<()> {
        self.log.failure().map_or(Ok(()), |failure| Err(io::Error::other(failure.to_owned())))
    }

    /// Writes one empty block, if the last one was not empty: so everything before it is known to
    /// have been durable, whatever happens to the file's end later.
    ///
    /// # Errors
    /// As [`Writer::step`].
    pub async fn idle(&mut self) -> io::Result<()> {
        self.check_running()?;
        if !self.owes_empty || !self.taken.is_empty() || self.written != self.log.durable() {
            return Ok(());
        }
        let Some(block) = self.log.take_empty_block() else { return Ok(()) };
        self.taken.push(block);
        self.step().await.map(drop)
    }

    /// Makes everything written durable now.
    ///
    /// # Errors
    /// As [`Writer::step`].
    pub async fn finish(&mut self) -> io::Result<()> {
        self.check_running()?;
        let result = self.sync_if_due(true).await;
        if let Err(error) = &result {
            self.log.stop(format!("syncing the log failed: {error}"));
        }
        result
    }

    async fn write_taken(&mut self) -> io::Result<Step> {
        let first_bytes = u64::from(self.taken[0].bytes());
        let start = self.taken[0].start;
        let room = self.current.as_ref().map_or(0, |c| c.base.plus(c.bytes).0 - start.0);
        let too_small = room < first_bytes;
        // On a full disk what frames were let in for counts on all of the segment.
        if too_small || self.has_many_frames() && !self.pool.is_full() {
            match self.roll(start, first_bytes, too_small).await {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    self.report_space();
                    if too_small {
                        return Ok(Step::NoSpace);
                    }
                }
                result => result?,
            }
        }
        let current = self.current.as_ref().expect("a segment is open");
        let segment_end = current.base.plus(current.bytes);
        let count = self.taken.iter().take_while(|block| block.end() <= segment_end).count();
        let (sequence, base) = (current.sequence, current.base);
        self.seal(count, sequence);
        let end = self.taken[count - 1].end();
        let length = end.since(start) as usize;
        // SAFETY: the blocks are filled and were taken out of the owners' reach; the ring keeps
        // them until they are durable, and its memory is mirrored, so they are contiguous.
        let bytes = unsafe { std::slice::from_raw_parts(self.log.tail().at(start), length) };
        let durable = self.options.sync_interval.is_zero();
        let began = self.clock.monotonic();
        self.sink.write(bytes, start.since(base), durable).await?;
        self.log.count_write(self.clock.monotonic().saturating_sub(began), length as u64);
        self.taken.drain(..count);
        self.written = end;
        if durable {
            self.acknowledge(end);
        }
        Ok(Step::Wrote(length as u64))
    }

    /// The segment's index has become large enough.
    fn has_many_frames(&self) -> bool {
        let frames = |current: &Current| self.options.frames - current.frames_before;
        self.current.as_ref().is_some_and(|c| frames(c) >= self.options.segment_frames_max)
    }

    /// Puts the headers in front of the first `count` taken blocks.
    fn seal(&mut self, count: usize, sequence: u64) {
        let durable_through = self.log.durable();
        for block in &self.taken[..count] {
            block.wait_filled();
            let header = BlockHeader {
                log_id: self.options.log_id,
                segment: sequence,
                position: block.start,
                durable_through,
                frames_before: self.options.frames,
                block_bytes: block.bytes(),
                previous: self.options.previous,
                term: Term(0),
                index: self.options.blocks,
                frame_count: block.frames,
                frames_bytes: block.used - super::block::BLOCK_HEADER as u32,
            };
            // SAFETY: as in `write_taken`; nothing else points into these bytes but readers, and
            // those only read frames, not headers or padding.
            let bytes = unsafe {
                std::slice::from_raw_parts_mut(
                    self.log.tail().at(block.start),
                    block.bytes() as usize,
                )
            };
            bytes[block.used as usize..].fill(0);
            self.options.previous = seal_block(bytes, &header);
            self.options.frames += u64::from(block.frames);
            self.options.blocks += 1;
            self.owes_empty = block.frames > 0;
        }
    }

    async fn roll(&mut self, base: Position, bytes_min: u64, must: bool) -> io::Result<()> {
        self.sync_if_due(true).await?;
        let sequence = self.options.next_sequence;
        let segment = self.pool.take(sequence, base, bytes_min, must)?;
        self.options.next_sequence += 1;
        self.sink.open(&segment.path).await?;
        self.current = Some(Current {
            sequence,
            base,
            bytes: segment.file_bytes,
            frames_before: self.options.frames,
        });
        assert!(self.opened.is_none(), "a segment is left only after its last sync");
        self.opened = Some(segment);
        self.report_space();
        Ok(())
    }

    /// Moves the durable position. A segment is shown to others only now that a block in it is
    /// durable: whoever drops the ones before it leaves something that recovery can go on from.
    fn acknowledge(&mut self, end: Position) {
        self.opened.take().into_iter().for_each(|segment| self.segments.push(segment));
        self.log.set_durable(end);
    }

    /// Tells the log what the disk has room for.
    pub fn report_space(&self) {
        self.log.set_space(self.pool.space());
    }

    async fn sync_if_due(&mut self, now: bool) -> io::Result<()> {
        if self.written == self.log.durable() {
            return Ok(());
        }
        let time = self.clock.monotonic();
        if now || time.saturating_sub(self.synced_at) >= self.options.sync_interval {
            self.sink.sync().await?;
            self.synced_at = time;
            self.acknowledge(self.written);
        }
        Ok(())
    }

    /// Makes everything durable, and lets an empty block say so: what a clean stop left behind is
    /// never taken for a torn tail.
    async fn end(&mut self) -> io::Result<()> {
        self.finish().await?;
        self.idle().await?;
        if self.taken.is_empty() { self.finish().await } else { self.give_up() }
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

    /// Runs on a thread of its own until the log is closed and written out, or has stopped.
    pub async fn run(&mut self, woken: &flume::Receiver<()>, pauses: Pauses) -> io::Result<()> {
        // After a crash this makes the cut known; on an idle log nothing else would.
        self.idle().await?;
        loop {
            let step = self.step().await?;
            let wait = match step {
                Step::Wrote(_) => continue,
                Step::NoSpace if self.log.closing() => return self.give_up(),
                Step::NoSpace => pauses.no_space,
                Step::Idle if self.log.closing() => return self.end().await,
                Step::Idle if self.written != self.log.durable() => self.options.sync_interval,
                Step::Idle if self.owes_empty => pauses.idle,
                Step::Idle => Duration::MAX,
            };
            self.log.writer_idles(true);
            // Frames may have come in before their owners could see that the writer sleeps.
            let sleeps = step == Step::NoSpace || !self.log.has_work();
            let timed_out = sleeps && self.sink.wait(woken, wait).await;
            self.log.writer_idles(false);
            if timed_out {
                self.idle().await?;
            }
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
