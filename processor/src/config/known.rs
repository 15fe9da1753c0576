//! Which variables mean something, to us or to Beyla.

use super::Warning;
use super::keys::{self, Key, PREFIXES, Status, nearest};
use std::collections::BTreeMap;

/// Variables of the first posts about Beyla, of 2023, before they all had a prefix.
const WITHOUT_PREFIX: [&str; 3] = ["OPEN_PORT", "PRINT_TRACES", "EXECUTABLE_NAME"];

/// A variable that works.
#[derive(Clone, Debug)]
pub struct Variable {
    /// Without prefix, if it is one of Beyla's.
    pub name: &'static str,
    /// It is read with the prefixes `BEYLA_` and `OTEL_EBPF_`.
    pub has_prefix: bool,
    /// One line for people.
    pub help: String,
}

/// Every variable that works, in the order of the help.
pub fn variables() -> impl Iterator<Item = Variable> {
    keys::all().filter(|key| key.status() == Status::Supported).flat_map(|key| {
        let of = move |has_prefix| move |name| Variable { name, has_prefix, help: help(key) };
        key.beyla().map(of(true)).chain(key.plain().map(of(false)))
    })
}

fn help(key: &Key) -> String {
    let words = match key.kind {
        keys::Kind::OneOf(words) => format!(": {}", words.join(", ")),
        _ => String::new(),
    };
    let default = if key.default.is_empty() { String::new() } else { format!("; default {}", key.default) };
    format!("{}{words}{default}", key.help)
}

/// What to say about a variable that is set, `None` if it works or is not ours to judge.
pub(super) fn judge(variable: &str, set: &BTreeMap<String, String>) -> Option<Warning> {
    match PREFIXES.iter().find_map(|prefix| Some((prefix, variable.strip_prefix(prefix)?))) {
        Some((prefix, name)) => {
            judge_beyla(variable, prefix, name).or_else(|| judge_words(variable, name, set))
        }
        None => judge_plain(variable, set),
    }
}

fn judge_beyla(variable: &str, prefix: &str, name: &str) -> Option<Warning> {
    match keys::by_beyla(name).next() {
        Some(key) => not_supported(variable, key),
        None => {
            let names = keys::all().flat_map(Key::beyla);
            let nearest = nearest(name, names).map(|near| format!("{prefix}{near}"));
            Some(Warning::Unknown { variable: variable.to_owned(), nearest })
        }
    }
}

/// What a list asks for that has no effect yet.
fn judge_words(variable: &str, name: &str, set: &BTreeMap<String, String>) -> Option<Warning> {
    let key = keys::by_beyla(name).next()?;
    let words = keys::words_not_yet(key, set.get(variable)?.split(','))?;
    Some(Warning::NotSupported { setting: format!("{variable}: {words}"), effect: keys::WORD_EFFECT })
}

/// Other programs read variables without our prefixes, too: only what is surely meant for an agent is judged.
fn judge_plain(variable: &str, set: &BTreeMap<String, String>) -> Option<Warning> {
    if WITHOUT_PREFIX.contains(&variable) {
        let is_set = PREFIXES.iter().any(|prefix| set.contains_key(&format!("{prefix}{variable}")));
        return (!is_set).then(|| Warning::NoPrefix { variable: variable.to_owned() });
    }
    let is_for_agents = ["OTEL_", "OBI_"].iter().any(|prefix| variable.starts_with(prefix));
    keys::by_plain(variable).filter(|_| is_for_agents).and_then(|key| not_supported(variable, key))
}

fn not_supported(variable: &str, key: &Key) -> Option<Warning> {
    let warning = || Warning::NotSupported { setting: variable.to_owned(), effect: key.help };
    (key.status() == Status::NotYet).then(warning)
}
