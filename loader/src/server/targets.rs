//! Which processes and ports are wanted: bytes in arrays that the probes read.
//!
//! A pid may be reused between what the rings told and the write that follows. Each write is stamped after it happened,
//! and a record of the kernel that is older than the write, yet read later, repairs the byte.

use crate::policy::Policy;
use crate::server::kernel::Kernel;
use crate::server::processes::{Decided, Process};
use ratatosk_abi::{PortMode, TargetState};
use ratatosk_proto::v1::PortRange;
use std::collections::HashMap;

/// Ranges in one message: far more than people write, and what a message of 64 KiB could hold is not needed.
pub const MAX_PORT_RANGES: usize = 256;

/// How long a write to a process that had ended is remembered: its successor's fork record comes with the next drain.
const LATE_WRITE_NS: u64 = 1_000_000_000;

/// A port list that means nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PortError {
    /// More than [`MAX_PORT_RANGES`].
    #[error("{0} port ranges, at most {MAX_PORT_RANGES}")]
    TooMany(usize),
    /// Not 1 to 65535, or first after last.
    #[error("port range {first}-{last}")]
    BadRange {
        /// As sent.
        first: u32,
        /// As sent.
        last: u32,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Targets {
    ports: Vec<PortMode>,
    late_writes: HashMap<u32, u64>,
}

impl Default for Targets {
    fn default() -> Self {
        Self { ports: vec![PortMode::None; 1 << 16], late_writes: HashMap::new() }
    }
}

impl Targets {
    /// Replaces the wanted ports by those that the policy permits, writing only what changed.
    ///
    /// # Errors
    /// [`PortError`], and nothing is written.
    pub fn want<K: Kernel>(
        &mut self,
        kernel: &mut K,
        ranges: &[PortRange],
        mode: PortMode,
        policy: &Policy,
    ) -> Result<(), PortError> {
        let mut wanted = spread(ranges, mode)?;
        let permitted = |port: &u16| policy.permits_port(*port);
        for (_, mode) in (0..=u16::MAX).zip(&mut wanted).filter(|(port, _)| !permitted(port)) {
            *mode = PortMode::None;
        }
        for (port, (old, new)) in (0..=u16::MAX).zip(self.ports.iter().zip(&wanted)) {
            if old != new {
                kernel.set_port(port, *new);
            }
        }
        self.ports = wanted;
        Ok(())
    }

    /// What a listener on this port becomes, if anybody wants it.
    #[must_use]
    pub fn wanted_by(&self, port: u16) -> Option<TargetState> {
        match self.ports.get(usize::from(port))? {
            PortMode::None => None,
            PortMode::Observe => Some(TargetState::Observed),
            PortMode::Mark => Some(TargetState::Wanted),
        }
    }

    /// Writes the state of a process, unless it is denied or our own. Gives whether it was written.
    pub fn decide<K: Kernel>(kernel: &mut K, process: &mut Process, state: TargetState) -> bool {
        if matches!(kernel.target(process.tgid()), TargetState::Own | TargetState::Denied) {
            return false;
        }
        kernel.set_target(process.tgid(), state);
        process.decided = Some(Decided { state, written_ns: kernel.now() });
        true
    }

    /// A process took over this tgid at `ktime_ns`: a write meant for another one is replaced by what the kernel set.
    pub fn repair<K: Kernel>(
        &mut self,
        kernel: &mut K,
        replaced: Option<&Process>,
        tgid: u32,
        (ktime_ns, kernel_set): (u64, TargetState),
    ) {
        let late = self.late_writes.remove(&tgid);
        let decided = replaced.and_then(|process| process.decided).map(|decided| decided.written_ns);
        if late.max(decided).is_some_and(|written_ns| ktime_ns <= written_ns) {
            kernel.set_target(tgid, kernel_set);
        }
    }

    /// A process ended at `ktime_ns`: a later write to its byte is remembered.
    pub fn retire(&mut self, ended: &Process, ktime_ns: u64) {
        if let Some(decided) = ended.decided.filter(|decided| ktime_ns <= decided.written_ns) {
            self.late_writes.insert(ended.tgid(), decided.written_ns);
        }
    }

    /// After a drain: bytes written to processes that had ended, and that nobody took over, are cleared.
    pub fn settle<K: Kernel>(&mut self, kernel: &mut K) {
        if self.late_writes.is_empty() {
            return;
        }
        let oldest_ns = kernel.now().saturating_sub(LATE_WRITE_NS);
        self.late_writes.retain(|_, written_ns| *written_ns >= oldest_ns);
        for (tgid, written_ns) in &mut self.late_writes {
            if !matches!(kernel.target(*tgid), TargetState::Unknown | TargetState::Denied | TargetState::Own)
            {
                kernel.set_target(*tgid, TargetState::Unknown);
                *written_ns = kernel.now();
            }
        }
    }
}

fn spread(ranges: &[PortRange], mode: PortMode) -> Result<Vec<PortMode>, PortError> {
    if ranges.len() > MAX_PORT_RANGES {
        return Err(PortError::TooMany(ranges.len()));
    }
    let mut wanted = vec![PortMode::None; 1 << 16];
    for PortRange { first, last } in ranges.iter().copied() {
        let bounds = (usize::try_from(first), usize::try_from(last));
        let (Ok(from), Ok(to @ 1..=0xFFFF)) = bounds else {
            return Err(PortError::BadRange { first, last });
        };
        let Some(range) = wanted.get_mut(from..=to).filter(|_| 0 < from && from <= to) else {
            return Err(PortError::BadRange { first, last });
        };
        range.fill(mode);
    }
    Ok(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_spread_over_ports() {
        let ranges = [PortRange { first: 80, last: 81 }, PortRange { first: 65_535, last: 65_535 }];
        let wanted = spread(&ranges, PortMode::Mark).expect("good ranges");
        let ports: Vec<usize> = (0..wanted.len()).filter(|port| wanted[*port] == PortMode::Mark).collect();
        assert_eq!(ports, [80, 81, 65_535]);
    }

    #[test]
    fn ranges_that_mean_nothing_are_refused() {
        for (first, last) in [(0, 1), (2, 1), (1, 65_536), (0, 0), (u32::MAX, u32::MAX)] {
            let error = spread(&[PortRange { first, last }], PortMode::Observe).err();
            assert_eq!(error, Some(PortError::BadRange { first, last }), "{first}-{last}");
        }
        let many = [PortRange { first: 1, last: 2 }; MAX_PORT_RANGES + 1];
        assert!(matches!(spread(&many, PortMode::Observe), Err(PortError::TooMany(257))));
    }
}
