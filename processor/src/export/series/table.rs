//! Series by key, bounded in number and time.

use super::Keep;
use super::attributes::{Attribute, AttributeSet};
use super::exemplar::{self, Exemplar};
use super::exponential::ExponentialHistogram;
use super::histogram::{DURATION_BOUNDS_NS, Histogram, SIZE_BOUNDS_BYTES};
use super::key::{Identity, Key, KeyOf};
use super::recent::Recent;
use crate::model::{Service, Span, UnixNanos};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use indexmap::IndexMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Series of one metric. `server.address` comes from the Host header, which anybody writes: without a bound anybody
/// fills our memory, and that of Prometheus.
pub(in crate::export) const MAX_SERIES: usize = 10_000;

/// Services with an overflow series of their own. Far more than run on a machine.
pub(in crate::export) const MAX_OVERFLOW_SERIES: usize = 1_000;

/// A series without news for so long ends, as in Beyla: dead processes must not hold series for ever.
pub(in crate::export) const TIME_TO_LIVE: Duration = Duration::from_secs(5 * 60);

/// A full table looks for expired series at most so often: each look costs a walk.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// Nanoseconds of a second, as a number to divide by.
const NS_PER_S: f64 = 1e9;

/// The three histograms of one kind of request.
#[derive(Clone, Debug)]
pub(in crate::export) struct Series {
    pub(in crate::export) duration_ns: Histogram<{ DURATION_BOUNDS_NS.len() }>,
    pub(in crate::export) request_bytes: Histogram<{ SIZE_BOUNDS_BYTES.len() }>,
    pub(in crate::export) response_bytes: Histogram<{ SIZE_BOUNDS_BYTES.len() }>,
    /// The same three with exponential buckets, if somebody wants them.
    pub(in crate::export) exponential: Option<Box<Exponentials>>,
    /// Of durations.
    pub(in crate::export) exemplars: Vec<Exemplar>,
    /// When the first request began.
    pub(in crate::export) began: UnixNanos,
    last: Instant,
}

/// Seconds and bytes in exponential buckets.
#[derive(Clone, Debug)]
pub(in crate::export) struct Exponentials {
    pub(in crate::export) duration_s: ExponentialHistogram,
    pub(in crate::export) request_bytes: ExponentialHistogram,
    pub(in crate::export) response_bytes: ExponentialHistogram,
}

impl Series {
    fn new(span: &Span, keep: &Keep, now: Instant) -> Self {
        let exponentials = |bounds| {
            let empty = ExponentialHistogram::new(bounds);
            Box::new(Exponentials {
                duration_s: empty.clone(),
                request_bytes: empty.clone(),
                response_bytes: empty,
            })
        };
        Self {
            duration_ns: Histogram::default(),
            request_bytes: Histogram::default(),
            response_bytes: Histogram::default(),
            exponential: keep.exponential.map(exponentials),
            exemplars: Vec::new(),
            began: span.start,
            last: now,
        }
    }

    fn observe(&mut self, span: &Span, keep: &Keep, now: Instant) {
        let ns = u64::try_from(span.duration().as_nanos()).unwrap_or(u64::MAX);
        let (request, response) = (span.http.request_body_bytes, span.http.response_body_bytes);
        let bucket = self.duration_ns.observe(&DURATION_BOUNDS_NS, ns);
        self.request_bytes.observe(&SIZE_BOUNDS_BYTES, request);
        self.response_bytes.observe(&SIZE_BOUNDS_BYTES, response);
        if let Some(exponential) = &mut self.exponential {
            exponential.duration_s.observe(real(ns) / NS_PER_S);
            exponential.request_bytes.observe(real(request));
            exponential.response_bytes.observe(real(response));
        }
        exemplar::remember(&mut self.exemplars, span, bucket, ns, keep.exemplars);
        self.last = now;
    }

    /// Requests in it.
    pub(in crate::export) fn count(&self) -> u64 {
        self.duration_ns.count()
    }

    /// What was counted after `earlier`, which is an older state of the same series.
    pub(in crate::export) fn since(&self, earlier: &Self) -> Self {
        let exponential = self.exponential.as_ref().zip(earlier.exponential.as_ref());
        Self {
            duration_ns: self.duration_ns.since(&earlier.duration_ns),
            request_bytes: self.request_bytes.since(&earlier.request_bytes),
            response_bytes: self.response_bytes.since(&earlier.response_bytes),
            exponential: exponential.map(|(now, before)| {
                Box::new(Exponentials {
                    duration_s: now.duration_s.since(&before.duration_s),
                    request_bytes: now.request_bytes.since(&before.request_bytes),
                    response_bytes: now.response_bytes.since(&before.response_bytes),
                })
            }),
            exemplars: self.exemplars.clone(),
            began: self.began,
            last: self.last,
        }
    }

    fn is_fresh(&self, now: Instant) -> bool {
        is_fresh(self.last, now)
    }
}

fn is_fresh(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < TIME_TO_LIVE
}

/// Above 2^53 a bucket's bounds are coarser than what is lost here.
#[allow(clippy::cast_precision_loss, reason = "buckets are coarser")]
pub(in crate::export) fn real(n: u64) -> f64 {
    n as f64
}

/// All series of one table.
#[derive(Clone, Default)]
pub(in crate::export) struct Requests {
    pub(in crate::export) series: IndexMap<Arc<Key>, Series, RandomState>,
    /// Indices of some.
    recent: Recent,
    /// By service name, which is empty for services beyond [`MAX_OVERFLOW_SERIES`].
    pub(in crate::export) overflow: HashMap<Arc<str>, Series, RandomState>,
    /// Observations that went there and were not reported yet.
    pub(super) overflowed: u64,
    swept: Option<Instant>,
}

impl Requests {
    /// Counts a span, in the overflow series of its service if there is no room for another series.
    pub(super) fn record(&mut self, span: &Span, identity: AttributeSet, keep: &Keep, now: Instant) {
        let known = self.find(span, identity);
        if let Some((_, series)) = known.and_then(|at| self.series.get_index_mut(at)) {
            return series.observe(span, keep, now);
        }
        let series = if self.has_room(now) {
            let key = Arc::new(KeyOf::new(span, identity).to_key());
            self.series.entry(key).or_insert_with(|| Series::new(span, keep, now))
        } else {
            self.overflowed += 1;
            self.overflow_of(span, identity, keep, now)
        };
        series.observe(span, keep, now);
    }

    /// Index of the series of `span`, if it has one.
    fn find(&mut self, span: &Span, identity: AttributeSet) -> Option<usize> {
        let may_be_recent = !identity.is_of_many();
        if may_be_recent && let Some(at) = self.recent.find(span) {
            return Some(at);
        }
        let at = self.series.get_index_of(&KeyOf::new(span, identity))?;
        if may_be_recent {
            self.recent.remember(span, at);
        }
        Some(at)
    }

    /// Forgets series without news.
    pub(in crate::export) fn expire(&mut self, now: Instant) {
        self.series.retain(|_, series| series.is_fresh(now));
        self.recent.clear();
        self.overflow.retain(|_, series| series.is_fresh(now));
        self.swept = Some(now);
    }

    fn has_room(&mut self, now: Instant) -> bool {
        let is_due = self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_INTERVAL);
        if self.series.len() >= MAX_SERIES && is_due {
            self.expire(now);
        }
        self.series.len() < MAX_SERIES
    }

    fn overflow_of(&mut self, span: &Span, identity: AttributeSet, keep: &Keep, now: Instant) -> &mut Series {
        let is_named = identity.has(Attribute::ServiceName);
        let service = if is_named { span.service.name.as_str() } else { "" };
        let has_room = self.overflow.len() < MAX_OVERFLOW_SERIES || self.overflow.contains_key(service);
        let name = if has_room { service } else { "" };
        self.overflow.entry(Arc::from(name)).or_insert_with(|| Series::new(span, keep, now))
    }
}

/// The processes that were seen, for `target_info`.
#[derive(Clone, Default)]
pub(in crate::export) struct Targets {
    last_seen: HashMap<Target, Instant, RandomState>,
}

/// A process as it was described last.
#[derive(Clone)]
struct Target(Arc<Service>);

/// The process of a span: looks a target up without a reference count.
#[derive(Eq, Hash, PartialEq)]
struct TargetOf<'a>(Identity<'a>);

impl std::hash::Hash for Target {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        TargetOf::new(&self.0).hash(state);
    }
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        TargetOf::new(&self.0) == TargetOf::new(&other.0)
    }
}

impl Eq for Target {}

impl<'a> TargetOf<'a> {
    fn new(service: &'a Service) -> Self {
        Self(Identity::new(service, AttributeSet::SERVICE))
    }
}

impl hashbrown::Equivalent<Target> for TargetOf<'_> {
    fn equivalent(&self, target: &Target) -> bool {
        *self == TargetOf::new(&target.0)
    }
}

impl Targets {
    /// A process beyond [`MAX_SERIES`] is not told about; its requests still are.
    pub(super) fn saw(&mut self, service: &Arc<Service>, now: Instant) {
        if let Some((known, last)) = self.last_seen.get_key_value_mut(&TargetOf::new(service))
            && Arc::ptr_eq(&known.0, service)
        {
            *last = now;
            return;
        }
        // it may be described anew
        let is_known = self.last_seen.remove(&TargetOf::new(service)).is_some();
        if is_known || self.last_seen.len() < MAX_SERIES {
            self.last_seen.insert(Target(Arc::clone(service)), now);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.last_seen.retain(|_, last| is_fresh(*last, now));
    }

    /// All of them, in a stable order.
    pub(in crate::export) fn services(&self) -> Vec<&Service> {
        let mut services: Vec<&Service> = self.last_seen.keys().map(|target| &*target.0).collect();
        services.sort_unstable_by_key(|service| Identity::new(service, AttributeSet::SERVICE));
        services
    }
}
