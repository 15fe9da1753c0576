//! Every setting as it counts, and who said so.

use super::keys::{self, Key, Kind, Status};
use super::{Environment, Origin};
use figment::value::Value;
use std::fmt::Write;

/// Stands for what may grant access.
pub(super) const HIDDEN: &str = "(hidden)";
/// Words that make a value of any key a secret: headers and URLs carry them.
const SECRET: [&str; 4] = ["authorization", "password", "token", "secret"];

/// A line for every setting that has a value: key, value, origin. Secrets are hidden.
#[must_use]
pub fn show(env: &Environment) -> String {
    let mut out = String::new();
    for key in keys::all() {
        let place = key.place();
        let Some((value, origin)) = env.value(&place).zip(env.origin(&place)) else { continue };
        let note = if key.status() == Status::NotYet { ", no effect yet" } else { "" };
        // Nobody is left to tell if a string can't grow.
        let _ = writeln!(out, "{} = {}  # {}{note}", name(key, &origin), shown(key, &value), who(&origin));
    }
    out
}

fn name(key: &Key, origin: &Origin) -> String {
    match origin {
        Origin::Variable(variable) if key.path.is_empty() => variable.clone(),
        _ => key.name(),
    }
}

fn who(origin: &Origin) -> String {
    origin.to_string().chars().filter(|c| !c.is_control()).collect()
}

fn shown(key: &Key, value: &Value) -> String {
    if matches!(key.kind, Kind::Secret) {
        return HIDDEN.to_owned();
    }
    let text = match value {
        Value::String(_, text) => without_password(text),
        other => serde_json::to_string(other).unwrap_or_default(),
    };
    let is_secret = SECRET.iter().any(|word| text.to_ascii_lowercase().contains(word));
    if is_secret && !is_list_of_names(key) {
        HIDDEN.to_owned()
    } else {
        text.chars().filter(|c| !c.is_control()).collect()
    }
}

/// Names of query parameters that are themselves words like these.
fn is_list_of_names(key: &Key) -> bool {
    key.path.starts_with("attributes.")
}

/// `scheme://user:password@host` without what stands before the host.
pub(super) fn without_password(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest.get(..end).and_then(|authority| authority.rfind('@')) {
        Some(at) => format!("{scheme}://{HIDDEN}{}", rest.get(at..).unwrap_or_default()),
        None => text.to_owned(),
    }
}
