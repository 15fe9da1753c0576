//! What the operator lets a processor see. Everything, until there is a policy file.

use crate::server::processes::Process;

/// The operator's policy, read once at start.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Policy {}

impl Policy {
    /// A policy that bounds nothing.
    #[must_use]
    pub const fn allow_all() -> Self {
        Self {}
    }

    /// Whether a processor may see bytes of this process.
    #[must_use]
    pub const fn permits(&self, _process: &Process) -> bool {
        true
    }

    /// Whether a port match alone may let bytes through: only where neither uid, cgroup nor executable is bounded.
    #[must_use]
    pub const fn permits_by_port(&self) -> bool {
        true
    }
}
