//! `docs/configuration.md`: the table for people.

use super::keys::{self, Key, Kind, Status};
use std::fmt::Write;

/// The tables of all keys, a section each.
#[must_use]
pub fn page() -> String {
    let mut page = String::new();
    let mut section = None;
    for key in keys::all() {
        let current = if key.path.is_empty() { section.unwrap_or("") } else { first(key.path) };
        if section != Some(current) {
            heading(&mut page, current, &mut section);
        }
        row(&mut page, key, key.status() == Status::Supported);
    }
    page
}

/// Keys of the top level share a table.
fn first(path: &'static str) -> &'static str {
    path.split_once('.').map_or("", |(first, _)| first)
}

fn heading(page: &mut String, name: &'static str, section: &mut Option<&'static str>) {
    let title = if name.is_empty() { "Top level".to_owned() } else { format!("`{name}`") };
    // Nobody is left to tell if a string can't grow.
    let _ = writeln!(
        page,
        "\n## {title}\n\n| key | variable | type | default | status | what it does |\n|---|---|---|---|---|---|"
    );
    *section = Some(name);
}

fn row(page: &mut String, key: &Key, is_supported: bool) {
    let status = if is_supported { "supported" } else { "not yet" };
    let variables: Vec<String> = key
        .beyla()
        .map(|name| format!("`BEYLA_{name}`"))
        .chain(key.plain().map(|name| format!("`{name}`")))
        .collect();
    let path = if key.path.is_empty() { String::new() } else { format!("`{}`", key.path) };
    let _ = writeln!(
        page,
        "| {path} | {} | {} | {} | {status} | {} |",
        variables.join(", "),
        cell(&key.kind.name()),
        quoted(key.default),
        cell(key.help)
    );
    if let Kind::Entries(keys) | Kind::Sections(keys) = key.kind {
        below(page, key, keys, is_supported);
    }
}

fn below(page: &mut String, parent: &Key, keys: &[Key], is_supported: bool) {
    // the older forms have the same criteria: once is enough
    if keys::all().find(|key| matches!(key.kind, Kind::Entries(known) | Kind::Sections(known) if known.as_ptr() == keys.as_ptr())).is_some_and(|first| first.path != parent.path) {
        return;
    }
    for key in keys {
        let status = if is_supported && !keys::is_criterion_not_yet(key) { "supported" } else { "not yet" };
        let path = format!("`{}[].{}`", parent.path, key.path);
        let _ = writeln!(
            page,
            "| {path} |  | {} | {} | {status} | {} |",
            cell(&key.kind.name()),
            quoted(key.default),
            cell(key.help)
        );
    }
}

fn quoted(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace("*", "\\*").replace("`\\*`", "`*`")
}
