//! Drives brokers with real clients and says what they did and what it cost: one workload at a
//! time, or the same workloads against several systems in turn, with a report.

mod benchmark_line;
mod benchmark_program;
mod broker_process;
mod compare;
mod consume;
mod environment;
mod error;
mod fill;
mod floor;
mod free_port;
mod histogram;
mod kafka_anchor;
mod keys;
mod latency;
mod maven;
mod measurement;
mod own_build;
mod pages;
mod payload;
mod proc_stat;
mod produce;
mod producer;
mod progress;
mod rate_search;
mod raw;
mod reader;
mod report;
mod rocketmq;
mod rocketmq_anchor;
mod run_directory;
mod run_one;
mod run_result;
mod sequence_check;
mod startup;
mod system;
mod timeline;
mod topic_set;
mod variant;
mod workload;

use clap::{Parser, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    /// Results hold their histograms and intervals, and the start of a measurement is said.
    #[arg(long, hide = true)]
    detail: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run workloads against Mainstem and the systems it is compared with, in turn.
    Compare(Box<compare::CompareArgs>),
    /// Run one workload's file against a broker that runs.
    Run(run_one::RunArgs),
    /// Make the report of a comparison again.
    Report(pages::ReportArgs),
    /// Write as fast as the broker takes it.
    Produce(produce::ProduceArgs),
    /// Read everything the topics hold.
    Consume(consume::ConsumeArgs),
    /// Write over a thousand topics.
    Topics(produce::ProduceArgs),
    /// Send at a fixed rate and time every record end to end.
    Latency(latency::LatencyArgs),
    /// Start a broker, fill it, kill it, start it again.
    Startup(startup::StartupArgs),
    /// Start a broker and leave it alone.
    Idle(startup::IdleArgs),
    /// Measure what a broker's work costs here at the least, without any broker.
    #[command(subcommand)]
    Floor(floor::Floor),
    /// Drive a broker with prepared frames, so that the client costs next to nothing.
    #[command(subcommand)]
    Raw(raw::RawWorkload),
    /// Start a broker and let RocketMQ's benchmark programs work, or ours on its client.
    Rocketmq(rocketmq::RocketMqArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.detail {
        report::be_detailed();
    }
    let outcome = broker_process::end_brokers_on_exit().and_then(|()| run(&cli.command));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mainstem-perf: {error}");
            report::tell_failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> error::Result<bool> {
    match command {
        Command::Compare(args) => compare::compare(args),
        Command::Run(args) => run_one::run_one(args).map(|r| print(&r, r.ok)),
        Command::Report(args) => pages::report(args),
        Command::Produce(args) => produce::produce(args).map(|r| print(&r, r.ok)),
        Command::Consume(args) => consume::consume(args).map(|r| print(&r, r.ok)),
        Command::Topics(args) => produce::topics(args).map(|r| print(&r, r.ok)),
        Command::Latency(args) => latency::latency(args).map(|r| print(&r, r.ok)),
        Command::Startup(args) => startup::startup(args).map(|r| print(&r, r.ok)),
        Command::Idle(args) => startup::idle(args).map(|r| print(&r, true)),
        Command::Floor(of) => floor::floor(of).map(|r| print(&r, true)),
        Command::Raw(workload) => raw::run(workload).map(|r| print(&r, r.report.ok)),
        Command::Rocketmq(args) => rocketmq::rocketmq(args).map(|r| print(&r, r.report.ok)),
    }
}

/// Prints a result as one line of JSON, and passes on whether it is good.
fn print(result: &impl Serialize, ok: bool) -> bool {
    println!("{}", serde_json::to_string(result).expect("results have only string keys"));
    ok
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_would_do_nothing_is_not_offered() {
        let takes = |line: &str| Cli::try_parse_from(line.split_whitespace()).is_ok();
        for (line, option) in [
            ("perf raw queues --brokers b:1", "--seconds 1"),
            ("perf raw queues --brokers b:1", "--batch-bytes 1"),
            ("perf raw rocketmq-pull --namesrv b:1", "--seconds 1"),
            ("perf raw latency --brokers b:1", "--batch-bytes 1"),
            ("perf raw latency --brokers b:1", "--cold-topic t"),
            ("perf raw latency --brokers b:1", "--rate 0"),
            ("perf latency --brokers b:1", "--rate -1"),
            ("perf raw consume --brokers b:1", "--seconds 1"),
            ("perf raw consume --brokers b:1", "--warmup-seconds 1"),
            ("perf raw produce --brokers b:1 --records 1", "--seconds 1"),
            ("perf raw rocketmq-send --namesrv b:1 --records 1", "--seconds 1"),
            ("perf startup --kafka", "--rocketmq-lib d"),
            ("perf idle --mainstem m", "--rocketmq-set a=b"),
            ("perf rocketmq send --rocketmq", "--kafka-lib d"),
        ] {
            assert!(takes(line), "{line}");
            assert!(!takes(&format!("{line} {option}")), "{line} {option}");
        }
        assert!(!takes("perf startup --rocketmq") && !takes("perf rocketmq send --kafka"));
        assert!(takes("perf raw consume --brokers b:1 --follow --seconds 1"));
        assert!(!takes("perf raw produce --brokers b:1 --seconds=-1"));
    }
}
