//! Stub until merged.
use ratatosk_abi::{ExeDecision, PortMode, TargetState, counter};
use std::os::fd::RawFd;
/// What the kernel side looks like to `server`.
pub trait Kernel {
    /// Every finished record now in the rings, control first.
    fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8]));
    /// epoll fd over the rings, readable at the watermark.
    fn wake_fd(&self) -> RawFd;
    /// Summed over CPUs.
    fn counters(&self) -> [u64; counter::SLOTS];
    /// State of a process.
    fn target(&self, tgid: u32) -> TargetState;
    /// Sets it.
    fn set_target(&mut self, tgid: u32, state: TargetState);
    /// Sets the mode of a port.
    fn set_port(&mut self, port: u16, mode: PortMode);
    /// Remembers.
    fn remember_exe(&mut self, decision: ExeDecision);
    /// Forgets all.
    fn forget_exes(&mut self);
    /// Heartbeat.
    fn beat(&mut self, ktime_ns: u64);
    /// `CLOCK_BOOTTIME` ns.
    fn now(&self) -> u64;
}
