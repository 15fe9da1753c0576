//! `RuntimeDefault`: the seccomp profile that a container runtime gives to those who name none.

use anyhow::Context;
use serde_json::{Value, json};

/// Which system calls a capability opens in containerd's default profile; podman's of Debian 12 asks for SYS_ADMIN instead.
const BY_CAPABILITY: [(&str, &str); 2] = [("CAP_BPF", "bpf"), ("CAP_PERFMON", "perf_event_open")];

/// Whose rules for bpf(2) and perf_event_open(2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flavour {
    /// They follow CAP_BPF and CAP_PERFMON.
    Containerd,
    /// They follow CAP_SYS_ADMIN, as they did before.
    Old,
}

/// The profile (of containers/common's form) resolved for a container with these capabilities, as OCI wants it.
pub fn resolved(profile: &Value, capabilities: &[String], flavour: Flavour) -> anyhow::Result<Value> {
    let rules = profile["syscalls"].as_array().context("the seccomp profile has no rules")?;
    let mut taken: Vec<Value> = rules.iter().filter(|rule| applies(rule, capabilities)).map(oci).collect();
    if flavour == Flavour::Containerd {
        for (capability, call) in BY_CAPABILITY {
            if has(capabilities, capability) {
                taken.iter_mut().for_each(|rule| without(rule, call));
                taken.push(json!({"names": [call], "action": "SCMP_ACT_ALLOW"}));
            }
        }
    }
    taken.retain(|rule| rule["names"].as_array().is_some_and(|names| !names.is_empty()));
    Ok(json!({
        "defaultAction": profile["defaultAction"],
        "defaultErrnoRet": profile["defaultErrnoRet"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": taken,
    }))
}

fn has(capabilities: &[String], name: &str) -> bool {
    capabilities.iter().any(|capability| capability == name)
}

/// A rule counts where each condition that it includes holds, and none that it excludes.
fn applies(rule: &Value, capabilities: &[String]) -> bool {
    let held = |name: &Value| name.as_str().is_some_and(|name| has(capabilities, name));
    let list = |kind: &str, of: &str| rule[kind][of].as_array().cloned().unwrap_or_default();
    let arches = list("includes", "arches");
    (arches.is_empty() || arches.iter().any(|arch| arch == "amd64"))
        && list("includes", "caps").iter().all(held)
        && !list("excludes", "caps").iter().any(held)
        && !list("excludes", "arches").iter().any(|arch| arch == "amd64")
}

/// Without what OCI does not know.
fn oci(rule: &Value) -> Value {
    let mut taken = json!({"names": rule["names"], "action": rule["action"]});
    for key in ["errnoRet", "args"] {
        let value = &rule[key];
        if !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()) {
            taken[key] = value.clone();
        }
    }
    taken
}

fn without(rule: &mut Value, call: &str) {
    if let Some(names) = rule["names"].as_array_mut() {
        names.retain(|name| name != call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Value {
        json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", "includes": {}, "excludes": {}},
            {"names": ["breakpoint"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm"]}},
            {"names": ["kcmp"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_PTRACE"]}},
            {"names": ["bpf", "setns"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
        ]})
    }

    fn names(flavour: Flavour, capabilities: &[&str]) -> Vec<(String, String)> {
        let capabilities: Vec<String> = capabilities.iter().map(|name| (*name).to_owned()).collect();
        let resolved = resolved(&profile(), &capabilities, flavour).expect("a profile");
        let rules = resolved["syscalls"].as_array().expect("rules").clone();
        rules.iter().map(|rule| (rule["names"].to_string(), rule["action"].to_string())).collect()
    }

    #[test]
    fn rules_follow_the_capabilities_and_the_architecture() {
        let pair = |names: &str, action: &str| (names.to_owned(), format!("\"SCMP_ACT_{action}\""));
        let refused = pair("[\"bpf\",\"setns\"]", "ERRNO");
        let read = pair("[\"read\"]", "ALLOW");
        assert_eq!(names(Flavour::Containerd, &[]), [read.clone(), refused.clone()]);
        assert_eq!(names(Flavour::Old, &["CAP_BPF"]), [read.clone(), refused]);
        let traced = names(Flavour::Containerd, &["CAP_BPF", "CAP_SYS_PTRACE"]);
        let kcmp = pair("[\"kcmp\"]", "ALLOW");
        assert_eq!(traced, [read, kcmp, pair("[\"setns\"]", "ERRNO"), pair("[\"bpf\"]", "ALLOW")]);
    }
}
