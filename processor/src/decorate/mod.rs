//! Exchanges to spans: who was observed, when by the wall clock, by which route, and what of it may be told.
//!
//! The settings are the user's: [`RouteSettings`], [`RedactionSettings`], [`FilterSettings`], [`SamplerSettings`].

mod filter;
mod redact;
mod routes;
mod telling;

pub use filter::{Criterion, Filter, FilterSettings};
pub use redact::{DEFAULT_SENSITIVE, Redaction, RedactionSettings};
pub use routes::{Asked, IgnoreMode, RouteSettings, Routes, ServiceRoutes, Unmatched};
pub use telling::{EntrySettings, ServiceRouteSettings, Telling};

use crate::{
    correlate::Correlator,
    discover::Discovery,
    model::{ClockPair, Exchange, KtimeNs, Signals, Span},
    protocol::http1,
    sample::{Sampler, SamplerSettings},
    setting::InvalidSetting,
};
use std::sync::Arc;

/// What the user can set about this stage. Defaults are those of Beyla.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct DecorateSettings {
    /// `routes`.
    pub routes: RouteSettings,
    /// `attributes.sensitive_query_params`.
    pub redaction: RedactionSettings,
    /// `filter.application`.
    pub filter: FilterSettings,
    /// `otel_traces_export.sampler`.
    pub sampler: SamplerSettings,
    /// `metrics.features`; `None`: those that there are.
    pub features: Option<Vec<String>>,
}

/// Makes spans.
#[derive(Debug)]
pub struct Decorator {
    routes: Routes,
    redaction: Redaction,
    filter: Filter,
    sampler: Sampler,
    /// Metrics of requests are told of a service that says nothing else.
    has_requests: bool,
    counts: Counts,
}

/// Spans that are told in part or not at all because settings say so. None of them is a loss.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Left out of traces by `routes.ignored_patterns`.
    pub ignored_traces: u64,
    /// Left out of metrics by `routes.ignored_patterns`.
    pub ignored_metrics: u64,
    /// Left out of traces by `filter`.
    pub filtered_traces: u64,
    /// Left out of metrics by `filter`.
    pub filtered_metrics: u64,
    /// Left out of traces by `exports` of an entry.
    pub unexported_traces: u64,
    /// Left out of metrics by `exports` of an entry.
    pub unexported_metrics: u64,
    /// Left out of metrics by `metrics.features`, that of an entry included.
    pub featureless_metrics: u64,
    /// Left out of traces by the sampler.
    pub not_sampled: u64,
    /// Route replaced by `/**` because the service has too many.
    pub folded_routes: u64,
}

impl Decorator {
    /// A stage with these settings.
    ///
    /// # Errors
    /// [`InvalidSetting`] names the key.
    pub fn new(settings: &DecorateSettings) -> Result<Self, InvalidSetting> {
        Ok(Self {
            routes: Routes::new(&settings.routes)?,
            redaction: Redaction::new(&settings.redaction),
            filter: Filter::new(&settings.filter)?,
            sampler: Sampler::new(&settings.sampler)?,
            has_requests: settings.features.as_deref().is_none_or(telling::has_requests),
            counts: Counts::default(),
        })
    }

    /// Attributes that `filter` names and that no span has yet: they deserve a warning.
    #[must_use]
    pub fn unsupported_filters(&self) -> &[String] {
        self.filter.unsupported()
    }

    /// The span of `exchange`, with all that exporters need; `None`: settings leave it out altogether.
    // an exchange and a span are large: without a call each is moved once less
    #[inline(always)]
    pub fn decorate(
        &mut self,
        exchange: Exchange,
        correlator: &Correlator,
        discovery: &mut Discovery,
        clock: &ClockPair,
    ) -> Option<Span> {
        let told = discovery.telling(exchange.process);
        let told = told.as_deref();
        let signals = self.signals(&exchange.http.path, told);
        if signals == Signals::NONE {
            return None;
        }
        let mut context = correlator.context(&exchange);
        let sampler = told.and_then(|told| told.sampler).unwrap_or(self.sampler);
        context.flags = sampler.flags(context.trace_id, context.parent_id.is_some(), context.flags);
        let service = discovery.service(exchange.process);
        let (now, query) = (exchange.end, self.redaction.redact(&exchange.http.query));
        let mut span = http1::span::span(exchange, context, service, clock);
        span.http.route = self.route(&span, told, now);
        span.http.query = query;
        span.signals = signals;
        if !self.filter.keeps(&span) {
            self.counts.filtered_traces += u64::from(signals.traces);
            self.counts.filtered_metrics += u64::from(signals.metrics);
            return None;
        }
        self.counts.not_sampled += u64::from(signals.traces && !span.is_sampled());
        Some(span)
    }

    fn route(&mut self, span: &Span, told: Option<&Telling>, now: KtimeNs) -> Option<Arc<str>> {
        let Span { service, kind, http, .. } = span;
        let asked = Asked { service, kind: *kind, path: &http.path, status: http.status, now };
        self.routes.route(asked, told.and_then(|told| told.routes.as_deref()))
    }

    /// What a request for `path` may be told as. What leaves it out first counts it.
    fn signals(&mut self, path: &str, told: Option<&Telling>) -> Signals {
        let wanted = self.routes.signals(path);
        if wanted == Signals::ALL && told.is_none() && self.has_requests {
            return wanted; // as nearly always: there is nothing to count
        }
        self.counts.ignored_traces += u64::from(!wanted.traces);
        self.counts.ignored_metrics += u64::from(!wanted.metrics);
        let exports = told.and_then(|told| told.exports).unwrap_or(Signals::ALL);
        self.counts.unexported_traces += u64::from(wanted.traces && !exports.traces);
        self.counts.unexported_metrics += u64::from(wanted.metrics && !exports.metrics);
        let metrics = wanted.metrics && exports.metrics;
        let has_requests = told.and_then(|told| told.has_requests).unwrap_or(self.has_requests);
        self.counts.featureless_metrics += u64::from(metrics && !has_requests);
        Signals { traces: wanted.traces && exports.traces, metrics: metrics && has_requests }
    }

    /// What was counted since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        self.counts.folded_routes += self.routes.take_folded();
        std::mem::take(&mut self.counts)
    }
}
