//! What an operator permits to be observed at all: one root-owned file, read once at start, before anything is loaded.
//!
//! in   a TOML file, [`DEFAULT_PATH`] unless another is named; each key that is absent bounds nothing
//! out  [`Policy`]; uids, cgroups and widths go into constants and frozen maps of the probes, the rest to `server`
//! keeps at most [`MAX_ENTRIES`] entries per list, [`file::MAX_BYTES`] of file

pub mod command;
pub mod file;
mod parse;
#[cfg(test)]
mod tests;

use file::FileError;
use glob::{MatchOptions, Pattern};
use std::{
    fmt,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

/// Where the policy is looked for when nobody names another place.
pub const DEFAULT_PATH: &str = "/etc/ratatosk/policy.toml";
/// Entries of one list, ranges of uids counted by what they hold: the size of the maps in the kernel.
pub const MAX_ENTRIES: usize = 1024;

/// `*` stays within a directory, `**` crosses; a file called `.x` is no secret to a bound.
const GLOB: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// A cgroup of the default hierarchy, as the policy names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cgroup {
    /// Below the mount point, begins with `/`.
    pub path: String,
    /// Its id when the loader started; `None`: it did not exist, so it permits nothing.
    pub id: Option<u64>,
}

/// The bounds. `None`: not bounded; an empty list permits nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// The file that says so; `None`: there is none, and everything is permitted.
    pub file: Option<PathBuf>,
    /// Real uids, in the initial user namespace.
    pub uids: Option<Vec<RangeInclusive<u32>>>,
    /// Cgroups, which permit their descendants too.
    pub cgroups: Option<Vec<Cgroup>>,
    /// Paths of executables.
    pub executables: Option<Vec<Pattern>>,
    /// Listening ports by which a process may be chosen.
    pub ports: Option<Vec<RangeInclusive<u16>>>,
    /// Probe families that may carry payload.
    pub families: Option<Vec<String>>,
    /// Most bytes of the first call of a turn.
    pub turn_bytes: Option<u32>,
    /// Most bytes of later calls.
    pub call_bytes: Option<u32>,
    /// Whether binaries and three variables of the environment may be looked at.
    pub examine: bool,
}

/// Why the policy is not in force.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file can't be trusted or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file says nothing that has a meaning.
    #[error("policy {path}: {reason}")]
    Invalid {
        /// The file.
        path: String,
        /// Line, and what is wrong.
        reason: String,
    },
}

impl Default for Policy {
    /// Bounds nothing: what holds without a file.
    fn default() -> Self {
        Self {
            file: None,
            uids: None,
            cgroups: None,
            executables: None,
            ports: None,
            families: None,
            turn_bytes: None,
            call_bytes: None,
            examine: true,
        }
    }
}

impl Policy {
    /// Reads the file that is named, or the one at [`DEFAULT_PATH`] if it is there.
    ///
    /// # Errors
    /// [`PolicyError`]: the loader must not start, since more would be permitted than somebody wanted.
    pub fn load(named: Option<&Path>) -> Result<Self, PolicyError> {
        let path = named.unwrap_or(Path::new(DEFAULT_PATH));
        match file::read(path) {
            Err(FileError::Missing(_)) if named.is_none() => Ok(Self::default()),
            text => Self::parse(path, &text?),
        }
    }

    fn parse(path: &Path, text: &str) -> Result<Self, PolicyError> {
        let invalid = |reason| PolicyError::Invalid { path: path.display().to_string(), reason };
        let mut policy = parse::parse(text).map_err(invalid)?;
        policy.file = Some(path.to_owned());
        Ok(policy)
    }

    /// What the kernel enforces: frozen before anything is attached.
    #[must_use]
    pub fn in_kernel(&self) -> ratatosk_bpf::Policy {
        let uids = self.uids.as_ref().map(|uids| uids.iter().cloned().flatten().collect());
        let ids = |cgroups: &Vec<Cgroup>| cgroups.iter().filter_map(|cgroup| cgroup.id).collect();
        ratatosk_bpf::Policy { uids, cgroups: self.cgroups.as_ref().map(ids) }
    }

    /// Whether this real uid may be observed.
    #[must_use]
    pub fn permits_uid(&self, uid: u32) -> bool {
        self.uids.as_ref().is_none_or(|uids| uids.iter().any(|range| range.contains(&uid)))
    }

    /// Whether a process in the cgroup with this path (of the default hierarchy) may be observed.
    #[must_use]
    pub fn permits_cgroup(&self, path: &str) -> bool {
        let holds = |cgroup: &Cgroup| {
            let rest = path.strip_prefix(cgroup.path.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.cgroups.as_ref().is_none_or(|cgroups| cgroups.iter().any(holds))
    }

    /// Whether the executable at this path may be observed. `None`, unreadable, only where none is bounded.
    #[must_use]
    pub fn permits_executable(&self, path: Option<&str>) -> bool {
        let Some(patterns) = &self.executables else { return true };
        let Some(path) = path else { return false };
        let path = path.strip_suffix(" (deleted)").unwrap_or(path);
        patterns.iter().any(|pattern| pattern.matches_with(path, GLOB))
    }

    /// Whether a process may be chosen by this listening port.
    #[must_use]
    pub fn permits_port(&self, port: u16) -> bool {
        self.ports.as_ref().is_none_or(|ports| ports.iter().any(|range| range.contains(&port)))
    }

    /// Whether this probe family may carry payload.
    #[must_use]
    pub fn permits_family(&self, name: &str) -> bool {
        self.families.as_ref().is_none_or(|families| families.iter().any(|family| family == name))
    }

    /// Whether a port match alone may let bytes through: only where neither uid, cgroup nor executable is bounded.
    #[must_use]
    pub const fn permits_by_port(&self) -> bool {
        self.uids.is_none() && self.cgroups.is_none() && self.executables.is_none()
    }

    /// What is bounded, a line each, as it could stand in the file.
    #[must_use]
    pub fn rules(&self) -> Vec<String> {
        Rule::ALL.into_iter().filter_map(|rule| self.rule(rule)).collect()
    }

    /// One bound as it could stand in the file, cut to what fits a line; `None`: not bounded.
    #[must_use]
    pub fn rule(&self, rule: Rule) -> Option<String> {
        let value = match rule {
            Rule::Uids => list(self.uids.as_ref()?.iter().map(range)),
            Rule::Cgroups => list(self.cgroups.as_ref()?.iter().map(|cgroup| quoted(&cgroup.path))),
            Rule::Executables => {
                list(self.executables.as_ref()?.iter().map(|pattern| quoted(pattern.as_str())))
            }
            Rule::Ports => list(self.ports.as_ref()?.iter().map(range)),
            Rule::Families => list(self.families.as_ref()?.iter().map(|name| quoted(name))),
            Rule::TurnBytes => self.turn_bytes?.to_string(),
            Rule::CallBytes => self.call_bytes?.to_string(),
            Rule::Examine if self.examine => return None,
            Rule::Examine => "false".to_owned(),
        };
        Some(format!("{} = {value}", rule.key()))
    }
}

/// Names one bound.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "the names are the keys of the file")]
pub enum Rule {
    Uids,
    Cgroups,
    Executables,
    Ports,
    Families,
    TurnBytes,
    CallBytes,
    Examine,
}

impl Rule {
    /// Every one, in the order in which they are told.
    pub const ALL: [Self; 8] = [
        Self::Uids,
        Self::Cgroups,
        Self::Executables,
        Self::Ports,
        Self::Families,
        Self::TurnBytes,
        Self::CallBytes,
        Self::Examine,
    ];

    /// Its key in the file.
    #[must_use]
    pub const fn key(self) -> &'static str {
        match self {
            Self::Uids => "uids",
            Self::Cgroups => "cgroups",
            Self::Executables => "executables",
            Self::Ports => "ports",
            Self::Families => "families",
            Self::TurnBytes => "turn_bytes",
            Self::CallBytes => "call_bytes",
            Self::Examine => "examine",
        }
    }
}

/// Entries of a list that a line shows.
const SHOWN_ENTRIES: usize = 8;

fn list(entries: impl Iterator<Item = String>) -> String {
    let entries: Vec<String> = entries.collect();
    let shown: Vec<&str> = entries.iter().take(SHOWN_ENTRIES).map(String::as_str).collect();
    let rest = entries.len().saturating_sub(SHOWN_ENTRIES);
    let more = if rest == 0 { String::new() } else { format!(", and {rest} more") };
    format!("[{}{more}]", shown.join(", "))
}

fn range<T: fmt::Display + PartialEq>(range: &RangeInclusive<T>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("\"{}-{}\"", range.start(), range.end())
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
