//! `cargo xtask vm --kernel K -- command`: a command on another kernel, in a QEMU guest without KVM.
//!
//! The guest's root is this machine's or `--root`, shared read-only, with a tmpfs over it: what it writes is gone with it,
//! but in directories named by `--share`. It has no network but loopback. Exit code, stdout and stderr come back.

mod guest;
mod initramfs;
mod interrupt;
mod kernel;
mod tree;

use anyhow::Context;
pub use kernel::{Kernel, succeed};
use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};
pub use tree::{SECCOMP_PROFILE, tree};

/// Exit code of a guest that did not end in time, as of timeout(1).
pub const TIMED_OUT: u8 = 124;
/// Exit code of a guest that ended without saying how.
pub const DIED: u8 = 125;

/// Options of `vm`.
#[derive(Debug, clap::Args)]
pub struct Vm {
    /// Kernel: 5.10, 6.1, 6.12 or sid; fetched from the machine's own Debian mirror the first time
    #[arg(long)]
    pub kernel: String,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    pub cpus: u32,
    /// Memory, as QEMU takes it
    #[arg(long, default_value = "1G")]
    pub memory: String,
    /// Seconds until the guest is ended with exit code 124
    #[arg(long, default_value_t = 120)]
    pub limit: u64,
    /// Directory that is shared read-write at its own path
    #[arg(long)]
    pub share: Vec<PathBuf>,
    /// Directory tree that is the guest's root, with a shell in it
    #[arg(long, default_value = "/")]
    pub root: PathBuf,
    /// systemd is the first process; the command is run by a unit once basic.target is reached
    #[arg(long)]
    pub systemd: bool,
    /// More of the kernel's command line, as lockdown=confidentiality
    #[arg(long, default_value = "")]
    pub append: String,
    /// One vCPU whose clock counts instructions: times repeat
    #[arg(long)]
    pub icount: bool,
    /// The kernel's log on stderr
    #[arg(long, short)]
    pub verbose: bool,
    /// The command, run as root in the current directory
    #[arg(last = true, required = true)]
    pub command: Vec<OsString>,
}

/// How a guest ended.
#[derive(Debug)]
pub enum Ended {
    /// The command ended with this exit code.
    Code(u8),
    /// It was ended at its limit.
    TimedOut {
        /// End of the kernel's log.
        console: String,
    },
    /// It ended, or hung while it booted, without an exit code.
    Died {
        /// Its first process ran.
        has_booted: bool,
        /// End of the kernel's log.
        console: String,
    },
}

/// Where that goes which the command prints.
pub struct Output {
    /// Its stdout.
    pub stdout: Box<dyn Write + Send>,
    /// Its stderr.
    pub stderr: Box<dyn Write + Send>,
}

/// The kernel called `name`, fetched if it is not here, with all that a guest needs.
pub fn fetched(name: &str) -> anyhow::Result<Kernel> {
    kernel::fetched(name).with_context(|| format!("fetching kernel {name}"))
}

/// Boots a kernel and runs the command.
pub fn boot(vm: &Vm, kernel: &Kernel, output: Output) -> anyhow::Result<Ended> {
    guest::run(vm, kernel, output)
}

/// Runs the command; gives its exit code.
pub fn run(vm: &Vm) -> anyhow::Result<u8> {
    let output = Output { stdout: Box::new(io::stdout()), stderr: Box::new(io::stderr()) };
    Ok(match boot(vm, &fetched(&vm.kernel)?, output)? {
        Ended::Code(code) => code,
        Ended::TimedOut { .. } => {
            eprintln!("vm: ended after {} s", vm.limit);
            TIMED_OUT
        }
        Ended::Died { console, .. } => {
            eprintln!("vm: the guest died; its console ends with:\n{console}");
            DIED
        }
    })
}
