//! Exchanges get their place in a trace.
//!
//! Ids are a keyed hash of what names the exchange in its boot, so that a replay of a recording gives the same ones, and
//! nobody who does not know the key can foretell them.

use crate::model::{Exchange, Role, SAMPLED, SpanId, TraceId};
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

/// Key of one run; kept in its recording.
pub type IdKey = [u8; 16];

/// Where a span stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Context {
    /// Trace.
    pub trace_id: TraceId,
    /// Span.
    pub span_id: SpanId,
    /// Parent, if the request named one.
    pub parent_id: Option<SpanId>,
    /// Trace flags: the caller's. Whether a trace that begins here is sampled, [`crate::sample`] decides.
    pub flags: u8,
}

/// Makes ids.
#[derive(Clone, Debug)]
pub struct Correlator {
    /// As far as all of a boot share it.
    begun: SipHasher24,
}

impl Correlator {
    /// Ids of the boot `boot_id`, under `key`.
    #[must_use]
    pub fn new(key: IdKey, boot_id: &str) -> Self {
        let mut begun = SipHasher24::new_with_key(&key);
        begun.write(b"span");
        begun.write(boot_id.as_bytes());
        Self { begun }
    }

    /// The context of `exchange`: its caller's trace, or a new one.
    #[must_use]
    pub fn context(&self, exchange: &Exchange) -> Context {
        // one hash for both: nothing asks that they have nothing in common
        let id = hash(self.begun, exchange);
        let span_id = SpanId(head(id));
        match exchange.http.parent {
            Some(parent) => Context {
                trace_id: parent.trace_id,
                span_id,
                parent_id: Some(parent.span_id),
                flags: parent.flags,
            },
            None => Context { trace_id: TraceId(id), span_id, parent_id: None, flags: SAMPLED },
        }
    }
}

/// Never all zero: that would be no id.
fn hash(mut hasher: SipHasher24, exchange: &Exchange) -> [u8; 16] {
    hasher.write_u64(exchange.socket.cookie);
    hasher.write_u64(exchange.request_offset);
    hasher.write_u8(u8::from(exchange.role == Role::Client));
    let mut bytes = hasher.finish128().as_bytes();
    if let [first, ..] = &mut bytes
        && *first == 0
    {
        *first = 1;
    }
    bytes
}

fn head(bytes: [u8; 16]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = bytes;
    [a, b, c, d, e, f, g, h]
}
