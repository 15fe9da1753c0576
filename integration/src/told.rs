//! What metrics tell of single processes: who told, as what, and how much.

use crate::{metrics::Metrics, span::Span};
use std::collections::{BTreeMap, BTreeSet};

/// Requests and bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// Exchanges.
    pub requests: f64,
    /// Bytes of request bodies.
    pub request_bytes: f64,
    /// Bytes of response bodies.
    pub response_bytes: f64,
}

/// Whose view metrics give.
#[derive(Clone, Copy, Debug)]
pub enum Side {
    /// `http_server_*`.
    Server,
    /// `http_client_*`.
    Client,
}

impl Sums {
    /// Of spans, each of which must be told once.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "tests move less than 2^53 bytes")]
    pub fn of(spans: &[Span]) -> Self {
        let sum = |bytes: fn(&Span) -> u64| spans.iter().map(bytes).sum::<u64>() as f64;
        Self {
            requests: sum(|_| 1),
            request_bytes: sum(|span| span.request_bytes),
            response_bytes: sum(|span| span.response_bytes),
        }
    }
}

impl Side {
    fn metric(self, rest: &str) -> String {
        match self {
            Self::Server => format!("http_server_{rest}"),
            Self::Client => format!("http_client_{rest}"),
        }
    }
}

/// Sums over the series that have `label`, as `key="value"`.
#[must_use]
pub fn sums(metrics: &Metrics, side: Side, label: &str) -> Sums {
    let sum = |rest: &str| metrics.sum(&side.metric(rest), &[label]);
    Sums {
        requests: sum("request_duration_seconds_count"),
        request_bytes: sum("request_body_size_bytes_sum"),
        response_bytes: sum("response_body_size_bytes_sum"),
    }
}

/// Processes whose series have `label`.
#[must_use]
pub fn tellers(metrics: &Metrics, side: Side, label: &str) -> BTreeSet<u32> {
    let series = metrics.series(&side.metric("request_duration_seconds_count"));
    series.filter(|series| series.contains(label)).filter_map(pid).collect()
}

/// Every `telemetry.sdk.language` that was told of each process.
#[must_use]
pub fn languages(metrics: &Metrics) -> BTreeMap<u32, BTreeSet<String>> {
    let mut found: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
    for series in metrics.series("target_info") {
        let language = label(series, "telemetry_sdk_language").unwrap_or_default();
        pid(series).into_iter().for_each(|pid| _ = found.entry(pid).or_default().insert(language.to_owned()));
    }
    found
}

/// `host:pid` is what an instance is called that names itself nothing else.
fn pid(series: &str) -> Option<u32> {
    label(series, "instance")?.rsplit_once(':')?.1.parse().ok()
}

/// Value of a label, which holds no quote in these tests.
fn label<'a>(series: &'a str, key: &str) -> Option<&'a str> {
    let (_, labels) = series.split_once('{')?;
    let mut pairs = labels.trim_end_matches('}').split("\",");
    pairs
        .find_map(|pair| pair.strip_prefix(key)?.strip_prefix("=\""))
        .map(|value| value.trim_end_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_told_and_as_what_is_read_from_a_scrape() {
        let metrics = Metrics::parse(
            "target_info{instance=\"h:7\",job=\"shop\",telemetry_sdk_language=\"go\"} 1\n\
             http_server_request_duration_seconds_count{instance=\"h:7\",server_port=\"80\"} 3\n\
             http_server_request_duration_seconds_count{instance=\"h:8\",server_port=\"81\"} 4\n\
             http_server_request_body_size_bytes_sum{instance=\"h:7\",server_port=\"80\"} 5\n\
             http_server_response_body_size_bytes_sum{instance=\"h:7\",server_port=\"80\"} 6\n",
        );
        let port = "server_port=\"80\"";
        assert_eq!(tellers(&metrics, Side::Server, port), BTreeSet::from([7]));
        let expected = Sums { requests: 3.0, request_bytes: 5.0, response_bytes: 6.0 };
        assert_eq!(sums(&metrics, Side::Server, port), expected);
        assert_eq!(languages(&metrics), BTreeMap::from([(7, BTreeSet::from(["go".to_owned()]))]));
        assert_eq!(tellers(&metrics, Side::Client, port), BTreeSet::new());
    }
}
