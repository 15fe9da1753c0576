//! Command line of `ratatosk-loader`.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// The privileged side of Ratatosk: loads the probes, gives its rights up, and streams raw records over a unix socket.
#[derive(Debug, Parser)]
#[command(name = "ratatosk-loader", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0   ended by SIGTERM or SIGINT
  64  wrong usage or configuration
  69  unavailable: no BTF, a probe that does not load, a second loader, a socket path in use
  77  a capability or permission is missing

Variables:
  RATATOSK_SOCKET   path of the unix socket
  RATATOSK_POLICY   file that bounds what may be observed
  RATATOSK_LOG      error, warn, info (default), debug
  NOTIFY_SOCKET     systemd's, told READY=1 once a tier is at work and connections are taken";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Load the probes and serve one processor (as a user that is not root, with the capabilities BPF, PERFMON,
    /// SYS_PTRACE and DAC_READ_SEARCH)
    Run(Run),
    /// Start loader and processor on this machine, each as its own user, and wait until Ctrl-C (as root)
    Standalone(crate::standalone::Args),
    /// Show what the policy permits on this machine: the file that is named, or the one that `run` would read
    Policy(ShowPolicy),
    /// A step of `standalone` between fork and exec, not meant for people
    #[command(hide = true)]
    Become(crate::standalone::become_user::Args),
}

/// Options of `policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct ShowPolicy {
    /// Policy file [default: /etc/ratatosk/policy.toml, if it is there]
    #[arg(env = "RATATOSK_POLICY", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// Options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub struct Run {
    /// Unix socket to listen on; its directory is made if it is missing
    #[arg(long, env = "RATATOSK_SOCKET", default_value = "/run/ratatosk/agent.sock", value_name = "PATH")]
    pub socket: PathBuf,
    /// The only user that may connect
    #[arg(long, env = "RATATOSK_PROCESSOR_UID", value_name = "UID")]
    pub processor_uid: u32,
    /// Group of the socket
    #[arg(long, env = "RATATOSK_PROCESSOR_GID", value_name = "GID")]
    pub processor_gid: Option<u32>,
    /// File that bounds what may be observed, root's own [default: /etc/ratatosk/policy.toml, if it is there]
    #[arg(long, env = "RATATOSK_POLICY", value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Bytes captured of the first call of a turn (a run of bytes in one direction)
    #[arg(long, env = "RATATOSK_TURN_BYTES", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(64..=16_384), value_name = "BYTES")]
    pub turn_bytes: u32,
    /// Bytes captured of later calls of a turn
    #[arg(long, env = "RATATOSK_CALL_BYTES", default_value_t = 512, value_parser = clap::value_parser!(u32).range(0..=16_384), value_name = "BYTES")]
    pub call_bytes: u32,
    /// How the log on stderr looks
    #[arg(long, env = "RATATOSK_LOG_FORMAT", default_value = "text", value_name = "FORMAT")]
    pub log_format: LogFormat,
    /// Probe family that carries payload, instead of the first that passes its self-test: socket, inet or inet_session
    #[arg(long, env = "RATATOSK_TIER", value_name = "TIER")]
    pub tier: Option<String>,
    /// Size of the ring that records wait in, a power of two
    #[arg(long, env = "RATATOSK_RING_BYTES", default_value_t = 4 << 20, value_parser = ring_bytes, value_name = "BYTES")]
    pub ring_bytes: u32,
    /// Bound of what waits for the processor, acknowledgements included
    #[arg(long, env = "RATATOSK_QUEUE_BYTES", default_value_t = 8 << 20, value_name = "BYTES")]
    pub queue_bytes: usize,
}

/// Smallest and largest ring: a page, and what fits a node's memory budget.
fn ring_bytes(text: &str) -> Result<u32, String> {
    let bytes: u32 = text.parse().map_err(|_| format!("{text:?} is no number of bytes"))?;
    let fits = bytes.is_power_of_two() && (4096..=1 << 30).contains(&bytes);
    if fits {
        Ok(bytes)
    } else {
        Err("a ring has a power of two of bytes, from 4096 to 1073741824".to_owned())
    }
}
