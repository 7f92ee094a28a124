//! A broker's life: everything it is made of, started in order and stopped in order.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::{
    ServerError,
    acceptor::{Acceptor, Places},
    allocator,
    busiest::Busiest,
    check,
    data_dir::DataDir,
    housekeeper::{Housekeeper, HousekeeperFigures, HousekeeperHandle, HousekeeperSettings},
    known_state::KnownState,
    listeners::{Addresses, Listeners},
    loss_window,
    metrics::Metrics,
    open_files,
    registrar::Registrar,
    shard::ShardMain,
    start::{Restored, restore},
    tail_toucher::TailToucher,
    writers::{LogWriters, Writing},
};
use crate::{
    admin::{self, AdminServer},
    base::ShardId,
    broker::{
        BrokerSettings, Mailboxes, ShardState, Shared, Start, TimerSettings, group::GroupSettings,
    },
    config::{Config, Flush, LogWriter, Placement, WRITE_BLOCKS, delay_levels},
    env::{
        Clock, Disk, Env, Random,
        blocking::{BlockingDisk, SystemClock, SystemRandom},
        glommio::{ShardHandle, ShardOptions, start_shard},
        mirror::{HUGE_PAGE, MirrorMemory, Pages},
    },
    gateway::{
        RequestMemory,
        kafka::{FetchSessionMemory, KafkaSettings, Node},
        rocketmq::RocketMqSettings,
    },
    storage::{
        commit_log::{CommitLog, LogLimits, WriterOptions},
        queue_index::QueueIndex,
    },
};

/// Memory each shard uses for pages of index files.
const INDEX_CACHE_BYTES: usize = 8 << 20;

/// The machine, as this process uses it.
struct Machine {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
}

/// A broker that runs.
pub struct Running {
    log: Arc<CommitLog>,
    acceptors: Vec<Acceptor>,
    admin: Option<AdminServer>,
    registrar: Option<Registrar>,
    housekeeper: HousekeeperHandle,
    writers: LogWriters,
    toucher: TailToucher,
    shards: Vec<ShardHandle>,
    stop_shards: Vec<flume::Sender<flume::Sender<()>>>,
    ready: Arc<AtomicBool>,
    addresses: Addresses,
    signals: Signals,
    _data: DataDir,
}

/// Starts everything; when it returns, listeners accept.
///
/// # Errors
/// What kept it from starting.
pub fn start(config: &Config) -> Result<Running, ServerError> {
    // Before anything else, so that a stop during a long start is not lost.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(ServerError::Start)?;
    allocator::keep_freed_memory();
    let machine = Machine {
        disk: Arc::new(BlockingDisk),
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(SystemRandom),
    };
    let placement = config.placement(&check::available_cores()).map_err(ServerError::Placement)?;
    let connections = open_files::connections(config, placement.shards.len())?;
    let data = DataDir::open(&config.data_dir, &*machine.disk, &*machine.random)?;
    let listeners = Listeners::open(config)?;
    let restored = restore(
        config,
        &data,
        &machine.disk,
        &*machine.clock,
        listeners.addresses.kafka,
        placement.shards.len(),
    )?;
    if let Some(shard) = restored.shards.first() {
        loss_window::tell(config, &shard.cluster);
    }
    Launch { config, machine, data, placement, listeners, connections }.run(restored, signals)
}

struct Launch<'a> {
    config: &'a Config,
    machine: Machine,
    data: DataDir,
    placement: Placement,
    listeners: Listeners,
    /// How many clients may be connected at a time.
    connections: usize,
}

impl Launch<'_> {
    fn run(self, restored: Restored, signals: Signals) -> Result<Running, ServerError> {
        let failed = ServerError::Start;
        let Restored { recovered, segments, pool, runs, keys, shards, checkpoints, damage } =
            restored;
        let count = shards.len();
        let memory = self.tail_memory().map_err(failed)?;
        // One reader for each shard, and the housekeeper.
        let readers = count + 1;
        let (log, woken) = CommitLog::new(self.limits(), memory, recovered.end, readers);
        let holes = damage.as_ref().map_or(0, |damage| damage.holes.len());
        if let Some(damage) = damage {
            damage.lines.iter().for_each(|line| tracing::error!("{line}"));
            // It is as if the log had failed before it was first written.
            log.stop(damage.reason());
        }
        log.set_space(pool.space());
        let signals_of_shards = log.connect_shards(count);
        let options = WriterOptions {
            log_id: self.data.log_id,
            next_sequence: recovered.next_sequence,
            frames: recovered.frames,
            blocks: recovered.blocks,
            previous: recovered.previous,
            sync_interval: Duration::from_millis(self.config.log.sync_interval_ms),
            write_bytes_max: self.config.log.block_bytes * WRITE_BLOCKS,
            segment_frames_max: u64::from(self.config.log.segment_frames),
        };
        let writing = Writing {
            log: Arc::clone(&log),
            pool: Arc::clone(&pool),
            segments: Arc::clone(&segments),
            clock: Arc::clone(&self.machine.clock),
            options,
            woken,
            pauses: Writing::pauses(self.config),
        };
        let toucher = TailToucher::start(log.first_lap()).map_err(failed)?;
        let writers = self.start_writers(writing)?;
        let channel = self.config.shards.channel_messages as usize;
        let (mailboxes, receivers): (Vec<_>, Vec<_>) =
            (0..count).map(|_| flume::bounded(channel)).unzip();
        let mailboxes: Arc<Mailboxes> = Arc::new(mailboxes.into_boxed_slice());
        let shared = Shared {
            log: Arc::clone(&log),
            segments: Arc::clone(&segments),
            mailboxes: Arc::clone(&mailboxes),
            settings: Arc::new(self.broker_settings()),
        };
        let kafka = Arc::new(self.kafka_settings());
        let rocketmq = Arc::new(self.rocketmq_settings());
        let limits = &self.config.kafka;
        let stall = Duration::from_millis(limits.upload_stall_ms);
        let memory = Arc::new(RequestMemory::new(limits.request_memory_bytes, stall));
        let sessions = Arc::new(FetchSessionMemory::new(self.config.kafka.fetch_session_bytes));
        // A shard that had nothing there seals what the others did, so not where its own begins.
        let start = segments.all().first().map_or(recovered.end, |oldest| oldest.base);
        let (told, ready) = flume::bounded(count);
        let mut running = Vec::new();
        let (mut stops, mut accepts) = (Vec::new(), Vec::new());
        let parts = shards.into_iter().zip(signals_of_shards).zip(receivers);
        for (number, ((state, (signal, durable)), mailbox)) in parts.enumerate() {
            let (stop, stopped) = flume::bounded(1);
            let (accept, accepted) = flume::unbounded();
            stops.push(stop);
            accepts.push(accept);
            let main = ShardMain {
                kafka: Arc::clone(&kafka),
                rocketmq: Arc::clone(&rocketmq),
                memory: Arc::clone(&memory),
                cold_answer_bytes: self.config.cold.answer_bytes,
                sessions: Arc::clone(&sessions),
                accepted,
                stop: stopped,
                ready: told.clone(),
            };
            let shared = shared.clone();
            let (list, keys) = (runs.runs(), keys.files());
            let make = move |env: Env| {
                let mut state: ShardState = state;
                let index = QueueIndex::new(Rc::clone(&env.cold), INDEX_CACHE_BYTES, list, start);
                state.entries.drain(..).for_each(|(queue, entry)| index.push(queue, entry));
                let shard = ShardId(number as u16);
                main.run(Start { env, shard, shared, state, index, keys, signal, durable, mailbox })
            };
            let options = self.shard_options(number);
            let (clock, random) =
                (Arc::clone(&self.machine.clock), Arc::clone(&self.machine.random));
            running.push(start_shard(options, clock, random, make).map_err(failed)?);
        }
        drop(told);
        if ready.iter().count() < count {
            return Err(failed(io::Error::other("a shard ended while it started")));
        }
        let figures = Arc::<HousekeeperFigures>::default();
        let housekeeper = Housekeeper {
            settings: self.housekeeper_settings(),
            log_id: self.data.log_id,
            log: Arc::clone(&log),
            segments: Arc::clone(&segments),
            pool: Arc::clone(&pool),
            runs,
            keys,
            tail: log.reader(count),
            checkpoints,
            mailboxes: Arc::clone(&mailboxes),
            clock: Arc::clone(&self.machine.clock),
            sealed: Vec::new(),
            known: KnownState::default(),
            refusing: false,
            figures: Arc::clone(&figures),
        };
        let housekeeper = housekeeper.start().map_err(failed)?;
        let is_ready = Arc::<AtomicBool>::default();
        let Listeners { clients, addresses, admin, .. } = self.listeners;
        let places = Places::new(self.connections);
        let accept = |(face, listener)| {
            let (accepts, places) = (accepts.clone(), places.clone());
            let clock = Arc::clone(&self.machine.clock);
            Acceptor::start(listener, face, accepts, places, clock).map_err(failed)
        };
        let acceptors = clients.into_iter().map(accept).collect::<Result<_, _>>()?;
        let name_servers: Vec<_> = self.config.rocketmq.name_servers().map(str::to_owned).collect();
        let registrar = (!name_servers.is_empty()).then(|| {
            let mailboxes = Arc::clone(&mailboxes);
            Registrar::start(&name_servers, rocketmq, mailboxes).map_err(failed)
        });
        let metrics = Metrics {
            log: Arc::clone(&log),
            segments,
            pool,
            mailboxes,
            request_memory: memory,
            fetch_sessions: sessions,
            connections: places.open_counter(),
            ready: Arc::clone(&is_ready),
            holes: holes as u64,
            housekeeper: figures,
            busiest: Busiest::new(Arc::clone(&self.machine.clock)),
        };
        let admin = admin.map(|listener| {
            admin::serve(listener, Arc::new(metrics), &self.config.admin).map_err(failed)
        });
        Ok(Running {
            log,
            acceptors,
            admin: admin.transpose()?,
            registrar: registrar.transpose()?,
            housekeeper,
            writers,
            toucher,
            shards: running,
            stop_shards: stops,
            ready: is_ready,
            addresses,
            signals,
            _data: self.data,
        })
    }

    fn start_writers(&self, writing: Writing) -> Result<LogWriters, ServerError> {
        let (log, core) = (&self.config.log, self.placement.writer);
        let started = match log.writer {
            LogWriter::Thread => writing.on_threads(&self.machine.disk, log.writes_in_flight, core),
            LogWriter::Glommio => {
                let name = "log-writer".to_owned();
                let options = ShardOptions { name, core, ..self.shard_options(0) };
                writing.on_executor(options, Arc::clone(&self.machine.random))
            }
        };
        started.map_err(ServerError::Start)
    }

    fn tail_memory(&self) -> io::Result<MirrorMemory> {
        let log = &self.config.log;
        let bytes = log.tail_bytes as usize;
        if log.huge_pages {
            match MirrorMemory::new(bytes, Pages::Huge) {
                Ok(memory) => return Ok(memory),
                Err(error) => tracing::warn!(
                    %error,
                    "there are not enough huge pages for log.tail_bytes: set \
                     /sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages to {} or more",
                    bytes / HUGE_PAGE
                ),
            }
        }
        MirrorMemory::new(bytes, Pages::Common)
    }

    fn limits(&self) -> LogLimits {
        let log = &self.config.log;
        LogLimits {
            block_bytes: log.block_bytes as u32,
            inflight_bytes: log.inflight_bytes,
            payload_bytes_max: self.config.largest_batch_bytes() as u32,
        }
    }

    fn shard_options(&self, number: usize) -> ShardOptions {
        let shards = &self.config.shards;
        ShardOptions {
            name: format!("shard-{number}"),
            core: self.placement.shards[number],
            preempt: Duration::from_micros(shards.preempt_us),
            spin: Duration::from_micros(shards.spin_us),
            io_memory_bytes: shards.io_memory_bytes as usize,
            ring_entries: shards.ring_entries as usize,
        }
    }

    fn broker_settings(&self) -> BrokerSettings {
        let groups = &self.config.groups;
        BrokerSettings {
            flush_async: self.config.log.flush == Flush::Async,
            producer_expiration: Duration::from_millis(self.config.kafka.producer_id_expiration_ms),
            cold_read_bytes: self.config.cold.read_bytes,
            cold_reads: self.config.cold.reads as usize,
            cold_ahead_bytes: self.config.cold.ahead_bytes,
            conversion_cache_bytes: self.config.rocketmq.conversion_cache_bytes as usize,
            converted_answer_bytes: self.config.rocketmq.converted_answer_bytes,
            store_host: self.listeners.advertised_rocketmq,
            counted_groups: self.config.rocketmq.counted_groups as usize,
            retention_check: Duration::from_millis(self.config.log.retention_check_ms),
            timers: TimerSettings {
                max_pending: self.config.timers.max_pending as usize,
                held_bytes: self.config.timers.held_bytes,
            },
            groups: GroupSettings {
                min_session_timeout: Duration::from_millis(groups.min_session_timeout_ms),
                max_session_timeout: Duration::from_millis(groups.max_session_timeout_ms),
                initial_rebalance_delay: Duration::from_millis(groups.initial_rebalance_delay_ms),
                max_size: groups.max_size as usize,
                offsets_retention: Duration::from_millis(groups.offsets_retention_ms),
                offset_metadata_max_bytes: groups.offset_metadata_max_bytes as usize,
                // What a record has besides is far less than that much again.
                metadata_max_bytes: self.config.largest_batch_bytes() as usize / 2,
                max_groups: (groups.max_count as usize).div_ceil(self.placement.shards.len()),
                ..GroupSettings::default()
            },
        }
    }

    fn kafka_settings(&self) -> KafkaSettings {
        let kafka = &self.config.kafka;
        let address = self.listeners.addresses.kafka.unwrap_or(([127, 0, 0, 1], 0).into());
        let (host, port) = kafka.advertised.of(address);
        KafkaSettings {
            node: Node::new(self.config.node.id, &host, port, &self.config.node.rack),
            max_request_bytes: kafka.max_request_bytes as usize,
            connection_requests: kafka.connection_requests as usize,
            fetch_max_bytes: kafka.fetch_max_bytes,
            stall_answer: Duration::from_millis(self.config.log.stall_answer_ms),
            max_delay: Duration::from_millis(self.config.timers.max_delay_ms),
            idle: Duration::from_millis(kafka.idle_ms),
        }
    }

    fn rocketmq_settings(&self) -> RocketMqSettings {
        let rocketmq = &self.config.rocketmq;
        RocketMqSettings {
            advertised: self.listeners.advertised_rocketmq,
            broker_name: rocketmq.broker_name.clone(),
            cluster_name: rocketmq.cluster_name.clone(),
            auto_create_topics: rocketmq.auto_create_topics,
            allow_config_update: rocketmq.allow_config_update,
            default_queues: rocketmq.default_queues as i32,
            max_message_bytes: rocketmq.max_message_bytes as u32,
            largest_record: u32::try_from(self.config.largest_batch_bytes()).unwrap_or(u32::MAX),
            max_request_bytes: rocketmq.max_request_bytes as usize,
            connection_requests: rocketmq.connection_requests as usize,
            connection_pulls: rocketmq.connection_pulls as usize,
            stall_answer: Duration::from_millis(self.config.log.stall_answer_ms),
            delay_levels: delay_levels(&rocketmq.delay_levels).expect("they were checked"),
            max_delay: Duration::from_millis(self.config.timers.max_delay_ms),
            idle: Duration::from_millis(rocketmq.idle_ms),
        }
    }

    fn housekeeper_settings(&self) -> HousekeeperSettings {
        let log = &self.config.log;
        HousekeeperSettings {
            segment_bytes: log.segment_bytes,
            checkpoint_bytes: log.checkpoint_bytes,
            zero_fill_bytes_per_s: log.zero_fill_bytes_per_s,
            max_bytes: log.max_bytes,
            retention_check: Duration::from_millis(log.retention_check_ms),
        }
    }
}

impl Running {
    /// Says that it is ready, and runs until it is told to stop or the log stops.
    ///
    /// # Errors
    /// When the log stopped, or the last checkpoint could not be written.
    pub fn serve(mut self) -> Result<(), ServerError> {
        self.ready.store(true, Ordering::SeqCst);
        let shown = |address: Option<SocketAddr>| {
            address.map_or_else(|| "off".to_owned(), |address| address.to_string())
        };
        let admin = self.admin.as_ref().map(AdminServer::address);
        let Addresses { kafka, rocketmq, namesrv } = self.addresses;
        let (kafka, rocketmq, namesrv) = (shown(kafka), shown(rocketmq), shown(namesrv));
        let admin = shown(admin);
        let line =
            format!("ready kafka={kafka} rocketmq={rocketmq} namesrv={namesrv} admin={admin}");
        // Whoever started the broker may not listen.
        let _ = writeln!(io::stdout(), "{line}").and_then(|()| io::stdout().flush());
        tracing::info!("{line}");
        let signal = self.signals.forever().next();
        tracing::info!(signal, "stopping");
        self.stop()
    }

    fn stop(mut self) -> Result<(), ServerError> {
        self.ready.store(false, Ordering::SeqCst);
        self.registrar.take().into_iter().for_each(Registrar::stop);
        self.acceptors.iter_mut().for_each(Acceptor::stop);
        // The shards end last: the final checkpoint asks them for their state.
        if !self.drain_connections() {
            tracing::warn!("a shard ended before its connections were closed");
        }
        let mut housekeeper = self.housekeeper.stop();
        self.log.close();
        self.writers.join().map_err(ServerError::Start)?;
        self.toucher.join().map_err(ServerError::Start)?;
        let result = match self.log.failure() {
            Some(failure) => Err(ServerError::LogStopped(failure.to_owned())),
            None => {
                let end = self.log.durable();
                match housekeeper.seal(end).and_then(|()| housekeeper.checkpoint(end)) {
                    Err(error) if error.is_no_space() => {
                        tracing::warn!(
                            "no disk space for a last checkpoint: the next start replays"
                        );
                        Ok(())
                    }
                    result => result,
                }
            }
        };
        drop(self.admin);
        drop(self.stop_shards);
        for shard in self.shards {
            shard.join().map_err(ServerError::Start)?;
        }
        result
    }

    /// Lets every shard answer what it was asked and close its connections.
    fn drain_connections(&self) -> bool {
        let (answer, answers) = flume::unbounded();
        let told = self.stop_shards.iter().filter(|stop| stop.send(answer.clone()).is_ok()).count();
        drop(answer);
        answers.iter().count() == told
    }
}
