//! The `mainstem` program.

use std::{error::Error, process::ExitCode};

use clap::Parser as _;
use mainstem::server::{
    self, check,
    cli::{Cli, Command, LogAction, ServeArgs, print},
    log_tool, repair,
};

fn main() -> ExitCode {
    server::abort_on_panic();
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            error.to_string().lines().for_each(|line| eprintln!("mainstem: {line}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Box<dyn Error>> {
    match cli.command {
        None => serve(&ServeArgs::default()),
        Some(Command::Serve(args)) => serve(&args),
        Some(Command::Check(args)) => {
            let report = args.report()?;
            print(&report.to_string());
            Ok(if report.can_run() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
        Some(Command::Tune(args)) => {
            print(&args.run()?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::BenchDisk(args)) => {
            print(&args.run()?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Top(args)) => {
            print(&args.run()?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Config(args)) => {
            print(&args.answer()?);
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Log { action: LogAction::Verify(args) }) => {
            log_tool::verify(&args.load()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Log { action: LogAction::Dump(args) }) => {
            log_tool::dump(&args.load()?)?;
            Ok(ExitCode::SUCCESS)
        }
        Some(Command::Log { action: LogAction::Repair(args) }) => {
            repair::repair(&args.place.load()?, args.dry_run)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn serve(args: &ServeArgs) -> Result<ExitCode, Box<dyn Error>> {
    let config = args.load()?;
    check::io_uring_ready()?;
    server::run(&config)?;
    Ok(ExitCode::SUCCESS)
}
