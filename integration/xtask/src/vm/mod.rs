//! `cargo xtask vm --kernel K -- command`: a command on another kernel, in a QEMU guest without KVM.
//!
//! The guest's root is this machine's, shared read-only, with a tmpfs over it: what it writes is gone with it, but in
//! directories named by `--share`. It has no network but loopback. Exit code, stdout and stderr come back.

mod guest;
mod initramfs;
mod kernel;

use anyhow::Context;
use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Exit code of a guest that did not end in time, as of timeout(1).
pub const TIMED_OUT: u8 = 124;
/// Exit code of a guest that ended without saying how.
pub const DIED: u8 = 125;

/// Options of `vm`.
#[derive(Debug, clap::Args)]
pub struct Vm {
    /// Kernel: 5.10, 6.1, 6.12 or sid; fetched from the machine's own Debian mirror the first time
    #[arg(long)]
    kernel: String,
    /// Virtual CPUs
    #[arg(long, default_value_t = 2)]
    cpus: u32,
    /// Memory, as QEMU takes it
    #[arg(long, default_value = "1G")]
    memory: String,
    /// Seconds until the guest is ended with exit code 124
    #[arg(long, default_value_t = 120)]
    limit: u64,
    /// Directory that is shared read-write at its own path
    #[arg(long)]
    share: Vec<PathBuf>,
    /// More of the kernel's command line, as lockdown=confidentiality
    #[arg(long, default_value = "")]
    append: String,
    /// One vCPU whose clock counts instructions: times repeat
    #[arg(long)]
    icount: bool,
    /// The kernel's log on stderr
    #[arg(long, short)]
    verbose: bool,
    /// The command, run as root in the current directory
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Runs the command; gives its exit code.
pub fn run(vm: &Vm) -> anyhow::Result<u8> {
    let kernel = kernel::fetched(&vm.kernel).with_context(|| format!("fetching kernel {}", vm.kernel))?;
    let limit = Duration::from_secs(vm.limit);
    guest::run(vm, &kernel, limit)
}
