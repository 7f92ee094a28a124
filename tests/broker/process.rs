//! A broker process and the directory it works in.

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{Arc, Condvar, Mutex, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process, set_parent_process_death_signal, setrlimit,
};

/// How long anything may take before a test gives it up. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Settings of every test: small files, and groups that do not wait for more members.
const SMALL: [&str; 7] = [
    "log.segment_bytes=16MiB",
    "log.checkpoint_bytes=16MiB",
    "log.tail_bytes=16MiB",
    "log.ready_segments=1",
    "groups.initial_rebalance_delay_ms=0",
    "groups.min_session_timeout_ms=1000",
    "telemetry.log=info",
];

/// A directory for a broker's data, removed when dropped.
pub struct DataDir {
    path: PathBuf,
    _kept: tempfile::TempDir,
}

impl DataDir {
    pub fn new() -> Self {
        let kept = tempfile::tempdir().unwrap();
        Self { path: kept.path().join("data"), _kept: kept }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The segments of the log, oldest first.
    pub fn segments(&self) -> Vec<PathBuf> {
        segments(&self.path)
    }
}

/// The segments of the log in a data directory, oldest first.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let named = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_str().unwrap();
        name.ends_with(".segment") && !name.starts_with("ready-")
    };
    let entries = data.join("log").read_dir().unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).filter(named).collect();
    paths.sort();
    paths
}

/// What a process has written to standard error so far.
#[derive(Clone, Default)]
struct Errors(Arc<(Mutex<(String, bool)>, Condvar)>);

impl Errors {
    fn collect(&self, from: impl std::io::Read + Send + 'static) -> JoinHandle<()> {
        let errors = self.clone();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                writeln!(errors.0.0.lock().unwrap().0, "{line}").unwrap();
                errors.0.1.notify_all();
            }
            errors.0.0.lock().unwrap().1 = true;
            errors.0.1.notify_all();
        })
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().0.clone()
    }

    /// Waits until nobody writes any more, which is when the process has ended.
    fn wait_for_end(&self) -> bool {
        let guard = self.0.0.lock().unwrap();
        let (guard, _) =
            self.0.1.wait_timeout_while(guard, PATIENCE, |(_, ended)| !*ended).unwrap();
        guard.1
    }

    fn wait_for(&self, text: &str) -> bool {
        let guard = self.0.0.lock().unwrap();
        let absent = |(found, ended): &mut (String, bool)| !found.contains(text) && !*ended;
        let (guard, _) = self.0.1.wait_timeout_while(guard, PATIENCE, absent).unwrap();
        guard.0.contains(text)
    }
}

/// A running broker. Killed when dropped; what it wrote is shown if the test failed.
pub struct BrokerProcess {
    child: Child,
    errors: Errors,
    collecting: Option<JoinHandle<()>>,
    /// Where Kafka's clients connect; `off` without that listener.
    pub kafka: String,
    /// Where RocketMQ's clients connect; `off` without that listener.
    pub rocketmq: String,
    /// Where RocketMQ's name server is; `off` without that listener.
    pub namesrv: String,
    /// Where metrics are; `off` without that listener.
    pub admin: String,
}

/// A broker that has ended.
#[derive(Debug)]
pub struct Ended {
    pub status: ExitStatus,
    /// Everything it wrote to standard error.
    pub errors: String,
}

/// The program with its arguments, a data directory, and settings.
pub fn mainstem(arguments: &[&str], data: &Path, settings: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mainstem"));
    let foreign = std::env::vars_os().map(|(name, _)| name);
    for name in foreign.filter(|name| name.to_string_lossy().starts_with("MAINSTEM_")) {
        command.env_remove(name);
    }
    command.args(arguments).arg("--data-dir").arg(data);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

impl BrokerProcess {
    /// Starts a broker on ports of the system's choice and waits until it is ready.
    pub fn start(data: &Path, settings: &[&str]) -> Self {
        Self::try_start(data, settings)
            .unwrap_or_else(|ended| panic!("no start, {}:\n{}", ended.status, ended.errors))
    }

    /// Starts a broker and waits until it is ready or has ended. `settings` outweigh the tests' own.
    pub fn try_start(data: &Path, settings: &[&str]) -> Result<Self, Ended> {
        Self::launch(Self::serve(data, settings))
    }

    /// As [`BrokerProcess::try_start`], with so many files open at a time.
    pub fn try_start_with_files(data: &Path, settings: &[&str], files: u64) -> Result<Self, Ended> {
        let mut command = Self::serve(data, settings);
        let limit = Rlimit { current: Some(files), maximum: Some(files) };
        // SAFETY: setrlimit neither allocates nor locks.
        unsafe {
            command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?));
        }
        Self::launch(command)
    }

    fn serve(data: &Path, settings: &[&str]) -> Command {
        let ports = [
            "kafka.listen=127.0.0.1:0",
            "rocketmq.listen=127.0.0.1:0",
            "rocketmq.namesrv=127.0.0.1:0",
            "admin.listen=127.0.0.1:0",
        ];
        let own: Vec<_> = ports.iter().chain(&SMALL).copied().collect();
        let name = |setting: &str| setting.split('=').next().unwrap().to_owned();
        let given: Vec<_> = settings.iter().map(|setting| name(setting)).collect();
        let defaults = own.into_iter().filter(|setting| !given.contains(&name(setting)));
        let all: Vec<_> = defaults.chain(settings.iter().copied()).collect();
        mainstem(&["serve"], data, &all)
    }

    fn launch(mut command: Command) -> Result<Self, Ended> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is all that happens between fork and exec; it neither allocates nor locks.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let mut child = command.spawn().unwrap();
        let errors = Errors::default();
        let collecting = Some(errors.collect(child.stderr.take().unwrap()));
        let stdout = child.stdout.take().unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| {
                let _ = tell.send(line);
            });
        });
        let none = String::new;
        let (kafka, rocketmq, namesrv, admin) = (none(), none(), none(), none());
        let mut broker = Self { child, errors, collecting, kafka, rocketmq, namesrv, admin };
        match told.recv_timeout(PATIENCE) {
            Ok(line) => {
                let field = |name: &str| {
                    let mut words = line.strip_prefix("ready ").unwrap().split(' ');
                    words.find_map(|word| word.strip_prefix(name)).unwrap().to_owned()
                };
                broker.kafka = field("kafka=");
                broker.rocketmq = field("rocketmq=");
                broker.namesrv = field("namesrv=");
                broker.admin = field("admin=");
                Ok(broker)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(broker.ended()),
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("neither ready nor ended"),
        }
    }

    /// Waits until the process has ended.
    fn ended(mut self) -> Ended {
        assert!(self.errors.wait_for_end(), "the broker does not end");
        let status = self.child.wait().unwrap();
        self.collecting.take().unwrap().join().unwrap();
        Ended { status, errors: self.errors.text() }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Ends it as a crash would.
    pub fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.ended()
    }

    /// Asks it to stop.
    pub fn terminate(self) -> Ended {
        self.signal(Signal::TERM);
        self.ended()
    }

    /// Asks it to stop, which must end it with 0.
    pub fn stop(self) -> Ended {
        let ended = self.terminate();
        assert!(ended.status.success(), "{}:\n{}", ended.status, ended.errors);
        ended
    }

    /// What it has written to standard error so far.
    pub fn errors(&self) -> String {
        self.errors.text()
    }

    /// Waits until it has written that to standard error.
    pub fn wait_for_error(&self, text: &str) {
        assert!(self.errors.wait_for(text), "{text:?} was not written");
    }

    /// A metric without labels, by its name behind `mainstem_`.
    pub fn metric(&self, name: &str) -> u64 {
        let page = get(&self.admin, "/metrics");
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("mainstem_{name} ")));
        value.unwrap_or_else(|| panic!("no {name} in\n{page}")).parse::<f64>().unwrap() as u64
    }

    /// Resident memory of the process, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- the broker wrote:\n{}---", self.errors.text());
        }
    }
}

/// Asks the admin port for a page.
pub fn get(admin: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin.parse::<SocketAddr>().unwrap()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    page
}

/// Runs `mainstem log verify` on a directory.
pub fn verify(data: &Path) -> Output {
    mainstem(&["log", "verify"], data, &[]).output().unwrap()
}

/// Runs `mainstem log dump`, and returns its lines.
pub fn dump(data: &Path) -> Vec<String> {
    let output = mainstem(&["log", "dump"], data, &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Runs `mainstem log verify`, which must find nothing wrong, and returns what it says.
pub fn verified(data: &Path) -> String {
    let output = verify(data);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.ends_with("every checksum holds\n"), "{text}");
    text
}

/// Runs `mainstem log repair`, which must succeed, and returns what it says.
pub fn repair(data: &Path, arguments: &[&str]) -> String {
    let arguments: Vec<_> = ["log", "repair"].iter().chain(arguments).copied().collect();
    let output = mainstem(&arguments, data, &["log.segment_bytes=16MiB"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Waits for a condition that nothing announces.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
