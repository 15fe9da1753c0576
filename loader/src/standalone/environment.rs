//! What of the launcher's environment reaches the two sides.

use std::{env, ffi::OsString};

/// Settings of the agent, in all their spellings.
const PREFIXES: [&str; 3] = ["BEYLA_", "OTEL_", "RATATOSK_"];
/// What a program needs to look right in a terminal.
const NAMES: [&str; 6] = ["RUST_LOG", "TERM", "NO_COLOR", "COLORTERM", "LANG", "PATH"];
/// Any of these, as `BEYLA_X` or `OTEL_EBPF_X`, means that somebody chose what to watch. A file may.
const SELECTORS: [&str; 7] = [
    "OPEN_PORT",
    "EXECUTABLE_NAME",
    "EXECUTABLE_PATH",
    "AUTO_TARGET_EXE",
    "AUTO_TARGET_LANGUAGE",
    "TARGET_PID",
    "CONFIG_PATH",
];

/// Any of these means that somebody chose how requests are printed. A file may.
const PRINTERS: [&str; 3] = ["TRACE_PRINTER", "PRINT_TRACES", "CONFIG_PATH"];

/// Variables that are handed on: everything else of root's environment stays with root.
pub fn handed_on() -> impl Iterator<Item = (OsString, OsString)> {
    env::vars_os().filter(|(name, _)| name.to_str().is_some_and(is_handed_on))
}

/// Whether the user chose what to watch. An empty value chooses nothing.
pub fn has_selector() -> bool {
    SELECTORS.into_iter().any(is_set)
}

/// Whether the user chose how requests are printed; else the terminal shows them as text.
pub fn has_printer() -> bool {
    PRINTERS.into_iter().any(is_set)
}

fn is_set(setting: &str) -> bool {
    let spellings = ["BEYLA_", "OTEL_EBPF_"].map(|prefix| format!("{prefix}{setting}"));
    spellings.into_iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

fn is_handed_on(name: &str) -> bool {
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_root_stay_with_root() {
        assert!(is_handed_on("BEYLA_OPEN_PORT"));
        assert!(is_handed_on("OTEL_EBPF_TRACE_PRINTER"));
        assert!(is_handed_on("NO_COLOR"));
        for name in ["AWS_SECRET_ACCESS_KEY", "LD_PRELOAD", "HOME", "SSH_AUTH_SOCK", "XBEYLA_"] {
            assert!(!is_handed_on(name), "{name}");
        }
    }
}
