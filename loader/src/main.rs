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
    match Cli::parse().command {
        Command::Standalone(args) => standalone::run(&args),
        Command::Become(args) => standalone::become_user::run(&args),
    }
}
