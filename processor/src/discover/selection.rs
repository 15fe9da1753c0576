//! The criteria that select a process: those of one kind are alternatives, those of different kinds must all hold.

use crate::config::Selection;
use globset::{Glob, GlobSet, GlobSetBuilder};
use ratatosk_proto::v1::{PortRange, WantPorts};

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("executable pattern {pattern:?}: {source}")]
pub struct SelectionError {
    pattern: String,
    source: globset::Error,
}

/// A [`Selection`], ready to match.
#[derive(Clone, Debug)]
pub struct Matcher {
    selection: Selection,
    executables: GlobSet,
}

/// What is known of a process so far.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Process id.
    pub tgid: u32,
    /// Path of its executable, if it could be read.
    pub exe: Option<&'a str>,
    /// Ports that it listens on.
    pub ports: &'a [u16],
}

impl Matcher {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`SelectionError`] names the pattern.
    pub fn new(selection: Selection) -> Result<Self, SelectionError> {
        let mut builder = GlobSetBuilder::new();
        for pattern in &selection.executables {
            let failed = |source| SelectionError { pattern: pattern.clone(), source };
            builder.add(Glob::new(pattern).map_err(failed)?);
        }
        let failed = |source| SelectionError { pattern: selection.executables.join(","), source };
        let executables = builder.build().map_err(failed)?;
        Ok(Self { selection, executables })
    }

    /// Whether these facts select a process.
    #[must_use]
    pub fn selects(&self, facts: &Facts<'_>) -> bool {
        let Selection { open_ports, pids, executables } = &self.selection;
        let port = facts.ports.iter().any(|port| self.wants_port(*port));
        let exe = facts.exe.is_some_and(|exe| self.executables.is_match(exe));
        !self.selection.is_empty()
            && (open_ports.is_empty() || port)
            && (executables.is_empty() || exe)
            && (pids.is_empty() || pids.contains(&facts.tgid))
    }

    /// This port is named.
    #[must_use]
    pub fn wants_port(&self, port: u16) -> bool {
        self.selection.open_ports.iter().any(|range| range.contains(port))
    }

    /// A pid is among the criteria.
    #[must_use]
    pub const fn is_by_pid(&self) -> bool {
        !self.selection.pids.is_empty()
    }

    /// This pid is named.
    #[must_use]
    pub fn names_pid(&self, tgid: u32) -> bool {
        self.selection.pids.contains(&tgid)
    }

    /// Only executables decide: then a decision holds for every process of an executable.
    #[must_use]
    pub const fn is_by_executable(&self) -> bool {
        self.selection.open_ports.is_empty()
            && self.selection.pids.is_empty()
            && !self.selection.executables.is_empty()
    }

    /// The ports that matter to the loader.
    #[must_use]
    pub fn want_ports(&self) -> WantPorts {
        let ranges = self.selection.open_ports.iter();
        let ranges = ranges.map(|range| PortRange { first: range.first.into(), last: range.last.into() });
        let mark_only = !self.selection.executables.is_empty() || !self.selection.pids.is_empty();
        WantPorts { ranges: ranges.collect(), mark_only }
    }
}
