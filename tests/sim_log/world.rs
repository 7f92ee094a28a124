//! One simulated machine: a disk, a clock, and the log in between its crashes.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use futures_lite::future::block_on;
use mainstem::{
    base::{Position, QueueId, checksum},
    env::{
        Clock, Disk,
        mirror::{MirrorMemory, Pages},
        simulated::{SimulatedClock, SimulatedDisk},
    },
    storage::commit_log::{
        CommitLog, LogLimits, Reservation, ReserveError, Step, TailReader, Writer, WriterOptions,
        frame::{FrameKind, FrameMeta},
        recovery::{FoundFrame, Recovered, RecoveryError, recover},
        segment::{NoPace, PoolLimits, SegmentPool, Segments},
    },
};

use crate::{
    dice::Dice,
    model::{Border, Found, Model, ModelFrame},
    overlap::HeldSink,
};

pub const LOG_ID: u64 = 0x6d61_696e_7374_656d;
pub const BLOCK_BYTES: u32 = 8 << 10;
pub const SEGMENT_BYTES: u64 = 64 << 10;
const TAIL_BYTES: u64 = 256 << 10;
/// A frame this long fills a segment to the last sector.
const PAYLOAD_BYTES_MAX: u32 = (SEGMENT_BYTES - 96 - 40) as u32;

pub fn log_dir() -> PathBuf {
    PathBuf::from("/data/log")
}

/// How this machine's log is set up.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Zero: every write is durable.
    pub sync_interval: Duration,
    /// Files kept ready beside the one held back.
    pub ready_target: usize,
    /// Files are zero-filled ahead; else the writer allocates them.
    pub zero_fill: bool,
    pub write_bytes_max: u64,
    pub segment_frames_max: u64,
    pub inflight_bytes: u64,
}

impl Setup {
    pub fn roll(dice: &mut Dice) -> Self {
        let interval = dice.once_in(3);
        Self {
            sync_interval: Duration::from_millis(if interval { 10 } else { 0 }),
            ready_target: dice.below(3) as usize,
            zero_fill: !dice.once_in(4),
            write_bytes_max: u64::from(BLOCK_BYTES) * [1, 2, 4][dice.below(3) as usize],
            segment_frames_max: [20, u64::MAX][dice.below(2) as usize],
            inflight_bytes: [SEGMENT_BYTES, TAIL_BYTES / 2][dice.below(2) as usize],
        }
    }
}

/// The log while it runs.
pub struct Live {
    pub log: Arc<CommitLog>,
    pub writer: Writer<HeldSink>,
    /// Writes at the same time, where each write is durable by itself.
    pub beside: Option<Writer<HeldSink>>,
    /// What holds the writers' writes.
    pub holds: [Rc<Cell<bool>>; 2],
    pub pool: Arc<SegmentPool>,
    pub segments: Arc<Segments>,
    tail: TailReader,
    /// A write or sync failed.
    pub stopped: bool,
}

pub struct World {
    pub dice: Dice,
    pub disk: SimulatedDisk,
    pub clock: Arc<SimulatedClock>,
    pub setup: Setup,
    pub model: Model,
    /// The disk was told to fail.
    pub armed: bool,
    /// The disk was made small.
    pub limited: bool,
    /// What happened in this course of events.
    pub seen: BTreeSet<&'static str>,
}

fn is_full(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

impl World {
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let disk = SimulatedDisk::default();
        disk.create_dir(&log_dir()).unwrap();
        let setup = Setup::roll(&mut dice);
        let clock = Arc::new(SimulatedClock::new(1_700_000_000_000));
        let model = Model::default();
        Self {
            dice,
            disk,
            clock,
            setup,
            model,
            armed: false,
            limited: false,
            seen: BTreeSet::new(),
        }
    }

    /// Opens the log, with as many power cuts on the way as the disk was told to have.
    pub fn start(&mut self) -> Live {
        loop {
            match self.try_start() {
                Ok(live) => return live,
                Err(error) if is_full(&error) && self.limited => self.unlimit(),
                Err(error) => {
                    assert!(self.armed, "the log does not open: {error}");
                    self.power_cut();
                }
            }
        }
    }

    pub fn saw(&mut self, event: &'static str, happened: bool) {
        if happened {
            self.seen.insert(event);
        }
    }

    pub fn power_cut(&mut self) {
        let seed = self.dice.roll();
        self.disk = self.disk.power_cut(seed);
        self.armed = false;
    }

    pub fn unlimit(&mut self) {
        self.disk.set_capacity(u64::MAX);
        self.limited = false;
    }

    /// Reads the log from `from` on.
    pub fn recover(
        &self,
        from: Option<Position>,
    ) -> Result<(Recovered, Vec<Found>), RecoveryError> {
        let mut found = Vec::new();
        let mut visit = |frame: FoundFrame<'_>| {
            found.push(Found::from(frame));
            Ok(())
        };
        let durable = self.model.checkpoint.position;
        let recovered = recover(&self.disk, &log_dir(), LOG_ID, from, durable, &mut visit)?;
        Ok((recovered, found))
    }

    fn try_start(&mut self) -> io::Result<Live> {
        let from = self.model.checkpoint.position;
        let (mut recovered, found) = match self.recover(Some(from)) {
            Ok(found) => found,
            Err(RecoveryError::Disk { source, .. }) => return Err(source),
            Err(error) => panic!("{error}"),
        };
        self.model.check(&recovered, &found);
        self.saw("a torn tail", recovered.torn.is_some());
        self.saw("lost frames", recovered.frames < self.model.frames.len() as u64);
        let kept_anyway = recovered.frames > self.model.acknowledged() as u64;
        self.saw("frames kept that were not acknowledged", kept_anyway);
        let last = recovered.segments.last().map_or(0, |last| last.sequence);
        self.saw("a segment that was only begun", recovered.next_sequence > last + 1);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let pool = self.open_pool(&disk, &mut recovered)?;
        self.saw("a start without a segment", pool.is_empty());
        let segments = Arc::<Segments>::default();
        recovered.segments.drain(..).for_each(|segment| segments.push(segment));
        self.model.accept(&recovered);
        let limits = LogLimits {
            block_bytes: BLOCK_BYTES,
            inflight_bytes: self.setup.inflight_bytes,
            payload_bytes_max: PAYLOAD_BYTES_MAX,
        };
        let memory = MirrorMemory::new(TAIL_BYTES as usize, Pages::Common).unwrap();
        let (log, _woken) = CommitLog::new(limits, memory, recovered.end, 1);
        log.set_space(pool.space());
        let options = WriterOptions {
            log_id: LOG_ID,
            next_sequence: recovered.next_sequence,
            frames: recovered.frames,
            blocks: recovered.blocks,
            previous: recovered.previous,
            sync_interval: self.setup.sync_interval,
            write_bytes_max: self.setup.write_bytes_max,
            segment_frames_max: self.setup.segment_frames_max,
        };
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let holds = [(); 2].map(|()| Rc::new(Cell::new(false)));
        let sink = HeldSink::new(&disk, &holds[0]);
        let writer = Writer::new(
            Arc::clone(&log),
            sink,
            Arc::clone(&pool),
            Arc::clone(&segments),
            clock,
            options,
        );
        let beside = || writer.beside(HeldSink::new(&disk, &holds[1]));
        let beside = options.sync_interval.is_zero().then(beside);
        let tail = log.reader(0);
        Ok(Live { log, writer, beside, holds, pool, segments, tail, stopped: false })
    }

    fn open_pool(
        &self,
        disk: &Arc<dyn Disk>,
        recovered: &mut Recovered,
    ) -> io::Result<Arc<SegmentPool>> {
        let limits = PoolLimits {
            segment_bytes: SEGMENT_BYTES,
            ready_target: self.setup.ready_target,
            slack_bytes: u64::from(BLOCK_BYTES) * 2,
            reserve_bytes: 0,
        };
        let pool = SegmentPool::new(Arc::clone(disk), &log_dir(), limits, recovered.end);
        recovered.settle(&**disk)?;
        for path in recovered.unused.drain(..) {
            pool.adopt(&path)?;
        }
        if pool.is_empty() {
            match pool.prepare(SEGMENT_BYTES, 0, &NoPace(&*self.clock)) {
                Err(error) if is_full(&error) => {}
                result => result?,
            }
        }
        Ok(Arc::new(pool))
    }

    /// Reserves, fills and commits a few frames, in an order of its own; gives some up.
    pub fn append(&mut self, log: &CommitLog) {
        let stopped = log.failure().is_some();
        let mut reserved: Vec<(usize, Reservation<'_>)> = Vec::new();
        for _ in 0..=self.dice.below(4) {
            let control = self.dice.once_in(4);
            let bytes = self.payload_bytes();
            match log.reserve(bytes, control) {
                Ok(reservation) => {
                    assert!(!stopped);
                    reserved.push((self.model.frames.len(), reservation));
                    self.model.frames.push(ModelFrame::given_up(bytes));
                }
                Err(ReserveError::Busy) => {
                    self.saw("a busy log", true);
                    assert!(log.reserved() > log.durable());
                }
                Err(ReserveError::DiskFull) => self.saw("a full disk", true),
                Err(ReserveError::TooLong) => assert!(bytes > PAYLOAD_BYTES_MAX as usize),
                Err(ReserveError::Stopped) => assert!(stopped, "it was not"),
            }
        }
        self.dice.shuffle(&mut reserved);
        for (number, mut reservation) in reserved {
            if self.dice.once_in(10) {
                self.saw("a reservation given up", true);
                continue;
            }
            let (meta, payload) = self.content(self.model.frames[number].payload.len());
            reservation.payload().copy_from_slice(&payload);
            let appended = reservation.commit(&meta);
            self.model.frames[number] = ModelFrame {
                payload_at: Some(appended.payload),
                end: Some(appended.end),
                meta,
                payload,
            };
        }
    }

    fn payload_bytes(&mut self) -> usize {
        let block = u64::from(BLOCK_BYTES);
        let max = u64::from(PAYLOAD_BYTES_MAX);
        let bytes = match self.dice.below(40) {
            0..24 => self.dice.below(600),
            24..34 => self.dice.below(block),
            34..37 => block + self.dice.below(2 * block),
            // Close to a segment's size, and sometimes more than fits.
            37 => max - self.dice.below(200),
            38 => max + self.dice.below(2),
            _ => 0,
        };
        bytes as usize
    }

    fn content(&mut self, bytes: usize) -> (FrameMeta, Vec<u8>) {
        let mut payload = vec![0; bytes];
        self.dice.fill(&mut payload);
        let kinds = [FrameKind::RocketMessage, FrameKind::Group, FrameKind::Cluster];
        let mut kind = kinds[self.dice.below(3) as usize];
        if bytes >= 61 && self.dice.once_in(2) {
            kind = FrameKind::KafkaBatch;
            let sum = checksum::crc32c(&payload[21..]).to_be_bytes();
            payload[17..21].copy_from_slice(&sum);
        }
        let meta = FrameMeta {
            kind,
            queue: QueueId(self.dice.below(9) as u32),
            base_offset: self.dice.below(1 << 40) as i64,
            count: self.dice.below(500) as u32,
            tag_hash: self.dice.roll() as u32,
            append_time_ms: self.clock.wall_ms(),
        };
        (meta, payload)
    }

    /// One step of the writer, and what must hold after it.
    pub fn step(&mut self, live: &mut Live) -> Option<Step> {
        let before = live.log.durable();
        let result = block_on(live.writer.step());
        self.after_write(live, before, result)
    }

    pub fn after_write<T>(
        &mut self,
        live: &mut Live,
        before: Position,
        result: io::Result<T>,
    ) -> Option<T> {
        let durable = live.log.durable();
        assert!(before <= durable && durable <= live.log.reserved());
        self.model.durable = durable;
        match result {
            Ok(done) => {
                assert!(!live.stopped, "the log went on after a failure");
                Some(done)
            }
            Err(error) => {
                assert!(self.armed || live.stopped, "nothing was to fail: {error}");
                live.stopped = true;
                self.saw("a stopped log", true);
                self.model.in_flight = true;
                assert!(live.log.failure().is_some());
                let moved = live.log.durable() > before;
                assert!(!moved || !self.setup.sync_interval.is_zero(), "acknowledged a failure");
                assert_eq!(live.log.reserve(10, true).err(), Some(ReserveError::Stopped));
                None
            }
        }
    }

    /// Writes all there is; false if the disk is full or has failed.
    pub fn drain(&mut self, live: &mut Live) -> bool {
        for _ in 0..1000 {
            match self.step(live) {
                Some(Step::Wrote(bytes)) => assert!(bytes > 0),
                Some(Step::Idle) => {
                    let before = live.log.durable();
                    let result = block_on(live.writer.finish());
                    if self.after_write(live, before, result).is_none() {
                        return false;
                    }
                    assert_eq!(live.log.durable(), live.log.reserved());
                    return true;
                }
                Some(Step::NoSpace) => {
                    self.saw("a writer without space", true);
                    return false;
                }
                None => return false,
            }
        }
        panic!("the writer does not come to an end");
    }

    /// What the housekeeper does for the pool.
    pub fn housekeep(&mut self, live: &mut Live) {
        let made = if self.setup.zero_fill && live.pool.wants_more() {
            live.pool.prepare(SEGMENT_BYTES, 0, &NoPace(&*self.clock))
        } else {
            live.pool.look_for_space().map(drop)
        };
        self.pool_result(made);
        live.writer.report_space();
    }

    fn pool_result<T>(&self, result: io::Result<T>) {
        if let Err(error) = result {
            assert!(self.armed || self.limited && is_full(&error), "{error}");
        }
    }

    /// Lets a restart replay from the log's end, where that is durable.
    pub fn checkpoint(&mut self, live: &Live) {
        if live.log.durable() == live.log.reserved() && !live.stopped {
            self.model.checkpoint =
                Border { position: live.log.durable(), frames: self.model.frames.len() };
        }
    }

    /// Drops the oldest segment, if a restart does not need it.
    pub fn drop_oldest(&mut self, live: &Live) {
        let segments = live.segments.all();
        let [_, second, ..] = segments.as_slice() else { return };
        if second.base > self.model.checkpoint.position {
            return;
        }
        drop(segments);
        let oldest = live.segments.pop_oldest().expect("there are two");
        live.pool.owe(oldest);
        let recycled = live.pool.recycle(|_| ());
        self.saw("a recycled file", matches!(recycled, Ok(0)));
        self.saw("a removed file", matches!(recycled, Ok(1..)));
        self.pool_result(recycled);
        live.writer.report_space();
    }

    /// Reads a frame from the hot tail, if it is still there.
    pub fn read_tail(&mut self, live: &Live) {
        let Some(last) = self.model.frames.len().checked_sub(1) else { return };
        let back = self.dice.below(20).min(last as u64) as usize;
        let frame = &self.model.frames[last - back];
        let Some(at) = frame.payload_at else { return };
        let same = live.tail.with(at, |view| view.slice(at, frame.payload.len()) == frame.payload);
        assert_ne!(same, Some(false), "the tail shows other bytes at {at}");
        let in_flight = frame.end.is_some_and(|end| end > live.log.durable());
        assert!(same.is_some() || !in_flight, "the tail lost what only it has");
        self.saw("a frame that left the tail", same.is_none());
    }

    /// Makes the disk fail soon, in one way or another.
    pub fn arm(&mut self) {
        self.armed = true;
        let soon = 1 + self.dice.below(12);
        match self.dice.below(6) {
            0 => self.disk.fail_write(".segment", soon),
            1 => self.disk.fail_sync(".segment", soon),
            2 => self.disk.fail_sync("/data/log", soon),
            _ => self.disk.die_after(soon),
        }
    }

    /// Makes the disk full, or nearly.
    pub fn limit(&mut self) {
        let free = self.disk.volume(Path::new("/data/log")).map_or(0, |volume| volume.free_bytes);
        let used = u64::MAX - free;
        let spare = self.dice.below(3 * SEGMENT_BYTES);
        if !self.limited {
            self.disk.set_capacity(used.saturating_add(spare));
            self.limited = true;
        }
    }
}
