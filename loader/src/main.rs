//! `ratatosk-loader`: the privileged side of Ratatosk.

use clap::{Parser, error::ErrorKind};
use ratatosk_loader::{
    cli::{Cli, Command},
    error::{EXIT_USAGE, LoaderError},
    process::attacher,
};
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log_to_stderr();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ratatosk-loader: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(command: &Command) -> Result<(), LoaderError> {
    match command {
        Command::Run(options) => attacher::run(options),
    }
}

/// Help and version are no errors; everything else is one of usage.
fn usage(error: &clap::Error) -> ExitCode {
    let _printed = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_USAGE),
    }
}

fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("RATATOSK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colour).with_writer(std::io::stderr).init();
}
