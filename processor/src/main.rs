//! `ratatosk`: the unprivileged side of Ratatosk, and its user-facing commands.

#![forbid(unsafe_code)]

use ratatosk::{cli, exit::Exit, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit.into(),
    };
    match run::run(command) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            eprintln!("ratatosk: {error}");
            error.exit().into()
        }
    }
}
