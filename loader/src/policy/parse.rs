//! TOML to bounds.

use super::{Cgroup, MAX_ENTRIES, Policy};
use glob::Pattern;
use ratatosk_bpf::probes;
use serde::Deserialize;
use std::{fs, ops::RangeInclusive, os::unix::fs::MetadataExt, path::Path, str::FromStr};

/// Where the default cgroup hierarchy is, alone or beside the old ones.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
/// Only the default hierarchy has this file.
const CGROUP_MARK: &str = "cgroup.controllers";
/// The self-test of the probes has to see its own 32 bytes, in a first call and in later ones.
const FEWEST_BYTES: u32 = 32;
/// As the probes can copy.
const MOST_BYTES: u32 = 16_384;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    uids: Option<Vec<NumberOrRange>>,
    cgroups: Option<Vec<String>>,
    executables: Option<Vec<String>>,
    ports: Option<Vec<NumberOrRange>>,
    families: Option<Vec<String>>,
    turn_bytes: Option<u32>,
    call_bytes: Option<u32>,
    examine: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number, or a range like \"1000-1999\"")]
enum NumberOrRange {
    Number(u32),
    Range(String),
}

/// The bounds in `text`, or what is wrong with it in one line.
pub(super) fn parse(text: &str) -> Result<Policy, String> {
    let keys: Keys = toml::from_str(text).map_err(|error| one_line(text, &error))?;
    Ok(Policy {
        file: None,
        uids: keys.uids.map(uids).transpose()?,
        cgroups: keys.cgroups.map(cgroups).transpose()?,
        executables: keys.executables.map(executables).transpose()?,
        ports: keys.ports.map(ports).transpose()?,
        families: keys.families.map(families).transpose()?,
        turn_bytes: keys.turn_bytes.map(|bytes| width("turn_bytes", bytes)).transpose()?,
        call_bytes: keys.call_bytes.map(|bytes| width("call_bytes", bytes)).transpose()?,
        examine: keys.examine.unwrap_or(true),
    })
}

fn one_line(text: &str, error: &toml::de::Error) -> String {
    let before = error.span().and_then(|span| text.get(..span.start));
    let line = before.map_or(1, |before| before.matches('\n').count() + 1);
    let message = error.message().lines().collect::<Vec<_>>().join(", ");
    format!("line {line}: {message}")
}

fn uids(entries: Vec<NumberOrRange>) -> Result<Vec<RangeInclusive<u32>>, String> {
    let ranges = ranges::<u32>("uids", entries)?;
    let held = ranges.iter().map(|range| u64::from(range.end() - range.start()) + 1).sum::<u64>();
    if usize::try_from(held).map_or(true, |held| held > MAX_ENTRIES) {
        return Err(format!("uids: {held} of them, at most {MAX_ENTRIES}; leave the key out to permit all"));
    }
    Ok(ranges)
}

fn ports(entries: Vec<NumberOrRange>) -> Result<Vec<RangeInclusive<u16>>, String> {
    let ranges = ranges::<u16>("ports", entries)?;
    if ranges.iter().any(|range| *range.start() == 0) {
        return Err("ports: nobody listens on port 0".to_owned());
    }
    Ok(ranges)
}

fn ranges<T: FromStr + PartialOrd>(
    key: &str,
    entries: Vec<NumberOrRange>,
) -> Result<Vec<RangeInclusive<T>>, String> {
    bounded(key, entries.len())?;
    entries.into_iter().map(|entry| range(key, entry)).collect()
}

fn range<T: FromStr + PartialOrd>(key: &str, entry: NumberOrRange) -> Result<RangeInclusive<T>, String> {
    let text = match entry {
        NumberOrRange::Number(number) => number.to_string(),
        NumberOrRange::Range(text) => text,
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    match (first.trim().parse::<T>(), last.trim().parse::<T>()) {
        (Ok(first), Ok(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("{key}: {text:?} is no number and no range like \"1000-1999\"")),
    }
}

fn bounded(key: &str, entries: usize) -> Result<(), String> {
    if entries > MAX_ENTRIES {
        Err(format!("{key}: {entries} entries, at most {MAX_ENTRIES}"))
    } else {
        Ok(())
    }
}

fn cgroups(paths: Vec<String>) -> Result<Vec<Cgroup>, String> {
    bounded("cgroups", paths.len())?;
    paths.into_iter().map(cgroup).collect()
}

fn cgroup(path: String) -> Result<Cgroup, String> {
    let is_plain = path.starts_with('/') && !path.split('/').any(|part| part == ".." || part == ".");
    if !is_plain {
        return Err(format!(
            "cgroups: {path:?} is no path below the cgroup mount, like \"/system.slice/nginx.service\""
        ));
    }
    let id = cgroup_id(&path);
    Ok(Cgroup { path, id })
}

/// The inode number of a cgroup's directory is its id.
fn cgroup_id(path: &str) -> Option<u64> {
    let root = CGROUP_ROOTS.into_iter().find(|root| Path::new(root).join(CGROUP_MARK).exists())?;
    let metadata = fs::symlink_metadata(format!("{root}{path}")).ok()?;
    metadata.is_dir().then(|| metadata.ino())
}

fn executables(patterns: Vec<String>) -> Result<Vec<Pattern>, String> {
    bounded("executables", patterns.len())?;
    patterns.iter().map(|pattern| executable(pattern)).collect()
}

fn executable(pattern: &str) -> Result<Pattern, String> {
    if !pattern.starts_with('/') {
        return Err(format!(
            "executables: {pattern:?} begins with no /: give a whole path, ** crosses directories"
        ));
    }
    Pattern::new(pattern).map_err(|error| format!("executables: {pattern:?}: {}", error.msg))
}

fn families(names: Vec<String>) -> Result<Vec<String>, String> {
    let known = probes::TIERS.map(probes::Family::name);
    match names.iter().find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(format!("families: {name:?} is none: give some of {}", known.join(", "))),
        None if names.is_empty() => Err("families: none is left, so nothing could be observed".to_owned()),
        None => Ok(names),
    }
}

fn width(key: &str, bytes: u32) -> Result<u32, String> {
    if (FEWEST_BYTES..=MOST_BYTES).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(format!("{key}: {bytes} is not in {FEWEST_BYTES} to {MOST_BYTES}"))
    }
}
