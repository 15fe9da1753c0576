//! `ratatosk-loader policy [FILE]`: what the policy means on this machine, now.

use super::{Cgroup, DEFAULT_PATH, Policy, Rule};
use std::{fmt::Write, path::Path};

/// What `policy` prints: a line per bound, those that permit nothing marked.
#[must_use]
pub fn text(policy: &Policy) -> String {
    let mut out = String::new();
    let file = policy.file.as_deref().map(Path::display);
    // writing to a String can't fail
    _ = match file {
        Some(file) => writeln!(out, "{file}: belongs to root, and only root can write it"),
        None => writeln!(out, "{DEFAULT_PATH} does not exist: everything may be observed"),
    };
    for rule in Rule::ALL {
        let bound = policy.rule(rule).unwrap_or_else(|| format!("{}: no bound", rule.key()));
        _ = writeln!(out, "  {bound}  # {}", meaning(rule));
    }
    for cgroup in policy.cgroups.iter().flatten() {
        _ = writeln!(out, "  {}", described(cgroup));
    }
    out
}

/// What a bound is about, and who enforces it.
const fn meaning(rule: Rule) -> &'static str {
    match rule {
        Rule::Uids => "real uid of the process, enforced in the kernel",
        Rule::Cgroups => "and what is below them, enforced in the kernel",
        Rule::Executables => "path of the executable, enforced by the server",
        Rule::Ports => "who listens on none of them is not observed, enforced by the server",
        Rule::Families => "probes that may carry payload, enforced before they are loaded",
        Rule::TurnBytes => "most bytes of the first call of a turn, enforced in the kernel",
        Rule::CallBytes => "most bytes of later calls, enforced in the kernel",
        Rule::Examine => "look at binaries and three variables for language and service name",
    }
}

fn described(cgroup: &Cgroup) -> String {
    match cgroup.id {
        Some(id) => format!("cgroup {} has id {id}", cgroup.path),
        None => format!("cgroup {} does not exist now: it permits nothing until a restart", cgroup.path),
    }
}
