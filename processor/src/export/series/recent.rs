//! The series of the spans that were counted last.
//!
//! Most spans are like one before. To see that is a fraction of what it costs to make a key and to look it up.

use crate::model::{Service, Span, Text};
use crate::places::Places;
use std::sync::Arc;

/// Where the series are, by everything of a span that can tell series apart, but for its path and its client: with those
/// there are too many to come again soon. 80 KiB for each table, beside names of hosts above 24 bytes.
#[derive(Default)]
pub(super) struct Recent(Places<Known>);

struct Known {
    service: Arc<Service>,
    route: Option<Arc<str>>,
    method: &'static str,
    status: u16,
    server_address: Text,
    server_port: u16,
    series: usize,
}

/// Who only reads what was counted needs none of it.
impl Clone for Recent {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Recent {
    /// Index of the series of `span`.
    pub(super) fn find(&self, span: &Span) -> Option<usize> {
        let known = self.0.get(self.hash(span))?;
        known.is_of(span).then_some(known.series)
    }

    /// `span` belongs to the series with this index.
    pub(super) fn remember(&mut self, span: &Span, series: usize) {
        self.0.put(self.hash(span), Known::new(span, series));
    }

    /// Series got other indices.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Services and routes are shared: their addresses are as good as their texts, and shorter.
    fn hash(&self, span: &Span) -> u64 {
        let (service, http) = (Arc::as_ptr(&span.service), &span.http);
        let route = http.route.as_ref().map_or(std::ptr::null(), |route| route.as_ptr());
        self.0.hash((service, route, http.status, http.server_address.as_str()))
    }
}

impl Known {
    fn new(span: &Span, series: usize) -> Self {
        let http = &span.http;
        Self {
            service: Arc::clone(&span.service),
            route: http.route.clone(),
            method: http.method,
            status: http.status,
            server_address: http.server_address.clone(),
            server_port: http.server_port,
            series,
        }
    }

    fn is_of(&self, span: &Span) -> bool {
        let http = &span.http;
        Arc::ptr_eq(&self.service, &span.service)
            && self.route == http.route
            && self.method == http.method
            && self.status == http.status
            && self.server_address == http.server_address
            && self.server_port == http.server_port
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::samples::{client_span, server_span, service};

    #[test]
    fn spans_that_differ_in_what_may_tell_series_apart_are_not_taken_for_each_other() {
        let (mut recent, span) = (Recent::default(), server_span());
        assert_eq!(recent.find(&span), None);
        recent.remember(&span, 7);
        let others: [fn(&mut Span); 6] = [
            |span| span.service = service("nginx", "host:43"),
            |span| span.http.route = Some("/users/{id}".into()),
            |span| span.http.method = "PUT",
            |span| span.http.status = 500,
            |span| span.http.server_address = "other".into(),
            |span| span.http.server_port = 1,
        ];
        for change in others {
            let mut other = span.clone();
            change(&mut other);
            assert_eq!(recent.find(&other), None, "{other:?}");
        }
        assert_eq!((recent.find(&span), recent.find(&client_span())), (Some(7), None));
        recent.clear();
        assert_eq!(recent.find(&span), None);
    }

    #[test]
    fn what_tells_no_series_apart_finds_the_same() {
        let (mut recent, mut span) = (Recent::default(), server_span());
        recent.remember(&span, 7);
        span.http.path = "/other".into();
        span.http.response_body_bytes += 1;
        span.trace_id.0[0] += 1;
        assert_eq!(recent.find(&span), Some(7));
    }
}
