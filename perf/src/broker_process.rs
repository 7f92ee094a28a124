//! A broker started by this tool, and the promise that it ends with it.
//!
//! A process is ended by its own id: when its [`BrokerProcess`] is dropped, on Ctrl-C or a
//! termination signal, on a panic, and, should this tool be killed outright, by the kernel. The
//! last needs the thread that started it to live as long as it does, so that brokers are started
//! from the main thread only.

use crate::error::{Doing, PerfError, Result};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

const READY_TIMEOUT: Duration = Duration::from_secs(180);
const PORT_POLL: Duration = Duration::from_millis(2);

/// What must not outlive this tool.
static LIVING: Mutex<Living> = Mutex::new(Living { pids: Vec::new(), directories: Vec::new() });

/// A signal has come, and this tool is about to end.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

struct Living {
    pids: Vec<u32>,
    directories: Vec<PathBuf>,
}

fn living() -> MutexGuard<'static, Living> {
    LIVING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arranges that every broker ends, and its data goes, when this tool is interrupted or panics.
///
/// # Errors
/// Signal handlers cannot be set.
pub fn end_brokers_on_exit() -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).doing(|| "setting signal handlers".into())?;
    thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            end_all();
            std::process::exit(128 + signal);
        }
    });
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        end_all();
    }));
    Ok(())
}

/// Does not return once a signal has come: what fails from then on, since brokers and clients are
/// being ended, is not to be taken for a result.
pub fn hold_if_interrupted() {
    while INTERRUPTED.load(Ordering::SeqCst) {
        thread::park();
    }
}

/// Whether a process ended because somebody interrupted it, and most likely this tool with it.
pub fn was_interrupted(status: ExitStatus) -> bool {
    let by = [SIGINT, SIGTERM];
    let signal = status.signal().or_else(|| status.code().map(|code| code - 128));
    signal.is_some_and(|signal| by.contains(&signal))
}

fn end_all() {
    // Taken only if free: a panic under the lock must not hang here.
    let Ok(mut living) = LIVING.try_lock() else { return };
    for pid in living.pids.drain(..) {
        kill(pid, Signal::KILL);
    }
    for directory in living.directories.drain(..) {
        let _ = fs::remove_dir_all(directory);
    }
}

fn kill(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may have ended by itself.
        let _ = kill_process(pid, signal);
    }
}

/// Starts a command so that it ends when this tool does.
///
/// # Errors
/// The program cannot be started.
pub fn spawn(command: &mut Command) -> Result<Child> {
    let program = command.get_program().to_string_lossy().into_owned();
    // SAFETY: prctl is all that happens between fork and exec; it neither allocates nor locks.
    unsafe {
        command.pre_exec(|| {
            set_parent_process_death_signal(Some(Signal::KILL)).map_err(io::Error::from)
        });
    }
    command.spawn().doing(|| format!("starting {program}"))
}

/// A broker that runs. It is killed when this is dropped, without a chance to tidy up.
pub struct BrokerProcess {
    child: Child,
    /// The process beside it that it needs, ended with it.
    beside: Option<Box<BrokerProcess>>,
    /// Where clients begin, as host:port: its Kafka address, or that of its name server.
    pub address: String,
    /// Just before it was started.
    pub started: Instant,
    /// From then until it said that it serves.
    pub ready: Duration,
}

impl BrokerProcess {
    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a command that writes `ready kafka=ADDRESS …` on its standard output once it serves,
    /// and takes the address that has this name there. What it writes after that, and its errors,
    /// go to the log.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready in time.
    pub fn start_until_ready_line(
        command: &mut Command,
        name: &'static str,
        log: &Path,
    ) -> Result<Self> {
        Self::start_until_line(command, log, move |line| {
            let mut words = line.strip_prefix("ready ")?.split_whitespace();
            let named = words.find_map(|w| w.strip_prefix(name)?.strip_prefix('='));
            Some(named.unwrap_or_default().to_owned())
        })
    }

    /// Starts a command that says on its standard output that it serves: `ready` gives the address
    /// such a line tells, empty if it should but does not. All it writes goes to the log.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready in time.
    pub fn start_until_line(
        command: &mut Command,
        log: &Path,
        ready: impl Fn(&str) -> Option<String> + Send + 'static,
    ) -> Result<Self> {
        let mut output = create(log)?;
        let errors = output.try_clone().doing(|| "cloning a log's handle".into())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let started = Instant::now();
        let mut broker = Self::hold(spawn(command)?, String::new(), started);
        let stdout = broker.child.stdout.take().expect("standard output is piped");
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
                if let Some(address) = ready(&line) {
                    let _ = tell.send((Instant::now(), address));
                }
                let _ = writeln!(output, "{line}");
            }
        });
        match told.recv_timeout(READY_TIMEOUT) {
            Ok((_, address)) if address.is_empty() => {
                Err(not_ready("its ready line does not name the address", log))
            }
            Ok((at, address)) => {
                broker.address = address;
                broker.ready = at - started;
                Ok(broker)
            }
            Err(_) => Err(not_ready("it ended or was not ready in time", log)),
        }
    }

    /// Keeps another process as long as this one runs.
    pub fn with_beside(mut self, other: BrokerProcess) -> Self {
        self.beside = Some(Box::new(other));
        self
    }

    /// Starts a command that opens a port once it serves. All it writes goes to the log.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready in time.
    pub fn start_until_port(command: &mut Command, address: String, log: &Path) -> Result<Self> {
        let output = create(log)?;
        let errors = output.try_clone().doing(|| "cloning a log's handle".into())?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let started = Instant::now();
        let mut broker = Self::hold(spawn(command)?, address, started);
        while TcpStream::connect(&broker.address).is_err() {
            let ended = broker.child.try_wait().doing(|| "waiting for a broker".into())?;
            if ended.is_some() || started.elapsed() > READY_TIMEOUT {
                return Err(not_ready("it ended or was not ready in time", log));
            }
            thread::sleep(PORT_POLL);
        }
        broker.ready = started.elapsed();
        Ok(broker)
    }

    fn hold(child: Child, address: String, started: Instant) -> Self {
        living().pids.push(child.id());
        Self { child, beside: None, address, started, ready: Duration::ZERO }
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let pid = self.child.id();
        // The id is struck off before it can belong to someone else.
        living().pids.retain(|p| *p != pid);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn create(log: &Path) -> Result<File> {
    if let Some(parent) = log.parent() {
        fs::create_dir_all(parent).doing(|| format!("creating {}", parent.display()))?;
    }
    File::create(log).doing(|| format!("creating {}", log.display()))
}

fn not_ready(why: &str, log: &Path) -> PerfError {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(10)..].join("\n");
    PerfError::Failed(format!("the broker did not get ready: {why}; {}:\n{tail}", log.display()))
}

/// A directory for a broker's data, empty at first and removed when dropped.
pub struct DataDirectory {
    path: PathBuf,
}

impl DataDirectory {
    /// Makes it anew; what an earlier run left there goes.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn create(path: PathBuf) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(&path).doing(|| format!("clearing {}", path.display()))?;
        }
        fs::create_dir_all(&path).doing(|| format!("creating {}", path.display()))?;
        let path = path.canonicalize().doing(|| format!("finding {}", path.display()))?;
        living().directories.push(path.clone());
        Ok(Self { path })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for DataDirectory {
    fn drop(&mut self) {
        living().directories.retain(|d| *d != self.path);
        let _ = fs::remove_dir_all(&self.path);
    }
}
