//! Series by key, bounded in number and time.

use super::histogram::{DURATION_BOUNDS_NS, Histogram, SIZE_BOUNDS_BYTES};
use super::key::{Key, KeyOf, ServiceKey};
use crate::model::{Service, Span};
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Series of one metric. `server.address` comes from the Host header, which anybody writes: without a bound anybody
/// fills our memory, and that of Prometheus.
pub(super) const MAX_SERIES: usize = 10_000;

/// Services with an overflow series of their own. Far more than run on a machine.
pub(super) const MAX_OVERFLOW_SERIES: usize = 1_000;

/// A series without news for so long ends, as in Beyla: dead processes must not hold series for ever.
pub(super) const TIME_TO_LIVE: Duration = Duration::from_secs(5 * 60);

/// A full table looks for expired series at most so often: each look costs a walk.
const SWEEP_INTERVAL: Duration = Duration::from_secs(10);

/// The three histograms of one kind of request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    pub(super) duration_ns: Histogram<{ DURATION_BOUNDS_NS.len() }>,
    pub(super) request_bytes: Histogram<{ SIZE_BOUNDS_BYTES.len() }>,
    pub(super) response_bytes: Histogram<{ SIZE_BOUNDS_BYTES.len() }>,
    last: Instant,
}

impl Series {
    fn new(now: Instant) -> Self {
        Self {
            duration_ns: Histogram::default(),
            request_bytes: Histogram::default(),
            response_bytes: Histogram::default(),
            last: now,
        }
    }

    fn observe(&mut self, span: &Span, now: Instant) {
        let ns = u64::try_from(span.duration().as_nanos()).unwrap_or(u64::MAX);
        self.duration_ns.observe(&DURATION_BOUNDS_NS, ns);
        self.request_bytes.observe(&SIZE_BOUNDS_BYTES, span.http.request_body_bytes);
        self.response_bytes.observe(&SIZE_BOUNDS_BYTES, span.http.response_body_bytes);
        self.last = now;
    }

    fn is_fresh(&self, now: Instant) -> bool {
        is_fresh(self.last, now)
    }
}

fn is_fresh(last: Instant, now: Instant) -> bool {
    now.saturating_duration_since(last) < TIME_TO_LIVE
}

/// All series of the requests of one kind of span.
#[derive(Clone, Default)]
pub(super) struct Requests {
    pub(super) series: HashMap<Arc<Key>, Series, RandomState>,
    /// By service name, which is empty for services beyond [`MAX_OVERFLOW_SERIES`].
    pub(super) overflow: HashMap<Arc<str>, Series, RandomState>,
    swept: Option<Instant>,
}

impl Requests {
    /// Counts a span; `false`: in the overflow series of its service, because there is no room for another series.
    pub(super) fn record(&mut self, span: &Span, now: Instant) -> bool {
        let key = KeyOf(span);
        if let Some(series) = self.series.get_mut(&key) {
            series.observe(span, now);
            return true;
        }
        if !self.has_room(now) {
            self.overflow_of(&span.service.name, now).observe(span, now);
            return false;
        }
        self.series.entry(Arc::new(key.to_key())).or_insert_with(|| Series::new(now)).observe(span, now);
        true
    }

    /// Forgets series without news.
    pub(super) fn expire(&mut self, now: Instant) {
        self.series.retain(|_, series| series.is_fresh(now));
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

    fn overflow_of(&mut self, service: &str, now: Instant) -> &mut Series {
        let has_room = self.overflow.len() < MAX_OVERFLOW_SERIES || self.overflow.contains_key(service);
        let name = if has_room { service } else { "" };
        self.overflow.entry(Arc::from(name)).or_insert_with(|| Series::new(now))
    }
}

/// The services that were seen, for `target_info`.
#[derive(Clone, Default)]
pub(super) struct Targets {
    pub(super) last_seen: HashMap<ByContent, Instant, RandomState>,
}

/// A service, hashed by content.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct ByContent(pub(super) ServiceKey);

impl std::hash::Hash for ByContent {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.0.instance_id.hash(state);
    }
}

struct Borrowed<'a>(&'a Arc<Service>);

impl std::hash::Hash for Borrowed<'_> {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.instance_id.hash(state);
    }
}

impl hashbrown::Equivalent<ByContent> for Borrowed<'_> {
    fn equivalent(&self, key: &ByContent) -> bool {
        Arc::ptr_eq(self.0, &key.0.0) || *self.0 == key.0.0
    }
}

impl Targets {
    /// A service beyond [`MAX_SERIES`] is not told about; its requests still are.
    pub(super) fn saw(&mut self, service: &Arc<Service>, now: Instant) {
        if let Some(last) = self.last_seen.get_mut(&Borrowed(service)) {
            *last = now;
        } else if self.last_seen.len() < MAX_SERIES {
            self.last_seen.insert(ByContent(ServiceKey(Arc::clone(service))), now);
        }
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.last_seen.retain(|_, last| is_fresh(*last, now));
    }
}
