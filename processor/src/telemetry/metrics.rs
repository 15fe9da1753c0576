//! Every metric of our own, named once.
//!
//! The loader's counters come whole with each of its status messages and are shown as they came: they count since the
//! loader started and outlive the processor, and at each scrape `produced = acknowledged + dropped + held` holds.

use super::exposition::{self, Kind};
use super::own::Spans;
use crate::decorate::Counts;
use crate::discover::Standing;
use crate::model::{EndedBy, Incomplete};
use ratatosk_abi::RecordKind;
use ratatosk_proto::v1;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Reasons and kinds that one status message may name. The loader has a dozen; whatever spoke in its place must not
/// fill our memory.
const MAX_LOADER_VALUES: usize = 64;

/// Length of a reason that is kept: ours are shorter.
const MAX_REASON_CHARS: usize = 64;

/// A metric of ours.
#[derive(Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

/// Values of a metric's labels in order, and the number.
pub(super) type Sample<'a> = (Vec<&'a str>, u64);

/// A metric's samples from what the loader said.
type OfStatus = fn(&v1::Status) -> Vec<Sample<'_>>;

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels: &[], help }
}

const BUILD_INFO: Metric = Metric {
    name: "ratatosk_build_info",
    kind: Kind::Gauge,
    labels: &["version"],
    help: "Version of the processor, always 1.",
};
const LOADER_CONNECTED: Metric =
    gauge("ratatosk_loader_connected", "1 while a stream of the loader is open.");
const PROCESSES_OBSERVED: Metric = gauge("ratatosk_processes_observed", "Processes that are observed now.");
const PROCESSES: Metric = Metric {
    name: "ratatosk_processes",
    kind: Kind::Gauge,
    labels: &["state", "reason"],
    help: "Processes that were announced and run, by what is done with them and why; `ratatosk explain` names each.",
};
const PRODUCED: Metric =
    counter("ratatosk_records_produced_total", &["kind"], "Records that the loader took from the kernel.");
const ACKNOWLEDGED: Metric =
    counter("ratatosk_records_acknowledged_total", &[], "Records that the processor acknowledged.");
const DROPPED: Metric = counter(
    "ratatosk_records_dropped_total",
    &["stage", "reason"],
    "Records lost. Stage probe: before they were produced; server: of those produced; others: after they were acknowledged.",
);
const HELD: Metric = gauge("ratatosk_records_held", "Records that the loader holds, not acknowledged yet.");
const HELD_BYTES: Metric = gauge("ratatosk_held_bytes", "Bytes of the records that the loader holds.");
const SUBMITTED: Metric =
    counter("ratatosk_records_submitted_total", &[], "Records that the probes put into the rings.");
const MADE: Metric = counter(
    "ratatosk_records_made_total",
    &[],
    "Records that the loader made itself: snapshots, and what it read about processes.",
);
const STREAMS: Metric = counter(
    "ratatosk_streams_total",
    &[],
    "Streams that processors opened since the loader started: after the first, each is a return.",
);
const LOADER_START: Metric = gauge(
    "ratatosk_loader_start_time_seconds",
    "When the counters of loader and probes began, as Unix time. Changes when the loader is started anew.",
);
const PAYLOAD_MISSING: Metric = counter(
    "ratatosk_payload_missing_total",
    &["reason"],
    "Calls whose record was made but whose bytes could not be read.",
);
const CAPTURED_BYTES: Metric =
    counter("ratatosk_captured_bytes_total", &[], "Payload bytes that were captured.");
const ORIGINAL_BYTES: Metric =
    counter("ratatosk_original_bytes_total", &[], "Payload bytes that the observed calls moved.");
const SERVER_RESTARTS: Metric = counter(
    "ratatosk_server_restarts_total",
    &[],
    "Times that the loader's serving process was started again.",
);
const CONTROL_COLLAPSED: Metric = counter(
    "ratatosk_control_collapsed_total",
    &[],
    "Times that queued control records were replaced by a fresh snapshot.",
);
const INCOMPLETE: Metric = counter(
    "ratatosk_exchanges_incomplete_total",
    &["reason"],
    "Exchanges that became no span, or less of one.",
);
const UNRECOGNIZED: Metric = counter(
    "ratatosk_connections_unrecognized_total",
    &[],
    "Connections of observed processes that showed no protocol that is known.",
);
const ENDED: Metric =
    counter("ratatosk_exchanges_ended_total", &["by"], "Exchanges, by what told where the response ended.");
const SPANS_PRODUCED: Metric = counter(
    "ratatosk_spans_produced_total",
    &["exporter"],
    "Spans that came to an exporter that holds them until their fate is known.",
);
const SPANS_HELD: Metric = Metric {
    name: "ratatosk_spans_held",
    kind: Kind::Gauge,
    labels: &["exporter"],
    help: "Spans that an exporter holds: queued, or under way.",
};
const SPANS_EXPORTED: Metric =
    counter("ratatosk_spans_exported_total", &["exporter"], "Spans that an exporter took.");
const SPANS_DROPPED: Metric = counter(
    "ratatosk_spans_dropped_total",
    &["exporter", "reason"],
    "Spans that an exporter could not deliver.",
);
const SPANS_LEFT_OUT: Metric = counter(
    "ratatosk_spans_left_out_total",
    &["signal", "reason"],
    "Spans that settings leave out of a signal: by routes.ignored_patterns, exports, features, filter or the sampler.",
);
const ROUTES_FOLDED: Metric = counter(
    "ratatosk_routes_folded_total",
    &[],
    "Spans whose route was replaced by /** because their service has too many routes.",
);
const POINTS_EXPORTED: Metric =
    counter("ratatosk_points_exported_total", &["exporter"], "Points of metrics that a collector took.");
const POINTS_DROPPED: Metric = counter(
    "ratatosk_points_dropped_total",
    &["exporter", "reason"],
    "Points of metrics that a collector did not take. The next point of a series holds what they held, if they were cumulative.",
);
const OTLP_REQUESTS: Metric =
    counter("ratatosk_otlp_requests_total", &["signal", "result"], "Attempts to send an OTLP request.");
const OTLP_REQUESTS_RESENT: Metric = counter(
    "ratatosk_otlp_requests_resent_total",
    &["signal", "reason"],
    "Further attempts, by what the one before ended with. After unconfirmed the collector may have the request twice.",
);
const OTLP_ITEMS_RESENT: Metric = counter(
    "ratatosk_otlp_items_resent_total",
    &["signal", "reason"],
    "Spans or points of those attempts. With reason unconfirmed: the most copies that collectors may have beyond the first.",
);
const SPANS_EXCLUDED: Metric = counter(
    "ratatosk_spans_excluded_total",
    &["exporter"],
    "Spans kept from an exporter because their service tells the same by an SDK of its own.",
);
const DENIED: Metric = counter(
    "ratatosk_policy_denied_total",
    &["reason"],
    "Requests of the processor that the loader's policy denied; each is a warning in the log.",
);
const INTERNAL_EXPORTED: Metric = counter(
    "ratatosk_internal_exported_total",
    &["signal"],
    "Log records and spans about the agent itself that a collector took.",
);
const INTERNAL_DROPPED: Metric = counter(
    "ratatosk_internal_dropped_total",
    &["signal", "reason"],
    "Log records and spans about the agent itself that were not told.",
);
const SERIES_OVERFLOW: Metric = counter(
    "ratatosk_series_overflow_total",
    &["metric"],
    "Observations folded into the overflow series because the metric has too many series.",
);

/// What the loader tells, in order, and where it stands in a status.
const OF_LOADER: [(&Metric, OfStatus); 14] = [
    (&PRODUCED, |status| labelled(produced_by_name(status))),
    (&DENIED, |status| labelled(by_reason(&status.denied))),
    (&PAYLOAD_MISSING, |status| labelled(by_reason(&status.payload_missing))),
    (&ACKNOWLEDGED, |status| one(status.acknowledged_records)),
    (&HELD, |status| one(status.held_records)),
    (&HELD_BYTES, |status| one(status.held_bytes)),
    (&SUBMITTED, |status| one(status.kernel_submitted_records)),
    (&MADE, |status| one(status.made_records)),
    (&STREAMS, |status| one(status.streams_opened)),
    (&LOADER_START, |status| one(status.counting_since_unix_ns / 1_000_000_000)),
    (&CAPTURED_BYTES, |status| one(status.captured_bytes)),
    (&ORIGINAL_BYTES, |status| one(status.original_bytes)),
    (&SERVER_RESTARTS, |status| one(status.server_restarts)),
    (&CONTROL_COLLAPSED, |status| one(status.control_collapsed)),
];

/// What the processor counts, in order.
const OF_PROCESSOR: [&Metric; 18] = [
    &INCOMPLETE,
    &UNRECOGNIZED,
    &ENDED,
    &SPANS_PRODUCED,
    &SPANS_EXPORTED,
    &SPANS_DROPPED,
    &SPANS_HELD,
    &SPANS_EXCLUDED,
    &SPANS_LEFT_OUT,
    &ROUTES_FOLDED,
    &POINTS_EXPORTED,
    &POINTS_DROPPED,
    &OTLP_REQUESTS,
    &OTLP_REQUESTS_RESENT,
    &OTLP_ITEMS_RESENT,
    &SERIES_OVERFLOW,
    &INTERNAL_EXPORTED,
    &INTERNAL_DROPPED,
];

/// Values of a metric's labels, in order; no metric of ours has more, and where it has fewer the rest is empty.
type Values = [&'static str; 2];

/// Counters of the processor, by metric name and label values: counting allocates nothing once a value exists.
type Own = BTreeMap<(&'static str, Values), u64>;

/// The agent's own metrics. A clone is a handle to the same ones.
#[derive(Clone, Debug)]
pub struct Telemetry {
    inner: Arc<Mutex<Inner>>,
    pub(super) spans: Arc<Spans>,
}

#[derive(Debug, Default)]
struct Inner {
    loader: Option<v1::Status>,
    own: Own,
    connected: bool,
    processes_observed: u64,
    /// By the place of its labels in [`Standing::LABELS`].
    processes: [u64; Standing::LABELS.len()],
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// All zero. Every reason of an incomplete exchange is shown from the start: an alert on its rate needs a first value.
    #[must_use]
    pub fn new() -> Self {
        let telemetry = Self { inner: Arc::default(), spans: Arc::default() };
        Incomplete::ALL.iter().for_each(|reason| telemetry.incomplete(*reason, 0));
        telemetry.unrecognized(0);
        telemetry
    }

    /// Takes the counters of the loader as they are now.
    pub fn loader_status(&self, status: &v1::Status) {
        let mut status = status.clone();
        status.produced.truncate(MAX_LOADER_VALUES);
        for list in [&mut status.dropped, &mut status.kernel_dropped, &mut status.payload_missing] {
            list.truncate(MAX_LOADER_VALUES);
            list.iter_mut().for_each(|entry| truncate(&mut entry.reason));
        }
        let since = status.counting_since_unix_ns;
        let before = self.lock().loader.replace(status);
        if before.is_some_and(|before| before.counting_since_unix_ns != since) {
            tracing::warn!("The loader was started anew: its counters and those of the probes begin again");
        }
    }

    /// A stream of the loader opened or ended.
    pub fn loader_connected(&self, connected: bool) {
        self.lock().connected = connected;
    }

    /// How many processes are observed now.
    pub fn processes_observed(&self, n: u64) {
        self.lock().processes_observed = n;
    }

    /// How every process stands now.
    pub fn processes(&self, standings: impl Iterator<Item = Standing>) {
        let mut counts = [0_u64; Standing::LABELS.len()];
        for labels in standings.map(Standing::labels) {
            let mut known = counts.iter_mut().zip(Standing::LABELS);
            if let Some((count, _)) = known.find(|(_, known)| *known == labels) {
                *count += 1;
            }
        }
        self.lock().processes = counts;
    }

    /// `n` exchanges became no span, or less of one.
    pub fn incomplete(&self, reason: Incomplete, n: u64) {
        self.add(&INCOMPLETE, [reason.name(), ""], n);
    }

    /// `n` connections more showed no protocol that is known.
    pub fn unrecognized(&self, n: u64) {
        self.add(&UNRECOGNIZED, ["", ""], n);
    }

    /// `n` exchanges ended this way.
    pub fn ended_by(&self, by: EndedBy, n: u64) {
        self.add(&ENDED, [ended_name(by), ""], n);
    }

    /// One record could not be decoded.
    pub fn decode_error(&self, reason: &'static str, n: u64) {
        self.dropped("decode", reason, n);
    }

    /// `n` records were lost in a stage of the processor.
    pub fn dropped(&self, stage: &'static str, reason: &'static str, n: u64) {
        self.add(&DROPPED, [stage, reason], n);
    }

    /// `n` spans were taken by an exporter.
    pub fn spans_exported(&self, exporter: &'static str, n: u64) {
        self.add(&SPANS_EXPORTED, [exporter, ""], n);
    }

    /// `n` spans could not be delivered by an exporter.
    pub fn spans_dropped(&self, exporter: &'static str, reason: &'static str, n: u64) {
        self.add(&SPANS_DROPPED, [exporter, reason], n);
    }

    /// `n` spans came to an exporter that holds them until [`Self::spans_settled`] says what became of them.
    pub fn spans_came(&self, exporter: &'static str, n: u64) {
        let mut inner = self.lock();
        add(&mut inner.own, &SPANS_PRODUCED, [exporter, ""], n);
        add(&mut inner.own, &SPANS_HELD, [exporter, ""], n);
    }

    /// Of the spans that an exporter held, so many were taken, and `lost` were not. One step: at every scrape what came is
    /// what was taken, dropped and held.
    pub fn spans_settled(&self, exporter: &'static str, exported: u64, lost: u64, reason: &'static str) {
        let mut inner = self.lock();
        add(&mut inner.own, &SPANS_EXPORTED, [exporter, ""], exported);
        if lost > 0 {
            add(&mut inner.own, &SPANS_DROPPED, [exporter, reason], lost);
        }
        let held = inner.own.entry((SPANS_HELD.name, [exporter, ""])).or_default();
        *held = held.saturating_sub(exported.saturating_add(lost));
    }

    /// What the settings left out or folded while spans were made.
    pub fn decorated(&self, counts: Counts) {
        for (values, n) in [
            (["traces", "ignored"], counts.ignored_traces),
            (["metrics", "ignored"], counts.ignored_metrics),
            (["traces", "filtered"], counts.filtered_traces),
            (["metrics", "filtered"], counts.filtered_metrics),
            (["traces", "exports"], counts.unexported_traces),
            (["metrics", "exports"], counts.unexported_metrics),
            (["metrics", "features"], counts.featureless_metrics),
            (["traces", "not_sampled"], counts.not_sampled),
        ] {
            self.add_some(&SPANS_LEFT_OUT, values, n);
        }
        self.add_some(&ROUTES_FOLDED, ["", ""], counts.folded_routes);
    }

    /// `n` points of metrics were taken by a collector.
    pub fn points_exported(&self, exporter: &'static str, n: u64) {
        self.add(&POINTS_EXPORTED, [exporter, ""], n);
    }

    /// `n` points of metrics were not.
    pub fn points_dropped(&self, exporter: &'static str, reason: &'static str, n: u64) {
        self.add(&POINTS_DROPPED, [exporter, reason], n);
    }

    /// `n` attempts to send an OTLP request ended so.
    pub fn otlp_requests(&self, signal: &'static str, result: &'static str, n: u64) {
        self.add(&OTLP_REQUESTS, [signal, result], n);
    }

    /// A request of `items` is sent again after an attempt that ended so.
    pub fn otlp_resent(&self, signal: &'static str, reason: &'static str, items: u64) {
        let mut inner = self.lock();
        add(&mut inner.own, &OTLP_REQUESTS_RESENT, [signal, reason], 1);
        add(&mut inner.own, &OTLP_ITEMS_RESENT, [signal, reason], items);
    }

    /// Spans kept from an exporter, as their service tells them itself.
    pub fn spans_excluded(&self, exporter: &'static str, n: u64) {
        self.add(&SPANS_EXCLUDED, [exporter, ""], n);
    }

    /// `n` observations of `metric` went to its overflow series.
    pub fn series_overflow(&self, metric: &'static str, n: u64) {
        self.add(&SERIES_OVERFLOW, [metric, ""], n);
    }

    /// `n` items about the agent itself were taken by a collector.
    pub fn internal_exported(&self, signal: &'static str, n: u64) {
        self.add_some(&INTERNAL_EXPORTED, [signal, ""], n);
    }

    /// `n` items about the agent itself were not told.
    pub fn internal_dropped(&self, signal: &'static str, reason: &'static str, n: u64) {
        self.add_some(&INTERNAL_DROPPED, [signal, reason], n);
    }

    /// Appends all of them in the Prometheus text format.
    pub fn render(&self, out: &mut String) {
        self.each(&mut |metric, samples| write(out, metric, samples));
    }

    /// Shows every metric with its samples as they are at this one moment; those of the loader once it said something.
    pub(super) fn each(&self, see: &mut dyn FnMut(&'static Metric, Vec<Sample<'_>>)) {
        let inner = self.lock();
        see(&BUILD_INFO, vec![(vec![env!("CARGO_PKG_VERSION")], 1)]);
        see(&LOADER_CONNECTED, vec![(vec![], u64::from(inner.connected))]);
        see(&PROCESSES_OBSERVED, vec![(vec![], inner.processes_observed)]);
        let processes = Standing::LABELS.iter().zip(inner.processes);
        see(&PROCESSES, processes.map(|((state, reason), n)| (vec![*state, *reason], n)).collect());
        if let Some(status) = &inner.loader {
            OF_LOADER.iter().for_each(|(metric, read)| see(metric, read(status)));
        }
        see(&DROPPED, dropped(&inner));
        for metric in OF_PROCESSOR {
            see(metric, of_processor(metric, &inner.own).collect());
        }
    }

    /// A value that never was counted is not shown.
    fn add_some(&self, metric: &Metric, values: Values, n: u64) {
        if n > 0 {
            self.add(metric, values, n);
        }
    }

    fn add(&self, metric: &Metric, values: Values, n: u64) {
        add(&mut self.lock().own, metric, values, n);
    }

    /// Counters stay true after a panic elsewhere: every change is one assignment.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(own: &mut Own, metric: &Metric, values: Values, n: u64) {
    let value = own.entry((metric.name, values)).or_default();
    *value = value.saturating_add(n);
}

const fn ended_name(by: EndedBy) -> &'static str {
    match by {
        EndedBy::Framing => "framing",
        EndedBy::Turn => "turn",
        EndedBy::Close => "close",
        EndedBy::Silence => "silence",
    }
}

fn truncate(reason: &mut String) {
    if reason.len() > MAX_REASON_CHARS {
        *reason = reason.chars().take(MAX_REASON_CHARS).collect();
    }
}

/// Every metric that there is, in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    let first = [&BUILD_INFO, &LOADER_CONNECTED, &PROCESSES_OBSERVED, &PROCESSES];
    first.into_iter().chain(OF_LOADER.map(|(metric, _)| metric)).chain([&DROPPED]).chain(OF_PROCESSOR)
}

fn write(out: &mut String, metric: &Metric, samples: Vec<Sample<'_>>) {
    exposition::head(out, metric.name, metric.kind, metric.help);
    for (values, n) in samples {
        exposition::sample(out, metric.name, metric.labels.iter().copied().zip(values), n);
    }
}

fn one(n: u64) -> Vec<Sample<'static>> {
    vec![(vec![], n)]
}

fn labelled<'a>(sums: BTreeMap<&'a str, u64>) -> Vec<Sample<'a>> {
    sums.into_iter().map(|(label, n)| (vec![label], n)).collect()
}

/// Kinds that a newer loader made share one series: two lines with the same labels would spoil the whole scrape.
fn produced_by_name(status: &v1::Status) -> BTreeMap<&'static str, u64> {
    let mut sums = BTreeMap::new();
    for entry in &status.produced {
        let kind = u16::try_from(entry.kind).ok().and_then(RecordKind::from_raw);
        let sum: &mut u64 = sums.entry(kind.map_or("unknown", RecordKind::name)).or_default();
        *sum = sum.saturating_add(entry.records);
    }
    sums
}

fn by_reason(list: &[v1::Dropped]) -> BTreeMap<&str, u64> {
    let mut sums = BTreeMap::new();
    for entry in list {
        let sum: &mut u64 = sums.entry(entry.reason.as_str()).or_default();
        *sum = sum.saturating_add(entry.records);
    }
    sums
}

/// One metric, three sources. The names of stages keep them apart.
fn dropped(inner: &Inner) -> Vec<Sample<'_>> {
    let status = inner.loader.as_ref();
    let probe = status.map(|s| by_reason(&s.kernel_dropped)).unwrap_or_default();
    let server = status.map(|s| by_reason(&s.dropped)).unwrap_or_default();
    let probe = probe.into_iter().map(|(reason, n)| (vec!["probe", reason], n));
    let server = server.into_iter().map(|(reason, n)| (vec!["server", reason], n));
    probe.chain(server).chain(of_processor(&DROPPED, &inner.own)).collect()
}

fn of_processor<'a>(metric: &Metric, own: &'a Own) -> impl Iterator<Item = Sample<'a>> + use<'a> {
    let name = metric.name;
    let samples = own.iter().filter(move |((known, _), _)| *known == name);
    samples.map(|((_, values), n)| (values.to_vec(), *n))
}
