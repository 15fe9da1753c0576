//! Which format a scraper gets, by its `Accept`.

use crate::telemetry::exposition::CONTENT_TYPE;

/// How metrics are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Format {
    /// The text format of Prometheus, 0.0.4.
    Text,
    /// OpenMetrics 1.0: counters lose their suffix where they are opened, buckets have examples, and it has an end.
    OpenMetrics,
    /// Messages of `io.prometheus.client`, each after its length: the only format with native histograms.
    Protobuf,
}

impl Format {
    /// `Content-Type` of it.
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Text => CONTENT_TYPE,
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Protobuf => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
    }

    /// What `accept` likes best, the first of equals; text for whoever names none of ours: every scraper reads it.
    pub(super) fn accepted(accept: &str) -> Self {
        let mut best = (Self::Text, 0.);
        for (format, quality) in accept.split(',').filter_map(range) {
            if quality > best.1 {
                best = (format, quality);
            }
        }
        best.0
    }
}

/// A media range of ours, and how much it is liked (RFC 9110, 12.5.1).
fn range(text: &str) -> Option<(Format, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut quality, mut is_delimited, mut is_family) = (1., false, false);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = value.parse().unwrap_or(0.),
            "encoding" => is_delimited = value == "delimited",
            "proto" => is_family = value == "io.prometheus.client.MetricFamily",
            _ => {}
        }
    }
    let format = match media.as_str() {
        "text/plain" => Format::Text,
        "application/openmetrics-text" => Format::OpenMetrics,
        "application/vnd.google.protobuf" if is_delimited && is_family => Format::Protobuf,
        _ => return None,
    };
    Some((format, quality))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily";

    #[test]
    fn each_scraper_gets_the_format_that_it_likes_best() {
        let old_with_native = format!(
            "{MESSAGE};encoding=delimited,application/openmetrics-text;version=1.0.0;q=0.8,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        );
        let new_with_native = format!(
            "{MESSAGE};encoding=delimited;q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
             text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
        );
        let usual = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let last = format!("text/plain;version=0.0.4;q=0.9, {MESSAGE}; encoding=delimited; q=0.3");
        for (accept, expected) in [
            (old_with_native.as_str(), Format::Protobuf),
            (&new_with_native, Format::Protobuf),
            (usual, Format::OpenMetrics),
            (&last, Format::Text),
            ("application/openmetrics-text", Format::OpenMetrics),
            ("text/plain;q=0.5,application/openmetrics-text;q=0.4", Format::Text),
            ("text/plain, application/openmetrics-text", Format::Text),
            ("application/openmetrics-text;q=0", Format::Text),
            ("*/*", Format::Text),
            ("", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Text),
            (MESSAGE, Format::Text),
            (&format!("{MESSAGE};encoding=text"), Format::Text),
            ("application/openmetrics-text;q=a;;=,", Format::Text),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept}");
        }
    }
}
