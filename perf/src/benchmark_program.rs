//! One of RocketMQ's benchmark programs, or one that prints the same lines, at work, watched by the lines it prints.
//!
//! The programs run until they are ended. Every line covers the nine seconds before it, so that
//! every ninth tells of the time since the ninth before: these make up the measured window, and the
//! processes' counters are read as the first and the last of them come.

use crate::benchmark_line::{BenchmarkLine, LINE_SECONDS};
use crate::broker_process::spawn;
use crate::error::{Doing, PerfError, Result};
use crate::proc_stat::{ProcSample, ProcUse, sample};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Makes the programs print a line every second.
pub const EVERY_SECOND: [&str; 2] = ["-ri", "1000"];

/// Without a line for so long, the program is held to be stuck. The first comes ten seconds after
/// what the program has to set up, which it gives up itself after five minutes.
const FIRST_LINE_TIMEOUT: Duration = Duration::from_secs(400);
const LINE_TIMEOUT: Duration = Duration::from_secs(60);

/// What was seen within the measured window.
#[derive(Debug)]
pub struct Observed {
    /// The lines that cover it, without gap or overlap.
    pub lines: Vec<BenchmarkLine>,
    /// What the broker used.
    pub broker: ProcUse,
    /// What the program used.
    pub client: ProcUse,
}

impl Observed {
    /// Messages within the window.
    pub fn messages(&self) -> u64 {
        self.lines.iter().map(BenchmarkLine::messages).sum()
    }

    /// Messages that failed since the program started.
    pub fn failed(&self) -> u64 {
        self.last().failed
    }

    /// The mean over the window, in milliseconds, each message counting the same.
    pub fn mean_ms(&self) -> Option<f64> {
        let sums = self.lines.iter().map(|l| l.mean_ms.unwrap_or(0.0) * l.messages() as f64);
        let messages = self.messages();
        (messages > 0).then(|| sums.sum::<f64>() / messages as f64)
    }

    /// The longest time, in milliseconds: since a producer started, in a consumer's last second.
    pub fn max_ms(&self) -> u64 {
        self.last().max_ms
    }

    fn last(&self) -> &BenchmarkLine {
        self.lines.last().expect("a window has a line")
    }
}

/// A program that runs. It is killed when this is dropped.
pub struct BenchmarkProgram {
    child: Child,
    lines: Receiver<BenchmarkLine>,
    log: PathBuf,
}

impl BenchmarkProgram {
    /// Starts it. All it writes goes to the log.
    ///
    /// # Errors
    /// There is no Java, or the log cannot be written.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let output = File::create(log).doing(|| format!("creating {}", log.display()))?;
        let errors = output.try_clone().doing(|| "cloning a log's handle".into())?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        let mut child = spawn(&mut command)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        Ok(Self { child, lines: read_lines(stdout, output), log: log.to_path_buf() })
    }

    /// Watches it: after the first line, `warmup` windows of nine seconds pass, then as many as
    /// asked are measured.
    ///
    /// # Errors
    /// The program or the broker ends, or gets stuck.
    pub fn observe(&mut self, broker: u32, warmup: u64, windows: u64) -> Result<Observed> {
        self.line_within(FIRST_LINE_TIMEOUT)?;
        for _ in 0..warmup {
            self.next_window()?;
        }
        let start = self.sample(broker)?;
        let mut lines = Vec::new();
        for _ in 0..windows {
            lines.push(self.next_window()?);
        }
        let end = self.sample(broker)?;
        let (broker, client) = (end.0.since(&start.0), end.1.since(&start.1));
        Ok(Observed { lines, broker, client })
    }

    /// The line that covers what came since the one before.
    fn next_window(&mut self) -> Result<BenchmarkLine> {
        for _ in 1..LINE_SECONDS {
            self.next_line()?;
        }
        self.next_line()
    }

    fn next_line(&mut self) -> Result<BenchmarkLine> {
        self.line_within(LINE_TIMEOUT)
    }

    fn line_within(&mut self, timeout: Duration) -> Result<BenchmarkLine> {
        self.lines.recv_timeout(timeout).map_err(|_| {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default();
            let log = self.log.display();
            PerfError::Failed(format!("the program ended or got stuck: {last} ({log})"))
        })
    }

    fn sample(&self, broker: u32) -> Result<(ProcSample, ProcSample)> {
        Ok((sample(broker)?, sample(self.child.id())?))
    }
}

impl Drop for BenchmarkProgram {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_lines(stdout: ChildStdout, mut log: File) -> Receiver<BenchmarkLine> {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(io::Result::ok) {
            let _ = writeln!(log, "{line}");
            if let Some(line) = BenchmarkLine::parse(&line) {
                // Nobody may listen any more; the log still takes the rest.
                let _ = tell.send(line);
            }
        }
    });
    told
}
