//! The operator's policy as `server` enforces it: executables, ports, and who may be examined.
//!
//! Uids and cgroups are enforced in the kernel, at each call: a process may change its uid after it was looked at. What
//! is said about them here is for people.

use crate::policy::{Policy, Rule};
use crate::server::processes::{Info, Process};
use ratatosk_abi::readable;
use ratatosk_proto::v1;
use std::collections::VecDeque;

/// Denials that wait for the stream; each is also counted, and the first of a second are audit lines.
const MAX_WAITING: usize = 256;
/// Runs of ports in one denial.
pub(super) const MAX_DENIED_RUNS: usize = 16;

/// Why the policy says no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denial {
    /// Its executable is not permitted, or could not be read.
    Executable,
    /// It listens on no permitted port, or such ports were asked for.
    Port,
    /// Its uid is not permitted as long as it keeps it.
    Uid,
    /// Its cgroup is not permitted as long as it stays in it.
    Cgroup,
    /// Nobody may be examined.
    Examine,
}

impl Denial {
    /// Every reason.
    pub const ALL: [Self; 5] = [Self::Executable, Self::Port, Self::Uid, Self::Cgroup, Self::Examine];

    /// Value of the label `reason`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Executable => "executable",
            Self::Port => "port",
            Self::Uid => "uid",
            Self::Cgroup => "cgroup",
            Self::Examine => "examine",
        }
    }

    const fn rule(self) -> Rule {
        match self {
            Self::Executable => Rule::Executables,
            Self::Port => Rule::Ports,
            Self::Uid => Rule::Uids,
            Self::Cgroup => Rule::Cgroups,
            Self::Examine => Rule::Examine,
        }
    }
}

/// The policy, and what was denied by it.
#[derive(Debug)]
pub struct Guard {
    policy: Policy,
    waiting: VecDeque<v1::Denied>,
    denied: [u64; Denial::ALL.len()],
}

impl Guard {
    /// Enforces `policy`.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self { policy, waiting: VecDeque::new(), denied: [0; Denial::ALL.len()] }
    }

    /// The bounds.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Whether the executable of a process is permitted. Final until it executes another.
    ///
    /// # Errors
    /// [`Denial::Executable`].
    pub fn check_executable(&self, process: &Process) -> Result<(), Denial> {
        let exe = process.info.as_deref().filter(|info| info.readable & readable::EXE != 0);
        let exe = exe.map(|info| String::from_utf8_lossy(&info.exe));
        if self.policy.permits_executable(exe.as_deref()) { Ok(()) } else { Err(Denial::Executable) }
    }

    /// Whether one of these listening ports is permitted, or ports are not bounded.
    ///
    /// # Errors
    /// [`Denial::Port`].
    pub fn check_ports(&self, mut ports: impl Iterator<Item = u16>) -> Result<(), Denial> {
        let permits = self.policy.ports.is_none() || ports.any(|port| self.policy.permits_port(port));
        if permits { Ok(()) } else { Err(Denial::Port) }
    }

    /// What the kernel will refuse as things are now.
    #[must_use]
    pub fn withheld(&self, process: &Process) -> Option<Denial> {
        let cgroup = process.info.as_deref().and_then(default_cgroup);
        if !self.policy.permits_uid(process.record.uid) {
            Some(Denial::Uid)
        } else if cgroup.is_some_and(|path| !self.policy.permits_cgroup(&path)) {
            Some(Denial::Cgroup)
        } else {
            None
        }
    }

    /// Whether a decision about an executable may be remembered for processes that are not known yet.
    #[must_use]
    pub const fn may_remember(&self) -> bool {
        self.policy.ports.is_none()
    }

    /// Counts a denial, and keeps it for the processor.
    pub fn deny(&mut self, denial: Denial, handle: u64, ports: Vec<v1::PortRange>) {
        let counted = self.denied.get_mut(denial as usize);
        counted.into_iter().for_each(|count| *count += 1);
        if self.waiting.len() < MAX_WAITING {
            let file = self.policy.file.as_ref().map(|file| file.display().to_string());
            self.waiting.push_back(v1::Denied {
                handle,
                ports,
                reason: denial.name().to_owned(),
                rule: self.policy.rule(denial.rule()).unwrap_or_default(),
                file: file.unwrap_or_default(),
            });
        }
    }

    /// The next denial for the processor.
    pub fn next_denied(&mut self) -> Option<v1::Denied> {
        self.waiting.pop_front()
    }

    /// What was for another processor.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// Denials by reason, since this server started.
    #[must_use]
    pub fn denied_by_reason(&self) -> Vec<v1::Dropped> {
        let counts = Denial::ALL.iter().zip(self.denied);
        counts.map(|(denial, records)| v1::Dropped { reason: denial.name().to_owned(), records }).collect()
    }
}

/// Path in the default hierarchy: the line `0::/path` of `/proc/<pid>/cgroup`.
fn default_cgroup(info: &Info) -> Option<String> {
    let text = String::from_utf8_lossy(&info.cgroup);
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

/// The ports of `ranges` that the policy does not permit, as runs, at most [`MAX_DENIED_RUNS`] of them.
#[must_use]
pub(super) fn denied_runs(policy: &Policy, wanted: impl Iterator<Item = u16>) -> Vec<v1::PortRange> {
    let mut runs: Vec<v1::PortRange> = Vec::new();
    for port in wanted.filter(|port| !policy.permits_port(*port)).map(u32::from) {
        let follows = runs.last_mut().filter(|run| run.last + 1 == port);
        if let Some(run) = follows {
            run.last = port;
        } else if runs.len() < MAX_DENIED_RUNS {
            runs.push(v1::PortRange { first: port, last: port });
        } else {
            break;
        }
    }
    runs
}
