//! Ctrl-C and its kin, held back until a guest and its helpers are gone.

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{SigSet, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};
use std::os::fd::AsFd;

/// Signals that wait for as long as this lives. Whoever is started meanwhile does not inherit it: std gives children an
/// empty mask.
#[derive(Debug)]
pub struct Interrupts {
    held: SigSet,
    fd: SignalFd,
}

impl Interrupts {
    /// Holds them back in this thread and in those that it starts.
    pub fn hold() -> nix::Result<Self> {
        let held: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP].into_iter().collect();
        held.thread_block()?;
        let fd = SignalFd::with_flags(&held, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Self { held, fd })
    }

    /// One came. It is left for the process to die of, once nothing holds it back.
    pub fn came(&self) -> bool {
        let mut fds = [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        let _unblocked = self.held.thread_unblock();
    }
}
