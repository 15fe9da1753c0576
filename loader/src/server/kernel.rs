//! What the kernel side looks like to `server`.

use ratatosk_abi::{ExeDecision, PortMode, TargetState, counter};
use std::os::fd::BorrowedFd;

/// Rings and shared arrays. `server` holds mappings of them, and no bpf fd.
pub trait Kernel {
    /// Gives every finished record that is now in the rings, control records first.
    fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8]));
    /// An epoll fd over the rings, readable at the watermark.
    fn wake_fd(&self) -> BorrowedFd<'_>;
    /// Counters summed over all CPUs, by [`counter`].
    fn counters(&self) -> [u64; counter::SLOTS];
    /// State of a process.
    fn target(&self, tgid: u32) -> TargetState;
    /// Writes the state of a process.
    fn set_target(&mut self, tgid: u32, state: TargetState);
    /// Writes what a listener on `port` means.
    fn set_port(&mut self, port: u16, mode: PortMode);
    /// Decides about later processes of an executable in a cgroup.
    fn remember_exe(&mut self, decision: ExeDecision);
    /// Forgets every decision about executables.
    fn forget_exes(&mut self);
    /// Tells the probes that `server` lives; every 100 ms.
    fn beat(&mut self, ktime_ns: u64);
    /// `CLOCK_BOOTTIME`, nanoseconds.
    fn now(&self) -> u64;
}
