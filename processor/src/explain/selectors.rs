//! What the settings that select are called, so that a reason names what a user wrote.

use super::Setting;
use crate::config::{Criteria, Selection};

/// Characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 200;
/// Entries of `discovery.instrument` that are shown: who has more looks into the file.
const MAX_ENTRIES: usize = 16;

/// Names of the settings behind a [`Selection`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Selectors {
    open_ports: String,
    /// In the order of [`Selection::executables`].
    executables: Vec<String>,
    pids: String,
}

impl Default for Selectors {
    /// As they are documented.
    fn default() -> Self {
        Self {
            open_ports: "BEYLA_OPEN_PORT".to_owned(),
            executables: Vec::new(),
            pids: "BEYLA_TARGET_PID".to_owned(),
        }
    }
}

impl Selectors {
    /// As they were set; `executables` in the order of [`Selection::executables`].
    #[must_use]
    pub const fn new(open_ports: String, executables: Vec<String>, pids: String) -> Self {
        Self { open_ports, executables, pids }
    }

    /// Every setting that selects, with its value.
    #[must_use]
    pub fn settings(&self, selection: &Selection) -> Vec<Setting> {
        let patterns = selection.executables.iter().enumerate();
        let ports = (!selection.open_ports.is_empty()).then(|| self.ports(selection));
        let pids = (!selection.pids.is_empty()).then(|| self.pids(selection));
        let executables = patterns.map(|(place, pattern)| self.executable(place, pattern));
        let entries = selection.rules.instrument.iter().take(MAX_ENTRIES).map(entry);
        ports.into_iter().chain(executables).chain(pids).chain(entries).collect()
    }

    /// The ports.
    pub(super) fn ports(&self, selection: &Selection) -> Setting {
        let ports: Vec<String> = selection.open_ports.iter().map(ToString::to_string).collect();
        setting(&self.open_ports, &ports.join(","))
    }

    /// The pattern at `place`.
    pub(super) fn executable(&self, place: usize, pattern: &str) -> Setting {
        setting(self.executables.get(place).map_or("BEYLA_AUTO_TARGET_EXE", String::as_str), pattern)
    }

    /// The pids.
    pub(super) fn pids(&self, selection: &Selection) -> Setting {
        let pids: Vec<String> = selection.pids.iter().map(ToString::to_string).collect();
        setting(&self.pids, &pids.join(","))
    }
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.value.as_str() {
            "" => f.write_str(&self.name),
            value => write!(f, "{}={value}", self.name),
        }
    }
}

/// An entry of a list is a name without a value: its criteria stand in the file.
fn entry(criteria: &Criteria) -> Setting {
    let name = criteria.label().chars().take(MAX_VALUE_CHARS).collect();
    Setting { name, value: String::new() }
}

fn setting(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.chars().take(MAX_VALUE_CHARS).collect() }
}
