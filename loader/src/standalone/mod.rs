//! `ratatosk-loader standalone`: both sides on one machine, each as its own user, from one command.
//!
//! in   root, the two binaries, settings by environment
//! out  the processor's stdout is ours, both sides' stderr is ours, nothing is prefixed
//! ends with 0 after SIGINT, SIGTERM or SIGHUP, else with the code of the side that gave a final one (see [`supervise`])
//!
//! The launcher stays root, reads nothing that its children write, and opens no socket. It is single-threaded, so that
//! parent-death signals mean the whole launcher and forks are safe.

pub mod become_user;
mod children;
mod demo;
mod environment;
mod files;
mod place;
mod supervise;
mod users;

use crate::say;
use std::{fmt, path::PathBuf, process::ExitCode};

/// Bad usage or configuration (sysexits `EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;
/// Something needed is not there or is held by somebody else (sysexits `EX_UNAVAILABLE`).
pub const EXIT_UNAVAILABLE: u8 = 69;
/// A permission or a capability is missing (sysexits `EX_NOPERM`).
pub const EXIT_PERMISSION: u8 = 77;

/// Command line of `standalone`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Where the two sides meet; its directory becomes the loader's
    #[arg(long, value_name = "PATH", env = "RATATOSK_SOCKET", default_value = "/run/ratatosk/agent.sock")]
    pub socket: PathBuf,
    /// Configuration file of Beyla or OBI for the processor, whose user must be able to read it; instead of
    /// BEYLA_CONFIG_PATH
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The processor's binary, if it is not beside this one
    #[arg(long, value_name = "PATH")]
    pub processor: Option<PathBuf>,
    /// The loader's binary, if it is not this one
    #[arg(long, value_name = "PATH", hide = true)]
    pub loader: Option<PathBuf>,
    /// Bytes captured of the first call of each turn
    #[arg(long, value_name = "N", env = "RATATOSK_TURN_BYTES")]
    pub turn_bytes: Option<u32>,
    /// Bytes captured of each later call
    #[arg(long, value_name = "N", env = "RATATOSK_CALL_BYTES")]
    pub call_bytes: Option<u32>,
}

/// Why the launcher ends, in one line for people, with the exit code of its kind.
#[derive(Debug)]
pub struct Failure {
    /// 64, 69 or 77.
    pub code: u8,
    /// What, where and how to mend it.
    pub line: String,
}

impl Failure {
    fn usage(line: impl Into<String>) -> Self {
        Self { code: EXIT_USAGE, line: line.into() }
    }

    fn unavailable(line: impl Into<String>) -> Self {
        Self { code: EXIT_UNAVAILABLE, line: line.into() }
    }

    fn permission(line: impl Into<String>) -> Self {
        Self { code: EXIT_PERMISSION, line: line.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

impl std::error::Error for Failure {}

/// Runs both sides until a signal or a final exit code ends them, and says on stderr why it could not.
#[must_use]
pub fn run(args: &Args) -> ExitCode {
    match launch(args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            say(&failure.line);
            ExitCode::from(failure.code)
        }
    }
}

fn say(line: &str) {
    say::named(&line);
}

/// Order matters: signals are blocked before anything exists that would have to be removed.
fn launch(args: &Args) -> Result<u8, Failure> {
    let signals = supervise::Signals::block()?;
    users::require_root()?;
    let sources = files::Sources::find(args)?;
    let config = args.config.as_deref().map(files::settings).transpose()?;
    let accounts = users::Accounts::ensure()?;
    let _room = place::Room::prepare(&args.socket, &accounts)?;
    let nook = place::Nook::prepare(&args.socket, std::env::var_os("RATATOSK_EXPLAIN_SOCKET"), &accounts)?;
    let mut bin = files::Bin::new();
    let commands = children::Commands {
        loader: bin.reachable(&sources.loader)?,
        processor: bin.reachable(&sources.processor)?,
        demo: if config.is_some() { None } else { demo::Demo::prepare(&mut bin)? },
        config,
        accounts,
        explain_socket: nook.socket.clone(),
        args: args.clone(),
    };
    Ok(supervise::run(&signals, commands.sides()))
}
