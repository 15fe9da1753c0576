//! The criteria that select a process: those of one kind are alternatives, those of different kinds must all hold.
//! Entries of a configuration file stand beside them: see [`super::rules`].

use super::{
    rules::{RuleSet, Treatment},
    standing::{Matched, Miss},
};
use crate::config::Selection;
use globset::{Glob, GlobSet, GlobSetBuilder};
use ratatosk_proto::v1::{PortRange, WantPorts};

/// A pattern that is none.
#[derive(Debug, thiserror::Error)]
#[error("{pattern:?}: {problem}")]
pub struct SelectionError {
    pattern: String,
    problem: String,
}

/// A [`Selection`], ready to match.
#[derive(Clone, Debug)]
pub struct Matcher {
    selection: Selection,
    executables: GlobSet,
    /// An executable is named, not just any.
    names_executable: bool,
    rules: RuleSet,
}

/// What is known of a process so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// Process id.
    pub tgid: u32,
    /// No earlier process had this id.
    pub owns_pid: bool,
    /// Path of its executable, if it could be read.
    pub exe: Option<&'a str>,
    /// Its command line, arguments joined by spaces, if anybody asks for it.
    pub cmdline: Option<&'a str>,
    /// What it is written in, if that is known.
    pub language: Option<&'a str>,
    /// Its cgroup is that of a container.
    pub is_in_container: bool,
    /// Ports that it listens on.
    pub ports: &'a [u16],
}

impl SelectionError {
    pub(super) fn new(pattern: &str, problem: impl ToString) -> Self {
        Self { pattern: pattern.to_owned(), problem: problem.to_string() }
    }
}

impl Matcher {
    /// Compiles the patterns.
    ///
    /// # Errors
    /// [`SelectionError`] names the pattern.
    pub fn new(selection: Selection) -> Result<Self, SelectionError> {
        let mut builder = GlobSetBuilder::new();
        for pattern in &selection.executables {
            builder.add(Glob::new(pattern).map_err(|error| SelectionError::new(pattern, error))?);
        }
        let failed = |error| SelectionError::new(&selection.executables.join(","), error);
        let executables = builder.build().map_err(failed)?;
        let names_executable = selection.executables.iter().any(|glob| glob.contains(char::is_alphanumeric));
        let rules = RuleSet::new(&selection.rules)?;
        Ok(Self { selection, executables, names_executable, rules })
    }

    /// Whether these facts select a process.
    #[must_use]
    pub fn selects(&self, facts: &Facts<'_>) -> bool {
        self.judge(facts).is_ok()
    }

    /// What selects a process of these facts, or why nothing does.
    ///
    /// # Errors
    /// [`Miss`]: it is not selected.
    pub fn judge(&self, facts: &Facts<'_>) -> Result<Matched, Miss> {
        if let Some(place) = self.rules.excludes(facts) {
            return Err(Miss::Excluded(place));
        }
        self.matched(facts).or_else(|miss| match self.rules.wanting(facts).last() {
            Some((entry, _)) => Ok(Matched { entry: Some(entry), ..Matched::default() }),
            None if self.selection.has_criteria() || self.rules.is_empty() => Err(miss),
            None => Err(Miss::Entry),
        })
    }

    /// Beside the rules: which criteria hold, or the first that does not.
    fn matched(&self, facts: &Facts<'_>) -> Result<Matched, Miss> {
        let Selection { open_ports, pids, executables, .. } = &self.selection;
        let left_out = || self.rules.leaves_out(facts).filter(|_| !self.is_explicit());
        let is_open = |port: &u16| open_ports.iter().any(|range| range.contains(*port));
        let port = facts.ports.iter().copied().find(is_open);
        let executable = facts.exe.and_then(|exe| self.executables.matches(exe).first().copied());
        let pid = (facts.owns_pid && pids.contains(&facts.tgid)).then_some(facts.tgid);
        if !self.selection.has_criteria() {
            Err(Miss::NoSelector)
        } else if !pids.is_empty() && pid.is_none() {
            Err(Miss::Pid)
        } else if !executables.is_empty() && executable.is_none() {
            Err(Miss::Executable)
        } else if !open_ports.is_empty() && port.is_none() {
            Err(Miss::Port)
        } else if let Some(place) = left_out() {
            Err(Miss::ExcludedByDefault(place))
        } else {
            Ok(Matched { port, executable, pid, entry: None })
        }
    }

    /// This port is named.
    #[must_use]
    pub fn wants_port(&self, port: u16) -> bool {
        let is_in = |range: crate::config::PortRange| range.contains(port);
        self.selection.open_ports.iter().copied().any(is_in) || self.rules.ports().any(is_in)
    }

    /// What was asked for.
    #[must_use]
    pub const fn selection(&self) -> &Selection {
        &self.selection
    }

    /// What is selected beside the rules is named, not just everything.
    const fn is_explicit(&self) -> bool {
        !self.selection.open_ports.is_empty() || !self.selection.pids.is_empty() || self.names_executable
    }

    /// How a process with these facts is called and told.
    #[must_use]
    pub fn treatment(&self, facts: &Facts<'_>) -> Treatment {
        let entries = self.rules.wanting(facts).map(|(_, rule)| rule);
        if self.matched(facts).is_ok() {
            self.rules.treatment_beside(entries)
        } else {
            self.rules.treatment(entries)
        }
    }

    /// This pid is named.
    #[must_use]
    pub fn names_pid(&self, tgid: u32) -> bool {
        self.selection.pids.contains(&tgid) || self.rules.pids().any(|pid| pid == tgid)
    }

    /// The command line matters.
    #[must_use]
    pub fn needs_cmdline(&self) -> bool {
        self.rules.needs_cmdline()
    }

    /// The language matters.
    #[must_use]
    pub fn needs_language(&self) -> bool {
        self.rules.needs_language()
    }

    /// Whether how a process is told depends on what selects it.
    #[must_use]
    pub fn tells_apart(&self) -> bool {
        self.rules.tells_apart()
    }

    /// Only executables decide: then a decision holds for every process of an executable.
    #[must_use]
    pub fn is_by_executable(&self) -> bool {
        let Selection { open_ports, pids, .. } = &self.selection;
        !self.selection.is_empty()
            && open_ports.is_empty()
            && pids.is_empty()
            && self.rules.executables_decide()
    }

    /// The ports that matter to the loader.
    #[must_use]
    pub fn want_ports(&self) -> WantPorts {
        let own = self.selection.open_ports.iter().copied().chain(self.rules.ports());
        let ranges = own.map(|range| PortRange { first: range.first.into(), last: range.last.into() });
        let is_mixed = !self.selection.open_ports.is_empty()
            && (!self.selection.executables.is_empty() || !self.selection.pids.is_empty());
        WantPorts { ranges: ranges.collect(), mark_only: is_mixed || !self.rules.ports_decide() }
    }
}

#[cfg(test)]
#[path = "selection_tests.rs"]
mod tests;
