//! `ratatosk`: the unprivileged side of Ratatosk, and its user-facing commands.

#![forbid(unsafe_code)]

use ratatosk::{cli, exit::Exit, run};
use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let command = match cli::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(exit) => return exit.into(),
    };
    match run::run(command) {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            // in one write: the loader may have the same stderr
            let _told = std::io::stderr().write_all(format!("ratatosk: {error}\n").as_bytes());
            error.exit().into()
        }
    }
}
