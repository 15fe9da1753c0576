//! The trace printer: spans to lines on stdout, in the formats of Beyla.
//!
//! Paths, methods and hosts were written by strangers: nothing they contain may steer the terminal ([`escape`]).

mod counter;
mod duration;
mod escape;
mod json;
#[cfg(test)]
mod tests;
mod text;

use super::{BoxedExporter, ExportError, Exporter, Parts};
use crate::config::TracePrinter;
use crate::model::Span;
use crate::telemetry::Telemetry;
use std::io::{self, IsTerminal, Write};

const NAME: &str = "print";

pub(super) fn create(parts: &Parts<'_>) -> Result<Option<BoxedExporter>, ExportError> {
    let out = io::stdout();
    let is_coloured = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    Ok(Format::new(parts.config.trace_printer, is_coloured)
        .map(|format| -> BoxedExporter { Box::new(Printer::new(format, out, parts.telemetry.clone())) }))
}

/// The lines of [`TracePrinter::Json`].
pub(super) fn json(spans: &[Span]) -> String {
    let mut out = String::new();
    spans.iter().for_each(|span| json::append(&mut out, span, false));
    out
}

/// How a span becomes text.
enum Format {
    Text { is_coloured: bool },
    Json { is_indented: bool },
    Counter(counter::Counter),
}

impl Format {
    fn new(printer: TracePrinter, is_coloured: bool) -> Option<Self> {
        match printer {
            TracePrinter::Disabled => None,
            TracePrinter::Text => Some(Self::Text { is_coloured }),
            TracePrinter::Json => Some(Self::Json { is_indented: false }),
            TracePrinter::JsonIndent => Some(Self::Json { is_indented: true }),
            TracePrinter::Counter => Some(Self::Counter(counter::Counter::default())),
        }
    }

    fn append(&mut self, out: &mut String, spans: &[Span]) {
        match self {
            Self::Text { is_coloured } => spans.iter().for_each(|span| text::append(out, span, *is_coloured)),
            Self::Json { is_indented } => spans.iter().for_each(|span| json::append(out, span, *is_indented)),
            Self::Counter(counter) => counter.append(out, spans.len()),
        }
    }

    /// What is left to say at the end.
    fn finish(&mut self, out: &mut String) {
        if let Self::Counter(counter) = self {
            counter.finish(out);
        }
    }
}

/// Writes each batch at once and flushes it: who watches sees a request as soon as it is known.
struct Printer<W: Write> {
    format: Format,
    out: W,
    text: String,
    is_closed: bool,
    telemetry: Telemetry,
}

impl<W: Write> Printer<W> {
    const fn new(format: Format, out: W, telemetry: Telemetry) -> Self {
        Self { format, out, text: String::new(), is_closed: false, telemetry }
    }

    /// Says whether the text was written.
    fn write(&mut self) -> bool {
        let written = self.out.write_all(self.text.as_bytes()).and_then(|()| self.out.flush());
        self.text.clear();
        match written {
            Ok(()) => true,
            Err(error) => {
                // `ratatosk | head` is no error.
                self.is_closed |= error.kind() == io::ErrorKind::BrokenPipe;
                false
            }
        }
    }
}

impl<W: Write> Exporter for Printer<W> {
    fn name(&self) -> &'static str {
        NAME
    }

    fn export(&mut self, spans: &[Span]) {
        if self.is_closed || spans.is_empty() {
            return;
        }
        self.format.append(&mut self.text, spans);
        let n = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        if self.write() {
            self.telemetry.spans_exported(NAME, n);
        } else {
            self.telemetry.spans_dropped(NAME, "write_failed", n);
        }
    }

    fn is_closed(&self) -> bool {
        self.is_closed
    }
}

impl<W: Write> Drop for Printer<W> {
    fn drop(&mut self) {
        self.format.finish(&mut self.text);
        if !self.text.is_empty() && !self.is_closed {
            self.write();
        }
    }
}
