//! `ratatosk-loader`: the privileged side of Ratatosk.

use clap::{Parser, error::ErrorKind};
use ratatosk_loader::{
    cli::{Cli, Command, LogFormat, Run, ShowPolicy},
    error::{EXIT_USAGE, LoaderError},
    policy::{self, Policy},
    process::attacher,
    say, standalone,
};
use std::{io::IsTerminal, process::ExitCode};
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command {
        Command::Run(options) => run(&options),
        Command::Policy(options) => show_policy(&options),
        Command::Standalone(args) => standalone::run(&args),
        Command::Become(args) => standalone::become_user::run(&args),
    }
}

fn run(options: &Run) -> ExitCode {
    log_to_stderr(options.log_format);
    match attacher::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error),
    }
}

fn show_policy(options: &ShowPolicy) -> ExitCode {
    match Policy::load(options.file.as_deref()) {
        Ok(policy) => {
            print!("{}", policy::command::text(&policy));
            ExitCode::SUCCESS
        }
        Err(error) => fail(&error.into()),
    }
}

fn fail(error: &LoaderError) -> ExitCode {
    say::named(error);
    ExitCode::from(error.exit_code())
}

/// Help and version are no errors; everything else is one of usage.
fn usage(error: &clap::Error) -> ExitCode {
    let _printed = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => ExitCode::from(EXIT_USAGE),
    }
}

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_env("RATATOSK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(colour).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
