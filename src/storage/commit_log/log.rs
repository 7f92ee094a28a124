//! The shared side of the commit log: reserve, fill, commit, and the durable position.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    SECTOR,
    block::BLOCK_HEADER,
    first_lap::{FirstLap, Mark},
    frame::frame_span,
    line::{Line, Turn},
    reservation::{Reservation, ReserveError},
    segment::Space,
    shard_signal::ShardSignal,
    spin::spin_until,
    tail::{Tail, TailReader},
};
use crate::{
    base::{Latency, Position},
    env::mirror::MirrorMemory,
};

/// Sizes of the log's moving parts, from `config`.
#[derive(Clone, Copy, Debug)]
pub struct LogLimits {
    /// Bytes at which a block closes; a larger frame gets a block of its own.
    pub block_bytes: u32,
    /// Bytes that may be reserved ahead of the durable position; at most half of the hot tail.
    pub inflight_bytes: u64,
    /// The longest payload a frame may have, in bytes.
    pub payload_bytes_max: u32,
}

/// A block that is being filled, or waits for the writer.
pub(super) struct Building {
    pub(super) start: Position,
    /// Bytes used so far, header included.
    pub(super) used: u32,
    pub(super) frames: u32,
    /// Reservations not yet committed.
    unfilled: Arc<AtomicU32>,
}

impl Building {
    fn new(start: Position) -> Self {
        Self { start, used: BLOCK_HEADER as u32, frames: 0, unfilled: Arc::default() }
    }

    /// Length on disk.
    pub(super) fn bytes(&self) -> u32 {
        self.used.next_multiple_of(SECTOR as u32)
    }

    pub(super) fn end(&self) -> Position {
        self.start.plus(u64::from(self.bytes()))
    }

    /// Waits until every reservation in the block is committed. Owners fill without awaiting, so
    /// this takes microseconds unless their thread lost its core.
    pub(super) fn wait_filled(&self) {
        spin_until(|| self.unfilled.load(Ordering::Acquire) == 0);
    }
}

/// [`Space`], as the housekeeper, the writer and the owners share it. Each limit is good by itself.
struct SharedSpace {
    data: AtomicU64,
    control: AtomicU64,
    large: AtomicU64,
}

impl Default for SharedSpace {
    fn default() -> Self {
        let unlimited = || AtomicU64::new(u64::MAX);
        Self { data: unlimited(), control: unlimited(), large: unlimited() }
    }
}

impl SharedSpace {
    fn set(&self, space: Space) {
        self.data.store(space.data, Ordering::Relaxed);
        self.control.store(space.control, Ordering::Relaxed);
        self.large.store(space.large, Ordering::Relaxed);
    }

    /// The position at which a frame may end at the latest.
    fn limit(&self, control: bool, large: bool) -> u64 {
        let limit = if control { &self.control } else { &self.data };
        let of_large = if large { self.large.load(Ordering::Relaxed) } else { u64::MAX };
        limit.load(Ordering::Relaxed).min(of_large)
    }
}

/// The commit log as all threads share it.
///
/// Owner shards call [`CommitLog::reserve`]; the writer takes closed blocks from it. The only lock
/// is held for the few instructions of a reservation.
pub struct CommitLog {
    limits: LogLimits,
    tail: Tail,
    mark: Mark,
    blocks: Mutex<VecDeque<Building>>,
    /// End of everything reserved, as of the last reservation.
    reserved: AtomicU64,
    durable: AtomicU64,
    /// End of what was answered, or may have been, ahead of the durable position.
    answered: AtomicU64,
    space: SharedSpace,
    line: Line,
    /// The writer waits for disk space.
    starved: AtomicBool,
    failure: OnceLock<String>,
    signals: OnceLock<Box<[Arc<ShardSignal>]>>,
    closing: AtomicBool,
    figures: Mutex<(Latency, u64)>,
    /// A writer sleeps that nobody has woken yet.
    writer_idle: AtomicBool,
    writers_resting: AtomicU32,
    writer_wake: flume::Sender<()>,
}

impl CommitLog {
    /// A log that continues at `start`, for `readers` shards. The receiver belongs to the writer.
    /// The hot tail is all of `memory`.
    pub fn new(
        limits: LogLimits,
        memory: MirrorMemory,
        start: Position,
        readers: usize,
    ) -> (Arc<Self>, flume::Receiver<()>) {
        let (tail, inflight) = (memory.capacity() as u64, limits.inflight_bytes);
        assert!(inflight * 2 <= tail, "unwritten blocks fit twice");
        assert!(inflight + u64::from(limits.block_bytes) <= tail);
        assert!(start.0.is_multiple_of(SECTOR as u64));
        let largest = BLOCK_HEADER + frame_span(limits.payload_bytes_max as usize) + SECTOR;
        assert!(largest <= memory.capacity(), "the largest frame fits into the tail");
        let (writer_wake, writer_woken) = flume::bounded(1);
        let log = Self {
            limits,
            tail: Tail::new(memory, readers, start),
            mark: Mark::default(),
            blocks: Mutex::new(VecDeque::from([Building::new(start)])),
            reserved: AtomicU64::new(start.0),
            durable: AtomicU64::new(start.0),
            answered: AtomicU64::new(0),
            space: SharedSpace::default(),
            line: Line::default(),
            starved: AtomicBool::new(false),
            failure: OnceLock::new(),
            signals: OnceLock::new(),
            closing: AtomicBool::new(false),
            figures: Mutex::default(),
            writer_idle: AtomicBool::new(false),
            writers_resting: AtomicU32::new(0),
            writer_wake,
        };
        (Arc::new(log), writer_woken)
    }

    /// The longest payload a frame may have, in bytes.
    #[must_use]
    pub fn payload_bytes_max(&self) -> usize {
        self.limits.payload_bytes_max as usize
    }

    /// Makes one signal per shard, once, before the writer starts.
    pub fn connect_shards(&self, count: usize) -> Vec<(Arc<ShardSignal>, flume::Receiver<()>)> {
        let (signals, receivers): (Vec<_>, Vec<_>) = (0..count)
            .map(|_| {
                let (wake, woken) = flume::bounded(1);
                (Arc::new(ShardSignal { armed: AtomicBool::new(false), wake }), woken)
            })
            .unzip();
        let set = self.signals.set(signals.clone().into_boxed_slice());
        assert!(set.is_ok(), "shards are connected once");
        signals.into_iter().zip(receivers).collect()
    }

    /// The way into the hot tail for shard number `slot`; one reader a slot.
    #[must_use]
    pub fn reader(self: &Arc<Self>, slot: usize) -> TailReader {
        TailReader::new(Arc::clone(self), slot)
    }

    /// What touches the hot tail's memory ahead of reservations; one a log.
    #[must_use]
    pub fn first_lap(self: &Arc<Self>) -> FirstLap {
        FirstLap::new(Arc::clone(self))
    }

    /// Waits until nobody has waited longer for room. What who waits wants is kept free of others'
    /// messages; drop the turn when the frame is in, or given up.
    pub async fn line_up(&self, payload_bytes: usize) -> Turn<'_> {
        let block = BLOCK_HEADER + frame_span(payload_bytes);
        self.line.wait(block.next_multiple_of(SECTOR) as u64).await
    }

    /// Reserves room for a frame with `payload_bytes` bytes. Until the reservation is committed or
    /// dropped the block it is in cannot be written: fill it without awaiting anything.
    ///
    /// # Errors
    /// See [`ReserveError`]. `control` says whether the frame may use the last of the disk, and one
    /// block more than may wait for it, so that it does not stand in line with messages.
    pub fn reserve(
        &self,
        payload_bytes: usize,
        control: bool,
    ) -> Result<Reservation<'_>, ReserveError> {
        let allowed = match control {
            true => self.limits.inflight_bytes + u64::from(self.limits.block_bytes),
            false => self.limits.inflight_bytes.saturating_sub(self.line.wanted()),
        };
        self.reserve_within(allowed, payload_bytes, control)
    }

    /// As [`CommitLog::reserve`], for a message whose turn it is.
    ///
    /// # Errors
    /// See [`ReserveError`].
    pub fn reserve_in_turn(
        &self,
        payload_bytes: usize,
        _turn: &Turn<'_>,
    ) -> Result<Reservation<'_>, ReserveError> {
        self.reserve_within(self.limits.inflight_bytes, payload_bytes, false)
    }

    fn reserve_within(
        &self,
        allowed: u64,
        payload_bytes: usize,
        control: bool,
    ) -> Result<Reservation<'_>, ReserveError> {
        let (start, unfilled) = self.place(allowed, frame_span(payload_bytes), 1, control)?;
        Ok(Reservation { log: self, start, payload_bytes, unfilled: Some(unfilled) })
    }

    /// Reserves room for several frames of messages, one behind the other in one block: a crash leaves
    /// all of them or none. Otherwise as [`CommitLog::reserve`], or as
    /// [`CommitLog::reserve_in_turn`].
    ///
    /// # Errors
    /// See [`ReserveError`].
    pub fn reserve_together(
        &self,
        payloads_bytes: &[usize],
        turn: Option<&Turn<'_>>,
    ) -> Result<Vec<Reservation<'_>>, ReserveError> {
        let wanted = if turn.is_some() { 0 } else { self.line.wanted() };
        let allowed = self.limits.inflight_bytes.saturating_sub(wanted);
        let span = payloads_bytes.iter().map(|bytes| frame_span(*bytes)).sum();
        let (mut at, unfilled) = self.place(allowed, span, payloads_bytes.len() as u32, false)?;
        let rooms = payloads_bytes.iter().map(|&payload_bytes| {
            let start = at;
            at = at.plus(frame_span(payload_bytes) as u64);
            Reservation { log: self, start, payload_bytes, unfilled: Some(Arc::clone(&unfilled)) }
        });
        Ok(rooms.collect())
    }

    /// Gives `frames` frames that take `span` bytes in all their place in the open block, or in a new
    /// one.
    fn place(
        &self,
        allowed: u64,
        span: usize,
        frames: u32,
        control: bool,
    ) -> Result<(Position, Arc<AtomicU32>), ReserveError> {
        if self.failure.get().is_some() {
            return Err(ReserveError::Stopped);
        }
        if span > frame_span(self.payload_bytes_max()) {
            return Err(ReserveError::TooLong);
        }
        let span = span as u32;
        let mut blocks = self.blocks.lock().expect("nobody panics while holding it");
        if self.closing() {
            return Err(ReserveError::Stopped);
        }
        let last = blocks.back_mut().expect("one block is always open");
        let fits = last.frames == 0 || last.used + span <= self.limits.block_bytes;
        let (start, used) =
            if fits { (last.start, last.used) } else { (last.end(), BLOCK_HEADER as u32) };
        let end = start.plus(u64::from((used + span).next_multiple_of(SECTOR as u32)));
        let large = BLOCK_HEADER as u32 + span > self.limits.block_bytes;
        if end.0 > self.space.limit(control, large) {
            return Err(ReserveError::DiskFull);
        }
        self.admit(end, allowed)?;
        if !fits {
            blocks.push_back(Building::new(start));
        }
        self.extend(end);
        let block = blocks.back_mut().expect("one block is always open");
        block.used += span;
        block.frames += frames;
        block.unfilled.fetch_add(frames, Ordering::Relaxed);
        Ok((start.plus(u64::from(used)), Arc::clone(&block.unfilled)))
    }

    /// Moves the end of what is reserved. Called by the holder of the lock.
    fn extend(&self, end: Position) {
        self.tail.make_room(end);
        self.reserved.store(end.0, Ordering::Relaxed);
        self.mark.pass(end);
    }

    fn admit(&self, end: Position, allowed: u64) -> Result<(), ReserveError> {
        // A frame larger than the whole allowance is let in alone, unless others wait.
        let ahead = end.0 - self.durable.load(Ordering::Acquire);
        let alone = self.reserved.load(Ordering::Relaxed) == self.durable.load(Ordering::Relaxed);
        if ahead > allowed && (!alone || allowed < self.limits.inflight_bytes) {
            return Err(ReserveError::Busy);
        }
        Ok(())
    }

    /// Everything before this position is durable.
    #[must_use]
    pub fn durable(&self) -> Position {
        Position(self.durable.load(Ordering::Acquire))
    }

    /// End of everything reserved so far.
    #[must_use]
    pub fn reserved(&self) -> Position {
        Position(self.reserved.load(Ordering::Relaxed))
    }

    /// Whether `position` lies no further from the log's end than the hot tail reaches, though it may
    /// not be in it: the tail is empty after a start.
    #[must_use]
    pub fn is_recent(&self, position: Position) -> bool {
        self.reserved().0.saturating_sub(position.0) <= self.tail.capacity()
    }

    /// Why the log has stopped, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// True while sends are refused for want of disk space.
    #[must_use]
    pub fn disk_full(&self) -> bool {
        self.reserved().0 + u64::from(self.limits.block_bytes) > self.space.limit(false, false)
    }

    /// Says what the disk has room for.
    pub fn set_space(&self, space: Space) {
        self.space.set(space);
    }

    /// True while the writer waits for disk space: what is reserved may not become durable soon.
    #[must_use]
    pub fn starved(&self) -> bool {
        self.starved.load(Ordering::Relaxed)
    }

    pub(super) fn set_starved(&self, starved: bool) {
        self.starved.store(starved, Ordering::Relaxed);
    }

    /// Notes that everything before `end` is answered without waiting for the disk.
    pub fn answer_ahead(&self, end: Position) {
        self.answered.fetch_max(end.0, Ordering::Relaxed);
    }

    /// End of what was answered, or may have been, ahead of the durable position.
    pub(crate) fn answered(&self) -> Position {
        Position(self.answered.load(Ordering::Relaxed))
    }

    /// Stops the log for good: nothing is reserved, written or acknowledged any more.
    pub fn stop(&self, reason: String) {
        let _ = self.failure.set(reason);
        self.fire_signals();
        self.mark.rouse();
    }

    /// Refuses every further reservation and lets the writers end once they have written everything.
    pub fn close(&self) {
        let blocks = self.blocks.lock().expect("nobody panics while holding it");
        self.closing.store(true, Ordering::SeqCst);
        drop(blocks);
        self.rouse_writer();
        self.mark.rouse();
    }

    /// Wakes a writer, whether one sleeps or is about to.
    pub(super) fn rouse_writer(&self) {
        // A full channel holds a wake-up already.
        let _ = self.writer_wake.try_send(());
    }

    /// True after [`CommitLog::close`].
    #[must_use]
    pub fn closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Durations of the writes so far, and the bytes written.
    #[must_use]
    pub fn figures(&self) -> (Latency, u64) {
        self.figures.lock().expect("nobody panics while holding it").clone()
    }

    pub(super) fn count_write(&self, duration: Duration, bytes: u64) {
        let mut figures = self.figures.lock().expect("nobody panics while holding it");
        figures.0.record(duration);
        figures.1 += bytes;
    }

    pub(super) fn tail(&self) -> &Tail {
        &self.tail
    }

    pub(super) fn mark(&self) -> &Mark {
        &self.mark
    }

    /// Takes the oldest blocks with frames in them, closing the open one if it is among them, up
    /// to `bytes_max` (but at least one). Empty when there is nothing to write.
    pub(super) fn take_blocks(&self, bytes_max: u64, taken: &mut Vec<Building>) {
        let mut blocks = self.blocks.lock().expect("nobody panics while holding it");
        let mut bytes = 0;
        while let Some(first) = blocks.front() {
            bytes += u64::from(first.bytes());
            if first.frames == 0 || (!taken.is_empty() && bytes > bytes_max) {
                break;
            }
            let block = blocks.pop_front().expect("there is a first one");
            if blocks.is_empty() {
                blocks.push_back(Building::new(block.end()));
            }
            taken.push(block);
        }
    }

    /// Takes an empty block for an idle log to write, unless a frame has come in.
    pub(super) fn take_empty_block(&self) -> Option<Building> {
        let mut blocks = self.blocks.lock().expect("nobody panics while holding it");
        if blocks.front()?.frames > 0 {
            return None;
        }
        let block = blocks.pop_front()?;
        self.extend(block.end());
        blocks.push_back(Building::new(block.end()));
        Some(block)
    }

    /// True if a block has frames in it.
    pub(super) fn has_work(&self) -> bool {
        let blocks = self.blocks.lock().expect("nobody panics while holding it");
        blocks.front().is_some_and(|block| block.frames > 0)
    }

    pub(super) fn set_durable(&self, position: Position) {
        debug_assert!(self.durable() <= position);
        self.durable.store(position.0, Ordering::SeqCst);
        self.fire_signals();
    }

    fn fire_signals(&self) {
        self.signals.get().into_iter().flatten().for_each(|signal| signal.fire());
    }

    /// A writer announces that it will sleep unless there is work; it must look once more.
    pub(super) fn writer_rests(&self) {
        self.writers_resting.fetch_add(1, Ordering::SeqCst);
        self.writer_idle.store(true, Ordering::SeqCst);
    }

    /// A writer no longer sleeps. Other ones may: they are to be woken for what it leaves behind. That
    /// nobody sleeps is not noted: somebody may have begun to meanwhile.
    pub(super) fn writer_rises(&self) {
        if self.writers_resting.fetch_sub(1, Ordering::SeqCst) > 1 {
            self.writer_idle.store(true, Ordering::SeqCst);
        }
    }

    /// Wakes a writer, if one sleeps.
    pub fn wake_writer(&self) {
        if self.writer_idle.load(Ordering::SeqCst) && self.writer_idle.swap(false, Ordering::SeqCst)
        {
            self.rouse_writer();
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
