//! Exchanges to spans: who was observed, when by the wall clock, by which route, and what of it may be told.
//!
//! The settings are the user's: [`RouteSettings`], [`RedactionSettings`], [`FilterSettings`], [`SamplerSettings`].

mod filter;
mod redact;
mod routes;

pub use filter::{Criterion, Filter, FilterSettings};
pub use redact::{DEFAULT_SENSITIVE, Redaction, RedactionSettings};
pub use routes::{IgnoreMode, RouteSettings, Routes, Unmatched};

use crate::{
    correlate::Correlator,
    discover::Discovery,
    model::{ClockPair, Exchange, Signals, Span},
    protocol::http1,
    sample::{Sampler, SamplerSettings},
    setting::InvalidSetting,
};

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
}

/// Makes spans.
#[derive(Debug)]
pub struct Decorator {
    routes: Routes,
    redaction: Redaction,
    filter: Filter,
    sampler: Sampler,
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
            counts: Counts::default(),
        })
    }

    /// Attributes that `filter` names and that no span has yet: they deserve a warning.
    #[must_use]
    pub fn unsupported_filters(&self) -> &[String] {
        self.filter.unsupported()
    }

    /// The span of `exchange`, with all that exporters need; `None`: settings leave it out altogether.
    pub fn decorate(
        &mut self,
        exchange: Exchange,
        correlator: &Correlator,
        discovery: &mut Discovery,
        clock: &ClockPair,
    ) -> Option<Span> {
        let signals = self.signals(&exchange.http.path);
        if signals == Signals::NONE {
            return None;
        }
        let mut context = correlator.context(&exchange);
        context.flags = self.sampler.flags(context.trace_id, context.parent_id.is_some(), context.flags);
        let service = discovery.service(exchange.process);
        let (now, query) = (exchange.end, self.redaction.redact(&exchange.http.query));
        let mut span = http1::span::span(exchange, context, service, clock);
        span.http.route = self.routes.route(&span.service, &span.http.path, span.http.status, now);
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

    fn signals(&mut self, path: &str) -> Signals {
        let signals = self.routes.signals(path);
        self.counts.ignored_traces += u64::from(!signals.traces);
        self.counts.ignored_metrics += u64::from(!signals.metrics);
        signals
    }

    /// What was counted since this was last asked.
    pub fn take_counts(&mut self) -> Counts {
        self.counts.folded_routes += self.routes.take_folded();
        std::mem::take(&mut self.counts)
    }
}
