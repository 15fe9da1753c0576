//! Mirror of `shared.h`: memory that the probes and the loader's `server` both map.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `enum target_state`: one byte per tgid.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum TargetState {
    /// Nobody decided yet: bytes are counted, not read.
    Unknown = 0,
    /// A port matched, the decision is still to come.
    Wanted = 1,
    /// Observed.
    Observed = 2,
    /// Denied by the policy.
    Denied = 3,
    /// Part of the agent.
    Own = 4,
    /// Looked at, not selected.
    Ignored = 5,
}

impl TargetState {
    /// The state with this number.
    #[must_use]
    pub const fn from_raw(raw: u8) -> Option<Self> {
        match raw {
            0 => Some(Self::Unknown),
            1 => Some(Self::Wanted),
            2 => Some(Self::Observed),
            3 => Some(Self::Denied),
            4 => Some(Self::Own),
            5 => Some(Self::Ignored),
            _ => None,
        }
    }
}

/// `enum port_mode`: one byte per port.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum PortMode {
    /// Nobody asked for it.
    None = 0,
    /// Who listens here is observed at once.
    Observe = 1,
    /// Who listens here becomes [`TargetState::Wanted`].
    Mark = 2,
}

/// States per element of `target_by_tgid`.
pub const TARGETS_PER_PAGE: usize = 4096;
/// Slots of the decisions about executables.
pub const EXE_SLOTS: usize = 4096;
/// Steps of open addressing.
pub const EXE_PROBES: usize = 8;

/// `struct exe_decision`: what was decided about (executable, cgroup).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ExeDecision {
    /// Inode.
    pub exe_ino: u64,
    /// Cgroup id.
    pub cgroup_id: u64,
    /// Device.
    pub exe_dev: u32,
    /// [`TargetState`], 0: free; written last.
    pub state: u32,
}

impl ExeDecision {
    /// Slot of the `step`th probe: the same function as `exe_slot` in `target.bpf.h`.
    #[must_use]
    pub const fn slot(exe_ino: u64, exe_dev: u32, cgroup_id: u64, step: usize) -> usize {
        let key = exe_ino ^ (u64::from_le_bytes(widen(exe_dev)) << 32);
        let mut hash = key.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(cgroup_id);
        hash ^= hash >> 29;
        hash = hash.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let [a, b, c, ..] = (hash >> 40).to_le_bytes();
        (a as usize + ((b as usize) << 8) + ((c as usize) << 16) + step) % EXE_SLOTS
    }
}

/// `u64::from` is not const yet.
const fn widen(value: u32) -> [u8; 8] {
    let [a, b, c, d] = value.to_le_bytes();
    [a, b, c, d, 0, 0, 0, 0]
}

/// `enum counter_slot`.
#[allow(missing_docs, reason = "shared.h says what each counts")]
pub mod counter {
    pub const DATA_SUBMITTED: usize = 0;
    pub const CONTROL_SUBMITTED: usize = 1;
    pub const DATA_RING_FULL: usize = 2;
    pub const CONTROL_RING_FULL: usize = 3;
    pub const UNDECIDED: usize = 4;
    pub const SILENCED: usize = 5;
    pub const CAPTURED_BYTES: usize = 6;
    pub const ORIGINAL_BYTES: usize = 7;
    pub const SOCKET_CALLS: usize = 8;
    pub const POLICY_DENIED: usize = 9;
    pub const NESTED_CALL: usize = 10;
    pub const UNNAMED_SOCKET: usize = 11;
    /// First of the slots by [`crate::Missing`].
    pub const MISSING: usize = 16;
    pub const SLOTS: usize = 32;
}

/// `struct cpu_counters`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct CpuCounters {
    /// By [`counter`].
    pub slot: [u64; counter::SLOTS],
}

/// `struct control_words`: what user space changes while the probes run.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq)]
pub struct ControlWords {
    /// Written by `server` every 100 ms; 0: the probes are silent.
    pub heartbeat_ktime_ns: u64,
    /// Zero.
    pub reserved: [u64; 7],
}
