//! One of RocketMQ's benchmark programs, or one that prints the same lines, at work, watched by the
//! lines it prints.
//!
//! The programs run until they are ended. Every line covers the nine seconds before it, so that
//! every ninth tells of the time since the ninth before: these make up the measured window, and the
//! processes' counters are read as the first and the last of them come.

use crate::benchmark_line::{BenchmarkLine, LINE_SECONDS};
use crate::broker_process::spawn;
use crate::error::{Doing, PerfError, Result};
use crate::proc_stat::{Meter, ProcUse};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
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
    /// Messages before it, since the program started; at least so many.
    pub before: u64,
    /// The last line of a program that was ended in order.
    pub end: Option<BenchmarkLine>,
    /// What the broker used, if its process is known.
    pub broker: Option<ProcUse>,
    /// What the program used.
    pub client: ProcUse,
}

impl Observed {
    /// Messages within the window.
    pub fn messages(&self) -> u64 {
        self.lines.iter().map(BenchmarkLine::messages).sum()
    }

    /// Messages acknowledged since the program started. RocketMQ's own programs do not tell how many
    /// these are, and are killed in the middle of their sends. Their rates tell how many there are
    /// at least: what came in the first second and after the last line is not in them.
    pub fn acknowledged(&self) -> u64 {
        let told = self.end.as_ref().and_then(|line| line.total);
        told.unwrap_or_else(|| self.before + self.messages())
    }

    /// Messages that may have been stored since the program started: failed ones may have been too.
    /// None where the program does not tell how many it sent.
    pub fn stored_at_most(&self) -> Option<u64> {
        let end = self.end.as_ref()?;
        Some(end.total? + end.failed)
    }

    /// Messages that failed since the program started.
    pub fn failed(&self) -> u64 {
        self.end.as_ref().unwrap_or(self.last()).failed
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
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        let mut child = spawn(&mut command)?;
        let stdout = child.stdout.take().expect("standard output is piped");
        Ok(Self { child, lines: read_lines(stdout, output), log: log.to_path_buf() })
    }

    /// Watches it: after the first line, `warmup` windows of nine seconds pass, then as many as
    /// asked are measured.
    ///
    /// # Errors
    /// The program or the broker ends, or gets stuck.
    pub fn observe(&mut self, broker: Option<u32>, warmup: u64, windows: u64) -> Result<Observed> {
        let first = self.line_within(FIRST_LINE_TIMEOUT)?;
        // The program's snapshots are taken by a timer, which may be late while it starts.
        let mut before = first.messages_per_second * (LINE_SECONDS - 1);
        for _ in 0..warmup {
            before += self.next_window()?.messages();
        }
        let meter = self.meter(broker)?;
        let mut lines = Vec::new();
        for _ in 0..windows {
            lines.push(self.next_window()?);
        }
        let (broker, client) = meter.finish()?;
        Ok(Observed { lines, before, end: None, broker, client })
    }

    /// Ends a program of ours, which waits for its last answers once its input ends. Returns its last
    /// line, which tells of all it did.
    ///
    /// # Errors
    /// It gets stuck, or does not tell.
    pub fn finish(&mut self) -> Result<BenchmarkLine> {
        drop(self.child.stdin.take());
        let mut last = None;
        loop {
            match self.lines.recv_timeout(LINE_TIMEOUT) {
                Ok(line) => last = Some(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(self.stuck()),
            }
        }
        last.filter(|line| line.total.is_some()).ok_or_else(|| self.stuck())
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
        self.lines.recv_timeout(timeout).map_err(|_| self.stuck())
    }

    fn stuck(&self) -> PerfError {
        self.failed_by(&"the program ended or got stuck")
    }

    /// What was seen to go wrong, and what the program said last.
    pub fn failed_by(&self, seen: &dyn Display) -> PerfError {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let last = text.lines().last().unwrap_or_default();
        let log = self.log.display();
        PerfError::Failed(format!("{seen}: {last} ({log})"))
    }

    /// Begins a measurement of what the broker uses, if its process is known, and the program.
    ///
    /// # Errors
    /// One of them has ended.
    pub fn meter(&self, broker: Option<u32>) -> Result<Meter> {
        Meter::start_beside(broker, self.child.id())
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

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: &str = "Current Time: 1 | Send TPS: 5 | Max RT(ms): 1 | Average RT(ms): 1.0 | \
                         Send Failed: 2 | Response Failed: 0";

    fn line(text: &str) -> BenchmarkLine {
        BenchmarkLine::parse(text).expect("it is one")
    }

    fn observed(end: Option<BenchmarkLine>) -> Observed {
        let lines = vec![line(RATES), line(RATES)];
        Observed { lines, before: 40, end, broker: None, client: ProcUse::default() }
    }

    #[test]
    fn what_is_not_told_is_at_least_what_the_rates_say() {
        let killed = observed(None);
        assert_eq!((killed.acknowledged(), killed.stored_at_most()), (130, None));
        let ended = observed(Some(line(&format!("{RATES} | Send Total: 150"))));
        assert_eq!((ended.acknowledged(), ended.stored_at_most()), (150, Some(152)));
    }

    #[test]
    fn a_program_whose_input_ends_tells_of_all_it_did() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = directory.path().join("log");
        let started = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            BenchmarkProgram::start(command, &log).expect("there is `sh`")
        };
        let script = format!("echo '{RATES}'; read x; echo '{RATES} | Send Total: 7'");
        assert_eq!(started(&script).finish().expect("a total").total, Some(7));
        let script = format!("echo '{RATES}'; read x");
        assert!(started(&script).finish().is_err(), "it did not tell");
    }
}
