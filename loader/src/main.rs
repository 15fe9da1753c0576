//! `ratatosk-loader`: the privileged side.

use clap::{Parser, Subcommand};
use ratatosk_loader::standalone;
use std::process::ExitCode;

/// Loads the probes, gives everything up, streams raw records to one processor.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run loader and processor on this machine, each as its own user, until Ctrl-C
    Standalone(standalone::Args),
    #[command(hide = true)]
    Become(standalone::become_user::Args),
}

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(Cli { command: Command::Standalone(args) }) => standalone::run(&args),
        Ok(Cli { command: Command::Become(args) }) => standalone::become_user::run(&args),
        Err(error) => explain(&error),
    }
}

/// Help and version are no errors; a wrong command line is one of usage.
fn explain(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(standalone::EXIT_USAGE) } else { ExitCode::SUCCESS }
}
