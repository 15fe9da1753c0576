//! What the probes share with user space, mapped: rings, target states, ports, decisions, counters, heartbeat.

pub mod mapping;
pub mod preemption;
mod rings;

pub use rings::Rings;

use crate::server::kernel::Kernel;
use libbpf_rs::{MapCore, MapHandle};
use mapping::Mapping;
use ratatosk_abi::{
    ControlWords, CpuCounters, EXE_PROBES, EXE_SLOTS, ExeDecision, PortMode, TARGETS_PER_PAGE, TargetState,
    counter,
};
use ratatosk_bpf::{LoadOptions, SharedMaps};
use std::{
    os::fd::{AsFd, BorrowedFd},
    sync::atomic::{AtomicU64, Ordering},
};

/// Why the shared memory could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// A map of the probes is not there.
    #[error("no map called {0}")]
    NoMap(&'static str),
    /// mmap(2) failed.
    #[error("mapping {0}: {1}")]
    Map(&'static str, nix::Error),
    /// libbpf could not map the rings.
    #[error("mapping the rings: {0}")]
    Rings(libbpf_rs::Error),
}

/// A heartbeat later than that silences the probes (`HEARTBEAT_LATE_NS` in target.bpf.h).
const BEAT_LATE_NS: u64 = 5_000_000_000;

/// Everything that `server` needs of the kernel, without any capability and without bpf(2).
#[derive(Debug)]
pub struct MappedKernel {
    rings: Rings,
    targets: Mapping,
    ports: Mapping,
    exes: Mapping,
    counters: Mapping,
    words: Mapping,
}

const PORTS: usize = 65_536;
/// Words of 8 bytes of one [`ExeDecision`]: inode, cgroup, device with state.
const EXE_WORDS: usize = size_of::<ExeDecision>() / 8;

fn find<'a>(maps: &'a SharedMaps, name: &'static str) -> Result<&'a MapHandle, KernelError> {
    maps.map(name).ok_or(KernelError::NoMap(name))
}

fn map(maps: &SharedMaps, name: &'static str, len: usize) -> Result<Mapping, KernelError> {
    let handle = find(maps, name)?;
    debug_assert!(handle.max_entries() > 0, "an array has a size");
    Mapping::of_map(handle.as_fd(), len).map_err(|e| KernelError::Map(name, e))
}

impl MappedKernel {
    /// Maps what the probes share.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn new(maps: &SharedMaps, options: &LoadOptions) -> Result<Self, KernelError> {
        let pages = usize::try_from(options.target_pages()).unwrap_or(1);
        let cpus = usize::try_from(options.cpus).unwrap_or(1);
        Ok(Self {
            rings: Rings::new(find(maps, "control_ring")?, find(maps, "data_ring")?)
                .map_err(KernelError::Rings)?,
            targets: map(maps, "target_by_tgid", pages * TARGETS_PER_PAGE)?,
            ports: map(maps, "port_modes", PORTS)?,
            exes: map(maps, "exe_decisions", EXE_SLOTS * size_of::<ExeDecision>())?,
            counters: map(maps, "counters", cpus * size_of::<CpuCounters>())?,
            words: map(maps, "control_words", size_of::<ControlWords>())?,
        })
    }

    fn exe_words(&self, slot: usize) -> Option<&'static [AtomicU64]> {
        self.exes.words().get(slot * EXE_WORDS..(slot + 1) * EXE_WORDS)
    }

    /// The slot that holds this key, or the first free one.
    fn exe_slot(&self, decision: &ExeDecision) -> Option<&'static [AtomicU64]> {
        (0..EXE_PROBES)
            .filter_map(|step| {
                let slot = ExeDecision::slot(decision.exe_ino, decision.exe_dev, decision.cgroup_id, step);
                self.exe_words(slot)
            })
            .find(|words| is_free(words) || holds(words, decision))
    }

    /// `server` gave the probes their heartbeat within [`BEAT_LATE_NS`].
    #[must_use]
    pub fn is_beating(&self) -> bool {
        let last = self.words.words().first().map_or(0, |word| word.load(Ordering::Relaxed));
        boottime_ns() <= last.saturating_add(BEAT_LATE_NS)
    }

    /// How many processes are observed now.
    #[must_use]
    pub fn observed(&self) -> usize {
        let observed = TargetState::Observed as u8;
        self.targets.bytes().iter().filter(|byte| byte.load(Ordering::Relaxed) == observed).count()
    }
}

fn is_free(words: &[AtomicU64]) -> bool {
    words.get(2).is_some_and(|word| word.load(Ordering::Relaxed) >> 32 == 0)
}

fn holds(words: &[AtomicU64], decision: &ExeDecision) -> bool {
    let at = |i: usize| words.get(i).map_or(0, |word| word.load(Ordering::Relaxed));
    let device = at(2) & u64::from(u32::MAX);
    at(0) == decision.exe_ino && at(1) == decision.cgroup_id && device == u64::from(decision.exe_dev)
}

/// `CLOCK_BOOTTIME` in nanoseconds.
#[must_use]
pub fn boottime_ns() -> u64 {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME);
    let duration = now.map_or_else(|_| std::time::Duration::ZERO, std::time::Duration::from);
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Kernel for MappedKernel {
    fn drain(&mut self, control: &mut dyn FnMut(&[u8]), data: &mut dyn FnMut(&[u8])) {
        self.rings.drain(control, data);
    }

    fn wake_fd(&self) -> BorrowedFd<'_> {
        self.rings.epoll_fd()
    }

    fn counters(&self) -> [u64; counter::SLOTS] {
        let mut sums = [0_u64; counter::SLOTS];
        for cpu in self.counters.words().chunks_exact(counter::SLOTS) {
            for (sum, word) in sums.iter_mut().zip(cpu) {
                *sum = sum.wrapping_add(word.load(Ordering::Relaxed));
            }
        }
        sums
    }

    fn target(&self, tgid: u32) -> TargetState {
        let byte = usize::try_from(tgid).ok().and_then(|at| self.targets.bytes().get(at));
        byte.and_then(|byte| TargetState::from_raw(byte.load(Ordering::Relaxed)))
            .unwrap_or(TargetState::Unknown)
    }

    fn set_target(&mut self, tgid: u32, state: TargetState) {
        if let Some(byte) = usize::try_from(tgid).ok().and_then(|at| self.targets.bytes().get(at)) {
            byte.store(state as u8, Ordering::Relaxed);
        }
    }

    fn set_port(&mut self, port: u16, mode: PortMode) {
        if let Some(byte) = self.ports.bytes().get(usize::from(port)) {
            byte.store(mode as u8, Ordering::Relaxed);
        }
    }

    /// A full neighbourhood is no error: the decision is then made again at the next exec.
    fn remember_exe(&mut self, decision: ExeDecision) {
        let Some([ino, cgroup, state]) = self.exe_slot(&decision) else { return };
        ino.store(decision.exe_ino, Ordering::Relaxed);
        cgroup.store(decision.cgroup_id, Ordering::Relaxed);
        // device and state are one word: a probe sees the key whole or the slot free
        state.store(u64::from(decision.exe_dev) | u64::from(decision.state) << 32, Ordering::Release);
    }

    fn forget_exes(&mut self) {
        for slot in 0..EXE_SLOTS {
            if let Some([_, _, state]) = self.exe_words(slot) {
                state.store(0, Ordering::Relaxed);
            }
        }
    }

    fn beat(&mut self, ktime_ns: u64) {
        if let Some(word) = self.words.words().first() {
            word.store(ktime_ns, Ordering::Relaxed);
        }
    }

    fn now(&self) -> u64 {
        boottime_ns()
    }
}
