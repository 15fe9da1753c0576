//! What the settings that select are called, so that a reason names what a user wrote.

use super::Setting;
use crate::config::Selection;

/// Characters of a value that are shown.
const MAX_VALUE_CHARS: usize = 200;

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
    /// As they were set: `is_set` tells whether a variable has a value.
    #[must_use]
    pub fn from_environment(is_set: impl Fn(&str) -> bool) -> Self {
        let spelled = |name: &str| {
            let spellings = ["OTEL_EBPF_", "BEYLA_"].map(|prefix| format!("{prefix}{name}"));
            spellings.into_iter().find(|variable| is_set(variable))
        };
        let default = Self::default();
        Self {
            open_ports: spelled("OPEN_PORT").unwrap_or(default.open_ports),
            executables: ["AUTO_TARGET_EXE", "EXECUTABLE_PATH"].into_iter().filter_map(spelled).collect(),
            pids: spelled("TARGET_PID").unwrap_or(default.pids),
        }
    }

    /// Every setting that selects, with its value.
    #[must_use]
    pub fn settings(&self, selection: &Selection) -> Vec<Setting> {
        let patterns = selection.executables.iter().enumerate();
        let ports = (!selection.open_ports.is_empty()).then(|| self.ports(selection));
        let pids = (!selection.pids.is_empty()).then(|| self.pids(selection));
        let executables = patterns.map(|(place, pattern)| self.executable(place, pattern));
        ports.into_iter().chain(executables).chain(pids).collect()
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
        write!(f, "{}={}", self.name, self.value)
    }
}

fn setting(name: &str, value: &str) -> Setting {
    Setting { name: name.to_owned(), value: value.chars().take(MAX_VALUE_CHARS).collect() }
}
