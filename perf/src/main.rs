//! Drives a broker with librdkafka, or with RocketMQ's own programs, and says what it did and what it cost.

mod benchmark_line;
mod benchmark_program;
mod broker_process;
mod compare;
mod comparison_table;
mod consume;
mod environment;
mod error;
mod free_port;
mod kafka_anchor;
mod latency;
mod maven;
mod payload;
mod proc_stat;
mod produce;
mod producer;
mod raw;
mod reader;
mod report;
mod rocketmq;
mod rocketmq_anchor;
mod sequence_check;
mod startup;
mod system;
mod topic_set;

use clap::{Parser, Subcommand};
use serde::Serialize;
use std::process::ExitCode;

#[derive(Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    workload: Workload,
}

#[derive(Subcommand)]
enum Workload {
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
    /// Start a broker and let RocketMQ's own benchmark programs work.
    Rocketmq(rocketmq::RocketMqArgs),
    /// Drive a broker with prepared frames, so that the client costs next to nothing.
    #[command(subcommand)]
    Raw(raw::RawWorkload),
    /// Run all of these against Mainstem and the real Kafka or RocketMQ in turn.
    Compare(compare::CompareArgs),
}

fn main() -> ExitCode {
    let workload = Cli::parse().workload;
    let outcome = broker_process::end_brokers_on_exit().and_then(|()| run(&workload));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mainstem-perf: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(workload: &Workload) -> error::Result<bool> {
    match workload {
        Workload::Produce(args) => produce::produce(args).map(|r| print(&r, r.ok)),
        Workload::Consume(args) => consume::consume(args).map(|r| print(&r, r.ok)),
        Workload::Topics(args) => produce::topics(args).map(|r| print(&r, r.ok)),
        Workload::Latency(args) => latency::latency(args).map(|r| print(&r, r.ok)),
        Workload::Startup(args) => startup::startup(args).map(|r| print(&r, r.ok)),
        Workload::Idle(args) => startup::idle(args).map(|r| print(&r, true)),
        Workload::Rocketmq(args) => rocketmq::rocketmq(args).map(|r| print(&r, r.report.ok)),
        Workload::Raw(workload) => raw::run(workload).map(|r| print(&r, r.report.ok)),
        Workload::Compare(args) => compare::compare(args),
    }
}

/// Prints a result as one line of JSON, and passes on whether it is good.
fn print(result: &impl Serialize, ok: bool) -> bool {
    println!("{}", serde_json::to_string(result).expect("results have only string keys"));
    ok
}
