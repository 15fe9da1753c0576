//! What the guests run, built once.

use super::cells::LOADER;
use anyhow::{Context, ensure};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    process::{Command, Stdio},
};

/// Executables by the name of their target.
pub type Binaries = BTreeMap<String, PathBuf>;

/// The same selections of packages as in `scripts/test`: others would switch on other features, and build all again.
const BUILDS: [&[&str]; 3] = [
    &["build", "--release", "-p", "ratatosk-loader", "-p", "ratatosk", "-p", "ratatosk-demo"],
    &[
        "test",
        "--no-run",
        "--workspace",
        "--exclude",
        "ratatosk-integration",
        "--test",
        "load",
        "--test",
        "probes",
        "--test",
        "carriers",
    ],
    &["test", "--no-run", "-p", "ratatosk-integration", "--test", "fidelity"],
];

/// Builds every one.
pub fn built() -> anyhow::Result<Binaries> {
    of(&BUILDS)
}

/// Builds the product alone.
pub fn release() -> anyhow::Result<Binaries> {
    of(BUILDS.get(..1).unwrap_or_default())
}

fn of(builds: &[&[&str]]) -> anyhow::Result<Binaries> {
    let mut binaries = Binaries::new();
    for arguments in builds {
        let messages = cargo(arguments)?;
        for (name, path) in messages.lines().filter_map(executable) {
            // tests of a package come with its binaries in debug: the release build came first, and counts
            binaries.entry(name).or_insert(path);
        }
    }
    ensure!(binaries.contains_key(LOADER), "cargo named no executable of {LOADER}");
    Ok(binaries)
}

fn cargo(arguments: &[&str]) -> anyhow::Result<String> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).args(["--quiet", "--message-format=json-render-diagnostics"]);
    let output = cargo.stderr(Stdio::inherit()).output().context("starting cargo")?;
    ensure!(output.status.success(), "cargo {} ended with {}", arguments.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// Name and path, if cargo's message is about an executable.
fn executable(message: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(message).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), path.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_about_executables_name_one() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"name":"probes"},"executable":"/x/probes-1"}"#;
        assert_eq!(executable(message), Some(("probes".to_owned(), "/x/probes-1".into())));
        let library = r#"{"reason":"compiler-artifact","target":{"name":"ratatosk"},"executable":null}"#;
        assert_eq!(executable(library), None);
        assert_eq!(executable("no message"), None);
    }
}
