//! An answer as a table for people.

use super::{Process, Report, Tier};
use std::fmt::Write;

/// How it may look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Style {
    /// Letters only.
    Plain,
    /// Colours of a terminal.
    Colour,
}

/// Widest column: a path longer than that loses its beginning, which says least.
const MAX_COLUMN_CHARS: usize = 48;
const COLUMNS: usize = 8;
const HEAD: [&str; COLUMNS] =
    ["PID", "STATE", "SERVICE", "EXECUTABLE", "PORTS", "EXCHANGES", "LEFT OUT", "WHY"];

/// The whole answer: the loader, its tiers, the selectors, the processes.
///
/// Names come from strangers: what could move a cursor is replaced.
#[must_use]
pub fn table(report: &Report, style: Style) -> String {
    let mut out = String::new();
    // Nobody is left to tell if a string can't grow.
    let _ = writeln!(out, "Loader: {}", clean(&report.loader.status));
    report.tiers.iter().for_each(|tier| tier_line(&mut out, tier, style));
    match report.selectors.as_slice() {
        [] => out.push_str("Selectors: none\n"),
        all => {
            let all: Vec<String> = all.iter().map(ToString::to_string).collect();
            let _ = writeln!(out, "Selectors: {}", clean(&all.join(", ")));
        }
    }
    out.push('\n');
    processes(&mut out, &report.processes, style);
    summary(&mut out, report);
    out
}

fn tier_line(out: &mut String, tier: &Tier, style: Style) {
    let name = clean(&tier.name);
    let state = match tier.state.as_str() {
        "at_work" => paint("at work", GREEN, style),
        "failed" => paint("failed", RED, style),
        "not_tried" => paint("not tried", GREY, style),
        other => clean(other),
    };
    let reason = if tier.reason.is_empty() { String::new() } else { format!(": {}", clean(&tier.reason)) };
    let lacks = clean(&tier.lacks.join(", "));
    let _ = writeln!(out, "Tier {name}: {state}{reason}; does not see: {lacks}");
}

fn processes(out: &mut String, processes: &[Process], style: Style) {
    let rows: Vec<[String; COLUMNS]> = processes.iter().map(row).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain(HEAD.get(column).map(|head| head.len())).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    line(out, &HEAD.map(str::to_owned), &widths, BOLD, style);
    for (row, process) in rows.iter().zip(processes) {
        line(out, row, &widths, colour(&process.state), style);
    }
}

fn row(process: &Process) -> [String; COLUMNS] {
    let ports: Vec<String> = process.ports.iter().map(ToString::to_string).collect();
    [
        process.pid.to_string(),
        clean(&process.state.replace('_', " ")),
        cut(&clean(&process.service)),
        cut(&process.exe.as_deref().map_or_else(|| "?".to_owned(), clean)),
        if ports.is_empty() { "-".to_owned() } else { cut(&ports.join(",")) },
        if process.calls == 0 { "-".to_owned() } else { process.exchanges.to_string() },
        match process.left_out.values().sum::<u64>() {
            0 => "-".to_owned(),
            n => n.to_string(),
        },
        clean(&process.detail),
    ]
}

fn line(out: &mut String, cells: &[String], widths: &[usize], colour: &str, style: Style) {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
    let _ = writeln!(out, "{}", paint(padded.join("  ").trim_end(), colour, style));
}

fn summary(out: &mut String, report: &Report) {
    let counts: Vec<String> = report
        .counts
        .iter()
        .map(|count| {
            let (state, reason) = (count.state.replace('_', " "), &count.reason);
            format!("{} {} ({})", count.processes, clean(&state), clean(reason))
        })
        .collect();
    let all: u64 = report.counts.iter().map(|count| count.processes).sum();
    let _ = writeln!(out, "\n{all} processes: {}", counts.join(", "));
    let left = report.total.saturating_sub(report.offset + report.processes.len());
    if left > 0 {
        let _ = writeln!(out, "{left} of them are not shown: --limit {} shows all", report.total);
    }
}

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const GREY: &str = "90";

fn colour(state: &str) -> &'static str {
    match state {
        "observed" => GREEN,
        "no_traffic" | "undecided" => YELLOW,
        "denied" | "unreadable" => RED,
        _ => GREY,
    }
}

fn paint(text: &str, colour: &str, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Colour => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
    }
}

/// Control characters, and those that turn the direction of text, become one that does nothing.
pub(super) fn clean(text: &str) -> String {
    let is_odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_odd(c) { '\u{fffd}' } else { c }).collect()
}

fn cut(text: &str) -> String {
    let chars = text.chars().count();
    if chars <= MAX_COLUMN_CHARS {
        return text.to_owned();
    }
    let kept: String = text.chars().skip(chars + 1 - MAX_COLUMN_CHARS).collect();
    format!("…{kept}")
}
