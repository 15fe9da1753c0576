//! The Prometheus text format 0.0.4: one writer for our own metrics and for those of the observed processes.
//!
//! Every number is an integer here, seconds are printed from nanoseconds: no sum loses a digit.
//! spec <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Display, Write};

/// `Content-Type` of what this writes.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What a metric is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "Prometheus' words")]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Writes the two comment lines that open a metric.
pub fn head(out: &mut String, name: &str, kind: Kind, help: &str) {
    push(out, format_args!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.name()));
}

/// Writes one line: `name{labels} value`. Labels without value are left out: to Prometheus that is the same.
pub fn sample<'a>(
    out: &mut String,
    name: &str,
    labels: impl IntoIterator<Item = (&'a str, &'a str)>,
    value: impl Display,
) {
    out.push_str(name);
    let mut separator = '{';
    for (label, text) in labels.into_iter().filter(|(_, text)| !text.is_empty()) {
        out.push(separator);
        write_label(out, label, text);
        separator = ',';
    }
    if separator == ',' {
        out.push('}');
    }
    push(out, format_args!(" {value}\n"));
}

/// Writes `label="text"`, escaped.
pub fn write_label(out: &mut String, label: &str, text: &str) {
    out.push_str(label);
    out.push_str("=\"");
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Appends text. A `String` takes all that it is given, so the result says nothing.
pub(crate) fn push(out: &mut String, text: fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Nanoseconds, printed as decimal seconds without trailing zeros.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub u64);

impl Seconds {
    /// `ns` nanoseconds as text.
    #[must_use]
    pub fn text(ns: u64) -> String {
        Self(ns).to_string()
    }
}

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NS_PER_S: u64 = 1_000_000_000;
        let (whole, rest) = (self.0 / NS_PER_S, self.0 % NS_PER_S);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}
